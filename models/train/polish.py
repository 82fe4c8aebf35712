"""Training the fast variant on how pictures look, after it was distilled (recipe "polish").

A network that minimises squared errors is right on average and wavers in its lines; features of an image classifier
tell that from a drawing. So a perceptual loss (`models.train.perceptual`) is backpropagated through the last sampling
steps: the distribution of the features, given the condition, is brought to that of real pictures. Real pictures go
through the autoencoder first: its losses are no fault of the generator's.

Two sampling paths lead to these steps: the student's own, and the generator's, whose last steps the student takes
(it is the refiner). Their pictures differ from real ones in different respects, so each has its own statistics.

The picture may not move far from what the student drew before, least of all in its colours.
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from models.data.stored import progress
from models.lora import FILE, PART, begin_from, load_fast
from models.references.store import PART as PROTOTYPES
from models.references.store import ReferenceStore
from models.sampling.condition import ComposedCondition, Condition
from models.sampling.hooks import SYMMETRY, guidance_hooks
from models.sampling.loop import FAST_SAMPLING, REFINER_STEPS, begun, denoise
from models.sampling.schedulers import DEFAULT_SCHEDULER, build_scheduler
from models.train.fast import FastTask
from models.train.image import IMAGE_VECTOR, TEXT_VECTOR, Mix, Samples
from models.train.loop import TaskOptions
from models.train.perceptual import ConditionalFrechet, lite2
from models.weights import listed_parts, part_folder

DROP_DRAFT = 0.15
COMPONENTS = 16  # of the caption's vector: of all 128 the mean is not known from a few thousand pictures
VECTOR_SCALE = 3.0  # of the components: as large as the style's one-hot vector, so that both are shrunk alike
EVERY = 8  # steps between two fits of the transport; a fit takes a second
COARSE = 4  # cells of the latent a side: where colours may not change
CHUNK = 64
OWN, LED = "own", "led"

Rows = dict[str, Any]  # latents `x` (B, C, S, S), `given` (B, K), and the fields of their `Condition`


@dataclass
class SamplingPath:
    """A sampling path."""

    first: list[float]  # noise levels of its first steps
    rest: list[float]  # and of the others, which the gradient flows through
    frechets: list[ConditionalFrechet]  # the distance of each set of features for pictures of this path

    @property
    def unlike(self) -> float:
        """Mean squared distance from real pictures, as a fraction of their variance."""
        return float(np.mean([frechet.distance for frechet in self.frechets]))


class PolishTask(FastTask):
    """Recipe "polish": trains the shipped fast variant further."""

    mix = Mix(scenes=0.0, views=(1.0, 0.0, 0.0, 0.0))  # pictures as they are: no other view is encoded
    pool = 1  # no scenes are sampled, and one is the fewest that can be encoded
    real = 5120  # pictures that generated ones are compared with
    recent = 3072  # generated ones, of each path
    led = 3072  # starting states that the generator's path provides
    share = 0.45  # of a step's pictures that start from one of them
    last = 2  # steps of the student's own path that the gradient flows through
    size = 96  # principal components of each set of features
    near = 0.1  # weight of the mean squared distance from the earlier latent
    tint = 20.0  # weight of the mean squared distance of the colours of COARSE cells
    extractor: Callable[[], nn.Module] = staticmethod(lite2)  # of sets of features (B, D) of pictures (B, 4, H, W)

    def __init__(self, options: TaskOptions) -> None:
        super().__init__(options)
        before = load_fast(self.teacher, options.parts)
        if before is None:
            raise ValueError("there is no fast variant of this generator to polish; train recipe fast first")
        self.before = before.requires_grad_(False)
        begin_from(self.model, load_file(part_folder(PART, options.parts) / FILE))
        self.extract = self.extractor().to(self.device)
        self.autoencoder.requires_grad_(False)
        styles = sorted({picture.style for picture in self.pictures})
        self.style = F.one_hot(torch.tensor([styles.index(picture.style) for picture in self.pictures])).float()
        self.colours = torch.tensor(self.autoencoder.config.preview)[:-1].to(self.device)
        drafted = PROTOTYPES in listed_parts(options.parts)
        self.mirror = ReferenceStore.load(options.parts).mirror if drafted else None
        self.paths: dict[str, SamplingPath] = {}
        self._steps = 0

    # --- Samples ----------------------------------------------------------------------------------------------------

    def draws(self, rng: np.random.Generator, count: int) -> Samples:
        """Pictures as they are with all conditions; the draft is dropped now and then."""
        vector = np.where(rng.random(count) < 0.5, TEXT_VECTOR, IMAGE_VECTOR)
        captions = rng.integers(self.encoded.mask.shape[1], size=count)
        draft = rng.random(count) >= DROP_DRAFT
        return Samples(self.sampler.rows(rng, count), captions, np.ones(count, bool), vector, draft)

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Rows]:
        """For each path: starting latents, conditions, and what the features depend on."""
        self._prepare()
        rng, size = np.random.default_rng((self.options.seed, step)), self.options.batch_size(progress)
        led = round(self.share * size)
        return {OWN: self._student_start(rng, size - led, rank, ranks), LED: self._teacher_start(rng, led, rank, ranks)}

    def _student_start(self, rng: np.random.Generator, count: int, rank: int = 0, ranks: int = 1) -> Rows:
        draws = self.draws(rng, count)[rank::ranks]
        condition, noise = self.condition(draws), self._noise(rng, count)[rank::ranks]
        x = begun(condition.reference, noise, FAST_SAMPLING)
        return {"x": x, "given": self.given(draws.rows), **vars(condition)}

    def _teacher_start(self, rng: np.random.Generator, count: int, rank: int = 0, ranks: int = 1) -> Rows:
        rows = rng.integers(len(self.states), size=count)[rank::ranks]
        draws = self.teacher_samples[rows]
        return {"x": self.states[rows].float(), "given": self.given(draws.rows), **vars(self.condition(draws))}

    def _noise(self, rng: np.random.Generator, count: int) -> Tensor:
        generator, config = torch.Generator(self.device).manual_seed(int(rng.integers(2**62))), self.model.config
        shape = (count, config.channels, config.size, config.size)
        return torch.randn(shape, generator=generator, device=self.device)

    def given(self, rows: np.ndarray) -> Tensor:
        """(B, K): the condition of the features: the pictures' styles, and COMPONENTS of the caption's vector."""
        components = (self._vectors(rows) - self.centre) @ self.directions
        return torch.cat([self.style[rows].to(self.device), VECTOR_SCALE * components], 1)

    def _vectors(self, rows: np.ndarray) -> Tensor:
        return self.encoded.text_vectors[torch.from_numpy(rows).to(self.device), 0].float()

    def sampled_until_handover(self, condition: Condition, noise: Tensor) -> Tensor:
        """The generator's latents when the student takes over, from noise (B, C, S, S), sampled as pictures are."""
        full = replace(condition, states=condition.states.float())
        nothing = Condition(*(torch.zeros_like(part) for part in vars(full).values()))
        hooks = guidance_hooks(frozenset({SYMMETRY}), full.reference, (), self.mirror)
        wanted, scheduler = ComposedCondition.of(full), build_scheduler(DEFAULT_SCHEDULER)
        steps = denoise(self.teacher, noise, wanted, nothing, self.taught, scheduler, hooks=hooks, refiner=self.before)
        return next(step.latents for step in steps if step.count - step.index == REFINER_STEPS + 1)

    def stepped(self, model: nn.Module, x: Tensor, levels: Iterable[float], condition: dict[str, Tensor]) -> Tensor:
        """Euler steps from `x` (B, C, S, S) at each of the noise levels."""
        for level in levels:
            t = torch.full((len(x),), level, device=x.device)
            x = x - self.length * model(x=x, t=t, **condition).float()
        return x

    def features(self, latents: Tensor) -> list[Tensor]:
        """Features of decoded latents (B, C, S, S), in full precision."""
        with torch.autocast(self.device.type, enabled=False):
            return self.extract(self.autoencoder.to(self.device).decode(latents.float()))

    # --- A step -----------------------------------------------------------------------------------------------------

    def loss(self, model: nn.Module, batch: dict[str, Rows], progress: float) -> dict[str, Tensor]:
        """The perceptual loss and the distance from the earlier picture: the mean over the pictures of both paths."""
        if self._steps % EVERY == 0:
            with torch.autocast(self.device.type, enabled=False):  # it would round the moments
                for frechet in [frechet for path in self.paths.values() for frechet in path.frechets]:
                    frechet.fit()
        self._steps += 1
        counts = {name: len(rows["x"]) for name, rows in batch.items()}
        losses = {name: self._loss(model, batch[name], self.paths[name]) for name, count in counts.items() if count}
        total = sum(counts.values())
        return {
            key: torch.stack([counts[name] / total * own[key] for name, own in losses.items()]).sum()
            for key in ("loss", "looks", "away", "tint")
        }

    def _loss(self, model: nn.Module, rows: Rows, path: SamplingPath) -> dict[str, Tensor]:
        condition = _condition(rows)
        with torch.no_grad():
            x = self.stepped(model, rows["x"], path.first, condition)
            before = self.stepped(self.before, x, path.rest, condition)
        latents = self.stepped(model, x, path.rest, condition)
        with torch.autocast(self.device.type, enabled=False):  # likewise
            looks = self.looks(path.frechets, rows["given"], self.features(latents))
            away, tint = (latents - before).square().mean(), self.coarse(latents - before).square().mean()
        return {"loss": looks + self.near * away + self.tint * tint, "looks": looks, "away": away, "tint": tint}

    def looks(self, frechets: list[ConditionalFrechet], given: Tensor, features: list[Tensor]) -> Tensor:
        """The mean loss of the sets of features, which are added to the statistics."""
        losses = list[Tensor]()
        for frechet, own in zip(frechets, features, strict=True):
            frechet.update(given, own)
            losses.append(frechet.loss(given, own))
        return torch.stack(losses).mean()

    def coarse(self, latents: Tensor) -> Tensor:
        """(B, C, S, S) -> the colours of COARSE x COARSE cells, by the autoencoder's linear preview."""
        colours = torch.einsum("bchw,cr->brhw", latents, self.colours)
        return F.adaptive_avg_pool2d(colours, COARSE)

    # --- Before the first step --------------------------------------------------------------------------------------

    @torch.no_grad()
    def _prepare(self) -> None:
        """Measure real pictures, sample the generator's path, and generate half of the statistics; once, with the first
        batch, so that it is no time of training."""
        if self.paths:
            return
        rng = np.random.default_rng((self.options.seed, 0, 0))
        real = self._real_statistics(rng)
        sigmas = self.sigmas.tolist()
        self.paths = {
            OWN: SamplingPath(sigmas[: -self.last], sigmas[-self.last :], real),
            LED: SamplingPath([], sigmas[-REFINER_STEPS:], copy.deepcopy(real)),
        }
        self.teacher_samples = self.draws(rng, self.led)
        chunks = progress(np.array_split(np.arange(self.led), -(-self.led // CHUNK)), "paths led")
        conditions = (self.condition(self.teacher_samples[rows]) for rows in chunks)
        self.states = torch.cat([self.sampled_until_handover(own, self._noise(rng, len(own))) for own in conditions])
        for draw, path in zip((self._student_start, self._teacher_start), self.paths.values(), strict=True):
            while len(path.frechets[0]) < self.recent // 2:
                rows = draw(rng, self.options.batch_size(0.0))
                features = self.features(
                    self.stepped(self.model, rows["x"], [*path.first, *path.rest], _condition(rows))
                )
                for frechet, own in zip(path.frechets, features, strict=True):
                    frechet.update(rows["given"], own)

    def _real_statistics(self, rng: np.random.Generator) -> list[ConditionalFrechet]:
        rows = self.sampler.rows(rng, self.real)
        vectors = self._vectors(rows)
        self.centre = vectors.mean(0)
        self.directions = torch.linalg.svd(vectors - self.centre, full_matrices=False)[2][:COMPONENTS].T
        chunks = progress(np.array_split(rows, -(-self.real // CHUNK)), "real pictures")
        features = [self.features(self.encoded.latents[torch.from_numpy(own).to(self.device)]) for own in chunks]
        given = self.given(rows)
        return [
            ConditionalFrechet(given, torch.cat(own), self.size, self.recent) for own in zip(*features, strict=True)
        ]

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The squared distance of recent pictures from real ones, as a fraction of their variance, for each path."""
        return {f"unlike_{name}": path.unlike for name, path in self.paths.items()}


def _condition(rows: Rows) -> dict[str, Tensor]:
    return {name: value for name, value in rows.items() if name not in ("x", "given")}
