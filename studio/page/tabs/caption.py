"""The Caption tab: captions of pictures, which can be corrected, copied, and downloaded as a training set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import APIRouter, HTTPException
from fastapi.responses import Response, StreamingResponse

from models.messages import Message, Refused
from studio import inputs
from studio.backends.base import open_backend
from studio.batch.plan import safe_name
from studio.clips import moves, picture_of
from studio.export.training import Example, kind_of, training_set
from studio.media import saved
from studio.metadata.files import read
from studio.page.context import PageContext
from studio.page.form import TAKES_FILES, Form, unable
from studio.page.html import label, new_router, reader, render, text
from studio.page.polling import TABS
from studio.page.routes import FOREVER, series_of, zip_response
from studio.page.series import WATCHED, Member, Series, SeriesStore
from studio.page.series_tab import Cell, ShowHandlers, Shown
from studio.planner import Job, plan_with
from studio.requests import PICTURES, make_request

ORDER = 30
TASK = "caption"
TABS[TASK] = "caption"
FILES = 200  # at once; the command takes folders
FIELDS: dict[str, dict[str, Any]] = {"short": {}, "long": {"long": True}, "tags": {"tags": True}}
USUAL = ["short", "tags"]
NAMES = {"en": "English", "zh": "中文"}
SMALL = 256  # pixels of the longer side of a picture beside its captions


@dataclass(frozen=True)
class Described:
    """An input picture, the `number` of its first job, and its texts as (kind, cell, known)."""

    number: int
    name: str
    texts: Sequence[tuple[str, Cell, bool]]


class CaptionHandlers(ShowHandlers):
    kind, texts = TASK, TASK

    def choices(self) -> list[Any]:
        """Updates of the inputs in the reader's language: kinds of texts, and their language."""
        can, kinds = self.context.can.languages, [kind for kind in FIELDS if kind not in self.context.can.lacks]
        named, spoken = [(text(f"caption.{kind}"), kind) for kind in kinds], [(NAMES.get(one, one), one) for one in can]
        group = gr.update(choices=named, value=[kind for kind in USUAL if kind in kinds], visible=len(kinds) > 1)
        return [group, gr.update(choices=spoken, value=reader() if reader() in can else can[0], visible=len(can) > 1)]

    def begin(self, files: Sequence[str] | None, kinds: Sequence[str], language: str) -> Series:
        """Queue a job for each text of each file. Refused if there is none, or all are invalid."""
        if not files or not kinds:
            raise Refused("page.caption.no_kinds" if files else "page.caption.no_files")
        if len(files) > FILES:
            raise Refused("page.caption.too_many", most=FILES)
        kinds = [kind for kind in FIELDS if kind in kinds]
        backend, members, problems = open_backend(self.context.model), list[Member](), list[list[Any]]()
        can, digest, lists = backend.capabilities(), backend.digest(), self.context.wildcards
        shared = {"language": language, "model": self.context.model, "shape": max(can.described)}
        for file in map(self.context.uploaded, files):
            try:
                requests = [make_request(TASK, image={"path": str(file)}, **shared, **FIELDS[kind]) for kind in kinds]
                jobs = plan_with(requests, can, digest, lists)
                members += map(self._member, jobs)
            except Refused as refusal:
                problems.append([file.name, _of_name(refusal.message, file.name).as_json()])
        if not members:
            raise Refused(Message.from_json(problems[0][1]))
        more = len(members) // len(kinds) - 1
        titled = members[0].label + (f" + {more}" if more else "")
        about = {"digest": digest, "kinds": kinds, "problems": problems}
        return self.series.begin(self.kind, titled, members, WATCHED, about)

    def panel(self, series: Series) -> str:
        rows = self.rows(series)
        problems = [Message.from_json(message) for _, message in series.about["problems"]]
        ready = len(training_examples(self.series, series, rows))
        return render("caption.panel", series, self.series.counts(series), rows, problems, ready)

    def change(self, series: Series, data: dict[str, str]) -> None:
        """Store a corrected text; an empty one restores the model's."""
        digest = data.get("picture", "")
        if data.get("own") == "text" and digest in [one.sha256 for one in self.series.pictures(series)]:
            value, item = " ".join(data.get("value", "").split()), self.context.studio.gallery.get(digest)
            self.context.studio.gallery.mark([digest], caption="" if value == item.text else value)

    def rows(self, series: Series) -> list[Described]:
        """Each file with its texts."""
        kinds, cells, rows = series.about["kinds"], self.cells(series), list[Described]()
        for number in range(0, len(cells), len(kinds)):
            texts = [(kind, cell, _known(cell)) for kind, cell in zip(kinds, cells[number:], strict=False)]
            rows.append(Described(number, cells[number].label, texts))
        return rows

    def _member(self, job: Job) -> Member:
        """A member whose picture is copied into the home, where it stays as long as the series."""
        name = Path(job.request.image.path).name
        request = inputs.keep(job.request, self.context.studio.home)
        return Member(job.id, name, (f"{Path(name).stem}-{kind_of(job.request)}.txt",), request)


