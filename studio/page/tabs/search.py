"""The Search tab: semantic search by words, by a picture and without something; near-duplicates."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from models.messages import Refused
from studio.gallery import Filter
from studio.page.context import PRESSED, QUIET, PageContext, pressed_data
from studio.page.form import Form
from studio.page.html import label, render
from studio.search import NEAR

ORDER = 60
MOST = 60  # results


class SearchHandlers:
    def __init__(self, context: PageContext) -> None:
        self.context, self.studio = context, context.studio

    async def search(self, words: str, like: str | None, without: str) -> AsyncIterator[str]:
        """Yield a notice, then the results. The worker may have to load the model first."""
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
        if not like:  # pictures that contain the words stay, whatever their score
            matches = await asyncio.to_thread(self.studio.gallery.page, Filter(words=words), None, MOST)
            numbers = {one.number for one in matches}
            hits = [hit for hit in hits if hit.score is None or hit.score >= NEAR or hit.picture.number in numbers]
        bare, foreign = not hits and not self.studio.gallery.count(Filter()), self.studio.foreign(self.context.model)
        yield render("search.found", hits, is_bare=bare, foreign=foreign)

    async def duplicates(self) -> AsyncIterator[str]:
        """Yield a notice, then the groups of near-duplicates."""
        yield render("search.looking")
        yield await asyncio.to_thread(self._groups)

    def thin(self, event: gr.EventData) -> Any:
        """A button of a group: put its other pictures in the bin, or restore them."""
        data = pressed_data(event)
        digests = self.studio.gallery.known(data.get("pictures", "").split())
        if data.get("own") == "bin":
            self.studio.gallery.delete(digests)
            return self._groups(" ".join(digests))
        if data.get("own") == "restore":
            self.studio.gallery.restore(digests)
            return self._groups()
        return gr.skip()

    def _groups(self, binned: str = "") -> str:
        try:
            return render("search.groups", self.studio.duplicates()[:MOST], binned)
        except Refused as refusal:
            return render("parts.problem", refusal)

    async def handed(self, what: dict[str, Any] | None) -> AsyncIterator[tuple[Any, ...]]:
        """Another part of the page handed over a picture -> words, picture, without, and the results."""
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
            copies = gr.Button(form.text_of("copies"), size="sm", elem_id="search-copies")
        with gr.Column(scale=8, min_width=320):
            hits = context.html(elem_id="search-hits")
    context.on_load(lambda: render("search.nothing"), hits)
    given = [words, like, without]
    triggers = [find.click, words.submit, without.submit]
    gr.on(triggers, handlers.search, given, hits, trigger_mode="always_last", **QUIET)
    copies.click(handlers.duplicates, None, hits, trigger_mode="once", **QUIET)
    hits.select(handlers.thin, None, hits, **PRESSED)
    context.handed.change(handlers.handed, context.handed, [*given, hits], **QUIET)
