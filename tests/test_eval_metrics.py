"""The metrics on the fixture world and tiny untrained models: closed cases, controls, caches, missing parts.

Byte equality holds for the kernels of a single process.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from eval_kit import SIZES, drawn_context, save_tiny_judge
from fixture_world import fixture_world, world_with_cooks
from PIL import Image, ImageFilter
from tiny_parts import give_variant, save_tiny_captioner, save_tiny_parts, save_tiny_video

from eval import __main__ as command
from eval import sets
from eval.context import Context
from eval.generator import Parts, drawing_code
from eval.metrics import METRICS, image
from eval.metrics import captions as captions_module
from eval.metrics import clips as clips_module
from eval.metrics import fresh as fresh_module
from eval.metrics.clips import (
    DIRECTED,
    moments,
    motion_classifier,
    plain_clips,
    prompt_of,
    seam,
    shuffled,
    still,
    warped,
)
from eval.metrics.image import (
    AT_ONCE,
    ATTRIBUTES,
    alpha_iou,
    blend_rows,
    both_match,
    control_rows,
    fast_rows,
    held_out_choices,
    image_rows,
    judge,
    misranked,
    psnr_on_white,
    reconstruction_rows,
    right_choices,
    scene_row,
    scene_rows,
    set_distances,
    unseen_rows,
)
from eval.metrics.novelty import edge_energy, gender_row, novelty, novelty_rows, plain_rows, seen_rows, steering_rows
from eval.metrics.space import retrieval_rows
from eval.rows import MissingError, Row, Sizes
from eval.statistics import FeatureStatistics, ReferenceStatistics, style_share
from models.data.clips import direction_seen
from models.data.extra_sets import FreshSet
from models.data.scenes import make_scene
from models.data.world import Picture, World
from models.pipelines import caption as pipeline
from models.pipelines.image import BATCH
from models.pipelines.sticker import StickerPipeline
from models.pipelines.video import ClipPipeline, ClipSampling
from models.prompts.parser import named_style
from models.sampling.loop import FAST_SAMPLING, Sampling


@pytest.fixture(scope="module")
def world() -> World:
    return fixture_world()


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory, world: World, parts: Path) -> Context:
    return drawn_context(parts, tmp_path_factory.mktemp("cache"))


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


def test_partners_share_style_and_are_distinct(world: World) -> None:
    requests = sets.held_out(world, 100)
    result = sets.partners(world, requests)
    assert [picture.style for picture in result] == [picture.style for picture in requests]
    assert {picture.split for picture in result} == {"train"} and len({p.id for p in result}) == len(result)
    assert result != sets.partners(world, requests, "other")


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


def test_style_share_of_several_neighbours_is_their_mean(world: World) -> None:
    gallery = world.pictures[:40]
    rows = np.random.default_rng(0).permuted(np.tile(np.arange(40), (40, 1)), axis=1)[:, :10]
    each = [style_share(gallery, gallery, rows[:, k : k + 1]) for k in range(10)]
    right = [entry.style == gallery[row].style for entry, row in zip(gallery, rows[:, 0], strict=True)]
    assert np.array_equal(each[0], right) and 0 < each[0].mean() < 1
    assert np.allclose(style_share(gallery, gallery, rows), np.mean(each, 0))


def test_a_flawless_autoencoder_is_at_the_floor(context: Context, parts: Path) -> None:
    perfect = drawn_context(parts, context.cache)
    perfect.reconstruct = lambda pixels: pixels  # type: ignore[method-assign]
    rows = list(reconstruction_rows(perfect))
    assert rows[0].value == 60 and rows[0].met and rows[1].value == 1
    assert row_of(rows, "FD-EffLite0-PCA128 over its floor").value == pytest.approx(1, abs=1e-4)


def test_real_pictures_are_at_the_floor_and_noise_is_far(context: Context) -> None:
    rows = list(control_rows(context))
    ratio = {row.name.split(":")[0]: row.value for row in rows if row.name.endswith("over its floor")}
    assert ratio["real held-out"] == pytest.approx(1) and ratio["noise"] > 1.5
    copies = {row.name.split(":")[0]: row.value for row in rows if row.name.endswith("copies of training pictures")}
    assert copies["memoriser"] == 1 and copies["noise"] == 0 and copies["real held-out"] < 1
    assert all(row.parts == () and row.goal is None for row in rows)
    assert not [sentence for sentence in misranked(rows) if "floor: noise" in sentence]
    swapped = {"real held-out": "noise", "noise": "real held-out"}
    parts = [row.name.partition(": ") for row in rows]
    names = [f"{swapped.get(control, control)}: {name}" for control, _, name in parts]
    wrong = [replace(row, name=name) for row, name in zip(rows, names, strict=True)]
    assert any(sentence.startswith("FD-EffLite0-PCA128 over its floor: noise") for sentence in misranked(wrong))
    with pytest.raises(ValueError, match="no control"):
        misranked(rows[:3])


def test_the_judge_recognises_concept_and_style(context: Context) -> None:
    requests = sets.cells(context.world, 4)
    same = [next(p for p in context.train if p.concept == asked_one.concept) for asked_one in requests]
    assert judge(context, requests, sets.pixels(context.world, same)).concept.all()
    assert judge(context, same, sets.pixels(context.world, same)).style.all()


def test_generated_pictures_are_measured_beside_real_ones(context: Context) -> None:
    rows = list(image_rows(context))
    concept = row_of(rows, "concept among the 10 nearest drawings")
    real = judge(context, sets.cells(context.world, 4), sets.pixels(context.world, sets.cells(context.world, 4)))
    assert concept.goal == real.concept.mean() / 2 and concept.n == 4 and "dit" in concept.parts
    ratio = row_of(rows, "FD-EffLite0-PCA128 over its floor")
    pixels = sets.pixels(context.world, sets.held_out(context.world, 6))
    through = context.features(context.reconstruct(pixels))
    this = set_distances(context, sets.held_out(context.world, 6), through).ratio
    assert ratio.goal == pytest.approx(2 * this) and ratio.lower_is_better


def test_generated_pictures_are_cached(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
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
    this = drawn_context(root, tmp_path / "cache")
    drawn: list[Sampling] = []
    steps = StickerPipeline.steps
    monkeypatch.setattr(StickerPipeline, "steps", lambda *a, **b: drawn.append(a[3]) or steps(*a, **b))
    rows, plain = list(fast_rows(this)), list(image_rows(this))
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
    assert [name for name, _ in row.against] == ["the first alone", "two other things"]
    first = context.features_of([pair[0] for pair in pairs])
    for near, result in ((0.0, 0), (1.0, 3)):  # one drawing shows one thing, all of them everything
        monkeypatch.setattr(image, "SEARCHED", near)
        assert both_match(context, pairs, first).sum() == result


def test_the_picture_cache_depends_on_the_code(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_retrieval_of_oracle_and_constant_vectors(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
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


# --- What most people ask for -----------------------------------------------------------------------------------------


def test_plain_prompts_are_compared_with_real_drawings(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[str] = []
    generate = Context.generate
    monkeypatch.setattr(Context, "generate", lambda this, prompts: requests.extend(prompts) or generate(this, prompts))
    concept, copies = plain_rows(context)
    assert not any(map(named_style, requests)) and len(requests) == len(set(requests)) > 0
    for row in (concept, copies):
        assert row.n == len(requests) and 0 <= row.value <= 1 and [name for name, _ in row.against] == ["real held-out"]


def test_seen_prompts_are_compared_with_noise_alone(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[tuple[list[str], bool]] = []
    generate = Context.generate

    def seen(this: Context, prompts: list[str], references: bool = True) -> np.ndarray:
        requests.append((prompts, references))
        return generate(this, prompts, references=references)

    monkeypatch.setattr(Context, "generate", seen)
    rows = list(seen_rows(context))
    (prompts, led), (same, free) = requests
    assert prompts == same and led and not free and all(map(named_style, prompts))
    assert [row.name.partition(": ")[2].split()[0] for row in rows] == ["concept", "style", "copies"]
    for row in rows:
        assert (
            row.n == len(prompts) and 0 <= row.value <= 1 and [name for name, _ in row.against] == ["from noise alone"]
        )
    pictures = sets.seen(context.world, 100)
    assert {p.split for p in pictures} == {"train"} and len({p.concept for p in pictures}) == len(pictures) > 2
    toned = [replace(p, skin="dark") if p.concept == pictures[0].concept else p for p in context.world.pictures]
    assert sets.seen(World(toned, context.world.pixels, context.world.digest), 2) == pictures[1:3]


@pytest.mark.parametrize("drawn_as", ["asked", "other", "thing"])
def test_gender_is_judged_by_the_nearer_drawing(
    context: Context, monkeypatch: pytest.MonkeyPatch, drawn_as: str
) -> None:
    world = world_with_cooks([("noto", "noto", gender) for gender in ("woman", "man", None)])
    pairs = sets.genders(world, 100)
    assert {(this.gender, other.gender) for this, other in pairs} == {("woman", "man"), ("man", "woman")}
    assert sets.genders(world, 1) == pairs[:1] and {p.concept for pair in pairs for p in pair} == {"cook"}
    toned = [replace(p, skin="dark") if p.gender == "man" else p for p in world.pictures]
    assert not sets.genders(World(toned, world.pixels, world.digest), 100)
    people = Context(world, SIZES, context.parts, quiet=True)
    drawings = {"asked": [this for this, _ in pairs], "other": [other for _, other in pairs]}
    results = sets.pixels(world, drawings.get(drawn_as) or [world.pictures[-1]] * 2)
    monkeypatch.setattr(Context, "generate", lambda this, prompts, references=True: results[: len(prompts)])
    row = gender_row(people, pairs)
    assert row.n == 2 and row.value == {"asked": 1, "other": 0, "thing": 0.5}[drawn_as]


def test_pairs_of_families_share_a_concept() -> None:
    world = fixture_world()
    pairs = sets.families(world, 100)
    assert len(pairs) > 2 and sets.families(world, 2) == pairs[:2]
    toned = [replace(p, skin="dark") if p.concept == pairs[0][0].concept else p for p in world.pictures]
    assert sets.families(World(toned, world.pixels, world.digest), 100) == pairs[1:]
    for entry, other in pairs:
        assert (
            entry.concept == other.concept and entry.family != other.family and {entry.split, other.split} == {"train"}
        )


# --- Drawings of its own ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def novelty_context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    root = save_tiny_parts(tmp_path_factory.mktemp("weights"))
    save_tiny_judge(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eval.metrics.novelty.LEFT", 1)  # the drawn world has few families
        yield drawn_context(root, tmp_path_factory.mktemp("cache"))


def _things(novelty_context: Context) -> list[Picture]:
    """Training pictures of things that another family also drew for training."""
    pairs = sets.families(novelty_context.world, 4)
    return [picture for pair in pairs for picture in pair]


def test_novelty_of_copies(novelty_context: Context) -> None:
    things = _things(novelty_context)
    pasted = sets.pixels(novelty_context.world, things)[:, :, ::-1]
    rows = {
        row.name: row for row in novelty(novelty_context, things, pasted, [(entry.style,) for entry in things], pasted)
    }
    near, far, known, *_ = rows.values()
    assert near.value == far.value == 1 and near.lower_is_better
    assert {name for name, _ in near.against} == {"real held-out", "sources", "strength 0"}
    assert known.n == len(things)
    every = {entry.style for entry in novelty_context.world.pictures}
    others = novelty(novelty_context, things, pasted, [tuple(every)] * len(things))
    assert not [row for row in others if "known" in row.name], "nobody else drew it"


def test_equal_pictures_have_no_diversity(novelty_context: Context) -> None:
    things = _things(novelty_context)
    sources, pixels = [(entry.style,) for entry in things], sets.pixels(novelty_context.world, things)
    first = things[::2]
    assert not [row for row in novelty(novelty_context, first, pixels[::2], sources[::2]) if "unlike" in row.name]
    apart = [row.value for row in novelty(novelty_context, things, pixels, sources) if "unlike" in row.name]
    same = [
        row.value
        for row in novelty(novelty_context, things, np.repeat(pixels[::2], 2, 0), sources)
        if "unlike" in row.name
    ]
    assert len(apart) == 2 and min(apart) > 1e-3 and np.abs(same).max() < 1e-6


def test_blur_lowers_edge_energy(novelty_context: Context) -> None:
    sharp = novelty_context.world.pixels[:4]
    soft = np.stack([np.asarray(Image.fromarray(entry).filter(ImageFilter.GaussianBlur(3))) for entry in sharp])
    assert (edge_energy(soft) < edge_energy(sharp)).all() and (edge_energy(0 * sharp) == 0).all()


def test_the_generator_says_what_it_drew_from_and_what_steers_it(
    novelty_context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = sets.common
    monkeypatch.setattr(sets, "common", lambda world, count: common(world, count, families=2))
    rows = list(novelty_rows(novelty_context))
    assert [row.name.split()[0] for row in rows] == ["copies:", "copies:", "known", "unlike", "unlike", "detail:"]
    assert {row.n for row in rows[:2]} == {SIZES.seeds * len(sets.common(novelty_context.world, 60))}
    (acts,) = steering_rows(novelty_context)
    assert 0 <= acts.value <= 1 and acts.goal


# --- Forced choice ----------------------------------------------------------------------------------------------------


class Fixed:
    """A judge whose score is the last word of a caption."""

    def scores(self, pictures: np.ndarray, captions: Sequence[str]) -> np.ndarray:
        return np.array([float(text.split()[-1]) for text in captions])


@pytest.fixture(scope="module")
def scenes_context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    root = save_tiny_parts(tmp_path_factory.mktemp("parts"))
    save_tiny_judge(root)
    return Context(fixture_world(), Sizes(8, 4, 6, 6, 3, scenes=3), Parts(root), quiet=True)


def test_a_choice_is_right_wrong_or_a_tie() -> None:
    result = right_choices(Fixed(), np.zeros((3, 1)), ["a 2", "b 1", "c 1"], ["a 1", "b 2", "c 1"])  # type: ignore[arg-type]
    assert result.tolist() == [1, 0, 0.5]


@pytest.mark.parametrize("attribute", ["colour", "binding", "relation"])
def test_a_prompt_and_its_contrast_differ_in_a_single_attribute(scenes_context: Context, attribute: str) -> None:
    scenes, prompts, contrasts = held_out_choices(scenes_context, attribute)  # type: ignore[arg-type]
    assert len(scenes) == 3 and {scene.split for scene in scenes} == {"test"}
    for this, other in zip(prompts, contrasts, strict=True):
        assert this != other and not this.isspace()
        if attribute == "relation":  # the same words but for those that say where
            assert len(set(this.split()) ^ set(other.split())) <= 6
    trained = {picture.index for picture in scenes_context.world.split("train")}
    assert not any(item.picture in trained for scene in scenes for item in scene.objects)


def test_rows_are_void_if_the_judge_fails_on_real_scenes() -> None:
    good, bad = np.ones(100), np.r_[np.ones(94), np.zeros(6)]
    row = scene_row("colour", {"real": good, "reconstructed": good, "generated": bad})
    assert row.value == 0.94 and "VOID" not in row.note and dict(row.against)["chance"] == 0.5
    for name in ("real", "reconstructed"):
        row = scene_row("colour", {"real": good, "reconstructed": good, "generated": good, name: bad})
        assert f"VOID: the judge gets 0.940 of {name}" in row.note


def test_a_world_without_such_scenes_is_a_sentence(scenes_context: Context) -> None:
    with pytest.raises(MissingError, match="larger world"):
        held_out_choices(scenes_context, "count")  # the drawn world's held-out cells have no held-out number


def test_all_attributes_are_measured_with_tiny_models(scenes_context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(ATTRIBUTES, "count")
    requests, generate = list[bool](), scenes_context.generate

    def spied(prompts: Sequence[str], references: bool = True) -> np.ndarray:
        requests.append(references)
        return generate(prompts, references=references)

    monkeypatch.setattr(scenes_context, "generate", spied)
    rows = list(scene_rows(scenes_context))
    assert requests == [True, False] * len(rows)
    assert [row.name for row in rows] == list(ATTRIBUTES)
    assert all(row.n == 3 and 0 <= row.value <= 1 and "judge" in row.parts for row in rows)
    assert all([name for name, _ in row.against] == ["chance", "real", "reconstructed", AT_ONCE] for row in rows)


# --- The fresh set ----------------------------------------------------------------------------------------------------


MOST = 6


def altered(alter: Callable[[np.ndarray], np.ndarray]) -> FreshSet:
    """A training picture of each thing, altered, as the fresh set."""
    world = fixture_world()
    drawn = list({picture.concept: picture for picture in world.split("train")}.values())
    pixels = np.stack([alter(world.pixels[picture.index]) for picture in drawn])
    pictures = [replace(picture, index=row, split="fresh", group="objects") for row, picture in enumerate(drawn)]
    return FreshSet((replace(pictures[0], group="flags"), *pictures[1:]), pixels, {})


@pytest.fixture(scope="module")
def fresh_context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    root = save_tiny_parts(tmp_path_factory.mktemp("fresh") / "parts")
    save_tiny_captioner(root)
    results = Context(fixture_world(), replace(SIZES, gallery=MOST), Parts(root), root / "cache", quiet=True)
    assert results.turn_to(METRICS["fresh"].needs) is None
    return results


def measured(fresh_context: Context, monkeypatch: pytest.MonkeyPatch, result: FreshSet) -> dict[str, Row]:
    monkeypatch.setattr(pipeline, "LONGEST", 2)
    monkeypatch.setattr(pipeline, "SHAPES", (1, 4))
    monkeypatch.setattr(fresh_module, "load_fresh", lambda world: result)
    return {row.name: row for row in METRICS["fresh"].rows(fresh_context)}


def test_fresh_rows_have_intervals_and_controls(fresh_context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = measured(fresh_context, monkeypatch, altered(lambda entry: np.ascontiguousarray(entry[::-1])))
    assert all(np.isfinite(row.value) and row.interval for row in rows.values())
    named = rows["concept named: fresh pictures"]
    assert {"blind", "nearest name", "nearest training picture"} <= dict(named.against).keys() and named.n == MOST
    assert rows["concept named: fresh pictures but flags"].n in (MOST, MOST - 1)
    recalls = [rows[f"English captions of {MOST}: text to image: R@{k}"] for k in (1, 5, 10)]
    assert [dict(row.against)["chance"] for row in recalls] == pytest.approx([1 / MOST, 5 / MOST, 1])
    assert all("space" in "".join(row.parts) for row in recalls)


def test_copies_in_the_fresh_set_are_counted(fresh_context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "within 0.02 of a training picture"
    copied = measured(fresh_context, monkeypatch, altered(lambda entry: entry))[name]
    assert copied.value == 1 and copied.lower_is_better and "held-out cells" in dict(copied.against)
    assert measured(fresh_context, monkeypatch, altered(lambda entry: np.full_like(entry, 255)))[name].value < 1


def test_the_fresh_metric_needs_the_shipped_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "fresh" not in command.names_of(["all"]) and command.names_of(["fresh"]) == ["fresh"]
    monkeypatch.setattr(World, "load", classmethod(lambda cls, folder=None: fixture_world()))
    assert command.main(["fresh", "--weights", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert "for the weights that ship" in captured.err and captured.err.count("\n") == 1


# --- Captions ---------------------------------------------------------------------------------------------------------


def test_the_rows_of_a_tiny_captioner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "LONGEST", 2)
    monkeypatch.setattr(pipeline, "SHAPES", (1, 4))
    # The drawn world has few held-out combinations.
    monkeypatch.setattr(captions_module, "make_scene", lambda world, seed, *_, **__: make_scene(world, seed))
    root = save_tiny_parts(tmp_path / "parts")
    context = Context(fixture_world(), SIZES, Parts(root), quiet=True)
    assert context.turn_to(METRICS["captions"].needs) is None and context.generator.name == "sticker captions"
    with pytest.raises(MissingError, match="captioner"):
        list(METRICS["captions"].rows(context))
    save_tiny_captioner(root)
    again = Context(fixture_world(), SIZES, Parts(root), quiet=True)
    again.turn_to(METRICS["captions"].needs)
    rows = {row.name: row for row in METRICS["captions"].rows(again)}
    assert all(np.isfinite(row.value) for row in rows.values())
    scenes = next(row for name, row in rows.items() if name.startswith("scenes of held-out drawings, English"))
    assert dict(scenes.against)["true captions"] == 1
    named = rows["concept named: held-out cells"]
    assert {"best of five", "blind", "nearest name", "nearest training picture"} <= dict(named.against).keys()


# --- Clips ------------------------------------------------------------------------------------------------------------


WORLD = fixture_world()


def test_directions_of_real_warped_and_still_clips() -> None:
    clips = list(plain_clips(WORLD, 8, "train", DIRECTED, 0))
    requests = [prompt_of(WORLD, clip, 0) for clip in clips]
    wanted = [clip.direction for clip in clips]
    assert [direction_seen(clip.render(WORLD)) for clip in clips] == wanted
    assert [direction_seen(results) for results in warped(requests)] == wanted
    assert {direction_seen(results) for results in still(requests)} == {""}


def test_loops_close_and_what_leads_away_does_not() -> None:
    clips = [clip for clip in plain_clips(WORLD, 12, "train", ("pulse", "bounce", "swing"), 0) if clip.loop]
    real = np.stack([clip.render(WORLD) for clip in clips])
    assert np.median([seam(entry) for entry in real]) <= np.pi / 2  # a bounce is fastest where it begins
    away = [clip.render(WORLD) for clip in plain_clips(WORLD, 4, "train", ("slide left", "grow"), 0)]
    assert min(map(seam, away)) > 2
    assert (shuffled(real).sum(1) == real.sum(1)).all() and not np.array_equal(shuffled(real), real)


def test_a_classifier_of_real_clips_tells_moving_from_still() -> None:
    kinds = ("spin", "slide left", "fade out", "pulse")
    clips = list(plain_clips(WORLD, 80, "train", kinds, 0))
    truth = np.arange(len(clips)) % len(kinds)
    numbers = np.stack([moments(clip.render(WORLD)) for clip in clips])
    tell = motion_classifier(numbers[:60], truth[:60], steps=150)
    assert (tell(numbers[60:]) == truth[60:]).mean() > 0.7
    unmoved = np.stack([moments(entry) for entry in still([prompt_of(WORLD, clip, 0) for clip in clips[60:]])])
    assert (tell(unmoved) == truth[60:]).mean() < 0.5


def coarse(_: Context, pixels: np.ndarray) -> np.ndarray:
    """Features in place of the network's, which take seconds."""
    return pixels[:, 16::32, 16::32].reshape(len(pixels), -1).astype(float) + 1


