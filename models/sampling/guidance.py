"""Classifier-free guidance with autoguidance, and hooks: changes of each step of the sampling loop.

A guidance hook changes the velocity before a step, so that it moves the clean latents (x - sigma v) towards their own
mirror image or towards the reference. A latent hook changes the latents after the step.

Shapes: B pictures, latents (B, C, ...); reference latents are zero in rows that have none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.sampling.condition import ComposedCondition, Condition

Network = Callable[..., Tensor]  # (x, t, states, mask, vector, reference) and (B,) bool `weakened` -> velocity
Velocity = Callable[[Tensor, float], Tensor]  # (x, sigma) -> velocity

ALIKE = 0.08  # asymmetry below which a reference is symmetric: a quarter of all, nine in ten of them rightly (LOG.md)


def guided(
    network: Network,
    wanted: ComposedCondition,
    unwanted: Condition,
    scale: float = 1.0,
    interval: tuple[float, float] = (0.0, 1.0),
) -> Velocity:
    """The velocity u + scale (w - u), where w is under `wanted` and u under `unwanted` (arXiv 2207.12598, equation 6);
    w alone for scale 1 and at noise levels outside `interval`, where guidance costs diversity (high noise) or changes
    nothing (low noise), and twice the time (arXiv 2404.07724).

    The second pass goes through a weakened network (autoguidance, arXiv 2406.02507): a weakened network makes the same
    mistakes more strongly, so leading away from it improves shapes as well as meaning. The first part and `unwanted`
    are one batch of 2 B rows, and each other part is a batch of its own: so a picture's bits do not depend on how many
    parts another one has.
    """
    first, *others = wanted.parts
    both = Condition.cat([first, unwanted])
    weakened = torch.arange(len(both)) >= len(wanted)

    def velocity(x: Tensor, sigma: float) -> Tensor:
        t = x.new_full((len(x),), sigma)
        beside = [network(x, t, *vars(part).values()) for part in others]
        if scale == 1 or not interval[0] <= sigma <= interval[1]:
            return wanted.mean([network(x, t, *vars(first).values()), *beside])
        output = network(torch.cat([x, x]), torch.cat([t, t]), *vars(both).values(), weakened=weakened)
        towards, away = output.chunk(2)
        return combined(torch.cat([wanted.mean([towards, *beside]), away]), scale)

    return velocity


def combined(outputs: Tensor, scale: float | Tensor) -> Tensor:
    """u + scale (w - u) of a network's answers to 2 B rows, `wanted` first; one scale for all or (B, 1, ...)."""
    wanted, unwanted = outputs.chunk(2)
    return unwanted + scale * (wanted - unwanted)


REFERENCE_PULL = 1.0  # share of the way to the reference, times the noise level
# Noise level, included, from which down lines inside a shape are drawn, and the share of the way from there. The
# network draws such lines from what it knows of similar things ("thumbs up" with another finger), the reference has the
# right ones (LOG.md).
DETAILS_FROM, DETAIL_PULL = 0.5, 0.75
SYMMETRIC_UNTIL = 0.3  # noise level: below it a leaf or a highlight may stand on one side


@dataclass(frozen=True)
class Call:
    """A call of the network that led from noise level `sigma` to `following`. `ends_step` says whether a step of the
    scheduler ends with it (a step of second order takes two calls), `refines` whether the refiner made it. `noise`
    (B, C, S, S) is the network's estimate of the noise in the latents."""

    sigma: float
    following: float
    ends_step: bool
    refines: bool
    noise: Tensor


GuidanceHook = Callable[[float, Tensor, Tensor], Tensor]  # (sigma, x, velocity) -> the velocity to follow
LatentHook = Callable[[Call, Tensor], Tensor]  # (call, x) -> the latents to go on with


class LatentMirror:
    """The map from a picture's latent to the latent of its mirror image, for symmetry guidance.

    That is not the flipped latent, because channels encode which way an edge leans. It is a linear map of the flipped
    latent's 3 x 3 neighbours, channel by channel, and a constant: `weights` (9 C + 1, C). On pictures that it was not
    fitted on it leaves 3 % of the variance; a plain flip leaves 27 %.
    """

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights

    def __call__(self, latents: Tensor) -> Tensor:
        """Latents (B, C, S, S) of the mirrored pictures."""
        weights = self.weights.to(latents.device)
        channels = latents.shape[1]
        kernel = weights[:-1].T.reshape(channels, channels, 3, 3)
        return F.conv2d(_framed(latents), kernel, weights[-1])

    def asymmetry(self, latents: Tensor) -> Tensor:
        """(B,): the mean squared difference from the mirror image; 0 is symmetric, 2 is unrelated."""
        return (latents - self(latents)).square().mean((1, 2, 3))

    def symmetric(self, references: Tensor) -> Tensor:
        """Which of the references (B, C, S, S) are symmetric, bool (B,); zeros are no reference."""
        return references.flatten(1).any(1) & (self.asymmetry(references) < ALIKE)

    @classmethod
    def fit(cls, latents: Tensor, mirrored: Tensor) -> "LatentMirror":
        """By least squares, from the latents (N, C, S, S) of pictures and of their mirror images."""
        near = F.unfold(_framed(latents.float()), 3).transpose(1, 2).flatten(0, 1)  # (N S S, 9 C)
        design = torch.cat([near, torch.ones(len(near), 1)], 1)
        return cls(torch.linalg.lstsq(design, mirrored.float().permute(0, 2, 3, 1).flatten(0, 2)).solution)


