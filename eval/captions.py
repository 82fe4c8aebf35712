"""How near captions are to references.

BLEU's counts are torchmetrics'. ROUGE-L (COCO's) and CIDEr-D are here, as no kept library has them without Java.
CIDEr-D counts n-grams of one to four words weighed by how rare they are among all references, clipped, with a penalty
for another length (R. Vedantam et al., arXiv 1411.5726). Words are lower-case, punctuation is left out.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from torchmetrics.text import BLEUScore

_WORD = re.compile(r"[a-z0-9]+|[\u3400-\u9fff]")
GRAMS, SIGMA = 4, 6.0
BETA = 1.2  # of COCO's ROUGE-L: recall counts more


def tokens(text: str) -> list[str]:
    """What is counted; of Chinese, characters."""
    return _WORD.findall(text.lower())


def cider_d(texts: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """(N,) of N texts with references each; about 1 where a text is as near to them as they are to each other, 10 at
    most."""
    counted = [[_grams(text) for text in group] for group in references]
    seen = Counter(gram for group in counted for gram in set().union(*group))
    rarity = {gram: math.log(len(texts)) - math.log(count) for gram, count in seen.items()}
    usual = math.log(len(texts))

    def weighed(grams: Counter[tuple[str, ...]]) -> list[dict[tuple[str, ...], float]]:
        weights: list[dict[tuple[str, ...], float]] = [{} for _ in range(GRAMS)]
        for gram, count in grams.items():
            weights[len(gram) - 1][gram] = count * rarity.get(gram, usual)
        return weights

    def length(grams: Counter[tuple[str, ...]]) -> int:
        return sum(count for gram, count in grams.items() if len(gram) == 2)

    scores = []
    for text, group in zip(texts, counted, strict=True):
        grams = _grams(text)
        near = []
        for reference in group:
            penalty = math.exp(-((length(grams) - length(reference)) ** 2) / (2 * SIGMA**2))
            pairs = zip(weighed(grams), weighed(reference), strict=True)
            near.append(penalty * np.mean([_clipped_cosine(a, b) for a, b in pairs]))
        scores.append(10 * np.mean(near))
    return np.array(scores)


def _grams(text: str) -> Counter[tuple[str, ...]]:
    words = tokens(text)
    return Counter(tuple(words[i : i + n]) for n in range(1, GRAMS + 1) for i in range(len(words) - n + 1))


def _clipped_cosine(a: dict[tuple[str, ...], float], b: dict[tuple[str, ...], float]) -> float:
    norm = math.sqrt(sum(v * v for v in a.values())) * math.sqrt(sum(v * v for v in b.values()))
    return sum(min(value, b[gram]) * b[gram] for gram, value in a.items() if gram in b) / norm if norm else 0.0


def bleu_counts(texts: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """(N, 10) of each text: matched n-grams for n from 1 to 4, all of them, words, words of the nearest reference."""
    rows = []
    for text, group in zip(texts, references, strict=True):
        score = BLEUScore(n_gram=4)
        score.update([" ".join(tokens(text))], [[" ".join(tokens(one)) for one in group]])
        rows.append(
            [*score.numerator.tolist(), *score.denominator.tolist(), float(score.preds_len), float(score.target_len)]
        )
    return np.array(rows)


def bleu(counts: np.ndarray) -> np.ndarray:
    """Counts (..., 10) of all texts together -> BLEU-1 to 4 (..., 4). Nothing matched is next to 0, as COCO's is."""
    matched, there, length, wanted = counts[..., :4], counts[..., 4:8], counts[..., 8], counts[..., 9]
    logs = np.log(matched + 1e-15) - np.log(there + 1e-9)
    brief = np.minimum(0, 1 - wanted / np.maximum(length, 1))
    return np.exp(np.cumsum(logs, -1) / np.arange(1, 5) + brief[..., None])


def rouge_l(texts: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """(N,) as COCO's evaluation has it: best precision and best recall over the references, each of its own."""
    scores = []
    for text, group in zip(texts, references, strict=True):
        predicted, wanted = tokens(text), [tokens(one) for one in group]
        shared = [_longest_common(predicted, one) for one in wanted]
        precision = max(shared) / max(1, len(predicted))
        recall = max(one / max(1, len(reference)) for one, reference in zip(shared, wanted, strict=True))
        scores.append((1 + BETA**2) * precision * recall / (recall + BETA**2 * precision) if precision else 0.0)
    return np.array(scores)


def _longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    row = [0] * (len(b) + 1)
    for item in a:
        last = 0
        for k, other in enumerate(b, 1):
            last, row[k] = row[k], last + 1 if item == other else max(row[k], row[k - 1])
    return row[-1]