def test_the_rows_of_a_tiny_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips_module, "LEARNT", 2)
    monkeypatch.setattr(Context, "features", coarse)
    monkeypatch.setattr(clips_module, "KINDS", ("pulse", "slide left"))
    # The drawn world has no held-out pair of every motion.
    monkeypatch.setattr(
        clips_module, "plain_clips", lambda world, count, _, *rest: plain_clips(world, count, "train", *rest)
    )
    root = save_tiny_parts(tmp_path / "parts")
    context = drawn_context(root, sizes=SIZES.__class__(**{**vars(SIZES), "clips": 2}))
    assert context.turn_to(METRICS["clips"].needs) is None
    assert context.generator.name == "sticker clips"
    with pytest.raises(MissingError, match="video"):
        list(METRICS["clips"].rows(context))
    save_tiny_video(root)
    monkeypatch.setattr(ClipPipeline, "sampling", ClipSampling(steps=1))
    again = drawn_context(root, sizes=context.sizes)
    again.world_features = coarse(again, WORLD.pixels)
    again.turn_to(METRICS["clips"].needs)
    rows = list(METRICS["clips"].rows(again))
    assert all(np.isfinite(row.value) for row in rows)
    named = {row.name.partition(",")[0]: dict(row.against) for row in rows}
    assert named["direction"]["real"] == 1 and named["direction"]["still"] == 0
