"""Files without what they say about themselves: not a trace of it, and not a pixel changed."""

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_kit import as_file
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from tiny_files import MOVING, SUFFIXES, frames_of, write, write_moving

from studio.metadata.containers import png_chunk
from studio.metadata.files import read, stripped

KINDS = (*SUFFIXES, *(f"moving {kind}" for kind in MOVING))
SECRET = "Zxqv 一只猫"
TURNED = 6  # EXIF's number for a picture that lies on its side
ONLY_TURNED = bytes.fromhex("49492a00 08000000 0100 1201 0300 01000000 06000000 00000000")


def make(path: Path, kind: str, **fields: object) -> bytes:
    (write_moving if kind.startswith("moving") else write)(path, kind.removeprefix("moving "), **fields)
    return path.read_bytes()


def traces(data: bytes) -> list[str]:
    """How the secret, or what belongs to it, still shows in the bytes."""
    words = ("Zxqv", "一只猫", "digitalsourcetype", "trainedAlgorithmicMedia", "Steps", "Seed", "studio", "xmpmeta")
    codes = ("utf-8", "utf-16-be", "utf-16-le")
    found = [word for word in words for code in codes if word.encode(code) in data]
    return found + ["EXIF"] * any(word in data for word in (b"UNICODE\0", b"II*\0", b"MM\0*"))


