"""Bodies and answers of /api/v1. Jobs and stored files have the fields of the studio's own classes."""

import dataclasses
import functools
import inspect
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, create_model, model_validator

from models.messages import Refused
from models.references.credits import Credit
from studio.api.routing import TAG
from studio.events import Reading, Saved, Unknown
from studio.gallery import RATINGS, GalleryItem
from studio.queue import QueuedJob, State
from studio.requests import CaptionRequest, Ingredient, MediaRequest, Picture, fields_of

SHA256 = r"^[0-9a-f]{64}$"
LARGEST = 2**63 - 1  # what SQLite counts to


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PictureIn(_In):
    """A picture: a file's content in base64, or the sha256 of one in the gallery. Never a path or an address."""

    data: str = Field("", description="base64 of a picture or clip file, with a data-URL prefix or without.")
    sha256: str = Field("", description="A picture of the gallery.", pattern=SHA256 + "|^$")

    @model_validator(mode="after")
    def _check(self) -> "PictureIn":
        if bool(self.data) == bool(self.sha256):
            raise Refused("api.picture_given")
        return self


def _body_model(name: str, kind: type[BaseModel]) -> type[BaseModel]:
    """A request as a client sends it: pictures are `PictureIn`, and what the studio fills in is left out."""
    fields: dict[str, Any] = {
        field: (_body_type(info.annotation), info) for field, info in fields_of(kind, programs=True).items()
    }
    return create_model(name, __base__=_In, __doc__=inspect.getdoc(kind), **fields)


def _body_type(annotation: Any) -> Any:
    """A field's type as a client sends it."""
    if annotation is Picture:
        return PictureIn
    if annotation is Ingredient:
        return Part
    if get_origin(annotation) in (Union, types.UnionType):
        return Union[tuple(map(_body_type, get_args(annotation)))]  # noqa: UP007  its members are not known here
    if get_origin(annotation) is tuple:
        return tuple[tuple(map(_body_type, get_args(annotation)))]  # type: ignore[misc]
    return annotation


def _result_model(name: str, about: str, kind: Any, leave_out: tuple[str, ...] = (), **more: Any) -> type[BaseModel]:
    """A dataclass of the studio as a client gets it: its fields without some, and `more`."""
    hints = get_type_hints(kind)
    same = {one.name: hints[one.name] for one in dataclasses.fields(kind) if one.name not in leave_out}
    fields: dict[str, Any] = {field: (annotation, ...) for field, annotation in (same | more).items()}
    return create_model(name, __doc__=about, **fields)


def _task(body: Any) -> str:
    """The tag of a job's body; one that names no task asks for pictures."""
    task = body.get("task", "image") if isinstance(body, dict) else getattr(body, "task", "image")
    return f"{TAG}{task}"


@functools.lru_cache
def job_model(kind: type[MediaRequest]) -> type[BaseModel]:
    """The body of a job of a medium."""
    return _body_model(f"{kind.model_fields['task'].default.title()}Job", kind)


def job_body(kinds: tuple[type[MediaRequest], ...]) -> Any:
    """The type of a job's body: that of the task that it names."""
    tagged = tuple(Annotated[job_model(kind), Tag(f"{TAG}{kind.model_fields['task'].default}")] for kind in kinds)
    return Annotated[Union[tagged], Discriminator(_task)]  # noqa: UP007


Part = _body_model("Part", Ingredient)
CaptionIn: Any = job_model(CaptionRequest)

PictureOut = _result_model(
    "PictureOut",
    "A file that a job made. `seconds` since the job began; `cached` where it was there before.",
    Saved,
    ("path",),
    sha256=str,
    url=str,
)
ItemOut = _result_model(
    "ItemOut",
    "A file of the gallery. `created` and `deleted` are seconds since the epoch; `number` orders and pages.",
    GalleryItem,
    ("path",),
    url=str,
    thumbnail=str,
)


class ProgressOut(BaseModel):
    """`step` of `total`; total 0 says that the model is still being loaded."""

    step: int
    total: int


JobOut = _result_model(
    "JobOut",
    "A job as it stands. `ahead` is how many come before it; times are seconds since the epoch; `sentence` says why it"
    " failed or was quarantined, `read_as` is the prompt as it is read where that differs from its words, `notes` are"
    " remarks on the files that it was given. Pictures in `request` are named by content.",
    QueuedJob,
    ("request", "crash_count", "stop_request", "message"),
    sentence=str,
    unknown=list[Unknown],
    read_as=str,
    notes=list[str],
    ahead=int,
    progress=ProgressOut | None,
    pictures=list[PictureOut],  # type: ignore[valid-type]
    request=dict[str, Any],
)


class Jobs(BaseModel):
    """Jobs, and how many there are in each state. `notice` is the latest message of the worker."""

    jobs: list[JobOut]  # type: ignore[valid-type]
    counts: dict[State, int]
    paused: bool
    notice: str


class Move(_In):
    """Where a waiting job goes: before another one, or to the end."""

    before: str | None = Field(None, pattern=SHA256)


class Page(BaseModel):
    """Pictures, newest first. `next` is what to give as `before` for those that follow, null at the end."""

    pictures: list[ItemOut]  # type: ignore[valid-type]
    next: int | None
    count: int = Field(description="Of all that the filter lets through.")


class AnnotationsIn(_In):
    """A person's notes on a picture; fields that are left out stay."""

    star: bool | None = None
    rating: int | None = Field(None, ge=RATINGS[0], le=RATINGS[-1])
    note: str | None = Field(None, max_length=10_000)
    caption: str | None = Field(None, max_length=10_000, description="What it shows, in words.")
    tags: tuple[str, ...] | None = Field(None, max_length=100)
    boards: tuple[str, ...] | None = Field(None, max_length=100)


class HitOut(BaseModel):
    """A picture of a search; `score` is its cosine to the query, null where only words match."""

    picture: ItemOut  # type: ignore[valid-type]
    score: float | None


class Hits(BaseModel):
    """Best first."""

    hits: list[HitOut]


class CreditsOut(BaseModel):
    """The stored drawings that a picture was drawn from; `lines` are to be pasted beside it, a line a set."""

    credits: list[Credit]
    lines: str


class CaptionOut(BaseModel):
    """A description of a picture; `score` is its confidence, 0 to 1. Where it is not `known`, the caption says so."""

    caption: str
    score: float | None
    known: bool


class Readings(BaseModel):
    """How each prompt is read; `instead` are prompts to take where one names nothing."""

    readings: list[Reading]


class Health(BaseModel):
    """Whether pictures can be made. `problem` says why not: the model is "not ready", or the worker "stalled".

    `worker_seen` are the seconds since the worker's last sign of life, None where there is no worker; `disk_free` are
    bytes.
    """

    status: Literal["ok", "not ready", "stalled"]
    version: str
    model: str
    problem: str
    paused: bool
    jobs: dict[State, int]
    worker_seen: float | None
    disk_free: int


class Problem(BaseModel):
    """One sentence that says what is wrong and what to do."""

    error: str
