"""Pictures and clips that come in with a request: base64 of a file. No address is fetched and no path opened.

They are read whole before anything is done with them: limited in bytes, pixels and frames, and their type is what their
bytes say. They lie in a folder of their own until the request that brought them is in the queue.
"""

import base64
import binascii
import io
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from PIL import Image

from models.data.pixels import FORMATS, MAX_BYTES, decode_picture
from models.messages import Message, Refused
from studio.api.routing import Rejected
from studio.clips import explained, picture_of, video_format
from studio.files import UPLOAD, make_folder, write_whole
from studio.gallery import Gallery
from studio.metadata.containers import CONTAINERS, GIF_ROW, Broken, bare, gif_frames
from studio.requests import Picture

R = TypeVar("R")

MAX_FRAMES = 300
DECODED = 2  # requests whose pictures are decoded at a time
_TURNS = RunVar[CapacityLimiter]("turns")  # of an event loop
DATA_URL = re.compile(r"data:[\w.+/-]{0,60}(?:;[\w.+=-]{1,60})*;base64,", re.ASCII)


def decoded(text: str, name: str) -> bytes:
    """The bytes of a file in base64, with a data-URL prefix or without; `name` is the field's. Refused where it is
    anything else, an address or a path for example; HTTP 413 where it is too large.
    """
    prefix = DATA_URL.match(text)
    coded = text[prefix.end() if prefix else 0 :]
    if len(coded) > MAX_BYTES * 1.4:  # base64 adds a third, its line breaks a little
        raise Rejected(413, "api.too_large", name=name, most=MAX_BYTES >> 20)
    try:
        return base64.b64decode("".join(coded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("api.not_base64", name=name) from error


def checked(data: bytes, name: str) -> Image.Image:
    """The picture that a file's bytes hold, its first frame; Refused where they are none that is read here."""
    data = bare(data, name)
    try:
        picture = decode_picture(data, name)
        if GIF_ROW.begins(data):  # Pillow would walk through all of it
            frames = gif_frames(data, MAX_FRAMES)
        else:
            with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
                frames = getattr(opened, "n_frames", 1)
    except Broken as error:
        raise Refused(error.message(name)) from error
    except OSError as error:
        raise Refused("api.unreadable", name=name, reason=str(error)) from error
    if frames > MAX_FRAMES:
        raise Refused("api.too_many_frames", name=name, most=MAX_FRAMES)
    return picture


async def in_turn(function: Callable[..., R], *arguments: Any) -> R:
    """The result of `function`, called in a thread. At most DECODED of these calls, which decode pictures, run at once,
    for a picture of a few kilobytes may take 200 MB; waiting calls hold no thread.
    """
    try:
        turns = _TURNS.get()
    except LookupError:
        _TURNS.set(turns := CapacityLimiter(DECODED))
    return await to_thread.run_sync(function, *arguments, limiter=turns)


class Uploads:
    """The pictures of one request, in `folder`. By path: `named`, the field that brought it, and `sizes` in pixels."""

    def __init__(self, folder: Path, gallery: Gallery) -> None:
        self.folder, self._gallery = folder, gallery
        self.named, self.sizes = dict[str, str](), dict[str, tuple[int, int]]()

    def add(self, data: bytes, name: str) -> Picture:
        """A file of a picture or a clip, once it is checked."""
        suffix = next((one.suffix for one in CONTAINERS.values() if one.begins(data)), "")
        path = self.folder / f"{len(self.named)}{suffix}"  # the same bytes may come in two fields
        write_whole(path, data, "--home")
        self.named[str(path)] = name
        with explained(Path(name)):
            self.sizes[str(path)] = (picture_of(path) if video_format(path) else checked(data, name)).size
        return Picture(path=str(path))

    def add_base64(self, text: str, name: str) -> Picture:
        """A picture file in base64."""
        return self.add(decoded(text, name), name)

    def add_stored(self, sha256: str, name: str) -> Picture:
        """A picture of the gallery."""
        try:
            path = str(self._gallery.get(sha256).path)
        except KeyError as error:
            raise Refused("api.not_in_gallery", name=name, sha256=sha256) from error
        before = self.named.get(path)
        self.named[path] = f"{before} or {name}" if before else name
        return Picture(path=path)


@contextmanager
def uploads(home: Path, gallery: Gallery) -> Iterator[Uploads]:
    """A folder for the pictures of one request; removed when that is in the queue, which copies what it needs."""
    make_folder(home / "cache")
    with tempfile.TemporaryDirectory(prefix=UPLOAD, dir=home / "cache") as folder:
        files = Uploads(Path(folder).absolute(), gallery)
        try:
            yield files
        except Refused as refusal:
            text = str(refusal)  # where files lie on the server says nothing to the client: fields do
            for path, name in files.named.items():
                text = text.replace(f"the mask {path}", name).replace(path, name)
            refusal.message = Message(text)
            raise
