"""Pictures from words, from a vector, or from both.

`ImagePipeline.steps` is a generator: it yields `Progress` at every call of the network and `Pictures` whenever some are
done; programs iterate it, and stop it by closing it. Several things in one prompt are drawn one by one and laid into
one picture (`models.prompts.layout`).

**Same seed, same picture.** The bits of a matrix product depend on its shape. So every picture has its own noise from
its own seed, a text is read alone, and pictures are drawn one at a time (a single one) or BATCH at a time (the last
batch padded): a picture is a function of its prompt, its seed and that shape, and of no other picture of the call.

**Draw, read, redraw.** With `Sampling.redraws`, each drawing of a thing is read (`models.pipelines.reader`), alone. One
that is read as another thing, though its reference drawing is read rightly, is drawn again, alone, from that reference
under less and less noise (SDEdit, arXiv 2108.01073): below half of it the network knows what a hand looks like and not
which. What is left at the end is the reference itself. What insults unasked is drawn again likewise, or refused.

Shapes: N pictures of one call, B pictures of one batch, latents (N, 8, 16, 16), vectors (N, 128).
"""

import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from models.autoencoder import Autoencoder, preview
from models.compose.collage import Drawings, fit_in
from models.compose.masks import blend as blend_pixels
from models.compose.masks import cells, small_box
from models.data.grammar import Finish
from models.data.pixels import SIZE, to_tensor, to_uint8
from models.dit import DiT
from models.language import LanguageModel
from models.lora import adapted, load_fast, load_generator
from models.messages import Refused
from models.pipelines.conditioning import Blend, ConditionEncoder, Vectors, each, each_blend, each_vector, finish_of
from models.pipelines.reader import DrawingReader, insult_unasked
from models.prompts.parsed import Box, ParsedPrompt
from models.prompts.parser import PromptParser, in_paint, led_away
from models.references.credits import Credit, Redraw
from models.references.store import Reference, ReferenceStore
from models.runtime import native_dtype, one_thread
from models.sampling.condition import ComposedCondition, Condition
from models.sampling.guidance import guidance_hooks
from models.sampling.loop import MAX_SEED, Sampling, Step, denoise, seeded_noise
from models.sampling.schedulers import DEFAULT_SCHEDULER, build_scheduler
from models.space import Embedder, MotionHead, SemanticSpace
from models.vision import VisionEncoder
from models.weights import align, load_part

BATCH = 8  # pictures drawn together; changing it changes every picture that is not drawn alone
Encode = Callable[[np.ndarray], Tensor]  # one picture, premultiplied uint8 (128, 128, 4) -> clean latent (1, C, S, S)

REDRAWN_FROM = (0.35, 0.2)  # noise levels of the reference: less keeps more of it, 0.5 brings the mistake back (LOG.md)

# Lambda: what a change costs in a place, in squared colour. With 0.01 the lines between yellow fingers go (LOG.md).
JUMP = 0.0025
FASTER = 2.0  # kappa, the paper's own: with 4 it takes half the time and evens out less
LAST = 1e4  # beta at the end: what would follow changes no level of 255 but here and there
# Alpha between which an edge lies: less is empty, more is opaque. Drawings have no haze to lose; the edges of ink are
# one pixel wide, and decoded they are three.
EDGE = {Finish.SHADED: (6 / 255, 249 / 255), Finish.FLAT: (6 / 255, 249 / 255), Finish.INK: (1 / 3, 2 / 3)}


@dataclass(frozen=True)
class Progress:
    """Call number `step` of `total` of the whole work is done."""

    step: int
    total: int
    preview: np.ndarray | None = None  # of this batch, premultiplied uint8 (n, h, w, 4); None without `previews`


