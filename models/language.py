"""The language backbone: a decoder with grouped-query attention, sliding window, block mask and a mixture of experts.

It is a `transformers` model, so that `generate`, its caches and tensor, pipeline and expert parallelism are theirs.

Shapes: B rows, L tokens given now, S tokens seen (cached ones included), D width, V vocabulary; H query heads of E
numbers share G key-value heads, R = H / G each; N real tokens of the batch, X experts of which K run, M their hidden
width.

Norms are LayerNorms without weights (`layers.layer_norm`): the products that follow can learn any scale, and in bf16
on a CPU it takes a tenth of RMSNorm's time.
"""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import Cache, DynamicCache
from transformers.integrations.moe import use_experts_implementation
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from models.layers import layer_norm, rotate

# Rows of an expert are padded to a multiple of this, once there are that many for each: oneDNN compiles a kernel for
# every row count that it meets, which took a fifth of a training step.
GRANULE = 64
# Above this many keys the (L, S) scores no longer fit the cache and the fused kernel wins; at 32 tokens it takes eight
# times as long, forward and backward (10 ms against 80 for 64 rows on one core).
_WRITTEN_OUT_KEYS = 1024


class LanguageConfig(PreTrainedConfig):
    """Sizes of the backbone; ValueError where they do not fit together. `layer_types` may mix "sliding_attention" and
    "full_attention"; all layers slide where it is not given, so the cache stops growing at `sliding_window` tokens."""

    model_type = "studio128_language"
    # Plans in the words of transformers.distributed. Packed: keys beside values, gate beside up, in one matrix.
    base_model_tp_plan: ClassVar[dict[str, Any]] = {
        "layers.*.attention.query": "colwise",
        "layers.*.attention.key_value": "packed_colwise",
        "layers.*.attention.out": "rowwise",
        "layers.*.mixture.experts.gate_up_proj": "packed_colwise",
        "layers.*.mixture.experts.down_proj": "rowwise",
        "layers.*.mixture.experts": "moe_tp_experts",
    }
    base_model_ep_plan: ClassVar[dict[str, Any]] = {
        "layers.*.mixture.experts.gate_up_proj": "grouped_gemm",
        "layers.*.mixture.experts.down_proj": "grouped_gemm",
        "layers.*.mixture.experts": "ep_dispatch_experts",
    }
    base_model_pp_plan: ClassVar[dict[str, Any]] = {
        "embed_tokens": (["input_ids"], ["inputs_embeds"]),
        "layers": (["hidden_states", "attention_mask"], ["hidden_states"]),
        "norm": (["hidden_states"], ["hidden_states"]),
    }

    vocab_size: int = 12288
    hidden_size: int = 256
    num_hidden_layers: int = 6
    num_attention_heads: int = 8
    num_key_value_heads: int = 2
    head_dim: int = 32
    moe_intermediate_size: int = 128
    num_experts: int = 16
    num_experts_per_tok: int = 4
    sliding_window: int = 64
    layer_types: list[str] | None = None
    rope_theta: float = 10_000.0
    tie_word_embeddings: bool = True
    use_cache: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2

    def __post_init__(self, **kwargs: Any) -> None:
        if self.layer_types is None:
            self.layer_types = ["sliding_attention"] * self.num_hidden_layers
        heads, groups = self.num_attention_heads, self.num_key_value_heads
        if heads % groups:
            raise ValueError(f"{heads} query heads cannot share {groups} key heads: not a multiple")
        if not 0 < self.num_experts_per_tok <= self.num_experts:
            raise ValueError(f"{self.num_experts_per_tok} experts a token cannot be chosen among {self.num_experts}")
        if self.head_dim % 2:
            raise ValueError(f"head_dim {self.head_dim} is odd: rotary positions turn pairs")
        kwargs.setdefault("experts_implementation", "eager")  # the name of `Experts.forward` in transformers
        super().__post_init__(**kwargs)


class LanguagePreTrainedModel(PreTrainedModel):
    """What transformers wants to know of both classes below."""

    config: LanguageConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["DecoderLayer"]  # noqa: RUF012
    _keep_in_fp32_modules_strict = ["router"]  # noqa: RUF012  (0.001 steps of its bias drown in bf16)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Products keep unit variance; the two that write to the stream are scaled by its depth (GPT-2)."""
        width, hidden = self.config.hidden_size, self.config.moe_intermediate_size
        branch = (2 * self.config.num_hidden_layers) ** -0.5
        if isinstance(module, GroupedQueryAttention):
            init.normal_(module.query.weight, std=width**-0.5)
            init.normal_(module.key_value.weight, std=width**-0.5)
            init.normal_(module.out.weight, std=branch * module.out.in_features**-0.5)
        elif isinstance(module, Experts):
            init.normal_(module.gate_up_proj, std=width**-0.5)
            init.normal_(module.down_proj, std=branch * hidden**-0.5)
        elif isinstance(module, Router):
            init.normal_(module.weight, std=width**-0.5)
            init.zeros_(module.bias)
            init.zeros_(module.load)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=0.02)  # the input is normalised; as output head it starts near uniform


