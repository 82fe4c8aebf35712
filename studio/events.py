"""What happens to a job, in the order it happens: the backend yields the first three, the studio adds the rest."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

from models.messages import Message
from models.prompts.parsed import Reading
from models.references.credits import Redraw


@dataclass(frozen=True)
class Unknown:
    """Words of the prompt that are not drawn, and the nearest ones that the model learned, where some are near."""

    word: str
    nearest: tuple[str, ...]


def not_drawn(unknown: Sequence[Unknown]) -> list[Message]:
    """Messages about words that are not drawn."""
    left_out = [one.word for one in unknown if not one.nearest]
    messages = [
        Message("reading.unknown", {"word": one.word, "nearest": one.nearest}) for one in unknown if one.nearest
    ]
    return messages + ([Message("reading.left_out", {"words": left_out})] if left_out else [])


@dataclass(frozen=True)
class Progress:
    """`step` of `total` steps are done; total 0 says that the model is still being loaded.

    `previews` holds image bytes by index of the artifact, for those that changed. `unknown` is said with the first step
    or with all, and so is `read_as`: what the model reads of the prompt, where that is not its very words.
    """

    step: int
    total: int
    previews: dict[int, bytes] = field(default_factory=dict)
    unknown: tuple[Unknown, ...] = ()
    read_as: str = ""


@dataclass(frozen=True)
class Vector:
    """A place in the semantic space, a unit vector, of `input`, words or file. `kind` is "text", "image" or "clip"."""

    kind: str
    input: str
    vector: tuple[float, ...]


@dataclass(frozen=True)
class Saved:
    """An artifact, whole on disk, with its facts; `seconds` since the job began; `cached` where it was there before."""

    path: str
    index: int
    seed: int
    score: float | None
    seconds: float
    cached: bool = False
    kind: str = "image"
    media_type: str = "image/png"
    text: str = ""
    frames: int = 1
    redrawn: tuple[Redraw, ...] = ()  # said once, when it is made


@dataclass(frozen=True)
class Done:
    """All artifacts are saved."""


@dataclass(frozen=True)
class Cancelled:
    """Stopped on request; what was saved before stays."""


@dataclass(frozen=True)
class Failed:
    """It can't be done; the message says why."""

    message: Message

    @property
    def sentence(self) -> str:
        return self.message.text()


# Bytes, base64 in JSON.
Data = Annotated[
    bytes,
    BeforeValidator(lambda data: base64.b64decode(data) if isinstance(data, str) else data),
    PlainSerializer(lambda data: base64.b64encode(data).decode(), when_used="json"),
]


@dataclass(frozen=True)
class Content:
    """The bytes of an artifact that is an answer and stored nowhere else, its score, and whether it is `known`."""

    data: Data
    media_type: str
    score: float | None = None
    known: bool = True


Answer = Vector | Content | Reading  # to interactive requests
Event = Progress | Saved | Done | Cancelled | Failed
End = Done | Cancelled | Failed
