"""What can be asked for: one frozen model a task, the same behind every door.

`make_request(task, ...)` checks what is wrong in itself; `studio.planner` checks it against a model and fixes what was
left open. A new task is a class here, its row in `REQUESTS`, and, where the model decides something, one in
`studio.planner.RESOLVERS`.
"""

from collections.abc import Hashable
from typing import Annotated, Any, ClassVar, Literal, Self, Union

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator

from models.messages import Message, Refused, did_you_mean
from studio.fields import Frozen, Ingredient, Lora, Number, Picture, Size, Text, Whole
from studio.prompts import MIX_LIMIT

SEEDS = 2**32
# Between the seeds of one picture's candidates: odd, so that no two are the same, and far from its neighbours' seeds.
CANDIDATE_STRIDE = 0x9E3779B1
MAX_READ = 64  # prompts at once
MAX_HITS = 1_000  # of one search
DIGESTS = ("upscaler", "variant", "video", "captioner", "loras", "ranker", "net")  # what planning fills in


class Request(Frozen):
    """What all tasks share."""

    model: Text = "embedded"

    def pictures(self) -> list[Picture]:
        """The files that the request names."""
        found: list[Picture] = []

        def note(picture: Picture) -> Picture:
            found.append(picture)
            return picture

        self.with_pictures(note)
        return found

    def with_pictures(self, change: Any) -> Self:
        """The request with `change` applied to each `Picture` in it."""

        def changed(value: Any) -> Any:
            if isinstance(value, Picture):
                return change(value)
            if isinstance(value, Ingredient):
                return value.model_copy(update={"picture": change(value.picture)}) if value.picture else value
            return tuple(map(changed, value)) if isinstance(value, tuple) else value

        return self.model_copy(update={name: changed(value) for name, value in self})


class MediaRequest(Request):
    """What makes artifacts for the gallery: `count` of them, artifact i from the seed `seed + i`.

    So each can be made again alone, in the same `shape`: so many go through the model together, missing ones filled in,
    and the last bits of a picture depend on it.
    """

    suffix: ClassVar[str] = ".png"  # of the files that it makes
    task: str
    count: Whole = 1
    seed: Whole | None = None
    shape: Whole | None = None

    @model_validator(mode="after")
    def _seed_in_range(self) -> Self:
        if self.seed is not None and not 0 <= self.seed < SEEDS:
            raise Refused("request.seed", most=SEEDS - 1, seed=self.seed)
        return self

    def seeds(self) -> list[int]:
        """The seed of each artifact, of a resolved request."""
        if self.seed is None:
            raise ValueError("an unresolved request has no seeds; plan it first")
        return [(self.seed + i) % SEEDS for i in range(self.count)]

    def alone(self, index: int) -> Self:
        return self.model_copy(update={"seed": self.seeds()[index], "count": 1})

    def texts(self) -> dict[str, str]:
        """The texts in which wildcards are drawn, by name."""
        return {}

    def batch_key(self) -> Hashable:
        """Requests of equal keys may share a batch of the model. Unless a task says otherwise, none do."""
        return (self.task, self.model, self.model_dump_json())

    @property
    def title(self) -> str:
        """What lists show of it: its prompt, "" where it has none."""
        return str(getattr(self, "prompt", ""))


class WordedRequest(MediaRequest):
    """What is drawn from words, or from a picture (`image`).

    Planning fills in `variant`, the digest of the network that draws where it is another than the usual,
    `guided_from`, the noise level from which guidance works (0: always), and the `loras` that the prompt names.
    """

    prompt: Text = ""
    negative: Text = ""
    style: Text = ""
    steps: Whole | None = None
    guidance: Number | None = None
    scheduler: Text = ""
    guided_from: Number | None = None
    variant: Text | None = None
    loras: tuple[Lora, ...] | None = None
    image: Picture | None = None

    def texts(self) -> dict[str, str]:
        return {"prompt": self.prompt, "negative": self.negative}


