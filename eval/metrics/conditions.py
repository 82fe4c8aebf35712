"""What each condition contributes: the same prompts and noise with token states, semantic vector, both or neither.

Only with both does a picture start from a reference drawing; the row "from noise alone" is without that.
"""

from collections.abc import Iterator

from eval import sets
from eval.context import Context
from eval.metrics import metric
from eval.metrics.image import judge
from eval.rows import Row, share_row

CONDITIONS = {
    "both": {},
    "both, from noise alone": {"references": False},
    "token states only": {"vector": False},
    "vector only": {"text": False},
    "neither": {"text": False, "vector": False},
}


@metric("conditions", "image", "conditions", "references")
def condition_rows(context: Context) -> Iterator[Row]:
    """Concept and style of held-out cells drawn under each condition."""
    asked = sets.cells(context.world, context.sizes.conditions)
    prompts = [sets.prompt(picture) for picture in asked]
    for name, options in CONDITIONS.items():
        found = judge(context, asked, context.generate(prompts, **options))
        for what, answers in (("concept", found.concept), ("style", found.style)):
            drawn, made_by = context.drawn(), context.made_by
            yield share_row("conditions", f"{what}, {name}", answers, seeds=drawn, parts=made_by)
