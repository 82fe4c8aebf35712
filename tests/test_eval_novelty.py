"""Laws of the measures of a drawing of its own: what is a copy, what is sharp, and what a source's absence changes."""

from collections.abc import Iterator

import numpy as np
import pytest
from eval_kit import SIZES, drawn_context
from PIL import Image, ImageFilter
from tiny_parts import save_tiny_parts

from eval import sets
from eval.context import Context
from eval.judge import Judge
from eval.metrics.novelty import blur, edge_energy, novelty, novelty_rows, steering_rows
from models.data.world import Picture
from models.weights import save_part


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    root = save_tiny_parts(tmp_path_factory.mktemp("weights"))
    save_part(Judge(channels=(8, 8, 16), blocks=(1, 1), width=16, heads=2, rounds=1, buckets=64), "judge", root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eval.metrics.novelty.LEFT", 1)  # the drawn world has few families
        yield drawn_context(root, tmp_path_factory.mktemp("cache"))


def _things(context: Context) -> list[Picture]:
    """Training pictures of things that another family drew for training, too."""
    pairs = sets.families(context.world, 4)
    return [picture for pair in pairs for picture in pair]


def test_a_copy_is_near_whatever_was_done_and_its_source_is_left_out(context: Context) -> None:
    things = _things(context)
    pasted = sets.pixels(context.world, things)[:, :, ::-1]
    rows = {row.name: row for row in novelty(context, things, pasted, [(one.style,) for one in things], pasted)}
    near, far, known, *_ = rows.values()
    assert near.value == far.value == 1 and near.lower_is_better and "mirrored 1.000" in near.note
    assert {name for name, _ in near.against} == {"real held-out", "sources", "strength 0"}
    assert known.n == len(things)
    every = {one.style for one in context.world.pictures}
    others = novelty(context, things, pasted, [tuple(every)] * len(things))
    assert not [row for row in others if "known" in row.name], "nobody else drew it"


def test_the_same_picture_twice_is_not_unlike_and_one_seed_has_no_such_row(context: Context) -> None:
    things = _things(context)
    sources, pixels = [(one.style,) for one in things], sets.pixels(context.world, things)
    first = things[::2]
    assert not [row for row in novelty(context, first, pixels[::2], sources[::2]) if "unlike" in row.name]
    apart = [row.value for row in novelty(context, things, pixels, sources) if "unlike" in row.name]
    same = [
        row.value for row in novelty(context, things, np.repeat(pixels[::2], 2, 0), sources) if "unlike" in row.name
    ]
    assert len(apart) == 2 and min(apart) > 1e-3 and np.abs(same).max() < 1e-6


def test_what_is_blurred_has_less_detail(context: Context) -> None:
    sharp = context.world.pixels[:4]
    soft = np.stack([np.asarray(Image.fromarray(one).filter(ImageFilter.GaussianBlur(3))) for one in sharp])
    assert (edge_energy(soft) < edge_energy(sharp)).all() and (blur(soft) > blur(sharp)).all()
    empty = np.zeros_like(sharp)
    assert (edge_energy(empty) == 0).all() and (blur(empty) == 1).all()


def test_the_generator_says_what_it_drew_from_and_what_steers_it(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = sets.common
    monkeypatch.setattr(sets, "common", lambda world, count: common(world, count, families=2))
    rows = list(novelty_rows(context))
    assert [row.name.split()[0] for row in rows] == [
        "copies:",
        "copies:",
        "known",
        "unlike",
        "unlike",
        "detail:",
        "blur,",
    ]
    assert {row.n for row in rows[:2]} == {SIZES.seeds * len(sets.common(context.world, 60))}
    acts, guided = steering_rows(context)
    assert 0 <= acts.value <= 1 and acts.goal and guided.value >= 0