class ImageRequest(WordedRequest):
    """Pictures from words, from a picture's semantic vector (`like`), from a weighted mix, or from pixels (`image`).

    `image` is a picture to start from; `strength` says how much of it is forgotten, 1 all of it. Where nothing else
    says what to make, its own semantic vector does. With `mask` only what is white there is drawn anew; with `expand`
    the picture is made smaller and a border of that share of its longer side is drawn round it on each side.
    `variations` asks for so many near relatives; planning turns it into `count`, `like` and `strength`.

    `control` is a picture that guides: the network `controlnet` (its name on this disk) reads from it where things are
    (a ControlNet) or what they are like (an IP-Adapter); `control_strength` says how strictly it is kept to. Planning
    fills in `net`, the digest of that network.

    `size` is pixels a side, or "WIDTHxHEIGHT" where the model draws such, None the model's own; a larger picture of a
    model that enlarges is drawn in its own. There a `strength` of 0 forgets nothing: planning turns the request into an
    `EnlargeRequest`. Planning fills in `upscaler`, the digest of the network that enlarges.

    `reference_strength` is how much a picture is drawn from stored drawings; at 0 the generator draws alone.

    `best_of` is how many candidates are drawn for each picture: the one nearest to what was asked for is kept, with the
    seed that draws it alone. None stands for "as the model likes it" until the request is planned, which fills in
    `ranker`, the semantic space in which that is measured where it is not the model's own.
    """

    task: Literal["image"] = "image"
    best_of: Whole | None = None
    ranker: Text | None = None
    reference_strength: Number | None = None
    size: Size | None = None
    upscaler: Text | None = None
    like: Picture | None = None
    strength: Number | None = None
    mask: Picture | None = None
    control: Picture | None = None
    controlnet: Text | None = None
    control_strength: Number | None = None
    net: Text | None = None
    expand: Number | None = None
    variations: Whole | None = None
    mix: tuple[Ingredient, ...] = ()

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
    def _one_edit(self) -> Self:
        edits = {"mask": self.mask, "expand": self.expand, "variations": self.variations}
        given = [name for name, value in edits.items() if value is not None]
        if (given or self.strength is not None) and self.image is None:
            raise Refused("request.needs_image", name=(given or ["strength"])[0])
        if bool(self.control) != bool(self.controlnet) or (self.control_strength is not None and not self.control):
            raise Refused("request.control")
        if len(given) > 1:
            raise Refused("request.exclusive", first=given[0], second=given[1])
        if self.variations is not None and self.count != 1:
            raise Refused("request.variations_and_count")
        return self

    def candidates(self) -> list[list[int]]:
        """For each picture the seeds of all that is drawn for it, its own first."""
        return [[(seed + k * CANDIDATE_STRIDE) % SEEDS for k in range(self.best_of or 1)] for seed in self.seeds()]

    def texts(self) -> dict[str, str]:
        return {**super().texts(), **{f"mix {number}": part.text for number, part in enumerate(self.mix, 1)}}

    def batch_key(self) -> Hashable:
        """Equal sampling settings and the same kind of start."""
        edit = (self.image is not None, self.strength, self.mask is not None or self.expand is not None)
        guidance = (self.guidance, self.guided_from or 0.0)
        return (self.model, self.shape, self.steps, *guidance, self.scheduler, self.reference_strength, *edit)


class ClipRequest(WordedRequest):
    """Moving pictures from words, from a first frame (`image`), or from a first and a `last` one.

    `frames` at `fps` frames a second, one of them is a still picture; with `loop` the last frame leads back to the
    first, where what moves comes back. `motion_strength` says how much things move, 1 is usual. `extend` continues a
    clip that is given as `image`: its frames, then new ones that begin with its last and, with `loop`, lead back to its
    first. A model that moves a picture draws it as `style`, `negative`, `steps`, `guidance` and `scheduler` say, where
    none is given. `size` as in
    `ImageRequest`. Planning fills in `video`, the digest of the network that moves it.
    """

    suffix: ClassVar[str] = ".webp"
    task: Literal["clip"] = "clip"
    frames: Whole | None = None
    fps: Whole | None = None
    motion_strength: Number | None = None
    loop: bool = True
    last: Picture | None = None
    extend: bool = False
    size: Size | None = None
    video: Text | None = None

    @model_validator(mode="after")
    def _something_to_make(self) -> Self:
        if not has_words(self.prompt) and not self.image:
            raise Refused("request.empty_clip")
        if (self.last or self.extend) and not self.image:
            raise Refused("request.needs_image", name="last" if self.last else "extend")
        return self


