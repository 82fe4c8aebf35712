"""Learning a style, or a thing, for a pipeline of diffusers: a LoRA of its network, from 5 to 50 pictures.

The objective is that of diffusers' own scripts (`examples/dreambooth/train_dreambooth_lora*.py`): the noise or v (arXiv
2202.00512) of DDPM where the scheduler is of that kind, else the velocity of a rectified flow (2403.03206), at
logit-normal times that are neither shifted nor weighed. What the network is given beside the noisy latents (text
states, pooled states, sizes, positions) is taken from the pipeline's own call, and so is the form of the latents: one
recipe serves each family.
"""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.training_utils import _collate_lora_metadata, cast_training_params
from diffusers.utils import convert_state_dict_to_kohya
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.data.world import World
from models.train.loop import Length, Task, TaskOptions
from models.train.recipes import PRESET, RECIPES
from models.train.style import StyleTrainer

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]  # the layers that diffusers' scripts change
SHOWN, STEPS = 4, 12  # pictures of a sheet, and steps of each
MEASURED = 4  # pictures of the evaluation
FAMILIES = {  # the classes whose conventions (sign and scale of times, form of latents) are those of this module
    "StableDiffusionPipeline": "SD 1.5", "StableDiffusionXLPipeline": "SDXL", "StableDiffusion3Pipeline": "SD 3",
    "FluxPipeline": "FLUX", "ChromaPipeline": "Chroma",
}  # fmt: skip
TIMES = 1000  # of training, of all families
Inputs = dict[str, Any]


class _CallError(Exception):
    """Ends a pipeline's call where it calls its network."""


class Changes(nn.Module):
    """The low-rank matrices of a network alone: what is optimised, averaged and stored. Called as the network is."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = [network]  # in a list it is no submodule
        self.matrices = nn.ParameterList(p for p in network.parameters() if p.requires_grad)

    def forward(self, **inputs: Any) -> Tensor:
        """The network's prediction."""
        output: Tensor = self._network[0](**{**inputs, "return_dict": False})[0]
        return output


