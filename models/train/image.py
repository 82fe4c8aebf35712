"""Training the image generator: flow matching on the latents of pictures and composed scenes.

Autoencoder, backbone and space are frozen: the latents and embeddings of every picture and its captions are computed
once (`models.train.encoded`), so a step reads rows of arrays, adds noise and runs the network.
"""

import copy
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from models.assets import prompt_list
from models.autoencoder import Autoencoder
from models.data.captions import caption
from models.data.grammar import Finish, style_of
from models.data.pixels import to_tensor
from models.data.scenes import Scene, make_scene
from models.data.variety import STAGED, VIEWS, likewise, staged, view
from models.data.world import Picture, Sampler, evenly
from models.dit import DiT, velocity_to
from models.hardware import native_dtype
from models.pipelines.image import StickerPipeline
from models.presets import preset
from models.prompts.parser import PART as WORDING
from models.prompts.parser import PromptParser
from models.references.build import TrainingReferences
from models.references.store import ReferenceStore
from models.sampling.condition import Condition
from models.sampling.hooks import noised
from models.sampling.loop import Pictures, Sampling
from models.sampling.schedulers import DEFAULT_SCHEDULER, build_scheduler
from models.space import Embedder
from models.train.encoded import Encoded, Encoder, Item, encode_all
from models.train.loop import Task, TaskOptions, grid
from models.weights import listed_parts, load_part, part_digests, save_part, weights_digest

FROZEN = ("autoencoder", "vision", "space", "language")  # what it is trained with
CAPTIONS = 2  # of each view and scene; a concept has some thirty, in both languages
PROBES = 300  # rows whose captions, pixels and warps name what was encoded
CLAMP_TIME = 0.05  # the error of x0, divided by a smaller t, would be all that the loss sees (JiT, section 4.3)
VALIDATION = 192  # pictures, and a third as many scenes

NO_VECTOR, TEXT_VECTOR, IMAGE_VECTOR = range(3)
EVERYDAY = {  # weights by CLDR group: common subjects of stickers count more, simple and numerous ones less
    "animals-nature": 2.5, "food-drink": 2.0, "activities": 1.6, "objects": 1.2,
    "people-body": 0.7, "symbols": 0.6, "flags": 0.6, "": 0.6,
}  # fmt: skip


@dataclass(frozen=True)
class Mix:
    """What the samples of a step are drawn from."""

    # Composed scenes. Few: colour is learned from painted views, and a prompt with several things is drawn thing by
    # thing (`models.prompts.layout`).
    scenes: float = 0.08
    # Of a picture (`models.data.variety`): as it is, mirrored, warped, staged. Those with share 0 are not encoded.
    views: tuple[float, ...] = (0.25, 0.15, 0.35, 0.25)
    drop_text: float = 0.15  # share of samples without words
    drop_vector: float = 0.5  # without a vector; of the rest, half have the caption's and half the picture's own
    drop_draft: float = 0.7  # without a draft (the mean of other art families' drawings), of those that have one
    # Of the logit-normal noise levels (SD3, arXiv 2403.03206, section 3.1), wide, because the concept is decided at
    # high noise. Half of them are below 0.4, where most quality is lost and nothing is memorised (LOG.md).
    time_mean: float = -0.4
    time_std: float = 1.3
    draft_shift: float = 2.0  # added to the mean where there is a draft, which is informative at high noise only
    # Share of the samples without a draft that it is added to as well: else only one of them in forty is nearly pure
    # noise, from which sampling without a draft starts.
    high: float = 0.06
    groups: Mapping[str, float] = field(default_factory=lambda: EVERYDAY)  # weight by CLDR group; 1 where none is given


HELD_OUT = Mix(time_mean=0.4, time_std=1.0)  # noise levels of the validation loss in LOG.md


