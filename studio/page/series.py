"""What the tabs with series share: what their buttons do, how far a series is, and one on show among the others.

A series is several jobs that were asked for together: a set, a comparison, a prompt file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from models.messages import Message, Refused
from studio.gallery import Kept
from studio.page.context import LISTEN, ONCE, PageContext, in_order, pressed_data
from studio.page.html import Media, media, notice, problem, render, script
from studio.page.language import language_of, text
from studio.page.polling import estimate
from studio.page.series_store import Counts, Series, SeriesStore

ACTIONS = ("retry", "go_on", "stop", "remove")
LISTED = 24  # series in small
MINUTE, HOUR = 60, 3600
STATES = {"running": "drawing", "cancelled": "stopped", "done": "deleted"}  # what is said in place of a picture

Shown = tuple[Any, Any, Any]  # the series on show, its panel, the others


def duration(seconds: float, language: str) -> str:
    """About how long, in the unit that a person would use."""
    if seconds < 100:
        time = text("series.seconds", language, count=max(1, round(seconds)))
    elif seconds < 100 * MINUTE:
        time = text("series.minutes", language, count=round(seconds / MINUTE))
    else:
        time = text("series.hours", language, count=f"{seconds / HOUR:.1f}")
    return text("series.about", language, time=time)


@dataclass(frozen=True)
class Progress:
    """How far a series is. `queueing`: its jobs are being queued; `left` is in seconds, None if not known."""

    series: Series
    counts: Counts
    queueing: bool
    paused: bool
    left: float | None
    language: str

    @property
    def ahead(self) -> int:
        """Jobs that will still be done."""
        return self.counts.open + (self.counts.unqueued if self.queueing else 0)

    @property
    def stopped(self) -> int:
        """Jobs that will not be done unless somebody says so."""
        return self.counts.cancelled + (0 if self.queueing else self.counts.unqueued)

    def html(self, more: str = "") -> str:
        """A sentence, a bar, and what went wrong; `more` is added to the sentence."""
        sentence = " · ".join(part for part in (*self._parts(), more) if part)
        return render("series.progress", self.language, counts=self.counts, sentence=sentence)

    def buttons(self) -> str:
        """What can be done now."""
        next_action = "stop" if self.ahead else "go_on" if self.stopped else ""
        actions = ["retry"] * bool(self.counts.failed) + [next_action] * bool(next_action)
        actions += [] if self.ahead else ["remove"]
        return render("series.buttons", self.language, series=self.series, actions=actions, done=self.counts.done)

    def _parts(self) -> list[str]:
        parts = [self._text("progress", done=f"{self.counts.done:,}", total=f"{self.counts.total:,}")]
        for name, count in (("left", self.ahead), ("stopped", self.stopped), ("failed", self.counts.failed)):
            if count:
                parts.append(self._text(name, count=f"{count:,}"))
        if self.ahead and self.paused:
            parts.append(self._text("paused"))
        elif self.ahead and self.left is not None:
            parts.append(duration(self.left, self.language))
        return parts

    def _text(self, name: str, **values: object) -> str:
        return text(f"series.{name}", self.language, **values)


@dataclass(frozen=True)
class Cell:
    """A place of a series: its label, its picture where there is one, its job's state and error."""

    label: str
    kept: Kept | None
    state: str = ""
    error: str | Message = ""

    def shown(self, outlined: bool = False) -> Media | None:
        """Its picture as the page shows it, with a white outline if asked for."""
        if self.kept and outlined:
            return Media(f"/downloads/{self.kept.sha256}/png?outline=1", self.kept.prompt)
        return media(self.kept.path, self.kept.prompt, text=self.kept.text) if self.kept else None

    @property
    def instead(self) -> str:
        """What is said where there is no picture."""
        return STATES.get(self.state, "waiting")


class SeriesHandlers:
    """What happens to the series of one kind."""

    def __init__(self, context: PageContext, kind: str) -> None:
        self.context, self.kind, self.series = context, kind, SeriesStore(context)

    def find(self, name: str) -> Series:
        """A series of this kind; KeyError where there is none of that name, which may come from a browser."""
        series = self.series.get(name)
        if series.kind != self.kind:
            raise KeyError(name)
        return series

    def act(self, data: dict[str, str], language: str) -> str:
        """Do what a button says to the series it names -> an error as HTML, "" where it was done."""
        own = data.get("own", "")
        try:
            series = self.find(data.get("series", ""))
            if own in ACTIONS:
                getattr(self.series, own)(series)
            else:
                self.change(series, data)
        except KeyError:
            return notice("problem", text("series.gone", language))
        except Refused as refusal:
            return problem(refusal, language)
        return ""

    def change(self, series: Series, data: dict[str, str]) -> None:
        """What a button of the tab's own does to a series; what is not known does nothing."""

    def progress(self, series: Series, language: str) -> Progress:
        """How far it is."""
        counts, queueing = self.series.counts(series), self.series.is_queueing(series)
        paused = self.context.studio.queue.is_paused()
        return Progress(series, counts, queueing, paused, self._left(series, counts.open), language)

    def _left(self, series: Series, jobs: int) -> float | None:
        """Seconds until its jobs that are in the queue are done, if nothing comes between."""
        if not jobs:
            return None
        members = self.series.members(series)
        seconds = estimate(self.context, str(series.about.get("digest", "")), (one.request for one in members))
        return None if seconds is None else seconds * jobs / max(1, len(members))


