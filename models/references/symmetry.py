"""The mirror image of a latent, for symmetry guidance (`models.sampling.guidance`).

The latent of a mirrored picture is not the flipped latent, because channels encode which way an edge leans. It is a
linear map of it, of 3 x 3 neighbours: on pictures that it was not fitted on it leaves 3 % of the variance, a plain flip
27 %.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

ALIKE = 0.08  # asymmetry below which a reference is symmetric: a quarter of all, nine in ten of them rightly (LOG.md)


class LatentMirror:
    """The map from latents to those of the mirrored pictures: `weights` (9 C + 1, C) of the flipped latent's 3 x 3
    neighbours, channel by channel, and a constant."""

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
