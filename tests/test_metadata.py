"""Metadata of files: written, read by us and by other programs, restored, stripped."""

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_kit import as_file
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from tiny_files import (
    CAN,
    MOVING,
    SUFFIXES,
    a1111,
    artifact_of,
    frames_of,
    job_of,
    picture_of,
    text_of,
    write,
    write_moving,
)

from models.messages import Refused
from studio.export.clips import Clip, clip_file
from studio.metadata.containers import png_chunk
from studio.metadata.files import encoded, media_type, read, read_bytes, strip, stripped, texts
from studio.metadata.files import write as write_into
from studio.metadata.origin import Provenance, parse_parameters, provenance
from studio.metadata.restore import restore
from studio.planner import resolve
from studio.requests import ImageRequest, make_request

KINDS = tuple(SUFFIXES)
PROMPTS = (
    "a cat",
    "戴帽子的小狗 🐶👨‍👩‍👧",
    'say "hi", then: bye \\n \\ "',
    "<b>&amp;</b> ]]> {x|y} (z:1.3)",
    "é" * 2000,
    "🐶" * 2000,
    "Steps: 3",
    "猫" * 650 + "🐶" * 650 + "x" * 650,
    "x\ufffe\uffff",
    "一" * 2000,  # U+4E00: an N in the wrong byte order
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_requests_are_read_back_exactly(tmp_path: Path, kind: str, prompt: str) -> None:
    path = tmp_path / "a.picture"  # what a file is called does not count
    job = write(path, kind, prompt=prompt, negative="dog, 狗", style="noto")
    matches = read(path)
    assert matches["request"] == json.loads(job.request.model_dump_json())
    assert (matches["job_id"], matches["index"], matches["seed"], matches["how"]) == (job.id, 1, 6, {"batch": 8})
    assert text_of(path.read_bytes()).startswith(job.request.prompt + "\n")


@settings(max_examples=25)
@given(text=st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=300))
@pytest.mark.parametrize("kind", KINDS)
def test_any_text_is_the_same_for_all_readers(kind: str, text: str) -> None:
    """Also line breaks and control characters, which prompts never have."""
    text = f"a {text} z"
    data = encoded(Image.new("RGB", (8, 8)), Provenance(text, json.dumps({"x": text}, ensure_ascii=False)), kind)
    assert text_of(data) == text
    matches = texts(data, "the file").texts
    assert matches["parameters"] == text
    assert json.loads(matches["studio"]) == {"x": text}


@pytest.mark.parametrize("kind", KINDS)
def test_other_programs_find_prompt_seed_and_steps(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "a", kind, prompt="戴帽子的小狗 🐶", negative="blurry, dark", style="black glyph")
    prompt, negative, matches = a1111(text_of((tmp_path / "a").read_bytes()))
    assert (prompt, negative) == ("戴帽子的小狗 🐶", "blurry, dark")
    assert (matches["Steps"], matches["Seed"], matches["CFG scale"], matches["Size"]) == ("16", "6", "4", "128x128")
    assert (matches["Sampler"], matches["Model hash"], matches["Style"]) == ("euler", "d" * 10, "black glyph")