def _of_name(message: Message, name: str) -> Message:
    """The message with the file's name in place of its path in the folder of uploads."""
    return replace(message, values={**message.values, **({"path": name} if "path" in message.values else {})})


def _known(cell: Cell) -> bool:
    """Whether the model, or whoever corrected it, knows what is shown."""
    if cell.item is None or cell.item.caption:
        return bool(cell.item)
    try:
        return bool(read(cell.item.path).get("known", True))
    except Refused:  # it is gone or damaged
        return False


def training_examples(store: SeriesStore, series: Series, rows: Sequence[Described]) -> list[Example]:
    """The still pictures that have texts, with their texts."""
    members, examples = store.members(series), list[Example]()
    for row in rows:
        path = Path(members[row.number].request.image.path)
        texts = {kind: cell.item.words for kind, cell, known in row.texts if known and cell.item}
        if texts and path.is_file() and not moves(path):
            examples.append(Example(path, row.name, texts))
    return examples


def build(context: PageContext) -> None:
    handlers, form = CaptionHandlers(context), Form("caption", "caption-")
    if TASK not in context.can.tasks:
        unable(context, TASK, TASK)
        return
    with gr.Tab(label("tab.caption"), id=TASK) as tab:
        shown = gr.State("")
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=300):
                about: Any = {"file_count": "multiple", "file_types": list(PICTURES), "height": 220}
                form.put(gr.File, "files", elem_classes=TAKES_FILES, **about)
                kinds = form.put(gr.CheckboxGroup, "kinds", list(FIELDS), value=USUAL)
                language = form.put(gr.Radio, "language", list(context.can.languages))
                button = form.make()
            with gr.Column(scale=8, min_width=320):
                panels = handlers.show_panels()
        panels[1].render()
    context.on_load(handlers.choices, kinds, language)

    def make(shown: str, *given: Any) -> Shown:
        """The series on show, and the file input, emptied once the jobs are queued."""
        now, *rest = handlers.begun(shown, *given)
        return now, *rest, gr.skip() if now == shown else None

    outputs, settings = handlers.connect(tab, shown, panels)
    button.click(make, [shown, *form.values()], [*outputs, form["files"]], **settings)


def router(context: PageContext) -> APIRouter:
    router, store, handlers = new_router(), context.series, CaptionHandlers(context)

    @router.get("/series/{name}/given/{number}.webp")
    def given(name: str, number: int) -> Response:
        """A thumbnail of an input picture."""
        members = store.members(series_of(store, name, TASK))
        if not 0 <= number < len(members):
            raise HTTPException(404, "no such picture")
        try:
            picture = picture_of(members[number].request.image.path, "middle").convert("RGBA")
        except (Refused, OSError) as error:
            raise HTTPException(404, "no such picture any more") from error
        picture.thumbnail((SMALL, SMALL))
        return Response(saved(picture, "WEBP"), media_type="image/webp", headers=FOREVER)

    @router.get("/series/{name}/training.zip")
    def training(name: str) -> StreamingResponse:
        series = series_of(store, name, TASK)
        files: Iterator[Any] = training_set(training_examples(store, series, handlers.rows(series)))
        return zip_response(files, f"{safe_name(series.title) or TASK}.zip")

    return router
