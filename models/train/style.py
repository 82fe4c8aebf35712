"""Learning a style, or a thing, from 5 to 50 pictures: an adapter of the generator (`models.lora`), in minutes.

Each picture is drawn from what a request with its caption would be drawn from: the caption's token states and vector,
and the reference drawings of what it names, several of them and their mirror images. So the adapter learns to draw any
reference in the style of the pictures, and not the pictures (DreamBooth, arXiv 2208.12242, needs prior pictures for
that; here the drafts are the prior). The base network stays as it is, bit for bit.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from models.data.variety import mirrored
from models.data.world import Picture, World
from models.lora import GENERATOR, STYLE, attach, load_generator, save_adapter
from models.pipelines.sticker import StickerPipeline
from models.sampling.loop import Sampling
from models.train.image import IMAGE_VECTOR, NO_VECTOR, TEXT_VECTOR, Encoded, ImageTask, Item, Mix, Samples, encode_all
from models.train.loop import Length, TaskOptions, Trainer
from models.train.recipes import PRESET, RECIPES
from models.weights import weights_digest

REPORTED = 0.5  # seconds between two reports
DRAFTS = 4  # of a picture, each twice: as it is and mirrored
SHEET = ("a cat", "a rocket", "a cake", "a tree", "a robot", "a fish", "a house", "a crown")  # of what is learned


@dataclass(frozen=True)
class Example:
    """A picture to learn from: its name, premultiplied uint8 (128, 128, 4), and what it shows, in words."""

    name: str
    pixels: np.ndarray
    caption: str


def examples_world(examples: Sequence[Example]) -> World:
    """The pictures as a set that a recipe trains on; its digest is of pixels and captions."""
    pixels = np.stack([example.pixels for example in examples])
    captions = "\n".join(example.caption for example in examples)
    digest = hashlib.sha256(pixels.tobytes() + captions.encode()).hexdigest()
    blank = Picture(0, "", "", "", "", "", {}, {"en": ()}, "", None, None, (), "train")
    pictures = (
        replace(blank, index=row, id=example.name, concept=example.name, names={"en": example.caption})
        for row, example in enumerate(examples)
    )
    return World(tuple(pictures), pixels, digest)


class StyleTask(ImageTask):
    """Recipe "style"."""

    rank, learned = 16, STYLE
    sampling = Sampling(steps=8)
    copies = 2 * DRAFTS  # rows of a picture
    mix = Mix(drop_text=0.1, drop_vector=0.2, drop_draft=0.1, time_mean=0.0, time_std=1.3, draft_shift=0.0, high=0.0)

    def __init__(self, options: TaskOptions) -> None:
        self._load_frozen(options)
        self.model = load_generator(options.parts)
        attach(self.model, self.rank)
        self.pictures = options.world.split("train")

    @cached_property
    def encoded(self) -> Encoded:
        """All pictures with their drafts, in memory."""
        with self._encoder() as reader:
            encoded = encode_all(self.copies * len(self.pictures), self.item, reader)
        return encoded.to(self.device)

    @property
    def sheet_prompts(self) -> Sequence[str]:
        return SHEET

    @cached_property
    def _pipeline(self) -> StickerPipeline:
        pipeline = super().pipeline(self.model)
        pipeline.is_adapted = True
        return pipeline

    def pipeline(self, model: nn.Module) -> StickerPipeline:
        return self._pipeline  # of `model`, whose weights alone change

    def item(self, row: int) -> Item:
        """A picture with one of its drafts; in odd rows both are mirrored."""
        view, row = divmod(row, len(self.pictures))
        seed, turned = divmod(view, 2)
        item = self.drawn(self.pictures[row], seed, self.pipeline(self.model))
        if turned:
            draft = None if item.draft is None else mirrored(item.draft)
            return item._replace(pixels=mirrored(item.pixels), draft=draft)
        return item

    def drawn(self, picture: Picture, seed: int, pipeline: StickerPipeline) -> Item:
        """A picture with the draft that a request with its caption and this seed is drawn from."""
        prompt, references = pipeline.parse(picture.names["en"]), pipeline.references
        (reference,) = pipeline.retrieved([prompt], [seed], [True])
        draft = references.drawing(reference) if reference and references else None
        return Item(self.world.pixels[picture.index], [prompt.words or prompt.text], draft=draft)

    def draws(self, rng: np.random.Generator, count: int) -> Samples:
        mix, kind = self.mix, rng.random(count)
        vector = np.select([kind < mix.drop_vector, kind < 0.9], [NO_VECTOR, TEXT_VECTOR], IMAGE_VECTOR)
        text, draft = (rng.random(count) >= share for share in (mix.drop_text, mix.drop_draft))
        rows = rng.integers(len(self.encoded), size=count)
        return Samples(rows, np.zeros(count, int), text, vector, draft)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The loss on the pictures themselves at fixed noise, with all conditions: nothing is held out of so few."""
        return {"learned": self._held_out_loss(model, self.encoded, draft=True)}

    def export(self, model: nn.Module, folder: Path) -> None:
        save_adapter(model, folder, weights_digest((GENERATOR,), self.options.parts), self.learned)


class StyleTrainer(Trainer):
    """Trains the recipe "style" and reports its progress."""

    report: Callable[..., None]
    _reported = 0.0

    def step(self, progress: float) -> dict[str, Tensor]:
        if time.monotonic() - self._reported > REPORTED:
            self.report(state="training", progress=progress, seconds=self.state.seconds)
            self._reported = time.monotonic()
        return super().step(progress)


def style_trainer(
    world: World, out: Path, minutes: float, every: float, report: Callable[..., None], root: Path | None = None
) -> StyleTrainer:
    """The trainer of an adapter of the generator under `root`, in the folder `out`; `every` so many minutes it draws a
    sheet. `report` gets the fields `state`, `progress` (0 to 1) and `seconds`."""
    recipe = RECIPES["style"]
    options = TaskOptions(PRESET, recipe.seed, world, recipe.batch_size, root)
    trainer = StyleTrainer(recipe, options, out, Length(minutes=minutes), every)
    trainer.report = report
    return trainer