@pytest.mark.parametrize("kind", ["webp", "avif", "jpeg"])
def test_the_comment_has_the_type_that_a1111_reads(tmp_path: Path, kind: str) -> None:
    """Its reader fails on a UserComment of type BYTE, which is what Pillow makes of bytes."""
    write(tmp_path / "a", kind)
    with Image.open(tmp_path / "a") as picture:
        block = picture.info["exif"].removeprefix(b"Exif\0\0")
    at = struct.unpack_from(">I", block, 18)[0]
    assert struct.unpack_from(">HHH", block, at) == (1, 0x9286, 7)


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_marked_as_generated(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "a", kind)
    with Image.open(tmp_path / "a") as picture:
        packet = picture.info.get("XML:com.adobe.xmp") or picture.info["xmp"]
    described = ElementTree.fromstring(packet).find(".//{*}Description")
    assert described is not None
    mark = described.get("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
    assert mark == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def test_pixels_survive_each_format(tmp_path: Path) -> None:
    picture = picture_of()
    picture.putpixel((9, 9), (255, 0, 0, 0))  # what can't be seen has a colour too
    off = {}
    for kind in KINDS:
        with Image.open(io.BytesIO(encoded(picture, None, kind))) as decoded:
            assert decoded.mode == ("RGB" if kind == "jpeg" else "RGBA")
            off[kind] = np.abs(np.asarray(decoded.convert("RGBA")).astype(int) - np.asarray(picture)).max(-1)
    assert off["png"].max() == off["webp"].max() == 0
    assert np.median(off["avif"]) <= 4


def test_a_jpeg_stands_on_white() -> None:
    clear = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    with Image.open(io.BytesIO(encoded(clear, None, "jpeg"))) as picture:
        assert picture.getpixel((5, 5)) == (255, 255, 255)


def test_paths_of_inputs_are_not_written(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    Image.new("RGBA", (9, 9)).save(tmp_path / "private" / "me.png")
    mine = {"path": str(tmp_path / "private" / "me.png")}
    for kind in KINDS:
        write(tmp_path / "a", kind, like=mine, mix=[{"picture": mine}])
        assert b"private" not in (tmp_path / "a").read_bytes()
        request = read(tmp_path / "a")["request"]
        assert request["like"]["path"] == request["mix"][0]["picture"]["path"] == "me.png"


def test_a_name_that_is_no_text_does_not_stop_the_writing(tmp_path: Path) -> None:
    odd = tmp_path / "me\udce9.png"  # a byte that is not UTF-8, as Python holds it
    try:
        Image.new("RGBA", (9, 9)).save(odd)
    except OSError:
        pytest.skip("the file system takes no such names")
    for kind in KINDS:
        write(tmp_path / "a", kind, like={"path": str(odd)})
        assert read(tmp_path / "a")["request"]["like"]["path"] == "me?.png"


def test_metadata_too_long_for_a_format_is_refused() -> None:
    picture = Image.new("RGBA", (8, 8))
    with pytest.raises(Refused, match="did you mean 'webp'"):
        encoded(picture, None, "wepb")
    with pytest.raises(Refused, match="too long for a jpeg file"):
        encoded(picture, Provenance("🐶" * 20_000, "{}"), "jpeg")
    with pytest.raises(Refused, match="too long for a jpeg file"):
        encoded(picture, Provenance("a", "🐶" * 20_000), "jpeg")


def test_pictures_without_settings_say_nothing(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.webp", "a.gif", "a.avif"):
        Image.new("RGB", (9, 9)).save(tmp_path / name)
        assert read(tmp_path / name) == {}


# --- Restored ---------------------------------------------------------------------------------------------------------


def test_the_settings_of_a_picture_come_back(tmp_path: Path) -> None:
    query = {"prompt": "一只猫", "negative": "dog", "style": "noto", "steps": 9, "guidance": 2.5, "scheduler": "heun"}
    job = write(tmp_path / "a.png", **query)
    matches = restore(read(tmp_path / "a.png"), CAN)
    assert tuple(map(str, matches.lost)) == ()
    again = resolve(make_request(**matches.fields), CAN)
    assert again == job.request.model_copy(update={"seed": 6, "count": 1, "shape": 8}), "this picture, in its shape"


def test_input_pictures_are_restored_from_the_same_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("me.png", "in/me.png", "in/you.png"):
        Image.new("RGBA", (9, 9), (len(name), 0, 0, 255)).save(tmp_path / name)
    like, part = {"path": str(tmp_path / "in/me.png")}, {"picture": {"path": str(tmp_path / "in/you.png")}}
    write(tmp_path / "in/a.png", like=like, mix=[part, {"text": "dog", "weight": -0.5}])
    matches = restore(read(tmp_path / "in/a.png"), CAN, tmp_path / "in")
    assert tuple(map(str, matches.lost)) == ()
    assert matches.fields["like"]["path"] == str(tmp_path / "in/me.png")
    assert resolve(make_request(**matches.fields), CAN).mix[1].weight == -0.5
    for folder, names in ((tmp_path, ("me.png", "you.png")), (None, ("me.png", "you.png"))):
        matches = restore(read(tmp_path / "in/a.png"), CAN, folder)
        assert "like" not in matches.fields and "mix" not in matches.fields and matches.fields["prompt"] == "a cat"
        for sentence, name in zip(tuple(map(str, matches.lost)), names, strict=True):
            assert f"the picture {name!r} that it was made from is not beside it" in sentence


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.png", "..\\secret.png", "..", "", "/", "a\0b"])
def test_a_file_can_not_make_us_read_others(tmp_path: Path, path: str) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "a.png")
    Image.new("RGBA", (9, 9)).save(tmp_path / "secret.png")
    matches = read(tmp_path / "a.png")
    matches["request"]["like"] = {"path": path, "sha256": "0" * 64}
    again = restore(matches, CAN, tmp_path / "in")
    assert "like" not in again.fields and len(tuple(map(str, again.lost))) == 1


def test_settings_of_other_programs_are_restored() -> None:
    text = (
        "a castle,\non a hill\nNegative prompt: fog\n"
        "Steps: 20, Sampler: DPM++ 2M, CFG scale: 7, Seed: 42, Size: 768x512, Model: dreamer, Clip skip: 2"
    )
    can = CAN.model_copy(update={"schedulers": ("euler", "dpm++")})
    matches = restore(parse_parameters(text), can)
    assert matches.fields == {
        "prompt": "a castle,\non a hill",
        "negative": "fog",
        "steps": 20,
        "guidance": 7.0,
        "seed": 42,
        "scheduler": "dpm++",
    }
    assert tuple(map(str, matches.lost)) == (
        "the size 768x512: pictures are 128x128 or 512x512 here.",
        "settings that there are not here: Clip skip.",
        "the model 'dreamer', which is not here.",
    )
    assert resolve(make_request(**matches.fields), can).prompt == "a castle, on a hill"


def test_restored_names_are_normalised() -> None:
    matches = restore(parse_parameters("a castle\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 42"), CAN)
    assert matches.fields["scheduler"] == "euler" in CAN.schedulers
    matches = restore({"program": "x", "prompt": "a", "style": "Noto", "scheduler": "HEUN"}, CAN)
    assert (matches.fields["style"], matches.fields["scheduler"]) == ("noto", "heun")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"scheduler": "Euler a"}, "unknown scheduler 'Euler a'"),
        ({"steps": 5000}, "steps must be between 1 and 100, not 5000"),
        ({"guidance": 0.5}, "guidance must be between 1 and 20"),
        ({"seed": 2**40}, "seed must be between"),
        ({"seed": -1}, "seed must be between"),
        ({"style": "unheard of"}, "unknown style 'unheard of'"),
        ({"prompt": "x" * 10_000}, "10,000 characters"),
        ({"negative": "a\x1b"}, "control character"),
        ({"model": "diffusers:/home/me/evil"}, "is not here"),
    ],
)
def test_invalid_settings_are_dropped_separately(settings: dict[str, Any], says: str) -> None:
    matches = restore({"program": "x", "prompt": "a", "seed": 7, "steps": 3, **settings}, CAN)
    (name,) = settings
    assert name not in matches.fields and len(matches.lost) == 1 and says in str(matches.lost[0])
    assert {"prompt", "seed", "steps"} - {name} <= set(matches.fields)


