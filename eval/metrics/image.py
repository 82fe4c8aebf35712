"""Generated pictures of held-out cells and of unseen concepts, blends, reconstructions, and their controls.

Every figure is a function of pixels: it is computed alike for generated pictures, real held-out ones, the nearest
training pictures (a memoriser), pictures of other prompts (deaf) and noise.

As a distribution pictures are measured by FD over its floor, and by KID. Both sides have the same number of pictures
and the same mix of styles. The floor is the real held-out pictures themselves, measured against the same training
pictures: a distance means nothing without it at these sizes.

Scenes: a picture must hold the colours, numbers and places of its prompt. The judge, which is trained apart, chooses
between two captions: the prompt and its contrast, the same scene with one attribute changed. Chance is one half. A row
is void unless the judge is right for TRUSTED of real held-out scenes and of their reconstructions by the autoencoder,
which are the best that a generator on its latents could draw. Things are drawn one by one and laid where the prompt
says (`models.prompts.layout`); the same things drawn at once stand beside them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval import sets
from eval.context import Context
from eval.copies import NEAR, PRINTS, distances
from eval.extractors import ROWS, extractor
from eval.judge import Judge
from eval.rows import SEED, MissingError, Row, beside, mean_row, missing_where, prefixed, share_row
from eval.statistics import (
    NAME,
    FeatureStatistics,
    concept_matches,
    cosine,
    expected_floor,
    frechet_distance,
    kernel_distance,
    nearest,
    preferred,
    ranked,
    same,
    style_share,
)
from models.data.captions import display_name
from models.data.pixels import SIZE
from models.data.scenes import ATTRIBUTES, Attribute, Scene, choices
from models.data.world import SPLITS, Picture

# --- Sets of pictures -------------------------------------------------------------------------------------------------


KERNEL_NAME = "KID-EffLite0 x 1000"
DRAWS = 4  # sets of training pictures that a distance is averaged over


@dataclass(frozen=True)
class SetDistances:
    """FD of generated and of real pictures from the same training pictures, one value a draw, and KID (mean, std)."""

    n: int
    generated: np.ndarray
    real: np.ndarray
    expected: float
    kernel: tuple[float, float]
    kernel_real: tuple[float, float]

    @property
    def ratio(self) -> float:
        return float(self.generated.mean() / self.real.mean())


def set_distances(context: Context, pictures: list[Picture], generated: np.ndarray) -> SetDistances:
    """Features `generated` (N, 1280) of pictures for held-out `pictures` -> their distances from train, and those of
    the held-out ones."""
    project, real = context.reference, context.features_of(pictures)
    a, b = FeatureStatistics.of(project(generated)), FeatureStatistics.of(project(real))
    others = [context.features_of(sets.partners(context.world, pictures, str(draw))) for draw in range(DRAWS)]
    stats = [FeatureStatistics.of(project(features)) for features in others]
    return SetDistances(
        len(generated),
        np.array([frechet_distance(a, other) for other in stats]),
        np.array([frechet_distance(b, other) for other in stats]),
        expected_floor(b, len(generated), len(generated)),
        kernel_distance(generated, others[0], seed=SEED),
        kernel_distance(real, others[0], seed=SEED),
    )


def distribution_rows(distances: SetDistances, parts: tuple[str, ...] = (), goal: float | None = None) -> Iterator[Row]:
    """FD, FD over its floor (with its goal), KID."""
    low, high = float(distances.generated.min()), float(distances.generated.max())
    yield Row(
        NAME, float(distances.generated.mean()), distances.n,
        against=(("real floor", float(distances.real.mean())), ("one Gaussian twice", distances.expected)),
        note=f"{low:.1f} to {high:.1f} over {DRAWS} sets of training pictures; {ROWS['EffLite0']['related']}",
        parts=parts,
    )  # fmt: skip
    yield Row(
        f"{NAME} over its floor", distances.ratio, distances.n, goal=goal, lower_is_better=True,
        note="goal: twice the autoencoder's own ratio" if goal else "", parts=parts,
    )  # fmt: skip
    mean, spread = (1000 * value for value in distances.kernel)
    yield Row(
        KERNEL_NAME, mean, distances.n, against=(("real floor", 1000 * distances.kernel_real[0]),),
        note=f"deviation {spread:.1f} over 50 subsets, raw features", seeds=f"subsets {SEED}", parts=parts,
    )  # fmt: skip


def unrelated_rows(context: Context, pictures: list[Picture], generated: np.ndarray, **origin: Any) -> Iterator[Row]:
    """KID of pictures `generated` (N, 128, 128, 4) by networks that are no siblings of what taught the generator: the
    judge, and models of open_clip that were named. None without a judge."""
    with suppress(MissingError):
        beside = [context.judge_features, *(extractor(f"open_clip:{name}") for name in context.parts.named)]
        for by in beside:
            partners = sets.partners(context.world, pictures, "0")
            real, other = (context.features_of(some, by) for some in (pictures, partners))
            distance, floor = (
                1000 * kernel_distance(x, other, seed=SEED)[0] for x in (context.features(generated, by), real)
            )
            yield Row(f"KID-{by.name} x 1000", distance, len(generated), against=(("real floor", floor),), **origin)


# --- What the autoencoder loses ---------------------------------------------------------------------------------------


AUTOENCODER = ("autoencoder",)
PEAK = 60.0  # dB at most, or one flawless picture would make the mean infinite


def psnr_on_white(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio (N,) in dB of each pair, composited on white."""
    errors = np.array([np.square(_white(x) - _white(y)).mean() for x, y in zip(a, b, strict=True)])
    return -10.0 * np.log10(np.maximum(errors, 10 ** (-PEAK / 10)))


