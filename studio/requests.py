"""What can be asked for: one frozen model a task, the same behind every door, and its identity.

A request goes three ways: `image_request(...)` checks what is wrong in itself, `resolve` checks it against a model's
capabilities and fixes all that was left open (seed, steps, words that the seed draws, what the pictures given hold),
`job_id` names the work.
"""

import hashlib
import json
import secrets
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ValidationError, model_validator

from models.compose.masks import fit_mask, levels
from models.data.pixels import load_picture, read_picture
from models.messages import Refused, did_you_mean
from models.weighting import plain
from studio import settings
from studio.capabilities import Capabilities
from studio.fields import Frozen, Ingredient, Number, Picture, Text, Whole
from studio.prompts import MIX_LIMIT
from studio.syntax import draw, is_dynamic
from studio.wildcards import Wildcards

SEEDS = 2**32
# Between the seeds of one picture's candidates: odd, so that no two are the same, and far from its neighbours' seeds.
APART = 0x9E3779B1
HITS = 1_000  # pictures of one search


class ImageRequest(Frozen):
    """Pictures from words, from a picture's sense (`like`), from a weighted mix of both, or from a picture's pixels.

    `image` is a picture to start from; `strength` says how much of it is forgotten, 1 all of it. Where nothing else
    says what to make, it is of the picture's own sense. With `mask` only what is white there is drawn anew; with
    `expand` the picture is made smaller and a border of that share of its longer side is drawn round it on each side.
    `variations` is so many near relatives: its own sense and, under that much strength, its own pixels, with as many
    seeds; `resolve` turns it into `count`, `like` and `strength`.

    `size` is pixels a side, None the model's own; a larger picture is drawn in that one and enlarged. A `strength` of 0
    forgets nothing: `image` is not drawn again but only enlarged to `size` (`enlarge` asks for that). `upscaler` is the
    digest of the network that does it, `variant` that of the one that draws where it is another than the usual;
    `resolve` fills them in. So it does with `guided_from`, the noise level from which guidance works (0: always):
    nobody is asked for it, but pictures of another time had another.

    `best_of` is how many candidates are drawn for each picture: the one nearest to what was asked for is kept, with the
    seed that draws it alone.

    None stands for "as the model likes it" until `resolve` has been at it. Picture i of `count` has the seed
    `seed + i`, so each of them can be made again alone, in the same `shape`: so many pictures go through the model
    together, missing ones filled in, and the last bits of a picture depend on it.
    """

    task: Literal["image"] = "image"
    prompt: Text = ""
    negative: Text = ""
    style: Text = ""
    count: Whole = 1
    seed: Whole | None = None
    steps: Whole | None = None
    guidance: Number | None = None
    guided_from: Number | None = None
    scheduler: Text = ""
    best_of: Whole | None = None
    shape: Whole | None = None
    size: Whole | None = None
    upscaler: Text | None = None
    variant: Text | None = None
    like: Picture | None = None
    image: Picture | None = None
    strength: Number | None = None
    mask: Picture | None = None
    expand: Number | None = None
    variations: Whole | None = None
    mix: tuple[Ingredient, ...] = ()
    model: Text = "embedded"

    @model_validator(mode="after")
    def _something_to_make(self) -> Self:
        said = any(c.isprintable() and not c.isspace() for c in self.prompt)
        if not said and not (self.like or self.mix or self.image):
            raise ValueError("the prompt is empty; say what to make, for example: a smiling cat.")
        if self.seed is not None and not 0 <= self.seed < SEEDS:
            raise ValueError(f"the seed must be between 0 and {SEEDS - 1}, not {self.seed}.")
        if len(self.mix) > MIX_LIMIT:
            raise ValueError(f"a mix has at most {MIX_LIMIT} parts, not {len(self.mix)}.")
        if self.mix and not (said or self.like or self.image) and all(part.weight < 0 for part in self.mix):
            raise ValueError("the mix only takes away; say what from, in words or with a picture.")
        return self

    @model_validator(mode="after")
    def _one_edit(self) -> Self:
        edits = {"mask": self.mask, "expand": self.expand, "variations": self.variations}
        given = [name for name, value in edits.items() if value is not None]
        if (given or self.strength is not None) and self.image is None:
            raise ValueError(f"{(given or ['strength'])[0]} is about a picture to start from; give it as image.")
        if len(given) > 1:
            raise ValueError(f"{given[0]} and {given[1]} exclude each other; give one of them.")
        if self.variations is not None and self.count != 1:
            raise ValueError("variations says how many pictures to make; leave count out.")
        return self

    @property
    def drawn(self) -> bool:
        """Whether anything is drawn: not where a picture is only enlarged."""
        return self.strength != 0

    def seeds(self) -> list[int]:
        """The seed of each picture, of a resolved request."""
        if self.seed is None:
            raise ValueError("an unresolved request has no seeds; call resolve first")
        return [(self.seed + i) % SEEDS for i in range(self.count)]

    def candidates(self) -> list[list[int]]:
        """For each picture the seeds of all that is drawn for it, its own first."""
        return [[(seed + k * APART) % SEEDS for k in range(self.best_of or 1)] for seed in self.seeds()]


