"""Training the fast variant: one step of it goes as far as several guided steps of the generator.

Progressive distillation (arXiv 2202.00512) of a guided teacher (arXiv 2210.03142) onto the one plan of
`models.sampling.loop.FAST_SAMPLING`: from each of its noise levels the teacher walks to the next one in small steps of
Euler's, with guidance, and the student learns the mean velocity of that walk. Where it begins is where the student's
own steps lead from what a picture is drawn from (DAgger, arXiv 1011.0686): no picture is needed, and what an early step
gets wrong a later one learns to mend. It is the generator with low-rank changes (LCM-LoRA, arXiv 2311.05556), so that
it takes a tenth of the generator's bytes.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models.dit import DiT
from models.hardware import native_dtype
from models.lora import FILE, PART, attach, changes
from models.pipelines.image import StickerPipeline
from models.sampling.condition import Condition
from models.sampling.guidance import combined
from models.sampling.hooks import AUTOGUIDANCE, cooled
from models.sampling.loop import FAST_SAMPLING, Sampling, begun
from models.sampling.schedulers import build_scheduler, set_steps
from models.train.image import NO_VECTOR, ImageTask, Mix, Samples
from models.train.loop import TaskOptions
from models.weights import load_part, part_digests, record_made_with, record_part


class FastTask(ImageTask):
    """Recipe "fast"."""

    sampling = FAST_SAMPLING
    # Close to real requests: text with its vector, mostly the draft of what it names. No warped or mirrored views.
    mix = Mix(views=(0.6, 0.0, 0.0, 0.4), drop_text=0.1, drop_vector=0.2, drop_draft=0.2, draft_shift=0.0)
    pool = 4000  # few scenes are sampled
    rank = 16  # of the changes
    walk = 4  # steps that the teacher makes for one
    taught = Sampling()  # the teacher's guidance, which is distilled into the student

    def __init__(self, options: TaskOptions) -> None:
        super().__init__(options)
        self.sigmas = torch.tensor(set_steps(build_scheduler(str(FAST_SAMPLING.scheduler)), FAST_SAMPLING.steps))
        self.length = 1 / len(self.sigmas)
        self.teacher = load_part(DiT, "dit", options.parts, native_dtype()).to(self.device)
        self.model = load_part(DiT, "dit", options.parts)
        self.model.warp_in = None  # it is never asked for warped pictures
        attach(self.model, self.rank)

    def draws(self, rng: np.random.Generator, count: int) -> Samples:
        drawn = super().draws(rng, count)
        return replace(drawn, text=drawn.text | (drawn.vector == NO_VECTOR))

    def times(self, rng: np.random.Generator, count: int, mix: Mix | None = None) -> Tensor:
        return self.sigmas[torch.from_numpy(rng.permutation(count) % len(self.sigmas))]

    def flow(self, latents: Tensor, noise: Tensor, times: Tensor, condition: Condition) -> dict[str, Tensor]:
        """Starting latents without the pictures, and the noise levels from which the student steps."""
        return {"x": begun(condition.reference, noise, FAST_SAMPLING), "t": times, **vars(condition)}

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """Mean squared distance to the mean velocity of the teacher's walk, from where the student itself comes to."""
        inputs = {name: value for name, value in batch.items() if name not in ("x", "t")}
        condition, t = Condition(**{name: inputs[name] for name in Condition.__dataclass_fields__}), batch["t"]
        x = self.reached(model, batch["x"], t, inputs)
        target = (x - self.walked(x, t, self.length, condition)) / self.length
        return {"loss": (model(x=x, t=t, **inputs) - target).square().mean()}

    @torch.no_grad()
    def reached(self, model: nn.Module, x: Tensor, times: Tensor, inputs: dict[str, Tensor]) -> Tensor:
        """Where the student's steps lead from `x` (B, C, S, S), each row's to its own noise level."""
        x = x.clone()
        for sigma in self.sigmas[:-1].tolist():
            rows = (times < sigma).nonzero()[:, 0]
            if len(rows):
                level = torch.full((len(rows),), sigma, device=x.device)
                velocity = model(x=x[rows], t=level, **{name: value[rows] for name, value in inputs.items()})
                x[rows] -= self.length * velocity.to(x.dtype)
        return x

    @torch.no_grad()
    @torch.autocast("cpu", enabled=False)  # which would round the path, and knows no states in fp16
    @torch.autocast("cuda", enabled=False)
    def walked(self, x: Tensor, times: Tensor, length: float, condition: Condition) -> Tensor:
        """Where the teacher comes to from `x` at noise levels `times` (B,), `length` lower."""
        nothing = Condition(*(torch.zeros_like(part) for part in vars(condition).values()))
        both, step = Condition.cat([condition, nothing]), length / self.walk
        low, high = self.taught.interval
        weak = torch.arange(len(both), device=x.device) >= len(condition) if AUTOGUIDANCE in self.taught.hooks else None
        for k in range(self.walk):
            t = times - k * step
            answers = self.teacher(torch.cat([x, x]), t.repeat(2), *vars(both).values(), weak)
            level = t[:, None, None, None]
            scale = torch.where((low <= level) & (level <= high), self.taught.guidance, 1.0)
            velocity = combined(answers, scale)
            left, x = x + (1 - level) * velocity, x - step * velocity
            x = cooled(x, left, level, (level - step).clamp(min=0), self.taught.cooling)  # 0 may be rounded below
        return x

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """How far one step ends from the teacher's walk, on held-out pictures and scenes: mean squared velocity."""
        return {name: self._held_out_loss(model, held) for name, held in self._validation.items()}

    def pipeline(self, model: Any) -> StickerPipeline:
        made = super().pipeline(model)
        made.fast = made.dit
        return made

    def export(self, model: nn.Module, folder: Path) -> None:
        """The changes, in half precision, and which generator they change."""
        (folder / PART).mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in changes(model).items()}
        save_file(tensors, folder / PART / FILE)
        record_made_with(folder / PART, part_digests(("dit",), self.options.parts))
        record_part(PART, folder)