@dataclass(frozen=True)
class Samples:
    """The samples of a step as arrays: row in `Encoded`, caption number, and which conditions are kept."""

    rows: np.ndarray
    captions: np.ndarray
    text: np.ndarray  # bool
    vector: np.ndarray  # NO_VECTOR, TEXT_VECTOR or IMAGE_VECTOR
    draft: np.ndarray  # bool

    def __getitem__(self, index: slice | np.ndarray) -> "Samples":
        return Samples(*(array[index] for array in vars(self).values()))


def noise_levels(rng: np.random.Generator, count: int, mean: float | Tensor, std: float) -> Tensor:
    """`count` logit-normal times in (0, 1), one from each of `count` equal slices of probability; the mean is one for
    all or (count,)."""
    uniform = (rng.permutation(count) + rng.random(count)) / count
    normal = torch.special.ndtri(torch.from_numpy(uniform).clamp(1e-6, 1 - 1e-6))
    return torch.sigmoid(mean + std * normal).float()


class ImageTask(Task):
    """Recipe "image"."""

    sampling = Sampling()  # how the sheet is drawn
    mix = Mix()  # what a step draws
    pool = 24_000  # scenes encoded beforehand, at most twice the pictures

    def __init__(self, options: TaskOptions) -> None:
        self.options, self.world, self.device = options, options.world, options.device
        self.embedder = Embedder.load(options.parts)
        self.autoencoder = load_part(Autoencoder, "autoencoder", options.parts, native_dtype())
        self.autoencoder.to(memory_format=torch.channels_last)
        width = self.embedder.language.config.hidden_size
        self.model = DiT(**{**preset("dit", options.preset), "context": width})
        self.pictures = self.world.split("train")
        self.sampler, self.references = Sampler(self.pictures, self.mix.groups), TrainingReferences(self.world)
        self.views = [number for number in range(VIEWS) if self.mix.views[number]]
        self.first_scene = len(self.views) * len(self.pictures)  # its row; before it every picture, view by view
        self.scenes = min(self.pool, 2 * len(self.pictures))

    # --- Pictures and captions, read once, when the first batch is asked for ------------------------------------------

    @cached_property
    def encoded(self) -> Encoded:
        """Of every picture and scene; minutes, or from `options.cache`."""
        return self._encode().to(self.device)

    def item(self, row: int) -> Item:
        """Picture and captions of a row: the pictures of the split, once in each of `views`, then the scenes.

        Another seed gives other captions, warps, stagings and scenes, so that a training in pieces of different seeds
        sees more data than one cache holds.
        """
        seed = self.options.seed
        if row < self.first_scene:
            place, row = divmod(row, len(self.pictures))
            picture, number = self.pictures[row], self.views[place]
            if number == STAGED and (scene := staged(picture, seed)):
                # Painted as the picture is; a small thing has no draft: at run time it is drawn large and then placed.
                colour = scene.objects[0].colour
                draft = self.references.reference(picture, seed * VIEWS + STAGED, colour) if colour else None
                return self._composed(scene)._replace(draft=draft)
            shown, warp = view(self.world.pixels[picture.index], picture, number, seed)
            draft = self.references.reference(picture, seed * VIEWS + number)
            draft = None if draft is None else likewise(draft, warp)
            return Item(shown, _captions(picture, seed * VIEWS + number), warp, draft)
        return self._composed(make_scene(self.world, seed * self.scenes + row - self.first_scene))

    def _composed(self, scene: Scene) -> Item:
        # A sticker has no background unless the prompt asks for one, so captions name every background.
        first = self.options.seed * CAPTIONS
        return Item(scene.render(self.world), [scene.caption(first + i, grounded=True) for i in range(CAPTIONS)])

    def _encode(self) -> Encoded:
        count = self.first_scene + self.scenes
        probes = [self.item(int(row)) for row in np.linspace(0, count - 1, PROBES)]
        said = [item.captions for item in probes]
        arrays = (array for item in probes for array in (item.pixels, item.warp, item.draft) if array is not None)
        drawn = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
        parts = weights_digest(FROZEN, self.options.parts)
        made_of = f"{parts} {native_dtype()} {self.world.digest} {count} {CAPTIONS} {said} {drawn}"
        digest = hashlib.sha256(made_of.encode()).hexdigest()[:16]
        file = self.options.cache and self.options.cache / f"image-{digest}"
        with self._encoder() as reader:
            return encode_all(count, self.item, reader, file)

    @contextmanager
    def _encoder(self) -> Iterator[Encoder]:
        """The frozen parts on the training's device; on the CPU, where the sheet is drawn, afterwards."""
        e = self.embedder
        own: list[Any] = [self.autoencoder, e.language, e.vision, e.space]
        parts = nn.ModuleList(own)
        parts.to(self.device)
        yield Encoder(self.autoencoder, self.embedder, self.device)
        parts.to("cpu")

    # --- A step -----------------------------------------------------------------------------------------------------

    def draws(self, rng: np.random.Generator, count: int) -> Samples:
        mix = self.mix
        views = rng.choice(len(self.views), size=count, p=[mix.views[number] for number in self.views])
        rows = views * len(self.pictures) + self.sampler.rows(rng, count)
        scenes = self.first_scene + rng.integers(self.scenes, size=count)
        rows = np.where(rng.random(count) < mix.scenes, scenes, rows)
        kind, none = rng.random(count), mix.drop_vector
        vector = np.select([kind < none, kind < (1 + none) / 2], [NO_VECTOR, TEXT_VECTOR], IMAGE_VECTOR)
        text, draft = (rng.random(count) >= share for share in (mix.drop_text, mix.drop_draft))
        return Samples(rows, rng.integers(CAPTIONS, size=count), text, vector, draft)

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """Noisy latents, times, targets and conditions; everything random of the step is drawn here."""
        rng = np.random.default_rng((self.options.seed, step))
        size = self.options.batch_size(progress)
        draws, times = self.draws(rng, size), self.times(rng, size)
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        config = self.model.config
        shape = (size, config.channels, config.size, config.size)
        noise = torch.randn(shape, generator=generator, device=self.device)[rank::ranks]
        mine, encoded = draws[rank::ranks], self.encoded
        rows = torch.from_numpy(mine.rows).to(self.device)
        condition, latents = self.condition(mine), encoded.latents[rows].float()
        high = torch.from_numpy(rng.random(size) < self.mix.high)[rank::ranks]
        own, warp = times[rank::ranks].to(self.device), encoded.warp[rows].float()
        t = self.shifted(own, condition.reference, high.to(self.device))
        return {**self.flow(latents, noise, t, condition), "warp": warp}

    def shifted(self, times: Tensor, draft: Tensor, high: Tensor) -> Tensor:
        """Noise levels (B,), higher where there is a draft (B, C, S, S) and in the rows `high` (B,)."""
        if not self.mix.draft_shift:
            return times
        raised = torch.sigmoid(torch.logit(times) + self.mix.draft_shift)
        return torch.where(draft.flatten(1).any(1) | high, raised, times)

    def times(self, rng: np.random.Generator, count: int, mix: Mix | None = None) -> Tensor:
        mix = mix or self.mix
        return noise_levels(rng, count, mix.time_mean, mix.time_std)

    def flow(self, latents: Tensor, noise: Tensor, times: Tensor, condition: Condition) -> dict[str, Tensor]:
        """x_t = (1 - t) x0 + t noise and what the network is asked for there (rectified flow, arXiv 2209.03003)."""
        x = noised(latents, noise, times[:, None, None, None])
        return {"x": x, "t": times, "target": velocity_to(latents, x, times), **vars(condition)}

    def condition(self, draws: Samples) -> Condition:
        """Conditions of the samples, with the dropped ones zeroed."""
        rows, captions, has_text, kind, kept = (torch.from_numpy(x).to(self.device) for x in vars(draws).values())
        text, image = self.encoded.text_vectors[rows, captions].float(), self.encoded.image_vectors[rows].float()
        vector = torch.where((kind == IMAGE_VECTOR)[:, None], image, text).masked_fill((kind == NO_VECTOR)[:, None], 0)
        draft = self.encoded.drafts[rows].float() * kept[:, None, None, None]
        mask = self.encoded.mask[rows, captions] & has_text[:, None]
        return Condition(self.encoded.states[rows, captions], mask, vector, draft)

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """Mean squared error of the velocity; below CLAMP_TIME as if 1 / t had stopped growing there (JiT)."""
        velocity = model(**{name: value for name, value in batch.items() if name != "target"})
        weight = (batch["t"] / CLAMP_TIME).clamp(max=1)[:, None, None, None]
        return {"loss": (weight * (velocity - batch["target"])).square().mean()}

    # --- A checkpoint -----------------------------------------------------------------------------------------------

    @cached_property
    def _validation(self) -> dict[str, Encoded]:
        pictures = evenly(self.world.split("val"), VALIDATION)
        scenes = [make_scene(self.world, seed, "val") for seed in range(-(-len(pictures) // 3))]
        items: dict[str, list[Item]] = {
            "val": [
                Item(self.world.pixels[p.index], _captions(p), draft=self.references.reference(p, 0)) for p in pictures
            ],
            "val_scenes": [Item(s.render(self.world), [s.caption(0, grounded=True)]) for s in scenes],
        }
        with self._encoder() as reader:
            return {name: encode_all(len(own), own.__getitem__, reader).to(self.device) for name, own in items.items()}

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The loss at fixed noise: of held-out pictures and scenes by words and vector, and of the pictures under each
        condition alone and with a draft too."""
        figures = {name: self._held_out_loss(model, held) for name, held in self._validation.items()}
        kept = {"words": (True, False), "vector": (False, True), "nothing": (False, False), "drafted": (True,) * 3}
        return figures | {
            f"val_{name}": self._held_out_loss(model, self._validation["val"], *conditions)
            for name, conditions in kept.items()
        }

    def _held_out_loss(
        self, model: nn.Module, held: Encoded, words: bool = True, vector: bool = True, draft: bool = False
    ) -> float:
        times = self.times(np.random.default_rng(0), len(held), HELD_OUT)
        noise = torch.randn(held.latents.shape, generator=torch.Generator().manual_seed(0))
        total = 0.0
        for rows in torch.arange(len(held)).split(64):
            condition = Condition(
                held.states[rows, 0],
                held.mask[rows, 0] & words,
                held.text_vectors[rows, 0].float() * vector,
                held.drafts[rows].float() * draft,
            )
            inputs = noise[rows].to(self.device), times[rows].to(self.device), condition
            total += float(self.loss(model, self.flow(held.latents[rows].float(), *inputs), 1.0)["loss"]) * len(rows)
        return total / len(held)

    def pipeline(self, model: Any) -> StickerPipeline:
        """The pipeline with the generator as trained so far, on the CPU."""
        e, scheduler = self.embedder, build_scheduler(DEFAULT_SCHEDULER)
        dit = model if self.device.type == "cpu" else copy.deepcopy(model).to("cpu")
        made = StickerPipeline(e.tokenizer, e.language, e.vision, e.space, self.autoencoder, dit, scheduler)
        if WORDING in listed_parts(parts := self.options.parts):
            made.parser, made.references = PromptParser.load(e, parts), ReferenceStore.load(parts)
        return made

    def sheet(self, model: nn.Module) -> Image.Image:
        """The prompts of `assets/prompts/sheet.txt`, blends left out, eight a row, always from the same seeds."""
        prompts = [line for line in prompt_list("sheet") if " + " not in line]
        events = self.pipeline(model).steps(prompts, range(len(prompts)), self.sampling)
        pixels = [picture for event in events if isinstance(event, Pictures) for picture in event.pixels]
        return grid(to_tensor(np.stack(pixels)), columns=8)

    def export(self, model: nn.Module, folder: Path) -> None:
        save_part(model, "dit", folder, part_digests(FROZEN, self.options.parts))


def _captions(picture: Picture, number: int = 0) -> list[str]:
    always = True if style_of(picture.style).finish is Finish.INK else None
    return [caption(picture, number * CAPTIONS + i, style=always) for i in range(CAPTIONS)]
