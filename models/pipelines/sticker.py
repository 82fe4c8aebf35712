"""The image pipeline as one of diffusers: its files, and one call with its names, a callback and forms of pictures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils.outputs import BaseOutput
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from models.autoencoder import Autoencoder
from models.data.pixels import png, unpremultiply
from models.dit import DiT
from models.language import LanguageModel
from models.messages import Refused
from models.pipelines.image import ImagePipeline, Pictures, Progress
from models.prompts.parser import PART as PARSER
from models.prompts.parser import PromptParser
from models.references.credits import Credit
from models.references.store import ReferenceStore
from models.runtime import native_dtype
from models.sampling.loop import Sampling
from models.space import MotionHead, SemanticSpace
from models.vision import VisionEncoder

OUTPUT_TYPES = ("pil", "np", "uint8", "latent")

Callback = Callable[["StickerPipeline", int, float, dict[str, Any]], dict[str, Any] | None]


@dataclass
class StickerOutput(BaseOutput):
    """What a call returns."""

    images: Any  # as `output_type` says
    seeds: list[int]  # that make each again
    credits: list[tuple[Credit, ...]]  # of each, the stored drawings that it was drawn from


class StickerPipeline(ImagePipeline, DiffusionPipeline):
    """`ImagePipeline` as a pipeline of diffusers: `from_pretrained(folder)` loads what `save_pretrained` wrote."""

    model_cpu_offload_seq = "language->vision->space->motion->dit->autoencoder"  # type: ignore[assignment]
    _callback_tensor_inputs = ["latents"]  # noqa: RUF012 - diffusers' own declaration
    _optional_components = ["fast", "references", "motion"]  # noqa: RUF012
    # Set it true from a callback or another thread: the call ends after the step, with the pictures that are whole.
    interrupt = False

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
        super().__init__(tokenizer, language, vision, space, autoencoder, dit, scheduler, fast, references, motion)
        self.register_modules(tokenizer=tokenizer, language=language, vision=vision, space=space, motion=motion)
        self.register_modules(autoencoder=autoencoder, dit=dit, scheduler=scheduler, fast=fast, references=references)

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
        pipeline: StickerPipeline = super().from_pretrained(folder, **options)
        if (Path(folder) / PARSER).is_dir():
            pipeline.parser = PromptParser.load(pipeline.embedder, Path(folder))
        return pipeline

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
        image: np.ndarray | None = None,
        strength: float = Sampling.strength,
        temperature: float = Sampling.temperature,
        cooling: float = Sampling.cooling,
        reference_strength: float = Sampling.reference_strength,
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
            `seeds` draw the same pictures again; `generator` (one, or one a picture) draws seeds where none are given.
            `output_type`: "pil" and "np" are straight RGBA (np: float NHWC in [0, 1]), "uint8" premultiplied NHWC,
            "latent" (N, 8, 16, 16), in which nothing of a start is put back.
        """
        if output_type not in OUTPUT_TYPES:
            raise Refused("models.output_type", type=output_type, known=OUTPUT_TYPES)
        prompts = [p for p in ([prompt] if isinstance(prompt, str) else prompt) for _ in range(num_images_per_prompt)]
        seeds = list(seeds) if seeds is not None else draw_seeds(generator, len(prompts))
        given = num_inference_steps, guidance_scale, guidance_interval, scheduler, strength, batch, False
        sampling = Sampling(*given, temperature, cooling, reference_strength)
        negative = negative_prompt or ""
        if not isinstance(negative, str) and not isinstance(prompt, str) and len(negative) == len(prompt):
            negative = [one for one in negative for _ in range(num_images_per_prompt)]

        def on_step(index: int, sigma: float, latents: Tensor) -> Tensor | None:
            tell: Any = callback_on_step_end
            return (tell(self, index, 1000 * sigma, {"latents": latents}) or {}).get("latents")

        options: dict[str, Any] = {
            "vector": vector,
            "words": words,
            "sense": sense,
            "start": image,
            "redraw": mask_image,
        }
        options |= {"negative": negative, "on_step": on_step if callback_on_step_end else None}
        prompts = prompts if len(prompts) > 1 else prompts * len(seeds)
        self.interrupt = False
        events = self.steps(prompts, seeds, sampling, **options)
        whole = self._collect(events)
        drawn_seeds, credits = ([one for part in whole for one in getattr(part, name)] for name in ("seeds", "credits"))
        drawn = StickerOutput(as_output(whole, output_type), drawn_seeds, credits)
        return drawn if return_dict else (drawn.images,)

    def _collect(self, events: Iterator[Progress | Pictures]) -> list[Pictures]:
        whole = []
        with self.progress_bar(total=1) as bar:
            for event in events:
                if isinstance(event, Pictures):
                    whole.append(event)
                    continue
                bar.total = event.total
                bar.update()
                if self.interrupt:
                    break
        return whole


def draw_seeds(generator: torch.Generator | list[torch.Generator] | None, count: int) -> list[int]:
    """`count` seeds from one generator, or from as many; Refused where their number is another."""
    sources = generator if isinstance(generator, list) else [generator] * count
    if len(sources) != count:
        raise Refused("models.generators", given=len(sources), count=count)
    return [int(torch.randint(2**31, (1,), generator=source)) for source in sources]


def as_output(whole: list[Pictures], output_type: str) -> Any:
    """Finished pictures in one of OUTPUT_TYPES."""
    if output_type == "latent":
        return torch.cat([pictures.latents for pictures in whole]) if whole else torch.zeros(0)
    pixels = [picture for pictures in whole for picture in pictures.pixels]
    if output_type == "pil":
        return [png(picture) for picture in pixels]
    stacked = np.stack(pixels) if pixels else np.zeros((0, 128, 128, 4), np.uint8)
    return stacked if output_type == "uint8" else unpremultiply(stacked).astype(np.float32) / 255
