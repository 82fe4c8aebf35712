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
"""

import hashlib
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from eval.context import Context
from eval.rows import Row, missing_where, share_row
from models.assets import assets
from models.messages import Refused
from models.reward import Comparisons, Reward, features, learn

EACH, TEST_PROMPTS, RATINGS, NOISE = 8, 100, 200, 0.1
SEEDS = range(5)  # of raters, pairs and training
GOAL = 0.75


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
