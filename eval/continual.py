"""The measure `continual`: what is left of three styles that are learned one after the other.

R[i, j] is the share of things, drawn after task i, whose nearest picture is of style j, once each style has been
learned as it is in `eval.style`. Three ways to keep what was learned:

| way | R[i, j] is drawn with |
|---|---|
| separate | the adapter of style j, as its name in a prompt says: R[i, j] = R[j, j] by construction |
| sequential | one adapter, trained on one style after the other, as it is after task i |
| merged | the mean of the adapters of tasks 1 to i |

The last two have no name to tell the styles apart by. ACC is the mean of the last row of R, BWT (backward transfer) the
mean of R[T, j] - R[j, j] (arXiv 1706.08840, eq. 2 and 3), forgetting the mean of max_i R[i, j] - R[T, j] (1801.10112).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from eval.context import Context
from eval.generator import StickerGenerator
from eval.rows import SEED, MissingError, Row, missing_where, share_row
from eval.statistics import cosine
from eval.style import MINUTES, Style, coded_styles, drawn_with, icon_style, things_to_draw, trained
from models.lora import load_adapter
from models.pipelines.sticker import StickerPipeline

Adapters = list[tuple[dict[str, Any], float]]


@missing_where(FileNotFoundError, OSError, ValueError)
def continual_rows(context: Context) -> Iterator[Row]:
    """ACC, BWT and forgetting of the three ways, and how often a picture's vector finds its style."""
    if context.cache is None or context.world.folder is None:
        raise MissingError("continual trains adapters, which needs a cache and the built world")
    styles = [*coded_styles(context.world), icon_style(context.world.folder / "downloads")]
    yield from measured(context, styles, MINUTES)


def measured(context: Context, styles: Sequence[Style], minutes: float) -> Iterator[Row]:
    assert context.cache is not None
    cache = context.cache / "styles"
    folders = [trained(context, style, cache, minutes)[0] for style in styles]
    sequence = folders[:1]
    for style in styles[1:]:
        sequence.append(trained(context, style, cache, minutes, begin=sequence[-1])[0])
    separate, after = ([load_adapter(folder) for folder in each] for each in (folders, sequence))
    count = len(styles)
    ways: dict[str, list[Adapters]] = {
        "separate": [[(tensors, 1.0)] for tensors in separate],
        "sequential": [[(tensors, 1.0)] for tensors in after],
        "merged": [[(tensors, 1 / last) for tensors in separate[:last]] for last in range(1, count + 1)],
    }
    shares = Shares(context, styles)
    origin: Any = {"seeds": f"noise {SEED}, {SEED + 1}, ...", "parts": StickerGenerator.parts}
    for way, drawn in ways.items():
        matrix = np.array([shares.of(adapters) for adapters in drawn])
        if way == "separate":
            matrix = np.tile(matrix.diagonal(), (count, 1))
        whole = "; ".join(" ".join(f"{share:.2f}" for share in row) for row in matrix)
        yield Row(f"{way}: ACC", accuracy(matrix), len(shares.prompts), note=f"R by rows: {whole}", **origin)
        yield Row(f"{way}: BWT", backward_transfer(matrix), len(shares.prompts), **origin)
        yield Row(f"{way}: forgetting", forgetting(matrix), len(shares.prompts), lower_is_better=True, **origin)
    yield centroid_row(context, styles)


def accuracy(matrix: np.ndarray) -> float:
    """ACC of R (T, T)."""
    return float(matrix[-1].mean())


def backward_transfer(matrix: np.ndarray) -> float:
    """BWT of R (T, T): below 0 where later tasks spoil earlier ones."""
    return float((matrix[-1] - matrix.diagonal())[:-1].mean())


def forgetting(matrix: np.ndarray) -> float:
    """Forgetting of R (T, T): the best that an earlier task had before the end less what it has at the end."""
    return float((matrix[:-1].max(0) - matrix[-1])[:-1].mean())


class Shares:
    """Rows of R: the same things are drawn with each adapter, and compared with drawings and all styles' pictures."""

    def __init__(self, context: Context, styles: Sequence[Style]) -> None:
        self.context, self.pipeline = context, StickerPipeline.assemble(context.parts.root)
        named = (set(things_to_draw(context.world, style)) for style in styles)
        common = set.intersection(*named)
        self.prompts = [name for name in things_to_draw(context.world, styles[0]) if name in common]
        galleries = [context.features(style.gallery).astype(np.float32) for style in styles]
        self.gallery = np.concatenate([context.drawing_features, *galleries])
        sizes = [len(context.drawing_features), *map(len, galleries)]
        self.style = np.repeat(np.arange(-1, len(styles)), sizes)

    def of(self, adapters: Adapters) -> list[float]:
        """(T,) shares of what is drawn with these adapters."""
        drawn = drawn_with(self.context, self.pipeline.with_adapters(adapters), self.prompts)
        nearest = self.style[cosine(self.context.features(drawn), self.gallery).argmax(1)]
        return [float((nearest == number).mean()) for number in range(self.style.max() + 1)]


def centroid_row(context: Context, styles: Sequence[Style]) -> Row:
    """How often the vector of a style's other picture is nearest to the mean vector of those it was learned from."""
    embed = context.parts.embedder.image
    centres = [embed(np.stack([one.pixels for one in style.examples])).numpy().mean(0) for style in styles]
    right = [
        cosine(embed(style.real).numpy(), np.stack(centres)).argmax(1) == number for number, style in enumerate(styles)
    ]
    chance = (("chance", 1 / len(styles)),)
    return share_row("the nearest centroid names a picture's style", np.concatenate(right), against=chance)
