"""Grouped-query attention with rotary positions, and the rule of who sees whom.

Shapes: B rows, L tokens given now, S tokens seen (cached ones included), D width; H query heads in G groups of R, one
key-value head each, E numbers a head.
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.cache_utils import Cache

from models.layers import layer_norm

if TYPE_CHECKING:
    from models.language import LanguageConfig

# Above this many keys the (L, S) scores no longer fit the cache and the fused kernel wins; at 32 tokens it takes eight
# times as long, forward and backward (10 ms against 80 for 64 rows on one core).
_WRITTEN_OUT_KEYS = 1024


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions (arXiv 2104.09864, equation 34): `x` (B, L, heads, E), `cos` and `sin` (B, L, 1, E / 2)."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def attend_grouped(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Attention of H query heads on G key-value heads (arXiv 2305.13245).

    `q` (B, L, H, E), `k` and `v` (B, G, S, E), `bias` (B or 1, L, S) additive -> (B, L, H * E). The R heads of a group
    are rows of one product, so keys and values are never repeated.
    """
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

    def forward(self, x: Tensor, bias: Tensor, positions: tuple[Tensor, Tensor], cache: Cache | None) -> Tensor:
        """`x` (B, L, D) -> (B, L, D). The number of heads is read off the products: tensor parallel gives a part."""
        key, value = self.key_value(x).chunk(2, -1)
        q = rotate(2 * layer_norm(self.query(x).unflatten(-1, (-1, self.width))), *positions)
        k = rotate(layer_norm(key.unflatten(-1, (-1, self.width))), *positions).transpose(1, 2)
        v = value.unflatten(-1, (-1, self.width)).transpose(1, 2)
        if cache is not None:
            k, v = cache.update(k, v, self.index)
        return self.out(attend_grouped(q, k, v, bias))


def columns(mask: Tensor, start: int, count: int, name: str) -> Tensor:
    """Columns [start, start + count) of a mask (B, S) over all positions; ValueError where it ends before."""
    if mask.shape[1] < start + count:
        raise ValueError(f"{name} covers {mask.shape[1]} tokens of {start + count}; the cached ones count as well")
    return mask[:, start : start + count]


def visible(
    queries: range,
    keys: range,
    window: int | None = None,
    attention_mask: Tensor | None = None,
    document_ids: Tensor | None = None,
    prefix_mask: Tensor | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Which key each query sees: bool (B or 1, L, S).

    A token sees those before it and itself, fewer than `window` away, of its own document, that are no padding; two
    tokens of one document's prefix see each other both ways. Masks are (B, positions), the cached ones included;
    `prefix_mask` may end early, what continues a prompt is none.
    """
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
