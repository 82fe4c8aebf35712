"""The studio's own models: the sticker pipeline on the weights that ship. torch is imported by `load`, not before."""

import functools
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from models.assets import assets
from models.data.pixels import SIZE, png
from models.data.styles import STYLES
from models.messages import Refused
from models.prompts.normalise import without_lettering
from models.prompts.weighting import plain
from models.sampling.schedulers import DEFAULT_SCHEDULER, FAST_STEPS, GUIDANCE, GUIDED_FROM, SCHEDULERS
from models.weights import WeightsError, check_company, listed_parts, weights_digest
from studio import media
from studio.backends.base import Handler
from studio.backends.enlarger import Enlarger
from studio.backends.given import given_pixels
from studio.backends.together import Batches
from studio.backends.told import Told, tell
from studio.capabilities import FAST, Capabilities, Fixed, Range, Style
from studio.events import Progress, Unknown, Vector
from studio.media import Artifact
from studio.requests import EmbedRequest, EnlargeRequest, ImageRequest

if TYPE_CHECKING:
    from models.pipelines.image import StickerPipeline
    from models.prompts.vocabulary import Vocabulary
    from models.sampling import loop
    from models.sampling.loop import Pictures, Sampling
    from models.space import Embedder

SHAPES = (1, 8)  # 8 is models.pipelines.image.BATCH, which can't be asked without torch
SPACE = ("language", "vision", "space")
PARTS = ("language", "vision", "space", "autoencoder", "dit", "wording", "prototypes")
VARIANT = "fast"  # models.lora.PART, which draws alone or the last of the way, and need not be there


@dataclass(frozen=True)
class _Drawn:
    """Premultiplied `pixels` from the generator, their `score` and their semantic vector (`place`)."""

    pixels: np.ndarray
    seed: int
    score: float
    place: tuple[float, ...]