@dataclass(frozen=True)
class Pictures:
    """The next n pictures are done."""

    pixels: np.ndarray  # premultiplied uint8 (n, 128, 128, 4)
    latents: Tensor
    seeds: tuple[int, ...]
    batch: int  # the shape that they were drawn in: with seeds and settings it makes them again, bit for bit
    wanted: Tensor  # (n, 128), the semantic vectors that they were conditioned on
    credits: tuple[tuple[Credit, ...], ...]  # of each, the stored drawings that it was drawn from
    redrawn: tuple[tuple[Redraw, ...], ...]  # of each, the things that were drawn again


@dataclass(frozen=True)
class Start:
    """Clean latents (N, C, S, S). Where a part is kept, pictures (N, 128, 128, 4) and masks (N, 128, 128), uint8."""

    latents: Tensor
    pixels: np.ndarray | None = None
    masks: np.ndarray | None = None

    @staticmethod
    def of(start: np.ndarray | None, masks: np.ndarray | None, count: int, encode: Encode) -> "Start":
        """For `count` pictures, from as many or one for all. Each is encoded alone: its bits depend on nothing else."""
        if start is None:
            raise Refused("models.mask_without_picture")
        if len(start) not in (1, count):
            raise Refused("models.starts", given=len(start), count=count)
        known = {picture.tobytes(): picture for picture in start}
        encoded = {key: encode(picture) for key, picture in known.items()}
        latents = torch.cat([encoded[picture.tobytes()] for picture in start]).expand(count, -1, -1, -1)
        if masks is None:
            return Start(latents)
        if masks.dtype != np.uint8 or masks.shape[1:] != (SIZE, SIZE) or len(masks) not in (1, count):
            raise Refused("models.masks", type=masks.dtype, shape=str(masks.shape), count=count, size=SIZE)
        shape = count, SIZE, SIZE
        return Start(latents, np.broadcast_to(start, (*shape, 4)), np.broadcast_to(masks, shape))

    def rows(self, index: list[int]) -> "Start":
        """The rows `index`, in that order."""
        pixels, masks = (None if part is None else part[index] for part in (self.pixels, self.masks))
        return Start(self.latents[index], pixels, masks)

    @property
    def redraw(self) -> Tensor | None:
        """bool (N, 1, S, S), true where a latent is redrawn; None where all of it is."""
        return None if self.masks is None else torch.from_numpy(cells(self.masks, self.latents.shape[-1]))[:, None]

    def has_room(self, number: int) -> bool:
        """Whether a thing is drawn into picture `number`: a small part of it is redrawn."""
        return self.masks is not None and small_box(self.masks[number]) is not None

    def laid(self, number: int, drawing: np.ndarray) -> np.ndarray:
        """Picture `number`, which has room, with a drawing (128, 128, 4) in place of what is redrawn of it."""
        assert self.pixels is not None and self.masks is not None
        canvas = self.pixels[number].copy()
        canvas[self.masks[number] > 127] = 0
        fit_in(canvas, drawing, Box(*small_box(self.masks[number]) or (0, 0, SIZE, SIZE)), SIZE)
        return canvas

    def finish(self, drawn: np.ndarray) -> np.ndarray:
        """Decoded pictures with the kept pixels of the start put back."""
        if self.pixels is None or self.masks is None:
            return drawn
        return np.stack([blend_pixels(*three) for three in zip(drawn, self.pixels, self.masks, strict=True)])


@dataclass(frozen=True)
class _Drawing:
    """One thing: premultiplied uint8 (128, 128, 4), its latent (1, C, S, S), what it was drawn from, and how again."""

    pixels: np.ndarray
    latent: Tensor
    references: tuple[Reference, ...]
    redraw: Redraw | None = None


@dataclass(frozen=True)
class _Work:
    """A call's pictures and the drawings that make them: conditions, and pictures to start from. `seeds` and `vectors`
    (N, 128) are the pictures' own; everything else has a row a drawing. `concepts` are what readings are compared with,
    None where a row does not show what its words say."""

    drawings: Drawings
    seeds: Sequence[int]
    vectors: Tensor
    wanted: ComposedCondition
    unwanted: Condition
    start: Start | None
    finish: list[Finish]
    follows: list[bool]
    references: list[tuple[Reference, ...]]
    concepts: list[int | None]


