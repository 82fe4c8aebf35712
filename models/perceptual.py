"""How different two latents look: the distance of what a small classifier sees in them (LPIPS, arXiv 1801.03924).

The mean square of a latent's numbers takes a blurred car for nearly as good as a car. A network that has to tell 2,000
things, ten styles and their colours apart looks at what a thing is known by. Only training uses it; it does not ship.

Shapes: latents (B, C, S, S), unit variance per channel.
"""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from models.autoencoder import ResBlock

_GROUPS = 8
_FLAT = 1e-4  # added to a square length: where nothing is seen there is no direction to compare


class Perceptual(ModelMixin, ConfigMixin):
    """A convolutional classifier of latents in three resolutions.

    Args:
        channels: C.
        widths: channels at S, S / 2 and S / 4.
        blocks: residual blocks at each.
        concepts, styles, colours: how many there are to tell apart.
    """

    config: Any

    @register_to_config
    def __init__(
        self,
        channels: int = 8,
        widths: tuple[int, int, int] = (64, 128, 256),
        blocks: int = 2,
        concepts: int = 2,
        styles: int = 2,
        colours: int = 2,
    ) -> None:
        super().__init__()
        block = partial(ResBlock, norm=partial(nn.GroupNorm, _GROUPS))
        inputs = (nn.Conv2d(channels, widths[0], 3, padding=1), *map(_halve, widths, widths[1:]))
        self.levels = nn.ModuleList(
            nn.Sequential(enter, *(block(width) for _ in range(blocks)))
            for enter, width in zip(inputs, widths, strict=True)
        )
        self.norm = nn.GroupNorm(_GROUPS, widths[-1])
        self.concept = nn.Linear(2 * widths[-1], concepts)
        self.style = nn.Linear(2 * widths[-1], styles)
        self.colour = nn.Linear(2 * widths[-1], colours)

    def features(self, latents: Tensor) -> list[Tensor]:
        """What is seen at each resolution: (B, W, S, S), (B, W', S / 2, S / 2), (B, W'', S / 4, S / 4)."""
        seen, x = [], latents.contiguous(memory_format=torch.channels_last)
        for level in self.levels:
            x = level(x)
            seen.append(x)
        return seen

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the concept, of the style, and of each colour."""
        last = F.silu(self.norm(self.features(latents)[-1]))
        pooled = F.dropout(torch.cat([last.mean((2, 3)), last.amax((2, 3))], 1), 0.2, self.training)
        return self.concept(pooled), self.style(pooled), self.colour(pooled)

    def distance(self, latents: Tensor, wanted: Tensor) -> Tensor:
        """(B,): for every place the squared distance of the two features' directions, averaged over places and summed
        over resolutions, so between 0 and 4 for each. `wanted` gets no gradient."""
        with torch.no_grad():
            there = self.features(wanted)
        pairs = zip(self.features(latents), there, strict=True)
        return torch.stack([(_direction(a) - _direction(b)).square().sum(1).mean((1, 2)) for a, b in pairs]).sum(0)


def _halve(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * inputs, outputs, 1))


def _direction(features: Tensor) -> Tensor:
    """Unit length along the channels of each place, in fp32."""
    features = features.float()
    return features * torch.rsqrt(features.square().sum(1, keepdim=True) + _FLAT)
