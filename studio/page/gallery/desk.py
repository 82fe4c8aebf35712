"""What the Gallery tab asks of the studio: a page of cells, a mark on many pictures, a zip.

It goes through plain routes rather than Gradio's events: they answer at once, and again after the studio was started
anew. What comes from a browser may be anything: what is not known here does nothing but say so.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from models.messages import Refused
from studio.gallery import PAGE, Filter
from studio.inputs import remove_unneeded
from studio.marks import labels_in
from studio.page.frame import Frame
from studio.page.gallery import view
from studio.page.gallery.words import say
from studio.page.pulse import GALLERY, mark
from studio.page.refusals import in_language

ZIP_PICTURES = 1000  # in one zip
ZIP_BYTES = 256 * 2**20
NEAR = 16  # pictures near in meaning to the words that are looked for
SAYERS = 500  # pictures that say the words; where there are more, nobody looks for others

Change = Callable[[list[str], str], None]


class GalleryDesk:
    """Stands between one page's Gallery tab and the studio."""

    def __init__(self, frame: Frame) -> None:
        self.frame, self.gallery = frame, frame.studio.gallery
        self._does: dict[str, Change] = {
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

    def greet(self, request: gr.Request) -> str:
        """The tab, in the language of the person who looks."""
        return view.shelf(self.frame.spoken(request), ZIP_PICTURES)

    def page(self, wanted: Filter, before: int | None, spoken: str) -> dict[str, Any]:
        """The newest pictures that came before number `before`, as (number, HTML), and what stands round them.

        `low` is the last number of a full page: below it there may be more. None says that nothing is.
        """
        now = mark(self.frame.studio, GALLERY)  # before the pictures: what comes between them is news
        kept, everything = self.gallery.page(wanted, before), Filter(deleted=wanted.deleted)
        found, total = self.gallery.count(wanted), self.gallery.count(everything)
        newest = self.gallery.page(wanted, limit=1) if before is not None else kept[:1]
        narrowed = wanted != everything
        return {
            "mark": now,
            "cells": [(one.number, view.cell(one, spoken)) for one in kept],
            "low": kept[-1].number if len(kept) == PAGE else None,
            "newest": newest[0].number if newest else 0,
            "found": found,
            "counted": view.counted(found, total, wanted.deleted, narrowed, spoken),
            "bin": total if wanted.deleted else self.gallery.count(replace(everything, deleted=True)),
            "nothing": "" if found else view.nothing(wanted.deleted, narrowed, spoken),
            "choices": {name: view.options(values, spoken) for name, values in self._choices(spoken).items()},
        }

    async def near(self, wanted: Filter, spoken: str) -> dict[str, Any]:
        """Pictures that do not say the words but mean something near, nearest first, as (number, HTML).

        It waits for the worker, which answers between two steps of what it does, but first loads the model.
        """
        pages = await asyncio.to_thread(self.gallery.page, wanted, None, SAYERS)
        said = {kept.number for kept in pages}
        if not wanted.words or len(said) == SAYERS:
            return {"cells": []}
        others, k = replace(wanted, words=""), len(said) + NEAR
        try:
            hits = await self.frame.studio.asearch(wanted.words, k=k, wanted=others, model=self.frame.model)
        except Refused:  # of no account: what says the words is found without the model
            return {"cells": []}
        near = [hit.picture for hit in hits if hit.picture.number not in said]
        return {"cells": [(one.number, view.cell(one, spoken)) for one in near[:NEAR]]}

    def act(self, do: str, value: str, digests: Sequence[str], spoken: str) -> dict[str, Any]:
        """Change pictures -> those that were, and a sentence where something is wrong."""
        here, change = self.gallery.known(digests), self._does.get(do)
        if change is None:
            return {"done": [], "problem": say("unknown", spoken)}
        try:
            change(here, value)
        except KeyError:  # removed in this very moment
            return {"done": self.gallery.known(here), "problem": say("gone", spoken, count=1)}
        except Refused as refusal:
            return {"done": [], "problem": in_language(str(refusal), spoken)}
        gone = len(set(digests)) - len(here)
        return {"done": here, "problem": say("gone", spoken, count=gone) if gone else ""}

    def _label(self, pictures: list[str], kind: Literal["tags", "boards"], names: str, on: bool) -> None:
        """Every name of a line, as on the card; where there is none, the gallery says what is wrong with it."""
        for name in labels_in(names) or ("",):
            self.gallery.label(pictures, kind, name, on)

    def empty_bin(self, spoken: str) -> dict[str, Any]:
        """Remove what is in the bin, for ever."""
        try:
            done = self.gallery.empty_bin()
            with contextlib.suppress(OSError):  # another page removed something at the same time: the next time, then
                remove_unneeded(self.frame.studio.house)
            return {"done": done, "problem": ""}
        except Refused as refusal:
            return {"done": 0, "problem": in_language(str(refusal), spoken)}

    def files(self, digests: Sequence[str], spoken: str) -> list[tuple[str, Path]]:
        """(name, file) of the pictures of a zip; Refused where they are too many or too large, or none is here.

        No word of a prompt gets into a name.
        """
        if len(digests) > ZIP_PICTURES:
            raise Refused(say("too_many", spoken, count=ZIP_PICTURES))
        paths = [self.gallery.get(digest).path for digest in self.gallery.known(digests)]
        files = [(f"{path.stem[:16]}{path.suffix}", path) for path in paths if path.is_file() and not path.is_symlink()]
        if not files:
            raise Refused(say("gone", spoken, count=len(digests)))
        if sum(path.stat().st_size for _, path in files) > ZIP_BYTES:
            raise Refused(say("too_large", spoken, count=ZIP_BYTES >> 20))
        return files

    def _choices(self, spoken: str) -> dict[Literal["style", "tag", "board", "model"], list[tuple[str, str]]]:
        """The values of each filter that pictures have, with what they are called."""
        chinese = {style.name: style.zh for style in self.frame.can.styles if spoken == "zh" and style.zh}
        return {
            "style": [(name, chinese.get(name, name)) for name in self._values("style")],
            "model": [(name, name) for name in self._values("model")],
            "tag": [(name, name) for name in self.gallery.labels("tag")],
            "board": [(name, name) for name in self.gallery.labels("board")],
        }

    def _values(self, column: Literal["style", "model"]) -> list[str]:
        sql = f"SELECT DISTINCT {column} AS value FROM pictures WHERE {column} != '' ORDER BY value"
        return [row["value"] for row in self.gallery.database.rows(sql)]


def _rating(value: str) -> int:
    """0 to 5; anything else is out of range, and the gallery says so."""
    return int(value) if value.isdecimal() and len(value) == 1 else -1
