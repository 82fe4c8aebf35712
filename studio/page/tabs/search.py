"""The Search tab: pictures of the gallery by what they mean, by a picture, and by what they should not be."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import gradio as gr
from markupsafe import Markup

from models.messages import Refused
from studio.gallery import Filter
from studio.page.context import QUIET, PageContext
from studio.page.html import media, notice, problem, render
from studio.page.language import label, language_of, text
from studio.search import Hit

MOST = 60  # pictures of one answer


class SearchHandlers:
    """What happens when something on the tab is pressed."""

    def __init__(self, context: PageContext) -> None:
        self.context, self.studio = context, context.studio

    async def search(self, words: str, like: str | None, without: str, request: gr.Request) -> AsyncIterator[str]:
        """That it looks, then what was found.

        The worker answers between two steps of what it does, but first loads the model.
        """
        language = language_of(request.headers)
        if not (words or "").strip() and not like:
            yield notice("problem", text("search.unsaid", language)) + nothing(language)
            return
        yield render("search.looking", language)
        try:
            hits = await self.studio.asearch(
                words or "", like=like or None, without=without or "", k=MOST, model=self.context.model
            )
        except Refused as refusal:
            yield problem(refusal, language)
            return
        code = "nothing" if hits or self.studio.gallery.count(Filter()) else "bare"
        yield found(hits, language) if hits else nothing(language, code)

    async def handed(self, what: dict[str, Any] | None, request: gr.Request) -> AsyncIterator[tuple[Any, ...]]:
        """Another part of the page handed a picture over -> words, picture, what not, and what is like it."""
        path = self.context.still((what or {}).get("picture", ""))
        if path is None or (what or {}).get("use") != "find":
            yield (gr.skip(),) * 4
            return
        async for answer in self.search("", str(path), "", request):
            yield "", str(path), "", answer


def nothing(language: str, code: str = "empty") -> Markup:
    """What stands there before a search ("empty"), where nothing was found ("nothing"), or where the gallery is empty
    ("bare").
    """
    return render("parts.empty", language, code=f"search.{code}")


def found(hits: Sequence[Hit], language: str) -> Markup:
    """The pictures, best first, each with its score."""
    shown = [(hit, media(hit.picture.path, hit.picture.prompt, small=True, text=hit.picture.text)) for hit in hits]
    return render("search.found", language, hits=shown)


def build(context: PageContext) -> None:
    """Draw the tab."""
    handlers = SearchHandlers(context)
    with gr.Tab(label("tab.search"), id="search"), gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=300):
            hint = label("search.words_hint")
            words = gr.Textbox(label=label("search.words"), placeholder=hint, elem_id="search-words")
            hint = label("search.without_hint")
            without = gr.Textbox(label=label("search.without"), placeholder=hint, elem_id="search-without")
            like = gr.Image(
                label=label("search.like"),
                type="filepath",
                image_mode=None,
                sources=["upload", "clipboard"],
                height=180,
                elem_id="search-like",
            )
            find = gr.Button(
                label("tab.search"), variant="primary", size="lg", elem_id="search-find", elem_classes="make"
            )
        with gr.Column(scale=8, min_width=320):
            hits = context.html(elem_id="search-hits")
    context.on_load_text(nothing, hits)
    given = [words, like, without]
    triggers = [find.click, words.submit, without.submit]
    gr.on(triggers, handlers.search, given, hits, trigger_mode="always_last", **QUIET)
    context.handed.change(handlers.handed, context.handed, [*given, hits], **QUIET)
