"""What the Search tab asks of the studio."""

from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from models.messages import Refused
from studio.gallery import Filter
from studio.page.frame import Frame
from studio.page.html import noted, wrong
from studio.page.search import view
from studio.page.search.words import say

MOST = 60  # pictures of one answer


class SearchDesk:
    """Stands between one page's Search tab and the studio."""

    def __init__(self, frame: Frame) -> None:
        self.frame, self.studio = frame, frame.studio

    def greet(self, request: gr.Request) -> str:
        """The tab before anything was looked for."""
        return view.waiting(self.frame.spoken(request))

    async def search(self, words: str, like: str | None, without: str, request: gr.Request) -> AsyncIterator[str]:
        """That it looks, then what was found.

        The worker answers between two steps of what it does, but first loads the model.
        """
        spoken = self.frame.spoken(request)
        if not (words or "").strip() and not like:
            yield noted("problem", say("unsaid", spoken)) + view.waiting(spoken)
            return
        yield view.looking(spoken)
        try:
            hits = await self.studio.asearch(
                words or "", like=like or None, without=without or "", k=MOST, model=self.frame.model
            )
        except Refused as refusal:
            yield wrong(refusal, spoken)
            return
        bare = not hits and not self.studio.gallery.count(Filter())
        yield view.found(hits, spoken) if hits else view.nothing(bare, spoken)

    async def handed(self, what: dict[str, Any] | None, request: gr.Request) -> AsyncIterator[tuple[Any, ...]]:
        """Another part of the page handed a picture over -> words, picture, what not, and what is like it."""
        path = self.frame.picture(f"{(what or {}).get('picture', '')}.png")
        if path is None or (what or {}).get("use") != "find":
            yield (gr.skip(),) * 4
            return
        async for answer in self.search("", str(path), "", request):
            yield "", str(path), "", answer
