"""Alignment of a generator's early tokens with what our own picture encoder sees (REPA, arXiv 2410.06940).

In the form of iREPA (arXiv 2512.10794): a 3 x 3 convolution instead of a perceptron, and targets that lose their mean
over the picture, because it is where things are, and not what the picture is, that helps a generator.

Shapes: B batch, N tokens on a square grid, D width of the generator, T width of the encoder.
"""

import math

import torch.nn.functional as F
from torch import Tensor, nn


class Alignment(nn.Module):
    """1 - cosine between projected tokens (B, N, D) and the encoder's (B, N, T), as a mean."""

    def __init__(self, width: int, target: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(width, target, 3, padding=1)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """A scalar in [0, 2]."""
        side = math.isqrt(tokens.shape[1])
        grid = tokens.transpose(1, 2).unflatten(2, (side, side))  # (B, D, 8, 8)
        told = self.project(grid).flatten(2).transpose(1, 2).float()  # (B, N, T)
        return 1 - F.cosine_similarity(told, spatially_normalised(targets), dim=-1).mean()


def spatially_normalised(tokens: Tensor) -> Tensor:
    """(B, N, T) with mean 0 and deviation 1 over each picture's N tokens."""
    return (tokens - tokens.mean(1, keepdim=True)) / (tokens.std(1, keepdim=True) + 1e-6)
