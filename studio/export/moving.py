"""Clips as what chat apps take: in time, in place, and no larger than they may be."""

import itertools
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from models.data.pixels import png, premultiply
from models.messages import Refused
from studio.export.apps import ALPHAS, APPS, PALETTES, App, Motion, best, coarsened, placed
from studio.export.clips import FORMATS, Clip, clip_file
from studio.export.drawing import Box, Drawing, Larger, is_more, outlined, resized, seen_box
from studio.metadata.origin import Provenance

# What is given up in turn where a clip is too large: details so many times as large, every nth frame alone.
STEPS = ((1, 1), (2, 1), (1, 2), (2, 2), (2, 3), (4, 4), (8, 8), (16, 16))
GOOD_COLOURS, GOOD_QUALITY, GOOD_CRF = 32, 50, 40  # worse ones come after all steps
QUALITY, CRF = range(2, 101, 4), range(63, 3, -3)  # of WebP and VP9, the best last; steps too small to be seen
A_LITTLE = 0.05  # faster than an app takes: such a clip is slowed down rather than robbed of every second frame


def fit_clip(
    clip: Clip, app: App, size: tuple[int, int] | None = None, says: Provenance | None = None, matte: str = ""
) -> tuple[bytes, str]:
    """A clip as a file for an app, within its limits -> bytes and suffix.

    What is seen of all its frames fills the space that the app gives. Frames are left out, repeated or shown longer as
    far as the app needs it; the time that it takes stays, but where an app takes whole seconds only. `matte` is the
    colour behind a GIF's edges, else they are dithered. Refused for an app that takes no clips, a clip that is too
    long, and one that can't be made small enough.
    """
    rules = clip_rules(app)
    drawn = in_place(in_time(clip, rules), size or rules.sizes[0], rules.margin, rules.exact)
    return clip_within(drawn, rules, rules.limit, says, matte), FORMATS[rules.kind].suffix


def clip_rules(app: App) -> App:
    """What an app takes of clips; Refused where it takes none."""
    if app.moving is None:
        raise Refused("export.takes_no_clips", app=app.title, apps=[one.name for one in APPS.values() if one.moving])
    return app.moving


def in_time(clip: Clip, rules: App) -> Clip:
    """A clip with frames and times that an app takes, by its rules for clips; Refused where it is too long."""
    motion = rules.motion or Motion()
    count, rate = len(clip.frames), len(clip.frames) / clip.seconds
    slower = A_LITTLE if count / motion.fps <= motion.seconds else 0
    fewer = max(math.ceil(rate / motion.fps - slower), math.ceil(count / motion.frames[1]))
    clip = clip.every(min(fewer, max(1, count // 2)))
    clip = clip.repeated(math.ceil(motion.frames[0] / len(clip.frames)))
    clip = clip.lasting(max(clip.seconds, math.ceil(1000 * len(clip.frames) / motion.fps) / 1000))
    clip = replace(clip, times=tuple(max(time, motion.shortest) for time in clip.times))
    if motion.whole_seconds:
        clip = clip.lasting(max(1, round(clip.seconds)))
    if clip.seconds > motion.seconds:
        fps = math.ceil(count / motion.seconds)
        raise Refused("export.too_long", app=rules.title, seconds=clip.seconds, most=motion.seconds, fps=fps)
    if motion.all_seconds:
        most = max(1, int(motion.all_seconds / clip.seconds))
        clip = replace(clip, plays=min(clip.plays or most, most))
    return clip


def in_place(clip: Clip, size: tuple[int, int], margin: int = 0, exact: bool = True) -> Clip:
    """A clip on a transparent canvas of `size`, all frames moved and scaled alike."""
    box = _seen_in_all(clip.frames)
    drawings = itertools.starmap(Drawing, itertools.zip_longest(clip.frames, clip.larger))
    frames = tuple(placed(drawing, size, margin, exact, box) for drawing in drawings)
    return replace(clip, frames=frames, larger=())


def in_size(clip: Clip, side: int) -> Clip:
    """A clip whose longer side has so many pixels."""
    scale = side / max(clip.size)
    width, height = (max(1, round(scale * one)) for one in clip.size)
    drawings = itertools.starmap(Drawing, itertools.zip_longest(clip.frames, clip.larger))
    return replace(clip, frames=tuple(png(one.at((width, height))) for one in drawings), larger=())


def clip_within(clip: Clip, app: App, limit: int, says: Provenance | None = None, matte: str = "") -> bytes:
    """A clip as a file of an app's kind of at most `limit` bytes, what it says of itself included.

    As good as fits: quality first, down to where it begins to be seen, then fewer details and frames, then any quality.
    """
    least = app.motion.frames[0] if app.motion else 2
    for good, (coarser, n) in itertools.product((True, False), STEPS):
        if n > 1 and math.ceil(len(clip.frames) / n) < least:
            continue
        fewer = clip.every(n)
        shown = (
            replace(fewer, frames=tuple(coarsened(frame, coarser) for frame in fewer.frames)) if coarser > 1 else fewer
        )
        for data in _encodings(shown, app.kind, limit, says, matte, good):
            if len(data) <= limit:
                return data
    raise Refused("export.clip_too_large", frames=len(clip.frames), limit=limit, app=app.title)


def _encodings(clip: Clip, kind: str, limit: int, says: Provenance | None, matte: str, good: bool) -> Iterator[bytes]:
    """Files of a clip, each smaller than the one before: those that look good, or the others."""
    made = partial(clip_file, clip, kind, says)
    if kind in ("apng", "gif"):
        how = {"matte": matte} if kind == "gif" else {}
        if good and kind == "apng":
            yield made()
        yield from (made(colours=colours, **how) for colours in PALETTES if (colours >= GOOD_COLOURS) == good)
    elif kind == "webm":
        yield best(made, limit, "crf", [one for one in CRF if (one <= GOOD_CRF) == good])
    else:
        if good:
            yield made()
        for alpha in ALPHAS[:1] if good else ALPHAS:
            lossy = partial(made, lossless=False, alpha_quality=alpha, method=4)
            yield best(lossy, limit, "quality", [one for one in QUALITY if (one >= GOOD_QUALITY) == good])


# --- Before it is fitted ----------------------------------------------------------------------------------------------


def enlarged(clip: Clip, size: tuple[int, int] | None, larger: Larger) -> Clip:
    """A clip with `larger` square frames where `size` (width, height) asks for more pixels; each is enlarged once."""
    if not size or not is_more(clip.size, size) or clip.size[0] != clip.size[1]:
        return clip
    found: dict[bytes, Image.Image | None] = {}
    with tempfile.TemporaryDirectory() as folder:
        for frame in clip.frames:
            if (pixels := frame.tobytes()) not in found:
                path = Path(folder) / f"{len(found)}.png"
                frame.save(path, compress_level=1)
                found[pixels] = larger(path)
    made = [found[frame.tobytes()] for frame in clip.frames]
    return replace(clip, larger=tuple(one for one in made if one)) if all(made) else clip


def rimmed(clip: Clip) -> Clip:
    """A clip whose frames have a white rim, all in one place and of one width."""
    frames = clip.larger or clip.frames
    box = _seen_in_all(frames)
    made = tuple(outlined(frame, box=box) for frame in frames)
    if not clip.larger:
        return replace(clip, frames=made)
    small = tuple(png(resized(premultiply(np.asarray(frame)), clip.size)) for frame in made)
    return replace(clip, frames=small, larger=made)


def _seen_in_all(frames: Sequence[Image.Image]) -> Box:
    return seen_box(np.max([np.asarray(frame)[..., 3] for frame in frames], 0))
