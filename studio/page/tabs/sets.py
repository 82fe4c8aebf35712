"""The Sets tab: sets of stickers with a name and a cover, exported as packs for chat apps."""

import re
from typing import Any

import gradio as gr
from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from models.messages import Refused
from studio.backends.base import open_backend
from studio.batch.plan import safe_name
from studio.export.apps import APPS
from studio.export.drawing import Larger
from studio.export.make import Wanted, sticker_of
from studio.export.pack import NAME_LIMIT, pack, pack_name
from studio.page.context import LISTEN, PRESSED, PageContext, pressed_data, whole_number
from studio.page.form import Form, style_input
from studio.page.html import label, new_router, render, text
from studio.page.routes import attachment, no_slashes, series_of
from studio.page.series import WATCHED, Member, Series, SeriesStore
from studio.page.series_tab import ShowHandlers
from studio.planner import plan
from studio.sets import KINDS, make_set, refuse_unknown

ORDER = 40
FIRST = next(iter(KINDS))
SEPARATORS = re.compile(r"[,\n，、;；]+")


class SetsHandlers(ShowHandlers):
    kind, texts = "set", "sets"

    def begin(self, kind: str, first: str, words: str, style: str, seed: str) -> Series:
        """Queue a set. Refused if an input is invalid."""
        if kind == "style" and not style:
            raise Refused("page.sets.need_style")
        backend = open_backend(self.context.model)
        listed = [word.strip() for word in SEPARATORS.split(words or "") if word.strip()]
        first = style if kind == "style" else first or ""
        fields = {"style": style or "", "seed": whole_number(seed), "model": self.context.model}
        requests = make_set(kind, first, listed, **fields)
        if "read" in self.context.can.tasks:
            refuse_unknown(requests, lambda subjects: self.context.read(*subjects))
        jobs = plan([one.request for one in requests], backend, self.context.wildcards)
        members = [
            Member(job.id, one.label, (f"{number:02}-{safe_name(one.label) or 'picture'}.png",), job.request)
            for number, (one, job) in enumerate(zip(requests, jobs, strict=True), 1)
        ]
        about = {"kind": kind, "digest": backend.digest(), "cover": 0, "outline": False}
        return self.series.begin(self.kind, first.strip()[:NAME_LIMIT], members, WATCHED, about)

    def panel(self, series: Series) -> str:
        return render("sets.panel", series, self.series.counts(series), self.cells(series), APPS.values())

    def change(self, series: Series, data: dict[str, str]) -> None:
        """Change name, cover or outline; an invalid value changes nothing."""
        action, value, index = data.get("own", ""), data.get("value", "").strip(), data.get("index", "")
        if action == "name":
            self.series.change(series, title=value[:NAME_LIMIT])
        elif action == "cover" and index.isdecimal() and len(index) < 4 and int(index) < series.jobs:
            self.series.change(series, cover=int(index))
        elif action == "outline":
            self.series.change(series, outline=not series.about.get("outline"))


def choose_kind(event: gr.EventData) -> tuple[Any, ...]:
    """A kind was chosen -> the input that holds it, and the visibility of the inputs of each kind."""
    value = pressed_data(event).get("value", "")
    kind = value if value in KINDS else FIRST
    return kind, *(gr.update(visible=name == kind) for name in KINDS)


def kinds() -> str:
    choices = [(kind, text(f"sets.{kind}"), "") for kind in KINDS]
    return render("parts.radios", "set-kind", "kind", text("sets.kind"), choices, FIRST)


def build(context: PageContext) -> None:
    handlers = SetsHandlers(context)
    with gr.Tab(label("tab.sets"), id="sets") as tab:
        shown, kind = gr.State(""), gr.Textbox(FIRST, visible="hidden", container=False)
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=320):
                choice = gr.HTML(kinds(), js_on_load=LISTEN, elem_id="set-kinds")
                form = Form("sets", "set-")
                columns = [_inputs(kind, form) for kind in KINDS]
                inputs = list(form.values())
                _, style = style_input(context, "set-style")
                seed, button = form.box("seed"), form.make()
            with gr.Column(scale=7, min_width=320):
                panels = handlers.show_panels()
        panels[1].render()
    context.on_load(kinds, choice)
    choice.select(choose_kind, None, [kind, *columns], **PRESSED)

    def make(shown: str, kind: str, style: str, seed: str, *typed: str) -> tuple[Any, ...]:
        given = dict(zip(form, typed, strict=False))
        first, words = given.get(KINDS.get(kind, ""), ""), given.get(f"{kind}_words", "")
        return handlers.begun(shown, kind, first, words, style, seed)

    outputs, settings = handlers.connect(tab, shown, panels)
    triggers = [button.click, *(box.submit for box in inputs if box.lines == 1)]
    gr.on(triggers, make, [shown, kind, style, seed, *inputs], outputs, **settings)


def _inputs(kind: str, form: Form) -> gr.Column:
    """A column with the inputs of a kind."""
    with gr.Column(visible=kind == FIRST) as column:
        if kind != "style":
            form.box(KINDS[kind])
        form.box(f"{kind}_words", lines=2, max_lines=6)
    return column


def router(context: PageContext) -> APIRouter:
    router, store = new_router(), context.series

    @router.get("/series/{name}/pack/{app}.zip")
    def packed(name: str, app: str) -> Response:
        series = series_of(store, name)
        if app not in APPS:
            raise HTTPException(404, "no such app")
        data, title = packed_for(store, series, app, context.larger), pack_name(no_slashes(series.title))
        return Response(data, media_type="application/zip", headers=attachment(title))

    return router


def packed_for(store: SeriesStore, series: Series, app: str, larger: Larger) -> bytes:
    """A set as a pack for an app of APPS; Refused if the app takes no such pack, or the set is incomplete."""
    items, outline, members = store.first_pictures(series), bool(series.about.get("outline")), store.members(series)
    if any(one.id not in items for one in members):
        raise Refused("page.sets.incomplete")
    wanted = Wanted(app, outline=outline)
    try:
        stickers = [sticker_of(items[member.id].path, wanted, larger, member.label) for member in members]
    except Refused as refusal:
        raise Refused("page.picture_damaged") from refusal
    return pack(stickers, series.title, APPS[app], stickers[int(series.about.get("cover", 0))])
