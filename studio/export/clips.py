"""Clips as files: frames with their times, and their formats, a row of FORMATS each.

FFmpeg writes APNG and GIF too: Pillow merges equal neighbours, and the number of frames would not stay.
"""

import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av import VideoStream
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from models.data.pixels import premultiply, unpremultiply
from models.messages import Refused
from studio.clips import UNSAID, ClipFile, moves, picture_of
from studio.export.drawing import SEEN, indexed, resized
from studio.media import animated_webp, on_ground
from studio.metadata.files import encoded, write
from studio.metadata.origin import Provenance

MAX_PIXELS = 2**27  # of all frames together, which are in memory at the same time: 512 MB
SHORTEST = 2  # hundredths of a second: what a GIF shows for less, viewers show for ten
PALETTE = 256
# One thread: the same bytes anywhere. Without B-frames a film lasts as long as its frames, also where their times vary.
VP9 = {"auto-alt-ref": "0", "deadline": "good", "cpu-used": "2", "threads": "1"}
H264 = {"preset": "slow", "tune": "animation", "bf": "0", "threads": "1"}
DEFLATE = {"compression_level": "9", "threads": "1"}
# Ordered dithering: which pixels of a faint edge are seen. The pattern stands still while the picture moves.
BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) * 16 + 8


@dataclass(frozen=True)
class Clip:
    """Frames (straight RGBA, of one size; a picture is one), each shown so many milliseconds. It `plays` so often, 0
    for ever. `larger` are the same frames of more pixels, where there are any.
    """

    frames: tuple[Image.Image, ...]
    times: tuple[int, ...] = (UNSAID,)
    plays: int = 0
    larger: tuple[Image.Image, ...] = ()

    @classmethod
    def read(cls, path: str | Path, data: bytes = b"") -> "Clip":
        """All frames of a file, or of `data` as if it were in it; Refused where it can't be read, or holds too much."""
        file = ClipFile.open(path, data)
        if file.count * file.width * file.height > MAX_PIXELS:
            size = f"{file.width} x {file.height}"
            raise Refused("clip.too_much", path=str(file.path), frames=file.count, size=size)
        frames = [(frame.picture(), 1000 * frame.seconds) for frame in file.frames()]
        return cls(tuple(picture for picture, _ in frames), whole(time for _, time in frames), file.plays)

    @property
    def moves(self) -> bool:
        return len(self.frames) > 1

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.frames[0].size

    @property
    def seconds(self) -> float:
        """Of one play."""
        return sum(self.times) / 1000

    def at(self, fps: float) -> "Clip":
        """The same frames at another speed."""
        return replace(self, times=whole([1000 / fps] * len(self.times)))

    def lasting(self, seconds: float) -> "Clip":
        """The same frames, all faster or all slower."""
        return replace(self, times=whole([seconds / self.seconds * time for time in self.times]))

    def every(self, n: int) -> "Clip":
        """Every nth frame, each shown as long as those that it stands for."""
        times = tuple(sum(self.times[start : start + n]) for start in range(0, len(self.times), n))
        return replace(self, frames=self.frames[::n], times=times, larger=self.larger[::n])

    def repeated(self, n: int) -> "Clip":
        """Each frame n times in a row, in the same time."""
        frames, larger = (tuple(one for one in all_ for _ in range(n)) for all_ in (self.frames, self.larger))
        return replace(self, frames=frames, larger=larger, times=whole([t / n for t in self.times for _ in range(n)]))


def whole(times: Iterable[float]) -> tuple[int, ...]:
    """Whole numbers whose sums are, rounded, those of `times`: what rounding leaves out of one is in the next."""
    return tuple(end - start for start, end in pairwise(map(round, accumulate(times, initial=0.0))))


def clip_in(file: Path) -> Clip:
    """The frames of a file, a still picture upright. Refused where it can't be read, or holds too much."""
    return Clip.read(file) if moves(file) else Clip((picture_of(file).convert("RGBA"),))


# --- Files ------------------------------------------------------------------------------------------------------------


