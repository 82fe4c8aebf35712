"""The captioner: the language backbone reads a picture through layers put between its own, and writes.

The part holds only the added layers; the backbone is stored once, stays as it is, and is attached (`attach`). Before
each of its layers a cross layer reads the picture's tokens, by cross-attention and a feed-forward layer whose gates
start at zero (Flamingo, arXiv 2204.14198, section 3.1.2): an untrained captioner is the backbone.

The picture's tokens are the ViT's, and the names of the things that the detector matches, or of those that are given.
A name's token comes with the one before it, so that a layer that looks for the last word that was written gets the next
one: names are copied, not recalled (entity-aware prompts, arXiv 2307.16525).

A caption begins with one of the TASKS' tokens, which says kind and language. Candidates of one picture are rows of one
batch that share its keys and values: the picture is read once.

Shapes: B pictures, R rows (R / B captions of each picture in turn), L tokens of a text, S tokens of a picture, each of
W numbers as features, D width of the backbone.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import CausalLMOutputWithPast

from models.data.grammar import LANGUAGES, Language
from models.detector import MOST, Detections, Detector, Thing, cut_out, peaks, thing_at
from models.language import LanguageConfig, LanguageModel
from models.layers import Attention, SwiGLU, layer_norm, padding_bias
from models.space import Embedder

Kind = Literal["short", "long", "tags"]
KINDS: tuple[Kind, ...] = ("short", "long", "tags")
TASKS: tuple[tuple[Kind, Language], ...] = tuple(product(KINDS, LANGUAGES))
FIRST_TASK = 3  # <spare0>, the token of TASKS[0]; the others follow

Features = dict[str, tuple[Tensor, Tensor]]  # by name: tokens (B, S, W), mask (B, S) true at real ones
FEATURES = ("vision", "names")
NAME_TOKENS = 8  # of a name; what is longer is cut
# Weight of a cell's log-probabilities beside its window's. The space does not help there: things of scenes are
# repainted.
CELL = 0.5


class CaptionerConfig(LanguageConfig):
    """The backbone's sizes and those of the added layers.

    `features` are the widths W by name. `ranking` holds the weights of `models.pipelines.caption` that turn the
    measures of a candidate into a probability: of a "single" candidate, and of "several".
    """

    model_type = "studio128_captioner"
    cross_heads: int = 4
    cross_hidden: int = 256
    features: dict[str, int] | None = None
    ranking: dict[str, dict[str, float]] | None = None


@dataclass(frozen=True)
class PictureContext:
    """Keys and values (B, heads, S, D / heads) for each cross layer, and the additive bias (B, 1, 1, S) of the mask."""

    layers: tuple[tuple[Tensor, Tensor], ...]
    bias: Tensor

    def rows(self, index: Tensor) -> "PictureContext":
        """The pictures `index`."""
        return PictureContext(tuple((keys[index], values[index]) for keys, values in self.layers), self.bias[index])


class Captioner(PreTrainedModel, GenerationMixin):
    """What a backbone needs to caption: `Captioner(config).attach(language)`."""

    config: CaptionerConfig
    _no_split_modules = ["CrossLayer"]  # noqa: RUF012

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        features = dict(sorted((config.features or {}).items()))  # as a stored configuration has them
        self.projections = nn.ModuleDict({name: nn.Linear(size, width) for name, size in features.items()})
        self.null_token = nn.Parameter(torch.randn(1, 1, width))  # the one token where no picture is shown
        self.task_embeddings = nn.Parameter(torch.zeros(len(TASKS), width))  # in tens, as gates are
        self.cross_layers = nn.ModuleList(
            CrossLayer(width, config.cross_heads, config.cross_hidden) for _ in range(config.num_hidden_layers)
        )
        self._attached: tuple[LanguageModel, ...] = ()  # a tuple, so that its weights are not this model's
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Layers are made as they begin."""

    def attach(self, language: LanguageModel) -> "Captioner":
        """Use this backbone; ValueError where its sizes are others."""
        needed, given = (tuple(getattr(c, name) for name in _SIZES) for c in (self.config, language.config))
        if needed != given:
            raise ValueError(
                f"a captioner of {dict(zip(_SIZES, needed, strict=True))} can't read through one of {given}"
            )
        self._attached = (language,)
        return self

    @property
    def language(self) -> LanguageModel:
        return self._attached[0]

    def read(self, features: Features, visible: Tensor | None = None) -> PictureContext:
        """What the cross layers read of pictures; `visible` (B,) is false where one is to be hidden."""
        tokens = [project(layer_norm(features[name][0].to(self.dtype))) for name, project in self.projections.items()]
        mask = torch.cat([features[name][1] for name in self.projections], 1)
        if visible is not None:
            mask = mask & visible[:, None]
        null = self.null_token.to(tokens[0].dtype).expand(len(mask), -1, -1)
        return self._context(torch.cat([null, *tokens], 1), F.pad(mask, (1, 0), value=True))

    def blind(self, count: int) -> PictureContext:
        """As `read`, of `count` pictures that are not shown: what the captioner would say of any."""
        return self._context(self.null_token.expand(count, -1, -1), torch.ones(count, 1, dtype=torch.bool))

    def _context(self, tokens: Tensor, mask: Tensor) -> PictureContext:
        tokens = layer_norm(tokens)
        layers: Any = self.cross_layers
        return PictureContext(tuple(layer.attention.keys_values(tokens) for layer in layers), padding_bias(mask))

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Cache | None = None,
        picture: PictureContext | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        return_dict: bool | None = None,
    ) -> CausalLMOutputWithPast:
        """The backbone's forward (`models.language.LanguageModel.forward`) on R rows of ids that describe `picture`;
        without one, as the backbone alone."""
        embeds = self.language.model.embed(input_ids)
        task = input_ids - FIRST_TASK
        is_task = (task >= 0) & (task < len(TASKS))
        task_embeds = 10 * self.task_embeddings[task.clamp(0, len(TASKS) - 1)]
        embeds = embeds + (task_embeds * is_task[..., None]).to(embeds.dtype)
        with self._reading(picture):
            return self.language(
                inputs_embeds=embeds, attention_mask=attention_mask, position_ids=position_ids, cache=cache,
                labels=labels, use_cache=use_cache, logits_to_keep=logits_to_keep,
            )  # fmt: skip

    @contextmanager
    def _reading(self, picture: PictureContext | None) -> Iterator[None]:
        """While it is open, a cross layer runs before every layer of the backbone."""

        def before(cross: Callable[..., Tensor], part: tuple[Tensor, Tensor], _: Any, inputs: Any) -> Any:
            return (cross(inputs[0], *part, picture.bias if picture else None), *inputs[1:])

        layers = zip(self.language.model.layers, self.cross_layers, picture.layers if picture else (), strict=False)
        with ExitStack() as hooks:
            for layer, cross, part in layers:
                hooks.enter_context(layer.register_forward_pre_hook(partial(before, cross, part)))
            yield


_SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "head_dim")


class CrossLayer(nn.Module):
    """Cross-attention to a picture and a feed-forward layer, each behind a gate a channel that starts at zero."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads, context=width)
        self.feed_forward = SwiGLU(width, hidden)
        # In tens: Adam moves every parameter at one rate, and a gate has further to go than a weight.
        self.gates = nn.Parameter(torch.zeros(2, width))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
        """`x` (R, L, D) of R / B rows for each of the B pictures in keys and values."""
        attention, feed_forward = (10 * self.gates).to(x.dtype)
        rows = layer_norm(x).reshape(len(keys), -1, x.shape[-1])  # (B, R / B L, D): one picture's rows side by side
        read = self.attention.read(rows, keys.to(x.dtype), values.to(x.dtype), bias).view_as(x)
        x = torch.addcmul(x, attention, read)
        return torch.addcmul(x, feed_forward, self.feed_forward(layer_norm(x)))


def task_token(kind: Kind, language: Language) -> int:
    """The token with which a caption of that kind begins, behind <bos>."""
    return FIRST_TASK + TASKS.index((kind, language))


# --- What it reads of a picture ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entity:
    """A thing that the captioner is told of: its names in the order of LANGUAGES ("" where a language has none), and
    its centre in [0, 1] from the left and the top."""

    names: tuple[str, ...]
    x: float = 0.5
    y: float = 0.5


@dataclass(frozen=True)
class Encoded:
    """Of B pictures: tokens (B, 64, W) of the ViT, vectors (B, 128), and the things in each."""

    tokens: Tensor
    vectors: Tensor
    things: list[list[Thing]]


class PictureEncoder:
    """Makes the captioner's features by the frozen parts."""

    def __init__(self, embedder: Embedder, detector: Detector | None) -> None:
        self.embedder, self.detector = embedder, detector
        self._name_ids = cache(self._tokenized)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Encoded:
        """Of pictures (B, 4, 128, 128) in [0, 1]; without a detector, no things."""
        vision: Any = self.embedder.vision
        tokens = vision.forward(pixels.to(vision.dtype))
        vectors = self.embedder.space.image(tokens)
        if self.detector is None:
            return Encoded(tokens, vectors, [[] for _ in pixels])
        detections = self._detect(pixels)
        whole = self.detector.guided(detections.whole, vectors)
        things = [
            [thing_at(whole[row], detections.objectness[row], cells[0])]
            if len(cells) == 1
            else self._separate(pixels[row], detections, row, cells)
            for row, cells in enumerate(peaks(detections))
        ]
        return Encoded(tokens, vectors, things)

    def _separate(
        self, pixels: Tensor, detections: Detections, row: int, cells: Sequence[tuple[int, int]]
    ) -> list[Thing]:
        """The things of one picture (4, 128, 128), each named by its window and by its cell."""
        objectness = detections.objectness[row]
        windows = self._detect(cut_out(pixels, cells, len(objectness))).whole
        return [
            thing_at(window + CELL * detections.cells[row, y, x], objectness, (x, y))
            for window, (x, y) in zip(windows, cells, strict=False)
        ]

    def _detect(self, pixels: Tensor) -> Detections:
        detector: Any = self.detector
        with torch.autocast("cpu", enabled=False):
            return detector(pixels.float())

    @torch.no_grad()
    def features(self, tokens: Tensor, entities: Sequence[Sequence[Entity]]) -> Features:
        """Of tokens (B, 64, W) of the ViT and the entities of each picture."""
        return {
            "vision": (tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)),
            "names": self.names(entities),
        }

    def names(self, entities: Sequence[Sequence[Entity]]) -> tuple[Tensor, Tensor]:
        """Tokens (B, MOST languages NAME_TOKENS, W) and mask: each token of each name and the one before it as the
        backbone reads them; thing, language and place in the name as one-hot numbers; the thing's centre."""
        tokenizer = self.embedder.tokenizer
        ids = torch.full((len(entities), MOST, len(LANGUAGES), NAME_TOKENS), tokenizer.pad_token_id)
        centres = torch.zeros(len(entities), MOST, 2)
        for row, listed in enumerate(entities):
            for number, entity in enumerate(listed[:MOST]):
                centres[row, number] = torch.tensor([entity.x, entity.y])
                for language, name in enumerate(entity.names):
                    name_ids = self._name_ids(name or entity.names[0])
                    ids[row, number, language, : len(name_ids)] = torch.tensor(name_ids)
        words = layer_norm(self.embedder.language.model.embed(ids).float())
        before = F.pad(words, (0, 0, 1, 0))[..., :-1, :]
        marks = torch.cat([_one_hot(ids, dim) for dim in (1, 2, 3)] + [
            2 * centres[:, :, None, None].expand(*ids.shape, 2) - 1
        ], -1)  # fmt: skip
        tokens = torch.cat([words, before, 2 * marks], -1)
        return tokens.flatten(1, 3), (ids != tokenizer.pad_token_id).flatten(1)

    def _tokenized(self, name: str) -> list[int]:
        """Ids of a name as it is written inside a text."""
        tokenizer = self.embedder.tokenizer
        encoded = tokenizer([name], add_special_tokens=False)["input_ids"][0]
        space = tokenizer.convert_tokens_to_ids("\u0120")  # before a Chinese name: none inside a text
        return (encoded[1:] if encoded[:1] == [space] else encoded)[:NAME_TOKENS]

    def width(self, name: str) -> int:
        """W of a feature."""
        hidden = self.embedder.language.config.hidden_size
        marks = MOST + len(LANGUAGES) + NAME_TOKENS + 2
        return {"vision": self.embedder.vision.config.width, "names": 2 * hidden + marks}[name]

    def entities(self, things: Sequence[Thing], ranks: Sequence[int] | None = None) -> list[Entity]:
        """What the captioner is told of things: the likeliest name of each, or the one of its rank."""
        assert self.detector is not None
        names = self.detector.config["names"]
        return [
            Entity(tuple(names[thing.concepts[rank]]), thing.x, thing.y)
            for thing, rank in zip(things, ranks or [0] * len(things), strict=True)
        ]


def _one_hot(ids: Tensor, dim: int) -> Tensor:
    """(*ids.shape, ids.shape[dim]): which place along a dimension."""
    shape = [1] * ids.ndim
    shape[dim] = ids.shape[dim]
    marks = F.one_hot(torch.arange(ids.shape[dim])).view(*shape, -1).float()
    return marks.expand(*ids.shape, -1)
