"""The pictures that a tool is given: by their id in the gallery, as base64, or, from this computer's user, by path."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fastapi import HTTPException

from models.messages import Refused
from studio.api.pictures import Uploads, uploads
from studio.prompts import PICTURES
from studio.studio import Studio

SHA256 = re.compile(r"[0-9a-f]{64}")


class Given:
    """Reads what a call says of pictures. `local`: paths are opened too."""

    def __init__(self, studio: Studio, local: bool, files: Uploads) -> None:
        self._studio, self._local, self._files = studio, local, files

    def picture(self, text: str, name: str) -> str:
        """The file of a picture; `name` is the argument that brought it. Refused where it is none."""
        text = text.strip()
        if SHA256.fullmatch(text):
            return self._kept(text, name)
        if self._local and Path(text[-8:]).suffix.lower() in PICTURES:  # base64 has no dot
            return _path(text)
        try:
            return self._files.given(text, name).path
        except HTTPException as error:
            raise Refused(str(error.detail)) from error

    def _kept(self, digest: str, name: str) -> str:
        try:
            path = str(self._studio.gallery.get(digest).path)
        except KeyError as error:
            raise Refused(f"{name}: there is no picture {digest} in the gallery.") from error
        self._files.named[path] = name
        return path

    def pictures(self, **texts: str) -> dict[str, str]:
        """The files of those arguments that bring one, by their names."""
        return {name: self.picture(text, name) for name, text in texts.items() if text.strip()}


@contextmanager
def given(studio: Studio, local: bool) -> Iterator[Given]:
    """While a call is read: its pictures are gone afterwards, unless something copied them."""
    with uploads(studio.home) as files:
        yield Given(studio, local, files)


def _path(text: str) -> str:
    place = urlsplit(text)
    try:
        return str(Path(unquote(place.path) if place.scheme == "file" else text).expanduser())
    except RuntimeError as error:
        raise Refused(f"{text} begins with a user that there is not; give the whole path.") from error
