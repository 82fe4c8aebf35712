"""The image pipeline as one of diffusers: its files, and one call with diffusers' names and forms of pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils.outputs import BaseOutput

from models.data.pixels import png, unpremultiply
from models.messages import Refused
from models.pipelines.conditioning import Vectors
from models.pipelines.image import ImagePipeline, Pictures
from models.prompts.parser import PART as PARSER
from models.prompts.parser import PromptParser
from models.references.credits import Credit
from models.runtime import native_dtype
from models.sampling.loop import Sampling

OUTPUT_TYPES = ("pil", "np", "uint8", "latent")


@dataclass
class StickerOutput(BaseOutput):
    """What a call returns."""

    images: Any  # as `output_type` says
    seeds: list[int]  # that make each again
    credits: list[tuple[Credit, ...]]  # of each, the stored drawings that it was drawn from


class StickerPipeline(ImagePipeline, DiffusionPipeline):
    """`ImagePipeline` as a pipeline of diffusers: `from_pretrained(folder)` loads what `save_pretrained` wrote. A call
    draws everything; iterate `steps` for progress and previews, and to stop early."""

    model_cpu_offload_seq = "language->vision->space->motion->dit->autoencoder"  # type: ignore[assignment]
    _optional_components = ["fast", "references", "motion"]  # noqa: RUF012 - diffusers' own declaration

    @wraps(ImagePipeline.__init__)  # type: ignore[misc] # diffusers reads the components from the signature
    def __init__(self, *parts: Any, **named: Any) -> None:
        super().__init__(*parts, **named)
        names = list(signature(ImagePipeline.__init__).parameters)[1:]
        self.register_modules(**{name: getattr(self, name) for name in names})

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
        num_images_per_prompt: int = 1,
        seeds: Sequence[int] | None = None,
        generator: torch.Generator | None = None,
        vector: Vectors | None = None,
        image: np.ndarray | None = None,
        strength: float = Sampling.strength,
        mask_image: np.ndarray | None = None,
        reference_strength: float = Sampling.reference_strength,
        scheduler: str | None = None,
        batch: int | None = None,
        output_type: str = "pil",
    ) -> StickerOutput:
        """Draw `num_images_per_prompt` pictures a prompt.

        Args: as in `steps` (`image` is its start, `mask_image` its redraw) and `Sampling` where not diffusers' own.
            `seeds` draw the same pictures again; `generator` draws seeds where none are given. `output_type`: "pil" and
            "np" are straight RGBA (np: float NHWC in [0, 1]), "uint8" premultiplied NHWC, "latent" (N, 8, 16, 16), in
            which nothing of a start is put back.
        """
        if output_type not in OUTPUT_TYPES:
            raise Refused("models.output_type", type=output_type, known=OUTPUT_TYPES)
        prompts = [p for p in ([prompt] if isinstance(prompt, str) else prompt) for _ in range(num_images_per_prompt)]
        if seeds is None:
            seeds = torch.randint(2**31, (len(prompts),), generator=generator).tolist()
        negative = negative_prompt or ""
        if not isinstance(negative, str) and not isinstance(prompt, str) and len(negative) == len(prompt):
            negative = [text for text in negative for _ in range(num_images_per_prompt)]
        sampling = Sampling(
            num_inference_steps, guidance_scale, scheduler=scheduler, strength=strength, batch=batch,
            reference_strength=reference_strength,
        )  # fmt: skip
        prompts = prompts if len(prompts) > 1 else prompts * len(seeds)
        done = list[Pictures]()
        with self.progress_bar(total=1) as bar:
            for event in self.steps(
                prompts, seeds, sampling, negative=negative, vector=vector, start=image, redraw=mask_image
            ):
                if isinstance(event, Pictures):
                    done.append(event)
                else:
                    bar.total = event.total
                    bar.update()
        drawn_seeds, credits = ([one for part in done for one in getattr(part, name)] for name in ("seeds", "credits"))
        return StickerOutput(as_output(done, output_type), drawn_seeds, credits)


def as_output(done: list[Pictures], output_type: str) -> Any:
    """Finished pictures in one of OUTPUT_TYPES."""
    if output_type == "latent":
        return torch.cat([pictures.latents for pictures in done])
    pixels = np.concatenate([pictures.pixels for pictures in done])
    if output_type == "pil":
        return [png(picture) for picture in pixels]
    return pixels if output_type == "uint8" else unpremultiply(pixels).astype(np.float32) / 255
