"""The curriculum of backbone and space as a table: text, then pictures with their text, then instructions and edits."""

from dataclasses import dataclass

from models.train.documents import SOURCES


@dataclass(frozen=True)
class Stage:
    """What steps are made of from progress `start` on.

    Attributes:
        pictures: share of the batch size that is drawn as pictures; 0 is a stage of text alone.
        scenes: share of the pictures that are scenes.
        keep: tokens of a picture that go through the encoder, 64 for all.
        quiet: pictures that come without captions, as a share of the batch size: a caption costs more than a picture.
        words, documents: rows of each, as shares of the batch size.
        sources: weights of the kinds of documents.
    """

    name: str
    start: float
    pictures: float
    scenes: float
    keep: int
    quiet: float
    words: float
    documents: float
    sources: dict[str, float]


STAGES = (
    Stage("text", 0.0, 0.0, 0.0, 64, 0.0, 3.0, 1.0, {"gloss": 0.5, "caption": 0.4, "motion": 0.1}),
    # Half of the tokens: twice the pictures in the same time, and dropped tokens are the best augmentation there is.
    Stage(
        "aligned", 0.04, 1.0, 0.4, 32, 1.0, 2.0, 0.25,
        {"gloss": 0.3, "caption": 0.4, "translation": 0.2, "motion": 0.1},
    ),
    # All tokens, as at run time, and smaller rates (the recipe's): counts and places need every patch.
    Stage(
        "instructions", 0.7, 1.0, 0.4, 64, 0.5, 1.5, 0.35,
        {"gloss": 0.2, "caption": 0.2, "translation": 0.2, "motion": 0.1, "instruction": 0.15, "edit": 0.15},
    ),
)  # fmt: skip


def stage_at(progress: float) -> Stage:
    """The stage that training is in."""
    return max((stage for stage in STAGES if stage.start <= progress), key=lambda stage: stage.start)


def source_weights(progress: float) -> dict[str, float]:
    """Weights of the kinds of documents, in sum 1: they move from one stage's to the next one's, without a jump."""
    now = stage_at(progress)
    later = [stage for stage in STAGES if stage.start > now.start]
    following = later[0] if later else now
    span = (following.start if later else 1.0) - now.start
    t = (progress - now.start) / span if later else 0.0
    mixed = {name: (1 - t) * now.sources.get(name, 0.0) + t * following.sources.get(name, 0.0) for name in SOURCES}
    total = sum(mixed.values())
    return {name: weight / total for name, weight in mixed.items()}
