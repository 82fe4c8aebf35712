"""Layers that the networks share, in the forms that are fast on a CPU.

Shapes: B batch, L query tokens, S key tokens, D width, H heads of E = D / H numbers.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention with query/key norm: `heads` divide `width`, D of queries and output; `context` is the width
    of the keys' source, where that is another sequence (cross-attention)."""

    def __init__(self, width: int, heads: int, context: int | None = None) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(context or width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, L, D) -> (B, H, L, E)

    def forward(self, x: Tensor, context: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """`x` (B, L, D), `context` (B, S, C) or None, `bias` as in `attend` -> (B, L, D)."""
        return self.read(x, *self.keys_values(x if context is None else context), bias)

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Keys, normalised, and values (B, H, S, E) of `context` (B, S, C): what `read` reads, any number of times."""
        key, value = self.key_value(context).chunk(2, -1)
        return layer_norm(self._split(key)), self._split(value)

    def read(self, x: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None = None) -> Tensor:
        """What `x` (B, L, D) reads in them, (B, L, D)."""
        y = attend(layer_norm(self._split(self.query(x))), keys, values, bias)
        return self.out(y.transpose(1, 2).flatten(2))


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Softmax attention: q (B, H, L, E), k and v (B, H, S, E), additive `bias` broadcastable to (B, H, L, S). Written
    out: for 64 tokens it takes half the time of `scaled_dot_product_attention` on a CPU, forward and backward."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # (B, H, L, S)
    if bias is not None:
        scores = scores + bias.to(scores.dtype)
    return scores.softmax(-1).to(v.dtype) @ v  # (B, H, L, E)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions (arXiv 2104.09864, equation 34): `x` (B, L, heads, E), `cos` and `sin` (B, L, 1, E / 2)."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def padding_bias(mask: Tensor) -> Tensor:
    """Additive attention bias (B, 1, 1, S) from a mask (B, S) that is true at real tokens. -1e4 and not -inf: a row
    whose every key is padding then gives a mean instead of NaN."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill(~mask.bool(), -1e4)[:, None, None]


class SwiGLU(nn.Module):
    """Gated feed-forward, `W3(silu(W1 x) * W2 x)` (arXiv 2002.05202), hidden size 8/3 of the width by default."""

    def __init__(self, width: int, hidden: int | None = None) -> None:
        super().__init__()
        hidden = hidden or 32 * math.ceil(width * 8 / 3 / 32)
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        gate, up = self.gate_up(x).chunk(2, -1)
        return self.down(F.silu(gate) * up)


def layer_norm(x: Tensor) -> Tensor:
    """LayerNorm over the last axis without affine terms, in the dtype of `x` (autocast would lift it to fp32): in bf16
    it takes a tenth of `F.rms_norm`'s time on a CPU."""
    with torch.autocast(x.device.type, enabled=False):
        return F.layer_norm(x, x.shape[-1:])


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Adaptive layer norm's affine part, x (1 + scale) + shift (DiT, arXiv 2212.09748, section 3.2): `x` (B, L, D),
    `shift` and `scale` (B, D)."""
    return torch.addcmul(shift[:, None].to(x.dtype), x, 1 + scale[:, None].to(x.dtype))


def timestep_embedding(t: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding (B, width) of times `t` (B,) in [0, 1], scaled to the 1,000 steps DDPM used."""
    half = width // 2
    frequencies = torch.exp(-math.log(1e4) * torch.arange(half, device=t.device) / half)
    angles = 1000.0 * t.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], -1)
