"""The studio's own models: the sticker pipeline on the weights that ship. torch is imported by `load`, not before."""

import functools
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from models.assets import assets
from models.data.grammar import LANGUAGES, STYLES
from models.data.pixels import SIZE, fit, png, resized
from models.messages import Message, Refused
from models.prompts.weighting import plain
from models.quiet import silence
from models.sampling.schedulers import DEFAULT_SCHEDULER, FAST_STEPS, GUIDANCE, GUIDED_FROM, SCHEDULERS
from models.weights import WeightsError, fits, weights_digest, weights_root
from studio import media
from studio.backends import loading
from studio.backends.base import Backend, Event, Handler, per_request
from studio.backends.given import Batches, ClipEnds, given_pixels, to_describe, to_enlarge
from studio.backends.loading import weights_needed
from studio.backends.prompts import PromptReading
from studio.backends.told import Told, tell
from studio.backends.vectors import vectors
from studio.capabilities import FAST, Capabilities, Fixed, Range, Style
from studio.events import Progress
from studio.media import Artifact
from studio.requests import (
    CaptionRequest,
    ClipRequest,
    EmbedRequest,
    EnlargeRequest,
    ImageRequest,
    WordedRequest,
    sides,
)

if TYPE_CHECKING:
    from models.captioner import Kind
    from models.pipelines.caption import CaptionPipeline
    from models.pipelines.image import StickerPipeline
    from models.pipelines.video import ClipPipeline
    from models.sampling import loop
    from models.sampling.loop import Pictures, Sampling
    from models.space import Embedder
    from models.upscaler import Upscaler

SHAPES = (1, 8)  # 8 is models.pipelines.image.BATCH, which can't be asked without torch
SPACE = ("language", "vision", "space")
PARTS = ("language", "vision", "space", "autoencoder", "dit", "wording", "prototypes")
VIDEO = "video"  # models.pipelines.video.PART, which moves pictures and need not be there
CAPTIONER = ("captioner", "detector")  # PART of models.pipelines.caption and models.detector; they need not be there
DESCRIBED = (1, 16)  # SHAPES of models.pipelines.caption, which can't be asked without torch
UPSCALER, SCALE = "upscaler", 4  # models.upscaler.PART and SCALE; weights without the part are whole
VARIANT = "fast"  # models.lora.UPSCALER, which draws alone or the last of the way, and need not be there


def _optional(part: str, root: Path, *beside: str) -> str:
    """Digest of a part that need not be there and of those it needs; "" where it is not, or is for other parts."""
    try:
        return weights_digest((part, *beside), root) if fits(part, root) else ""
    except WeightsError:  # whoever wants to draw will hear of it
        return ""


class Enlarger:
    """Makes pictures larger with the part under `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._loaded: tuple[str, Upscaler] | None = None

    def capabilities(self) -> dict[str, Any]:
        """Sizes in pixels a side, the models' own first; the part that makes the others, or why there are none."""
        if digest := _optional(UPSCALER, self.root):
            return {"sizes": (SIZE, SCALE * SIZE), "upscaler": digest}
        values = {"size": SCALE * SIZE, "part": UPSCALER, "root": str(weights_root(self.root))}
        return {"sizes": (SIZE,), "beyond": Message("weights.no_upscaler", values)}

    def __call__(self, pixels: np.ndarray, request: ImageRequest | EnlargeRequest) -> np.ndarray:
        """Premultiplied uint8 (S, S, 4) in the size asked for. Refused where the part is missing or replaced."""
        size, _ = sides(request.size or SIZE)
        if len(pixels) == size:
            return pixels
        if request.upscaler != _optional(UPSCALER, self.root):
            raise Refused("model.upscaler_replaced")
        enlarged = self._network(str(request.upscaler)).enlarge(pixels)
        return enlarged if len(enlarged) == size else resized(enlarged, size, size)

    def _network(self, digest: str) -> "Upscaler":
        if self._loaded is None or self._loaded[0] != digest:
            import torch

            from models.hardware import native_dtype
            from models.upscaler import Upscaler
            from models.weights import load_part

            with weights_needed():
                network = load_part(Upscaler, UPSCALER, self.root, native_dtype())
            self._loaded = digest, network.to(memory_format=torch.channels_last)
        return self._loaded[1]


