"""The sampling loop, from noise to clean latents, and its settings.

The loop is a generator: the pipeline, the worker and the evaluation iterate it, and stop it by closing it. It knows no
text and no pixels, and takes latents of any rank (B, C, ...).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.messages import Refused
from models.sampling.condition import ComposedCondition, Condition
from models.sampling.guidance import Call, GuidanceHook, Network, Velocity, cooling, guided, inpainting, noised
from models.sampling.schedulers import (
    FAST_STEPS,
    GUIDANCE,
    GUIDED_FROM,
    Scheduler,
    build_scheduler,
    first_step,
    sampler_of,
    set_steps,
    step,
)

MAX_STEPS = 1000
MAX_BATCH = 64
MAX_SEED = 2**63 - 1
REFINED_FROM = 0.5  # noise level from which the fast variant can take over: it was trained to there
REFINER_STEPS = FAST_STEPS // 2
REDRAWS = 3  # twice under noise, and then the reference itself
REFERENCE_SHARE = 0.1  # of a reference in the noise that a picture begins with: with more the style is lost (LOG.md)


@dataclass(frozen=True)
class Sampling:
    """How pictures are drawn, the same for all of one call."""

    steps: int = 16  # 1 to MAX_STEPS; each is a call of the network (guidance runs two passes in one)
    guidance: float = GUIDANCE  # 0 to 100; 1 is none, more follows the prompt more closely
    interval: tuple[float, float] = (GUIDED_FROM, 1.0)  # noise levels within [0, 1] between which guidance works
    scheduler: str | None = None  # a name in `models.sampling.schedulers.SCHEDULERS`, None for the pipeline's own
    strength: float = 1.0  # of a start from a picture, in (0, 1]: 1 forgets it
    batch: int | None = None  # pictures drawn together, None for the pipeline's choice
    fast: bool = False  # whether the fast variant draws; it knows the plan of FAST_SAMPLING and no other
    # Scales the noise that a picture begins with; not where a picture is the start. Training has 1, and the network
    # assumes 1. A lower temperature draws fewer and clearer parts, more alike, and nearer to real pictures by KID, as
    # does cooling (LOG.md).
    temperature: float = 0.8
    cooling: float = 1.0  # the temperature falls with this power of the noise level; 0 keeps it, and has no refiner
    # How much a picture is drawn from reference drawings (`models.references`), in [0, 1]. 0 is the generator alone,
    # which draws several things at once instead of one by one.
    reference_strength: float = 1.0
    # How often a drawing that is read as something else is drawn again, 0 to REDRAWS; 0 reads none. Measuring the
    # generator takes 0: what the table counts must not be chosen by the reader.
    redraws: int = 0

    def __post_init__(self) -> None:
        low, high = self.interval
        if not 1 <= self.steps <= MAX_STEPS:
            raise Refused("models.steps", steps=self.steps, most=MAX_STEPS)
        if not 0 <= low <= high <= 1:
            raise Refused("models.interval", low=low, high=high)
        if not 0 < self.strength <= 1:
            raise Refused("models.strength", strength=self.strength)
        for name, most in {"guidance": 100, "reference_strength": 1}.items():
            if not 0 <= (value := getattr(self, name)) <= most:
                raise Refused(f"models.{name}", value=value)
        if not 0 <= self.redraws <= REDRAWS:
            raise Refused("models.redraws", redraws=self.redraws, most=REDRAWS)
        if self.batch is not None and not 1 <= self.batch <= MAX_BATCH:
            raise Refused("models.batch", batch=self.batch, most=MAX_BATCH)


# What the fast variant was trained to: these steps of Euler's include guidance and cooling.
FAST_SAMPLING = Sampling(FAST_STEPS, guidance=1.0, scheduler="euler", fast=True, cooling=0.0)


def seeded_noise(seeds: Sequence[int], shape: tuple[int, ...]) -> Callable[[], Tensor]:
    """A function that draws noise (B, *shape) at every call, each picture's from its own seed."""
    streams = [torch.Generator().manual_seed(seed) for seed in seeds]
    return lambda: torch.stack([torch.randn(shape, generator=stream) for stream in streams])


@dataclass(frozen=True)
class Step:
    """Call `index` of `count` of one batch is done: the `latents` now, and the `clean` ones that they lead to."""

    index: int
    count: int
    latents: Tensor
    clean: Tensor


