"""Pictures that come in with a request: base64 of a file, and nothing else. No address is fetched and no path opened.

They are read whole before anything is done with them: limited in bytes, pixels and frames, and what they are is what
their bytes say. They lie in a folder of their own until the request that brought them is in line.
"""

import base64
import binascii
import io
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import HTTPException
from PIL import Image

from models.data.pixels import FORMATS, MAX_BYTES, decode_picture
from models.messages import Refused
from studio.fields import Picture
from studio.files import UPLOAD, make_folder, write_whole
from studio.gallery import Gallery
from studio.http.api_models import Given
from studio.metadata.containers import GIF_ROW, Broken, gif_frames

MAX_FRAMES = 300
DATA_URL = re.compile(r"data:[\w.+/-]{0,60}(?:;[\w.+=-]{1,60})*;base64,", re.ASCII)
SUFFIXES = {"PNG": ".png", "WEBP": ".webp", "JPEG": ".jpg", "GIF": ".gif"}


def decoded(text: str, name: str) -> bytes:
    """The bytes of a file in base64, with a data-URL prefix or without; `name` is the field's.

    Refused where it is anything else, an address or a path for example; HTTP 413 where it is too large.
    """
    prefix = DATA_URL.match(text)
    coded = text[prefix.end() if prefix else 0 :]
    if len(coded) > MAX_BYTES * 1.4:  # base64 adds a third, its line breaks a little
        raise HTTPException(413, f"{name} is larger than {MAX_BYTES >> 20} MB; give a smaller picture.")
    try:
        return base64.b64decode("".join(coded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(f"{name} is no base64 of a picture file; addresses and paths are never fetched.") from error


def looked_through(data: bytes, name: str) -> Image.Image:
    """The picture that a file's bytes hold, its first frame; Refused where they are none that is read here."""
    try:
        picture = decode_picture(data, name)
        frames = _frames(data)
    except Broken as error:
        raise error.refused(name) from error
    except (ValueError, OSError) as error:
        said = str(error) if str(error).startswith(name) else f"{name} can't be read: {error}"
        raise Refused(f"{said}.") from error
    if frames > MAX_FRAMES:
        raise Refused(f"{name} has more than {MAX_FRAMES} frames; give a shorter one, or one picture.")
    return picture


class Uploads:
    """The pictures of one request, in `folder`. By path: `named`, the field that brought it, and `sizes` in pixels."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.named, self.sizes = folder, dict[str, str](), dict[str, tuple[int, int]]()

    def keep(self, data: bytes, name: str) -> Picture:
        """A picture file, once it is looked through."""
        size = looked_through(data, name).size
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            suffix = SUFFIXES.get(picture.format or "", "")
        path = self.folder / f"{len(self.named)}{suffix}"  # the same bytes may come in two fields
        write_whole(path, data, "--home")
        self.named[str(path)], self.sizes[str(path)] = name, size
        return Picture(path=str(path))

    def given(self, text: str, name: str) -> Picture:
        """A picture file in base64."""
        return self.keep(decoded(text, name), name)

    def taken(self, given: Given, name: str, gallery: Gallery) -> Picture:
        """A picture that is given as content, or as the sha256 of one in the gallery."""
        if given.data:
            return self.given(given.data, name)
        try:
            kept = gallery.get(given.sha256)
        except KeyError as error:
            raise Refused(f"{name}: there is no picture {given.sha256} in the gallery.") from error
        before = self.named.get(str(kept.path))
        self.named[str(kept.path)] = f"{before} or {name}" if before else name
        return Picture(path=str(kept.path))

    def worded(self, refusal: Refused) -> Refused:
        """The refusal with fields in the place of paths: where files lie here says nothing to the client."""
        text = str(refusal)
        for path, name in self.named.items():
            text = text.replace(f"the mask {path}", name).replace(path, name)
        return Refused(text)


@contextmanager
def uploads(home: Path) -> Iterator[Uploads]:
    """A folder for the pictures of one request; gone when that is in line, which copies what it needs."""
    make_folder(home / "cache")
    with tempfile.TemporaryDirectory(prefix=UPLOAD, dir=home / "cache") as folder:
        kept = Uploads(Path(folder).absolute())
        try:
            yield kept
        except Refused as refusal:
            raise kept.worded(refusal) from refusal


def _frames(data: bytes) -> int:
    """How many frames a file has that was read; Pillow would walk through a whole GIF to say it."""
    if GIF_ROW.begins(data):
        return gif_frames(data, MAX_FRAMES)
    with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
        return int(getattr(picture, "n_frames", 1))
