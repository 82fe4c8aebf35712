"""Small picture files with metadata, and independent readers of it."""

import io
import re
import struct
import zlib
from dataclasses import replace
from pathlib import Path

from PIL import Image

from studio import media
from studio.backends.fake import Fake
from studio.export.clips import Clip, clip_file
from studio.media import Artifact
from studio.metadata.containers import PNG, png_chunk
from studio.metadata.files import encoded
from studio.metadata.origin import provenance
from studio.planner import Job, job_id, resolve
from studio.requests import make_request

CAN = Fake().capabilities()
DIGEST = "d" * 64
SUFFIXES = {"png": ".png", "webp": ".webp", "avif": ".avif", "jpeg": ".jpg"}
MOVING = ("apng", "webp")


def job_of(**fields: object) -> Job:
    request = resolve(make_request(**{"prompt": "a cat", "seed": 5, "count": 2, **fields}), CAN)
    return Job(request, job_id(request, DIGEST), DIGEST)


def picture_of(size: int = 128) -> Image.Image:
    """Half transparent and with an edge in it."""
    picture = Image.new("RGBA", (size, size), (200, 30, 30, 90))
    picture.paste((0, 90, 200, 255), (size // 4, size // 4, size // 2, size // 2))
    return picture


def bomb(side: int) -> bytes:
    """A small PNG whose header says `side` x `side`."""
    head = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    data = zlib.compress(bytes(10_000_000), 9)
    return PNG + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def artifact_of(size: int = 128) -> Artifact:
    """`picture_of` as the second picture of a job."""
    return replace(media.image(picture_of(size)), index=1, seed=6, score=0.25, how={"batch": 8})


def file_of(job: Job, kind: str = "png", size: int = 128) -> bytes:
    return encoded(picture_of(size), provenance(job, artifact_of(size)), kind)


def write(path: Path, kind: str = "png", **fields: object) -> Job:
    job = job_of(**fields)
    path.write_bytes(file_of(job, kind))
    return job


def write_moving(path: Path, kind: str, **fields: object) -> Job:
    job = job_of(**fields)
    frames = tuple(Image.new("RGBA", (32, 32), (60 * i, 200 - 60 * i, 30, 255)) for i in range(4))
    path.write_bytes(clip_file(Clip(frames, (100,) * 4), kind, provenance(job, artifact_of(32))))
    return job


def frames_of(data: bytes) -> list[tuple[bytes, object]]:
    """Every frame as RGBA with the time that it is shown."""
    with Image.open(io.BytesIO(data)) as picture:
        shown = []
        for number in range(getattr(picture, "n_frames", 1)):
            picture.seek(number)
            pixels = picture.convert("RGBA").tobytes()
            shown.append((pixels, picture.info.get("duration")))
        return shown


def text_of(data: bytes) -> str:
    """A1111's text as A1111 gets it: from Pillow's `info`, else from EXIF, where the first eight bytes of UserComment
    name the encoding and UNICODE has the big end first.
    """
    with Image.open(io.BytesIO(data)) as picture:
        if "parameters" in picture.info:
            return picture.info["parameters"]
        comment = picture.getexif().get_ifd(0x8769)[0x9286]
    assert isinstance(comment, bytes) and comment[:8] == b"UNICODE\0"
    return comment[8:].decode("utf-16-be")


def a1111(text: str) -> tuple[str, str, dict[str, str]]:
    """How A1111 takes its text apart: the last line is settings if it holds three, "Negative prompt:" begins a line."""
    *lines, last = text.strip().split("\n")
    settings = re.findall(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)', last)
    assert len(settings) >= 3, "would be taken for a part of the prompt"
    prompt, negative, behind = [], [], False
    for line in map(str.strip, lines):
        behind = behind or line.startswith("Negative prompt:")
        (negative if behind else prompt).append(line.removeprefix("Negative prompt:").strip())
    return "\n".join(prompt), "\n".join(negative), dict(settings)