class LanguageModel(LanguagePreTrainedModel, GenerationMixin):
    """The decoder with its output head, tied to the embedding: `LanguageModel(LanguageConfig(**preset(...)))`."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012
    _tp_plan = {"lm_head": "colwise_gather_output"}  # noqa: RUF012
    _pp_plan = {"lm_head": ("hidden_states", "logits")}  # noqa: RUF012

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__(config)
        self.model = Decoder(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        document_ids: Tensor | None = None,
        prefix_mask: Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> CausalLMOutputWithPast:
        """Next-token logits (B, L, V) of the last `logits_to_keep` positions (0: of all), or the loss of `labels`.

        Masks cover all positions, the cached ones included, in the order of the tokens.

        Args:
            input_ids: (B, L), or inputs_embeds (B, L, D) in their place.
            attention_mask: (B, S), true at real tokens; padding is neither seen nor sent to an expert.
            position_ids: (B, L), counted from the cache's end by default. Only differences matter.
            document_ids: (B, S), numbers of the documents packed into a row: they never see each other.
            prefix_mask: (B, S or less), true at the prompt's block, which sees itself both ways.
            cache: keys and values of what came before. None is made unless `use_cache`.
            labels: (B, L), the ids themselves, -100 to leave one out. The loss is the mean over the tokens that the
                token before predicts: none that starts a document, is padding, or was seen by its predictor as part
                of one prefix. Logits are then computed where they count and not returned.
            output_hidden_states: also the states (B, L, D) before every layer and after the final norm.
        """
        masks = {"attention_mask": attention_mask, "document_ids": document_ids, "prefix_mask": prefix_mask}
        output = self.model(
            input_ids=input_ids,
            position_ids=position_ids,
            cache=cache,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            **masks,
        )
        loss = logits = None
        if labels is not None:
            loss = self._loss(output.last_hidden_state, labels, **masks)
        else:
            logits = self.lm_head(output.last_hidden_state[:, -logits_to_keep:])
        return CausalLMOutputWithPast(loss=loss, logits=logits, cache=output.cache, hidden_states=output.hidden_states)

    def _loss(
        self,
        states: Tensor,
        labels: Tensor,
        attention_mask: Tensor | None,
        document_ids: Tensor | None,
        prefix_mask: Tensor | None,
    ) -> Tensor:
        predicted = labels[:, 1:] != -100
        if attention_mask is not None:
            predicted = predicted & attention_mask[:, 1:].bool()
        if document_ids is not None:
            predicted = predicted & (document_ids[:, 1:] == document_ids[:, :-1])
        if prefix_mask is not None:
            prefix = F.pad(prefix_mask.bool(), (0, labels.shape[1] - prefix_mask.shape[1]))
            predicted = predicted & ~(prefix[:, 1:] & prefix[:, :-1])
        rows = predicted.flatten().nonzero()[:, 0]
        logits = self.lm_head(states[:, :-1].flatten(0, 1).index_select(0, rows)).float()
        target = labels[:, 1:].flatten().index_select(0, rows)
        return F.cross_entropy(logits, target, reduction="sum") / max(len(target), 1)

    def encode(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        """Token states (B, L, D) of prompts (ids and mask of real tokens, (B, L)), final norm applied, zero at padding.
        The whole prompt is one block that sees itself both ways. Experts work on the tokens of all rows together, so a
        prompt's last bits depend on its company: encode prompts one by one where they must repeat exactly."""
        states = self.model(input_ids, attention_mask=mask, prefix_mask=mask).last_hidden_state
        return states.to(self.dtype).masked_fill(~mask.bool()[..., None], 0)


