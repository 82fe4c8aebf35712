"""Layers that the networks share, in the forms that are fast on a CPU.

Shapes: B batch, L query tokens, S key tokens (cached ones included), D width, H heads of E = D / H numbers; in
grouped-query attention, H query heads share G key-value heads, R = H / G each.
"""

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers.cache_utils import Cache

    from models.language import LanguageConfig

# Above this many keys the (L, S) scores no longer fit the cache and the fused kernel wins; at 32 tokens it takes eight
# times as long, forward and backward (10 ms against 80 for 64 rows on one core).
_WRITTEN_OUT_KEYS = 1024


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


class GroupedQueryAttention(nn.Module):
    """Causal by its bias alone. Queries and keys are normalised and the scores doubled: 32 normalised numbers give at
    most sqrt(32) = 5.7, too little for one token to win among hundreds.
    """

    def __init__(self, config: "LanguageConfig", index: int) -> None:
        super().__init__()
        assert config.layer_types is not None  # __post_init__ fills it in
        self.index = index
        self.window = config.sliding_window if config.layer_types[index] == "sliding_attention" else None
        self.width = config.head_dim
        self.query = nn.Linear(config.hidden_size, config.num_attention_heads * self.width, bias=False)
        self.key_value = nn.Linear(config.hidden_size, 2 * config.num_key_value_heads * self.width, bias=False)
        self.out = nn.Linear(config.num_attention_heads * self.width, config.hidden_size, bias=False)

    def forward(self, x: Tensor, bias: Tensor, positions: tuple[Tensor, Tensor], cache: "Cache | None") -> Tensor:
        """`x` (B, L, D) -> (B, L, D). The number of heads is read off the products: tensor parallel gives a part."""
        key, value = self.key_value(x).chunk(2, -1)
        q = rotate(2 * layer_norm(self.query(x).unflatten(-1, (-1, self.width))), *positions)
        k = rotate(layer_norm(key.unflatten(-1, (-1, self.width))), *positions).transpose(1, 2)
        v = value.unflatten(-1, (-1, self.width)).transpose(1, 2)
        if cache is not None:
            k, v = cache.update(k, v, self.index)
        return self.out(attend_grouped(q, k, v, bias))


def attend_grouped(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Attention of H query heads on G key-value heads (arXiv 2305.13245). `q` (B, L, H, E), `k` and `v` (B, G, S, E),
    `bias` (B or 1, L, S) additive -> (B, L, H * E). The R heads of a group are rows of one product, so keys and values
    are never repeated."""
    batch, length, _, width = q.shape
    groups, keys = k.shape[1:3]
    if keys > _WRITTEN_OUT_KEYS or q.device.type != "cpu":
        y = F.scaled_dot_product_attention(q.transpose(1, 2), k, v, bias[:, None].to(q.dtype), enable_gqa=True)
        return y.transpose(1, 2).flatten(2)
    q = q.view(batch, length, groups, -1).transpose(1, 2).reshape(batch, groups, -1, width)  # (B, G, L * R, E)
    scores = ((q * width**-0.5) @ k.transpose(2, 3)).view(batch, groups, length, -1, keys)
    p = (scores + bias[:, None, :, None].to(scores.dtype)).softmax(-1).to(v.dtype)
    y = p.view(batch, groups, -1, keys) @ v  # (B, G, L * R, E)
    return y.view(batch, groups, length, -1).transpose(1, 2).flatten(2)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions (arXiv 2104.09864, equation 34): `x` (B, L, heads, E), `cos` and `sin` (B, L, 1, E / 2)."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def visible(
    queries: range,
    keys: range,
    window: int | None = None,
    attention_mask: Tensor | None = None,
    document_ids: Tensor | None = None,
    prefix_mask: Tensor | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Which key each query sees: bool (B or 1, L, S). A token sees those before it and itself, fewer than `window`
    away, of its own document, that are no padding; two tokens of one document's prefix see each other both ways. Masks
    are (B, positions), the cached ones included; `prefix_mask` may end early, what continues a prompt is none."""
    distance = torch.arange(queries.start, queries.stop, device=device)[:, None]
    distance = distance - torch.arange(keys.start, keys.stop, device=device)
    seen = (distance >= 0)[None]
    if prefix_mask is not None:
        prefix = F.pad(prefix_mask.bool(), (0, max(0, keys.stop - prefix_mask.shape[1])))
        seen = seen | (prefix[:, queries.start : queries.stop, None] & prefix[:, None, keys.start : keys.stop])
    if window is not None:
        seen = seen & (distance.abs() < window)
    if document_ids is not None:
        document = columns(document_ids, queries.start, len(queries), "document_ids")[:, :, None]
        seen = seen & (document == columns(document_ids, keys.start, len(keys), "document_ids")[:, None])
    if attention_mask is not None:
        seen = seen & columns(attention_mask, keys.start, len(keys), "attention_mask").bool()[:, None]
    return seen


def columns(mask: Tensor, start: int, count: int, name: str) -> Tensor:
    """Columns [start, start + count) of a mask (B, S) over all positions; ValueError where it ends before."""
    if mask.shape[1] < start + count:
        raise ValueError(f"{name} covers {mask.shape[1]} tokens of {start + count}; the cached ones count as well")
    return mask[:, start : start + count]


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
