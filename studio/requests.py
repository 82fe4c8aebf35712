"""Requests: one frozen pydantic model a task, with the names, types, ranges and helps of its fields.

Every door (commands, HTTP, tools, prompt files, Python) reads them here. `make_request(task, ...)` checks what is wrong
in a request itself; `studio.planner` checks it against a model and fixes what was left open. A new task is a class, a
row of `REQUESTS`, and, where the model decides something of it, a row of `studio.planner.RESOLVERS`.
"""

import json
import math
import re
import unicodedata
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from models.messages import Message, Refused, did_you_mean
from models.prompts.weighting import QUOTED

R = TypeVar("R")

SEEDS = 2**32
# Between the seeds of one picture's candidates: odd, so that no two are the same, and far from its neighbours' seeds.
CANDIDATE_STRIDE = 0x9E3779B1
PROMPT_LIMIT = 2_000  # characters; the model reads the first 31 tokens
QUOTES = '"“”「」 '  # around a prompt that is read word for word
MIX_LIMIT = 8  # things in one picture
SUBTRACTED = -0.5  # weight of a part that is taken away
# They turn text round on screen, so that a file name or a log line reads as something else.
BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Endings of files that are read as pictures and clips.
PICTURES = (".png", ".webp", ".jpg", ".jpeg", ".gif", ".avif", ".apng", ".webm", ".mkv", ".mp4", ".mov")
# Who sets a field, where it is not the user: planning fills it in, or only programs (Python, HTTP, prompt files) do.
PROGRAMS: dict[str, Any] = {"set_by": "programs"}
Planned = Annotated[R | None, Field(json_schema_extra={"set_by": "planner"})]


# --- Types of fields --------------------------------------------------------------------------------------------------


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
    size = value if isinstance(value, int) and not isinstance(value, bool) else read_size(value)
    if value is not None and size is None:
        raise Refused("request.not_size", name=info.field_name, value=repr(value))
    return size


def read_size(text: object) -> int | str | None:
    """ "512" and "512x512" are 512; "768 X 512" is "768x512"; None where it is no size."""
    match = re.fullmatch(r"(\d{1,5})(?: ?[x×*] ?(\d{1,5}))?", text.strip().lower()) if isinstance(text, str) else None
    return spelled(int(match[1]), int(match[2] or match[1])) if match else None


def spelled(width: int, height: int) -> int | str:
    """The `Size` of width x height pixels."""
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
    """A model whose values don't change and that takes no names but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Picture(Frozen):
    """A file of a picture, or of a clip of which a frame is taken. `resolve` adds the sha256, which identifies it.
    A path alone, as text, is read as one.
    """

    path: str
    sha256: str = ""

    @model_validator(mode="before")
    @classmethod
    def _path(cls, value: Any) -> Any:
        return {"path": str(value)} if isinstance(value, str | Path) else value


class Lora(Frozen):
    """A LoRA by the name of its file, how much of it, and the file's sha256."""

    name: str
    weight: float
    sha256: str


class Ingredient(Frozen):
    """One part of a mix: words or a picture, with its weight (negative: away from it).

    Text alone is read as `W:WORDS` or `W:FILE`; without a weight it is 1, and what looks like a picture file is one.
    """

    weight: Number = 1.0
    text: Text = ""
    picture: Picture | None = None

    @model_validator(mode="before")
    @classmethod
    def _line(cls, value: Any) -> Any:
        return ingredient(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.text) == (self.picture is not None):
            raise Refused("request.mix_part")
        if not 0 < abs(self.weight) <= 10:
            raise Refused("request.mix_weight", weight=f"{self.weight:g}")
        return self


def ingredient(part: str) -> dict[str, Any]:
    """The fields of an `Ingredient` that is written as one text."""
    match = re.fullmatch(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)):(.*)", part, re.DOTALL)
    weight, what = (float(match[1]), match[2].strip()) if match else (1.0, part.strip())
    is_file = Path(what).suffix.lower() in PICTURES
    return {"weight": weight, "picture": {"path": what}} if is_file else {"weight": weight, "text": what}


# --- Requests ---------------------------------------------------------------------------------------------------------


