"""Things in a style that has drawn them, women and men among them: trained on, so no test of what was learned, but what
most people ask.

Such a picture is led to the style's own drawing (`models.sampling.hooks`), so it should show the thing in that style;
and how often it *is* that drawing is said beside it. The same prompts and noise from noise alone are the control: what
the generator remembers of its training without being shown the drawing.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from eval import sets
from eval.bench import Bench
from eval.image import DRAWN, judge
from eval.intervals import wilson
from eval.neighbours import COPY
from eval.parts import IMAGE
from eval.ranks import cosine
from eval.rows import Row

if TYPE_CHECKING:
    from models.sampling.loop import Sampling


def taught_rows(bench: Bench) -> Iterator[Row]:
    """Of training pictures, one of each concept, asked for by name and style."""
    asked = sets.taught(bench.world, bench.sizes.conditions)
    prompts = [sets.prompt(picture) for picture in asked]
    made = judge(bench, asked, bench.generate(prompts), mirrored=True)
    free = bench.generate(prompts, sampling=replace(bench.sampling, reference_strength=0.0))
    alone = judge(bench, asked, free, mirrored=True)
    for answer, name, note in (
        ("concept", "concept among the 10 nearest drawings, of which its own is one", ""),
        ("style", "style of the nearest drawing", ""),
        ("copied", "copies of training pictures, mirrored or not", COPY),
    ):
        yield _row(f"a style that has drawn it: {name}", getattr(made, answer), getattr(alone, answer), note)
    if people := sets.genders(bench.world, bench.sizes.conditions):
        yield gender_row(bench, people)


def gender_row(bench: Bench, people: list[sets.Pair]) -> Row:
    """Of the drawings of a woman and a man, the same thing in the same style, which is the nearer one?"""
    own, other = (bench.features_of(pictures) for pictures in zip(*people, strict=True))
    prompts = [sets.prompt(picture) for picture, _ in people]

    def told(sampling: "Sampling | None" = None) -> np.ndarray:
        made = bench.features(bench.generate(prompts, sampling=sampling))
        return (cosine(made, own).diagonal() > cosine(made, other).diagonal()).astype(float)

    free = told(replace(bench.sampling, reference_strength=0.0))
    return _row("a woman, or a man, is nearer to the drawing of one than to the other's", told(), free, "chance 0.5")


def _row(name: str, own: np.ndarray, control: np.ndarray, note: str) -> Row:
    return Row(
        "taught", name, float(own.mean()), len(own), interval=wilson(own.sum(), len(own)),
        against=(("from noise alone", float(control.mean())),), note=note, seeds=DRAWN, parts=IMAGE,
    )  # fmt: skip
