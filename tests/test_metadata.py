"""Files that say where they come from, to us and to the programs that read A1111's text; and requests from them."""

import io
import json
import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_files import (
    CAN,
    SUFFIXES,
    a1111,
    file_of,
    job_of,
    picture_of,
    text_of,
    write,
)

from models.messages import Refused
from studio.metadata.files import encoded, read, texts
from studio.metadata.origin import Provenance
from studio.metadata.readers import parse_parameters
from studio.metadata.restore import restore
from studio.planner import resolve
from studio.requests import BIDI_CONTROLS, ImageRequest, make_request

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


@settings(max_examples=25)
@given(prompt=WORDS, negative=WORDS, kind=st.sampled_from(KINDS))
def test_any_words_come_back(tmp_path_factory: pytest.TempPathFactory, prompt: str, negative: str, kind: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    marks = str.maketrans({mark: f"\\{mark}" for mark in "\\{}()[]_"})  # what draws and weighs words is meant here
    job = job_of(prompt=f"a {prompt.translate(marks)}", negative=negative.translate(marks))
    path.write_bytes(file_of(job, kind, 8))
    assert read(path)["request"] == json.loads(job.request.model_dump_json())
    assert text_of(path.read_bytes()).startswith(job.request.prompt + "\n")


@settings(max_examples=25)
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


def test_pictures_without_settings_say_nothing(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.webp", "a.gif", "a.avif"):
        Image.new("RGB", (9, 9)).save(tmp_path / name)
        assert read(tmp_path / name) == {}


# --- Restored ---------------------------------------------------------------------------------------------------------


def test_the_settings_of_a_picture_come_back(tmp_path: Path) -> None:
    asked = {"prompt": "一只猫", "negative": "dog", "style": "noto", "steps": 9, "guidance": 2.5, "scheduler": "heun"}
    job = write(tmp_path / "a.png", **asked)
    found = restore(read(tmp_path / "a.png"), CAN)
    assert tuple(map(str, found.lost)) == ()
    again = resolve(make_request(**found.fields), CAN)
    assert again == job.request.model_copy(update={"seed": 6, "count": 1, "shape": 8}), "this picture, in its shape"


def test_pictures_it_was_made_from_are_found_beside_it(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("me.png", "in/me.png", "in/you.png"):
        Image.new("RGBA", (9, 9), (len(name), 0, 0, 255)).save(tmp_path / name)
    like, part = {"path": str(tmp_path / "in/me.png")}, {"picture": {"path": str(tmp_path / "in/you.png")}}
    write(tmp_path / "in/a.png", like=like, mix=[part, {"text": "dog", "weight": -0.5}])
    found = restore(read(tmp_path / "in/a.png"), CAN, tmp_path / "in")
    assert tuple(map(str, found.lost)) == ()
    assert found.fields["like"]["path"] == str(tmp_path / "in/me.png")
    assert resolve(make_request(**found.fields), CAN).mix[1].weight == -0.5
    for folder, names in ((tmp_path, ("me.png", "you.png")), (None, ("me.png", "you.png"))):
        found = restore(read(tmp_path / "in/a.png"), CAN, folder)
        assert "like" not in found.fields and "mix" not in found.fields and found.fields["prompt"] == "a cat"
        for sentence, name in zip(tuple(map(str, found.lost)), names, strict=True):
            assert f"the picture {name!r} that it was made from is not beside it" in sentence


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.png", "..\\secret.png", "..", "", "/", "a\0b"])
def test_a_file_can_not_make_us_read_others(tmp_path: Path, path: str) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "a.png")
    Image.new("RGBA", (9, 9)).save(tmp_path / "secret.png")
    found = read(tmp_path / "a.png")
    found["request"]["like"] = {"path": path, "sha256": "0" * 64}
    again = restore(found, CAN, tmp_path / "in")
    assert "like" not in again.fields and len(tuple(map(str, again.lost))) == 1


def test_what_others_say_comes_back_as_far_as_it_can() -> None:
    text = (
        "a castle,\non a hill\nNegative prompt: fog\n"
        "Steps: 20, Sampler: DPM++ 2M, CFG scale: 7, Seed: 42, Size: 768x512, Model: dreamer, Clip skip: 2"
    )
    can = CAN.model_copy(update={"schedulers": ("euler", "dpm++")})
    found = restore(parse_parameters(text), can)
    assert found.fields == {
        "prompt": "a castle,\non a hill",
        "negative": "fog",
        "steps": 20,
        "guidance": 7.0,
        "seed": 42,
        "scheduler": "dpm++",
    }
    assert tuple(map(str, found.lost)) == (
        "the size 768x512: pictures are 128x128 or 512x512 here.",
        "settings that there are not here: Clip skip.",
        "the model 'dreamer', which is not here.",
    )
    assert resolve(make_request(**found.fields), can).prompt == "a castle, on a hill"


def test_what_is_known_here_is_spelled_as_here() -> None:
    found = restore(parse_parameters("a castle\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 42"), CAN)
    assert found.fields["scheduler"] == "euler" in CAN.schedulers
    found = restore({"program": "x", "prompt": "a", "style": "Noto", "scheduler": "HEUN"}, CAN)
    assert (found.fields["style"], found.fields["scheduler"]) == ("noto", "heun")


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
def test_what_the_model_can_not_take_is_dropped_alone(settings: dict[str, Any], says: str) -> None:
    found = restore({"program": "x", "prompt": "a", "seed": 7, "steps": 3, **settings}, CAN)
    (name,) = settings
    assert name not in found.fields and len(found.lost) == 1 and says in str(found.lost[0])
    assert {"prompt", "seed", "steps"} - {name} <= set(found.fields)


def test_a_model_without_pictures_drops_them(tmp_path: Path) -> None:
    Image.new("RGBA", (9, 9)).save(tmp_path / "me.png")
    write(tmp_path / "a.png", like={"path": str(tmp_path / "me.png")})
    found = restore(read(tmp_path / "a.png"), CAN.model_copy(update={"pictures": False}), tmp_path)
    assert "like" not in found.fields and "words only" in str(found.lost[0]) and found.fields["prompt"] == "a cat"


def test_a_record_of_a_newer_studio_comes_back_in_part(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    found = read(tmp_path / "a.png")
    found["request"]["wobble"] = 3
    again = restore(found, CAN)
    assert tuple(map(str, again.lost)) == ("there is no setting 'wobble'.",) and again.fields["seed"] == 6
    found["request"]["task"] = "clip"
    assert restore(found, CAN).fields == {} and "'clip'" in str(restore(found, CAN).lost[0])


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
    found: dict[str, Any] = {"program": "x", **{key: str(value) for key, value in fields.items()}}
    if ours:
        found = {"request": fields, "seed": 1, "how": {}}
    again = restore(found, CAN, Path("/nowhere"))
    resolve(make_request(**{"prompt": "a", **again.fields}), CAN)
    json.dumps(list(map(str, again.lost)))
