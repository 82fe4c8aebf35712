"""Is what a prompt names found, and is what was taught left alone? Captions of held-out pictures, scenes and concepts.

A prompt that says what captions say should be read as it is; one of a concept that was never taught can only be read
wrongly, and should be left alone too.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from eval import sets
from eval.bench import SEED, Bench
from eval.intervals import wilson
from eval.parts import SPACE
from eval.rows import Row
from models.data.captions import caption
from models.data.scenes import make_scene
from models.prompts.linker import EntityLinker
from models.prompts.parser import PromptParser

PARTS = (*SPACE, "wording")


def reading_rows(bench: Bench) -> Iterator[Row]:
    """Share of prompts whose things are found, all of them and no other; share that is read as it is."""
    wording = bench.parts.wording
    cells = sets.cells(bench.world, bench.sizes.gallery)
    told = [caption(picture, SEED) for picture in cells]
    near = np.mean([name(p.names) in _nearest(wording, text) for text, p in zip(told, cells, strict=True)])
    nearest = (("the nearest name alone", float(near)),)
    yield _row("captions whose thing is found", _found(wording, told, [{name(p.names)} for p in cells]), nearest)
    yield _row("captions read as they are", [wording.encoded(text) == text for text in told])
    scenes = [make_scene(bench.world, SEED + i, "test") for i in range(4 * bench.sizes.scenes)]
    told = [scene.caption(0, grounded=True) for scene in scenes]
    things = [{name(item.names) for item in scene.objects} for scene in scenes]
    yield _row("scenes whose things are all found", _found(wording, told, things))
    yield _row("scenes read as they are", [wording.encoded(text) == text for text in told])
    strangers = [caption(picture, SEED) for picture in sets.strangers(bench.world, bench.sizes.gallery)]
    yield _row("captions of untaught concepts read as they are", [wording.encoded(text) == text for text in strangers])


def name(names: dict[str, str]) -> str:
    """What a thing is called, to compare."""
    return names["en"].lower()


def _nearest(wording: PromptParser, text: str) -> set[str]:
    """All English names of the thing whose name is nearest to a text."""
    linker = wording.linker
    return _names(linker, int(np.argmax(linker.cosines(wording.embedder.text([text])[0]))))


def _names(linker: EntityLinker, number: int) -> set[str]:
    return {name.lower() for name in linker.concepts[number].names["en"]}


def _found(wording: PromptParser, told: Sequence[str], things: Sequence[set[str]]) -> list[bool]:
    """For each text, whether the things that it is found to name are these, by any of their English names."""
    answers = []
    for text, wanted in zip(told, things, strict=True):
        named = [_names(wording.linker, entity.concept) for entity in wording.entities(text)]
        answers.append(len(named) == len(wanted) and all(names & wanted for names in named))
    return answers


def _row(what: str, answers: Sequence[bool], against: tuple[tuple[str, float], ...] = ()) -> Row:
    right = int(np.sum(answers))
    return Row(
        "reading", what, right / len(answers), len(answers), interval=wilson(right, len(answers)), against=against,
        seeds=f"captions {SEED}", parts=PARTS,
    )  # fmt: skip
