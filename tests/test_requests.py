"""Requests: what they refuse, how they are completed, and what makes two of them the same work."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from models.messages import Refused
from studio.backends.fake import Fake
from studio.fields import PROMPT_LIMIT
from studio.planner import job_id, resolve
from studio.requests import SEEDS, ImageRequest, SearchRequest, make_request

CAN = Fake().capabilities()


def refusal(**fields: object) -> str:
    with pytest.raises(Refused) as caught:
        resolve(make_request("image", **{"prompt": "a cat", **fields}), CAN)
    sentence = str(caught.value)
    assert "\n" not in sentence and len(sentence) < 250 and sentence.endswith("."), sentence
    return sentence


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"prompt": ""}, "empty"),
        ({"prompt": " \n\t "}, "empty"),
        ({"prompt": "\u200d"}, "empty"),
        ({"prompt": "x" * 100_000}, "100,000 characters; make it 2,000 at most"),
        ({"prompt": "a\x07cat"}, "control character (U+0007)"),
        ({"prompt": "cat\x00"}, "control character (U+0000)"),
        ({"prompt": "\u202egnp.exe"}, "control character (U+202E)"),
        ({"prompt": "cut \udce9"}, "control character (U+DCE9)"),
        ({"prompt": 7}, "prompt must be text"),
        ({"negative": "\x1b[2J"}, "the negative has a control character"),
        ({"style": "notto"}, "unknown style 'notto' (did you mean 'noto'?)"),
        ({"style": "/etc/passwd"}, "unknown style"),
        ({"scheduler": "eular"}, "unknown scheduler 'eular' (did you mean 'euler'?)"),
        ({"steps": 0}, "steps must be between 1 and 100, not 0"),
        ({"steps": 10**9}, "steps must be between 1 and 100, not 1000000000"),
        ({"steps": True}, "steps must be a whole number"),
        ({"steps": "16"}, "steps must be a whole number"),
        ({"steps": 1.5}, "steps must be a whole number"),
        ({"guidance": math.nan}, "guidance must be a number, not nan"),
        ({"guidance": math.inf}, "guidance must be a number, not inf"),
        ({"guidance": -3.0}, "guidance must be between"),
        ({"seed": -1}, "the seed must be between 0 and 4294967295, not -1"),
        ({"seed": SEEDS}, "the seed must be between"),
        ({"count": 0}, "count must be between 1 and 64, not 0"),
        ({"count": 65}, "count must be between"),
        ({"promt": "a dog"}, "there is no setting 'promt' (did you mean 'prompt'?)"),
        ({"mix": [{"weight": math.nan, "text": "dog"}]}, "weight must be a number"),
        ({"mix": [{"weight": 0.0, "text": "dog"}]}, "not 0"),
        ({"mix": [{"weight": 1.0}]}, "either words or a picture"),
        ({"mix": [{"text": "dog"}] * 9}, "at most 8 parts"),
        ({"model": None}, "model must be text"),
    ],
)
def test_each_fault_is_one_sentence(fields: dict, says: str) -> None:
    assert says in refusal(**fields)


def test_a_picture_or_a_mix_needs_no_words(tmp_path: Path) -> None:
    Image.new("RGBA", (9, 9)).save(tmp_path / "a.png")
    assert make_request("image", like={"path": str(tmp_path / "a.png")}).prompt == ""
    assert make_request("image", mix=[{"text": "cat"}]).prompt == ""


def test_resolve_fixes_everything_and_changes_nothing_twice() -> None:
    once = resolve(make_request("image", prompt="  a \n cat ", style="Black-Glyph", scheduler="HEUN"), CAN)
    assert (once.prompt, once.style, once.scheduler) == ("a cat", "black glyph", "heun")
    assert (once.steps, once.guidance, once.count) == (16, 4.0, 1) and once.seed is not None
    assert resolve(once, CAN) == once
    assert resolve(make_request("image", prompt="猫", style="安卓"), CAN).style == "noto"


def test_the_shape_fits_the_count_and_is_fixed() -> None:
    shapes = [resolve(make_request("image", prompt="a cat", count=count), CAN).shape for count in (1, 2, 8, 9)]
    assert shapes == [1, 8, 8, 8]
    alone = resolve(make_request("image", prompt="a cat", shape=8), CAN)
    assert alone.shape == 8
    assert job_id(alone, "x") != job_id(resolve(make_request("image", prompt="a cat", seed=alone.seed), CAN), "x")
    assert "shape must be one of 1, 8, not 3" in refusal(shape=3)


def test_random_seeds_differ_and_count_up() -> None:
    seeds = {resolve(make_request("image", prompt="a cat"), CAN).seed for _ in range(20)}
    assert len(seeds) == 20
    assert make_request("image", prompt="a cat", seed=SEEDS - 1, count=3).seeds() == [SEEDS - 1, 0, 1]


def test_the_job_is_what_is_asked_of_which_weights() -> None:
    request = resolve(make_request("image", prompt="a cat", seed=1), CAN)
    same = ImageRequest.model_validate_json(request.model_dump_json())
    assert job_id(request, "a") == job_id(same, "a") and len(job_id(request, "a")) == 64
    others = [request.model_copy(update=change) for change in ({"seed": 2}, {"guidance": 3.5}, {"negative": "dog"})]
    ids = {job_id(other, "a") for other in (request, *others)} | {job_id(request, "b")}
    assert len(ids) == 5


def test_pictures_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGBA", (9, 9)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    resolved = resolve(make_request("image", like={"path": "a.png"}, mix=[{"picture": {"path": "a.png"}}], seed=1), CAN)
    assert resolved.like.path == resolved.mix[0].picture.path == str(tmp_path / "a.png")
    embedded = resolve(make_request("embed", images=({"path": "a.png"},)), CAN)
    assert embedded.images[0].path == str(tmp_path / "a.png")


def test_a_picture_counts_by_what_it_holds(tmp_path: Path) -> None:
    ids = []
    for name, colour in (("one.png", "red"), ("two.png", "red"), ("three.png", "blue")):
        Image.new("RGBA", (9, 9), colour).save(tmp_path / name)
        fields = {
            "seed": 1,
            "like": {"path": str(tmp_path / name)},
            "mix": [{"picture": {"path": str(tmp_path / name)}}],
        }
        ids.append(job_id(resolve(make_request("image", **fields), CAN), "a"))
    assert ids[0] == ids[1] != ids[2]


@given(st.text(max_size=300))
def test_any_text_is_taken_or_refused(text: str) -> None:
    try:
        request = resolve(make_request("image", prompt=text, negative=text), CAN)
    except Refused:
        return
    assert len(job_id(request, "a")) == 64 and len(request.prompt) <= PROMPT_LIMIT


def test_embedding_asks_for_something() -> None:
    for fields in ({}, {"texts": ("",)}, {"texts": ("a\x00",)}):
        with pytest.raises(Refused):
            make_request("embed", **fields)
    assert make_request("embed", texts=("a cat",)).texts == ("a cat",)


# --- Searches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"words": "cat", "k": 0}, "k must be between 1 and 1000, not 0"),
        ({"words": "cat", "k": 2.5}, "k must be a whole number"),
        ({"words": "x" * 100_000}, "the words has 100,000 characters"),
        ({"words": "a\u202ecat"}, "control character"),
        ({"unlike": {"path": "a.png"}}, "the search only takes away"),
        ({"words": "cat", "without": "hat", "unlike": {"path": "a.png"}}, "not both"),
        ({"wrods": "cat"}, "there is no setting 'wrods' (did you mean 'words'?)"),
    ],
)
def test_a_search_that_cannot_be_meant_is_a_sentence(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refused) as refused:
        make_request("search", **fields)
    assert sentence in str(refused.value)


def test_a_search_is_a_request_like_the_others() -> None:
    asked = make_request("search", words="  a   cat ", k=3)
    assert (asked.task, asked.words, asked.k) == ("search", "a cat", 3)
    assert SearchRequest.model_validate_json(asked.model_dump_json()) == asked
    with pytest.raises(ValidationError):
        asked.words = "a dog"  # type: ignore[misc]
