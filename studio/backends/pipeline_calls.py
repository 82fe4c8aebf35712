"""A resolved request as a call of one of diffusers' pipelines."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageOps

from models.compose.masks import levels
from models.messages import Refused
from studio import loras
from studio.backends.given import unchanged
from studio.backends.loading import first_line
from studio.backends.pipeline_facts import FIELDS
from studio.backends.signatures import Pipeline
from studio.capabilities import Capabilities
from studio.media import on_ground
from studio.requests import ClipRequest, ImageRequest, sides

ERRORS = (ValueError, TypeError, RuntimeError, AttributeError, NotImplementedError, ImportError, KeyError, IndexError)


@dataclass(frozen=True)
class Start:
    """What an edit starts from, of one `size` (width, height): straight RGB; the mask is 255 where it is drawn anew."""

    size: tuple[int, int]
    image: Image.Image | None = None
    last: Image.Image | None = None
    control: Image.Image | None = None
    mask: Image.Image | None = None

    @classmethod
    def of(cls, request: ImageRequest | ClipRequest, can: Capabilities) -> "Start":
        """Of a resolved request; Refused where a file is another one by now. A picture is fitted to the size asked for,
        else made of as many pixels as the model's own, in its own shape.
        """
        control = getattr(request, "control", None)
        if request.image is None:
            size = sides(request.size or can.size)
            return cls(size, control=_opaque(unchanged(control), size) if control else None)
        picture = unchanged(request.image)
        size = sides(request.size or _as_many(picture.size, can))
        mask, last = getattr(request, "mask", None), getattr(request, "last", None)
        grey = ImageOps.fit(levels(unchanged(mask)), size) if mask else None
        ends, guide = (_opaque(unchanged(one), size) if one else None for one in (last, control))
        return cls(size, _opaque(picture, size), ends, guide, grey)

    def kept(self, made: Image.Image) -> Image.Image:
        """What was made, with what the mask keeps as it was."""
        if self.image is None or self.mask is None or made.size != self.size:
            return made
        return Image.composite(made.convert("RGB"), self.image, self.mask)


def _as_many(size: tuple[int, int], can: Capabilities) -> int | str:
    own = sides(can.size)
    share = (own[0] * own[1] / (size[0] * size[1])) ** 0.5
    return can.nearest(*(max(1, round(side * share)) for side in size))


def _opaque(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A picture on white, in a size; what of it is too wide or too high is cut off."""
    return ImageOps.fit(on_ground(picture), size, Image.Resampling.LANCZOS)


def chosen(by: dict[str, Pipeline], request: ImageRequest | ClipRequest) -> str:
    """Which of the pipelines, by what they take, does a request."""
    if request.image is None:
        return ""
    return "mask_image" if getattr(request, "mask", None) or "image" not in by else "image"


def arguments(one: Pipeline, request: ImageRequest | ClipRequest, start: Start, guide: str) -> dict[str, Any]:
    """The pipeline's arguments but for generator and callback; `guide` is the kind of the control network."""
    guidance = next((name for name in FIELDS["guidance"] if one.takes.get(name) is not None), "")
    asked: dict[str, Any] = {
        "prompt": loras.words(request.prompt),
        "num_inference_steps": request.steps,
        guidance: request.guidance,
        "output_type": "pil",
        "image": start.image,
        "last_image": start.last,
        "strength": _strength(request),
        "num_frames": getattr(request, "frames", None),
        "frame_rate": getattr(request, "fps", None),
        "fps": getattr(request, "fps", None),
        "negative_prompt": request.negative or None,
        "use_resolution_binning": False,  # a size is drawn as it is asked for
    }
    if start.control is not None:
        slots = ("ip_adapter_image",) if guide == "ip_adapter" else ("control_image", "image")
        asked[next(slot for slot in slots if slot in one.takes)] = start.control
        asked["controlnet_conditioning_scale"] = getattr(request, "control_strength", None)
    if start.image is not None:
        asked["mask_image"] = start.mask or Image.new("L", start.size, 255)
    if start.image is not None or request.size:
        asked["width"], asked["height"] = start.size
    if request.negative and guidance != "true_cfg_scale":  # of those that are guided without one, this hears it
        asked["true_cfg_scale"] = request.guidance
    return {name: value for name, value in asked.items() if name in one.takes and value is not None}


def _strength(request: ImageRequest | ClipRequest) -> float | None:
    """So much that at least one step is left."""
    strength = getattr(request, "strength", None)
    return None if strength is None else min(1.0, max(strength, 1.000001 / (request.steps or 1)))


def watched(one: Pipeline, report: Callable[[Any], None]) -> dict[str, Any]:
    """Arguments that make a call report (step, steps, latents)."""
    if "callback_on_step_end" in one.takes:

        def ended(pipeline: Any, step: int, time: Any, values: dict[str, Any]) -> dict[str, Any]:
            report((step + 1, getattr(pipeline, "num_timesteps", 0), values["latents"]))
            return values

        return {"callback_on_step_end": ended}
    if "callback" in one.takes:
        return {"callback": lambda step, time, latents: report((step + 1, 0, latents)), "callback_steps": 1}
    return {}


@contextmanager
def explained(title: str) -> Iterator[None]:
    """What a pipeline says of a request that it can't do; memory that does not suffice is said elsewhere."""
    try:
        yield
    except ERRORS as error:
        if isinstance(error, Refused) or "memory" in str(error):
            raise
        raise Refused("pipeline.failed", model=title, problem=first_line(error)) from error