def _white(picture: np.ndarray) -> np.ndarray:
    x = picture.astype(np.float64) / 255.0
    return x[..., :3] + (1.0 - x[..., 3:])


def alpha_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union (N,) of where each pair is more than half opaque; 1 where neither is anywhere."""
    x, y = (pictures[..., 3].reshape(len(pictures), -1) > 127 for pictures in (a, b))
    union = (x | y).sum(1)
    return np.where(union > 0, (x & y).sum(1) / np.maximum(union, 1), 1.0)


def reconstruction_rows(context: Context) -> Iterator[Row]:
    """PSNR, alpha IoU and FD of reconstructed held-out pictures."""
    pictures = sets.held_out(context.world, context.sizes.reconstructions)
    real = sets.pixels(context.world, pictures)
    rebuilt = context.reconstruct(real)
    for name, unit, values, goal in (
        ("PSNR on white", "dB", psnr_on_white(real, rebuilt), 31.0),
        ("alpha IoU", "", alpha_iou(real, rebuilt), 0.988),
    ):
        note = f"worst hundredth {np.percentile(values, 1):.3g}"
        yield mean_row(name, values, unit=unit, goal=goal, note=note, parts=AUTOENCODER)
    yield from distribution_rows(set_distances(context, pictures, context.features(rebuilt)), AUTOENCODER)
    yield from unrelated_rows(context, pictures, rebuilt, parts=AUTOENCODER)


# --- Pictures one by one ----------------------------------------------------------------------------------------------


NEIGHBOURS = 10
CONCEPT, STYLE = "concept among the 10 nearest drawings", "style of the nearest drawing"
COPIES = "copies of training pictures"


@dataclass(frozen=True)
class Judged:
    """Answers about N generated pictures, each for one held-out picture."""

    concept: np.ndarray  # (N,) bool: one of the 10 nearest drawings shows the concept
    other: np.ndarray  # (N,) bool, the control: one of them shows another cell's concept
    style: np.ndarray  # (N,) bool: the nearest has the style
    styles: np.ndarray  # (N,) the share of the 10 that have it
    copied: np.ndarray  # (N,) bool: some training picture is as near as a copy is (`eval.copies`)


def judge(
    context: Context, pictures: list[Picture], generated: np.ndarray, features: np.ndarray | None = None
) -> Judged:
    """Judge `generated` (N, 128, 128, 4), drawn for held-out `pictures`; features where they are known."""
    features = context.features(generated) if features is None else features
    rows = nearest(features, context.drawing_features, NEIGHBOURS)
    half = len(pictures) // 2
    return Judged(
        concept_matches(pictures, context.drawings, rows),
        concept_matches(pictures[half:] + pictures[:half], context.drawings, rows),
        style_share(pictures, context.drawings, rows[:, :1]) == 1,
        style_share(pictures, context.drawings, rows),
        distances(context.features(generated, PRINTS), context.train_prints) < NEAR,
    )


def judge_real(context: Context, pictures: list[Picture]) -> Judged:
    """The held-out pictures themselves."""
    return judge(context, pictures, *_themselves(context, pictures))


def image_rows(context: Context) -> Iterator[Row]:
    """Generated held-out cells one by one, then as a distribution, beside the real ones."""
    pictures, goal = _held_out(context)[: context.sizes.distribution], None
    if context.can("autoencoder"):
        through = context.reconstruct(sets.pixels(context.world, pictures))
        goal = 2 * set_distances(context, pictures, context.features(through)).ratio
    yield from _generated_rows(context, goal)


def fast_rows(context: Context) -> Iterator[Row]:
    """The same cells and noise, drawn by the fast variant."""
    yield from prefixed("fast", _generated_rows(context, fast=True))


def _generated_rows(context: Context, goal: float | None = None, **options: bool) -> Iterator[Row]:
    """Held-out cells as the generator draws them. `goal` is that of the distance over its floor."""
    pictures, n, m = _held_out(context), context.sizes.cells, context.sizes.distribution
    generated = context.generate([sets.prompt(picture) for picture in pictures], **options)
    judged, real = judge(context, pictures[:n], generated[:n]), judge_real(context, pictures[:n])
    yield from judged_rows(judged, real, goals=True, **context.origin(**options))
    distances = set_distances(context, pictures[:m], context.features(generated[:m]))
    yield from distribution_rows(distances, context.generator.parts, goal)
    yield from unrelated_rows(context, pictures[:m], generated[:m], **context.origin(**options))


def unseen_rows(context: Context) -> Iterator[Row]:
    """Held-out concepts, which training never drew: is the concept among the 10 nearest of all real drawings?"""
    pictures = sets.unseen(context.world, context.sizes.conditions)
    gallery = sets.per_drawing(p for name in SPLITS for p in context.world.split(name, allow_test=True))
    features = context.features_of(gallery)
    generated = context.features(context.generate([sets.prompt(picture) for picture in pictures]))
    matches = concept_matches(pictures, gallery, nearest(generated, features, NEIGHBOURS))
    scores = cosine(context.features_of(pictures), features)
    scores[same([picture.id for picture in pictures], [picture.id for picture in gallery])] = -2  # the picture itself
    real = concept_matches(pictures, gallery, ranked(scores, NEIGHBOURS))
    drawn = Counter(picture.concept for picture in gallery)
    left = [1 - drawn[picture.concept] / len(gallery) for picture in pictures]
    yield share_row(
        "held-out concepts: concept among the 10 nearest drawings", matches,
        against=(("chance", float(1 - np.mean(np.power(left, NEIGHBOURS)))), ("real", float(real.mean()))),
        **context.origin(),
    )  # fmt: skip


def _held_out(context: Context) -> list[Picture]:
    return sets.held_out(context.world, max(context.sizes.cells, context.sizes.distribution))


def judged_rows(judged: Judged, real: Judged, goals: bool = False, **origin: Any) -> Iterator[Row]:
    """Concept, style and copies, each beside that of real held-out pictures; controls have no goals."""
    shuffled = f"{judged.other.mean():.3f} with the concepts of other cells"
    half = float(real.concept.mean()) / 2
    for name, answers, control, goal, note in (
        (CONCEPT, judged.concept, real.concept, half, shuffled),
        (STYLE, judged.style, real.style, 0.7, ""),
        (COPIES, judged.copied, real.copied, None, f"within {NEAR}"),
    ):
        against = (("real held-out", float(control.mean())),)
        yield share_row(name, answers, against=against, goal=goal if goals else None, note=note, **origin)


def control_rows(context: Context) -> Iterator[Row]:
    """The measures of generated pictures on what they must tell apart. Needs no model."""
    pictures = _held_out(context)
    n, m = context.sizes.cells, context.sizes.distribution
    real = judge_real(context, pictures[:n])
    # The nearest training picture of each: superb distances, and nothing of its own.
    rows = nearest(context.features_of(pictures), context.features_of(context.train), 1)[:, 0]
    trained = {picture.concept: picture for picture in context.train}  # "pasted": some drawing of the thing itself
    noise = np.random.default_rng(SEED).integers(0, 256, (len(pictures), SIZE, SIZE, 4), np.uint8)
    noise[..., 3] = 255
    for name, (shown, features) in {
        "real held-out": _themselves(context, pictures),
        "pasted": _themselves(context, [trained[picture.concept] for picture in pictures]),
        "memoriser": _themselves(context, [context.train[row] for row in rows]),
        "deaf": _themselves(context, pictures[1:] + pictures[:1]),  # each in another's place: it ignores its prompt
        "noise": (noise, context.features(noise)),
    }.items():
        yield from prefixed(name, judged_rows(judge(context, pictures[:n], shown[:n], features[:n]), real))
        yield from prefixed(name, distribution_rows(set_distances(context, pictures[:m], features[:m])))
        yield from prefixed(name, unrelated_rows(context, pictures[:m], shown[:m]))


# Of each measure the control that must be higher, and the one that must be lower.
RANKS = (
    (CONCEPT, "real held-out", "deaf"), (CONCEPT, "pasted", "deaf"), (CONCEPT, "real held-out", "noise"),
    (STYLE, "real held-out", "noise"), (COPIES, "memoriser", "real held-out"), (COPIES, "pasted", "real held-out"),
    (f"{NAME} over its floor", "noise", "real held-out"), (KERNEL_NAME, "noise", "real held-out"),
)  # fmt: skip


def misranked(rows: Iterable[Row]) -> list[str]:
    """A sentence for each pair of controls that a measure puts in the wrong order; ValueError where one is missing."""
    value = {row.name: row.value for row in rows}
    names = {f"{control}: {name}" for name, *controls in RANKS for control in controls}
    if missing := sorted(names - value.keys()):
        raise ValueError(f"no control {missing[0]!r} was measured; add the measure controls")
    return [
        f"{name}: {high} ({value[f'{high}: {name}']:.3f}) must be above {low} ({value[f'{low}: {name}']:.3f})"
        for name, high, low in RANKS if value[f"{high}: {name}"] <= value[f"{low}: {name}"]
    ]  # fmt: skip


def _themselves(context: Context, pictures: list[Picture]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 128, 128, 4) and features (N, 1280) of real pictures."""
    return sets.pixels(context.world, pictures), context.features_of(pictures)


