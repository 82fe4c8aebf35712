"""The Gallery tab: filters, annotations, boards, zip, bin.

Its script fetches pages of cells from routes instead of Gradio's events: routes answer at once, also after a restart of
the studio. Values from a browser are validated.
"""

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import gradio as gr
from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field

from models.messages import Refused
from studio.api.gallery import Chosen
from studio.gallery import PAGE, Filter, Gallery, labels_in
from studio.inputs import remove_unneeded
from studio.page.context import PageContext
from studio.page.html import error_text, has_text, label, new_router, render, script, style_name, text
from studio.page.polling import GALLERY, fingerprint
from studio.page.routes import zip_response
from studio.ratings import Ratings

ORDER = 70
ZIP_PICTURES = 1000  # in one zip
ZIP_BYTES = 256 * 2**20
AT_ONCE = 10_000  # pictures of one change
EARLIEST, LATEST = date(1970, 1, 2), date(9000, 1, 1)  # that every system converts to seconds
# Actions on pictures by name; each takes a value.
ACTIONS: dict[str, Callable[[Gallery, list[str], str], None]] = {
    "star": lambda gallery, pictures, _: gallery.mark(pictures, star=True),
    "unstar": lambda gallery, pictures, _: gallery.mark(pictures, star=False),
    "rate": lambda gallery, pictures, value: gallery.mark(pictures, rating=_rating(value)),
    "delete": lambda gallery, pictures, _: gallery.delete(pictures),
    "restore": lambda gallery, pictures, _: gallery.restore(pictures),
    "tag": lambda gallery, pictures, names: _label(gallery, pictures, "tags", names, True),
    "untag": lambda gallery, pictures, names: _label(gallery, pictures, "tags", names, False),
    "board": lambda gallery, pictures, names: _label(gallery, pictures, "boards", names, True),
    "unboard": lambda gallery, pictures, names: _label(gallery, pictures, "boards", names, False),
}

# Texts that the script needs; other texts come as HTML.
SCRIPT_TEXTS = ["chosen", "at_work", "sure_yes", "too_many", "no_label"]
SCRIPT_TEXTS += [f"was_{action}" for action in (*ACTIONS, "zip", "empty")]


def _rating(value: str) -> int:
    """A rating from 0 to 5; -1, which the gallery refuses, for anything else."""
    return int(value) if value.isdecimal() and len(value) == 1 else -1


def _label(gallery: Gallery, pictures: list[str], kind: Literal["tags", "boards"], names: str, on: bool) -> None:
    """Set or remove each label of a line. The gallery refuses an empty line."""
    for name in labels_in(names) or ("",):
        gallery.label(pictures, kind, name, on)


Number = Annotated[int | None, Query(ge=0, lt=2**63)]
Text = Annotated[str, Query(max_length=500)]


def filtered(
    chosen: Chosen, words: Text = "", since: date | None = None, until: date | None = None, bin: bool = False
) -> Filter:
    """The filter of a query string."""
    first = None if since is None else seconds(since)
    after = None if until is None else seconds(min(until, LATEST) + timedelta(days=1))
    return replace(chosen, since=first, until=after, deleted=bin, words=words.strip())


def seconds(day: date) -> float:
    """The local start of a day, in seconds since the epoch."""
    return time.mktime(min(max(day, EARLIEST), LATEST).timetuple())


Wanted = Annotated[Filter, Depends(filtered)]


class Change(BaseModel):
    """An action on pictures."""

    do: str = Field("", max_length=20)
    value: str = Field("", max_length=500)
    pictures: list[str] = Field(max_length=AT_ONCE)


