"""From what was asked for to jobs: the one place where defaults, capabilities, wildcards and identity are decided.

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
    Lora,
    MediaRequest,
    Picture,
    Request,
    make_request,
    sides,
)
from studio.syntax import Wildcards, draw, is_dynamic

CONTINUED = 300  # frames of a clip that is to be continued
FRACTIONS = {
    *("guidance", "guided_from", "strength", "expand", "motion_strength", "control_strength", "reference_strength")
}


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
    asked: MediaRequest | Sequence[MediaRequest], backend: Backend, wildcards: Wildcards | None = None
) -> list[Job]:
    """Jobs for what was asked for together, in its order; more than were asked for where the seed draws the words.

    Several jobs get one batch shape, so that they are drawn together; a request that names a shape keeps it.
    `wildcards` None takes the lists in the studio's own folder. Refused where the model can't do it, a file can't be
    read, or the words can't be drawn or weighted.
    """
    return plan_with(asked, backend.capabilities(), backend.digest(), wildcards)


def plan_with(
    asked: MediaRequest | Sequence[MediaRequest], can: Capabilities, digest: str, wildcards: Wildcards | None = None
) -> list[Job]:
    """As `plan`, for callers that plan many requests of one model."""
    lists = wildcards or Wildcards(settings.wildcards())
    requests = [asked] if isinstance(asked, MediaRequest) else asked
    single = [part for one in requests for part in split(one, can)]
    if len(single) > 1:
        shape = can.shape(sum(map(_drawings, single)))
        single = [one if one.shape else one.model_copy(update={"shape": shape}) for one in single]
    resolved = [resolve(one, can, lists) for one in single]
    return [Job(one, job_id(one, digest), digest) for one in resolved]


def split(asked: MediaRequest, can: Capabilities) -> list[MediaRequest]:
    """One request an artifact where the seed draws the words, so that each has words of its own; else the request."""
    if asked.count <= 1 or not any(map(is_dynamic, asked.texts().values())):
        return [asked]
    can.count.within("count", asked.count)
    seed = secrets.randbelow(SEEDS) if asked.seed is None else asked.seed
    return [asked.model_copy(update={"count": 1, "seed": (seed + i) % SEEDS}) for i in range(asked.count)]


def resolve(asked: Request, can: Capabilities, wildcards: Wildcards | None = None) -> Any:
    """The request with everything fixed: it makes the same artifacts wherever it runs. Refused as for `plan`."""
    task = getattr(asked, "task", "")
    if (needed := NEEDS.get(task, task)) not in can.tasks:
        raise no_task(can, task, needed)
    asked = asked.with_pictures(known)
    if isinstance(asked, MediaRequest) and (texts := asked.texts()):
        asked = asked.model_copy(update={"seed": secrets.randbelow(SEEDS) if asked.seed is None else asked.seed})
        asked = _drawn_words(asked, texts, wildcards or Wildcards(settings.wildcards()))
    resolver = RESOLVERS.get(task)
    return resolver(asked, can) if resolver else asked


def job_id(resolved: Request, digest: str, interactive: bool = False) -> str:
    """The name of the work: sha256 (64 hex digits) of the resolved request and the model's digest.

    Where a file lies does not count, what it holds does; the model is what its weights are, not what it is called.
    What is None does not count, so that a new setting leaves the names of old work alone. What is asked for its answer
    (`interactive`) and not for the gallery has another name.
    """
    content = _without_paths(resolved.model_dump(exclude={"model"}, exclude_none=True))
    about = {"digest": digest, **({"interactive": True} if interactive else {})}
    canonical = json.dumps({**content, **about}, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


# --- Image ------------------------------------------------------------------------------------------------------------


def _image(asked: ImageRequest, can: Capabilities) -> ImageRequest | EnlargeRequest:
    _check_fields(asked, can)
    if (asked.like or asked.mix) and not can.pictures:
        raise Refused("model.words_only", model=can.title)
    best_of = _within(asked, can, "best_of")["best_of"]
    drawn_from = _within(asked, can, "reference_strength")["reference_strength"]
    several = {"best_of": best_of, "ranker": can.ranker or None} if best_of > 1 else {"best_of": None, "ranker": None}
    several["reference_strength"] = None if drawn_from == can.reference_strength.usual else drawn_from
    asked = asked.model_copy(update={**several, **_size(asked, can)})
    if asked.strength == 0 and "enlarge" in can.tasks:
        return _enlarge(_only_enlarged(asked, can), can)
    asked = asked.model_copy(update=_edit(asked, can))
    fixed = {"style": can.style(asked.style), **_sampling(asked, can), **_within(asked, can, "count")}
    fixed["loras"] = _loras(asked, can)
    fixed |= _control(asked, can)
    if asked.shape is not None and asked.shape not in can.shapes:
        raise Refused("model.shape", shapes=list(can.shapes), shape=asked.shape)
    return asked.model_copy(update={**fixed, "shape": asked.shape or can.shape(fixed["count"] * best_of)})


def _sampling(asked: ImageRequest | ClipRequest, can: Capabilities) -> dict[str, Any]:
    """The scheduler and its settings; one that draws with fixed settings takes no others."""
    scheduler = can.scheduler(asked.scheduler)
    fixed = can.fixed.get(scheduler)
    if fixed is None:
        chosen = _within(asked, can, "steps", "guidance", *(["guided_from"] if can.guided_from else []))
        return {"scheduler": scheduler, "guided_from": None, **chosen, "variant": None}
    for name in ("steps", "guidance"):
        if getattr(asked, name) not in (None, own := getattr(fixed, name)):
            raise Refused("model.fixed_setting", scheduler=scheduler, name=name, value=f"{own:g}")
    if asked.negative:
        raise Refused("model.no_negative", scheduler=scheduler)
    strength = getattr(asked, "strength", None)
    again = {"strength": fixed.strength(strength)} if strength else {}
    return {"scheduler": scheduler, **dict(fixed), "guided_from": None, **again}


def _check_fields(asked: MediaRequest, can: Capabilities) -> None:
    """Refused where it says something that the model has no use for, or not what the model needs."""
    fields = type(asked).model_fields
    for name in can.lacks:
        if name in fields and getattr(asked, name) != fields[name].default:
            raise Refused("model.lacks", model=can.title, name=name)
    for name in can.needs:
        if name in fields and not getattr(asked, name):
            raise Refused("model.needs", model=can.title, name=name)


def _size(asked: ImageRequest, can: Capabilities) -> dict[str, Any]:
    """Its size, None where it is the model's own: saying so makes no other work of it."""
    if asked.size is None or asked.size == can.size:
        return {"size": None, "upscaler": None}
    check_size(asked.size, can)
    return {"size": asked.size, "upscaler": can.upscaler or None}


