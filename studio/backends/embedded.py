"""The studio's own models: the sticker pipeline on the weights that ship. torch is imported by `load`, not before."""

import functools
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image

from models.assets import assets
from models.data.grammar import LANGUAGES, STYLES, language_of, styled
from models.data.pixels import SIZE, fit, png, resized
from models.messages import Message, Refused
from models.prompts.weighting import QUOTED, plain
from models.runtime import silence
from models.sampling.schedulers import DEFAULT_SCHEDULER, FAST_STEPS, GUIDANCE, GUIDED_FROM, SCHEDULERS
from models.weights import WeightsError, fits, weights_digest, weights_root
from studio import loras, media, settings
from studio.backends.base import Backend, Event, Handler, per_request
from studio.backends.inputs import (
    Batches,
    ClipEnds,
    given_frames,
    given_pixels,
    start,
    to_describe,
    to_enlarge,
    vectors,
)
from studio.backends.runtime import weights_needed
from studio.capabilities import FAST, Capabilities, Fixed, Range, Style
from studio.events import Progress, Unknown
from studio.media import Artifact
from studio.requests import (
    CaptionRequest,
    ClipRequest,
    EmbedRequest,
    EnlargeRequest,
    ImageRequest,
    Lora,
    Picture,
    ReadRequest,
    WordedRequest,
    sides,
    summands,
)

if TYPE_CHECKING:
    from torch import Tensor

    from models.captioner import Kind
    from models.pipelines.caption import CaptionPipeline
    from models.pipelines.conditioning import Blend
    from models.pipelines.image import ImagePipeline
    from models.pipelines.video import ClipPipeline
    from models.prompts.parser import PromptParser
    from models.reward import Reward
    from models.sampling.loop import Sampling
    from models.space import Embedder
    from models.upscaler import Upscaler

R = TypeVar("R", bound=WordedRequest)
SHAPES = (1, 8)  # 8 is models.pipelines.image.BATCH, whose module imports torch
SPACE = ("language", "vision", "space")
PARTS = ("language", "vision", "space", "autoencoder", "dit", "wording", "prototypes")
VIDEO = "video"  # models.pipelines.video.PART; optional
DETECTOR = "detector"  # models.detector.PART; optional
CAPTIONER = ("captioner", DETECTOR)  # PART of models.pipelines.caption and models.detector; optional
DESCRIBED = (1, 16)  # SHAPES of models.pipelines.caption, whose module imports torch
UPSCALER, SCALE = "upscaler", 4  # models.upscaler.PART and SCALE; optional
GENERATOR = "dit"  # models.lora.GENERATOR, which adapters change
RELEASE = "release"  # changes of the generator by pictures of all splits; optional
ADAPTED = 4  # pipelines with adapters that stay in memory
VARIANT = "fast"  # draws with few steps, alone or the last ones; optional


def _optional(part: str, root: Path, *beside: str) -> str:
    """Digest of an optional part and of those `beside` it; "" where it is missing, or belongs to other parts."""
    try:
        return weights_digest((part, *beside), root) if fits(part, root) else ""
    except WeightsError:  # drawing refuses with it
        return ""


class Enlarger:
    """Enlarges pictures with the upscaler under `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._loaded: tuple[str, Upscaler] | None = None

    def capabilities(self) -> dict[str, Any]:
        """Sizes in pixels a side, the generator's first; the digest of the upscaler, or why there is none."""
        if digest := _optional(UPSCALER, self.root):
            return {"sizes": (SIZE, SCALE * SIZE), "upscaler": digest}
        values = {"size": SCALE * SIZE, "part": UPSCALER, "root": str(weights_root(self.root))}
        return {"sizes": (SIZE,), "beyond": Message("weights.no_upscaler", values)}

    def __call__(self, pixels: np.ndarray, request: ImageRequest | EnlargeRequest) -> np.ndarray:
        """Premultiplied uint8 (S, S, 4) in the request's size. Refused where the upscaler is missing or replaced."""
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

            from models.runtime import native_dtype
            from models.upscaler import Upscaler
            from models.weights import load_part

            with weights_needed():
                network = load_part(Upscaler, UPSCALER, self.root, native_dtype())
            self._loaded = digest, network.to(memory_format=torch.channels_last)
        return self._loaded[1]


