"""From noise to a clip's clean latents: the draft of the planner under the noise, and a few steps of Euler's.

A clip whose first frame and words are given leaves little open, so few steps do, and the noise that its frames share
keeps what stands still still.

Shapes: B clips, T frames, latents (B, T, C, S, S).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from models.autoencoder import Autoencoder
from models.dit import DiT
from models.motion import frame_times, moved, settings
from models.sampling.condition import Condition
from models.video import Frames, VideoDiT

SHARED = 0.5  # of the noise's variance is the same in all frames (PYoCo, arXiv 2305.10474, the mixed noise model)


@dataclass(frozen=True)
class ClipSampling:
    """How a clip is drawn.

    Attributes:
        steps: calls of the network.
        begin: noise level that the draft lies under at first; without a draft it is 1.
        drafted: whether the picture is moved by the plan; without it, the motion attention is alone.
    """

    steps: int = 4
    begin: float = 0.6
    drafted: bool = True


def clip_noise(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    """Noise (B, T, C, S, S) of unit variance, SHARED of it the same in all frames of a clip."""
    own = torch.randn(shape, generator=generator, device=generator.device)
    common = torch.randn((shape[0], 1, *shape[2:]), generator=generator, device=generator.device)
    return SHARED**0.5 * common + (1 - SHARED) ** 0.5 * own


def encoded_frames(autoencoder: Autoencoder, pictures: Tensor) -> Tensor:
    """Clips (B, T, 4, H, W), premultiplied in [0, 1], to latents (B, T, C, S, S)."""
    latents = autoencoder.encode(pictures.flatten(0, 1).to(autoencoder.dtype))
    return latents.unflatten(0, pictures.shape[:2]).float()


def planned_frames(
    video: VideoDiT,
    autoencoder: Autoencoder,
    picture: Tensor,
    condition: Condition,
    loop: Tensor,
    fps: Tensor,
    strength: Tensor,
    count: int,
    drafted: bool = True,
) -> Frames:
    """What is known of `count` frames of clips whose pictures (B, 4, H, W) at rest are given, their draft among it."""
    first = autoencoder.encode(picture.to(autoencoder.dtype)).float()
    asked, times = settings(loop, fps, strength), frame_times(count, loop)
    draft = first.new_zeros(len(first), count, *first.shape[1:])
    if drafted:
        plan = video.planner(first, condition.states, condition.mask, asked)
        draft = encoded_frames(autoencoder, moved(picture, plan, times, loop))
    return Frames(times, loop, asked, draft, first, torch.zeros_like(first))


def denoise_clip(
    video: Any, image: DiT, noise: Tensor, condition: Condition, frames: Frames, sampling: ClipSampling
) -> Iterator[Tensor]:
    """The clean latents (B, T, C, S, S) that each step leads to; the last ones are the clip."""
    begin = sampling.begin if sampling.drafted else 1.0
    levels = torch.linspace(begin, 0, sampling.steps + 1).tolist()
    x = (1 - begin) * frames.draft + begin * noise
    for level, following in pairwise(levels):
        velocity = video(image, x, x.new_full((len(x),), level), condition, frames)
        yield x - level * velocity
        x = x - (level - following) * velocity
