"""Things asked for by name alone ("plain"), and in a style that training drew them in ("seen").

Most people name no style. Such a picture is drawn from the thing's reference drawings; it should be a copy no more
often than real held-out drawings are. `eval.metrics.own` says more of fewer things.

A seen concept in a style that has drawn it was trained on, so it is no test of what was learned, but it is what most
people ask. Such a picture is guided to the style's own drawing: it should show the thing in that style, and how
often it is a copy of that drawing is said beside it. The control draws the same prompts and seeds from noise alone.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from eval import sets
from eval.context import Context
from eval.copies import NEAR
from eval.metrics import metric
from eval.metrics.image import CONCEPT, STYLE, judge, judge_real
from eval.neighbours import cosine, preferred
from eval.rows import Row, beside, prefixed, share_row
from models.data.captions import display_name

COPIES = f"copies of training pictures, within {NEAR}"


@metric("plain", "image")
def plain_rows(context: Context) -> Iterator[Row]:
    """Of held-out cells, one of each concept: is it among the 10 nearest drawings, and is it some training picture?"""
    asked = sets.one_a_concept(sets.cells(context.world, context.sizes.cells))
    prompts = [display_name(picture, "en") for picture in asked]
    made = {"": judge(context, asked, context.generate(prompts))}
    made["real held-out"] = judge_real(context, asked)
    rows = [
        _beside(context, CONCEPT, {name: judged.concept for name, judged in made.items()}),
        _beside(context, COPIES, {name: judged.copied for name, judged in made.items()}),
    ]
    yield from prefixed("no style named", rows)


@metric("seen", "image")
def seen_rows(context: Context) -> Iterator[Row]:
    """Of training pictures, one of each concept, asked for by name and style."""
    asked = sets.seen(context.world, context.sizes.conditions)
    drawn = _drawn(context, [sets.prompt(picture) for picture in asked])
    made = {name: judge(context, asked, pictures) for name, pictures in drawn.items()}
    rows = [
        _beside(context, f"{CONCEPT}, of which its own is one", {name: own.concept for name, own in made.items()}),
        _beside(context, STYLE, {name: own.style for name, own in made.items()}),
        _beside(context, COPIES, {name: own.copied for name, own in made.items()}),
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
        answers[name] = preferred(cosine(made, own).diagonal(), cosine(made, other).diagonal())
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
    return share_row(name, answers[""], against=beside(answers), note=note, **context.origin())
