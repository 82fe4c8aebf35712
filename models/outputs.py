"""The pipeline's answers in the forms that diffusers knows, and seeds from its generators."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.utils.outputs import BaseOutput

from models.data.pixels import png, unpremultiply
from models.drawing import Pictures

OUTPUT_TYPES = ("pil", "np", "uint8", "latent")


@dataclass
class StickerOutput(BaseOutput):
    """What a call returns: `images` as `output_type` says, and the `seeds` that make each again."""

    images: Any
    seeds: list[int]


def draw_seeds(generator: torch.Generator | list[torch.Generator] | None, count: int) -> list[int]:
    """`count` seeds from one generator, or from as many; ValueError where their number is another."""

    def draw(source: torch.Generator | None) -> int:
        return int(torch.randint(2**31, (1,), generator=source))

    if isinstance(generator, list):
        if len(generator) != count:
            raise ValueError(f"{len(generator)} generators for {count} pictures; give one, or one each")
        return [draw(source) for source in generator]
    return [draw(generator) for _ in range(count)]


def as_output(whole: list[Pictures], output_type: str) -> Any:
    """Finished pictures in one of OUTPUT_TYPES."""
    if output_type == "latent":
        return torch.cat([pictures.latents for pictures in whole]) if whole else torch.zeros(0)
    pixels = [picture for pictures in whole for picture in pictures.pixels]
    if output_type == "pil":
        return [png(picture) for picture in pixels]
    stacked = np.stack(pixels) if pixels else np.zeros((0, 128, 128, 4), np.uint8)
    return stacked if output_type == "uint8" else unpremultiply(stacked).astype(np.float32) / 255