def denoise(
    network: Network,
    noise: Tensor,
    wanted: ComposedCondition,
    unwanted: Condition,
    sampling: Sampling,
    scheduler: Scheduler,
    start: Tensor | None = None,
    redraw: Tensor | None = None,
    renoise: Callable[[], Tensor] | None = None,
    hooks: Sequence[GuidanceHook] = (),
    refiner: Network | None = None,
) -> Iterator[Step]:
    """From `noise` (B, C, ...) to clean latents, along the sigmas of a diffusers flow `scheduler`, which is used up.

    The references of `wanted` lie under the noise too, as in SDEdit (arXiv 2108.01073); but the network takes all of it
    for noise, so the schedule stays whole, even with four steps.

    Args:
        start: clean latents that `sampling.strength` < 1 begins from.
        redraw: bool (B, 1, ...), false where the start is kept.
        renoise: draws noise (B, C, ...) for the steps of a stochastic scheduler; None leaves it to torch.
        refiner: the fast variant, which takes the last REFINER_STEPS steps from noise level REFINED_FROM, where the
            noise is cooled and as many steps are left.

    Raises FloatingPointError, naming the step, where a latent stops being finite.
    """
    sigmas = set_steps(scheduler, sampling.steps)
    begin = first_step(scheduler, sampling.strength if start is not None else 1.0)
    x = begun(wanted.reference, noise, sampling) if start is None else noised(start, noise, sigmas[begin])
    cools = start is None and sampling.cooling > 0 and sampler_of(scheduler).keeps_changes
    after = [cooling(sampling.cooling)] if cools else []
    after += [inpainting(start, redraw, noise)] if start is not None and redraw is not None else []
    wanted = wanted.scaled(sampling.reference_strength)
    whole = guided(network, wanted, unwanted, sampling.guidance, sampling.interval)
    calls = [(whole, scheduler, i) for i in range(begin, len(sigmas))]
    if refiner is not None and cools:
        calls = _refined(calls, sigmas, guided(refiner, wanted, unwanted))
    for number, (velocity_of, plan, i) in enumerate(calls):
        sigma, following = plan.sigmas[i : i + 2].tolist()
        velocity = velocity_of(x, sigma)
        for hook in hooks:
            velocity = hook(sigma, x, velocity)
        clean, left = x - sigma * velocity, x + (1 - sigma) * velocity
        call = Call(sigma, following, (i + 1) % plan.order == 0, plan is not scheduler, left)
        x = step(plan, i, velocity, x, renoise)
        for change in after:
            x = change(call, x)
        if start is not None and redraw is not None:
            clean = torch.where(redraw, clean, start)
        _check(x, f"step {number + 1} of {len(calls)} ({type(scheduler).__name__}, guidance {sampling.guidance})")
        yield Step(number, len(calls), x, clean)


def _check(latents: Tensor, after: str) -> None:
    if not torch.isfinite(latents).all():
        advice = "lower the guidance or take another scheduler"
        raise FloatingPointError(f"the latent is not finite after {after}; {advice}")


_Calls = list[tuple[Velocity, Scheduler, int]]  # what answers, along whose plan, and the place there


def _refined(calls: _Calls, sigmas: Sequence[float], refiner: Velocity) -> _Calls:
    """The calls up to the first step at REFINED_FROM or below, and from there REFINER_STEPS of Euler's; all of them
    where fewer would be left."""
    order = calls[0][1].order  # calls a step: none is left in its middle
    ends = [i for i, sigma in enumerate(sigmas) if sigma <= REFINED_FROM + 1e-6 and i % order == 0 and i > 0]
    if not ends or len(sigmas) - ends[0] < REFINER_STEPS:
        return calls
    scheduler, level = build_scheduler("euler"), sigmas[ends[0]]
    scheduler.set_timesteps(sigmas=np.linspace(level, level / REFINER_STEPS, REFINER_STEPS))
    return calls[: ends[0]] + [(refiner, scheduler, i) for i in range(REFINER_STEPS)]


def begun(reference: Tensor, noise: Tensor, sampling: Sampling) -> Tensor:
    """The noise that pictures begin with, scaled by the temperature; over the reference in the rows that have one."""
    rows = reference.flatten(1).any(1).view(-1, *[1] * (noise.ndim - 1))
    if not rows.any():
        return sampling.temperature * noise
    over = noised(reference, noise, 1 - REFERENCE_SHARE * sampling.reference_strength)
    return sampling.temperature * torch.where(rows, over, noise)
