"""Chat apps (the table `apps.toml`), and pictures and clips fitted to their limits of size, time and bytes."""

import itertools
import math
import tempfile
import tomllib
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from models.data.pixels import png, premultiply
from models.messages import Refused, did_you_mean
from studio.export.clips import FORMATS, Clip, clip_file
from studio.export.drawing import Box, Larger, drawn, indexed, is_more, outlined, resized, seen_box
from studio.metadata.files import encoded
from studio.metadata.origin import Provenance

LARGER = 1.5  # times: a small thing in a large picture is not blown up further than that
PALETTES = (256, 128, 64, 32, 16, 8, 4, 2)
COARSER = (1, 2, 4, 8, 16)
ALPHAS = (100, 50, 0)  # WebP's quality of the alpha channel


@dataclass(frozen=True)
class Icon:
    """A picture that stands for a pack: its file's name, size (width, height), limit in bytes, and whether it moves."""

    file: str
    size: tuple[int, int]
    limit: int
    moves: bool = False


@dataclass(frozen=True)
class Motion:
    """What an app says of clips: `seconds` of one play and frames a second at most, how many `frames` (least, most),
    how many milliseconds each is shown at least. `whole_seconds`: one play takes a whole number of them. `all_seconds`:
    of all plays together, at most; without it they play as often as they did. `mixes`: a pack may hold pictures, too.
    """

    seconds: float = 60
    fps: float = 50
    frames: tuple[int, int] = (2, 1000)
    shortest: int = 1
    whole_seconds: bool = False
    all_seconds: float = 0
    mixes: bool = True


@dataclass(frozen=True)
class App:
    """What one app takes.

    `sizes` (width, height): one file each a picture, the main one first. Not `exact`: as large as that at most, with
    even sides. `margin` pixels stay free on each side. `limit` bytes a file. A pack has `least` to `most` pictures, or
    one of `counts`. `file` names them: {n} is the number, {slug} a safe word of the label. `manifest` is what goes
    into a pack for the programs that read it in. `moving` is what it takes of clips, if it does, and has `motion`.
    """

    name: str
    title: str
    zh: str
    sizes: tuple[tuple[int, int], ...]
    limit: int
    kind: Literal["png", "webp", "apng", "gif", "webm"] = "png"
    exact: bool = True
    margin: int = 0
    least: int = 1
    most: int = 200
    counts: tuple[int, ...] = ()
    icons: tuple[Icon, ...] = ()
    file: str = "{n:02}"
    manifest: Literal["", "whatsapp", "emoji"] = ""
    aliases: tuple[str, ...] = ()
    motion: Motion | None = None
    moving: "App | None" = None

    @property
    def allowed(self) -> Sequence[int]:
        """How many pictures a pack may have."""
        return self.counts or range(self.least, self.most + 1)


_ROWS = tomllib.loads(Path(__file__).with_name("apps.toml").read_text(encoding="utf-8"))["app"]
# What an app takes of clips is what it takes of pictures, but for what `moving` says.
_MERGED = [{**row, "moving": {**row, **row["moving"], "moving": None}} if "moving" in row else row for row in _ROWS]
APPS = {app.name: app for app in TypeAdapter(list[App]).validate_python(_MERGED)}
_NAMES = {name: app for app in APPS.values() for name in (app.name, *app.aliases)}


def app_named(word: str) -> App:
    """The app that a word means, in any case; Refused names those that there are."""
    name = "-".join(word.casefold().replace("_", " ").split())
    if name not in _NAMES:
        raise Refused("export.unknown_app", app=word, hint=did_you_mean(name, APPS), apps=list(APPS))
    return _NAMES[name]


