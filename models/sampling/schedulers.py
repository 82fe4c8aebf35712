"""The samplers as a table: diffusers' flow schedulers by name. Imports neither torch nor diffusers until one is built.

A scheduler steps a latent along sigma from 1 (noise) to 0 (picture), given the velocity = noise - x0. A stochastic one
takes some of the noise for fresh noise at every step: what an earlier step got wrong is forgotten with it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.messages import Refused, did_you_mean

Scheduler = Any  # diffusers' SchedulerMixin declares none of the methods that its schedulers share


def _plain(scheduler: Scheduler, evaluations: int) -> None:
    scheduler.set_timesteps(evaluations)


def _even(scheduler: Scheduler, evaluations: int) -> None:
    """Its own plan ends with a step from 0.001 to 0, an evaluation for nothing."""
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / evaluations, evaluations))


def _second_order(scheduler: Scheduler, evaluations: int) -> None:
    """Two evaluations a node but for the last; its own plan ends for nothing too."""
    nodes = (evaluations + 1) // 2
    scheduler.sigma_min = 1 / nodes
    scheduler.set_timesteps(nodes)


@dataclass(frozen=True)
class Sampler:
    """A class of diffusers and its arguments."""

    scheduler: str
    config: dict[str, Any] = field(default_factory=dict)
    plan: Callable[[Scheduler, int], None] = _plain  # sets the noise levels of a number of evaluations of the network
    stochastic: bool = False  # whether steps add noise
    # Whether noise that is taken from the latents between two steps stays away: UniPC's corrector goes back to those
    # before its last step.
    keeps_changes: bool = True


_FLOW: dict[str, Any] = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
_SDE = {**_FLOW, "algorithm_type": "sde-dpmsolver++"}

# A new row is a new sampler everywhere.
SCHEDULERS: dict[str, Sampler] = {
    "euler": Sampler("FlowMatchEulerDiscreteScheduler", plan=_even),
    "heun": Sampler("FlowMatchHeunDiscreteScheduler", plan=_second_order),
    "dpm++": Sampler("DPMSolverMultistepScheduler", _FLOW),
    "dpm++ sde": Sampler("DPMSolverMultistepScheduler", _SDE, stochastic=True, keeps_changes=False),
    "unipc": Sampler("UniPCMultistepScheduler", _FLOW, keeps_changes=False),
}
DEFAULT_SCHEDULER = "dpm++"
GUIDANCE = 4.0  # 3 is further from real pictures, and 5 is no nearer (LOG.md)
GUIDED_FROM = 0.25  # noise level from which guidance works: below it costs twice the time and sharpness (LOG.md)
FAST_STEPS = 4  # of Euler's, which the fast variant of the generator (`models.lora`) was taught and no others


def build_scheduler(name: str) -> Scheduler:
    """A fresh scheduler; ValueError says which names there are and which was probably meant."""
    if name not in SCHEDULERS:
        hint = did_you_mean(name, SCHEDULERS)
        raise Refused("models.unknown_scheduler", name=name, hint=hint, known=sorted(SCHEDULERS))
    import diffusers

    row = SCHEDULERS[name]
    return getattr(diffusers, row.scheduler)(**row.config)


def sampler_of(scheduler: Scheduler) -> Sampler:
    """The row that a scheduler was built from, the one with most of its configuration; a plain row for others."""
    name, config = type(scheduler).__name__, scheduler.config
    rows = [
        row
        for row in SCHEDULERS.values()
        if row.scheduler == name and all(config.get(key) == value for key, value in row.config.items())
    ]
    return max(rows, key=lambda row: len(row.config), default=Sampler(name))


def set_steps(scheduler: Scheduler, evaluations: int) -> list[float]:
    """Plan `evaluations` calls of the network (a second-order method takes the odd number below an even one). Returns
    the sigma of each call: diffusers rounds some of its timesteps to integers, its sigmas never."""
    sampler_of(scheduler).plan(scheduler, evaluations)
    return scheduler.sigmas[: len(scheduler.timesteps)].tolist()


def step(scheduler: Scheduler, index: int, velocity: Any, x: Any, noise: Callable[[], Any] | None = None) -> Any:
    """The latent after step `index` from `x`; `noise` draws what a stochastic scheduler adds (None: torch draws it)."""
    fresh = {"variance_noise": noise()} if noise is not None and sampler_of(scheduler).stochastic else {}
    return scheduler.step(velocity, scheduler.timesteps[index], x, **fresh, return_dict=False)[0]


def first_step(scheduler: Scheduler, strength: float) -> int:
    """Where a run that starts from a picture enters the plan, and tell the scheduler; strength 1 is the whole plan."""
    count = len(scheduler.timesteps)
    begin = min(count - 1, round(count * (1 - strength)))
    begin -= begin % scheduler.order  # never between the two halves of a second-order step
    scheduler.set_begin_index(begin)
    return begin
