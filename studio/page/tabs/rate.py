"""The Rate tab: two pictures of one prompt, of which a person chooses the better one.

The page gets a prompt and two pictures without metadata, at an address by a random token. Which pictures, models and
seeds they are, and which pair is repeated, stays with the server.
"""

import functools
import random
import secrets
import threading
from collections.abc import Callable
from typing import Any

import gradio as gr
from fastapi import APIRouter, HTTPException
from fastapi.responses import PlainTextResponse, Response

from models.messages import Refused
from models.ratings import Pair, blind_png
from studio import learn as learning
from studio import preferences, settings
from studio.page.context import PRESSED, QUIET, PageContext, pressed_data
from studio.page.html import label, new_router, render, script, text
from studio.page.routes import attachment
from studio.ratings import Ratings

ORDER = 75
OPEN_PAIRS = 256  # shown and not yet answered; older ones are forgotten
SIDES = ("left", "right")
UNSTORED = {"cache-control": "no-store"}


class RateHandlers:
    def __init__(self, context: PageContext) -> None:
        self.context, self.ratings = context, Ratings(context.studio.store)
        self._pairs, self._lock, self._rng = dict[str, Pair](), threading.Lock(), random.Random(secrets.randbits(64))
        self._actions: dict[str, Callable[[], str]] = {"undo": self._undo, "learn": self._learn, "stop": self._stop}

    def show(self, notice: str = "", problem: Refused | None = None) -> str:
        """The next pair, as HTML, below a notice or a problem."""
        try:
            pair, counts = self.ratings.next(self._rng), self.ratings.counts()
        except Refused as refusal:  # a reward that was altered
            self.ratings.stop()
            pair, counts, problem = self.ratings.next(self._rng), self.ratings.counts(), refusal
        chosen = settings.chosen(self.context.studio.home)
        use = "taught" if chosen.get("preferences") else "ranked" if chosen.get("ranker") else "not_ranked"
        token = self._keep(pair) if pair else ""
        return render("rate.tab", token, pair.prompt if pair else "", counts, use, notice, problem)

    def press(self, event: gr.EventData) -> tuple[Any, Any]:
        """A button or a key -> the next pair, and the tab to open."""
        data = pressed_data(event)
        action = data.get("own", "")
        if action == "create":
            return gr.skip(), gr.update(selected="create")
        try:
            if action == "teach":
                self._teach()
                return self.show(), gr.update(selected="learn")
            if action in self._actions:
                return self.show(self._actions[action]()), gr.skip()
            with self._lock:
                pair = self._pairs.pop(data.get("pair", ""), None)
            if pair is None:  # answered before, or shown by a server that has ended
                return self.show(), gr.skip()
            self.ratings.add(pair, pair.choice_of(action))
        except Refused as refusal:
            return self.show(problem=refusal), gr.skip()
        except ValueError:  # no choice that the page offers
            return gr.skip(), gr.skip()
        return self.show(), gr.skip()

    def picture(self, token: str, side: str) -> Response:
        """A picture of an open pair as a PNG; 404 where there is none."""
        with self._lock:
            pair = self._pairs.get(token)
        if pair is None or side not in SIDES:
            raise HTTPException(404, "no such picture")
        path = self.context.file(pair.shown[SIDES.index(side)], "image")
        if path is None:
            raise HTTPException(404, "no such picture any more")
        return Response(blind_png(path), media_type="image/png", headers=UNSTORED)

    def _keep(self, pair: Pair) -> str:
        token = secrets.token_urlsafe(12)
        with self._lock:
            self._pairs[token] = pair
            while len(self._pairs) > OPEN_PAIRS:
                del self._pairs[next(iter(self._pairs))]
        return token

    def _undo(self) -> str:
        return text("rate.undone" if self.ratings.undo() else "rate.no_rating")

    def _learn(self) -> str:
        _, about = self.ratings.learn()
        return text("rate.learned", count=about["pairs"], share=f"{about['accuracy']:.0%}")

    def _teach(self) -> None:
        """Begin to train the generator."""
        self.ratings.learn()  # refuses too few
        learning.TrainingRun(self.context.studio.home, preferences.NAME).begin(preferences.MINUTES)

    def _stop(self) -> str:
        self.ratings.stop()
        preferences.stop(self.context.studio.home)
        return text("rate.stopped")


@functools.lru_cache(8)
def handlers_of(context: PageContext) -> RateHandlers:
    """Those of a page: its tab and its routes share the open pairs."""
    return RateHandlers(context)


def build(context: PageContext) -> None:
    handlers = handlers_of(context)
    with gr.Tab(label("tab.rate"), id="rate") as tab:
        shown = gr.HTML(js_on_load=script("rate.js"), elem_id="rate")
    tab.select(handlers.show, None, shown, **QUIET)
    shown.select(handlers.press, None, [shown, context.tabs], **PRESSED)


def router(context: PageContext) -> APIRouter:
    router, handlers = new_router(), handlers_of(context)
    router.get("/rate/{token}/{side}.png")(handlers.picture)

    @router.get("/ratings.jsonl")
    def exported() -> Response:
        """All ratings as JSON Lines."""
        lines = "".join(handlers.ratings.lines())
        return PlainTextResponse(lines, media_type="application/jsonl", headers=attachment("ratings.jsonl"))

    return router
