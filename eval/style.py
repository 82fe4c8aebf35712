"""The measure `style`: what an adapter learns from 20 pictures of a style that the generator never saw.

Two styles are drawn by code from the world's Noto drawings, `pixels` and `neon`; the third, `kameleon`, is a set of
icons under an open licence that is in no world (`STYLED`). The 20 pictures, the 40 things that are drawn with the
adapter and the style's other pictures are apart, chosen by hash. Adapters are trained as `studio learn` trains them,
and stay in the cache: a figure is measured again without training.
"""

import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval import sets
from eval.context import Context
from eval.copies import NEAR, PRINTS, distances
from eval.generator import StickerGenerator
from eval.judge import Judge
from eval.rows import SEED, MissingError, Row, missing_where, prefixed, share_row
from eval.statistics import cosine
from models.data.build import read_iconify, render_svg
from models.data.captions import display_name
from models.data.packages import STYLED, STYLED_LOCK, fetch
from models.data.pixels import put, resized
from models.data.world import Picture, World
from models.lora import begin_from, load_adapter
from models.pipelines.image import Pictures
from models.pipelines.sticker import StickerPipeline
from models.train.style import Example, examples_world, style_trainer

SOURCE = "noto"  # the set that code draws the two styles from
LEARNED, DRAWN, OTHERS = 20, 40, 180  # pictures of a style: to learn from, things to draw, and further ones
MINUTES = 4.0  # of training; the rest of five is for encoding
MARGIN = 16  # pixels that a glow may need
IN_STYLE, NAMED, NEAR_GOAL, LONGEST = 0.5, 0.9, 0.02, 5.0


@dataclass(frozen=True)
class Style:
    """Pictures of a style, premultiplied uint8 (N, 128, 128, 4)."""

    name: str
    examples: Sequence[Example]  # to learn from
    real: np.ndarray  # (M, ...) others: what the ceiling is measured on
    names: Sequence[str]  # what those show
    gallery: np.ndarray  # (K, ...) others: its share among the neighbours


# --- Styles -----------------------------------------------------------------------------------------------------------