class EmbedRequest(Frozen):
    """Places in the semantic space: of words first, then of pictures, in the order given."""

    task: Literal["embed"] = "embed"
    texts: tuple[Text, ...] = ()
    pictures: tuple[Picture, ...] = ()
    model: Text = "embedded"

    @model_validator(mode="after")
    def _something_to_place(self) -> Self:
        if not self.texts and not self.pictures:
            raise ValueError("nothing to embed; give --text or --image.")
        if "" in self.texts:
            raise ValueError("the text is empty; give some words.")
        return self


class SearchRequest(Frozen):
    """At most `k` pictures, best first: those that say `words`, then those that mean them and what `like` shows.

    What `without` says, or the picture `unlike` shows, is taken away. Without `meaning` words alone are looked for.
    """

    task: Literal["search"] = "search"
    words: Text = ""
    like: Picture | None = None
    without: Text = ""
    unlike: Picture | None = None
    k: Whole = 20
    meaning: bool = True
    model: Text = "embedded"

    @model_validator(mode="after")
    def _something_to_look_for(self) -> Self:
        if self.without and self.unlike:
            raise ValueError("words or a picture can be taken away, not both; leave one of them out.")
        if self.unlike and not (self.words or self.like):
            raise ValueError("the search only takes away; say what from, in words or with a picture.")
        if not 1 <= self.k <= HITS:
            raise ValueError(f"k must be between 1 and {HITS}, not {self.k}.")
        return self


Request = ImageRequest | EmbedRequest  # what a model answers; a search asks it where things lie


def image_request(**fields: Any) -> ImageRequest:
    """An ImageRequest from what a door was given; Refused says the first thing that is wrong with it."""
    try:
        return ImageRequest(**fields)
    except ValidationError as error:
        raise Refused(_sentence(error, ImageRequest)) from error


def enlarge(path: str, size: int, model: str = "embedded") -> ImageRequest:
    """A request that makes a picture of any size larger and nothing else.

    What is not square stands in the middle of a transparent square, as `models.data.pixels.place` says.
    """
    return image_request(image={"path": path}, strength=0.0, size=size, model=model)


def embed_request(**fields: Any) -> EmbedRequest:
    """An EmbedRequest from what a door was given; Refused says the first thing that is wrong with it."""
    try:
        return EmbedRequest(**fields)
    except ValidationError as error:
        raise Refused(_sentence(error, EmbedRequest)) from error


def search_request(**fields: Any) -> SearchRequest:
    """A SearchRequest from what a door was given; Refused says the first thing that is wrong with it."""
    try:
        return SearchRequest(**fields)
    except ValidationError as error:
        raise Refused(_sentence(error, SearchRequest)) from error


def apart(request: ImageRequest, can: Capabilities) -> list[ImageRequest]:
    """One request a picture where the seed draws the words, so that each has words of its own; else the request.

    Refused where they are more than the model makes at once: nothing is made of them.
    """
    if request.count <= 1 or not any(map(is_dynamic, _texts(request).values())):
        return [request]
    can.count.within("count", request.count)
    seed = secrets.randbelow(SEEDS) if request.seed is None else request.seed
    return [request.model_copy(update={"count": 1, "seed": (seed + i) % SEEDS}) for i in range(request.count)]


