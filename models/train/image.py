"""Training the image generator (recipe "image"): flow matching on the latents of pictures and composed scenes.

Autoencoder, backbone and space are frozen. Latents and embeddings of all pictures and captions are computed once and
stored in a file, so a step reads rows of arrays, adds noise and runs the network.
"""

import copy
import hashlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import PartialState
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from models.assets import preset, prompt_list
from models.autoencoder import Autoencoder
from models.data.captions import caption
from models.data.grammar import Finish, style_of
from models.data.pixels import to_tensor
from models.data.scenes import Scene, make_scene
from models.data.stored import progress, stored
from models.data.variety import NO_WARP, STAGED, VIEWS, likewise, staged, view
from models.data.world import Picture, Sampler, evenly
from models.dit import DiT, velocity_to
from models.lora import RELEASE, attach, save_changes
from models.pipelines.image import Pictures
from models.pipelines.sticker import StickerPipeline
from models.prompts.parser import PART as WORDING
from models.prompts.parser import PromptParser
from models.references.build import TrainingReferences
from models.references.store import ReferenceStore
from models.runtime import native_dtype
from models.sampling.condition import Condition
from models.sampling.guidance import noised
from models.sampling.loop import Sampling
from models.sampling.schedulers import DEFAULT_SCHEDULER, build_scheduler
from models.space import Embedder
from models.tokenizer import encode_texts
from models.train.loop import CPU, Task, TaskOptions, grid
from models.weights import listed_parts, load_part, part_digests, save_part, weights_digest

FROZEN = ("autoencoder", "vision", "space", "language")  # parts that it is trained with
CAPTIONS = 2  # of each view and scene; a concept has some thirty, in both languages
PROBES = 300  # rows whose captions, pixels and warps identify an encoding
CLAMP_TIME = 0.05  # divided by a smaller t, the error of x0 would dominate the loss (JiT, section 4.3)
VALIDATION = 192  # pictures, and a third as many scenes

NO_VECTOR, TEXT_VECTOR, IMAGE_VECTOR = range(3)
EVERYDAY = {  # weights by CLDR group: common subjects of stickers count more, simple and numerous ones less
    "animals-nature": 2.5, "food-drink": 2.0, "activities": 1.6, "objects": 1.2,
    "people-body": 0.7, "symbols": 0.6, "flags": 0.6, "": 0.6,
}  # fmt: skip
CHUNK = 32  # pictures a pass
LARGE = 1000  # pictures from which on worker processes pay off
Chunk = tuple[np.ndarray, ...]  # the fields of `Encoded` for some rows


# --- Encoding ---------------------------------------------------------------------------------------------------------


class Item(NamedTuple):
    """A picture, premultiplied uint8 (128, 128, 4), its K captions, its warp (`models.data.variety`), and its draft
    (`models.references.store`), None without one."""

    pixels: np.ndarray
    captions: Sequence[str]
    warp: np.ndarray = NO_WARP
    draft: np.ndarray | None = None


@dataclass(frozen=True)
class Encoded:
    """N pictures with K captions of L tokens each; numbers in half precision."""

    latents: Tensor  # (N, C, S, S) of the autoencoder
    image_vectors: Tensor  # (N, 128), the pictures' semantic vectors
    states: Tensor  # (N, K, L, D), the captions' token states
    mask: Tensor  # (N, K, L), true at real tokens
    text_vectors: Tensor  # (N, K, 128), the captions' semantic vectors
    warp: Tensor  # (N, WARP), zeros where a picture is not warped
    drafts: Tensor  # (N, C, S, S) latents of the drafts, zeros without one

    def __len__(self) -> int:
        return len(self.latents)

    def to(self, device: torch.device) -> "Encoded":
        """All tensors in the memory of `device`; on a CPU they stay in their file."""
        return Encoded(*(tensor.to(device) for tensor in vars(self).values()))


FIELDS = tuple(field.name for field in fields(Encoded))


