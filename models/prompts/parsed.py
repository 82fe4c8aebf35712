"""What a parsed prompt is: everything that the pipeline takes from a prompt, so that the text is read once."""

from dataclasses import dataclass

from models.data.grammar import Finish, style_of
from models.prompts.boxes import Box
from models.prompts.entities import Entity
from models.prompts.weighting import Segment


@dataclass(frozen=True)
class Target:
    """What a drawing is to show: a concept's number, a paint (a colour, BLACK_AND_WHITE or a skin tone, "" for none),
    a gender ("woman" or "man", "" for nobody's in particular), and colours that it is not to have."""

    concept: int
    paint: str = ""
    gender: str = ""
    unwanted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Clause:
    """A clause of a negative prompt with the mark before it, the concepts that it names or that are drawn for it, and
    the colours that things are not to have."""

    said: tuple[Segment, ...]
    concepts: frozenset[int] = frozenset()
    colours: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """Drawings of single entities in one picture (Collage Diffusion, arXiv 2303.00262): the prompt and the box of each,
    and the colours of the background (`colours.ground`)."""

    prompts: tuple["ParsedPrompt", ...]
    boxes: tuple[Box, ...]
    background: tuple[str, ...] = ()


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
    entities: tuple[Entity, ...] = ()  # what it names, in order, with what it says of each
    left_out: tuple[str, ...] = ()  # words of it that nothing of the drawing says
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
