"""What the captioner learns from: pictures as people have them, and what is to be said of each.

A third are single training pictures, a third scenes of one to four things with exact truth, a third drawn by the
generator (in shards, drawn when first asked for and kept). Most are spoilt as files are: laid on a ground, cut, made
smaller, compressed. What is said is true of what is shown: a picture on a ground is said to have no clear one.
"""

import io
import re
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from models.captioner import ASKS, Kind
from models.data.captions import caption, tags
from models.data.colours import main_colours
from models.data.grammar import SCENE_TEMPLATES, Language
from models.data.pixels import SIZE, fit
from models.data.scenes import Scene, make_scene
from models.data.stored import whole
from models.data.world import Picture, Sampler, World, evenly
from models.train.loop import TaskOptions
from models.weights import listed_parts, weights_digest

FROZEN = ("language", "vision", "space")
SCENES, DRAWN = 0.35, 0.25  # shares of the pictures
GROUNDED, CUT, SMALLER, COMPRESSED = 0.4, 0.25, 0.3, 0.4  # shares that are spoilt so; only what is on a ground is JPEG
WHITE = 0.5  # of the grounds
SHARD, SHARDS = 32, 16  # drawn pictures in a shard, and shards
TRIES = 12  # seeds until a caption says the name
_CLEAR = re.compile(r"transparent|no background|isolated|cutout|透明|无背景", re.IGNORECASE)

Draw = Callable[[Sequence[str], Sequence[int]], np.ndarray]  # prompts and seeds -> premultiplied uint8 (N, 128, 128, 4)


@dataclass(frozen=True)
class Shown:
    """A picture and what may be said of it: `pixels` premultiplied uint8 (128, 128, 4); `grounded` ones are opaque."""

    pixels: np.ndarray
    source: Picture | Scene
    grounded: bool = False

    def says(self, kind: Kind, language: Language, seed: int) -> str:
        """One caption of a kind, which names what is shown."""
        texts = (_said(self.source, kind, language, seed + i) for i in range(TRIES))
        fitting = [text for text in texts if self._fits(text, language)]
        return (fitting or [_said(self.source, "short", language, seed)])[0].rstrip(".。")

    def _fits(self, text: str, language: Language) -> bool:
        if self.grounded and _CLEAR.search(text):
            return False
        if isinstance(self.source, Scene):
            return not text[:1].isupper()
        name = self.source.names.get(language) or self.source.names["en"]
        return name in text and (not text[:1].isupper() or text.startswith(name))


def _said(source: Picture | Scene, kind: Kind, language: Language, seed: int) -> str:
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


def spoilt(pixels: np.ndarray, rng: np.random.Generator, share: float = 1.0) -> tuple[np.ndarray, bool]:
    """A picture (128, 128, 4) as a file of it might be, and whether it is on a ground; each fault with its share times
    `share`. Things stay whole and where they were: they may be said of."""
    ground, cut, small, compressed = rng.random(4) < share * np.array([GROUNDED, CUT, SMALLER, COMPRESSED])
    image = Image.fromarray(np.ascontiguousarray(pixels), "RGBa")
    if cut and (box := image.getbbox()):
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
    """Things of a split drawn by the generator, in shards of `size` that are kept in `folder` (None: in memory)."""

    def __init__(
        self, world: World, draw: Draw, folder: Path | None, seed: int, split: str = "train", size: int = SHARD
    ) -> None:
        self.draw, self.folder, self.seed, self.split, self.size = draw, folder, seed, split, size
        self.pictures = [p for p in world.split(split) if not p.skin]
        self.sampler = Sampler(self.pictures)
        self.shard = lru_cache(maxsize=None)(self._shard)

    def _shard(self, number: int) -> list[Shown]:
        rng = np.random.default_rng((self.seed, number, len(self.split)))
        pictures = self.sampler.draw(rng, self.size)
        seeds = [int(n) for n in rng.integers(2**31, size=self.size)]
        prompts = [f"{p.names['en']}, {p.style} style" for p in pictures]
        file = self.folder and self.folder / f"{self.split}-{self.seed}-{number:04d}.npz"
        if file is None:
            pixels = self.draw(prompts, seeds)
        else:
            if not file.exists():
                with whole(file) as part:
                    np.savez_compressed(part, pixels=self.draw(prompts, seeds))
            pixels = np.load(file, allow_pickle=False)["pixels"]
        return [
            Shown(one, replace(picture, colours=main_colours(one)))
            for one, picture in zip(pixels, pictures, strict=True)
        ]


