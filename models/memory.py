"""What the captioner remembers: training pictures as places in the semantic space, and what they are called.

Retrieval-augmented captioning: the names of the nearest remembered things are words that the captioner can copy. It is
data, not weights: a part of its own (`models.weights.save_table`), made anew for another space or other pictures.

Shapes: B pictures, M remembered ones, N things, K nearest.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from models.data.grammar import LANGUAGES
from models.data.stored import stored
from models.data.world import Picture, World
from models.hardware import native_dtype
from models.space import Embedder
from models.weights import load_table, save_table

PART = "memory"
CHUNK = 256
LEVELS = 127.0  # vectors are stored in 8 bits: cosines move by less than 0.01


class Memory:
    """M vectors, the thing that each shows, and the names of N things by language."""

    def __init__(self, vectors: Tensor, things: Tensor, names: Sequence[Mapping[str, str]]) -> None:
        self.vectors, self.things, self.names = vectors.float() / LEVELS, things.long(), list(names)

    @classmethod
    def of(cls, world: World, embedder: Embedder, cache: Path | None = None) -> "tuple[Memory, list[Picture]]":
        """The training pictures, one of each name and style, and those pictures. Vectors are kept in `cache`, whose
        name must say of which world and space: to make them takes minutes."""
        pictures = remembered(world)
        names = {p.names["en"]: p.names for p in pictures}
        numbers = {name: number for number, name in enumerate(names)}

        def encoded() -> np.ndarray:
            rows = [pictures[i : i + CHUNK] for i in range(0, len(pictures), CHUNK)]
            bar = track(rows, "remembering", console=Console(stderr=True, quiet=len(rows) < 9))
            with torch.autocast("cpu", torch.bfloat16, enabled=native_dtype() == torch.bfloat16):
                vectors = [embedder.image(world.pixels[[p.index for p in some]]) for some in bar]
            return (LEVELS * torch.cat(vectors)).round().to(torch.int8).numpy()

        vectors = torch.from_numpy(np.array(stored(cache, encoded)))
        return cls(vectors, torch.tensor([numbers[p.names["en"]] for p in pictures]), list(names.values())), pictures

    def nearest(self, vectors: Tensor, count: int, without: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The things nearest to unit vectors (B, 128), each once, best first: numbers (B, K) and cosines (B, K).
        `without` (B, M) are pictures that are not remembered; -1 stands for none where there are too few things."""
        cosines = vectors.float() @ self.vectors.T
        if without is not None:
            cosines = cosines.masked_fill(without, -2)
        best = cosines.new_full((len(vectors), max(len(self.names), count)), -2)
        best = best.scatter_reduce(1, self.things.expand(len(vectors), -1), cosines, "amax")
        found = best.topk(count)
        return found.indices.masked_fill(found.values < -1, -1), found.values.clamp_min(-1)

    def name(self, thing: int, language: str) -> str:
        """What a thing is called; in English where the language has no name for it."""
        names = self.names[thing]
        return names.get(language) or names["en"]

    def save(self, root: Path, space: str) -> Path:
        """As a part under `root`, made in the space of that digest."""
        tensors = {"vectors": (LEVELS * self.vectors).round().to(torch.int8), "things": self.things.to(torch.int16)}
        names = [[own.get(language, "") for language in LANGUAGES] for own in self.names]
        return save_table(PART, root, tensors, {"space": space, "names": names})

    @classmethod
    def load(cls, root: Path | None = None) -> "Memory":
        """What `save` wrote; WeightsError where it is missing or altered."""
        tensors, listed = load_table(PART, root)
        names = [
            {str(lang): name for lang, name in zip(LANGUAGES, row, strict=True) if name} for row in listed["names"]
        ]
        return cls(tensors["vectors"], tensors["things"], names)


def remembered(world: World) -> list[Picture]:
    """The training pictures, one of each name and style, in the order of their vectors."""
    return list({(p.names["en"], p.style): p for p in world.split("train")}.values())
