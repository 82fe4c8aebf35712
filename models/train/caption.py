"""Training the captioner's cross-attention layers (recipe "caption"). Backbone, ViT, space and detector are frozen.

A step sees pictures with several captions each (kinds and languages) and predicts next tokens. A third of the pictures
are single training pictures, a third scenes of one to four things with exact truth, a third drawn by the generator (in
shards, drawn at first use and stored). Most are degraded as files are: laid on a background, cropped, shrunk,
compressed. Captions stay true: no caption of a picture on a background calls it transparent. The captioner gets the
true names of things in place of the detector's, so that it learns to write about given names.

And the detector (recipe "detector"): names and places of things, in any drawing. It sees the same kinds of pictures,
and a few from outside the world. All are turned, moved, recoloured and degraded: the name of a thing depends on none of
these. Most steps use 96 pixels a side, the last ones 128 (progressive sizes, arXiv 2104.00298).

Shapes: B pictures, R = B CAPTIONS rows, L tokens.
"""

import io
import re
from collections import defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils import send_to_device
from PIL import Image
from torch import Tensor, nn

from models.assets import preset
from models.captioner import FEATURES, FIRST_TASK, TASKS, Captioner, CaptionerConfig, Entity, Kind, PictureEncoder
from models.data.captions import Namer, caption, f1, scene_facts, tags
from models.data.colours import main_colours
from models.data.grammar import LANGUAGES, SCENE_TEMPLATES, Language
from models.data.pixels import SIZE, fit, to_tensor, to_uint8
from models.data.scenes import Scene, make_scene
from models.data.stored import progress, stored
from models.data.variety import can_be_mirrored, outside_picture, outside_pictures
from models.data.world import Picture, Sampler, World, evenly, pictures_by_concept
from models.detector import PART as DETECTOR
from models.detector import Detections, Detector
from models.pipelines.caption import PART, CaptionPipeline, probabilities, ranking_name, ranking_of
from models.runtime import native_dtype
from models.space import Embedder
from models.tokenizer import TEXT_LENGTH
from models.train.loop import Task, TaskOptions, unwrapped
from models.weights import listed_parts, part_digests, save_part, weights_digest

FROZEN = ("language", "vision", "space")
SCENES, DRAWN = 0.35, 0.25  # shares of the pictures
DEGRADED = (0.4, 0.25, 0.3, 0.4)  # shares of pictures: laid on a background, cropped, shrunk, compressed
WHITE = 0.5  # of the backgrounds
SHARD, SHARDS = 32, 16  # drawn pictures in a shard, and shards
TRIES = 12  # seeds until a caption contains the name
_CLEAR = re.compile(r"transparent|no background|isolated|cutout|透明|无背景", re.IGNORECASE)

Draw = Callable[[Sequence[str], Sequence[int]], np.ndarray]  # prompts and seeds -> premultiplied uint8 (N, 128, 128, 4)
CAPTIONS = 3  # of a picture
NAMELESS = 0.1  # share of pictures without given names
HIDDEN = 0.1  # share of hidden pictures: they train the blind decoder of classifier-free guidance
EVERY = 40  # steps after which a new shard of drawn pictures joins
VALIDATED, RANKED = 48, 64  # pictures of each kind in the validation, and in the fit of the ranking
SEVERAL = 5  # candidates of the second ranking


@dataclass(frozen=True)
class Sample:
    """A picture, premultiplied uint8 (128, 128, 4), with its truth; a `grounded` one is opaque."""

    pixels: np.ndarray
    source: Any  # the Picture or Scene; for the detector also None, a picture from outside the world
    grounded: bool = False

    def caption(self, kind: Kind, language: Language, seed: int) -> str:
        """A caption of a kind that contains the name."""
        texts = (_caption(self.source, kind, language, seed + i) for i in range(TRIES))
        fitting = [text for text in texts if self._fits(text, language)]
        return (fitting or [_caption(self.source, "short", language, seed)])[0].rstrip(".。")

    def degraded(self, rng: np.random.Generator) -> "Sample":
        """The sample as a file may show it."""
        pixels, grounded = degraded(self.pixels, rng)
        return replace(self, pixels=pixels, grounded=self.grounded or grounded)

    def _fits(self, text: str, language: Language) -> bool:
        if self.grounded and _CLEAR.search(text):
            return False
        if isinstance(self.source, Scene):
            return not text[:1].isupper()
        name = self.source.names.get(language) or self.source.names["en"]
        return name in text and (not text[:1].isupper() or text.startswith(name))


