"""The reward: an ensemble of linear heads over frozen features, learned from ratings of pairs. Imports no torch.

| head | what it is | what ratings change |
|---|---|---|
| accuracy | cosine of the picture's and the prompt's vector (128 numbers each) | its weight, which stays positive |
| creativity | 1 - the largest cosine to the pictures that were rated | its weight, which stays positive |
| taste | a linear function of the picture's vector and of statistics of its pixels | all of it |
| safety | 0, or -SAFETY for a picture read as an insult that the prompt does not name | nothing: it is no parameter |

Their weighted sum u is the reward. The model is that of Bradley and Terry (1952): P(first is better) =
1 / (1 + exp(u_second - u_first)); a tie counts as half a choice of each. Both pictures of a pair have one prompt, so a
linear head on the prompt's vector would cancel out: it enters by the cosine alone. Each member learns from another
draw, with replacement, of the prompts; its strength of regularisation is chosen by cross-validation over prompts.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from models.data.stored import whole
from models.lexicon import CONCEPTS
from models.messages import Refused
from models.weights import file_sha256

MEMBERS, FOLDS, NEWTON_STEPS = 5, 5, 12
RIDGES = (3.0, 10.0, 30.0, 100.0, 300.0)  # strengths of regularisation
VECTOR_RIDGE = 100.0  # times as strong of the vector, whose numbers generalise less
SAFETY = 100.0  # more than any picture gains by the other heads
LEAST = 20  # choices from which something can be learned
SIDE_WEIGHTS = 2  # of accuracy and creativity, after those of the taste
STATISTICS = 43  # numbers of `_statistics`
NAMES = "reward.safetensors", "reward.json"


# --- Features ---------------------------------------------------------------------------------------------------------


def features(pixels: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Features (N, D) float64 of pictures: premultiplied uint8 (N, H, W, 4), and their unit vectors (N, V)."""
    statistics = np.stack([_statistics(picture) for picture in pixels])
    return np.concatenate([vectors.astype(float), statistics], 1)


def _statistics(picture: np.ndarray) -> np.ndarray:
    """(STATISTICS,) of one picture, uint8 (H, W, 4)."""
    values = picture.astype(float) / 255
    return np.concatenate([_colours(values), _edges(values), _codes(picture), _shape(values[..., 3])])


def _colours(values: np.ndarray) -> np.ndarray:
    """Mean and spread of each channel, a histogram of light, saturation, a histogram of hues: of what is opaque."""
    alpha = values[..., 3]
    area = max(alpha.sum(), 1.0)
    colour, share = values[..., :3] / np.maximum(alpha, 1e-3)[..., None], alpha / area
    mean = (colour * share[..., None]).sum((0, 1))
    spread = np.sqrt(((colour - mean) ** 2 * share[..., None]).sum((0, 1)))
    light = np.histogram(colour @ (0.299, 0.587, 0.114), 6, (0, 1.001), weights=share)[0]
    most = colour.max(-1)
    saturation = (most - colour.min(-1)) / np.maximum(most, 1e-3)
    red, green, blue = np.moveaxis(colour, -1, 0)
    hue = np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)
    hues = np.histogram(hue, 8, (-np.pi, np.pi), weights=share * (saturation > 0.2))[0]
    return np.array([*mean, *spread, *light, (saturation * share).sum(), *hues])


def _edges(values: np.ndarray) -> np.ndarray:
    """Mean slope and share of edges at three scales, on white."""
    white, result = values[..., :3] + 1 - values[..., 3:], list[float]()
    for scale in (1, 2, 4):
        size = len(white) // scale
        small = white[: size * scale, : size * scale].reshape(size, scale, size, scale, 3).mean((1, 3))
        slopes = [np.abs(np.diff(small, axis=axis)).mean(-1) for axis in (0, 1)]
        slope, edges = (
            sum(float(part.mean()) for part in parts) for parts in (slopes, [part > 0.08 for part in slopes])
        )
        result += [np.log(1e-3 + slope), np.log(1e-2 + edges)]
    return np.array(result)


def _codes(picture: np.ndarray) -> np.ndarray:
    """With few levels a channel, at two scales: how many neighbours differ, and the entropy of the colours."""
    result = list[float]()
    for scale, bits in ((1, 5), (1, 4), (2, 4)):
        levels = (picture[::scale, ::scale] >> bits).astype(int)
        result += [np.log(1e-2 + (np.diff(levels, axis=axis) != 0).any(-1).mean()) for axis in (0, 1)]
        counts = np.unique(levels @ (4096, 256, 16, 1), return_counts=True)[1]
        result.append(float(-(counts / counts.sum() * np.log(counts / counts.sum())).sum()))
    return np.array(result)


