"""Batched requests: pictures equal single ones, progress by request, nothing drawn twice."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from queue_kit import ask_of, picture, planned, run_job, work

from models.messages import Refused
from studio.backends.base import Backend, Handler, run, run_batch
from studio.backends.embedded import Embedded
from studio.backends.fake import Fake
from studio.events import Done, Failed, Progress, Saved
from studio.home import Home
from studio.media import Artifact
from studio.planner import Job
from studio.requests import ImageRequest
from studio.run import FolderSink, run_jobs


def ask(backend: Backend, prompt: str = "a cat", **fields: object) -> ImageRequest:
    return ask_of(backend, **{"prompt": prompt, "shape": 8, **fields})


def results(events: Iterator[tuple[int, Progress | Artifact]]) -> dict[tuple[int, int], Artifact]:
    return {(number, event.index): event for number, event in events if isinstance(event, Artifact)}


def same(first: Artifact, second: Artifact) -> bool:
    pixels = np.array_equal(np.asarray(picture(first)), np.asarray(picture(second)))
    return pixels and (first.seed, first.score, first.how) == (second.seed, second.score, second.how)


def test_batched_pictures_equal_single_pictures(backend: Backend, tmp_path: Path) -> None:
    Image.effect_noise((40, 90), 80).convert("RGBA").save(tmp_path / "a.png")
    given = {"path": str(tmp_path / "a.png")}
    submitted = [
        ask(backend),
        ask(backend, "red apple", count=3, seed=7, negative="dog"),
        ask(backend, "猫", count=9, seed=100, style="noto"),
        ask(backend, "", like=given),
        ask(backend, "a dog", mix=[{"text": "cat", "weight": 0.5}, {"picture": given, "weight": -0.5}]),
    ]
    apart = {}
    for number, request in enumerate(submitted):
        alone = [event for event in run(backend, request) if isinstance(event, Artifact)]
        apart |= {(number, event.index): event for event in alone}
    assert len(apart) == 15
    for order in (range(5), random.Random(1).sample(range(5), 5), [3, 2]):
        drawn = results(run_batch(backend, [submitted[number] for number in order]))
        assert len(drawn) == sum(submitted[number].count for number in order)
        assert all(same(result, apart[order[number], index]) for (number, index), result in drawn.items())


def test_only_equal_batch_keys_are_drawn_together(backend: Backend) -> None:
    same_batch = [ask(backend), ask(backend, "a dog", seed=5, count=8, negative="x", style="noto")]
    assert len({request.batch_key() for request in same_batch}) == 1
    others = [{"steps": 3}, {"guidance": 2.0}, {"scheduler": "heun"}, {"shape": 1}, {"model": "other"}]
    assert len({ask(backend, **fields).batch_key() for fields in [{}, *others]}) == 6
    with pytest.raises(ValueError, match="batch keys differ"):
        list(run_batch(backend, [ask(backend), ask(backend, steps=3)]))
    assert list(backend.tasks["image"]([], True)) == []


def test_progress_is_reported_per_request(backend: Backend) -> None:
    submitted = [
        ask(backend, count=3),
        ask(backend, "red apple", count=7),
        ask(backend, "dog"),
    ]  # batches of 8 and of 3
    steps: dict[int, list[tuple[int, int]]] = {0: [], 1: [], 2: []}
    shown: dict[int, set[int]] = {0: set(), 1: set(), 2: set()}
    for number, event in run_batch(backend, submitted):
        if isinstance(event, Progress) and event.step:
            steps[number].append((event.step, event.total))
            shown[number] |= set(event.previews)
    once, twice = [(1, 2), (2, 2)], [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [list(dict.fromkeys(steps[number])) for number in range(3)] == [once, twice, once]
    assert [shown[number] for number in range(3)] == [set(range(3)), set(range(7)), {0}]


def test_dropping_the_iterator_stops_between_steps(backend: Backend) -> None:
    events = run_batch(backend, [ask(backend, steps=50), ask(backend, "a dog", steps=50)])
    assert isinstance(next(events)[1], Progress)
    events.close()
    assert list(events) == []


def test_previews_do_not_change_pictures(backend: Backend) -> None:
    submitted = [ask(backend, count=3), ask(backend, "a dog", shape=8)]
    events = list(run_batch(backend, submitted, previews=False))
    assert not any(event.previews for _, event in events if isinstance(event, Progress))
    plain, shown = (results(iter(each)) for each in (events, list(run_batch(backend, submitted))))
    assert plain.keys() == shown.keys() and all(same(plain[key], shown[key]) for key in plain)


# --- Into files -------------------------------------------------------------------------------------------------------


def jobs(backend: Backend, submitted: Sequence[ImageRequest]) -> list[Job]:
    return [planned(request, backend) for request in submitted]


def saved(events: Iterator[tuple[int, object]]) -> list[tuple[int, Saved]]:
    return [(number, event) for number, event in events if isinstance(event, Saved)]


def test_several_requests_become_the_files_of_each(backend: Backend, tmp_path: Path) -> None:
    submitted = [ask(backend, count=2), ask(backend, "a dog", steps=3), ask(backend, "red apple", count=2, seed=9)]
    (tmp_path / "together").mkdir()
    events = list(run_jobs(backend, jobs(backend, submitted), FolderSink(tmp_path / "together")))
    assert sorted(number for number, event in events if isinstance(event, Done)) == [0, 1, 2]
    assert [event for number, event in events if number == 1][-1] == Done()
    (tmp_path / "apart").mkdir()
    for request in submitted:
        list(run_job(backend, planned(request, backend), FolderSink(tmp_path / "apart")))
    item, two = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("together", "apart"))
    assert item == two and len(item) == 5


def test_only_missing_pictures_are_drawn_and_are_as_they_were(backend: Backend, tmp_path: Path) -> None:
    submitted = [ask(backend, count=8), ask(backend, "a dog", count=2)]
    first = saved(run_jobs(backend, jobs(backend, submitted), FolderSink(tmp_path)))
    before = {event.path: Path(event.path).read_bytes() for _, event in first}
    lost = [event.path for number, event in first if number == 0 and event.index in (2, 6)]
    Path(lost[0]).unlink()
    Path(lost[1]).write_bytes(before[lost[1]][:-20])
    drawn: list[ImageRequest] = []

    class Counted:
        def __getattr__(self, name: str) -> object:
            return getattr(backend, name)

        @property
        def tasks(self) -> dict[str, Handler]:
            return {"image": self._images}

        def _images(self, requests: Sequence[ImageRequest], previews: bool) -> Any:
            drawn.extend(requests)
            return backend.tasks["image"](requests, previews)

    events = list(run_jobs(Counted(), jobs(backend, submitted), FolderSink(tmp_path)))
    assert [(request.seed, request.count, request.shape) for request in drawn] == [(3, 1, 8), (7, 1, 8)]
    assert [(event.index, event.cached) for number, event in saved(iter(events)) if number == 0] == [
        *((index, True) for index in (0, 1, 3, 4, 5, 7)),
        (2, False),
        (6, False),
    ]
    assert {path: Path(path).read_bytes() for path in before} == before
    steps = [(event.step, event.total) for _, event in events if isinstance(event, Progress) and event.step]
    assert [step for step, _ in steps] == sorted(step for step, _ in steps) and steps[-1] == (4, 4)
    previews = {index for _, event in events if isinstance(event, Progress) for index in event.previews}
    assert previews == {2, 6}


def test_a_failed_job_does_not_stop_its_batch(tiny: Embedded, tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    Image.new("RGBA", (64, 64), "red").save(path)
    submitted = [ask(tiny, count=8), ask(tiny, "", like={"path": str(path)}), ask(tiny, "a dog", count=2)]
    Image.new("RGBA", (64, 64), "blue").save(path)
    (tmp_path / "out").mkdir()
    events = list(run_jobs(tiny, jobs(tiny, submitted), FolderSink(tmp_path / "out")))
    ends = {number: event for number, event in events if isinstance(event, Done | Failed)}
    assert ends[0] == ends[2] == Done() and "was changed" in ends[1].sentence
    assert [event for number, event in events if number == 0][-1] == Done(), "what is done is not begun again"
    assert [(number, event.index) for number, event in saved(iter(events))] == [
        *((0, i) for i in range(8)),
        (2, 0),
        (2, 1),
    ]
    with pytest.raises(Refused, match="was changed"):
        list(run_job(tiny, planned(submitted[1], tiny), FolderSink(tmp_path / "out")))


def test_best_of_takes_the_highest_score(backend: Backend) -> None:
    """Its seed alone draws it in the same shape."""
    submitted = [ask(backend, "red apple", count=2, seed=7, best_of=4), ask(backend, "a dog")]
    drawn = results(run_batch(backend, submitted))
    assert set(drawn) == {(0, 0), (0, 1), (1, 0)}
    for index, seeds in enumerate(submitted[0].candidates()):
        apart = [next(iter(results(run_batch(backend, [ask(backend, "red apple", seed=s)])).values())) for s in seeds]
        best = max(apart, key=lambda item: item.score or 0)
        assert same(drawn[0, index], best)
        assert seeds[0] == 7 + index and len({item.seed for item in apart}) == 4


def test_a_picture_has_the_same_candidates_alone_and_among_others(backend: Backend) -> None:
    many = ask(backend, count=3, seed=2**32 - 1, best_of=16).candidates()
    assert many[2] == ask(backend, seed=1, best_of=16).candidates()[0]
    assert len({seed for seeds in many for seed in seeds}) == 48


@pytest.mark.parametrize("prompts", [("bad", "good"), ("good", "bad")])
def test_a_job_that_always_fails_spoils_none_of_its_companions(tmp_path: Path, prompts: tuple[str, str]) -> None:
    home, ids = Home(tmp_path), {}
    for prompt in prompts:
        item = planned(ask(Fake(), prompt, model="fake"))
        ids[prompt] = item.id
        home.queue.submit(item)
    work(home, lambda _: Broken())
    assert home.queue.job(ids["bad"]).state == "failed" and "RuntimeError" in home.queue.job(ids["bad"]).sentence
    assert home.queue.job(ids["good"]).state == "done"


class Broken(Fake):
    """Fails for prompts with "bad"."""

    def _images(self, requests: Sequence[ImageRequest], previews: bool) -> Any:
        if any(request.prompt == "bad" for request in requests):
            raise RuntimeError("no such thing")
        yield from super()._images(requests, previews)


def test_groups_hold_what_may_be_drawn_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[Sequence[ImageRequest]] = []
    monkeypatch.setattr(Fake, "_images", lambda _, requests, __: groups.append(requests) or iter(()))
    list(
        run_jobs(
            Fake(), [planned(ask(Fake(), seed=i, steps=5 + i % 2, count=8)) for i in range(40)], FolderSink(tmp_path)
        )
    )
    assert sorted(item.seed for group in groups for item in group) == list(range(40))
    assert all(len({item.batch_key() for item in group}) == 1 for group in groups)
    assert [sum(item.count for item in group) for group in groups] == [64, 64, 32, 64, 64, 32]
