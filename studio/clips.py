"""Files that move: GIF, animated WebP, APNG and AVIF by Pillow; WebM, MKV, MP4 and MOV by `av`, FFmpeg.

They are read as a stream, one frame in memory at a time, and within limits. What the header says is checked before a
frame is decoded; then all frames are counted, a video's without decoding them. FFmpeg is given an open file, the name
of its format and one of CODECS: it opens no address and guesses nothing.
"""

import contextlib
import io
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice, pairwise
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from PIL import Image

from models.data.pixels import FORMATS, MAX_PIXELS, decode_picture, fit
from models.messages import Refused
from studio.metadata.containers import bare

MAX_BYTES = 128 * 2**20
MAX_SECONDS = 120
MAX_FRAMES = 3_600
MAX_DECODED = 2**33  # pixels of all frames together: ten seconds of 4K, a minute and more of full HD
UNSAID = 100  # milliseconds of a frame that says none, as browsers show it
VIDEOS = ("WebM", "MKV", "MP4", "MOV")
CODECS = ("vp8", "vp9", "av1", "h264", "hevc", "mpeg4", "prores", "png", "qtrle", "mjpeg")
WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders of these leave the transparency out
Pictures = Generator[Callable[[], Image.Image], None, None]  # each is to be called before the next is asked for
Place = Literal["first", "middle", "last"]


@dataclass(frozen=True)
class Frame:
    """A frame of a clip; the first is `number` 1. It is shown for `seconds` from `time` on.

    `picture` makes it a straight RGBA picture, before the next frame is asked for.
    """

    number: int
    time: float
    seconds: float
    picture: Callable[[], Image.Image]


@dataclass(frozen=True)
class ClipFile:
    """A file that `open` has looked through. `times` are seconds: when each frame begins, and the last ends. It `plays`
    so often, 0 for ever and where nothing says it. `data` is what it holds, where that is in memory.
    """

    path: Path
    format: str
    codec: str
    width: int
    height: int
    times: tuple[float, ...]
    plays: int = 0
    data: bytes = field(default=b"", repr=False)

    @classmethod
    def open(cls, path: str | Path, data: bytes = b"") -> "ClipFile":
        """Look through a file, or through `data` as if it were in it; a still picture is a clip of one frame.

        Refused with one sentence where it can't be read, holds no pictures, or is beyond the limits.
        """
        path = Path(path) if data else _file(path)
        with explained(path):
            return _video_clip(path, data) if video_format(path, data) else _pillow_clip(path, data)

    @property
    def count(self) -> int:
        return len(self.times) - 1

    @property
    def seconds(self) -> float:
        """One pass of it; 0 for a still picture."""
        return self.times[-1] if self.count > 1 else 0.0

    @property
    def fps(self) -> float:
        """Frames a second, on an average."""
        return self.count / self.times[-1]

    def frames(self) -> Iterator[Frame]:
        """All frames, in their order; Refused where the file is damaged."""
        pictures = _video_pictures(self) if self.format in VIDEOS else _pillow_pictures(self)
        with explained(self.path), contextlib.closing(pictures):
            for number, (picture, (time, end)) in enumerate(zip(pictures, pairwise(self.times), strict=False), 1):
                yield Frame(number, time, end - time, picture)

    def chosen(self, numbers: Sequence[int]) -> Iterator[Frame]:
        """The frames of these numbers, in their order; the last of all, where the file ends before one of them."""
        wanted, last = set(numbers), None
        for last in islice(self.frames(), max(wanted)):
            if last.number in wanted:
                wanted.remove(last.number)
                yield last
        if last is None:
            raise Refused("picture.damaged", path=str(self.path), problem="no frames")
        if wanted:
            yield last

    def choice(self, every: int | None = None, at: float | None = None, number: int | None = None) -> list[int]:
        """The numbers of all frames, one in `every`, that shown `at` a second, or `number` evenly spread ones; Refused
        where there is none.
        """
        given = [name for name, value in (("every", every), ("at", at), ("number", number)) if value is not None]
        if len(given) > 1:
            raise Refused("request.exclusive", first=given[0], second=given[1])
        for name, value in (("every", every), ("number", number)):
            if value is not None and value < 1:
                raise Refused("clip.at_least_one", name=name, value=value)
        if at is not None and not 0 <= at < self.times[-1]:
            raise Refused("clip.no_such_time", path=str(self.path), seconds=round(self.times[-1], 3), at=f"{at:g}")
        if at is not None:
            return [bisect_right(self.times, at)]
        return list(range(1, self.count + 1, every or 1)) if number is None else self.spread(number)

    def spread(self, most: int) -> list[int]:
        """At most so many numbers of frames, evenly spread over the whole clip."""
        return sorted(set(np.linspace(1, self.count, min(most, self.count)).round().astype(int).tolist()))