def apng(clip: Clip, colours: int = 0) -> bytes:
    """APNG: every pixel, or so many `colours` for all frames. One frame is a still picture."""
    if colours:
        frames, pixels, filters = _in_shared_palette(clip.frames, colours), "pal8", "none"
    else:
        frames, pixels, filters = map(_rgba, clip.frames), "rgba", "mixed"
    plays = {"plays": str(clip.plays), "final_delay": f"{clip.times[-1]}/1000"}
    return _film(frames, clip.size, clip.times, "apng", "apng", pixels, {**DEFLATE, "pred": filters}, plays)


def webp(clip: Clip, **options: Any) -> bytes:
    """Animated WebP; without Pillow's `options` lossless but for the colours of transparent pixels."""
    return animated_webp(clip.frames, clip.times, clip.plays, **(options or {"lossless": True}))


def gif(clip: Clip, matte: str = "", colours: int = PALETTE) -> bytes:
    """GIF: one palette for all frames, and pixels that are there or not. Faint edges stand on the colour `matte`, else
    they are dithered. Times are hundredths of a second, 2 at least.
    """
    frames = _in_shared_palette([_binary_alpha(frame, matte) for frame in clip.frames], colours)
    hundredths = [max(time, SHORTEST) for time in whole(time / 10 for time in clip.times)]
    # FFmpeg counts repeats: -1 none, 0 without end.
    plays = {"loop": str(clip.plays - 1 if clip.plays > 1 else -clip.plays), "final_delay": str(hundredths[-1])}
    times = [10 * time for time in hundredths]
    return _film(frames, clip.size, times, "gif", "gif", "pal8", {"gifflags": "0"}, plays)


def webm(clip: Clip, crf: int = 0) -> bytes:
    """WebM, VP9 with alpha. `crf` 0 is without loss but for the colours' resolution, 63 is the worst."""
    quality = {"crf": str(crf), "b": "0"} if crf else {"lossless": "1"}
    frames = (_rgba(_spread(frame)) for frame in clip.frames)
    return _film(frames, clip.size, clip.times, "webm", "libvpx-vp9", "yuva420p", {**VP9, **quality})


def mp4(clip: Clip, ground: str = "white", crf: int = 18) -> bytes:
    """MP4, H.264 on a `ground` of that colour, which also makes odd sizes even. `crf` 0 is the best, 51 the worst."""
    width, height = (side + side % 2 for side in clip.size)
    frames = (av.VideoFrame.from_image(on_ground(frame.crop((0, 0, width, height)), ground)) for frame in clip.frames)
    return _film(frames, (width, height), clip.times, "mp4", "libx264", "yuv420p", {**H264, "crf": str(crf)})


@dataclass(frozen=True)
class Format:
    """A format that clips are written in."""

    suffix: str
    media_type: str
    encode: Callable[..., bytes]


FORMATS = {
    "webp": Format(".webp", "image/webp", webp),
    "apng": Format(".png", "image/png", apng),
    "gif": Format(".gif", "image/gif", gif),
    "webm": Format(".webm", "video/webm", webm),
    "mp4": Format(".mp4", "video/mp4", mp4),
}


def clip_file(clip: Clip, kind: str, says: Provenance | None = None, **options: Any) -> bytes:
    """A clip as a file of one of FORMATS; `options` are those of its function. Without `says` it is plain."""
    form = FORMATS[kind]
    data = form.encode(clip, **options)
    return write(data, form.media_type, says) if says else data


