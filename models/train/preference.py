"""Learning from a reward: an adapter of the generator that draws more of what is preferred (recipe "preference").

The generator draws several pictures of each prompt, and the reward (`models.reward`) orders them. A step compares a
preferred picture of a prompt with a rejected one at the same noise: Diffusion-DPO (arXiv 2311.12908), eq. 14, in which
the rejected picture's gradient is scaled so that the preferred one's error does not rise (SDPO, arXiv 2511.03317).
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from models.data.pixels import to_tensor
from models.lora import changes, load_generator
from models.pipelines.image import Pictures
from models.pipelines.sticker import StickerPipeline
from models.reward import Reward, features, names_insult
from models.runtime import native_dtype
from models.sampling.condition import Condition
from models.sampling.loop import FAST_SAMPLING
from models.train.image import Item, Mix, Samples
from models.train.loop import Length, TaskOptions, grid
from models.train.recipes import PRESET, RECIPES
from models.train.style import Example, StyleTask, StyleTrainer, examples_world

EACH, EXTREMES = 8, 3  # pictures of a prompt; how many of them are preferred, and how many are rejected
BETA = 500.0  # of the loss; errors are means of an element here, sums in the paper
SHOWN, COLUMNS = 16, 8  # pictures of a sheet
FALL = 0.1  # of the share that is read rightly, from which the alarm rings: three standard errors of 100 drawings


@dataclass(frozen=True)
class Candidates:
    """N drawings, EACH in turn of each prompt; that of row i is drawn with seed i.

    Attributes:
        pixels: premultiplied uint8 (N, 128, 128, 4).
        prompts: (N,).
        reward: (N,); minus infinity of an insult.
    """

    pixels: np.ndarray
    prompts: Sequence[str]
    reward: np.ndarray

    @property
    def pairs(self) -> np.ndarray:
        """(P, 2) rows of a preferred picture and a rejected one of the same prompt: each of the EXTREMES best with each
        of the EXTREMES worst. An insult is never preferred."""
        order = self.reward.reshape(-1, EACH).argsort(1, kind="stable")
        order += np.arange(0, len(self.reward), EACH)[:, None]
        best, worst = np.repeat(order[:, -EXTREMES:], EXTREMES, 1), np.tile(order[:, :EXTREMES], EXTREMES)
        pairs = np.stack([best.ravel(), worst.ravel()], 1)
        preferred, rejected = self.reward[pairs].T
        return pairs[np.isfinite(preferred) & (preferred > rejected)]


def draw(pipeline: StickerPipeline, prompt: str, number: int) -> np.ndarray:
    """The candidates (EACH, 128, 128, 4) of a prompt, the `number`-th of a list, by the fast variant."""
    return drawings(pipeline, [prompt] * EACH, range(number * EACH, (number + 1) * EACH))


def judged(pipeline: StickerPipeline, reward: Reward, prompts: Sequence[str], pixels: np.ndarray) -> Candidates:
    """What `draw` drew of these prompts, in their order (N, 128, 128, 4), with its reward."""
    every = [prompt for prompt in prompts for _ in range(EACH)]
    heads = scores(pipeline, reward, pixels, every)
    return Candidates(pixels, every, np.where(heads["safety"] < 0, -np.inf, heads["reward"]))


def drawings(pipeline: StickerPipeline, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
    """(N, 128, 128, 4) of N prompts and seeds, as the network draws them: nothing is drawn again."""
    events = pipeline.steps(prompts, seeds, dataclasses.replace(FAST_SAMPLING, batch=EACH))
    return np.concatenate([event.pixels for event in events if isinstance(event, Pictures)])


def scores(
    pipeline: StickerPipeline, reward: Reward, pixels: np.ndarray, prompts: Sequence[str]
) -> dict[str, np.ndarray]:
    """The reward and its heads, each (N,), of pictures (N, 128, 128, 4) of these prompts."""
    embedder, reader = pipeline.embedder, pipeline.reader
    vectors = np.concatenate([embedder.image(pixels[i : i + 64]).numpy() for i in range(0, len(pixels), 64)])
    words = {prompt: embedder.text([prompt])[0].numpy() for prompt in dict.fromkeys(prompts)}
    cosines = (vectors * np.stack([words[prompt] for prompt in prompts])).sum(1)
    rude = [
        reader is not None and not names_insult(prompt) and reader.read(picture, None).is_rude
        for picture, prompt in zip(pixels, prompts, strict=True)
    ]
    return reward.heads(features(pixels, vectors), cosines, np.array(rude))


def errors(velocity: Tensor, target: Tensor) -> Tensor:
    """(B,) mean squared errors of velocities (B, ...)."""
    return (velocity.float() - target).square().flatten(1).mean(1)


def dpo_loss(changed: Tensor, share: Tensor, beta: float = BETA) -> Tensor:
    """Diffusion-DPO of how much the adapter changes the errors of B preferred and B rejected pictures, (2 B,), and of
    the share (B,) of the rejected ones' gradients that counts. It is log 2 where nothing has changed."""
    preferred, rejected = changed.chunk(2)
    rejected = share * rejected + (1 - share) * rejected.detach()
    return -nn.functional.logsigmoid(beta * (rejected - preferred)).mean()