@dataclass(frozen=True)
class Encoder:
    """The frozen parts that encode, all on one device: in bf16 where the processor has it, a quarter of fp32's time."""

    embedder: Embedder
    autoencoder: Autoencoder | None = None  # only for latents
    device: torch.device = CPU

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=native_dtype() == torch.bfloat16)

    @torch.no_grad()
    def latents(self, pictures: Sequence[np.ndarray]) -> Tensor:
        """(N, C, S, S) in half precision of premultiplied uint8 pictures (128, 128, 4)."""
        assert self.autoencoder is not None
        pixels = to_tensor(np.stack(pictures)).to(self.device, self.autoencoder.dtype)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        with self._autocast():
            return torch.cat([self.autoencoder.encode(part) for part in pixels.split(CHUNK)]).half()

    @torch.no_grad()
    def tokens(self, pictures: Sequence[np.ndarray]) -> Tensor:
        """(N, 64, D) of the vision encoder."""
        with self._autocast():
            return self.embedder.vision.forward(to_tensor(np.stack(pictures)).to(self.device)).float()

    @torch.no_grad()
    def vectors(self, tokens: Tensor) -> Tensor:
        """(N, 128) of pictures with these tokens."""
        with self._autocast():
            return self.embedder.space.image(tokens)

    @torch.no_grad()
    def texts(self, captions: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Token states (N, L, D) and vectors (N, 128) in half precision, and the mask (N, L) between them."""
        e = self.embedder
        ids, mask = (part.to(self.device) for part in encode_texts(e.tokenizer, captions))
        with self._autocast():
            states = torch.cat([e.language.encode(*part) for part in _chunks(ids, mask)])
            vectors = torch.cat([e.space.text(*part) for part in _chunks(states, mask)])
        return states.half(), mask, vectors.half()

    def read(self, items: Sequence[Item]) -> Chunk:
        """The fields of `Encoded` of some items."""
        latents = self.latents([item.pixels for item in items])
        drafts = torch.zeros_like(latents)
        if drafted := [row for row, item in enumerate(items) if item.draft is not None]:
            drafts[drafted] = self.latents([item.draft for item in items if item.draft is not None])
        vectors = self.vectors(self.tokens([item.pixels for item in items])).half()
        texts = self.texts([text for item in items for text in item.captions])
        states, mask, text_vectors = (part.unflatten(0, (len(items), -1)) for part in texts)
        warp = torch.from_numpy(np.stack([item.warp for item in items])).half()
        return tuple(part.cpu().numpy() for part in (latents, vectors, states, mask, text_vectors, warp, drafts))


def _chunks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(tensor.split(2 * CHUNK) for tensor in tensors), strict=True)


def encode_all(count: int, item: Callable[[int], Item], reader: Encoder, file: Path | None = None) -> Encoded:
    """Encode `item(0)` to `item(count - 1)`, each with equally many captions.

    `file` (.npy) stores the result for later runs, so its name must identify the content; None keeps the result in
    memory. In a distributed run the first rank encodes and the others read the file.
    """
    # Without a file the first rank may encode alone, and must not wait for the others.
    with PartialState().main_process_first() if file else nullcontext():
        table = stored(file, lambda: _encoded(count, item, reader))
    return Encoded(*(torch.from_numpy(table[name]) for name in FIELDS))


def _encoded(count: int, item: Callable[[int], Item], reader: Encoder) -> np.ndarray:
    """Rows (count,) with FIELDS. Where there are many and the system can fork, worker processes compose the items."""
    workers = count >= LARGE and "fork" in multiprocessing.get_all_start_methods()
    loader = DataLoader(
        _Items(count, item),
        batch_size=CHUNK,
        num_workers=max(1, (os.cpu_count() or 1) - 1) if workers else 0,
        collate_fn=list,
        multiprocessing_context="fork" if workers else None,
    )
    table: Any = None
    first = 0
    for items in progress(loader, f"encoding {count:,} pictures"):
        chunk = dict(zip(FIELDS, reader.read(items), strict=True))
        if table is None:
            columns = [(name, values.dtype, values.shape[1:]) for name, values in chunk.items()]
            table = np.empty(count, np.dtype(columns, align=True))
        for name, values in chunk.items():
            table[name][first : first + len(items)] = values
        first += len(items)
    return table


@dataclass(frozen=True)
class _Items(Dataset):
    count: int
    item: Callable[[int], Item]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> Item:
        return self.item(row)


# --- Training ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mix:
    """Shares and noise levels of the samples of a step."""

    # Composed scenes. Few: colour is learned from painted views, and the pipeline draws a prompt with several things
    # one by one (`models.prompts.layout`).
    scenes: float = 0.08
    # Views of a picture (`models.data.variety`): as it is, mirrored, warped, staged. Views of share 0 are not encoded.
    views: tuple[float, ...] = (0.25, 0.15, 0.35, 0.25)
    drop_text: float = 0.15  # share of samples without words
    drop_vector: float = 0.5  # without a vector; of the rest, half have the caption's and half the picture's
    drop_draft: float = 0.7  # without a draft (the mean of other art families' drawings), of those that have one
    # Of the logit-normal noise levels (SD3, arXiv 2403.03206, section 3.1), wide, because the concept is decided at
    # high noise. Half of them are below 0.4, where most quality is lost and nothing is memorised (LOG.md).
    time_mean: float = -0.4
    time_std: float = 1.3
    draft_shift: float = 2.0  # added to the mean where there is a draft, which is informative at high noise only
    # Share of the samples without a draft that it is added to, too: otherwise only one in forty of them is nearly pure
    # noise, where sampling without a draft starts.
    high: float = 0.06
    groups: Mapping[str, float] = field(default_factory=lambda: EVERYDAY)  # weight by CLDR group; 1 where none is given


HELD_OUT = Mix(time_mean=0.4, time_std=1.0)  # noise levels of the validation loss in LOG.md


@dataclass(frozen=True)
class Samples:
    """The samples of a step as arrays: row in `Encoded`, caption number, and the conditions that are not dropped."""

    rows: np.ndarray
    captions: np.ndarray
    text: np.ndarray  # bool
    vector: np.ndarray  # NO_VECTOR, TEXT_VECTOR or IMAGE_VECTOR
    draft: np.ndarray  # bool

    def __getitem__(self, index: slice | np.ndarray) -> "Samples":
        return Samples(*(array[index] for array in vars(self).values()))


def noise_levels(rng: np.random.Generator, count: int, mean: float | Tensor, std: float) -> Tensor:
    """`count` logit-normal times in (0, 1), one from each of `count` equal slices of probability; `mean` is a number or
    (count,)."""
    uniform = (rng.permutation(count) + rng.random(count)) / count
    normal = torch.special.ndtri(torch.from_numpy(uniform).clamp(1e-6, 1 - 1e-6))
    return torch.sigmoid(mean + std * normal).float()


class ImageTask(Task):
    """Recipe "image"."""

    sampling = Sampling()  # of the sheet
    mix = Mix()
    pool = 24_000  # encoded scenes, at most twice the pictures

    def __init__(self, options: TaskOptions) -> None:
        self._load_frozen(options)
        width = self.embedder.language.config.hidden_size
        self.model = DiT(**{**preset("dit", options.preset), "context": width})
        self.references = TrainingReferences(self.world)
        self.views = [number for number in range(VIEWS) if self.mix.views[number]]
        self._train_on(self.world.split("train"))

    def _load_frozen(self, options: TaskOptions) -> None:
        self.options, self.world, self.device = options, options.world, options.device
        self.embedder = Embedder.load(options.parts)
        self.autoencoder = load_part(Autoencoder, "autoencoder", options.parts, native_dtype())
        self.autoencoder.to(memory_format=torch.channels_last)

    def _train_on(self, pictures: list[Picture]) -> None:
        self.pictures, self.sampler = pictures, Sampler(pictures, self.mix.groups)
        self.first_scene = len(self.views) * len(pictures)  # its row; before it every picture, view by view
        self.scenes = min(self.pool, 2 * len(pictures))

    @cached_property
    def encoded(self) -> Encoded:
        """All pictures and scenes; encoding takes minutes, or comes from `options.cache`."""
        count = self.first_scene + self.scenes
        probes = [self.item(int(row)) for row in np.linspace(0, count - 1, PROBES)]
        captions = [item.captions for item in probes]
        arrays = (array for item in probes for array in (item.pixels, item.warp, item.draft) if array is not None)
        drawn = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
        parts = weights_digest(FROZEN, self.options.parts)
        content = f"{parts} {native_dtype()} {self.world.digest} {count} {CAPTIONS} {captions} {drawn}"
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        file = self.options.cache and self.options.cache / f"image-{digest}.npy"
        with self._encoder() as reader:
            encoded = encode_all(count, self.item, reader, file)
        return encoded.to(self.device)  # the encoder has left the device by now

    def item(self, row: int) -> Item:
        """Picture and captions of a row: the pictures of the split in each of `views`, then the scenes.

        Another seed gives other captions, warps, stagings and scenes, so that a training in pieces of different seeds
        sees more data than a cache holds.
        """
        seed = self.options.seed
        if row < self.first_scene:
            place, row = divmod(row, len(self.pictures))
            picture, number = self.pictures[row], self.views[place]
            if number == STAGED and (scene := staged(picture, seed)):
                # The draft is painted as the picture is. A small picture has none: the pipeline draws it large first.
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

    @contextmanager
    def _encoder(self) -> Iterator[Encoder]:
        """The frozen parts on the training's device; then back on the CPU, where the sheet is drawn."""
        e = self.embedder
        networks: list[Any] = [self.autoencoder, e.language, e.vision, e.space]
        parts = nn.ModuleList(networks)
        parts.to(self.device)
        yield Encoder(self.embedder, self.autoencoder, self.device)
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
        draws, encoded = draws[rank::ranks], self.encoded
        rows = torch.from_numpy(draws.rows).to(self.device)
        condition, latents = self.condition(draws), encoded.latents[rows].float()
        high = torch.from_numpy(rng.random(size) < self.mix.high)[rank::ranks]
        times, warp = times[rank::ranks].to(self.device), encoded.warp[rows].float()
        t = self.shifted(times, condition.reference, high.to(self.device))
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
        """x_t = (1 - t) x0 + t noise and the network's target there (rectified flow, arXiv 2209.03003)."""
        x = noised(latents, noise, times[:, None, None, None])
        return {"x": x, "t": times, "target": velocity_to(latents, x, times), **vars(condition)}

    def condition(self, draws: Samples) -> Condition:
        """Conditions of the samples, with the dropped ones zeroed."""
        rows, captions, has_text, kind, has_draft = (torch.from_numpy(x).to(self.device) for x in vars(draws).values())
        text, image = self.encoded.text_vectors[rows, captions].float(), self.encoded.image_vectors[rows].float()
        vector = torch.where((kind == IMAGE_VECTOR)[:, None], image, text).masked_fill((kind == NO_VECTOR)[:, None], 0)
        draft = self.encoded.drafts[rows].float() * has_draft[:, None, None, None]
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
        pictures = evenly(self.options.world.split("val"), VALIDATION)
        scenes = [make_scene(self.options.world, seed, "val") for seed in range(-(-len(pictures) // 3))]
        items: dict[str, list[Item]] = {
            "val": [
                Item(self.world.pixels[p.index], _captions(p), draft=self.references.reference(p, 0)) for p in pictures
            ],
            "val_scenes": [Item(s.render(self.world), [s.caption(0, grounded=True)]) for s in scenes],
        }
        with self._encoder() as reader:
            return {name: encode_all(len(x), x.__getitem__, reader).to(self.device) for name, x in items.items()}

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The loss at fixed noise on held-out pictures and scenes with words and vector, and on the pictures with each
        condition alone and with all three."""
        figures = {name: self._held_out_loss(model, held) for name, held in self._validation.items()}
        given = {"words": (True, False), "vector": (False, True), "nothing": (False, False), "drafted": (True,) * 3}
        return figures | {
            f"val_{name}": self._held_out_loss(model, self._validation["val"], *conditions)
            for name, conditions in given.items()
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
        """The pipeline with the generator in its present state, on the CPU."""
        e, scheduler = self.embedder, build_scheduler(DEFAULT_SCHEDULER)
        dit = model if self.device.type == "cpu" else copy.deepcopy(model).to("cpu")
        pipeline = StickerPipeline(e.tokenizer, e.language, e.vision, e.space, self.autoencoder, dit, scheduler)
        if WORDING in listed_parts(parts := self.options.parts):
            pipeline.parser, pipeline.references = PromptParser.load(e, parts), ReferenceStore.load(parts)
        return pipeline

    @property
    def sheet_prompts(self) -> Sequence[str]:
        """Those of `assets/prompts/sheet.txt` without blends."""
        return [line for line in prompt_list("sheet") if " + " not in line]

    def sheet(self, model: nn.Module) -> Image.Image:
        """The `sheet_prompts`, eight a row, always from the same seeds."""
        prompts = self.sheet_prompts
        events = self.pipeline(model).steps(prompts, range(len(prompts)), self.sampling)
        pixels = [picture for event in events if isinstance(event, Pictures) for picture in event.pixels]
        return grid(to_tensor(np.stack(pixels)), columns=8)

    def export(self, model: nn.Module, folder: Path) -> None:
        save_part(model, "dit", folder, part_digests(FROZEN, self.options.parts))


class ReleaseTask(ImageTask):
    """Recipe "release": low-rank changes (`models.lora`) that teach the generator the pictures of all splits.

    The table measures the generator without them; users draw with them, so that no common thing is held back from them.
    The loss on `val` tells how well those pictures are known, and no longer what happens to unknown ones.
    """

    rank = 32  # of the changes
    rehearsed = 6  # one in so many of the known pictures, half as many as there are new ones: nothing is forgotten
    mix = Mix(views=(0.6, 0.0, 0.0, 0.4))
    pool = 2000

    def __init__(self, options: TaskOptions) -> None:
        super().__init__(replace(options, world=options.world.released()))
        self.options = options
        known = {picture.index for picture in options.world.split("train")}
        rehearsed = set(sorted(known)[:: self.rehearsed])
        self._train_on([p for p in self.pictures if p.index not in known or p.index in rehearsed])
        self.model = load_part(DiT, "dit", options.parts)
        attach(self.model, self.rank)

    def export(self, model: nn.Module, folder: Path) -> None:
        save_changes(RELEASE, model, folder, part_digests(("dit",), self.options.parts), int8=True)


def _captions(picture: Picture, number: int = 0) -> list[str]:
    always = True if style_of(picture.style).finish is Finish.INK else None
    return [caption(picture, number * CAPTIONS + i, style=always) for i in range(CAPTIONS)]
