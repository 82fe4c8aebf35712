"""Generated pictures of held-out cells, and the controls that the same measures must tell apart.

Every measure is a function of pixels: it is applied alike to generated pictures, to the real held-out ones, to the
nearest training pictures (a memoriser) and to noise.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from eval import sets
from eval.bench import SEED, STEPS, Bench
from eval.distribution import distances, distribution_rows
from eval.intervals import wilson
from eval.neighbours import COPY, concept_found, copied, nearest, style_share
from eval.parts import IMAGE
from eval.rows import MissingError, Row
from models.data.pixels import SIZE
from models.data.splits import SPLITS
from models.data.world import Picture
from models.sampling.schedulers import GUIDANCE

if TYPE_CHECKING:
    from models.sampling.loop import Sampling

NEIGHBOURS = 10
DRAWN = f"noise {SEED}, {SEED + 1}, ...; {STEPS} steps, guidance {GUIDANCE}"


@dataclass(frozen=True)
class Judged:
    """What is seen in made pictures, each asked for by one held-out picture: answers (N,), bool but for one share.

    `concept`: one of the 10 nearest drawings shows the concept. `other`: one of them shows another cell's concept, the
    control. `style`: the nearest has the style. `styles`: the share of the 10 that have it. `copied`: some training
    picture is the same drawing.
    """

    concept: np.ndarray
    other: np.ndarray
    style: np.ndarray
    styles: np.ndarray
    copied: np.ndarray


def judge(
    bench: Bench, asked: list[Picture], made: np.ndarray, features: np.ndarray | None = None, mirrored: bool = False
) -> Judged:
    """Pictures `made` (N, 128, 128, 4), and their features where they are known, for the held-out pictures `asked`;
    `mirrored` says whether the mirror image of a training picture is a copy too."""
    features = bench.features(made) if features is None else features
    rows = nearest(features, bench.drawing_features, NEIGHBOURS)
    half = len(asked) // 2
    return Judged(
        concept_found(asked, bench.drawings, rows),
        concept_found(asked[half:] + asked[:half], bench.drawings, rows),
        style_share(asked, bench.drawings, rows[:, :1]) == 1,
        style_share(asked, bench.drawings, rows),
        copied(made, bench.train_thumbs, mirrored),
    )


def image_rows(bench: Bench) -> Iterator[Row]:
    """Generated held-out cells one by one, then as a distribution, beside the real ones."""
    asked = _asked(bench)[: bench.sizes.distribution]
    through = bench.reconstruct(sets.pixels(bench.world, asked))
    own = distances(bench, asked, bench.features(through)).ratio
    yield from _drawn_rows(bench, "image", IMAGE, DRAWN, goal=2 * own)
    yield _recognised(bench, asked[: bench.sizes.cells])


def fast_rows(bench: Bench) -> Iterator[Row]:
    """The same cells and noise, drawn by the fast variant."""
    from models.pipelines.image import BATCH
    from models.sampling.loop import FAST_SAMPLING

    if bench.parts.pipeline.fast is None:
        raise MissingError("these weights have no fast variant; train it: python -m models.train fast")
    told = f"noise {SEED}, {SEED + 1}, ...; {FAST_SAMPLING.steps} steps without guidance"
    yield from _drawn_rows(bench, "fast", IMAGE, told, replace(FAST_SAMPLING, batch=BATCH))


def _drawn_rows(
    bench: Bench,
    group: str,
    parts: tuple[str, ...],
    told: str,
    sampling: "Sampling | None" = None,
    goal: float | None = None,
) -> Iterator[Row]:
    """Held-out cells that `parts` drew, as `told` says. `goal` is that of the distance over its floor."""
    asked, prefix = _asked(bench), "" if group == "image" else f"{group}: "
    made = bench.generate([sets.prompt(picture) for picture in asked], sampling=sampling)
    n = bench.sizes.cells
    judged = judge(bench, asked[:n], made[:n])
    yield from judged_rows(group, prefix, judged, judge_real(bench, asked[:n]), parts, told)
    n = bench.sizes.distribution
    found = distances(bench, asked[:n], bench.features(made[:n]))
    yield from distribution_rows(found, group, prefix, parts, goal)


def stranger_rows(bench: Bench) -> Iterator[Row]:
    """Held-out concepts, which training never drew: is the concept among the 10 nearest of all real drawings?"""
    asked = sets.strangers(bench.world, bench.sizes.conditions)
    gallery = sets.one_a_drawing(p for name in SPLITS for p in bench.world.split(name, allow_test=True))
    features = bench.features_of(gallery)
    made = bench.features(bench.generate([sets.prompt(picture) for picture in asked]))
    found = concept_found(asked, gallery, nearest(made, features, NEIGHBOURS))
    # Their own drawing is in the gallery: of real pictures the next ten count.
    real = concept_found(asked, gallery, nearest(bench.features_of(asked), features, NEIGHBOURS + 1)[:, 1:])
    same = Counter(picture.concept for picture in gallery)
    left = [1 - same[picture.concept] / len(gallery) for picture in asked]
    yield Row(
        "strangers", "held-out concepts: concept among the 10 nearest drawings", float(found.mean()), len(found),
        interval=wilson(found.sum(), len(found)),
        against=(("chance", float(1 - np.mean(np.power(left, NEIGHBOURS)))), ("real", float(real.mean()))),
        seeds=DRAWN, parts=IMAGE,
    )  # fmt: skip


def _recognised(bench: Bench, asked: list[Picture]) -> Row:
    """The copies that the rule would see, had the generator drawn training pictures: it draws through the decoder."""
    train = sets.pixels(bench.world, sets.partners(bench.world, asked))
    found = copied(bench.reconstruct(train), bench.train_thumbs)
    name, interval = "copies recognised, training pictures through the autoencoder", wilson(found.sum(), len(found))
    return Row("image", name, float(found.mean()), len(found), interval=interval, parts=("autoencoder",))


def judge_real(bench: Bench, asked: list[Picture], mirrored: bool = False) -> Judged:
    """The held-out pictures themselves."""
    return judge(bench, asked, sets.pixels(bench.world, asked), bench.features_of(asked), mirrored)


def _asked(bench: Bench) -> list[Picture]:
    return sets.held_out(bench.world, max(bench.sizes.cells, bench.sizes.distribution))


def judged_rows(
    group: str, prefix: str, made: Judged, real: Judged, parts: tuple[str, ...] = (), told: str = ""
) -> Iterator[Row]:
    """Concept, style and copies, each beside that of real held-out pictures; goals only where `parts` made them."""

    def share(name: str, answers: np.ndarray, control: np.ndarray, goal: float | None, note: str) -> Row:
        return Row(
            group, prefix + name, float(answers.mean()), len(answers),
            interval=wilson(answers.sum(), len(answers)), against=(("real held-out", float(control.mean())),),
            goal=goal if parts else None, note=note, seeds=told, parts=parts,
        )  # fmt: skip

    shuffled = f"{made.other.mean():.3f} with the concepts of other cells"
    half = float(real.concept.mean()) / 2
    yield share("concept among the 10 nearest drawings", made.concept, real.concept, half, shuffled)
    yield share("style of the nearest drawing", made.style, real.style, 0.7, "")
    yield share("copies of training pictures", made.copied, real.copied, None, COPY)


def control_rows(bench: Bench) -> Iterator[Row]:
    """The measures of generated pictures on what they must tell apart. Needs no model."""
    asked = _asked(bench)
    n, m = bench.sizes.cells, bench.sizes.distribution
    real = judge_real(bench, asked[:n])
    for name, control in CONTROLS.items():
        made, features = control(bench, asked)
        yield from judged_rows("controls", f"{name}: ", judge(bench, asked[:n], made[:n], features[:n]), real)
        yield from distribution_rows(distances(bench, asked[:m], features[:m]), "controls", f"{name}: ")


Control = tuple[np.ndarray, np.ndarray]  # pixels (N, 128, 128, 4) and features (N, 1280)


def _themselves(bench: Bench, pictures: list[Picture]) -> Control:
    return sets.pixels(bench.world, pictures), bench.features_of(pictures)


def _memoriser(bench: Bench, asked: list[Picture]) -> Control:
    """The nearest training picture of each: superb distances, and nothing of its own."""
    rows = nearest(bench.features_of(asked), bench.features_of(bench.train), 1)[:, 0]
    return _themselves(bench, [bench.train[row] for row in rows])


def _deaf(bench: Bench, asked: list[Picture]) -> Control:
    """Real held-out pictures, each in another's place: a generator that ignores its prompt."""
    return _themselves(bench, asked[1:] + asked[:1])


def _noise(bench: Bench, asked: list[Picture]) -> Control:
    """Opaque noise, each pixel on its own."""
    made = np.random.default_rng(SEED).integers(0, 256, (len(asked), SIZE, SIZE, 4), np.uint8)
    made[..., 3] = 255
    return made, bench.features(made)


CONTROLS: dict[str, Callable[[Bench, list[Picture]], Control]] = {
    "real held-out": _themselves,
    "memoriser": _memoriser,
    "deaf": _deaf,
    "noise": _noise,
}