def sheet(clip: Clip, says: Provenance | None = None) -> tuple[bytes, dict[str, Any]]:
    """All frames on one PNG, and where they are: the array form that Aseprite writes and game engines read."""
    (width, height), columns = clip.size, math.ceil(math.sqrt(len(clip.frames)))
    rows = math.ceil(len(clip.frames) / columns)
    places = [(n % columns * width, n // columns * height) for n in range(len(clip.frames))]
    canvas = Image.new("RGBA", (columns * width, rows * height))
    for frame, place in zip(clip.frames, places, strict=True):
        canvas.paste(frame, place)
    frames = [
        {"filename": str(n), "frame": {"x": x, "y": y, "w": width, "h": height}, "duration": time}
        for n, ((x, y), time) in enumerate(zip(places, clip.times, strict=True))
    ]
    size = {"w": canvas.width, "h": canvas.height}
    about = {"size": size, "columns": columns, "rows": rows, "plays": clip.plays}
    return encoded(canvas, says, "png", optimize=True), {"frames": frames, "meta": about}


# --- Pixels -----------------------------------------------------------------------------------------------------------


def _rgba(frame: Image.Image | np.ndarray) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.asarray(frame), "rgba")


def _in_shared_palette(frames: Sequence[Image.Image], colours: int) -> Iterator[av.VideoFrame]:
    """Frames in so many colours, one of them transparent, the same for all of them, so that none flickers."""
    tall = indexed(Image.fromarray(np.concatenate([np.asarray(frame) for frame in frames])), colours)
    rows = np.split(np.asarray(tall), len(frames))
    tall.apply_transparency()
    table = np.array(tall.getpalette("RGBA"), np.uint8).reshape(-1, 4)
    argb = np.zeros((PALETTE, 4), np.uint8)
    argb[: len(table)] = np.roll(table, 1, 1)
    return (av.VideoFrame.from_ndarray(cast(Any, (pixels, argb)), "pal8") for pixels in rows)


def _binary_alpha(frame: Image.Image, matte: str) -> Image.Image:
    """A frame (RGBA) whose pixels are opaque or not visible."""
    pixels = np.asarray(frame)
    if matte:
        visible, seen = pixels[..., 3] >= SEEN, on_ground(frame, matte)
    else:
        high, wide = pixels.shape[:2]
        visible = pixels[..., 3] > np.tile(BAYER, (-(-high // 4), -(-wide // 4)))[:high, :wide]
        seen = frame.convert("RGB")
    opaque = seen.convert("RGBA")
    opaque.putalpha(Image.fromarray(visible.astype(np.uint8) * 255))
    return opaque


def _spread(frame: Image.Image) -> np.ndarray:
    """A frame as straight RGBA (H, W, 4) whose transparent pixels have the colours beside them: a codec that keeps
    fewer colours than pixels would mix black into the edges.
    """
    pixels = np.asarray(frame)
    small = premultiply(pixels)
    levels = [small]
    while max(levels[-1].shape[:2]) > 1:
        high, wide = levels[-1].shape[:2]
        levels.append(resized(levels[-1], (max(1, wide // 2), max(1, high // 2)), Image.Resampling.BOX))
    filled = levels.pop()
    while levels:
        finer = levels.pop()
        coarse = resized(filled, finer.shape[1::-1], Image.Resampling.BILINEAR).astype(np.uint16)
        filled = finer + ((255 - finer[..., 3:].astype(np.uint16)) * coarse // 255).astype(np.uint8)
    spread = pixels.copy()
    clear = pixels[..., 3] == 0
    spread[clear, :3] = unpremultiply(filled)[clear, :3]
    return spread


def _film(
    frames: Iterable[av.VideoFrame],
    size: tuple[int, int],
    times: Sequence[int],
    container: str,
    codec: str,
    pixels: str,
    options: dict[str, str],
    container_options: Mapping[str, str] = {},
) -> bytes:
    """A film of frames that are each shown so many milliseconds, in their own pixels or in those of BT.709."""
    file, unit = io.BytesIO(), Fraction(1, 1000)
    starts = list(accumulate(times, initial=0))
    lasts = dict(zip(starts, times, strict=False))
    with av.open(file, "w", format=container, container_options={"fflags": "+bitexact", **container_options}) as film:
        rate = Fraction(1000 * len(times), sum(times))
        stream = cast(VideoStream, film.add_stream(codec, rate=rate, options=options))
        context = stream.codec_context
        (context.width, context.height), context.pix_fmt, context.time_base = size, pixels, unit
        if is_yuv := pixels.startswith("yuv"):
            context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        for start, frame in zip(starts, [*frames, None], strict=True):
            if frame is not None:
                if is_yuv:
                    frame = frame.reformat(
                        format=pixels, dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
                    )
                frame.pts, frame.time_base = start, unit
            for packet in stream.encode(frame):
                packet.duration = lasts[packet.pts or 0]  # else the last would last as long as the others on average
                film.mux(packet)
    return file.getvalue()
