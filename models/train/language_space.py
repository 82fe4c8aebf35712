"""Training backbone, vision encoder and semantic space together (recipe "language_space").

One step sees pictures with two captions each (English, Chinese), words of a dictionary, and documents to continue.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from models.train import space_batches as batches
from models.train.balance import update_router_bias
from models.train.documents import SOURCES, Writer, build_tokenizer, document_rows, text_rows
from models.train.lexicon import Lexicon
from models.train.loop import Task, TaskOptions
from models.train.space_model import LanguageSpace
from models.train.space_validation import Validation
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
        self.drawer, self.numbers = batches.Drawer(self.world), batches.Numbers(self.world)
        self.writer = Writer(self.world, self.drawer.sampler, self.lexicon)
        self.validation = Validation(self.world)

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """One rank's share of a step; its length is the same on every rank."""
        stage, size = stage_at(progress), self.options.batch_size(progress)

        def mine(kind: str, total: float) -> list[np.random.Generator]:
            return batches.streams(self.options.seed, step, kind, total, rank, ranks)

        batch: dict[str, Any] = {"warm": progress >= WARM}
        texts: list[str] = []
        if stage.pictures:
            batch |= self._pictures(mine("unit", stage.pictures * size / 2), stage, texts)
            rngs = mine("uncaptioned", stage.uncaptioned * size)
            items = [batches.picture_item(self.drawer.sampler.draw(rng, 1)[0], rng) for rng in rngs]
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
        items, streams = self.drawer.items(rngs, stage.scenes)
        texts += batches.all_captions(items)
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
