"""The evaluation context: the world, how much is measured, the generator and the feature extractor, with their cache.

A run that was stopped goes on where it was: features and generated media are kept in blocks, under hashes of all that
they depend on. Blocks may be made on the devices of a Ray cluster: what is made there is what is made here.
"""

import json
import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

from eval import sets
from eval.captions import StickerCaptionGenerator
from eval.clips import StickerClipGenerator
from eval.copies import PRINTS
from eval.extractors import Extractor, Source, extractor
from eval.features import BLOCK, NAME, stored_features
from eval.generator import Generator, Parts, StickerGenerator, digest_of, drawing_code, lacks
from eval.rows import SEED, Sizes, missing_where
from eval.statistics import ReferenceStatistics
from models.cluster import TRIES, Cluster
from models.data.pixels import png
from models.data.stored import whole
from models.data.text import wordnet_folder
from models.data.world import Picture, World, data_folder
from models.messages import Refused
from models.weights import WeightsError, listed_parts, part_digests

T = TypeVar("T")
Drawn = tuple[np.ndarray, list[tuple[str, ...]]]  # media, and the styles that each was drawn from
Block = tuple[Any, ...]  # prompts, seeds and options of one call of a generator
Make = Callable[[Parts], list[Any]]  # every generator on some weights

GENERATED = 64  # pictures a cache file; a multiple of the pipeline's batch


def shipped(parts: Parts) -> list[Any]:
    """The studio's own generators."""
    return [make(parts) for make in (StickerGenerator, StickerClipGenerator, StickerCaptionGenerator)]


class Context:
    """What metrics are computed from: real pictures, how much is measured, weights (of the default generator, the
    studio's own pipeline, and of the judge), and a folder for features and generated media; None keeps nothing.
    Media are made on the `cluster`, where there is one."""

    def __init__(
        self,
        world: World,
        sizes: Sizes,
        parts: Parts | None = None,
        cache: Path | None = None,
        wordnet: Path | None = None,
        quiet: bool = False,
        generator: Generator | None = None,
        cluster: Cluster | None = None,
    ) -> None:
        self.world, self.sizes, self.parts, self.cache = world, sizes, parts or Parts(), cache
        self.generators: list[Any] = [generator] if generator else shipped(self.parts)
        self.generator: Any = self.generators[0]
        self.cluster = cluster
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
        seeds, starts = range(SEED, SEED + len(prompts)), range(0, len(prompts), GENERATED)
        blocks = dict(enumerate((prompts[i : i + GENERATED], seeds[i : i + GENERATED], options) for i in starts))
        paths = {number: self._path(block) for number, block in blocks.items()}
        media = {number: _read_block(path) for number, path in paths.items() if path and path.is_file()}
        missing = {number: block for number, block in blocks.items() if number not in media}
        for number, (pixels, sources) in self.track(self._generated(missing), "pictures", len(missing)):
            if path := paths[number]:
                with whole(path) as part:
                    np.savez_compressed(part, pixels=pixels, sources=json.dumps(sources))
            media[number] = pixels, sources
        ordered = [media[number] for number in blocks]
        return np.concatenate([pixels for pixels, _ in ordered]), [
            styles for _, sources in ordered for styles in sources
        ]

    def _path(self, block: Block) -> Path | None:
        """The file in which a block's media are kept."""
        if self.cache is None:
            return None
        prompts, seeds, options = block
        key = digest_of("with sources", self.generator.name, self.generator.digest(), prompts, list(seeds), options)
        return self.cache / "pictures" / f"{key[:32]}.npz"

    def _generated(self, blocks: Mapping[int, Block]) -> Iterator[tuple[int, Drawn]]:
        """The media of each block under its number, in any order. Raises what the generator raises."""
        if not (self.cluster and blocks):
            yield from ((number, drawn(self.generator, block)) for number, block in blocks.items())
            return
        for number, media in self.cluster.share(deque(blocks), lambda number: (self.generator.name, blocks[number])):
            if media is None or isinstance(media, Exception):
                raise media or Refused("cluster.crashed", times=TRIES)
            yield number, media

    def reconstruct(self, pixels: np.ndarray, by: Any = None) -> np.ndarray:
        """Pictures (N, 128, 128, 4) through the autoencoder of the generator, or of another one, and back."""
        starts = self.track(range(0, len(pixels), 16), "reconstructions")
        return np.concatenate([(by or self.generator).reconstruct(pixels[i : i + 16]) for i in starts])

    def track(self, steps: Iterable[T], what: str, total: int | None = None) -> Iterable[T]:
        return track(steps, what, total, console=self.console, transient=True)


def _read_block(path: Path) -> Drawn:
    block = np.load(path, allow_pickle=False)
    return block["pixels"], [tuple(styles) for styles in json.loads(str(block["sources"]))]


# --- Blocks on a cluster ----------------------------------------------------------------------------------------------


def drawn(generator: Any, block: Block) -> Drawn:
    """The media of a block."""
    prompts, seeds, options = block
    if "sources" in generator.abilities:
        return generator.draw(prompts, seeds, **options)
    return generator.generate(prompts, seeds, **options), [()] * len(prompts)


def opened(address: str | None, make: Make, root: Path | None) -> Cluster | None:
    """The cluster at the address, each device of it with the generators that `make` makes of the weights in `root`."""
    if address is None:
        return None
    return Cluster(address, partial(_maker, make, root and root.absolute(), _digest(root)))


def _digest(root: Path | None) -> str:
    """Of weights and code."""
    return digest_of(part_digests(tuple(sorted(listed_parts(root))), root), drawing_code())


def _maker(make: Make, root: Path | None, expected: str) -> Callable[..., Drawn | Exception]:
    """On a device: draws a block by the generator of a name. Refused where weights or code are others."""
    if _digest(root) != expected:
        raise Refused("cluster.other_model", node=platform.node())
    generators = {generator.name: generator for generator in make(Parts(root))}

    def draw(name: str, block: Block) -> Drawn | Exception:
        try:
            return drawn(generators[name], block)
        except Exception as error:
            return error

    return draw
