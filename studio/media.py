"""What jobs make: artifacts, and the media that they are of.

An artifact is bytes of a media type with facts that doors show. `MEDIA` has a row for each medium.
"""

import io
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.messages import DEFAULT, Message
from models.references.credits import Credit, Redraw
from studio.clips import ClipFile
from studio.events import Saved
from studio.metadata.containers import bare, riff_chunk

DIM = 128  # numbers of a place in the studio's own semantic space
THUMBNAIL = 128  # pixels a side; what is no larger is its own thumbnail


@dataclass(frozen=True)
class Artifact:
    """One finished piece of work.

    Attributes:
        data: the file's bytes, without metadata.
        media_type, kind: what the bytes are; `kind` is a key of MEDIA.
        width, height: pixels; 0 for text.
        frames, seconds: 1 and 0.0 unless it is a clip; `seconds` is one pass of it.
        text: of a caption, the caption; else "".
        index, seed: which of its request's artifacts it is, and the seed that makes it alone.
        score: cosine to what was asked for, where the model can tell.
        how: what else it takes to make the same bits again, such as the batch shape.
        vector, space: its place (D,) in the semantic space of that name, where the model has one.
        candidates: of a caption, the other texts with their scores, best first.
        known: of a caption, whether the model knows what is shown; else `text` says that it does not.
        credits: the stored drawings that it was drawn from.
        read_as: what was read of the prompt, "" where that is its very words.
        redrawn: the things that were drawn again, because they were read as something else.
    """

    data: bytes
    media_type: str
    kind: str
    width: int = 0
    height: int = 0
    frames: int = 1
    seconds: float = 0.0
    text: str = ""
    index: int = 0
    seed: int = 0
    score: float | None = None
    how: dict[str, int | str] = field(default_factory=dict)
    vector: tuple[float, ...] = ()
    space: str = ""
    candidates: tuple[tuple[str, float], ...] = ()
    known: bool = True
    credits: tuple[Credit, ...] = ()
    read_as: str = ""
    redrawn: tuple[Redraw, ...] = ()

    @property
    def medium(self) -> "Medium":
        return MEDIA[self.kind]

    @property
    def suffix(self) -> str:
        return next(suffix for suffix, kind in self.medium.suffixes.items() if kind == self.media_type)

    def saved(self, path: Path, seconds: float, cached: bool = False) -> Saved:
        """The event of its file: `seconds` since the job began; `cached` where it was there before."""
        facts = (self.kind, self.media_type, self.text, self.frames, self.redrawn)
        return Saved(str(path), self.index, self.seed, self.score, seconds, cached, *facts)


def image(picture: Image.Image, **facts: Any) -> Artifact:
    """A still picture, straight RGBA, as PNG; `facts` are other fields of the artifact."""
    return Artifact(saved(picture, "PNG"), "image/png", "image", *picture.size, **facts)


def clip(frames: Sequence[Image.Image], fps: float, loop: bool = True, **facts: Any) -> Artifact:
    """A moving picture, straight RGBA, as animated WebP: lossless but for the colours of transparent pixels.

    Each frame is shown so many whole milliseconds. It plays for ever, or once. One frame is a still picture.
    """
    if len(frames) == 1:
        return Artifact(_still_webp(frames[0], lossless=True), "image/webp", "image", *frames[0].size, **facts)
    milliseconds = round(1000 / fps)
    times, seconds = [milliseconds] * len(frames), len(frames) * milliseconds / 1000
    data = animated_webp(frames, times, 0 if loop else 1, lossless=True)
    return Artifact(data, "image/webp", "clip", *frames[0].size, len(frames), seconds, **facts)


def is_webp(picture: bytes) -> bool:
    """Whether a preview is WebP, as those that move are; else it is PNG."""
    return picture[8:12] == b"WEBP"


def data_url(picture: bytes) -> str:
    """A preview as a data URL."""
    return f"data:image/{'webp' if is_webp(picture) else 'png'};base64,{b64encode(picture).decode()}"


def caption(
    text: str, candidates: Sequence[tuple[str, float]] = (), known: bool = True, language: str = DEFAULT, **facts: Any
) -> Artifact:
    """A caption as UTF-8 text. Of a picture that is not `known` it says so, in that language; `text` is the guess."""
    if not known:
        candidates = ((text, facts.get("score") or 0.0), *candidates)
        text = Message("caption.unknown", {"guess": text}).text(language)
    return Artifact(text.encode(), "text/plain", "text", text=text, candidates=tuple(candidates), known=known, **facts)


def _read_picture(data: bytes, media_type: str) -> Artifact:
    with Image.open(io.BytesIO(bare(data, media_type))) as picture:
        still = Artifact(data, media_type, "image", picture.width, picture.height)
        if getattr(picture, "n_frames", 1) == 1:
            return still
    clip = ClipFile.open("", data)
    return replace(still, kind="clip", frames=clip.count, seconds=clip.seconds)