def drawn_pool(options: TaskOptions, split: str, size: int = SHARD) -> DrawnPool | None:
    """That of the generator among a task's parts, kept in its cache; None where there is no generator."""
    if "dit" not in listed_parts(options.parts):
        return None

    @lru_cache(maxsize=1)
    def stickers() -> Any:
        from models.pipelines.image import StickerPipeline

        return StickerPipeline.assemble(options.parts)

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        from models.sampling.loop import FAST_SAMPLING, Pictures, Sampling

        sampling = FAST_SAMPLING if stickers().fast is not None else Sampling(8)
        with torch.autocast("cpu", enabled=False):
            events = stickers().steps(prompts, seeds, sampling)
            return np.concatenate([event.pixels for event in events if isinstance(event, Pictures)])

    made_with = weights_digest((*FROZEN, "autoencoder", "dit"), options.parts)[:12]
    folder = options.cache and options.cache / f"drawn-{made_with}-{options.world.digest[:8]}"
    return DrawnPool(options.world, draw, folder, options.seed, split, size)


def held_out(
    world: World, concepts: Container[str], pool: DrawnPool | None, cells: int, drawn: int, scenes: int
) -> dict[str, list[Shown]]:
    """At most so many held-out cells of `val`, of `concepts`; of the `pool` of pictures that the generator drew of
    such; and of scenes of held-out combinations, of which a small world has few."""
    pictures = [p for p in world.split("val") if p.concept in concepts and not p.skin]
    found = {"cells": [Shown(world.pixels[p.index], p) for p in evenly(pictures, cells)]}
    if pool:
        found["drawn"] = [one for number in range(-(-drawn // pool.size)) for one in pool.shard(number)][:drawn]
    shown = list[Shown]()
    for seed in range(scenes):
        with suppress(ValueError):
            shown.append(shown_scene(world, make_scene(world, seed, "val")))
    return found | ({"scenes": shown} if shown else {})


def shown_scene(world: World, scene: Scene) -> Shown:
    return Shown(scene.render(world), scene, bool(scene.background.colours))


class CaptionSource:
    """Draws what a step shows: a pure function of its random stream and of how many shards are `known`."""

    def __init__(self, world: World, drawn: DrawnPool | None) -> None:
        self.world, self.drawn, self.sampler = world, drawn, Sampler(world.split("train"))

    def show(self, rng: np.random.Generator, known: int) -> Shown:
        draw, number = rng.random(), int(rng.integers(2**31 - 1))
        if draw < SCENES:
            shown = shown_scene(self.world, make_scene(self.world, number))
        elif self.drawn and known and draw < SCENES + DRAWN:
            shown = self.drawn.shard(int(rng.integers(known)))[int(rng.integers(self.drawn.size))]
        else:
            picture = self.sampler.draw(rng, 1)[0]
            shown = Shown(self.world.pixels[picture.index], picture)
        pixels, grounded = spoilt(shown.pixels, rng)
        return Shown(pixels, shown.source, shown.grounded or grounded)


def asked(shown: Shown, rng: np.random.Generator, count: int) -> list[tuple[int, str]]:
    """`count` captions of different kinds and languages: numbers in ASKS and texts. What has no Chinese name is asked
    for in English alone."""
    chinese = isinstance(shown.source, Scene) or "zh" in shown.source.names
    asks = [number for number, (_, language) in enumerate(ASKS) if chinese or language == "en"]
    chosen = rng.permutation(asks)[:count]
    seeds = rng.integers(2**31 - 1, size=count)
    return [(int(ask), shown.says(*ASKS[int(ask)], seed=int(seed))) for ask, seed in zip(chosen, seeds, strict=False)]
