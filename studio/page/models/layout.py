"""What stands where on the Models tab, and what listens to what."""

import gradio as gr

from studio.page.frame import LISTEN, ONCE, QUIET, Frame, in_line
from studio.page.models.desk import ModelsDesk
from studio.page.models.facts import attribution
from studio.page.models.words import labels


def tab(frame: Frame) -> None:
    """The tab. It is filled when it is opened: weights are read through, which takes a moment."""
    desk = ModelsDesk(frame)
    with gr.Tab(labels("tab"), id="models") as tab:
        models = gr.HTML(js_on_load=None, elem_id="models")
        if text := attribution():
            with gr.Accordion(labels("attribution"), open=False, elem_id="attribution"):
                gr.Markdown(text)
        trouble = gr.HTML(js_on_load=LISTEN, elem_id="trouble")
        found = gr.State("")
    tab.select(desk.shown, None, models, **QUIET)
    pressed, looked = in_line("trouble")
    tab.select(desk.stands, found, trouble, **looked)
    trouble.select(desk.doctor, None, [trouble, found], **{**pressed, **ONCE})
