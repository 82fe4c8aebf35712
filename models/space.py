"""The 128-d semantic space: one unit vector for a text, a picture or a clip, and one door that makes it.

Shapes: B items, L text tokens, K picture tokens, T frames, D width, 128 = DIM.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from models.data.pixels import to_tensor
from models.language import LanguageModel
from models.layers import Attention, SwiGLU, layer_norm, padding_bias
from models.runtime import one_thread
from models.tokenizer import encode_texts, load_tokenizer
from models.vision import VisionEncoder
from models.weights import fits, load_part, part_folder

DIM = 128
NESTED = (32, 64, 128)  # Matryoshka: the first 32 and 64 numbers, normalised again, are spaces of their own
MOTION = "motion"  # the part that a `MotionHead` is, which need not be there
SIDE = 8  # tokens of a picture's side
CLIP_FRAMES = 16  # that stand for a longer clip, evenly spread
DROPOUT = 0.2


class SemanticSpace(ModelMixin, ConfigMixin):
    """Heads from the backbone's and the vision encoder's features into one space of unit vectors.

    Args:
        width: D of the text states and of the picture tokens. heads: of the poolings.
        scale, bias: where the match logit `scale * cosine + bias` starts (SigLIP, arXiv 2303.15343, has 10 and -10). In
            a short training neither travels far: from 10 and -5.5 it stood at 8 and -7.6 after 850 steps, where not
            even a cosine of 1 is a match.
    """

    # What a clip adds was once a layer of the space, at zero in all parts that hold it.
    _keys_to_ignore_on_load_unexpected = (r"^motion\.",)
    _ignored = ("hidden",)

    @register_to_config
    def __init__(self, width: int = 256, heads: int = 4, scale: float = 16.0, bias: float = -8.0) -> None:
        super().__init__()
        self.text_pool = Pool(width, heads, DIM)
        self.image_pool = Pool(width, heads, DIM)
        # In tens: Adam moves every parameter at one rate, and these have further to go than a weight.
        self.match_log_scale = nn.Parameter(torch.tensor(math.log(scale) / 10))
        self.match_bias = nn.Parameter(torch.tensor(bias / 10))

    @classmethod
    def extract_init_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """diffusers' own, without a warning of what parts say of that layer."""
        known = {name: value for name, value in config_dict.items() if name not in cls._ignored}
        return super().extract_init_dict(known, **kwargs)

    def text(self, states: Tensor, mask: Tensor) -> Tensor:
        """Token states (B, L, D), mask (B, L) true at real tokens -> (B, 128) unit vectors."""
        return self.text_pool(states, mask)

    def image(self, tokens: Tensor) -> Tensor:
        """Picture tokens (B, K, D) -> (B, 128) unit vectors."""
        return self.image_pool(tokens)

    def calibration(self) -> tuple[Tensor, Tensor]:
        """(scale, bias): `scale * cosine + bias` is the logit of "these two mean the same"."""
        return (10 * self.match_log_scale).exp(), 10 * self.match_bias


