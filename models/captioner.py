"""The captioner: the language backbone reads a picture through layers put between its own, and writes.

Only what is added is here and in the part that ships; the backbone is stored once, stays as it is, and is attached
(`attach`). Before each of its layers a reader looks at the picture's tokens, by cross-attention and a feed-forward
layer whose gates start at zero (Flamingo, arXiv 2204.14198, section 3.1.2): an untrained captioner is the backbone.

A caption begins with one of ASKS' tokens, which says kind and language. Candidates of one picture are rows of one
batch that share its keys and values: the picture is read once.

Shapes: B pictures, R rows (R / B captions of each picture in turn), L tokens, S tokens of a picture, D width.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import CausalLMOutputWithPast

from models.data.grammar import LANGUAGES, Language
from models.eyes import Sight
from models.language import LanguageConfig, LanguageModel
from models.layers import Attention, SwiGLU, layer_norm, padding_bias

Kind = Literal["short", "long", "tags"]
KINDS: tuple[Kind, ...] = ("short", "long", "tags")
ASKS: tuple[tuple[Kind, Language], ...] = tuple(product(KINDS, LANGUAGES))
FIRST_ASK = 3  # <spare0>, the token of ASKS[0]; the others follow


class CaptionerConfig(LanguageConfig):
    """The backbone's sizes and those of the added layers.

    `features` are the widths of the picture's tokens by name. `ranking` holds the weights of `models.pipelines.caption`
    that turn the measures of a candidate into a probability: of a "single" candidate, and of "several".
    """

    model_type = "studio128_captioner"
    cross_heads: int = 4
    cross_hidden: int = 256
    features: dict[str, int] | None = None
    ranking: dict[str, dict[str, float]] | None = None


@dataclass(frozen=True)
class Seen:
    """Keys and values (B, heads, S, D / heads) of each reader, and the additive bias (B, 1, 1, S) of what is there."""

    parts: tuple[tuple[Tensor, Tensor], ...]
    bias: Tensor

    def rows(self, index: Tensor) -> "Seen":
        """Those pictures."""
        return Seen(tuple((keys[index], values[index]) for keys, values in self.parts), self.bias[index])


class Captioner(PreTrainedModel, GenerationMixin):
    """What a backbone needs to caption: `Captioner(config).attach(language)`."""

    config: CaptionerConfig
    _no_split_modules = ["Reader"]  # noqa: RUF012

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        eyes = dict(sorted((config.features or {}).items()))  # as a stored configuration has them
        self.projections = nn.ModuleDict({name: nn.Linear(size, width) for name, size in eyes.items()})
        self.null_token = nn.Parameter(torch.randn(1, 1, width))  # the one token where no picture is shown
        self.task_embeddings = nn.Parameter(torch.zeros(len(ASKS), width))  # in tens, as gates are
        self.cross_layers = nn.ModuleList(
            Reader(width, config.cross_heads, config.cross_hidden) for _ in range(config.num_hidden_layers)
        )
        self._attached: tuple[LanguageModel, ...] = ()  # a tuple, so that its weights are not this model's
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Layers are made as they begin."""

    def attach(self, language: LanguageModel) -> "Captioner":
        """Use this backbone; ValueError where its sizes are others."""
        own, other = (tuple(getattr(c, name) for name in _SIZES) for c in (self.config, language.config))
        if own != other:
            raise ValueError(f"a captioner of {dict(zip(_SIZES, own, strict=True))} can't read through one of {other}")
        self._attached = (language,)
        return self

    @property
    def language(self) -> LanguageModel:
        return self._attached[0]

    def look(self, sight: Sight, shown: Tensor | None = None) -> Seen:
        """The pictures as the readers read them; `shown` (B,) is false where one is to be hidden."""
        tokens = [view(layer_norm(sight[name][0].to(self.dtype))) for name, view in self.projections.items()]
        mask = torch.cat([sight[name][1] for name in self.projections], 1)
        if shown is not None:
            mask = mask & shown[:, None]
        nothing = self.null_token.to(tokens[0].dtype).expand(len(mask), -1, -1)
        return self._read(torch.cat([nothing, *tokens], 1), F.pad(mask, (1, 0), value=True))

    def blind(self, count: int) -> Seen:
        """As `look`, of `count` pictures that are not shown: what the captioner would say of any."""
        return self._read(self.null_token.expand(count, -1, -1), torch.ones(count, 1, dtype=torch.bool))

    def _read(self, context: Tensor, mask: Tensor) -> Seen:
        context = layer_norm(context)
        readers: Any = self.cross_layers
        return Seen(tuple(reader.attention.keys_values(context) for reader in readers), padding_bias(mask))

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Cache | None = None,
        seen: Seen | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        return_dict: bool | None = None,
    ) -> CausalLMOutputWithPast:
        """The backbone's forward (`models.language.LanguageModel.forward`) on R rows of ids that show `seen`; without
        it, as the backbone alone."""
        embeds = self.language.model.embed(input_ids)
        place = input_ids - FIRST_ASK
        asked = (place >= 0) & (place < len(ASKS))
        embeds = embeds + (10 * self.task_embeddings[place.clamp(0, len(ASKS) - 1)] * asked[..., None]).to(embeds.dtype)
        with self._reading(seen):
            return self.language(
                inputs_embeds=embeds, attention_mask=attention_mask, position_ids=position_ids, cache=cache,
                labels=labels, use_cache=use_cache, logits_to_keep=logits_to_keep,
            )  # fmt: skip

    @contextmanager
    def _reading(self, seen: Seen | None) -> Iterator[None]:
        """While it is open, every layer of the backbone is given what its reader adds."""

        def before(reader: Callable[..., Tensor], part: tuple[Tensor, Tensor], _: Any, inputs: Any) -> Any:
            return (reader(inputs[0], *part, seen.bias if seen else None), *inputs[1:])

        pairs = zip(self.language.model.layers, self.cross_layers, seen.parts if seen else (), strict=False)
        with ExitStack() as removed:
            for layer, reader, part in pairs:
                removed.enter_context(layer.register_forward_pre_hook(partial(before, reader, part)))
            yield


_SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "head_dim")


class Reader(nn.Module):
    """Cross-attention to a picture and a feed-forward layer, each behind a gate a channel that starts at zero."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads, context=width)
        self.feed_forward = SwiGLU(width, hidden)
        # In tens: Adam moves every parameter at one rate, and a gate has further to go than a weight.
        self.gates = nn.Parameter(torch.zeros(2, width))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
        """`x` (R, L, D) of R / B rows for each of the B pictures in keys and values."""
        read, thought = (10 * self.gates).to(x.dtype)
        rows = layer_norm(x).reshape(len(keys), -1, x.shape[-1])  # (B, R / B L, D): one picture's rows side by side
        x = torch.addcmul(x, read, self.attention.read(rows, keys.to(x.dtype), values.to(x.dtype), bias).view_as(x))
        return torch.addcmul(x, thought, self.feed_forward(layer_norm(x)))


def ask_token(kind: Kind, language: Language) -> int:
    """The token with which a caption of that kind begins, behind <bos>."""
    return FIRST_ASK + ASKS.index((kind, language))
