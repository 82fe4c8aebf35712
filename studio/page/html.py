"""HTML of the page: the Jinja2 templates in `templates/`, one file a tab, and what several of them share.

Values are escaped by the templates; `gr.HTML` itself does not escape.
"""

import mimetypes
import re
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path, PurePath
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.environment import TemplateModule
from jinja2.ext import Extension
from markupsafe import Markup

from models.messages import Message, Refused
from studio.media import MEDIA_TYPES
from studio.page import language as texts
from studio.page.language import error_text, has_text

HERE = Path(__file__).parent


class OneLine(Extension):
    """Line breaks in a template are layout of the source: none is left between tags, else one is a space."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """The template's source without them."""
        return re.sub(r"\s*\n\s*", " ", re.sub(r"(?<=[>}])\s*\n\s*(?=[<{])", "", source)).strip()


ENVIRONMENT = Environment(
    loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, extensions=[OneLine]
)


def render(name: str, language: str, /, **values: Any) -> Markup:
    """The macro `name` ("file.macro") filled in. In templates `text` and `error_text` speak `language`."""
    file, _, macro = name.partition(".")
    return Markup(getattr(_macros(file, language), macro)(**values))


@cache
def _macros(file: str, language: str) -> TemplateModule:
    said = {"text": partial(texts.text, language=language), "error_text": partial(error_text, language=language)}
    return ENVIRONMENT.get_template(f"{file}.html").make_module({**said, "has_text": has_text, "language": language})


def script(*names: str) -> str:
    """The scripts of `static/`, one after the other, as one program."""
    return "".join((HERE / "static" / name).read_text(encoding="utf-8") for name in names)


@dataclass(frozen=True)
class Media:
    """What the page shows of an artifact. `kind` is "image", "video" or "text"; width and height are in pixels, 0 where
    the style sheet says them; a text is shown as `text`, everything else is at `url` and described by `alt`.
    """

    url: str
    alt: str = ""
    media_type: str = "image/png"
    kind: str = "image"
    width: int = 0
    height: int = 0
    text: str = ""


def media(path: str | Path, alt: str = "", small: bool = False, text: str = "") -> Media:
    """A file of the gallery, or its thumbnail (`small`); `text` is the content of one that is a text."""
    name = PurePath(str(path).replace("\\", "/")).name
    media_type = MEDIA_TYPES.get(PurePath(name).suffix.lower()) or mimetypes.guess_type(name)[0] or "image/png"
    kind = media_type.partition("/")[0]
    if small and kind == "video":
        media_type = kind = "image"  # its thumbnail is a picture
    return Media(f"/{'thumbnails' if small else 'pictures'}/{name}", alt, media_type, kind, text=text)


def digest_of(path: str | Path) -> str:
    """The sha256 of a file of the gallery: its name."""
    return PurePath(str(path).replace("\\", "/")).stem


def note(kind: str, sentence: str) -> Markup:
    """A sentence in a box. `kind` is "problem", "unknown" or "good"."""
    return render("parts.note", "en", kind=kind, sentence=sentence)


def notes(kind: str, *sentences: str) -> Markup:
    """A box for each sentence; none for an empty one."""
    return Markup("").join(note(kind, sentence) for sentence in sentences if sentence)


def notice(kind: str, sentence: str) -> Markup:
    """The same, above what else there is."""
    return render("parts.notice", "en", kind=kind, sentence=sentence)


def problem(error: Refused | Message | str, language: str) -> Markup:
    """An error above what else there is, in the reader's language."""
    return notice("problem", error_text(error, language))
