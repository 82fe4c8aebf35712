"""How pictures are drawn: the settings, what a drawing reports on its way, and the one loop from noise to latent.

The loop is a generator: the pipeline, the worker and the evaluation iterate it, and stop it by closing it. It knows no
text and no pixels, and takes latents of any rank (B, C, ...).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.condition import Blend, Condition
from models.guidance import Guidance, Network, Velocity, guided
from models.schedulers import (
    FAST_STEPS,
    GUIDANCE,
    GUIDED_FROM,
    build_scheduler,
    first_step,
    keeps_changes,
    set_steps,
    step,
)

MAX_STEPS = 1000
MAX_BATCH = 64
MAX_SEED = 2**63 - 1
POLISHED = 0.5  # noise level from which the fast variant's last steps can be taken: it was taught there
POLISHING = FAST_STEPS // 2  # that many
DRAFTED = 0.9  # share of noise over a draft: with more it is forgotten, with less pictures keep its style (LOG.md)

OnStep = Callable[[int, float, Tensor], Tensor | None]  # (index, sigma, latents) -> latents to go on with, or None
Steer = Callable[[float, Tensor, Tensor], Tensor]  # (sigma, latents, velocity) -> the velocity to go on with


@dataclass(frozen=True)
class Sampling:
    """How pictures are drawn, the same for all of one call.

    Attributes:
        steps: from noise to picture, 1 to MAX_STEPS; each is a call of the network (guidance runs two passes in one
            call), but for those that `polish` replaces.
        guidance: 1 is none; more follows the prompt more closely.
        interval: noise levels (low, high) between which guidance works, within [0, 1].
        scheduler: a name in `models.schedulers.SCHEDULERS`, None for the pipeline's own.
        strength: of a start from a picture, in (0, 1]: 1 forgets it.
        batch: pictures drawn together, None for the pipeline's choice.
        fast: whether the fast variant of the generator draws; it knows the plan of FAST_SAMPLING and no other.
        weaken: whether guidance leads away from a weakened network too (`models.guidance`).
        temperature: of what a picture is drawn from where it starts from none, in [0, 2]: 1 is the noise that training
            had; with less a network that takes it for as much draws fewer and clearer parts, and pictures more alike.
        cooling: power of the noise level that the temperature falls with on the way, in [0, 4]; 0 keeps it. What is
            decided first stays various, and lines that are drawn last do not wave. Schedulers that put the noise back
            (`models.schedulers.keeps_changes`) keep it too.
        polish: whether the fast variant takes over at noise level POLISHED, in POLISHING steps, where the pipeline has
            one, as many steps or more were left, and the noise is cooled, as it was when that was taught: it knows how
            drawings look, and the generator what they are.
        draft: whether a thing that is named is drawn from how it mostly is (`models.prototypes`), and several are drawn
            one by one (`models.prompts.layout`).
    """

    steps: int = 16
    guidance: float = GUIDANCE
    interval: tuple[float, float] = (GUIDED_FROM, 1.0)
    scheduler: str | None = None
    strength: float = 1.0
    batch: int | None = None
    fast: bool = False
    weaken: bool = True
    temperature: float = 0.8  # clearer to the eye, and nearer by KID, as is cooling (LOG.md)
    cooling: float = 1.0
    polish: bool = True
    draft: bool = True

    def __post_init__(self) -> None:
        low, high = self.interval
        if not 1 <= self.steps <= MAX_STEPS:
            raise ValueError(f"steps {self.steps}; give 1 to {MAX_STEPS}")
        if not math.isfinite(self.guidance) or not 0 <= self.guidance <= 100:
            raise ValueError(f"guidance {self.guidance}; give 0 to 100 (1 is none)")
        if not 0 <= low <= high <= 1:
            raise ValueError(f"guidance interval {self.interval}; give two noise levels, 0 <= low <= high <= 1")
        if not 0 < self.strength <= 1:
            raise ValueError(f"strength {self.strength}; give more than 0 and at most 1")
        if not 0 <= self.temperature <= 2:
            raise ValueError(f"temperature {self.temperature}; give 0 to 2")
        if not 0 <= self.cooling <= 4:
            raise ValueError(f"cooling {self.cooling}; give 0 to 4 (0 is none)")
        if self.batch is not None and not 1 <= self.batch <= MAX_BATCH:
            raise ValueError(f"batch {self.batch}; give 1 to {MAX_BATCH}")


# What the fast variant learned: as many steps of Euler's as this, guidance and cooling in them already.
FAST_SAMPLING = Sampling(FAST_STEPS, guidance=1.0, scheduler="euler", fast=True, cooling=0.0)


@dataclass(frozen=True)
class Progress:
    """Call number `step` of `total` of the whole work is done.

    `preview` is premultiplied uint8 (n, h, w, 4) of the pictures `first` to `first + n`, None unless asked for.
    """

    step: int
    total: int
    first: int
    preview: np.ndarray | None = None


@dataclass(frozen=True)
class Pictures:
    """Pictures `first` to `first + n` are done: premultiplied uint8 `pixels` (n, 128, 128, 4) and `latents`.

    `batch` is the shape that they were drawn in: with seeds and settings it makes them again, bit for bit. `wanted`
    (n, 128) are the semantic vectors that they were told.
    """

    first: int
    pixels: np.ndarray
    latents: Tensor
    seeds: tuple[int, ...]
    batch: int
    wanted: Tensor


class Noise:
    """The noise of some pictures, drawn (B, *shape) at every call: each picture's from its seed, whatever is beside it.

    Raises ValueError for a seed outside 0 to MAX_SEED.
    """

    def __init__(self, seeds: Sequence[int], shape: tuple[int, ...]) -> None:
        for seed in seeds:
            if not 0 <= seed <= MAX_SEED:
                raise ValueError(f"seed {seed}; give 0 to {MAX_SEED}")
        self._shape, self._streams = shape, [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self) -> Tensor:
        return torch.stack([torch.randn(self._shape, generator=stream) for stream in self._streams])


@dataclass(frozen=True)
class Step:
    """Call `index` of `count` of one batch is done: the `latents` now, and the `clean` ones they promise."""

    index: int
    count: int
    latents: Tensor
    clean: Tensor


def denoise(
    network: Network,
    noise: Tensor,
    wanted: Blend,
    unwanted: Condition,
    sampling: Sampling,
    scheduler: Any,
    start: Tensor | None = None,
    redraw: Tensor | None = None,
    on_step: OnStep | None = None,
    renoise: Callable[[], Tensor] | None = None,
    steer: Steer | None = None,
    polisher: Network | None = None,
) -> Iterator[Step]:
    """From `noise` (B, C, ...) to clean latents, along the scheduler's sigmas.

    What `wanted` gives to draw from lies under the noise too (SDEdit, arXiv 2108.01073, but that the network is told it
    were noise alone: so the plan stays whole, of four steps too).

    Args:
        scheduler: a diffusers flow scheduler without history; it is used up.
        start: clean latents that `sampling.strength` < 1 begins from.
        redraw: bool (B, 1, ...), false where the start is kept: after each step those latents are the start's own at
            that noise level (as in RePaint, arXiv 2201.09865, and Blended Latent Diffusion, arXiv 2206.02779), under
            the noise that the picture began with, so that what is kept follows one straight path and the rest is
            drawn to match it.
        on_step: sees the latents after each step and may replace them.
        renoise: draws noise (B, C, ...) for the steps of a stochastic scheduler; None leaves it to torch.
        steer: sees each guided velocity and answers with the one that is followed.
        polisher: the fast variant, for the last of the way where noise is cooled.

    Raises FloatingPointError, naming the step, where a latent stops being finite.
    """
    sigmas = set_steps(scheduler, sampling.steps)
    begin = first_step(scheduler, sampling.strength if start is not None else 1.0)
    x = _noised(start, noise, sigmas[begin]) if start is not None else begun(wanted.draft, noise, sampling.temperature)
    cools = start is None and sampling.cooling > 0 and keeps_changes(scheduler)
    guidance = Guidance(sampling.guidance, sampling.interval, sampling.weaken)
    whole = _Leg(guided(network, wanted, unwanted, guidance), scheduler, begin, len(sigmas), cools)
    last = guided(polisher, wanted, unwanted, Guidance(1.0)) if polisher is not None and cools else None
    calls = [(leg, i) for leg in _legs(whole, last, sigmas) for i in range(leg.begin, leg.end)]
    level = sigmas[begin]  # that the noise has been cooled to
    for number, (leg, i) in enumerate(calls):
        sigma, following = float(leg.scheduler.sigmas[i]), float(leg.scheduler.sigmas[i + 1])
        velocity = leg.velocity(x, sigma)
        if steer is not None:
            velocity = steer(sigma, x, velocity)
        clean, left = x - sigma * velocity, x + (1 - sigma) * velocity
        x = step(leg.scheduler, i, velocity, x, renoise)
        if leg.cools and (i + 1) % scheduler.order == 0:  # a step of the second order takes two calls
            x, level = cooled(x, left, level, following, sampling.cooling), following
        if start is not None and redraw is not None:
            x = torch.where(redraw, x, _noised(start, noise, following))
            clean = torch.where(redraw, clean, start)
        if on_step is not None:
            x = _replaced(x, on_step(number, sigma, x))
        _check(x, f"step {number + 1} of {len(calls)} ({type(scheduler).__name__}, guidance {sampling.guidance})")
        yield Step(number, len(calls), x, clean)


def in_turn(steers: Sequence[Steer]) -> Steer | None:
    """All of them as one, each with what the one before answers; None where there is none."""

    def led(sigma: float, x: Tensor, velocity: Tensor) -> Tensor:
        return reduce(lambda so_far, steer: steer(sigma, x, so_far), steers, velocity)

    return led if steers else None


@dataclass(frozen=True)
class _Leg:
    """A part of the way: the calls `begin` to `end` of a scheduler's plan, by one network."""

    velocity: Velocity
    scheduler: Any
    begin: int
    end: int
    cools: bool = False


