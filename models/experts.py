"""A mixture of experts: a sigmoid router that balances its load without a loss, and stacked SwiGLU networks.

Shapes: B rows of L tokens, D width; N real tokens of the batch; X experts of which K run, M their hidden width.
"""

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.integrations.moe import use_experts_implementation

if TYPE_CHECKING:
    from models.language import LanguageConfig


# Rows of an expert are padded to a multiple of this, once there are that many for each: oneDNN compiles a kernel for
# every row count that it meets, which took a fifth of a training step.
GRANULE = 64


class Mixture(nn.Module):
    """Router and experts; padding passes through neither."""

    def __init__(self, config: "LanguageConfig") -> None:
        super().__init__()
        self.router = Router(config)
        self.experts = Experts(config)

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        """`x` (B, L, D), `real` (N,) numbers of the real tokens among B * L, or None for all -> (B, L, D)."""
        flat = x.flatten(0, 1)
        rows = flat if real is None else flat.index_select(0, real)
        y = self.experts(rows, *self.router(rows))
        if real is not None:
            y = torch.zeros_like(flat).index_add(0, real, y)
        return y.view_as(x)


class Router(nn.Module):
    """Sigmoid gate in fp32 with loss-free balancing (arXiv 2408.15664): `bias` moves the choice, never the weight.
    `bias` is set in training. `load` counts the choices of training forwards since its last update."""

    def __init__(self, config: "LanguageConfig") -> None:
        super().__init__()
        self.chosen_experts = config.num_experts_per_tok
        self.weight = nn.Parameter(torch.empty(config.num_experts, config.hidden_size))
        self.bias = nn.Buffer(torch.zeros(config.num_experts))
        self.load = nn.Buffer(torch.zeros(config.num_experts, dtype=torch.int64), persistent=False)
        self.latest = torch.zeros(config.num_experts, dtype=torch.int64)  # choices of the last training forward

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(N, D) -> expert numbers (N, K) and weights (N, K), fp32, K in sum: with equal scores the layer is then a
        dense feed-forward of K times the hidden width."""
        with torch.autocast(rows.device.type, enabled=False):
            scores = F.linear(rows.float(), self.weight.float()).sigmoid()
            chosen = (scores.detach() + self.bias.float()).topk(self.chosen_experts, sorted=False).indices
            weights = scores.gather(1, chosen)
            weights = weights * (self.chosen_experts / weights.sum(-1, keepdim=True))
        if self.training:
            self.latest = chosen.flatten().bincount(minlength=len(self.bias))
        return chosen, weights

    def count(self) -> None:
        """Add the choices of the last training forward to `load`."""
        self.load.add_(self.latest)


@use_experts_implementation
class Experts(nn.Module):
    """X SwiGLU networks (arXiv 2002.05202), their weights stacked.

    `forward` sorts the pairs by expert and multiplies group by group. It is the default, "eager" to transformers; the
    library's forms can be chosen by `set_experts_implementation` ("batched_mm" exports), but they ignore autocast and
    take 1.6 times as long on a CPU.
    """

    def __init__(self, config: "LanguageConfig") -> None:
        super().__init__()
        self.num_experts = config.num_experts  # transformers lowers it to the local number in expert parallel
        width, hidden = config.hidden_size, config.moe_intermediate_size
        self.gate_up_proj = nn.Parameter(torch.empty(self.num_experts, 2 * hidden, width))  # [gate; up]
        self.down_proj = nn.Parameter(torch.empty(self.num_experts, width, hidden))
        self.act_fn = F.silu

    def forward(self, rows: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """`rows` (N, D), `chosen` (N, K) expert numbers, `weights` (N, K) -> (N, D) in the dtype of `rows`. The number
        `num_experts` means an expert of another process, whose weight is 0 (expert parallel)."""
        dtype = self.gate_up_proj.dtype  # grouped_mm does not follow autocast by itself
        if torch.is_autocast_enabled(rows.device.type):
            dtype = torch.get_autocast_dtype(rows.device.type)
        row_of_slot, slots_of_row, ends = _slots(chosen.clamp(max=self.num_experts - 1), self.num_experts)
        x = _Spread.apply(rows.to(dtype), row_of_slot, slots_of_row)
        gate, up = F.grouped_mm(x, self.gate_up_proj.to(dtype).transpose(1, 2), offs=ends).chunk(2, -1)
        # The routing weight goes on the hidden numbers: they are half as many as the output's. An empty slot's is zero,
        # so it adds nothing, forward or backward.
        share = weights.new_zeros(len(row_of_slot)).index_copy(0, slots_of_row.flatten(), weights.flatten())
        x = self.act_fn(gate) * up * share[:, None].to(dtype)
        x = F.grouped_mm(x, self.down_proj.to(dtype).transpose(1, 2), offs=ends)
        return _Gather.apply(x, row_of_slot, slots_of_row).to(rows.dtype)


class _Spread(torch.autograd.Function):
    """Rows to slots in expert order; the gradient of a row is the sum over the slots of its K pairs. `index_select` and
    `embedding_bag` copy whole rows: indexing and its scatter-add take fifteen times as long here."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, row_of_slot: Tensor, slots_of_row: Tensor) -> Tensor:
        ctx.save_for_backward(slots_of_row)
        return rows.index_select(0, row_of_slot)  # (S, D)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (slots_of_row,) = ctx.saved_tensors
        return F.embedding_bag(slots_of_row, gradients[0].contiguous(), mode="sum"), None, None


class _Gather(torch.autograd.Function):
    """The transpose of `_Spread`: every row the sum of its K slots."""

    @staticmethod
    def forward(ctx: Any, pairs: Tensor, row_of_slot: Tensor, slots_of_row: Tensor) -> Tensor:
        ctx.save_for_backward(row_of_slot)
        return F.embedding_bag(slots_of_row, pairs, mode="sum")  # (N, D)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (row_of_slot,) = ctx.saved_tensors
        return gradients[0].index_select(0, row_of_slot), None, None


def _slots(chosen: Tensor, experts: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where each (row, choice) pair stands once pairs are sorted by the expert numbers `chosen` (N, K): row_of_slot
    (S,), 0 in empty slots; slots_of_row (N, K); ends (experts,) int32, S last."""
    expert, pairs = chosen.flatten().sort(stable=True)
    counts = expert.bincount(minlength=experts)
    granule = GRANULE if len(pairs) >= GRANULE * experts else 1
    ends = (-(-counts // granule) * granule).cumsum(0)
    # A pair's place among the real ones, moved by the empty slots of the experts before its own.
    moved = ends.roll(1).index_fill(0, ends.new_zeros(1), 0) - (counts.cumsum(0) - counts)
    slots = torch.arange(len(pairs), device=pairs.device) + moved.index_select(0, expert)
    row_of_slot = pairs.new_zeros(int(ends[-1])).index_copy(0, slots, pairs // chosen.shape[1])
    slots_of_row = torch.empty_like(pairs).index_copy(0, pairs, slots).view_as(chosen)
    return row_of_slot, slots_of_row, ends.int()
