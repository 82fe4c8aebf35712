"""The Compare tab: a labelled grid of pictures over the values of one or two settings."""

import contextlib
import itertools
from typing import Any

import gradio as gr
from fastapi import APIRouter
from fastapi.responses import Response
from PIL import Image

from models.messages import Refused
from studio.backends.base import offered, open_backend
from studio.gallery import GalleryItem
from studio.grid import Axis, Grid
from studio.metadata.files import credits_in
from studio.page.context import QUIET, PageContext, whole_number
from studio.page.form import Form
from studio.page.html import label, new_router, render, style_name, text
from studio.page.routes import attachment, opened, series_of
from studio.page.series import WATCHED, Member, Series, estimate
from studio.page.series_tab import ShowHandlers
from studio.planner import plan
from studio.requests import make_request
from studio.syntax import Wildcards

ORDER = 50
SETTINGS = ("style", "seed", "steps", "guidance", "scheduler", "prompt", "model")
STYLES_FIRST = 4  # suggested styles
TITLE = 60  # characters


class CompareHandlers(ShowHandlers):
    kind, texts = "compare", "compare"

    def choices(self) -> list[list[tuple[str, str]]]:
        """Choices (label, name) of the inputs: settings across, settings down, styles."""
        settings = [(text(f"compare.setting.{name}"), name) for name in SETTINGS]
        styles = [(style_name(one.name), one.name) for one in self.context.can.styles]
        return [settings, [(text("compare.nothing"), ""), *settings], [(text("any"), ""), *styles]]

    def suggested(self, setting: str) -> str:
        """Suggested values for a setting."""
        can = self.context.can
        return {
            "style": ", ".join(style.name for style in can.styles[:STYLES_FIRST]),
            "seed": "1-4",
            "steps": "8, 16, 32",
            "guidance": "1-7 (+2)",
            "scheduler": ", ".join(name for name in can.schedulers if name not in can.fixed),
            "model": self.context.model,
        }.get(setting, "")

    def preview(self, prompt: str, x: str, across: str, y: str, down: str, style: str, seed: str) -> str:
        """The number of pictures and the estimated time, or a refusal."""
        grid = seconds = refusal = None
        given = [prompt, across if x else "x", down if y else "x"]
        if all((one or "").strip() for one in given):
            try:
                grid = self._grid(prompt, x, across, y, down, style, seed)
                requests = [one.request for one in members(grid, self.context.wildcards, self.context.model)]
                digest = open_backend(self.context.model).digest()
                seconds = estimate(self.context.studio, digest, requests)
            except Refused as refused:
                refusal = refused
        return render("compare.preview", "prompt" in (x, y), grid, seconds, refusal)

    def begin(self, *given: str) -> Series:
        grid = self._grid(*given)
        title = grid.request.prompt.strip()[:TITLE] or text("compare.untitled")
        about = {"grid": grid.record(), "digest": open_backend(self.context.model).digest()}
        jobs = members(grid, self.context.wildcards, self.context.model)
        return self.series.begin(self.kind, title, jobs, WATCHED, about)

    def panel(self, series: Series) -> str:
        grid = Grid.from_record(series.about["grid"])
        return render("compare.panel", series, self.series.counts(series), grid, self.cells(series))

    def _grid(self, prompt: str, x: str, across: str, y: str, down: str, style: str, seed: str) -> Grid:
        """The grid of the inputs. Settings come from a browser: `Axis` refuses unknown ones."""
        axes = [Axis.parse(f"{name}={values or ''}") for name, values in ((x, across), (y, down)) if name]
        fields: dict[str, Any] = {"prompt": prompt or "", "style": style or "", "seed": whole_number(seed)}
        return Grid(make_request(**fields, model=self.context.model), *axes)


def members(grid: Grid, lists: Wildcards, served: str) -> list[Member]:
    """A job for each place, row by row; jobs of one model share a batch shape. Refused if a value is invalid.

    `served` is the model of the page.
    """
    requests, jobs = grid.requests(), dict[int, Member]()
    columns, rows = grid.labels
    names = [(column, row) for row in rows for column in columns]
    for model in dict.fromkeys(request.model for request in requests):
        backend = open_backend(offered(model, served))
        places = [place for place, request in enumerate(requests) if request.model == model]
        for place, job in zip(places, plan([requests[place] for place in places], backend, lists), strict=True):
            title = " · ".join(filter(None, names[place]))
            jobs[place] = Member(job.id, title, (f"{place + 1:03}.png",), job.request)
    return [jobs[place] for place in range(len(requests))]


def build(context: PageContext) -> None:
    handlers = CompareHandlers(context)
    with gr.Tab(label("tab.compare"), id="compare") as tab:
        shown = gr.State("")
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=320):
                form = Form("compare", "compare-")
                _inputs(handlers, form)
                count = gr.HTML(elem_id="compare-count")
                button = form.make()
            with gr.Column(scale=7, min_width=320):
                panels = handlers.show_panels()
        panels[1].render()
    given = list(form.values())
    prompt, x, across, y, down, style, _ = given
    context.on_load(lambda: [gr.update(choices=one) for one in handlers.choices()], x, y, style)
    x.input(handlers.suggested, x, across, **QUIET)
    y.input(handlers.suggested, y, down, **QUIET)

    gr.on([one.change for one in given], handlers.preview, given, count, trigger_mode="always_last", **QUIET)
    outputs, settings = handlers.connect(tab, shown, panels)
    gr.on([button.click, prompt.submit], handlers.begun, [shown, *given], outputs, **settings)


def _inputs(handlers: CompareHandlers, form: Form) -> None:
    """Put all inputs, in the order of the handlers' arguments."""
    form.box("prompt")
    across, down, styles = handlers.choices()
    for name, settings, usual in (("x", across, "style"), ("y", down, "guidance")):
        with gr.Row(equal_height=True):
            form.put(gr.Dropdown, name, settings, value=usual, scale=2, min_width=130)
            form.box(f"{name}_values", handlers.suggested(usual), scale=3, min_width=170)
    with gr.Row():
        form.put(gr.Dropdown, "style", styles, value="", min_width=130)
        form.box("seed", min_width=130)


def router(context: PageContext) -> APIRouter:
    router, store = new_router(), context.series

    @router.get("/series/{name}/sheet.png")
    def sheet(name: str) -> Response:
        series = series_of(store, name, CompareHandlers.kind)
        grid, items = Grid.from_record(series.about["grid"]), store.first_pictures(series)
        places = [_place(items.get(one.id)) for one in store.members(series)]
        owed = itertools.chain.from_iterable(credits_in(one.path) for one in items.values())
        return Response(grid.file(places, owed), media_type="image/png", headers=attachment(grid.name))

    return router


def _place(item: GalleryItem | None) -> Image.Image | None:
    with contextlib.suppress(Refused):
        return opened(item.path) if item else None
    return None
