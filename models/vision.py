"""Vision transformer on premultiplied RGBA: a picture becomes 8 x 8 tokens that the space and the captioner read.

It reads alpha as a fourth channel rather than a picture composited on some colour: a sticker has no background, any
colour would hide the objects that share it, and one premultiplied picture has exactly one encoding.

Shapes: B pictures, 64 tokens (patch 16 of 128 px), K kept tokens, D width.
"""

from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from models.layers import Attention, SwiGLU, layer_norm


class VisionEncoder(ModelMixin, ConfigMixin):
    """ViT of `layers` blocks over the stem's 64 tokens, with learned positions; `width` is D, `channels` are the stem's
    at 32 x 32 and at 16 x 16."""

    config: Any

    @register_to_config
    def __init__(self, width: int = 256, layers: int = 6, heads: int = 4, channels: tuple[int, int] = (32, 96)) -> None:
        super().__init__()
        self.stem = Stem(width, channels)
        self.positions = nn.Parameter(0.1 * torch.randn(64, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))

    def forward(self, pixels: Tensor, keep: Tensor | None = None) -> Tensor:
        """Tokens (B, K, D), layer-normed, of premultiplied pictures (B, 4, 128, 128) in [0, 1]; token i stands for row
        i // 8, column i % 8. `keep` (B, K) are the tokens to go on with, None all 64: training on half of them costs
        half and learns as much (FLIP, arXiv 2212.00794)."""
        if pixels.shape[1:] != (4, 128, 128):
            raise ValueError(f"pictures of shape {tuple(pixels.shape)}; VisionEncoder reads (B, 4, 128, 128)")
        x = self.stem(pixels)
        x = x + self.positions.to(x.dtype)  # in the stem's dtype: a bf16 stream is five times as fast as fp32
        if keep is not None:
            x = x.gather(1, keep[..., None].expand(-1, -1, x.shape[-1]))
        for block in self.blocks:
            x = block(x)
        return layer_norm(x)


class Stem(nn.Module):
    """Four convolutions down to patch 16 ("Early convolutions help transformers see better", arXiv 2106.14881). The
    first one takes 4 pixels at a stride: a convolution at 64 x 64 alone would cost as much as three blocks."""

    def __init__(self, width: int, channels: tuple[int, int]) -> None:
        super().__init__()
        self.edges = nn.Conv2d(4, channels[0], 7, stride=4, padding=3)
        self.parts = nn.Conv2d(channels[0], channels[1], 3, stride=2, padding=1)
        self.refine = nn.Conv2d(channels[1], channels[1], 3, padding=1)
        self.project = nn.Conv2d(channels[1], width, 3, stride=2, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 4, 128, 128) in [0, 1] -> (B, 64, D)."""
        x = pixels.contiguous(memory_format=torch.channels_last)  # twice as fast as NCHW on a CPU
        x = F.relu(self.edges(x))  # zero padding is what a premultiplied picture has outside: nothing
        x = F.relu(self.parts(x))  # (B, C, 16, 16)
        x = x + F.relu(self.refine(x))
        return self.project(x).flatten(2).transpose(1, 2)  # (B, 64, D)


class Block(nn.Module):
    """Pre-norm transformer block, each branch scaled by a learned vector (LayerScale, arXiv 2103.17239)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.feed_forward = SwiGLU(width)
        self.scale = nn.Parameter(torch.full((2, width), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, K, D) -> (B, K, D), in the dtype of `x`."""
        attention, feed_forward = self.scale.to(x.dtype)
        x = torch.addcmul(x, attention, self.attention(layer_norm(x)))
        return torch.addcmul(x, feed_forward, self.feed_forward(layer_norm(x)))
