"""Known things, requested by name alone ("plain") and in a style that training drew them in ("seen"); whether pictures
of them are new drawings ("novelty"), and heed a negative prompt ("steering").

Most people name no style. Such a picture is drawn from the thing's reference drawings; it should be a copy no more
often than real held-out drawings are, be recognised without the drawing that it was drawn from, be unlike other seeds'
pictures, and have no less detail. `novelty` measures any pictures whose sources are known.
Beside each figure stand real held-out drawings, the drawings that the pictures were drawn from ("sources"), and the
generator without any.

A seen concept in a style that has drawn it was trained on, so it is no test of what was learned, but it is what most
people ask. Such a picture is guided to the style's own drawing: it should show the thing in that style, and a
row beside it counts copies of that drawing. The control draws the same prompts and seeds from noise alone.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eval import sets
from eval.context import Context
from eval.copies import FAR, NEAR, PRINTS, distances
from eval.metrics.image import CONCEPT, NEIGHBOURS, STYLE, judge, judge_real, right_choices
from eval.rows import Row, beside, mean_row, prefixed, share_row
from eval.statistics import cosine, nearest, preferred
from models.data.captions import display_name
from models.data.colours import PAINTS, colour_shares
from models.data.world import Picture

COPIES = f"copies of training pictures, within {NEAR}"


def plain_rows(context: Context) -> Iterator[Row]:
    """Of held-out cells, one of each concept: is it among the 10 nearest drawings, and is it some training picture?"""
    cells = sets.per_concept(sets.cells(context.world, context.sizes.cells))
    prompts = [display_name(picture, "en") for picture in cells]
    groups = {"": judge(context, cells, context.generate(prompts)), "real held-out": judge_real(context, cells)}
    rows = [
        _beside(context, CONCEPT, {name: judged.concept for name, judged in groups.items()}),
        _beside(context, COPIES, {name: judged.copied for name, judged in groups.items()}),
    ]
    yield from prefixed("no style named", rows)


def seen_rows(context: Context) -> Iterator[Row]:
    """Of training pictures, one of each concept, requested by name and style."""
    things = sets.seen(context.world, context.sizes.conditions)
    drawn = _drawn(context, [sets.prompt(picture) for picture in things])
    groups = {name: judge(context, things, pictures) for name, pictures in drawn.items()}
    concepts = {name: judged.concept for name, judged in groups.items()}
    rows = [
        _beside(context, f"{CONCEPT}, of which its own is one", concepts),
        _beside(context, STYLE, {name: judged.style for name, judged in groups.items()}),
        _beside(context, COPIES, {name: judged.copied for name, judged in groups.items()}),
    ]
    yield from prefixed("a style that has drawn it", rows)
    if people := sets.genders(context.world, context.sizes.conditions):
        yield gender_row(context, people)


def gender_row(context: Context, people: list[sets.Pair]) -> Row:
    """Of the drawings of a woman and a man, the same thing in the same style, which is the nearer one?"""
    features, other = (context.features_of(list(pictures)) for pictures in zip(*people, strict=True))
    answers = {}
    for name, drawn in _drawn(context, [sets.prompt(picture) for picture, _ in people]).items():
        generated = context.features(drawn)
        answers[name] = preferred(cosine(generated, features).diagonal(), cosine(generated, other).diagonal())
    name = "a woman, or a man, is nearer to the drawing of one than to the other's"
    return _beside(context, name, answers, "chance 0.5")


def _drawn(context: Context, prompts: list[str]) -> dict[str, np.ndarray]:
    """The pictures, and the same prompts and seeds from noise alone where there is another way."""
    drawn: dict[str, Any] = {"": context.generate(prompts)}
    if context.can("references"):
        drawn["from noise alone"] = context.generate(prompts, references=False)
    return drawn


def _beside(context: Context, name: str, answers: dict[str, np.ndarray], note: str = "") -> Row:
    """The row of the answers called "", beside all others."""
    return share_row(name, answers[""], against=beside(answers), note=note, **context.origin())


# --- New drawings -----------------------------------------------------------------------------------------------------


THINGS = 60
LEFT = 3  # art families, of a real held-out thing
AS_TWO_SETS = 0.9  # of how unlike two sets' drawings are
GROUND = 128  # level of the ground that detail is measured on: both white and black things have an outline there
HALF = 0.5  # of a colour: what is left of it where a negative prompt acts

Shown = tuple[np.ndarray, Sequence[Picture], Sequence[Sequence[str]]]  # pictures, of what, and whose drawings count out


def novelty_rows(context: Context) -> Iterator[Row]:
    """Common things named alone, several seeds of each."""
    things = [thing for thing in sets.common(context.world, THINGS) for _ in range(context.sizes.seeds)]
    prompts = [display_name(thing, "en") for thing in things]
    generated, sources = context.draw(prompts)
    alone = context.generate(prompts, references=False) if context.can("references") else None
    yield from novelty(context, things, generated, sources, alone, **context.origin())


def novelty(
    context: Context,
    things: Sequence[Picture],
    generated: np.ndarray,
    sources: Sequence[Sequence[str]],
    alone: np.ndarray | None = None,
    **origin: Any,
) -> Iterator[Row]:
    """The rows of pictures `generated` (N, 128, 128, 4), premultiplied uint8.

    Args:
        things: the requested thing of each, as any picture of it; several seeds of one thing may lie in any order.
        sources: the styles of the drawings that each was drawn from.
        alone: N pictures of the same things without any drawing.
    """
    # As many drawings of them are left as of common things without one.
    held = sets.drawn_by(context.world, sets.per_concept(sets.cells(context.world, 10_000)), LEFT)[: 3 * THINGS]
    drawn = {(p.concept, p.style): p for p in reversed(context.world.pictures)}
    drawings = [
        drawn.get((thing.concept, style)) for thing, styles in zip(things, sources, strict=True) for style in styles
    ]
    copied = list({p.id: p for p in drawings if p}.values())
    groups: dict[str, Shown] = {"": (generated, things, sources)}
    for name, pictures in {"real held-out": held, "sources": copied}.items():
        if pictures:
            groups[name] = sets.pixels(context.world, pictures), pictures, [[p.style] for p in pictures]
    if alone is not None:
        groups["strength 0"] = alone, things, sources
    shown = {name: pixels for name, (pixels, *_) in groups.items()}
    yield from copy_rows(context, shown, **origin)
    yield from known_rows(context, groups, **origin)
    yield from variety_rows(context, things, generated, alone, **origin)
    yield from detail_rows(shown, **origin)


def copy_rows(context: Context, shown: dict[str, np.ndarray], **origin: Any) -> Iterator[Row]:
    """How near pictures are to the nearest training picture."""
    gallery = context.train_prints
    away = {name: distances(context.features(pixels, PRINTS), gallery) for name, pixels in shown.items()}
    for limit in (NEAR, FAR):
        share = {name: float((values < limit).mean()) for name, values in away.items()}
        parts = np.percentile(away[""], [5, 25, 50, 75, 95])
        yield share_row(
            f"copies: within {limit} of a training picture", away[""] < limit, goal=share["real held-out"],
            lower_is_better=True, against=beside(share),
            note=f"distances {' '.join(f'{part:.3f}' for part in parts)} (5, 25, 50, 75, 95 %)", **origin,
        )  # fmt: skip


def known_rows(context: Context, groups: dict[str, Shown], **origin: Any) -> Iterator[Row]:
    """Is the thing among the 10 nearest drawings, by the judge, where the drawings of it by the source's art family
    are left out? Asked where another family drew it."""
    judge, gallery = context.judge_features, context.drawings
    families = {p.style: p.family for p in context.world.pictures}
    drawings, concepts = context.features_of(gallery, judge), np.array([p.concept for p in gallery])
    drawn_by = np.array([p.family for p in gallery])
    answers, left = {}, []
    for name, (pixels, pictures_of, without) in groups.items():
        matches = []
        for row, thing, styles in zip(context.features(pixels, judge), pictures_of, without, strict=True):
            right = concepts == thing.concept
            out = right & np.isin(drawn_by, [families.get(style, "") for style in styles])
            if (right & ~out).any():
                near = nearest(row[None], drawings[~out], NEIGHBOURS)[0]
                matches.append(bool(right[~out][near].any()))
                left.append(int((right & ~out).sum()) if not name else 0)
        answers[name] = np.array(matches, bool)
    share = {name: float(values.mean()) for name, values in answers.items() if len(values)}
    if "" not in share:
        return
    yield share_row(
        "known without the source family's drawings", answers[""],
        goal=share.get("real held-out"), against=beside(share),
        note=f"one of the 10 nearest drawings, by the judge; {np.sum(left) / max(1, len(answers[''])):.1f} are left",
        **origin,
    )  # fmt: skip


def variety_rows(
    context: Context, things: Sequence[Picture], generated: np.ndarray, alone: np.ndarray | None, **origin: Any
) -> Iterator[Row]:
    """How unlike pictures of one thing are, all pairs of seeds of each, by two extractors; none where there is one."""
    same: dict[str, list[int]] = {}
    for number, thing in enumerate(things):
        same.setdefault(thing.concept, []).append(number)
    if max(map(len, same.values())) < 2:
        return
    drawn = [picture for pair in sets.families(context.world, 3 * THINGS) for picture in pair]
    for by in (None, context.judge_features):
        two = context.features_of(drawn, by)
        sides = 1 - cosine(two[::2], two[1::2]).diagonal()

        def apart(pixels: np.ndarray, by: Any = by) -> np.ndarray:
            features = context.features(pixels, by)
            groups = (1 - cosine(features[rows], features[rows]) for rows in same.values() if len(rows) > 1)
            return np.array(
                [np.mean([distances[i, j] for i, j in combinations(range(len(distances)), 2)]) for distances in groups]
            )

        others = {"two sets' drawings": sides} | ({} if alone is None else {"strength 0": apart(alone)})
        yield mean_row(
            f"unlike each other, {len(generated) // len(same)} seeds of a thing, by {by.name if by else 'EffLite0'}",
            apart(generated), goal=AS_TWO_SETS * float(sides.mean()), against=beside(others),
            note=f"1 - cosine of all pairs; goal: {AS_TWO_SETS} of two sets'", **origin,
        )  # fmt: skip


def detail_rows(shown: dict[str, np.ndarray], **origin: Any) -> Iterator[Row]:
    """Edge energy; the goal is what the sources have, or real drawings."""
    values = {who: edge_energy(pixels) for who, pixels in shown.items()}
    means = {who: float(measured.mean()) for who, measured in values.items()}
    goal = means.get("sources", means["real held-out"])
    name = "detail: mean gradient of luma, in levels a pixel"
    yield mean_row(name, values[""], goal=goal, against=beside(means), **origin)


def luma(pixels: np.ndarray) -> Tensor:
    """(N, H, W) in 0..255 of premultiplied uint8 (N, H, W, 4) on a grey ground."""
    x = torch.from_numpy(np.ascontiguousarray(pixels)).float()
    return x[..., :3] @ torch.tensor([0.299, 0.587, 0.114]) + (255 - x[..., 3]) * (GROUND / 255)


def edge_energy(pixels: np.ndarray) -> np.ndarray:
    """(N,) the mean length of the gradient of luma, by central differences."""
    return torch.stack(torch.gradient(luma(pixels), dim=(1, 2))).norm(dim=0).mean((1, 2)).numpy()


def _painted(picture: np.ndarray) -> dict[str, float]:
    """Shares of the colours that things are painted in."""
    shares = colour_shares(picture)
    return {name: shares.get(name, 0.0) for name in PAINTS}


def steering_rows(context: Context) -> Iterator[Row]:
    """Whether a negative prompt takes away a colour, or one of two things."""
    half = context.sizes.conditions // 2
    things = sets.common(context.world, half)
    prompts = [display_name(thing, "en") for thing in things]
    generated = context.generate(prompts)
    main = [max(shares, key=shares.__getitem__) for shares in map(_painted, generated)]
    left = context.generate(prompts, negative=main)
    gone = [
        _painted(after)[colour] <= HALF * _painted(before)[colour]
        for before, after, colour in zip(generated, left, main, strict=True)
    ]
    pairs = sets.pairs(context.world, half)
    first, second = ([display_name(p, "en") for p in pictures] for pictures in zip(*pairs, strict=True))
    both = [f"{name} and {other}" for name, other in zip(first, second, strict=True)]
    judge = context.parts.judge
    before = right_choices(judge, context.generate(both), both, first)
    after = right_choices(judge, context.generate(both, negative=second), both, first)
    yield share_row(
        "a negative prompt acts", np.array([*gone, *((before > after).tolist())]), goal=50 / 64,
        against=(("a colour", float(np.mean(gone))), ("the second of two things", float((before > after).mean()))),
        note="half of the colour is gone, or the judge no longer sees the second thing", **context.origin(),
    )  # fmt: skip
