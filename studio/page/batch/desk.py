"""What happens on the Batch tab: a file is looked through, its jobs are put in line, and how far they are is shown."""

import time
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from models.messages import Refused
from studio.batch.plan import Plan
from studio.files import ready_folder
from studio.page.batch import view
from studio.page.batch.reading import ROWS, Read, read_file, read_text
from studio.page.batch.words import say
from studio.page.frame import Frame, said
from studio.page.html import noted
from studio.page.refusals import in_language
from studio.page.series.desk import SeriesDesk
from studio.page.series.estimate import pace, work
from studio.page.series.store import BY_AND_BY, Member, Series

KIND = "batch"
LISTED = 12  # batches
FAILED = 50  # jobs that failed, told one by one
PICTURES = 48
TOLD = 20  # bad lines that a batch remembers

Looked = tuple[Read | None, str]  # what was read, the table


class BatchDesk(SeriesDesk):
    """Stands between one page's Batch tab and the studio."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame, KIND)

    # --- Reading ------------------------------------------------------------------------------------------------------

    def dropped(self, event: gr.EventData, request: gr.Request) -> tuple[Read | None, str, str]:
        """A file was dropped or chosen -> what was read, the table, the box of lines (emptied).

        The table says which file it is of, for drop.js waits for that; the time makes it news if it was there before.
        """
        told = said(event)
        read, table = self._look(request, told.get("path", ""), Path(told.get("name", "")).name, "")
        mark = f'<i hidden data-of="{escape(told.get("path", ""))}" data-at="{time.time()}"></i>'
        return read, table + mark, ""

    def pasted(self, text: str, read: Read | None, request: gr.Request) -> tuple[Any, Any]:
        """The lines in the box are others: typed, pasted, or put there with what was read of them."""
        if text == (read.text if read else ""):
            return gr.skip(), gr.skip()
        if not text.strip():
            return None, view.nothing_yet(self.frame.spoken(request))
        return self._look(request, "", "", text)

    def _look(self, request: gr.Request, path: str, name: str, text: str) -> Looked:
        spoken = self.frame.spoken(request)
        try:
            if text:
                read = read_text(self.frame, text, say("pasted", spoken))
            else:
                uploaded = Path(self.frame.uploaded(path))
                read = read_file(self.frame, uploaded, name or uploaded.name)
            return read, self._table(read, spoken)
        except Refused as refusal:
            return Read(name, text, "", Plan()), view.refused(in_language(str(refusal), spoken))

    def _table(self, read: Read, spoken: str, first: int = 0, only: bool = False, note: str = "") -> str:
        seconds = self._seconds(read)
        return view.plan(read, view.Part(first, only), seconds, spoken, note)

    def _seconds(self, read: Read) -> float | None:
        speed = pace(self.frame.studio, read.digest)
        return None if speed is None else speed * work(job.request for job in read.plan.jobs)

    # --- The table's buttons ------------------------------------------------------------------------------------------

    def told(
        self, read: Read | None, text: str, shown: str, event: gr.EventData, request: gr.Request
    ) -> tuple[Any, Any, Any, Any, Any]:
        """A button at the table -> what was read, the table, the box of lines, the batch on show, the batches."""
        asked, spoken = said(event), self.frame.spoken(request)
        own = asked.get("own", "")
        if own == "example":
            return *self._look(request, "", "", view.EXAMPLE), view.EXAMPLE, shown, gr.skip()
        if own == "clear":
            return None, view.nothing_yet(spoken), "", shown, gr.skip()
        if read is None:
            return *self._anew(text, request), text, shown, gr.skip()
        if own == "go" and read.plan.jobs:
            return self._go(read, text, shown, request)
        first = asked.get("first", "0")
        start = int(first) // ROWS * ROWS if first.isdecimal() and len(first) < 9 else 0
        return read, self._table(read, spoken, start, asked.get("only") == "yes"), text, shown, gr.skip()

    def _anew(self, text: str, request: gr.Request) -> Looked:
        """The studio was started again while the page was open: what it had read is forgotten, the page is not."""
        spoken = self.frame.spoken(request)
        if not text.strip():
            return None, noted("unknown", say("forgotten", spoken)) + view.nothing_yet(spoken)
        read, table = self._look(request, "", "", text)
        return read, noted("unknown", say("read_again", spoken)) + table

    def _go(self, read: Read, text: str, shown: str, request: gr.Request) -> tuple[Any, Any, Any, Any, Any]:
        """Put the jobs in line that are on show: those, with the seeds that are on show, and no others."""
        spoken = self.frame.spoken(request)
        if text != read.text:  # typed on while the table was still that of the lines before
            again, table = self._look(request, "", "", text) if text.strip() else (read, self._table(read, spoken))
            return again, noted("unknown", say("changed", spoken)) + table, text, shown, gr.skip()
        try:
            series = self._begin(read)
        except Refused as refusal:
            return read, self._table(read, spoken, note=in_language(str(refusal), spoken)), text, shown, gr.skip()
        table = noted("good", say("lined", spoken)) + view.nothing_yet(spoken)
        return None, table, "", series.id, self.batches(series.id, spoken)

    def _begin(self, read: Read) -> Series:
        jobs = read.plan.jobs
        ready_folder(self.frame.studio.gallery.folder, sum(job.request.count for job in jobs))
        members = [Member(job.id, str(job.line), job.files, job.request) for job in jobs]
        problems = [[problem.line, problem.column, problem.message] for problem in read.plan.problems[:TOLD]]
        about = {"digest": read.digest, "bad": read.bad, "problems": problems}
        return self.series.begin(KIND, read.name, members, BY_AND_BY, about)

    # --- The batches --------------------------------------------------------------------------------------------------

    def listed(self, shown: str, request: gr.Request) -> str:
        """The batches, as they stand."""
        return self.batches(shown, self.frame.spoken(request))

    def acted(self, shown: str, event: gr.EventData, request: gr.Request) -> tuple[str, str]:
        """A button of a batch -> the batch on show, the batches."""
        asked, spoken = said(event), self.frame.spoken(request)
        own, name = asked.get("own", ""), asked.get("series", "")
        told = self.act(asked, spoken)
        if own == "show" and not told:
            shown = "" if shown == name else name
        return shown, told + self.batches(shown, spoken)

    def batches(self, shown: str, spoken: str) -> str:
        """The latest batches; `shown` is the one with its failures and pictures."""
        cards = [self._card(series, series.id == shown, spoken) for series in self.series.latest(KIND, LISTED)]
        return view.batches(cards, spoken)

    def _card(self, series: Series, wide: bool, spoken: str) -> str:
        try:
            card = view.Card(series, self.progress(series, spoken), spoken)
            if not wide:
                return card.html()
            return card.html(self.series.failures(series, FAILED), self.series.pictures(series, PICTURES))
        except KeyError:  # removed meanwhile
            return ""
