"""Where the queue stands, and the script that keeps it up to date."""

from pathlib import Path

import gradio as gr

from studio.page.frame import PRESSED, Frame
from studio.page.line.desk import LineDesk
from studio.page.line.words import labels

SCRIPT = Path(__file__).with_name("line.js").read_text(encoding="utf-8")


def tab(frame: Frame) -> None:
    """The tab."""
    with gr.Tab(labels("tab"), id="queue"):
        line = gr.HTML(js_on_load=SCRIPT, elem_id="line")
    line.click(frame.act, None, [frame.card, frame.handed, frame.tabs], **PRESSED)
    frame.on_load(LineDesk(frame).greet, [line])
