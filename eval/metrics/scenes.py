"""Does a picture hold what its prompt says of colours, numbers and places? Forced choice, by a judge trained apart.

The judge sees the picture and two captions, the prompt and its contrast: the same scene with one attribute changed and
the same parser. Chance is one half. A row is void unless the judge gets 0.95 of real held-out scenes right, and of
their reconstructions by the autoencoder, which is the best that a generator on its latents could draw. Things are drawn
one by one and laid where the prompt says (`models.prompts.layout`); beside that stands what is drawn at once.
"""

from collections.abc import Iterator

import numpy as np

from eval.context import Context
from eval.judge import Judge
from eval.neighbours import preferred
from eval.rows import SEED, Row, missing_where, share_row
from models.data.scenes import ATTRIBUTES, Attribute, Scene, choices

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
    """Scenes of combinations and of pictures that no training scene has, what each is asked for by, and the caption of
    its contrast; MissingError where the world is too small."""
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
