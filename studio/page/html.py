"""HTML of the page: the Jinja2 templates in `templates/`, one file a tab, and what several of them share.

Values are escaped by the templates; `gr.HTML` itself does not escape. What is said is in the reader's language.
"""

import re
import time
from pathlib import Path, PurePath
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.ext import Extension
from markupsafe import Markup

from studio import media
from studio.events import not_drawn
from studio.media import data_url
from studio.page.language import error_text, has_text, reader, style_name, text

HERE = Path(__file__).parent


class OneLine(Extension):
    """Line breaks in a template are layout of the source: none is left between tags, else one is a space."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        return re.sub(r"\s*\n\s*", " ", re.sub(r"(?<=[>}])\s*\n\s*(?=[<{])", "", source)).strip()


def name_of(path: str | Path) -> PurePath:
    """The name of a file of the gallery, as the system that wrote it writes paths; its stem is the sha256."""
    return PurePath(str(path).replace("\\", "/").rpartition("/")[2])


def url(path: str | Path, small: bool = False) -> str:
    """Where the page has a file of the gallery, or its thumbnail (`small`)."""
    return f"/{'thumbnails' if small else 'pictures'}/{name_of(path)}"


ENVIRONMENT = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    extensions=[OneLine, "jinja2.ext.do"],
)
ENVIRONMENT.globals |= {"text": text, "has_text": has_text, "error_text": error_text, "reader": reader, "url": url}
ENVIRONMENT.globals |= {"not_drawn": not_drawn, "style_name": style_name}
ENVIRONMENT.tests["moving"] = media.is_webp
ENVIRONMENT.filters |= {
    "digest": lambda path: name_of(path).stem,
    "data_url": data_url,
    "first_frame": lambda data: media.image(media.frames(data)[0]).data,
    "said": text,
    "time": lambda seconds: time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)),
}


def render(name: str, /, *values: Any, **named: Any) -> Markup:
    """The macro `name` ("file.macro") filled in."""
    file, _, macro = name.partition(".")
    return Markup(getattr(ENVIRONMENT.get_template(f"{file}.html").module, macro)(*values, **named))


def script(*names: str) -> str:
    """The scripts of `static/`, one after the other, as one program."""
    return "".join((HERE / "static" / name).read_text(encoding="utf-8") for name in names)