def safe_share(residual: Tensor) -> Tensor:
    """(B,) in [0, 1], how much of a rejected picture's gradient leaves the preferred one's error no higher, to first
    order and for one velocity of both; of the residuals velocity - target (2 B, ...) of preferred and rejected ones."""
    preferred, rejected = residual.detach().flatten(1).chunk(2)
    along = (preferred * rejected).sum(1)
    share = preferred.square().sum(1) / along.clamp(min=torch.finfo(along.dtype).tiny)
    return torch.where(along > 0, share.clamp(max=1), 1.0)


class PreferenceTask(StyleTask):
    """Recipe "preference", of candidates that `judge` drew and the reward by which they were judged."""

    copies, learned = 1, "preference"

    def __init__(self, options: TaskOptions, drawn: Candidates, judge: StickerPipeline, reward: Reward) -> None:
        super().__init__(options)
        self.pairs = drawn.pairs
        self.judge, self.reward = judge, reward
        self.base = load_generator(options.parts, native_dtype()).requires_grad_(False).to(self.device)
        self.prompts = drawn.prompts[::EACH]
        self.shown = self.prompts[:: max(1, len(self.prompts) // SHOWN)][:SHOWN]

    def item(self, row: int) -> Item:
        """A picture with the draft that it was drawn from."""
        return self.drawn(self.pictures[row], row, self.judge)

    def draws(self, rng: np.random.Generator, count: int) -> Samples:
        """Preferred pictures, then the rejected ones."""
        both = super().draws(rng, count // 2)[np.tile(np.arange(count // 2), 2)]
        return dataclasses.replace(both, rows=self.pairs[rng.integers(len(self.pairs), size=count // 2)].T.ravel())

    def condition(self, draws: Samples) -> Condition:
        """Those of the preferred pictures, for the rejected ones, too: eq. 14 has one condition a pair."""
        preferred = super().condition(draws[: len(draws.rows) // 2])
        return Condition.cat([preferred, preferred])

    def times(self, rng: np.random.Generator, count: int, mix: Mix | None = None) -> Tensor:
        return super().times(rng, count // 2, mix).repeat(2)

    def flow(self, latents: Tensor, noise: Tensor, times: Tensor, condition: Condition) -> dict[str, Tensor]:
        preferred, _ = noise.chunk(2)
        return super().flow(latents, torch.cat([preferred, preferred]), times, condition)

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        given = {name: value for name, value in batch.items() if name != "target"}
        with torch.no_grad():
            base = self.base(**given)
        velocity, target = model(**given), batch["target"]
        changed = errors(velocity, target) - errors(base, target)
        preferred, rejected = changed.detach().chunk(2)
        loss = dpo_loss(changed, safe_share(velocity.float() - target))
        return {"loss": loss, "preferred": preferred.mean(), "rejected": rejected.mean()}

    # --- A checkpoint -------------------------------------------------------------------------------------------------

    def pipeline(self, model: nn.Module) -> Any:
        """The judge's, with the adapter as it is now."""
        learned = {name: matrix.cpu() for name, matrix in changes(model).items()}
        return self.judge.with_adapters([(learned, 1.0)], of_style=False)

    def compared(self, model: nn.Module, prompts: Sequence[str]) -> "Comparison":
        """Drawings of prompts with the adapter and without it, of seeds that no candidate has."""
        return compared(self.judge, self.pipeline(model), self.reward, prompts, len(self.pictures))

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The mean reward and heads, and the share that is read rightly, with the adapter and without it."""
        self.latest = self.compared(model, self.shown)  # the sheet shows it, too
        return self.latest.figures

    def sheet(self, model: nn.Module) -> Image.Image:
        """In turn a row without the adapter and one with it."""
        both, columns = np.stack([self.latest.pixels_before, self.latest.pixels]), min(COLUMNS, len(self.shown))
        whole = len(self.shown) - len(self.shown) % columns
        rows = [both[:, i : i + columns].reshape(-1, *both.shape[2:]) for i in range(0, whole, columns)]
        return grid(to_tensor(np.concatenate(rows)), columns=columns)


@dataclass(frozen=True)
class Comparison:
    """Pictures (N, 128, 128, 4) without an adapter and with it, their heads, each (N,), and whether the detector reads
    each of the K that show a thing that it knows as what its prompt says, (K,). It has no part in the reward."""

    pixels_before: np.ndarray
    pixels: np.ndarray
    heads_before: dict[str, np.ndarray]
    heads: dict[str, np.ndarray]
    right_before: np.ndarray
    right: np.ndarray

    @property
    def read_before(self) -> float:
        """The share that is read rightly without the adapter; 1 where nothing is read."""
        return float(self.right_before.mean()) if len(self.right_before) else 1.0

    @property
    def read(self) -> float:
        """The same with it."""
        return float(self.right.mean()) if len(self.right) else 1.0

    @property
    def figures(self) -> dict[str, float]:
        """Means of the heads, and the shares."""
        before = {f"{name}_before": float(values.mean()) for name, values in self.heads_before.items()}
        after = {name: float(values.mean()) for name, values in self.heads.items()}
        return {**before, **after, "read_before": self.read_before, "read": self.read}

    @property
    def is_hacked(self) -> bool:
        """Whether the reward rose while fewer drawings show what their prompts say (arXiv 2210.10760): the reward is
        then no measure of what is liked any more."""
        return self.gain > 0 and self.loses_things

    @property
    def gain(self) -> float:
        """By how much the mean reward rose."""
        return float(self.heads["reward"].mean() - self.heads_before["reward"].mean())

    @property
    def loses_things(self) -> bool:
        """Whether fewer drawings show what their prompts say."""
        return self.read < self.read_before - FALL


def compared(
    base: StickerPipeline, changed: StickerPipeline, reward: Reward, prompts: Sequence[str], seed: int
) -> Comparison:
    """Drawings of N prompts without an adapter and with it, of seeds `seed` to `seed` + N - 1."""
    seeds = range(seed, seed + len(prompts))
    before, after = (drawings(pipeline, prompts, seeds) for pipeline in (base, changed))
    heads_before, heads = (scores(base, reward, pixels, prompts) for pixels in (before, after))
    right_before, right = (read_rightly(base, pixels, prompts) for pixels in (before, after))
    return Comparison(before, after, heads_before, heads, right_before, right)


def read_rightly(pipeline: StickerPipeline, pixels: np.ndarray, prompts: Sequence[str]) -> np.ndarray:
    """Bools (K,): of the pictures (N, 128, 128, 4) whose prompts say a thing that the detector knows, whether it reads
    each as that."""
    reader, right = pipeline.reader, list[bool]()
    for picture, prompt in zip(pixels, prompts, strict=True):
        target = pipeline.parse(prompt).target
        if reader is not None and target is not None:
            right.append(reader.read(picture, target.concept).is_right)
    return np.array(right, bool)


def preference_trainer(
    drawn: Candidates,
    judge: StickerPipeline,
    reward: Reward,
    out: Path,
    minutes: float,
    every: float,
    report: Callable[..., None],
    root: Path | None = None,
) -> StyleTrainer:
    """As `models.train.style.style_trainer`, from candidates that `judge` drew."""
    numbers = range(len(drawn.pixels))
    world = examples_world([Example(f"{row}", drawn.pixels[row], drawn.prompts[row]) for row in numbers])
    recipe = RECIPES["preference"]
    recipe = dataclasses.replace(recipe, task=partial(PreferenceTask, drawn=drawn, judge=judge, reward=reward))
    options = TaskOptions(PRESET, recipe.seed, world, recipe.batch_size, root)
    trainer = StyleTrainer(recipe, options, out, Length(minutes=minutes), every)
    trainer.report = report
    return trainer
