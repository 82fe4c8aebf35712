"""What goes in and out of /api/v1, typed. A job is asked for in the fields of the studio's own request."""

import inspect
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from studio.fields import Ingredient, Picture
from studio.gallery import Kept
from studio.marks import RATINGS
from studio.queue import FURTHEST, State
from studio.requests import ImageRequest

PREFIX = "/api/v1"
SHA256 = r"^[0-9a-f]{64}$"
FILLED = ("upscaler", "variant")  # by `studio.requests.resolve`
LARGEST = 2**63 - 1  # what SQLite counts to


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Given(_In):
    """A picture: a file's content in base64, or the sha256 of one in the gallery. Never a path or an address."""

    data: str = Field("", description="base64 of a PNG, WebP, JPEG or GIF file, with a data-URL prefix or without.")
    sha256: str = Field("", description="A picture of the gallery.", pattern=SHA256 + "|^$")

    @model_validator(mode="after")
    def _one(self) -> "Given":
        if bool(self.data) == bool(self.sha256):
            raise ValueError("a picture is given either as data, in base64, or as the sha256 of one in the gallery.")
        return self


def _outside(kind: type[BaseModel], name: str, swapped: dict[Any, Any]) -> type[BaseModel]:
    """A request's model as it is asked for from outside: some types swapped, everything else the same, but what the
    studio itself fills in."""
    fields: dict[str, Any] = {
        field: (swapped.get(info.annotation, info.annotation), info)
        for field, info in kind.model_fields.items()
        if field not in FILLED
    }
    return create_model(name, __base__=_In, __doc__=inspect.getdoc(kind), **fields)


_GIVEN: dict[Any, Any] = {Picture | None: Given | None}
Part = _outside(Ingredient, "Part", _GIVEN)
ImageJob = _outside(ImageRequest, "ImageJob", {**_GIVEN, tuple[Ingredient, ...]: tuple[Part, ...]})  # type: ignore[valid-type]


class PictureOut(BaseModel):
    """A picture of a job. `seconds` since the job began; `found` where it was there before."""

    index: int
    sha256: str
    url: str
    seed: int
    score: float | None
    seconds: float
    found: bool


class ProgressOut(BaseModel):
    """`step` of `total`; total 0 says that the model is still being loaded."""

    step: int
    total: int


class JobOut(BaseModel):
    """A job as it stands. `ahead` is how many come before it; times are seconds since the epoch. Pictures in `request`
    are named by content.
    """

    id: str
    number: int
    state: State
    priority: int
    sentence: str = Field(description="Why it failed or was put aside.")
    ahead: int
    submitted: float
    started: float | None
    ended: float | None
    progress: ProgressOut | None
    pictures: list[PictureOut]
    request: dict[str, Any]


class Jobs(BaseModel):
    """Jobs, and how many there are in each state. `notice` is the latest that the worker had to say."""

    jobs: list[JobOut]
    counts: dict[State, int]
    paused: bool
    notice: str


class Move(_In):
    """Where a waiting job goes: before another one, or to the end; and its priority, where that changes."""

    before: str | None = Field(None, pattern=SHA256)
    priority: int | None = Field(None, ge=-FURTHEST, le=FURTHEST)


class KeptOut(BaseModel):
    """A picture of the gallery. `made` and `deleted` are seconds since the epoch; `number` orders and pages."""

    model_config = ConfigDict(from_attributes=True)
    number: int
    sha256: str
    url: str
    thumbnail: str
    width: int
    height: int
    made: float
    job: str
    position: int
    seed: int
    score: float | None
    prompt: str
    style: str
    model: str
    star: bool
    rating: int
    note: str
    deleted: float | None
    tags: tuple[str, ...]
    boards: tuple[str, ...]

    @classmethod
    def of(cls, kept: Kept) -> "KeptOut":
        """As the gallery has it, with addresses in the place of its path."""
        place = f"{PREFIX}/gallery/{kept.sha256}"
        same = {name: getattr(kept, name) for name in cls.model_fields if hasattr(kept, name)}
        return cls(url=f"{place}/file", thumbnail=f"{place}/thumbnail", **same)


class Page(BaseModel):
    """Pictures, newest first. `next` is what to give as `before` for those that follow, null at the end."""

    pictures: list[KeptOut]
    next: int | None
    count: int = Field(description="Of all that the filter lets through.")


class MarksIn(_In):
    """What a person says about a picture; what is left out stays."""

    star: bool | None = None
    rating: int | None = Field(None, ge=RATINGS[0], le=RATINGS[-1])
    note: str | None = Field(None, max_length=10_000)
    tags: tuple[str, ...] | None = Field(None, max_length=100)
    boards: tuple[str, ...] | None = Field(None, max_length=100)


class HitOut(BaseModel):
    """A picture that was found; `score` is its cosine to what was asked for, null where only words chose."""

    picture: KeptOut
    score: float | None


class Hits(BaseModel):
    """Best first."""

    hits: list[HitOut]


class ModelOut(BaseModel):
    """A model. Where it is not `ready`, `problem` says what is missing."""

    name: str
    about: str
    ready: bool
    problem: str
    digest: str
    capabilities: dict[str, Any] | None


class StyleOut(BaseModel):
    """A style: its name, its name in Chinese, and other words that mean it."""

    name: str
    zh: str
    words: tuple[str, ...]


class Health(BaseModel):
    """Whether pictures can be made. `problem` says why not."""

    status: Literal["ok", "not ready"]
    version: str
    model: str
    problem: str
    paused: bool
    jobs: dict[State, int]


class Problem(BaseModel):
    """One sentence that says what is wrong and what to do."""

    error: str
