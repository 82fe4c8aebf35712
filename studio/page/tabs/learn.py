"""The Learn tab: a style or a thing from a person's pictures, and trainings, also those from ratings. `studio learn`
does the work, in a process of its own."""

import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse

from models.messages import Refused
from studio import learn as learning
from studio import preferences
from studio.files import make_folder, write_whole
from studio.page.context import LISTEN, PRESSED, QUIET, PageContext, pressed_data
from studio.page.form import TAKES_FILES, Form
from studio.page.html import label, new_router, render, text

ORDER = 78
EVERY = 2.0  # seconds between two looks at a training
LONGEST = 30  # minutes
Shown = tuple[str, Any]  # the runs, the timer


class LearnHandlers:
    def __init__(self, context: PageContext) -> None:
        self.context, self.root = context, context.studio.home

    def caption_lines(self, paths: Sequence[str] | None) -> str:
        """The lines of the captions: a name for each picture, whose caption is not known yet."""
        return "".join(f"{Path(path).name}: \n" for path in paths or ())

    def describe(self, paths: Sequence[str] | None, captions: str, word: str) -> tuple[str, str]:
        """The lines with the captioner's where they are empty, and a notice."""
        try:
            folder = self._stored(paths, captions, word)
            learning.TrainingRun(self.root, word).process("--captions").wait()
        except Refused as refusal:
            return captions, render("parts.problem", refusal)
        files = sorted(path for path in folder.iterdir() if path.suffix != ".txt")
        return "".join(f"{path.name}: {learning.caption_beside(path)}\n" for path in files), ""

    def begin(self, paths: Sequence[str] | None, captions: str, word: str, minutes: float) -> tuple[str, str, Any]:
        """A notice, and the runs."""
        try:
            self._stored(paths, captions, word)
        except Refused as refusal:
            return render("parts.problem", refusal), *self.show()
        learning.TrainingRun(self.root, word).begin(minutes)
        return render("parts.notice", "good", text("learn.begun", name=word)), *self.show()

    def show(self) -> Shown:
        """The runs, and the timer: it ticks while one is going on."""
        runs = learning.runs(self.root)
        return render("learn.runs", runs), gr.update(active=any(run.status and run.status.is_running for run in runs))

    def press(self, event: gr.EventData) -> tuple[str, str, Any]:
        """A button of a run -> a notice, and the runs."""
        data = pressed_data(event)
        run = next((run for run in learning.runs(self.root) if run.name == data.get("run")), None)
        notice = ""
        if run is None or run.status is None:
            return notice, *self.show()
        try:
            if data.get("own") == "stop" and run.status.is_running:
                os.kill(run.status.pid, signal.SIGINT)
            elif data.get("own") == "resume":
                run.begin(run.status.minutes)
            elif data.get("own") == "use" and run.is_of_ratings:
                preferences.use(self.root)
            elif data.get("own") == "remove":
                learning.remove(self.root, run.name)
                notice = render("parts.notice", "good", text("learn.removed", name=run.name))
        except Refused as refusal:
            notice = render("parts.problem", refusal)
        return notice, *self.show()

    def sheet(self, name: str) -> FileResponse:
        """The latest drawings of a run; 404 where there are none."""
        run = next((run for run in learning.runs(self.root) if run.name == name), None)
        if run is None or run.sheet is None:
            raise HTTPException(404, "no such sheet")
        return FileResponse(run.sheet, headers={"cache-control": "no-store"})

    def _stored(self, paths: Sequence[str] | None, captions: str, word: str) -> Path:
        """The folder of a run with the uploaded pictures and their captions. Refused where they can't be learned."""
        files = [self.context.uploaded(path) for path in paths or ()]
        learning.check_name(self.root, word)
        learning.read_pictures(files)
        folder = learning.TrainingRun(self.root, word).uploads
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)
        lines = dict(line.split(":", 1) for line in captions.splitlines() if ":" in line)
        for path in files:
            write_whole(folder / path.name, path.read_bytes(), "--home")
            if caption := lines.get(path.name, "").strip():
                write_whole((folder / path.name).with_suffix(".txt"), f"{caption}\n".encode(), "--home")
        return folder


def build(context: PageContext) -> None:
    handlers, form = LearnHandlers(context), Form("learn", "learn-")
    with gr.Tab(label("tab.learn"), id="learn") as tab:
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=320):
                about: Any = {"file_count": "multiple", "file_types": ["image"], "height": 170}
                files = form.put(gr.File, "files", elem_classes=TAKES_FILES, **about)
                word = form.box("word", max_lines=1, max_length=40)
                captions = form.box("captions", lines=6, max_lines=14, max_length=20_000)
                describe = gr.Button(form.text_of("describe"), size="sm", elem_id="learn-describe")
                minutes = form.put(gr.Slider, "minutes", 1, LONGEST, learning.MINUTES, step=1)
                begin = form.make("begin")
                notice = gr.HTML(elem_id="learn-notice")
            with gr.Column(scale=7, min_width=320):
                runs = gr.HTML(js_on_load=LISTEN, elem_id="learn-runs")
        timer = gr.Timer(EVERY, active=False)
    files.upload(handlers.caption_lines, files, captions, **PRESSED)
    files.clear(handlers.caption_lines, files, captions, **PRESSED)
    describe.click(handlers.describe, [files, captions, word], [captions, notice], **PRESSED)
    begin.click(handlers.begin, [files, captions, word, minutes], [notice, runs, timer], **PRESSED)
    runs.select(handlers.press, None, [notice, runs, timer], **PRESSED)
    timer.tick(handlers.show, None, [runs, timer], **QUIET)
    tab.select(handlers.show, None, [runs, timer], **QUIET)


def router(context: PageContext) -> APIRouter:
    router, handlers = new_router(), LearnHandlers(context)
    router.get("/learn/{name}/sheet.png")(handlers.sheet)
    return router
