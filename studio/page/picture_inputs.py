"""From the inputs that hold pictures to fields of a request, and back: to start from, to paint on, to blend."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageColor

from models.compose.masks import levels
from models.data.pixels import read_picture
from models.messages import Refused
from studio import settings
from studio.capabilities import Capabilities
from studio.files import make_folder, write_whole
from studio.metadata.files import encoded

PAINT = "#ec4899"
PAINTED = 8  # levels of 255: less is a brush's softest rim
WHITE = 128  # levels of a mask that are painted


def start(given: dict[str, Any], home: Path, can: Capabilities) -> dict[str, Any]:
    """The picture to start from, with the mask that was painted over it or the border that is to be drawn."""
    canvas = given.get("canvas") or {}
    if not canvas.get("background"):
        return {}
    fields: dict[str, Any] = {"image": {"path": canvas["background"]}, "strength": float(given["strength"])}
    mask = painted([Path(layer) for layer in canvas.get("layers") or [] if layer])
    if mask is not None:
        return fields | {"mask": {"path": str(_kept(mask, home))}, "strength": can.strength.most}
    if given.get("expand"):
        return fields | {"expand": can.expand.usual, "strength": can.strength.most}
    return fields


def painted(layers: list[Path]) -> Image.Image | None:
    """White where any layer was painted on, black elsewhere; None where none was."""
    masks = [np.asarray(read_picture(str(layer)).convert("RGBA"))[..., 3] > PAINTED for layer in layers]
    masks = [mask for mask in masks if mask.any()]
    if not masks:
        return None
    if len({mask.shape for mask in masks}) > 1:
        raise Refused("page.create.layers_differ")
    return Image.fromarray(np.where(np.any(masks, axis=0), np.uint8(255), np.uint8(0)))


def blend(given: dict[str, Any]) -> dict[str, Any]:
    """A mix of two pictures; of one, where the other is missing or the slider is at its end."""
    second = float(given.get("between") or 0)
    weights = ((given.get("first"), 1 - second), (given.get("second"), second))
    parts = [{"weight": weight, "picture": {"path": path}} for path, weight in weights if path and weight > 0]
    return {"mix": tuple(parts)} if parts else {}


def on_canvas(picture: str, mask: str = "") -> dict[str, Any]:
    """Values of the inputs that have a picture on the canvas, painted where the mask is white."""
    layers = []
    if mask:
        grey = levels(read_picture(mask)).point(lambda level: 255 * (level >= WHITE))
        layers.append(
            Image.merge("RGBA", [*(Image.new("L", grey.size, one) for one in ImageColor.getrgb(PAINT)), grey])
        )
    return {"canvas": {"background": picture, "layers": layers, "composite": None}, "pictured": True}


def restored(fields: dict[str, Any], can: Capabilities) -> dict[str, Any]:
    """Values of all picture inputs for a request's fields."""
    values: dict[str, Any] = {"canvas": None, "pictured": False, "first": None, "second": None, "between": 0.5}
    values |= {"expand": bool(fields.get("expand")), "strength": fields.get("strength") or can.strength.usual}
    if fields.get("image"):
        values |= on_canvas(fields["image"]["path"], (fields.get("mask") or {}).get("path", ""))
    pictures = [part for part in fields.get("mix", ()) if part.get("picture")]
    for place, part in zip(("first", "second"), pictures, strict=False):
        values[place] = part["picture"]["path"]
    weights = [max(0.0, float(part["weight"])) for part in pictures[:2]]
    if len(weights) == 1:
        values["between"] = max(0.0, 1 - weights[0])
    elif sum(weights):
        values["between"] = weights[1] / sum(weights)
    return values


def beyond(fields: dict[str, Any], can: Capabilities) -> list[str]:
    """What of a request the inputs can't hold: its mix, the width of its border, its strength."""
    partly = fields.get("mask") or fields.get("expand")
    strength, held = fields.get("strength"), blend(restored(fields, can))
    found = {
        "mix": _plain(held.get("mix", ())) != _plain(fields.get("mix", ())),
        "expand": fields.get("expand") not in (None, can.expand.usual),
        "strength": strength is not None
        and (strength < can.strength.least or (partly and strength != can.strength.most)),
    }
    return [name for name, is_beyond in found.items() if is_beyond]


def _plain(mix: Sequence[dict[str, Any]]) -> list[tuple[str, float]]:
    return [((part.get("picture") or {}).get("path", ""), round(float(part["weight"]), 6)) for part in mix]


def _kept(mask: Image.Image, home: Path) -> Path:
    """The mask as a file: the request is resolved from it, and the queue keeps a copy under its content."""
    data = encoded(mask, None, "png")
    path = settings.uploads(home) / f"mask-{hashlib.sha256(data).hexdigest()[:32]}.png"
    make_folder(path.parent)
    write_whole(path, data, "--home")
    return path
