"""The Sets tab: stickers that belong together, shown as their pictures come, named, given a cover and packed."""

import re
from typing import Any

import gradio as gr
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from models.messages import Refused
from studio.backends.registry import open_backend
from studio.batch.plan import safe_name
from studio.export.apps import APPS, App
from studio.export.drawing import Larger, both
from studio.export.pack import NAME_LIMIT, Sticker, pack, pack_name
from studio.files import ready_folder
from studio.gallery import Kept
from studio.metadata import provenance_in
from studio.page.context import LISTEN, PRESSED, PageContext, pressed_data, whole_number
from studio.page.files import attachment, no_slashes, opened, series_of
from studio.page.html import render
from studio.page.language import error_text, label, language_of, text
from studio.page.series import Cell, Progress, ShowHandlers, Shown, connect_show, show_panel
from studio.page.series_store import WATCHED, Member, Series, SeriesStore
from studio.page.styles import picker
from studio.planner import plan
from studio.sets import KINDS, make_set

KIND = "set"
SEPARATORS = re.compile(r"[,\n，、;；]+")


class SetsHandlers(ShowHandlers):
    """What happens when something on the tab is pressed."""

    def __init__(self, context: PageContext) -> None:
        super().__init__(context, KIND, "sets")

    def make(self, kind: str, first: str, words: str, style: str, seed: str, shown: str, request: gr.Request) -> Shown:
        """Queue a set -> what is shown."""
        language = language_of(request.headers)
        try:
            series = self.begin(kind, style if kind == "style" else first, words, style, seed)
        except Refused as refusal:
            return self.refused(shown, refusal, language)
        return self.show(series.id, language)

    def begin(self, kind: str, first: str, words: str, style: str, seed: str) -> Series:
        """Queue a set. Refused where it can't be made."""
        if kind == "style" and not style:
            raise Refused("page.sets.need_style")
        backend = open_backend(self.context.model)
        listed = [word.strip() for word in SEPARATORS.split(words or "") if word.strip()]
        fields = {"style": style or "", "seed": whole_number(seed), "model": self.context.model}
        asked = make_set(kind, first or "", listed, **fields)
        ready_folder(self.context.studio.gallery.folder, len(asked))
        jobs = plan([one.request for one in asked], backend, self.context.wildcards)
        members = [
            Member(job.id, one.label, (f"{number:02}-{safe_name(one.label) or 'picture'}.png",), job.request)
            for number, (one, job) in enumerate(zip(asked, jobs, strict=True), 1)
        ]
        about = {"kind": kind, "digest": backend.digest(), "cover": 0, "outline": False}
        return self.series.begin(KIND, first.strip()[:NAME_LIMIT], members, WATCHED, about)

    def panel(self, series: Series, language: str) -> str:
        """A set with its labels, in small, with its packs."""
        return panel(series, self.progress(series, language), self.cells(series), language)

    def change(self, series: Series, data: dict[str, str]) -> None:
        """Name, cover or outline; a value that won't do changes nothing."""
        own, value, index = data.get("own", ""), data.get("value", "").strip(), data.get("index", "")
        if own == "name" and value:
            self.series.change(series, title=value[:NAME_LIMIT])
        elif own == "cover" and index.isdecimal() and len(index) < 4 and int(index) < series.jobs:
            self.series.change(series, cover=int(index))
        elif own == "outline":
            self.series.change(series, outline=not series.about.get("outline"))

    def choose_kind(self, event: gr.EventData) -> tuple[Any, ...]:
        """A kind was chosen -> the input that holds it, and the inputs of each kind, seen or not."""
        value = pressed_data(event).get("value", "")
        kind = value if value in KINDS else next(iter(KINDS))
        return kind, *(gr.Column(visible=name == kind) for name in KINDS)

    def choose_style(self, event: gr.EventData) -> str:
        """A style was chosen -> the input that holds it."""
        value = pressed_data(event).get("value", "")
        return value if value in [one.name for one in self.context.can.styles] else ""

    def styles(self, language: str) -> str:
        """The styles to choose from."""
        return picker(self.context.can.styles, "", language, "set-style")


def kinds(language: str) -> str:
    """The kinds of sets as radio buttons."""
    choices, title = [(kind, text(f"sets.{kind}", language), "") for kind in KINDS], text("sets.kind", language)
    chosen = next(iter(KINDS))
    return render("parts.radios", language, group="set-kind", own="kind", title=title, choices=choices, chosen=chosen)


def panel(series: Series, progress: Progress, cells: list[Cell], language: str) -> str:
    """The set on show as HTML."""
    apps = [(app, (app.zh if language == "zh" else app.title), _wanted(app, len(cells))) for app in APPS.values()]
    return render("sets.panel", language, series=series, progress=progress, cells=cells, apps=apps)


