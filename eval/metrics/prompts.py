"""What the parser makes of captions.

All things that a caption names should be found, and a caption in the training wording should be kept as it is. Of an
unseen concept the parser knows no name, so its captions should be kept as they are, too.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from eval import sets
from eval.context import Context
from eval.generator import SPACE
from eval.neighbours import ranked
from eval.rows import SEED, Row, share_row
from models.data.captions import caption
from models.data.scenes import make_scene
from models.prompts.parser import PromptParser

ORIGIN = {"seeds": f"captions {SEED}", "parts": (*SPACE, "wording")}


def reading_rows(context: Context) -> Iterator[Row]:
    """Share of prompts whose things are found, all of them and no other; share that is read as it is."""
    parser = context.generator.weights.parser
    cells = sets.cells(context.world, context.sizes.gallery)
    captions, things = [caption(picture, SEED) for picture in cells], [{p.names["en"].lower()} for p in cells]
    near = np.mean([bool(names & _nearest(parser, text)) for text, names in zip(captions, things, strict=True)])
    answers, nearest = _all_named(parser, captions, things), (("the nearest name alone", float(near)),)
    yield share_row("captions whose thing is found", answers, against=nearest, **ORIGIN)
    yield _unchanged("captions", parser, captions)
    scenes = [make_scene(context.world, SEED + i, "test") for i in range(4 * context.sizes.scenes)]
    captions = [scene.caption(0, grounded=True) for scene in scenes]
    things = [{item.names["en"].lower() for item in scene.objects} for scene in scenes]
    yield share_row("scenes whose things are all found", _all_named(parser, captions, things), **ORIGIN)
    yield _unchanged("scenes", parser, captions)
    unseen = sets.unseen(context.world, context.sizes.gallery)
    yield _unchanged("captions of unseen concepts", parser, [caption(picture, SEED) for picture in unseen])


def _unchanged(what: str, parser: PromptParser, captions: Sequence[str]) -> Row:
    return share_row(f"{what} read as they are", [parser.encoded(text) == text for text in captions], **ORIGIN)


def _nearest(parser: PromptParser, text: str) -> set[str]:
    """All English names of the thing whose name is nearest to a text."""
    return _names(
        parser, int(ranked(np.asarray(parser.linker.cosines(parser.embedder.text([text])[0]))[None], 1)[0, 0])
    )


def _names(parser: PromptParser, number: int) -> set[str]:
    return {name.lower() for name in parser.linker.concepts[number].names["en"]}


def _all_named(parser: PromptParser, captions: Sequence[str], things: Sequence[set[str]]) -> list[bool]:
    """For each text, whether the things that it is found to name are these, by any of their English names."""
    answers = []
    for text, wanted in zip(captions, things, strict=True):
        named = [_names(parser, entity.concept) for entity in parser.entities(text)]
        answers.append(len(named) == len(wanted) and all(names & wanted for names in named))
    return answers
