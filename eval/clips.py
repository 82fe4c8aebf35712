"""Clips in the evaluation: prompts, the studio's own generator, and controls that need no model.

Shapes: N clips of T frames, premultiplied uint8 (N, T, 128, 128, 4).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval.generator import IMAGE, Media, Parts, digest_of, drawing_code
from models.data.clips import (
    FRAMES,
    MOTION_TEMPLATES,
    MOTIONS,
    PLAIN_TRIES,
    SPEEDS,
    Clip,
    Move,
    Speed,
    Track,
    centroids,
    direction_of,
    plain_clip,
    pose,
    posed,
)
from models.data.pixels import SIZE
from models.data.world import World
from models.dit import DiT
from models.pipelines.video import PART, ClipPipeline, ClipSampling, DrawnClip
from models.prompts.still import named_motions
from models.sampling.condition import Condition
from models.video import Frames, VideoDiT

DIRECTED = tuple(name for name in MOTIONS if direction_of(name))
MOMENTS = 10


@dataclass(frozen=True)
class ClipPrompt:
    """The request of a clip; `picture` (128, 128, 4) is its first frame, None where the generator draws it."""

    text: str
    picture: np.ndarray | None = None
    loop: bool = False
    fps: float = 8.0


def plain_clips(world: World, count: int, split: str, motions: Sequence[str], seed: int) -> Iterator[Clip]:
    """`count` plain clips of pairs of concept and motion of one split, the motions in turn. ValueError for a small
    world."""
    return (plain_clip(world, seed + n * PLAIN_TRIES, split, motions[n % len(motions)]) for n in range(count))


def prompt_of(world: World, clip: Clip, seed: int) -> ClipPrompt:
    """The request of a true clip: its picture at rest and its caption."""
    return ClipPrompt(clip.caption(world, seed, "en"), clip.rest(world), clip.loop, clip.fps)


class StickerClipGenerator:
    """The studio's clip pipeline with the weights of `weights`, as a `Generator`."""

    name = "sticker clips"
    media: Media = "clip"
    abilities = frozenset({"drafts"})
    parts = (*IMAGE, PART)

    def __init__(self, weights: Parts) -> None:
        self.weights = weights

    def settings(self, **options: Any) -> str:
        sampling = ClipPipeline.sampling
        return f"{sampling.steps} steps from noise level {sampling.least} to {sampling.most}"

    def digest(self) -> str:
        """Of weights, dtype, sampling and all code that could have drawn."""
        key = self.weights.digests(self.parts), ClipPipeline.sampling, str(self.weights.clips.video.dtype)
        return digest_of(*key, drawing_code())

    def generate(
        self, prompts: Sequence[ClipPrompt], seeds: Sequence[int], *, drafted: bool = True, apart: bool = False
    ) -> np.ndarray:
        """Clips (N, FRAMES, 128, 128, 4).

        Args:
            drafted: whether the planner's draft is there; without it the motion attention is alone.
            apart: each frame by itself, which sees no other one: a control.
        """
        pipeline = self.weights.clips
        if apart:
            pipeline = ClipPipeline(pipeline.pictures, cast(VideoDiT, Apart(pipeline.video)))
        sampling = replace(ClipPipeline.sampling, drafted=drafted)
        return np.stack([_drawn(pipeline, prompt, seed, sampling) for prompt, seed in zip(prompts, seeds, strict=True)])


def _drawn(pipeline: ClipPipeline, prompt: ClipPrompt, seed: int, sampling: ClipSampling) -> np.ndarray:
    options: dict[str, Any] = {"loop": prompt.loop, "fps": prompt.fps, "sampling": sampling, "count": FRAMES}
    *_, clip = pipeline.steps(prompt.text, seed, picture=prompt.picture, **options)
    assert isinstance(clip, DrawnClip)
    return clip.frames


class Apart(nn.Module):
    """The video generator of frames that don't see each other."""

    def __init__(self, video: Any) -> None:
        super().__init__()
        self.video, self.planner = video, video.planner

    def forward(self, image: DiT, x: Tensor, t: Tensor, condition: Condition, frames: Frames) -> Tensor:
        every = [torch.tensor([number]) for number in range(x.shape[1])]
        return torch.cat([self.video(image, x[:, number], t, condition, frames.of(number)) for number in every], 1)


# --- Controls ---------------------------------------------------------------------------------------------------------


def still(prompts: Sequence[ClipPrompt]) -> np.ndarray:
    """The given pictures, which don't move."""
    return np.stack([np.repeat(given(prompt)[None], FRAMES, 0) for prompt in prompts])