class Embedded(Backend):
    """ImagePipeline as a backend. `root` holds the parts; None is the shipped ones."""

    def __init__(self, root: str | None = None) -> None:
        self.root = Path(root) if root else assets() / "weights"
        self._pipeline: ImagePipeline | None = None
        self._parser: PromptParser | None = None  # without the pipeline, with a tenth of its weights
        self._enlarge = Enlarger(self.root)
        self._adapted: dict[tuple[Lora, ...], ImagePipeline] = {}

    def capabilities(self) -> Capabilities:
        """The styles of its training data, and ranges in which it was tried."""
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
            rewards=True,
            loras=True,
            base=_optional(GENERATOR, self.root),
        )

    def digest(self) -> str:
        """Of all parts that draw, and of the one that reads drawings. The upscaler's digest is in the requests that
        need it."""
        with weights_needed("model.weights_or_fake"):
            optional = [part for part in (RELEASE, VARIANT, DETECTOR) if _optional(part, self.root)]
            return weights_digest((*PARTS, *optional), self.root)

    def space(self) -> str:
        with weights_needed():
            return weights_digest(SPACE, self.root)

    def load(self) -> None:
        if self._pipeline is None:
            self.digest()  # says what is missing before seconds go into importing torch
            from models.pipelines.image import ImagePipeline
            from models.runtime import keep_freed_memory

            keep_freed_memory()
            silence()
            with weights_needed():
                self._pipeline = ImagePipeline.assemble(self.root)

    @property
    def tasks(self) -> Mapping[str, Handler]:
        tasks: dict[str, Handler] = {
            "image": self._images,
            "embed": per_request(self._vectors),
            "enlarge": per_request(self._enlarged),
            "read": per_request(self._read),
        }
        parts = {"clip": (VIDEO, per_request(self._clips)), "caption": (CAPTIONER[0], self._captions)}
        return {**tasks, **{task: handler for task, (part, handler) in parts.items() if _optional(part, self.root)}}

    def _images(self, requests: Sequence[ImageRequest], previews: bool) -> Iterator[tuple[int, Event]]:
        """One batch after the other; a request's prompt is read when its first batch begins."""
        from models.pipelines.image import Pictures

        if not requests:
            return
        if any(request.variant and request.variant != _optional(VARIANT, self.root) for request in requests):
            raise Refused("model.variant_replaced")
        requests = [_without_loras(request) for request in requests]
        for request in requests:
            self._refuse_unknown(request)
        pipeline, batches = self._with_loras(requests[0].loras or ()), Batches(requests)
        conditions = functools.cache(lambda number: conditioning(pipeline, requests[number]))
        unknown = functools.cache(lambda number: self._unknown(requests[number]))
        rewards = [self._reward(request) for request in requests]
        try:
            for k, batch in enumerate(batches.batches):
                rows = [conditions(slot.number) for slot in batch]
                events = pipeline.steps(
                    [row.text for row in rows],
                    [slot.seed for slot in batch],
                    _sampling(requests[0]),
                    negative=[row.negative for row in rows],
                    vector=[row.vector for row in rows],
                    blends=[row.blend for row in rows],
                    start=_stacked([row.start for row in rows]),
                    redraw=_stacked([row.mask for row in rows]),
                    previews=previews,
                )
                for event in events:
                    if isinstance(event, Pictures):
                        drawn = zip(batch, event.pixels, event.wanted, event.credits, event.redrawn, strict=True)
                        for slot, pixels, wanted, credits, redrawn in drawn:
                            vector = pipeline.embedder.image(pixels[None])[0]  # alone: bits depend on the batch
                            score = round(float(vector @ wanted), 4)
                            facts = {"seed": slot.seed, "score": score, "credits": credits, "redrawn": redrawn}
                            facts["read_as"] = conditions(slot.number).read_as
                            reward, rank = rewards[slot.number], score
                            if reward:
                                rude = self._is_rude(pixels, requests[slot.number].prompt)
                                rank = reward.of(pixels, vector.numpy(), float(vector @ wanted), rude)["reward"]
                            if (best := batches.chosen(slot, rank, (pixels, vector, facts))) is not None:
                                yield slot.number, self._artifact(requests[slot.number], event.batch, slot.index, *best)
                        continue
                    previewed = () if event.preview is None else event.preview
                    shown = [media.quick_png(png(image)) for image in previewed]
                    for number, progress in batches.progress(k, event.step, event.total, shown):
                        yield number, replace(progress, unknown=unknown(number), read_as=conditions(number).read_as)
        except FloatingPointError as error:
            raise Refused("model.weights", problem=str(error)) from error

    def _artifact(
        self, request: ImageRequest, batch: int, index: int, pixels: np.ndarray, vector: Any, facts: dict[str, Any]
    ) -> Artifact:
        """In the size of the request. Its vector is of the drawn picture, before it is enlarged."""
        picture = png(self._enlarge(pixels, request))
        return media.image(picture, index=index, **facts, **self._facts(request, batch, vector))

    def _clips(self, request: ClipRequest) -> Iterator[Event]:
        """First the picture of each clip, drawn or given, then its motion; the preview moves as well."""
        from models.pipelines.video import ClipStep
        from models.prompts.still import can_loop, read_motion

        if request.video != _optional(VIDEO, self.root):
            raise Refused("model.video_replaced")
        request, drawn_as = _without_loras(request), request
        pipeline, drawing = self._clip_pipeline, 0 if request.image else request.steps or 1
        each = drawing + pipeline.sampling.steps
        comes_back, read_as = can_loop(request.prompt), read_motion(plain(request.prompt), request.loop)
        ends = ClipEnds.of(request, comes_back)
        options: dict[str, Any] = {"count": request.frames, "fps": request.fps, "loop": ends.loop, "last": ends.last}
        options |= {"strength": request.motion_strength, "room": ends.first is None}
        for index, seed in enumerate(request.seeds()):
            given = ends.first
            picture, origin = given, dict[str, Any]()
            if picture is None:
                still = yield from self._still(drawn_as, index, each, read_as)
                picture, origin = fit(media.frames(still.data)[0]), {"credits": still.credits, "redrawn": still.redrawn}
            for event in pipeline.steps(plain(request.prompt), seed, picture=picture, previews=True, **options):
                if isinstance(event, ClipStep):
                    shown = {} if event.preview is None else {index: _animated(event.preview, request).data}
                    step = index * each + drawing + event.step
                    yield Progress(step, request.count * each, shown, read_as=read_as)
                    continue
                frames = ends.joined(event.frames)
                vector = pipeline.pictures.embedder.clip([frames])[0]
                facts = {**self._facts(request, 1, vector), "index": index, "seed": seed, "read_as": read_as, **origin}
                # What leads away plays once: it would jump back.
                yield _animated(frames, request.model_copy(update={"loop": request.loop and comes_back}), **facts)

    def _still(self, request: ClipRequest, index: int, each: int, read_as: str) -> Generator[Event, None, Artifact]:
        """Draws the first picture of clip `index`, and returns it."""
        from models.prompts.still import named_motions, still_prompt

        fields = {name: getattr(request, name) for name in WordedRequest.model_fields if name not in ("task", "image")}
        fields |= {"prompt": still_prompt(loras.words(request.prompt)), "seed": request.seeds()[index], "count": 1}
        for _, event in self._images([ImageRequest(**fields)], True):
            if isinstance(event, Artifact):
                return event
            assert isinstance(event, Progress)
            shown = {index: event.previews[0]} if event.previews else {}
            drawn = min(event.step, request.steps or 1)  # what is drawn again takes no step of the clip
            unknown = tuple(one for one in event.unknown if not named_motions(one.word))  # those are seen in the motion
            yield Progress(index * each + drawn, request.count * each, shown, unknown, read_as or event.read_as)
        raise AssertionError("drawing ends with a picture")

    def _reward(self, request: ImageRequest) -> "Reward | None":
        """What chooses the best of several, None for the cosine alone. Refused where it is of another space."""
        if request.ranker is None:
            return None
        from models.reward import Reward

        reward = Reward.load(settings.rewards(), request.ranker)
        if reward.about.get("space") != self.space():
            raise Refused("model.ranker_replaced")
        return reward

    def _is_rude(self, pixels: np.ndarray, prompt: str) -> bool:
        """Whether a picture insults, and its prompt does not name that."""
        from models.reward import names_insult

        reader = self._loaded().reader
        return reader is not None and not names_insult(prompt) and reader.read(pixels, None).is_rude

    def _captions(self, requests: Sequence[CaptionRequest], previews: bool) -> Iterator[tuple[int, Event]]:
        """The best candidate of each; for a picture that the captioner does not know, a sentence that says so."""
        if requests[0].captioner != self.capabilities().captioner:
            raise Refused("model.captioner_replaced")
        shape = requests[0].shape or 1
        for first in range(0, len(requests), shape):
            batch = requests[first : first + shape]
            yield from ((first + number, Progress(0, 1)) for number in range(len(batch)))
            yield from ((first + number, text) for number, text in enumerate(self._described(batch, shape)))

    def _described(self, requests: Sequence[CaptionRequest], shape: int) -> Iterator[Artifact]:
        shared, embedder = requests[0], self._loaded().embedder
        pixels = np.stack([to_describe(one) for one in requests])
        seeds, count = [request.seed or 0 for request in requests], shared.candidates or 1
        kind: Kind = "tags" if shared.tags else "long" if shared.long else "short"
        captions = self._caption_pipeline.caption(pixels, shared.language, kind, count, seeds, shape)
        for request, seen, caption in zip(requests, pixels, captions, strict=True):
            known = caption.known and bool(np.ptp(seen, (0, 1)).any())  # a picture of one colour shows nothing
            facts = {**self._facts(request, shape, embedder.text([caption.text])[0]), "score": caption.score}
            yield media.caption(caption.text, caption.others, known, request.language, seed=request.seed or 0, **facts)

    def _vectors(self, request: EmbedRequest) -> Iterator[Event]:
        yield from vectors(self._loaded().embedder, request)

    def embedder(self) -> "Embedder":
        """The encoders of the space alone: a tenth of the weights."""
        from models.space import Embedder

        silence()
        with weights_needed():
            return self._pipeline.embedder if self._pipeline else Embedder.load(self.root)

    def _enlarged(self, request: EnlargeRequest) -> Iterator[Event]:
        pipeline = self._loaded()
        yield Progress(0, 1)
        vector = pipeline.embedder.image(given_pixels(request.image)[None])[0]
        yield media.image(self.enlarged(request), **self._facts(request, 1, vector))

    def enlarged(self, request: EnlargeRequest) -> Image.Image:
        """The enlarged picture of a resolved request, with only the upscaler in memory."""
        return png(self._enlarge(to_enlarge(request), request))

    # --- Prompts ------------------------------------------------------------------------------------------------------

    def _read(self, request: ReadRequest) -> Iterator[Event]:
        from models.prompts.parser import PromptParser
        from models.space import Embedder

        if self._pipeline and self._pipeline.parser:
            self._parser = self._pipeline.parser
        elif self._parser is None:
            silence()
            with weights_needed():
                self._parser = PromptParser.load(Embedder.load(self.root), self.root)
        yield from (self._parser.read(text, request.negative) for text in request.texts)

    def _refuse_unknown(self, request: ImageRequest) -> None:
        """Refused where only words say what to draw, and they name nothing that can be drawn."""
        parser = self._pipeline.parser if self._pipeline else None
        if parser is None or request.like or request.mix or request.image:
            return
        if instead := parser.instead(request.prompt):
            raise Refused("reading.nothing", text=request.prompt, instead=list(instead))

    def _unknown(self, request: ImageRequest) -> tuple[Unknown, ...]:
        """Words of the request that are not drawn; () for weights without a parser."""
        if (parser := self._loaded().parser) is None:
            return ()
        texts = [*summands(request.prompt), *(part.text for part in request.mix)]
        parts = [part for text in texts if text.strip() for part in parser.parse(text).parts]
        missing = {part.text: part.nearest for part in parts if part.state != "drawn"}
        return tuple(Unknown(word, nearest) for word, nearest in missing.items())

    # --- Models -------------------------------------------------------------------------------------------------------

    def _facts(self, request: Any, batch: int, vector: Any) -> dict[str, Any]:
        """An artifact's vector in the semantic space, and what its bits depend on beside the request."""
        import torch

        how: dict[str, int | str] = {"batch": batch, "dtype": str(self._loaded().dit.dtype).removeprefix("torch.")}
        how["cpu"] = torch.backends.cpu.get_cpu_capability()
        if upscaler := getattr(request, "upscaler", None):
            how["upscaler"] = upscaler[:10]
        return {"how": how, "vector": tuple(vector.tolist()), "space": self.space()}

    def _loaded(self) -> "ImagePipeline":
        self.load()
        assert self._pipeline is not None
        return self._pipeline

    def _with_loras(self, wanted: tuple[Lora, ...]) -> "ImagePipeline":
        """The pipeline with a request's adapters; the last ones stay in memory, 50 MB each. Refused where one has
        changed, is of another model, or does not fit."""
        wanted = tuple(lora for lora in wanted if lora.weight)
        if not wanted:
            return self._loaded()
        if wanted not in self._adapted:
            adapters = [self._adapter(lora) for lora in wanted]
            weighted = [(tensors, lora.weight) for (tensors, _), lora in zip(adapters, wanted, strict=True)]
            try:
                pipeline = self._loaded().with_adapters(weighted, of_style=any(is_style for _, is_style in adapters))
            except ValueError as error:
                raise Refused("lora.no_fit", path=wanted[0].name, problem=str(error)) from error
            self._adapted = {**dict(list(self._adapted.items())[1 - ADAPTED :]), wanted: pipeline}
        return self._adapted[wanted]

    def _adapter(self, lora: Lora) -> tuple[dict[str, "Tensor"], bool]:
        """Its changes, and whether it is a style."""
        from models.lora import ADAPTER, adapter_base, is_style, load_adapter

        path = loras.unchanged(lora)
        if path.name != ADAPTER:
            raise Refused("lora.other_model", name=lora.name, path=str(path), model=self.capabilities().title)
        if adapter_base(path.parent) != weights_digest((GENERATOR,), self.root):
            raise Refused("lora.other_base", name=lora.name, path=str(path.parent))
        try:
            return load_adapter(path.parent), is_style(path.parent)
        except (ValueError, OSError, KeyError) as error:
            raise Refused("lora.no_fit", path=str(path), problem=str(error)) from error

    @functools.cached_property
    def _clip_pipeline(self) -> "ClipPipeline":
        from models.pipelines.video import ClipPipeline

        with weights_needed():
            return ClipPipeline.assemble(self.root, self._loaded())

    @functools.cached_property
    def _caption_pipeline(self) -> "CaptionPipeline":
        from models.pipelines.caption import CaptionPipeline

        with weights_needed():
            return CaptionPipeline.assemble(self.root, self._loaded().embedder)


