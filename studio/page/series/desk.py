"""What the tabs that have series share: what their buttons do, and how far a series is."""

from studio.capabilities import Refused
from studio.page.batch.estimate import pace, work
from studio.page.batch.progress import Progress
from studio.page.batch.words import say
from studio.page.frame import Frame
from studio.page.html import noted, wrong
from studio.page.series import AllSeries, Series

ACTIONS = ("retry", "go_on", "stop", "remove")


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

    def act(self, own: str, name: str, spoken: str) -> str:
        """Do what a button says to the series it names -> what is to be said of it, "" where it is seen."""
        try:
            series = self.find(name)
            if own in ACTIONS:
                getattr(self.series, own)(series)
        except KeyError:
            return noted("problem", say("gone", spoken))
        except Refused as refusal:
            return wrong(refusal, spoken)
        return ""

    def progress(self, series: Series, spoken: str) -> Progress:
        """How far it is."""
        standing, lining = self.series.standing(series), self.series.is_lining(series)
        paused = self.frame.studio.queue.is_paused()
        return Progress(series, standing, lining, paused, self._left(series, standing.open), spoken)

    def _left(self, series: Series, jobs: int) -> float | None:
        """Seconds until its jobs that are in line are done, if nothing comes between."""
        speed = pace(self.frame.studio, str(series.about.get("digest", ""))) if jobs else None
        members = self.series.members(series)
        return None if speed is None else speed * work(one.request for one in members) * jobs / max(1, len(members))
