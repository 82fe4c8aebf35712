"""What a pipeline can do, from its class and the configurations of its components, without torch or weights."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.messages import Refused
from studio.backends import signatures
from studio.backends.pipeline_folder import INDEX, PipelineFolder
from studio.backends.signatures import REQUIRED, Pipeline
from studio.capabilities import Capabilities, Range, Sides
from studio.requests import Size, spelled

DENOISERS = ("unet", "transformer", "prior")  # names that components have in all pipelines
ASPECTS = ((1, 1), (4, 3), (3, 2), (16, 9), (3, 4), (2, 3), (9, 16))  # of the sizes that are offered
LARGEST = 2048  # pixels a side that may be asked for, or twice the model's own
STEPS, GUIDANCE, FRAMES, LONGEST, RATE = 30, 5.0, 16, 257, 16  # where a pipeline names none
FIELDS: dict[str, list[str]] = tomllib.loads(Path(__file__).with_name("parameters.toml").read_text(encoding="utf-8"))
NEVER = ("style", "like", "mix", "expand", "variations", "extend", "motion_strength", "reference_strength")


def calls(folder: PipelineFolder) -> dict[str, Pipeline]:
    """The pipelines that do its tasks with the same components, by what they take: "" words, "image", "mask_image"."""
    own = folder.pipeline
    found: dict[str, Pipeline] = {}
    for takes in ("mask_image", "image"):
        edits = own.takes.get("image") is REQUIRED or {"image", "strength"} <= own.takes.keys()
        if takes in own.takes and (takes == "mask_image" or edits):
            found[takes] = own
            break
        other = signatures.pipeline(signatures.counterpart(own.name, takes))
        if other and (takes == "image" or "mask_image" in other.takes):
            found[takes] = other
    if own not in found.values():
        found[""] = own
        if "image" in own.takes:
            found.setdefault("image", own)
    return found


def gives(one: Pipeline) -> str:
    """The task that a pipeline does: "image", "clip" or none."""
    if "frames" in one.gives or (not one.gives and "num_frames" in one.takes):
        return "clip"
    return "image" if "images" in one.gives or not one.gives else ""


def capabilities(folder: PipelineFolder, title: str, space: str) -> Capabilities:
    """Of a folder's pipeline; `space` is its semantic space or "". Refused where it makes no pictures or clips."""
    own, by = folder.pipeline, calls(folder)
    task = gives(own)
    if not task:
        raise Refused("pipeline.no_task", path=str(folder.root / INDEX), name=own.name)
    takes: dict[str, Any] = {name: default for one in by.values() for name, default in one.takes.items()} | own.takes
    size, multiple = own_size(folder, own), side_multiple(folder)
    lacks = [name for name, parameters in FIELDS.items() if not any(one in takes for one in parameters)]
    largest = max(LARGEST, 2 * max(size))
    steps, guidance = _usual(takes, FIELDS["steps"], STEPS), _usual(takes, FIELDS["guidance"], GUIDANCE)
    return Capabilities(
        title=title,
        tasks=(task, "embed") if space else (task,),
        size=spelled(*size),
        sizes=offered_sizes(size, multiple),
        sides=None if "size" in lacks else Sides(least=multiple, most=largest, multiple=multiple),
        schedulers=tuple(schedulers(folder)),
        steps=Range(least=1, most=max(150, steps), usual=steps),
        guidance=Range(least=0, most=max(30, guidance), usual=guidance),
        count=Range(least=1, most=64, usual=1),
        best_of=Range(least=1, most=16 if space else 1, usual=1),
        ranker=space,
        lacks=(*lacks, *NEVER),
        needs=() if "" in by else ("image",),
        memory=True,
        loras=own.loras,
        controls=any(
            "ip_adapter_image" in one.takes or signatures.counterpart(one.name, "control") for one in by.values()
        ),
        pictures=False,
        edits=bool(set(by) - {""}),
        strength=Range(least=0.05, most=1, usual=_strength(by)),
        frames=Range(least=1, most=LONGEST, usual=_usual(takes, ("num_frames",), FRAMES)),
        fps=Range(least=1, most=60, usual=_usual(takes, ("frame_rate", "fps"), RATE)),
    )


