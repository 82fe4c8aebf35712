"""The page's texts in English and Chinese: labels, sentences and errors, from `assets/messages/<language>/page.json`.

Labels of Gradio's components are translated in the browser (`gr.I18n`), everything else on the server. Both follow the
language that was chosen on the page, else the browser's first choice.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from fastapi import APIRouter, Depends, Request
from gradio.context import LocalContext
from gradio.i18n import I18nData
from starlette.requests import cookie_parser

from models.data.grammar import STYLES
from models.messages import DEFAULT, Message, Refused, catalogue
from studio.api.routing import Route

AREA = "page."
LANGUAGES = ("en", "zh")
COOKIE = "studio_language"
ASKED = ContextVar("language of a route's request", default=DEFAULT)


def language_of(headers: Mapping[str, str]) -> str:
    """ "zh" or "en": as chosen on the page, else the browser's first choice."""
    chosen = cookie_parser(headers.get("cookie", "")).get(COOKIE)
    if chosen in LANGUAGES:
        return chosen
    return "zh" if headers.get("accept-language", "").lower().startswith("zh") else "en"


async def listen(request: Request) -> None:
    """Have what answers a request say it in the reader's language."""
    ASKED.set(language_of(request.headers))


def reader() -> str:
    """The language of whoever is being answered: by one of Gradio's events, else by a route."""
    event = LocalContext.request.get(None)
    return language_of(event.headers) if event else ASKED.get()


def has_text(code: str) -> bool:
    """Whether the catalogue has a text of this code."""
    return AREA + code in catalogue(DEFAULT)


def text(code: str, /, **values: Any) -> str:
    """A text of the page with its values filled in; KeyError where there is none. Plain text, not HTML."""
    if not has_text(code):
        raise KeyError(code)
    return Message(AREA + code, values).text(reader())


def style_name(style: str) -> str:
    """What a style is called in the reader's language."""
    return STYLES[style].zh[-1] if reader() == "zh" and style in STYLES else style


def error_text(error: Refused | Message | str) -> str:
    """An error or a message in the reader's language. A sentence without a code stays as it is."""
    return error if isinstance(error, str) else error.text(reader())


class PageRoute(Route):
    """A route that answers errors with `{"problem": "one sentence"}` in the reader's language."""

    keys = ("problem",)

    @staticmethod
    def said(what: Refused | Message | str) -> str:
        return error_text(what)


def routes() -> APIRouter:
    """A router whose answers are in the reader's language."""
    return APIRouter(include_in_schema=False, route_class=PageRoute, dependencies=[Depends(listen)])


def label(code: str) -> Any:
    """A text as Gradio's components take it: the browser translates it. KeyError where there is none."""
    if not has_text(code):
        raise KeyError(code)
    return I18nData(_key(AREA + code))


def translations() -> dict[str, dict[str, str]]:
    """The texts of the page as `gr.I18n` takes them."""
    english, chinese = (
        {_key(code): said for code, said in catalogue(one).items() if code.startswith(AREA)} for one in LANGUAGES
    )
    return {"en": english, "zh": chinese, "zh-CN": chinese, "zh-TW": chinese}


def _key(code: str) -> str:
    """Gradio's keys have no dots: it would take them for nested tables."""
    return code.replace(".", "_")