# --- Blends -----------------------------------------------------------------------------------------------------------


SEARCHED = 0.04  # share of all drawings that are searched


def blend_rows(context: Context) -> Iterator[Row]:
    """Pairs of seen concepts, blended as the studio blends them."""
    pairs = sets.pairs(context.world, context.sizes.conditions)
    names = [(display_name(a, "en"), display_name(b, "en")) for a, b in pairs]
    generated, half = context.features(context.generate(names)), len(pairs) // 2
    first = context.features(context.generate([first for first, _ in names]))
    controls = {
        "the first alone": both_match(context, pairs, first),
        "two other things": both_match(context, pairs[half:] + pairs[:half], generated),
    }
    yield share_row(
        f"both of two things among the nearest {SEARCHED:.0%} of drawings", both_match(context, pairs, generated),
        against=beside(controls), **context.origin(),
    )  # fmt: skip


def both_match(context: Context, pairs: list[sets.Pair], features: np.ndarray) -> np.ndarray:
    """(N,) bool: whether both things of each pair are among the neighbours."""
    rows = nearest(features, context.drawing_features, max(1, round(SEARCHED * len(context.drawings))))
    first, second = (concept_matches(list(column), context.drawings, rows) for column in zip(*pairs, strict=True))
    return first & second


# --- Scenes -----------------------------------------------------------------------------------------------------------