@pytest.mark.parametrize("kind", KINDS)
def test_no_trace_is_left_and_no_pixel_changes(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    data = make(path, kind, prompt=SECRET, negative=SECRET)
    assert traces(data), "there was something to take off"
    plain = stripped(path)
    assert traces(plain) == []
    assert frames_of(plain) == frames_of(data)
    assert path.read_bytes() == data, "the file itself is not touched"
    path.write_bytes(plain)
    assert read(path) == {} and stripped(path) == plain
    with Image.open(path) as picture:
        assert {"exif", "xmp", "parameters", "studio", "XML:com.adobe.xmp"} & set(picture.info) <= {"exif"}
        assert not picture.getexif()


@settings(max_examples=20)
@given(pixels=st.binary(min_size=7 * 5 * 4, max_size=7 * 5 * 4))
@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG", "AVIF", "GIF"])
def test_any_pixels_stay(tmp_path_factory: pytest.TempPathFactory, form: str, pixels: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "pixels"
    picture = Image.frombytes("RGBA", (7, 5), pixels)
    picture = picture.convert("RGB") if form == "JPEG" else picture
    options = {"comment": SECRET} if form == "GIF" else {"xmp": SECRET.encode()} if form != "PNG" else {}
    picture.save(path, form, **options)
    plain = stripped(path)
    assert traces(plain) == [] and frames_of(plain) == frames_of(path.read_bytes())


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def turned() -> bytes:
    block = Image.Exif()
    block[0x0112], block[0x010E] = TURNED, SECRET
    block.get_ifd(0x8825)[1] = "N"  # where it was taken
    return block.tobytes()


@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG", "AVIF"])
def test_colours_and_the_way_it_is_turned_stay(tmp_path: Path, form: str) -> None:
    noise = Image.effect_noise((40, 24), 90).convert("RGB")
    more = {"progressive": True, "comment": SECRET, "xmp": SECRET.encode()} if form == "JPEG" else {}
    noise.save(tmp_path / "a", form, icc_profile=PROFILE, exif=turned(), **more)
    data = (tmp_path / "a").read_bytes()
    plain = stripped(tmp_path / "a")
    assert not traces(plain.replace(ONLY_TURNED, b"")) and frames_of(plain) == frames_of(data)
    with Image.open(io.BytesIO(plain)) as picture, Image.open(io.BytesIO(data)) as before:
        assert before.info["icc_profile"] == picture.info["icc_profile"] == PROFILE
        assert picture.getexif().get(0x0112) == before.getexif().get(0x0112) == TURNED
        assert 0x010E not in picture.getexif() and not picture.getexif().get_ifd(0x8825)


def test_colours_of_an_adobe_jpeg_stay(tmp_path: Path) -> None:
    """Its Adobe segment says that the three channels are red, green and blue; without it they are taken for others."""
    noise = Image.merge("RGB", [Image.effect_noise((40, 24), 90) for _ in "RGB"])
    file = as_file(noise, "JPEG", comment=SECRET)
    jfif, adobe = file[2:20], b"\xff\xee\0\x0eAdobe\0\x64" + bytes(5)
    data = file.replace(jfif, adobe, 1)
    (tmp_path / "a").write_bytes(data)
    assert frames_of(data) != frames_of(file)
    assert frames_of(stripped(tmp_path / "a")) == frames_of(data)


@pytest.mark.parametrize(
    "extra",
    [
        png_chunk(b"tEXt", b"Comment\0Zxqv"),
        png_chunk(b"zTXt", b"Zxqv\0\0" + zlib.compress(b"x")),
        png_chunk(b"caBX", b"Zxqv"),
        png_chunk(b"prVt", b"Zxqv"),
        png_chunk(b"tIME", struct.pack(">HBBBBB", 2026, 1, 2, 3, 4, 5)),
    ],
)
def test_any_chunk_of_a_png_that_is_no_picture_goes(tmp_path: Path, extra: bytes) -> None:
    info = PngInfo()
    info.add(b"prVt", b"Zxqv", after_idat=True)
    Image.effect_noise((9, 9), 90).save(tmp_path / "a", "PNG", pnginfo=info, dpi=(72, 72))
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(whole[:33] + extra + whole[33:] + b"Zxqv behind the end")
    plain = stripped(tmp_path / "a")
    assert b"Zxqv" not in plain and extra not in plain and b"pHYs" in plain
    assert frames_of(plain) == frames_of(whole)


def riff(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def test_unknown_chunks_of_a_webp_go_also_within_frames(tmp_path: Path) -> None:
    data = make(tmp_path / "a", "moving webp", prompt=SECRET)
    at = data.index(b"ANMF")
    size = struct.unpack_from("<I", data, at + 4)[0]
    frame = riff(b"ANMF", data[at + 8 : at + 8 + size] + riff(b"prVt", b"Zxqv!"))
    body = data[12:at] + frame + data[at + 8 + size + size % 2 :] + riff(b"C2PA", b"Zxqv")
    (tmp_path / "a").write_bytes(b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body + b"Zxqv")
    plain = stripped(tmp_path / "a")
    assert not traces(plain) and frames_of(plain) == frames_of(data)


def test_when_an_avif_was_made_is_not_told(tmp_path: Path) -> None:
    data, clocks = bytearray(make(tmp_path / "a", "moving avif")), []
    for box in (b"mvhd", b"tkhd", b"mdhd"):
        at, wide = data.index(box) + 4, data[data.index(box) + 4] == 1
        clocks.append(slice(at + 4, at + (20 if wide else 12)))
        data[clocks[-1]] = b"\1" * len(data[clocks[-1]])  # ours say nothing of it
    (tmp_path / "a").write_bytes(data)
    plain = stripped(tmp_path / "a")
    assert not any(any(plain[times]) for times in clocks)
    extra = struct.pack(">I", 12) + b"uuid" + b"Zxqv"
    (tmp_path / "a").write_bytes(data + extra)
    assert b"Zxqv" not in stripped(tmp_path / "a") and frames_of(stripped(tmp_path / "a")) == frames_of(data)


def test_the_name_of_a_stripped_file_tells_no_seed(studio: Callable, tmp_path: Path) -> None:
    path = tmp_path / f"{'0' * 16}-0-42.png"
    write(path, prompt=SECRET)
    for more in ((), ("--out", tmp_path / "out")):
        name = Path(studio("strip", path, *more, "--json").json["out"]).name
        assert len(name) == 20 and "42" not in name.replace(name[:16], "") and "0" * 16 not in name


# --- The command ------------------------------------------------------------------------------------------------------


def test_strip_writes_beside_or_into_a_folder(studio: Callable, tmp_path: Path) -> None:
    write(tmp_path / "a.png", prompt=SECRET)
    write(tmp_path / "b.webp", "webp", prompt=SECRET)
    said = studio("strip", tmp_path / "a.png", tmp_path / "b.webp", "--json")
    assert said.code == 0
    assert said.json == [
        {"path": str(tmp_path / "a.png"), "out": str(tmp_path / "a-plain.png")},
        {"path": str(tmp_path / "b.webp"), "out": str(tmp_path / "b-plain.webp")},
    ]
    assert not traces((tmp_path / "a-plain.png").read_bytes())
    assert studio("strip", tmp_path / "a.png").out.strip() == str(tmp_path / "a-plain.png"), "again is no harm"
    said = studio("strip", tmp_path / "a.png", "--out", tmp_path / "deep" / "out")
    assert said.out.strip() == str(tmp_path / "deep" / "out" / "a.png")


def test_strip_overwrites_nothing(studio: Callable, tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    (tmp_path / "a-plain.png").write_bytes(b"mine")
    (tmp_path / "out" / "a.png").mkdir(parents=True)
    before = (tmp_path / "a.png").read_bytes()
    for arguments in ([], ["--out", tmp_path], ["--out", tmp_path / "out"]):
        said = studio("strip", tmp_path / "a.png", *arguments)
        assert said.code == 2 and "is there already" in said.err and said.out == ""
    assert ((tmp_path / "a.png").read_bytes(), (tmp_path / "a-plain.png").read_bytes()) == (before, b"mine")
    said = studio("strip", tmp_path / "a.png", "--out", tmp_path / "a.png")
    assert said.code == 2 and "not a folder" in said.err


def test_files_that_can_not_be_stripped_do_not_stop_the_others(studio: Callable, tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:-20])
    said = studio("strip", tmp_path / "cut.png", tmp_path / "a.png", "--json")
    assert said.code == 1 and len(said.json) == 1 and "cut.png is damaged or cut short." in said.err
    assert studio("strip", tmp_path / "cut.png", tmp_path / "none.png").code == 2
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["a-plain.png", "a.png", "cut.png"]


def test_info_of_several_files(studio: Callable, tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    write(tmp_path / "b.jpg", "jpeg", prompt=SECRET)
    said = studio("info", tmp_path / "a.png", tmp_path / "b.jpg", "--json")
    assert said.code == 0 and [row["request"]["prompt"] for row in said.json] == ["a cat", SECRET]
    said = studio("info", tmp_path / "a.png", tmp_path)
    assert said.code == 1 and "prompt: a cat" in said.out and "is a folder" in said.err
    said = studio("info", tmp_path / "b.jpg", "--json")
    assert json.loads(said.out)["path"] == str(tmp_path / "b.jpg")


def test_no_metadata_makes_files_that_say_nothing(studio: Callable, tmp_path: Path) -> None:
    ask = ("generate", SECRET, "--seed", 1, "--count", 2, "--model", "fake", "--json", "--out", tmp_path / "out")
    told = studio(*ask)
    plain = studio(*ask, "--no-metadata")
    assert told.code == plain.code == 0 and [row["seed"] for row in plain.json] == [1, 2]
    for one, other in zip(told.json, plain.json, strict=True):
        data = Path(other["path"]).read_bytes()
        assert not traces(data) and frames_of(data) == frames_of(Path(one["path"]).read_bytes())
        assert one["job_id"][:16] not in other["path"]
    assert [row["seconds"] for row in studio(*ask).json] == [0, 0], "the files that tell are found as before"
    again = studio(*ask, "--no-metadata")
    assert [row["path"] for row in again.json] == [row["path"] for row in plain.json]
    assert all(row["seconds"] for row in again.json), "plain ones are not found but made again"
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_no_metadata_leaves_nothing_where_it_fails(
    studio: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("studio.backends.fake._draw", lambda *_: (_ for _ in ()).throw(MemoryError()))
    said = studio("generate", "a", "--model", "fake", "--no-metadata", "--out", tmp_path / "out")
    assert said.code == 2 and list(tmp_path.iterdir()) == []