class Embedded(Backend):
    """StickerPipeline as a backend. `root` holds the parts; None is the shipped ones."""

    def __init__(self, root: str | None = None) -> None:
        self.root = Path(root) if root else assets() / "weights"
        self._pipeline: StickerPipeline | None = None
        self._clips_by: ClipPipeline | None = None
        self._captions_by: CaptionPipeline | None = None
        self._reads = PromptReading(self.root)
        self._enlarge = Enlarger(self.root)

    def capabilities(self) -> Capabilities:
        """The styles that it was trained on, and ranges in which it was tried."""
        variant = _optional(VARIANT, self.root)
        fixed = {FAST: Fixed(steps=FAST_STEPS, guidance=1, variant=variant)} if variant else {}
        captioner = _optional(*CAPTIONER[:1], self.root, *CAPTIONER[1:])
        styles = (Style(name=name, zh=style.zh[-1], words=style.en + style.zh) for name, style in STYLES.items())
        return Capabilities(
            title="Studio 128 stickers",
            tasks=tuple(self.tasks),
            size=SIZE,
            **self._enlarge.capabilities(),
            video=_optional(VIDEO, self.root),
            captioner=captioner,
            languages=LANGUAGES if captioner else (),
            described=DESCRIBED if captioner else (1,),
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
        """Of all parts together that draw. The upscaler's is in the requests that it does."""
        with weights_needed("model.weights_or_fake"):
            return weights_digest((*PARTS, VARIANT) if _optional(VARIANT, self.root) else PARTS, self.root)

    def space(self) -> str:
        with weights_needed():
            return weights_digest(SPACE, self.root)

    def load(self) -> None:
        if self._pipeline is None:
            self.digest()  # says what is missing before seconds go into importing torch
            with weights_needed():
                pipeline = loading.pipeline(self.root)
                self._reads.vocabulary = loading.vocabulary(pipeline.embedder, self.root)
            self._pipeline = self._reads.pipeline = pipeline

    @property
    def tasks(self) -> Mapping[str, Handler]:
        done = {"image": self._images, "embed": per_request(self._vectors), "enlarge": per_request(self._enlarged)}
        done |= {"read": per_request(self._reads.read)}
        parts = {"clip": (VIDEO, per_request(self._clips)), "caption": (CAPTIONER[0], self._captions)}
        return {**done, **{task: does for task, (part, does) in parts.items() if _optional(part, self.root)}}

    def _images(self, requests: Sequence[ImageRequest], previews: bool) -> Iterator[tuple[int, Event]]:
        """A batch after the other; the words of a request are read when its first batch comes."""
        from models.sampling.loop import Pictures

        if any(request.variant and request.variant != _optional(VARIANT, self.root) for request in requests):
            raise Refused("model.variant_replaced")
        for request in requests:
            self._reads.refuse_unknown(request)
        pipeline, together = self._loaded(), Batches(requests)
        told = functools.cache(lambda number: tell(pipeline, requests[number]))
        unknown = functools.cache(lambda number: self._reads.unknown(requests[number]))
        try:
            for k, batch in enumerate(together.batches):
                rows = [told(slot.number) for slot in batch]
                for event in _draw(pipeline, rows, [slot.seed for slot in batch], requests[0], previews):
                    if isinstance(event, Pictures):
                        made = zip(batch, event.pixels, event.wanted, event.credits, strict=True)
                        for slot, pixels, wanted, credits in made:
                            place = pipeline.embedder.image(pixels[None])[0]  # alone: bits depend on the company
                            score = round(float(place @ wanted), 4)
                            facts = {"seed": slot.seed, "score": score, "credits": credits}
                            facts["read_as"] = told(slot.number).read
                            if (best := together.chosen(slot, score, (pixels, place, facts))) is not None:
                                yield slot.number, self._artifact(requests[slot.number], event.batch, slot.index, *best)
                        continue
                    shown = [] if event.preview is None else [media.quick_png(png(image)) for image in event.preview]
                    for number, progress in together.progress(k, event.step, event.total, shown):
                        yield number, replace(progress, unknown=unknown(number), read_as=told(number).read)
        except FloatingPointError as error:
            raise Refused("model.weights", problem=str(error)) from error

    def _artifact(
        self, request: ImageRequest, batch: int, index: int, pixels: np.ndarray, place: Any, facts: dict[str, Any]
    ) -> Artifact:
        """In the size that the request asks for. Its vector is that of what was drawn, before it was enlarged."""
        picture, about = png(self._enlarge(pixels, request)), self._about(request, batch, place)
        return media.image(picture, index=index, **facts, **about)

    def _clips(self, request: ClipRequest) -> Iterator[Event]:
        """The picture of each clip, drawn or given, and then that picture moved; the preview moves as well."""
        from models.pipelines.video import ClipStep
        from models.prompts.still import can_loop

        if request.video != _optional(VIDEO, self.root):
            raise Refused("model.video_replaced")
        pipeline, drawing = self._moving(), 0 if request.image else request.steps or 1
        each = drawing + pipeline.sampling.steps
        ends = ClipEnds.of(request, can_loop(request.prompt))
        asked: dict[str, Any] = {"count": request.frames, "fps": request.fps, "loop": ends.loop, "last": ends.last}
        asked |= {"strength": request.motion_strength, "room": ends.first is None}
        for index, seed in enumerate(request.seeds()):
            given = ends.first
            picture, credits = (yield from self._still(request, index, each)) if given is None else (given, ())
            for event in pipeline.steps(plain(request.prompt), seed, picture=picture, previews=True, **asked):
                if isinstance(event, ClipStep):
                    shown = {} if event.preview is None else {index: _animated(event.preview, request).data}
                    yield Progress(index * each + drawing + event.step, request.count * each, shown)
                    continue
                frames = ends.joined(event.frames)
                place = pipeline.pictures.embedder.clip([frames])[0]
                about = {**self._about(request, 1, place), "index": index, "seed": seed, "credits": credits}
                yield _animated(frames, request, **about)

    def _still(self, request: ClipRequest, index: int, each: int) -> Generator[Event, None, tuple[np.ndarray, Any]]:
        """The picture that clip `index` begins with, drawn as the request says: (128, 128, 4), and its credits."""
        from models.prompts.still import still_prompt

        drawn = {name: getattr(request, name) for name in WordedRequest.model_fields if name not in ("task", "image")}
        own = {"prompt": still_prompt(request.prompt), "seed": request.seeds()[index], "count": 1}
        for _, event in self._images([ImageRequest(**{**drawn, **own})], True):
            if isinstance(event, Artifact):
                return fit(media.frames(event.data)[0]), event.credits
            assert isinstance(event, Progress)
            shown = {index: event.previews[0]} if event.previews else {}
            yield replace(event, step=index * each + event.step, total=request.count * each, previews=shown)
        raise AssertionError("a picture ends what is drawn")

    def _captions(self, requests: Sequence[CaptionRequest], previews: bool) -> Iterator[tuple[int, Event]]:
        """The best candidate of each; of a picture that the captioner does not know a sentence that says so."""
        if requests[0].captioner != self.capabilities().captioner:
            raise Refused("model.captioner_replaced")
        shape = requests[0].shape or 1
        for first in range(0, len(requests), shape):
            some = requests[first : first + shape]
            yield from ((first + number, Progress(0, 1)) for number in range(len(some)))
            yield from ((first + number, one) for number, one in enumerate(self._described(some, shape)))

    def _described(self, requests: Sequence[CaptionRequest], shape: int) -> Iterator[Artifact]:
        from models.pipelines.caption import CaptionPipeline, Decoding

        asked, embedder = requests[0], self._loaded().embedder
        if self._captions_by is None:
            with weights_needed():
                self._captions_by = CaptionPipeline.assemble(self.root, embedder)
        pixels = np.stack([to_describe(one) for one in requests])
        seeds, decoding = [one.seed or 0 for one in requests], Decoding(candidates=asked.candidates or 1)
        kind: Kind = "tags" if asked.tags else "long" if asked.long else "short"
        found = self._captions_by.caption(pixels, asked.language, kind, decoding, seeds, shape)
        for request, seen, one in zip(requests, pixels, found, strict=True):
            known = one.known and bool(np.ptp(seen, (0, 1)).any())  # of one colour all over is a picture of nothing
            about = {**self._about(request, shape, embedder.text([one.text])[0]), "score": one.score}
            yield media.caption(one.text, one.others, known, request.language, seed=request.seed or 0, **about)

    def _vectors(self, request: EmbedRequest) -> Iterator[Event]:
        yield from vectors(self._loaded().embedder, request)

    def embedder(self) -> "Embedder":
        """What makes the vectors, alone: a tenth of what draws."""
        from models.space import Embedder

        silence()
        with weights_needed():
            return self._pipeline.embedder if self._pipeline else Embedder.load(self.root)

    def _enlarged(self, request: EnlargeRequest) -> Iterator[Event]:
        pipeline = self._loaded()
        yield Progress(0, 1)
        place = pipeline.embedder.image(given_pixels(request.image)[None])[0]
        yield media.image(self.enlarged(request), **self._about(request, 1, place))

    def enlarged(self, request: EnlargeRequest) -> Image.Image:
        """The picture of a resolved request, with nothing in memory but the upscaler."""
        return png(self._enlarge(to_enlarge(request), request))

    def _about(self, request: Any, batch: int, place: Any) -> dict[str, Any]:
        """Where an artifact lies in the semantic space, and what else its bits depend on."""
        import torch

        how: dict[str, int | str] = {"batch": batch, "dtype": str(self._loaded().dit.dtype).removeprefix("torch.")}
        how["cpu"] = torch.backends.cpu.get_cpu_capability()
        if upscaler := getattr(request, "upscaler", None):
            how["upscaler"] = upscaler[:10]
        return {"how": how, "vector": tuple(place.tolist()), "space": self.space()}

    def _loaded(self) -> "StickerPipeline":
        self.load()
        assert self._pipeline is not None
        return self._pipeline

    def _moving(self) -> "ClipPipeline":
        """The pipeline with what moves its pictures."""
        from models.pipelines.video import ClipPipeline

        if self._clips_by is None:
            with weights_needed():
                self._clips_by = ClipPipeline.assemble(self.root, self._loaded())
        return self._clips_by


def _animated(frames: np.ndarray, request: ClipRequest, **facts: Any) -> Artifact:
    """Premultiplied uint8 (T, S, S, 4) as a clip."""
    return media.clip([png(frame) for frame in frames], request.fps or 1, request.loop, **facts)


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


def _sampling(request: ImageRequest) -> "Sampling":
    from models.sampling.loop import FAST_SAMPLING, Sampling

    asked: dict[str, Any] = {"strength": request.strength, "reference_strength": request.reference_strength}
    asked = {"batch": request.shape, **{name: 1.0 if one is None else one for name, one in asked.items()}}
    if request.scheduler == FAST:
        return replace(FAST_SAMPLING, **asked)
    guided = (request.guided_from or 0.0, 1.0)
    return Sampling(request.steps or 1, request.guidance or 1.0, guided, scheduler=request.scheduler, **asked)


def _stacked(arrays: list[np.ndarray | None]) -> np.ndarray | None:
    """All or none of a company have one."""
    there = [array for array in arrays if array is not None]
    return np.stack(there) if there else None
