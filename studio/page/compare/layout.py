"""What stands where on the Compare tab, and what listens to what."""

from typing import Any

import gradio as gr

from studio.page.compare.desk import KIND, CompareDesk
from studio.page.compare.words import labels
from studio.page.frame import LISTEN, ONCE, PRESSED, QUIET, Frame, in_line
from studio.page.series.scripts import SHOW_JS


def tab(frame: Frame) -> None:
    """The tab."""
    desk = CompareDesk(frame)
    with gr.Tab(labels("tab"), id="compare") as tab:
        shown = gr.State("")
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=320):
                given, settings = _inputs(desk)
                counted = gr.HTML(elem_id="compare-count")
                make = gr.Button(
                    labels("make"), variant="primary", size="lg", elem_id="compare-make", elem_classes="make"
                )
            with gr.Column(scale=7, min_width=320):
                panel = gr.HTML(desk.nothing_yet("en"), js_on_load=SHOW_JS, elem_id="compare-show")
        others = gr.HTML(js_on_load=LISTEN, elem_id="compare-list")
    x, across, y, down, style = settings
    frame.on_load(desk.choices, [x, y, style])
    x.input(desk.suggested, x, across, **QUIET)
    y.input(desk.suggested, y, down, **QUIET)
    _preview(desk, given, counted)
    seen = [shown, panel, others]
    panel.click(frame.act, None, [frame.card, frame.handed, frame.tabs], **PRESSED)
    pressed, looked = in_line("compare")
    _make(desk, [*given, shown], make, seen, {**pressed, **ONCE})
    gr.on([panel.select, others.select], desk.acted, shown, seen, **pressed)
    gr.on([tab.select, panel.input], desk.look, shown, seen, **looked)
    desk.series.resume(KIND)


def _inputs(desk: CompareDesk) -> tuple[list[Any], list[Any]]:
    """All inputs in the order in which the desk takes them; and the settings with their values, and the style."""
    prompt = gr.Textbox(label=labels("prompt"), placeholder=labels("prompt_hint"), elem_id="compare-prompt")
    settings, styles = desk.listed("en")
    made: list[Any] = []
    for name, usual in (("x", "style"), ("y", "guidance")):
        with gr.Row(equal_height=True):
            setting = gr.Dropdown(
                settings[name == "x" :],
                value=usual,
                label=labels(name),
                scale=2,
                min_width=130,
                elem_id=f"compare-{name}",
            )
            values = gr.Textbox(
                desk.suggested(usual),
                label=labels("values"),
                info=labels("values_info"),
                scale=3,
                min_width=170,
                elem_id=f"compare-{name}-values",
            )
        made += [setting, values]
    with gr.Row():
        style = gr.Dropdown(styles, value="", label=labels("style"), min_width=130, elem_id="compare-style")
        seed = gr.Textbox(label=labels("seed"), placeholder=labels("seed_hint"), min_width=130, elem_id="compare-seed")
    return [prompt, *made, style, seed], [*made, style]


def _preview(desk: CompareDesk, given: list[Any], counted: gr.HTML) -> None:
    def preview(request: gr.Request, *values: str) -> str:
        return desk.preview(*values, request=request)

    gr.on([one.change for one in given], preview, given, counted, trigger_mode="always_last", **QUIET)


def _make(desk: CompareDesk, given: list[Any], button: gr.Button, seen: list[Any], settings: dict[str, Any]) -> None:
    def make(request: gr.Request, *values: str) -> tuple[Any, Any, Any]:
        return desk.make(*values, request=request)

    gr.on([button.click, given[0].submit], make, given, seen, **settings)
