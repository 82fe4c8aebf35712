"""Pictures from words, from a vector, or from both: the sticker pipeline.

`StickerPipeline.steps` is a generator: it yields `Progress` at every call of the network and `Pictures` whenever some
are done; programs iterate it, and stop it by closing it. `StickerPipeline.__call__` is diffusers' usual way in.

**Same seed, same picture.** The bits of a matrix product depend on its shape. So every picture has its own noise from
its own seed, a text is read alone, and pictures are drawn one at a time (one asked for) or BATCH at a time (the last
batch padded): a picture is a function of its prompt, its seed and that shape, whatever else was asked for.

Shapes: N pictures of one call, B pictures of one batch, latents (N, 8, 16, 16), vectors (N, 128).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from models.arguments import Vectors, each, senses
from models.autoencoder import Autoencoder
from models.data.pixels import fit, to_tensor, to_uint8
from models.dit import DiT
from models.drawing import Draft, Noise, OnStep, Pictures, Progress, Sampling, Step, denoise
from models.fast import load_fast
from models.guidance import Condition
from models.language import LanguageModel
from models.outputs import OUTPUT_TYPES, StickerOutput, as_output, draw_seeds
from models.precision import native_dtype
from models.preview import preview
from models.prototypes import Prototypes
from models.schedulers import DEFAULT_SCHEDULER, build_scheduler, fresh
from models.space import DIM, Embedder, SemanticSpace
from models.start import Start
from models.tokenizer import TEXT_LENGTH, load_tokenizer
from models.vision import VisionEncoder
from models.weighting import plain, weighted_states
from models.weights import align, load_part, part_folder
from models.wording import Wording

BATCH = 8  # pictures drawn together; changing it changes every picture that is not drawn alone

Callback = Callable[["StickerPipeline", int, float, dict[str, Any]], dict[str, Any] | None]


@dataclass(frozen=True)
class _Work:
    """A call's pictures, resolved: what each is told, its noise, and what it starts from."""

    wanted: Condition
    unwanted: Condition
    noise: Tensor
    start: Start | None
    draft: Draft | None
    seeds: tuple[int, ...]


