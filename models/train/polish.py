"""Teaching the fast variant to draw as drawings look, and not only to come where the generator would have come.

What a network that minimises squared errors draws is right on average and wavers in its lines; an image classifier's
features tell that from a drawing (`models.train.lite2`). So the last steps of the fast variant are followed back from
those features: their distribution, given what was told, is brought to that of real pictures (`models.train.frechet`).
Real ones go through the autoencoder first: what it loses is no fault of the generator's.

What is asked for stays what it was: the picture may not go far from what the variant drew before, least of all its
colours.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from safetensors.torch import load_file
from torch import Tensor, nn

from models.drawing import FAST_SAMPLING, begun
from models.fast import FILE, PART, load_fast
from models.lora import begin_from
from models.train.fast import FastTask
from models.train.frechet import Likeness
from models.train.image import IMAGE_VECTOR, TEXT_VECTOR, Draws
from models.train.lite2 import lite2
from models.train.loop import TaskOptions
from models.weights import part_folder

DROP_DRAFT = 0.15
VECTOR_SCALE = 3.0  # of what is told: its numbers as large as a style's share, so that both are shrunk alike
EVERY = 8  # steps between two fits of the transport, which take a second
COARSE = 4  # cells of the latent a side: where colours may not change
CHUNK = 64


class PolishTask(FastTask):
    """Recipe "polish", of the fast variant as it ships.

    Args:
        real: how many real pictures the features are compared with.
        recent: how many drawn ones.
        last: steps that the gradient flows through.
        size: principal directions of each set of features.
        near: what the mean squared distance from what was drawn before counts, per number of the latent.
        tint: what that of the colours does, per number of a picture of COARSE cells less.
        eyes: pictures (B, 4, H, W) -> sets of features (B, D); None is `lite2`.
    """

    def __init__(
        self,
        options: TaskOptions,
        real: int = 5120,
        recent: int = 2048,
        last: int = 2,
        size: int = 96,
        near: float = 0.1,
        tint: float = 20.0,
        eyes: nn.Module | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(options, **settings)
        before = load_fast(self.teacher, options.parts)
        if before is None:
            raise ValueError("there is no fast variant of this generator to polish; train recipe fast first")
        self.before = before.requires_grad_(False)
        begin_from(self.model, load_file(part_folder(PART, options.parts) / FILE))
        self.real, self.recent, self.size, self.near, self.tint = real, recent, size, near, tint
        self.first, self.rest = self.sigmas[:-last].tolist(), self.sigmas[-last:].tolist()
        self.eyes = (eyes or lite2()).to(self.device)
        self.autoencoder.requires_grad_(False)
        styles = sorted({picture.style for picture in self.pictures})
        self.style = F.one_hot(torch.tensor([styles.index(picture.style) for picture in self.pictures])).float()
        self.colours = torch.tensor(self.autoencoder.config.preview)[:-1].to(self.device)
        self.likenesses: list[Likeness] = []
        self._steps = 0

    # --- What is drawn ----------------------------------------------------------------------------------------------

    def draws(self, rng: np.random.Generator, count: int) -> Draws:
        """Pictures as they are, and everything told but, now and then, the draft."""
        vector = np.where(rng.random(count) < 0.5, TEXT_VECTOR, IMAGE_VECTOR)
        captions = rng.integers(self.encoded.mask.shape[1], size=count)
        draft = rng.random(count) >= DROP_DRAFT
        return Draws(self.sampler.rows(rng, count), captions, np.ones(count, bool), vector, draft)

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """What pictures are drawn from, their conditions, and what their features depend on."""
        self._prepare()
        return self._batch(np.random.default_rng((self.options.seed, step)), rank, ranks, progress)

    def _batch(self, rng: np.random.Generator, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        size, config = self.options.batch_size(progress), self.model.config
        draws = self.draws(rng, size).part(rank, ranks)
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        shape = (size, config.channels, config.size, config.size)
        noise = torch.randn(shape, generator=generator, device=self.device)[rank::ranks]
        condition = self.condition(draws)
        x = begun(condition.draft, noise, FAST_SAMPLING.temperature)
        return {"x": x, "about": self.about(draws.rows), **vars(condition)}

    def about(self, rows: np.ndarray) -> Tensor:
        """(B, K): the style and the caption's vector of rows of pictures, which their features depend on."""
        told = self.encoded.told[torch.from_numpy(rows).to(self.device), 0].float()
        return torch.cat([self.style[rows].to(self.device), VECTOR_SCALE * told], 1)

    def stepped(self, model: nn.Module, x: Tensor, levels: Iterable[float], told: dict[str, Tensor]) -> Tensor:
        """Steps from `x` (B, C, S, S) at each of the noise levels."""
        for level in levels:
            t = torch.full((len(x),), level, device=x.device)
            x = x - self.length * model(x=x, t=t, **told).float()
        return x

    def seen(self, latents: Tensor) -> list[Tensor]:
        """What the eyes see of latents (B, C, S, S), decoded; in full precision where the decoder is not."""
        with torch.autocast(self.device.type, enabled=False):
            return self.eyes(self.autoencoder.to(self.device).decode(latents.float()))

    # --- A step -----------------------------------------------------------------------------------------------------

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """How far the features are from where they are to be carried, and the picture from what it was."""
        told = _told(batch)
        with torch.no_grad():
            x = self.stepped(model, batch["x"], self.first, told)
            before = self.stepped(self.before, x, self.rest, told)
        latents = self.stepped(model, x, self.rest, told)
        with torch.autocast(self.device.type, enabled=False):  # it would round the moments
            looks = self.looks(batch["about"], self.seen(latents))
            away, tint = (latents - before).square().mean(), self.coarse(latents - before).square().mean()
        return {"loss": looks + self.near * away + self.tint * tint, "looks": looks, "away": away, "tint": tint}

    def looks(self, about: Tensor, features: list[Tensor]) -> Tensor:
        """The mean of what the sets of features lose; they are remembered."""
        if self._steps % EVERY == 0:
            for likeness in self.likenesses:
                likeness.fit()
        self._steps += 1
        for likeness, own in zip(self.likenesses, features, strict=True):
            likeness.remember(about, own)
        return torch.stack([one.loss(about, own) for one, own in zip(self.likenesses, features, strict=True)]).mean()

    def coarse(self, latents: Tensor) -> Tensor:
        """(B, C, S, S) -> the colours of COARSE x COARSE cells, by the autoencoder's linear preview."""
        colours = torch.einsum("bchw,cr->brhw", latents, self.colours)
        return F.adaptive_avg_pool2d(colours, COARSE)

    @torch.no_grad()
    def _prepare(self) -> None:
        """See real pictures and, until half of what is to be remembered is there, drawn ones, once: with the first
        batch, so that it is no time of training."""
        if self.likenesses:
            return
        rng, console = np.random.default_rng((self.options.seed, 0, 0)), Console(stderr=True, quiet=self.real < 1000)
        rows = self.sampler.rows(rng, self.real)
        chunks = track(np.array_split(rows, -(-self.real // CHUNK)), "real pictures", console=console)
        seen = [self.seen(self.encoded.latents[torch.from_numpy(own).to(self.device)]) for own in chunks]
        about = self.about(rows)
        self.likenesses = [Likeness(about, torch.cat(s), self.size, self.recent) for s in zip(*seen, strict=True)]
        while len(self.likenesses[0]) < self.recent // 2:
            batch = self._batch(rng, 0, 1, 0.0)
            features = self.seen(self.stepped(self.model, batch["x"], [*self.first, *self.rest], _told(batch)))
            for likeness, own in zip(self.likenesses, features, strict=True):
                likeness.remember(batch["about"], own)

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The squared distance from real training pictures, in parts of their variance, of what was drawn lately."""
        return {"unlike": float(np.mean([likeness.distance for likeness in self.likenesses]))}


def _told(batch: dict[str, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in batch.items() if name not in ("x", "about")}