def _without_loras(request: R) -> R:
    """The request with its words alone: what they name is in `loras`."""
    return request.model_copy(update={"prompt": loras.words(request.prompt)}) if request.loras else request


def _animated(frames: np.ndarray, request: ClipRequest, **facts: Any) -> Artifact:
    """Premultiplied uint8 (T, S, S, 4) as a clip."""
    return media.clip([png(frame) for frame in frames], request.fps or 1, request.loop, **facts)


def _sampling(request: ImageRequest) -> "Sampling":
    from models.sampling.loop import FAST_SAMPLING, REDRAWS, Sampling

    shares = {"strength": request.strength, "reference_strength": request.reference_strength}
    options: dict[str, Any] = {name: 1.0 if share is None else share for name, share in shares.items()}
    options |= {"batch": request.shape, "redraws": REDRAWS}
    if request.scheduler == FAST:
        return replace(FAST_SAMPLING, **options)
    guided = (request.guided_from or 0.0, 1.0)
    return Sampling(request.steps or 1, request.guidance or 1.0, guided, scheduler=request.scheduler, **options)


def _stacked(arrays: list[np.ndarray | None]) -> np.ndarray | None:
    """(B, ...) of arrays that all rows of a batch have, or None where none has one."""
    present = [array for array in arrays if array is not None]
    return np.stack(present) if present else None


