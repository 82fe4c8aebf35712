"""Where the card stands: over the page, out of sight until something opens it."""

from pathlib import Path

import gradio as gr

from studio.page.frame import PRESSED, Frame
from studio.page.picture.desk import PictureDesk
from studio.page.picture.scripts import FETCH_JS

ON_LOAD = Path(__file__).with_name("card.js").read_text(encoding="utf-8") + FETCH_JS


def build(frame: Frame) -> None:
    """Draw it, and give `data-do` buttons everywhere their meaning."""
    desk = PictureDesk(frame)
    frame.act = desk.act
    frame.card = gr.HTML(js_on_load=ON_LOAD, elem_id="card")
    frame.card.click(frame.act, None, [frame.card, frame.handed, frame.tabs], **PRESSED)
