"""What the tabs that have series share: what their buttons do, how far a series is, and one on show among others."""

from typing import Any

import gradio as gr

from models.messages import Refused
from studio.gallery import Kept
from studio.page.frame import Frame, said
from studio.page.html import empty, noted, wrong
from studio.page.series.estimate import pace, work
from studio.page.series.progress import Progress
from studio.page.series.store import AllSeries, Series
from studio.page.series.view import Cell, Tile, others
from studio.page.series.words import say
from studio.page.words import Said

ACTIONS = ("retry", "go_on", "stop", "remove")
LISTED = 24  # series in small

Shown = tuple[Any, Any, Any]  # the series on show, its panel, the others


class SeriesDesk:
    """The series of one kind."""

    def __init__(self, frame: Frame, kind: str) -> None:
        self.frame, self.kind, self.series = frame, kind, AllSeries(frame.studio)

    def find(self, name: str) -> Series:
        """A series of this kind; KeyError where there is none of that name, which may come from a browser."""
        series = self.series.get(name)
        if series.kind != self.kind:
            raise KeyError(name)
        return series

    def act(self, asked: dict[str, str], spoken: str) -> str:
        """Do what a button says to the series it names -> what is to be said of it, "" where it is seen."""
        own = asked.get("own", "")
        try:
            series = self.find(asked.get("series", ""))
            if own in ACTIONS:
                getattr(self.series, own)(series)
            else:
                self.change(series, asked)
        except KeyError:
            return noted("problem", say("gone", spoken))
        except Refused as refusal:
            return wrong(refusal, spoken)
        return ""

    def change(self, series: Series, asked: dict[str, str]) -> None:
        """What a button of the tab's own does to a series; what is not known does nothing."""

    def progress(self, series: Series, spoken: str) -> Progress:
        """How far it is."""
        standing, lining = self.series.standing(series), self.series.is_lining(series)
        paused = self.frame.studio.queue.is_paused()
        return Progress(series, standing, lining, paused, self._left(series, standing.open), spoken)

    def _left(self, series: Series, jobs: int) -> float | None:
        """Seconds until its jobs that are in line are done, if nothing comes between."""
        speed = pace(self.frame.studio, str(series.about.get("digest", ""))) if jobs else None
        if speed is None:
            return None
        members = self.series.members(series)
        return speed * work(one.request for one in members) * jobs / max(1, len(members))


class ShowDesk(SeriesDesk):
    """A tab that shows one series place by place, and the others in small.

    `words` are the tab's: they say what its series are called (`yours`) and what stands there before the first one.
    """

    def __init__(self, frame: Frame, kind: str, words: Said) -> None:
        super().__init__(frame, kind)
        self.words = words

    def panel(self, series: Series, spoken: str) -> str:
        """A series as its tab shows it. KeyError where it was removed meanwhile."""
        raise NotImplementedError

    def look(self, shown: str, request: gr.Request) -> Shown:
        """As it stands now; the newest one where none was picked."""
        return self.show(shown, self.frame.spoken(request))

    def acted(self, shown: str, event: gr.EventData, request: gr.Request) -> Shown:
        """A button of the one on show, or another one."""
        asked, spoken = said(event), self.frame.spoken(request)
        own, name = asked.get("own", ""), asked.get("series", "")
        told = self.act(asked, spoken)
        if own == "show" and not told:
            shown = name
        number, panel, rest = self.show("" if own == "remove" and name == shown else shown, spoken)
        return number, told + panel, rest

    def show(self, shown: str, spoken: str) -> Shown:
        """The one on show, the newest where that is not there, its panel, and the latest ones in small."""
        every = self.series.latest(self.kind, LISTED)
        if shown not in [series.id for series in every]:
            shown = every[0].id if every else ""
        rest = others([self._tile(one) for one in every], shown, self.words("yours", spoken), spoken)
        return shown, self._panel(shown, spoken), rest

    def refused(self, shown: str, refusal: Refused, spoken: str) -> Shown:
        """A new one can't be: why, above the one that stays on show."""
        return shown, wrong(refusal, spoken) + self._panel(shown, spoken), gr.skip()

    def nothing_yet(self, spoken: str) -> str:
        """The panel before the first one."""
        return f'<div class="panel">{empty(self.words("empty", spoken), self.words("empty_hint", spoken))}</div>'

    def pictures(self, series: Series) -> dict[str, Kept]:
        """The picture of each job that has one; a job has one picture here."""
        return {one.job: one for one in self.series.pictures(series)}

    def cells(self, series: Series) -> list[Cell]:
        """What has become of each of its jobs, in their order. KeyError where the series was removed meanwhile."""
        states, kept = self.series.states(series), self.pictures(series)
        members = self.series.members(series)
        return [Cell(one.label, kept.get(one.id), *states.get(one.id, ("", ""))) for one in members]

    def _panel(self, shown: str, spoken: str) -> str:
        try:
            return self.panel(self.find(shown), spoken)
        except KeyError:  # none yet, or removed meanwhile
            return self.nothing_yet(spoken)

    def _tile(self, series: Series) -> Tile:
        """A series in small: its cover, else the first picture that is there."""
        try:
            ids, kept = self.series.ids(series), self.pictures(series)
        except KeyError:
            return Tile(series, None)
        cover = ids[int(series.about.get("cover", 0))]
        return Tile(series, kept.get(cover) or next(iter(kept.values()), None))
