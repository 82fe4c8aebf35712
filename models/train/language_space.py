"""Training backbone, vision encoder and semantic space together (recipe "language_space").

One step sees pictures with two captions each (English, Chinese), words of a dictionary, and documents to continue.
"""

import tomllib
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.data.captions import caption
from models.data.grammar import LANGUAGES
from models.data.pixels import to_tensor
from models.data.sampling import Sampler, evenly
from models.data.scenes import ATTRIBUTES, choices
from models.data.world import Picture
from models.train import space_batches as batches
from models.train.balance import update_router_bias
from models.train.documents import SOURCES, Writer, build_tokenizer, document_rows, text_rows
from models.train.lexicon import Lexicon
from models.train.loop import Task, TaskOptions
from models.train.space_model import LanguageSpace
from models.weights import record_part, save_part


@dataclass(frozen=True)
class Stage:
    """What steps are made of from progress `start` on; shares are of the batch size."""

    name: str
    start: float
    pictures: float  # drawn as pictures; 0 is a stage of text alone
    scenes: float  # share of the pictures that are scenes
    keep: int  # tokens of a picture that go through the encoder, 64 for all
    uncaptioned: float  # pictures without captions: a caption costs more than a picture
    words: float
    documents: float
    sources: dict[str, float]  # weights of the kinds of documents


_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
STAGES = tuple(Stage(**row) for row in _TABLE["stages"])


def stage_at(progress: float) -> Stage:
    return [stage for stage in STAGES if stage.start <= progress][-1]


def source_weights(progress: float) -> dict[str, float]:
    """Weights of the kinds of documents, in sum 1: they move from one stage's to the next one's, without a jump."""
    now = stage_at(progress)
    following = STAGES[min(STAGES.index(now) + 1, len(STAGES) - 1)]
    t = (progress - now.start) / (following.start - now.start) if following is not now else 0.0
    mixed = {name: (1 - t) * now.sources.get(name, 0.0) + t * following.sources.get(name, 0.0) for name in SOURCES}
    return {name: weight / sum(mixed.values()) for name, weight in mixed.items()}


def recall(cosines: Tensor, right: Tensor, k: int) -> float:
    """Share of rows with a right column among their k highest: cosines and right (N, M)."""
    nearest = cosines.float().topk(min(k, cosines.shape[1])).indices
    return float(right.gather(1, nearest).any(1).float().mean())


GALLERY = 1000  # pictures that an evaluation looks at
SCENES = 96  # of each attribute
EVEN = 4  # rows of each kind come in multiples of this, so that 2 or 4 processes share exactly what one would see
GLOSSES = 0.2  # of a dictionary's rows: the gloss in place of the word
WARM = 0.25  # progress from which a pair that disagrees is left out


