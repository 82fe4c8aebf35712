"""The Batch tab: a file of prompts is read, its jobs are queued, and how far they are is shown."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup

from models.messages import Message, Refused
from studio import settings
from studio.backends.registry import open_backend
from studio.batch.plan import Context, Job, Plan, plan
from studio.batch.sources import Problem, Source
from studio.files import make_folder, ready_folder, write_whole
from studio.gallery import Kept
from studio.page.context import LISTEN, ONCE, PageContext, in_order, pressed_data
from studio.page.html import media, notice, render, script
from studio.page.language import error_text, label, language_of, text
from studio.page.polling import estimate
from studio.page.series import Progress, SeriesHandlers, duration
from studio.page.series_store import BACKGROUND, Member, Series

KIND = "batch"
JOBS = 20_000  # of one file: a page holds them all in memory until they are queued
ROWS = 100  # of the table at once
COLUMNS = ("batch.line", "prompt", "style", "batch.count", "seed", "steps", "guidance", "scheduler")
LISTED = 12  # batches
FAILED = 50  # jobs that failed, shown one by one
PICTURES = 48
PROBLEMS = 20  # bad lines that a batch remembers
TEXT_MOST = 2**20  # characters that the box takes
EXAMPLE = """\
a smiling cat
a {red|blue|green} dragon, fluent 3d style --d 1,2,3
a (sleepy:1.4) panda --n hat --d 7 --s 20 --f sleepy-panda
{2$$ and $$an apple|a pear|a lemon} on a plate --d 11
一只戴帽子的小狗 --d 5
a robot in love --strenght 2
"""


# --- Reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PromptFile:
    """A prompt file that was read. `text` is what was pasted, "" for a file; `digest` names the model."""

    name: str
    text: str
    digest: str
    plan: Plan

    def rows(self, only_bad: bool) -> list[Job | Problem]:
        """What becomes of the lines, in their order."""
        good: list[Job | Problem] = [] if only_bad else list(self.plan.jobs)
        return sorted([*good, *self.plan.problems], key=lambda row: row.line)

    @property
    def bad(self) -> int:
        """Lines that can't be done."""
        return len(self.plan.problems) + self.plan.more


def read_file(context: PageContext, path: Path, name: str, pasted: str = "") -> PromptFile:
    """Read a prompt file. Refused where it can't be read, or asks for more than JOBS.

    Pictures that the lines name must lie in the home: who sends a file need not be who may read this computer's files.
    """
    backend, home = open_backend(context.model), context.studio.home
    digest = backend.digest()
    common = Context(context.model, backend.capabilities(), digest, context.wildcards, within=home, most=JOBS)
    return PromptFile(name, pasted, digest, plan([Source(name, path, home)], common))


def read_text(context: PageContext, pasted: str, name: str) -> PromptFile:
    """The same for lines that were pasted."""
    folder = settings.uploads(context.studio.home)
    make_folder(folder)
    path = folder / f"lines-{uuid.uuid4().hex}"
    try:
        write_whole(path, pasted.encode(errors="replace"), "--home")
        return read_file(context, path, name, pasted)
    finally:
        path.unlink(missing_ok=True)


# --- Tables -----------------------------------------------------------------------------------------------------------


