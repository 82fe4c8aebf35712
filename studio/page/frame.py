"""What every part of the page is given: the studio, the model, and the few things that the parts share.

A part is a tab (or the card that opens over them all). It draws itself into the page that is being built and wires its
own events. What one part hands to another, such as a picture to start from, goes through `handed`.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from models.messages import Refused
from studio import settings
from studio.backends.registry import open_backend
from studio.capabilities import Capabilities
from studio.page.words import language
from studio.studio import Studio
from studio.wildcards import Wildcards

NAME = re.compile(r"([0-9a-f]{64})\.png")
# Events of ours: not for the outside, without Gradio's own spinner, and as many at once as there are tabs open.
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
# Presses: none is left out while another is being done, and they are done in the order in which they came.
PRESSED: dict[str, Any] = {**QUIET, "trigger_mode": "multiple", "concurrency_limit": 1}
ONCE = {"trigger_mode": "once"}  # a press that is no wish for two: pressed again in haste, it counts once
LISTEN = "studio.listen(element, trigger);"  # js_on_load of HTML whose buttons say something (see page.js)


def in_line(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings for presses and for looks that wait in one line.

    A look that began before a press must not answer after it, or what it shows is out of date. Of looks that are asked
    for while one is being done only the last counts, and is not left out.
    """
    line = {"concurrency_id": name, "concurrency_limit": 1}
    return {**PRESSED, **line}, {**QUIET, **line, "trigger_mode": "always_last"}


@dataclass
class Frame:
    """The page as it is being built. `model` is the backend's name."""

    studio: Studio
    model: str
    can: Capabilities = field(init=False)
    tabs: gr.Tabs = field(init=False)
    handed: gr.State = field(init=False)
    card: gr.HTML = field(init=False)
    act: Callable[..., Any] = field(init=False)  # what `data-do` buttons do: set by the card
    loads: list[tuple[Callable[..., Any], Any, list[Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.can = open_backend(self.model).capabilities()

    @property
    def lists(self) -> Wildcards:
        """The lists of wildcards as they are now."""
        return Wildcards(settings.wildcards(self.studio.home))

    def html(self, value: str = "", **settings: Any) -> gr.HTML:
        """HTML whose `data-do` buttons work; its part listens to `select` for those that say `data-own`."""
        made = gr.HTML(value, js_on_load=LISTEN, **settings)
        made.click(self.act, None, [self.card, self.handed, self.tabs], **PRESSED)
        return made

    def on_load(self, function: Callable[..., Any], outputs: Any, inputs: Any = None) -> None:
        """What is done when a page is opened or loaded again."""
        self.loads.append((function, inputs, outputs))

    def larger(self, path: Path) -> Image.Image | None:
        """A picture in the largest size that the model makes of it; None where it has no other. Refused where it can't
        be done now.
        """
        if len(self.can.sizes) < 2:
            return None
        return self.studio.enlarge(path, max(self.can.sizes), model=self.model)

    def spoken(self, request: gr.Request) -> str:
        """The language of the person who looks."""
        return language(request.headers)

    def in_language(self, function: Callable[[str], str]) -> Callable[[gr.Request], str]:
        """An event that says something in the language of the person who looks."""

        def event(request: gr.Request) -> str:
            return function(self.spoken(request))

        return event

    def hand(self, use: str, digest: str) -> dict[str, Any]:
        """A value for `handed`: picture `digest` is to be used as `use`. The time makes the same one twice a change."""
        return {"use": use, "picture": digest, "at": time.time()}

    def picture(self, name: str) -> Path | None:
        """The file of a finished picture by its name; only pictures of ours have such names."""
        match = NAME.fullmatch(name)
        path = self.studio.gallery.file(match[1]) if match else None
        return path if path and path.is_file() and not path.is_symlink() else None

    def uploaded(self, path: str) -> str:
        """A file that this page has uploaded; Refused for any other, since a browser may say any path."""
        folder = settings.uploads(self.studio.home).resolve()
        if not path or not Path(path).resolve().is_relative_to(folder):
            raise Refused("that file was not uploaded here; drop it again.")
        return path

    def problem(self) -> str:
        """Why the model can't work, or nothing."""
        try:
            open_backend(self.model).digest()
        except Refused as refusal:
            return str(refusal)
        return ""


def said(event: gr.EventData) -> dict[str, str]:
    """What a button of ours said. It comes from a browser: anything may be in it, but only short text is kept."""
    data = event._data
    if not isinstance(data, dict):
        return {}
    return {str(key): str(value)[:2_000] for key, value in data.items() if isinstance(value, str | int | bool)}


def whole_number(text: str | None) -> int | str | None:
    """A seed as typed: nothing is None; what is no number stays text, and the request refuses it."""
    stripped = (text or "").strip()
    return int(stripped) if re.fullmatch(r"[+-]?\d{1,20}", stripped, re.ASCII) else stripped or None
