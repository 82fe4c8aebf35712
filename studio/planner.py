"""From requests to jobs: the one place where defaults, capabilities, wildcards and identity are decided.

Every door calls `plan`. It splits requests whose words the seed draws, gives those that belong together one batch
shape, resolves each against the model's capabilities, and names the work. `RESOLVERS` has a row for each task of which
the model decides something.
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.compose.masks import fit_mask, levels
from models.messages import Message, Refused
from models.prompts.weighting import plain
from studio import loras, settings
from studio.backends.base import Backend, no_task
from studio.capabilities import Capabilities
from studio.clips import ClipFile, picture_of
from studio.files import sha256
from studio.requests import (
    SEEDS,
    CaptionRequest,
    ClipRequest,
    EnlargeRequest,
    ImageRequest,
    MediaRequest,
    Picture,
    Request,
    make_request,
    sides,
    types_in,
)
from studio.syntax import Wildcards, draw, is_dynamic

CONTINUED = 300  # frames of a clip that is to be continued


@dataclass(frozen=True)
class Job:
    """A resolved request, its identity, and the digest of the model that does it."""

    request: Any
    id: str
    digest: str

    @property
    def batch_key(self) -> Hashable:
        """Jobs of equal keys may share batches."""
        return self.request.batch_key()


def plan(
    requests: MediaRequest | Sequence[MediaRequest], backend: Backend, wildcards: Wildcards | None = None
) -> list[Job]:
    """Jobs for requests of one model, in their order; one an artifact where the seed draws the words.

    Several jobs get one batch shape, so that they are drawn together; a request that names a shape keeps it.
    `wildcards` None takes the lists in the studio's own folder. Refused where the model can't do it, a file can't be
    read, or the words can't be drawn or weighted.
    """
    return plan_with(requests, backend.capabilities(), backend.digest(), wildcards)


def plan_with(
    requests: MediaRequest | Sequence[MediaRequest], can: Capabilities, digest: str, wildcards: Wildcards | None = None
) -> list[Job]:
    """As `plan`, for callers that plan many requests of one model."""
    lists = wildcards or Wildcards(settings.wildcards())
    several = [requests] if isinstance(requests, MediaRequest) else requests
    single = [part for request in several for part in split(request, can)]
    if len(single) > 1:
        pictures = (
            (getattr(one, "variations", None) or one.count) * (getattr(one, "best_of", None) or 1) for one in single
        )
        shape = can.shape(sum(pictures))
        single = [part if part.shape else part.model_copy(update={"shape": shape}) for part in single]
    resolved = [resolve(part, can, lists) for part in single]
    return [Job(request, job_id(request, digest), digest) for request in resolved]


def split(request: MediaRequest, can: Capabilities) -> list[MediaRequest]:
    """A request for each artifact where the seed draws the words, so that each has its own; else the request."""
    if request.count <= 1 or not any(map(is_dynamic, request.texts().values())):
        return [request]
    can.count.within("count", request.count)
    seed = secrets.randbelow(SEEDS) if request.seed is None else request.seed
    return [request.model_copy(update={"count": 1, "seed": (seed + i) % SEEDS}) for i in range(request.count)]


def resolve(request: Request, can: Capabilities, wildcards: Wildcards | None = None) -> Any:
    """The request with all fields fixed: it makes the same artifacts on any machine. Refused as for `plan`."""
    task = getattr(request, "task", "")
    if (needed := NEEDS.get(task, task)) not in can.tasks:
        raise no_task(can, task, needed)
    request = request.with_pictures(known)
    if isinstance(request, MediaRequest) and (texts := request.texts()):
        request = request.model_copy(
            update={"seed": secrets.randbelow(SEEDS) if request.seed is None else request.seed}
        )
        request = _drawn_words(request, texts, wildcards or Wildcards(settings.wildcards()))
    resolver = RESOLVERS.get(task)
    return resolver(request, can) if resolver else request


def job_id(resolved: Request, digest: str, interactive: bool = False) -> str:
    """The name of the work: sha256 (64 hex digits) of the resolved request and the model's digest.

    Files count by content, not by path; the model counts by its weights, not by its name. Fields that are None don't
    count, so that a new setting leaves the names of old work alone. A request for an answer (`interactive`) and not for
    the gallery has another name.
    """
    content = _without_paths(resolved.model_dump(exclude={"model"}, exclude_none=True))
    about = {"digest": digest, **({"interactive": True} if interactive else {})}
    canonical = json.dumps({**content, **about}, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


# --- Image ------------------------------------------------------------------------------------------------------------


def _image(request: ImageRequest, can: Capabilities) -> ImageRequest | EnlargeRequest:
    _check_fields(request, can)
    if (request.like or request.mix) and not can.pictures:
        raise Refused("model.words_only", model=can.title)
    best_of = _within(request, can, "best_of")["best_of"]
    drawn_from = _within(request, can, "reference_strength")["reference_strength"]
    ranker = (settings.ranker() if can.rewards and best_of > 1 else can.ranker) or None
    several = {"best_of": best_of, "ranker": ranker} if best_of > 1 else {"best_of": None, "ranker": None}
    several["reference_strength"] = None if drawn_from == can.reference_strength.usual else drawn_from
    size = None if request.size == can.size else request.size  # named or not, the model's own size gives the same job
    if size is not None:
        check_size(size, can)
    several |= {"size": size, "upscaler": (size and can.upscaler) or None}
    request = request.model_copy(update=several)
    if request.strength == 0 and "enlarge" in can.tasks:
        return _enlarge(_only_enlarged(request, can), can)
    request = request.model_copy(update=_edit(request, can))
    fixed = {"style": can.style(request.style), **_sampling(request, can), **_within(request, can, "count")}
    fixed |= _loras(request, can)
    fixed |= _control(request, can)
    if request.shape is not None and request.shape not in can.shapes:
        raise Refused("model.shape", shapes=list(can.shapes), shape=request.shape)
    return request.model_copy(update={**fixed, "shape": request.shape or can.shape(fixed["count"] * best_of)})


def _sampling(request: ImageRequest | ClipRequest, can: Capabilities) -> dict[str, Any]:
    """The scheduler and its settings; one that draws with fixed settings takes no others."""
    scheduler = can.scheduler(request.scheduler)
    fixed = can.fixed.get(scheduler)
    if fixed is None:
        chosen = _within(request, can, "steps", "guidance", *(["guided_from"] if can.guided_from else []))
        return {"scheduler": scheduler, "guided_from": None, **chosen, "variant": None}
    for name in ("steps", "guidance"):
        if getattr(request, name) not in (None, value := getattr(fixed, name)):
            raise Refused("model.fixed_setting", scheduler=scheduler, name=name, value=f"{value:g}")
    if request.negative:
        raise Refused("model.no_negative", scheduler=scheduler)
    strength = getattr(request, "strength", None)
    again = {"strength": fixed.strength(strength)} if strength else {}
    return {"scheduler": scheduler, **dict(fixed), "guided_from": None, **again}


def _check_fields(request: MediaRequest, can: Capabilities) -> None:
    """Refused where a field is set that the model does not use, or one is missing that it needs."""
    fields = type(request).model_fields
    for name in can.lacks:
        if name in fields and getattr(request, name) != fields[name].default:
            raise Refused("model.lacks", model=can.title, name=name)
    for name in can.needs:
        if name in fields and not getattr(request, name):
            raise Refused("model.needs", model=can.title, name=name)


def _loras(request: ImageRequest | ClipRequest, can: Capabilities) -> dict[str, Any]:
    """What the prompt names to draw with, and what was learned from ratings, with what their files hold."""
    if can.loras is False and loras.named(request.prompt):
        raise Refused("model.lacks", model=can.title, name="lora")
    named = (can.loras and loras.resolved(request.prompt)) or ()
    weight = _within(request, can, "preferences")["preferences"]
    if request.preferences and not can.base:
        raise Refused("model.lacks", model=can.title, name="preferences")
    is_drawn = bool(can.base and weight) and (request.task == "image" or request.image is None)
    learned = loras.preferences(weight, can.base, needed=bool(request.preferences)) if is_drawn else None
    return {"preferences": weight if learned else None, "loras": (*named, *filter(None, [learned])) or None}


def _control(request: ImageRequest, can: Capabilities) -> dict[str, Any]:
    """The strength of the network that reads a picture, and its digest."""
    if not request.control:
        return {}
    if not can.controls:
        raise Refused("model.lacks", model=can.title, name="control")
    return {"net": loras.net(request.controlnet or "")[1], **_within(request, can, "control_strength")}


def check_size(size: int | str, can: Capabilities) -> None:
    """Refused where the model makes no pictures of that size."""
    if can.makes(size):
        return
    if can.sides:
        raise Refused("model.sides", **can.sides.model_dump(), size=size)
    why = Message("model.size_why", {"why": can.beyond}) if can.beyond else ""
    raise Refused("model.size", sizes=" or ".join(map(str, can.sizes)), size=size, why=why)


def _only_enlarged(request: ImageRequest, can: Capabilities) -> Any:
    """The EnlargeRequest that a strength of 0 stands for."""
    if request.size is None:
        if larger := [size for size in can.sizes if sides(size) > sides(can.size)]:
            raise Refused("request.strength_0_needs_size", sizes=" or ".join(map(str, larger)))
        raise Refused("model.no_edits", model=can.title)
    blank = ImageRequest(image=request.image)
    for name in ("count", "negative", "style", "like", "mix", "mask", "expand", "variations", "best_of"):
        if getattr(request, name) != getattr(blank, name):
            raise Refused("request.strength_0_excludes", name=name)
    assert request.image is not None
    return make_request("enlarge", image=request.image, size=request.size, model=request.model)


def _edit(request: ImageRequest, can: Capabilities) -> dict[str, Any]:
    """The fixed fields of a request that starts from a picture; variations become `count`, `like` and `strength`."""
    if request.image is None:
        return {}
    if not can.edits:
        raise Refused("model.no_edits", model=can.title)
    image, mask = request.image, _mask(request.mask, request.image)
    partly = mask is not None or request.expand is not None
    fixed: dict[str, Any] = {"mask": mask, "variations": None}
    if request.expand is not None:
        fixed |= _within(request, can, "expand")
    usual = can.strength.most if partly else can.strength.usual
    if request.variations is not None:
        fixed["count"], usual = int(can.count.within("variations", request.variations)), can.variation
        fixed["like"] = request.like or (None if request.mix else image)
    fixed["strength"] = can.strength.model_copy(update={"usual": usual}).within("strength", request.strength)
    return fixed


def _mask(mask: Picture | None, image: Picture) -> Picture | None:
    """The mask; None where it is white all over, for then nothing is kept."""
    if mask is None:
        return None
    grey, size = levels(picture_of(mask.path)), picture_of(image.path).size
    if grey.size != size:
        theirs, ours = (f"{width} x {height}" for width, height in (grey.size, size))
        raise Refused("request.mask_size", path=mask.path, mask=theirs, image=ours)
    if not fit_mask(grey).any():
        raise Refused("request.mask_black", path=mask.path)
    return None if grey.getextrema() == (255, 255) else mask


# --- Other tasks ------------------------------------------------------------------------------------------------------


def _clip(request: ClipRequest, can: Capabilities) -> ClipRequest:
    fixed = {"style": can.style(request.style), "shape": 1, "video": can.video or None, **_sampling(request, can)}
    _check_fields(request, can)
    fixed |= {**_loras(request, can), "size": None if request.size == can.size else request.size}
    if fixed["size"] and not can.sides:  # what enlarges pictures does not enlarge clips
        raise Refused("model.size", sizes=can.size, size=request.size, why="")
    if fixed["size"]:
        check_size(fixed["size"], can)
    request = request.model_copy(update={**_smooth(request, can), **_continued(request, can)})
    return request.model_copy(update={**fixed, **_within(request, can, "frames", "fps", "motion_strength", "count")})


def _smooth(request: ClipRequest, can: Capabilities) -> dict[str, Any]:
    """Slow motions have smaller steps, where neither frames nor rate are given and the model moves pictures by them."""
    from models.compose.motion import SMOOTH
    from models.prompts.still import named_moves

    if not can.video or request.extend or request.frames is not None or request.fps is not None:
        return {}
    if not any(move.speed == "slow" for move in named_moves(request.prompt)):
        return {}
    return {"fps": SMOOTH, "frames": round(can.frames.usual * SMOOTH / can.fps.usual)}


def _continued(request: ClipRequest, can: Capabilities) -> dict[str, Any]:
    """A continued clip keeps its frame rate, as near as the model has it."""
    if not request.extend or request.image is None:
        return {}
    clip = ClipFile.open(request.image.path)
    if clip.count == 1:
        raise Refused("clip.still", path=str(clip.path))
    fps = request.fps or round(min(max(clip.fps, can.fps.least), can.fps.most))
    if clip.seconds * fps > CONTINUED:
        raise Refused("clip.too_long_to_extend", path=str(clip.path), frames=round(clip.seconds * fps), most=CONTINUED)
    shared = 2 if request.loop and not request.last else 1  # frames that both parts have
    can.frames.model_copy(update={"least": shared + 1}).within("frames", request.frames)
    return {"fps": fps}


def _caption(request: CaptionRequest, can: Capabilities) -> CaptionRequest:
    """Without a seed it is 0: the same picture has the same caption. Several are described in the largest shape."""
    _check_fields(request, can)
    if request.language not in can.languages:
        raise Refused("model.language", model=can.title, language=request.language, languages=list(can.languages))
    shape = max(can.described) if (request.shape or 1) > 1 else 1
    fixed = {"seed": request.seed or 0, "shape": shape, "captioner": can.captioner or None}
    return request.model_copy(update={**_within(request, can, "candidates"), **fixed})


def _enlarge(request: EnlargeRequest, can: Capabilities) -> EnlargeRequest:
    check_size(request.size, can)
    if request.count != 1:
        raise Refused("request.strength_0_excludes", name="count")
    return request.model_copy(update={"upscaler": can.upscaler or None, "seed": 0, "shape": 1})


# By task: a function that fixes the fields which a model decides.
RESOLVERS: dict[str, Callable[[Any, Capabilities], Any]] = {
    "image": _image,
    "clip": _clip,
    "caption": _caption,
    "enlarge": _enlarge,
}
NEEDS = {"search": "embed"}  # what a model must do for a task that is not its own


# --- Parts ------------------------------------------------------------------------------------------------------------


def known(picture: Picture) -> Picture:
    """The picture with its absolute path and sha256; Refused where its file can't be read."""
    try:
        picture_of(picture.path)
        path = Path(picture.path).absolute()
        return Picture(path=str(path), sha256=sha256(path))
    except OSError as error:
        raise Refused("picture.cant_read", path=picture.path, problem=error.strerror) from error


