"""Final figures, on pictures that nothing here was trained, validated or chosen on ("fresh"): another artist's drawings
of known things.

It is read once, for final figures. A choice that is made on it would spend it; choices are made on `val`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from eval import sets
from eval.context import Context
from eval.copies import NEAR, PRINTS, distances
from eval.generator import SPACE, StickerGenerator
from eval.metrics.captions import BLIND, named_row
from eval.metrics.image import AUTOENCODER, alpha_iou, psnr_on_white
from eval.metrics.space import SPOKEN
from eval.rows import SEED, Row, mean_row, missing_where, prefixed, share_row
from eval.score import direction_rows
from eval.statistics import cosine, same
from models.data.captions import caption
from models.data.extra_sets import load_fresh
from models.data.world import Picture


def fresh_rows(context: Context) -> Iterator[Row]:
    """One picture of each known thing as the fresh set draws it: named, found by words and the other way round, through
    the autoencoder and back, and how often it looks like a training picture."""
    with missing_where(FileNotFoundError):
        fresh = load_fresh(context.world)
    pictures = sets.per_concept(fresh.pictures)[: context.sizes.gallery]
    pixels = fresh.pixels[[picture.index for picture in pictures]]
    # Flags are last: all artists draw the same, so one row leaves them out.
    order = sorted(range(len(pictures)), key=lambda row: pictures[row].group == "flags")
    ordered, shown = [pictures[row] for row in order], pixels[order]
    others = sum(picture.group != "flags" for picture in pictures)
    yield named_row(context, "fresh pictures", ordered, "en", pixels=shown, ways={"blind": BLIND})
    yield named_row(context, "fresh pictures, Chinese", ordered, "zh", pixels=shown, ways={})
    yield named_row(context, "fresh pictures but flags", ordered[:others], "en", pixels=shown[:others], ways={})
    yield from retrieval_rows(context, pictures, pixels)
    some = pixels[: context.sizes.reconstructions]
    rebuilt = context.reconstruct(some, StickerGenerator(context.parts))
    for name, unit, measure in (("PSNR on white", "dB", psnr_on_white), ("alpha IoU", "", alpha_iou)):
        yield mean_row(f"autoencoder: {name}", measure(some, rebuilt), unit=unit, parts=AUTOENCODER)
    # What is as near to a training picture as a copy may be named from memory.
    cells = context.features_of(sets.cells(context.world, context.sizes.cells), PRINTS)
    near, of_cells = (distances(x, context.train_prints) < NEAR for x in (context.features(pixels, PRINTS), cells))
    against = (("held-out cells", float(of_cells.mean())),)
    yield share_row(f"within {NEAR} of a training picture", near, against=against, lower_is_better=True)


def retrieval_rows(context: Context, pictures: Sequence[Picture], pixels: np.ndarray) -> Iterator[Row]:
    """R@1, 5, 10 and mAP of captions and pictures, both ways; right is the one picture, or caption, of the thing."""
    embedder, right = context.parts.embedder, same(range(len(pictures)), range(len(pictures)))
    images = embedder.image(pixels).numpy()
    for language, spoken in SPOKEN.items():
        texts = embedder.text([caption(picture, SEED, language, style=False) for picture in pictures]).numpy()
        for way, scores in (("text to image", cosine(texts, images)), ("image to text", cosine(images, texts))):
            rows = prefixed(f"{spoken} captions of {len(pictures)}", direction_rows(way, scores, right))
            yield from (replace(row, seeds=f"captions {SEED}; bootstrap 0", parts=SPACE) for row in rows)
