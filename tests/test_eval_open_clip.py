"""Our space beside another model: the same questions to both, differences with their intervals, scores by both."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from eval_kit import SIZES, drawn_context
from tiny_parts import save_tiny_parts

from eval.context import Context
from eval.generator import Parts
from eval.metrics.image import ATTRIBUTES
from eval.metrics.space import Answers, difference_row, open_clip_rows, retrieval_rows
from eval.rows import MissingError, Row
from models.open_clip import PART


class Constant:
    """Tells nothing from anything."""

    def text(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.ones(len(texts), 8) / 8**0.5

    def image(self, pictures: np.ndarray) -> torch.Tensor:
        return self.text([""] * len(pictures))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_parts(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def context(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """Over the drawn world and a dictionary of ten cats, the half of which nothing taught."""
    cats = {f"cat{i}": frozenset({"cat"}) for i in range(10)}
    monkeypatch.setattr("eval.metrics.space.english_words", lambda context, count: cats)
    monkeypatch.setattr("eval.metrics.space.is_held_out", lambda word: int(word[3:]) % 2 == 0)
    monkeypatch.delitem(ATTRIBUTES, "count")  # the drawn world holds out no number
    return drawn_context(weights, tmp_path, sizes=replace(SIZES, gallery=40))


def beside(context: Context, other: Any) -> dict[str, Row]:
    """The rows by question, with `other` as the only model."""
    context.parts.open_clip = {"other": other}  # type: ignore[misc]
    rows = list(open_clip_rows(context))
    assert all(row.name.endswith(": space less other") for row in rows)
    return {row.name.split(":")[0]: row for row in rows}


def test_beside_itself_nothing_differs(context: Context) -> None:
    rows = beside(context, context.parts.embedder)
    assert {(row.value, row.interval) for row in rows.values()} == {(0.0, (0.0, 0.0))}
    assert len([name for name in rows if "R@10" in name]) == 4 + 2 * 2 and len(rows) == 8 + 2 + 3


def test_who_tells_nothing_gets_chance_and_differs_by_our_share_less_that(context: Context) -> None:
    ours = {row.name: row.value for row in retrieval_rows(context)}
    for question, row in beside(context, Constant()).items():
        share = dict(row.against)
        assert share["other"] == pytest.approx(share["chance"]), question
        assert (
            row.value == pytest.approx(share["space"] - share["other"]) and 0 <= share["chance"] <= share["space"] + 1
        )
        assert row.interval and row.interval[0] <= row.value <= row.interval[1]
        assert share["space"] == pytest.approx(ours.get(question, share["space"])), "the table's own figure"


def test_the_interval_is_that_of_paired_answers() -> None:
    """Two models that are right on the same half differ by nothing, however few the questions."""
    half = np.arange(40) % 2.0
    same, shifted = Answers(half, 0.1), Answers(np.roll(half, 1), 0.1)
    assert difference_row("q", same, same, "b").interval == (0, 0)
    low, high = difference_row("q", same, shifted, "b").interval or (0, 0)
    assert low < -0.2 and high > 0.2


def test_models_are_called_by_the_last_part_of_their_names(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval.generator.any_embedder", lambda name: name)
    assert Parts(weights, ["a/x", "b/x", "hf-hub:c/y"]).open_clip == {"x": "a/x", "b/x": "b/x", "y": "hf-hub:c/y"}


def test_a_model_that_is_not_there_is_missing(weights: Path) -> None:
    with pytest.raises(MissingError, match=f"no part '{PART}'"):
        _ = Parts(weights).open_clip
    with pytest.raises(MissingError, match="holds no safetensors"):
        _ = Parts(weights, [f"local-dir:{weights}"]).open_clip
