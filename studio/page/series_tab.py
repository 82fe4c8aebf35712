"""What the tabs with series share: what their buttons do, how far a series is, and one on show among the others.

A series is several jobs that were asked for together: a set, a comparison, a prompt file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from models.messages import Message, Refused
from studio.gallery import GalleryItem
from studio.page.context import LISTEN, ONCE, PageContext, in_order, pressed_data
from studio.page.html import render, script, text
from studio.page.series import Series

ACTIONS = ("retry", "go_on", "stop", "remove")
LISTED = 24  # series in small

Shown = tuple[Any, ...]  # the series on show, its panel, the others


@dataclass(frozen=True)
class Cell:
    """A place of a series: its label, its picture where there is one, its job's state and error."""

    label: str
    item: GalleryItem | None
    state: str = ""
    error: str | Message = ""


class SeriesHandlers:
    """What happens to the series of one kind, as its tab shows them."""

    kind = ""

    def __init__(self, context: PageContext) -> None:
        self.context, self.series = context, context.series

    def show(self, shown: str) -> Shown:
        """The series on show, and the HTML of it and of the others."""
        raise NotImplementedError

    def change(self, series: Series, data: dict[str, str]) -> None:
        """What a button of the tab's action does to a series; what is not known does nothing."""

    def find(self, name: str) -> Series:
        """A series of this kind; KeyError where there is none of that name, which may come from a browser."""
        series = self.series.get(name)
        if series.kind != self.kind:
            raise KeyError(name)
        return series

    def pressed(self, shown: str, event: gr.EventData) -> Shown:
        """A button of a series: it is done to that one, or that one comes on show."""
        data = pressed_data(event)
        action, name = data.get("own", ""), data.get("series", "")
        try:
            series = self.find(name)
            if action in ACTIONS:
                getattr(self.series, action)(series)
            else:
                self.change(series, data)
        except KeyError:
            return self.refused(shown, text("series.gone"))
        except Refused as refusal:
            return self.refused(shown, refusal)
        if action == "show":
            shown = name
        return self.show("" if action in ("hide", "remove") and name == shown else shown)

    def refused(self, shown: str, why: Refused | str) -> Shown:
        """As it stood, and above that why something can't be."""
        shown, panel, *others = self.show(shown)
        return shown, render("parts.problem", why) + panel, *others

    def connect(self, tab: gr.Tab, shown: gr.State, panels: Sequence[gr.HTML]) -> tuple[list[Any], dict[str, Any]]:
        """Connect the events of `panels`, which show series -> outputs and settings of whatever begins a new one."""
        outputs = [shown, *panels]
        pressed, refreshed = in_order(self.kind)
        gr.on([panel.select for panel in panels], self.pressed, shown, outputs, **pressed)
        gr.on([tab.select, panels[0].input], self.show, shown, outputs, **refreshed)
        return outputs, {**pressed, **ONCE}


class ShowHandlers(SeriesHandlers):
    """A tab that shows one series in full and the others in small. `texts` is its area of texts, with what its series
    are called (`yours`) and what stands there before the first (`empty`).
    """

    texts = ""

    def panel(self, series: Series) -> str:
        """A series as its tab shows it. KeyError where it was removed meanwhile."""
        raise NotImplementedError

    def show(self, shown: str) -> Shown:
        """The one on show, the newest where that is not there, its panel, and the latest ones in small."""
        latest = self.series.latest(self.kind, LISTED)
        if shown not in [series.id for series in latest]:
            shown = latest[0].id if latest else ""
        tiles = [(series, self._cover(series)) for series in latest]
        try:
            panel = self.panel(self.find(shown))
        except KeyError:  # none yet, or removed meanwhile
            panel = render("series.nothing_yet", self.texts)
        return shown, panel, render("series.tiles", tiles, shown, text(f"{self.texts}.yours"))

    def begun(self, shown: str, begin: Callable[..., Series], *given: Any) -> Shown:
        """Begin a series -> it is on show; where it can't be, the one before stays, and why is said above it."""
        try:
            shown = begin(*given).id
        except Refused as refusal:
            return self.refused(shown, refusal)
        return self.show(shown)

    def cells(self, series: Series) -> list[Cell]:
        """What has become of each of its jobs, in their order. KeyError where the series was removed meanwhile."""
        states, items = self.series.states(series), self.series.first_pictures(series)
        members = self.series.members(series)
        return [Cell(one.label, items.get(one.id), *states.get(one.id, ("", ""))) for one in members]

    def _cover(self, series: Series) -> GalleryItem | None:
        """The picture of a series in small: its cover, else the first that is there."""
        try:
            ids, items = self.series.ids(series), self.series.first_pictures(series)
        except KeyError:
            return None
        return items.get(ids[int(series.about.get("cover", 0))]) or next(iter(items.values()), None)

    def show_panels(self) -> list[gr.HTML]:
        """HTML for the series on show, here; and for the others, which the tab renders below."""
        nothing = render("series.nothing_yet", self.texts)
        panel = self.context.html(nothing, script("series.js"), elem_id=f"{self.kind}-show")
        return [panel, gr.HTML(js_on_load=LISTEN, elem_id=f"{self.kind}-list", render=False)]
