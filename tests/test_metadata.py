"""Files that say where they come from, to us and to the programs that read A1111's text."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from studio.backends.fake import Fake
from studio.capabilities import Refused
from studio.events import Result
from studio.metadata import Job, parse_parameters, png_bytes, read
from studio.requests import image_request, job_id, resolve

CAN = Fake().capabilities()


def write(path: Path, **fields: object) -> Job:
    request = resolve(image_request(**{"prompt": "a cat", "seed": 5, "count": 2, **fields}), CAN)
    job = Job(request, job_id(request, "d" * 64), "d" * 64)
    picture = Image.new("RGBA", (128, 128), (200, 30, 30, 90))
    path.write_bytes(png_bytes(Result(1, 6, picture, 0.25, {"batch": 8}), job))
    return job


def save(path: Path, **texts: str) -> None:
    info = PngInfo()
    for key, text in texts.items():
        info.add_itxt(key, text)
    Image.new("RGBA", (2, 2)).save(path, pnginfo=info)


def a1111(text: str) -> tuple[str, str, dict[str, str]]:
    """How A1111 reads its text: the last line is settings if it holds three, "Negative prompt:" begins a line."""
    *lines, last = text.strip().split("\n")
    settings = re.findall(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)', last)
    assert len(settings) >= 3, "would be taken for a part of the prompt"
    negative = [line for line in lines if line.startswith("Negative prompt:")]
    prompt = [line for line in lines if not line.startswith("Negative prompt:")]
    return "\n".join(prompt), "\n".join(line[16:].strip() for line in negative), dict(settings)


@pytest.mark.parametrize(
    "prompt", ["a cat", "戴帽子的小狗 🐶", 'say "hi", then: bye', "<b>&amp;</b> {x|y} (z:1.3)", "é" * 2000, "Steps: 3"]
)
def test_what_was_asked_comes_back_exactly(tmp_path: Path, prompt: str) -> None:
    job = write(tmp_path / "a.png", prompt=prompt, negative="dog, 狗", style="noto")
    found = read(tmp_path / "a.png")
    assert found["request"] == json.loads(job.request.model_dump_json())
    assert (found["job_id"], found["index"], found["seed"], found["how"]) == (job.id, 1, 6, {"batch": 8})


def test_other_programs_find_prompt_seed_and_steps(tmp_path: Path) -> None:
    write(tmp_path / "a.png", prompt="戴帽子的小狗 🐶", negative="blurry, dark", style="black glyph")
    with Image.open(tmp_path / "a.png") as picture:
        prompt, negative, found = a1111(picture.text["parameters"])
    assert (prompt, negative) == ("戴帽子的小狗 🐶", "blurry, dark")
    assert (found["Steps"], found["Seed"], found["CFG scale"], found["Size"]) == ("16", "6", "3", "128x128")
    assert found["Model hash"] == "d" * 10


def test_the_picture_is_untouched_and_marked_as_made_by_a_model(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert (picture.mode, picture.getpixel((5, 5))) == ("RGBA", (200, 30, 30, 90))
        assert "digitalsourcetype/trainedAlgorithmicMedia" in picture.text["XML:com.adobe.xmp"]
        ElementTree.fromstring(picture.text["XML:com.adobe.xmp"])


def test_where_a_picture_lies_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    Image.new("RGBA", (9, 9)).save(tmp_path / "private" / "me.png")
    mine = {"path": str(tmp_path / "private" / "me.png")}
    write(tmp_path / "a.png", like=mine, mix=[{"picture": mine}])
    assert b"private" not in (tmp_path / "a.png").read_bytes()
    assert read(tmp_path / "a.png")["request"]["like"]["path"] == "me.png"


def test_the_text_of_other_programs_is_read(tmp_path: Path) -> None:
    text = (
        'a castle\nNegative prompt: fog\nSteps: 20, Sampler: "DPM++ 2M, Karras", CFG scale: 7, Seed: 42, Size: 512x512'
    )
    save(tmp_path / "a.png", parameters=text)
    found = read(tmp_path / "a.png")
    assert (found["prompt"], found["negative"], found["seed"], found["steps"]) == ("a castle", "fog", "42", "20")
    assert found["scheduler"] == "DPM++ 2M, Karras"


@pytest.mark.parametrize("own", ["", "{", "[1]", "[" * 100_000, '{"request": 3}', '"x"', "NaN"])
def test_a_chunk_that_is_not_ours_is_passed_over(tmp_path: Path, own: str) -> None:
    save(tmp_path / "a.png", studio=own, parameters="a\nSteps: 1, Seed: 2, Size: 3x3")
    assert read(tmp_path / "a.png")["prompt"] == "a"


def test_pictures_without_settings_say_nothing(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.webp", "a.gif"):
        Image.new("RGB", (9, 9)).save(tmp_path / name)
        assert read(tmp_path / name) == {}


def test_a_text_bomb_is_refused(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("parameters", "x" * 30_000_000, zip=True)
    Image.new("RGBA", (2, 2)).save(tmp_path / "a.png", pnginfo=info)
    assert (tmp_path / "a.png").stat().st_size < 100_000
    with pytest.raises(Refused, match="not a picture that can be read"):
        read(tmp_path / "a.png")


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("hello")
    for path in (tmp_path / "a.png", tmp_path, tmp_path / "none.png"):
        with pytest.raises(Refused):
            read(path)


@settings(max_examples=50)
@given(st.text(max_size=200))
def test_any_text_chunk_is_read_without_a_fault(text: str) -> None:
    found = parse_parameters(text)
    assert found == {} or {"prompt", "negative"} <= set(found)