def resolve(request: ImageRequest, can: Capabilities, wildcards: Wildcards | None = None) -> ImageRequest:
    """The request with everything fixed, so that it makes the same pictures wherever it runs.

    `wildcards` None takes the lists in the studio's own folder. Raises Refused where the model can't do it, a picture
    given can't be read, or the words can't be drawn or weighted.
    """
    seed = secrets.randbelow(SEEDS) if request.seed is None else request.seed
    request = _drawn(request, seed, wildcards or Wildcards(settings.wildcards()))
    if (request.like or request.mix) and not can.pictures:
        raise Refused(f"{can.title} makes pictures from words only; leave --like and --mix out.")
    best_of = int(can.best_of.within("best_of", request.best_of))
    request = request.model_copy(update={"best_of": best_of if best_of > 1 else None, **_size(request, can)})
    request = request.model_copy(update=_edit(request, can))
    count = int(can.count.within("count", request.count))
    if request.shape is not None and request.shape not in can.shapes:
        raise Refused(f"shape must be one of {', '.join(map(str, can.shapes))}, not {request.shape}.")
    return request.model_copy(
        update={
            **_sampled(request, can),
            "style": can.style(request.style) if request.style else "",
            "count": count,
            "shape": request.shape or can.shape(count * best_of),
            "seed": seed if request.drawn else request.seed,
            "like": request.like and _known(request.like),
            "mix": tuple(_known_part(part) for part in request.mix),
        }
    )


def _sampled(request: ImageRequest, can: Capabilities) -> dict[str, Any]:
    """The scheduler and how it draws; one that draws in one way only takes no other."""
    scheduler = can.scheduler(request.scheduler) if request.scheduler else can.schedulers[0]
    fixed = can.fixed.get(scheduler)
    if fixed is None:
        names = ("steps", "guidance", "guided_from")
        said = {name: getattr(can, name).within(name, getattr(request, name)) for name in names}
        return {"scheduler": scheduler, **said, "steps": int(said["steps"]), "variant": None}
    for name in ("steps", "guidance"):
        if getattr(request, name) not in (None, own := getattr(fixed, name)):
            raise Refused(f"{scheduler} draws with {name} {own:g} only; leave {name} out, or draw without {scheduler}.")
    if request.negative:
        raise Refused(f"{scheduler} hears no negative prompt; leave it out, or draw without {scheduler}.")
    strength = request.strength and fixed.strength(request.strength)
    return {"scheduler": scheduler, **dict(fixed), "guided_from": None, "strength": strength}


def _size(request: ImageRequest, can: Capabilities) -> dict[str, Any]:
    """Its size, None where it is the model's own: saying so makes no other work of it."""
    if request.size is None or request.size == can.size:
        return {"size": None, "upscaler": None}
    if request.size not in can.sizes:
        listed, why = " or ".join(map(str, can.sizes)), f"; {can.beyond}" if can.beyond else ""
        raise Refused(f"size must be {listed}, not {request.size}{why}.")
    return {"size": request.size, "upscaler": can.upscaler or None}


def _only_enlarged(request: ImageRequest, can: Capabilities) -> dict[str, Any]:
    """What is fixed in a request that draws nothing: all that does not count, so that the same work has one name."""
    blank = ImageRequest(image=request.image)
    said = ("count", "negative", "style", "like", "mix", "mask", "expand", "variations", "best_of")
    for name in said:
        if getattr(request, name) != getattr(blank, name):
            raise Refused(f"a strength of 0 only enlarges the picture; leave {name} out, or give more strength.")
    plainest = {"steps": int(can.steps.least), "guidance": can.guidance.least, "guided_from": 0.0, "scheduler": ""}
    return {**plainest, "seed": 0, "shape": can.shape(1), "image": request.image and _known(request.image)}


def _edit(request: ImageRequest, can: Capabilities) -> dict[str, Any]:
    """What is fixed in a request that starts from a picture. Variations become what they are made of."""
    if request.image is None:
        return {}
    if request.size is not None and not request.drawn:
        return _only_enlarged(request, can)
    larger = [str(size) for size in can.sizes if size > can.size]
    if not request.drawn and larger:
        raise Refused(f"a strength of 0 only enlarges the picture; give a size of {' or '.join(larger)}.")
    if not can.edits:
        raise Refused(f"{can.title} can't start from a picture; leave --image out.")
    image, mask = _known(request.image), _mask(request.mask, request.image)
    partly = mask is not None or request.expand is not None
    fixed: dict[str, Any] = {"image": image, "mask": mask, "variations": None}
    if request.expand is not None:
        fixed["expand"] = can.expand.within("expand", request.expand)
    usual = can.strength.most if partly else can.strength.usual
    if request.variations is not None:
        fixed["count"], usual = int(can.count.within("variations", request.variations)), can.variation
        fixed["like"] = request.like or (None if request.mix else image)
    fixed["strength"] = can.strength.model_copy(update={"usual": usual}).within("strength", request.strength)
    return fixed