def picture_of(path: str | Path, place: Place = "first") -> Image.Image:
    """One picture of a file: a still one's own, upright, or that frame of a clip. Refused as for `ClipFile.open`."""
    if not video_format(path) and (place == "first" or not moves(path)):
        with explained(_file(path)):
            return decode_picture(bare(Path(path).read_bytes(), path), str(path))
    clip = ClipFile.open(path)
    number = {"first": 1, "middle": (clip.count + 1) // 2, "last": clip.count}[place]
    return next(frame.picture() for frame in clip.chosen([number]))


def pixels_of(path: str | Path, most: int, read: Callable[[Image.Image], np.ndarray] = fit) -> np.ndarray:
    """At most `most` frames of a file, evenly spread: premultiplied uint8 (T, 128, 128, 4), or whatever `read` makes of
    each; T is 1 for a still picture. Refused as for `ClipFile.open`.
    """
    if not moves(path):
        return read(picture_of(path))[None]
    clip = ClipFile.open(path)
    return np.stack([read(frame.picture()) for frame in clip.chosen(clip.spread(most))])


def resampled(path: str | Path, fps: int) -> np.ndarray:
    """A clip at `fps`, frames of whole milliseconds: premultiplied uint8 (T, 128, 128, 4). Refused as for `open`."""
    clip, step = ClipFile.open(path), round(1000 / fps) / 1000
    shown: list[np.ndarray] = []
    for frame in clip.frames():
        if times := round((frame.time + frame.seconds) / step) - len(shown):
            shown += [fit(frame.picture())] * times
    return np.stack(shown)


def moves(path: str | Path) -> bool:
    """Whether a file holds more than one frame. Refused where it can't be read."""
    path = _file(path)
    if video_format(path):
        return ClipFile.open(path).count > 1
    with explained(path), _picture(path) as picture:
        return bool(getattr(picture, "is_animated", False))


def video_format(path: str | Path, data: bytes = b"") -> str:
    """Which of VIDEOS a file's first bytes say it is; "" for anything else, and where it can't be read."""
    if not data and not Path(path).is_file():  # a pipe would be waited for
        return ""
    try:
        with _opened(Path(path), data) as file:
            head = file.read(64)
    except (OSError, ValueError):  # a path with a zero byte
        return ""
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "WebM" if b"webm" in head else "MKV"
    if head[4:8] == b"ftyp" and head[8:12] not in (b"avif", b"avis", b"mif1", b"msf1"):
        return "MOV" if head[8:12] == b"qt  " else "MP4"
    return "MOV" if head[4:8] in (b"moov", b"mdat", b"wide", b"free") else ""


def _file(path: str | Path) -> Path:
    """A path to a file of no more bytes than are read; Refused for any other."""
    path, formats = Path(path), [*FORMATS, *VIDEOS]
    if path.is_dir():
        raise Refused("picture.folder", path=str(path), formats=formats)
    if not path.is_file():
        raise Refused("picture.missing", path=str(path), formats=formats)
    if path.stat().st_size > MAX_BYTES:
        raise Refused("picture.too_large", path=str(path), most=MAX_BYTES >> 20)
    return path


def _opened(path: Path, data: bytes) -> BinaryIO:
    if not data and not path.is_file():  # a pipe would never end
        raise FileNotFoundError(path)
    return io.BytesIO(data) if data else path.open("rb")


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the errors of libraries about a file into one sentence."""
    try:
        yield
    except Refused as refusal:
        if refusal.message.code != "picture.no_picture":  # which names the formats of pictures alone
            raise
        raise Refused("picture.no_picture", path=str(path), formats=[*FORMATS, *VIDEOS]) from refusal
    except Image.DecompressionBombError as error:
        raise Refused("picture.too_many_pixels", path=str(path), most=MAX_PIXELS) from error
    except Image.UnidentifiedImageError as error:
        raise Refused("picture.no_picture", path=str(path), formats=[*FORMATS, *VIDEOS]) from error
    except Exception as error:  # a reader of broken bytes may come upon anything
        raise Refused("picture.damaged", path=str(path), problem=str(error) or type(error).__name__) from error


def _check(path: Path, width: int, height: int, frames: int, seconds: float = 0.0) -> None:
    """Refused where it would take too much to decode."""
    size = f"{width} x {height}"
    if width * height > MAX_PIXELS:
        raise Refused("picture.pixels", path=str(path), size=size, most=MAX_PIXELS)
    if seconds > MAX_SECONDS:
        raise Refused("clip.too_long", path=str(path), seconds=round(seconds), most=MAX_SECONDS)
    if frames > MAX_FRAMES:
        raise Refused("clip.too_many_frames", path=str(path), most=MAX_FRAMES)
    if frames * width * height > MAX_DECODED:
        raise Refused("clip.too_much", path=str(path), frames=frames, size=size)


# --- Pillow -----------------------------------------------------------------------------------------------------------


def _picture(path: Path, data: bytes = b"") -> Image.Image:
    """A file, or `data` as if it were in it, opened by Pillow."""
    return Image.open(io.BytesIO(bare(data or path.read_bytes(), path)), formats=FORMATS)


def _pillow_clip(path: Path, data: bytes) -> ClipFile:
    with _picture(path, data) as picture:
        width, height, kind, times = *picture.size, str(picture.format), [0]
        stated = 1 if kind == "GIF" else getattr(picture, "n_frames", 1)  # Pillow would walk through all of a GIF
        _check(path, width, height, stated)
        with contextlib.suppress(EOFError):
            for number in count():
                _check(path, width, height, number)
                picture.seek(number)
                picture.load()  # WebP says a frame's duration once it is decoded
                times.append(times[-1] + (picture.info.get("duration") or UNSAID))
        if len(times) <= stated and stated > 1:
            raise ValueError(f"it has {len(times) - 1} of {stated} frames")
        plays = picture.info.get("loop", 1 if kind == "GIF" else 0)
        if kind == "GIF" and "loop" in picture.info:
            plays = plays and plays + 1  # it counts how often it is shown again
    return ClipFile(path, kind, "", width, height, tuple(time / 1000 for time in times), plays, data)


def _pillow_pictures(clip: ClipFile) -> Pictures:
    with _picture(clip.path, clip.data) as picture:
        for number in range(clip.count):
            picture.seek(number)
            picture.load()
            yield partial(picture.convert, "RGBA")


# --- FFmpeg -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _video(path: Path, data: bytes) -> Iterator[tuple[Any, Any]]:
    """The container and the video stream of a file, its header checked."""
    import av  # a twentieth of a second, which only videos need

    name = "matroska" if video_format(path, data) in ("WebM", "MKV") else "mov"
    try:
        with _opened(path, data) as file, av.open(file, "r", format=name, metadata_errors="replace") as container:
            if not container.streams.video:
                raise Refused("clip.no_video", path=str(path))
            stream, seconds = container.streams.video[0], (container.duration or 0) / 1e6
            decoder = stream.codec_context
            if _codec(stream) not in CODECS:
                raise Refused("clip.codec", path=str(path), codec=_codec(stream) or "unknown")
            _check(path, decoder.width, decoder.height, max(1, stream.frames), seconds)
            yield container, stream
    except av.FFmpegError as error:
        raise ValueError(error.strerror) from error


def _codec(stream: Any) -> str:
    """The name of a stream's codec, "" where FFmpeg does not know it."""
    return str(stream.codec_context.codec.canonical_name) if stream.codec_context else ""


def _video_clip(path: Path, data: bytes) -> ClipFile:
    with _video(path, data) as (container, stream):
        width, height, codec = stream.codec_context.width, stream.codec_context.height, _codec(stream)
        begins, ends = list[float](), list[float]()
        for packet in container.demux(stream):
            if packet.pts is None:
                continue
            begins.append(float(packet.pts * packet.time_base))
            ends.append(begins[-1] + float((packet.duration or 0) * packet.time_base))
            _check(path, width, height, len(begins), begins[-1] - begins[0])
        if not begins:
            raise ValueError("no frames")
        whole = float(stream.duration * stream.time_base) if stream.duration else 0.0
        if not whole and len(container.streams) == 1:
            whole = (container.duration or 0) / 1e6
    begins.sort()
    step = (begins[-1] - begins[0]) / max(1, len(begins) - 1)
    end = max(*ends, begins[-1] + (step or UNSAID / 1000)) - begins[0]
    if end + 2 * step + 0.1 < whole:
        raise ValueError(f"it ends after {end:.1f} of {whole:.1f} seconds")
    times = (*(time - begins[0] for time in begins), end)
    return ClipFile(path, video_format(path, data), codec, width, height, times, data=data)


def _video_pictures(clip: ClipFile) -> Pictures:
    with _video(clip.path, clip.data) as (container, stream):
        decoder, number = _decoder(stream), 0
        for packet in container.demux(stream):
            for frame in decoder.decode(packet if packet.size else None):
                number += 1
                _check(clip.path, frame.width, frame.height, number)
                yield partial(_upright, frame)


def _decoder(stream: Any) -> Any:
    """A decoder of a stream with its transparency, which refuses frames beyond the limit whatever the header says."""
    from av import CodecContext

    decoder = stream.codec_context
    if _codec(stream) in WITH_ALPHA and stream.metadata.get("alpha_mode") == "1":
        decoder = CodecContext.create(WITH_ALPHA[_codec(stream)], "r")
        decoder.extradata = stream.codec_context.extradata
    decoder.options = {"max_pixels": str(MAX_PIXELS)}
    return decoder


def _upright(frame: Any) -> Image.Image:
    from av.video.reformatter import Interpolation

    # Without exact rounding FFmpeg takes a short cut that leaves the last pixels of some rows out.
    picture = Image.fromarray(frame.to_ndarray(format="rgba", interpolation=Interpolation.ACCURATE_RND), "RGBA")
    return picture.rotate(frame.rotation, expand=True) if frame.rotation else picture