def _loras(asked: ImageRequest | ClipRequest, can: Capabilities) -> tuple[Lora, ...] | None:
    if can.loras is False and loras.named(asked.prompt):
        raise Refused("model.lacks", model=can.title, name="lora")
    return (can.loras and loras.resolved(asked.prompt)) or None


def _control(asked: ImageRequest, can: Capabilities) -> dict[str, Any]:
    """How strictly the network that reads a picture is kept to, and its digest."""
    if not asked.control:
        return {}
    if not can.controls:
        raise Refused("model.lacks", model=can.title, name="control")
    return {"net": loras.net(asked.controlnet or "")[1], **_within(asked, can, "control_strength")}


def check_size(size: int | str, can: Capabilities) -> None:
    """Refused where the model makes no pictures of that size."""
    if can.makes(size):
        return
    if can.sides:
        raise Refused("model.sides", **can.sides.model_dump(), size=size)
    why = Message("model.size_why", {"why": can.beyond}) if can.beyond else ""
    raise Refused("model.size", sizes=" or ".join(map(str, can.sizes)), size=size, why=why)


def _only_enlarged(asked: ImageRequest, can: Capabilities) -> Any:
    """A strength of 0 draws nothing."""
    if asked.size is None:
        if larger := [size for size in can.sizes if sides(size) > sides(can.size)]:
            raise Refused("request.strength_0_needs_size", sizes=" or ".join(map(str, larger)))
        raise Refused("model.no_edits", model=can.title)
    blank = ImageRequest(image=asked.image)
    for name in ("count", "negative", "style", "like", "mix", "mask", "expand", "variations", "best_of"):
        if getattr(asked, name) != getattr(blank, name):
            raise Refused("request.strength_0_excludes", name=name)
    assert asked.image is not None
    return make_request("enlarge", image=asked.image, size=asked.size, model=asked.model)


def _edit(asked: ImageRequest, can: Capabilities) -> dict[str, Any]:
    """What is fixed in a request that starts from a picture. Variations become what they are made of."""
    if asked.image is None:
        return {}
    if not can.edits:
        raise Refused("model.no_edits", model=can.title)
    image, mask = asked.image, _mask(asked.mask, asked.image)
    partly = mask is not None or asked.expand is not None
    fixed: dict[str, Any] = {"mask": mask, "variations": None}
    if asked.expand is not None:
        fixed |= _within(asked, can, "expand")
    usual = can.strength.most if partly else can.strength.usual
    if asked.variations is not None:
        fixed["count"], usual = int(can.count.within("variations", asked.variations)), can.variation
        fixed["like"] = asked.like or (None if asked.mix else image)
    fixed["strength"] = can.strength.model_copy(update={"usual": usual}).within("strength", asked.strength)
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


def _drawings(asked: MediaRequest) -> int:
    """How many pictures a request draws."""
    return (getattr(asked, "variations", None) or asked.count) * (getattr(asked, "best_of", None) or 1)


# --- Other tasks ------------------------------------------------------------------------------------------------------


