"""The judge: scores how well a caption fits a picture. It shares no weights, data order or design with what it judges.

It shares nothing with the semantic space: convolutions instead of a transformer over patches, words cut into hashed
letter groups instead of the byte-pair tokens, its own weights and seed. It never takes part in training, guidance or
re-ranking. Where the space compares two vectors, the judge lets the words look at the picture: "which of the two is
red" is lost in a vector long before it is lost in a map.

Shapes: B pictures, C captions, W words, D width, M = 64 places of the picture's map.
"""

import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from models.data.pixels import to_tensor
from models.layers import Attention, SwiGLU, layer_norm, padding_bias
from models.weights import load_part

MAX_WORDS = 24
MAX_PIECES = 14  # of a word: itself and its letter groups
PLACES = 64
_WORD = re.compile(r"[a-z0-9]+|[^\x00-\x7f]")  # anything but ASCII stands alone: a Chinese character is a word


def pieces(word: str, buckets: int) -> list[int]:
    """Hash buckets 1... of a word and of its letter groups of three to five ("Enriching word vectors with subword
    information", arXiv 1607.04606); "cats" and "cat" share most of theirs."""
    framed = f"<{word}>"
    groups = [framed[i : i + n] for n in (3, 4, 5) for i in range(len(framed) - n + 1)]
    parts = [framed, *(group for group in groups if group != framed)][:MAX_PIECES]
    return [1 + zlib.crc32(piece.encode()) % (buckets - 1) for piece in parts]


def read(captions: Sequence[str], buckets: int) -> Tensor:
    """Captions -> (C, MAX_WORDS, MAX_PIECES) bucket numbers, 0 for nothing."""
    table = torch.zeros(len(captions), MAX_WORDS, MAX_PIECES, dtype=torch.int64)
    for row, text in enumerate(captions):
        for column, word in enumerate(_WORD.findall(text.lower())[:MAX_WORDS]):
            numbers = pieces(word, buckets)
            table[row, column, : len(numbers)] = torch.tensor(numbers)
    return table


class ConvBlock(nn.Module):
    """ConvNeXt block (arXiv 2201.03545): a convolution by channel, then two products over channels.

    3 x 3 and not 7 x 7, which takes twelve times as long on a CPU; six of them at 8 x 8 see the whole picture too.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.up = nn.Linear(width, 3 * width)
        self.down = nn.Linear(3 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        y = layer_norm(self.spatial(x).permute(0, 2, 3, 1))  # channels last in memory: permuting is free
        y = self.scale.to(y.dtype) * self.down(F.gelu(self.up(y)))
        return x + y.permute(0, 3, 1, 2)


class Fusion(nn.Module):
    """One round of looking: words look at the picture, then at each other."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.look = Attention(width, heads, context=width)
        self.talk = Attention(width, heads)
        self.think = SwiGLU(width, 2 * width)

    def forward(self, words: Tensor, places: Tensor, bias: Tensor) -> Tensor:
        """words (B, W, D), places (B, M, D), bias against padding -> (B, W, D)."""
        words = words + self.look(layer_norm(words), places)
        words = words + self.talk(layer_norm(words), bias=bias)
        return words + self.think(layer_norm(words))


class Judge(ModelMixin, ConfigMixin):
    """Scores pairs of picture and caption."""

    @register_to_config
    def __init__(
        self,
        channels: tuple[int, int, int] = (64, 128, 256),  # of the maps at 32, 16 and 8 places a side
        blocks: tuple[int, int] = (2, 6),  # ConvNeXt's, at 16 and at 8
        width: int = 192,  # of words and of places where they meet
        heads: int = 4,  # of looking
        rounds: int = 2,  # likewise
        buckets: int = 8192,  # of the hash table of letter groups
    ) -> None:
        super().__init__()
        low, middle, high = channels
        self.stem = nn.Conv2d(4, low, 7, stride=4, padding=3)
        self.to_middle = nn.Conv2d(low, middle, 2, stride=2)
        self.middle = nn.Sequential(*(ConvBlock(middle) for _ in range(blocks[0])))
        self.to_high = nn.Conv2d(middle, high, 2, stride=2)
        self.high = nn.Sequential(*(ConvBlock(high) for _ in range(blocks[1])))
        self.to_places = nn.Linear(high, width)
        self.positions = nn.Parameter(0.3 * torch.randn(PLACES, width))
        self.letters = nn.EmbeddingBag(buckets, width, mode="mean", padding_idx=0)
        self.order = nn.Parameter(0.3 * torch.randn(MAX_WORDS, width))
        self.phrases = nn.Conv1d(width, width, 3, padding=1)
        self.fusion = nn.ModuleList(Fusion(width, heads) for _ in range(rounds))
        self.score = nn.Linear(width, 1)
        self.log_scale = nn.Parameter(torch.tensor(2.3))  # of the cosines in the contrastive part of training

    def picture(self, pixels: Tensor) -> Tensor:
        """Premultiplied (B, 4, 128, 128) in [0, 1] -> places (B, M, D)."""
        x = F.gelu(self.stem(pixels.contiguous(memory_format=torch.channels_last)))
        x = self.high(self.to_high(self.middle(self.to_middle(x))))
        return layer_norm(self.to_places(layer_norm(x.flatten(2).transpose(1, 2))))

    def words(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """Bucket numbers as `read` gives them -> words (C, W, D), mask (C, W) true at words; W: the longest caption."""
        mask = table[:, :, 0] > 0
        longest = max(1, int(mask.sum(1).max()))
        table, mask = table[:, :longest], mask[:, :longest]
        x = self.letters(table.flatten(0, 1)).unflatten(0, table.shape[:2])
        x = layer_norm(x) + self.order[:longest]
        near = self.phrases((x * mask[..., None]).transpose(1, 2)).transpose(1, 2)
        return layer_norm(x + F.gelu(near)), mask

    def fit(self, places: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """How well captions fit pictures, row by row: places (B, M, D), words (B, W, D), mask (B, W) -> (B,)."""
        bias = padding_bias(mask)
        places = places + self.positions.to(places.dtype)
        for look in self.fusion:
            words = look(words, places, bias)
        return self.score(_mean(layer_norm(words), mask))[:, 0].float()

    @classmethod
    def load(cls, root: Path | None = None) -> "Judge":
        """The shipped judge, or the one under `root`; the errors are those of `models.weights.load_part`."""
        return load_part(cls, "judge", root)

    @torch.inference_mode()
    def scores(self, pictures: np.ndarray, captions: Sequence[str]) -> np.ndarray:
        """Fit of the i-th caption to the i-th picture: premultiplied uint8 (N, 128, 128, 4) and N texts -> (N,)."""
        if len(pictures) != len(captions):
            raise ValueError(f"{len(pictures)} pictures and {len(captions)} captions; scores takes one for each")
        if pictures.dtype != np.uint8 or pictures.shape[1:] != (128, 128, 4):
            raise ValueError(f"pictures {pictures.dtype} {pictures.shape}; the judge reads uint8 (N, 128, 128, 4)")
        parts = []
        for start in range(0, len(captions), 32):
            places = self.picture(to_tensor(pictures[start : start + 32]).to(self.dtype))
            parts.append(self.fit(places, *self.words(read(captions[start : start + 32], self.config["buckets"]))))
        return torch.cat(parts).numpy() if parts else np.zeros(0, np.float32)


def _mean(words: Tensor, mask: Tensor) -> Tensor:
    """Mean over real words (B, W, D) -> (B, D); zero where there are none."""
    weight = mask[..., None].to(words.dtype)
    return (words * weight).sum(1) / weight.sum(1).clamp(min=1)
