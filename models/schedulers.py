"""The samplers as a table: diffusers' flow schedulers by name. Imports neither torch nor diffusers until one is built.

A scheduler steps a latent along sigma from 1 (noise) to 0 (picture), given the velocity = noise - x0. A stochastic one
takes some of the noise for fresh noise at every step: what an earlier step got wrong is forgotten with it.
"""

import difflib
from collections.abc import Callable
from typing import Any

import numpy as np

Scheduler = Any  # diffusers' SchedulerMixin declares none of the methods that its schedulers share

_FLOW: dict[str, Any] = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}

# name -> (class in diffusers, its configuration). A new row is a new sampler everywhere.
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "euler": ("FlowMatchEulerDiscreteScheduler", {}),
    "heun": ("FlowMatchHeunDiscreteScheduler", {}),
    "dpm++": ("DPMSolverMultistepScheduler", _FLOW),
    "dpm++ sde": ("DPMSolverMultistepScheduler", {**_FLOW, "algorithm_type": "sde-dpmsolver++"}),
    "unipc": ("UniPCMultistepScheduler", _FLOW),
}
DEFAULT_SCHEDULER = "dpm++"
GUIDANCE = 4.0  # 3 is further from real pictures, and 5 is no nearer (LOG.md)
GUIDED_FROM = 0.25  # noise level from which guidance works: below it costs twice the time and sharpness (LOG.md)
FAST_STEPS = 4  # of Euler's, which the fast variant of the generator (`models.fast`) was taught and no others


def build_scheduler(name: str) -> Scheduler:
    """A fresh scheduler; ValueError says which names there are and which was probably meant."""
    if name not in SCHEDULERS:
        close = difflib.get_close_matches(name, SCHEDULERS, 1, 0.4)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(SCHEDULERS))}"
        raise ValueError(f"unknown scheduler {name!r}; {hint}")
    import diffusers

    class_name, config = SCHEDULERS[name]
    return getattr(diffusers, class_name)(**config)


def fresh(scheduler: Scheduler) -> Scheduler:
    """A copy without history: schedulers keep state between steps, so each run takes its own."""
    return type(scheduler).from_config(scheduler.config)


def set_steps(scheduler: Scheduler, evaluations: int) -> list[float]:
    """Plan `evaluations` calls of the network (a second-order method takes the odd number below an even one).

    Returns the sigma of each call: diffusers rounds some of its timesteps to integers, its sigmas never.
    """
    if type(scheduler).__name__ == "FlowMatchEulerDiscreteScheduler":
        # Its own plan ends with a step from 0.001 to 0, an evaluation for nothing.
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / evaluations, evaluations))
    elif scheduler.order == 2:
        nodes = (evaluations + 1) // 2
        scheduler.sigma_min = 1 / nodes  # and so does this one's
        scheduler.set_timesteps(nodes)
    else:
        scheduler.set_timesteps(evaluations)
    return scheduler.sigmas[: len(scheduler.timesteps)].tolist()


def is_stochastic(scheduler: Scheduler) -> bool:
    """Whether its steps add noise."""
    return getattr(scheduler.config, "algorithm_type", "").startswith("sde")


def keeps_changes(scheduler: Scheduler) -> bool:
    """Whether noise that was taken from the latents between two steps stays away: a stochastic scheduler adds fresh
    noise, and UniPC's corrector goes back to the latents before its last step."""
    return not is_stochastic(scheduler) and not hasattr(scheduler, "solver_p")


def step(scheduler: Scheduler, index: int, velocity: Any, x: Any, noise: Callable[[], Any] | None = None) -> Any:
    """The latent after step `index` from `x`; `noise` draws what a stochastic scheduler adds (None: torch draws it)."""
    fresh = {"variance_noise": noise()} if noise is not None and is_stochastic(scheduler) else {}
    return scheduler.step(velocity, scheduler.timesteps[index], x, **fresh, return_dict=False)[0]


def first_step(scheduler: Scheduler, strength: float) -> int:
    """Where a run that starts from a picture enters the plan, and tell the scheduler; strength 1 is the whole plan."""
    count = len(scheduler.timesteps)
    begin = min(count - 1, round(count * (1 - strength)))
    begin -= begin % scheduler.order  # never between the two halves of a second-order step
    scheduler.set_begin_index(begin)
    return begin
