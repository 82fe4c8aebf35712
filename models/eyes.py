"""What the captioner reads of a picture: the ViT's tokens, and the names of things that the detector found, or that it
is told.

A name is read by its tokens. Each comes with the one before it, so that a reader that looks for the last word that was
written finds the next one: names are copied, not recalled (entity-aware prompts, arXiv 2307.16525).

Shapes: B pictures, L tokens of W numbers; K things, T tokens of a name, D width of the backbone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.data.grammar import LANGUAGES
from models.detector import MOST, Detector, Read, Thing, cut_out, places, thing
from models.layers import layer_norm
from models.space import Embedder

Sight = dict[str, tuple[Tensor, Tensor]]  # by eye: tokens (B, L, W), mask (B, L) true at real ones
EYES = ("vision", "names")
NAME_TOKENS = 8  # of a name; what is longer is cut
CELL = 0.5  # of a cell's logarithms beside its window's. The space does not help there: things of scenes are repainted


@dataclass(frozen=True)
class Entity:
    """A thing that the captioner is told of: its names in the order of LANGUAGES ("" where a language has none), and
    its centre in [0, 1] from the left and the top."""

    names: tuple[str, ...]
    x: float = 0.5
    y: float = 0.5


@dataclass(frozen=True)
class Looked:
    """What one pass saw of B pictures: tokens (B, L, W), vectors (B, 128), and the things found in each."""

    tokens: Tensor
    vectors: Tensor
    things: list[list[Thing]]


class Looker:
    """Sees pictures with the frozen parts."""

    def __init__(self, embedder: Embedder, detector: Detector | None) -> None:
        self.embedder, self.detector = embedder, detector
        self._ids = cache(self._tokens_of)

    @torch.no_grad()
    def look(self, pixels: Tensor) -> Looked:
        """Of pictures (B, 4, 128, 128) in [0, 1]; without a detector, no things."""
        tokens, vectors = self._encoded(pixels)
        if self.detector is None:
            return Looked(tokens, vectors, [[] for _ in pixels])
        read = self._detected(pixels)
        whole, cells = self.detector.guided(read.whole, vectors), places(read)
        found = [
            [thing(whole[row], read.there[row], own[0])] if len(own) == 1 else self._apart(pixels[row], read, row, own)
            for row, own in enumerate(cells)
        ]
        return Looked(tokens, vectors, found)

    def _apart(self, pixels: Tensor, read: Read, row: int, cells: Sequence[tuple[int, int]]) -> list[Thing]:
        """The things of one picture (4, 128, 128), each named by its window and by its cell."""
        assert self.detector is not None
        windows = cut_out(pixels, cells, read.there.shape[1])
        return [
            thing(own + CELL * read.places[row, cell[1], cell[0]], read.there[row], cell)
            for own, cell in zip(self._detected(windows).whole, cells, strict=False)
        ]

    def _encoded(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        vision: Any = self.embedder.vision
        tokens = vision.forward(pixels.to(vision.dtype))
        return tokens, self.embedder.space.image(tokens)

    def _detected(self, pixels: Tensor) -> Read:
        detector: Any = self.detector
        with torch.autocast("cpu", enabled=False):
            return detector(pixels.float())

    @torch.no_grad()
    def sight(self, tokens: Tensor, told: Sequence[Sequence[Entity]]) -> Sight:
        """What the readers are given: tokens (B, L, W) of the ViT, and the entities of each picture."""
        return {
            "vision": (tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)),
            "names": self._names(told),
        }

    def _names(self, told: Sequence[Sequence[Entity]]) -> tuple[Tensor, Tensor]:
        """(B, MOST languages T, 2D + ...): each token of each name and the one before it as the backbone reads them;
        thing, language and place in the name as one-hot numbers; the thing's centre."""
        tokenizer = self.embedder.tokenizer
        ids = torch.full((len(told), MOST, len(LANGUAGES), NAME_TOKENS), tokenizer.pad_token_id)
        centres = torch.zeros(len(told), MOST, 2)
        for row, entities in enumerate(told):
            for number, entity in enumerate(entities[:MOST]):
                centres[row, number] = torch.tensor([entity.x, entity.y])
                for language, name in enumerate(entity.names):
                    own = self._ids(name or entity.names[0])
                    ids[row, number, language, : len(own)] = torch.tensor(own)
        words = layer_norm(self.embedder.language.model.embed(ids).float())
        before = F.pad(words, (0, 0, 1, 0))[..., :-1, :]
        marks = torch.cat([_one_hot(ids, dim) for dim in (1, 2, 3)] + [
            2 * centres[:, :, None, None].expand(*ids.shape, 2) - 1
        ], -1)  # fmt: skip
        tokens = torch.cat([words, before, 2 * marks], -1)
        return tokens.flatten(1, 3), (ids != tokenizer.pad_token_id).flatten(1)

    def _tokens_of(self, name: str) -> list[int]:
        """Of a name as it is written inside a text."""
        tokenizer = self.embedder.tokenizer
        encoded = tokenizer([name], add_special_tokens=False)["input_ids"][0]
        alone = tokenizer.convert_tokens_to_ids("\u0120")  # the space before a Chinese name: none inside a text
        return (encoded[1:] if encoded[:1] == [alone] else encoded)[:NAME_TOKENS]

    def width(self, eye: str) -> int:
        """W of an eye."""
        hidden = self.embedder.language.config.hidden_size
        marks = MOST + len(LANGUAGES) + NAME_TOKENS + 2
        return {"vision": self.embedder.vision.config.width, "names": 2 * hidden + marks}[eye]

    def entities(self, found: Sequence[Thing], choice: Sequence[int] | None = None) -> list[Entity]:
        """What the captioner is told: of each thing its likeliest name, or the one of that rank."""
        assert self.detector is not None
        names = self.detector.config["names"]
        ranks = choice or [0] * len(found)
        return [
            Entity(tuple(names[thing.concepts[rank]]), thing.x, thing.y)
            for thing, rank in zip(found, ranks, strict=True)
        ]


def _one_hot(ids: Tensor, dim: int) -> Tensor:
    """(*ids.shape, ids.shape[dim]): which place along a dimension."""
    shape = [1] * ids.ndim
    shape[dim] = ids.shape[dim]
    marks = F.one_hot(torch.arange(ids.shape[dim])).view(*shape, -1).float()
    return marks.expand(*ids.shape, -1)
