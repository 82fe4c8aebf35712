"""Hostile and broken files: settings or a sentence, within bounds of time and memory."""

import json
import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import Command, sentence_of
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_kit import as_file
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from tiny_files import MOVING, SUFFIXES, picture_of, write, write_moving
from waiting import bounded

from models.messages import Refused
from studio.api.uploads import checked
from studio.clips import ClipFile, moves
from studio.clips import picture_of as opened
from studio.export.clips import Clip, clip_file
from studio.metadata.containers import LIMIT, exif_block, png_chunk
from studio.metadata.files import NAMESPACE, encoded, read, stripped, xmp_packet
from studio.metadata.origin import Provenance

KINDS = (*SUFFIXES, "gif")
FILMS = ("webm", "mp4")


def refusal(path: Path, do: Callable[[Path], object] = read) -> str:
    sentence = sentence_of(lambda: do(path))
    assert str(path) in sentence
    return sentence


def png(path: Path, *chunks: bytes) -> Path:
    """A picture of a single pixel with extra chunks."""
    whole = as_file(Image.new("RGBA", (1, 1)))
    path.write_bytes(whole[:33] + b"".join(chunks) + whole[33:])
    return path


def sample(path: Path, kind: str) -> bytes:
    """A file with settings, of any kind."""
    if kind == "gif":
        Image.new("P", (8, 8)).save(path, "GIF", comment="a\nSteps: 1, Seed: 2, Size: 3x3")
    elif kind in FILMS:
        frame = Image.new("RGBA", (32, 32), (60, 200, 30, 255))
        path.write_bytes(clip_file(Clip((frame, frame), (100, 100)), kind, Provenance("a", "{}")))
    elif kind.startswith("moving "):
        write_moving(path, kind.removeprefix("moving "))
    else:
        path.write_bytes(encoded(picture_of(8), Provenance("a\nSteps: 1, Seed: 2, Size: 3x3", "{}"), kind))
    return path.read_bytes()


def test_files_that_are_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "svg.png").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    for name in ("text.png", "empty.png", "svg.png"):
        for do in (read, stripped):
            assert "is not a picture that can be read (PNG, WEBP, JPEG, GIF, AVIF, WebM, MP4)" in refusal(
                tmp_path / name, do
            )


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    assert "is a folder" in refusal(tmp_path)
    assert "is not there" in refusal(tmp_path / "missing.png")
    assert "is not there" in refusal(tmp_path / "gone")
    assert "no ordinary file" in refusal(tmp_path / "pipe")
    assert "no ordinary file" in refusal(tmp_path / "zeros")
    for name in ("loop", "n" * 300, "a\0b"):
        refusal(tmp_path / name)