class Decoder(LanguagePreTrainedModel):
    """Embedding, layers, final norm: ids to token states."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([DecoderLayer(config, i) for i in range(config.num_hidden_layers)])
        self.norm = Norm()
        self.gradient_checkpointing = False
        self.post_init()

    def embed(self, ids: Tensor | None, embeds: Tensor | None = None) -> Tensor:
        """(B, L, D) of unit scale, in the type that autocast computes in: a bf16 stream is a third faster than fp32."""
        if ids is None:
            if embeds is None:
                raise ValueError("give input_ids, or inputs_embeds in their place")
            return embeds
        x = layer_norm(self.embed_tokens(ids))
        device = x.device.type
        return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x

    def _positions(self, position_ids: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines and sines (B or 1, L, 1, E / 2) of the rotary angles, computed in fp32."""
        width = self.config.head_dim
        powers = torch.arange(0, width, 2, device=position_ids.device) / width
        angles = (position_ids[..., None].float() * self.config.rope_theta**-powers)[:, :, None]
        return angles.cos().to(dtype), angles.sin().to(dtype)

    def _biases(
        self, layers: "list[DecoderLayer]", past: int, x: Tensor, cache: Cache | None, **masks: Any
    ) -> list[Tensor]:
        """Every layer's additive bias (B or 1, L, S), made once for all layers of one window. -1e4 and not -inf: a row
        of padding, which sees nothing, is then a mean and not NaN."""
        length = x.shape[1]
        biases: dict[int | None, Tensor] = {}
        for layer in layers:
            window = layer.attention.window
            if window not in biases:
                count, first = (length, 0) if cache is None else cache.get_mask_sizes(length, layer.attention.index)
                queries, keys = range(past, past + length), range(first, first + count)
                seen = visible(queries, keys, window, device=x.device, **masks)
                biases[window] = torch.zeros(seen.shape, device=x.device, dtype=x.dtype).masked_fill_(~seen, -1e4)
        return [biases[layer.attention.window] for layer in layers]

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        document_ids: Tensor | None = None,
        prefix_mask: Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPast:
        """Token states (B, L, D) after the final norm; arguments as in `LanguageModel.forward`."""
        x = self.embed(input_ids, inputs_embeds)
        if use_cache and cache is None:
            cache = DynamicCache(config=self.config)
        layers = [layer for layer in self.layers if isinstance(layer, DecoderLayer)]  # a pipeline stage holds a part
        length, past = x.shape[1], cache.get_seq_length(layers[0].attention.index) if cache is not None else 0
        if past and prefix_mask is not None and prefix_mask[:, past:].any():
            raise ValueError(f"prefix_mask goes on behind the {past} cached tokens, which did not see what is new")
        if position_ids is None:
            position_ids = torch.arange(past, past + length, device=x.device)[None]
        real = None
        if attention_mask is not None:
            real = columns(attention_mask, past, length, "attention_mask").flatten().nonzero()[:, 0]
        positions = self._positions(position_ids, x.dtype)
        masks = {"attention_mask": attention_mask, "document_ids": document_ids, "prefix_mask": prefix_mask}
        states = [x]
        for layer, bias in zip(layers, self._biases(layers, past, x, cache, **masks), strict=True):
            states.append(layer(states[-1], bias, positions, real, cache=cache))
            if self.training:  # here and not in the router, whose forward runs twice under gradient checkpointing
                layer.mixture.router.count()
        states[-1] = self.norm(states[-1])
        return BaseModelOutputWithPast(states[-1], cache, tuple(states) if output_hidden_states else None)


class DecoderLayer(GradientCheckpointingLayer):
    """Pre-norm: attention, then the mixture."""

    def __init__(self, config: LanguageConfig, index: int) -> None:
        super().__init__()
        self.attention = GroupedQueryAttention(config, index)
        self.mixture = Mixture(config)

    def forward(
        self,
        hidden_states: Tensor,
        bias: Tensor,
        positions: tuple[Tensor, Tensor],
        real: Tensor | None,
        cache: Cache | None = None,
    ) -> Tensor:
        x = hidden_states + self.attention(layer_norm(hidden_states), bias, positions, cache)
        return x + self.mixture(layer_norm(x), real)


class GroupedQueryAttention(nn.Module):
    """Causal by its bias alone. Queries and keys are normalised and the scores doubled: 32 normalised numbers give at
    most sqrt(32) = 5.7, too little for one token to win among hundreds.
    """

    def __init__(self, config: LanguageConfig, index: int) -> None:
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


class Mixture(nn.Module):
    """Router and experts; padding passes through neither."""

    def __init__(self, config: LanguageConfig) -> None:
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

    def __init__(self, config: LanguageConfig) -> None:
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

    def __init__(self, config: LanguageConfig) -> None:
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
        x = rows.to(dtype).index_select(0, row_of_slot)
        gate, up = F.grouped_mm(x, self.gate_up_proj.to(dtype).transpose(1, 2), offs=ends).chunk(2, -1)
        # The routing weight goes on the hidden numbers: they are half as many as the output's. An empty slot's is zero,
        # so it adds nothing, forward or backward.
        share = weights.new_zeros(len(row_of_slot)).index_copy(0, slots_of_row.flatten(), weights.flatten())
        x = self.act_fn(gate) * up * share[:, None].to(dtype)
        x = F.grouped_mm(x, self.down_proj.to(dtype).transpose(1, 2), offs=ends)
        return F.embedding_bag(slots_of_row, x, mode="sum").to(rows.dtype)  # each row the sum of its K slots


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


class Norm(nn.Module):
    """`layer_norm` as a module: pipeline stages replace it by nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm(x)
