"""HTML templates of the page, and its texts in English and Chinese.

Texts (labels, sentences, errors) are in `assets/messages/<language>/page.json`. The Jinja2 templates are in
`templates/`: a file for each tab, and shared ones. Templates escape values; `gr.HTML` does not. Labels of Gradio's
components are translated in the browser (`gr.I18n`), everything else on the server. Both use the language chosen on the
page, else the browser's first language.
"""

import re
import time
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path, PurePath
from typing import Any

from fastapi import APIRouter, Depends, Request
from gradio.context import LocalContext
from gradio.i18n import I18nData
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.ext import Extension
from markupsafe import Markup
from starlette.requests import cookie_parser

from models.data.grammar import STYLES
from models.messages import DEFAULT, Message, Refused, catalogue
from studio import media
from studio.api.routing import Route
from studio.events import not_drawn
from studio.media import data_url

HERE = Path(__file__).parent
AREA = "page."
LANGUAGES = ("en", "zh")
COOKIE = "studio_language"
ROUTE_LANGUAGE = ContextVar("language of a route's request", default=DEFAULT)

# --- Texts ------------------------------------------------------------------------------------------------------------


def language_of(headers: Mapping[str, str]) -> str:
    """ "zh" or "en": as chosen on the page, else the browser's first language."""
    chosen = cookie_parser(headers.get("cookie", "")).get(COOKIE)
    if chosen in LANGUAGES:
        return chosen
    return "zh" if headers.get("accept-language", "").lower().startswith("zh") else "en"


def reader() -> str:
    """The language of the current request: of the Gradio event, else of the route."""
    event = LocalContext.request.get(None)
    return language_of(event.headers) if event else ROUTE_LANGUAGE.get()


def has_text(code: str) -> bool:
    """Whether the catalogue has a text of this code."""
    return AREA + code in catalogue(DEFAULT)


def text(code: str, /, **values: Any) -> str:
    """A text of the page, with its values filled in, as plain text; KeyError for an unknown code."""
    if not has_text(code):
        raise KeyError(code)
    return Message(AREA + code, values).text(reader())


def style_name(style: str) -> str:
    """The name of a style in the reader's language."""
    return STYLES[style].zh[-1] if reader() == "zh" and style in STYLES else style


def error_text(error: Refused | Message | str) -> str:
    """An error or a message in the reader's language; a string is returned as it is."""
    return error if isinstance(error, str) else error.text(reader())


def label(code: str) -> Any:
    """A text for a Gradio component, translated in the browser; KeyError for an unknown code."""
    if not has_text(code):
        raise KeyError(code)
    return I18nData(_key(AREA + code))


def translations() -> dict[str, dict[str, str]]:
    """The texts of the page as `gr.I18n` takes them."""
    english, chinese = (
        {_key(code): sentence for code, sentence in catalogue(language).items() if code.startswith(AREA)}
        for language in LANGUAGES
    )
    return {"en": english, "zh": chinese, "zh-CN": chinese, "zh-TW": chinese}


def _key(code: str) -> str:
    """A key without dots: Gradio reads dots as nested tables."""
    return code.replace(".", "_")


class PageRoute(Route):
    """A route that answers errors with `{"problem": "one sentence"}` in the reader's language."""

    keys = ("problem",)

    @staticmethod
    def sentence(what: Refused | Message | str) -> str:
        return error_text(what)


async def _set_language(request: Request) -> None:
    ROUTE_LANGUAGE.set(language_of(request.headers))


def new_router() -> APIRouter:
    """A router whose answers are in the reader's language."""
    return APIRouter(include_in_schema=False, route_class=PageRoute, dependencies=[Depends(_set_language)])


# --- Templates --------------------------------------------------------------------------------------------------------


class OneLine(Extension):
    """Removes line breaks between tags; any other line break becomes a space."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        return re.sub(r"\s*\n\s*", " ", re.sub(r"(?<=[>}])\s*\n\s*(?=[<{])", "", source)).strip()


def digest_of(path: str | Path) -> str:
    """The sha256 of a file of the gallery: its name in a path that was written on any system."""
    return PurePath(str(path).replace("\\", "/").rpartition("/")[2]).stem


def url(path: str | Path, small: bool = False) -> str:
    """The URL of a file of the gallery, or of its thumbnail (`small`)."""
    return f"/api/v1/gallery/{digest_of(path)}/{'thumbnail' if small else 'file'}"


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
    "digest": digest_of,
    "suffix": lambda path: PurePath(path).suffix,
    "data_url": data_url,
    "first_frame": lambda data: media.image(media.frames(data)[0]).data,
    "text": text,
    "time": lambda seconds: time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)),
}


def render(name: str, /, *values: Any, **named: Any) -> Markup:
    """Render the macro `name` ("file.macro")."""
    file, _, macro = name.partition(".")
    return Markup(getattr(ENVIRONMENT.get_template(f"{file}.html").module, macro)(*values, **named))


def script(name: str) -> str:
    """The source of a script of `static/`."""
    return (HERE / "static" / name).read_text(encoding="utf-8")
