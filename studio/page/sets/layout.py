"""What stands where on the Sets tab, and what listens to what."""

from typing import Any

import gradio as gr

from studio.page.frame import LISTEN, ONCE, PRESSED, Frame, in_line
from studio.page.picture.scripts import FETCH_JS
from studio.page.series.scripts import SHOW_JS
from studio.page.sets import view
from studio.page.sets.desk import KIND, SetsDesk
from studio.page.sets.words import labels
from studio.sets import KINDS


def tab(frame: Frame) -> None:
    """The tab."""
    desk = SetsDesk(frame)
    with gr.Tab(labels("tab"), id="sets") as tab:
        shown, kind = gr.State(""), gr.Textbox(next(iter(KINDS)), visible="hidden", container=False)
        style = gr.Textbox("", visible="hidden", container=False)
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=320):
                kinds = gr.HTML(view.kinds("en"), js_on_load=LISTEN, elem_id="set-kinds")
                columns, inputs = _inputs()
                picker = gr.HTML(js_on_load=LISTEN, elem_id="set-style")
                seed = gr.Textbox(label=labels("seed"), placeholder=labels("seed_hint"), elem_id="set-seed")
                make = gr.Button(labels("make"), variant="primary", size="lg", elem_id="set-make", elem_classes="make")
            with gr.Column(scale=7, min_width=320):
                panel = gr.HTML(desk.nothing_yet("en"), js_on_load=SHOW_JS + FETCH_JS, elem_id="set-show")
        others = gr.HTML(js_on_load=LISTEN, elem_id="set-list")
    frame.on_load(frame.in_language(view.kinds), [kinds])
    frame.on_load(frame.in_language(desk.picker), [picker])
    kinds.select(desk.picked, None, [kind, *columns], **PRESSED)
    picker.select(desk.styled, None, style, **PRESSED)
    seen = [shown, panel, others]
    panel.click(frame.act, None, [frame.card, frame.handed, frame.tabs], **PRESSED)
    pressed, looked = in_line("sets")
    _make(desk, make, [kind, style, seed, shown], inputs, seen, {**pressed, **ONCE})
    gr.on([panel.select, others.select], desk.acted, shown, seen, **pressed)
    gr.on([tab.select, panel.input], desk.look, shown, seen, **looked)
    desk.series.resume(KIND)


def _inputs() -> tuple[list[gr.Column], dict[str, gr.Textbox]]:
    """A column a kind, and the inputs in them: `first` word and the others."""
    columns, inputs = [], {}
    for kind in KINDS:
        with gr.Column(visible=kind == next(iter(KINDS))) as column:
            if kind != "style":
                name = "subject" if kind == "emotions" else "emotion"
                hint = labels(f"{name}_hint")
                inputs[f"{kind} first"] = gr.Textbox(label=labels(name), placeholder=hint, elem_id=f"set-{name}")
            usual = labels("style_hint" if kind == "style" else f"usual_{kind}")
            inputs[f"{kind} words"] = gr.Textbox(
                label=labels(f"{kind}_words"),
                info=labels("list_info" if kind == "style" else "words_info"),
                placeholder=usual,
                lines=2,
                max_lines=6,
                elem_id=f"set-{kind}-words",
            )
        columns.append(column)
    return columns, inputs


def _make(
    desk: SetsDesk,
    button: gr.Button,
    shared: list[Any],
    inputs: dict[str, gr.Textbox],
    outputs: list[Any],
    settings: dict[str, Any],
) -> None:
    names = list(inputs)

    def make(request: gr.Request, kind: str, style: str, seed: str, shown: str, *words: str) -> tuple[Any, Any, Any]:
        given = dict(zip(names, words, strict=True))
        first, rest = given.get(f"{kind} first", ""), given.get(f"{kind} words", "")
        return desk.make(kind, first, rest, style, seed, shown, request)

    entered = [box.submit for name, box in inputs.items() if name.endswith("first")]
    gr.on([button.click, *entered], make, [*shared, *inputs.values()], outputs, **settings)