def placed(
    picture: Image.Image,
    size: tuple[int, int],
    margin: int = 0,
    exact: bool = True,
    box: Box | None = None,
    larger: Image.Image | None = None,
) -> Image.Image:
    """What is seen of a picture (RGBA), or of all its clip's frames (`box`), as large as fits on a transparent canvas,
    drawn from its `larger` version where that helps.
    """
    left, top, right, bottom = box or seen_box(np.asarray(picture)[..., 3])
    room = size[0] - 2 * margin, size[1] - 2 * margin
    scale = min(room[0] / (right - left), room[1] / (bottom - top))
    wide, high = picture.size
    scale = min(scale, LARGER * min(room[0] / wide, room[1] / high))
    while True:  # its edges lie between pixels: the box that holds them may be a pixel too large
        size_then = max(1, round(wide * scale)), max(1, round(high * scale))
        columns = _held(left, right, size_then[0] / wide)
        rows = _held(top, bottom, size_then[1] / high)
        if columns.stop - columns.start <= room[0] and rows.stop - rows.start <= room[1]:
            break
        scale -= 1 / max(wide, high)
    seen = drawn(picture, size_then, larger)[rows, columns]
    width, height = size if exact else (2 * -(-(side + 2 * margin) // 2) for side in seen.shape[1::-1])
    canvas = np.zeros((height, width, 4), np.uint8)
    x, y = (width - seen.shape[1]) // 2, (height - seen.shape[0]) // 2
    canvas[y : y + seen.shape[0], x : x + seen.shape[1]] = seen
    return png(canvas)


def _held(start: int, stop: int, scale: float) -> slice:
    """The whole pixels that hold what lies from `start` to `stop` once it is scaled."""
    return slice(int(start * scale + 1e-6), int(np.ceil(stop * scale - 1e-6)))


# --- Files no larger than they may be ---------------------------------------------------------------------------------


def within(picture: Image.Image, kind: str, limit: int, says: Provenance | None = None) -> bytes:
    """A "png" or "webp" file of a picture (RGBA) of at most `limit` bytes, what it says of itself included.

    Without any loss where that fits, else with as little as it takes: fewer colours in PNG, a lower quality in WebP, in
    the end fewer details. Refused where the limit is too small for any picture of that size.
    """
    for data in _encodings(picture, kind, limit, says):
        if len(data) <= limit:
            return data
    raise Refused("export.too_small_a_limit", width=picture.width, height=picture.height, limit=limit)


def _encodings(picture: Image.Image, kind: str, limit: int, says: Provenance | None) -> Iterator[bytes]:
    if kind == "png":
        yield encoded(picture, says, kind, optimize=True)
        yield from (encoded(indexed(picture, colours), says, kind, optimize=True) for colours in PALETTES)
        return
    yield encoded(picture, says, kind, exact=False, method=4)
    for coarser in COARSER:
        shown = coarsened(picture, coarser)
        for alpha in ALPHAS:
            lossy = partial(encoded, shown, says, "webp", lossless=False, exact=False, alpha_quality=alpha, method=4)
            yield best(lossy, limit, "quality", range(1, 101))


def coarsened(picture: Image.Image, times: int) -> Image.Image:
    """A picture (RGBA) of the same size with details so many times as large."""
    size = max(1, picture.width // times), max(1, picture.height // times)
    return png(resized(resized(premultiply(np.asarray(picture)), size), picture.size))


def best(encode: Callable[..., bytes], limit: int, option: str, values: Sequence[int]) -> bytes:
    """The file file with the last of an option's `values`, which become better, that fits, else with the first."""
    file = cache(lambda value: encode(**{option: value}))
    for value in (values[-1], values[0]):
        if (len(file(value)) <= limit) == (value == values[-1]):
            return file(value)
    return file(values[bisect(values, limit, lo=1, key=lambda value: len(file(value))) - 1])


# --- Pictures and clips -----------------------------------------------------------------------------------------------

# What is given up in turn where a clip is too large: details so many times as large, every nth frame alone.
STEPS = ((1, 1), (2, 1), (1, 2), (2, 2), (2, 3), (4, 4), (8, 8), (16, 16))
GOOD_COLOURS, GOOD_QUALITY, GOOD_CRF = 32, 50, 40  # worse ones come after all steps
QUALITY, CRF = range(2, 101, 4), range(63, 3, -3)  # of WebP and VP9, the best last; steps too small to be seen
A_LITTLE = 0.05  # faster than an app takes: such a clip is slowed down rather than robbed of every second frame


def fit(
    clip: Clip, app: App, size: tuple[int, int] | None = None, says: Provenance | None = None, matte: str = ""
) -> tuple[bytes, str]:
    """A picture or clip as a file for an app, within its limits -> bytes and suffix.

    What is seen of all its frames fills the space that the app gives, its margin apart. `size` is one of the app's,
    None its main one. `says` goes into the file; without it the file says nothing of itself. Frames are left out,
    repeated or shown longer as far as the app needs it; the time that a clip takes stays, but where an app takes whole
    seconds only. `matte` is the colour behind a GIF's edges, else they are dithered. Refused for an app that takes no
    clips, a clip that is too long, and what can't be made small enough.
    """
    rules = clip_rules(app) if clip.moves else app
    fitted = in_place(in_time(clip, rules) if clip.moves else clip, size or rules.sizes[0], rules.margin, rules.exact)
    if not clip.moves:
        return within(fitted.frames[0], app.kind, app.limit, says), f".{app.kind}"
    return clip_within(fitted, rules, rules.limit, says, matte), FORMATS[rules.kind].suffix


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
    pairs = itertools.zip_longest(clip.frames, clip.larger)
    frames = tuple(placed(frame, size, margin, exact, box, larger) for frame, larger in pairs)
    return replace(clip, frames=frames, larger=())


def in_size(clip: Clip, side: int) -> Clip:
    """A clip whose longer side has so many pixels."""
    scale = side / max(clip.size)
    width, height = (max(1, round(scale * one)) for one in clip.size)
    pairs = itertools.zip_longest(clip.frames, clip.larger)
    return replace(clip, frames=tuple(png(drawn(frame, (width, height), larger)) for frame, larger in pairs), larger=())


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
        for data in _clip_encodings(shown, app.kind, limit, says, matte, good):
            if len(data) <= limit:
                return data
    raise Refused("export.clip_too_large", frames=len(clip.frames), limit=limit, app=app.title)


def _clip_encodings(
    clip: Clip, kind: str, limit: int, says: Provenance | None, matte: str, good: bool
) -> Iterator[bytes]:
    """Files of a clip, each smaller than the one before: those that look good, or the others."""
    encode = partial(clip_file, clip, kind, says)
    if kind in ("apng", "gif"):
        how = {"matte": matte} if kind == "gif" else {}
        if good and kind == "apng":
            yield encode()
        yield from (encode(colours=colours, **how) for colours in PALETTES if (colours >= GOOD_COLOURS) == good)
    elif kind == "webm":
        yield best(encode, limit, "crf", [one for one in CRF if (one <= GOOD_CRF) == good])
    else:
        if good:
            yield encode()
        for alpha in ALPHAS[:1] if good else ALPHAS:
            lossy = partial(encode, lossless=False, alpha_quality=alpha, method=4)
            yield best(lossy, limit, "quality", [one for one in QUALITY if (one >= GOOD_QUALITY) == good])


# --- Before it is fitted ----------------------------------------------------------------------------------------------


def enlarged(clip: Clip, size: tuple[int, int] | None, larger: Larger) -> Clip:
    """A clip with `larger` square frames where `size` (width, height) asks for more pixels; each is enlarged once."""
    if not size or not is_more(clip.size, size) or clip.size[0] != clip.size[1]:
        return clip
    by_pixels: dict[bytes, Image.Image | None] = {}
    with tempfile.TemporaryDirectory() as folder:
        for frame in clip.frames:
            if (pixels := frame.tobytes()) not in by_pixels:
                path = Path(folder) / f"{len(by_pixels)}.png"
                frame.save(path, compress_level=1)
                by_pixels[pixels] = larger(path)
    frames = [by_pixels[frame.tobytes()] for frame in clip.frames]
    return replace(clip, larger=tuple(one for one in frames if one)) if all(frames) else clip


def rimmed(clip: Clip) -> Clip:
    """A clip whose frames have a white rim, all in one place and of one width."""
    # Drawn on the larger frames alone and scaled down: drawn twice, it would take different shares of their room.
    frames = clip.larger or clip.frames
    box = _seen_in_all(frames) if clip.moves else None
    outlined_frames = tuple(outlined(frame, box=box) for frame in frames)
    if not clip.larger:
        return replace(clip, frames=outlined_frames)
    small = tuple(png(resized(premultiply(np.asarray(frame)), clip.size)) for frame in outlined_frames)
    return replace(clip, frames=small, larger=outlined_frames)


def _seen_in_all(frames: Sequence[Image.Image]) -> Box:
    return seen_box(np.max([np.asarray(frame)[..., 3] for frame in frames], 0))