class GalleryHandlers:
    def __init__(self, context: PageContext) -> None:
        self.context, self.gallery = context, context.studio.gallery

    def page(self, wanted: Wanted, before: Number = None) -> dict[str, Any]:
        """The newest pictures with a number below `before`, as (number, HTML), with counts and filter choices.

        `low` is the last number of a full page, below which there may be more; None on the last page.
        """
        now = fingerprint(self.context.studio, GALLERY)  # first: a change while the pictures are read is news
        items, everything = self.gallery.page(wanted, before), Filter(deleted=wanted.deleted)
        count, total = self.gallery.count(wanted), self.gallery.count(everything)
        newest = self.gallery.page(wanted, limit=1) if before is not None else items[:1]
        stand = {"is_narrowed": wanted != everything, "in_bin": wanted.deleted}
        return {
            "fingerprint": now,
            "cells": [(item.number, render("gallery.cell", item)) for item in items],
            "low": items[-1].number if len(items) == PAGE else None,
            "newest": newest[0].number if newest else 0,
            "counted": render("gallery.counted", count, total, **stand),
            "bin": total if wanted.deleted else self.gallery.count(replace(everything, deleted=True)),
            "nothing": "" if count else render("gallery.nothing", **stand),
            "choices": {name: render("gallery.options", values) for name, values in self._choices().items()},
        }

    def act(self, change: Change) -> dict[str, Any]:
        """Change pictures -> the changed ones, and a sentence if something is wrong."""
        here = self.gallery.known(change.pictures)
        gone = len(set(change.pictures)) - len(here)
        try:
            if change.do not in ACTIONS:
                raise Refused("page.unknown_request")
            ACTIONS[change.do](self.gallery, here, change.value)
        except KeyError:  # removed in this very moment
            here, gone = self.gallery.known(here), 1
        except Refused as refusal:
            return {"done": [], "problem": error_text(refusal)}
        return {"done": here, "problem": text("gallery.gone", count=gone) if gone else ""}

    def empty_bin(self) -> dict[str, Any]:
        done = self.gallery.empty_bin()
        with contextlib.suppress(OSError):  # another page removed files meanwhile; the next call removes the rest
            remove_unneeded(self.context.studio.store)
        return {"done": done}

    def zip(self, change: Change) -> Response:
        """The files of pictures."""
        Ratings(self.context.studio.store).download(self.gallery.known(change.pictures))
        return zip_response(self.files(change.pictures), f"studio-{time.strftime('%Y%m%d-%H%M%S')}.zip")

    def files(self, digests: Sequence[str]) -> list[tuple[str, Path]]:
        """(name, file) of the pictures of a zip; Refused if they are too many or too large, or none exists.

        File names contain no words of prompts.
        """
        if len(digests) > ZIP_PICTURES:
            raise Refused("page.gallery.too_many", count=ZIP_PICTURES)
        paths = [self.gallery.get(digest).path for digest in self.gallery.known(digests)]
        files = [(f"{path.stem[:16]}{path.suffix}", path) for path in paths if path.is_file()]
        if not files:
            raise Refused("page.gallery.gone", count=len(digests))
        if sum(path.stat().st_size for _, path in files) > ZIP_BYTES:
            raise Refused("page.gallery.too_large", count=ZIP_BYTES >> 20)
        return files

    def _choices(self) -> dict[str, list[tuple[str, str]]]:
        """The choices (value, label) of each filter, from the values in the gallery."""
        values = {column: self._values(column) for column in ("kind", "style", "model")}
        kinds = [(kind, text(code) if has_text(code := f"gallery.{kind}s") else kind) for kind in values["kind"]]
        return {
            "kind": kinds if len(kinds) > 1 else [],
            "style": [(name, style_name(name)) for name in values["style"]],
            "model": [(name, name) for name in values["model"]],
            **{kind: [(name, name) for name in self.gallery.labels(kind)] for kind in ("tag", "board")},
        }

    def _values(self, column: str) -> list[str]:
        sql = f"SELECT DISTINCT {column} AS value FROM artifacts WHERE {column} != '' ORDER BY value"
        return [row["value"] for row in self.context.studio.store.database.rows(sql)]


def tab_html() -> str:
    """The tab without cells, which the script fetches; `{count}` and `{total}` stay for the script."""
    texts = {name: text(f"gallery.{name}", count="{count}", total="{total}") for name in SCRIPT_TEXTS}
    return render("gallery.tab", json.dumps(texts, ensure_ascii=False), ZIP_PICTURES)


def build(context: PageContext) -> None:
    with gr.Tab(label("tab.gallery"), id="gallery"):
        gallery = context.html(script=script("gallery.js"), elem_id="gallery")
    context.on_load(tab_html, gallery)


def router(context: PageContext) -> APIRouter:
    router, handlers = new_router(), GalleryHandlers(context)
    router.get("/gallery/page")(handlers.page)
    router.post("/gallery/act")(handlers.act)
    router.post("/gallery/empty")(handlers.empty_bin)
    router.post("/gallery/zip")(handlers.zip)
    return router