# --- Conditions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Conditioning:
    """What the sticker pipeline draws from, the same for all pictures of a request.

    `read_as` is the prompt as understood, "" where that is its very words. `vector` (1, 128) replaces the prompt's
    semantic vector, `blend` the whole condition; `start` (128, 128, 4) and `mask` (128, 128) are uint8. Each may be
    None.
    """

    text: str
    read_as: str
    negative: str
    vector: "Tensor | None"
    blend: "Blend | None"
    start: np.ndarray | None
    mask: np.ndarray | None


def conditioning(pipeline: "ImagePipeline", request: ImageRequest) -> Conditioning:
    """The condition of a resolved request. Refused where a picture changed since, or the parts of a mix cancel out."""
    parts, several = _parts(request)
    if several:
        texts = [what for weight, what in parts if isinstance(what, str) and weight > 0]
        if not (request.image or _given(request)):
            text, blend = pipeline.together(_words(request))
        else:
            text, blend = "", pipeline.blend(parts, phrase("", request.style), references=request.image is None)
        single = None if blend else pipeline.parse_beside(text, request.negative)
        # The negative prompt may leave one of two things.
        read = single.description if single and not single.layout else _understood(pipeline, texts)
        return Conditioning(text, read, request.negative, None, blend, *start(request))
    vector = pipeline.mix(parts) if parts else None
    text = phrase(request.prompt, request.style)
    alone = vector is None and request.image is None
    read = _understood(pipeline, [text], request.negative, composite=alone)
    return Conditioning(text, read, request.negative, vector, None, *start(request))


