"""The measure `preference`: what the reward learns from the ratings of a simulated rater, and whether it helps.

**The rater is simulated**: a formula, no person. He likes a picture that is rounder, warmer and simpler than others:
the sum of three numbers, each standardised over the training pictures.

| number | formula |
|---|---|
| roundness | the share of the opaque area that lies in the disc of equal area around its centre of gravity |
| warmth | the share of the opaque pixels of a saturation above 0.25 and a hue within 60 degrees of orange (30) |
| simplicity | minus the bytes, by zlib, of every second pixel with 16 levels a channel |

He chooses the picture that he likes more, and in a tenth of the pairs, drawn at random, the other one. None of the
formulas is a feature of the reward (`models/reward.py`), but those are statistics of the same kinds: a person's taste
may lie further from them.

The adapter is trained as `studio learn preferences` trains it, by the reward of the first seed, and stays in the cache.
A second rater likes a picture the more, the emptier it is: by PUSHED times what is learned from him the alarm has to
ring, and by as much of the first rater's it must not.
"""

import hashlib
import time
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eval.context import Context
from eval.generator import StickerGenerator
from eval.rows import SEED, MissingError, Row, missing_where, share_row
from models.assets import assets
from models.lora import load_adapter
from models.messages import Refused
from models.pipelines.sticker import StickerPipeline
from models.reward import Comparisons, Reward, features, learn
from models.train import preference

EACH, TEST_PROMPTS, RATINGS, NOISE = 8, 100, 200, 0.1
SEEDS = range(5)  # of raters, pairs and training
GOAL, ADAPTER_GOAL, LONGEST = 0.75, 0.7, 15.0
LEARNED, MINUTES = 100, 8.0  # prompts whose candidates are drawn, and training
PUSHED = 8.0  # weight of an adapter at which what it does wrong is seen: with references once hardly shows (LOG.md)


def prompts() -> tuple[list[str], list[str]]:
    """Prompts for training and for the test: the nouns of `assets/bench/nouns.tsv` in the order of their sha256."""
    lines = (assets() / "bench" / "nouns.tsv").read_text(encoding="utf-8").splitlines()
    nouns = {line.split("\t")[0] for line in lines if line and not line.startswith("#")}
    ordered = sorted(nouns, key=lambda noun: hashlib.sha256(noun.encode()).hexdigest())
    return ordered[TEST_PROMPTS:], ordered[:TEST_PROMPTS]


def likes(pixels: np.ndarray) -> np.ndarray:
    """(N, 3) roundness, warmth and simplicity of premultiplied uint8 (N, H, W, 4)."""
    return np.array([[_roundness(picture[..., 3]), _warmth(picture), _simplicity(picture)] for picture in pixels])


def _roundness(alpha: np.ndarray) -> float:
    opaque = alpha > 127
    if not opaque.any():
        return 0.0
    rows, columns = np.nonzero(opaque)
    apart = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    return float((apart <= opaque.sum() / np.pi).mean())


def _warmth(picture: np.ndarray) -> float:
    opaque = picture[..., 3] > 127
    hue, saturation, _ = np.moveaxis(np.asarray(Image.fromarray(picture[..., :3]).convert("HSV")), -1, 0)
    degrees = hue[opaque].astype(float) * 360 / 256
    warm = (np.abs((degrees - 30 + 180) % 360 - 180) <= 60) & (saturation[opaque] > 64)
    return float(warm.mean()) if opaque.any() else 0.0


def _simplicity(picture: np.ndarray) -> float:
    return -float(len(zlib.compress((picture[::2, ::2] & 0xF0).tobytes())))


class SimulatedRater:
    """The formula above. `scale` are mean and spread (2, 3) of the training pictures' numbers."""

    def __init__(self, pixels: np.ndarray) -> None:
        numbers = likes(pixels)
        self.scale = numbers.mean(0), np.maximum(numbers.std(0), 1e-9)

    def utility(self, pixels: np.ndarray) -> np.ndarray:
        """(N,) how much he likes pictures."""
        return np.asarray(((likes(pixels) - self.scale[0]) / self.scale[1]).sum(1))


