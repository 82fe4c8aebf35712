"""Files that say where they come from, to us and to the programs that read A1111's text."""

import io
import json
import struct
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_files import MOVING, SUFFIXES, a1111, file_of, frames_of, job_of, picture_of, text_of, write, write_moving

from models.messages import Refused
from studio.fields import BIDI_CONTROLS
from studio.metadata import Provenance, encoded, read, texts

KINDS = tuple(SUFFIXES)
PROMPTS = (
    "a cat",
    "戴帽子的小狗 🐶👨‍👩‍👧",
    'say "hi", then: bye \\n \\ "',
    "<b>&amp;</b> ]]> {x|y} (z:1.3)",
    "é" * 2000,
    "🐶" * 2000,
    "Steps: 3",
    "x\ufffe\uffff",
    "一" * 2000,  # U+4E00: an N in the wrong byte order
)
WORDS = st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters=BIDI_CONTROLS)
    | st.sampled_from("猫🐶\"'\\,:{}<>&é %"),
    max_size=200,
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_what_was_asked_comes_back_exactly(tmp_path: Path, kind: str, prompt: str) -> None:
    path = tmp_path / "a.picture"  # what a file is called does not count
    job = write(path, kind, prompt=prompt, negative="dog, 狗", style="noto")
    found = read(path)
    assert found["request"] == json.loads(job.request.model_dump_json())
    assert (found["job_id"], found["index"], found["seed"], found["how"]) == (job.id, 1, 6, {"batch": 8})


@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_characters_come_back(tmp_path: Path, kind: str) -> None:
    mix = [{"text": character * 2000} for character in "猫🐶x"]
    job = write(tmp_path / "a", kind, prompt="狗" * 2000, negative="🐱" * 2000, mix=mix)
    assert read(tmp_path / "a")["request"] == json.loads(job.request.model_dump_json())


@settings(max_examples=25, deadline=None)
@given(prompt=WORDS, negative=WORDS, kind=st.sampled_from(KINDS))
def test_any_words_come_back(tmp_path_factory: pytest.TempPathFactory, prompt: str, negative: str, kind: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    marks = str.maketrans({mark: f"\\{mark}" for mark in "\\{}()[]_"})  # what draws and weighs words is meant here
    job = job_of(prompt=f"a {prompt.translate(marks)}", negative=negative.translate(marks))
    path.write_bytes(file_of(job, kind, 8))
    assert read(path)["request"] == json.loads(job.request.model_dump_json())
    assert text_of(path.read_bytes()).startswith(job.request.prompt + "\n")


@settings(max_examples=25, deadline=None)
@given(text=st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=300))
@pytest.mark.parametrize("kind", KINDS)
def test_any_text_is_the_same_for_all_readers(kind: str, text: str) -> None:
    """Also with line breaks and control characters, which a prompt of ours never has."""
    text = f"a {text} z"
    data = encoded(Image.new("RGB", (8, 8)), Provenance(text, json.dumps({"x": text}, ensure_ascii=False)), kind)
    assert text_of(data) == text
    found = texts(data, "the file").texts
    assert found["parameters"] == text
    assert json.loads(found["studio"]) == {"x": text}


@pytest.mark.parametrize("kind", MOVING)
def test_moving_pictures_say_it_too(tmp_path: Path, kind: str) -> None:
    job = write_moving(tmp_path / "a", kind, prompt="一只猫 🐱, spinning")
    data = (tmp_path / "a").read_bytes()
    frames = frames_of(data)
    assert [duration for _, duration in frames] == [100] * 4 and len({pixels for pixels, _ in frames}) == 4
    assert read(tmp_path / "a")["job_id"] == job.id
    assert a1111(text_of(data))[0] == "一只猫 🐱, spinning"


@pytest.mark.parametrize("kind", KINDS)
def test_other_programs_find_prompt_seed_and_steps(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "a", kind, prompt="戴帽子的小狗 🐶", negative="blurry, dark", style="black glyph")
    prompt, negative, found = a1111(text_of((tmp_path / "a").read_bytes()))
    assert (prompt, negative) == ("戴帽子的小狗 🐶", "blurry, dark")
    assert (found["Steps"], found["Seed"], found["CFG scale"], found["Size"]) == ("16", "6", "4", "128x128")
    assert (found["Sampler"], found["Model hash"], found["Style"]) == ("euler", "d" * 10, "black glyph")


@pytest.mark.parametrize("kind", ["webp", "avif", "jpeg"])
def test_the_comment_has_the_type_that_a1111_reads(tmp_path: Path, kind: str) -> None:
    """Its reader fails on a UserComment of type BYTE, which is what Pillow makes of bytes."""
    write(tmp_path / "a", kind)
    with Image.open(tmp_path / "a") as picture:
        block = picture.info["exif"].removeprefix(b"Exif\0\0")
    at = struct.unpack_from(">I", block, 18)[0]
    assert struct.unpack_from(">HHH", block, at) == (1, 0x9286, 7)


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_marked_as_made_by_a_model(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "a", kind)
    with Image.open(tmp_path / "a") as picture:
        packet = picture.info.get("XML:com.adobe.xmp") or picture.info["xmp"]
    described = ElementTree.fromstring(packet).find(".//{*}Description")
    assert described is not None
    mark = described.get("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
    assert mark == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def test_pixels_are_kept_as_far_as_the_format_can(tmp_path: Path) -> None:
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


def test_where_a_picture_lies_is_not_told(tmp_path: Path) -> None:
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


def test_what_a_format_can_not_hold_is_refused() -> None:
    picture = Image.new("RGBA", (8, 8))
    with pytest.raises(Refused, match="did you mean 'webp'"):
        encoded(picture, None, "wepb")
    with pytest.raises(Refused, match="too long for a jpeg file"):
        encoded(picture, Provenance("🐶" * 20_000, "{}"), "jpeg")
    with pytest.raises(Refused, match="too long for a jpeg file"):
        encoded(picture, Provenance("a", "🐶" * 20_000), "jpeg")


def test_a_pillow_without_a_format_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(Image.SAVE, "AVIF")
    with pytest.raises(Refused, match="can't write avif files on this machine"):
        encoded(Image.new("RGBA", (8, 8)), None, "avif")


def test_pictures_without_settings_say_nothing(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.webp", "a.gif", "a.avif"):
        Image.new("RGB", (9, 9)).save(tmp_path / name)
        assert read(tmp_path / name) == {}