class PipelineTask(Task):
    """Recipe "pipeline". ValueError where the pipeline is of a kind that can't be taught."""

    rank = 16

    def __init__(
        self, options: TaskOptions, pipeline: Any, pictures: Sequence[Image.Image], captions: Sequence[str]
    ) -> None:
        self.options, self.pipeline, self.pictures, self.captions = options, pipeline, pictures, captions
        self.part = "transformer" if getattr(pipeline, "transformer", None) is not None else "unet"
        self.network: Any = getattr(pipeline, self.part)
        for component in pipeline.components.values():
            if isinstance(component, nn.Module):
                component.requires_grad_(False).to(options.device)
        config = LoraConfig(r=self.rank, lora_alpha=self.rank, init_lora_weights="gaussian", target_modules=ATTENTION)
        self.network.add_adapter(config)
        cast_training_params(self.network)
        if self.network._supports_gradient_checkpointing:
            self.network.enable_gradient_checkpointing()  # a third slower, and half the memory
        self.model = Changes(self.network)
        pipeline.set_progress_bar_config(disable=True)

    # --- What it learns from ------------------------------------------------------------------------------------------

    @cached_property
    def _calls(self) -> list[Inputs]:
        """What the pipeline calls its network with first, by name, for each caption; a network's output has no
        guidance."""
        calls = list[Inputs]()
        names = inspect.signature(self.network.forward)

        def record(network: nn.Module, args: tuple[Any, ...], kwargs: Inputs) -> None:
            calls.append(dict(names.bind(*args, **kwargs).arguments))
            raise _CallError

        handle = self.network.register_forward_pre_hook(record, with_kwargs=True)
        try:
            for caption in self.captions:
                self._call_once(caption)
        finally:
            handle.remove()
        return calls

    @torch.no_grad()
    def _call_once(self, caption: str) -> None:
        try:
            self.pipeline(
                prompt=caption, num_inference_steps=2, guidance_scale=1.0
            )  # the time of a single step may be 0
        except _CallError:
            return

    @cached_property
    def _sample(self) -> str:
        """The name of the network's first argument."""
        return next(iter(inspect.signature(self.network.forward).parameters))

    @cached_property
    def _scale(self) -> float:
        """What the pipeline multiplies times by: FLUX's network takes them from 0 to 1."""
        return float(self._calls[-1]["timestep"].flatten()[0]) / float(self.pipeline.scheduler.timesteps[0])

    @cached_property
    @torch.no_grad()
    def _latents(self) -> list[Tensor]:
        """Encoded in fp32: SDXL's own autoencoder overflows in fp16."""
        vae = self.pipeline.vae
        dtype = vae.dtype
        vae.to(torch.float32)
        latents = [self._encoded(*pair) for pair in zip(self.pictures, self._calls, strict=True)]
        vae.to(dtype)
        return latents

    def _encoded(self, picture: Image.Image, call: Inputs) -> Tensor:
        """The latents of a picture, of the form of those of a call."""
        pipeline, vae, like = self.pipeline, self.pipeline.vae, call[self._sample]
        side = getattr(pipeline, "default_sample_size", None) or self.network.config.sample_size
        side *= pipeline.vae_scale_factor
        pixels = pipeline.image_processor.preprocess(picture.convert("RGB"), side, side)
        latents = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mode()
        latents = (latents - (getattr(vae.config, "shift_factor", None) or 0.0)) * vae.config.scaling_factor
        if latents.shape != like.shape and hasattr(pipeline, "_pack_latents"):
            latents = pipeline._pack_latents(latents, *latents.shape)
        if latents.shape != like.shape:
            raise ValueError(f"the network takes latents of {list(like.shape)}, not {list(latents.shape)}")
        return latents

    # --- A step -------------------------------------------------------------------------------------------------------

    @cached_property
    def _ddpm(self) -> Any:
        """The scheduler whose noise the network predicts; None for a rectified flow."""
        config = self.pipeline.scheduler.config
        is_flow = "prediction_type" not in config or config.prediction_type.startswith("flow")
        if is_flow:
            return None
        if config.prediction_type not in ("epsilon", "v_prediction") or "sigma_data" in config:
            raise ValueError(f"the scheduler {config._class_name} of {config.prediction_type} is not trained for")
        return diffusers.DDPMScheduler.from_config(config)

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> Inputs:
        """A picture, noisy at a random time, with its target and conditions."""
        generator = torch.Generator().manual_seed(hash((self.options.seed, step, rank)) % 2**63)
        row = int(torch.randint(len(self._latents), (), generator=generator))
        time = torch.sigmoid(torch.randn(1, generator=generator)) if self._ddpm is None else None
        if time is None:
            time = torch.randint(TIMES, (1,), generator=generator)
        return self._noisy(row, time, generator)

    def _noisy(self, row: int, time: Tensor, generator: torch.Generator) -> Inputs:
        """The network's inputs and its target; `time` (1,) is a noise level in (0, 1), or a step of DDPM."""
        clean = self._latents[row]
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)
        time = time.to(clean.device)
        if self._ddpm is None:
            x, target, t = (1 - time) * clean + time * noise, noise - clean, time * TIMES * self._scale
        else:
            x, t = self._ddpm.add_noise(clean, noise, time), time * self._scale
            is_v = self._ddpm.config.prediction_type == "v_prediction"
            target = self._ddpm.get_velocity(clean, noise, time) if is_v else noise
        call = self._calls[row]
        inputs = {**call, self._sample: x.to(call[self._sample].dtype), "timestep": t.to(call["timestep"].dtype)}
        return {"inputs": inputs, "target": target}

    def loss(self, model: nn.Module, batch: Inputs, progress: float) -> dict[str, Tensor]:
        predicted, target = model(**batch["inputs"]).float(), batch["target"]
        if predicted.shape[1] == 2 * target.shape[1]:  # the second half is a variance
            predicted = predicted.chunk(2, 1)[0]
        return {"loss": (predicted - target).square().mean()}

    # --- A checkpoint -------------------------------------------------------------------------------------------------

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The loss on the pictures themselves at fixed noise: nothing is held out of so few."""
        losses = list[float]()
        for row in range(min(MEASURED, len(self._latents))):
            generator = torch.Generator().manual_seed(row)
            time = torch.tensor([0.5]) if self._ddpm is None else torch.tensor([TIMES // 2])
            losses.append(self.loss(model, self._noisy(row, time, generator), 1.0)["loss"].item())
        return {"learned": sum(losses) / len(losses)}

    def sheet(self, model: nn.Module) -> Image.Image:
        """What the first captions draw, always from the same seeds."""
        drawn = [
            self.pipeline(
                prompt=caption, num_inference_steps=STEPS, generator=torch.Generator().manual_seed(row)
            ).images[0]
            for row, caption in enumerate(list(dict.fromkeys(self.captions))[:SHOWN])
        ]
        sheet = Image.new("RGB", (sum(one.width for one in drawn), drawn[0].height))
        for row, picture in enumerate(drawn):
            sheet.paste(picture, (row * picture.width, 0))
        return sheet

    def export(self, model: nn.Module, folder: Path) -> None:
        """As `load_lora_weights` of diffusers reads it."""
        layers = {f"{self.part}_lora_layers": get_peft_model_state_dict(self.network)}
        type(self.pipeline).save_lora_weights(folder, **layers, **_collate_lora_metadata({self.part: self.network}))


def save_for_kohya(file: Path, out: Path) -> None:
    """A UNet's LoRA of diffusers as kohya's programs (A1111, ComfyUI) name its tensors; nothing of another network."""
    tensors = load_file(file)
    if all(name.startswith("unet.") for name in tensors):
        save_file(convert_state_dict_to_kohya(tensors), out)


def pipeline_trainer(
    world: World,
    pipeline: Any,
    pictures: Sequence[Image.Image],
    out: Path,
    minutes: float,
    every: float,
    report: Callable[..., None],
) -> StyleTrainer:
    """As `models.train.style.style_trainer`, of a pipeline of diffusers; the captions are those of `world`."""
    recipe = RECIPES["pipeline"]
    names = [picture.names["en"] for picture in world.pictures]
    task: Any = partial(PipelineTask, pipeline=pipeline, pictures=pictures, captions=names)
    options = TaskOptions(PRESET, recipe.seed, world, recipe.batch_size)
    trainer = StyleTrainer(dataclasses.replace(recipe, task=task), options, out, Length(minutes=minutes), every)
    trainer.report = report
    return trainer
