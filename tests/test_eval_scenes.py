"""Forced choice about scenes: ties, void rows, and that the three kinds of pictures are judged by the same captions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fixture_world import fixture_world
from tiny_parts import save_tiny_parts

from eval.context import Context
from eval.generator import Parts
from eval.judge import Judge
from eval.metrics.image import AT_ONCE, ATTRIBUTES, held_out_choices, right_choices, scene_row, scene_rows
from eval.rows import MissingError, Sizes
from models.weights import save_part


class Fixed:
    """A judge whose score is the number that a caption's last word is."""

    def scores(self, pictures: np.ndarray, captions: Sequence[str]) -> np.ndarray:
        return np.array([float(text.split()[-1]) for text in captions])


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    root = save_tiny_parts(tmp_path_factory.mktemp("parts"))
    save_part(Judge(channels=(8, 8, 16), blocks=(1, 1), width=16, heads=2, rounds=1, buckets=64), "judge", root)
    return Context(fixture_world(), Sizes(8, 4, 6, 6, 3, scenes=3), Parts(root), quiet=True)


def test_a_choice_is_right_wrong_or_a_tie() -> None:
    found = right_choices(Fixed(), np.zeros((3, 1)), ["a 2", "b 1", "c 1"], ["a 1", "b 2", "c 1"])  # type: ignore[arg-type]
    assert found.tolist() == [1, 0, 0.5]


@pytest.mark.parametrize("attribute", ["colour", "binding", "relation"])
def test_a_prompt_and_its_contrast_differ_in_one_thing(context: Context, attribute: str) -> None:
    scenes, prompts, contrasts = held_out_choices(context, attribute)  # type: ignore[arg-type]
    assert len(scenes) == 3 and {scene.split for scene in scenes} == {"test"}
    for own, other in zip(prompts, contrasts, strict=True):
        assert own != other and not own.isspace()
        if attribute == "relation":  # the same words but for those that say where
            assert len(set(own.split()) ^ set(other.split())) <= 6
    trained = {picture.index for picture in context.world.split("train")}
    assert not any(item.picture in trained for scene in scenes for item in scene.objects)


def test_a_row_is_void_unless_the_judge_knows_real_scenes_and_their_reconstructions() -> None:
    good, bad = np.ones(100), np.r_[np.ones(94), np.zeros(6)]
    row = scene_row("colour", {"real": good, "reconstructed": good, "generated": bad})
    assert row.value == 0.94 and "VOID" not in row.note and dict(row.against)["chance"] == 0.5
    for name in ("real", "reconstructed"):
        row = scene_row("colour", {"real": good, "reconstructed": good, "generated": good, name: bad})
        assert f"VOID: the judge gets 0.940 of {name}" in row.note


def test_a_world_without_such_scenes_is_a_sentence(context: Context) -> None:
    with pytest.raises(MissingError, match="larger world"):
        held_out_choices(context, "count")  # the drawn world's held-out cells have no held-out number


def test_all_attributes_are_measured_with_tiny_models(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(ATTRIBUTES, "count")
    asked, generate = list[bool](), context.generate

    def spied(prompts: Sequence[str], references: bool = True) -> np.ndarray:
        asked.append(references)
        return generate(prompts, references=references)

    monkeypatch.setattr(context, "generate", spied)
    rows = list(scene_rows(context))
    assert asked == [True, False] * len(rows)
    assert [row.name for row in rows] == list(ATTRIBUTES)
    assert all(row.n == 3 and 0 <= row.value <= 1 and "judge" in row.parts for row in rows)
    assert all([name for name, _ in row.against] == ["chance", "real", "reconstructed", AT_ONCE] for row in rows)


def test_without_a_judge_a_sentence(context: Context, tmp_path: Path) -> None:
    bare = Context(context.world, context.sizes, Parts(save_tiny_parts(tmp_path)), quiet=True)
    with pytest.raises(MissingError, match="judge"):
        next(iter(scene_rows(bare)))
