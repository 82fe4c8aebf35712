"""Things in a style that has drawn them, which were trained on: no test of what was learned, but what most people ask.

Such a picture is led to the style's own drawing (`models.draft_guidance`), so it should show the thing in that style;
and how often it *is* that drawing is said beside it. The same prompts and noise from noise alone are the control: what
the generator remembers of its training without being shown the drawing.
"""

from collections.abc import Iterator
from dataclasses import replace

from eval import sets
from eval.bench import Bench
from eval.image import DRAWN, judge
from eval.intervals import wilson
from eval.neighbours import COPY
from eval.parts import IMAGE
from eval.rows import Row


def taught_rows(bench: Bench) -> Iterator[Row]:
    """Of training pictures, one of each concept, asked for by name and style."""
    asked = sets.taught(bench.world, bench.sizes.conditions)
    prompts = [sets.prompt(picture) for picture in asked]
    made = judge(bench, asked, bench.generate(prompts), mirrored=True)
    free = bench.generate(prompts, sampling=replace(bench.sampling, draft=False))
    alone = judge(bench, asked, free, mirrored=True)
    for answer, name, note in (
        ("concept", "concept among the 10 nearest drawings, of which its own is one", ""),
        ("style", "style of the nearest drawing", ""),
        ("copied", "copies of training pictures, mirrored or not", COPY),
    ):
        own, control = getattr(made, answer), getattr(alone, answer)
        yield Row(
            "taught", f"a style that has drawn it: {name}", float(own.mean()), len(own),
            interval=wilson(own.sum(), len(own)), against=(("from noise alone", float(control.mean())),), note=note,
            seeds=DRAWN, parts=IMAGE,
        )  # fmt: skip
