"""The Batch tab: reads prompt files, queues their jobs, and shows their progress."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup

from models.messages import Refused
from studio.backends.base import open_backend
from studio.batch.plan import Context, Job, Plan, plan
from studio.batch.readers import Problem, Source
from studio.page.context import LISTEN, PageContext, in_order, pressed_data
from studio.page.form import Form
from studio.page.html import label, render, script, text
from studio.page.series import BACKGROUND, Member, Series, estimate
from studio.page.series_tab import SeriesHandlers, Shown

ORDER = 90
JOBS = 20_000  # maximum of one file: they are in memory until they are queued
ROWS = 100  # of one page of the table
LISTED = 12  # batches
FAILED = 50  # failed jobs that are listed
PICTURES = 48
PROBLEMS = 20  # bad lines that are stored with a batch
TEXT_MOST = 2**20  # characters of the text box
EXAMPLE = Path(__file__).with_name("batch_example.txt").read_text(encoding="utf-8")


@dataclass(frozen=True)
class PromptFile:
    """A parsed prompt file. `text` is the pasted text, "" for a file; `digest` is that of the model."""

    name: str
    text: str
    digest: str
    plan: Plan

    @property
    def bad(self) -> int:
        """The number of invalid lines."""
        return len(self.plan.problems) + self.plan.more


def read_source(context: PageContext, source: Source, pasted: str = "") -> PromptFile:
    """Parse a prompt file or `pasted` lines. Refused if it has more than JOBS jobs.

    Pictures named in it must be in the home: the sender of a file may have no right to read other files here.
    """
    backend, home = open_backend(context.model), context.studio.home
    digest = backend.digest()
    common = Context(context.model, backend.capabilities(), digest, context.wildcards, within=home, most=JOBS)
    return PromptFile(source.name, pasted, digest, plan([source], common))


def plan_table(
    read: PromptFile, seconds: float | None, first: int = 0, only_bad: bool = False, error: str | Refused = ""
) -> Markup:
    """The plan of each line, ROWS at a time from row `first` on; `only_bad` shows invalid lines only."""
    rows: list[Job | Problem] = [*([] if only_bad else read.plan.jobs), *read.plan.problems]
    rows.sort(key=lambda row: row.line)
    first = min(first, max(0, (len(rows) - 1) // ROWS * ROWS))
    turns = [(name, at) for name, at in (("earlier", first - ROWS), ("later", first + ROWS)) if 0 <= at < len(rows)]
    return render("batch.plan", read, seconds, rows[first : first + ROWS], turns, first, len(rows), only_bad, error)


Read = tuple[PromptFile | None, str]  # parsed file, table
Pressed = tuple[Any, Any, Any, Any, Any]  # parsed file, table, text box, batch on show, batches


class BatchHandlers(SeriesHandlers):
    kind = "batch"

    def dropped(self, event: gr.EventData) -> tuple[PromptFile | None, str, str]:
        """A file was dropped or chosen -> parsed file, table, empty text box.

        The table names its file: batch.js waits for it. The time makes the value differ each time.
        """
        data = pressed_data(event)
        path, name = data.get("path", ""), Path(data.get("name", "")).name

        def uploaded() -> PromptFile:
            file = self.context.uploaded(path)
            source = Source.open(str(file))
            return read_source(self.context, replace(source, name=name or file.name, folder=self.context.studio.home))

        read, table = self._tried(uploaded, PromptFile(name, "", "", Plan()))
        return read, table + render("batch.read", path, time.time()), ""

    def pasted(self, typed: str, read: PromptFile | None) -> tuple[Any, Any]:
        """The text box has changed, by a person or by this tab itself."""
        if typed == (read.text if read else ""):
            return gr.skip(), gr.skip()
        return self._read(typed)

    def table_pressed(self, read: PromptFile | None, typed: str, shown: str, event: gr.EventData) -> Pressed:
        data = pressed_data(event)
        action, first = data.get("own", ""), data.get("first", "0")
        if action == "example":
            return *self._read(EXAMPLE), EXAMPLE, shown, gr.skip()
        if action == "clear":
            return *self._read(""), "", shown, gr.skip()
        if read is None:  # the studio was restarted while the page was open; typed text stays
            again, table = self._read(typed)
            notice = text("batch.read_again" if again else "batch.forgotten")
            return again, render("parts.notice", "unknown", notice) + table, typed, shown, gr.skip()
        if action == "go" and read.plan.jobs:
            return self._queue(read, typed, shown)
        start = int(first) // ROWS * ROWS if first.isdecimal() and len(first) < 9 else 0
        return read, self._table(read, start, data.get("only") == "yes"), typed, shown, gr.skip()

    def show(self, shown: str) -> Shown:
        """The latest batches; `shown` is listed with failures and pictures."""
        latest = self.series.latest(self.kind, LISTED)
        cards = [self._card(series, series.id == shown) for series in latest]
        return shown, render("batch.batches", [card for card in cards if card])

    def _read(self, typed: str) -> Read:
        if not typed.strip():
            return None, render("batch.nothing_yet")
        pasted = text("batch.pasted")
        source = Source(pasted, typed.encode(errors="replace"), self.context.studio.home)
        return self._tried(lambda: read_source(self.context, source, typed), PromptFile("", typed, "", Plan()))

    def _tried(self, reading: Callable[[], PromptFile], instead: PromptFile) -> Read:
        """The result of `reading`; a refusal is shown in place of the table."""
        try:
            read = reading()
            return read, self._table(read)
        except Refused as refusal:
            return instead, render("batch.unread", refusal)

    def _table(self, read: PromptFile, first: int = 0, only_bad: bool = False, error: str | Refused = "") -> Markup:
        seconds = estimate(self.context.studio, read.digest, (job.request for job in read.plan.jobs))
        return plan_table(read, seconds, first, only_bad, error)

    def _queue(self, read: PromptFile, typed: str, shown: str) -> Pressed:
        """Queue exactly the jobs that are on show, with their seeds."""
        if typed != read.text:  # the table is older than the text
            again, table = self._read(typed) if typed.strip() else (read, self._table(read))
            return again, render("parts.notice", "unknown", text("batch.changed")) + table, typed, shown, gr.skip()
        problems = [[problem.line, problem.column, problem.reason.text()] for problem in read.plan.problems[:PROBLEMS]]
        about = {"digest": read.digest, "bad": read.bad, "problems": problems}
        members = [Member(job.id, str(job.line), job.files, job.request) for job in read.plan.jobs]
        try:
            series = self.series.begin(self.kind, read.name, members, BACKGROUND, about)
        except Refused as refusal:
            return read, self._table(read, error=refusal), typed, shown, gr.skip()
        table = render("parts.notice", "good", text("batch.lined")) + render("batch.nothing_yet")
        return None, table, "", *self.show(series.id)

    def _card(self, series: Series, wide: bool) -> str:
        """The card of a batch, with failures and pictures if `wide`; "" if it was removed meanwhile."""
        try:
            failures = self.series.failures(series, FAILED) if wide else []
            pictures = self.series.pictures(series, PICTURES) if wide else []
            return render("batch.batch", series, self.series.counts(series), wide, failures, pictures)
        except KeyError:
            return ""


def build(context: PageContext) -> None:
    """Build the tab. batch.js uploads dropped and chosen files."""
    handlers = BatchHandlers(context)
    with gr.Tab(label("tab.batch"), id="batch") as tab:
        read, shown = gr.State(None), gr.State("")
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=320):
                drop = gr.HTML(render("batch.drop"), js_on_load=script("batch.js"), elem_id="batch-drop")
                lines = Form("batch", "batch-").box("lines", lines=7, max_lines=14, max_length=TEXT_MOST)
            with gr.Column(scale=7, min_width=320):
                table = gr.HTML(render("batch.nothing_yet"), js_on_load=LISTEN, elem_id="batch-plan")
        batches = context.html(script=script("series.js"), elem_id="batch-list")
    context.on_load(lambda: render("batch.drop"), drop)
    context.on_load(lambda: render("batch.nothing_yet"), table)
    pressed, refreshed = in_order(handlers.kind)
    drop.select(handlers.dropped, None, [read, table, lines], **pressed)
    # Not `input`: Gradio omits the first one after an update from here, such as one that pastes over the example.
    lines.change(handlers.pasted, [lines, read], [read, table], **refreshed)
    outputs, settings = handlers.connect(tab, shown, [batches])
    table.select(handlers.table_pressed, [read, lines, shown], [read, table, lines, *outputs], **settings)
