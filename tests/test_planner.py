"""Planning: what a job is depends on what was asked and of which weights, for every task, and on nothing else."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from queue_kit import CAN

from models.messages import Refused
from studio.backends import registry
from studio.backends.base import Handler, run
from studio.backends.fake import Fake
from studio.capabilities import FAST
from studio.planner import RESOLVERS, job_id, plan, resolve
from studio.requests import ANY_REQUEST, REQUESTS, make_request

INTERACTIVE = ("embed", "search", "suggest", "read")  # asked for their answer: resolved, and never planned into a job
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
    ("suggest", {"text": " a  cat ", "kinds": ["translate"]}),
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
    """A request with everything fixed, and its id."""
    if task not in INTERACTIVE:
        (job,) = plan(make_request(task, **fields), Fake())
        return job.request, job.id
    request = resolve(make_request(task, **fields), CAN)
    return request, job_id(request, Fake().digest(), interactive=True)


def test_every_task_is_tried_here() -> None:
    assert set(RESOLVERS) <= set(REQUESTS) == {task for task, _ in ASKED}


@pytest.mark.parametrize(("task", "fields"), ASKED)
def test_what_is_planned_is_planned_for_good(task: str, fields: dict[str, Any]) -> None:
    request, job = resolved(task, fields)
    stored = ANY_REQUEST.validate_json(request.model_dump_json())
    assert stored == request and len(job) == 64
    if task in INTERACTIVE:
        assert resolve(stored, CAN) == request
        return
    (again,) = plan(stored, Fake())
    assert (again.request, again.id) == (request, job)
    assert request.seed is not None and request.shape is not None and len(request.seeds()) == request.count


@pytest.mark.parametrize(("task", "fields"), ASKED)
def test_where_the_files_lie_does_not_count_and_what_they_hold_does(
    task: str, fields: dict[str, Any], tmp_path: Path
) -> None:
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
        ("clip", {"image": SMALL}, ({"last": SMALL}, {"negative": "dog"}, {"style": "noto"}, {"count": 2})),
        ("caption", {"image": SMALL}, ({"language": "zh"}, {"long": True}, {"candidates": 1}, {"seed": 2})),
    ],
)
def test_whatever_changes_the_artifact_is_other_work(
    task: str, fields: dict[str, Any], changes: tuple[dict[str, Any], ...]
) -> None:
    ids = [resolved(task, {"seed": 1, **fields, **change})[1] for change in ({}, *changes)]
    assert len(set(ids)) == len(ids)


def test_tasks_of_the_same_fields_are_other_work() -> None:
    assert resolved("image", {"prompt": "a cat", "seed": 1})[1] != resolved("clip", {"prompt": "a cat", "seed": 1})[1]


class Painter(Fake):
    """Makes pictures and nothing else."""

    @property
    def tasks(self) -> Mapping[str, Handler]:
        return {"image": self._images}


@pytest.mark.parametrize(("task", "fields"), [one for one in ASKED if one[0] != "image"])
def test_a_task_that_the_model_lacks_is_refused_before_any_work(task: str, fields: dict[str, Any]) -> None:
    request = make_request(task, **fields)
    with pytest.raises(Refused, match=r"Fake can't [a-z ]+, only draw pictures") as refused:
        resolve(request, Painter().capabilities())
    assert refused.value.text("zh").startswith("Fake 不会") and "，只会画图" in refused.value.text("zh")
    for said in map(refused.value.text, ("en", "zh")):
        assert "fake" not in said and "task." not in said, "what draws faces for tests is recommended to nobody"
    if task not in INTERACTIVE:
        with pytest.raises(Refused, match="Fake can't"):
            plan(request, Painter())
        with pytest.raises(Refused, match="Fake can't"):
            list(run(Painter(), resolved(task, fields)[0]))


def test_a_refusal_names_a_model_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    able = registry.Kind("studio.backends.fake", "Fake", "a model like any other")
    monkeypatch.setitem(registry.KINDS, "house", able)
    refused = registry.no_task(Painter().capabilities(), "caption")
    assert refused.text("en") == "Fake can't describe pictures, only draw pictures; embedded, house can."
    assert refused.text("zh") == "Fake 不会描述图片，只会画图；embedded、house 会。"


def test_a_picture_that_is_only_enlarged_asks_for_what_enlarges() -> None:
    (job,) = plan(make_request("image", image=SMALL, strength=0.0, size=512), Fake())
    assert job == plan(make_request("enlarge", image=SMALL, size=512), Fake())[0] and job.request.task == "enlarge"


@pytest.mark.parametrize("task", ["image", "clip"])
def test_words_that_the_seed_draws_are_a_job_each(task: str) -> None:
    asked = make_request(task, prompt="a {red|blue|green|pink|grey} cat", seed=7, count=4)
    jobs = plan(asked, Fake())
    assert [(job.request.seed, job.request.count) for job in jobs] == [(7, 1), (8, 1), (9, 1), (10, 1)]
    assert len({job.request.prompt for job in jobs}) > 1 and len({job.request.shape for job in jobs}) == 1
    assert plan(asked, Fake()) == jobs


def test_jobs_that_are_planned_together_share_a_shape_and_a_batch() -> None:
    jobs = plan([make_request("image", prompt=prompt, seed=1) for prompt in ("a cat", "a dog", "a fox")], Fake())
    assert {job.request.shape for job in jobs} == {8} and len({job.batch_key for job in jobs}) == 1
    assert plan([jobs[0].request], Fake()) == jobs[:1], "and keep it when they are planned again"
    clips = plan([make_request("clip", prompt=prompt, seed=1) for prompt in ("a cat", "a dog")], Fake())
    assert len({job.batch_key for job in (*jobs, *clips)}) == 3, "clips share none"