class ImagePipeline(ConditionEncoder):
    """Text, picture or mix -> stickers of 128 x 128 with alpha. `assemble()` puts the shipped parts together;
    `models.pipelines.sticker.StickerPipeline` is the same as a pipeline of diffusers."""

    fast: Any
    scheduler: Any

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        language: LanguageModel,
        vision: VisionEncoder,
        space: SemanticSpace,
        autoencoder: Autoencoder,
        dit: DiT,
        scheduler: Any,
        fast: DiT | None = None,
        references: ReferenceStore | None = None,
        motion: MotionHead | None = None,
    ) -> None:
        self.tokenizer, self.language, self.vision, self.space = tokenizer, language, vision, space
        self.autoencoder, self.dit, self.scheduler, self.fast = autoencoder, dit, scheduler, fast
        self.references, self.motion = references, motion
        self.autoencoder.to(memory_format=torch.channels_last)  # faster, and other bits: every way in must agree on it
        for network in filter(None, (language, vision, space, motion, autoencoder, dit, fast)):
            align(network)
        self.parser: PromptParser | None = None  # names the references; without it, prompts are read as they are
        self.reader: DrawingReader | None = None  # without it, nothing is drawn again
        # With an adapter of a style: its pictures decide what drawings look like, so references guide no step, and what
        # is read as another thing is not drawn again from one.
        self.is_adapted = False

    @classmethod
    @one_thread()
    def assemble(cls, root: Path | None = None, dtype: torch.dtype | None = None, split: str = "") -> Self:
        """The parts under `root` (None: the shipped ones), verified by their sha256. `dtype` None takes the one this
        CPU is fast in; text and space are always read in fp32, so that vectors are comparable between machines. Names,
        references and generator are those of all pictures, or of those of a `split`."""
        dtype, e = dtype or native_dtype(), Embedder.load(root)
        autoencoder, dit = load_part(Autoencoder, "autoencoder", root, dtype), load_generator(root, dtype, split)
        references = ReferenceStore.load(root, split)
        draws = autoencoder, dit, build_scheduler(DEFAULT_SCHEDULER), load_fast(dit, root), references
        pipeline = cls(e.tokenizer, e.language, e.vision, e.space, *draws, e.motion)
        pipeline.parser = PromptParser.load(pipeline.embedder, root, split)
        pipeline.reader = DrawingReader.load(pipeline.embedder, pipeline.parser.concepts, references, root)
        return pipeline

    def with_adapters(self, adapters: Sequence[tuple[dict[str, Tensor], float]], *, of_style: bool = True) -> Self:
        """The pipeline with a user's adapters (`models.lora.load_adapter`), each at a weight; `of_style` where one
        of them is a style. All parts but generator and fast variant are shared with this one, which stays as it is.
        ValueError where an adapter does not fit."""
        pipeline = copy.copy(self)
        pipeline.dit, pipeline.fast = (adapted(network, adapters) for network in (self.dit, self.fast))
        pipeline.is_adapted = of_style
        return pipeline

    @torch.no_grad()
    def steps(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        sampling: Sampling | None = None,
        *,
        negative: Sequence[str] | str = "",
        vector: Vectors | None = None,
        blends: Sequence[Blend | None] = (),
        start: np.ndarray | None = None,
        redraw: np.ndarray | None = None,
        previews: bool = False,
    ) -> Iterator[Progress | Pictures]:
        """Draw N pictures; yields `Progress` after every call of the network and `Pictures` after every batch.

        Args:
            prompts: one for all pictures, or one each.
            seeds: one each, 0 to 2^63 - 1; their number is the number of pictures.
            sampling: how to draw.
            negative: what to keep away from: one text for all, or one each; only guidance reads it.
            vector: as in `encode_condition`.
            blends: what `blend` made, one for all pictures or one (or None) each, where their prompt is empty; it takes
                precedence over `vector`.
            start: pictures to start from, premultiplied uint8 (N or 1, 128, 128, 4); needs a strength.
            redraw: masks for start pictures in pixels, uint8 (N or 1, 128, 128): 0 keeps them exactly, 255 draws anew.
            previews: whether `Progress` carries previews.

        Raises ValueError where the arguments do not fit, FloatingPointError where a latent stops being finite.
        """
        sampling = sampling or Sampling()
        begin = None if start is None and redraw is None else Start.of(start, redraw, len(seeds), self._encode)
        work = self._resolve(prompts, seeds, sampling, negative, vector, blends, begin)
        batch = sampling.batch or (1 if len(seeds) == 1 else BATCH)
        pictures = _chunks(range(len(seeds)), batch)
        calls = [_chunks(work.drawings.rows(some), batch) for some in pictures]
        chunk_count, total, done = sum(map(len, calls)), 0, 0
        for some, chunks in zip(pictures, calls, strict=True):
            drawings = list[_Drawing]()
            for rows in chunks:
                latents = [drawing.latent for drawing in drawings]
                for step in self._draw(work, rows + rows[-1:] * (batch - len(rows)), sampling):
                    total, done = total or chunk_count * step.count, done + 1
                    image = self._preview(work, some, [*latents, step.clean[: len(rows)]]) if previews else None
                    yield Progress(done, total, image)
                pixels = self._decode(step.latents, [work.finish[row] for row in rows])
                latents += step.latents[: len(rows)].split(1)
                for row, picture in zip(rows, pixels, strict=True):
                    number = len(drawings)
                    drawing = _Drawing(picture, latents[number], work.references[row])
                    for event in self._checked(work, row, drawing, sampling):
                        if isinstance(event, _Drawing):
                            drawings.append(event)
                            latents[number] = event.latent
                            continue
                        total, done = total + event.count * (event.index == 0), done + 1
                        shown = [*latents[:number], event.clean, *latents[number + 1 :]]
                        yield Progress(done, total, self._preview(work, some, shown) if previews else None)
            yield self._finished(work, some, drawings, batch)

    def _resolve(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        sampling: Sampling,
        negative: Sequence[str] | str = "",
        vector: Vectors | None = None,
        blends: Sequence[Blend | None] = (),
        start: Start | None = None,
    ) -> _Work:
        count = len(seeds)
        if not count:
            raise Refused("models.no_seeds")
        if wrong := [seed for seed in seeds if not 0 <= seed <= MAX_SEED]:
            raise Refused("models.seed", seed=wrong[0], most=MAX_SEED)
        texts, negatives = each("prompts", prompts, count), each("negatives", negative, count)
        parsed, vectors, blends = list(map(self.parse, texts)), each_vector(vector, count), each_blend(blends, texts)
        room = [start is not None and start.has_room(number) for number in range(count)]
        parsed = [_worn_thing(prompt) if small else prompt for prompt, small in zip(parsed, room, strict=True)]
        parsed = [self.parse_beside(prompt, one) for prompt, one in zip(parsed, negatives, strict=True)]
        refers = sampling.reference_strength > 0
        # Pictures that are drawn as their words say.
        free = [refers and row is None and (start is None or room[number]) for number, row in enumerate(vectors)]
        layouts = [prompt.layout if one and not start else None for prompt, one in zip(parsed, free, strict=True)]
        drawings = Drawings.of(parsed, seeds, layouts)
        for prompt in parsed:
            if self.parser and (insult := insult_unasked(prompt, self.parser.concepts)):
                raise Refused("models.insult_unasked", name=insult)
        retrieved = self.retrieved(drawings.prompts, drawings.seeds, drawings.spread(free))
        pairs = zip(drawings.prompts, retrieved, strict=True)
        painted = [in_paint(prompt, reference.paint if reference else "") for prompt, reference in pairs]
        wanted = self.encode_condition(painted, drawings.spread(vectors))
        wanted = self._with_references(retrieved, wanted, start.laid if start else None)
        meant = (self.encode_condition(parsed, vectors) if any(layouts) else wanted).vector.clone()
        unwanted = self.encode_condition(list(map(led_away, painted)))
        blend_of = functools.cache(lambda prompt: self.blend(prompt.blend) if prompt.blend else None)
        rows = zip(drawings.spread(blends), drawings.prompts, drawings.spread(free), strict=True)
        several = [blend or (blend_of(prompt) if one else None) for blend, prompt, one in rows]
        for number, blend in zip(drawings.pictures, several, strict=True):
            if blend is not None and not layouts[number]:
                meant[number] = blend.vector[0]
        finish, follows, new = list[Finish](), list[bool](), start is None
        references, concepts = list[tuple[Reference, ...]](), list[int | None]()
        plain_rows = drawings.spread([row is None and start is None for row in vectors])
        for blend, prompt, reference, plain in zip(several, drawings.prompts, retrieved, plain_rows, strict=True):
            concepts.append(prompt.target.concept if prompt.target and plain and blend is None else None)
            usual = finish_of(prompt, new and not self.is_adapted)
            finish.append(usual if blend is None else blend.finish if new else Finish.SHADED)
            follows.append(self.follows_reference(prompt) if blend is None else blend.follows_reference)
            drawn = ((reference,) if reference else ()) if blend is None else blend.references
            references.append(drawn if sampling.reference_strength else ())
        composed = ComposedCondition.of(wanted)
        if any(several):
            composed = ComposedCondition.cat([blend or composed.rows([i]) for i, blend in enumerate(several)])
        return _Work(drawings, seeds, meant, composed, unwanted, start, finish, follows, references, concepts)

    def _draw(self, work: _Work, rows: list[int], sampling: Sampling, again: Tensor | None = None) -> Iterator[Step]:
        """`again` are clean latents that the rows are drawn again from, in place of references."""
        if sampling.fast and self.fast is None:
            raise Refused("models.no_fast_variant")
        network, refiner = (self.fast, None) if sampling.fast else (self.dit, self.fast)
        default = self.scheduler
        scheduler = (
            build_scheduler(sampling.scheduler) if sampling.scheduler else type(default).from_config(default.config)
        )
        start = None if work.start is None else work.start.rows(rows)
        latents, redraw = (None, None) if start is None else (start.latents, start.redraw)
        wanted, unwanted = work.wanted.rows(rows), work.unwanted.rows(rows)
        if again is not None:
            latents, wanted = again, wanted.scaled(0)
        config = self.dit.config
        seeds, shape = [work.drawings.seeds[row] for row in rows], (config.channels, config.size, config.size)
        renoise = seeded_noise(seeds, shape)
        noise = renoise()
        mirror = self.references.mirror if self.references else None
        follow, strength = [work.follows[row] for row in rows], sampling.reference_strength
        hooks = guidance_hooks(wanted.reference, follow, mirror, strength)
        given = noise, wanted, unwanted, sampling, scheduler, latents, redraw
        return denoise(network, *given, renoise, hooks, refiner)

    def _checked(self, work: _Work, row: int, drawing: _Drawing, sampling: Sampling) -> Iterator[Step | _Drawing]:
        """The steps of drawing a row again, if it is, and the drawing to take. Refused where it insults unasked, and
        there is nothing to draw it from that does not."""
        reader, concept, prompt = self.reader, work.concepts[row], work.drawings.prompts[row]
        if reader is None or not sampling.redraws or work.start is not None:
            yield drawing
            return
        reading = reader.read(drawing.pixels, concept)
        source = None
        is_wrong = not (reading.is_right or self.is_adapted or not sampling.reference_strength)
        if reading.is_rude or is_wrong:
            source = self._readable(reader, prompt, work.drawings.seeds[row], concept, reading.is_rude)
        if source is None and reading.is_rude:
            raise Refused("models.insult_drawn", prompt=prompt.text, name=reading.name)
        if source is None:
            yield drawing
            return
        reference, picture = source
        clean, levels = self._encode(picture[None]), REDRAWN_FROM[: sampling.redraws - 1]
        for tries, level in enumerate(levels, 1):
            for step in self._draw(work, [row], Sampling(strength=level), clean):
                yield step
            (pixels,) = self._decode(step.latents, [work.finish[row]])
            if reader.read(pixels, concept).is_fit:
                yield _Drawing(pixels, step.latents, (reference,), Redraw(reading.target, reading.name, tries))
                return
        (pixels,) = to_uint8(sharp_alpha(to_tensor(picture[None])[0], *EDGE[work.finish[row]])[None])
        yield _Drawing(pixels, clean, (reference,), Redraw(reading.target, reading.name, len(levels) + 1))

    def _readable(
        self, reader: DrawingReader, prompt: ParsedPrompt, seed: int, concept: int | None, is_rude: bool
    ) -> tuple[Reference, np.ndarray] | None:
        """What a drawing of a concept is drawn again from, and its picture (128, 128, 4): the first of its reference in
        one look and of single drawings that is read rightly; None for none. A style's own drawing is left for those of
        other styles only where what was drawn from it insults."""
        reference = None if concept is None else self._reference(prompt, seed)
        if reference is None or self.references is None or concept is None or prompt.target is None:
            return None
        keeps_style = reference.keeps_look and not is_rude
        for source in self.references.in_one_look(reference, concept, prompt.target.gender):
            if keeps_style and source.rows[0] != reference.rows[0]:
                return None
            picture = self.references.drawing(source)
            reading = reader.read(picture, concept)
            # A stored index finger is what it is, however near to another finger it is read.
            if reading.is_fit or (reading.is_right and len(source.rows) == 1):
                return source, picture
        return None

    def _decode(self, latents: Tensor, finish: Sequence[Finish]) -> np.ndarray:
        """Pictures (n, 128, 128, 4), premultiplied uint8, of the first n of the latents, post-processed."""
        decoded = self.autoencoder.decode(latents)[: len(finish)]
        return to_uint8(torch.stack([postprocessed(*pair) for pair in zip(decoded, finish, strict=True)]))

    def _finished(self, work: _Work, some: list[int], drawn: list[_Drawing], batch: int) -> Pictures:
        """The pictures `some`, of the drawings that make them."""
        drawings = work.drawings
        laid = drawings.collages(some, np.stack([drawing.pixels for drawing in drawn]))
        if work.start is not None:
            laid = work.start.rows(some).finish(laid)
        drawn_for = list(zip((drawings.pictures[row] for row in drawings.rows(some)), drawn, strict=True))
        latent_of = {number: drawing.latent for number, drawing in drawn_for}
        whole = [
            self._encode(picture[None]) if drawings.layouts[number] else latent_of[number]
            for number, picture in zip(some, laid, strict=True)
        ]
        owed = {number: dict[Credit, None]() for number in some}
        redrawn = {number: list[Redraw]() for number in some}
        for number, drawing in drawn_for:
            redrawn[number] += [drawing.redraw] if drawing.redraw else []
            credits_of = (self.credits(reference, drawing.pixels) for reference in drawing.references)
            owed[number] |= dict.fromkeys(chain.from_iterable(credits_of))
        seeds = tuple(work.seeds[i] for i in some)
        credits, again = tuple(map(tuple, owed.values())), tuple(map(tuple, redrawn.values()))
        return Pictures(laid, torch.cat(whole), seeds, batch, work.vectors[some], credits, again)

    def _preview(self, work: _Work, some: list[int], latents: list[Tensor]) -> np.ndarray | None:
        """The pictures `some`, premultiplied uint8 (n, 64, 64, 4), of what is there of their drawings so far; None
        where the autoencoder carries no map."""
        coefficients = self.autoencoder.config.preview
        if not coefficients:
            return None
        begun = to_uint8(preview(torch.cat(latents), coefficients))
        later = np.zeros((len(work.drawings.rows(some)) - len(begun), *begun.shape[1:]), np.uint8)
        return work.drawings.collages(some, np.concatenate([begun, later]))


