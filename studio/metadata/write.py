"""Pictures to files that say where they come from. Every picture that leaves the studio leaves through here.

PNG holds A1111's text and our record as text chunks; WebP, AVIF and JPEG hold the text as EXIF UserComment, as A1111
writes it, and the record as a property of the XMP packet. All hold IPTC's mark for pictures made by a model.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from models.messages import Refused, did_you_mean
from studio.media import Artifact, frames
from studio.metadata import exif, xmp
from studio.metadata.origin import origin, parameters
from studio.planner import Job

OWN = "studio"  # keyword of our chunk
PNG_XMP = "XML:com.adobe.xmp"


@dataclass(frozen=True)
class Kind:
    """A file format: Pillow's name for it, how it saves one picture, and how a moving one if it can."""

    format: str
    suffix: str
    still: dict[str, Any] = field(default_factory=dict)
    moving: dict[str, Any] | None = None


# AVIF keeps colours at full size: flat art with thin lines shows it at once when it does not.
_AVIF = {"quality": 90, "subsampling": "4:4:4"}
KINDS = {
    "png": Kind("PNG", ".png", moving={"disposal": 1, "blend": 0}),  # each frame on a cleared canvas, no blending
    "webp": Kind("WEBP", ".webp", {"lossless": True, "exact": True}, {"lossless": True}),
    "avif": Kind("AVIF", ".avif", _AVIF, _AVIF),
    "jpeg": Kind("JPEG", ".jpg", {"quality": 95, "subsampling": 0}),
}


@dataclass(frozen=True)
class Said:
    """What goes into a file: A1111's text and our record as JSON, under its keyword where the file is a PNG."""

    text: str
    record: str
    keyword: str = OWN


def said(job: Job, result: Artifact) -> Said:
    """What the file of a finished picture says."""
    record = origin(job, result).model_dump_json()
    return Said(parameters(job, result.seed, (result.width, result.height)), record)


def file_bytes(result: Artifact, job: Job, kind: str = "png") -> bytes:
    """The file of a finished picture as one of KINDS, with its origin inside. Refused as `encoded` says."""
    return encoded(frames(result.data), said(job, result), kind)


def with_origin(artifact: Artifact, job: Job) -> bytes:
    """The file of an artifact, with its origin inside."""
    kind = artifact.media_type.rpartition("/")[2]
    return file_bytes(artifact, job, kind) if kind != "plain" else artifact.data


def png_bytes(result: Artifact, job: Job) -> bytes:
    """A PNG file of a finished picture, with its origin inside."""
    return file_bytes(result, job, "png")


def encoded(
    frames: Sequence[Image.Image], says: Said | None, kind: str, milliseconds: int = 125, **options: Any
) -> bytes:
    """A file as one of KINDS: one frame is a still picture, more are a loop, each shown so many milliseconds.

    PNG and still WebP keep every pixel, AVIF is nearly exact. JPEG has no transparency: there the picture stands on
    white. Without `says` the file is plain. `options` are Pillow's for the format, in place of ours. Refused for a
    kind that there is not, frames that it can't move, and settings too long for JPEG (64 KB).
    """
    how = _options(kind, len(frames)) | options
    if len(frames) > 1:
        how |= {"save_all": True, "append_images": list(frames[1:]), "duration": milliseconds, "loop": 0}
    if says:
        how |= _origin(says, KINDS[kind])
    first = _on_white(frames[0]) if kind == "jpeg" else frames[0]
    file = io.BytesIO()
    try:
        first.save(file, KINDS[kind].format, **how)
    except ValueError as error:  # Pillow's word for EXIF or XMP that does not fit
        raise Refused(f"the settings are too long for a {kind} file; choose png, webp or avif.") from error
    except KeyError as error:  # a Pillow that was built without it
        raise Refused(f"Pillow can't write {kind} files on this machine; choose another kind.") from error
    return file.getvalue()


def kind_of(path: Path) -> str:
    """The kind that a file name ends in; Refused names what there is."""
    endings = {kind.suffix: name for name, kind in KINDS.items()} | {".jpeg": "jpeg", ".apng": "png"}
    if path.suffix.lower() not in endings:
        raise Refused(f"{path} has no ending of a picture; there are {', '.join(endings)}.")
    return endings[path.suffix.lower()]


def _options(kind: str, frames: int) -> dict[str, Any]:
    if kind not in KINDS:
        raise Refused(f"there are no {kind!r} files here{did_you_mean(kind, KINDS)}; choose {', '.join(KINDS)}.")
    options = KINDS[kind].still if frames == 1 else KINDS[kind].moving
    if options is None:
        raise Refused(f"a {kind} file does not move; choose png, webp or avif.")
    return dict(options)


def _origin(says: Said, kind: Kind) -> dict[str, Any]:
    if kind.format != "PNG":
        block = (exif.HEADER if kind.format == "JPEG" else b"") + exif.with_comment(says.text)
        return {"exif": block, "xmp": xmp.packet(says.record).encode()}
    info = PngInfo()
    for keyword, text in (("parameters", says.text), (says.keyword, says.record), (PNG_XMP, xmp.packet())):
        info.add_itxt(keyword, text)
    return {"pnginfo": info}


def _on_white(picture: Image.Image) -> Image.Image:
    ground = Image.new("RGBA", picture.size, "white")
    ground.alpha_composite(picture.convert("RGBA"))
    return ground.convert("RGB")