class Embedded:
    """StickerPipeline as a backend. `root` holds the parts; None is the shipped ones."""

    def __init__(self, root: str | None = None) -> None:
        self.root = Path(root) if root else assets() / "weights"
        self._pipeline: StickerPipeline | None = None
        self._vocabulary: Vocabulary | None = None
        self._enlarge = Enlarger(self.root)

    def capabilities(self) -> Capabilities:
        """The styles that it was trained on, and ranges in which it was tried."""
        variant = self._variant()
        fixed = {FAST: Fixed(steps=FAST_STEPS, guidance=1, variant=variant)} if variant else {}
        styles = (Style(name=name, zh=style.zh[-1], words=style.en + style.zh) for name, style in STYLES.items())
        return Capabilities(
            title="Studio 128 stickers",
            tasks=tuple(self.tasks),
            size=SIZE,
            sizes=self._enlarge.sizes(),
            beyond=self._enlarge.beyond(),
            upscaler=self._enlarge.digest(),
            styles=tuple(styles),
            schedulers=(*sorted(SCHEDULERS, key=lambda name: name != DEFAULT_SCHEDULER), *fixed),
            fixed=fixed,
            steps=Range(least=1, most=100, usual=16),
            guidance=Range(least=1, most=20, usual=GUIDANCE),
            guided_from=Range(least=0, most=1, usual=GUIDED_FROM),
            count=Range(least=1, most=64, usual=1),
            shapes=SHAPES,
            edits=True,
        )

    def digest(self) -> str:
        """Of all parts together that draw, without torch. The upscaler's is in the requests that it does.

        Refused where weights are missing.
        """
        try:
            return weights_digest((*PARTS, VARIANT) if self._variant() else PARTS, self.root)
        except WeightsError as error:
            raise Refused("model.weights_or_fake", problem=error.message) from error

    def _variant(self) -> str:
        """Digest of the fast variant; nothing where there is none, or only one of another generator."""
        try:
            if VARIANT not in listed_parts(self.root):
                return ""
            check_company(self.root / VARIANT, self.root)
            return weights_digest((VARIANT,), self.root)
        except WeightsError:  # whoever wants to draw will hear of it
            return ""

    def space(self) -> str:
        """Digest of what places words and pictures. Refused where weights are missing."""
        try:
            return weights_digest(SPACE, self.root)
        except WeightsError as error:
            raise Refused("model.weights", problem=error.message) from error

    def load(self) -> None:
        """Read and verify the parts, once."""
        if self._pipeline is None:
            self.digest()  # says what is missing before seconds go into importing torch
            pipeline = _assemble(self.root)
            self._vocabulary = _words(pipeline, self.root)
            self._pipeline = pipeline

    @property
    def tasks(self) -> Mapping[str, Handler]:
        """Pictures, vectors, and larger pictures."""
        return {"image": self._images, "embed": self._vectors, "enlarge": self._enlarged}

    def _vectors(
        self, requests: Sequence[EmbedRequest], previews: bool
    ) -> Iterator[tuple[int, Progress | Artifact | Vector]]:
        self.load()
        assert self._pipeline is not None
        for number, request in enumerate(requests):
            yield from ((number, vector) for vector in _vectors(self._pipeline.embedder, request))

    def _images(
        self, requests: Sequence[ImageRequest], previews: bool
    ) -> Iterator[tuple[int, Progress | Artifact | Vector]]:
        """A batch after the other; the words of a request are read when its first batch comes."""
        self.load()
        assert self._pipeline is not None
        from models.sampling.loop import Pictures

        if any(request.variant and request.variant != self._variant() for request in requests):
            raise Refused("model.variant_replaced")
        pipeline, together = self._pipeline, Batches(requests)
        told = functools.cache(lambda number: tell(pipeline, requests[number]))
        unknown = functools.cache(lambda number: self._unknown(requests[number]))
        try:
            for k, batch in enumerate(together.batches):
                rows = [told(slot.number) for slot in batch]
                for event in _draw(pipeline, rows, [slot.seed for slot in batch], requests[0], previews):
                    if isinstance(event, Pictures):
                        for slot, one in zip(batch, self._scored(event), strict=True):
                            if (best := together.chosen(slot, one.score, one)) is not None:
                                yield slot.number, self._result(best, slot.index, event.batch, requests[slot.number])
                        continue
                    for number, progress in together.progress(k, event.step, event.total, _previews(event.preview)):
                        yield number, replace(progress, unknown=unknown(number), read_as=told(number).read)
        except FloatingPointError as error:
            raise Refused("model.weights", problem=str(error)) from error

    def _scored(self, event: "Pictures") -> "Iterator[_Drawn]":
        assert self._pipeline is not None
        for pixels, seed, wanted in zip(event.pixels, event.seeds, event.wanted, strict=True):
            place = self._pipeline.embedder.image(pixels[None])[0]  # alone: bits depend on the company
            yield _Drawn(pixels, seed, round(float(place @ wanted), 4), tuple(place.tolist()))

    def _result(self, drawn: "_Drawn", index: int, batch: int, request: ImageRequest) -> Artifact:
        """In the size that the request asks for. Its vector is that of what was drawn, before it was enlarged."""
        picture, how = png(self._enlarge(drawn.pixels, request)), _how(self._pipeline, batch, request)
        made = replace(media.image(picture), index=index, seed=drawn.seed, score=drawn.score, how=how)
        return replace(made, vector=drawn.place, space=self.space())

    def _enlarged(
        self, requests: Sequence[EnlargeRequest], previews: bool
    ) -> Iterator[tuple[int, Progress | Artifact | Vector]]:
        self.load()
        assert self._pipeline is not None
        for number, request in enumerate(requests):
            yield number, Progress(0, 1)
            place = self._pipeline.embedder.image(given_pixels(request.image)[None])[0]
            made = replace(media.image(self._enlarge.picture(request)), how=_how(self._pipeline, 1, request))
            yield number, replace(made, vector=tuple(place.tolist()), space=self.space())

    def enlarged(self, request: EnlargeRequest) -> Image.Image:
        """The picture of a resolved request, with nothing in memory but the upscaler."""
        return self._enlarge.picture(request)

    def _unknown(self, request: ImageRequest) -> tuple[Unknown, ...]:
        """Words of the request that the models were not taught; none where the weights came without a vocabulary."""
        if self._vocabulary is None:
            return ()
        text = plain(" ".join([without_lettering(request.prompt), *(part.text for part in request.mix)]))
        pipeline = self._pipeline
        found = [one for one in self._vocabulary.unknown(text) if not (pipeline and pipeline.is_understood(one.word))]
        return tuple(Unknown(one.word, one.nearest) for one in found)