def _caption(source: Picture | Scene, kind: Kind, language: Language, seed: int) -> str:
    if isinstance(source, Scene):
        if kind == "tags":
            return scene_tags(source, language, seed)
        return source.caption(seed, language, kind, grounded=kind == "long")
    if kind == "tags":
        return tags(source, seed, language)
    return caption(source, seed, language, kind, style=kind == "long")


def scene_tags(scene: Scene, language: Language, seed: int) -> str:
    """The things of a scene with their colours, or their number."""
    if scene.kind == "count":
        return scene.caption(seed, language, "short")
    return SCENE_TEMPLATES[language]["joint"].join(item.describe(language) for item in scene.objects)


def degraded(
    pixels: np.ndarray, rng: np.random.Generator, shares: tuple[float, float, float, float] = DEGRADED
) -> tuple[np.ndarray, bool]:
    """A picture (128, 128, 4) degraded as files are, and whether it has a background; only pictures on a background are
    compressed. Things stay whole and in their places, so captions stay true."""
    ground, cropped, small, compressed = rng.random(4) < shares
    image = Image.fromarray(np.ascontiguousarray(pixels), "RGBa")
    if cropped and (box := image.getbbox()):
        margins = box[0], box[1], SIZE - box[2], SIZE - box[3]
        left, top, right, bottom = (round(edge * rng.uniform(0.3, 1)) for edge in margins)
        image = image.crop((left, top, SIZE - right, SIZE - bottom))
    if small:
        side = int(rng.integers(40, 112))
        image = image.resize((side, max(1, round(side * image.height / image.width))), Image.Resampling.BILINEAR)
    if not ground:
        return fit(image), False
    colour = (255,) * 3 if rng.random() < WHITE else tuple(int(x) for x in rng.integers(0, 256, 3))
    flat = Image.new("RGB", image.size, colour)
    straight = image.convert("RGBA")
    flat.paste(straight, mask=straight)
    if compressed:
        file = io.BytesIO()
        flat.save(file, "JPEG", quality=int(rng.integers(30, 95)))
        flat = Image.open(file).convert("RGB")
    return fit(flat), True


class DrawnPool:
    """Pictures of a split drawn by the generator, in shards of `size`, stored in `folder` (None: in memory)."""

    def __init__(
        self, world: World, draw: Draw, folder: Path | None, seed: int, split: str = "train", size: int = SHARD
    ) -> None:
        self.draw, self.folder, self.seed, self.split, self.size = draw, folder, seed, split, size
        self.pictures = [p for p in world.split(split) if not p.skin]
        self.sampler = Sampler(self.pictures)
        self.shard = lru_cache(maxsize=None)(self._shard)

    def _shard(self, number: int) -> list[Sample]:
        rng = np.random.default_rng((self.seed, number, len(self.split)))
        pictures = self.sampler.draw(rng, self.size)
        seeds = [int(n) for n in rng.integers(2**31, size=self.size)]
        prompts = [f"{p.names['en']}, {p.style} style" for p in pictures]
        file = self.folder and self.folder / f"{self.split}-{self.seed}-{number:04d}.npy"
        pixels = stored(file, lambda: self.draw(prompts, seeds))
        return [
            Sample(drawing, replace(picture, colours=main_colours(drawing)))
            for drawing, picture in zip(pixels, pictures, strict=True)
        ]


