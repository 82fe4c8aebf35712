"""What all measures share: the world, how much is measured, the models, and everything costly kept on disk.

A run that was stopped goes on where it was: features and generated pictures are kept in blocks, under hashes of all
that they depend on.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

import models
from eval import sets
from eval.features import BLOCK, stored_features
from eval.neighbours import thumbs
from eval.parts import IMAGE, Parts
from eval.reference import Projection
from eval.rows import MissingError
from models.data.pixels import to_tensor, to_uint8
from models.data.text import wordnet_folder
from models.data.world import Picture, World, data_folder

if TYPE_CHECKING:
    from models.sampling.loop import Sampling

SEED = 2026  # of captions, noise and draws; pictures are chosen by hash and need none
GENERATED = 64  # pictures a cache file; a multiple of the pipeline's batch
STEPS = 16


@dataclass(frozen=True)
class Sizes:
    """How much is measured: pictures, queries, or scenes of each attribute."""

    gallery: int
    cells: int
    distribution: int
    reconstructions: int
    conditions: int
    scenes: int
    words: int = 200


# From "standard" on all 1,230 held-out cells are judged, one picture of each, and 70 pictures more.
SIZES = {
    "quick": Sizes(gallery=1000, cells=128, distribution=256, reconstructions=256, conditions=64, scenes=48),
    "standard": Sizes(gallery=1000, cells=1300, distribution=2000, reconstructions=2000, conditions=200, scenes=200),
    "full": Sizes(gallery=1000, cells=1300, distribution=4000, reconstructions=4000, conditions=500, scenes=500),
}


class Bench:
    """A world under measurement.

    Args:
        world: real pictures.
        sizes: how much is measured.
        parts: the models.
        cache: folder for features and generated pictures; None keeps nothing.
        projection: of FD-EffLite0-PCA128; None loads the shipped one when it is first needed.
        wordnet: WordNet's dictionary files; None is where the world's build puts them.
        quiet: no progress bars.
    """

    def __init__(
        self,
        world: World,
        sizes: Sizes,
        parts: Parts | None = None,
        cache: Path | None = None,
        projection: Projection | None = None,
        wordnet: Path | None = None,
        quiet: bool = False,
    ) -> None:
        self.world, self.sizes, self.parts, self.cache = world, sizes, parts or Parts(), cache
        self.wordnet = wordnet or wordnet_folder(data_folder())
        self.console = Console(stderr=True, quiet=quiet)
        if projection:
            self.projection = projection

    @cached_property
    def projection(self) -> Projection:
        """The shipped projection; `MissingError` where there is none."""
        try:
            found = Projection.load()
            if found.world != self.world.digest:
                raise ValueError("the projection was fitted on other pictures; run: python -m eval reference")
            return found
        except (FileNotFoundError, ValueError) as error:
            raise MissingError(str(error)) from error

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """Features (N, 1280) float64 of premultiplied uint8 (N, 128, 128, 4), kept by content."""
        return stored_features(pixels, self.cache / "features" if self.cache else None)

    @cached_property
    def train(self) -> list[Picture]:
        """All training pictures."""
        return self.world.split("train")

    @cached_property
    def world_features(self) -> np.ndarray:
        """Features (N, 1280) float32 of all pictures of the world; the first time takes minutes, then they are kept.

        Of all and in their order: another split or other names leave them as they are.
        """
        starts = self.track(range(0, len(self.world.pixels), BLOCK), "features of real pictures")
        return np.concatenate([self.features(self.world.pixels[i : i + BLOCK]).astype(np.float32) for i in starts])

    def features_of(self, pictures: Sequence[Picture]) -> np.ndarray:
        """Features (N, 1280) of pictures of the world."""
        return self.world_features[[picture.index for picture in pictures]]

    @cached_property
    def drawings(self) -> list[Picture]:
        """The gallery of neighbours: training pictures, one of each concept and style."""
        return sets.one_a_drawing(self.train)

    @cached_property
    def drawing_features(self) -> np.ndarray:
        """(G, 1280) of `drawings`."""
        return self.features_of(self.drawings)

    @cached_property
    def train_thumbs(self) -> np.ndarray:
        """Thumbs (N, 1024) of all training pictures."""
        starts = range(0, len(self.train), BLOCK)
        return np.concatenate([thumbs(sets.pixels(self.world, self.train[i : i + BLOCK])) for i in starts])

    @torch.inference_mode()
    def reconstruct(self, pixels: np.ndarray) -> np.ndarray:
        """Pictures (N, 128, 128, 4) through the autoencoder and back."""
        network = self.parts.autoencoder
        starts = self.track(range(0, len(pixels), 16), "reconstructions")
        return np.concatenate([to_uint8(network(to_tensor(pixels[i : i + 16]))) for i in starts])

    @property
    def sampling(self) -> "Sampling":
        """The table's own."""
        from models.pipelines.image import BATCH
        from models.sampling.loop import Sampling

        return Sampling(STEPS, batch=BATCH)

    def generate(
        self, prompts: Sequence[str], words: bool = True, sense: bool = True, sampling: "Sampling | None" = None
    ) -> np.ndarray:
        """One picture a prompt, seeds SEED, SEED + 1, ...: premultiplied uint8 (N, 128, 128, 4).

        `sampling` is the table's own where it is None. It should say its batch: a last block of one picture would be
        drawn in another shape, and be another picture.
        """
        told = sampling or self.sampling
        seeds = range(SEED, SEED + len(prompts))
        starts = self.track(range(0, len(prompts), GENERATED), "pictures")
        blocks = [self._drawn(prompts[i : i + GENERATED], seeds[i : i + GENERATED], words, sense, told) for i in starts]
        return np.concatenate(blocks)

    def _drawn(
        self, prompts: Sequence[str], seeds: range, words: bool, sense: bool, sampling: "Sampling"
    ) -> np.ndarray:
        from models.sampling.loop import Pictures

        pipeline: Any = self.parts.pipeline
        told = [list(prompts), list(seeds), words, sense, repr(sampling), str(pipeline.dit.dtype)]
        drawn_by = [type(pipeline.scheduler).__name__, dict(pipeline.scheduler.config), _drawing_code()]
        digests = self.parts.digests(IMAGE)
        key = json.dumps([digests, *told, *drawn_by], sort_keys=True, default=str)
        path = self._file("pictures", key)
        if path and path.is_file():
            return np.load(path, allow_pickle=False)["pixels"]
        events = pipeline.steps(prompts, seeds, sampling, words=words, sense=sense)
        pixels = np.concatenate([event.pixels for event in events if isinstance(event, Pictures)])
        if path:
            _write(path, pixels=pixels)
        return pixels

    def _file(self, kind: str, key: str) -> Path | None:
        return self.cache / kind / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz" if self.cache else None

    def track(self, steps: Iterable[int], what: str) -> Iterable[int]:
        """`steps`, with a bar on standard error."""
        return track(steps, what, console=self.console, transient=True)


@cache
def _drawing_code() -> list[str]:
    """What else a picture depends on: everything that could have drawn it, and the libraries' versions.

    All modules, and not those that draw today: drawing anew costs minutes, and figures of other code are false ones.
    """
    folder = Path(models.__file__).parent
    sources = [path.read_bytes() for path in sorted(folder.rglob("*.py")) if path.parent.name != "train"]
    libraries = ("torch", "diffusers", "transformers", "tokenizers")
    return [hashlib.sha256(b"\0".join(sources)).hexdigest(), *map(version, libraries)]


def _write(path: Path, **arrays: np.ndarray) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part.npz")
    np.savez_compressed(part, **arrays)  # type: ignore[arg-type]
    part.replace(path)
