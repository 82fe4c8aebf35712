"""The Search tab: pictures of the gallery by what they mean, by a picture, and by what they should not be."""

from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from models.messages import Refused
from studio.gallery import Filter
from studio.page.context import QUIET, PageContext
from studio.page.form import Form
from studio.page.html import render
from studio.page.language import label

MOST = 60  # pictures of one answer


class SearchHandlers:
    def __init__(self, context: PageContext) -> None:
        self.context, self.studio = context, context.studio

    async def search(self, words: str, like: str | None, without: str) -> AsyncIterator[str]:
        """That it looks, then what was found.

        The worker answers between two steps of what it does, but first loads the model.
        """
        if not (words or "").strip() and not like:
            yield render("search.unsaid")
            return
        yield render("search.looking")
        try:
            hits = await self.studio.asearch(
                words or "", like=like or None, without=without or "", k=MOST, model=self.context.model
            )
        except Refused as refusal:
            yield render("parts.problem", refusal)
            return
        yield render("search.found", hits, is_bare=not hits and not self.studio.gallery.count(Filter()))

    async def handed(self, what: dict[str, Any] | None) -> AsyncIterator[tuple[Any, ...]]:
        """Another part of the page handed a picture over -> words, picture, what not, and what is like it."""
        path = self.context.file((what or {}).get("picture", ""), "image", "clip")
        if path is None or (what or {}).get("use") != "find":
            yield (gr.skip(),) * 4
            return
        async for answer in self.search("", str(path), ""):
            yield "", str(path), "", answer


def build(context: PageContext) -> None:
    handlers = SearchHandlers(context)
    with gr.Tab(label("tab.search"), id="search"), gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=300):
            form = Form("search", "search-")
            words, without, like = form.box("words"), form.box("without"), form.picture("like", 180)
            find = form.make("find")
        with gr.Column(scale=8, min_width=320):
            hits = context.html(elem_id="search-hits")
    context.on_load(lambda: render("search.nothing"), hits)
    given = [words, like, without]
    triggers = [find.click, words.submit, without.submit]
    gr.on(triggers, handlers.search, given, hits, trigger_mode="always_last", **QUIET)
    context.handed.change(handlers.handed, context.handed, [*given, hits], **QUIET)
