"""Backbone, vision encoder and space as they are trained together, with all losses.

Sigmoid over all picture-caption pairs at three Matryoshka widths; the same over pictures alone; forced choice between
a scene and its contrast; classification among learned concept centres, which gives every picture and every caption
all concepts as negatives at once; the same in each role, so that a vector holds what is where and in which colour and
not only that it is there; words placed among those centres, and among each other, as a sentence encoder places
their meanings; next token.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.language import LanguageConfig, LanguageModel
from models.presets import preset
from models.space import DIM, NESTED, SemanticSpace
from models.train.contrastive import (
    Facts,
    agreeing,
    gather,
    global_mean,
    pair_labels,
    picture_labels,
    sigmoid_loss,
)
from models.train.documents import Rows
from models.train.lexicon import Lexicon
from models.train.space_batches import ROLES
from models.vision import VisionEncoder

TOKEN_CHUNK = 4096  # picture tokens that go through together: activations stay in the cache, 1.5 times as fast
# The sigmoid losses are sums over captions per picture, the others means.
WEIGHTS = {"pair": 1.0, "picture_pair": 0.2, "choice": 1.0, "centre": 1.0, "role": 1.0, "meaning": 0.5, "language": 0.3}
NESTED_WEIGHTS = (0.25, 0.25, 0.5)
TEACHER_TEMPERATURE = 0.05  # at which the teacher's cosines among concepts become a distribution


class LanguageSpace(nn.Module):
    """All that is trained. Centres, teacher map and their scale stay behind when the parts ship."""

    def __init__(self, size: str, lexicon: Lexicon) -> None:
        super().__init__()
        concepts, back, mean = lexicon.reduced(DIM)
        self.language = LanguageModel(LanguageConfig(**preset("language", size)))
        self.vision = VisionEncoder(**preset("vision", size))
        self.space = SemanticSpace(**preset("space", size))
        # Both start from the teacher's own geometry, so that near meanings are near from the first step on.
        self.centres = nn.Parameter(concepts)
        self.centre_log_scale = nn.Parameter(torch.tensor(16.0).log())
        self.teacher_map = nn.Linear(*back.T.shape)
        self.teacher_map.load_state_dict({"weight": back, "bias": mean})
        # One map a role, a rotation at the start: turned by its role, a thing's centre can be added to others and be
        # found again ("Holographic reduced representations", T. Plate, 1995).
        self.roles = nn.Parameter(torch.linalg.qr(torch.randn(len(ROLES), DIM, DIM)).Q.contiguous())
        self.concept_vectors = nn.Buffer(lexicon.concepts, persistent=False)

    def pictures(self, pixels: Tensor, keep: Tensor | None) -> Tensor:
        """(N, 4, 128, 128) -> (N, 128)."""
        size = TOKEN_CHUNK // (64 if keep is None else keep.shape[1])
        parts = range(0, len(pixels), size)
        kept = [None if keep is None else keep[start : start + size] for start in parts]
        tokens = (self.vision(pixels[start : start + size], part) for start, part in zip(parts, kept, strict=True))
        return torch.cat([self.space.image(part) for part in tokens])

    def texts(self, pieces: list[Rows]) -> Tensor:
        """Pieces of together M texts -> (M, 128) in the order of their numbers."""
        read = ((rows, self.language.model(rows.ids, rows.mask, prefix_mask=rows.prompt)) for rows in pieces)
        vectors = torch.cat([self.space.text(found.last_hidden_state, rows.mask) for rows, found in read])
        return vectors[torch.cat([rows.numbers for rows in pieces]).argsort()]

    def continuation(self, pieces: list[Rows]) -> Tensor:
        """Mean next-token loss over all that follows a prompt."""
        losses, counts = [], []
        for rows in pieces:
            losses.append(self.language(rows.ids, rows.mask, prefix_mask=rows.prompt, labels=rows.ids).loss)
            counts.append((rows.mask[:, 1:] & ~rows.prompt[:, 1:]).sum().float())
        return global_mean(torch.stack(losses), torch.stack(counts))

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """All losses of one rank's share of a step. Inside and not in the task, so that a distributed wrapper sees
        every parameter used."""
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
        """The pairwise losses, over all ranks' rows. Captions are all English ones, then all Chinese ones; uncaptioned
        pictures are compared with the captions of the others."""
        said = [facts.gather() for facts in batch["caption_facts"]]
        seen = batch["picture_facts"].gather().followed_by(batch["uncaptioned_facts"].gather())
        count = len(pictures)
        pictures, english, chinese = gather(pictures), gather(captions[:count]), gather(captions[count:])
        everyone = torch.cat([pictures, gather(uncaptioned)])
        scale, bias = self.space.calibration()
        losses, dropped = [], []
        for texts, facts in ((english, said[0]), (chinese, said[1])):
            labels, weights = pair_labels(seen, facts)
            keep = torch.ones(len(texts), dtype=torch.bool)
            if batch["warm"]:
                keep = agreeing((pictures * texts).sum(-1).detach())
            weights = weights * (keep | ~torch.eye(*weights.shape, dtype=torch.bool))
            losses.append(nested_loss(everyone, texts, labels, weights, scale, bias))
            dropped.append(1 - keep.float().mean())
        labels, weights = picture_labels(seen)
        among = sigmoid_loss(everyone, everyone, labels, weights, scale, bias)
        return {"pair": torch.stack(losses).mean(), "picture_pair": among, "dropped": torch.stack(dropped).mean()}

    def _choice(self, pictures: Tensor, captions: Tensor, facts: Facts) -> dict[str, Tensor]:
        """Rows 2u and 2u + 1 that are a scene and its contrast: each prefers its own caption, and its caption it."""
        count = len(pictures)
        left, right = pictures.view(-1, 2, 1, DIM), captions.view(2, count // 2, 1, 2, DIM)
        cosines = (left * right).sum(-1)  # (language, unit, picture, caption)
        own, crossed = cosines[..., [0, 1], [0, 1]], cosines[..., [0, 1], [1, 0]]
        margins = torch.stack([own - crossed, own - crossed.flip(-1)])  # against the other caption, the other picture
        is_scene = (facts.scene[::2] >= 0).float()[None, None, :, None].expand_as(margins)
        scale, _ = self.space.calibration()
        loss = global_mean(F.softplus(-scale * margins), is_scene)
        return {"choice": loss, "chosen": global_mean((margins > 0).float(), is_scene)}

    def _centres(
        self, pictures: Tensor, uncaptioned: Tensor, captions: Tensor, batch: dict[str, Any]
    ) -> dict[str, Tensor]:
        """Cross-entropy among the concept centres; a scene's target is shared by what stands in it."""
        everyone = torch.cat([pictures, uncaptioned])
        facts = batch["picture_facts"].followed_by(batch["uncaptioned_facts"])
        target = torch.zeros(len(facts.scene), len(self.centres) + 1)
        target.scatter_(1, facts.concepts % target.shape[1], 1.0)  # -1 falls into the last column
        target = F.normalize(target[:, :-1], p=1, dim=-1)
        own = target[: len(pictures)]
        pairs = [(everyone, target), *((vectors, own) for vectors in captions.chunk(2))]
        losses = [global_mean(self._among_centres(vectors, wanted), wanted.sum(-1)) for vectors, wanted in pairs]
        return {"centre": torch.stack(losses).mean()}

    def _roles(self, pictures: Tensor, captions: Tensor, table: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of the concept that has a role, (F, 3) rows of (picture, role, concept)."""
        rows, roles, concepts = table.T
        target = F.one_hot(concepts, len(self.centres)).float()
        losses = []
        for vectors in (pictures, *captions.chunk(2)):
            turned = torch.bmm(vectors[rows, None], self.roles[roles])[:, 0].float()
            losses.append(global_mean(self._among_centres(F.normalize(turned, dim=-1), target), torch.ones(len(rows))))
        return {"role": torch.stack(losses).mean()}

    def _among_centres(self, vectors: Tensor, target: Tensor) -> Tensor:
        logits = self.centre_log_scale.exp() * vectors @ F.normalize(self.centres, dim=-1).T
        return -(target * logits.log_softmax(-1)).sum(-1)

    def _meaning(self, words: Tensor, meanings: Tensor) -> dict[str, Tensor]:
        """Words and glosses where the teacher has them: mapped to its vectors, among the concepts, among each other."""
        everyone = torch.ones(len(words))
        mapped = 1 - F.cosine_similarity(self.teacher_map(words).float(), meanings)
        among_concepts = self._among_centres(
            words, (meanings @ self.concept_vectors.T / TEACHER_TEMPERATURE).softmax(-1)
        )
        others, other_meanings = gather(words), gather(meanings)
        own = (meanings @ other_meanings.T > 0.999).float()  # itself, or its synonym
        target = ((meanings @ other_meanings.T - own) / TEACHER_TEMPERATURE).softmax(-1)
        among_words = -(target * (self.centre_log_scale.exp() * (words @ others.T - own)).log_softmax(-1)).sum(-1)
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
