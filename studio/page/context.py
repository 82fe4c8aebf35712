"""What every part of the page is given: the studio, the model, and the few things that the parts share.

A part is a tab, or the card that opens over them all. It builds its components and connects its own events. What one
part hands to another, such as a picture to start from, goes through the state `handed`.

Events answer with `gr.update(...)`. A component that an event makes would stand on the page that is being built just
then: Gradio knows but one.
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

# Events: not part of the public API, without Gradio's own spinner, and as many at once as there are pages open.
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
# Presses: none is dropped while another is handled, and they are handled in the order in which they came.
PRESSED: dict[str, Any] = {**QUIET, "trigger_mode": "multiple", "concurrency_limit": 1}
ONCE = {"trigger_mode": "once"}  # a second press of the same button, before the first is handled, is dropped
ANSWERED = 30.0  # seconds within which a prompt is read, or it is said that it is not
LISTEN = "studio.listen(element, trigger);"  # js_on_load of HTML whose buttons trigger events (see page.js)


def in_order(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings for presses and for refreshes that wait in one queue.

    A refresh that began before a press must not answer after it, or what it shows is out of date. Of refreshes that are
    asked for while one is running only the last counts, and is not dropped.
    """
    queue = {"concurrency_id": name, "concurrency_limit": 1}
    return {**PRESSED, **queue}, {**QUIET, **queue, "trigger_mode": "always_last"}


@dataclass
class PageContext:
    """The page as it is being built. `model` is the backend's name."""

    studio: Studio
    model: str
    serve: Callable[[str], None] | None = None  # goes over to another model
    can: Capabilities = field(init=False)
    poll: Poll = field(init=False)
    series: SeriesStore = field(init=False)
    tabs: gr.Tabs = field(init=False)
    handed: gr.State = field(init=False)
    card: gr.HTML = field(init=False)
    act: Callable[..., Any] = field(init=False)  # what `data-do` buttons do: set by the card
    loads: list[tuple[Callable[..., Any], Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.can = open_backend(self.model).capabilities()
        self.poll, self.series = Poll(self.studio, self.can), SeriesStore(self.studio)

    def html(self, value: str = "", script: str = LISTEN, **settings: Any) -> gr.HTML:
        """HTML whose `data-do` buttons work; its part listens to `select` for those with `data-own`."""
        html = gr.HTML(value, js_on_load=script, **settings)
        html.click(self.act, None, [self.card, self.handed, self.tabs], **PRESSED)
        return html

    def on_load(self, function: Callable[[], Any], *outputs: Any) -> None:
        """What is done when a page is opened or reloaded."""
        self.loads.append((function, outputs))

    @property
    def wildcards(self) -> Wildcards:
        """The lists of wildcards as they are now."""
        return Wildcards(settings.wildcards(self.studio.home))

    def larger(self, path: Path) -> Image.Image | None:
        """A picture in the largest size that the model makes, if it has any. Refused where it can't be html now."""
        return self.studio.larger(path, model=self.model)

    def read(self, *texts: str, negative: str = "") -> list[Reading]:
        """What becomes of the words of prompts. Refused where the worker does not say so in time: it may hang."""
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
        """A value for `handed`: `tab` is to use something as `use`: a `picture` of the gallery, by its sha256, a `file`
        that was dropped, or a `job`. The time makes the same one twice a change.
        """
        return {"tab": tab, "use": use, **what, "at": time.time()}

    def file(self, digest: str, *kinds: str) -> Path | None:
        """The file of an artifact of the gallery by its sha256; None where it is not there, or of none of `kinds`."""
        try:
            item = self.studio.gallery.get(digest)
        except KeyError:
            return None
        return item.path if item.kind in kinds and item.path.is_file() else None

    def uploaded(self, path: str) -> Path:
        """A file that this page has uploaded; Refused for any other, since a browser may name any path."""
        folder = settings.uploads(self.studio.home).resolve()
        if not path or not Path(path).resolve().is_relative_to(folder):
            raise Refused("page.not_uploaded")
        return Path(path)


def pressed_data(event: gr.EventData) -> dict[str, str]:
    """The data of the button that was pressed. It comes from a browser: only short texts are item."""
    data = event._data if isinstance(event._data, dict) else {}
    return {str(key): str(value)[:2_000] for key, value in data.items() if isinstance(value, str | int | bool)}


def whole_number(typed: str | None) -> int | str | None:
    """A seed as typed: nothing is None; what is no number stays text, and the request refuses it."""
    stripped = (typed or "").strip()
    return int(stripped) if re.fullmatch(r"[+-]?\d{1,20}", stripped, re.ASCII) else stripped or None
