"""What each condition brings: the same prompts and noise, told by token states, semantic vector, both or neither."""

from collections.abc import Iterator

from eval import sets
from eval.bench import Bench
from eval.image import DRAWN, judge
from eval.intervals import wilson
from eval.parts import IMAGE
from eval.rows import Row

CONDITIONS = {
    "both": (True, True),
    "token states only": (True, False),
    "vector only": (False, True),
    "neither": (False, False),
}


def condition_rows(bench: Bench) -> Iterator[Row]:
    """Concept and style of held-out cells drawn under each condition."""
    asked = sets.cells(bench.world, bench.sizes.conditions)
    prompts = [sets.prompt(picture) for picture in asked]
    for name, (words, sense) in CONDITIONS.items():
        found = judge(bench, asked, bench.generate(prompts, words=words, sense=sense))
        for what, answers in (("concept", found.concept), ("style", found.style)):
            value, interval = float(answers.mean()), wilson(answers.sum(), len(answers))
            yield Row("conditions", f"{what}, {name}", value, len(asked), "", interval, seeds=DRAWN, parts=IMAGE)
