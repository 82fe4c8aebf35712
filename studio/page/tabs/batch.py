"""The Batch tab: reads prompt files, queues their jobs, and shows their progress."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup

from models.messages import Refused
from studio.backends.base import open_backend
from studio.batch.plan import Context, Job, Plan, plan
from studio.batch.readers import Problem, Source
from studio.page.context import LISTEN, PageContext, in_order, pressed_data
from studio.page.form import TAKES_FILES, Form
from studio.page.html import label, render, script, text
from studio.page.series import BACKGROUND, Member, Series, estimate
from studio.page.series_tab import SeriesHandlers, Shown

ORDER = 90
JOBS = 20_000  # maximum of one file: they are in memory until they are queued
ROWS = 100  # jobs that the table lists
LISTED = 12  # batches
FAILED = 50  # failed jobs that are listed
PICTURES = 48
PROBLEMS = 20  # bad lines that are stored with a batch
TEXT_MOST = 2**20  # characters of the text box
EXAMPLE = Path(__file__).with_name("batch_example.txt").read_text(encoding="utf-8")


@dataclass(frozen=True)
class PromptFile:
    """A parsed prompt file. `text` is the pasted text, "" for a file; `digest` is that of the model; the `id` tells the
    plan on show from a later one.
    """

    name: str
    text: str
    digest: str
    plan: Plan
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def bad(self) -> int:
        """The number of invalid lines."""
        return len(self.plan.problems)


def read_source(context: PageContext, source: Source, pasted: str = "") -> PromptFile:
    """Parse a prompt file or `pasted` lines. Refused if it has more than JOBS jobs.

    Pictures named in it must be in the home: the sender of a file may have no right to read other files here.
    """
    backend, home = open_backend(context.model), context.studio.home
    digest = backend.digest()
    common = Context(context.model, backend.capabilities(), digest, context.wildcards, within=home, most=JOBS)
    return PromptFile(source.name, pasted, digest, plan([replace(source, folder=home)], common))


def plan_table(read: PromptFile, seconds: float | None, error: str | Refused = "") -> Markup:
    """The plan: all invalid lines, and the first ROWS jobs."""
    rows: list[Job | Problem] = sorted([*read.plan.jobs[:ROWS], *read.plan.problems], key=lambda row: row.line)
    return render("batch.plan", read, seconds, rows, ROWS, error)


Read = tuple[PromptFile | None, str]  # parsed file, table
Pressed = tuple[Any, Any, Any, Any, Any, Any]  # parsed file, table, file input, text box, batch on show, batches


class BatchHandlers(SeriesHandlers):
    kind = "batch"

    def uploaded(self, path: str) -> tuple[PromptFile | None, str, str]:
        """A file was uploaded -> parsed file, table, empty text box."""
        return *self._read(lambda: replace(Source.open(str(self.context.uploaded(path))), name=Path(path).name)), ""

    def typed(self, lines: str, read: PromptFile | None) -> tuple[Any, Any]:
        """The text box has changed, by a person or by this tab itself."""
        if lines == (read.text if read else ""):
            return gr.skip(), gr.skip()
        return self._read_lines(lines)

    def plan_pressed(self, read: PromptFile | None, lines: str, shown: str, event: gr.EventData) -> Pressed:
        """A button of the plan or of its placeholder."""
        data = pressed_data(event)
        if data.get("own") == "go" and read and read.plan.jobs:
            return self._queue(read, data.get("plan", ""), lines, shown)
        lines = EXAMPLE if data.get("own") == "example" else ""
        return *self._read_lines(lines), None, lines, shown, gr.skip()

    def show(self, shown: str) -> Shown:
        """The latest batches; `shown` is listed with failures and pictures."""
        latest = self.series.latest(self.kind, LISTED)
        cards = [self._card(series, series.id == shown) for series in latest]
        return shown, render("batch.batches", [card for card in cards if card])

    def _read_lines(self, lines: str) -> Read:
        if not lines.strip():
            return None, render("batch.nothing_yet")
        home = self.context.studio.home
        return self._read(lambda: Source(text("batch.pasted"), lines.encode(errors="replace"), home), lines)

    def _read(self, source: Callable[[], Source], lines: str = "") -> Read:
        """The plan of a source; a refusal is shown in its place."""
        try:
            read = read_source(self.context, source(), lines)
            return read, self._table(read)
        except Refused as refusal:
            return PromptFile("", lines, "", Plan()), render("batch.unread", refusal)

    def _table(self, read: PromptFile, error: str | Refused = "") -> Markup:
        seconds = estimate(self.context.studio, read.digest, (job.request for job in read.plan.jobs))
        return plan_table(read, seconds, error)

    def _queue(self, read: PromptFile, pressed: str, lines: str, shown: str) -> Pressed:
        """Queue exactly the jobs that were on show when the button was `pressed`, with their seeds."""
        if pressed != read.id or lines != read.text:  # the file or the text is newer than what was on show
            again, table = self._read_lines(lines) if lines.strip() else (read, self._table(read))
            notice = render("parts.notice", "unknown", text("batch.changed"))
            return again, notice + table, gr.skip(), lines, shown, gr.skip()
        problems = [[problem.line, problem.column, problem.reason.text()] for problem in read.plan.problems[:PROBLEMS]]
        about = {"digest": read.digest, "bad": read.bad, "problems": problems}
        members = [Member(job.id, str(job.line), job.files, job.request) for job in read.plan.jobs]
        try:
            series = self.series.begin(self.kind, read.name, members, BACKGROUND, about)
        except Refused as refusal:
            return read, self._table(read, refusal), gr.skip(), lines, shown, gr.skip()
        table = render("parts.notice", "good", text("batch.lined")) + render("batch.nothing_yet")
        return None, table, None, "", *self.show(series.id)

    def _card(self, series: Series, wide: bool) -> str:
        """The card of a batch, with failures and pictures if `wide`; "" if it was removed meanwhile."""
        try:
            failures = self.series.failures(series, FAILED) if wide else []
            pictures = self.series.pictures(series, PICTURES) if wide else []
            return render("batch.batch", series, self.series.counts(series), wide, failures, pictures)
        except KeyError:
            return ""


def build(context: PageContext) -> None:
    handlers, form = BatchHandlers(context), Form("batch", "batch-")
    with gr.Tab(label("tab.batch"), id="batch") as tab:
        read, shown = gr.State(None), gr.State("")
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=320):
                file = form.put(gr.File, "file", elem_classes=TAKES_FILES, height=200)
                lines = form.box("lines", lines=7, max_lines=14, max_length=TEXT_MOST)
            with gr.Column(scale=7, min_width=320):
                table = gr.HTML(render("batch.nothing_yet"), js_on_load=LISTEN, elem_id="batch-plan")
        batches = context.html(script=script("series.js"), elem_id="batch-list")
    context.on_load(lambda: render("batch.nothing_yet"), table)
    pressed, refreshed = in_order(handlers.kind)
    file.upload(handlers.uploaded, file, [read, table, lines], **pressed)
    # Not `input`: Gradio omits the first one after an update from here, such as one that pastes over the example.
    lines.change(handlers.typed, [lines, read], [read, table], **refreshed)
    outputs, settings = handlers.connect(tab, shown, [batches])
    table.select(handlers.plan_pressed, [read, lines, shown], [read, table, file, lines, *outputs], **settings)