class CaptionRequest(MediaRequest):
    """What a picture, or the middle frame of a clip, shows, in words. The best of `candidates` is the caption; the
    others are facts beside it. Planning fills in `captioner`, the digest of the network that describes it.
    """

    suffix: ClassVar[str] = ".txt"
    task: Literal["caption"] = "caption"
    image: Picture
    language: Literal["en", "zh"] = "en"
    long: bool = False
    tags: bool = False
    candidates: Whole | None = None
    captioner: Text | None = None

    @model_validator(mode="after")
    def _one_caption(self) -> Self:
        if self.count != 1:
            raise Refused("request.caption_count")
        if self.long and self.tags:
            raise Refused("request.long_tags")
        return self

    def batch_key(self) -> Hashable:
        """Equal but for the picture and the seed."""
        return (self.model_copy(update={"image": Picture(path=""), "seed": None}).model_dump_json(), self.shape)


class EnlargeRequest(MediaRequest):
    """A picture made larger, `size` pixels a side, and nothing else; `upscaler` as in `ImageRequest`.

    What is not square stands in the middle of a transparent square, as `models.data.pixels.place` says.
    """

    task: Literal["enlarge"] = "enlarge"
    image: Picture
    size: Whole
    upscaler: Text | None = None


class EmbedRequest(Request):
    """Vectors in the semantic space: of texts first, then of pictures and clips, in the order given."""

    task: Literal["embed"] = "embed"
    texts: tuple[Text, ...] = ()
    images: tuple[Picture, ...] = ()

    @model_validator(mode="after")
    def _something_to_embed(self) -> Self:
        if not self.texts and not self.images:
            raise Refused("request.empty_embed")
        if "" in self.texts:
            raise Refused("request.empty_text")
        return self


class SearchRequest(Request):
    """At most `k` artifacts, best first: those that say `words`, then those whose vectors are near.

    `like` and `unlike` are pictures or clips. What `without` says, or `unlike` shows, is subtracted. Without `meaning`
    only words are matched.
    """

    task: Literal["search"] = "search"
    words: Text = ""
    like: Picture | None = None
    without: Text = ""
    unlike: Picture | None = None
    k: Whole = 20
    meaning: bool = True

    @model_validator(mode="after")
    def _something_to_look_for(self) -> Self:
        if self.without and self.unlike:
            raise Refused("request.search_two_subtractions")
        if self.unlike and not (self.words or self.like):
            raise Refused("request.search_only_subtracts")
        if not 1 <= self.k <= MAX_HITS:
            raise Refused("request.search_k", most=MAX_HITS, k=self.k)
        return self


class ReadRequest(Request):
    """What becomes of the words of each of some prompts, and what can be drawn instead of one that names nothing."""

    task: Literal["read"] = "read"
    texts: tuple[Text, ...]
    negative: Text = ""

    @model_validator(mode="after")
    def _something_to_read(self) -> Self:
        if not self.texts or not all(map(has_words, self.texts)):
            raise Refused("request.empty_prompt")
        if len(self.texts) > MAX_READ:
            raise Refused("request.read_count", most=MAX_READ, count=len(self.texts))
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
AnyRequest: Any = Annotated[Union[tuple(REQUESTS.values())], Field(discriminator="task")]  # noqa: UP007
ANY_REQUEST: TypeAdapter[Any] = TypeAdapter(AnyRequest)


def make_request(task: str = "image", **fields: Any) -> Any:
    """A request from what a door was given; Refused says the first thing that is wrong with it."""
    if task not in REQUESTS:
        raise Refused("request.unknown_task", task=task, hint=did_you_mean(task, REQUESTS), tasks=list(REQUESTS))
    kind = REQUESTS[task]
    try:
        return kind(**fields)
    except ValidationError as error:
        raise Refused(_message(error, kind)) from error


def has_words(prompt: str) -> bool:
    """Whether a prompt has anything that can be read."""
    return any(c.isprintable() and not c.isspace() for c in prompt)


def _message(error: ValidationError, kind: type[BaseModel]) -> Message:
    """pydantic's first complaint."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "value_error":
        raised = first["ctx"]["error"]
        return raised.message if isinstance(raised, Refused) else Message(str(raised))
    if first["type"] == "extra_forbidden":
        return Message("request.unknown_setting", {"name": name, "hint": did_you_mean(name, kind.model_fields)})
    if first["type"] == "missing":
        return Message("request.missing", {"name": name})
    for code in ("int", "float", "string", "bool"):
        if first["type"].startswith(code):
            return Message(f"request.not_{code}", {"name": name, "value": repr(first["input"])})
    return Message("request.invalid", {"name": name, "problem": first["msg"].lower()})
