"""What each condition brings: the same prompts and noise, told by token states, semantic vector, both or neither.

Only with both is a picture drawn from a reference (`models.references`); the row "from noise alone" is without one.
"""

from collections.abc import Iterator
from dataclasses import replace

from eval import sets
from eval.bench import Bench
from eval.image import DRAWN, judge
from eval.intervals import wilson
from eval.parts import IMAGE
from eval.rows import Row

FROM_NOISE = "both, from noise alone"
CONDITIONS = {
    "both": (True, True),
    FROM_NOISE: (True, True),
    "token states only": (True, False),
    "vector only": (False, True),
    "neither": (False, False),
}


def condition_rows(bench: Bench) -> Iterator[Row]:
    """Concept and style of held-out cells drawn under each condition."""
    asked = sets.cells(bench.world, bench.sizes.conditions)
    prompts = [sets.prompt(picture) for picture in asked]
    for name, (words, sense) in CONDITIONS.items():
        sampling = replace(bench.sampling, reference_strength=float(name != FROM_NOISE))
        found = judge(bench, asked, bench.generate(prompts, words, sense, sampling))
        for what, answers in (("concept", found.concept), ("style", found.style)):
            value, interval = float(answers.mean()), wilson(answers.sum(), len(answers))
            yield Row("conditions", f"{what}, {name}", value, len(asked), "", interval, seeds=DRAWN, parts=IMAGE)
