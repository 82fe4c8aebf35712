"""The Gallery tab: all pictures, searched, marked, collected, deleted.

Its script fetches pages of pictures from plain routes rather than through Gradio's events: they answer at once, and
again after the studio was started anew. What comes from a browser may be anything: what is not known is refused.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import gradio as gr
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from markupsafe import Markup
from pydantic import BaseModel, Field

from models.messages import Refused
from studio.annotations import labels_in
from studio.gallery import PAGE, Filter, Kept
from studio.inputs import remove_unneeded
from studio.page.context import PageContext
from studio.page.files import zipped
from studio.page.html import media, render, script
from studio.page.language import error_text, label, language_of, text
from studio.page.polling import GALLERY, fingerprint

ZIP_PICTURES = 1000  # in one zip
ZIP_BYTES = 256 * 2**20
SIMILAR = 16  # pictures near in meaning to the words that are searched for
MATCHES = 500  # pictures that have the words; where there are more, nobody looks for similar ones
AT_ONCE = 100  # pictures of one change: the script sends more in slices, so that none takes long
EARLIEST, LATEST = date(1970, 1, 2), date(9000, 1, 1)  # that any system can turn into seconds
KEYS = {
    "arrows": "← ↑ → ↓",
    "enter": "Enter",
    "space": "Space",
    "all": "Ctrl A",
    "escape": "Esc",
    "star": "S",
    "rate": "1 – 5, 0",
    "delete": "Delete",
}
KINDS = {"image": "gallery.images", "clip": "gallery.clips", "text": "gallery.texts"}
# What the script says by itself; the rest comes from the server as HTML.
SCRIPT_TEXTS = (
    *("chosen", "deleted", "restored", "was_starred", "was_unstarred", "was_rated", "was_labelled", "was_unlabelled"),
    *("was_zipped", "was_emptied", "at_work", "sure_yes", "too_many", "no_label"),
)

Action = Callable[[list[str], str], None]
LabelKind = Literal["tags", "boards"]


class GalleryHandlers:
    """What the tab's script asks of the studio."""

    def __init__(self, context: PageContext) -> None:
        self.context, self.gallery = context, context.studio.gallery
        self._actions: dict[str, Action] = {
            "star": lambda pictures, _: self.gallery.mark(pictures, star=True),
            "unstar": lambda pictures, _: self.gallery.mark(pictures, star=False),
            "rate": lambda pictures, value: self.gallery.mark(pictures, rating=_rating(value)),
            "delete": lambda pictures, _: self.gallery.delete(pictures),
            "restore": lambda pictures, _: self.gallery.restore(pictures),
            "tag": lambda pictures, names: self._label(pictures, "tags", names, True),
            "untag": lambda pictures, names: self._label(pictures, "tags", names, False),
            "board": lambda pictures, names: self._label(pictures, "boards", names, True),
            "unboard": lambda pictures, names: self._label(pictures, "boards", names, False),
        }

    def page(self, wanted: Filter, before: int | None, language: str) -> dict[str, Any]:
        """The newest pictures that came before number `before`, as (number, HTML), and what stands round them.

        `low` is the last number of a full page: below it there may be more. None says that there is nothing.
        """
        now = fingerprint(self.context, GALLERY)  # before the pictures: what comes between them is news
        kept, everything = self.gallery.page(wanted, before), Filter(deleted=wanted.deleted)
        found, total = self.gallery.count(wanted), self.gallery.count(everything)
        newest = self.gallery.page(wanted, limit=1) if before is not None else kept[:1]
        narrowed = wanted != everything
        return {
            "fingerprint": now,
            "cells": [(one.number, cell(one, language)) for one in kept],
            "low": kept[-1].number if len(kept) == PAGE else None,
            "newest": newest[0].number if newest else 0,
            "found": found,
            "counted": _counted(found, total, wanted.deleted, narrowed, language),
            "bin": total if wanted.deleted else self.gallery.count(replace(everything, deleted=True)),
            "nothing": "" if found else _nothing(wanted.deleted, narrowed, language),
            "choices": {name: options(values, language) for name, values in self._choices(language).items()},
        }

    async def similar(self, wanted: Filter, language: str) -> dict[str, Any]:
        """Pictures that do not have the words but mean something near, nearest first, as (number, HTML).

        It waits for the worker, which answers between two steps of what it does, but first loads the model.
        """
        matches = {kept.number for kept in await asyncio.to_thread(self.gallery.page, wanted, None, MATCHES)}
        if not wanted.words or len(matches) == MATCHES:
            return {"cells": []}
        others, k = replace(wanted, words=""), len(matches) + SIMILAR
        try:
            hits = await self.context.studio.asearch(wanted.words, k=k, wanted=others, model=self.context.model)
        except Refused:  # what has the words is found without the model
            return {"cells": []}
        similar = [hit.picture for hit in hits if hit.picture.number not in matches]
        return {"cells": [(one.number, cell(one, language)) for one in similar[:SIMILAR]]}

    def act(self, do: str, value: str, digests: Sequence[str], language: str) -> dict[str, Any]:
        """Change pictures -> those that were changed, and a sentence where something is wrong."""
        here, action = self.gallery.known(digests), self._actions.get(do)
        if action is None:
            return {"done": [], "problem": text("unknown_request", language)}
        try:
            action(here, value)
        except KeyError:  # removed in this very moment
            return {"done": self.gallery.known(here), "problem": text("gallery.gone", language, count=1)}
        except Refused as refusal:
            return {"done": [], "problem": error_text(refusal, language)}
        gone = len(set(digests)) - len(here)
        return {"done": here, "problem": text("gallery.gone", language, count=gone) if gone else ""}

    def empty_bin(self, language: str) -> dict[str, Any]:
        """Remove what is in the bin, for ever."""
        try:
            done = self.gallery.empty_bin()
            with contextlib.suppress(OSError):  # another page removed something at the same time: the next time, then
                remove_unneeded(self.context.studio.store)
            return {"done": done, "problem": ""}
        except Refused as refusal:
            return {"done": 0, "problem": error_text(refusal, language)}

    def files(self, digests: Sequence[str]) -> list[tuple[str, Path]]:
        """(name, file) of the pictures of a zip; Refused where they are too many or too large, or none is here.

        No word of a prompt gets into a name.
        """
        if len(digests) > ZIP_PICTURES:
            raise Refused("page.gallery.too_many", count=ZIP_PICTURES)
        paths = [self.gallery.get(digest).path for digest in self.gallery.known(digests)]
        files = [(f"{path.stem[:16]}{path.suffix}", path) for path in paths if path.is_file() and not path.is_symlink()]
        if not files:
            raise Refused("page.gallery.gone", count=len(digests))
        if sum(path.stat().st_size for _, path in files) > ZIP_BYTES:
            raise Refused("page.gallery.too_large", count=ZIP_BYTES >> 20)
        return files

    def _label(self, pictures: list[str], kind: LabelKind, names: str, on: bool) -> None:
        """Every name of a line, as on the card; where there is none, the gallery says what is wrong with it."""
        for name in labels_in(names) or ("",):
            self.gallery.label(pictures, kind, name, on)

    def _choices(self, language: str) -> dict[str, list[tuple[str, str]]]:
        """The values of each filter that pictures have, with what they are called."""
        chinese = {style.name: style.zh for style in self.context.can.styles if language == "zh" and style.zh}
        kinds = [(kind, text(KINDS[kind], language)) for kind in self._values("kind") if kind in KINDS]
        return {
            "kind": kinds if len(kinds) > 1 else [],
            "style": [(name, chinese.get(name, name)) for name in self._values("style")],
            "model": [(name, name) for name in self._values("model")],
            "tag": [(name, name) for name in self.gallery.labels("tag")],
            "board": [(name, name) for name in self.gallery.labels("board")],
        }

    def _values(self, column: Literal["style", "model", "kind"]) -> list[str]:
        sql = f"SELECT DISTINCT {column} AS value FROM pictures WHERE {column} != '' ORDER BY value"
        return [row["value"] for row in self.context.rows(sql)]


