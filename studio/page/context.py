"""The context of the page: the studio, the model, and what the parts of the page share.

A part is a tab or the card. It builds its components and connects its events. One part passes a picture or a job to
another through the state `handed`.

Events return `gr.update(...)`. A component that an event constructs would be added to the page that is being built at
that moment: Gradio has one current page.
"""

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from models.messages import Refused
from studio import settings
from studio.backends.base import open_backend
from studio.capabilities import Capabilities
from studio.events import Reading
from studio.page.polling import Poll
from studio.page.series import SeriesStore
from studio.studio import STOP, Stopped, Studio
from studio.syntax import Wildcards

# Events: not in the public API, without Gradio's spinner, without a limit on how many run at once.
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
# Presses of buttons are handled in order, and none is dropped.
PRESSED: dict[str, Any] = {**QUIET, "trigger_mode": "multiple", "concurrency_limit": 1}
ONCE = {"trigger_mode": "once"}  # a second press of the same button, before the first is handled, is dropped
ANSWERED = 30.0  # seconds until reading a prompt times out
LISTEN = "studio.listen(element, trigger);"  # js_on_load of HTML whose buttons trigger events (see page.js)


def in_order(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings for presses and for refreshes that share one queue.

    A refresh that began before a press must not answer after it: it would show an old state. Of the refreshes that
    arrive while one is running, only the last one runs.
    """
    queue = {"concurrency_id": name, "concurrency_limit": 1}
    return {**PRESSED, **queue}, {**QUIET, **queue, "trigger_mode": "always_last"}


@dataclass(eq=False)
class PageContext:
    """The page as it is being built. `model` is the backend's name."""

    studio: Studio
    model: str
    serve: Callable[[str], None] | None = None  # switches to another model
    can: Capabilities = field(init=False)
    poll: Poll = field(init=False)
    series: SeriesStore = field(init=False)
    tabs: gr.Tabs = field(init=False)
    handed: gr.State = field(init=False)
    card: gr.HTML = field(init=False)
    act: Callable[..., Any] = field(init=False)  # handles `data-do` buttons; the card sets it
    loads: list[tuple[Callable[..., Any], Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.can = open_backend(self.model).capabilities()
        self.poll, self.series = Poll(self.studio, self.can), SeriesStore(self.studio)

    def html(self, value: str = "", script: str = LISTEN, **settings: Any) -> gr.HTML:
        """HTML whose `data-do` buttons the card handles. The tab handles its `data-own` buttons in a `select` event."""
        html = gr.HTML(value, js_on_load=script, **settings)
        html.click(self.act, None, [self.card, self.handed, self.tabs], **PRESSED)
        return html

    def on_load(self, function: Callable[[], Any], *outputs: Any) -> None:
        """Run a function whenever a page is opened or reloaded."""
        self.loads.append((function, outputs))

    @property
    def wildcards(self) -> Wildcards:
        """The current lists of wildcards."""
        return Wildcards(settings.wildcards(self.studio.home))

    def larger(self, path: Path) -> Image.Image | None:
        """A picture enlarged by the model; None if the model can't enlarge. Refused if it can't at the moment."""
        return self.studio.larger(path, model=self.model)

    def read(self, *texts: str, negative: str = "") -> list[Reading]:
        """How the model reads prompts. Refused if the worker does not answer within ANSWERED seconds: it may hang."""
        stop = threading.Event()
        timer, token = threading.Timer(ANSWERED, stop.set), STOP.set(stop)
        timer.start()
        try:
            return self.studio.read(*texts, negative=negative, model=self.model)
        except Stopped as error:
            raise Refused("studio.no_answer", seconds=f"{ANSWERED:g}") from error
        finally:
            timer.cancel()
            STOP.reset(token)

    def hand(self, tab: str, use: str, **what: Any) -> dict[str, Any]:
        """A value for `handed`: `tab` receives a `picture` (sha256), a dropped `file` or a `job`; `use` says what for.
        The time makes two equal ones in a row differ, so that Gradio reports a change.
        """
        return {"tab": tab, "use": use, **what, "at": time.time()}

    def file(self, digest: str, *kinds: str) -> Path | None:
        """The file of an artifact by its sha256; None if it is missing or of another kind than `kinds`."""
        try:
            item = self.studio.gallery.get(digest)
        except KeyError:
            return None
        return item.path if item.kind in kinds and item.path.is_file() else None

    def uploaded(self, path: str) -> Path:
        """A file that was uploaded; Refused for any other path, since a browser may send any."""
        folder = settings.uploads(self.studio.home).resolve()
        if not path or not Path(path).resolve().is_relative_to(folder):
            raise Refused("page.not_uploaded")
        return Path(path)


def pressed_data(event: gr.EventData) -> dict[str, str]:
    """The data attributes of the pressed button. They come from a browser: each is cut to 2,000 characters."""
    data = event._data if isinstance(event._data, dict) else {}
    return {str(key): str(value)[:2_000] for key, value in data.items() if isinstance(value, str | int | bool)}


def whole_number(typed: str | None) -> int | str | None:
    """A typed seed: None if empty; text that is no number is returned as it is, and the request refuses it."""
    stripped = (typed or "").strip()
    return int(stripped) if re.fullmatch(r"[+-]?\d{1,20}", stripped, re.ASCII) else stripped or None
