"""The fresh set is measured where it is asked for by name, of what ships, beside what remembering would give."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from eval_kit import SIZES
from fixture_world import fixture_world
from tiny_parts import save_tiny_captioner, save_tiny_parts

from eval import __main__ as command
from eval.context import Context
from eval.generator import Parts
from eval.metrics import METRICS
from eval.metrics import fresh as module
from eval.rows import Row
from models.data.extra_sets import FreshSet
from models.data.world import World
from models.pipelines import caption as pipeline

MOST = 6


def altered(alter: Callable[[np.ndarray], np.ndarray]) -> FreshSet:
    """A training picture of each thing, altered, as the fresh set."""
    world = fixture_world()
    drawn = list({picture.concept: picture for picture in world.split("train")}.values())
    pixels = np.stack([alter(world.pixels[picture.index]) for picture in drawn])
    pictures = [replace(picture, index=row, split="fresh", group="objects") for row, picture in enumerate(drawn)]
    return FreshSet((replace(pictures[0], group="flags"), *pictures[1:]), pixels, {})


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    root = save_tiny_parts(tmp_path_factory.mktemp("fresh") / "parts")
    save_tiny_captioner(root)
    made = Context(fixture_world(), replace(SIZES, gallery=MOST), Parts(root), root / "cache", quiet=True)
    assert made.turn_to(METRICS["fresh"].needs) is None
    return made


def measured(context: Context, monkeypatch: pytest.MonkeyPatch, found: FreshSet) -> dict[str, Row]:
    monkeypatch.setattr(pipeline, "LONGEST", 2)
    monkeypatch.setattr(pipeline, "SHAPES", (1, 4))
    monkeypatch.setattr(module, "load_fresh", lambda world: found)
    return {row.name: row for row in METRICS["fresh"].rows(context)}


def test_each_row_has_its_interval_and_what_it_must_be_read_against(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = measured(context, monkeypatch, altered(lambda one: np.ascontiguousarray(one[::-1])))
    assert all(np.isfinite(row.value) and row.interval for row in rows.values())
    named = rows["concept named: fresh pictures"]
    assert {"blind", "nearest name", "nearest training picture"} <= dict(named.against).keys() and named.n == MOST
    assert rows["concept named: fresh pictures but flags"].n in (MOST, MOST - 1)
    recalls = [rows[f"English captions of {MOST}: text to image: R@{k}"] for k in (1, 5, 10)]
    assert [dict(row.against)["chance"] for row in recalls] == pytest.approx([1 / MOST, 5 / MOST, 1])
    assert all("space" in "".join(row.parts) for row in recalls)


def test_what_looks_like_a_training_picture_is_counted(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "within 0.02 of a training picture"
    copied = measured(context, monkeypatch, altered(lambda one: one))[name]
    assert copied.value == 1 and copied.lower_is_better and "held-out cells" in dict(copied.against)
    assert measured(context, monkeypatch, altered(lambda one: np.full_like(one, 255)))[name].value < 1


def test_it_is_no_part_of_all_and_is_not_for_other_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "fresh" not in command.names_of(["all"]) and command.names_of(["fresh"]) == ["fresh"]
    monkeypatch.setattr(World, "load", classmethod(lambda cls, folder=None: fixture_world()))
    assert command.main(["fresh", "--weights", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert "for the weights that ship" in captured.err and captured.err.count("\n") == 1
