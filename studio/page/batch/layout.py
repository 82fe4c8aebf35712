"""What stands where on the Batch tab, and what listens to what."""

from pathlib import Path

import gradio as gr

from studio.page.batch import view
from studio.page.batch.desk import KIND, BatchDesk
from studio.page.batch.words import labels
from studio.page.frame import LISTEN, ONCE, PRESSED, Frame, in_line
from studio.page.series.scripts import SHOW_JS

DROP_JS = Path(__file__).with_name("drop.js").read_text(encoding="utf-8")
LINES = 2**20  # characters that the box takes


def tab(frame: Frame) -> None:
    """The tab."""
    desk = BatchDesk(frame)
    with gr.Tab(labels("tab"), id="batch") as tab:
        read, shown = gr.State(None), gr.State("")
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=320):
                drop = gr.HTML(view.drop("en"), js_on_load=DROP_JS, elem_id="batch-drop")
                lines = gr.Textbox(
                    label=labels("lines"),
                    info=labels("lines_info"),
                    placeholder=labels("lines_hint"),
                    lines=7,
                    max_lines=14,
                    max_length=LINES,
                    elem_id="batch-lines",
                )
            with gr.Column(scale=7, min_width=320):
                table = gr.HTML(view.nothing_yet("en"), js_on_load=LISTEN, elem_id="batch-plan")
        batches = gr.HTML(js_on_load=SHOW_JS, elem_id="batch-list")
    frame.on_load(frame.in_language(view.drop), [drop])
    frame.on_load(frame.in_language(view.nothing_yet), [table])
    pressed, looked = in_line("batch")
    drop.select(desk.dropped, None, [read, table, lines], **pressed)
    # Not `input`: Gradio leaves out the first one after a value that came from here; one may paste over the example.
    lines.change(desk.pasted, [lines, read], [read, table], **looked)
    table.select(desk.told, [read, lines, shown], [read, table, lines, shown, batches], **{**pressed, **ONCE})
    batches.click(frame.act, None, [frame.card, frame.handed, frame.tabs], **PRESSED)
    batches.select(desk.acted, shown, [shown, batches], **pressed)
    gr.on([tab.select, batches.input], desk.listed, shown, batches, **looked)
    desk.series.resume(KIND)