TRUSTED = 0.95
AT_ONCE = "drawn at once"
MEANINGS = {
    "colour": "which colour",
    "binding": "which of two things has which colour",
    "count": "how many",
    "relation": "which of two things is where",
}


@missing_where(ValueError)
def held_out_choices(context: Context, attribute: Attribute) -> tuple[list[Scene], list[str], list[str]]:
    """Scenes of combinations and of pictures that no training scene has, the prompt of each, and the caption of its
    contrast; MissingError where the world is too small."""
    seeds = range(SEED, SEED + context.sizes.scenes)
    both = choices(context.world, attribute, seeds, "test", pictures="cell")
    prompts, others = ([one.caption(SEED, "en", "short") for one in some] for some in both)
    return both[0], prompts, others


def right_choices(judge: Judge, pixels: np.ndarray, prompts: list[str], contrasts: list[str]) -> np.ndarray:
    """(N,): whether the judge prefers the prompt to the contrast."""
    return preferred(judge.scores(pixels, prompts), judge.scores(pixels, contrasts))


def scene_rows(context: Context) -> Iterator[Row]:
    """Each attribute in generated scenes, beside real ones, their reconstructions, those drawn at once and chance."""
    for attribute in ATTRIBUTES:
        scenes, prompts, contrasts = held_out_choices(context, attribute)
        pictures = {"real": np.stack([scene.render(context.world) for scene in scenes])}
        if context.can("autoencoder"):
            pictures["reconstructed"] = context.reconstruct(pictures["real"])
        pictures["generated"] = context.generate(prompts)
        if context.can("references"):
            pictures[AT_ONCE] = context.generate(prompts, references=False)
        judge = context.parts.judge
        right = {name: right_choices(judge, pixels, prompts, contrasts) for name, pixels in pictures.items()}
        yield scene_row(attribute, right, context.drawn(), context.generator.parts)


def scene_row(attribute: str, right: dict[str, np.ndarray], seeds: str = "", parts: tuple[str, ...] = ()) -> Row:
    """The generated scenes' row, from right choices (N,) among them, real, reconstructed and other ones."""
    share = {name: float(values.mean()) for name, values in right.items()}
    doubtful = [
        f"{share[name]:.3f} of {name} scenes" for name in ("real", "reconstructed") if share.get(name, 1) < TRUSTED
    ]
    void = f"; VOID: the judge gets {' and '.join(doubtful)} right, {TRUSTED} are needed" if doubtful else ""
    return share_row(
        attribute, right["generated"],
        against=(("chance", 0.5), *((name, value) for name, value in share.items() if name != "generated")),
        note=MEANINGS[attribute] + void, seeds=f"scenes {SEED}, {SEED + 1}, ...; {seeds}", parts=(*parts, "judge"),
    )  # fmt: skip