def _shape(alpha: np.ndarray) -> np.ndarray:
    """Of the opaque part: how long it is, its outline, how much it fills its box, moment of inertia, two radial
    shares, and size."""
    area = max(alpha.sum(), 1.0)
    rows, columns = np.mgrid[: alpha.shape[0], : alpha.shape[1]]
    y, x = (axis - (axis * alpha).sum() / area for axis in (rows, columns))
    moments = np.array([[(a * b * alpha).sum() / area for a in (x, y)] for b in (x, y)])
    narrow, wide = np.sqrt(np.maximum(np.linalg.eigvalsh(moments), 1e-6))
    outline = sum(float(np.abs(np.diff(alpha, axis=axis)).sum()) for axis in (0, 1))
    box = max(1, int(np.prod([(alpha.max(axis) > 0.5).sum() for axis in (0, 1)])))
    radius = np.sqrt((x**2 + y**2) * np.pi / area)
    within = [(alpha * (radius <= most)).sum() / area for most in (0.75, 1.25)]
    inertia = 2 * np.pi * (narrow**2 + wide**2) / area
    return np.array([narrow / wide, np.log(1 + outline / np.sqrt(area)), area / box, inertia, *within, area**0.5 / 128])


# --- Learning ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparisons:
    """P rated pairs as rows of a table of N pictures.

    Attributes:
        features: (N, D) of `features`.
        accuracy: (N,) cosines of pictures and prompts.
        first, second: (P,) rows of the pictures.
        outcome: (P,) 1 where the first is better, 0 where the second is, 0.5 where neither.
        weight: (P,) how much each counts.
        prompts: (P,) the prompt of each.
    """

    features: np.ndarray
    accuracy: np.ndarray
    first: np.ndarray
    second: np.ndarray
    outcome: np.ndarray
    weight: np.ndarray
    prompts: np.ndarray


@dataclass(frozen=True)
class Reward:
    """A learned reward.

    Attributes:
        weights: (MEMBERS, D + 2) of the standardised features, then of accuracy and creativity.
        mean, spread: (D + 2,) by which they are standardised; the spread is that of a pair's difference.
        known: (K, V) vectors of the pictures that were rated.
        about: what it was learned from: `ratings`, `accuracy` (of cross-validation), `space`, `data` (sha256).
    """

    weights: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    known: np.ndarray
    about: dict[str, Any] = field(default_factory=dict)

    def heads(
        self, features: np.ndarray, accuracy: np.ndarray, rude: np.ndarray | bool = False
    ) -> dict[str, np.ndarray]:
        """Of N pictures: the heads, `reward` and `disagreement`, each (N,).

        Args:
            features: (N, D).
            accuracy: (N,) cosines of pictures and prompts.
            rude: (N,) whether each is read as an insult that its prompt does not name.
        """
        rows = (_with_sides(features, accuracy, self.known) - self.mean) / self.spread
        members = rows @ self.weights.T  # (N, MEMBERS)
        mean, safety = self.weights.mean(0), -SAFETY * np.broadcast_to(rude, accuracy.shape)
        parts = {"taste": rows[:, :-SIDE_WEIGHTS] @ mean[:-SIDE_WEIGHTS]}
        parts |= {"accuracy": rows[:, -2] * mean[-2], "creativity": rows[:, -1] * mean[-1], "safety": safety}
        return {**parts, "reward": sum(parts.values(), np.zeros(len(rows))), "disagreement": members.std(1)}

    def of(self, pixels: np.ndarray, vector: np.ndarray, accuracy: float, rude: bool = False) -> dict[str, float]:
        """Heads, `reward` and `disagreement` of one picture: premultiplied uint8 (H, W, 4), its unit vector (V,), the
        cosine to its prompt, and whether it is read as an insult that the prompt does not name.
        """
        values = self.heads(features(pixels[None], vector[None]), np.array([accuracy]), rude)
        return {name: float(value[0]) for name, value in values.items()}

    def disagreement(self, features: np.ndarray, accuracy: np.ndarray, first: Any, second: Any) -> np.ndarray:
        """(P,) standard deviation over the members of the difference between the pictures of rows `first`, `second`."""
        rows = (_with_sides(features, accuracy, self.known) - self.mean) / self.spread
        return np.asarray(((rows[first] - rows[second]) @ self.weights.T).std(1))

    def tensors(self) -> dict[str, np.ndarray]:
        named = {"weights": self.weights, "mean": self.mean, "spread": self.spread, "known": self.known}
        return {name: np.ascontiguousarray(value, np.float32) for name, value in named.items()}

    def save(self, folder: Path) -> str:
        """Write it below `folder`, in a folder named by its digest (64 hex digits), which is returned."""
        content = json.dumps(self.about, sort_keys=True).encode()
        for name, value in self.tensors().items():
            content += f"{name} {value.shape} ".encode() + value.tobytes()
        digest = hashlib.sha256(content).hexdigest()
        tensors, listed = (folder / digest / name for name in NAMES)
        with whole(tensors) as part:
            save_file(self.tensors(), part)
        text = json.dumps({**self.about, "sha256": file_sha256(tensors)}, indent=1)
        with whole(listed) as part:
            part.write_text(text + "\n", encoding="utf-8")
        return digest

    @classmethod
    def load(cls, folder: Path, digest: str) -> "Reward":
        """What `save` wrote. Refused where it is missing or altered."""
        tensors, listed = (folder / digest / name for name in NAMES)
        try:
            if not re.fullmatch("[0-9a-f]{64}", digest):
                raise ValueError("no digest")
            about = json.loads(listed.read_text(encoding="utf-8"))
            if about.pop("sha256") != file_sha256(tensors):
                raise ValueError("sha256")
            return cls(**{name: value.astype(float) for name, value in load_file(tensors).items()}, about=about)
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise Refused("ratings.no_reward", path=str(folder / digest)) from error


