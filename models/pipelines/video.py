"""Clips from words, or from a picture: the image pipeline draws the first frame, the video generator moves it.

A clip is drawn alone, so it is a function of its prompt, seed, picture and number of frames. `ClipPipeline.steps` is a
generator: programs iterate it, and stop it by closing it.

Shapes: T frames; pixels premultiplied uint8 (T, 128, 128, 4).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.autoencoder import preview
from models.data.clips import FRAMES
from models.data.pixels import SIZE, put, resized, to_tensor, to_uint8
from models.pipelines.image import StickerPipeline
from models.prompts.parser import parse_literally
from models.prompts.still import plain_motion, still_prompt
from models.references.credits import Credit
from models.sampling.clip import ClipSampling, clip_noise, denoise_clip, planned_frames
from models.sampling.condition import Condition
from models.sampling.loop import Pictures
from models.video import VideoDiT, clip_settings, frame_times, reach
from models.weights import load_part

PART = "video"
SMALLEST = 0.7  # of a drawn picture, so that it has room to move


@dataclass(frozen=True)
class ClipStep:
    """`step` of `total` steps are done."""

    step: int
    total: int
    preview: np.ndarray | None = None  # (T, 64, 64, 4), the frames so far, at step 0 the draft; None unless asked for


@dataclass(frozen=True)
class DrawnClip:
    """A finished clip: its frames, how many of them make a second, the picture that it began with, and the stored
    drawings that this one was drawn from, where it was drawn."""

    frames: np.ndarray
    fps: float
    loop: bool
    first: np.ndarray
    credits: tuple[Credit, ...] = ()


class ClipPipeline:
    """Text or picture -> a clip of 128 x 128 with alpha, by the parts of `pictures` and the video generator."""

    sampling = ClipSampling()

    def __init__(self, pictures: StickerPipeline, video: VideoDiT) -> None:
        self.pictures, self.video = pictures, video

    @classmethod
    def assemble(cls, root: Path | None = None, pictures: StickerPipeline | None = None) -> "ClipPipeline":
        """The parts under `root` (None: the shipped ones), verified; `pictures` where they are loaded already."""
        pictures = pictures or StickerPipeline.assemble(root)
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
        sampling: ClipSampling | None = None,
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
        sampling = sampling or self.sampling
        p, autoencoder = self.pictures, self.pictures.autoencoder
        condition = p.encode_condition([parse_literally(plain_motion(prompt))])
        asked = torch.tensor([loop]), torch.tensor([fps]), torch.tensor([strength])
        first, credits = self.first(prompt, seed) if picture is None else (picture, ())
        first = self._with_room(first, condition, count, *asked) if room or picture is None else first
        frames, left_out, fading = planned_frames(
            self.video, autoencoder, to_tensor(first), condition, *asked, count=count, drafted=sampling.drafted
        )
        if last is not None:
            frames = replace(frames, last=autoencoder.encode(to_tensor(last).to(autoencoder.dtype)).float())
            fading = torch.ones_like(fading)
        noise, latents = clip_noise(torch.Generator().manual_seed(seed), tuple(frames.draft.shape)), frames.draft
        yield ClipStep(0, sampling.steps, self._preview(latents) if previews and sampling.drafted else None)
        denoised = denoise_clip(self.video, p.dit, noise, condition, frames, left_out, sampling)
        for step, latents in enumerate(denoised, 1):
            yield ClipStep(step, sampling.steps, self._preview(latents) if previews else None)
        yield DrawnClip(to_uint8(autoencoder.decode(latents[0]) * fading[0]), fps, loop, first, credits)

    def first(self, prompt: str, seed: int) -> tuple[np.ndarray, tuple[Credit, ...]]:
        """The picture of a prompt, premultiplied uint8 (128, 128, 4), and the drawings that it was drawn from."""
        events = self.pictures.steps([still_prompt(prompt)], [seed])
        return next((event.pixels[0], event.credits[0]) for event in events if isinstance(event, Pictures))

    def _with_room(self, picture: np.ndarray, condition: Condition, count: int, *asked: Tensor) -> np.ndarray:
        """The picture, smaller and moved aside as far as it takes to stay in sight; with a ground, as it is."""
        if picture[..., 3].all():
            return picture
        pixels, times, autoencoder = to_tensor(picture), frame_times(count, asked[0]), self.pictures.autoencoder
        latents = autoencoder.encode(pixels.to(autoencoder.dtype)).float()
        plan = self.video.planner(latents, condition.states, condition.mask, clip_settings(*asked))
        scale, corner = room(reach(pixels[:, 3:], plan, times, asked[0])[0].numpy())
        canvas, side = np.zeros_like(picture), round(SIZE * scale)
        put(canvas, resized(picture, side, side), *np.round(SIZE * corner).astype(int))
        return canvas

    def _preview(self, latents: Tensor) -> np.ndarray | None:
        rows = self.pictures.autoencoder.config.preview
        return to_uint8(preview(latents[0], rows)) if rows else None


def room(reached: np.ndarray) -> tuple[float, np.ndarray]:
    """Scale (SMALLEST to 1) and upper left corner (x, y), in sides of the frame, at which a picture stays in sight.

    `reached` (T, 2, 2) of `models.video.reach`. What moves further than that leaves the frame, but not at first.
    """
    low, high = reached[:, 0].min(0), reached[:, 1].max(0)
    scale = float(np.clip(1 / max((high - low).max(), 1), SMALLEST, 1))
    return scale, np.clip((1 - scale) / 2, *np.sort([-scale * low, 1 - scale * high], 0))