def shuffled(clips: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """The same frames in another order, another one for each clip."""
    rng = np.random.default_rng(0)
    return np.stack([clip[rng.permutation(len(clip))] for clip in clips])


def warped(prompts: Sequence[ClipPrompt]) -> np.ndarray:
    """What code without a network makes of it: the whole picture, moved by the law of the verb that is found in the
    words; it stands still where there is none."""
    clips = []
    for prompt in prompts:
        track = Track(0, SIZE, SIZE / 2, SIZE / 2, move_of(prompt.text, prompt.loop) or Move("slide left"))
        times = np.arange(FRAMES) / (FRAMES if prompt.loop else FRAMES - 1)
        poses = (
            pose(track.move, times, FRAMES / prompt.fps) if move_of(prompt.text) else pose(track.move, 0 * times, 1.0)
        )
        clips.append(np.stack([posed(given(prompt), track, numbers) for numbers in poses]))
    return np.stack(clips)


def given(prompt: ClipPrompt) -> np.ndarray:
    assert prompt.picture is not None, "this control moves a given picture"
    return prompt.picture


def move_of(text: str, loop: bool = False) -> Move | None:
    """The motion and speed that a text names by words of the table; the longest name where there are several."""
    motions, low = named_motions(text), text.casefold()
    if not motions:
        return None
    speeds: dict[Speed, list[str]] = {
        speed: [word for templates in MOTION_TEMPLATES.values() for word in templates["speeds"][speed]]
        for speed in SPEEDS
    }
    named = [speed for speed, words in speeds.items() if any(word and word in low for word in words)]
    return Move(motions[0], named[0] if named else "normal", loop and MOTIONS[motions[0]].loops)


# --- What is seen in a clip -------------------------------------------------------------------------------------------


def moments(clip: np.ndarray) -> np.ndarray:
    """A clip (T, H, W, 4) as (T, MOMENTS) numbers that say how it moves and little of what it shows.

    By the alpha its mass, middle, spread and opacity, and where its brightness lies in it; places and sizes beside
    those of the first frame.
    """
    x, y, mass = centroids(clip)
    alpha, bright = clip[..., 3] / 255.0, clip[..., :3].mean(-1) / 255.0
    down, across = np.mgrid[: clip.shape[1], : clip.shape[2]].astype(np.float64)
    dx, dy = across - x[:, None, None], down - y[:, None, None]
    weight = alpha / np.maximum(alpha.sum((1, 2), keepdims=True), 1e-6)
    light = bright / np.maximum(bright.sum((1, 2), keepdims=True), 1e-6)
    spread = [(weight * part).sum((1, 2)) for part in (dx * dx, dy * dy, dx * dy)]
    offset = [(light * part).sum((1, 2)) for part in (dx, dy)]
    side = np.sqrt(max(spread[0][0] + spread[1][0], 1.0))
    size = [np.sign(part) * np.sqrt(np.abs(part)) / side for part in spread]
    share = mass / max(mass[0], mass.max() / 10, 1.0)
    numbers = [x / side, y / side, *(part / side for part in offset), *size, share, alpha.max((1, 2))]
    table = np.stack([*numbers, weight.max((1, 2)) * side * side], 1)
    return table - np.where(np.arange(MOMENTS) < 7, table[:1], 0)


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean absolute difference in [0, 1] of frames (..., H, W, 4)."""
    return np.abs(a.astype(np.float32) - b.astype(np.float32)).mean((-1, -2, -3)) / 255


def seam(clip: np.ndarray) -> float:
    """The step from the last frame of a clip (T, H, W, 4) to its first, over the mean of the steps beside it."""
    beside = difference(clip[[1, -1]], clip[[0, -2]])
    return float(difference(clip[-1], clip[0]) / max(beside.mean(), 1e-6))


def motion_classifier(clips: np.ndarray, kinds: np.ndarray, steps: int = 600) -> Callable[..., np.ndarray]:
    """A small network trained on `moments` (N, T, MOMENTS) of real clips and their kinds (N,): it tells the kinds (M,)
    of others."""
    torch.manual_seed(0)
    inputs, labels = torch.from_numpy(clips).float(), torch.from_numpy(kinds)
    mean, deviation = inputs.mean((0, 1)), inputs.std((0, 1)) + 1e-3
    network = _Kinds(clips.shape[1], int(labels.max()) + 1)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.05)
    for _ in range(steps):
        rows = torch.randint(len(inputs), (128,))
        logits = network((inputs[rows] - mean) / deviation)
        loss = F.cross_entropy(logits, labels[rows], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    return lambda others: network((torch.from_numpy(others).float() - mean) / deviation).argmax(1).numpy()


class _Kinds(nn.Module):
    """Convolutions over time, what they find anywhere, and the numbers themselves."""

    def __init__(self, frames: int, kinds: int, width: int = 64) -> None:
        super().__init__()
        sizes = (MOMENTS, width, width, width)
        layers = [nn.Sequential(nn.Conv1d(a, b, 3, padding=1), nn.SiLU()) for a, b in pairwise(sizes)]
        self.convolutions = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Dropout(0.3), nn.Linear(3 * width + frames * MOMENTS, 128), nn.SiLU(), nn.Linear(128, kinds)
        )

    def forward(self, x: Tensor) -> Tensor:
        maps = self.convolutions(x.transpose(1, 2))
        return self.head(torch.cat([maps.mean(2), maps.amax(2), maps.std(2), x.flatten(1)], 1))
