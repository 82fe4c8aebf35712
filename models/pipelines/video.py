"""Clips from words, or from a picture: the image pipeline draws the first frame, the video generator moves it.

A few steps of Euler's draw all frames at once, from the draft of the planner under noise. How much noise that is, is a
trade: little keeps what the draft shows, much lets the network change it (SDEdit, arXiv 2108.01073). So the planner
says how much of the motion its draft leaves out, and so much is added to the least. Frames that are known are not
drawn: at each noise level they are themselves under their noise, where the others see them (replacement, Song et al.,
arXiv 2011.13456, appendix I.2).

A clip is drawn alone, so it is a function of its prompt, seed, picture and number of frames. `ClipPipeline.steps` is a
generator: programs iterate it, and stop it by closing it.

Shapes: B clips, T frames, latents (B, T, C, S, S); pixels premultiplied uint8 (T, 128, 128, 4).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.autoencoder import Autoencoder, preview
from models.compose.motion import SMALLEST, leads_away, moved_frames, moved_poses, reached, with_room
from models.data.clips import FRAMES, Move
from models.data.pixels import to_tensor, to_uint8
from models.dit import DiT
from models.pipelines.image import ImagePipeline, Pictures
from models.prompts.parser import parse_literally
from models.prompts.still import named_moves, plain_motion, still_prompt
from models.sampling.condition import Condition
from models.video import Frames, VideoDiT, clip_settings, frame_times, moved, reach
from models.weights import load_part

PART = "video"
SHARED = 0.5  # of the noise's variance is the same in all frames (PYoCo, arXiv 2305.10474, the mixed noise model)


@dataclass(frozen=True)
class ClipSampling:
    """How a clip is drawn."""

    steps: int = 4  # calls of the network
    least: float = 0.2  # noise level that the draft lies under at first; without a draft it is 1
    most: float = 0.9
    drafted: bool = True  # whether the picture is moved by the plan; without it, the motion attention is alone


@dataclass(frozen=True)
class ClipStep:
    """`step` of `total` steps are done."""

    step: int
    total: int
    preview: np.ndarray | None = None  # (T, 64, 64, 4), the frames so far, at step 0 the draft; None without `previews`


@dataclass(frozen=True)
class DrawnClip:
    """A finished clip: its frames, and the picture that it began with."""

    frames: np.ndarray
    first: np.ndarray


class ClipPipeline:
    """Text or picture -> a clip of 128 x 128 with alpha, by the parts of `pictures` and the video generator."""

    sampling = ClipSampling()

    def __init__(self, pictures: ImagePipeline, video: VideoDiT) -> None:
        self.pictures, self.video = pictures, video

    @classmethod
    def assemble(cls, root: Path | None = None, pictures: ImagePipeline | None = None) -> "ClipPipeline":
        """The parts under `root` (None: the shipped ones), verified; `pictures` where they are loaded already."""
        pictures = pictures or ImagePipeline.assemble(root)
        return cls(pictures, load_part(VideoDiT, PART, root, pictures.dit.dtype))

    @torch.no_grad()
    def steps(
        self,
        prompt: str,
        seed: int,
        *,
        picture: np.ndarray | None = None,
        room: bool = False,
        last: np.ndarray | None = None,
        count: int = FRAMES,
        fps: float = 8.0,
        loop: bool = False,
        strength: float = 1.0,
        previews: bool = False,
    ) -> Iterator[ClipStep | DrawnClip]:
        """Draw one clip; yields `ClipStep` before the first step and after each, and then the `DrawnClip`.

        Args:
            prompt: what moves, and how.
            seed: 0 to 2^63 - 1.
            picture: the first frame, premultiplied uint8 (128, 128, 4); drawn from the prompt where there is none.
            room: whether that picture, too, is made smaller where it would leave the frame.
            last: the last frame, likewise; left open where there is none.
            count: frames, at least 1.
            fps: of them a second, which decides how far a motion comes.
            loop: whether the last frame runs into the first.
            strength: of the motion, 1 is normal.
        """
        first, drawn = (self.first(prompt, seed), True) if picture is None else (picture, room)
        moves = named_moves(prompt, loop)
        if last is None and not first[..., 3].all() and not self._moves_apart(prompt, moves):
            yield from self._moved(first, moved_poses(moves, count, fps, strength), leads_away(moves), drawn, previews)
            return
        p, autoencoder, sampling = self.pictures, self.pictures.autoencoder, self.sampling
        condition = p.encode_condition([parse_literally(plain_motion(prompt))])
        settings = torch.tensor([loop]), torch.tensor([fps]), torch.tensor([strength])
        first = self._with_room(first, condition, count, *settings) if drawn else first
        frames, left_out, fading = planned_frames(
            self.video, autoencoder, to_tensor(first), condition, *settings, count=count, drafted=sampling.drafted
        )
        if last is not None:
            frames = replace(frames, last=autoencoder.encode(to_tensor(last).to(autoencoder.dtype)).float())
            fading = torch.ones_like(fading)
        noise, latents = clip_noise(torch.Generator().manual_seed(seed), tuple(frames.draft.shape)), frames.draft
        yield ClipStep(0, sampling.steps, self._preview(latents) if previews and sampling.drafted else None)
        denoised = denoise_clip(self.video, p.dit, noise, condition, frames, left_out, sampling)
        for step, latents in enumerate(denoised, 1):
            yield ClipStep(step, sampling.steps, self._preview(latents) if previews else None)
        clip = to_uint8(autoencoder.decode(latents[0]) * fading[0])
        if self._reads_worse(clip, prompt):
            plan = self.video.planner(frames.first, condition.states, condition.mask, frames.settings)
            warped, fading = moved(to_tensor(first), plan, frames.times, frames.loop)
            clip = to_uint8((warped * fading)[0])
        yield DrawnClip(clip, first)

    def _reads_worse(self, clip: np.ndarray, prompt: str) -> bool:
        """Whether the frames of a clip (T, 128, 128, 4) lose what its first frame shows, or any insults unlike it."""
        reader, parser = self.pictures.reader, self.pictures.parser
        if reader is None or parser is None:
            return False
        target = parser.parse(still_prompt(prompt)).target
        first, *others = reader.read_frames(clip, target.concept if target else None)
        wrong = sum(not reading.is_right for reading in others)
        return (not first.is_rude and any(reading.is_rude for reading in others)) or (
            first.is_right and wrong > len(others) / 2
        )

    def _moved(
        self, first: np.ndarray, poses: np.ndarray, away: bool, drawn: bool, previews: bool
    ) -> Iterator[ClipStep | DrawnClip]:
        """The first frame itself in all poses, with room for them where it is `drawn`."""
        if drawn:
            first = with_room(first, reached(first, poses), SMALLEST * away)
        frames, total = moved_frames(first, poses), self.sampling.steps
        yield ClipStep(0, total, frames[:, ::2, ::2] if previews else None)
        yield ClipStep(total, total, frames[:, ::2, ::2] if previews else None)
        yield DrawnClip(frames, first)

    def _moves_apart(self, prompt: str, moves: Sequence[Move]) -> bool:
        """Whether there are several things, and a motion for each: that is not a motion of the whole picture."""
        parser = self.pictures.parser
        return len(moves) > 1 and parser is not None and parser.parse(still_prompt(prompt)).layout is not None

    def first(self, prompt: str, seed: int) -> np.ndarray:
        """The picture of a prompt, premultiplied uint8 (128, 128, 4)."""
        events = self.pictures.steps([still_prompt(prompt)], [seed])
        return next(event.pixels[0] for event in events if isinstance(event, Pictures))

    def _with_room(self, picture: np.ndarray, condition: Condition, count: int, *settings: Tensor) -> np.ndarray:
        """The picture with room for its plan; with a ground, as it is."""
        if picture[..., 3].all():
            return picture
        pixels, times, autoencoder = to_tensor(picture), frame_times(count, settings[0]), self.pictures.autoencoder
        latents = autoencoder.encode(pixels.to(autoencoder.dtype)).float()
        plan = self.video.planner(latents, condition.states, condition.mask, clip_settings(*settings))
        return with_room(picture, reach(pixels[:, 3:], plan, times, settings[0])[0].numpy(), SMALLEST)

    def _preview(self, latents: Tensor) -> np.ndarray | None:
        rows = self.pictures.autoencoder.config.preview
        return to_uint8(preview(latents[0], rows)) if rows else None


def clip_noise(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    """Noise (B, T, C, S, S) of unit variance, SHARED of it the same in all frames of a clip."""
    independent = torch.randn(shape, generator=generator, device=generator.device)
    common = torch.randn((shape[0], 1, *shape[2:]), generator=generator, device=generator.device)
    return SHARED**0.5 * common + (1 - SHARED) ** 0.5 * independent


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