def drawn_pool(options: TaskOptions, split: str, size: int = SHARD) -> DrawnPool | None:
    """The pool of the generator among a task's parts, stored in its cache; None without a generator."""
    if "dit" not in listed_parts(options.parts):
        return None

    @lru_cache(maxsize=1)
    def stickers() -> Any:
        from models.pipelines.sticker import StickerPipeline

        return StickerPipeline.assemble(options.parts)

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        from models.pipelines.image import Pictures
        from models.sampling.loop import FAST_SAMPLING, Sampling

        sampling = FAST_SAMPLING if stickers().fast is not None else Sampling(8)
        with torch.autocast("cpu", enabled=False):
            events = stickers().steps(prompts, seeds, sampling)
            return np.concatenate([event.pixels for event in events if isinstance(event, Pictures)])

    digest = weights_digest((*FROZEN, "autoencoder", "dit"), options.parts)[:12]
    folder = options.cache and options.cache / f"drawn-{digest}-{options.world.digest[:8]}"
    return DrawnPool(options.world, draw, folder, options.seed, split, size)


def held_out(
    world: World, concepts: Container[str], pool: DrawnPool | None, cells: int, drawn: int, scenes: int
) -> dict[str, list[Sample]]:
    """By kind, at most so many samples: `cells` of `val` with these `concepts`, pictures `drawn` of such cells from the
    `pool`, and `scenes` of held-out combinations, of which a small world has few."""
    pictures = [p for p in world.split("val") if p.concept in concepts and not p.skin]
    samples = {"cells": [Sample(world.pixels[p.index], p) for p in evenly(pictures, cells)]}
    if pool:
        samples["drawn"] = [item for number in range(-(-drawn // pool.size)) for item in pool.shard(number)][:drawn]
    composed = list[Sample]()
    for seed in range(scenes):
        with suppress(ValueError):
            composed.append(scene_sample(world, make_scene(world, seed, "val")))
    return samples | ({"scenes": composed} if composed else {})


def scene_sample(world: World, scene: Scene) -> Sample:
    return Sample(scene.render(world), scene, bool(scene.background.colours))


class SampleSource:
    """Draws training pictures, scenes and pictures of the generator: a pure function of the random stream and of the
    number of shards in use."""

    def __init__(
        self, world: World, pictures: list[Picture], drawn: DrawnPool | None, scenes: float, drawn_share: float
    ) -> None:
        self.world, self.drawn, self.sampler = world, drawn, Sampler(pictures)
        self.scenes, self.drawn_share = scenes, drawn_share

    def sample(self, rng: np.random.Generator, shards: int) -> Sample:
        draw, number = rng.random(), int(rng.integers(2**31 - 1))
        if draw < self.scenes:
            return scene_sample(self.world, make_scene(self.world, number))
        if self.drawn and shards and draw < self.scenes + self.drawn_share:
            return self.drawn.shard(int(rng.integers(shards)))[int(rng.integers(self.drawn.size))]
        picture = self.sampler.draw(rng, 1)[0]
        return Sample(self.world.pixels[picture.index], picture)


def captions_of(sample: Sample, rng: np.random.Generator, count: int) -> list[tuple[int, str]]:
    """At most `count` captions of different kinds and languages: numbers in TASKS, and texts. A picture without Chinese
    name has English captions only."""
    chinese = isinstance(sample.source, Scene) or "zh" in sample.source.names
    asks = [number for number, (_, language) in enumerate(TASKS) if chinese or language == "en"]
    chosen = rng.permutation(asks)[:count]
    seeds = rng.integers(2**31 - 1, size=count)
    return [
        (int(ask), sample.caption(*TASKS[int(ask)], seed=int(seed))) for ask, seed in zip(chosen, seeds, strict=False)
    ]


def plainest(pictures: list[Picture]) -> Picture:
    """The picture without skin tone and gender, where there is one."""
    return min(pictures, key=lambda p: (p.skin is not None, p.gender is not None, len(p.names["en"])))


class TrueEntities:
    """Names and places for the captioner in training: true ones, in the order of the detector's."""

    def __init__(self, world: World) -> None:
        self.plain = {concept: plainest(pictures).names for concept, pictures in pictures_by_concept(world).items()}

    def exact(self, sample: Sample) -> list[Entity]:
        """The things of a sample with the names of their concepts, as the detector names them."""
        source = sample.source
        if isinstance(source, Picture):
            return [self._entity(self.plain.get(source.concept, source.names), 0.5, 0.5)]
        boxes = [(item, item.box) for item in source.objects]
        entities = [
            self._entity(item.names, (left + width / 2) / SIZE, (top + height / 2) / SIZE)
            for item, (left, top, width, height) in boxes
        ]
        return sorted(entities, key=lambda entity: entity.x + entity.y)

    def noisy(self, sample: Sample, rng: np.random.Generator) -> list[Entity]:
        """The same for a step: places with noise, at times the picture's own name, at times nothing."""
        if rng.random() < NAMELESS:
            return []
        entities = self.exact(sample)
        if isinstance(sample.source, Picture) and rng.random() < 0.5:
            entities = [self._entity(sample.source.names, 0.5, 0.5)]
        noise = rng.normal(0, 0.02, (len(entities), 2))
        return [Entity(e.names, e.x + x, e.y + y) for e, (x, y) in zip(entities, noise, strict=True)]

    @staticmethod
    def _entity(names: Mapping[str, str], x: float, y: float) -> Entity:
        return Entity(tuple(names.get(language, "") for language in LANGUAGES), x, y)


# --- Training ---------------------------------------------------------------------------------------------------------


class CaptionTask(Task):
    """Recipe "caption"."""

    def __init__(
        self,
        options: TaskOptions,
        validated: int = VALIDATED,
        ranked: int = RANKED,
        shard: int = SHARD,
    ) -> None:
        self.options, self.world, self.validated, self.ranked = options, options.world, validated, ranked
        detector = Detector.load(options.parts) if "detector" in listed_parts(options.parts) else None
        self.encoder = PictureEncoder(Embedder.load(options.parts), detector)
        self.model: nn.Module = self._network()
        self.drawn = drawn_pool(options, "train", shard)
        self.seen_drawn = drawn_pool(options, "val", shard)
        self.source = SampleSource(self.world, self.world.split("train"), self.drawn, SCENES, DRAWN)
        self.entities = TrueEntities(self.world)
        self._ranked: dict[str, float] = {}

    def _network(self) -> Captioner:
        language = self.encoder.embedder.language
        sizes = language.config.to_diff_dict()
        sizes = {key: value for key, value in sizes.items() if key in CaptionerConfig.__dataclass_fields__}
        widths = {name: self.encoder.width(name) for name in FEATURES}
        config = CaptionerConfig(**{**sizes, **preset(PART, self.options.preset), "features": widths})
        return Captioner(config).attach(language)

    # --- A step -----------------------------------------------------------------------------------------------------

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        count = max(1, self.options.batch_size(progress) // ranks)
        rngs = [np.random.default_rng((self.options.seed, step, rank * count + n)) for n in range(count)]
        shards = min(1 + step // EVERY, SHARDS) if self.drawn else 0
        samples = [self.source.sample(rng, shards).degraded(rng) for rng in rngs]
        texts = [self._texts(sample, rng) for sample, rng in zip(samples, rngs, strict=True)]
        hidden = torch.tensor([rng.random() < HIDDEN for rng in rngs])
        entities = [self.entities.noisy(sample, rng) for sample, rng in zip(samples, rngs, strict=True)]
        return self.rows(samples, entities, [text for group in texts for text in group], ~hidden)

    @staticmethod
    def _texts(sample: Sample, rng: np.random.Generator) -> list[tuple[int, str]]:
        """CAPTIONS captions, some repeated where there are fewer kinds."""
        return (captions_of(sample, rng, CAPTIONS) * CAPTIONS)[:CAPTIONS]

    def rows(
        self, samples: list[Sample], entities: list[list[Entity]], texts: list[tuple[int, str]], visible: Tensor
    ) -> dict[str, Any]:
        """The network's input: the tokens of B pictures, and R / B captions of each in turn."""
        pixels = to_tensor(np.stack([sample.pixels for sample in samples]))
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=native_dtype() == torch.bfloat16):
            vision: Any = self.encoder.embedder.vision
            features = self.encoder.features(vision.forward(pixels.to(vision.dtype)), entities)
        ids, mask = self._ids(texts)
        labels = ids.masked_fill(~mask, -100)
        labels[:, :2] = -100
        inputs = {"features": features, "visible": visible, "ids": ids, "mask": mask, "labels": labels}
        return send_to_device(inputs, self.options.device)

    def _ids(self, texts: list[tuple[int, str]]) -> tuple[Tensor, Tensor]:
        """<bos> ask text <eos>: ids (R, L) and mask of real tokens."""
        tokenizer = self.encoder.embedder.tokenizer
        encoded = tokenizer([text for _, text in texts], add_special_tokens=False)["input_ids"]
        rows = [
            [tokenizer.bos_token_id, FIRST_TASK + ask, *tokens, tokenizer.eos_token_id][: TEXT_LENGTH + 8]
            for (ask, _), tokens in zip(texts, encoded, strict=True)
        ]
        ids = torch.full((len(rows), max(map(len, rows))), tokenizer.pad_token_id)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
        lengths = torch.tensor([len(row) for row in rows])
        return ids, torch.arange(ids.shape[1]) < lengths[:, None]

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        network = unwrapped(model)
        picture = network.read(batch["features"], batch["visible"])
        output = model(batch["ids"], attention_mask=batch["mask"], picture=picture, labels=batch["labels"])
        readers: Any = network.cross_layers
        gates = torch.stack([reader.gates.abs().mean() for reader in readers]).mean()
        return {"loss": output.loss, "gates": 10 * gates.detach()}

    # --- A checkpoint -----------------------------------------------------------------------------------------------

    @cached_property
    def validation(self) -> dict[str, list[Sample]]:
        count, trained = self.validated, {picture.concept for picture in self.world.split("train")}
        return held_out(self.world, trained, self.seen_drawn, count, count, count)

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The loss with true names, and the quality of the ranking; `python -m eval captions` measures captions."""
        figures = dict[str, float]()
        for kind, samples in self.validation.items():
            rng = np.random.default_rng(0)
            texts = [text for sample in samples for text in self._texts(sample, rng)]
            entities = [self.entities.exact(sample) for sample in samples]
            batch = self.rows(samples, entities, texts, torch.ones(len(samples), dtype=torch.bool))
            figures[f"loss_{kind}"] = float(self.loss(model, batch, 1.0)["loss"])
        return figures | self._ranked

    @cached_property
    def namer(self) -> Namer:
        return Namer(self.world.split("train") + self.world.split("val"))

    def _right(self, sample: Sample, text: str, language: Any) -> float:
        """Whether the text names the concept; for a scene, F1 of its facts."""
        source = sample.source
        if isinstance(source, Scene):
            concepts = {item.concept for item in source.objects}
            return f1(self.namer.facts(text, language, concepts), scene_facts(source))
        return float(self.namer.names(text, language, source.concept))

    def pipeline(self, model: nn.Module) -> CaptionPipeline:
        return CaptionPipeline(unwrapped(model), self.encoder)

    def _rank(self, pipeline: CaptionPipeline) -> dict[str, float]:
        """Fit the rankings, which turn figures of candidates into probabilities, on candidates of `val` and of pictures
        from outside the world, for which no candidate is right; returns how often the best candidate is right, on the
        pictures that no ranking was fitted on."""
        known = self.validation["cells"] + self.validation.get("drawn", [])
        known = known[:: max(1, len(known) // self.ranked)][: self.ranked]
        pixels = np.stack([*(sample.pixels for sample in known), *outside_pictures(max(2, len(known) // 4), seed=1)])
        rankings, figures = dict[str, dict[str, float]](), dict[str, float]()
        for count in (1, SEVERAL):
            name, candidates = ranking_name(count), pipeline.figures(pixels, "en", "short", count)
            right = [
                [number < len(known) and bool(self._right(known[number], text, "en")) for text in row.texts]
                for number, row in enumerate(candidates)
            ]
            ranking = rankings[name] = ranking_of(candidates, right, len(known))
            best = [int(probabilities(row, ranking).argmax()) for row in candidates]
            figures[f"{name}_ranked"] = float(np.mean([right[n][best[n]] for n in range(1, len(known), 2)]))
        pipeline.captioner.config.ranking = rankings
        return figures

    def export(self, model: nn.Module, folder: Path) -> None:
        """The layers that are added to the backbone, with a new ranking where there is a detector."""
        parts = (*FROZEN, *([DETECTOR] if self.encoder.detector else []))
        if self.encoder.detector:
            with torch.no_grad():
                self._ranked = self._rank(self.pipeline(model))
        save_part(unwrapped(model), PART, folder, part_digests(parts, self.options.parts), int8=True)


# --- The detector -----------------------------------------------------------------------------------------------------


SIDES = ((0.0, 96), (0.7, 128))  # pairs: from this progress on, pictures have so many pixels a side
OUTSIDE = 0.04  # share of pictures from outside the world
DETECTED_SCENES, DETECTED_DRAWN = 0.25, 0.07  # shares of the others
SEEN_KINDS = (0, 3)  # of `outside_picture`, noise and patterns; the others are for evaluation
SMOOTHING = 0.1  # of the labels
POSITIVE = 12.0  # weight of a cell that holds a centre: there is one in 64
JITTERED, GREY = 0.6, 0.12  # shares of pictures with other colours and without
DETECTED_DEGRADED = (0.4, 0.0, 0.35, 0.35)  # as DEGRADED, not cropped
HELD_OUT_CELLS, HELD_OUT_SCENES = 600, 128  # in the validation, at most
CHUNK = 32


class DetectorTask(Task):
    """Recipe "detector"; with `drawn` it also trains on pictures of the generator, where there is one."""

    def __init__(self, options: TaskOptions, drawn: bool = True) -> None:
        self.options, self.world = options, options.world
        self.drawn = drawn_pool(options, "train") if drawn else None
        self.seen_drawn = drawn_pool(options, "val") if drawn else None
        by_concept = pictures_by_concept(self.world)
        self.numbers = {concept: number for number, concept in enumerate(by_concept)}
        self.pictures = [p for p in self.world.split("train") if p.concept in self.numbers]
        self.source = SampleSource(self.world, self.pictures, self.drawn, DETECTED_SCENES, DETECTED_DRAWN)
        pictures = [plainest(pictures) for pictures in by_concept.values()]
        names = [[picture.names.get(language, "") for language in LANGUAGES] for picture in pictures]
        detector = Detector(names, **preset(DETECTOR, options.preset))
        self.embedder = Embedder.load(options.parts)
        detector.begin(self.embedder.text([english for english, *_ in names]).float())
        self.model: nn.Module = detector

    # --- A step -----------------------------------------------------------------------------------------------------

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """Pictures (B, 4, S, S); row, concept and centre in [0, 1] of each thing; the rows with a single thing."""
        count = self.options.batch_size(progress) // ranks
        rngs = [np.random.default_rng((self.options.seed, step, rank * count + n)) for n in range(count)]
        samples = [self._sample(rng) for rng in rngs]
        side = [size for start, size in SIDES if start <= progress][-1]
        return self.rows(samples, side, rngs)

    def _sample(self, rng: np.random.Generator) -> Sample:
        if rng.random() < OUTSIDE:
            number = 4 * int(rng.integers(2**31 - 1)) + int(rng.choice(SEEN_KINDS))
            return Sample(outside_picture(number, seed=2), None)
        return self.source.sample(rng, SHARDS)

    def rows(self, samples: list[Sample], side: int, rngs: list[np.random.Generator] | None = None) -> dict[str, Any]:
        """The network's input, augmented where there are random streams."""
        pixels = to_tensor(np.stack([sample.pixels for sample in samples]))
        centres = [_centres(sample) for sample in samples]
        if rngs:
            maps = np.stack([_motion(sample, rng) for sample, rng in zip(samples, rngs, strict=True)])
            grid = F.affine_grid(torch.from_numpy(maps).float(), [len(samples), 4, 128, 128], align_corners=False)
            pixels = F.grid_sample(pixels, grid, align_corners=False)
            centres = [_moved(points, motion) for points, motion in zip(centres, maps, strict=True)]
            pixels = torch.stack([_augmented(picture, rng) for picture, rng in zip(pixels, rngs, strict=True)])
        if side != pixels.shape[-1]:
            pixels = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True, align_corners=False)
        things = [
            (row, self.numbers.get(concept, -1), x, y)
            for row, (sample, points) in enumerate(zip(samples, centres, strict=True))
            for concept, (x, y) in zip(_concepts(sample), points, strict=True)
        ]
        table = torch.tensor([thing[:2] for thing in things]).view(-1, 2)
        places = torch.tensor([thing[2:] for thing in things], dtype=torch.float32).view(-1, 2)
        single = torch.tensor([len(points) == 1 for points in centres])
        inputs = {"pixels": pixels, "things": table, "centres": places, "single": single}
        return send_to_device(inputs, self.options.device)

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        # Without autocast: convolutions by channel take longer in bf16 on a CPU (46 pictures a second against 71).
        with torch.autocast(batch["pixels"].device.type, enabled=False):
            detections: Detections = model(batch["pixels"].float())
        rows, concepts = batch["things"].T
        x, y = _cells(batch, detections)
        wanted = torch.zeros_like(detections.objectness)
        wanted[rows, y, x] = 1
        weight = wanted.new_tensor(POSITIVE)
        there = F.binary_cross_entropy_with_logits(detections.objectness, wanted, pos_weight=weight)
        places = _smoothed(detections.cells[rows, y, x], concepts)
        alone = batch["single"][rows]
        whole = _smoothed(detections.whole[rows[alone]], concepts[alone])
        return {"loss": whole + 0.5 * places + there, "whole": whole, "places": places, "there": there}

    # --- A checkpoint -----------------------------------------------------------------------------------------------

    @cached_property
    def validation(self) -> dict[str, list[Sample]]:
        return held_out(self.world, self.numbers, self.seen_drawn, HELD_OUT_CELLS, 2 * SHARD, HELD_OUT_SCENES)

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Share of things whose concept comes first: by its picture ("whole", for single pictures), and by its cell."""
        hits: dict[str, list[Tensor]] = defaultdict(list)
        for kind, samples in self.validation.items():
            for start in range(0, len(samples), CHUNK):
                batch = self.rows(samples[start : start + CHUNK], 128)
                with torch.autocast(batch["pixels"].device.type, enabled=False):
                    detections: Detections = model(batch["pixels"].float())
                rows, concepts = batch["things"].T
                x, y = _cells(batch, detections)
                hits[f"{kind}_placed"].append(detections.cells[rows, y, x].argmax(1) == concepts)
                if kind != "scenes":
                    hits[f"{kind}_whole"].append(detections.whole[rows].argmax(1) == concepts)
        return {name: float(torch.cat(right).float().mean()) for name, right in hits.items()}

    @cached_property
    def centres(self) -> Tensor:
        """(C, 128): the mean vector of each concept's training pictures, one picture of each name and style."""
        pictures = list({(p.names["en"], p.style): p for p in self.pictures}.values())
        key = f"{self.world.digest[:8]}-{weights_digest(FROZEN, self.options.parts)[:12]}"

        def encoded() -> np.ndarray:
            starts = progress(range(0, len(pictures), CHUNK), f"encoding {len(pictures):,} pictures")
            with torch.autocast("cpu", torch.bfloat16, enabled=native_dtype() == torch.bfloat16):
                rows = [[p.index for p in pictures[start : start + CHUNK]] for start in starts]
                return torch.cat([self.embedder.image(self.world.pixels[some]) for some in rows]).numpy()

        cache = self.options.cache and self.options.cache / f"pictures-{key}.npy"
        vectors = torch.from_numpy(np.array(stored(cache, encoded)))
        concepts = torch.tensor([self.numbers[p.concept] for p in pictures])
        return F.normalize(torch.zeros(len(self.numbers), vectors.shape[1]).index_add(0, concepts, vectors), dim=-1)

    @torch.no_grad()
    def export(self, model: nn.Module, folder: Path) -> None:
        network = unwrapped(model)
        network.centres.copy_(self.centres)
        save_part(network, DETECTOR, folder, part_digests(FROZEN, self.options.parts), int8=True)


def _cells(batch: dict[str, Any], detections: Detections) -> Tensor:
    """Columns and rows (2, N) of the cells in which the centres lie."""
    size = detections.objectness.shape[1]
    return (batch["centres"] * size).long().clamp(0, size - 1).T


def _smoothed(logs: Tensor, concepts: Tensor) -> Tensor:
    """Cross-entropy of (N, C) with smoothed labels, 0 for no rows. Rows of unknown concepts (-1) do not count."""
    total = F.cross_entropy(logs, concepts, ignore_index=-1, label_smoothing=SMOOTHING, reduction="sum")
    return total / (concepts >= 0).sum().clamp_min(1)


def _concepts(sample: Sample) -> list[str]:
    if isinstance(sample.source, Scene):
        return [item.concept for item in sample.source.objects]
    return [sample.source.concept] if sample.source else []


def _centres(sample: Sample) -> list[tuple[float, float]]:
    """Centres of the things in [0, 1]; for a single picture, of its opaque box."""
    if sample.source is None:
        return []
    if isinstance(sample.source, Scene):
        boxes = (item.box for item in sample.source.objects)
        return [((left + width / 2) / 128, (top + height / 2) / 128) for left, top, width, height in boxes]
    box = Image.fromarray(np.ascontiguousarray(sample.pixels[..., 3])).getbbox() or (0, 0, 128, 128)
    return [((box[0] + box[2]) / 256, (box[1] + box[3]) / 256)]


def _motion(sample: Sample, rng: np.random.Generator) -> np.ndarray:
    """(2, 3) affine map from output to input coordinates, both in [-1, 1]; the things of a scene stay in the frame."""
    picture = sample.source if isinstance(sample.source, Picture) else None
    scene = picture is None
    angle = 0.0 if scene else rng.normal(0, 0.15)
    zoom = np.exp(rng.uniform(*((-0.05, 0.25) if scene else (-0.3, 0.5))))
    stretch, room = np.exp(rng.uniform(-0.12, 0.12)), 0.04 if scene else 0.15
    shift = rng.uniform(-room, room, 2)
    flip = -1.0 if picture and can_be_mirrored(picture) and rng.random() < 0.5 else 1.0
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    return np.array([[flip * cos * stretch, -flip * sin, shift[0]], [sin * stretch, cos, shift[1]]])


def _moved(centres: list[tuple[float, float]], motion: np.ndarray) -> list[tuple[float, float]]:
    """Where centres lie after the inverse of a map."""
    places = np.array(centres).reshape(-1, 2) * 2 - 1
    moved = np.linalg.solve(motion[:, :2], (places - motion[:, 2]).T).T
    return [(x, y) for x, y in np.clip((moved + 1) / 2, 0, 0.999).tolist()]


def _augmented(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """A picture (4, 128, 128) with mixed colours, degraded as files are."""
    rgb, alpha = pixels[:3], pixels[3:]
    if rng.random() < JITTERED:
        rgb = torch.einsum("ij,jhw->ihw", _mixing(rng), rgb)
        light, contrast = rng.uniform(-0.15, 0.15), rng.uniform(0.7, 1.3)
        rgb = (contrast * rgb + (0.5 * (1 - contrast) + light) * alpha).clamp(min=0).minimum(alpha)
    if rng.random() < GREY:
        rgb = rgb.mean(0, keepdim=True).expand_as(rgb)
    shown, _ = degraded(to_uint8(torch.cat([rgb, alpha])[None])[0], rng, DETECTED_DEGRADED)
    return to_tensor(shown)[0]


def _mixing(rng: np.random.Generator) -> Tensor:
    """(3, 3) colour matrix: a rotation about the grey axis by any angle, and a saturation."""
    angle, saturation = rng.uniform(-np.pi, np.pi) * (rng.random() < 0.5), rng.uniform(0.4, 1.5)
    cos, sin = np.cos(angle), np.sin(angle)
    grey = np.full((3, 3), 1 / 3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    turn = cos * np.eye(3) + (1 - cos) * grey + sin * cross
    return torch.from_numpy(grey + saturation * (turn - grey)).float()
