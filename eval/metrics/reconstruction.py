"""What the autoencoder loses on held-out pictures: the ceiling of everything that is generated.

Shapes: N pictures, uint8 (N, H, W, 4) premultiplied.
"""

from collections.abc import Iterator

import numpy as np

from eval.charts import strips
from eval.context import Context
from eval.distribution import distances, distribution_rows, unrelated_rows
from eval.metrics import metric
from eval.rows import Row, mean_row
from eval.sets import held_out, pixels

PARTS = ("autoencoder",)
PEAK = 60.0  # dB at most, or one flawless picture would make the mean infinite


def psnr_on_white(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio (N,) in dB of each pair, composited on white."""
    errors = np.array([np.square(_white(x) - _white(y)).mean() for x, y in zip(a, b, strict=True)])
    return -10.0 * np.log10(np.maximum(errors, 10 ** (-PEAK / 10)))


def _white(picture: np.ndarray) -> np.ndarray:
    x = picture.astype(np.float64) / 255.0
    return x[..., :3] + (1.0 - x[..., 3:])


def alpha_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union (N,) of where each pair is more than half opaque; 1 where neither is anywhere."""
    x, y = (pictures[..., 3].reshape(len(pictures), -1) > 127 for pictures in (a, b))
    union = (x | y).sum(1)
    return np.where(union > 0, (x & y).sum(1) / np.maximum(union, 1), 1.0)


@metric("reconstruction", "image", "autoencoder")
def reconstruction_rows(context: Context) -> Iterator[Row]:
    """PSNR, alpha IoU and FD of reconstructed held-out pictures."""
    pictures = held_out(context.world, context.sizes.reconstructions)
    real = pixels(context.world, pictures)
    made = context.reconstruct(real)
    for name, unit, values, goal in (
        ("PSNR on white", "dB", psnr_on_white(real, made), 31.0),
        ("alpha IoU", "", alpha_iou(real, made), 0.988),
    ):
        note = f"worst hundredth {np.percentile(values, 1):.3g}"
        yield mean_row(name, values, unit=unit, goal=goal, note=note, parts=PARTS, shown=strips(values, made))
    yield from distribution_rows(distances(context, pictures, context.features(made)), PARTS)
    yield from unrelated_rows(context, pictures, made, parts=PARTS)