def _wanted(app: App, count: int) -> str:
    """How many pictures an app wants, "" where `count` is right."""
    if count in app.allowed:
        return ""
    return ", ".join(map(str, app.counts)) if app.counts else f"{app.least}–{app.most}"


# --- What stands where ------------------------------------------------------------------------------------------------


def build(context: PageContext) -> None:
    """Draw the tab."""
    handlers = SetsHandlers(context)
    with gr.Tab(label("tab.sets"), id="sets") as tab:
        shown, kind = gr.State(""), gr.Textbox(next(iter(KINDS)), visible="hidden", container=False)
        style = gr.Textbox("", visible="hidden", container=False)
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=320):
                choice = gr.HTML(kinds("en"), js_on_load=LISTEN, elem_id="set-kinds")
                columns, inputs = _inputs()
                styles = gr.HTML(js_on_load=LISTEN, elem_id="set-style")
                seed = gr.Textbox(label=label("sets.seed"), placeholder=label("seed_hint"), elem_id="set-seed")
                button = gr.Button(
                    label("sets.make"), variant="primary", size="lg", elem_id="set-make", elem_classes="make"
                )
            with gr.Column(scale=7, min_width=320):
                panels = show_panel(context, handlers)
        panels[1].render()
    context.on_load_text(kinds, choice)
    context.on_load_text(handlers.styles, styles)
    choice.select(handlers.choose_kind, None, [kind, *columns], **PRESSED)
    styles.select(handlers.choose_style, None, style, **PRESSED)
    names = list(inputs)

    def make(request: gr.Request, kind: str, style: str, seed: str, *typed: str) -> Shown:
        *words, shown = typed
        given = dict(zip(names, words, strict=True))
        first, rest = given.get(f"{kind} first", ""), given.get(f"{kind} words", "")
        return handlers.make(kind, first, rest, style, seed, shown, request)

    triggers = [button.click, *(box.submit for name, box in inputs.items() if name.endswith("first"))]
    connect_show(handlers, tab, shown, panels, triggers, make, [kind, style, seed, *inputs.values()])


def _inputs() -> tuple[list[gr.Column], dict[str, gr.Textbox]]:
    """A column a kind, and the inputs in them: `first` word and the others."""
    columns, inputs = [], {}
    for kind in KINDS:
        with gr.Column(visible=kind == next(iter(KINDS))) as column:
            if kind != "style":
                name = "subject" if kind == "emotions" else "emotion"
                hint = label(f"sets.{name}_hint")
                inputs[f"{kind} first"] = gr.Textbox(
                    label=label(f"sets.{name}"), placeholder=hint, elem_id=f"set-{name}"
                )
            inputs[f"{kind} words"] = gr.Textbox(
                label=label(f"sets.{kind}_words"),
                info=label("sets.list_info" if kind == "style" else "sets.words_info"),
                placeholder=label("sets.style_hint" if kind == "style" else f"sets.usual_{kind}"),
                lines=2,
                max_lines=6,
                elem_id=f"set-{kind}-words",
            )
        columns.append(column)
    return columns, inputs


# --- Packs ------------------------------------------------------------------------------------------------------------


def router(context: PageContext) -> APIRouter:
    """A set as a pack for a chat app."""
    routes, store = APIRouter(include_in_schema=False), SeriesStore(context)

    @routes.get("/series/{name}/pack/{app}.zip")
    def packed(request: Request, name: str, app: str) -> Response:
        series = series_of(store, name)
        if app not in APPS:
            raise HTTPException(404, "no such app")
        try:
            data, title = packed_for(store, series, app, context.larger), pack_name(no_slashes(series.title))
        except (Refused, OSError) as error:
            said = error if isinstance(error, Refused) else str(error)
            raise HTTPException(422, error_text(said, language_of(request.headers))) from error
        return Response(data, media_type="application/zip", headers=attachment(title))

    return routes


def packed_for(store: SeriesStore, series: Series, app: str, larger: Larger) -> bytes:
    """A set as a pack for an app of APPS; Refused where the app takes no such pack, or the set is not all there."""
    kept, outline = {one.job: one for one in store.pictures(series)}, bool(series.about.get("outline"))
    members = store.members(series)
    if any(one.id not in kept for one in members):
        raise Refused("page.sets.incomplete")
    stickers = [_sticker(kept[one.id], one.label, outline, APPS[app], larger) for one in members]
    return pack(stickers, series.title, APPS[app], stickers[int(series.about.get("cover", 0))])


def _sticker(kept: Kept, label: str, outline: bool, app: App, larger: Larger) -> Sticker:
    picture, more = both(kept.path, opened(kept.path), app.sizes[0], larger, outline)
    facts = {"prompt": kept.prompt, "seed": kept.seed, "model": kept.model}
    return Sticker(picture, label, says=provenance_in(kept.path), facts=facts, larger=more)