def _clip(asked: ClipRequest, can: Capabilities) -> ClipRequest:
    fixed = {"style": can.style(asked.style), "shape": 1, "video": can.video or None, **_sampling(asked, can)}
    _check_fields(asked, can)
    fixed |= {"loras": _loras(asked, can), "size": None if asked.size == can.size else asked.size}
    if fixed["size"] and not can.sides:  # what enlarges pictures does not enlarge clips
        raise Refused("model.size", sizes=can.size, size=asked.size, why="")
    if fixed["size"]:
        check_size(fixed["size"], can)
    asked = asked.model_copy(update=_continued(asked, can))
    return asked.model_copy(update={**fixed, **_within(asked, can, "frames", "fps", "motion_strength", "count")})


def _continued(asked: ClipRequest, can: Capabilities) -> dict[str, Any]:
    """A clip goes on at its own frame rate, as near as the model has it."""
    if not asked.extend or asked.image is None:
        return {}
    clip = ClipFile.open(asked.image.path)
    if clip.count == 1:
        raise Refused("clip.still", path=str(clip.path))
    fps = asked.fps or round(min(max(clip.fps, can.fps.least), can.fps.most))
    if clip.seconds * fps > CONTINUED:
        raise Refused("clip.too_long_to_extend", path=str(clip.path), frames=round(clip.seconds * fps), most=CONTINUED)
    shared = 2 if asked.loop and not asked.last else 1  # frames that both parts have: nothing but those adds nothing
    can.frames.model_copy(update={"least": shared + 1}).within("frames", asked.frames)
    return {"fps": fps}


def _caption(asked: CaptionRequest, can: Capabilities) -> CaptionRequest:
    """Without a seed it is 0: the same picture has the same caption. Several are described in the largest shape."""
    _check_fields(asked, can)
    if asked.language not in can.languages:
        raise Refused("model.language", model=can.title, language=asked.language, languages=list(can.languages))
    shape = max(can.described) if (asked.shape or 1) > 1 else 1
    fixed = {"seed": asked.seed or 0, "shape": shape, "captioner": can.captioner or None}
    return asked.model_copy(update={**_within(asked, can, "candidates"), **fixed})


def _enlarge(asked: EnlargeRequest, can: Capabilities) -> EnlargeRequest:
    check_size(asked.size, can)
    if asked.count != 1:
        raise Refused("request.strength_0_excludes", name="count")
    return asked.model_copy(update={"upscaler": can.upscaler or None, "seed": 0, "shape": 1})


# What a model decides of a request, where it decides anything.
RESOLVERS: dict[str, Callable[[Any, Capabilities], Any]] = {
    "image": _image,
    "clip": _clip,
    "caption": _caption,
    "enlarge": _enlarge,
}
NEEDS = {"search": "embed"}  # what a model must do for a task that is not its own


# --- Parts ------------------------------------------------------------------------------------------------------------


def known(picture: Picture) -> Picture:
    """The picture with its whole path and its sha256, once it has been read: a bad file is refused before any work."""
    try:
        picture_of(picture.path)
        path = Path(picture.path).absolute()
        return Picture(path=str(path), sha256=sha256(path))
    except OSError as error:
        raise Refused("picture.cant_read", path=picture.path, problem=error.strerror) from error


def _within(asked: Request, can: Capabilities, *names: str) -> dict[str, Any]:
    """Settings as numbers in the model's ranges, the usual ones where nothing is said."""
    chosen = {name: getattr(can, name).within(name, getattr(asked, name)) for name in names}
    return {name: value if name in FRACTIONS else int(value) for name, value in chosen.items()}


def _drawn_words(asked: Any, texts: dict[str, str], lists: Wildcards) -> Any:
    """The request with its wildcards drawn (`studio.syntax`), each text by itself, and its weights checked."""
    drawn = {name: draw(text, f"{asked.seed} {name}", lists, f"the {name}") for name, text in texts.items()}
    if drawn != texts:
        asked = _with_texts(asked, drawn)
    words = {name: plain(text) for name, text in drawn.items()}
    if asked.prompt and not words["prompt"].strip():  # marks and no words: is there anything else to make?
        _with_texts(asked, {**drawn, "prompt": ""})
    return asked


def _with_texts(asked: Any, texts: dict[str, str]) -> Any:
    """The request with other words, checked anew."""
    fields = {name: getattr(asked, name) for name in type(asked).model_fields}
    fields |= {name: text for name, text in texts.items() if name in fields}
    if "mix" in fields:
        fields["mix"] = tuple(
            part.model_copy(update={"text": texts[f"mix {n}"]}) for n, part in enumerate(asked.mix, 1)
        )
    return make_request(**fields)


def _without_paths(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_paths(one) for key, one in value.items() if key != "path" or "sha256" not in value}
    return [_without_paths(one) for one in value] if isinstance(value, list | tuple) else value
