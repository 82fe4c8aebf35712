"""Prompt weighting: A1111's marks taken off a prompt, and what they do to the states of its tokens.

`(word:1.3)` weighs 1.3, `(word)` 1.1, `((word))` 1.21, `[word]` 1 / 1.1; `\\(` is a bracket that is meant. A mark that
is never closed is a character like any other (A1111 lets it weigh all that follows), so that `:(` stays a sad face.

The words are read once and without marks, then the state s of a weighted token becomes m + w (s - m), where m is the
mean state of the text's own tokens, <bos> and <eos> among them. A1111 scales s itself and restores the mean of all of
them (AUTOMATIC1111/stable-diffusion-webui, modules/sd_emphasis.py); compel moves s along the line from the empty
prompt's state (damian0815/compel, src/compel/embeddings_provider.py). Scaling from the origin is lost here, for the
generator normalises every state (`DiT._context`); an empty prompt is nothing that the generator was ever shown; and
restoring the mean would move words that nobody marked. So the words move, and only they, away from what the text says
as a whole or back into it.

Imports no torch: the studio checks marks too. Shapes: L tokens, D width.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from models.messages import Refused

if TYPE_CHECKING:
    from torch import Tensor

    from models.space import Embedder

STEP = 1.1
MOST = 10.0
QUOTED = re.compile(r"""\s*(?:"([^"]*)"|“([^“”]*)”|「([^「」]*)」)\s*""")  # a prompt that is read word for word
_MARKS = re.compile(r"\\([\\()\[\]{}|_])|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|[()\[\]]|[^\\()\[\]:]+|.", re.DOTALL)


@dataclass(frozen=True)
class Segment:
    """Words as they are read, and their weight, 0 to MOST."""

    text: str
    weight: float


def segments(prompt: str) -> list[Segment]:
    """The prompt without its marks, in runs of one weight. Refused where a weight is outside 0 to MOST."""
    pieces = [(text, round(weight, 6)) for text, weight in _pieces(prompt) if text]
    for text, weight in pieces:
        if not 0 <= weight <= MOST:
            raise Refused("prompts.weight_range", text=text.strip()[:40], weight=f"{weight:g}", most=f"{MOST:g}")
    runs = groupby(pieces, key=lambda piece: piece[1])
    return [Segment("".join(text for text, _ in run), weight) for weight, run in runs]


def plain(prompt: str) -> str:
    """What is read: the prompt without its marks."""
    return "".join(segment.text for segment in segments(prompt))


def _pieces(prompt: str) -> list[tuple[str, float]]:
    """Texts and weights. An open bracket stands among them as text until its end is found."""
    texts: list[str] = []
    weights: list[float] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}
    for mark in _MARKS.finditer(prompt):
        text, is_mark = mark[1] or mark[0], not mark[1]
        bracket = "(" if mark[2] or text == ")" else "[" if text == "]" else ""
        if is_mark and bracket and opened[bracket]:
            weight = float(mark[2] or (STEP if bracket == "(" else 1 / STEP))
            start = opened[bracket].pop()
            texts[start] = ""
            weights[start:] = [w * weight for w in weights[start:]]
            continue
        if is_mark and text in opened:
            opened[text].append(len(texts))
        texts.append(text)
        weights.append(1.0)
    return list(zip(texts, weights, strict=True))


def weighted_states(embedder: "Embedder", runs: Sequence[Segment]) -> "tuple[Tensor, Tensor, Tensor]":
    """`Embedder.states` of the words of `runs` (1, L, D), (1, L), (1, 128), weighted tokens moved; where nothing is
    weighted they are the embedder's own, bit for bit."""
    text = "".join(run.text for run in runs)
    states, mask, vector = embedder.states([text])
    if all(run.weight == 1 for run in runs):
        return states, mask, vector
    encoded = embedder.tokenizer([text], add_special_tokens=False, return_offsets_mapping=True)
    weights = [1.0, *token_weights(runs, encoded["offset_mapping"][0])][: states.shape[1]]
    return weigh(states, mask, weights + [1.0] * (states.shape[1] - len(weights))), mask, vector


def token_weights(runs: Sequence[Segment], offsets: Sequence[tuple[int, int]]) -> list[float]:
    """The weight of each token: the mean over its characters, spaces left out (a token holds the space before it)."""
    text = "".join(run.text for run in runs)
    each = [run.weight for run in runs for _ in run.text]
    weights = []
    for start, end in offsets:
        heard = [each[i] for i in range(start, end) if not text[i].isspace()]
        weights.append(math.fsum(heard) / len(heard) if heard else 1.0)
    return weights


def weigh(states: "Tensor", mask: "Tensor", weights: Sequence[float]) -> "Tensor":
    """States (1, L, D), those of weight 1 untouched, the others scaled around the mean of the real tokens (`mask`)."""
    real = mask[..., None]
    centre = (states * real).sum(1, keepdim=True) / real.sum(1, keepdim=True)
    scale = states.new_tensor(list(weights))[None, :, None]
    return states.where(scale == 1, centre + scale * (states - centre))
