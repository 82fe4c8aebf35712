"""What requests are made of: text that can be read, numbers that are numbers, pictures, parts of a mix."""

import math
import re
import unicodedata
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from models.messages import Refused

PROMPT_LIMIT = 2_000  # characters; the model reads the first 31 tokens
# They turn text round on screen, so that a file name or a log line reads as something else.
BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def visible(text: str) -> str:
    """A text of several lines without the characters that can't be seen, stored or read."""
    return "".join(character for character in text if character in "\n\t" or not _harmful(character))


def _harmful(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs") or character in BIDI_CONTROLS


def _text(value: object, info: Any) -> object:
    """Whitespace folded to single spaces; refuses what can't be seen, stored or read."""
    if not isinstance(value, str):
        return value
    name = info.field_name
    if len(value) > PROMPT_LIMIT:
        raise Refused("text.too_long", name=name, length=len(value), most=PROMPT_LIMIT)
    folded = " ".join(value.split())
    for character in folded:
        if _harmful(character):
            raise Refused("text.control_character", name=name, character=f"{ord(character):04X}")
    return folded


def _finite(value: object, info: Any) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        raise Refused("request.not_float", name=info.field_name, value=value)
    return value


def _size(value: object, info: Any) -> object:
    read = value if isinstance(value, int) and not isinstance(value, bool) else read_size(value)
    if value is not None and read is None:
        raise Refused("request.not_size", name=info.field_name, value=repr(value))
    return read


def read_size(text: object) -> int | str | None:
    """ "512" and "512x512" are 512; "768 X 512" is "768x512"; None where it is no size."""
    found = re.fullmatch(r"(\d{1,5})(?: ?[x×*] ?(\d{1,5}))?", text.strip().lower()) if isinstance(text, str) else None
    return spelled(int(found[1]), int(found[2] or found[1])) if found else None


def spelled(width: int, height: int) -> int | str:
    """The size of so many pixels as `Size` has it."""
    return width if width == height else f"{width}x{height}"


def sides(size: int | str) -> tuple[int, int]:
    """(width, height) of a size."""
    width, _, height = str(size).partition("x")
    return int(width), int(height or width)


Text = Annotated[str, BeforeValidator(_text)]
Whole = Annotated[int, Field(strict=True)]
# Pixels a side of a square, else "WIDTHxHEIGHT".
Size = Annotated[int | str, BeforeValidator(_size)]
Number = Annotated[float, BeforeValidator(_finite), Field(strict=True)]


class Frozen(BaseModel):
    """A request, or what a model can do, or a part of either: it does not change, and has no names but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Picture(Frozen):
    """A file of a picture, or of a clip of which a frame is taken. `resolve` adds the sha256, which identifies it."""

    path: str
    sha256: str = ""


class Lora(Frozen):
    """A LoRA by the name of its file, how much of it, and the file's sha256."""

    name: str
    weight: float
    sha256: str


class Ingredient(Frozen):
    """One part of a mix: words or a picture, with its weight (negative: away from it)."""

    weight: Number = 1.0
    text: Text = ""
    picture: Picture | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if bool(self.text) == (self.picture is not None):
            raise Refused("request.mix_part")
        if not 0 < abs(self.weight) <= 10:
            raise Refused("request.mix_weight", weight=f"{self.weight:g}")
        return self