def _assemble(root: Path) -> "StickerPipeline":
    import diffusers
    import transformers

    from models.hardware import keep_freed_memory
    from models.pipelines.image import StickerPipeline

    keep_freed_memory()
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    try:
        return StickerPipeline.assemble(root)
    except WeightsError as error:
        raise Refused("model.weights", problem=error.message) from error


def _words(pipeline: "StickerPipeline", root: Path) -> "Vocabulary | None":
    from models.prompts.vocabulary import PART, Vocabulary

    if PART not in listed_parts(root):
        return None
    try:
        return Vocabulary.load(pipeline.embedder, root)
    except WeightsError as error:
        raise Refused("model.weights", problem=error.message) from error


def _draw(
    pipeline: "StickerPipeline", rows: list[Told], seeds: list[int], request: ImageRequest, previews: bool
) -> "Iterator[loop.Progress | Pictures]":
    """One batch, drawn as `request` says: its steps, then its pictures."""
    return pipeline.steps(
        [row.text for row in rows],
        seeds,
        _sampling(request),
        negative=[row.negative for row in rows],
        vector=[row.vector for row in rows],
        blends=[row.blend for row in rows],
        start=_stacked([row.start for row in rows]),
        redraw=_stacked([row.mask for row in rows]),
        previews=previews,
    )


def _how(pipeline: Any, batch: int, request: ImageRequest | EnlargeRequest) -> dict[str, int | str]:
    """What else the bits of a picture depend on."""
    import torch

    how: dict[str, int | str] = {"batch": batch, "dtype": str(pipeline.dit.dtype).removeprefix("torch.")}
    how["cpu"] = torch.backends.cpu.get_cpu_capability()
    return {**how, "upscaler": request.upscaler[:10]} if request.upscaler else how


def _sampling(request: ImageRequest) -> "Sampling":
    from models.sampling.loop import FAST_SAMPLING, Sampling

    strength = 1.0 if request.strength is None else request.strength
    if request.scheduler == FAST:
        return replace(FAST_SAMPLING, strength=strength, batch=request.shape)
    return Sampling(
        request.steps or 1,
        request.guidance or 1.0,
        (request.guided_from or 0.0, 1.0),
        scheduler=request.scheduler,
        strength=strength,
        batch=request.shape,
    )


def _stacked(arrays: list[np.ndarray | None]) -> np.ndarray | None:
    """All or none of a company have one."""
    there = [array for array in arrays if array is not None]
    return np.stack(there) if there else None


def _previews(images: np.ndarray | None) -> list[bytes]:
    return [] if images is None else [_bytes(image) for image in images]


def _vectors(embedder: "Embedder", request: EmbedRequest) -> Iterator[Vector]:
    if request.texts:
        for text, vector in zip(request.texts, embedder.text(request.texts).tolist(), strict=True):
            yield Vector("text", text, tuple(vector))
    if request.images:
        pixels = np.stack([given_pixels(picture) for picture in request.images])
        for picture, vector in zip(request.images, embedder.image(pixels).tolist(), strict=True):
            yield Vector("image", picture.path, tuple(vector))


def _bytes(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    png(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()
