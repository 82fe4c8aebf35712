"""Metadata put into files of any container and taken out of them again: the content stays as it is."""

import io
import json

import av
import pytest
from picture_kit import as_file
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from tiny_files import artifact_of, frames_of, job_of, picture_of, text_of

from models.messages import Refused
from studio.export.clips import Clip, clip_file
from studio.metadata.files import (
    media_type,
    read_bytes,
    strip,
    texts,
    write,
)
from studio.metadata.origin import Provenance, provenance

TIMES = [40, 80, 120, 200]  # milliseconds of the frames
STILL: dict[str, tuple[str, dict[str, object]]] = {
    "png": ("PNG", {}),
    "webp lossless": ("WEBP", {"lossless": True}),
    "webp lossy": ("WEBP", {"quality": 60}),
    "webp opaque": ("WEBP", {"quality": 60}),
    "jpeg": ("JPEG", {}),
    "gif": ("GIF", {}),
    "avif": ("AVIF", {}),
}
MOVING = {"moving png": "PNG", "moving webp": "WEBP", "moving gif": "GIF", "moving avif": "AVIF"}
FILMS = ("webm", "mp4")
KINDS = (*STILL, *MOVING, *FILMS)
RECORD = provenance(job_of(prompt="戴帽子的小狗 🐶"), artifact_of())
ODD = Provenance('a "b", <c> & ]]>\nSteps: 1, Seed: 2, Size: 3x3', RECORD.record)


def plain(kind: str) -> bytes:
    """A file with an odd width that says nothing of itself."""
    file = io.BytesIO()
    frames = [Image.new("RGBA", (33, 20), (60 * i, 200 - 60 * i, 30, 255)) for i in range(len(TIMES))]
    if kind in FILMS:
        return clip_file(Clip(tuple(frames), tuple(TIMES)), kind)
    if kind in MOVING:
        frames[0].save(file, MOVING[kind], save_all=True, append_images=frames[1:], duration=TIMES, loop=3)
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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("says", [RECORD, ODD])
def test_written_read_and_taken_out_again(kind: str, says: Provenance) -> None:
    before = plain(kind)
    told = write(before, media_type(before, "it"), says)
    assert facts(told) == facts(before)
    assert read_bytes(told, "it") == json.loads(says.record)
    without = strip(told, "it")
    assert facts(without) == facts(before) and read_bytes(without, "it") == {}
    assert b"job_id" not in without and b"Steps" not in without and b"trainedAlgorithmicMedia" not in without
    assert strip(write(without, media_type(before, "it"), RECORD), "it") == without
    assert texts(told, "it").texts["parameters"] == says.parameters


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not {*kind.split()} & {"gif", "avif", *FILMS}])
def test_other_programs_find_the_text_where_a1111_writes_it(kind: str) -> None:
    assert text_of(write(plain(kind), media_type(plain(kind), "it"), ODD)) == ODD.parameters


def test_a_gif_says_it_in_its_comment() -> None:
    told = write(plain("moving gif").replace(b"GIF89a", b"GIF87a"), "image/gif", Provenance("猫" * 300, "{}"))
    assert told.startswith(b"GIF89a"), "the older version has no comments"
    with Image.open(io.BytesIO(told)) as picture:
        assert picture.info["comment"].decode() == "猫" * 300


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_said_before_is_replaced(kind: str) -> None:
    before = plain(kind)
    once = write(before, media_type(before, "it"), ODD)
    assert read_bytes(once, "it")["request"]["prompt"] == "戴帽子的小狗 🐶"
    other = provenance(job_of(prompt="a fox"), artifact_of())
    twice = write(once, media_type(before, "it"), other)
    assert read_bytes(twice, "it")["request"]["prompt"] == "a fox"
    assert facts(twice) == facts(before) and "小狗".encode() not in twice
    assert twice == write(before, media_type(before, "it"), other)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "JPEG"])
def test_orientation_and_colours_stay(format: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a secret"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    info: dict[str, object] = {"pnginfo": PngInfo()} if format == "PNG" else {}
    noise = Image.effect_noise((33, 20), 90).convert("RGB")
    told = write(as_file(noise, format, exif=exif, icc_profile=profile, **info), f"image/{format.lower()}", RECORD)
    with Image.open(io.BytesIO(told)) as picture:
        assert picture.getexif()[0x0112] == 6 and picture.info["icc_profile"] == profile
    assert text_of(told) == RECORD.parameters and b"a secret" not in told
    assert read_bytes(told, "it") == json.loads(RECORD.record)


def test_a_text_ends_in_its_record() -> None:
    for words in ("a smiling cat", "a cat\n", "", "一只猫。\n\n第二段\n\nstudio: not a record\n", "studio: {}\n"):
        told = write(words.encode(), "text/plain", RECORD)
        assert told.startswith(words.encode()), "a program that reads the first line gets the caption"
        assert media_type(told, "it") == "text/plain"
        assert read_bytes(told, "it") == json.loads(RECORD.record)
        assert strip(told, "it") == words.encode()
        assert write(told, "text/plain", RECORD) == told


def test_a_text_without_a_record_is_no_file_of_ours() -> None:
    for words in (b"a cat", b"a\n\nstudio: {\n", b"a\n\nstudio: {}", b"a\n\nstudio: {}\nb\n"):
        with pytest.raises(Refused, match="is not a picture that can be read"):
            strip(words, "it")
        with pytest.raises(Refused, match="is not a picture that can be read"):
            read_bytes(words, "it")
    assert read_bytes(b"a\n\nstudio: {}\n", "it") == {}, "nothing that is a record of ours"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_written_into_a_part_of_a_file(kind: str) -> None:
    whole = plain(kind)
    for length in range(16, len(whole) - 1, max(1, len(whole) // 50)):
        try:
            copy = write(whole[:length], media_type(whole, "it"), RECORD)
        except (Refused, ValueError) as error:
            assert "cut short" in str(error) or "this is no" in str(error)
        else:
            # An AVIF's pixels come last and only their own box says how long they are; a film ends without frames.
            assert "avif" in kind or (kind in FILMS and facts(copy) == facts(whole))
