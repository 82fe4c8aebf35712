"""Laws of the detector: it finds what is there and where, in any order and size, and its training resumes and ships."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fixture_world import fixture_world
from tiny_parts import save_tiny_parts, tiny_detector
from training_kit import STEPS, are_equal, straight_and_resumed

from models.data.pixels import to_tensor
from models.detector import MOST, Detections, Detector, cut_out, peaks, thing_at
from models.pipelines.caption import choices
from models.train import caption as training
from models.train.caption import DetectorTask
from models.train.loop import Length, Recipe, TaskOptions, Trainer
from models.weights import load_part, save_part

WORLD = fixture_world()
RECIPE = Recipe(lambda options: DetectorTask(options, drawn=False), batch_size=lambda _: 4, warmup=2)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> TaskOptions:
    parts = save_tiny_parts(tmp_path_factory.mktemp("parts"))
    return TaskOptions("tiny", 3, WORLD, lambda _: 4, parts, parts / "cache")


@pytest.fixture(scope="module")
def task(options: TaskOptions) -> DetectorTask:
    return DetectorTask(options, drawn=False)


def detections_of(places: dict[tuple[int, int], int]) -> Detections:
    """What a perfect detector says of things at cells (x, y) of a grid of eight."""
    there, named, whole = torch.full((1, 8, 8), -6.0), torch.full((1, 8, 8, 5), -9.0), torch.full((1, 5), -9.0)
    for (x, y), concept in places.items():
        there[0, y, x], named[0, y, x, concept], whole[0, concept] = 3.0, -0.1, -0.1
    return Detections(whole, named, there)


def test_each_thing_is_found_once_where_it_is() -> None:
    detections = detections_of({(6, 2): 1, (1, 2): 4, (3, 6): 4})
    cells = peaks(detections)[0]
    assert cells == [(1, 2), (6, 2), (3, 6)]
    found = [thing_at(detections.cells[0, y, x], detections.objectness[0], (x, y)) for x, y in cells]
    assert [(one.concepts[0], one.x, one.y) for one in found] == [
        (4, 0.1875, 0.3125), (1, 0.8125, 0.3125), (4, 0.4375, 0.8125),
    ]  # fmt: skip
    assert all(one.objectness > 0.9 and one.shares[0] > 0.9 for one in found)
    assert len(peaks(detections_of({}))[0]) == 1  # nothing is sure: it is named nevertheless, as the whole picture
    assert len(peaks(detections_of({(n % 4 * 2, n // 4 * 2): 0 for n in range(8)}))[0]) == MOST


def test_a_window_shows_what_is_around_a_centre_and_ends_with_the_picture() -> None:
    pixels = torch.zeros(4, 128, 128)
    pixels[:, 16:48, 80:112] = 1  # around the cell (5.5, 1.5) of eight
    windows = cut_out(pixels, [(5, 1), (0, 7)], 8)
    assert windows.shape == (MOST, 4, 128, 128)
    assert windows[0].mean() == pytest.approx(0.25, abs=0.02) and not windows[1].any()
    assert windows[2].equal(windows[1])


def test_ways_to_name_things_are_likely_and_as_many_as_asked() -> None:
    detections = detections_of({(1, 1): 2, (6, 6): 3})
    found = [thing_at(detections.cells[0, n, n], detections.objectness[0], (n, n)) for n in (1, 6)]
    ways = choices(found, 3)
    assert len(ways) == 3 and ways[0][0] == [0, 0] and ways == choices(found, 3)
    assert ways[0][1] >= ways[1][1] >= ways[2][1] or ways[1] == ways[0]
    assert choices([], 2) == [([], 0.0), ([], 0.0)]


def test_a_picture_is_read_the_same_in_any_company_and_after_storage(tmp_path: Path) -> None:
    made, pixels = tiny_detector(), to_tensor(WORLD.pixels[:3])
    with torch.no_grad():
        every, one = made(pixels), made(pixels[1:2])
        for name in ("whole", "cells", "objectness"):
            assert torch.allclose(getattr(every, name)[1:2], getattr(one, name), atol=1e-4)
        save_part(made, "detector", tmp_path, int8=True)
        stored: Detector = load_part(Detector, "detector", tmp_path)
        assert torch.equal(made.guided(every.whole, torch.ones(3, 128)), every.whole)  # no centres yet
        assert stored.name(1, "zh") == "box" and stored.name(0, "zh") == "红球"
        assert torch.allclose(stored(pixels).whole, every.whole, atol=0.2)


def test_augmented_things_stay_at_their_centres(task: DetectorTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "DETECTED_DEGRADED", (0.0, 0.0, 0.35, 0.0))
    for step in range(4):
        batch = task.batch(step, 0, 1, 0.0)
        assert batch["pixels"].shape == (4, 4, 96, 96)
        assert ((batch["centres"] >= 0) & (batch["centres"] < 1)).all()
        for (row, _), (x, y) in zip(batch["things"].tolist(), (96 * batch["centres"]).long().tolist(), strict=True):
            near = batch["pixels"][row, 3, max(0, y - 24) : y + 24, max(0, x - 24) : x + 24]
            assert near.max() > 0.3
    maps = [training._motion(task._sample(rng), rng) for rng in map(np.random.default_rng, range(60))]
    sizes = np.linalg.svd(np.stack(maps)[:, :, :2], compute_uv=False)  # of what a pixel shows: 2 is half as large
    assert 0.6 < sizes.min() < 0.9 and 1.2 < sizes.max() < 2
    again = task.batch(3, 0, 1, 0.0)
    assert all(again[name].equal(batch[name]) for name in batch)
    halves = [task.batch(3, rank, 2, 0.0)["pixels"] for rank in range(2)]
    assert torch.cat(halves).equal(batch["pixels"])


def test_a_run_resumes_exactly_and_ships(options: TaskOptions, tmp_path: Path) -> None:
    def trainer(out: Path) -> Trainer:
        return Trainer(RECIPE, options, out, Length(steps=STEPS), precision="no")

    straight, again = straight_and_resumed(trainer, tmp_path)
    assert are_equal(straight, again, 1e-5)
    again.run()
    shipped: Detector = load_part(Detector, "detector", again.out / "export")
    assert len(shipped.config["names"]) == len(straight.task.numbers)  # type: ignore[attr-defined]
    assert torch.allclose(shipped.centres.norm(dim=-1), torch.ones(1), atol=0.02) and not straight.plain.centres.any()