def random_pairs(pictures: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 2) rows of pictures, EACH a prompt: two different ones of one prompt."""
    prompt = rng.permutation(np.arange(count) % (pictures // EACH))
    first = rng.integers(0, EACH, count)
    second = (first + rng.integers(1, EACH, count)) % EACH
    return np.stack([prompt * EACH + first, prompt * EACH + second], 1)


def choices(utility: np.ndarray, pairs: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """(P,) 1.0 where he chooses the first of a pair."""
    better = utility[pairs[:, 0]] > utility[pairs[:, 1]]
    return (better ^ (rng.random(len(pairs)) < noise)).astype(float)


@missing_where(Refused)
def preference_rows(context: Context) -> Iterator[Row]:
    """Accuracy of the learned reward on other prompts, and how often the best of 8 beats the first."""
    train, test = (Pictures(context, names) for names in prompts())
    yield from measured(train, test, context.origin(fast=True))


@missing_where(Refused)
def adapter_rows(context: Context) -> Iterator[Row]:
    """Whether the rater prefers what is drawn with the adapter that learned from him, and whether the alarm rings."""
    if context.cache is None:
        raise MissingError("an adapter is trained in a cache")
    train, rng = Pictures(context, prompts()[0]), np.random.default_rng(0)
    rater = SimulatedRater(train.pixels)
    pairs = random_pairs(len(train.pixels), RATINGS, rng)
    reward = _learned(train, pairs, choices(rater.utility(train.pixels), pairs, NOISE, rng), 0)
    adapter = Adapter(context, reward, context.cache / "preferences")
    yield from adapter.rows(rater)
    emptier = _learned(train, pairs, choices(emptiness(train.pixels), pairs, 0.0, rng), 0)
    planted = Adapter(context, emptier, context.cache / "preferences").compared(PUSHED)
    pushed = adapter.compared(PUSHED)
    read = tuple(
        (f"read rightly {what}", share)
        for what, share in (
            ("with it", planted.read),
            ("with the first rater's", pushed.read),
            ("base", pushed.read_before),
        )
    )
    about = f"by {PUSHED:g} times what was learned from emptiness, and the reward rises by {planted.gain:.2f}"
    yield share_row("the alarm rings", np.array([planted.is_hacked]), goal=1.0, against=read, note=about)
    yield share_row(
        "by as much of the first rater's it rings", np.array([pushed.is_hacked]), goal=0.0, lower_is_better=True
    )


def _unreported(**status: Any) -> None:
    """Progress that nobody watches."""


def emptiness(pixels: np.ndarray) -> np.ndarray:
    """(N,) the transparent share of premultiplied uint8 (N, H, W, 4)."""
    return 1 - pixels[..., 3].astype(float).mean((1, 2)) / 255


class Adapter:
    """What is learned from a reward, and drawings of the test's prompts by the fast variant with it and without it."""

    def __init__(self, context: Context, reward: Reward, cache: Path) -> None:
        self.context, self.reward = context, reward
        names, self.test = prompts()
        self.names = names[:LEARNED]
        parts = context.parts.digests(StickerGenerator.parts)
        key = hashlib.sha256(f"{reward.weights.tobytes()!r} {self.names} {MINUTES} {parts}".encode()).hexdigest()[:16]
        self.folder = cache / key
        self.pipeline = StickerPipeline.assemble(context.parts.root)

    @cached_property
    def minutes(self) -> float:
        """How long it took, candidates and encoding included; trained where that is not known."""
        took = self.folder / "minutes"
        if not took.is_file():
            started = time.monotonic()
            track = self.context.track(range(len(self.names)), "candidates")
            pixels = np.concatenate([preference.draw(self.pipeline, self.names[number], number) for number in track])
            drawn = preference.judged(self.pipeline, self.reward, self.names, pixels)
            trained = preference.preference_trainer(
                drawn, self.pipeline, self.reward, self.folder, MINUTES, MINUTES, _unreported, self.context.parts.root
            )
            trained.run()
            took.write_text(f"{(time.monotonic() - started) / 60:.2f}\n", encoding="utf-8")
        return float(took.read_text(encoding="utf-8"))

    def compared(self, weight: float = 1.0) -> preference.Comparison:
        """With the adapter at a weight."""
        self.minutes  # noqa: B018 - trains it
        changed = self.pipeline.with_adapters([(load_adapter(self.folder / "export"), weight)], of_style=False)
        return preference.compared(self.pipeline, changed, self.reward, self.test, SEED)

    def rows(self, rater: SimulatedRater) -> Iterator[Row]:
        """Whether the rater prefers its drawings, and whether they still show what was said."""
        origin: Any = {"seeds": f"noise {SEED}, {SEED + 1}, ...", "parts": StickerGenerator.parts}
        shown = self.compared()
        before, after = rater.utility(shown.pixels_before), rater.utility(shown.pixels)
        wins = (after > before) + 0.5 * (after == before)
        about = "simulated rater without noise, ties halved"
        yield share_row("preferred to the base's picture", wins, goal=ADAPTER_GOAL, note=about, **origin)
        base = (("base", shown.read_before),)
        yield share_row("read rightly by the detector", shown.right, against=base, **origin)
        yield share_row("no alarm", np.array([not shown.is_hacked]), goal=1.0)
        yield Row("minutes to learn it", self.minutes, 1, unit="min", goal=LONGEST, lower_is_better=True)


