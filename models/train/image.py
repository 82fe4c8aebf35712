"""Training the image generator: flow matching on the latents of pictures and composed scenes.

Autoencoder, backbone and space are frozen. Latents and image vectors are computed once and kept; captions are written
and read anew at every step, which costs little beside the generator and never repeats itself.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from models.assets import prompt_list
from models.autoencoder import Autoencoder
from models.data.captions import caption
from models.data.pixels import to_tensor
from models.data.sampling import Sampler
from models.data.scenes import make_scene
from models.data.world import Picture
from models.dit import DiT, flow_target
from models.drawing import Pictures, Sampling
from models.guidance import Condition
from models.pipeline import StickerPipeline, native_dtype
from models.presets import preset
from models.schedulers import DEFAULT_SCHEDULER, build_scheduler
from models.space import Embedder
from models.train.alignment import Alignment
from models.train.encoded import Encoded, encode_all
from models.train.loop import TaskOptions
from models.train.sheet import grid
from models.weights import load_part, save_part, weights_digest

SCENES = 0.35  # share of composed scenes: they make colour, count and place learnable
SCENE_POOL = 24_000  # scenes encoded beforehand, at most twice the pictures; each with ever new captions
DROP_TEXT = 0.15
DROP_VECTOR = 0.5  # of the rest, half are the caption's vector and half the picture's own
# Logit-normal noise levels (SD3, arXiv 2403.03206, section 3.1), leaning to noise, where the concept is decided.
TIME_MEAN, TIME_STD = 0.4, 1.0
VALIDATION = 192  # pictures, and a third as many scenes
ALIGNED_BLOCK = 3  # of twelve: the fourth's output, as iREPA takes of a SiT-B


@dataclass(frozen=True)
class Draw:
    """One sample of a step: which picture or scene, the seed of its caption, and which conditions it keeps."""

    picture: Picture
    scene: int | None
    caption_seed: int
    text: bool
    vector: str  # "none", "text" or "image"


def noise_levels(rng: np.random.Generator, count: int) -> Tensor:
    """`count` logit-normal times in (0, 1), one from each of `count` equal slices of probability."""
    uniform = (rng.permutation(count) + rng.random(count)) / count
    normal = torch.special.ndtri(torch.from_numpy(uniform).clamp(1e-6, 1 - 1e-6))
    return torch.sigmoid(TIME_MEAN + TIME_STD * normal).float()


class Learner(nn.Module):
    """The generator, and the projection that its alignment needs while it trains."""

    def __init__(self, dit: DiT, seen: int) -> None:
        super().__init__()
        self.dit, self.alignment = dit, Alignment(dit.config.width, seen)
        self.block = min(ALIGNED_BLOCK, dit.config.depth - 1)

    def forward(
        self, x: Tensor, t: Tensor, states: Tensor, mask: Tensor, vector: Tensor, seen: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Velocity, and how far the early tokens are from `seen` (B, N, T), what the encoder sees in x0."""
        velocity, early = self.dit.forward_with_tokens(x, t, states, mask, vector, after=self.block)
        return velocity, None if seen is None else self.alignment(early, seen)