def _rating(value: str) -> int:
    """0 to 5; anything else is out of range, and the gallery says so."""
    return int(value) if value.isdecimal() and len(value) == 1 else -1


# --- HTML -------------------------------------------------------------------------------------------------------------


def tab_html(language: str) -> Markup:
    """The tab without its cells: the script fetches these."""
    texts = {name: text(f"gallery.{name}", language, **_places(name)) for name in SCRIPT_TEXTS}
    values = {"texts": json.dumps(texts, ensure_ascii=False), "zip_most": ZIP_PICTURES, "keys": KEYS}
    return render("gallery.tab", language, **values)


def _places(name: str) -> dict[str, str]:
    """The places for values in a text of the script, left as they are: the script fills them in."""
    return {place: f"{{{place}}}" for place in ("count", "total")}


def cell(kept: Kept, language: str) -> Markup:
    """One picture: a button that opens its card, a box that selects it, and how it is marked."""
    return render("gallery.cell", language, kept=kept, shown=media(kept.path, kept.prompt, small=True, text=kept.text))


def options(values: Iterable[tuple[str, str]], language: str) -> Markup:
    """The choices of a filter, (value, what it is called) each, after "any"."""
    return render("gallery.options", language, values=list(values))


def _counted(found: int, total: int, in_bin: bool, narrowed: bool, language: str) -> str:
    """How many pictures there are, as a sentence."""
    if narrowed:
        return text("gallery.count_of", language, found=f"{found:,}", total=f"{total:,}")
    if in_bin:
        return text("gallery.count_bin", language, found=f"{found:,}")
    return f"{text('gallery.count', language, found=f'{found:,}')} · {text('gallery.order', language)}"