def _within(request: Request, can: Capabilities, *names: str) -> dict[str, Any]:
    """Fields as numbers in the model's ranges; None becomes the default."""
    chosen = {name: getattr(can, name).within(name, getattr(request, name)) for name in names}
    fields = type(request).model_fields
    return {name: value if float in types_in(fields[name].annotation) else int(value) for name, value in chosen.items()}


def _drawn_words(request: Any, texts: dict[str, str], lists: Wildcards) -> Any:
    """The request with its wildcards drawn (`studio.syntax`), each text by itself, and its weights checked."""
    drawn = {name: draw(text, f"{request.seed} {name}", lists, f"the {name}") for name, text in texts.items()}
    if drawn != texts:
        request = with_texts(request, drawn)
    words = {name: plain(text) for name, text in drawn.items()}
    if request.prompt and not words["prompt"].strip():  # marks and no words: is there anything else to make?
        with_texts(request, {**drawn, "prompt": ""})
    return request


def with_texts(request: Any, texts: dict[str, str]) -> Any:
    """The request with other words, checked anew."""
    fields = {name: getattr(request, name) for name in type(request).model_fields}
    fields |= {name: text for name, text in texts.items() if name in fields}
    if "mix" in fields:
        fields["mix"] = tuple(
            part.model_copy(update={"text": texts[f"mix {n}"]}) for n, part in enumerate(request.mix, 1)
        )
    return make_request(**fields)


def _without_paths(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_paths(one) for key, one in value.items() if key != "path" or "sha256" not in value}
    return [_without_paths(one) for one in value] if isinstance(value, list | tuple) else value
