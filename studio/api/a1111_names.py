"""A1111's names for what is done here: samplers and noise schedules, in tables.

A client chooses by A1111's names and often can't be told others. A name of the very method is taken as such; one of a
method that is not here is taken for the nearest that is, and the answer says so; any other is not found.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from studio.capabilities import FAST


@dataclass(frozen=True)
class Sampler:
    """A scheduler of ours: its name at A1111, other names of the same method, and methods that it stands in for."""

    name: str
    ours: str
    same: tuple[str, ...] = ()
    stands_for: tuple[str, ...] = ()


SAMPLERS = (
    Sampler("Euler", "euler", ("k_euler", "DDIM"), ("Euler a", "k_euler_a", "k_euler_ancestral", "DDIM CFG++")),
    Sampler("Heun", "heun", ("k_heun",), ("DPM2", "DPM2 a", "DPM++ 2S a", "k_dpm_2")),
    Sampler("DPM++ 2M", "dpm++", ("k_dpmpp_2m", "dpmpp_2m"), ("LMS",)),
    Sampler(
        "DPM++ 2M SDE",
        "dpm++ sde",
        ("k_dpmpp_2m_sde", "dpmpp_2m_sde"),
        ("DPM++ 2M SDE Heun", "DPM++ 3M SDE", "DPM++ SDE", "k_dpmpp_sde"),
    ),
    Sampler("UniPC", "unipc", ("uni_pc",), ("PLMS",)),
    Sampler("Fast", FAST, (), ("LCM", "TCD")),
)
SCHEDULES = (
    ("automatic", "Automatic"),
    ("uniform", "Uniform"),
    ("karras", "Karras"),
    ("exponential", "Exponential"),
    ("polyexponential", "Polyexponential"),
    ("sgm_uniform", "SGM Uniform"),
    ("kl_optimal", "KL Optimal"),
    ("align_your_steps", "Align Your Steps"),
    ("simple", "Simple"),
    ("normal", "Normal"),
    ("ddim", "DDIM"),
    ("beta", "Beta"),
    ("turbo", "Turbo"),
)
AUTOMATIC = SCHEDULES[0]
# Before 1.9 the schedule was a part of the sampler's name: "DPM++ 2M Karras".
_SCHEDULE = re.compile(r" (karras|exponential|polyexponential)$", re.IGNORECASE)


def sampler(name: str, schedulers: Sequence[str]) -> tuple[str, str] | None:
    """(scheduler, what is to be said about it) for a name of A1111's or ours, among `schedulers`; None: not found."""
    bare = _SCHEDULE.sub("", name.strip())
    for row in SAMPLERS:
        if row.ours not in schedulers:
            continue
        if bare.casefold() in _folded(row.name, row.ours, *row.same):
            return row.ours, _other_schedule(name) if bare != name.strip() else ""
        if bare.casefold() in _folded(*row.stands_for):
            return row.ours, f"there is no {bare} here; {row.name} was taken."
    return None


def schedule(name: str) -> str | None:
    """What is to be said about a noise schedule, "" where it is the automatic one; None: not found."""
    for number, names in enumerate(SCHEDULES):
        if name.casefold() in _folded(*names):
            return _other_schedule(names[1]) if number else ""
    return None


def _folded(*names: str) -> set[str]:
    return {name.casefold() for name in names}


def _other_schedule(name: str) -> str:
    return f"there is one noise schedule here, the model's own; {name[:60]} was left out."