def _framed(latents: Tensor) -> Tensor:
    return F.pad(latents.flip(3), (1, 1, 1, 1), mode="replicate")


def guidance_hooks(
    references: Tensor, follow: Sequence[bool], mirror: LatentMirror | None, strength: float = 1.0
) -> list[GuidanceHook]:
    """The guidance hooks of pictures with `references` (B, C, S, S), in their order; `follow` says of each picture
    whether reference guidance applies."""
    hooks = [
        symmetry_guidance(mirror, references, strength) if mirror else None,
        reference_guidance(references, torch.tensor(follow), strength),
    ]
    return [hook for hook in hooks if hook]


def symmetry_guidance(mirror: LatentMirror, references: Tensor, strength: float = 1.0) -> GuidanceHook | None:
    """Moves the clean latents of rows that have a symmetric reference towards their mirror images; the other rows stay
    equal to the bit. None where there is no such row.

    Most drawings of a face or a fruit are symmetric, and a generator that has not learned that to the pixel gives them
    two different ears. `strength` 1 goes halfway, to what is symmetric.
    """
    rows = mirror.symmetric(references).view(-1, 1, 1, 1)

    def hook(sigma: float, x: Tensor, velocity: Tensor) -> Tensor:
        if sigma < SYMMETRIC_UNTIL:
            return velocity
        clean = x - sigma * velocity
        target = clean.lerp((clean + mirror(clean)) / 2, strength)
        return torch.where(rows, (x - target) / sigma, velocity)

    return hook if rows.any() else None


def reference_guidance(references: Tensor, follow: Tensor, strength: float = 1.0) -> GuidanceHook | None:
    """Moves the clean latents of rows that `follow` (B,) their reference towards it; the others stay equal to the bit.
    None where there is no such row.

    As ILVR (arXiv 2108.02938) does to a reference picture. Above DETAILS_FROM the further the more noise there is: of
    noise alone nothing is known but the reference, and what has been drawn since is to stay. Below it by DETAIL_PULL:
    in training a picture is drawn from other artists' drawings of the thing, so the network takes a reference for a
    rough one, and gives it other lines.
    """
    rows = (references.flatten(1).any(1) & follow.to(references.device)).view(-1, 1, 1, 1)

    def hook(sigma: float, x: Tensor, velocity: Tensor) -> Tensor:
        pull = REFERENCE_PULL * sigma if sigma > DETAILS_FROM else DETAIL_PULL
        nearer = (x - sigma * velocity).lerp(references.to(x.dtype), pull * strength)
        return torch.where(rows, (x - nearer) / sigma, velocity)

    return hook if rows.any() else None


def cooling(power: float) -> LatentHook:
    """Takes noise away after each step: of the noise that belongs to a level s, s^power is left. What is decided first
    stays various, and lines that are drawn last do not wave. Only for schedulers that keep such changes, and not where
    a picture is the start."""
    level: float | None = None  # that the noise has been cooled to

    def hook(call: Call, x: Tensor) -> Tensor:
        nonlocal level
        before = call.sigma if level is None else level
        if call.refines or not call.ends_step:
            level = before
            return x
        level = call.following
        return cooled(x, call.noise, before, level, power)

    return hook


def cooled(x: Tensor, noise: Tensor, before: float | Tensor, after: float | Tensor, power: float) -> Tensor:
    """Latents at the level `after`, with (after / before)^power of the `noise` that a step from `before` left there."""
    return x + after * ((after / before) ** power - 1) * noise


def inpainting(start: Tensor, redraw: Tensor, noise: Tensor) -> LatentHook:
    """Keeps the clean latents `start` where `redraw` (B, 1, S, S) is false.

    After each step those latents are the start's own at that noise level (RePaint, arXiv 2201.09865; Blended Latent
    Diffusion, arXiv 2206.02779), under the `noise` that the picture began with, so that what is kept follows one
    straight path and the rest is drawn to match it.
    """
    return lambda call, x: torch.where(redraw, x, noised(start, noise, call.following))


def noised(clean: Tensor, noise: Tensor, sigma: float | Tensor) -> Tensor:
    """Clean latents at a noise level, one for all or (B, 1, ...)."""
    return (1 - sigma) * clean + sigma * noise
