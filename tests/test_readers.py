"""What A1111 and programs like it write into their pictures, read from files as they make them."""

import json
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from studio.metadata.files import read
from studio.metadata.origin import parse_parameters, parsed, read_texts

A1111 = """a castle (fog:1.2), <lora:old:0.8>
on a hill, "at night"
Negative prompt: blurry,
Negative prompt: ugly
Steps: 20, Sampler: "DPM++ 2M, Karras", CFG scale: 7.5, Seed: 42, Size: 512x768, Model hash: abc, Model: dreamer_8, \
Denoising strength: 0.4, Lora hashes: "old: 12, new: 34", Version: f2.0.1v1.10.1"""


def png(path: Path, **texts: str) -> Path:
    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)  # as Pillow users do: Latin-1 where it fits, else iTXt
    Image.new("RGBA", (2, 2)).save(path, pnginfo=info)
    return path


def test_a1111(tmp_path: Path) -> None:
    found = read(png(tmp_path / "a.png", parameters=A1111))
    assert found.pop("other") == {
        "Model hash": "abc",
        "Denoising strength": "0.4",
        "Lora hashes": "old: 12, new: 34",
        "Version": "f2.0.1v1.10.1",
    }
    assert found == {
        "program": "A1111",
        "prompt": 'a castle (fog:1.2), <lora:old:0.8>\non a hill, "at night"',
        "negative": "blurry,\nugly",
        "steps": 20,
        "guidance": 7.5,
        "seed": 42,
        "scheduler": "DPM++ 2M, Karras",
        "size": "512x768",
        "model": "dreamer_8",
    }


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.avif"])
@pytest.mark.parametrize("little", [False, True])
def test_a1111_in_exif(tmp_path: Path, name: str, little: bool) -> None:
    """As piexif has it (the big end first), and as others do who take UNICODE for the small end first."""
    comment = b"UNICODE\0" + A1111.encode("utf-16-le" if little else "utf-16-be")
    block = struct.pack(">2sHIHHHIIIHHHIII", b"MM", 42, 8, 1, 0x8769, 4, 1, 26, 0, 1, 0x9286, 7, len(comment), 44, 0)
    Image.new("RGB", (8, 8)).save(tmp_path / name, exif=b"Exif\0\0" + block + comment)
    found = read(tmp_path / name)
    assert (found["seed"], found["negative"]) == (42, "blurry,\nugly")


def test_a1111_in_a_gif(tmp_path: Path) -> None:
    Image.new("P", (8, 8)).save(tmp_path / "a.gif", comment=A1111)
    assert read(tmp_path / "a.gif")["seed"] == 42


@pytest.mark.parametrize("text", ["", "a cat", "a\nSteps: 1, Seed: 2", "A photo from my camera: nice, really"])
def test_text_that_is_not_a1111s(text: str) -> None:
    assert parse_parameters(text) == {}


def test_values_that_are_no_numbers_are_not_made_into_any() -> None:
    found = parse_parameters("a\nSteps: many, Seed: 9, CFG scale: nan, Size: 1x2")
    assert found == {
        "prompt": "a",
        "negative": "",
        "seed": 9,
        "size": "1x2",
        "other": {"steps": "many", "guidance": "nan"},
    }


@pytest.mark.parametrize("own", ["", "{", "[1]", "[" * 100_000, '{"request": 3}', '"x"', "NaN", '{"request": {}}'])
def test_a_record_that_is_not_ours_is_passed_over(tmp_path: Path, own: str) -> None:
    assert read(png(tmp_path / "a.png", studio=own, parameters="a\nSteps: 1, Seed: 2, Size: 3x3"))["prompt"] == "a"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KNOWN = st.sampled_from(["prompt", "seed", "steps", "model", "width", "height", "request", "how"])


@settings(max_examples=80)
@given(st.dictionaries(KNOWN, JSON | st.dictionaries(KNOWN, JSON, max_size=5), max_size=6) | JSON)
def test_any_json_gives_settings_or_nothing(value: Any) -> None:
    text = json.dumps(value)
    for keyword in ("studio", "parameters"):
        found = read_texts({keyword: text})
        assert found == {} or {"program", "request"} & set(found)
        json.dumps(found, allow_nan=False)
        for name, kind in (("prompt", str), ("seed", int), ("steps", int), ("guidance", float), ("size", str)):
            assert "request" in found or isinstance(found.get(name, kind()), kind)


@settings(max_examples=80)
@given(st.text(max_size=300) | st.from_regex(r'(.*\n)?(\w\w: ("|\\"|,|x|:){0,9},? ?){0,9}'))
def test_any_text_gives_settings_or_nothing(text: str) -> None:
    found = parse_parameters(text)
    assert found == {} or {"prompt", "negative"} <= set(found)


@pytest.mark.parametrize(
    "line", ["a" * 200_000, " " * 200_000, 'ab:"' * 50_000, 'ab: "\\' * 40_000, "a:" * 100_000, "a-" * 100_000 + ":"]
)
def test_hostile_lines_take_linear_time(line: str) -> None:
    began = time.process_time()
    parse_parameters(f"a\n{line}")
    assert time.process_time() - began < 2, "quadratic time would take minutes"


def test_json_that_goes_deep_is_none() -> None:
    assert parsed("[" * 60 + "]" * 60) is not None
    for depth in (100, 900, 10_000, 1_000_000):
        assert parsed("[" * depth + "]" * depth) is None
    assert parsed("[NaN, Infinity, 1e999, 1.5]") == [None, None, None, 1.5]
    assert parsed("9" * 5000) is None
