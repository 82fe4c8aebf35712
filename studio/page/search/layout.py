"""What stands where on the Search tab, and what listens to what."""

import gradio as gr

from studio.page.frame import QUIET, Frame
from studio.page.search.desk import SearchDesk
from studio.page.search.words import labels


def tab(frame: Frame) -> None:
    """The tab."""
    desk = SearchDesk(frame)
    with gr.Tab(labels("tab"), id="search"), gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=300):
            words = gr.Textbox(label=labels("words"), placeholder=labels("words_hint"), elem_id="search-words")
            without = gr.Textbox(label=labels("without"), placeholder=labels("without_hint"), elem_id="search-without")
            like = gr.Image(
                label=labels("like"),
                type="filepath",
                image_mode=None,
                sources=["upload", "clipboard"],
                height=180,
                elem_id="search-like",
            )
            find = gr.Button(labels("find"), variant="primary", size="lg", elem_id="search-find", elem_classes="make")
        with gr.Column(scale=8, min_width=320):
            hits = frame.html(elem_id="search-hits")
    frame.on_load(desk.greet, [hits])
    given = [words, like, without]
    gr.on([find.click, words.submit, without.submit], desk.search, given, hits, trigger_mode="always_last", **QUIET)
    frame.handed.change(desk.handed, frame.handed, [*given, hits], **QUIET)