def _nothing(in_bin: bool, narrowed: bool, language: str) -> Markup:
    """What stands where no picture is."""
    code = "none" if narrowed else "bin_empty" if in_bin else "empty"
    return render("gallery.nothing", language, code=f"gallery.{code}", narrowed=narrowed)


def build(context: PageContext) -> None:
    """Draw the tab; its script fills it."""
    with gr.Tab(label("tab.gallery"), id="gallery"):
        gallery = context.html(script=script("gallery.js", "gallery_selection.js"), elem_id="gallery")
    context.on_load_text(tab_html, gallery)


# --- Routes -----------------------------------------------------------------------------------------------------------

Number = Annotated[int | None, Query(ge=0, lt=2**63)]
Text = Annotated[str, Query(max_length=500)]
Day = Annotated[date | None, Query()]


def filtered(
    words: Text = "",
    style: Text = "",
    model: Text = "",
    kind: Annotated[Literal["", "image", "clip", "text"], Query()] = "",
    tag: Text = "",
    board: Text = "",
    starred: bool = False,
    rating: Annotated[int, Query(ge=0, le=5)] = 0,
    since: Day = None,
    until: Day = None,
    bin: bool = False,
) -> Filter:
    """What the filters of the page say."""
    first = None if since is None else seconds(since)
    after = None if until is None else seconds(min(until, LATEST) + timedelta(days=1))
    return Filter(style, model, kind, tag, board, starred, rating, first, after, bin, words.strip())


Wanted = Annotated[Filter, Depends(filtered)]


class Change(BaseModel):
    """What is to be done to which pictures."""

    do: str = Field(max_length=20)
    value: str = Field("", max_length=500)
    pictures: list[str] = Field(max_length=AT_ONCE)


class Choice(BaseModel):
    """Pictures for a zip. More than fit into one are refused with a sentence."""

    pictures: list[str] = Field(max_length=100_000)


def router(context: PageContext) -> APIRouter:
    """What the tab's script fetches."""
    routes, handlers = APIRouter(include_in_schema=False), GalleryHandlers(context)

    @routes.get("/gallery/page")
    def page(request: Request, wanted: Wanted, before: Number = None) -> dict[str, Any]:
        return handlers.page(wanted, before, language_of(request.headers))

    @routes.get("/gallery/similar")
    async def similar(request: Request, wanted: Wanted) -> dict[str, Any]:
        return await handlers.similar(wanted, language_of(request.headers))

    @routes.post("/gallery/act")
    def act(request: Request, change: Change) -> dict[str, Any]:
        return handlers.act(change.do, change.value, change.pictures, language_of(request.headers))

    @routes.post("/gallery/empty")
    def empty(request: Request) -> dict[str, Any]:
        return handlers.empty_bin(language_of(request.headers))

    @routes.post("/gallery/zip")
    def pack(request: Request, choice: Choice) -> Response:
        try:
            files = handlers.files(choice.pictures)
        except Refused as refusal:
            return JSONResponse({"problem": error_text(refusal, language_of(request.headers))}, 422)
        named = {"content-disposition": f'attachment; filename="studio-{time.strftime("%Y%m%d-%H%M%S")}.zip"'}
        return StreamingResponse(zipped(files), media_type="application/zip", headers=named)

    return routes


def seconds(day: date) -> float:
    """When a day begins here, in seconds since the epoch."""
    return time.mktime(min(max(day, EARLIEST), LATEST).timetuple())
