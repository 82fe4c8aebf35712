"""Training backbone, vision encoder and semantic space together (recipe "language_space").

A step sees pictures with two captions each (English, Chinese), words of a dictionary, and documents to continue.

Losses: sigmoid over all picture-caption pairs at three Matryoshka widths; the same over pictures alone; forced choice
between a scene and its contrast; classification among learned concept centres, which gives every picture and caption
all concepts as negatives at once; the same for each role, so that a vector holds which thing is where and in which
colour; words placed among those centres and among each other as a sentence encoder places their meanings; next token.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from models.assets import preset
from models.language import LanguageConfig, LanguageModel, Router
from models.space import DIM, NESTED, SemanticSpace
from models.train.contrastive import (
    ROLES,
    Drawer,
    Facts,
    Item,
    Numbers,
    Validation,
    agreeing,
    all_captions,
    gather,
    global_mean,
    pair_labels,
    picture_item,
    picture_labels,
    render,
    sigmoid_loss,
    streams,
    visible_tokens,
)
from models.train.documents import SOURCES, Lexicon, Rows, Writer, build_tokenizer, document_rows, text_rows
from models.train.loop import Task, TaskOptions
from models.vision import VisionEncoder
from models.weights import record_part, save_part

GLOSSES = 0.2  # of a dictionary's rows: the gloss in place of the word
WARM = 0.25  # progress from which pairs that disagree are left out
TOKEN_CHUNK = 4096  # picture tokens that go through together: activations stay in the cache, 1.5 times as fast
# The sigmoid losses are sums over captions per picture, the others means.
WEIGHTS = {"pair": 1.0, "picture_pair": 0.2, "choice": 1.0, "centre": 1.0, "role": 1.0, "meaning": 0.5, "language": 0.3}
NESTED_WEIGHTS = (0.25, 0.25, 0.5)
TEACHER_TEMPERATURE = 0.05  # at which the teacher's cosines among concepts become a distribution


@dataclass(frozen=True)
class Stage:
    """Composition of steps from progress `start` on; shares are of the batch size."""

    name: str
    start: float
    pictures: float  # drawn as pictures; 0 is a stage of text alone
    scenes: float  # share of the pictures that are scenes
    keep: int  # tokens of a picture that go through the encoder, 64 for all
    uncaptioned: float  # pictures without captions, which are cheaper
    words: float
    documents: float
    sources: dict[str, float]  # weights of the kinds of documents


_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
STAGES = tuple(Stage(**row) for row in _TABLE["stages"])


def stage_at(progress: float) -> Stage:
    return [stage for stage in STAGES if stage.start <= progress][-1]


def source_weights(progress: float) -> dict[str, float]:
    """Weights of the kinds of documents, in sum 1, interpolated from one stage to the next."""
    stage = stage_at(progress)
    following = STAGES[min(STAGES.index(stage) + 1, len(STAGES) - 1)]
    t = (progress - stage.start) / (following.start - stage.start) if following is not stage else 0.0
    mixed = {name: (1 - t) * stage.sources.get(name, 0.0) + t * following.sources.get(name, 0.0) for name in SOURCES}
    return {name: weight / sum(mixed.values()) for name, weight in mixed.items()}


class LanguageSpace(nn.Module):
    """All trained networks. Centres, teacher map and their scale do not ship."""

    def __init__(self, size: str, lexicon: Lexicon) -> None:
        super().__init__()
        concepts, back, mean = lexicon.reduced(DIM)
        self.language = LanguageModel(LanguageConfig(**preset("language", size)))
        self.vision = VisionEncoder(**preset("vision", size))
        self.space = SemanticSpace(**preset("space", size))
        # Both start from the teacher's geometry, so that near meanings are near from the first step on.
        self.centres = nn.Parameter(concepts)
        self.centre_log_scale = nn.Parameter(torch.tensor(16.0).log())
        self.teacher_map = nn.Linear(*back.T.shape)
        self.teacher_map.load_state_dict({"weight": back, "bias": mean})
        # One map a role, a rotation at the start: a centre that is turned by its role can be added to others and be
        # recovered ("Holographic reduced representations", T. Plate, 1995).
        self.roles = nn.Parameter(torch.linalg.qr(torch.randn(len(ROLES), DIM, DIM)).Q.contiguous())
        self.concept_vectors = nn.Buffer(lexicon.concepts, persistent=False)

    def pictures(self, pixels: Tensor, keep: Tensor | None) -> Tensor:
        """(N, 4, 128, 128) -> (N, 128)."""
        size = TOKEN_CHUNK // (64 if keep is None else keep.shape[1])
        chunks = (slice(start, start + size) for start in range(0, len(pixels), size))
        tokens = (self.vision(pixels[rows], None if keep is None else keep[rows]) for rows in chunks)
        return torch.cat([self.space.image(part) for part in tokens])

    def texts(self, pieces: list[Rows]) -> Tensor:
        """Pieces with M texts in total -> (M, 128) in the order of their numbers."""
        states = (self.language.model(rows.ids, rows.mask, prefix_mask=rows.prompt) for rows in pieces)
        pairs = zip(states, pieces, strict=True)
        vectors = torch.cat([self.space.text(output.last_hidden_state, rows.mask) for output, rows in pairs])
        return vectors[torch.cat([rows.numbers for rows in pieces]).argsort()]

    def continuation(self, pieces: list[Rows]) -> Tensor:
        """Mean next-token loss over all that follows a prompt."""
        losses, counts = [], []
        for rows in pieces:
            losses.append(self.language(rows.ids, rows.mask, prefix_mask=rows.prompt, labels=rows.ids).loss)
            counts.append((rows.mask[:, 1:] & ~rows.prompt[:, 1:]).sum().float())
        return global_mean(torch.stack(losses), torch.stack(counts))

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """All losses of one rank's share of a step. They are part of the model so that a distributed wrapper sees every
        parameter in use."""
        losses = {"language": self.continuation(batch["documents"])}
        vectors = self.texts(batch["texts"])
        words = vectors[len(vectors) - len(batch["meanings"]) :]
        losses |= self._meaning(words, batch["meanings"])
        if "pixels" in batch:
            count = len(batch["pixels"])
            pictures = self.pictures(batch["pixels"], batch["keep"])
            uncaptioned = self.pictures(batch["uncaptioned_pixels"], batch["uncaptioned_keep"])
            losses |= self._pairs(pictures, uncaptioned, vectors[: 2 * count], batch)
            losses |= self._choice(pictures, vectors[: 2 * count], batch["picture_facts"])
            losses |= self._centres(pictures, uncaptioned, vectors[: 2 * count], batch)
            losses |= self._roles(pictures, vectors[: 2 * count], batch["roles"])
        total = torch.stack([weight * losses[name] for name, weight in WEIGHTS.items() if name in losses]).sum()
        return losses | {"loss": total}

    def _pairs(
        self, pictures: Tensor, uncaptioned: Tensor, captions: Tensor, batch: dict[str, Any]
    ) -> dict[str, Tensor]:
        """The pairwise losses over all ranks' rows. Captions: all English ones, then all Chinese ones; pictures without
        a caption are compared with the captions of the others."""
        caption_facts = [facts.gather() for facts in batch["caption_facts"]]
        picture_facts = batch["picture_facts"].gather().followed_by(batch["uncaptioned_facts"].gather())
        count = len(pictures)
        pictures, english, chinese = gather(pictures), gather(captions[:count]), gather(captions[count:])
        everyone = torch.cat([pictures, gather(uncaptioned)])
        scale, bias = self.space.calibration()
        losses, dropped = [], []
        for texts, facts in zip((english, chinese), caption_facts, strict=True):
            labels, weights = pair_labels(picture_facts, facts)
            keep = torch.ones(len(texts), dtype=torch.bool)
            if batch["warm"]:
                keep = agreeing((pictures * texts).sum(-1).detach())
            weights = weights * (keep | ~torch.eye(*weights.shape, dtype=torch.bool))
            losses.append(nested_loss(everyone, texts, labels, weights, scale, bias))
            dropped.append(1 - keep.float().mean())
        labels, weights = picture_labels(picture_facts)
        among = sigmoid_loss(everyone, everyone, labels, weights, scale, bias)
        return {"pair": torch.stack(losses).mean(), "picture_pair": among, "dropped": torch.stack(dropped).mean()}

    def _choice(self, pictures: Tensor, captions: Tensor, facts: Facts) -> dict[str, Tensor]:
        """Forced choice of rows 2u and 2u + 1, a scene and its contrast: each prefers its caption, and vice versa."""
        count = len(pictures)
        left, right = pictures.view(-1, 2, 1, DIM), captions.view(2, count // 2, 1, 2, DIM)
        cosines = (left * right).sum(-1)  # (language, unit, picture, caption)
        matched, crossed = cosines[..., [0, 1], [0, 1]], cosines[..., [0, 1], [1, 0]]
        margins = torch.stack([matched - crossed, matched - crossed.flip(-1)])  # against the other caption, picture
        is_scene = (facts.scene[::2] >= 0).float()[None, None, :, None].expand_as(margins)
        scale, _ = self.space.calibration()
        loss = global_mean(F.softplus(-scale * margins), is_scene)
        return {"choice": loss, "chosen": global_mean((margins > 0).float(), is_scene)}

    def _centres(
        self, pictures: Tensor, uncaptioned: Tensor, captions: Tensor, batch: dict[str, Any]
    ) -> dict[str, Tensor]:
        """Cross-entropy among the concept centres; the target of a scene is shared by its concepts."""
        everyone = torch.cat([pictures, uncaptioned])
        facts = batch["picture_facts"].followed_by(batch["uncaptioned_facts"])
        target = torch.zeros(len(facts.scene), len(self.centres) + 1)
        target.scatter_(1, facts.concepts % target.shape[1], 1.0)  # -1 falls into the last column
        target = F.normalize(target[:, :-1], p=1, dim=-1)
        pairs = [(everyone, target), *((vectors, target[: len(pictures)]) for vectors in captions.chunk(2))]
        losses = [global_mean(self._among_centres(vectors, wanted), wanted.sum(-1)) for vectors, wanted in pairs]
        return {"centre": torch.stack(losses).mean()}

    def _roles(self, pictures: Tensor, captions: Tensor, table: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of the concept that has a role, (F, 3) rows of (picture, role, concept)."""
        rows, roles, concepts = table.T
        target = torch.eye(len(self.centres), device=concepts.device)[concepts]
        losses = []
        for vectors in (pictures, *captions.chunk(2)):
            turned = torch.bmm(vectors[rows, None], self.roles[roles])[:, 0].float()
            losses.append(global_mean(self._among_centres(F.normalize(turned, dim=-1), target), torch.ones(len(rows))))
        return {"role": torch.stack(losses).mean()}

    def _among_centres(self, vectors: Tensor, target: Tensor) -> Tensor:
        logits = self.centre_log_scale.exp() * vectors @ F.normalize(self.centres, dim=-1).T
        return -(target * logits.log_softmax(-1)).sum(-1)

    def _meaning(self, words: Tensor, meanings: Tensor) -> dict[str, Tensor]:
        """Words and glosses as the teacher places them: mapped to its vectors, among the concepts, among each other."""
        everyone = torch.ones(len(words))
        mapped = 1 - F.cosine_similarity(self.teacher_map(words).float(), meanings)
        among_concepts = self._among_centres(
            words, (meanings @ self.concept_vectors.T / TEACHER_TEMPERATURE).softmax(-1)
        )
        others, other_meanings = gather(words), gather(meanings)
        same = (meanings @ other_meanings.T > 0.999).float()  # itself, or its synonym
        target = ((meanings @ other_meanings.T - same) / TEACHER_TEMPERATURE).softmax(-1)
        among_words = -(target * (self.centre_log_scale.exp() * (words @ others.T - same)).log_softmax(-1)).sum(-1)
        return {
            "mapped": global_mean(mapped, everyone),
            "meaning": global_mean(among_concepts + 0.25 * among_words + 2 * mapped, everyone),
        }


