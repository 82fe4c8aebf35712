"""Pictures from words, from a vector, or from both: the sticker pipeline.

`StickerPipeline.steps` is a generator: it yields `Progress` at every call of the network and `Pictures` whenever some
are done; programs iterate it, and stop it by closing it. `StickerPipeline.__call__` is diffusers' usual entry point.
Several things in one prompt are drawn one by one and laid into one picture (`models.prompts.layout`).

**Same seed, same picture.** The bits of a matrix product depend on its shape. So every picture has its own noise from
its own seed, a text is read alone, and pictures are drawn one at a time (one asked for) or BATCH at a time (the last
batch padded): a picture is a function of its prompt, its seed and that shape, whatever else was asked for.

Shapes: N pictures of one call, B pictures of one batch, latents (N, 8, 16, 16), vectors (N, 128).
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from models.autoencoder import Autoencoder, preview
from models.compose.collage import Drawings
from models.conditioning import ConditionEncoder
from models.data.grammar import Finish
from models.data.pixels import to_uint8
from models.dit import DiT
from models.language import LanguageModel
from models.lora import load_fast
from models.messages import Refused
from models.pipelines.call import DiffusersCall
from models.pipelines.inputs import Start, Vectors, each, each_blend, each_vector
from models.prompts.parsed import ParsedPrompt
from models.prompts.parser import PART as PARSER
from models.prompts.parser import PromptParser, in_paint, led_away
from models.references.credits import Credit
from models.references.store import Reference, ReferenceStore
from models.runtime import native_dtype
from models.sampling.condition import ComposedCondition, Condition
from models.sampling.hooks import FLATTENING, OnStep, guidance_hooks
from models.sampling.loop import MAX_SEED, Pictures, Progress, Sampling, Step, denoise, seeded_noise
from models.sampling.postprocess import finish_of, postprocessed
from models.sampling.schedulers import DEFAULT_SCHEDULER, build_scheduler
from models.space import Embedder, MotionHead, SemanticSpace
from models.vision import VisionEncoder
from models.weights import align, load_part

BATCH = 8  # pictures drawn together; changing it changes every picture that is not drawn alone


@dataclass(frozen=True)
class _Work:
    """A call's pictures and the drawings that make them: conditions, and pictures to start from. `seeds` and `vectors`
    (N, 128) are the pictures' own; everything else has a row a drawing."""

    drawings: Drawings
    seeds: Sequence[int]
    vectors: Tensor
    wanted: ComposedCondition
    unwanted: Condition
    start: Start | None
    finish: list[Finish]
    follows: list[bool]
    references: list[tuple[Reference, ...]]