class StickerPipeline(DiffusionPipeline):
    """Text, picture or mix -> stickers of 128 x 128 with alpha.

    `from_pretrained(folder)` loads what `save_pretrained` wrote; `assemble()` puts the shipped parts together.
    """

    tokenizer: PreTrainedTokenizerFast
    language: LanguageModel
    vision: VisionEncoder
    space: SemanticSpace
    autoencoder: Any
    dit: Any
    fast: Any
    scheduler: Any
    model_cpu_offload_seq = "language->vision->space->dit->autoencoder"  # type: ignore[assignment]
    _callback_tensor_inputs = ["latents"]  # noqa: RUF012 - diffusers' own declaration
    _optional_components = ["fast"]  # noqa: RUF012

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
    ) -> None:
        super().__init__()
        self.register_modules(
            tokenizer=tokenizer,
            language=language,
            vision=vision,
            space=space,
            autoencoder=autoencoder,
            dit=dit,
            scheduler=scheduler,
            fast=fast,
        )
        self.autoencoder.to(memory_format=torch.channels_last)  # faster, and other bits: every way in must agree on it
        for network in (self.language, self.vision, self.space, self.autoencoder, self.dit, self.fast):
            if network is not None:
                align(network)
        self.wording: Wording | None = None  # of the shipped parts; without it, prompts are read as they are
        self.prototypes: Prototypes | None = None  # of the shipped parts too, and of that wording
        self._interrupt = False

    @classmethod
    def assemble(cls, root: Path | None = None, dtype: torch.dtype | None = None) -> "StickerPipeline":
        """The parts under `root` (None: the shipped ones), verified by their sha256.

        `dtype` None takes the one this CPU is fast in; text and space are always read in fp32, so that vectors are
        comparable between machines.
        """
        dtype = dtype or native_dtype()
        dit = load_part(DiT, "dit", root, dtype)
        made = cls(
            load_tokenizer(part_folder("language", root)),
            load_part(LanguageModel, "language", root),
            load_part(VisionEncoder, "vision", root),
            load_part(SemanticSpace, "space", root),
            load_part(Autoencoder, "autoencoder", root, dtype),
            dit,
            build_scheduler(DEFAULT_SCHEDULER),
            load_fast(dit, root),
        )
        made.wording, made.prototypes = Wording.load(made.embedder, root), Prototypes.load(root)
        return made

    @property
    def embedder(self) -> Embedder:
        """The door into the semantic space, on this pipeline's parts."""
        return Embedder(self.tokenizer, self.language, self.vision, self.space)

    @property
    def interrupt(self) -> bool:
        """Set it true from a callback, or from another thread, and the call ends after the step."""
        return self._interrupt

    @interrupt.setter
    def interrupt(self, value: bool) -> None:
        self._interrupt = value

    # --- What a picture is told -------------------------------------------------------------------------------------

    def mix(self, parts: Sequence[tuple[float, str | np.ndarray | Image.Image | Tensor]]) -> Tensor:
        """Weighted mix of texts, pictures (premultiplied uint8 or PIL) and vectors (128,) -> unit vector (1, 128).

        A negative weight takes away. ValueError where the parts cancel out.
        """
        if not parts:
            raise ValueError("nothing to mix; give (weight, text or picture) pairs")
        if not all(math.isfinite(weight) for weight, _ in parts):
            raise ValueError(f"weights of a mix must be finite; they are {[weight for weight, _ in parts]}")
        total = torch.stack([weight * self._vector_of(part) for weight, part in parts]).sum(0)
        if total.norm() < 1e-3:
            raise ValueError("the parts of the mix cancel each other out; change their weights")
        return torch.nn.functional.normalize(total, dim=-1)

    def _vector_of(self, part: str | np.ndarray | Image.Image | Tensor) -> Tensor:
        if isinstance(part, str):
            return self.embedder.text([plain(part)])
        if isinstance(part, Tensor):
            return part.reshape(1, -1).float()
        return self.embedder.image((fit(part) if isinstance(part, Image.Image) else part)[None])

    def read_as(self, prompt: str) -> str:
        """What is read of a prompt: itself, or the words that say the same and were taught (`models.wording`)."""
        return self.wording.read(prompt) if self.wording else prompt

    def condition(
        self,
        prompts: Sequence[str],
        vector: Vectors | None = None,
        words: bool = True,
        sense: bool = True,
        literal: bool = False,
    ) -> Condition:
        """What N prompts tell the generator; an empty prompt says nothing.

        Args:
            prompts: N texts; `(word:1.3)` and its kin weigh words (`models.weighting`).
            vector: (N, 128) or (1, 128) instead of the texts' own semantic vectors; zeros drop it. Or N of them, each
                (1, 128) or None for the text's own.
            words, sense: False drops the token states, or the semantic vector unless `vector` is given.
            literal: True reads the texts word for word, not as `read_as` says.
        """
        embedder, width = self.embedder, self.dit.config.context
        texts = {prompt: prompt if literal else self.read_as(prompt) for prompt in prompts}
        read = {prompt: weighted_states(embedder, text) for prompt, text in texts.items() if plain(text)}
        shape = (1, TEXT_LENGTH)
        none = torch.zeros(*shape, width), torch.zeros(shape, dtype=torch.bool), torch.zeros(1, DIM)
        states, masks, vectors = (
            torch.cat(column) for column in zip(*(read.get(p, none) for p in prompts), strict=True)
        )
        if vector is not None:
            vectors = senses(vector, vectors)
        elif not sense:
            vectors = torch.zeros_like(vectors)
        return Condition(states.float(), masks if words else torch.zeros_like(masks), vectors)

    # --- Drawing ----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def steps(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        sampling: Sampling | None = None,
        *,
        negative: Sequence[str] | str = "",
        vector: Vectors | None = None,
        words: bool = True,
        sense: bool = True,
        start: np.ndarray | Tensor | None = None,
        redraw: np.ndarray | None = None,
        noise: Tensor | None = None,
        previews: bool = False,
        on_step: OnStep | None = None,
    ) -> Iterator[Progress | Pictures]:
        """Draw N pictures; yields `Progress` after every call of the network and `Pictures` after every batch.

        Args:
            prompts: one for all pictures, or one each.
            seeds: one each, 0 to 2^63 - 1; their number is the number of pictures.
            sampling: how to draw.
            negative: what to keep away from: one text for all, or one each; only guidance reads it.
            vector, words, sense: as in `condition`.
            start: pictures to start from, premultiplied uint8 (N or 1, 128, 128, 4) or latents; needs a strength.
            redraw: masks for start pictures in pixels, uint8 (N or 1, 128, 128): 0 keeps them exactly, 255 draws anew.
            noise: (N, 8, 16, 16) instead of the seeds' own.
            previews: whether `Progress` carries previews.
            on_step: called with (index, sigma, latents (B, 8, 16, 16)); what it returns takes the latents' place.

        Raises ValueError where the arguments do not fit, FloatingPointError where a latent stops being finite.
        """
        sampling = sampling or Sampling()
        given = None if start is None and redraw is None else Start.of(start, redraw, len(seeds), self._encode)
        work = self._resolve(prompts, seeds, negative, vector, words, sense, given, noise, sampling.draft)
        count = len(work.seeds)
        batch = sampling.batch or (1 if count == 1 else BATCH)
        batches = -(-count // batch)
        for k in range(batches):
            rows = list(range(k * batch, min((k + 1) * batch, count)))
            latents = torch.zeros(0)
            for step in self._draw(work, rows + rows[-1:] * (batch - len(rows)), sampling, on_step):
                latents = step.latents
                image = self._preview(step.clean[: len(rows)]) if previews else None
                yield Progress(k * step.count + step.index + 1, batches * step.count, rows[0], image)
            pixels = to_uint8(self.autoencoder.decode(latents))[: len(rows)]
            if work.start is not None:
                pixels = work.start.rows(rows).finish(pixels)
            seeds, wanted = tuple(work.seeds[i] for i in rows), work.wanted.vector[rows]
            yield Pictures(rows[0], pixels, latents[: len(rows)], seeds, batch, wanted)

    def _draw(self, work: _Work, rows: list[int], sampling: Sampling, on_step: OnStep | None) -> Iterator[Step]:
        scheduler = build_scheduler(sampling.scheduler) if sampling.scheduler else fresh(self.scheduler)
        start = None if work.start is None else work.start.rows(rows)
        latents, redraw = (None, None) if start is None else (start.latents, start.redraw)
        wanted, unwanted = work.wanted.rows(rows), work.unwanted.rows(rows)
        renoise = self._noise([work.seeds[row] for row in rows])
        renoise()  # what the pictures begin with
        network, noise = self._network(sampling), work.noise[rows]
        draft = None if work.draft is None else work.draft.part(rows)
        return denoise(network, noise, wanted, unwanted, sampling, scheduler, latents, redraw, on_step, renoise, draft)

    def _network(self, sampling: Sampling) -> Any:
        if not sampling.fast:
            return self.dit
        if self.fast is None:
            raise ValueError("these weights have no fast variant of the generator; draw without it")
        return self.fast

    def _resolve(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        negative: Sequence[str] | str,
        vector: Vectors | None,
        words: bool,
        sense: bool,
        start: Start | None,
        noise: Tensor | None,
        draft: bool,
    ) -> _Work:
        count = len(seeds)
        if not count:
            raise ValueError("no seeds; give one a picture")
        prompts = each("prompts", [prompts] if isinstance(prompts, str) else prompts, count)
        negatives = each("negative prompts", [negative] if isinstance(negative, str) else negative, count)
        wanted = self.condition(prompts, vector, words, sense)
        unwanted = self.condition(negatives, None, words, sense, literal=True)
        if noise is None:
            noise = self._noise(seeds)()
        drafts = self._draft(prompts) if draft and words and sense and start is None and vector is None else None
        return _Work(wanted, unwanted, noise, start, drafts, tuple(seeds))

    def _draft(self, prompts: Sequence[str]) -> Draft | None:
        """What the prompts' drawings begin from; None where that is noise for all of them."""
        if self.wording is None or self.prototypes is None:
            return None
        named = {prompt: self.wording.thing(prompt) for prompt in prompts}
        latents = {p: self._encode(self.prototypes.picture(*thing)[None]) for p, thing in named.items() if thing}
        return Draft.of([latents.get(prompt) for prompt in prompts])

    def _noise(self, seeds: Sequence[int]) -> Noise:
        config = self.dit.config
        return Noise(seeds, (config.channels, config.size, config.size))

    def _encode(self, picture: np.ndarray) -> Tensor:
        return self.autoencoder.encode(to_tensor(picture).to(self.autoencoder.dtype)).float()

    def _preview(self, latents: Tensor) -> np.ndarray | None:
        """Premultiplied uint8 (n, 64, 64, 4); None where the autoencoder carries no map."""
        coefficients = self.autoencoder.config.preview
        return to_uint8(preview(latents, coefficients)) if coefficients else None

    # --- diffusers' way in ------------------------------------------------------------------------------------------

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str],
        negative_prompt: str | list[str] | None = None,
        num_inference_steps: int = Sampling.steps,
        guidance_scale: float = Sampling.guidance,
        guidance_interval: tuple[float, float] = Sampling.interval,
        num_images_per_prompt: int = 1,
        seeds: Sequence[int] | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        vector: Tensor | None = None,
        words: bool = True,
        sense: bool = True,
        image: np.ndarray | Tensor | None = None,
        strength: float = Sampling.strength,
        mask_image: np.ndarray | None = None,
        scheduler: str | None = None,
        batch: int | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> StickerOutput | tuple[Any]:
        """Draw `num_images_per_prompt` pictures a prompt.

        Args: as in `steps` (`image` is its start, `mask_image` its redraw) and `Sampling` where not diffusers' own.
            `seeds` are the way to the same picture again; `generator` (one, or one a picture) draws them where they
            are not given. `output_type`: "pil" and "np" are straight RGBA (np: float NHWC in [0, 1]), "uint8"
            premultiplied NHWC, "latent" (N, 8, 16, 16), where nothing is kept of a start.

        A callback that sets `pipe.interrupt = True` ends the call: only pictures that are whole are returned.
        """
        if output_type not in OUTPUT_TYPES:
            raise ValueError(f"unknown output_type {output_type!r}; choose from {', '.join(OUTPUT_TYPES)}")
        prompts = [p for p in ([prompt] if isinstance(prompt, str) else prompt) for _ in range(num_images_per_prompt)]
        seeds = list(seeds) if seeds is not None else draw_seeds(generator, len(prompts))
        sampling = Sampling(num_inference_steps, guidance_scale, guidance_interval, scheduler, strength, batch)
        self._interrupt = False
        events = self.steps(
            prompts if len(prompts) > 1 else prompts * len(seeds),
            seeds,
            sampling,
            negative=negative_prompt or "",
            vector=vector,
            words=words,
            sense=sense,
            start=image,
            redraw=mask_image,
            on_step=self._callback(callback_on_step_end) if callback_on_step_end else None,
        )
        whole = self._collect(events)
        images = as_output(whole, output_type)
        if not return_dict:
            return (images,)
        return StickerOutput(images, [seed for pictures in whole for seed in pictures.seeds])

    def _callback(self, callback: Callback) -> OnStep:
        def on_step(index: int, sigma: float, latents: Tensor) -> Tensor | None:
            answer = callback(self, index, 1000 * sigma, {"latents": latents}) or {}
            return answer.get("latents")

        return on_step

    def _collect(self, events: Iterator[Progress | Pictures]) -> list[Pictures]:
        whole = []
        with self.progress_bar(total=1) as bar:
            for event in events:
                if isinstance(event, Pictures):
                    whole.append(event)
                    continue
                bar.total = event.total
                bar.update()
                if self._interrupt:
                    break
        return whole