def plan_table(
    read: PromptFile, seconds: float | None, language: str, first: int = 0, only_bad: bool = False, error: str = ""
) -> Markup:
    """What becomes of each line, ROWS at a time from row `first` on; `only_bad` shows the lines that can't be done."""
    rows, jobs = read.rows(only_bad), read.plan.jobs
    first = min(first, max(0, (len(rows) - 1) // ROWS * ROWS))
    parts = [text("batch.jobs", language, count=f"{len(jobs):,}")]
    parts.append(text("batch.pictures", language, count=f"{sum(job.request.count for job in jobs):,}"))
    if jobs:
        parts.append(text("batch.no_pace", language) if seconds is None else duration(seconds, language))
    ignored = [f"{name} ({count})" for name, count in read.plan.ignored.most_common()]
    table = {
        "columns": [text(name, language) for name in COLUMNS],
        "rows": [_row(row, language) for row in rows[first : first + ROWS]],
        "turns": [
            (name, at) for name, at in (("earlier", first - ROWS), ("later", first + ROWS)) if 0 <= at < len(rows)
        ],
        "place": {"first": f"{first + 1:,}", "last": f"{min(len(rows), first + ROWS):,}", "total": f"{len(rows):,}"},
    }
    about = {"parts": parts, "only_bad": only_bad, "error": error, "ignored": ", ".join(ignored)}
    return render("batch.plan", language, read=read, **about, **table)


def cells(job: Job) -> Iterator[str]:
    """A job as the row of a table; the same values, in the same words, as `studio batch --dry-run` prints."""
    one = job.request
    guidance = getattr(one, "guidance", None)
    yield from (one.title, getattr(one, "style", "") or "-", str(one.count), str(one.seed))
    yield from (str(getattr(one, "steps", "-")), "-" if guidance is None else f"{guidance:g}")
    yield getattr(one, "scheduler", "-")


def _row(row: Job | Problem, language: str) -> dict[str, Any]:
    if isinstance(row, Problem):
        return {"line": row.line, "column": row.column, "error": error_text(row.reason, language)}
    prompt, *values = cells(row)
    return {"line": row.line, "prompt": prompt, "values": values}


# --- Handlers ---------------------------------------------------------------------------------------------------------

Read = tuple[PromptFile | None, str]  # what was read, the table
Pressed = tuple[Any, Any, Any, Any, Any]  # what was read, the table, the box of lines, the batch on show, the batches


class BatchHandlers(SeriesHandlers):
    """What happens when something on the tab is pressed."""

    def __init__(self, context: PageContext) -> None:
        super().__init__(context, KIND)

    def dropped(self, event: gr.EventData, request: gr.Request) -> tuple[PromptFile | None, str, str]:
        """A file was dropped or chosen -> what was read, the table, the box of lines (emptied).

        The table names the file that it is of, which batch.js waits for; the time makes it another value each time.
        """
        data = pressed_data(event)
        path = data.get("path", "")
        read, table = self._read(request, path, Path(data.get("name", "")).name, "")
        return read, table + render("batch.read", "en", path=path, time=time.time()), ""

    def pasted(self, typed: str, read: PromptFile | None, request: gr.Request) -> tuple[Any, Any]:
        """The lines in the box have changed: typed, pasted, or put there with what was read of them."""
        if typed == (read.text if read else ""):
            return gr.skip(), gr.skip()
        if not typed.strip():
            return None, nothing_yet(language_of(request.headers))
        return self._read(request, "", "", typed)

    def pressed(
        self, read: PromptFile | None, typed: str, shown: str, event: gr.EventData, request: gr.Request
    ) -> Pressed:
        """A button of the table."""
        data, language = pressed_data(event), language_of(request.headers)
        own = data.get("own", "")
        if own == "example":
            return *self._read(request, "", "", EXAMPLE), EXAMPLE, shown, gr.skip()
        if own == "clear":
            return None, nothing_yet(language), "", shown, gr.skip()
        if read is None:
            return *self._read_again(typed, request), typed, shown, gr.skip()
        if own == "go" and read.plan.jobs:
            return self._queue(read, typed, shown, request)
        first = data.get("first", "0")
        start = int(first) // ROWS * ROWS if first.isdecimal() and len(first) < 9 else 0
        table = plan_table(read, self._seconds(read), language, start, data.get("only") == "yes")
        return read, table, typed, shown, gr.skip()

    def refresh(self, shown: str, request: gr.Request) -> str:
        """The batches, as they stand."""
        return self.batches(shown, language_of(request.headers))

    def batch_pressed(self, shown: str, event: gr.EventData, request: gr.Request) -> tuple[str, str]:
        """A button of a batch -> the batch on show, the batches."""
        data, language = pressed_data(event), language_of(request.headers)
        name, error = data.get("series", ""), self.act(data, language)
        if data.get("own", "") == "show" and not error:
            shown = "" if shown == name else name
        return shown, error + self.batches(shown, language)

    def batches(self, shown: str, language: str) -> str:
        """The latest batches; `shown` is the one with its failures and pictures."""
        cards = [self._card(series, series.id == shown, language) for series in self.series.latest(KIND, LISTED)]
        return render("batch.batches", language, cards=[card for card in cards if card])

    def _read(self, request: gr.Request, path: str, name: str, typed: str) -> Read:
        language = language_of(request.headers)
        try:
            if typed:
                read = read_text(self.context, typed, text("batch.pasted", language))
            else:
                uploaded = Path(self.context.uploaded(path))
                read = read_file(self.context, uploaded, name or uploaded.name)
            return read, plan_table(read, self._seconds(read), language)
        except Refused as refusal:
            sentence = error_text(refusal, language)
            return PromptFile(name, typed, "", Plan()), render(
                "parts.panel_with", language, kind="problem", sentence=sentence
            )

    def _read_again(self, typed: str, request: gr.Request) -> Read:
        """The studio was started again while the page was open: what it had read is lost, what was typed is not."""
        language = language_of(request.headers)
        if not typed.strip():
            return None, notice("unknown", text("batch.forgotten", language)) + nothing_yet(language)
        read, table = self._read(request, "", "", typed)
        return read, notice("unknown", text("batch.read_again", language)) + table

    def _queue(self, read: PromptFile, typed: str, shown: str, request: gr.Request) -> Pressed:
        """Queue the jobs that are on show: those, with the seeds that are on show, and no others."""
        language = language_of(request.headers)
        if typed != read.text:  # typed while the table was still that of the lines before
            again: Read = (read, plan_table(read, self._seconds(read), language))
            again = self._read(request, "", "", typed) if typed.strip() else again
            return again[0], notice("unknown", text("batch.changed", language)) + again[1], typed, shown, gr.skip()
        try:
            series = self._begin(read)
        except Refused as refusal:
            table = plan_table(read, self._seconds(read), language, error=error_text(refusal, language))
            return read, table, typed, shown, gr.skip()
        table = notice("good", text("batch.lined", language)) + nothing_yet(language)
        return None, table, "", series.id, self.batches(series.id, language)

    def _begin(self, read: PromptFile) -> Series:
        jobs = read.plan.jobs
        ready_folder(self.context.studio.gallery.folder, sum(job.request.count for job in jobs))
        members = [Member(job.id, str(job.line), job.files, job.request) for job in jobs]
        problems = [[problem.line, problem.column, problem.reason.text()] for problem in read.plan.problems[:PROBLEMS]]
        about = {"digest": read.digest, "bad": read.bad, "problems": problems}
        return self.series.begin(KIND, read.name, members, BACKGROUND, about)

    def _seconds(self, read: PromptFile) -> float | None:
        return estimate(self.context, read.digest, (job.request for job in read.plan.jobs))

    def _card(self, series: Series, wide: bool, language: str) -> str:
        """One batch as it stands; `wide` with what failed and what was made."""
        try:
            failures = self.series.failures(series, FAILED) if wide else []
            pictures = self.series.pictures(series, PICTURES) if wide else []
            return batch_card(series, self.progress(series, language), wide, failures, pictures, language)
        except KeyError:  # removed meanwhile
            return ""


def batch_card(
    series: Series,
    progress: Progress,
    wide: bool,
    failures: list[tuple[Member, Message]],
    pictures: list[Kept],
    language: str,
) -> Markup:
    """One batch as HTML. Lines that could not be a job come first, then jobs that failed."""
    bad = int(series.about.get("bad", 0))
    rows = [(str(line), column, said) for line, column, said in series.about.get("problems", [])]
    rows += [(one.label, None, message) for one, message in failures]
    about = {
        "made": time.strftime("%Y-%m-%d %H:%M", time.localtime(series.made)),
        "bad": text("batch.bad", language, count=f"{bad:,}") if bad else "",
        "rows": [{"line": line, "column": column, "error": error_text(said, language)} for line, column, said in rows],
        "more": progress.counts.failed + bad - len(rows),
        "pictures": [(one, media(one.path, one.prompt, small=True, text=one.text)) for one in pictures],
    }
    return render("batch.batch", language, series=series, progress=progress, wide=wide, **about)


def drop_zone(language: str) -> Markup:
    """The place for a file. batch.js uploads what is dropped or chosen."""
    return render("batch.drop", language)


def nothing_yet(language: str) -> Markup:
    """The table before a file."""
    return render("batch.nothing_yet", language)


# --- What stands where ------------------------------------------------------------------------------------------------


def build(context: PageContext) -> None:
    """Draw the tab."""
    handlers = BatchHandlers(context)
    with gr.Tab(label("tab.batch"), id="batch") as tab:
        read, shown = gr.State(None), gr.State("")
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=320):
                drop = gr.HTML(drop_zone("en"), js_on_load=script("batch.js"), elem_id="batch-drop")
                lines = gr.Textbox(
                    label=label("batch.lines"),
                    info=label("batch.lines_info"),
                    placeholder=label("batch.lines_hint"),
                    lines=7,
                    max_lines=14,
                    max_length=TEXT_MOST,
                    elem_id="batch-lines",
                )
            with gr.Column(scale=7, min_width=320):
                table = gr.HTML(nothing_yet("en"), js_on_load=LISTEN, elem_id="batch-plan")
        batches = context.html(script=script("series.js"), elem_id="batch-list")
    context.on_load_text(drop_zone, drop)
    context.on_load_text(nothing_yet, table)
    pressed, refreshed = in_order("batch")
    drop.select(handlers.dropped, None, [read, table, lines], **pressed)
    # Not `input`: Gradio leaves out the first one after a value that came from here; one may paste over the example.
    lines.change(handlers.pasted, [lines, read], [read, table], **refreshed)
    outputs = [read, table, lines, shown, batches]
    table.select(handlers.pressed, [read, lines, shown], outputs, **{**pressed, **ONCE})
    batches.select(handlers.batch_pressed, shown, [shown, batches], **pressed)
    gr.on([tab.select, batches.input], handlers.refresh, shown, batches, **refreshed)
    handlers.series.resume(KIND)