class LanguageSpaceTask(Task):
    """Recipe "language_space"."""

    def __init__(self, options: TaskOptions, lexicon: Lexicon | None = None) -> None:
        self.options, self.world = options, options.world
        cache = options.cache or Path("runs") / "cache"
        self.lexicon = lexicon or Lexicon.build(self.world, cache)
        self.tokenizer = build_tokenizer(self.world, self.lexicon, options.preset, cache)
        self.model: nn.Module = LanguageSpace(options.preset, self.lexicon)
        train = self.world.split("train")
        self.sampler, self.numbers = Sampler(train), batches.Numbers(self.world)
        self.by_concept: dict[str, list[Picture]] = {}
        for picture in train:
            self.by_concept.setdefault(picture.concept, []).append(picture)
        self.writer = Writer(self.world, self.sampler, self.lexicon)
        self.gallery = evenly(self.world.split("val"), GALLERY)

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """One rank's share of a step; its length is the same on every rank."""
        stage, size = stage_at(progress), self.options.batch_size(progress)

        def mine(kind: str, total: float) -> list[np.random.Generator]:
            share = EVEN * max(1, round(total / EVEN)) // ranks
            return [batches.stream(self.options.seed, step, kind, n) for n in range(rank * share, (rank + 1) * share)]

        batch: dict[str, Any] = {"warm": progress >= WARM}
        texts: list[str] = []
        if stage.pictures:
            batch |= self._pictures(mine("unit", stage.pictures * size / 2), stage, texts)
            rngs = mine("uncaptioned", stage.uncaptioned * size)
            items = [batches.picture_item(self.sampler.draw(rng, 1)[0], rng) for rng in rngs]
            seen = self._seen(items, rngs, stage).values()
            batch |= zip(("uncaptioned_pixels", "uncaptioned_keep", "uncaptioned_facts"), seen, strict=True)
        words = [(self.lexicon.draw(rng), rng.random()) for rng in mine("word", stage.words * size)]
        entries = [(self.lexicon.entries[i], draw) for i, draw in words]
        texts += [entry.gloss if draw < GLOSSES else entry.word for entry, draw in entries]
        names, weights = zip(*source_weights(progress).items(), strict=True)
        rngs = mine("document", stage.documents * size)
        documents = [self.writer.write(str(rng.choice(names, p=weights)), rng) for rng in rngs]
        return batch | {
            "texts": text_rows(self.tokenizer, texts),
            "meanings": self.lexicon.vectors[[i for i, _ in words]],
            "documents": document_rows(self.tokenizer, documents),
        }

    def _pictures(self, rngs: list[np.random.Generator], stage: Stage, texts: list[str]) -> dict[str, Any]:
        """Pictures of some units; appends their captions, all English ones first, to `texts`."""
        pairs = [batches.draw_items(self.world, self.sampler, self.by_concept, rng, stage.scenes) for rng in rngs]
        items, streams = [item for pair in pairs for item in pair], [rng for rng in rngs for _ in range(2)]
        texts += [item.captions[language] for language in (0, 1) for item in items]
        return self._seen(items, streams, stage) | {
            "roles": self.numbers.roles(items),
            "caption_facts": [self.numbers.caption_facts(items, language) for language in (0, 1)],
        }

    def _seen(self, items: list[batches.Item], rngs: list[np.random.Generator], stage: Stage) -> dict[str, Any]:
        pixels = batches.render(self.world, items, rngs)
        keep = batches.visible_tokens(pixels, stage.keep, rngs)
        return {"pixels": pixels, "keep": keep, "picture_facts": self.numbers.picture_facts(items)}

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        return model(batch)

    def after_step(self, model: nn.Module) -> None:
        update_router_bias(model)

    @cached_property
    def _choices(self) -> dict[str, tuple[Tensor, list[str], list[str]]]:
        """By kind, pixels of validation scenes, their captions, and those of their contrasts."""
        found: dict[str, tuple[Tensor, list[str], list[str]]] = {}
        for attribute, kind in ATTRIBUTES.items():
            with suppress(ValueError):  # a small world holds out no combination of this kind
                both = choices(self.world, attribute, range(SCENES), "val")
                own, other = ([one.caption(one.seed, "en", "short") for one in some] for some in both)
                found[kind] = torch.cat([to_tensor(scene.render(self.world)) for scene in both[0]]), own, other
        return found

    def evaluate(self, model: Any) -> dict[str, float]:
        """Recall among the gallery (right where the concept is), and forced choice between a scene and its contrast."""

        def encoded(texts: list[str]) -> Tensor:
            return model.texts(text_rows(self.tokenizer, texts))

        pixels = to_tensor(self.world.pixels[[picture.index for picture in self.gallery]])
        pictures = torch.cat([model.pictures(part, None) for part in pixels.split(64)])
        names = np.array([picture.concept for picture in self.gallery])
        same, figures = torch.from_numpy(names[:, None] == names[None]), {}
        for language in LANGUAGES:
            cosines = encoded([caption(picture, 0, language) for picture in self.gallery]) @ pictures.T
            figures[f"text_to_image_r10_{language}"] = recall(cosines, same, 10)
            figures[f"image_to_text_r10_{language}"] = recall(cosines.T, same.T, 10)
        for kind, (shown, *captions) in self._choices.items():
            seen = model.pictures(shown, None)
            own, other = ((seen * encoded(texts)).sum(-1) for texts in captions)
            figures[f"scene_{kind}"] = float((own > other).float().mean())
        return figures

    def export(self, model: nn.Module, folder: Path) -> None:
        """The three parts as they ship; the tokenizer lies beside the backbone."""
        for name in ("language", "vision", "space"):
            save_part(getattr(model, name), name, folder)
        self.tokenizer.save_pretrained(folder / "language")
        record_part("language", folder)
