"""The 128-d semantic space: one unit vector for a text, a picture or a clip, and one door that makes it.

Shapes: B items, L text tokens, K picture tokens, T frames, D width, 128 = DIM.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

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
from models.tokenizer import encode_texts, load_tokenizer
from models.vision import VisionEncoder
from models.weights import load_part, part_folder

DIM = 128
NESTED = (32, 64, 128)  # Matryoshka: the first 32 and 64 numbers, normalised again, are spaces of their own
FRAME_BASIS = 7  # a ramp, and three cosines and sines over the clip


class SemanticSpace(ModelMixin, ConfigMixin):
    """Heads from the backbone's, the vision encoder's and a clip's features into one space of unit vectors.

    Args:
        width: D of the text states and of the picture tokens. heads: of the poolings. hidden: of the temporal layer.
        scale, bias: where the match logit `scale * cosine + bias` starts (SigLIP, arXiv 2303.15343, has 10 and -10). In
            a short training neither travels far: from 10 and -5.5 it stood at 8 and -7.6 after 850 steps, where not
            even a cosine of 1 is a match.
    """

    @register_to_config
    def __init__(
        self, width: int = 256, heads: int = 4, hidden: int = 256, scale: float = 16.0, bias: float = -8.0
    ) -> None:
        super().__init__()
        self.text_pool = Pool(width, heads, DIM)
        self.image_pool = Pool(width, heads, DIM)
        self.motion = Motion(DIM, hidden)
        # In tens: Adam moves every parameter at one rate, and these have further to go than a weight.
        self.match_log_scale = nn.Parameter(torch.tensor(math.log(scale) / 10))
        self.match_bias = nn.Parameter(torch.tensor(bias / 10))

    def text(self, states: Tensor, mask: Tensor) -> Tensor:
        """Token states (B, L, D), mask (B, L) true at real tokens -> (B, 128) unit vectors."""
        return self.text_pool(states, mask)

    def image(self, tokens: Tensor) -> Tensor:
        """Picture tokens (B, K, D) -> (B, 128) unit vectors."""
        return self.image_pool(tokens)

    def clip(self, frames: Tensor) -> Tensor:
        """Vectors of a clip's frames (B, T, 128) -> (B, 128) unit vectors; a still clip gives its picture's."""
        return F.normalize(frames.mean(1) + self.motion(frames), dim=-1)

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


class Motion(nn.Module):
    """What a clip means beyond the mean of its frames. It has no bias and reads only how frames differ from their mean,
    so a still clip gives exactly nothing; the last layer starts at zero, so an untrained one gives nothing either."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate_up = nn.Linear(FRAME_BASIS * dim, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)
        nn.init.zeros_(self.down.weight)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, T, dim) -> (B, dim)."""
        basis = frame_basis(frames.shape[1]).to(frames)
        moves = basis @ (frames - frames.mean(1, keepdim=True))  # (B, FRAME_BASIS, dim)
        gate, up = self.gate_up(moves.flatten(1)).chunk(2, -1)
        return self.down(F.silu(gate) * up)


def frame_basis(frames: int) -> Tensor:
    """(FRAME_BASIS, T): how the temporal layer looks at a clip of any length, a drift and three rhythms."""
    t = (torch.arange(frames) + 0.5) / frames
    waves = [f(2 * math.pi * k * t) for k in (1, 2, 3) for f in (torch.cos, torch.sin)]
    return torch.stack([2 * t - 1, *waves]) / frames


class Embedder:
    """The one door into the space: texts, pictures and clips in, unit vectors out, whatever else was asked in the same
    call. Bits depend on a batch's shape, so pictures run in shapes of 1 or of 32 (padded), and texts one by one: the
    experts work on the tokens of a whole batch together."""

    SHAPES = (1, 32)

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, language: LanguageModel, vision: VisionEncoder, space: SemanticSpace
    ) -> None:
        self.tokenizer, self.language, self.vision, self.space = tokenizer, language, vision, space
        for part in (language, vision, space):
            part.eval()

    @classmethod
    def load(cls, root: Path | None = None) -> "Embedder":
        """The shipped parts, or those under `root`; the errors of `models.weights.load_part` say what is missing."""
        return cls(
            load_tokenizer(part_folder("language", root)),
            load_part(LanguageModel, "language", root),
            load_part(VisionEncoder, "vision", root),
            load_part(SemanticSpace, "space", root),
        )

    @torch.inference_mode()
    def states(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """What a generator reads: token states (N, 32, D), mask (N, 32), vectors (N, 128)."""
        ids, mask = encode_texts(self.tokenizer, list(texts))
        rows = [self.language.encode(ids[i : i + 1], mask[i : i + 1]) for i in range(len(ids))]
        states = torch.cat(rows) if rows else torch.zeros(0, ids.shape[1], self.language.config.hidden_size)
        return states, mask, _in_fixed_shapes(self.space.text, states.to(self.space.dtype), mask)

    def text(self, texts: Sequence[str]) -> Tensor:
        """N texts -> (N, 128) float32 unit vectors."""
        return self.states(texts)[2]

    @torch.inference_mode()
    def image(self, pictures: np.ndarray) -> Tensor:
        """Premultiplied uint8 (N, 128, 128, 4) -> (N, 128) float32 unit vectors."""
        if pictures.dtype != np.uint8 or pictures.shape[1:] != (128, 128, 4):
            given = f"pictures of type {pictures.dtype} and shape {pictures.shape}"
            raise ValueError(f"{given}; the space reads uint8 (N, 128, 128, 4) of load_picture")

        def encode(some: Tensor) -> Tensor:
            return self.space.image(self.vision.forward(to_tensor(some.numpy()).to(self.vision.dtype)))

        return _in_fixed_shapes(encode, torch.from_numpy(np.ascontiguousarray(pictures)))

    @torch.inference_mode()
    def clip(self, clips: Sequence[np.ndarray]) -> Tensor:
        """N clips of premultiplied uint8 (T, 128, 128, 4), T may differ -> (N, 128) float32 unit vectors."""
        vectors = [self.space.clip(self.image(frames)[None].to(self.space.dtype)).float() for frames in clips]
        return torch.cat(vectors) if vectors else torch.zeros(0, DIM)


def _in_fixed_shapes(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
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
