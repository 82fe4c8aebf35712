"""A cheap look at a latent: each of its pixels through one linear map to RGBA, fitted by least squares.

A matrix product instead of the decoder: microseconds at every step, and colours and outline are already right.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

PREVIEW_SIZE = 64  # pixels a side, enlarged smoothly from one per latent pixel


def fit_preview(latents: Tensor, pictures: Tensor) -> list[list[float]]:
    """The C + 1 rows of RGBA (last: the constant) that map latents to their pictures' mean colours.

    Args:
        latents: normalised, (N, C, S, S).
        pictures: premultiplied in [0, 1], (N, 4, H, H), H a multiple of S.
    """
    colours = F.avg_pool2d(pictures.float(), pictures.shape[-1] // latents.shape[-1])
    values = latents.float().permute(0, 2, 3, 1).flatten(0, 2)  # (N S S, C)
    design = torch.cat([values, torch.ones(len(values), 1)], 1)
    solution = torch.linalg.lstsq(design, colours.permute(0, 2, 3, 1).flatten(0, 2)).solution
    return [[round(value, 5) for value in row] for row in solution.tolist()]


def preview(latents: Tensor, coefficients: list[list[float]]) -> Tensor:
    """Latents (N, C, S, S) -> premultiplied (N, 4, PREVIEW_SIZE, PREVIEW_SIZE) in [0, 1], colours below alpha."""
    rows = torch.tensor(coefficients)
    colours = torch.einsum("nchw,cr->nrhw", latents.float(), rows[:-1]) + rows[-1].view(1, 4, 1, 1)
    large = F.interpolate(colours, size=(PREVIEW_SIZE, PREVIEW_SIZE), mode="bilinear").clamp(0, 1)
    return torch.cat([torch.minimum(large[:, :3], large[:, 3:]), large[:, 3:]], 1)
