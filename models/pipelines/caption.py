"""Captions of pictures: several candidates, ranked by the semantic space and by how they agree.

The first candidate is written greedily, others are sampled (top-p, temperature, repetition penalty). The best has the
highest score: the probability that it names what is shown, from its cosine to the picture in the space, its agreement
with the other candidates (cosine and consensus: ECO, arXiv 2405.01028), its likelihood, the likelihood of the names
that it was given, and how sure the detector is of a thing. The weights are fitted on `val`; a picture whose best score
is below the ranking's `threshold` is unknown. Each candidate is given other names of the detector's, as long as they
are likely.

Shapes: B pictures, N candidates, R = B N rows, L tokens, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList
from transformers.generation import RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper, TopPLogitsWarper

from models.captioner import (
    FIRST_TASK,
    TASKS,
    Captioner,
    Entity,
    Kind,
    PictureContext,
    PictureEncoder,
    task_token,
)
from models.data.captions import TEMPLATES
from models.data.grammar import Language
from models.data.pixels import to_tensor
from models.detector import Detector, Thing
from models.space import Embedder
from models.weights import load_part

PART = "captioner"
SHAPES = (1, 16)  # pictures that go through together: bits depend on it
LONGEST = 40  # tokens
TOP_P, TEMPERATURE, REPETITION = 0.9, 0.7, 1.1  # of sampled candidates; the penalty on repetition is of all
FIGURES = ("cosine", "agreement", "likelihood", "names", "presence")
# Of an unfitted captioner: cosine to consensus as ECO weighs them, and nothing is unknown.
RANKING = {"cosine": 8.0, "agreement": 8 / 3.52, "names": 1.0, "bias": -4.0, "threshold": 0.0}
UNLIKELY = 0.02  # of the likeliest names' share: what is less is not tried


Entities = Sequence[Sequence[Entity]]  # of each picture


@dataclass(frozen=True)
class Caption:
    """The best text and its score in [0, 1], whether the picture is known, and the other texts, best first."""

    text: str
    score: float
    known: bool
    others: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Candidates:
    """Different texts for one picture, and the FIGURES of each, (N, 5)."""

    texts: tuple[str, ...]
    figures: np.ndarray


class CaptionPipeline:
    """Pictures -> captions, by the captioner and the frozen parts."""

    def __init__(self, captioner: Captioner, encoder: PictureEncoder) -> None:
        self.captioner, self.encoder = captioner, encoder

    @classmethod
    def assemble(cls, root: Path | None = None, embedder: Embedder | None = None) -> "CaptionPipeline":
        """The parts under `root` (None: the shipped ones), verified; `embedder` where it is loaded already."""
        embedder = embedder or Embedder.load(root)
        captioner: Captioner = load_part(Captioner, PART, root)
        return cls(captioner.attach(embedder.language), PictureEncoder(embedder, Detector.load(root)))

    def caption(
        self,
        pixels: np.ndarray,
        language: Language = "en",
        kind: Kind = "short",
        candidates: int = 1,
        seeds: Sequence[int] | None = None,
        shape: int | None = None,
        entities: Entities | None = None,
        blind: bool = False,
    ) -> list[Caption]:
        """One caption each of premultiplied uint8 (B, 128, 128, 4), the best of `candidates`.

        Args:
            seeds: of the sampled candidates, 0 by default.
            shape: one of SHAPES, None the usual one for so many pictures.
            entities: what each picture shows, in place of the detector's things.
            blind: write without seeing the pictures: a control.
        """
        ranking = (self.captioner.config.ranking or {}).get(ranking_name(candidates), RANKING)
        every = self.figures(pixels, language, kind, candidates, seeds, shape, entities, blind)
        return [_ranked(candidates, ranking) for candidates in every]

    @torch.no_grad()
    def figures(
        self,
        pixels: np.ndarray,
        language: Language,
        kind: Kind,
        candidates: int = 1,
        seeds: Sequence[int] | None = None,
        shape: int | None = None,
        entities: Entities | None = None,
        blind: bool = False,
    ) -> list[Candidates]:
        """Candidates of each picture, not ranked yet; arguments as of `caption`."""
        seeds, size, every = seeds or [0] * len(pixels), shape or SHAPES[len(pixels) > 1], list[Candidates]()
        for start in range(0, len(pixels), size):
            rows = [min(row, len(pixels) - 1) for row in range(start, start + size)]
            batch, task = to_tensor(pixels[rows]), task_token(kind, language)
            given = entities and [entities[row] for row in rows]
            written = self._candidates(batch, task, candidates, [seeds[row] for row in rows], given, blind)
            every += written[: len(pixels) - start]
        return every

    def _candidates(
        self, pixels: Tensor, task: int, count: int, seeds: Sequence[int], entities: Entities | None, blind: bool
    ) -> list[Candidates]:
        encoded = self.encoder.encode(pixels)
        if entities is None:
            ways = [choices(things, count) for things in encoded.things]
            entities = [
                self.encoder.entities(things, ranks)
                for things, chosen in zip(encoded.things, ways, strict=True)
                for ranks, _ in chosen
            ]
            named = torch.tensor([[likelihood for _, likelihood in chosen] for chosen in ways])
        else:
            entities = [listed for listed in entities for _ in range(count)]
            named = torch.zeros(len(pixels), count)
        features = self.encoder.features(encoded.tokens.repeat_interleave(count, 0), entities)
        picture = self.captioner.read(features)
        shown = self.captioner.blind(len(pixels) * count) if blind else picture
        ids = self._write(shown, task, count, seeds)  # (R, L)
        likely = self._likelihood(ids, picture).unflatten(0, (len(pixels), -1))
        decoded = self.encoder.embedder.tokenizer.batch_decode(ids, skip_special_tokens=True)
        texts = [self._unrepeated(text.strip(), task) for text in decoded]
        candidates = list[Candidates]()
        for row, things in enumerate(encoded.things):
            presence = max((thing.objectness for thing in things), default=0.0)
            written = texts[row * count : (row + 1) * count]
            candidates.append(self._measured(written, encoded.vectors[row], likely[row], named[row], presence))
        return candidates

    @staticmethod
    def _unrepeated(text: str, task: int) -> str:
        """Of tags, each once: of two equal things there are two in a picture."""
        kind, language = TASKS[task - FIRST_TASK]
        joint = TEMPLATES[language]["joint"]
        return joint.join(dict.fromkeys(text.split(joint))) if kind == "tags" else text

    def _measured(self, texts: list[str], vector: Tensor, likely: Tensor, named: Tensor, presence: float) -> Candidates:
        """Of one picture: what is written more than once counts once, as the first of it."""
        different = list(dict.fromkeys(texts))
        first = [texts.index(text) for text in different]
        places = self.encoder.embedder.text(different)
        agreement = (places @ places[[different.index(text) for text in texts]].T).mean(1)
        sure = torch.full((len(different),), presence)
        figures = [places @ vector.float(), agreement, likely[first], named[first], sure]
        return Candidates(tuple(different), torch.stack(figures, 1).numpy())

    def _write(self, picture: PictureContext, task: int, count: int, seeds: Sequence[int]) -> Tensor:
        language = self.captioner.language.config
        prompts = torch.tensor([[language.bos_token_id, task]]).repeat(len(seeds) * count, 1)
        processors = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(REPETITION)])
        if count > 1:
            processors += [TemperatureLogitsWarper(TEMPERATURE), TopPLogitsWarper(TOP_P), SeededSampling(seeds, count)]
        with torch.autocast("cpu", enabled=False):
            return self.captioner.generate(
                prompts, picture=picture, do_sample=False, max_new_tokens=LONGEST, logits_processor=processors,
                pad_token_id=language.pad_token_id, eos_token_id=language.eos_token_id,
            )  # fmt: skip

    def _likelihood(self, ids: Tensor, picture: PictureContext) -> Tensor:
        """Mean logarithm of the tokens' probabilities (R,), without the task's token and padding."""
        mask = ids.ne(self.captioner.language.config.pad_token_id or 0)
        logits = self.captioner(ids, attention_mask=mask, picture=picture).logits[:, 1:-1].float()
        logs = logits.log_softmax(-1).gather(2, ids[:, 2:, None])[..., 0] * mask[:, 2:]
        return logs.sum(1) / mask[:, 2:].sum(1).clamp_min(1)


class SeededSampling(LogitsProcessor):
    """Makes the highest logit a sample, by Gumbel noise, in all rows of a picture but the first. Each row has its own
    random stream, so a sample does not depend on the other pictures of the batch."""

    def __init__(self, seeds: Sequence[int], rows: int) -> None:
        self.rows = rows
        self.streams = [np.random.default_rng((seed, row)) for seed in seeds for row in range(rows)]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Logits (R, V) -> logits (R, V)."""
        noise = np.stack([stream.gumbel(size=scores.shape[1]) for stream in self.streams])
        noise[:: self.rows] = 0
        return scores + torch.from_numpy(noise).to(scores)