def test_a_model_without_pictures_drops_them(tmp_path: Path) -> None:
    Image.new("RGBA", (9, 9)).save(tmp_path / "me.png")
    write(tmp_path / "a.png", like={"path": str(tmp_path / "me.png")})
    matches = restore(read(tmp_path / "a.png"), CAN.model_copy(update={"pictures": False}), tmp_path)
    assert "like" not in matches.fields and "words only" in str(matches.lost[0]) and matches.fields["prompt"] == "a cat"


def test_a_record_of_a_newer_studio_comes_back_in_part(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    matches = read(tmp_path / "a.png")
    matches["request"]["wobble"] = 3
    again = restore(matches, CAN)
    assert tuple(map(str, again.lost)) == ("there is no setting 'wobble'.",) and again.fields["seed"] == 6
    matches["request"]["task"] = "clip"
    assert restore(matches, CAN).fields == {} and "'clip'" in str(restore(matches, CAN).lost[0])


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
NAMES = st.sampled_from((*ImageRequest.model_fields, "wobble"))
PICTURE = st.fixed_dictionaries({"path": ANY, "sha256": ANY})


@settings(max_examples=150)
@given(st.dictionaries(NAMES, ANY | PICTURE | st.lists(PICTURE, max_size=2), max_size=6), st.booleans())
def test_any_record_gives_fields_that_the_model_takes(fields: dict[str, Any], ours: bool) -> None:
    matches: dict[str, Any] = {"program": "x", **{key: str(value) for key, value in fields.items()}}
    if ours:
        matches = {"request": fields, "seed": 1, "how": {}}
    again = restore(matches, CAN, Path("/nowhere"))
    resolve(make_request(**{"prompt": "a", **again.fields}), CAN)
    json.dumps(list(map(str, again.lost)))


TIMES = [40, 80, 120, 200]  # milliseconds of the frames
STILL: dict[str, tuple[str, dict[str, object]]] = {
    "png": ("PNG", {}),
    "webp lossless": ("WEBP", {"lossless": True}),
    "webp lossy": ("WEBP", {"quality": 60}),
    "webp opaque": ("WEBP", {"quality": 60}),
    "jpeg": ("JPEG", {}),
    "gif": ("GIF", {}),
}
MOVING_FORMATS = {"moving png": "PNG", "moving webp": "WEBP", "moving gif": "GIF", "moving avif": "AVIF"}
FILMS = ("webm", "mp4")
CONTAINER_KINDS = (*STILL, "moving png", "moving webp", "moving gif", *FILMS)
RECORD = provenance(job_of(prompt="戴帽子的小狗 🐶"), artifact_of())
ODD = Provenance('a "b", <c> & ]]>\nSteps: 1, Seed: 2, Size: 3x3', RECORD.record)


def plain(kind: str) -> bytes:
    """A file of odd width without metadata."""
    file = io.BytesIO()
    frames = [Image.new("RGBA", (33, 20), (60 * i, 200 - 60 * i, 30, 255)) for i in range(len(TIMES))]
    if kind in FILMS:
        return clip_file(Clip(tuple(frames), tuple(TIMES)), kind)
    if kind in MOVING_FORMATS:
        frames[0].save(file, MOVING_FORMATS[kind], save_all=True, append_images=frames[1:], duration=TIMES, loop=3)
    else:
        format, options = STILL[kind]
        picture = picture_of(33).crop((0, 0, 33, 20))
        (picture.convert("RGB") if kind in ("jpeg", "webp opaque") else picture).save(file, format, **options)
    return file.getvalue()


def facts(data: bytes) -> list[object]:
    """What a viewer shows: size, mode, loop, and all frames with their times."""
    if media_type(data, "it").startswith("video/"):
        with av.open(io.BytesIO(data)) as film:
            shown = [(packet.pts, bytes(packet)) for packet in film.demux(video=0) if packet.size]
            stream = film.streams.video[0]
            return [stream.width, stream.height, film.duration, stream.average_rate, shown]
    with Image.open(io.BytesIO(data)) as picture:
        return [picture.size, picture.mode, picture.info.get("loop"), frames_of(data)]


@pytest.mark.parametrize("kind", CONTAINER_KINDS)
@pytest.mark.parametrize("says", [RECORD, ODD])
def test_written_read_and_taken_out_again(kind: str, says: Provenance) -> None:
    before = plain(kind)
    answer = write_into(before, media_type(before, "it"), says)
    assert facts(answer) == facts(before)
    assert read_bytes(answer, "it") == json.loads(says.record)
    without = strip(answer, "it")
    assert facts(without) == facts(before) and read_bytes(without, "it") == {}
    assert b"job_id" not in without and b"Steps" not in without and b"trainedAlgorithmicMedia" not in without
    assert strip(write_into(without, media_type(before, "it"), RECORD), "it") == without
    assert texts(answer, "it").texts["parameters"] == says.parameters


@pytest.mark.parametrize("kind", [kind for kind in CONTAINER_KINDS if not {*kind.split()} & {"gif", *FILMS}])
def test_other_programs_find_the_text_where_a1111_writes_it(kind: str) -> None:
    assert text_of(write_into(plain(kind), media_type(plain(kind), "it"), ODD)) == ODD.parameters


def test_a_gif_says_it_in_its_comment() -> None:
    answer = write_into(plain("moving gif").replace(b"GIF89a", b"GIF87a"), "image/gif", Provenance("猫" * 300, "{}"))
    assert answer.startswith(b"GIF89a"), "the older version has no comments"
    with Image.open(io.BytesIO(answer)) as picture:
        assert picture.info["comment"].decode() == "猫" * 300


@pytest.mark.parametrize("kind", CONTAINER_KINDS)
def test_metadata_is_replaced(kind: str) -> None:
    before = plain(kind)
    once = write_into(before, media_type(before, "it"), ODD)
    assert read_bytes(once, "it")["request"]["prompt"] == "戴帽子的小狗 🐶"
    other = provenance(job_of(prompt="a fox"), artifact_of())
    twice = write_into(once, media_type(before, "it"), other)
    assert read_bytes(twice, "it")["request"]["prompt"] == "a fox"
    assert facts(twice) == facts(before) and "小狗".encode() not in twice
    assert twice == write_into(before, media_type(before, "it"), other)


def test_a_text_ends_in_its_record() -> None:
    for words in ("a smiling cat", "a cat\n", "", "一只猫。\n\n第二段\n\nstudio: not a record\n", "studio: {}\n"):
        answer = write_into(words.encode(), "text/plain", RECORD)
        assert answer.startswith(words.encode()), "a program that reads the first line gets the caption"
        assert media_type(answer, "it") == "text/plain"
        assert read_bytes(answer, "it") == json.loads(RECORD.record)
        assert strip(answer, "it") == words.encode()
        assert write_into(answer, "text/plain", RECORD) == answer


def test_a_text_without_a_record_is_no_file_of_ours() -> None:
    for words in (b"a cat", b"a\n\nstudio: {\n", b"a\n\nstudio: {}", b"a\n\nstudio: {}\nb\n"):
        with pytest.raises(Refused, match="is not a picture that can be read"):
            strip(words, "it")
        with pytest.raises(Refused, match="is not a picture that can be read"):
            read_bytes(words, "it")
    assert read_bytes(b"a\n\nstudio: {}\n", "it") == {}, "nothing that is a record of ours"


@pytest.mark.parametrize("kind", CONTAINER_KINDS)
def test_truncated_files_are_not_written(kind: str) -> None:
    whole = plain(kind)
    for length in range(16, len(whole) - 1, max(1, len(whole) // 50)):
        try:
            copy = write_into(whole[:length], media_type(whole, "it"), RECORD)
        except (Refused, ValueError) as error:
            assert "cut short" in str(error) or "this is no" in str(error)
        else:
            assert kind in FILMS and facts(copy) == facts(whole), "a film ends without frames"


def test_a_film_loses_its_subtitles_also_where_they_last_longer() -> None:
    file, film = io.BytesIO(), plain("webm")
    words = b"1\n00:00:00,000 --> 00:00:09,000\nZxqv\n\n"
    with (
        av.open(io.BytesIO(film)) as video,
        av.open(io.BytesIO(words), format="srt") as subtitles,
        av.open(file, "w", format="matroska") as both,
    ):
        copies = [(source, both.add_stream_from_template(source.streams[0])) for source in (video, subtitles)]
        for source, stream in copies:
            for packet in source.demux():
                if packet.pts is not None:
                    packet.stream = stream
                    both.mux(packet)
    assert b"Zxqv" in file.getvalue()
    without = strip(file.getvalue(), "it")
    assert b"Zxqv" not in without and facts(without)[-1] == facts(film)[-1]


STRIP_KINDS = (*SUFFIXES, *(f"moving {kind}" for kind in MOVING))
SECRET = "Zxqv 一只猫"
TURNED = 6  # EXIF's number for a picture that lies on its side
ONLY_TURNED = bytes.fromhex("49492a00 08000000 0100 1201 0300 01000000 06000000 00000000")


def make(path: Path, kind: str, **fields: object) -> bytes:
    (write_moving if kind.startswith("moving") else write)(path, kind.removeprefix("moving "), **fields)
    return path.read_bytes()


def traces(data: bytes) -> list[str]:
    """Traces of the secret in the bytes."""
    words = ("Zxqv", "一只猫", "digitalsourcetype", "trainedAlgorithmicMedia", "Steps", "Seed", "studio", "xmpmeta")
    codes = ("utf-8", "utf-16-be", "utf-16-le")
    matches = [word for word in words for code in codes if word.encode(code) in data]
    return matches + ["EXIF"] * any(word in data for word in (b"UNICODE\0", b"II*\0", b"MM\0*"))


@pytest.mark.parametrize("kind", STRIP_KINDS)
def test_strip_leaves_no_trace_and_no_pixel_changes(tmp_path: Path, kind: str) -> None:
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
    results = [plain]
    if form != "AVIF":
        results.append(write_into(data, f"image/{form.lower()}", RECORD))
        assert text_of(results[1]) == RECORD.parameters and read_bytes(results[1], "it") == json.loads(RECORD.record)
        assert SECRET.encode() not in results[1]
    for result in results:
        with Image.open(io.BytesIO(result)) as picture:
            exif = picture.getexif()
            assert (picture.info["icc_profile"], exif.get(0x0112)) == (PROFILE, TURNED)
            assert 0x010E not in exif and not exif.get_ifd(0x8825)


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


def test_avif_times_are_stripped(tmp_path: Path) -> None:
    data, clocks = bytearray(plain("moving avif")), []
    for box in (b"mvhd", b"tkhd", b"mdhd"):
        at, wide = data.index(box) + 4, data[data.index(box) + 4] == 1
        clocks.append(slice(at + 4, at + (20 if wide else 12)))
        data[clocks[-1]] = b"\1" * len(data[clocks[-1]])  # ours say nothing of it
    (tmp_path / "a").write_bytes(data)
    without = stripped(tmp_path / "a")
    assert not any(any(without[times]) for times in clocks) and facts(without) == facts(bytes(data))
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
    output = studio("strip", tmp_path / "a.png", tmp_path / "b.webp", "--json")
    assert output.code == 0
    assert output.json == [
        {"path": str(tmp_path / "a.png"), "out": str(tmp_path / "a-plain.png")},
        {"path": str(tmp_path / "b.webp"), "out": str(tmp_path / "b-plain.webp")},
    ]
    assert not traces((tmp_path / "a-plain.png").read_bytes())
    assert studio("strip", tmp_path / "a.png").out.strip() == str(tmp_path / "a-plain.png"), "again is no harm"
    output = studio("strip", tmp_path / "a.png", "--out", tmp_path / "deep" / "out")
    assert output.out.strip() == str(tmp_path / "deep" / "out" / "a.png")


def test_strip_overwrites_nothing(studio: Callable, tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    (tmp_path / "a-plain.png").write_bytes(b"mine")
    (tmp_path / "out" / "a.png").mkdir(parents=True)
    before = (tmp_path / "a.png").read_bytes()
    for arguments in ([], ["--out", tmp_path], ["--out", tmp_path / "out"]):
        output = studio("strip", tmp_path / "a.png", *arguments)
        assert output.code == 2 and "is there already" in output.err and output.out == ""
    assert ((tmp_path / "a.png").read_bytes(), (tmp_path / "a-plain.png").read_bytes()) == (before, b"mine")
    output = studio("strip", tmp_path / "a.png", "--out", tmp_path / "a.png")
    assert output.code == 2 and "not a folder" in output.err


def test_files_that_can_not_be_stripped_do_not_stop_the_others(studio: Callable, tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:-20])
    output = studio("strip", tmp_path / "cut.png", tmp_path / "a.png", "--json")
    assert output.code == 1 and len(output.json) == 1 and "cut.png is damaged or cut short." in output.err
    assert studio("strip", tmp_path / "cut.png", tmp_path / "none.png").code == 2
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["a-plain.png", "a.png", "cut.png"]


def test_info_of_several_files(studio: Callable, tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    write(tmp_path / "b.jpg", "jpeg", prompt=SECRET)
    output = studio("info", tmp_path / "a.png", tmp_path / "b.jpg", "--json")
    assert output.code == 0 and [row["request"]["prompt"] for row in output.json] == ["a cat", SECRET]
    output = studio("info", tmp_path / "a.png", tmp_path)
    assert output.code == 1 and "prompt: a cat" in output.out and "is a folder" in output.err
    output = studio("info", tmp_path / "b.jpg", "--json")
    assert json.loads(output.out)["path"] == str(tmp_path / "b.jpg")


def test_no_metadata_writes_plain_files(studio: Callable, tmp_path: Path) -> None:
    ask = ("generate", SECRET, "--seed", 1, "--count", 2, "--model", "fake", "--json", "--out", tmp_path / "out")
    answer = studio(*ask)
    plain = studio(*ask, "--no-metadata")
    assert answer.code == plain.code == 0 and [row["seed"] for row in plain.json] == [1, 2]
    for item, other in zip(answer.json, plain.json, strict=True):
        data = Path(other["path"]).read_bytes()
        assert not traces(data) and frames_of(data) == frames_of(Path(item["path"]).read_bytes())
        assert item["job_id"][:16] not in other["path"]
    assert [row["seconds"] for row in studio(*ask).json] == [0, 0], "the files that tell are found as before"
    again = studio(*ask, "--no-metadata")
    assert [row["path"] for row in again.json] == [row["path"] for row in plain.json]
    assert all(row["seconds"] for row in again.json), "plain ones are not found but made again"
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_no_metadata_leaves_no_files_on_failure(
    studio: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("studio.backends.fake._draw", lambda *_: (_ for _ in ()).throw(MemoryError()))
    output = studio("generate", "a", "--model", "fake", "--no-metadata", "--out", tmp_path / "out")
    assert output.code == 2 and list(tmp_path.iterdir()) == []