def _understood(pipeline: "ImagePipeline", texts: Sequence[str], negative: str = "", composite: bool = False) -> str:
    """The texts as understood beside a negative prompt, "" where those are their very words. `composite`: nothing else
    is drawn with them.
    """
    parsed = [pipeline.parse_beside(text, negative) for text in texts]
    understood = [prompt.description if composite else prompt.encoded for prompt in parsed]
    return "" if understood == list(texts) else " + ".join(understood)


def phrase(prompt: str, style: str) -> str:
    """The prompt with its style as in training captions, in its language; inside of quotation marks, if quoted."""
    if not style:
        return prompt
    if QUOTED.fullmatch(prompt):
        opening, words, closing = prompt.strip()[0], prompt.strip()[1:-1], prompt.strip()[-1]
        return f"{opening}{phrase(words, style)}{closing}"
    return styled(prompt, style, language_of(prompt) == "zh")


def _parts(request: ImageRequest) -> tuple[list[tuple[float, Any]], bool]:
    """The parts of the semantic vector as (weight, text or pixels), [] where it is the prompt's alone; and whether they
    are several things in one picture: the sum in a prompt, or likeness and mix without a prompt.

    Parts of negative weight alone are subtracted from the prompt, or from the start picture where there is no prompt.
    """
    given = _given(request)
    words = [(1.0, one) for one in _words(request)]
    if any(weight > 0 for weight, _ in given):
        return given, not words and sum(weight > 0 for weight, _ in given) > 1
    if len(words) > 1 or (words and given):
        return words + given, len(words) > 1
    if request.image and not words:
        return [(1.0, given_pixels(request.image)), *given], False
    return given, False


def _words(request: ImageRequest) -> list[str]:
    """The summands of the prompt, each in the style of the request, or in the style that the last one names."""
    from models.prompts.parser import named_style

    words = summands(request.prompt)
    last = named_style(words[-1]) if len(words) > 1 else ""
    return [phrase(one, request.style or ("" if named_style(one) else last)) for one in words]


def _given(request: ImageRequest) -> list[tuple[float, Any]]:
    """The picture of `like` and the parts of the mix; words of positive weight are in the request's style."""
    parts: list[tuple[float, Any]] = [(1.0, _given_pixels(request.like))] if request.like else []
    for part in request.mix:
        text = phrase(part.text, request.style if part.weight > 0 else "")
        parts.append((part.weight, _given_pixels(part.picture) if part.picture else text))
    return parts


def _given_pixels(picture: Picture) -> np.ndarray:
    """A picture (128, 128, 4), or sampled frames of a clip (T, 128, 128, 4)."""
    frames = given_frames(picture)
    return frames[0] if len(frames) == 1 else frames
