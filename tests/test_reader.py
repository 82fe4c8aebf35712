"""Draw, read, redraw: what is read as another thing is drawn again, and what insults is no result."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from prompt_kit import knowing_pipe  # noqa: F401 - a fixture
from tiny_parts import tiny_detector

from models.messages import Refused
from models.pipelines.image import REDRAWN_FROM, Pictures, Progress
from models.pipelines.reader import INSULTS, DrawingReader, Reading, insult_unasked
from models.pipelines.sticker import StickerPipeline
from models.prompts.parsed import Concept, Entity, ParsedPrompt
from models.references.credits import Redraw
from models.references.store import SIDE, ReferenceStore
from models.sampling.loop import REDRAWS, Sampling

RIGHT, WRONG = Reading("cat", "cat", True, False), Reading("dog", "cat", False, False)
RUDE = replace(WRONG, name="middle finger", is_rude=True)
SEEDS = range(3)


@dataclass
class FakeReader:
    """Reads what looks like stored drawings as `stored`, and anything else as `drawn` says."""

    references: set[bytes]
    drawn: Callable[[np.ndarray], Reading]
    stored: Reading = RIGHT
    readings: int = 0

    def read(self, drawing: np.ndarray, concept: int | None) -> Reading:
        self.readings += 1
        return self.stored if drawing.tobytes() in self.references else self.drawn(drawing)


@pytest.fixture(autouse=True)
def unread_afterwards(pipe: StickerPipeline) -> Iterator[None]:
    yield
    pipe.reader = None


def sources(pipe: StickerPipeline, prompt: str) -> set[bytes]:
    target = pipe.parse(prompt).target
    assert pipe.references and target
    found = [reference for seed in SEEDS if (reference := pipe._reference(prompt, seed))]
    looks = [one for reference in found for one in pipe.references.in_one_look(reference, target.concept)]
    return {pipe.references.drawing(one).tobytes() for one in looks}


def events(pipe: StickerPipeline, prompts: list[str], **settings: Any) -> list[Progress | Pictures]:
    sampling = Sampling(**{"steps": 4, "guidance": 1.0, "redraws": REDRAWS, **settings})
    return list(pipe.steps(prompts, SEEDS[: len(prompts)], sampling))


def pictures(pipe: StickerPipeline, prompts: list[str], **settings: Any) -> Pictures:
    (done,) = (event for event in events(pipe, prompts, **settings) if isinstance(event, Pictures))
    return done


def read_as(pipe: StickerPipeline, drawn: Callable[[np.ndarray], Reading], **fields: Any) -> FakeReader:
    reader = FakeReader(sources(pipe, "cat"), drawn, **fields)
    pipe.reader = reader  # type: ignore[assignment]
    return reader


def test_what_is_read_rightly_is_the_picture_that_nobody_reads(pipe: StickerPipeline) -> None:
    reader = read_as(pipe, lambda _: RIGHT)
    unread = pictures(pipe, ["cat"] * 2, redraws=0)
    assert reader.readings == 0
    read = pictures(pipe, ["cat"] * 2)
    assert np.array_equal(read.pixels, unread.pixels) and torch.equal(read.latents, unread.latents)
    assert reader.readings == 2 and read.redrawn == ((), ())


def test_what_is_never_read_rightly_ends_as_its_reference_and_the_picture_says_so(pipe: StickerPipeline) -> None:
    reader = read_as(pipe, lambda _: WRONG)
    *progress, done = events(pipe, ["cat"])
    assert isinstance(done, Pictures) and done.redrawn == ((Redraw("cat", "dog", REDRAWS),),)
    assert reader.readings == 1 + 1 + len(REDRAWN_FROM), "the drawing, its reference, and each try"
    steps, totals = zip(*((event.step, event.total) for event in progress if isinstance(event, Progress)), strict=True)
    assert list(steps) == list(range(1, len(steps) + 1)) and sorted(totals) == list(totals), "the total only grows"
    assert steps[-1] == totals[-1]
    assert any(credit.copied for credit in done.credits[0])
    assert not np.array_equal(done.pixels, pictures(pipe, ["cat"], redraws=0).pixels)


def test_a_picture_is_redrawn_alike_in_any_company(pipe: StickerPipeline) -> None:
    unread = pictures(pipe, ["cat"] * 3, redraws=0, batch=8).pixels
    first = unread[0].tobytes()
    read_as(pipe, lambda drawing: WRONG if drawing.tobytes() == first else RIGHT)
    one_of_three = pictures(pipe, ["cat"] * 3, batch=8)
    alone = pictures(pipe, ["cat"], batch=8)
    assert [len(redrawn) for redrawn in one_of_three.redrawn] == [1, 0, 0] and alone.redrawn[0][0].tries == 1
    assert np.array_equal(one_of_three.pixels[0], alone.pixels[0])
    assert np.array_equal(one_of_three.pixels[1:], unread[1:])
    read_as(pipe, lambda _: WRONG)
    assert np.array_equal(pictures(pipe, ["cat"] * 3, batch=8).pixels[0], pictures(pipe, ["cat"], batch=8).pixels[0])


def test_each_thing_of_a_collage_is_read_and_redrawn_by_itself(pipe: StickerPipeline) -> None:
    read_as(pipe, lambda _: WRONG).references |= sources(pipe, "sun")
    (redrawn,) = pictures(pipe, ["a cat left of the sun"]).redrawn
    assert len(redrawn) == 2


@pytest.mark.parametrize("settings", [{}, {"reference_strength": 0.0}])
def test_where_no_reference_is_read_or_wanted_the_drawing_stays(pipe: StickerPipeline, settings: dict) -> None:
    read_as(pipe, lambda _: WRONG, stored=RIGHT if settings else WRONG)
    assert pictures(pipe, ["cat"], **settings).redrawn == ((),)


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_what_insults_is_drawn_again_or_refused_in_a_sentence(pipe: StickerPipeline, strength: float) -> None:
    read_as(pipe, lambda _: RUDE)
    done = pictures(pipe, ["cat"], reference_strength=strength)
    assert done.redrawn[0][0].read_as == "middle finger"
    read_as(pipe, lambda _: RUDE, stored=RUDE)
    with pytest.raises(Refused, match=r"middle finger.* another seed or other words"):
        pictures(pipe, ["cat"], reference_strength=strength)


def test_closing_stops_in_the_middle_of_a_redraw(pipe: StickerPipeline) -> None:
    read_as(pipe, lambda _: WRONG)
    drawing = pipe.steps(["cat"], [0], Sampling(steps=4, guidance=1.0, redraws=REDRAWS), previews=True)
    for event in drawing:
        if isinstance(event, Progress) and event.step > 4:
            break
    drawing.close()
    assert event.preview is not None and not list(drawing)


# --- The reader -------------------------------------------------------------------------------------------------------

NAMES = ("red ball", "box", "thing of no class", "middle finger")


@pytest.fixture
def reader(pipe: StickerPipeline) -> DrawingReader:
    rng = np.random.default_rng(0)
    store = ReferenceStore(rng.integers(0, 256, (len(NAMES), SIDE, SIDE, 4), np.uint8) | np.uint8([0, 0, 0, 255]))
    reader = DrawingReader(pipe.embedder, [Concept({"en": (name,)}, (), "") for name in NAMES], store)
    reader.detector = tiny_detector()
    return reader


def test_a_thing_of_no_class_becomes_one_by_its_stored_drawings(reader: DrawingReader) -> None:
    from models.references.drawing import enlarged

    drawing = enlarged(reader.references.pictures[2])
    assert reader.read(drawing, 2) == Reading("thing of no class", "thing of no class", True, False)
    assert reader.read(drawing, 0).name in reader.names, "asked for another thing, it is none of the classes"
    assert reader.read(drawing, None).is_right


def test_a_class_none_of_whose_drawings_is_read_rightly_becomes_one_by_them(reader: DrawingReader) -> None:
    from models.references.drawing import enlarged

    drawing = enlarged(reader.references.pictures[0])
    with torch.no_grad():
        vectors = reader._vectors(drawing[None])
        near = [vector[0] + 0.2 * vector[0].norm() * F.normalize(torch.randn(128), dim=0) for vector in vectors]
        reader.detector.concepts.data[1], reader.detector.centres[1] = near
        assert reader._named(vectors, reader._class_of(0, False))[0].name == "box", "its class is there"
    assert reader.read(drawing, 0).is_fit
    reader.detector.concepts.data[0], reader.detector.centres[0] = vectors[0][0], vectors[1][0]
    assert reader._class_of(0, True).imprinted is None, "a class that is read needs no other"


def test_names_with_the_same_words_and_more_are_right_and_insults_are_never_another_things(
    reader: DrawingReader,
) -> None:
    classes = SimpleNamespace(config={"names": [["reverse red ball", ""], ["ball pen", ""], ["red", ""]]})
    reader.detector.config["names"] = classes.config["names"]
    assert reader._class_of(0, False).rows.tolist() == [True, False, True, True]


def test_an_insult_is_drawn_by_its_name_alone() -> None:
    concepts = [Concept({"en": ("middle finger",), "zh": ("竖中指",)}, (), ""), Concept({"en": ("cat",)}, (), "")]

    def drawn(text: str, number: int) -> str:
        return insult_unasked(ParsedPrompt(text, text, entities=(Entity(number),)), concepts)

    assert [drawn(text, 0) for text in ("a Middle Finger", "竖中指", "红色的中指", "🖕")] == [""] * 4
    assert drawn("some rude hand", 0) == "middle finger" and drawn("some rude hand", 1) == ""


def test_every_insult_is_a_concept() -> None:
    from models.prompts.parser import load_concepts

    assert {*INSULTS} <= {name for concept in load_concepts() for name in concept.english_names}