def choices(things: Sequence[Thing], count: int) -> list[tuple[list[int], float]]:
    """`count` ways to name things, likeliest first: ranks among the concepts of each, and the mean logarithm of their
    shares. Beside the likeliest names, each way has one of its things named otherwise; where the others are unlikely,
    ways are repeated."""
    ways = {(0,) * len(things)} | {
        tuple(rank * (other == number) for other in range(len(things)))
        for number, thing in enumerate(things)
        for rank in range(len(thing.concepts))
    }
    logs = [np.log(np.maximum(thing.shares, 1e-9)) for thing in things]
    scored = {way: float(sum(shares[rank] for shares, rank in zip(logs, way, strict=True))) for way in ways}
    best = max(scored.values())
    likely = sorted((way for way in ways if scored[way] > best + np.log(UNLIKELY)), key=lambda way: -scored[way])
    return [(list(way), scored[way] / max(1, len(way))) for way in (likely * count)[:count]]


def ranking_name(candidates: int) -> str:
    """The captioner's ranking for that many candidates: a single one has no others to agree with."""
    return "single" if candidates == 1 else "several"


def _ranked(candidates: Candidates, ranking: dict[str, float]) -> Caption:
    scores = probabilities(candidates, ranking)
    order = np.argsort(-scores, kind="stable")
    texts = [(candidates.texts[i], round(float(scores[i]), 4)) for i in order]
    return Caption(*texts[0], bool(scores[order[0]] >= ranking["threshold"]), tuple(texts[1:]))