def nested_loss(
    pictures: Tensor, texts: Tensor, labels: Tensor, weights: Tensor, scale: Tensor, bias: Tensor
) -> Tensor:
    """The sigmoid loss in the first 32, 64 and 128 numbers (Matryoshka, arXiv 2205.13147)."""
    total = pictures.new_zeros(())
    for size, share in zip(NESTED, NESTED_WEIGHTS, strict=True):
        left, right = (F.normalize(vectors[:, :size], dim=-1) for vectors in (pictures, texts))
        total = total + share * sigmoid_loss(left, right, labels, weights, scale, bias)
    return total


@torch.no_grad()
def update_router_bias(model: nn.Module, rate: float = 1e-3) -> None:
    """One step of loss-free balancing of the experts (arXiv 2408.15664, algorithm 1), once per optimizer step.

    b += rate * sign(mean load - load), minus the update's mean: a constant added to every bias changes no choice. The
    sign alone, and `rate` 1e-3, as in the paper; 1e-2 oscillates. Load counters of all processes start again from zero.
    """
    routers = [module for module in model.modules() if isinstance(module, Router)]
    load = torch.stack([router.load for router in routers])
    if dist.is_initialized():
        dist.all_reduce(load)
    counts = load.float()
    step = rate * (counts.mean(-1, keepdim=True) - counts).sign()
    for router, delta in zip(routers, step - step.mean(-1, keepdim=True), strict=True):
        router.bias.add_(delta)
        router.load.zero_()