def _mask(mask: Picture | None, image: Picture) -> Picture | None:
    """The mask, read; None where it is white all over, for then nothing is kept."""
    if mask is None:
        return None
    known = _known(mask)
    grey, size = levels(read_picture(mask.path)), read_picture(image.path).size
    if grey.size != size:
        theirs, ours = (f"{width} x {height}" for width, height in (grey.size, size))
        raise Refused(f"the mask {mask.path} has {theirs} pixels and the picture {ours}; make them the same size.")
    if not fit_mask(grey).any():
        raise Refused(f"the mask {mask.path} is black all over; paint white what is to be drawn anew.")
    return None if grey.getextrema() == (255, 255) else known


def resolve_embed(request: EmbedRequest) -> EmbedRequest:
    """The request with its pictures read once and named by content; Refused where one can't be read."""
    known = [(picture, _known(picture)) for picture in request.pictures]
    pictures = tuple(Picture(path=given.path, sha256=read.sha256) for given, read in known)
    return request.model_copy(update={"pictures": pictures})


def job_id(request: ImageRequest, digest: str) -> str:
    """The name of the work: sha256 (64 hex digits) of the resolved request and the model's digest.

    Where a picture lies does not count, what it holds does; the model is what its weights are, not what it is called.
    What is None does not count, so that a new setting leaves the names of old work alone.
    """
    paths: dict[str, Any] = {name: {"path"} for name in ("like", "image", "mask")}
    paths["mix"] = {"__all__": {"picture": {"path"}}}
    always = {} if request.guided_from else {"guided_from": True}  # as when there was no such setting
    content = request.model_dump(exclude={"model": True, **always, **paths}, exclude_none=True)
    canonical = json.dumps({**content, "digest": digest}, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def company(request: ImageRequest) -> Hashable:
    """What pictures must have in common to be drawn in one batch: resolved requests of equal keys can share theirs."""
    edit = (request.image is not None, request.strength, request.mask is not None or request.expand is not None)
    guidance = (request.guidance, request.guided_from or 0.0)
    return (request.model, request.shape, request.steps, *guidance, request.scheduler, *edit)


def _texts(request: ImageRequest) -> dict[str, str]:
    mixed = {f"mix {number}": part.text for number, part in enumerate(request.mix, 1)}
    return {"prompt": request.prompt, "negative": request.negative, **mixed}


def _drawn(request: ImageRequest, seed: int, wildcards: Wildcards) -> ImageRequest:
    """The request with its words drawn (`studio.syntax`), each text by itself, and their weights looked through."""
    said = {name: draw(text, f"{seed} {name}", wildcards, f"the {name}") for name, text in _texts(request).items()}
    if said != _texts(request):
        fields = {name: getattr(request, name) for name in ImageRequest.model_fields}
        mix = [part.model_copy(update={"text": said[f"mix {n}"]}) for n, part in enumerate(request.mix, 1)]
        request = image_request(**{**fields, "prompt": said["prompt"], "negative": said["negative"], "mix": tuple(mix)})
    try:
        words = {name: plain(text) for name, text in said.items()}
    except ValueError as error:
        raise Refused(f"{error}.") from error
    if request.prompt and not words["prompt"].strip():  # marks and no words: is there anything else to make?
        image_request(**{**{name: getattr(request, name) for name in ImageRequest.model_fields}, "prompt": ""})
    return request


def _known(picture: Picture) -> Picture:
    """The picture with its sha256, once it has been read through: a bad file is refused before any work is done.

    Its path is the whole one, for who does the work may stand in another folder.
    """
    try:
        load_picture(picture.path)
        return Picture(
            path=str(Path(picture.path).absolute()), sha256=hashlib.sha256(Path(picture.path).read_bytes()).hexdigest()
        )
    except (ValueError, OSError) as error:
        raise Refused(f"{error}.") from error


def _known_part(part: Ingredient) -> Ingredient:
    return part.model_copy(update={"picture": _known(part.picture)}) if part.picture else part


def _sentence(error: ValidationError, kind: type[BaseModel]) -> str:
    """pydantic's first complaint as one sentence."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if first["type"] == "extra_forbidden":
        return f"there is no setting {name!r}{did_you_mean(name, kind.model_fields)}."
    wanted = {"int": "a whole number", "float": "a number", "string": "text"}.get(first["type"].split("_")[0])
    if wanted:
        return f"{name} must be {wanted}, not {first['input']!r}."
    return f"{name}: {first['msg'].lower()}."