@dataclass(frozen=True)
class Medium:
    """A kind of artifact: what the studio has to know of it beside its bytes.

    Attributes:
        suffixes: the media types of its files, by the ending of their names; of endings of equal types the first is
            written.
        read: makes an artifact of a file's bytes and media type; ValueError or OSError where they are not of the type.
        visual: whether it consists of pixels, which `frames` decodes. Only such media have thumbnails, near-duplicates
            and vectors of their files, and are verified by their pixels; others are verified by their bytes.
    """

    suffixes: dict[str, str]
    read: Callable[[bytes, str], Artifact]
    visual: bool = True


_PICTURES = {
    ".png": "image/png",
    ".webp": "image/webp",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".avif": "image/avif",
    ".gif": "image/gif",
}
MEDIA: dict[str, Medium] = {
    "image": Medium(_PICTURES, _read_picture),
    "clip": Medium(_PICTURES, _read_picture),
    "text": Medium(
        {".txt": "text/plain"}, lambda data, kind: Artifact(data, kind, "text", text=data.decode()), visual=False
    ),
}


def media_types(visual: bool | None = None) -> dict[str, str]:
    """The media types of the files that jobs make, by the ending of the name; of all media, or of those that are
    `visual` or not.
    """
    media = [medium for medium in MEDIA.values() if visual in (None, medium.visual)]
    return {suffix: kind for medium in media for suffix, kind in medium.suffixes.items()}


def media_type_of(path: Path) -> str:
    """By the ending of the name; KeyError where it is none of ours."""
    return media_types()[path.suffix.lower()]


def read(data: bytes, media_type: str) -> Artifact:
    """An artifact from a file's bytes. ValueError or OSError where they are not of the type."""
    for medium in MEDIA.values():
        if media_type in medium.suffixes.values():
            return medium.read(data, media_type)
    raise ValueError(f"no medium has files of the type {media_type}")


def thumbnail(artifact: Artifact) -> bytes:
    """A small WebP, moving where the artifact does; b"" where it needs none."""
    if max(artifact.width, artifact.height) <= THUMBNAIL:
        return b""
    small = frames(artifact.data)
    for frame in small:
        frame.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    if len(small) > 1:
        return animated_webp(small, [round(1000 * artifact.seconds / artifact.frames)] * len(small), quality=80)
    return _still_webp(small[0], quality=80, method=2)


def quick_png(picture: Image.Image) -> bytes:
    """A preview as PNG, compressed for speed."""
    return saved(picture, "PNG", compress_level=1)


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """A picture as a file, of Pillow's name of the format and its options."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def on_ground(picture: Image.Image, colour: str = "white") -> Image.Image:
    """A picture (RGBA) on an opaque ground, RGB."""
    ground = Image.new("RGBA", picture.size, colour)
    ground.alpha_composite(picture.convert("RGBA"))
    return ground.convert("RGB")


def frames(data: bytes) -> list[Image.Image]:
    """Every frame of a file's bytes, straight RGBA; Refused where they can't be read."""
    return [frame.picture() for frame in ClipFile.open("", data).frames()]


def animated_webp(frames: Sequence[Image.Image], times: Sequence[int], plays: int = 0, **options: int | bool) -> bytes:
    """Every frame (straight RGBA) whole, by itself and in place of the one before; Pillow would make one of equal
    neighbours. Each is shown so many milliseconds; it `plays` so often, 0 for ever. `options` are Pillow's.

    https://developers.google.com/speed/webp/docs/riff_container
    """
    canvas = b"".join((side - 1).to_bytes(3, "little") for side in frames[0].size)
    parts = [riff_chunk(b"VP8X", b"\x12\0\0\0" + canvas)]  # alpha, animation
    parts.append(riff_chunk(b"ANIM", bytes(4) + plays.to_bytes(2, "little")))
    for frame, milliseconds in zip(frames, times, strict=True):
        shown = bytes(6) + canvas + milliseconds.to_bytes(3, "little") + b"\2"  # at 0, 0; not blended
        data = _still_webp(frame, **options)[12:]  # its chunks, of which the frame takes those of pixels
        parts.append(riff_chunk(b"ANMF", shown + (data[18:] if data.startswith(b"VP8X") else data)))
    return riff_chunk(b"RIFF", b"WEBP" + b"".join(parts))


def _still_webp(picture: Image.Image, **options: int | bool) -> bytes:
    return saved(picture, "WEBP", exif=b"", xmp=b"", **options)


def as_bytes(vector: Sequence[float] | np.ndarray) -> bytes:
    """A place in a semantic space (D,) as rows and files keep it: float16, 256 bytes in the studio's own."""
    return np.asarray(vector, np.float16).tobytes()


def from_bytes(data: bytes, numbers: int = DIM) -> np.ndarray:
    """Bytes of n places -> float32 (n, numbers). ValueError where they are not whole."""
    return np.frombuffer(data, np.float16).reshape(-1, numbers).astype(np.float32)
