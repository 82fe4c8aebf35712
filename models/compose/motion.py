"""A picture moved as a whole by the motions that its prompt names: every frame is the picture itself, sampled once.

So a clip is as sharp as its picture, steady, and has any number of frames. The picture is enlarged once, by a whole odd
factor, so that its pixels are pixels of the enlarged one. Things go far by whole pixels: a frame that is only shifted
is the picture bit for bit. Where they go near, whole pixels would be seen, and they go by pixels of the enlarged one.

Shapes: T frames; pictures premultiplied uint8 (128, 128, 4); poses (T, POSE) of `models.data.clips`, in sides of what
is seen of the picture, about its middle.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from models.data.clips import MOTIONS, Move, linear_map, pose
from models.data.pixels import SIZE, put, resized

FINER = 3  # pixels of the enlarged picture, a side, for one
FAR = 24  # pixels
BORDER = 4  # empty pixels about it: sampling does not look beyond the edge of a picture
SMALL = 0.75  # of its size: below that, frames are averaged of FINER x FINER samples a pixel
SMALLEST = 0.7  # of a drawn picture that moves away: it leaves the frame, but not at first
MARGIN = 2.5 / SIZE  # of the frame, on each side: sampling and whole pixels take some
SEEN = 8  # of 255: less alpha is not looked for
SMOOTH = 16  # frames a second of slow motions
# By this share a loop begins slower than on an average, and is faster half a loop later. What swings is fastest at
# rest, where it begins, so there the step from the last frame to the first would be the largest.
SLOWER = 0.45
FAST_AT_REST = ("sine", "hop")  # curves


def moved_poses(moves: Sequence[Move], count: int, fps: float, strength: float = 1.0) -> np.ndarray:
    """Poses of `count` frames, `fps` a second, of a thing that makes all those moves at once. In a loop the frames
    divide its period; other clips end where the motion does."""
    loop = all(move.loop for move in moves)
    even = np.arange(count) / (count if loop else max(count - 1, 1))
    late = even - SLOWER * np.sin(2 * np.pi * even) / (2 * np.pi)
    times = [late if loop and MOTIONS[move.motion].curve in FAST_AT_REST else even for move in moves]
    poses = [pose(move, each, count / fps, strength) for move, each in zip(moves, times, strict=True)]
    together = np.sum(poses, 0)
    together[:, 3:] = np.prod([each[:, 3:] for each in poses], 0)
    return together


def leads_away(moves: Sequence[Move]) -> bool:
    """Whether a thing goes elsewhere and does not come back."""
    rows = [MOTIONS[move.motion] for move in moves]
    return any(row.curve == "ramp" and any(row.move) for row in rows)


def moved_frames(picture: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """The picture in each pose, (T, 128, 128, 4)."""
    _, middle, side = _seen(picture)
    padded = np.pad(picture, ((BORDER, BORDER), (BORDER, BORDER), (0, 0)))
    length = FINER * len(padded)
    source = Image.frombuffer("RGBa", padded.shape[1::-1], padded.tobytes(), "raw", "RGBa", 0, 1)
    source = source.resize((length, length), Image.Resampling.LANCZOS)
    shifts = side * poses[:, :2]
    finest = 1 if np.ptp(shifts, 0).max() >= FAR else FINER
    shifts = np.round(finest * shifts) / finest
    return np.stack([_moved(source, *row, middle) for row in zip(poses, shifts, strict=True)])


def _moved(source: Image.Image, numbers: np.ndarray, shift: np.ndarray, middle: np.ndarray) -> np.ndarray:
    back = np.linalg.inv(linear_map(numbers))
    finer = FINER if np.abs(numbers[3:5]).min() < SMALL else 1
    offset = FINER * (middle + BORDER - back @ (middle + shift))
    (a, b), (c, d) = FINER / finer * back
    matrix, size = (a, b, offset[0], c, d, offset[1]), (SIZE * finer, SIZE * finer)
    frame = source.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC).reduce(finer)
    moved = np.asarray(frame).astype(np.float32) * float(np.clip(numbers[-1], 0, 1))
    moved[..., :3] = np.minimum(moved[..., :3], moved[..., 3:])  # an edge that is sampled sharply rings past alpha
    return np.round(moved).astype(np.uint8)


def _seen(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The pixels (P, 2) of what is seen, its middle (x, y) and its longer side, all in pixels."""
    places = np.argwhere(picture[..., 3] >= SEEN)[:, ::-1] + 0.5
    if not len(places):
        return places, np.array([SIZE / 2, SIZE / 2]), float(SIZE)
    low, high = places.min(0) - 0.5, places.max(0) + 0.5
    return places, (low + high) / 2, float((high - low).max())


def reached(picture: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """(T, 2, 2): least and greatest x and y, in sides of the frame, of what is seen in each pose, as `room` takes
    them."""
    places, middle, side = _seen(picture)
    if not len(places):
        return np.tile([[0.0, 0.0], [1.0, 1.0]], (len(poses), 1, 1))
    ends = []
    for numbers in poses:
        forward = linear_map(numbers)
        at = (places - middle) @ forward.T + middle + side * numbers[:2]
        half = np.abs(forward).sum(1) / 2  # of a pixel
        ends.append([at.min(0) - half, at.max(0) + half])
    return np.array(ends) / SIZE


def room(reach: np.ndarray, smallest: float = 0.0) -> tuple[float, np.ndarray]:
    """Scale (`smallest` to 1) and upper left corner (x, y), in sides of the frame, at which a picture stays in sight.

    `reach` (T, 2, 2) as `reached` gives it. What moves further than that leaves the frame, but not at first.
    """
    low, high = reach[:, 0].min(0), reach[:, 1].max(0)
    scale = float(np.clip(1 / max((high - low).max(), 1), smallest, 1))
    return scale, np.clip((1 - scale) / 2, *np.sort([-scale * low, 1 - scale * high], 0))


def with_room(picture: np.ndarray, reach: np.ndarray, smallest: float = 0.0) -> np.ndarray:
    """The picture, smaller and put aside as `room` says."""
    low, high = reach[:, 0].min(0), reach[:, 1].max(0)
    if low.min() >= 0 and high.max() <= 1:
        return picture
    scale, corner = room(reach + np.array([[-MARGIN], [MARGIN]]), smallest)
    canvas, side = np.zeros_like(picture), int(SIZE * scale)
    put(canvas, resized(picture, side, side), *np.round(SIZE * corner).astype(int))
    return canvas