def _usual(takes: dict[str, Any], names: Sequence[str], otherwise: float) -> float:
    """The default of the first of the parameters that has a number for one."""
    found = (takes.get(name) for name in names)
    return next((one for one in found if isinstance(one, int | float) and not isinstance(one, bool)), otherwise)


def _strength(by: dict[str, Pipeline]) -> float:
    found = by["image"].takes.get("strength") if "image" in by else None
    return min(max(found, 0.05), 1) if isinstance(found, int | float) else 0.6


# --- Sizes ------------------------------------------------------------------------------------------------------------


def own_size(folder: PipelineFolder, own: Pipeline) -> tuple[int, int]:
    """(width, height) that it makes where none is asked for: as its call says, else what its denoiser was made for."""
    width, height = (own.takes.get(name) or own.constants.get(name) for name in ("width", "height"))
    if isinstance(width, int) and isinstance(height, int):
        return width, height
    config, factor = denoiser(folder), scale(folder)
    side: Any = own.constants.get("default_sample_size") or config.get("sample_size") or 64
    high, wide = side[-2:] if isinstance(side, list) else (side, side)
    return int(config.get("sample_width") or wide) * factor, int(config.get("sample_height") or high) * factor


def denoiser(folder: PipelineFolder) -> dict[str, Any]:
    return next((config for name in DENOISERS if (config := folder.config(name))), {})


def scale(folder: PipelineFolder) -> int:
    """Pixels a side that one number of a latent stands for."""
    vae = folder.config("vae")
    for name in ("scale_factor_spatial", "spatial_compression_ratio"):
        if isinstance(vae.get(name), int):
            return int(vae[name])
    if "temperal_downsample" in vae:
        return int(2 ** len(vae["temperal_downsample"]))
    if "spatio_temporal_scaling" in vae:
        return int(vae.get("patch_size", 1) * 2 ** sum(vae["spatio_temporal_scaling"]))
    widths = vae.get("block_out_channels") or vae.get("encoder_block_out_channels") or [0] * 4
    return int(2 ** (len(widths) - 1))


def side_multiple(folder: PipelineFolder) -> int:
    """What width and height must be multiples of: the latent's scale, times the patches that the denoiser reads."""
    config, vae = denoiser(folder), folder.config("vae")
    patch = config.get("patch_size", 1)
    patch = patch[-1] if isinstance(patch, list) else patch
    channels = vae.get("latent_channels") or vae.get("z_dim") or 0
    packed = 2 if channels and config.get("in_channels") == 4 * channels else 1  # latents in 2 x 2 blocks
    return scale(folder) * max(patch if isinstance(patch, int) else 1, packed)


def offered_sizes(own: tuple[int, int], multiple: int) -> tuple[Size, ...]:
    """The model's own, and others of as many pixels."""
    area = own[0] * own[1]
    found: list[Size] = [spelled(*own)]
    for across, down in ASPECTS:
        width = (area * across / down) ** 0.5
        found.append(spelled(*(max(multiple, round(side / multiple) * multiple) for side in (width, area / width))))
    return tuple(dict.fromkeys(found))


# --- Schedulers -------------------------------------------------------------------------------------------------------


def schedulers(folder: PipelineFolder) -> dict[str, str]:
    """Classes of schedulers by what they are called here, the pipeline's own first."""
    own = folder.components.get("scheduler", ("", ""))[1]
    return {_called(name): name for name in signatures.compatible_schedulers(own)} if own else {"own": ""}


def _called(name: str) -> str:
    """EulerAncestralDiscreteScheduler -> euler-ancestral"""
    plain = re.sub(r"Scheduler$|Discrete", "", name)
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", plain).lower()
