"""From a file back to a request: what the model can take comes back, and the rest is named."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_files import CAN, write

from studio.metadata import read, restore
from studio.metadata.readers import parse_parameters
from studio.planner import resolve
from studio.requests import ImageRequest, make_request


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
        ({"seed": 2**40}, "the seed must be between"),
        ({"seed": -1}, "the seed must be between"),
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


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(NAMES, ANY | PICTURE | st.lists(PICTURE, max_size=2), max_size=6), st.booleans())
def test_any_record_gives_fields_that_the_model_takes(fields: dict[str, Any], ours: bool) -> None:
    found: dict[str, Any] = {"program": "x", **{key: str(value) for key, value in fields.items()}}
    if ours:
        found = {"request": fields, "seed": 1, "how": {}}
    again = restore(found, CAN, Path("/nowhere"))
    resolve(make_request(**{"prompt": "a", **again.fields}), CAN)
    json.dumps(list(map(str, again.lost)))