def _legs(whole: _Leg, polishing: Velocity | None, sigmas: Sequence[float]) -> list[_Leg]:
    """The whole way, or up to the first step at POLISHED or below, and from there POLISHING steps of Euler's; the whole
    one where fewer would be left."""
    order = whole.scheduler.order  # calls a step: none is left in its middle
    ends = [i for i, sigma in enumerate(sigmas) if sigma <= POLISHED + 1e-6 and i % order == 0 and i > 0]
    if polishing is None or not ends or len(sigmas) - ends[0] < POLISHING:
        return [whole]
    scheduler, level = build_scheduler("euler"), sigmas[ends[0]]
    scheduler.set_timesteps(sigmas=np.linspace(level, level / POLISHING, POLISHING))
    return [replace(whole, end=ends[0]), _Leg(polishing, scheduler, 0, POLISHING)]


def begun(draft: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """The noise, over a draft in the rows that have one, as much of it as the temperature says."""
    rows = draft.flatten(1).any(1).view(-1, *[1] * (noise.ndim - 1))
    return temperature * (torch.where(rows, _noised(draft, noise, DRAFTED), noise) if rows.any() else noise)


def cooled(x: Tensor, noise: Tensor, before: float | Tensor, after: float | Tensor, power: float) -> Tensor:
    """Latents at the level `after`, with (after / before)^power of the `noise` that a step from `before` left there."""
    return x + after * ((after / before) ** power - 1) * noise


def _check(latents: Tensor, after: str) -> None:
    if not torch.isfinite(latents).all():
        raise FloatingPointError(
            f"the latent is not finite after {after}; lower the guidance or take another scheduler"
        )


def _noised(start: Tensor, noise: Tensor, sigma: float) -> Tensor:
    return (1 - sigma) * start + sigma * noise


def _replaced(latents: Tensor, answer: Tensor | None) -> Tensor:
    if answer is not None and answer.shape != latents.shape:
        raise ValueError(f"the callback returned latents of shape {tuple(answer.shape)}, not {tuple(latents.shape)}")
    return latents if answer is None else answer
