"""Prompt parsing of captions of held-out pictures, of scenes and of unseen concepts.

All things that a caption names should be found, and a caption in the training wording should be kept as it is. Of an
unseen concept the parser knows no name, so its captions should be kept as they are, too.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from eval import sets
from eval.context import SEED, Context
from eval.generator import SPACE
from eval.metrics import metric
from eval.rows import Row, wilson
from models.data.captions import caption
from models.data.scenes import make_scene
from models.prompts.linker import EntityLinker
from models.prompts.parser import PromptParser

PARTS = (*SPACE, "wording")


@metric("reading", "parser")
def reading_rows(context: Context) -> Iterator[Row]:
    """Share of prompts whose things are found, all of them and no other; share that is read as it is."""
    parser = context.generator.weights.parser
    cells = sets.cells(context.world, context.sizes.gallery)
    captions = [caption(picture, SEED) for picture in cells]
    near = np.mean([name(p.names) in _nearest(parser, text) for text, p in zip(captions, cells, strict=True)])
    nearest = (("the nearest name alone", float(near)),)
    yield _row("captions whose thing is found", _found(parser, captions, [{name(p.names)} for p in cells]), nearest)
    yield _row("captions read as they are", [parser.encoded(text) == text for text in captions])
    scenes = [make_scene(context.world, SEED + i, "test") for i in range(4 * context.sizes.scenes)]
    captions = [scene.caption(0, grounded=True) for scene in scenes]
    things = [{name(item.names) for item in scene.objects} for scene in scenes]
    yield _row("scenes whose things are all found", _found(parser, captions, things))
    yield _row("scenes read as they are", [parser.encoded(text) == text for text in captions])
    unseen = [caption(picture, SEED) for picture in sets.unseen(context.world, context.sizes.gallery)]
    yield _row("captions of unseen concepts read as they are", [parser.encoded(text) == text for text in unseen])


def name(names: dict[str, str]) -> str:
    """What a thing is called, to compare."""
    return names["en"].lower()


def _nearest(parser: PromptParser, text: str) -> set[str]:
    """All English names of the thing whose name is nearest to a text."""
    linker = parser.linker
    return _names(linker, int(np.argmax(linker.cosines(parser.embedder.text([text])[0]))))


def _names(linker: EntityLinker, number: int) -> set[str]:
    return {name.lower() for name in linker.concepts[number].names["en"]}


def _found(parser: PromptParser, captions: Sequence[str], things: Sequence[set[str]]) -> list[bool]:
    """For each text, whether the things that it is found to name are these, by any of their English names."""
    answers = []
    for text, wanted in zip(captions, things, strict=True):
        named = [_names(parser.linker, entity.concept) for entity in parser.entities(text)]
        answers.append(len(named) == len(wanted) and all(names & wanted for names in named))
    return answers


def _row(what: str, answers: Sequence[bool], against: tuple[tuple[str, float], ...] = ()) -> Row:
    right = int(np.sum(answers))
    return Row(
        "reading", what, right / len(answers), len(answers), interval=wilson(right, len(answers)), against=against,
        seeds=f"captions {SEED}", parts=PARTS,
    )  # fmt: skip