class Request(Frozen):
    """The base of all requests."""

    model: Text = Field(default="embedded", description="The model that does the work.", json_schema_extra=PROGRAMS)

    def pictures(self) -> list[Picture]:
        """The files that the request names."""
        pictures: list[Picture] = []

        def note(picture: Picture) -> Picture:
            pictures.append(picture)
            return picture

        self.with_pictures(note)
        return pictures

    def with_pictures(self, change: Callable[[Picture], Picture]) -> Self:
        """The request with `change` applied to each `Picture` in it."""

        def changed(value: Any) -> Any:
            if isinstance(value, Picture):
                return change(value)
            if isinstance(value, Ingredient):
                return value.model_copy(update={"picture": change(value.picture)}) if value.picture else value
            return tuple(map(changed, value)) if isinstance(value, tuple) else value

        return self.model_copy(update={name: changed(value) for name, value in self})


class MediaRequest(Request):
    """A request that makes artifacts for the gallery: `count` of them, artifact i from the seed `seed + i`.

    So each can be made again alone, in the same `shape`: the last bits of a picture depend on how many go through the
    model together.
    """

    suffix: ClassVar[str] = ".png"  # of its files
    command: ClassVar[str | None] = ""  # the command that makes it; "" is the task's name, None is no command
    task: str
    count: Whole = Field(default=1, description="How many of each prompt.")
    seed: Whole | None = Field(
        default=None,
        ge=0,
        le=SEEDS - 1,
        description="The first one's seed; the next ones count up. The same makes the same.",
    )
    shape: Whole | None = Field(
        default=None, description="How many pictures go through the model together.", json_schema_extra=PROGRAMS
    )

    def seeds(self) -> list[int]:
        """The seed of each artifact, of a resolved request."""
        if self.seed is None:
            raise ValueError("an unresolved request has no seeds; plan it first")
        return [(self.seed + i) % SEEDS for i in range(self.count)]

    def alone(self, index: int) -> Self:
        """The request for one of its artifacts."""
        return self.model_copy(update={"seed": self.seeds()[index], "count": 1})

    def texts(self) -> dict[str, str]:
        """The texts in which wildcards are drawn, by name."""
        return {name: getattr(self, name) for name in ("prompt", "negative") if name in type(self).model_fields}

    def batch_key(self) -> Hashable:
        """Requests of equal keys may share a batch of the model. Unless a task says otherwise, none do."""
        return (self.task, self.model, self.model_dump_json())

    @property
    def title(self) -> str:
        """Its prompt, for lists; "" where it has none."""
        return str(getattr(self, "prompt", ""))


class WordedRequest(MediaRequest):
    """A request that draws from words, or from a picture (`image`)."""

    prompt: Text = Field(default="", description="What to draw, in English or Chinese, for example: a smiling cat.")
    negative: Text = Field(default="", description="What should not be in the picture.")
    style: Text = Field(default="", description="A style that the model knows; `styles` lists them.")
    steps: Whole | None = Field(default=None, description="More takes longer and is finer.")
    guidance: Number | None = Field(default=None, description="How closely to keep to the prompt.")
    scheduler: Text = Field(default="", description="The sampler.")
    guided_from: Number | None = Field(
        default=None, description="The noise level from which guidance works; 0 is always.", json_schema_extra=PROGRAMS
    )
    variant: Planned[Text] = None  # digest of the fast network
    loras: Planned[tuple[Lora, ...]] = None  # those that the prompt names, and that of `preferences`
    preferences: Number | None = Field(
        default=None, description="How much of what was learned from your ratings, 0 to 1; usually all of it."
    )
    image: Picture | None = Field(
        default=None, description="A picture to start from; of a moving one, the first frame."
    )