def learn(pairs: Comparisons, about: dict[str, Any] | None = None, seed: int = 0) -> Reward:
    """A reward from rated pairs. Refused where fewer than LEAST of them prefer a picture."""
    if (choices := int((pairs.outcome != 0.5).sum())) < LEAST:
        raise Refused("ratings.too_few", count=choices, least=LEAST)
    used = np.unique([pairs.first, pairs.second])
    known = pairs.features[used, :-STATISTICS]
    table = _with_sides(pairs.features, pairs.accuracy, known)
    mean, differences = table[used].mean(0), table[pairs.first] - table[pairs.second]
    spread = np.maximum(np.sqrt((differences**2).mean(0)), 1e-6)  # within a prompt: between prompts it is larger
    differences /= spread
    groups, folds = np.unique(pairs.prompts, return_inverse=True)[1], np.random.default_rng(seed)
    fold_of = folds.permutation(groups.max() + 1) % FOLDS
    scores = [_validated(differences, pairs, fold_of[groups], ridge) for ridge in RIDGES]
    ridge = RIDGES[int(np.argmin([loss for loss, _ in scores]))]
    members = [_fitted(differences, pairs, pairs.weight * _drawn(groups, folds), ridge) for _ in range(MEMBERS)]
    accuracy = scores[RIDGES.index(ridge)][1]
    facts = {"pairs": len(pairs.outcome), "ridge": ridge, "accuracy": round(accuracy, 4), **(about or {})}
    return Reward(np.stack(members), mean, spread, known, facts)


def _drawn(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(P,) how often the prompt of each pair is in a draw of as many prompts, with replacement."""
    count = groups.max() + 1
    return np.bincount(rng.integers(0, count, count), minlength=count)[groups].astype(float)


def _validated(differences: np.ndarray, pairs: Comparisons, fold_of: np.ndarray, ridge: float) -> tuple[float, float]:
    """Log loss and accuracy on pairs of prompts that were left out; 0.5 where there is no other prompt."""
    logits = np.zeros(len(pairs.outcome))
    for fold in range(FOLDS):
        out = fold_of == fold
        logits[out] = differences[out] @ _fitted(differences, pairs, pairs.weight * ~out, ridge)
    losses = np.logaddexp(0, logits) - pairs.outcome * logits
    chosen = pairs.outcome != 0.5
    right = np.where(logits == 0, 0.5, (logits > 0) == (pairs.outcome > 0.5))
    return float(np.average(losses, weights=pairs.weight)), float(
        np.average(right[chosen], weights=pairs.weight[chosen])
    )


def _fitted(differences: np.ndarray, pairs: Comparisons, weight: np.ndarray, ridge: float) -> np.ndarray:
    """(D + 2,) the weights of greatest posterior probability, by Newton's method. A picture of other words is never
    better for it: weights of accuracy and creativity below 0 become 0."""
    count = differences.shape[1]
    penalty = np.full(count, ridge * VECTOR_RIDGE)
    penalty[-SIDE_WEIGHTS - STATISTICS :] = ridge
    weights = np.zeros(count)
    for _ in range(NEWTON_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(differences @ weights, -30, 30)))
        slope = differences.T @ (weight * (chance - pairs.outcome)) + penalty * weights
        curve = (differences * (weight * chance * (1 - chance))[:, None]).T @ differences + np.diag(penalty)
        weights = weights - np.linalg.solve(curve, slope)
    weights[-SIDE_WEIGHTS:] = np.maximum(weights[-SIDE_WEIGHTS:], 0)
    return weights


def _with_sides(features: np.ndarray, accuracy: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(N, D + 2): features, accuracy, and creativity: 1 - the largest cosine to other `known` pictures (K, V)."""
    cosines = features[:, :-STATISTICS] @ known.T
    others = np.where(cosines > 1 - 1e-4, -1.0, cosines).max(1)  # a picture is not compared with itself
    return np.concatenate([features, accuracy[:, None], 1 - others[:, None]], 1)


def names_insult(prompt: str) -> bool:
    """Whether a prompt itself asks for a concept that insults; then such a picture is what it should be."""
    listed: dict[str, Sequence[str]] = CONCEPTS["insults"]
    return any(words in prompt.lower() for every in listed.values() for words in every)