def test_a_link_to_a_picture_is_the_picture(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("a.png")
    assert read(tmp_path / "b.png") == read(tmp_path / "a.png") != {}


def test_fifty_megabytes_of_metadata(tmp_path: Path) -> None:
    text = b"parameters\0" + bytes(50 * 2**20)
    assert "larger than 32 MB" in refusal(png(tmp_path / "a.png", png_chunk(b"tEXt", text)))


def test_texts_that_are_too_long(tmp_path: Path) -> None:
    long = b"a\nSteps: 1, Seed: 2, Size: " + b"3" * LIMIT
    packed = zlib.compress(long)
    for body in (
        png_chunk(b"tEXt", b"parameters\0" + long),
        png_chunk(b"zTXt", b"parameters\0\0" + packed),
        png_chunk(b"iTXt", b"parameters\0\1\0\0\0" + packed),
    ):
        assert "more than 4 MB of settings" in refusal(png(tmp_path / "a.png", body))


def bomb(megabytes: int) -> bytes:
    """A deflate stream of zeros, a kilobyte for each megabyte."""
    packer = zlib.compressobj(9)
    first, block = (packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + block * (megabytes - 1)


@pytest.mark.parametrize(("megabytes", "times"), [(2**15 - 2**11, 1), (64, 460)])
def test_decompression_bombs(tmp_path: Path, megabytes: int, times: int) -> None:
    """Files of 31 MB that unpack to 30 GB, in one text or in many: bounded in memory and time."""
    path = png(tmp_path / "a.png", *[png_chunk(b"zTXt", b"parameters\0\0" + bomb(megabytes))] * times)
    with bounded():
        assert "more than 4 MB" in refusal(path)


def test_valid_texts_are_read_beside_oversized_texts(tmp_path: Path) -> None:
    path = png(
        tmp_path / "a.png",
        png_chunk(b"zTXt", b"studio\0\0" + zlib.compress(bytes(2 * LIMIT))),
        png_chunk(b"tEXt", b"parameters\0a\nSteps: 1, Seed: 2, Size: 3x3"),
    )
    assert read(path)["seed"] == 2


def test_an_exif_directory_that_multiplies(tmp_path: Path) -> None:
    """65,535 tags that all mean the same two megabytes are 130 GB to a reader that takes them all."""
    tags = b"".join(struct.pack(">HHII", tag, 7, 2**21, 8) for tag in range(65_535))
    block = struct.pack(">2sHI", b"MM", 42, 2**21) + bytes(2**21 - 8) + struct.pack(">H", 65_535) + tags
    (tmp_path / "a.webp").write_bytes(as_file(Image.new("RGB", (8, 8)), "WEBP", exif=block))
    with bounded():
        read(tmp_path / "a.webp")


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def test_an_avif_that_names_billions_of_pieces(tmp_path: Path) -> None:
    """Where the fields have no width, an item of six bytes has 65,535 pieces."""
    places = struct.pack(">IHH", 0, 0, 60_000) + struct.pack(">HHH", 1, 0, 0xFFFF) * 60_000
    meta = box(b"meta", bytes(4) + box(b"iinf", bytes(6)) + box(b"iloc", places))
    (tmp_path / "a.avif").write_bytes(box(b"ftyp", b"avif\0\0\0\0avif") + meta)
    with bounded():
        for do in (read, stripped):
            refusal(tmp_path / "a.avif", do)


LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
DOCTYPES = [
    f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]>',
    '<!DOCTYPE x [<!ENTITY l9 SYSTEM "file:///etc/passwd">]>',
    '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">',
]


@pytest.mark.parametrize("doctype", DOCTYPES)
@pytest.mark.parametrize("kind", ["webp", "jpeg", "avif"])
def test_xmp_with_entities(tmp_path: Path, doctype: str, kind: str) -> None:
    packet = doctype + xmp_packet("{}").replace("{}", "&l9;").replace("\ufeff", "").partition("?>")[2]
    path = tmp_path / "a"
    Image.new("RGB", (8, 8)).save(path, kind, xmp=packet.encode())
    assert "document type" in refusal(path)


def test_xmp_that_is_none(tmp_path: Path) -> None:
    for packet in (
        NAMESPACE,
        f"<x xmlns='{NAMESPACE}'>",
        f"<x xmlns='{NAMESPACE}'>" + "<a>" * 500_000 + "</a>" * 500_000 + "</x>",
        xmp_packet("{}").encode("utf-16"),
    ):
        data = packet if isinstance(packet, bytes) else packet.encode()
        Image.new("RGB", (8, 8)).save(tmp_path / "a.webp", xmp=data)
        assert read(tmp_path / "a.webp") == {}


def test_characters_that_do_harm_are_only_text(studio: Command, tmp_path: Path) -> None:
    for text in ("\ud800", "a\0b", "\x1b[31m", "\u202e", "\ufeff"):
        this = {"version": "1", "job_id": "x", "digest": "y", "index": 0, "seed": 1, "request": {"prompt": text}}
        body = b"studio\0\0\0\0\0" + json.dumps(this).encode()
        assert read(png(tmp_path / "a.png", png_chunk(b"iTXt", body)))["request"]["prompt"] == text
        output = studio("info", tmp_path / "a.png")
        assert (output.code, output.err) == (0, "") and "prompt: " in output.out
        assert not any(c in output.out for c in "\0\x1b\u202e")


@pytest.mark.parametrize("kind", [*KINDS, *(f"moving {kind}" for kind in MOVING)])
def test_files_that_are_cut_short(tmp_path: Path, kind: str) -> None:
    """At every byte: what was whole before the cut, or a sentence; and nothing is ever written of a part."""
    whole = sample(tmp_path / "a", kind)
    full = read(tmp_path / "a")
    step = max(1, len(whole) // 200)
    for length in range(0, len(whole), step):
        (tmp_path / "cut").write_bytes(whole[:length])
        try:
            result = read(tmp_path / "cut")
            assert result in (full, {}) or (result["program"], result["prompt"]) == ("A1111", "a cat")
        except Refused as refused:
            assert str(tmp_path / "cut") in str(refused)
        if kind not in ("avif", "moving avif"):  # its pixels come last, and no box but theirs says how long they are
            refusal(tmp_path / "cut", stripped)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("samples")
    return [sample(folder / "a", kind) for kind in (*KINDS, *FILMS, *(f"moving {kind}" for kind in MOVING))]


@settings(max_examples=300)
@given(data=st.data())
def test_any_bytes_give_settings_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, samples: list[bytes], data: st.DataObject
) -> None:
    """Whole files in which a few bytes are others, are missing or are too many."""
    changed = bytearray(data.draw(st.sampled_from(samples)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        new = data.draw(st.binary(max_size=8) | st.sampled_from([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"]))
        changed[at : at + data.draw(st.sampled_from([0, len(new), len(new), len(new), 9]))] = new
        if not changed:
            return
    _tried(tmp_path_factory.getbasetemp() / "fuzz", bytes(changed))


def _tried(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    for do in (read, stripped):
        try:
            result = do(path)
        except Refused as refused:
            assert "\n" not in str(refused)
        else:
            assert isinstance(result, dict | bytes)
    assert path.read_bytes() == data


def test_png_texts_without_a_keyword_are_passed_over(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("Comment", "x" * 1000)
    Image.new("RGBA", (2, 2)).save(tmp_path / "a.png", pnginfo=info)
    path = png(
        tmp_path / "b.png",
        png_chunk(b"tEXt", b""),
        png_chunk(b"iTXt", b"parameters"),
        png_chunk(b"zTXt", b"parameters\0"),
    )
    assert read(tmp_path / "a.png") == {}
    assert read(path) == {}


def directory(tags: int, size: int, start: int = 8) -> bytes:
    """A TIFF block whose values lie in the same place."""
    entries = b"".join(struct.pack(">HHII", 0x9000 + n, 7, size, start + 2 + 12 * tags + 4) for n in range(tags))
    return struct.pack(">2sHIH", b"MM", 42, start, tags) + entries + bytes(4 + size)


def jpeg(*segments: tuple[int, bytes]) -> bytes:
    """A JPEG with application segments of our own."""
    whole = as_file(Image.new("RGB", (8, 8)), "JPEG")
    added = [struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments]
    return whole[:2] + b"".join(added) + whole[2:]


def parted(block: bytes) -> bytes:
    """A JPEG whose EXIF is in several segments, which Pillow joins."""
    return jpeg(*((0xE1, b"Exif\0\0" + block[at : at + 60_000]) for at in range(0, len(block), 60_000)))


def raw_profile(block: bytes) -> bytes:
    """A PNG with its EXIF in hexadecimal, as ImageMagick writes it."""
    text = zlib.compress(f"\nexif\n{len(block)}\n{block.hex()}\n".encode())
    whole = as_file(Image.new("RGB", (8, 8)))
    return whole[:33] + png_chunk(b"zTXt", b"Raw profile type exif\0\0" + text) + whole[33:]


ONE_PLACE: dict[str, Callable[[], bytes]] = {
    **{
        kind: partial(as_file, Image.new("RGB", (8, 8)), kind, exif=b"Exif\0\0" + directory(500, 50_000))
        for kind in ("PNG", "WEBP", "JPEG", "AVIF")
    },
    "several headers": lambda: jpeg((0xE1, b"Exif\0\0" * 3 + directory(500, 50_000))),
    "several segments": lambda: parted(directory(20, 3_000_000)),
    "MPF": lambda: jpeg((0xE2, b"MPF\0" + directory(500, 50_000))),
    "text": lambda: raw_profile(directory(500, 400_000)),
}


@pytest.mark.parametrize("name", ONE_PLACE)
def test_overlapping_exif_values_are_refused(name: str, tmp_path: Path) -> None:
    """Pillow copies each value when it opens a file, whichever way that came in: it does not get to see them."""
    data = ONE_PLACE[name]()
    path = tmp_path / "a.picture"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        assert checked(data, "image").size == (8, 8)
        assert opened(path).size == (8, 8)
        assert not moves(path)
        assert ClipFile.open(path).count == 1
        assert tracemalloc.get_traced_memory()[1] < 15 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("write", [parted, raw_profile])
def test_a_picture_stays_upright_without_its_exif(write: Callable[[bytes], bytes], tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(write(exif_block(turned=6)))
    with Image.open(tmp_path / "a.png") as picture:
        turned = ImageOps.exif_transpose(picture)
    assert np.array_equal(np.asarray(opened(tmp_path / "a.png")), np.asarray(turned))