class StickerPipeline(ConditionEncoder, DiffusersCall):
    """Text, picture or mix -> stickers of 128 x 128 with alpha. `from_pretrained(folder)` loads what `save_pretrained`
    wrote; `assemble()` puts the shipped parts together."""

    fast: Any
    scheduler: Any
    model_cpu_offload_seq = "language->vision->space->motion->dit->autoencoder"  # type: ignore[assignment]
    _callback_tensor_inputs = ["latents"]  # noqa: RUF012 - diffusers' own declaration
    _optional_components = ["fast", "references", "motion"]  # noqa: RUF012

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
        super().__init__()
        self.register_modules(tokenizer=tokenizer, language=language, vision=vision, space=space, motion=motion)
        self.register_modules(autoencoder=autoencoder, dit=dit, scheduler=scheduler, fast=fast, references=references)
        self.autoencoder.to(memory_format=torch.channels_last)  # faster, and other bits: every way in must agree on it
        for network in filter(None, (language, vision, space, motion, autoencoder, dit, fast)):
            align(network)
        self.parser: PromptParser | None = None  # names the references; without it, prompts are read as they are

    @classmethod
    def assemble(cls, root: Path | None = None, dtype: torch.dtype | None = None, split: str = "") -> "StickerPipeline":
        """The parts under `root` (None: the shipped ones), verified by their sha256. `dtype` None takes the one this
        CPU is fast in; text and space are always read in fp32, so that vectors are comparable between machines. Names
        and references are those of all pictures, or of those of a `split`."""
        dtype, e = dtype or native_dtype(), Embedder.load(root)
        autoencoder, dit = load_part(Autoencoder, "autoencoder", root, dtype), load_part(DiT, "dit", root, dtype)
        references = ReferenceStore.load(root, split)
        draws = autoencoder, dit, build_scheduler(DEFAULT_SCHEDULER), load_fast(dit, root), references
        made = cls(e.tokenizer, e.language, e.vision, e.space, *draws, e.motion)
        made.parser = PromptParser.load(made.embedder, root, split)
        return made

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> None:  # type: ignore[override]
        """Write all parts into a folder, that of the parser among them."""
        super().save_pretrained(save_directory, **options)
        if self.parser:
            self.parser.save(Path(save_directory))

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> "StickerPipeline":  # type: ignore[override]
        """What `save_pretrained` wrote, in the types of `assemble` unless `torch_dtype` says another."""
        drawn_in = dict.fromkeys(("dit", "fast", "autoencoder"), native_dtype())
        options.setdefault("torch_dtype", {**drawn_in, "default": torch.float32})
        made: StickerPipeline = super().from_pretrained(folder, **options)
        if (Path(folder) / PARSER).is_dir():
            made.parser = PromptParser.load(made.embedder, Path(folder))
        return made

    @torch.no_grad()
    def steps(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        sampling: Sampling | None = None,
        *,
        negative: Sequence[str] | str = "",
        vector: Vectors | None = None,
        blends: Sequence[ComposedCondition | None] = (),
        words: bool = True,
        sense: bool = True,
        start: np.ndarray | None = None,
        redraw: np.ndarray | None = None,
        previews: bool = False,
        on_step: OnStep | None = None,
    ) -> Iterator[Progress | Pictures]:
        """Draw N pictures; yields `Progress` after every call of the network and `Pictures` after every batch.

        Args:
            prompts: one for all pictures, or one each.
            seeds: one each, 0 to 2^63 - 1; their number is the number of pictures.
            sampling: how to draw.
            negative: what to keep away from: one text for all, or one each; only guidance reads it.
            vector, words, sense: as in `encode_condition`.
            blends: what `blend` made, one for all pictures or one (or None) each, where their prompt is empty; it takes
                precedence over `vector`, `words` and `sense`.
            start: pictures to start from, premultiplied uint8 (N or 1, 128, 128, 4); needs a strength.
            redraw: masks for start pictures in pixels, uint8 (N or 1, 128, 128): 0 keeps them exactly, 255 draws anew.
            previews: whether `Progress` carries previews.
            on_step: called with (index, sigma, latents (B, 8, 16, 16)); what it returns takes the latents' place.

        Raises ValueError where the arguments do not fit, FloatingPointError where a latent stops being finite.
        """
        sampling = sampling or Sampling()
        begin = None if start is None and redraw is None else Start.of(start, redraw, len(seeds), self._encode)
        work = self._resolve(prompts, seeds, sampling, negative, vector, blends, words, sense, begin)
        batch = sampling.batch or (1 if len(seeds) == 1 else BATCH)
        pictures = _chunks(range(len(seeds)), batch)
        calls = [_chunks(work.drawings.rows(some), batch) for some in pictures]
        total, done = sum(map(len, calls)), 0
        for some, chunks in zip(pictures, calls, strict=True):
            pixels, latents = list[np.ndarray](), list[Tensor]()
            for rows in chunks:
                for step in self._draw(work, rows + rows[-1:] * (batch - len(rows)), sampling, on_step):
                    image = self._preview(work, some, [*latents, step.clean[: len(rows)]]) if previews else None
                    yield Progress(done * step.count + step.index + 1, total * step.count, some[0], image)
                pixels.append(self._decode(step.latents, [work.finish[row] for row in rows], sampling))
                latents.append(step.latents[: len(rows)])
                done += 1
            yield self._finished(work, some, np.concatenate(pixels), torch.cat(latents), batch)

    def _resolve(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        sampling: Sampling,
        negative: Sequence[str] | str = "",
        vector: Vectors | None = None,
        blends: Sequence[ComposedCondition | None] = (),
        words: bool = True,
        sense: bool = True,
        start: Start | None = None,
    ) -> _Work:
        count = len(seeds)
        if not count:
            raise Refused("models.no_seeds")
        if wrong := [seed for seed in seeds if not 0 <= seed <= MAX_SEED]:
            raise Refused("models.seed", seed=wrong[0], most=MAX_SEED)
        asked, negatives = each("prompts", prompts, count), each("negatives", negative, count)
        parsed, vectors, blends = list(map(self.parse, asked)), each_vector(vector, count), each_blend(blends, asked)
        room = [start is not None and start.has_room(number) for number in range(count)]
        parsed = [_worn(prompt) if small else prompt for prompt, small in zip(parsed, room, strict=True)]
        parsed = [self.parse_beside(prompt, one) for prompt, one in zip(parsed, negatives, strict=True)]
        refers = words and sense and sampling.reference_strength > 0
        # Pictures that are drawn as their words say.
        free = [refers and row is None and (start is None or room[number]) for number, row in enumerate(vectors)]
        layouts = [prompt.layout if one and not start else None for prompt, one in zip(parsed, free, strict=True)]
        drawings = Drawings.of(parsed, seeds, layouts)
        found = self.found(drawings.prompts, drawings.seeds, drawings.spread(free))
        told = [in_paint(prompt, one.paint if one else "") for prompt, one in zip(drawings.prompts, found, strict=True)]
        wanted = self.encode_condition(told, drawings.spread(vectors), words, sense)
        wanted = self._with_references(found, wanted, start.laid if start else None)
        meant = (self.encode_condition(parsed, vectors, words, sense) if any(layouts) else wanted).vector.clone()
        unwanted = self.encode_condition(list(map(led_away, told)), None, words, sense)
        asked_for = functools.cache(lambda prompt: self.blend(prompt.blend) if prompt.blend else None)
        rows = zip(drawings.spread(blends), drawings.prompts, drawings.spread(free), strict=True)
        several = [blend or (asked_for(prompt) if one else None) for blend, prompt, one in rows]
        for number, blend in zip(drawings.pictures, several, strict=True):
            if blend is not None and not layouts[number]:
                meant[number] = blend.vector[0]
        finish, follows, new = list[Finish](), list[bool](), start is None
        references = list[tuple[Reference, ...]]()
        for blend, prompt, one in zip(several, drawings.prompts, found, strict=True):
            own = finish_of(prompt if words or sense else None, new)
            finish.append(own if blend is None else blend.finish if new else Finish.SHADED)
            follows.append(self.follows_reference(prompt) if blend is None else blend.follows)
            drawn = ((one,) if one else ()) if blend is None else blend.drawings
            references.append(drawn if sampling.reference_strength else ())
        composed = ComposedCondition.of(wanted)
        if any(several):
            composed = ComposedCondition.cat([blend or composed.rows([i]) for i, blend in enumerate(several)])
        return _Work(drawings, seeds, meant, composed, unwanted, start, finish, follows, references)

    def _draw(self, work: _Work, rows: list[int], sampling: Sampling, on_step: OnStep | None) -> Iterator[Step]:
        if sampling.fast and self.fast is None:
            raise Refused("models.no_fast_variant")
        network, refiner = (self.fast, None) if sampling.fast else (self.dit, self.fast)
        own = self.scheduler
        scheduler = build_scheduler(sampling.scheduler) if sampling.scheduler else type(own).from_config(own.config)
        start = None if work.start is None else work.start.rows(rows)
        latents, redraw = (None, None) if start is None else (start.latents, start.redraw)
        wanted, unwanted = work.wanted.rows(rows), work.unwanted.rows(rows)
        config = self.dit.config
        seeds, shape = [work.drawings.seeds[row] for row in rows], (config.channels, config.size, config.size)
        renoise = seeded_noise(seeds, shape)
        noise = renoise()
        mirror = self.references.mirror if self.references else None
        follow, strength = [work.follows[row] for row in rows], sampling.reference_strength
        hooks = guidance_hooks(sampling.hooks, wanted.reference, follow, mirror, strength)
        given = noise, wanted, unwanted, sampling, scheduler, latents, redraw, on_step
        return denoise(network, *given, renoise, hooks, refiner)

    def _decode(self, latents: Tensor, finish: Sequence[Finish], sampling: Sampling) -> np.ndarray:
        """Pictures (n, 128, 128, 4), premultiplied uint8, of the first n of the latents, post-processed."""
        decoded, flattening = self.autoencoder.decode(latents)[: len(finish)], FLATTENING in sampling.hooks
        finished = [postprocessed(one, how, flattening) for one, how in zip(decoded, finish, strict=True)]
        return to_uint8(torch.stack(finished))

    def _finished(self, work: _Work, some: list[int], pixels: np.ndarray, latents: Tensor, batch: int) -> Pictures:
        """The pictures `some`, of the drawings that make them."""
        drawings = work.drawings
        laid = drawings.collages(some, pixels)
        if work.start is not None:
            laid = work.start.rows(some).finish(laid)
        own = dict(zip((drawings.pictures[row] for row in drawings.rows(some)), latents.split(1), strict=True))
        whole = [
            self._encode(picture[None]) if drawings.layouts[number] else own[number]
            for number, picture in zip(some, laid, strict=True)
        ]
        owed = {number: dict[Credit, None]() for number in some}
        for row, drawn in zip(drawings.rows(some), pixels, strict=True):
            found = (self.credits(reference, drawn) for reference in work.references[row])
            owed[drawings.pictures[row]] |= dict.fromkeys(chain.from_iterable(found))
        seeds, credits = tuple(work.seeds[i] for i in some), tuple(map(tuple, owed.values()))
        return Pictures(some[0], laid, torch.cat(whole), seeds, batch, work.vectors[some], credits)

    def _preview(self, work: _Work, some: list[int], latents: list[Tensor]) -> np.ndarray | None:
        """The pictures `some`, premultiplied uint8 (n, 64, 64, 4), of what is there of their drawings so far; None
        where the autoencoder carries no map."""
        coefficients = self.autoencoder.config.preview
        if not coefficients:
            return None
        begun = to_uint8(preview(torch.cat(latents), coefficients))
        later = np.zeros((len(work.drawings.rows(some)) - len(begun), *begun.shape[1:]), np.uint8)
        return work.drawings.collages(some, np.concatenate([begun, later]))


def _worn(prompt: ParsedPrompt) -> ParsedPrompt:
    """Of somebody who wears a thing, the thing: what else the prompt names is in the picture already."""
    if prompt.layout is None:
        return prompt
    top = max(zip(prompt.layout.boxes, prompt.layout.prompts, strict=True), key=lambda pair: pair[0].z)
    return top[1] if top[0].anchor in ("head", "neck") else prompt


def _chunks(rows: Sequence[int], size: int) -> list[list[int]]:
    """`rows` in order, `size` at a time; the last may be shorter."""
    return [list(rows[i : i + size]) for i in range(0, len(rows), size)]
