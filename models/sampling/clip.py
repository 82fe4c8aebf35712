"""From noise to a clip's clean latents: the draft of the planner under the noise, and a few steps of Euler's.

How much noise the draft lies under is a trade: little keeps what it shows, much lets the network change it (SDEdit,
arXiv 2108.01073). So the planner says how much of the motion its draft leaves out, and so much is added to the least.

A clip whose first frame and words are given leaves little open, so few steps do, and the noise that its frames share
keeps what stands still still. Frames that are known are not drawn: at each noise level they are themselves under their
noise, where the others see them (replacement, Song et al., arXiv 2011.13456, appendix I.2).

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
from models.sampling.condition import Condition
from models.video import Frames, VideoDiT, clip_settings, frame_times, moved

SHARED = 0.5  # of the noise's variance is the same in all frames (PYoCo, arXiv 2305.10474, the mixed noise model)


@dataclass(frozen=True)
class ClipSampling:
    """How a clip is drawn."""

    steps: int = 4  # calls of the network
    least: float = 0.2  # noise level that the draft lies under at first; without a draft it is 1
    most: float = 0.9
    drafted: bool = True  # whether the picture is moved by the plan; without it, the motion attention is alone


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
) -> tuple[Frames, Tensor, Tensor]:
    """What is known of `count` frames of clips whose pictures (B, 4, H, W) at rest are given, their draft among it; how
    much of their motion that leaves out (B,), as `Plan` says; and how they fade (`moved`).
    """
    first = autoencoder.encode(picture.to(autoencoder.dtype)).float()
    settings, times = clip_settings(loop, fps, strength), frame_times(count, loop)
    draft, left_out = first.new_zeros(len(first), count, *first.shape[1:]), first.new_ones(len(first))
    fading = picture.new_ones(len(picture), count, 1, 1, 1)
    if drafted:
        plan = video.planner(first, condition.states, condition.mask, settings)
        frames, fading = moved(picture, plan, times, loop)
        draft, left_out = encoded_frames(autoencoder, frames), plan.left_out
    return Frames(times, loop, settings, draft, first, torch.zeros_like(first)), left_out, fading


def known_frames(frames: Frames) -> tuple[Tensor, Tensor]:
    """The draft with the last frame in its place where it is given, and which frames (B, T, 1, 1, 1) are known: that
    one, and the first of a draft, for there nothing has moved yet."""
    clean, known = frames.draft.clone(), torch.zeros(frames.draft.shape[:2], dtype=torch.bool)
    known[:, 0] = clean[:, 0].flatten(1).any(1)
    last = frames.last.flatten(1).any(1)
    clean[last, -1], known[last, -1] = frames.last[last], True
    return clean, known[..., None, None, None]


def denoise_clip(
    video: Any,
    image: DiT,
    noise: Tensor,
    condition: Condition,
    frames: Frames,
    left_out: Tensor,
    sampling: ClipSampling,
) -> Iterator[Tensor]:
    """The clean latents (B, T, C, S, S) that each step leads to; the last ones are the clip."""
    begin = (sampling.least + left_out.clamp_min(0)).clamp_max(sampling.most)
    begin = begin if sampling.drafted else torch.ones_like(begin)
    levels = begin[:, None] * torch.linspace(1, 0, sampling.steps + 1)
    wide = levels.T[..., None, None, None, None]
    clean, known = known_frames(frames)
    x = (1 - wide[0]) * clean + wide[0] * noise
    for number, (level, following) in enumerate(pairwise(wide)):
        velocity = video(image, x, levels[:, number], condition, frames)
        velocity = torch.where(known, noise - clean, velocity)
        yield x - level * velocity
        x = x - (level - following) * velocity
