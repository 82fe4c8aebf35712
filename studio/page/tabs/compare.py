"""The Compare tab: two settings on one labelled sheet that fills as its pictures come."""

import json
from typing import Any

import gradio as gr
from fastapi import APIRouter, HTTPException
from fastapi.responses import Response
from PIL import Image

from models.messages import Refused
from studio.backends.registry import offered, open_backend
from studio.files import ready_folder
from studio.gallery import Kept
from studio.grid import Axis, Grid
from studio.page.context import QUIET, PageContext, whole_number
from studio.page.files import attachment, opened, series_of
from studio.page.html import problem, render
from studio.page.language import label, language_of, text
from studio.page.polling import estimate
from studio.page.series import Cell, Progress, ShowHandlers, Shown, connect_show, duration, show_panel
from studio.page.series_store import WATCHED, Member, Series, SeriesStore
from studio.planner import plan
from studio.requests import make_request
from studio.wildcards import Wildcards

KIND = "compare"
SETTINGS = ("style", "seed", "steps", "guidance", "scheduler", "prompt", "model")
STYLES_FIRST = 4  # styles that are suggested
TITLE = 60  # characters


class CompareHandlers(ShowHandlers):
    """What happens when something on the tab is pressed."""

    def __init__(self, context: PageContext) -> None:
        super().__init__(context, KIND, "compare")

    def choices(self, request: gr.Request) -> tuple[Any, Any, Any]:
        """What can be chosen, in the reader's language -> settings across, down, styles."""
        settings, styles = self.listed(language_of(request.headers))
        return gr.Dropdown(settings[1:]), gr.Dropdown(settings), gr.Dropdown(styles)

    def listed(self, language: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """(words, name) of the settings and of the styles, none of them first."""
        settings = [(text(f"compare.setting.{name}", language), name) for name in SETTINGS]
        styles = [(one.zh if language == "zh" and one.zh else one.name, one.name) for one in self.context.can.styles]
        return [(text("compare.nothing", language), ""), *settings], [(text("any", language), ""), *styles]

    def suggested(self, setting: str) -> str:
        """Values to begin with, for a setting that was chosen."""
        can = self.context.can
        return {
            "style": ", ".join(style.name for style in can.styles[:STYLES_FIRST]),
            "seed": "1-4",
            "steps": "8, 16, 32",
            "guidance": "1-7 (+2)",
            "scheduler": ", ".join(name for name in can.schedulers if name not in can.fixed),
            "model": self.context.model,
        }.get(setting, "")

    def preview(self, *given: str, request: gr.Request) -> str:
        """How many pictures it would be and how long it would take, or what is wrong with it."""
        language, prompt = language_of(request.headers), given[0]
        hint = render("compare.hint", language) if "prompt" in (given[1], given[3]) else ""
        missing = any(name and not (values or "").strip() for name, values in (given[1:3], given[3:5]))
        if missing or not (prompt or "").strip():
            return hint
        try:
            grid = self._grid(*given)
            asked = members(grid, self.context.wildcards, self.context.model)
        except Refused as refusal:
            return hint + problem(refusal, language)
        digest = open_backend(self.context.model).digest()
        seconds = estimate(self.context, digest, (one.request for one in asked))
        columns, rows = len(grid.x.values), len(grid.y.values) if grid.y else 1
        parts = [text("compare.pictures", language, columns=columns, rows=rows, count=columns * rows)]
        parts += [] if seconds is None else [duration(seconds, language)]
        return hint + render("compare.count", language, parts=parts)

    def make(self, *given: str, request: gr.Request) -> Shown:
        """Queue a comparison -> what is shown; the last of `given` is what was on show."""
        language, shown = language_of(request.headers), given[-1]
        try:
            grid = self._grid(*given[:-1])
            series = self._begin(grid, language)
        except Refused as refusal:
            return self.refused(shown, refusal, language)
        return self.show(series.id, language)

    def panel(self, series: Series, language: str) -> str:
        """A comparison as a grid that fills."""
        return panel(series, grid_of(series), self.cells(series), self.progress(series, language), language)

    def _grid(self, prompt: str, x: str, across: str, y: str, down: str, style: str, seed: str) -> Grid:
        """What the inputs ask for. The settings come from a browser: `Axis` refuses what it does not know."""
        axes = [Axis.parse(f"{name}={values or ''}") for name, values in ((x, across), (y, down)) if name]
        fields: dict[str, Any] = {"prompt": prompt or "", "style": style or "", "seed": whole_number(seed)}
        fields["model"] = self.context.model
        return Grid(make_request(**fields), *axes)

    def _begin(self, grid: Grid, language: str) -> Series:
        asked = members(grid, self.context.wildcards, self.context.model)
        ready_folder(self.context.studio.gallery.folder, len(asked))
        title = grid.request.prompt.strip()[:TITLE] or text("compare.untitled", language)
        about = {"grid": grid.record(), "digest": open_backend(self.context.model).digest()}
        return self.series.begin(KIND, title, asked, WATCHED, about)


def panel(series: Series, grid: Grid, cells: list[Cell], progress: Progress, language: str) -> str:
    """The comparison on show as HTML; `cells` are in the order of the grid, row by row."""
    columns, rows = grid.x.labels(), grid.y.labels() if grid.y else [""]
    places = [cells[at : at + len(columns)] for at in range(0, len(cells), len(columns))]
    across = text(f"compare.setting.{grid.x.setting}", language)
    corner = f"{across} →"
    if grid.y:
        down = text(f"compare.setting.{grid.y.setting}", language)
        corner = text("compare.both", language, down=down, across=across)
    table = {
        "across": across,
        "corner": corner,
        "columns": [_named(grid.x, one, language) for one in columns],
        "rows": [(_named(grid.y, one, language) if grid.y else "", places[at]) for at, one in enumerate(rows)],
    }
    return render("compare.panel", language, series=series, progress=progress, cells=cells, **table)


def _named(axis: Axis, value: str, language: str) -> str:
    """A number alone says nothing; a word does."""
    return value if isinstance(axis.values[0], str) else f"{text(f'compare.setting.{axis.setting}', language)} {value}"


def members(grid: Grid, lists: Wildcards, served: str) -> list[Member]:
    """A job for each place, row by row, each model's in the shape that suits so many. Refused where a value won't do.

    `served` is the model that the studio was started with.
    """
    asked = grid.requests()
    made: dict[int, Member] = {}
    columns, rows = grid.x.labels(), grid.y.labels() if grid.y else [""]
    for model in dict.fromkeys(request.model for request in asked):
        backend = open_backend(offered(model, served))
        places = [place for place, request in enumerate(asked) if request.model == model]
        for place, job in zip(places, plan([asked[place] for place in places], backend, lists), strict=True):
            title = " · ".join(part for part in (columns[place % len(columns)], rows[place // len(columns)]) if part)
            made[place] = Member(job.id, title, (f"{place + 1:03}.png",), job.request)
    return [made[place] for place in range(len(asked))]


def grid_of(series: Series) -> Grid:
    """The grid that a series was asked for as."""
    record = json.loads(series.about["grid"])
    named = [record[name] for name in ("x", "y") if name in record]
    axes = [Axis(setting, tuple(values)) for axis in named for setting, values in axis.items()]
    return Grid(make_request(**record["request"]), *axes)


# --- What stands where ------------------------------------------------------------------------------------------------


def build(context: PageContext) -> None:
    """Draw the tab."""
    handlers = CompareHandlers(context)
    with gr.Tab(label("tab.compare"), id="compare") as tab:
        shown = gr.State("")
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=320):
                given, settings = _inputs(handlers)
                count = gr.HTML(elem_id="compare-count")
                button = gr.Button(
                    label("compare.make"), variant="primary", size="lg", elem_id="compare-make", elem_classes="make"
                )
            with gr.Column(scale=7, min_width=320):
                panels = show_panel(context, handlers)
        panels[1].render()
    x, across, y, down, style = settings
    context.on_load(handlers.choices, [x, y, style])
    x.input(handlers.suggested, x, across, **QUIET)
    y.input(handlers.suggested, y, down, **QUIET)

    def preview(request: gr.Request, *values: str) -> str:
        return handlers.preview(*values, request=request)

    def make(request: gr.Request, *values: str) -> Shown:
        return handlers.make(*values, request=request)

    gr.on([one.change for one in given], preview, given, count, trigger_mode="always_last", **QUIET)
    connect_show(handlers, tab, shown, panels, [button.click, given[0].submit], make, given)


def _inputs(handlers: CompareHandlers) -> tuple[list[Any], list[Any]]:
    """All inputs in the order in which the handlers take them; and the settings with their values, and the style."""
    hint = label("compare.prompt_hint")
    prompt = gr.Textbox(label=label("prompt_question"), placeholder=hint, elem_id="compare-prompt")
    settings, styles = handlers.listed("en")
    made: list[Any] = []
    for name, usual in (("x", "style"), ("y", "guidance")):
        with gr.Row(equal_height=True):
            setting = gr.Dropdown(
                settings[name == "x" :],
                value=usual,
                label=label(f"compare.{name}"),
                scale=2,
                min_width=130,
                elem_id=f"compare-{name}",
            )
            values = gr.Textbox(
                handlers.suggested(usual),
                label=label("compare.values"),
                info=label("compare.values_info"),
                scale=3,
                min_width=170,
                elem_id=f"compare-{name}-values",
            )
        made += [setting, values]
    with gr.Row():
        style = gr.Dropdown(styles, value="", label=label("compare.style"), min_width=130, elem_id="compare-style")
        hint = label("compare.seed_hint")
        seed = gr.Textbox(label=label("compare.seed"), placeholder=hint, min_width=130, elem_id="compare-seed")
    return [prompt, *made, style, seed], [*made, style]


# --- The sheet --------------------------------------------------------------------------------------------------------


def router(context: PageContext) -> APIRouter:
    """A comparison as one picture with labels."""
    routes, store = APIRouter(include_in_schema=False), SeriesStore(context)

    @routes.get("/series/{name}/sheet.png")
    def sheet(name: str) -> Response:
        series = series_of(store, name)
        if series.kind != KIND:
            raise HTTPException(404, "no such sheet")
        grid, kept = grid_of(series), {one.job: one for one in store.pictures(series)}
        places = [_place(kept.get(one.id)) for one in store.members(series)]
        return Response(grid.file(places), media_type="image/png", headers=attachment(grid.name))

    return routes


def _place(kept: Kept | None) -> Image.Image | None:
    try:
        return opened(kept.path) if kept else None
    except Refused:
        return None