class Pictures:
    """EACH pictures of each prompt: `pixels`, `features`, and `accuracy`, the cosine to the prompt's vector."""

    def __init__(self, context: Context, names: list[str]) -> None:
        every = [name for name in names for _ in range(EACH)]
        self.pixels = context.generate(every, fast=True)
        embedder = context.parts.embedder
        vectors = embedder.image(self.pixels).numpy()
        words = np.repeat(embedder.text(names).numpy(), EACH, 0)
        self.features, self.accuracy = features(self.pixels, vectors), (vectors * words).sum(1)


def measured(train: Any, test: Any, origin: dict[str, Any]) -> Iterator[Row]:
    rater = SimulatedRater(train.pixels)
    liked, wanted = rater.utility(train.pixels), rater.utility(test.pixels)
    firsts = np.arange(0, len(wanted), EACH)
    right, shuffled, again, wins = list[np.ndarray](), list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        pairs = random_pairs(len(liked), RATINGS, rng)
        outcome = choices(liked, pairs, NOISE, rng)
        held = random_pairs(len(wanted), RATINGS, rng)
        truth = choices(wanted, held, NOISE, rng)
        reward = _learned(train, pairs, outcome, seed)
        scores = _rewards(reward, test)
        floor = _rewards(_learned(train, pairs, rng.permutation(outcome), seed), test)
        right.append((scores[held[:, 0]] > scores[held[:, 1]]) == truth)
        shuffled.append((floor[held[:, 0]] > floor[held[:, 1]]) == truth)
        again.append((wanted[held[:, 0]] > wanted[held[:, 1]]) == truth)
        wins.append(_beats(wanted, firsts, firsts + scores.reshape(-1, EACH).argmax(1)))
    per_seed = ", ".join(f"{part.mean():.3f}" for part in right)
    beside = (("shuffled labels", float(np.mean(shuffled))), ("the rater without noise", float(np.mean(again))))
    about = f"simulated rater; {len(SEEDS)} seeds: {per_seed}; {RATINGS} ratings each"
    yield share_row(
        "the reward is right of a pair", np.concatenate(right), against=beside, goal=GOAL, note=about, **origin
    )
    best = _beats(wanted, firsts, firsts + wanted.reshape(-1, EACH).argmax(1))
    cosine = _beats(wanted, firsts, firsts + test.accuracy.reshape(-1, EACH).argmax(1))
    beside = (("by the cosine", float(cosine.mean())), ("by the rater himself", float(best.mean())))
    per_seed = ", ".join(f"{part.mean():.3f}" for part in wins)
    about = f"simulated rater without noise, ties halved; seeds: {per_seed}; the interval is of the first"
    yield share_row(
        "the best of 8 by the reward beats the first picture", wins[0], against=beside, note=about, **origin
    )


def _learned(train: Any, pairs: np.ndarray, outcome: np.ndarray, seed: int) -> Reward:
    first, second = pairs.T
    given = Comparisons(train.features, train.accuracy, first, second, outcome, np.ones(len(first)), first // EACH)
    return learn(given, seed=seed)


def _rewards(reward: Reward, test: Any) -> np.ndarray:
    return reward.heads(test.features, test.accuracy)["reward"]


def _beats(utility: np.ndarray, base: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """(N,) 1 where the chosen picture is liked more than the base, 0.5 where they are equal."""
    return (utility[chosen] > utility[base]) + 0.5 * (utility[chosen] == utility[base])