class ImageRequest(WordedRequest):
    """Pictures from words, from a picture's semantic vector (`like`), from a weighted mix, or from pixels (`image`).

    Where only `image` says what to make, its own semantic vector does. A `strength` of 0 draws nothing: planning turns
    the request into an `EnlargeRequest`. Planning turns `variations` into `count`, `like` and `strength`. Of `best_of`
    candidates the one nearest to the request is kept, with the seed that draws it alone.
    """

    command: ClassVar[str | None] = "generate"
    task: Literal["image"] = "image"
    best_of: Whole | None = Field(
        default=None, description="Draw so many for each picture and keep the one nearest to the request."
    )
    ranker: Planned[Text] = None  # the semantic space, or the digest of the reward, that measures `best_of`
    reference_strength: Number | None = Field(
        default=None, description="How much is drawn from stored drawings, 0 to 1; 0 is the generator alone."
    )
    size: Size | None = Field(
        default=None,
        description="Pixels a side (usually 128; 512 is drawn and then enlarged), or WIDTHxHEIGHT where the model draws"
        " such.",
    )
    upscaler: Planned[Text] = None  # digest of the network that enlarges
    like: Picture | None = Field(default=None, description="A picture or clip whose meaning the new one shares.")
    strength: Number | None = Field(
        default=None,
        description="How much of the start picture is forgotten, 1 is all; usually 0.6, with mask or expand 1; 0"
        " enlarges it.",
    )
    mask: Picture | None = Field(
        default=None, description="Draw the start picture anew where this is white; black and transparent is kept."
    )
    control: Picture | None = Field(
        default=None,
        description="A picture that guides: it says where things are to a ControlNet, and what to be like to an"
        " IP-Adapter.",
    )
    controlnet: Text | None = Field(
        default=None, description="That network, by its name: a folder or file among the models on this disk."
    )
    control_strength: Number | None = Field(
        default=None, description="How strictly the network keeps to it; usually 1."
    )
    net: Planned[Text] = None  # digest of that network
    expand: Number | None = Field(
        default=None,
        description="Draw a border round the start picture: 0.25 makes it wider by a quarter on each side.",
    )
    variations: Whole | None = Field(
        default=None, description="So many variations of the start picture; words may be left out."
    )
    mix: tuple[Ingredient, ...] = Field(
        default=(), description="The parts of a blend, each words or a picture with a weight."
    )

    @model_validator(mode="after")
    def _something_to_make(self) -> Self:
        words = has_words(self.prompt)
        if not words and not (self.like or self.mix or self.image):
            raise Refused("request.empty_prompt")
        if len(self.mix) > MIX_LIMIT:
            raise Refused("request.mix_too_long", most=MIX_LIMIT, parts=len(self.mix))
        if self.mix and not (words or self.like or self.image) and all(part.weight < 0 for part in self.mix):
            raise Refused("request.mix_only_subtracts")
        return self

    @model_validator(mode="after")
    def _single_edit(self) -> Self:
        edits = [name for name in ("mask", "expand", "variations") if getattr(self, name) is not None]
        if (edits or self.strength is not None) and self.image is None:
            raise Refused("request.needs_image", name=(edits or ["strength"])[0])
        if bool(self.control) != bool(self.controlnet) or (self.control_strength is not None and not self.control):
            raise Refused("request.control")
        if len(edits) > 1:
            raise Refused("request.exclusive", first=edits[0], second=edits[1])
        if self.variations is not None and self.count != 1:
            raise Refused("request.variations_and_count")
        return self

    def candidates(self) -> list[list[int]]:
        """For each picture the seeds of all its candidates, its own first."""
        return [[(seed + k * CANDIDATE_STRIDE) % SEEDS for k in range(self.best_of or 1)] for seed in self.seeds()]

    def texts(self) -> dict[str, str]:
        return {**super().texts(), **{f"mix {number}": part.text for number, part in enumerate(self.mix, 1)}}

    def batch_key(self) -> Hashable:
        """Equal sampling settings and the same kind of start."""
        edit = (self.image is not None, self.strength, self.mask is not None or self.expand is not None)
        guidance = (self.guidance, self.guided_from or 0.0)
        sampling = (self.shape, self.steps, *guidance, self.scheduler, self.reference_strength)
        return (self.model, *sampling, *edit, *(self.loras or ()))


class ClipRequest(WordedRequest):
    """Moving pictures from words, from a first frame (`image`), or from a first and a `last` one.

    With `loop` the last frame leads back to the first, where what moves comes back. `extend` continues a clip that is
    given as `image`: the new clip holds its frames, then new ones that begin with its last. A model that moves a
    picture draws that as `style`, `negative`, `steps`, `guidance` and `scheduler` say, where none is given.
    """

    suffix: ClassVar[str] = ".webp"
    command: ClassVar[str | None] = "animate"
    task: Literal["clip"] = "clip"
    frames: Whole | None = Field(default=None, description="How many frames a clip has; one is a still picture.")
    fps: Whole | None = Field(default=None, description="Frames a second.")
    motion_strength: Number | None = Field(default=None, description="How much things move in a clip; 1 is usual.")
    loop: bool = Field(default=True, description="Whether a clip's end leads back to its beginning.")
    last: Picture | None = Field(default=None, description="The last frame of a clip; the first is the start picture.")
    extend: bool = Field(
        default=False, description="Continue the clip that is given as start picture: its frames, then new ones."
    )
    size: Size | None = Field(default=None, description="Pixels a side, or WIDTHxHEIGHT, where the model draws such.")
    video: Planned[Text] = None  # digest of the network that moves pictures

    @model_validator(mode="after")
    def _something_to_make(self) -> Self:
        if not has_words(self.prompt) and not self.image:
            raise Refused("request.empty_clip")
        if (self.last or self.extend) and not self.image:
            raise Refused("request.needs_image", name="last" if self.last else "extend")
        return self


