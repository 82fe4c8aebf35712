"""The evaluation context: the world, how much is measured, the generator and the feature extractor, with their cache.

A run that was stopped goes on where it was: features and generated media are kept in blocks, under hashes of all that
they depend on.
"""

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

from eval import sets
from eval.copies import PRINTS
from eval.extractors import BLOCK, NAME, Extractor, Source, extractor, stored_features
from eval.generator import (
    Generator,
    Parts,
    StickerCaptionGenerator,
    StickerClipGenerator,
    StickerGenerator,
    digest_of,
    lacks,
)
from eval.rows import SEED, Sizes, missing_where
from eval.statistics import ReferenceStatistics
from models.data.pixels import png
from models.data.stored import whole
from models.data.text import wordnet_folder
from models.data.world import Picture, World, data_folder
from models.weights import WeightsError

T = TypeVar("T")
Drawn = tuple[np.ndarray, list[tuple[str, ...]]]  # media, and the styles that each was drawn from
STUDIO = (StickerGenerator, StickerClipGenerator, StickerCaptionGenerator)

GENERATED = 64  # pictures a cache file; a multiple of the pipeline's batch


class Context:
    """What metrics are computed from: real pictures, how much is measured, weights (of the default generators, the
    studio's own pipelines, and of the judge), and a folder for features and generated media; None keeps nothing."""

    def __init__(
        self,
        world: World,
        sizes: Sizes,
        parts: Parts | None = None,
        cache: Path | None = None,
        wordnet: Path | None = None,
        quiet: bool = False,
        generator: Generator | None = None,
    ) -> None:
        self.world, self.sizes, self.parts, self.cache = world, sizes, parts or Parts(), cache
        self.generators: list[Any] = [generator] if generator else [make(self.parts) for make in STUDIO]
        self.generator: Any = self.generators[0]
        self.wordnet = wordnet or wordnet_folder(data_folder())
        self.console = Console(stderr=True, quiet=quiet)

    def turn_to(self, needs: Sequence[str]) -> str | None:
        """Measure the first of the generators that has what a metric needs -> None, or why none has it."""
        lacking = [lacks(generator, needs) for generator in self.generators]
        self.generator = self.generators[lacking.index(None) if None in lacking else 0]
        return None if None in lacking else lacking[0]

    @cached_property
    @missing_where(FileNotFoundError, ValueError)
    def reference(self) -> ReferenceStatistics:
        """The shipped reference statistics; `MissingError` where there are none."""
        reference = ReferenceStatistics.load()
        if reference.world != self.world.digest:
            raise ValueError("the projection was fitted on other pictures; run: python -m eval reference")
        return reference

    def can(self, ability: str) -> bool:
        """Whether the generator has an ability; controls that need one are left out where it has not."""
        return ability in self.generator.abilities

    # --- Features of pictures ---------------------------------------------------------------------------------------

    def features(self, pixels: np.ndarray, by: Extractor | None = None) -> np.ndarray:
        """Features (N, D) of premultiplied uint8 (N, H, W, 4), kept by content; by EffLite0 unless another is named."""
        folder = self.cache / "features" if self.cache else None
        if by is None:
            return stored_features(pixels, folder)
        return stored_features(pixels, folder, lambda block: by(list(map(png, block))), by.identity)

    @cached_property
    def train(self) -> list[Picture]:
        return self.world.split("train")

    @cached_property
    def world_features(self) -> np.ndarray:
        """Features (N, 1280) float32 of all pictures of the world; the first time takes minutes, then they are kept.

        Of all and in their order: another split or other names leave them as they are.
        """
        return self._in_blocks(self.world.pixels)

    def features_of(self, pictures: Sequence[Picture], by: Extractor | None = None) -> np.ndarray:
        """Features (N, D) of pictures of the world; those by another extractor than EffLite0 are made for these."""
        indices = [picture.index for picture in pictures]
        return self.world_features[indices] if by is None else self._in_blocks(self.world.pixels[indices], by)

    def _in_blocks(self, pixels: np.ndarray, by: Extractor | None = None) -> np.ndarray:
        starts = self.track(range(0, len(pixels), BLOCK), f"{by.name if by else NAME} of real pictures")
        return np.concatenate([self.features(pixels[i : i + BLOCK], by).astype(np.float32) for i in starts])

    @cached_property
    def judge_features(self) -> Extractor:
        """By a network that has no part in drawing, and no sibling that has; `MissingError` where there is none."""
        with missing_where(WeightsError, FileNotFoundError):
            return extractor("judge", Source(self.parts.root))

    @cached_property
    def drawings(self) -> list[Picture]:
        """The gallery of nearest neighbours: training pictures, one of each concept and style."""
        return sets.per_drawing(self.train)

    @cached_property
    def drawing_features(self) -> np.ndarray:
        """(G, 1280) of `drawings`."""
        return self.features_of(self.drawings)

    @cached_property
    def train_prints(self) -> np.ndarray:
        """Prints (N, 1024) of all training pictures."""
        return self.features_of(self.train, PRINTS)

    # --- The generator ----------------------------------------------------------------------------------------------

    def drawn(self, **options: Any) -> str:
        """Seeds and settings of `generate`, in words."""
        return f"noise {SEED}, {SEED + 1}, ...; {self.generator.settings(**options)}"

    def origin(self, **options: Any) -> dict[str, Any]:
        """`seeds` and `parts` of a row about what `generate` made."""
        return {"seeds": self.drawn(**options), "parts": self.generator.parts}

    def generate(self, prompts: Sequence[Any], **options: Any) -> np.ndarray:
        """Media of one prompt each, seeds SEED, SEED + 1, ..., generated in blocks and kept."""
        return self.draw(prompts, **options)[0]

    def draw(self, prompts: Sequence[Any], **options: Any) -> Drawn:
        """As `generate`, with the styles of the drawings that each was drawn from, where the generator reports them."""
        seeds, media = range(SEED, SEED + len(prompts)), list[Drawn]()
        for start in self.track(range(0, len(prompts), GENERATED), "pictures"):
            block = prompts[start : start + GENERATED], seeds[start : start + GENERATED], options
            path = self._path(*block)
            if path and path.is_file():
                media.append(_read_block(path))
                continue
            pixels, sources = _drawn(self.generator, *block)
            media.append((pixels, sources))
            if path:
                with whole(path) as part:
                    np.savez_compressed(part, pixels=pixels, sources=json.dumps(sources))
        return np.concatenate([pixels for pixels, _ in media]), [styles for _, sources in media for styles in sources]

    def _path(self, prompts: Sequence[Any], seeds: Sequence[int], options: dict[str, Any]) -> Path | None:
        """The file in which a block's media are kept."""
        if self.cache is None:
            return None
        key = digest_of("with sources", self.generator.name, self.generator.digest(), prompts, list(seeds), options)
        return self.cache / "pictures" / f"{key[:32]}.npz"

    def reconstruct(self, pixels: np.ndarray, by: Any = None) -> np.ndarray:
        """Pictures (N, 128, 128, 4) through the autoencoder of the generator, or of another one, and back."""
        starts = self.track(range(0, len(pixels), 16), "reconstructions")
        return np.concatenate([(by or self.generator).reconstruct(pixels[i : i + 16]) for i in starts])

    def track(self, steps: Iterable[T], what: str) -> Iterable[T]:
        return track(steps, what, console=self.console, transient=True)


def _drawn(generator: Any, prompts: Sequence[Any], seeds: Sequence[int], options: dict[str, Any]) -> Drawn:
    if "sources" in generator.abilities:
        return generator.draw(prompts, seeds, **options)
    return generator.generate(prompts, seeds, **options), [()] * len(prompts)


def _read_block(path: Path) -> Drawn:
    block = np.load(path, allow_pickle=False)
    return block["pixels"], [tuple(styles) for styles in json.loads(str(block["sources"]))]