def pixels(picture: np.ndarray, side: int = 16, levels: int = 4) -> np.ndarray:
    """Pixel art of premultiplied uint8 (S, S, 4): `side` blocks a row, so many levels a channel, a dark outline."""
    small = resized(picture, side, side).astype(float)
    inside = small[..., 3] > 127
    step = 255 / (levels - 1)
    small = np.round(small / np.maximum(small[..., 3:], 1) * 255 / step) * step
    around = np.zeros_like(inside)
    for axis, shift in ((0, 1), (0, -1), (1, 1), (1, -1)):
        around |= np.roll(inside, shift, axis)
    art = np.where(inside[..., None], small, 0.0)
    art[..., 3] = 255.0 * (inside | around)
    art[around & ~inside, :3] = (24, 20, 37)
    return np.kron(art.astype(np.uint8), np.ones((len(picture) // side,) * 2 + (1,), np.uint8))


def neon(picture: np.ndarray) -> np.ndarray:
    """Glowing lines, from cyan above to magenta below, on the dark shape of premultiplied uint8 (S, S, 4)."""
    across, down = np.gradient(picture.astype(float), axis=(1, 0))
    edges = np.clip(np.hypot(across, down).max(2) / 32, 0, 1)
    glow = edges.copy()
    for axis in (0, 0, 1, 1):
        glow = (np.roll(glow, 1, axis) + glow + np.roll(glow, -1, axis)) / 3
    height = np.linspace(0, 1, len(picture))[:, None, None]
    line = (1 - height) * np.array([0, 240, 255.0]) + height * np.array([255, 0, 200.0])
    alpha = np.maximum(picture[..., 3] / 255, np.clip(2 * glow, 0, 1))[..., None]
    lit = np.clip(np.maximum(edges, 1.5 * glow), 0, 1)[..., None]
    colour = (1 - lit) * np.array([18, 10, 40.0]) + lit * line
    return np.concatenate([colour * alpha, 255 * alpha], 2).round().astype(np.uint8)


CODED = {"pixels": pixels, "neon": neon}


def _inset(picture: np.ndarray) -> np.ndarray:
    """The picture smaller, with MARGIN around it."""
    size = len(picture)
    canvas = np.zeros_like(picture)
    put(canvas, resized(picture, size - 2 * MARGIN, size - 2 * MARGIN), MARGIN, MARGIN)
    return canvas


def coded_styles(world: World) -> Iterator[Style]:
    """The styles that code draws."""
    drawings = {picture.concept: picture for picture in reversed(world.pictures) if _is_plain(picture)}
    things = [drawings[thing.concept] for thing in sets.common(world, len(world.pictures)) if thing.concept in drawings]
    learned, rest = things[:LEARNED], things[LEARNED:]
    for name, draw in CODED.items():
        drawn = [draw(_inset(world.pixels[picture.index])) for picture in things[: LEARNED + DRAWN + OTHERS]]
        names = [display_name(picture, "en") for picture in things]
        examples = [Example(f"{row}", drawn[row], names[row]) for row in range(len(learned))]
        count = min(DRAWN, len(rest) // 2)
        real, gallery = np.stack(drawn[LEARNED:][:count]), np.stack(drawn[LEARNED:][count:])
        yield Style(name, examples, real, names[LEARNED:][:count], gallery)


def _is_plain(picture: Picture) -> bool:
    return picture.style == SOURCE and not picture.skin and not picture.gender


def icon_style(downloads: Path) -> Style:
    """The style of the set STYLED; raises as `fetch` does."""
    bodies, _ = read_iconify(fetch(STYLED, downloads, STYLED_LOCK))
    icons = [name for name in bodies if not name.endswith("-duo")]  # the same in two colours
    icons.sort(key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    drawn = np.stack([render_svg(bodies[name]) for name in icons])
    names = [re.sub(r"[-\d]+", " ", name).strip() for name in icons]
    examples = list(map(Example, icons[:LEARNED], drawn, names))
    return Style(STYLED.style, examples, drawn[LEARNED:][:DRAWN], names[LEARNED:][:DRAWN], drawn[LEARNED + DRAWN :])


def things_to_draw(world: World, style: Style) -> list[str]:
    """Names of common things, none of which is a caption of the 20 pictures."""
    names = [display_name(picture, "en") for picture in sets.common(world, LEARNED + 2 * DRAWN)]
    learned = {example.caption for example in style.examples}
    return [name for name in names if name not in learned][:DRAWN]


# --- Figures ----------------------------------------------------------------------------------------------------------


@missing_where(FileNotFoundError, OSError, ValueError)
def style_rows(context: Context) -> Iterator[Row]:
    """The rows of each style."""
    if context.cache is None or context.world.folder is None:
        raise MissingError("style trains adapters, which needs a cache and the built world")
    for style in (*coded_styles(context.world), icon_style(context.world.folder / "downloads")):
        yield from prefixed(style.name, measured(context, style, context.cache / "styles", MINUTES))


def measured(context: Context, style: Style, cache: Path, minutes: float) -> Iterator[Row]:
    """What the adapter of a style draws, beside the generator without it and the style's real pictures."""
    folder, duration = trained(context, style, cache, minutes)
    base: Any = StickerPipeline.assemble(context.parts.root)
    prompts = things_to_draw(context.world, style)
    plain = drawn_with(context, base, prompts)
    drawn = {"": drawn_with(context, base.with_adapters([(load_adapter(folder), 1.0)]), prompts), "base": plain}
    origin = {"seeds": f"noise {SEED}, {SEED + 1}, ...", "parts": StickerGenerator.parts}

    groups = {**drawn, "real": style.real}
    gallery = np.concatenate([context.drawing_features, context.features(style.gallery).astype(np.float32)])
    of_style = np.arange(len(gallery)) >= len(context.drawing_features)
    near = {name: of_style[cosine(context.features(shown), gallery).argmax(1)] for name, shown in groups.items()}
    beside = tuple((name, float(values.mean())) for name, values in near.items() if name)
    about = f"EffLite0, among {len(gallery):,} drawings, of which {of_style.sum()} are of the style"
    yield share_row(
        "the nearest picture is of the style", near[""], goal=IN_STYLE, against=beside, note=about, **origin
    )

    named = {name: judged(context.parts.judge, shown, prompts) for name, shown in drawn.items()}
    floor = float(named["base"].mean())
    real = float(judged(context.parts.judge, style.real, style.names).mean())
    beside = (("base", floor), ("the style's pictures", real), ("chance", 1 / len(prompts)))
    yield share_row(f"named among {len(prompts)} by the judge", named[""], goal=NAMED * floor, against=beside, **origin)

    learned = context.features(np.stack([example.pixels for example in style.examples]), PRINTS)
    copied = {name: distances(context.features(shown, PRINTS), learned) < NEAR for name, shown in groups.items()}
    beside = tuple((name, float(values.mean())) for name, values in copied.items() if name)
    yield share_row(
        f"within {NEAR} of a learned picture",
        copied[""],
        goal=NEAR_GOAL,
        lower_is_better=True,
        against=beside,
        **origin,
    )
    same = (drawn_with(context, base, prompts) == plain).all((1, 2, 3))
    yield share_row("after it, without it: equal bytes", same, goal=1.0, **origin)
    yield Row("minutes to learn it", duration, 1, unit="min", goal=LONGEST, lower_is_better=True)


def judged(judge: Judge, shown: np.ndarray, prompts: Sequence[str]) -> np.ndarray:
    """(N,) whether the judge finds that a picture's prompt fits it best of all N."""
    count = len(prompts)
    scores = judge.scores(np.repeat(shown, count, 0), list(prompts) * count)
    return np.asarray(scores.reshape(count, count).argmax(1) == np.arange(count))


def trained(
    context: Context, style: Style, cache: Path, minutes: float, begin: Path | None = None
) -> tuple[Path, float]:
    """The adapter's folder and how many minutes it took, encoding and sheets included; trained where it is not kept,
    from zero or from the adapter in the folder `begin`."""
    world = examples_world(style.examples)
    parts = context.parts.digests(StickerGenerator.parts)
    key = hashlib.sha256(f"{world.digest} {minutes} {parts} {begin.parent.name if begin else ''}".encode()).hexdigest()[
        :16
    ]
    folder = cache / f"{style.name}-{key}"
    took = folder / "minutes"
    if not took.is_file():
        started = time.monotonic()
        trainer = style_trainer(world, folder, minutes, minutes, lambda **status: None, context.parts.root)
        if begin:
            begin_from(trainer.plain, load_adapter(begin))
            trainer.restart_average()
        trainer.run()
        took.write_text(f"{(time.monotonic() - started) / 60:.2f}\n", encoding="utf-8")
    return folder / "export", float(took.read_text(encoding="utf-8"))


def drawn_with(context: Context, pipeline: Any, prompts: Sequence[str]) -> np.ndarray:
    """Pictures (N, 128, 128, 4) of N prompts, as the table draws them."""
    sampling = StickerGenerator(context.parts).sampling()
    events = pipeline.steps(list(prompts), range(SEED, SEED + len(prompts)), sampling)
    return np.concatenate([event.pixels for event in events if isinstance(event, Pictures)])
