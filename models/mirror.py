"""What looks alike from both sides is drawn so: the two halves of a face agree.

Most drawings of a face, a fruit or a building are their own mirror image, and a generator that has not learned that to
the pixel gives them two different ears. So where what other hands drew is symmetric, the clean latents that a step
promises are brought together with their own mirror image, while the shape is still being decided.

A latent's mirror image is not the flipped latent (channels hold what leans left and what leans right), but a linear map
of it, of 3 x 3 neighbours: on pictures that it was not fitted on it leaves 3 % of the variance, the plain flip 27 %.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.autoencoder import Autoencoder
from models.data.pixels import to_tensor
from models.data.sampling import evenly
from models.data.world import World

FITTED = 1000  # training pictures
CHUNK = 50
ALIKE = 0.08  # asymmetry below which a draft is symmetric: a quarter of all, and nine in ten of them rightly (LOG.md)
UNTIL = 0.3  # noise level: below it a leaf or a highlight may stand on one side


class Mirror:
    """The map from latents to those of the mirrored pictures.

    `weights` are (9 C + 1, C): of the flipped latent's 3 x 3 neighbours, channel by channel, and a constant.
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
        """(B,): the mean squared difference from the mirror image; 0 is symmetric, 2 what has nothing to do with it."""
        return (latents - self(latents)).square().mean((1, 2, 3))

    @classmethod
    def fit(cls, latents: Tensor, mirrored: Tensor) -> "Mirror":
        """By least squares, from the latents (N, C, S, S) of pictures and of their mirror images."""
        near = F.unfold(_framed(latents.float()), 3).transpose(1, 2).flatten(0, 1)  # (N S S, 9 C)
        design = torch.cat([near, torch.ones(len(near), 1)], 1)
        return cls(torch.linalg.lstsq(design, mirrored.float().permute(0, 2, 3, 1).flatten(0, 2)).solution)

    @classmethod
    @torch.no_grad()
    def build(cls, world: World, autoencoder: Autoencoder) -> "Mirror":
        """From training pictures."""
        pictures = evenly(world.split("train"), FITTED)
        pixels = to_tensor(world.pixels[[picture.index for picture in pictures]])
        sides = [torch.cat([autoencoder.encode(x) for x in own.split(CHUNK)]) for own in (pixels, pixels.flip(3))]
        return cls.fit(*sides)

    def steer(self, drafts: Tensor) -> "Symmetry | None":
        """How pictures are drawn from `drafts` (B, C, S, S), of which zeros are none; None where none is symmetric."""
        rows = drafts.flatten(1).any(1) & (self.asymmetry(drafts) < ALIKE)
        return Symmetry(self, rows) if rows.any() else None


@dataclass(frozen=True)
class Symmetry:
    """Makes `rows` (B,) of a drawing symmetric; the others stay as they are, to the bit."""

    mirror: Mirror
    rows: Tensor

    def __call__(self, sigma: float, x: Tensor, velocity: Tensor) -> Tensor:
        """The velocity (B, C, S, S) at `x` that leads to what lies halfway to the mirror image."""
        if sigma < UNTIL:
            return velocity
        clean = x - sigma * velocity
        halfway = (clean + self.mirror(clean)) / 2
        return torch.where(self.rows.view(-1, 1, 1, 1), (x - halfway) / sigma, velocity)


def _framed(latents: Tensor) -> Tensor:
    return F.pad(latents.flip(3), (1, 1, 1, 1), mode="replicate")