class LanguageSpaceTask(Task):
    """Recipe "language_space"."""

    def __init__(self, options: TaskOptions, lexicon: Lexicon | None = None) -> None:
        self.options, self.world = options, options.world
        cache = options.cache or Path("runs") / "cache"
        self.lexicon = lexicon or Lexicon.build(self.world, cache)
        self.tokenizer = build_tokenizer(self.world, self.lexicon, options.preset, cache)
        self.model: nn.Module = LanguageSpace(options.preset, self.lexicon)
        self.drawer, self.numbers = Drawer(self.world), Numbers(self.world)
        self.writer = Writer(self.world, self.drawer.sampler, self.lexicon)
        self.validation = Validation(self.world)

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """One rank's share of a step; its length is the same on every rank."""
        stage, size = stage_at(progress), self.options.batch_size(progress)

        def share(kind: str, total: float) -> list[np.random.Generator]:
            return streams(self.options.seed, step, kind, total, rank, ranks)

        batch: dict[str, Any] = {"warm": progress >= WARM}
        texts: list[str] = []
        if stage.pictures:
            batch |= self._pictures(share("unit", stage.pictures * size / 2), stage, texts)
            rngs = share("uncaptioned", stage.uncaptioned * size)
            items = [picture_item(self.drawer.sampler.draw(rng, 1)[0], rng) for rng in rngs]
            columns = self._rendered(items, rngs, stage).values()
            batch |= zip(("uncaptioned_pixels", "uncaptioned_keep", "uncaptioned_facts"), columns, strict=True)
        words = [(self.lexicon.draw(rng), rng.random()) for rng in share("word", stage.words * size)]
        entries = [(self.lexicon.entries[i], draw) for i, draw in words]
        texts += [entry.gloss if draw < GLOSSES else entry.word for entry, draw in entries]
        names, weights = zip(*source_weights(progress).items(), strict=True)
        rngs = share("document", stage.documents * size)
        documents = [self.writer.write(str(rng.choice(names, p=weights)), rng) for rng in rngs]
        return batch | {
            "texts": text_rows(self.tokenizer, texts),
            "meanings": self.lexicon.vectors[[i for i, _ in words]],
            "documents": document_rows(self.tokenizer, documents),
        }

    def _pictures(self, rngs: list[np.random.Generator], stage: Stage, texts: list[str]) -> dict[str, Any]:
        """Pictures of some units; appends their captions to `texts`, all English ones first."""
        items, streams = self.drawer.items(rngs, stage.scenes)
        texts += all_captions(items)
        return self._rendered(items, streams, stage) | {
            "roles": self.numbers.roles(items),
            "caption_facts": [self.numbers.caption_facts(items, language) for language in (0, 1)],
        }

    def _rendered(self, items: list[Item], rngs: list[np.random.Generator], stage: Stage) -> dict[str, Any]:
        pixels = render(self.world, items, rngs)
        keep = visible_tokens(pixels, stage.keep, rngs)
        return {"pixels": pixels, "keep": keep, "picture_facts": self.numbers.picture_facts(items)}

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        return model(batch)

    def after_step(self, model: nn.Module) -> None:
        update_router_bias(model)

    def evaluate(self, model: Any) -> dict[str, float]:
        return self.validation.figures(
            lambda texts: model.texts(text_rows(self.tokenizer, texts)), lambda pixels: model.pictures(pixels, None)
        )

    def export(self, model: nn.Module, folder: Path) -> None:
        """The three parts as they ship; the tokenizer lies beside the backbone."""
        for name in ("language", "vision", "space"):
            save_part(getattr(model, name), name, folder)
        self.tokenizer.save_pretrained(folder / "language")
        record_part("language", folder)