def _worn_thing(prompt: ParsedPrompt) -> ParsedPrompt:
    """For a small mask: the prompt of a thing that is worn on head or neck, since its wearer is in the picture already;
    other prompts as they are."""
    if prompt.layout is None:
        return prompt
    box, worn = max(zip(prompt.layout.boxes, prompt.layout.prompts, strict=True), key=lambda pair: pair[0].z)
    return worn if box.anchor in ("head", "neck") else prompt


def _chunks(rows: Sequence[int], size: int) -> list[list[int]]:
    """`rows` in order, `size` at a time; the last may be shorter."""
    return [list(rows[i : i + size]) for i in range(0, len(rows), size)]


# --- Finishing of decoded pictures ------------------------------------------------------------------------------------
# A decoder that was trained on squared errors answers doubt with a mean: areas of one colour ripple by some levels of
# 255, and empty areas have a haze of some levels of alpha.


def postprocessed(picture: Tensor, finish: Finish) -> Tensor:
    """A decoded picture (4, H, W), premultiplied, finished as its style is; colours stay no brighter than alpha. One at
    a time: so its bits do not depend on what is drawn beside it."""
    return sharp_alpha(flattened(picture) if finish is Finish.FLAT else picture, *EDGE[finish])


def sharp_alpha(picture: Tensor, nothing: float, opaque: float) -> Tensor:
    """A picture (4, H, W) in [0, 1], premultiplied, whose alpha is spread from between the two to [0, 1]."""
    alpha = picture[3:].float()
    spread = ((alpha - nothing) / (opaque - nothing)).clamp(0, 1)
    colours = picture[:3] * (spread / alpha.clamp_min(1e-6))
    return torch.cat([torch.minimum(colours, spread), spread])


