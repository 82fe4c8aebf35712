"""Captions of the gallery's pictures and clips, on request. Kept with each is also the round trip: how near the caption
comes to the words that the picture was made from.
"""

from anyio import to_thread
from fastapi import APIRouter

from models.prompts.weighting import plain
from studio.api.routing import Rejected
from studio.events import Content
from studio.gallery import GalleryItem
from studio.page.context import PageContext
from studio.page.html import render
from studio.page.language import reader, routes
from studio.planner import resolve
from studio.requests import make_request


def describe(context: PageContext, kept: GalleryItem, language: str) -> GalleryItem:
    """The picture with its caption. Waits for the worker, between two of its steps; Refused where the model can't."""
    studio, model = context.studio, context.model
    asked = make_request("caption", image={"path": str(kept.path)}, language=language, model=model)
    (answer,) = (one for one in studio.ask(resolve(asked, context.can)) if isinstance(one, Content))
    said, prompt = answer.data.decode(), plain(kept.prompt).strip()
    near = None
    if answer.known and prompt:
        one, other = studio.embed([prompt, said], model=model)
        near = sum(a * b for a, b in zip(one.vector, other.vector, strict=True))
    studio.gallery.mark([kept.sha256], caption=said, sure=answer.score if answer.known else 0.0, round_trip=near)
    return studio.gallery.get(kept.sha256)


def router(context: PageContext) -> APIRouter:
    made = routes()

    @made.post("/captions/{digest}")
    async def caption(digest: str, again: bool = False) -> dict[str, str]:
        """What a picture shows, as HTML; one that was described before is so `again` only where that is said."""
        try:
            kept, can = context.studio.gallery.get(digest), context.can
            if (again or not kept.caption) and kept.kind != "text":
                language = reader() if reader() in can.languages else next(iter(can.languages), "en")
                kept = await to_thread.run_sync(describe, context, kept, language)
        except KeyError as error:
            raise Rejected(404, "page.picture_damaged") from error
        return {"html": render("caption.answer", kept, can.styles)}

    return made
