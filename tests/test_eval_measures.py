"""The measures on the drawn world and on tiny untrained models: closed cases, controls, resuming, what is missing."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from eval_kit import SIZES, drawn_context
from fixture_world import fixture_world
from tiny_parts import give_variant, save_tiny_parts

from eval import sets
from eval.context import Context
from eval.generator import Parts, drawing_code
from eval.metrics import image
from eval.metrics.image import (
    alpha_iou,
    blend_rows,
    both_match,
    control_rows,
    fast_rows,
    image_rows,
    judge,
    psnr_on_white,
    reconstruction_rows,
    set_distances,
    unseen_rows,
)
from eval.metrics.space import retrieval_rows
from eval.neighbours import nearest, style_share
from eval.rows import MissingError, Row, Sizes
from eval.statistics import FeatureStatistics, ReferenceStatistics
from models.data.world import World, fraction
from models.pipelines.image import BATCH
from models.pipelines.sticker import StickerPipeline
from models.sampling.loop import FAST_SAMPLING, Sampling


@pytest.fixture(scope="module")
def world() -> World:
    return fixture_world()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, world: World) -> Path:
    """A folder of tiny parts, untrained, as training exports them."""
    return save_tiny_parts(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory, world: World, weights: Path) -> Context:
    return drawn_context(weights, tmp_path_factory.mktemp("cache"))


def row_of(rows: list[Row], name: str) -> Row:
    return next(row for row in rows if row.name == name)


# --- which pictures ---------------------------------------------------------------------------------------------------


def test_cells_are_held_out_distinct_and_stable(world: World) -> None:
    chosen = sets.cells(world, 100)
    assert {picture.split for picture in chosen} == {"cell"}
    assert len({(picture.concept, picture.family) for picture in chosen}) == len(chosen) > 3
    assert sets.cells(world, 3) == chosen[:3] == sets.held_out(world, 100)[:3]
    trained = {picture.concept for picture in world.split("train")}
    assert all(picture.concept in trained for picture in chosen)


def test_cells_come_in_an_order_of_their_own_however_many_variants_they_have(world: World) -> None:
    """By the first of its pictures, a cell with many skin tones would nearly always be among the first."""
    chosen = sets.cells(world, 100)
    assert chosen == sorted(chosen, key=lambda picture: fraction("eval", picture.concept, picture.family))


def test_partners_are_training_pictures_of_the_same_style_and_not_twice(world: World) -> None:
    asked = sets.held_out(world, 100)
    found = sets.partners(world, asked)
    assert [picture.style for picture in found] == [picture.style for picture in asked]
    assert {picture.split for picture in found} == {"train"} and len({p.id for p in found}) == len(found)
    assert found != sets.partners(world, asked, "other")


def test_a_prompt_names_the_picture_and_its_style(world: World) -> None:
    picture = next(p for p in world.pictures if p.id == "black glyph/apple")
    assert sets.prompt(picture) == "apple, black glyph style" and sets.prompt(picture, "zh") == "苹果，black glyph风格"


# --- the projection ---------------------------------------------------------------------------------------------------


def test_projection_keeps_most_variance_and_survives_its_file(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(200, 10)) * np.arange(1, 11)
    projection = ReferenceStatistics.fit(FeatureStatistics.of(x), "w", 3)
    assert np.allclose(projection(x).var(0, ddof=1), np.linalg.eigvalsh(np.cov(x.T))[::-1][:3], rtol=1e-4)
    projection.save(tmp_path / "p.safetensors")
    again = ReferenceStatistics.load(tmp_path / "p.safetensors")
    assert np.array_equal(again(x), projection(x)) and again.digest() == projection.digest() and again.pictures == 200


def test_an_altered_or_missing_projection_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    with pytest.raises(FileNotFoundError, match="python -m eval reference"):
        ReferenceStatistics.load(path)
    ReferenceStatistics.fit(FeatureStatistics.of(np.random.default_rng(0).normal(size=(20, 6))), "w", 3).save(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="sha256"):
        ReferenceStatistics.load(path)


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_psnr_and_overlap_in_closed_cases() -> None:
    black = np.zeros((1, 8, 8, 4), np.uint8)
    black[..., 3] = 255
    grey = black.copy()
    grey[..., :3] = 51  # a fifth of the range: 10 log10(25) dB
    assert psnr_on_white(black, grey) == pytest.approx([13.979], abs=1e-3)
    assert psnr_on_white(black, black) == pytest.approx([60])
    half = black.copy()
    half[:, :4] = 0
    assert alpha_iou(black, half) == pytest.approx([0.5]) and alpha_iou(0 * black, 0 * black) == pytest.approx([1])
    assert psnr_on_white(0 * black, np.full_like(black, 255)) == pytest.approx([60])  # transparent is white


def test_nearest_is_sorted_by_cosine() -> None:
    gallery = np.array([[1.0, 0], [0, 1], [0.9, 0.1], [-1, 0]])
    assert nearest(np.array([[5.0, 0.1]]), gallery, 3).tolist() == [[0, 2, 1]]
    assert nearest(np.array([[0.0, 2.0]]), gallery, 9).tolist()[0][0] == 1


def test_the_style_of_the_nearest_is_the_share_of_one_and_of_more_it_is_their_mean(world: World) -> None:
    gallery = world.pictures[:40]
    rows = np.random.default_rng(0).permuted(np.tile(np.arange(40), (40, 1)), axis=1)[:, :10]
    each = [style_share(gallery, gallery, rows[:, k : k + 1]) for k in range(10)]
    right = [one.style == gallery[row].style for one, row in zip(gallery, rows[:, 0], strict=True)]
    assert np.array_equal(each[0], right) and 0 < each[0].mean() < 1
    assert np.allclose(style_share(gallery, gallery, rows), np.mean(each, 0))


def test_reconstruction_rows(context: Context) -> None:
    rows = list(reconstruction_rows(context))
    assert [row.name for row in rows][:2] == ["PSNR on white", "alpha IoU"]
    assert 0 < rows[0].value < 40 and rows[0].met is False and rows[0].n == 6


def test_a_flawless_autoencoder_is_at_the_floor(context: Context, weights: Path) -> None:
    perfect = drawn_context(weights, context.cache)
    perfect.reconstruct = lambda pixels: pixels  # type: ignore[method-assign]
    rows = list(reconstruction_rows(perfect))
    assert rows[0].value == 60 and rows[0].met and rows[1].value == 1
    assert row_of(rows, "FD-EffLite0-PCA128 over its floor").value == pytest.approx(1, abs=1e-4)


def test_real_pictures_are_at_their_own_floor_and_noise_is_far(context: Context) -> None:
    rows = list(control_rows(context))
    ratio = {row.name.split(":")[0]: row.value for row in rows if row.name.endswith("over its floor")}
    assert ratio["real held-out"] == pytest.approx(1) and ratio["noise"] > 1.5
    copies = {row.name.split(":")[0]: row.value for row in rows if row.name.endswith("copies of training pictures")}
    assert copies["memoriser"] == 1 and copies["noise"] == 0 and copies["real held-out"] < 1
    assert all(row.parts == () and row.goal is None for row in rows)


def test_the_right_drawing_is_found_and_a_stranger_is_not(context: Context) -> None:
    asked = sets.cells(context.world, 4)
    same = [next(p for p in context.train if p.concept == asked_one.concept) for asked_one in asked]
    assert judge(context, asked, sets.pixels(context.world, same)).concept.all()
    assert judge(context, same, sets.pixels(context.world, same)).style.all()


def test_generated_pictures_are_measured_beside_real_ones(context: Context) -> None:
    rows = list(image_rows(context))
    concept = row_of(rows, "concept among the 10 nearest drawings")
    real = judge(context, sets.cells(context.world, 4), sets.pixels(context.world, sets.cells(context.world, 4)))
    assert concept.goal == real.concept.mean() / 2 and concept.n == 4 and "dit" in concept.parts
    ratio = row_of(rows, "FD-EffLite0-PCA128 over its floor")
    pixels = sets.pixels(context.world, sets.held_out(context.world, 6))
    through = context.features(context.reconstruct(pixels))
    own = set_distances(context, sets.held_out(context.world, 6), through).ratio
    assert ratio.goal == pytest.approx(2 * own) and ratio.lower_is_better


def test_generated_pictures_are_kept_and_drawn_in_one_shape(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = ["a cat", "a dog", "a pig"]
    shapes: list[int | None] = []
    draw = StickerPipeline.steps

    def steps(self: StickerPipeline, texts: list[str], seeds: range, sampling: Sampling, **more: bool) -> Iterator:
        shapes.append(sampling.batch)
        return draw(self, texts, seeds, sampling, **more)

    monkeypatch.setattr(StickerPipeline, "steps", steps)
    first = context.generate(prompts)
    assert np.array_equal(Context(context.world, SIZES, context.parts, quiet=True).generate(prompts), first)
    assert np.array_equal(context.generate(prompts[:1])[0], first[0])
    # Without it a lone last picture would be drawn in another shape than in a longer run, and be another picture.
    assert shapes == [BATCH] * 3
    assert np.array_equal(context.generate(prompts), first) and len(shapes) == 3  # the cache answered


def test_the_fast_variant_is_measured_as_the_generator_is(
    context: Context, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingError, match="no fast variant; train it"):
        list(fast_rows(context))
    root = save_tiny_parts(tmp_path)
    give_variant(root, 0.05)
    own = drawn_context(root, tmp_path / "cache")
    drawn: list[Sampling] = []
    steps = StickerPipeline.steps
    monkeypatch.setattr(StickerPipeline, "steps", lambda *a, **b: drawn.append(a[3]) or steps(*a, **b))
    rows, plain = list(fast_rows(own)), list(image_rows(own))
    assert drawn[0] == replace(FAST_SAMPLING, batch=BATCH) and not drawn[-1].fast
    names = [f"fast: {row.name}" for row in plain]
    assert [row.name for row in rows] == names
    assert all("fast" in row.parts for row in rows) and "4 steps without guidance" in rows[0].seeds
    assert row_of(rows, "fast: KID-EffLite0 x 1000").value != row_of(plain, "KID-EffLite0 x 1000").value


def test_held_out_concepts_are_looked_for_among_all_drawings(context: Context) -> None:
    (row,) = unseen_rows(context)
    control = dict(row.against)
    assert row.n == len(sets.unseen(context.world, 3)) > 0 and 0 <= row.value <= 1
    assert 0 < control["chance"] <= 1 and 0 <= control["real"] <= 1
    assert {picture.split for picture in sets.unseen(context.world, 100)} == {"concept"}


def test_blends_are_looked_at_for_both_things(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = sets.pairs(context.world, 3)
    shown = [picture.concept for pair in sets.pairs(context.world, 100) for picture in pair]
    assert len(pairs) == 3 and len(shown) == len(set(shown)) and {p.split for pair in pairs for p in pair} == {"train"}
    (row,) = blend_rows(context)
    assert row.n == 3 and 0 <= row.value <= 1
    assert [name for name, _ in row.against] == ["halfway between their vectors", "the first alone", "two other things"]
    first = context.features_of([pair[0] for pair in pairs])
    for near, found in ((0.0, 0), (1.0, 3)):  # one drawing shows one thing, all of them everything
        monkeypatch.setattr(image, "SEARCHED", near)
        assert both_match(context, pairs, first).sum() == found


def test_pictures_kept_are_those_of_this_very_code(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = context.generate(["a cat"])
    monkeypatch.setattr(context.parts.pipeline, "steps", lambda *_, **__: pytest.fail("drawn again"))
    assert np.array_equal(context.generate(["a cat"]), drawn)
    read, seen = Path.read_bytes, set[str]()
    monkeypatch.setattr(Path, "read_bytes", lambda path: seen.add(f"{path.parent.name}/{path.name}") or read(path))
    drawing_code.cache_clear()
    code = drawing_code()
    assert {"models/dit.py", "data/colours.py", "prompts/parser.py"} <= seen and not {s for s in seen if "train/" in s}
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + b"#" * (path.name == "parser.py"))
    drawing_code.cache_clear()
    assert drawing_code() != code
    with pytest.raises(pytest.fail.Exception, match="drawn again"):
        context.generate(["a cat"])
    drawing_code.cache_clear()


# --- retrieval --------------------------------------------------------------------------------------------------------


class Oracle:
    """An embedder that knows the answer: pictures by their pixels, captions by a table."""

    def __init__(self, world: World, captions: dict[str, int]) -> None:
        self.concepts = sorted({picture.concept for picture in world.pictures})
        self.by_pixels = {sets.pixels(world, [p]).tobytes(): self.concepts.index(p.concept) for p in world.pictures}
        self.captions = captions

    def image(self, pixels: np.ndarray) -> torch.Tensor:
        return torch.eye(128)[[self.by_pixels[picture.tobytes()] for picture in pixels]]

    def text(self, texts: list[str]) -> torch.Tensor:
        return torch.eye(128)[[self.captions.get(text, 100) for text in texts]]


def test_retrieval_of_an_oracle_is_perfect_and_of_a_deaf_one_chance(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "eval.metrics.space.caption", lambda picture, seed, language, style: f"{picture.concept} {language}"
    )
    concepts = sorted({picture.concept for picture in context.world.pictures})
    english = {f"{concept} en": i for i, concept in enumerate(concepts)}
    parts = Parts()
    parts.embedder = Oracle(context.world, english)  # type: ignore[misc, assignment]
    rows = list(retrieval_rows(Context(context.world, Sizes(100, 4, 6, 6, 3, 2), parts)))
    assert rows[0].name == "text to image R@10, English" and len(rows) == 4
    assert [name for name, _ in rows[0].against][2:] == ["words shuffled", "bag of words"]
    assert rows[0].value == rows[1].value == 1 and rows[0].met
    # Chinese captions all get one vector: exactly chance for pictures looked up by text.
    assert rows[2].value == pytest.approx(dict(rows[2].against)["chance"]) and rows[2].goal == pytest.approx(0.9)


def test_retrieval_on_tiny_models(context: Context) -> None:
    rows = list(retrieval_rows(context))
    assert all(0 <= row.value <= 1 and row.n == len(sets.cells(context.world, 8)) for row in rows)
    assert all(row.parts == ("language", "vision", "space") for row in rows)


def test_missing_weights_are_a_sentence(world: World, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no weights"):
        Context(world, SIZES, Parts(tmp_path), quiet=True).reconstruct(world.pixels[:1])


def test_altered_weights_are_a_sentence(world: World, weights: Path, tmp_path: Path) -> None:
    import shutil

    root = shutil.copytree(weights, tmp_path / "altered")
    manifest = json.loads((root / "manifest.json").read_text())
    manifest["autoencoder"] = dict.fromkeys(manifest["autoencoder"], "0" * 64)
    (root / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(MissingError, match="altered"):
        Context(world, SIZES, Parts(root), quiet=True).reconstruct(world.pixels[:1])
