"""Guidance hooks: what changes a step of the sampling loop, by name. `Sampling.hooks` switches each of them on or off.

A hook sees the velocity before a step and the latents after it. Guidance hooks change the velocity so that the clean
latents that it leads to (x - sigma v) are moved: to their own mirror image, or to the reference.

Shapes: B pictures, latents (B, C, S, S); reference latents are zero in rows that have none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.references.symmetry import LatentMirror

AUTOGUIDANCE, REFERENCE, SYMMETRY = "autoguidance", "reference", "symmetry"
COOLING, REFINER, FLATTENING = "cooling", "refiner", "flattening"

# What can be switched off, and what it does.
HOOKS: dict[str, str] = {
    AUTOGUIDANCE: "guidance leads away from a weakened network as well (models.sampling.guidance)",
    REFERENCE: "the picture keeps to its reference drawing while the shape is decided (ReferenceGuidance)",
    SYMMETRY: "what has a symmetric reference is drawn symmetric (SymmetryGuidance)",
    COOLING: "noise is taken away on the way (Cooling)",
    REFINER: "the fast variant takes the last steps (models.sampling.loop)",
    FLATTENING: "areas of flat styles get one colour after decoding (models.sampling.postprocess)",
}

REFERENCE_PULL = 1.0  # share of the way to the reference, times the noise level
REFERENCE_UNTIL = 0.5  # noise level, not included: below it a reference has no details to give
SYMMETRIC_UNTIL = 0.3  # noise level: below it a leaf or a highlight may stand on one side

OnStep = Callable[[int, float, Tensor], Tensor | None]  # (index, sigma, latents) -> latents to go on with, or None


@dataclass(frozen=True)
class Call:
    """Call `index` of the network is done: it led from noise level `sigma` to `following`.

    `ends_step` says whether a step of the scheduler ends with it (one of second order takes two calls), `refines`
    whether the refiner made it. `noise` (B, C, S, S) is what the network takes for the noise in the latents.
    """

    index: int
    sigma: float
    following: float
    ends_step: bool
    refines: bool
    noise: Tensor


class Hook:
    """Changes nothing; a hook overrides what it changes."""

    def velocity(self, sigma: float, x: Tensor, velocity: Tensor) -> Tensor:
        """The velocity to follow at latents `x`, given that of the network or of the hook before."""
        return velocity

    def clean(self, clean: Tensor) -> Tensor:
        """The clean latents that a call reports."""
        return clean

    def latents(self, call: Call, x: Tensor) -> Tensor:
        """The latents to go on with after a call."""
        return x


@dataclass(frozen=True)
class SymmetryGuidance(Hook):
    """Moves the clean latents of `rows` (B,) towards their mirror images; the other rows stay equal to the bit.

    Most drawings of a face or a fruit are symmetric, and a generator that has not learned that to the pixel gives them
    two different ears. `strength` 1 goes halfway, to what is symmetric.
    """

    mirror: LatentMirror
    rows: Tensor
    strength: float = 1.0

    @classmethod
    def of(cls, mirror: LatentMirror | None, references: Tensor, strength: float = 1.0) -> "list[Hook]":
        """For the rows that have a symmetric reference; none where there is no such row."""
        rows = mirror.symmetric(references) if mirror else torch.zeros(())
        return [cls(mirror, rows, strength)] if mirror and rows.any() else []

    def velocity(self, sigma: float, x: Tensor, velocity: Tensor) -> Tensor:
        """Towards the mean of the clean latents and their mirror image."""
        if sigma < SYMMETRIC_UNTIL:
            return velocity
        clean = x - sigma * velocity
        symmetric = (clean + self.mirror(clean)) / 2
        target = symmetric if self.strength == 1 else clean.lerp(symmetric, self.strength)
        return torch.where(self.rows.view(-1, 1, 1, 1), (x - target) / sigma, velocity)


@dataclass(frozen=True)
class ReferenceGuidance(Hook):
    """Moves the clean latents of `rows` (B,) towards their `references` (B, C, S, S); the others stay equal to the bit.

    As ILVR (arXiv 2108.02938) does to a reference picture, and the further the more noise there is: of noise alone
    nothing is known but the reference, and what has been drawn since is to stay. In training a picture is drawn from
    other artists' drawings of the thing, so the network takes a reference for a rough one.
    """

    references: Tensor
    rows: Tensor
    strength: float = 1.0

    @classmethod
    def of(cls, references: Tensor, follow: Tensor, strength: float = 1.0) -> "list[Hook]":
        """For the rows that `follow` (B,) says and that have a reference; none where there is no such row."""
        rows = references.flatten(1).any(1) & follow.to(references.device)
        return [cls(references, rows, strength)] if rows.any() else []

    def velocity(self, sigma: float, x: Tensor, velocity: Tensor) -> Tensor:
        """Towards the references."""
        if sigma <= REFERENCE_UNTIL:
            return velocity
        nearer = (x - sigma * velocity).lerp(self.references.to(x.dtype), REFERENCE_PULL * sigma * self.strength)
        return torch.where(self.rows.view(-1, 1, 1, 1), (x - nearer) / sigma, velocity)


class Cooling(Hook):
    """Takes noise away after each step: of the noise that belongs to a level s, s^power is left.

    What is decided first stays various, and lines that are drawn last do not wave. Only for schedulers that keep such
    changes, and not where a picture is the start.
    """

    def __init__(self, power: float) -> None:
        self.power = power
        self._level: float | None = None  # that the noise has been cooled to

    def latents(self, call: Call, x: Tensor) -> Tensor:
        """`x` with less noise, where a step ends."""
        if self._level is None:
            self._level = call.sigma
        if call.refines or not call.ends_step:
            return x
        before, self._level = self._level, call.following
        return cooled(x, call.noise, before, call.following, self.power)


def cooled(x: Tensor, noise: Tensor, before: float | Tensor, after: float | Tensor, power: float) -> Tensor:
    """Latents at the level `after`, with (after / before)^power of the `noise` that a step from `before` left there."""
    return x + after * ((after / before) ** power - 1) * noise


@dataclass(frozen=True)
class Inpainting(Hook):
    """Keeps the clean latents `start` where `redraw` (B, 1, S, S) is false.

    After each step those latents are the start's own at that noise level (RePaint, arXiv 2201.09865; Blended Latent
    Diffusion, arXiv 2206.02779), under the `noise` that the picture began with, so that what is kept follows one
    straight path and the rest is drawn to match it.
    """

    start: Tensor
    redraw: Tensor
    noise: Tensor

    def clean(self, clean: Tensor) -> Tensor:
        """The start where it is kept."""
        return torch.where(self.redraw, clean, self.start)

    def latents(self, call: Call, x: Tensor) -> Tensor:
        """The start at the new noise level where it is kept."""
        return torch.where(self.redraw, x, noised(self.start, self.noise, call.following))


@dataclass(frozen=True)
class Callback(Hook):
    """Shows the latents to a function, and takes those that it answers with; ValueError for another shape."""

    on_step: OnStep

    def latents(self, call: Call, x: Tensor) -> Tensor:
        """The function's answer, `x` where that is None."""
        answer = self.on_step(call.index, call.sigma, x)
        if answer is not None and answer.shape != x.shape:
            raise ValueError(f"the callback returned latents of shape {tuple(answer.shape)}, not {tuple(x.shape)}")
        return x if answer is None else answer


def noised(clean: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """Clean latents at a noise level."""
    return (1 - sigma) * clean + sigma * noise


def guidance_hooks(
    names: frozenset[str], references: Tensor, follow: Sequence[bool], mirror: LatentMirror | None, strength: float
) -> list[Hook]:
    """The guidance hooks of pictures with `references` (B, C, S, S), of those that are switched on, in their order."""
    symmetry = SymmetryGuidance.of(mirror, references, strength) if SYMMETRY in names else []
    return symmetry + (ReferenceGuidance.of(references, torch.tensor(follow), strength) if REFERENCE in names else [])