def probabilities(candidates: Candidates, ranking: dict[str, float]) -> np.ndarray:
    """Score of each candidate, (N,)."""
    weights = np.array([ranking.get(name, 0.0) for name in FIGURES])
    return 1 / (1 + np.exp(-(candidates.figures @ weights + ranking["bias"])))


def ranking_of(every: Sequence[Candidates], right: Sequence[Sequence[bool]], known: int) -> dict[str, float]:
    """What makes a probability of figures: a logistic regression on whether candidates are right, by the pictures of
    even number; the first `known` pictures are of this world, and one in ten of them is called unknown."""
    chosen = range(0, len(every), 2)
    x = torch.from_numpy(np.concatenate([every[i].figures for i in chosen])).double()
    y = torch.tensor([answer for i in chosen for answer in right[i]]).double()
    mean, spread = x.mean(0), x.std(0).clamp_min(1e-3)
    weights = torch.zeros(len(FIGURES) + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = (x - mean) / spread @ weights[:-1] + weights[-1]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, y) + 0.01 * weights[:-1].square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    scale = weights[:-1].detach() / spread
    ranking = dict(zip(FIGURES, scale.tolist(), strict=True))
    ranking["bias"] = float(weights[-1].detach() - (scale * mean).sum())
    best = [probabilities(every[i], ranking).max() for i in chosen if i < known]
    return ranking | {"threshold": float(np.quantile(best, 0.1))}