class CaptionRequest(MediaRequest):
    """A description of a picture, or of the middle frame of a clip. The best of `candidates` is the caption; the
    others are facts beside it.
    """

    suffix: ClassVar[str] = ".txt"
    task: Literal["caption"] = "caption"
    image: Picture = Field(description="A picture; of a clip the middle frame is described.")
    language: Literal["en", "zh"] = Field(default="en", description="Of a caption: en or zh.")
    long: bool = Field(default=False, description="A long caption.")
    tags: bool = Field(default=False, description="Words with commas between them in place of a caption.")
    candidates: Whole | None = Field(
        default=None, description="How many captions are tried; the best one is the caption."
    )
    captioner: Planned[Text] = None  # digest of the network that describes pictures

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.count != 1:
            raise Refused("request.caption_count")
        if self.long and self.tags:
            raise Refused("request.long_tags")
        return self

    def batch_key(self) -> Hashable:
        """Equal but for the picture and the seed."""
        return (self.model_copy(update={"image": Picture(path=""), "seed": None}).model_dump_json(), self.shape)


class EnlargeRequest(MediaRequest):
    """A larger picture, and nothing else. A picture that is not square stands in the middle of a transparent square
    (`models.data.pixels.place`).
    """

    command: ClassVar[str | None] = None
    task: Literal["enlarge"] = "enlarge"
    image: Picture = Field(description="A picture to enlarge.")
    size: Whole = Field(description="Pixels a side.")
    upscaler: Planned[Text] = None  # digest of the network that enlarges


class EmbedRequest(Request):
    """Vectors in the semantic space: of texts first, then of pictures and clips, in the order given."""

    task: Literal["embed"] = "embed"
    texts: tuple[Text, ...] = Field(default=(), description="Words.")
    images: tuple[Picture, ...] = Field(default=(), description="Pictures or clips.")

    @model_validator(mode="after")
    def _something_to_embed(self) -> Self:
        if not self.texts and not self.images:
            raise Refused("request.empty_embed")
        if "" in self.texts:
            raise Refused("request.empty_text")
        return self


class SearchRequest(Request):
    """At most `k` artifacts, best first: those that say `words`, then those whose vectors are near."""

    task: Literal["search"] = "search"
    words: Text = Field(default="", description="In any language that the model knows.")
    like: Picture | None = Field(default=None, description="Also like this picture or clip.")
    without: Text = Field(default="", description="Words that are taken away.")
    unlike: Picture | None = Field(default=None, description="A picture or clip that is taken away.")
    k: Whole = Field(default=20, ge=1, le=1_000, description="At most so many.")
    meaning: bool = Field(default=True, description="Also what means it and does not say it.")

    @model_validator(mode="after")
    def _something_to_look_for(self) -> Self:
        if self.without and self.unlike:
            raise Refused("request.search_two_subtractions")
        if self.unlike and not (self.words or self.like):
            raise Refused("request.search_only_subtracts")
        return self


class ReadRequest(Request):
    """Readings of prompts: each word as it is drawn, and prompts to take instead of one that names nothing."""

    task: Literal["read"] = "read"
    texts: tuple[Text, ...] = Field(description="Prompts.")
    negative: Text = Field(default="", description="What should not be in the picture.")

    @model_validator(mode="after")
    def _something_to_read(self) -> Self:
        if not self.texts or not all(map(has_words, self.texts)):
            raise Refused("request.empty_prompt")
        return self


REQUESTS: dict[str, type[Request]] = {
    "image": ImageRequest,
    "clip": ClipRequest,
    "caption": CaptionRequest,
    "embed": EmbedRequest,
    "search": SearchRequest,
    "enlarge": EnlargeRequest,
    "read": ReadRequest,
}


def make_request(task: str = "image", **fields: Any) -> Any:
    """A request from its fields; Refused says the first error."""
    if task not in REQUESTS:
        raise Refused("request.unknown_task", task=task, hint=did_you_mean(task, REQUESTS), tasks=list(REQUESTS))
    try:
        return REQUESTS[task](**fields)
    except ValidationError as error:
        raise Refused(_message(error, REQUESTS[task])) from error


