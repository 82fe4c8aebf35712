"""Training backbone, vision encoder and semantic space together (recipe "language_space").

One step sees pictures with two captions each (English, Chinese), words of a dictionary, and documents to continue.
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn

from models.data.sampling import Sampler
from models.data.world import Picture
from models.train import space_batches as batches
from models.train.balance import update_router_bias
from models.train.documents import Writer
from models.train.lexicon import Lexicon
from models.train.loop import TaskOptions
from models.train.space_model import LanguageSpace
from models.train.space_scores import Scores
from models.train.stages import Stage, source_weights, stage_at
from models.train.text_rows import build_tokenizer, document_rows, text_rows
from models.weights import record_part, save_part

EVEN = 4  # rows of each kind come in multiples of this, so that 2 or 4 processes share exactly what one would see
GLOSSES = 0.2  # of a dictionary's rows: the gloss in place of the word
WARM = 0.25  # progress from which a pair that disagrees is left out


class LanguageSpaceTask:
    """Recipe "language_space"."""

    def __init__(self, options: TaskOptions, lexicon: Lexicon | None = None) -> None:
        self.options, self.world = options, options.world
        cache = options.cache or Path("runs") / "cache"
        self.lexicon = lexicon or Lexicon.build(self.world, cache)
        self.tokenizer = build_tokenizer(self.world, self.lexicon, options.preset, cache)
        self.model: nn.Module = LanguageSpace(options.preset, self.lexicon)
        train = self.world.split("train")
        self.sampler, self.numbers = Sampler(train), batches.Numbers(self.world)
        self.kin: dict[str, list[Picture]] = {}
        for picture in train:
            self.kin.setdefault(picture.concept, []).append(picture)
        self.writer = Writer(self.world, self.sampler, self.lexicon)
        self.scores = Scores(self.world, self.tokenizer)

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
            batch |= self._quiet(mine("quiet", stage.quiet * size), stage)
        words = [(self.lexicon.draw(rng), rng.random()) for rng in mine("word", stage.words * size)]
        texts += [
            self.lexicon.entries[i].gloss if draw < GLOSSES else self.lexicon.entries[i].word for i, draw in words
        ]
        names, weights = zip(*source_weights(progress).items(), strict=True)
        documents = [
            self.writer.write(str(rng.choice(names, p=weights)), rng)
            for rng in mine("document", stage.documents * size)
        ]
        return batch | {
            "texts": text_rows(self.tokenizer, texts),
            "meanings": self.lexicon.vectors[[i for i, _ in words]],
            "documents": document_rows(self.tokenizer, documents),
        }

    def _pictures(self, rngs: list[np.random.Generator], stage: Stage, texts: list[str]) -> dict[str, Any]:
        """Pictures of some units; appends their captions, all English ones first, to `texts`."""
        pairs = [batches.draw_items(self.world, self.sampler, self.kin, rng, stage.scenes) for rng in rngs]
        items, streams = [item for pair in pairs for item in pair], [rng for rng in rngs for _ in range(2)]
        pixels = batches.render(self.world, items, streams)
        texts += [item.captions[language] for language in (0, 1) for item in items]
        return {
            "pixels": pixels,
            "keep": batches.visible_tokens(pixels, stage.keep, streams),
            "picture_facts": self.numbers.picture_facts(items),
            "roles": self.numbers.roles(items),
            "caption_facts": [self.numbers.caption_facts(items, language) for language in (0, 1)],
        }

    def _quiet(self, rngs: list[np.random.Generator], stage: Stage) -> dict[str, Any]:
        """Pictures without captions."""
        items = [batches.draw_quiet(self.sampler, rng) for rng in rngs]
        pixels = batches.render(self.world, items, rngs)
        keep = batches.visible_tokens(pixels, stage.keep, rngs)
        return {"quiet_pixels": pixels, "quiet_keep": keep, "quiet_facts": self.numbers.picture_facts(items)}

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """All losses; "loss" is their weighted sum."""
        return model(batch)

    def after_step(self, model: nn.Module) -> None:
        """Balance the experts' load."""
        update_router_bias(model)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Retrieval on the validation split, forced choice on validation scenes, words among the concepts."""
        return self.scores.figures(_plain(model))

    def sheet(self, model: nn.Module) -> Image.Image | None:
        """Twelve prompts and the six pictures nearest to each."""
        return self.scores.sheet(_plain(model))

    def export(self, model: nn.Module, folder: Path) -> None:
        """The three parts as they ship; the tokenizer lies beside the backbone."""
        for name in ("language", "vision", "space"):
            save_part(getattr(model, name), name, folder)
        self.tokenizer.save_pretrained(folder / "language")
        record_part("language", folder)


def _plain(model: nn.Module) -> LanguageSpace:
    assert isinstance(model, LanguageSpace)
    return model
