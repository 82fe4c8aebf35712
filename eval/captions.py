"""Captions as the table sees them: the studio's own generator, and how near texts are to references.

BLEU and ROUGE are torchmetrics'. CIDEr-D is here, as no kept library has it without Java: of each picture's captions
n-grams of one to four words weighed by how rare they are among all references, clipped, with a penalty for another
length (R. Vedantam et al., arXiv 1411.5726). Words are lower-case, punctuation is left out.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torchmetrics.functional.text import bleu_score, rouge_score

from eval.generator import SPACE, Media, Parts, drawing_code, jsonable
from models.captioner import Kind
from models.data.grammar import Language
from models.pipelines.caption import Caption, Decoding

CAPTIONER = ("captioner", "detector")
_WORD = re.compile(r"[a-z0-9]+|[\u3400-\u9fff]")
GRAMS, SIGMA = 4, 6.0


@dataclass(frozen=True)
class CaptionPrompt:
    """A picture to be described, premultiplied uint8 (128, 128, 4)."""

    picture: np.ndarray
    language: Language = "en"
    kind: Kind = "short"


class StickerCaptionGenerator:
    """The studio's captioner, as a `Generator`."""

    name = "sticker captions"
    media: Media = "caption"
    abilities = frozenset({"embeddings", "blind"})
    parts = (*SPACE, *CAPTIONER)

    def __init__(self, weights: Parts) -> None:
        self.weights = weights

    def settings(self, **options: Any) -> str:
        decoding = Decoding(**options)
        return f"{decoding.way}, {decoding.candidates} candidates"

    def digest(self) -> str:
        """Of weights and code."""
        key = [self.weights.digests(self.parts), drawing_code()]
        return hashlib.sha256(json.dumps(key, sort_keys=True, default=jsonable).encode()).hexdigest()

    def generate(self, prompts: Sequence[CaptionPrompt], seeds: Sequence[int], **options: Any) -> np.ndarray:
        """(N,) texts; options are fields of `Decoding`, of which `guidance=0` is the blind decoder."""
        return np.array([found.text for found in self.describe(prompts, seeds, **options)])

    def describe(self, prompts: Sequence[CaptionPrompt], seeds: Sequence[int], **options: Any) -> list[Caption]:
        """With scores and other candidates. Prompts are of one language and kind."""
        pixels = np.stack([prompt.picture for prompt in prompts])
        first = prompts[0]
        return self.weights.captions.caption(pixels, first.language, first.kind, Decoding(**options), list(seeds))


def words(text: str) -> list[str]:
    """What is counted; of Chinese, characters."""
    return _WORD.findall(text.lower())


def cider_d(texts: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """(N,) of N texts with references each; about 1 where a text is as near to them as they are to each other, 10 at
    most."""
    counted = [[_grams(text) for text in own] for own in references]
    seen = Counter(gram for own in counted for gram in set().union(*own))
    rarity = {gram: math.log(len(texts)) - math.log(count) for gram, count in seen.items()}
    usual = math.log(len(texts))

    def weighed(grams: Counter[tuple[str, ...]]) -> list[dict[tuple[str, ...], float]]:
        found: list[dict[tuple[str, ...], float]] = [{} for _ in range(GRAMS)]
        for gram, count in grams.items():
            found[len(gram) - 1][gram] = count * rarity.get(gram, usual)
        return found

    def length(grams: Counter[tuple[str, ...]]) -> int:
        return sum(count for gram, count in grams.items() if len(gram) == 2)

    scores = []
    for text, own in zip(texts, counted, strict=True):
        grams = _grams(text)
        near = []
        for reference in own:
            penalty = math.exp(-((length(grams) - length(reference)) ** 2) / (2 * SIGMA**2))
            pairs = zip(weighed(grams), weighed(reference), strict=True)
            near.append(penalty * np.mean([_clipped_cosine(a, b) for a, b in pairs]))
        scores.append(10 * np.mean(near))
    return np.array(scores)


def _grams(text: str) -> Counter[tuple[str, ...]]:
    own = words(text)
    return Counter(tuple(own[i : i + n]) for n in range(1, GRAMS + 1) for i in range(len(own) - n + 1))


def _clipped_cosine(a: dict[tuple[str, ...], float], b: dict[tuple[str, ...], float]) -> float:
    norm = math.sqrt(sum(v * v for v in a.values())) * math.sqrt(sum(v * v for v in b.values()))
    return sum(min(value, b[gram]) * b[gram] for gram, value in a.items() if gram in b) / norm if norm else 0.0


def bleu4(texts: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Of all texts together."""
    return float(bleu_score(_plain(texts), [_plain(own) for own in references], n_gram=4))


def rouge_l(texts: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """(N,) F1 of the longest common subsequence with the nearest reference."""
    pairs = zip(_plain(texts), references, strict=True)
    found = [rouge_score(text, [_plain(own)], accumulate="best", rouge_keys="rougeL") for text, own in pairs]
    return np.array([float(one["rougeL_fmeasure"]) for one in found])


def _plain(texts: Sequence[str]) -> list[str]:
    return [" ".join(words(text)) for text in texts]
