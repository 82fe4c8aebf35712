"""Requests and planning: refusals, defaults, identity, fields at every interface."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import sentence_of
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from queue_kit import CAN
from tiny_parts import save_tiny_parts

from models.messages import Refused
from models.sampling.loop import Sampling
from models.sampling.schedulers import GUIDED_FROM
from studio import cli
from studio.api.schemas import job_model
from studio.backends import base
from studio.backends.base import Handler, run
from studio.backends.embedded import Embedded, _sampling
from studio.backends.fake import Fake
from studio.capabilities import FAST, Range
from studio.mcp import Tools, fields_in, media_tools
from studio.metadata.restore import restore
from studio.planner import RESOLVERS, job_id, plan, resolve
from studio.requests import (
    PROMPT_LIMIT,
    REQUESTS,
    SEEDS,
    ImageRequest,
    SearchRequest,
    fields_of,
    limits,
    make_request,
    media_tasks,
    planned_fields,
    stored_request,
)
from studio.studio import Studio


def refusal(**fields: object) -> str:
    sentence = sentence_of(lambda: resolve(make_request("image", **{"prompt": "a cat", **fields}), CAN))
    assert len(sentence) < 250
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
        ({"seed": -1}, "seed must be between 0 and 4294967295, not -1"),
        ({"seed": SEEDS}, "seed must be between"),
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
def test_invalid_input_is_refused_in_a_sentence(fields: dict, says: str) -> None:
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


def test_job_ids_depend_on_request_and_weights() -> None:
    request = resolve(make_request("image", prompt="a cat", seed=1), CAN)
    same = ImageRequest.model_validate_json(request.model_dump_json())
    assert job_id(request, "a") == job_id(same, "a") and len(job_id(request, "a")) == 64
    others = [request.model_copy(update=change) for change in ({"seed": 2}, {"guidance": 3.5}, {"negative": "dog"})]
    ids = {job_id(other, "a") for other in (request, *others)} | {job_id(request, "b")}
    assert len(ids) == 5


def test_relative_picture_paths_are_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGBA", (9, 9)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    resolved = resolve(make_request("image", like={"path": "a.png"}, mix=[{"picture": {"path": "a.png"}}], seed=1), CAN)
    assert resolved.like.path == resolved.mix[0].picture.path == str(tmp_path / "a.png")
    embedded = resolve(make_request("embed", images=({"path": "a.png"},)), CAN)
    assert embedded.images[0].path == str(tmp_path / "a.png")


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
    request = make_request("search", words="  a   cat ", k=3)
    assert (request.task, request.words, request.k) == ("search", "a cat", 3)
    assert SearchRequest.model_validate_json(request.model_dump_json()) == request
    with pytest.raises(ValidationError):
        request.words = "a dog"  # type: ignore[misc]


# --- Planned ----------------------------------------------------------------------------------------------------------


INTERACTIVE = ("embed", "search", "read")  # asked for their answer: resolved, and never planned into a job
SMALL = {"path": "small.png"}
ASKED: list[tuple[str, dict[str, Any]]] = [
    ("image", {"prompt": " a  cat ", "style": "Black-Glyph", "scheduler": "HEUN"}),
    ("image", {"prompt": "a {red|blue} cat", "negative": "{dog|fox}", "seed": 7}),
    ("image", {"prompt": "a cat", "count": 3, "best_of": 2}),
    ("image", {"prompt": "a cat", "scheduler": FAST, "image": SMALL, "strength": 0.6}),
    ("image", {"prompt": "a cat", "size": 512}),
    ("image", {"prompt": "a cat", "size": 128}),
    ("image", {"like": SMALL}),
    ("image", {"mix": [{"text": "a {red|blue} cat"}, {"picture": SMALL, "weight": -0.5}]}),
    ("image", {"image": SMALL, "mask": {"path": "mask.png"}}),
    ("image", {"image": SMALL, "expand": 0.2}),
    ("image", {"image": SMALL, "variations": 3}),
    ("image", {"image": SMALL, "strength": 0.0, "size": 512}),
    ("clip", {"prompt": "a {red|blue} cat jumps"}),
    (
        "clip",
        {"prompt": "a cat", "frames": 4, "fps": 5, "motion_strength": 1.5, "loop": False, "count": 2, "style": "noto"},
    ),
    ("clip", {"image": SMALL}),
    ("clip", {"image": SMALL, "last": SMALL, "seed": 3}),
    ("caption", {"image": SMALL}),
    ("caption", {"image": SMALL, "language": "zh", "long": True, "candidates": 2, "seed": 5}),
    ("enlarge", {"image": SMALL, "size": 512}),
    ("read", {"texts": [" a  cat "]}),
    ("embed", {"texts": ("a cat", "猫"), "images": (SMALL,)}),
    ("search", {"words": "cat", "like": SMALL, "without": "hat"}),
]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The pictures that requests name, in the current folder."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGBA", (9, 9), "red").save("small.png")
    Image.linear_gradient("L").resize((9, 9)).save("mask.png")
    yield


def resolved(task: str, fields: dict[str, Any]) -> tuple[Any, str]:
    if task not in INTERACTIVE:
        (job,) = plan(make_request(task, **fields), Fake())
        return job.request, job.id
    request = resolve(make_request(task, **fields), CAN)
    return request, job_id(request, Fake().digest(), interactive=True)


def test_every_task_is_tried_here() -> None:
    assert set(RESOLVERS) <= set(REQUESTS) == {task for task, _ in ASKED}


@pytest.mark.parametrize(("task", "fields"), ASKED)
def test_plans_are_stable(task: str, fields: dict[str, Any]) -> None:
    request, job = resolved(task, fields)
    stored = stored_request(request.model_dump_json())
    assert stored == request and len(job) == 64
    if task in INTERACTIVE:
        assert resolve(stored, CAN) == request
        return
    (again,) = plan(stored, Fake())
    assert (again.request, again.id) == (request, job)
    assert request.seed is not None and request.shape is not None and len(request.seeds()) == request.count


@pytest.mark.parametrize(("task", "fields"), ASKED)
def test_job_ids_depend_on_content_not_paths(task: str, fields: dict[str, Any], tmp_path: Path) -> None:
    fields = {"seed": 1, **fields} if "seed" in REQUESTS[task].model_fields else fields
    request, before = resolved(task, fields)
    for name in ("small.png", "mask.png"):
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    moved = request.with_pictures(lambda picture: picture.model_copy(update={"path": f"elsewhere/{picture.path[-9:]}"}))
    given = make_request(task, **fields).with_pictures(
        lambda picture: picture.model_copy(update={"path": f"elsewhere/{picture.path}"})
    )
    kind = {"interactive": task in INTERACTIVE}
    assert job_id(moved, Fake().digest(), **kind) == before
    assert job_id(resolve(given, CAN), Fake().digest(), **kind) == before
    if given.pictures():
        Image.new("RGBA", (9, 9), "blue").save("elsewhere/small.png")
        assert job_id(resolve(given, CAN), Fake().digest(), **kind) != before


@pytest.mark.parametrize(
    ("task", "fields", "changes"),
    [
        (
            "clip",
            {"prompt": "a cat"},
            ({"prompt": "a dog"}, {"frames": 5}, {"fps": 3}, {"motion_strength": 0.5}, {"loop": False}, {"steps": 3}),
        ),
        ("image", {"image": SMALL}, ({"strength": 0.5}, {"expand": 0.2}, {"mask": {"path": "mask.png"}})),
        ("clip", {"image": SMALL}, ({"last": SMALL}, {"negative": "dog"}, {"style": "noto"}, {"count": 2})),
        ("caption", {"image": SMALL}, ({"language": "zh"}, {"long": True}, {"candidates": 1}, {"seed": 2})),
    ],
)
def test_every_setting_changes_the_job_id(
    task: str, fields: dict[str, Any], changes: tuple[dict[str, Any], ...]
) -> None:
    ids = [resolved(task, {"seed": 1, **fields, **change})[1] for change in ({}, *changes)]
    assert len(set(ids)) == len(ids)


def test_tasks_of_the_same_fields_are_other_work() -> None:
    assert resolved("image", {"prompt": "a cat", "seed": 1})[1] != resolved("clip", {"prompt": "a cat", "seed": 1})[1]


class Painter(Fake):
    """A backend of pictures only."""

    @property
    def tasks(self) -> Mapping[str, Handler]:
        return {"image": self._images}


@pytest.mark.parametrize(("task", "fields"), [one for one in ASKED if one[0] != "image"])
def test_a_task_that_the_model_lacks_is_refused_before_any_work(task: str, fields: dict[str, Any]) -> None:
    request = make_request(task, **fields)
    with pytest.raises(Refused, match=r"Fake can't [a-z ]+, only draw pictures") as refused:
        resolve(request, Painter().capabilities())
    assert refused.value.text("zh").startswith("Fake 不会") and "，只会画图" in refused.value.text("zh")
    for result in map(refused.value.text, ("en", "zh")):
        assert "fake" not in result and "task." not in result, "what draws faces for tests is recommended to nobody"
    if task not in INTERACTIVE:
        with pytest.raises(Refused, match="Fake can't"):
            plan(request, Painter())
        with pytest.raises(Refused, match="Fake can't"):
            list(run(Painter(), resolved(task, fields)[0]))


def test_a_refusal_names_a_model_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    able = base.Kind("studio.backends.fake", "Fake", "a model like any other")
    monkeypatch.setitem(base.KINDS, "house", able)
    refused = base.no_task(Painter().capabilities(), "caption")
    assert refused.text("en") == "Fake can't describe pictures, only draw pictures; embedded, house can."
    assert refused.text("zh") == "Fake 不会描述图片，只会画图；embedded、house 会。"


def test_a_picture_that_is_only_enlarged_asks_for_what_enlarges() -> None:
    (job,) = plan(make_request("image", image=SMALL, strength=0.0, size=512), Fake())
    assert job == plan(make_request("enlarge", image=SMALL, size=512), Fake())[0] and job.request.task == "enlarge"


@pytest.mark.parametrize("task", ["image", "clip"])
def test_words_that_the_seed_draws_are_a_job_each(task: str) -> None:
    request = make_request(task, prompt="a {red|blue|green|pink|grey} cat", seed=7, count=4)
    jobs = plan(request, Fake())
    assert [(job.request.seed, job.request.count) for job in jobs] == [(7, 1), (8, 1), (9, 1), (10, 1)]
    assert len({job.request.prompt for job in jobs}) > 1 and len({job.request.shape for job in jobs}) == 1
    assert plan(request, Fake()) == jobs


def test_jobs_that_are_planned_together_share_a_shape_and_a_batch() -> None:
    jobs = plan([make_request("image", prompt=prompt, seed=1) for prompt in ("a cat", "a dog", "a fox")], Fake())
    assert {job.request.shape for job in jobs} == {8} and len({job.batch_key for job in jobs}) == 1
    assert plan([jobs[0].request], Fake()) == jobs[:1], "and keep it when they are planned again"
    clips = plan([make_request("clip", prompt=prompt, seed=1) for prompt in ("a cat", "a dog")], Fake())
    assert len({job.batch_key for job in (*jobs, *clips)}) == 3, "clips share none"


# --- The noise level from which guidance works ------------------------------------------------------------------------


GUIDED = Fake().capabilities().model_copy(update={"guided_from": Range(least=0, most=1, usual=0.25)})


def guided(**fields: object) -> ImageRequest:
    return resolve(make_request("image", **{"prompt": "a cat", "seed": 1, **fields}), GUIDED)


def test_the_model_says_it_and_asking_again_changes_nothing() -> None:
    assert guided().guided_from == 0.25 and guided(guided_from=0.5).guided_from == 0.5
    assert guided(scheduler=FAST).guided_from is None
    for request in (guided(), guided(guided_from=0.0), guided(scheduler=FAST)):
        assert resolve(request, GUIDED) == request
    with pytest.raises(Refused, match="guided_from must be between 0 and 1, not 2"):
        guided(guided_from=2.0)


def test_a_model_without_the_setting_leaves_it_out_of_the_identity() -> None:
    plain = Fake().capabilities()
    given, usual = (
        resolve(make_request("image", prompt="a cat", seed=1, **more), plain) for more in ({"guided_from": 0.5}, {})
    )
    assert given.guided_from is usual.guided_from is None and job_id(given, "x") == job_id(usual, "x")


def test_a_request_without_it_is_drawn_as_with_0() -> None:
    before = guided().model_copy(update={"guided_from": None})
    always = guided(guided_from=0.0)
    assert job_id(before, "x") != job_id(guided(), "x")
    assert always.batch_key() == before.batch_key() != guided().batch_key()
    assert _sampling(before).interval == _sampling(always).interval == (0.0, 1.0)
    assert _sampling(guided()).interval == (0.25, 1.0)


def test_guided_from_is_restored_from_files() -> None:
    record = {"request": guided().model_dump(mode="json", exclude_none=True), "seed": 5, "how": {}}
    assert restore(record, GUIDED).fields["guided_from"] == 0.25
    del record["request"]["guided_from"]
    fields = restore(record, GUIDED).fields
    assert fields["guided_from"] == 0.0 and resolve(make_request(**fields), GUIDED).guided_from == 0.0


def test_the_embedded_model_is_guided_as_its_pipeline_is(tmp_path: Path) -> None:
    can = Embedded(str(save_tiny_parts(tmp_path))).capabilities()
    assert can.guided_from.usual == GUIDED_FROM == Sampling().interval[0]


def test_reference_strength_in_requests_and_identity() -> None:
    assert guided().reference_strength is None and job_id(guided(reference_strength=1.0), "x") == job_id(guided(), "x")
    alone = guided(reference_strength=0.0)
    assert job_id(alone, "x") != job_id(guided(), "x") and alone.batch_key() != guided().batch_key()
    assert _sampling(alone).reference_strength == 0 and _sampling(guided()).reference_strength == 1
    assert _sampling(guided(reference_strength=0.5, scheduler=FAST)).reference_strength == 0.5
    record = {"request": alone.model_dump(mode="json", exclude_none=True), "seed": 5, "how": {}}
    assert restore(record, GUIDED).fields["reference_strength"] == 0
    with pytest.raises(Refused, match="reference_strength must be between 0 and 1, not 2"):
        guided(reference_strength=2.0)


# --- One schema for all doors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", media_tasks())
def test_a_field_has_the_same_help_at_every_door(task: str, house: Studio) -> None:
    kind = media_tasks()[task]
    body = job_model(kind).model_json_schema()["properties"]
    for name, field in fields_of(kind, programs=True).items():
        assert name == "task" or (field.description and body[name]["description"] == field.description), name
    assert not planned_fields() & body.keys()
    for tool in (tool for tool, request in media_tools().items() if request is kind):
        schema = Tools(house, "fake", True).media_tool(tool, kind).parameters["properties"]
        for name, field in fields_in(kind).items():
            assert schema[name]["description"].endswith(field.description), name
            assert limits(field).get("le") == schema[name].get("maximum"), name
    if kind.command is not None:
        options = {option.name: option for option in cli.program().commands[kind.command or task].params}
        shown = fields_of(kind).keys() & options.keys() - {"prompt", "mix"}
        assert len(shown) > 3 and all(options[name].help == kind.model_fields[name].description for name in shown)


def test_any_number_of_prompts_is_read() -> None:
    assert len(make_request("read", texts=["a cat"] * 5000).texts) == 5000
