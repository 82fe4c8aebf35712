"""What a style makes of what several hands have in common: a linear map of latents for each style.

The mean of drawings is in nobody's style, and to draw from it costs style. Most of the difference is linear: of
held-out concepts the squared error to a drawing falls from 0.82 to 0.58, of a black glyph from 1.44 to 0.57, with one
convolution of KERNEL x KERNEL latents a style, fitted by least squares (`models/train/LOG.md`).

Shapes: N latents (N, C, S, S); M maps.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from models.data.styles import STYLES

KERNEL = 3
RIDGE = 100.0  # of the squared weights, beside the squared errors of latents that have unit variance
NAMES = ("", *STYLES)  # of the maps, in order; "" is for who names no style, and wants colours


def style_number(style: str) -> int:
    """Of the style's map in NAMES; a style that the table lacks has none of its own."""
    return NAMES.index(style) if style in STYLES else 0


class StyleMap:
    """`weight` (M, C, C, KERNEL, KERNEL) and `bias` (M, C), a map for each of NAMES."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight, self.bias = weight, bias

    def __call__(self, latents: Tensor, styles: Tensor) -> Tensor:
        """`latents` as styles (N,), numbers in NAMES, have them; what is all zeros has nothing to draw from and stays.

        Each is mapped alone, so that its bits do not depend on what is beside it.
        """
        weight, bias = self.weight.to(latents.device), self.bias.to(latents.device)
        mapped = [
            F.conv2d(one[None], weight[style], bias[style], padding=KERNEL // 2) if one.any() else one[None]
            for one, style in zip(latents, styles.tolist(), strict=True)
        ]
        return torch.cat(mapped)

    @classmethod
    def fit(cls, drafts: Tensor, latents: Tensor, styles: Sequence[str]) -> "StyleMap":
        """From N `drafts` and the drawings of the same things in their `styles`; a style without any stays as it is."""
        channels = drafts.shape[1]
        whole = torch.zeros(channels, channels, KERNEL, KERNEL)
        whole[:, :, KERNEL // 2, KERNEL // 2] = torch.eye(channels)
        fitted = []
        for name in NAMES:
            rows = [i for i, style in enumerate(styles) if style == name or (not name and _is_coloured(style))]
            fitted.append(_least_squares(drafts[rows], latents[rows]) if rows else (whole, torch.zeros(channels)))
        weights, biases = zip(*fitted, strict=True)
        return cls(torch.stack(weights), torch.stack(biases))


def _is_coloured(style: str) -> bool:
    return style in STYLES and not STYLES[style].colourless


def _least_squares(drafts: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (C, C, KERNEL, KERNEL) and bias (C,) of the convolution, in ridge regression's closed form."""
    channels = drafts.shape[1]
    patches = F.unfold(drafts.double(), KERNEL, padding=KERNEL // 2).transpose(1, 2).flatten(0, 1)
    inputs = F.pad(patches, (0, 1), value=1.0)
    wanted = latents.double().permute(0, 2, 3, 1).flatten(0, 2)
    penalty = RIDGE * torch.eye(inputs.shape[1], dtype=torch.double)
    penalty[-1, -1] = 0  # the bias is free
    found = torch.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ wanted)
    return found[:-1].T.reshape(channels, channels, KERNEL, KERNEL).float(), found[-1].float()