def stored_request(stored: str | Mapping[str, Any]) -> Any:
    """A request from its JSON or its fields, as they were stored; ValueError where it is none."""
    fields = json.loads(stored) if isinstance(stored, str) else stored
    if (task := fields.get("task", "image")) not in REQUESTS:
        raise ValueError(f"there is no task {task!r}")
    return REQUESTS[task].model_validate(fields)


def media_tasks() -> dict[str, type[MediaRequest]]:
    """The requests that make artifacts, by task."""
    return {task: kind for task, kind in REQUESTS.items() if issubclass(kind, MediaRequest)}


def fields_of(kind: type[BaseModel], programs: bool = False) -> dict[str, FieldInfo]:
    """The fields of a request that users set; with `programs` also those that only programs do."""
    fields = {name: field for name, field in kind.model_fields.items() if _set_by(field) != "planner"}
    return {
        name: field for name, field in fields.items() if programs or (name != "task" and _set_by(field) != "programs")
    }


def planned_fields() -> set[str]:
    """The names of the fields that planning fills in."""
    fields = (item for kind in REQUESTS.values() for item in kind.model_fields.items())
    return {name for name, field in fields if _set_by(field) == "planner"}


def _set_by(field: FieldInfo) -> Any:
    return field.json_schema_extra.get("set_by") if isinstance(field.json_schema_extra, dict) else None


def types_in(annotation: Any) -> list[Any]:
    """An annotation and all types in it."""
    return [annotation, *(part for argument in get_args(annotation) for part in types_in(argument))]


def plain_type(field: FieldInfo) -> Any:
    """The type in which a door takes a field: bool, int, float or str, int | str for a size; None where it may be."""
    types = types_in(field.annotation)
    plain: Any = next((kind for kind in (bool, int, float) if kind in types), str)
    plain = int | str if {int, str} <= set(types) else plain
    return plain | None if type(None) in types else plain


def limits(field: FieldInfo) -> dict[str, Any]:
    """The hard limits of a field, as `ge` and `le`."""
    return {key: getattr(limit, key) for limit in field.metadata for key in ("ge", "le") if hasattr(limit, key)}


def has_words(prompt: str) -> bool:
    """Whether a prompt has a printable character that is no space and no quotation mark around nothing."""
    return any(c.isprintable() and not c.isspace() for c in prompt.strip(QUOTES))


def _message(error: ValidationError, kind: type[BaseModel]) -> Message:
    """pydantic's first error as a message."""
    first = error.errors()[0]
    name, value = ".".join(str(part) for part in first["loc"]), first["input"]
    if first["type"] == "value_error":
        raised = first["ctx"]["error"]
        return raised.message if isinstance(raised, Refused) else Message(str(raised))
    if first["type"] == "extra_forbidden":
        return Message("request.unknown_setting", {"name": name, "hint": did_you_mean(name, kind.model_fields)})
    if first["type"] == "missing":
        return Message("request.missing", {"name": name})
    if first["type"] in ("greater_than_equal", "less_than_equal"):
        ends = limits(kind.model_fields[name])
        return Message("model.range", {"name": name, "least": ends["ge"], "most": ends["le"], "value": value})
    for code in ("int", "float", "string", "bool"):
        if first["type"].startswith(code):
            return Message(f"request.not_{code}", {"name": name, "value": repr(value)})
    return Message("request.invalid", {"name": name, "problem": first["msg"].lower()})


# --- Prompts as people write them on one line ------------------------------------------------------------------------

SUM = re.compile(r"(?:^|\s)\+(?=\s|$)|(?<!＋)＋(?!＋)")


def summands(prompt: str) -> list[str]:
    """The parts of a prompt `A + B`; the prompt alone where it has no sum, is quoted, or has too many; [] if empty."""
    parts = [part.strip() for part in SUM.split(prompt) if part.strip()]
    # With all brackets closed: `(cat + dog:1.3)` is one part, which weighs both.
    things = all(
        re.search(r"[^\W\d_]", part) and all(part.count(opening) == part.count(end) for opening, end in ("()", "[]"))
        for part in parts
    )
    if 1 < len(parts) <= MIX_LIMIT and things and not QUOTED.fullmatch(prompt):
        return parts
    return [prompt] if parts else []


def only(requests: Sequence[R]) -> R:
    """The only request of a prompt; Refused where each picture has its own words, drawn by its seed."""
    if len(requests) > 1:
        raise Refused("syntax.one_job_each")
    return requests[0]
