"""The studio's own models: the sticker pipeline on the weights that ship. torch is imported by `load`, not before."""

import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.assets import assets
from models.data.pixels import load_picture, png
from models.data.styles import STYLES
from models.schedulers import DEFAULT_SCHEDULER, SCHEDULERS
from models.weighting import plain
from models.weights import WeightsError, listed_parts, weights_digest
from studio.capabilities import Capabilities, Range, Refused, Style
from studio.events import Progress, Result, Unknown, Vector
from studio.requests import EmbedRequest, ImageRequest, Picture, Request

if TYPE_CHECKING:
    from torch import Tensor

    from models.pipeline import StickerPipeline
    from models.space import Embedder
    from models.vocabulary import Vocabulary

SHAPES = (1, 8)  # 8 is models.pipeline.BATCH, which can't be asked without torch
PARTS = ("language", "vision", "space", "autoencoder", "dit")
CHINESE = re.compile(r"[\u3400-\u9fff]")


class Embedded:
    """StickerPipeline as a backend. `root` holds the parts; None is the shipped ones."""

    def __init__(self, root: str | None = None) -> None:
        self.root = Path(root) if root else assets() / "weights"
        self._pipeline: StickerPipeline | None = None
        self._vocabulary: Vocabulary | None = None

    def capabilities(self) -> Capabilities:
        """The styles that it was trained on, and ranges in which it was tried."""
        styles = (Style(name=name, zh=style.zh[-1], words=style.en + style.zh) for name, style in STYLES.items())
        return Capabilities(
            title="Studio 128 stickers",
            styles=tuple(styles),
            schedulers=tuple(sorted(SCHEDULERS, key=lambda name: name != DEFAULT_SCHEDULER)),
            steps=Range(least=1, most=100, usual=16),
            guidance=Range(least=1, most=20, usual=3),
            count=Range(least=1, most=64, usual=1),
            shapes=SHAPES,
        )

    def digest(self) -> str:
        """Of all parts together, without torch. Refused where weights are missing."""
        try:
            return weights_digest(PARTS, self.root)
        except WeightsError as error:
            raise Refused(f"{error}.") from error

    def load(self) -> None:
        """Read and verify the parts, once."""
        if self._pipeline is None:
            self.digest()  # says what is missing before seconds go into importing torch
            pipeline = _assemble(self.root)
            self._vocabulary = _words(pipeline, self.root)
            self._pipeline = pipeline

    def run(self, request: Request) -> Iterator[Progress | Result | Vector]:
        """Pictures in the pipeline's fixed shapes, or vectors."""
        self.load()
        assert self._pipeline is not None
        if isinstance(request, EmbedRequest):
            yield from _vectors(self._pipeline.embedder, request)
        else:
            yield from _pictures(self._pipeline, request, self._unknown(request))

    def _unknown(self, request: ImageRequest) -> tuple[Unknown, ...]:
        """Words of the request that the models were not taught; none where the weights came without a vocabulary."""
        if self._vocabulary is None:
            return ()
        text = " ".join([request.prompt, *(part.text for part in request.mix)])
        return tuple(Unknown(found.word, found.nearest) for found in self._vocabulary.unknown(plain(text)))


def phrase(prompt: str, style: str) -> str:
    """The prompt with its style as the captions of the training write it, in the prompt's language."""
    if not style:
        return prompt
    if CHINESE.search(prompt):
        return f"{prompt}，{STYLES[style].zh[0]}风格"
    return f"{prompt}, {style} style" if prompt else f"{style} style"


def _assemble(root: Path) -> "StickerPipeline":
    import diffusers
    import transformers

    from models.pipeline import StickerPipeline

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    try:
        return StickerPipeline.assemble(root)
    except WeightsError as error:
        raise Refused(f"{error}.") from error


def _words(pipeline: "StickerPipeline", root: Path) -> "Vocabulary | None":
    from models.vocabulary import PART, Vocabulary

    if PART not in listed_parts(root):
        return None
    try:
        return Vocabulary.load(pipeline.embedder, root)
    except WeightsError as error:
        raise Refused(f"{error}.") from error


def _pictures(
    pipeline: "StickerPipeline", request: ImageRequest, unknown: tuple[Unknown, ...]
) -> Iterator[Progress | Result]:
    from models.drawing import Pictures, Sampling

    text, vector = phrase(request.prompt, request.style), _sense(pipeline, request)
    wanted = pipeline.embedder.text([plain(text)]) if vector is None else vector
    sampling = Sampling(request.steps or 1, request.guidance or 1.0, scheduler=request.scheduler, batch=request.shape)
    drawing = pipeline.steps(
        [text] * request.count, request.seeds(), sampling, negative=request.negative, vector=vector, previews=True
    )
    try:
        for event in drawing:
            if isinstance(event, Pictures):
                yield from _results(pipeline, event, wanted)
            else:
                images: Any = [] if event.preview is None else event.preview
                previews = {event.first + i: _bytes(image) for i, image in enumerate(images)}
                yield Progress(event.step, event.total, previews, unknown)
    except FloatingPointError as error:
        raise Refused(f"{error}.") from error


def _sense(pipeline: "StickerPipeline", request: ImageRequest) -> "Tensor | None":
    """The vector that stands in for the words' own: that of the picture to be like, or of the mix, or of both."""
    parts: list[tuple[float, Any]] = [(1.0, _pixels(request.like))] if request.like else []
    for part in request.mix:
        parts.append((part.weight, _pixels(part.picture) if part.picture else part.text))
    try:
        return pipeline.mix(parts) if parts else None
    except ValueError as error:
        raise Refused(f"{error}.") from error


def _pixels(picture: Picture) -> np.ndarray:
    """The picture as it was when the request was resolved; Refused where it is another one by now."""
    try:
        pixels, data = load_picture(picture.path), Path(picture.path).read_bytes()
    except (ValueError, OSError) as error:
        raise Refused(f"{error}.") from error
    if hashlib.sha256(data).hexdigest() != picture.sha256:
        raise Refused(f"{picture.path} was changed after the job was put in line; ask again.")
    return pixels


def _results(pipeline: Any, event: Any, wanted: "Tensor") -> Iterator[Result]:
    scores = (pipeline.embedder.image(event.pixels) @ wanted.T)[:, 0].tolist()
    how = {"batch": event.batch, "dtype": str(pipeline.dit.dtype).removeprefix("torch.")}
    for i, (pixels, seed, score) in enumerate(zip(event.pixels, event.seeds, scores, strict=True)):
        yield Result(event.first + i, seed, png(pixels), round(score, 4), how)


def _vectors(embedder: "Embedder", request: EmbedRequest) -> Iterator[Vector]:
    if request.texts:
        for text, vector in zip(request.texts, embedder.text(request.texts).tolist(), strict=True):
            yield Vector("text", text, tuple(vector))
    if request.pictures:
        pixels = np.stack([_pixels(picture) for picture in request.pictures])
        for picture, vector in zip(request.pictures, embedder.image(pixels).tolist(), strict=True):
            yield Vector("image", picture.path, tuple(vector))


def _bytes(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    png(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()
