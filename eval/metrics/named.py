"""Things asked for by name alone ("plain"), and in a style that training drew them in ("seen").

Most people name no style. Such a picture is guided to the thing's reference drawing, or its mirror image, so that
drawing stands beside it as a control: the picture should be as easily recognised, and a copy no more often than real
held-out drawings are. Pictures of two seeds should differ as much as the drawings of two art families.

A seen concept in a style that has drawn it was trained on, so it is no test of what was learned, but it is what most
people ask. Such a picture is guided to the style's own drawing: it should show the thing in that style, and how
often it is a copy of that drawing is said beside it. The control draws the same prompts and seeds from noise alone.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from eval import sets
from eval.context import SEED, Context
from eval.metrics import metric
from eval.metrics.image import judge, judge_real
from eval.neighbours import COPY, cosine
from eval.rows import Row, mean_row, prefixed, share_row
from models.data.captions import display_name

CONCEPT = "concept among the 10 nearest drawings"
COPIES = "copies of training pictures, mirrored or not"


@metric("plain", "image")
def plain_rows(context: Context) -> Iterator[Row]:
    """Of held-out cells, one of each concept: is it among the 10 nearest drawings, and is it some training picture?"""
    asked = sets.one_a_concept(sets.cells(context.world, context.sizes.cells))
    prompts = [display_name(picture, "en") for picture in asked]
    made = {"": judge(context, asked, context.generate(prompts), mirrored=True)}
    made["real held-out"] = judge_real(context, asked, mirrored=True)
    if context.can("references"):
        drafts = context.generator.references(prompts, range(SEED, SEED + len(prompts)))
        made["drafts alone"] = judge(context, asked, drafts, mirrored=True)
    rows = [
        _beside(context, CONCEPT, {name: judged.concept for name, judged in made.items()}),
        _beside(context, COPIES, {name: judged.copied for name, judged in made.items()}, COPY),
        variety_row(context),
    ]
    yield from prefixed("no style named", rows)


def variety_row(context: Context) -> Row:
    """Of things that two art families drew, two pictures of each, by seeds in a row: how unlike they are."""
    pairs = sets.families(context.world, context.sizes.conditions)
    made = context.features(context.generate([display_name(pair[0], "en") for pair in pairs for _ in range(2)]))
    drawn = context.features_of([picture for pair in pairs for picture in pair])
    others = np.roll(made[1::2], 1, axis=0)
    return mean_row(
        "distance in EffLite0 of two seeds' pictures", _apart(made[::2], made[1::2]),
        against=(
            ("two art families' drawings", float(_apart(drawn[::2], drawn[1::2]).mean())),
            ("of two things", float(_apart(made[::2], others).mean())),
        ),
        **context.origin(),
    )  # fmt: skip


def _apart(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """1 - cosine (N,) of features (N, 1280)."""
    return 1 - cosine(first, second).diagonal()


@metric("seen", "image")
def seen_rows(context: Context) -> Iterator[Row]:
    """Of training pictures, one of each concept, asked for by name and style."""
    asked = sets.seen(context.world, context.sizes.conditions)
    drawn = _drawn(context, [sets.prompt(picture) for picture in asked])
    made = {name: judge(context, asked, pictures, mirrored=True) for name, pictures in drawn.items()}
    rows = [
        _beside(context, f"{CONCEPT}, of which its own is one", {name: own.concept for name, own in made.items()}),
        _beside(context, "style of the nearest drawing", {name: own.style for name, own in made.items()}),
        _beside(context, COPIES, {name: own.copied for name, own in made.items()}, COPY),
    ]
    yield from prefixed("a style that has drawn it", rows)
    if people := sets.genders(context.world, context.sizes.conditions):
        yield gender_row(context, people)


def gender_row(context: Context, people: list[sets.Pair]) -> Row:
    """Of the drawings of a woman and a man, the same thing in the same style, which is the nearer one?"""
    own, other = (context.features_of(list(pictures)) for pictures in zip(*people, strict=True))
    answers = {}
    for name, drawn in _drawn(context, [sets.prompt(picture) for picture, _ in people]).items():
        made = context.features(drawn)
        answers[name] = cosine(made, own).diagonal() > cosine(made, other).diagonal()
    name = "a woman, or a man, is nearer to the drawing of one than to the other's"
    return _beside(context, name, answers, "chance 0.5")


def _drawn(context: Context, prompts: list[str]) -> dict[str, np.ndarray]:
    """The pictures, and the same prompts and seeds from noise alone where there is another way."""
    made: dict[str, Any] = {"": context.generate(prompts)}
    if context.can("references"):
        made["from noise alone"] = context.generate(prompts, references=False)
    return made


def _beside(context: Context, name: str, answers: dict[str, np.ndarray], note: str = "") -> Row:
    """The row of the answers called "", beside all others."""
    against = tuple((control, float(values.mean())) for control, values in answers.items() if control)
    return share_row(name, answers[""], against=against, note=note, **context.origin())
