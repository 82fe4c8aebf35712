"""What parsing returns, as data: concepts, entities, boxes, the parsed prompt, and the reading that people see.

Imports no torch: the studio reads these, too.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from models.data.grammar import Finish, style_of
from models.lexicon import CONCEPTS
from models.prompts.weighting import Segment

# Groups of concepts.
PEOPLE, FACES, ANIMALS, FLAGS, PLACES = "people-body", "smileys-emotion", "animals-nature", "flags", "travel-places"
_WORN = {where: re.compile(name) for where, name in CONCEPTS["worn"].items()}
BLACK_AND_WHITE = "black and white"  # a paint
GENDERS = ("woman", "man")


@dataclass(frozen=True)
class Concept:
    """A concept that was taught: its names by language (CLDR's; icons outside it have others), keywords, and group."""

    names: dict[str, tuple[str, ...]]
    keywords: tuple[str, ...]
    group: str

    @property
    def english_names(self) -> tuple[str, ...]:
        return self.names.get("en", ())

    @cached_property
    def all_names(self) -> frozenset[str]:
        """Those of all languages, in small letters."""
        return frozenset(name.lower() for of_language in self.names.values() for name in of_language)

    def is_a(self, *kinds: str) -> bool:
        """Whether it is of one of the classes of `assets/lexicon/concepts.toml`."""
        return any(name in CONCEPTS[kind] for kind in kinds for name in self.english_names)

    @property
    def is_face(self) -> bool:
        """Whether it is a face and nothing else, and not a heart or a ghost."""
        return self.group == FACES and any("face" in name.lower() for name in self.english_names)

    @property
    def has_eyes(self) -> bool:
        """Whether it is drawn with a face."""
        return self.is_a("face_of_its_own") or (self.group == ANIMALS and not self.is_a("plant"))

    @property
    def is_somebody(self) -> bool:
        return self.has_eyes or self.group == PEOPLE or self.is_face

    @property
    def is_activity(self) -> bool:
        """Whether it is a person who does something: "person biking"."""
        return self.group == PEOPLE and self.english_names[0].startswith(("person ", "man ", "woman ", "people "))

    @cached_property
    def worn_at(self) -> str:
        """Where it is worn, one of `worn` in `concepts.toml`; "" where it is not."""
        names = [name.lower() for name in self.english_names]
        return next((where for where, word in _WORN.items() if any(map(word.search, names))), "")


@dataclass(frozen=True)
class Entity:
    """A thing that a prompt names.

    Attributes:
        concept: its number.
        name: the words that name it, in small letters.
        start, end: where they stand in the prompt.
        language: of the name, "en" or "zh".
        count: how many there are, 1 to 4.
        colours: of it, in order.
        faces: the faces (names of concepts) whose expressions it has.
        skin: a skin tone, "" for none.
        gender: one of GENDERS, or "".
        side: where it stands by itself: "left", "top", ...
        is_exact: whether captions call it by that name.
    """

    concept: int
    name: str = ""
    start: int = 0
    end: int = 0
    language: Literal["en", "zh"] = "en"
    count: int = 1
    colours: tuple[str, ...] = ()
    faces: tuple[str, ...] = ()
    skin: str = ""
    gender: str = ""
    side: str = ""
    is_small: bool = False
    is_plural: bool = False
    is_exact: bool = False

    @property
    def paint(self) -> str:
        """The paint that its drawing gets: a skin tone, a colour, or BLACK_AND_WHITE; "" for none, or for several."""
        if set(self.colours) == {"black", "white"}:
            return BLACK_AND_WHITE
        return self.skin or (self.colours[0] if len(self.colours) == 1 else "")


Anchor = Literal["", "head", "neck", "middle", "face"]


@dataclass(frozen=True)
class Box:
    """Where one drawing goes, in pixels of SIZE."""

    left: int
    top: int
    width: int
    height: int
    z: int = 0  # higher is nearer
    align: float = 0.5  # at which height a drawing stands that is lower than its box: 0 at the top, 1 at the bottom
    # "head" and "neck" move what is worn to those of what lies below it, wherever they are
    # (`models.compose.collage`), "middle" to where what lies in the box has most room (`models.compose.masks`);
    # "face" there, and only its eyes and mouth.
    anchor: Anchor = ""
    close_up: bool = False  # of an animal its face goes there: it is too small for legs, or wears something on its head
    lettering: str = ""  # written on the drawing, where it has most room (`models.compose.lettering`)


@dataclass(frozen=True)
class Target:
    """What a drawing is to show: a concept's number, a paint ("" for none), a gender ("" for nobody's in particular),
    and colours that it is not to have."""

    concept: int
    paint: str = ""
    gender: str = ""
    unwanted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Clause:
    """A clause of a negative prompt with the mark before it, the concepts that it names or that are drawn for it, and
    the colours that things are not to have."""

    segments: tuple[Segment, ...]
    concepts: frozenset[int] = frozenset()
    colours: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """Drawings of single entities in one picture (Collage Diffusion, arXiv 2303.00262): the prompt and the box of each,
    and the colours of the background (`colours.ground`)."""

    prompts: tuple["ParsedPrompt", ...]
    boxes: tuple[Box, ...]
    background: tuple[str, ...] = ()

    @property
    def drawings(self) -> "list[tuple[ParsedPrompt, Box]]":
        return list(zip(self.prompts, self.boxes, strict=True))


State = Literal["drawn", "left_out", "unknown"]


@dataclass(frozen=True)
class Part:
    """Words as they stand in a prompt, and what becomes of them."""

    text: str
    start: int  # their first character
    state: State
    drawn_as: str = ""  # the thing that they are drawn as, "" where they name none
    nearest: tuple[str, ...] = ()  # things that can be drawn in their place
    read_as: str = ""  # the word that a mistyped word is taken for


@dataclass(frozen=True)
class ParsedPrompt:
    """A prompt as `models.prompts.parser.PromptParser.parse` understands it."""

    text: str  # as it was typed
    encoded: str  # what the text encoder reads: the prompt itself, or captions' words for it; weights stay marked
    segments: tuple[Segment, ...] = ()  # the same without marks, in runs of one weight
    description: str = ""  # what is drawn of it, in words
    literal: bool = False  # whether it is read word for word
    style: str = ""  # one of `models.data.grammar.STYLES`, or ""
    background: tuple[str, ...] = ()  # the colours of the background: none, one, or two of a gradient
    lettering: str = ""  # words to be written in the picture
    entities: tuple[Entity, ...] = ()  # what it names, in order
    relations: tuple[tuple[int, str, int], ...] = ()  # of entities, as in `models.prompts.scene.Scene.relations`
    parts: tuple[Part, ...] = ()  # its content words
    target: Target | None = None  # what it shows, where that is one entity as large as the picture, on no background
    # Shares, in all 1, and the prompts of drawings that are blended to one; the first lies in the middle.
    blend: tuple[tuple[float, "ParsedPrompt"], ...] = ()
    layout: Layout | None = None  # where it is drawn entity by entity
    away: tuple[Clause, ...] = ()  # of a negative prompt what is not done yet: what guidance leads away from

    @property
    def words(self) -> str:
        """What the text encoder reads, without marks."""
        return "".join(segment.text for segment in self.segments)

    @property
    def finish(self) -> Finish | None:
        """The finish of its style; None where it names none."""
        return style_of(self.style).finish if self.style else None

    @property
    def left_out(self) -> tuple[str, ...]:
        """Words that nothing of the drawing says."""
        return tuple(dict.fromkeys(part.text for part in self.parts if part.state != "drawn"))


@dataclass(frozen=True)
class Reading:
    """What becomes of a prompt."""

    text: str
    parts: tuple[Part, ...]  # in order, none over another
    instead: tuple[str, ...] = ()  # prompts to take where it names nothing that can be drawn
