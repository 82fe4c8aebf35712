"""What happens to a job, in the order it happens: the backend yields the first three, the studio adds the rest."""

import base64
from dataclasses import dataclass, field
from typing import Annotated

from PIL import Image
from pydantic import BeforeValidator, PlainSerializer


@dataclass(frozen=True)
class Unknown:
    """A word of the prompt that the model never learned, and the nearest ones that it did."""

    word: str
    nearest: tuple[str, ...]


@dataclass(frozen=True)
class Progress:
    """`step` of `total` steps are done; total 0 says that the model is still being loaded.

    `previews` holds PNG bytes by index of the picture, for those that changed. `unknown` is said with the first step or
    with all, and so is `read_as`: what the model reads of the prompt, where that is not its very words.
    """

    step: int
    total: int
    previews: dict[int, bytes] = field(default_factory=dict)
    unknown: tuple[Unknown, ...] = ()
    read_as: str = ""


@dataclass(frozen=True)
class Result:
    """A finished picture, straight RGBA.

    `score` is its cosine to what was asked for, where the model can tell. `how` holds what else it takes to make it
    again bit for bit, such as the shape it was computed in. `vector` is its place (128,) in the semantic space that is
    named `space`, where the model has one.
    """

    index: int
    seed: int
    picture: Image.Image
    score: float | None = None
    how: dict[str, int | str] = field(default_factory=dict)
    vector: tuple[float, ...] = ()
    space: str = ""


@dataclass(frozen=True)
class Vector:
    """A place in the semantic space, a unit vector. `kind` is "text" or "image", `input` the words or the file."""

    kind: str
    input: str
    vector: tuple[float, ...]


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(data: str | bytes) -> bytes:
    return base64.b64decode(data) if isinstance(data, str) else data


@dataclass(frozen=True)
class Saved:
    """A picture that is whole on disk. `seconds` since the job began; `found` where it was there before."""

    path: str
    index: int
    seed: int
    score: float | None
    seconds: float
    found: bool = False


@dataclass(frozen=True)
class Done:
    """Everything asked for is saved."""


@dataclass(frozen=True)
class Cancelled:
    """Stopped on request; what was saved before stays."""


@dataclass(frozen=True)
class Failed:
    """It can't be done; one sentence why."""

    sentence: str


@dataclass(frozen=True)
class Enlarged:
    """The bytes of a PNG file."""

    png: Annotated[bytes, BeforeValidator(_decoded), PlainSerializer(_encoded, when_used="json")]


Answer = Vector | Enlarged  # what questions are answered with
Event = Progress | Saved | Done | Cancelled | Failed
End = Done | Cancelled | Failed
