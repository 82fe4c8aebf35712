"""Teaching the fast variant to draw as drawings look, and not only to come where the generator would have come.

What a network that minimises squared errors draws is right on average and wavers in its lines; an image classifier's
features tell that from a drawing (`models.train.lite2`). So the last steps of the fast variant are followed back from
those features: their distribution, given what was told, is brought to that of real pictures (`models.train.frechet`).
Real ones go through the autoencoder first: what it loses is no fault of the generator's.

There are two ways to those steps: the variant's own, and the generator's, whose last it takes (`Sampling.polish`). What
comes of the one and of the other is unlike real pictures in different respects, so each is compared by itself.

What is asked for stays what it was: the picture may not go far from what the variant drew before, least of all its
colours.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from safetensors.torch import load_file
from torch import Tensor, nn

from models.condition import Blend, Condition
from models.drawing import FAST_SAMPLING, POLISHING, begun, denoise
from models.fast import FILE, PART, load_fast
from models.lora import begin_from
from models.prototypes import PART as PROTOTYPES
from models.prototypes import Prototypes
from models.schedulers import DEFAULT_SCHEDULER, build_scheduler
from models.train.fast import FastTask
from models.train.frechet import Likeness
from models.train.image import IMAGE_VECTOR, TEXT_VECTOR, Draws, Mix
from models.train.lite2 import lite2
from models.train.loop import TaskOptions
from models.weights import listed_parts, part_folder

ASKED = Mix(scenes=0.0, views=(1.0, 0.0, 0.0, 0.0))  # pictures as they are: no other view is encoded
DROP_DRAFT = 0.15
WORDS = 16  # principal directions of the caption's vector: of all 128 the mean is not known from some thousand pictures
VECTOR_SCALE = 3.0  # of them: as large as a style's share, so that both are shrunk alike
EVERY = 8  # steps between two fits of the transport, which take a second
COARSE = 4  # cells of the latent a side: where colours may not change
CHUNK = 64
OWN, LED = "own", "led"

Rows = dict[str, Any]  # latents `x` (B, C, S, S), `about` (B, K), and the fields of their `Condition`


@dataclass
class Way:
    """To the last steps: noise levels `first` of the variant's own steps before them, and theirs, `rest`, which the
    gradient flows through; `likenesses`, one a set of features, of what is drawn this way."""

    first: list[float]
    rest: list[float]
    likenesses: list[Likeness]

    @property
    def unlike(self) -> float:
        """Mean squared distance from real pictures, in parts of their variance."""
        return float(np.mean([likeness.distance for likeness in self.likenesses]))


class PolishTask(FastTask):
    """Recipe "polish", of the fast variant as it ships.

    Args:
        real: how many real pictures the features are compared with.
        recent: how many drawn ones, of each way.
        led: how many states of the generator's way there are to go on from.
        share: of a step's pictures that go on from one.
        last: steps of the variant's own way that the gradient flows through.
        size: principal directions of each set of features.
        near: what the mean squared distance from what was drawn before counts, per number of the latent.
        tint: what that of the colours does, per number of a picture of COARSE cells less.
        eyes: pictures (B, 4, H, W) -> sets of features (B, D); None is `lite2`.
    """

    asked = ASKED

    def __init__(
        self,
        options: TaskOptions,
        real: int = 5120,
        recent: int = 3072,
        led: int = 3072,
        share: float = 0.45,
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
        self.real, self.recent, self.led, self.share = real, recent, led, share
        self.last, self.size, self.near, self.tint = last, size, near, tint
        self.eyes = (eyes or lite2()).to(self.device)
        self.autoencoder.requires_grad_(False)
        styles = sorted({picture.style for picture in self.pictures})
        self.style = F.one_hot(torch.tensor([styles.index(picture.style) for picture in self.pictures])).float()
        self.colours = torch.tensor(self.autoencoder.config.preview)[:-1].to(self.device)
        drafted = PROTOTYPES in listed_parts(options.parts)
        self.mirror = Prototypes.load(options.parts).mirror if drafted else None
        self.ways: dict[str, Way] = {}
        self._steps = 0

    # --- What is drawn ----------------------------------------------------------------------------------------------

    def draws(self, rng: np.random.Generator, count: int) -> Draws:
        """Pictures as they are, and everything told but, now and then, the draft."""
        vector = np.where(rng.random(count) < 0.5, TEXT_VECTOR, IMAGE_VECTOR)
        captions = rng.integers(self.encoded.mask.shape[1], size=count)
        draft = rng.random(count) >= DROP_DRAFT
        return Draws(self.sampler.rows(rng, count), captions, np.ones(count, bool), vector, draft)

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Rows]:
        """Of each way, what pictures are drawn from, their conditions, and what their features depend on."""
        self._prepare()
        rng, size = np.random.default_rng((self.options.seed, step)), self.options.batch_size(progress)
        led = round(self.share * size)
        return {OWN: self._own(rng, size - led, rank, ranks), LED: self._led(rng, led, rank, ranks)}

    def _own(self, rng: np.random.Generator, count: int, rank: int = 0, ranks: int = 1) -> Rows:
        """What the variant begins with."""
        draws = self.draws(rng, count).part(rank, ranks)
        condition, noise = self.condition(draws), self._noise(rng, count)[rank::ranks]
        return {
            "x": begun(condition.draft, noise, FAST_SAMPLING.temperature),
            "about": self.about(draws.rows),
            **vars(condition),
        }

    def _led(self, rng: np.random.Generator, count: int, rank: int = 0, ranks: int = 1) -> Rows:
        """Where the generator has led."""
        rows = rng.integers(len(self.states), size=count)[rank::ranks]
        draws = self.led_draws[rows]
        return {"x": self.states[rows].float(), "about": self.about(draws.rows), **vars(self.condition(draws))}

    def _noise(self, rng: np.random.Generator, count: int) -> Tensor:
        generator, config = torch.Generator(self.device).manual_seed(int(rng.integers(2**62))), self.model.config
        shape = (count, config.channels, config.size, config.size)
        return torch.randn(shape, generator=generator, device=self.device)

    def about(self, rows: np.ndarray) -> Tensor:
        """(B, K): the style of rows of pictures, and WORDS directions of the caption's vector: what their features are
        taken to depend on."""
        told = (self._vectors(rows) - self.centre) @ self.directions
        return torch.cat([self.style[rows].to(self.device), VECTOR_SCALE * told], 1)

    def _vectors(self, rows: np.ndarray) -> Tensor:
        return self.encoded.told[torch.from_numpy(rows).to(self.device), 0].float()

    def handed_over(self, condition: Condition, noise: Tensor) -> Tensor:
        """Where the generator comes to from noise (B, C, S, S), led as it is when a picture is drawn, until the variant
        takes its last steps."""
        told = replace(condition, states=condition.states.float())
        nothing = Condition(*(torch.zeros_like(part) for part in vars(told).values()))
        steer = self.mirror.steer(told.draft) if self.mirror else None
        led = self.teacher, noise, Blend.of(told), nothing, self.taught, build_scheduler(DEFAULT_SCHEDULER)
        steps = denoise(*led, steer=steer, polisher=self.before)
        return next(step.latents for step in steps if step.count - step.index == POLISHING + 1)

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

    def loss(self, model: nn.Module, batch: dict[str, Rows], progress: float) -> dict[str, Tensor]:
        """How far the features are from where they are to be carried, and the picture from what it was: the mean over
        the pictures of both ways."""
        if self._steps % EVERY == 0:
            self._fit()
        self._steps += 1
        counts = {name: len(rows["x"]) for name, rows in batch.items()}
        losses = {name: self._loss(model, batch[name], self.ways[name]) for name, count in counts.items() if count}
        total = sum(counts.values())
        return {
            key: torch.stack([counts[name] / total * own[key] for name, own in losses.items()]).sum()
            for key in ("loss", "looks", "away", "tint")
        }

    def _fit(self) -> None:
        """Find each way's transports from what is remembered of it."""
        with torch.autocast(self.device.type, enabled=False):  # it would round the moments
            for way in self.ways.values():
                for likeness in way.likenesses:
                    likeness.fit()

    def _loss(self, model: nn.Module, rows: Rows, way: Way) -> dict[str, Tensor]:
        told = _told(rows)
        with torch.no_grad():
            x = self.stepped(model, rows["x"], way.first, told)
            before = self.stepped(self.before, x, way.rest, told)
        latents = self.stepped(model, x, way.rest, told)
        with torch.autocast(self.device.type, enabled=False):  # likewise
            looks = self.looks(way.likenesses, rows["about"], self.seen(latents))
            away, tint = (latents - before).square().mean(), self.coarse(latents - before).square().mean()
        return {"loss": looks + self.near * away + self.tint * tint, "looks": looks, "away": away, "tint": tint}

    def looks(self, likenesses: list[Likeness], about: Tensor, features: list[Tensor]) -> Tensor:
        """The mean of what the sets of features lose; they are remembered."""
        losses = list[Tensor]()
        for likeness, own in zip(likenesses, features, strict=True):
            likeness.remember(about, own)
            losses.append(likeness.loss(about, own))
        return torch.stack(losses).mean()

    def coarse(self, latents: Tensor) -> Tensor:
        """(B, C, S, S) -> the colours of COARSE x COARSE cells, by the autoencoder's linear preview."""
        colours = torch.einsum("bchw,cr->brhw", latents, self.colours)
        return F.adaptive_avg_pool2d(colours, COARSE)

    # --- What is seen before the first ------------------------------------------------------------------------------

    @torch.no_grad()
    def _prepare(self) -> None:
        """See real pictures, let the generator lead, and draw until half of what is to be remembered is there; once,
        with the first batch, so that it is no time of training."""
        if self.ways:
            return
        rng, console = np.random.default_rng((self.options.seed, 0, 0)), Console(stderr=True, quiet=self.real < 1000)
        real = self._look(rng, console)
        sigmas = self.sigmas.tolist()
        self.ways = {
            OWN: Way(sigmas[: -self.last], sigmas[-self.last :], real),
            LED: Way([], sigmas[-POLISHING:], copy.deepcopy(real)),
        }
        self._lead(rng, console)
        for draw, way in zip((self._own, self._led), self.ways.values(), strict=True):
            while len(way.likenesses[0]) < self.recent // 2:
                rows = draw(rng, self.options.batch_size(0.0))
                features = self.seen(self.stepped(self.model, rows["x"], [*way.first, *way.rest], _told(rows)))
                for likeness, own in zip(way.likenesses, features, strict=True):
                    likeness.remember(rows["about"], own)

    def _look(self, rng: np.random.Generator, console: Console) -> list[Likeness]:
        """At real pictures."""
        rows = self.sampler.rows(rng, self.real)
        told = self._vectors(rows)
        self.centre = told.mean(0)
        self.directions = torch.linalg.svd(told - self.centre, full_matrices=False)[2][:WORDS].T
        chunks = track(np.array_split(rows, -(-self.real // CHUNK)), "real pictures", console=console)
        seen = [self.seen(self.encoded.latents[torch.from_numpy(own).to(self.device)]) for own in chunks]
        about = self.about(rows)
        return [Likeness(about, torch.cat(own), self.size, self.recent) for own in zip(*seen, strict=True)]

    def _lead(self, rng: np.random.Generator, console: Console) -> None:
        """Let the generator come to where the variant takes over."""
        self.led_draws = self.draws(rng, self.led)
        chunks = track(np.array_split(np.arange(self.led), -(-self.led // CHUNK)), "ways led", console=console)
        conditions = (self.condition(self.led_draws[rows]) for rows in chunks)
        self.states = torch.cat([self.handed_over(told, self._noise(rng, len(told))) for told in conditions])

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The squared distance from real training pictures, in parts of their variance, of what was drawn lately: the
        variant's own way, and the generator's."""
        return {f"unlike_{name}": way.unlike for name, way in self.ways.items()}


def _told(rows: Rows) -> dict[str, Tensor]:
    return {name: value for name, value in rows.items() if name not in ("x", "about")}