class ImageTask:
    """Recipe "image".

    `align` weighs the alignment with our picture encoder, until progress `align_until`: it hurts later (HASTE,
    arXiv 2505.16792).
    """

    def __init__(self, options: TaskOptions, align: float = 0.0, align_until: float = 0.35) -> None:
        self.options, self.world = options, options.world
        self.embedder = Embedder.load(options.parts)
        self.autoencoder = load_part(Autoencoder, "autoencoder", options.parts, native_dtype())
        self.autoencoder.to(memory_format=torch.channels_last)
        width = self.embedder.language.config.hidden_size
        self.align, self.align_until = align, align_until
        dit = DiT(**{**preset("dit", options.preset), "context": width})
        self.model = Learner(dit, self.embedder.vision.config.width)
        self.pictures = self.world.split("train")
        self.sampler = Sampler(self.pictures)
        self.row = {picture.index: row for row, picture in enumerate(self.pictures)}
        self.encoded = self._encode("pictures", len(self.pictures), lambda i: self.world.pixels[self.pictures[i].index])
        pool = min(SCENE_POOL, 2 * len(self.pictures))
        self.scenes = self._encode("scenes", pool, lambda i: make_scene(self.world, i).render(self.world))

    def _encode(self, name: str, count: int, picture: Any) -> Encoded:
        made_of = weights_digest(("autoencoder", "vision", "space"), self.options.parts) + self.world.digest
        digest = hashlib.sha256(f"{made_of} {name} {count}".encode()).hexdigest()[:16]
        file = None if self.options.cache is None else self.options.cache / f"{name}-{digest}"
        return encode_all(count, picture, self.autoencoder, self.embedder, file)

    # --- A step -----------------------------------------------------------------------------------------------------

    def draws(self, rng: np.random.Generator, count: int) -> list[Draw]:
        """What one step sees, of all ranks."""
        pictures = self.sampler.draw(rng, count)
        is_scene, rows = rng.random(count) < SCENES, rng.integers(len(self.scenes), size=count)
        seeds = rng.integers(2**31, size=count)
        text, kind = rng.random(count) >= DROP_TEXT, rng.random(count)
        names = np.where(kind < DROP_VECTOR, "none", np.where(kind < (1 + DROP_VECTOR) / 2, "text", "image"))
        return [
            Draw(pictures[i], int(rows[i]) if is_scene[i] else None, int(seeds[i]), bool(text[i]), str(names[i]))
            for i in range(count)
        ]

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """Noisy latents, times, targets and conditions; everything random of the step is drawn here."""
        rng = np.random.default_rng((self.options.seed, step))
        size = self.options.batch_size(progress)
        draws, times = self.draws(rng, size), noise_levels(rng, size)
        config = self.model.dit.config
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        noise = torch.randn(size, config.channels, config.size, config.size, generator=generator)
        mine = list(range(rank, size, ranks))
        latents, condition = self._read([draws[i] for i in mine])
        batch = _flow(latents, noise[mine], times[mine], condition)
        if self.align and progress < self.align_until:
            batch["seen"] = torch.cat([store.seen([row]) for store, row in map(self._place, (draws[i] for i in mine))])
        return batch

    def _read(self, draws: list[Draw]) -> tuple[Tensor, Condition]:
        latents, own = zip(*(self._stored(draw) for draw in draws), strict=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=native_dtype() == torch.bfloat16):
            read = self.embedder.states([self._caption(draw) for draw in draws], together=True)
        states, mask, vectors = (x.clone() for x in read)
        mask[[i for i, draw in enumerate(draws) if not draw.text]] = False
        for i, draw in enumerate(draws):
            if draw.vector != "text":
                vectors[i] = own[i] if draw.vector == "image" else 0
        return torch.stack(latents), Condition(states, mask, vectors)

    def _place(self, draw: Draw) -> tuple[Encoded, int]:
        return (self.encoded, self.row[draw.picture.index]) if draw.scene is None else (self.scenes, draw.scene)

    def _stored(self, draw: Draw) -> tuple[Tensor, Tensor]:
        store, row = self._place(draw)
        latents, vectors = store.take([row])
        return latents[0], vectors[0]

    def _caption(self, draw: Draw) -> str:
        if draw.scene is None:
            return caption(draw.picture, draw.caption_seed)
        return make_scene(self.world, draw.scene).caption(draw.caption_seed)

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """Mean squared error of the velocity, and in the early part the weighted distance to the encoder's tokens."""
        velocity, distance = model(**{name: value for name, value in batch.items() if name != "target"})
        flow = (velocity - batch["target"]).square().mean()
        if distance is None:
            return {"loss": flow}
        return {"loss": flow + self.align * distance, "flow": flow, "distance": distance}

    def after_step(self, model: nn.Module) -> None:
        """Nothing."""

    # --- A checkpoint -----------------------------------------------------------------------------------------------

    @cached_property
    def _validation(self) -> dict[str, tuple[Tensor, Condition]]:
        """Latents and full conditions of pictures and of scenes that no step has seen."""
        pictures = self.world.split("val")[:: max(1, len(self.world.split("val")) // VALIDATION)][:VALIDATION]
        scenes = [make_scene(self.world, seed, "val") for seed in range(-(-len(pictures) // 3))]
        told = {
            "val": ([caption(p, 0) for p in pictures], [self.world.pixels[p.index] for p in pictures]),
            "val_scenes": ([s.caption(0) for s in scenes], [s.render(self.world) for s in scenes]),
        }
        return {name: self._told(captions, pixels) for name, (captions, pixels) in told.items()}

    def _told(self, captions: list[str], pixels: list[np.ndarray]) -> tuple[Tensor, Condition]:
        encoded = encode_all(len(pixels), pixels.__getitem__, self.autoencoder, self.embedder)
        return encoded.take(list(range(len(pixels))))[0], Condition(*self.embedder.states(captions))

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The loss at fixed noise: of held-out pictures and scenes, and of the pictures under each condition alone."""
        figures = {name: self._held_out_loss(model, *told) for name, told in self._validation.items()}
        latents, full = self._validation["val"]
        silent, nowhere = torch.zeros_like(full.mask), torch.zeros_like(full.vector)
        for name, mask, vector in (
            ("val_words", full.mask, nowhere),
            ("val_vector", silent, full.vector),
            ("val_nothing", silent, nowhere),
        ):
            figures[name] = self._held_out_loss(model, latents, Condition(full.states, mask, vector))
        return figures

    def _held_out_loss(self, model: nn.Module, latents: Tensor, condition: Condition) -> float:
        times = noise_levels(np.random.default_rng(0), len(latents))
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
        total = 0.0
        for rows in torch.arange(len(latents)).split(64):
            part = _flow(latents[rows], noise[rows], times[rows], condition.rows(rows.tolist()))
            total += float(self.loss(model, part, 1.0)["loss"]) * len(rows)
        return total / len(latents)

    def pipeline(self, model: Any) -> StickerPipeline:
        """The generator in the middle of its training, with the parts that it stands on."""
        e, scheduler = self.embedder, build_scheduler(DEFAULT_SCHEDULER)
        return StickerPipeline(e.tokenizer, e.language, e.vision, e.space, self.autoencoder, model.dit, scheduler)

    def sheet(self, model: nn.Module) -> Image.Image:
        """The prompts of `assets/prompts/sheet.txt`, blends left out, eight a row, always from the same seeds."""
        prompts = [line for line in prompt_list("sheet") if " + " not in line]
        events = self.pipeline(model).steps(prompts, range(len(prompts)), Sampling())
        pixels = [picture for event in events if isinstance(event, Pictures) for picture in event.pixels]
        return grid(to_tensor(np.stack(pixels)), columns=8)

    def export(self, model: nn.Module, folder: Path) -> None:
        """The generator as it ships."""
        save_part(model.dit, "dit", folder)


def _flow(latents: Tensor, noise: Tensor, times: Tensor, condition: Condition) -> dict[str, Tensor]:
    """x_t = (1 - t) x0 + t noise and what the network is asked for there (rectified flow, arXiv 2209.03003)."""
    t = times[:, None, None, None]
    x = (1 - t) * latents + t * noise
    conditions = {"states": condition.states, "mask": condition.mask, "vector": condition.vector}
    return {"x": x, "t": times, "target": flow_target(x, latents, times), **conditions}
