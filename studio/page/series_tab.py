"""What the tabs with series (sets, comparisons, captions, prompt files) share: event handlers and panels."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import gradio as gr

from models.messages import Message, Refused
from studio.gallery import GalleryItem
from studio.page.context import LISTEN, ONCE, PageContext, in_order, pressed_data
from studio.page.html import render, script, text
from studio.page.series import Series

ACTIONS = ("retry", "go_on", "stop", "remove")
LISTED = 24  # series shown as tiles

Shown = tuple[Any, ...]  # the series on show, its panel, the others


@dataclass(frozen=True)
class Cell:
    """A place of a series: label, picture (if any), state and error of its job."""

    label: str
    item: GalleryItem | None
    state: str = ""
    error: str | Message = ""


class SeriesHandlers(ABC):
    """The event handlers of a tab with series of one `kind`."""

    kind: ClassVar[str]

    def __init__(self, context: PageContext) -> None:
        self.context, self.series = context, context.series

    @abstractmethod
    def show(self, shown: str) -> Shown:
        """The series on show, its HTML, and the HTML of the others."""

    def change(self, series: Series, data: dict[str, str]) -> None:  # noqa: B027  a tab may have no buttons
        """Handle a button of this tab; unknown actions do nothing."""

    def find(self, name: str) -> Series:
        """A series of this kind by name, which may come from a browser; KeyError if there is none."""
        series = self.series.get(name)
        if series.kind != self.kind:
            raise KeyError(name)
        return series

    def pressed(self, shown: str, event: gr.EventData) -> Shown:
        """Handle a button of a series."""
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
        """The panel as before, below a refusal."""
        shown, panel, *others = self.show(shown)
        return shown, render("parts.problem", why) + panel, *others

    def connect(self, tab: gr.Tab, shown: gr.State, panels: Sequence[gr.HTML]) -> tuple[list[Any], dict[str, Any]]:
        """Connect the events of `panels` -> outputs and settings of the event that begins a series."""
        outputs = [shown, *panels]
        pressed, refreshed = in_order(self.kind)
        gr.on([panel.select for panel in panels], self.pressed, shown, outputs, **pressed)
        gr.on([tab.select, panels[0].input], self.show, shown, outputs, **refreshed)
        return outputs, {**pressed, **ONCE}


class ShowHandlers(SeriesHandlers):
    """A tab that shows one series as a panel and the others as tiles. `texts` is the prefix of its texts."""

    texts: ClassVar[str]

    @abstractmethod
    def panel(self, series: Series) -> str:
        """The panel of a series. KeyError if it was removed meanwhile."""

    def show(self, shown: str) -> Shown:
        """The series on show (the newest if there is no such one), its panel, and tiles of the latest ones."""
        latest = self.series.latest(self.kind, LISTED)
        if shown not in [series.id for series in latest]:
            shown = latest[0].id if latest else ""
        tiles = [(series, self._cover(series)) for series in latest]
        try:
            panel = self.panel(self.find(shown))
        except KeyError:  # none yet, or removed meanwhile
            panel = render("series.nothing_yet", self.texts)
        return shown, panel, render("series.tiles", tiles, shown, text(f"{self.texts}.yours"))

    @abstractmethod
    def begin(self, *given: Any) -> Series:
        """Queue the jobs of a new series from the values of the inputs. Refused where they don't fit."""

    def begun(self, shown: str, *given: Any) -> Shown:
        """Begin a series and show it; if it is refused, the panel stays, with the refusal above it."""
        try:
            shown = self.begin(*given).id
        except Refused as refusal:
            return self.refused(shown, refusal)
        return self.show(shown)

    def cells(self, series: Series) -> list[Cell]:
        """The cells of its jobs, in order. KeyError if the series was removed meanwhile."""
        states, items = self.series.states(series), self.series.first_pictures(series)
        members = self.series.members(series)
        return [Cell(one.label, items.get(one.id), *states.get(one.id, ("", ""))) for one in members]

    def _cover(self, series: Series) -> GalleryItem | None:
        """The picture of a tile: the cover, else the first picture."""
        try:
            ids, items = self.series.ids(series), self.series.first_pictures(series)
        except KeyError:
            return None
        return items.get(ids[int(series.about.get("cover", 0))]) or next(iter(items.values()), None)

    def show_panels(self) -> list[gr.HTML]:
        """Put the panel here -> the panel, and the tiles, which the tab renders below."""
        nothing = render("series.nothing_yet", self.texts)
        panel = self.context.html(nothing, script("series.js"), elem_id=f"{self.kind}-show")
        return [panel, gr.HTML(js_on_load=LISTEN, elem_id=f"{self.kind}-list", render=False)]
