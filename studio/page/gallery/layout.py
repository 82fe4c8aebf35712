"""Where the gallery stands, and the script that fills it."""

from pathlib import Path

import gradio as gr

from studio.page.frame import PRESSED, Frame
from studio.page.gallery.desk import GalleryDesk
from studio.page.gallery.words import labels

SCRIPTS = ("grid.js", "choose.js", "keys.js")  # one program, in this order


def tab(frame: Frame) -> None:
    """The tab."""
    script = "".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in SCRIPTS)
    with gr.Tab(labels("tab"), id="gallery"):
        shelf = gr.HTML(js_on_load=script, elem_id="gallery")
    shelf.click(frame.act, None, [frame.card, frame.handed, frame.tabs], **PRESSED)
    frame.on_load(GalleryDesk(frame).greet, [shelf])