class ShowHandlers(SeriesHandlers):
    """A tab that shows one series place by place, and the others in small. `texts` is the tab's area of texts: what its
    series are called (`yours`) and what stands there before the first one (`empty`).
    """

    def __init__(self, context: PageContext, kind: str, texts: str) -> None:
        super().__init__(context, kind)
        self.texts = texts

    def panel(self, series: Series, language: str) -> str:
        """A series as its tab shows it. KeyError where it was removed meanwhile."""
        raise NotImplementedError

    def refresh(self, shown: str, request: gr.Request) -> Shown:
        """As it stands now; the newest one where none was chosen."""
        return self.show(shown, language_of(request.headers))

    def pressed(self, shown: str, event: gr.EventData, request: gr.Request) -> Shown:
        """A button of the one on show, or another one."""
        data, language = pressed_data(event), language_of(request.headers)
        own, name = data.get("own", ""), data.get("series", "")
        error = self.act(data, language)
        if own == "show" and not error:
            shown = name
        shown, panel, rest = self.show("" if own == "remove" and name == shown else shown, language)
        return shown, error + panel, rest

    def show(self, shown: str, language: str) -> Shown:
        """The one on show, the newest where that is not there, its panel, and the latest ones in small."""
        latest = self.series.latest(self.kind, LISTED)
        if shown not in [series.id for series in latest]:
            shown = latest[0].id if latest else ""
        tiles = [(series, self._cover(series)) for series in latest]
        title = text(f"{self.texts}.yours", language)
        return (
            shown,
            self._panel(shown, language),
            render("series.tiles", language, tiles=tiles, shown=shown, title=title),
        )

    def refused(self, shown: str, refusal: Refused, language: str) -> Shown:
        """A new one can't be: why, above the one that stays on show."""
        return shown, problem(refusal, language) + self._panel(shown, language), gr.skip()

    def nothing_yet(self, language: str) -> str:
        """The panel before the first one."""
        return render("parts.empty_panel", language, code=f"{self.texts}.empty")

    def pictures(self, series: Series) -> dict[str, Kept]:
        """The picture of each job that has one; a job has one picture here."""
        return {one.job: one for one in self.series.pictures(series)}

    def cells(self, series: Series) -> list[Cell]:
        """What has become of each of its jobs, in their order. KeyError where the series was removed meanwhile."""
        states, kept = self.series.states(series), self.pictures(series)
        members = self.series.members(series)
        return [Cell(one.label, kept.get(one.id), *states.get(one.id, ("", Message("")))) for one in members]

    def _panel(self, shown: str, language: str) -> str:
        try:
            return self.panel(self.find(shown), language)
        except KeyError:  # none yet, or removed meanwhile
            return self.nothing_yet(language)

    def _cover(self, series: Series) -> Media | None:
        """The picture of a series in small: its cover, else the first that is there."""
        try:
            ids, kept = self.series.ids(series), self.pictures(series)
        except KeyError:
            return None
        cover = kept.get(ids[int(series.about.get("cover", 0))]) or next(iter(kept.values()), None)
        return media(cover.path, small=True, text=cover.text) if cover else None


def show_panel(context: PageContext, handlers: ShowHandlers) -> tuple[gr.HTML, gr.HTML]:
    """HTML for the series on show, here, and for the others in small, which the tab renders below it."""
    panel = context.html(
        handlers.nothing_yet("en"), script("series.js", "download.js"), elem_id=f"{handlers.kind}-show"
    )
    return panel, gr.HTML(js_on_load=LISTEN, elem_id=f"{handlers.kind}-list", render=False)


def connect_show(
    handlers: ShowHandlers,
    tab: gr.Tab,
    shown: gr.State,
    panels: tuple[gr.HTML, gr.HTML],
    triggers: list[Any],
    make: Callable[..., Shown],
    given: list[Any],
) -> None:
    """Connect the events of a tab that shows series: `triggers` call `make`, a new series, with the values of `given`
    and the one on show.
    """
    panel, others = panels
    outputs = [shown, panel, others]
    pressed, refreshed = in_order(handlers.kind)
    gr.on(triggers, make, [*given, shown], outputs, **{**pressed, **ONCE})
    gr.on([panel.select, others.select], handlers.pressed, shown, outputs, **pressed)
    gr.on([tab.select, panel.input], handlers.refresh, shown, outputs, **refreshed)
    handlers.series.resume(handlers.kind)