def flattened(picture: Tensor) -> Tensor:
    """A picture (4, H, W) in [0, 1], premultiplied, in areas of one colour; colours stay no brighter than alpha."""
    flat, beta, laplacian = picture, 2 * JUMP, _laplacian(*picture.shape[1:]).to(picture.device)
    while beta < LAST:
        across, down = flat.roll(-1, 2) - flat, flat.roll(-1, 1) - flat
        edges = ((across.square() + down.square()).sum(0) >= JUMP / beta).to(flat.dtype)
        across, down = across * edges, down * edges
        divergence = across.roll(1, 2) - across + down.roll(1, 1) - down
        spectrum = torch.view_as_real(torch.fft.rfft2(picture + beta * divergence))  # real: complex division is slow
        spectrum = torch.view_as_complex(spectrum / (1 + beta * laplacian)[..., None])
        flat = torch.fft.irfft2(spectrum, picture.shape[1:])
        beta *= FASTER
    flat = flat.clamp(0, 1)
    return torch.cat([torch.minimum(flat[:3], flat[3:]), flat[3:]])


@functools.cache
def _laplacian(height: int, width: int) -> Tensor:
    """The transform of the negative Laplacian, |F(dx)|^2 + |F(dy)|^2, (H, W / 2 + 1)."""
    step = torch.zeros(2, height, width)
    step[:, 0, 0] = -1
    step[0, 0, -1] = step[1, -1, 0] = 1
    return torch.fft.rfft2(step).abs().square().sum(0)