class Pool(nn.Module):
    """Attention pooling by one learned query, then a feed-forward layer and a projection (MAP head of SigLIP)."""

    def __init__(self, width: int, heads: int, dim: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 1, width))
        self.attention = Attention(width, heads, context=width)
        self.feed_forward = SwiGLU(width, width)
        self.project = nn.Linear(width, dim, bias=False)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, D), mask (B, L) true at real tokens -> (B, dim) float32 of unit length."""
        bias = None if mask is None else padding_bias(mask)
        query = self.query.to(tokens.dtype).expand(len(tokens), -1, -1)
        x = self.attention(query, layer_norm(tokens), bias)[:, 0]
        x = x + self.feed_forward(layer_norm(x))
        return F.normalize(self.project(layer_norm(x)).float(), dim=-1)


class MotionHead(ModelMixin, ConfigMixin):
    """What a clip means beyond the mean of its frames, from how what they show changes in each row and each column.

    A frame's vector hardly says where a thing is; its tokens do. Nothing has a bias, and only differences from the mean
    over time go in, so a still clip gives nothing. The last layer starts at zero, so an untrained head gives nothing.

    Args:
        width: D of the picture tokens. channels: C that are kept of each. hidden, layers: of what reads them in time.
    """

    @register_to_config
    def __init__(self, width: int = 256, channels: int = 8, hidden: int = 64, layers: int = 3) -> None:
        super().__init__()
        self.components = nn.Linear(width, channels, bias=False)
        self.read = nn.Linear(2 * SIDE * channels, hidden, bias=False)
        self.convolutions = nn.ModuleList(nn.Conv1d(hidden, hidden, 3, padding=1, bias=False) for _ in range(layers))
        self.write = nn.Linear(3 * hidden, DIM, bias=False)
        nn.init.zeros_(self.write.weight)

    def places(self, tokens: Tensor) -> Tensor:
        """Picture tokens (B, 64, D) -> (B, 16 C): the mean of each row and of each column."""
        return lines(self.components(tokens)).flatten(1)

    def seen(self, places: Tensor) -> Tensor:
        """`places` of frames (B, T, 16 C) -> (B, 3 hidden): what happens on the whole, at most and how much."""
        changes = F.dropout(places - places.mean(1, keepdim=True), DROPOUT, self.training)
        x = self.read(changes).transpose(1, 2)  # (B, hidden, T)
        for convolution in self.convolutions:
            x = x + F.silu(convolution(x))
        over_time = torch.cat([x.mean(2), x.amax(2), x.abs().mean(2)], 1)
        return F.dropout(over_time, DROPOUT, self.training)

    def forward(self, places: Tensor) -> Tensor:
        """`places` of frames (B, T, 16 C) -> (B, 128), to be added to the mean of their vectors."""
        return self.write(self.seen(places))


def lines(tokens: Tensor) -> Tensor:
    """Picture tokens (B, 64, C) -> (B, 16, C): the mean of each row, and of each column."""
    square = tokens.unflatten(1, (SIDE, SIDE))
    return torch.cat([square.mean(2), square.mean(1)], 1)


class Embedder:
    """The one door into the space: texts, pictures and clips in, unit vectors out, whatever else was asked in the same
    call. Bits depend on a batch's shape, so pictures run in shapes of 1 or of 32 (padded), and texts one by one: the
    experts work on the tokens of a whole batch together."""

    SHAPES = (1, 32)

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        language: LanguageModel,
        vision: VisionEncoder,
        space: SemanticSpace,
        motion: MotionHead | None = None,  # without it, a clip is the mean of its frames
    ) -> None:
        self.tokenizer, self.language, self.vision, self.space, self.motion = tokenizer, language, vision, space, motion
        parts: tuple[Any, ...] = (language, vision, space, motion)
        for part in filter(None, parts):
            part.eval()

    @classmethod
    def load(cls, root: Path | None = None) -> "Embedder":
        """The shipped parts, or those under `root`; the errors of `models.weights.load_part` say what is missing."""
        return cls(
            load_tokenizer(part_folder("language", root)),
            load_part(LanguageModel, "language", root),
            load_part(VisionEncoder, "vision", root),
            load_part(SemanticSpace, "space", root),
            load_part(MotionHead, MOTION, root) if fits(MOTION, root) else None,
        )

    @one_thread()
    @torch.inference_mode()
    def states(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """What a generator reads: token states (N, 32, D), mask (N, 32), vectors (N, 128). On one thread: 32 tokens are
        too few to share, and beside other work threads wait for each other (4 s instead of 0.1)."""
        ids, mask = encode_texts(self.tokenizer, list(texts))
        rows = [self.language.encode(ids[i : i + 1], mask[i : i + 1]) for i in range(len(ids))]
        states = torch.cat(rows) if rows else torch.zeros(0, ids.shape[1], self.language.config.hidden_size)
        return states, mask, in_fixed_shapes(self.space.text, states.to(self.space.dtype), mask)

    def text(self, texts: Sequence[str]) -> Tensor:
        """N texts -> (N, 128) float32 unit vectors."""
        return self.states(texts)[2]

    def image(self, pictures: np.ndarray) -> Tensor:
        """Premultiplied uint8 (N, 128, 128, 4) -> (N, 128) float32 unit vectors."""
        return self._read(pictures, self.space.image)

    @torch.inference_mode()
    def clip(self, clips: Sequence[np.ndarray]) -> Tensor:
        """N clips of premultiplied uint8 (T, 128, 128, 4), T may differ -> (N, 128) float32 unit vectors; a still clip
        gives its picture's."""
        return torch.cat([self._clip(frames[spread(len(frames))]) for frames in clips] or [torch.zeros(0, DIM)])

    def _clip(self, frames: np.ndarray) -> Tensor:
        """(T, 128, 128, 4) -> (1, 128)."""
        if (motion := self.motion) is None:
            return F.normalize(self.image(frames).mean(0, keepdim=True), dim=-1)
        features = self._read(frames, lambda tokens: torch.cat([self.space.image(tokens), motion.places(tokens)], 1))
        vectors, places = features[None].split((DIM, features.shape[1] - DIM), -1)
        return F.normalize(vectors.mean(1) + motion.forward(places), dim=-1)

    @torch.inference_mode()
    def _read(self, pictures: np.ndarray, head: Callable[[Tensor], Tensor]) -> Tensor:
        """What `head` makes of the tokens of pictures: a row each."""
        if pictures.dtype != np.uint8 or pictures.shape[1:] != (128, 128, 4):
            given = f"pictures of type {pictures.dtype} and shape {pictures.shape}"
            raise ValueError(f"{given}; the space reads uint8 (N, 128, 128, 4) of load_picture")

        def encode(some: Tensor) -> Tensor:
            return head(self.vision.forward(to_tensor(some.numpy()).to(self.vision.dtype)))

        return in_fixed_shapes(encode, torch.from_numpy(np.ascontiguousarray(pictures)))


def spread(count: int) -> np.ndarray:
    """Numbers of the frames that stand for a clip of `count`."""
    return np.arange(count) if count <= CLIP_FRAMES else np.arange(CLIP_FRAMES) * count // CLIP_FRAMES


def in_fixed_shapes(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Vectors of N items in batches of 1 (N = 1) or of 32, the last one padded by repeating its last item."""
    count = len(inputs[0])
    size = Embedder.SHAPES[count > 1]
    outputs = []
    for start in range(0, count, size):
        parts = [x[start : start + size] for x in inputs]
        fill = size - len(parts[0])
        padded = [torch.cat([x, x[-1:].expand(fill, *x.shape[1:])]) for x in parts]
        outputs.append(function(*padded)[: size - fill])
    return torch.cat(outputs) if outputs else torch.zeros(0, DIM)
