"""What stands where on the page. Gradio's components and theme; looks beyond those are in style.css."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from models.assets import prompt_list
from studio.capabilities import Capabilities
from studio.page.desk import Desk
from studio.page.view import header, nothing_yet
from studio.page.words import LABELS, translations

QUEUE = 100  # events that wait; more are turned away
SHOWN = 12  # pictures at once that the slider offers; the command takes more

# The stage's own buttons: "more like this" sends the name of a picture's file.
ON_LOAD = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-like]');
  if (button) trigger('click', { like: button.dataset.like });
});
"""


def i18n() -> gr.I18n:
    """The labels in the languages there are."""
    return gr.I18n(**translations())


def theme() -> gr.Theme:
    """Soft shapes in violet, in a typeface that Gradio carries."""
    font = gr.themes.LocalFont("Quicksand", weights=(400, 700))
    return gr.themes.Soft(
        primary_hue=gr.themes.colors.violet,
        secondary_hue=gr.themes.colors.pink,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_lg,
        font=(font, "ui-rounded", "system-ui", "sans-serif"),
    ).set(
        body_background_fill="linear-gradient(160deg, *primary_50, #fff 45%, *secondary_50)",
        body_background_fill_dark="*neutral_950",
        block_title_background_fill="transparent",
        block_title_background_fill_dark="transparent",
        block_title_padding="0",
        block_title_text_color="*neutral_600",
        block_title_text_color_dark="*neutral_300",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_300",
    )


@dataclass(frozen=True)
class Controls:
    """The inputs of a job, in the order in which `Desk.start` takes them."""

    prompt: gr.Textbox
    negative: gr.Textbox
    style: gr.Dropdown
    count: gr.Slider
    seed: gr.Textbox
    steps: gr.Slider
    guidance: gr.Slider
    scheduler: gr.Dropdown
    like: gr.Image

    def all(self) -> list[gr.components.Component]:
        """As Gradio's events want them."""
        return [getattr(self, name) for name in self.__dataclass_fields__]


@dataclass(frozen=True)
class Shown:
    """What the events change."""

    masthead: gr.HTML
    stage: gr.HTML
    strip: gr.HTML
    make: gr.Button
    stop: gr.Button
    more: gr.Accordion


def build(desk: Desk) -> gr.Blocks:
    """The page, wired to `desk`."""
    text = dict(zip(LABELS, map(i18n(), LABELS), strict=True))
    with gr.Blocks(title="Studio 128", analytics_enabled=False, delete_cache=(3600, 86400), fill_width=True) as page:
        masthead = gr.HTML(header("en"), elem_id="masthead")
        with gr.Row(equal_height=False, elem_id="desk"):
            with gr.Column(scale=4, min_width=320, elem_id="controls"):
                controls, make, stop, more = _controls(desk.can, text)
            with gr.Column(scale=7, min_width=320):
                stage = gr.HTML(nothing_yet("en"), js_on_load=ON_LOAD, elem_id="stage")
        strip = gr.HTML(js_on_load=ON_LOAD, elem_id="strip")
        _wire(desk, page, controls, Shown(masthead, stage, strip, make, stop, more))
    page.queue(max_size=QUEUE)
    return page


def _controls(can: Capabilities, text: dict[str, Any]) -> tuple[Controls, gr.Button, gr.Button, gr.Accordion]:
    prompt = gr.Textbox(
        label=text["prompt"], placeholder=text["prompt_hint"], lines=1, max_lines=5, autofocus=True, elem_id="prompt"
    )
    with gr.Row():
        style = gr.Dropdown(_style_choices(can), value="", label=text["style"], min_width=120, elem_id="style")
        most = min(SHOWN, int(can.count.most))
        count = gr.Slider(1, most, 4, step=1, label=text["count"], min_width=120, elem_id="count")
    with gr.Row():
        make = gr.Button(text["make"], variant="primary", size="lg", scale=3, elem_id="make")
        stop = gr.Button(text["stop"], size="lg", scale=1, min_width=80, interactive=False, elem_id="stop")
    gr.Examples([[line] for line in prompt_list("examples")], [prompt], label=text["examples"], elem_id="examples")
    with gr.Accordion(text["more"], open=False, elem_id="more") as more:
        negative = gr.Textbox(label=text["negative"], placeholder=text["negative_hint"], elem_id="negative")
        like = gr.Image(
            label=text["like"],
            type="filepath",
            image_mode=None,
            sources=["upload", "clipboard"],
            height=150,
            elem_id="like",
        )
        seed = gr.Textbox(label=text["seed"], info=text["seed_info"], placeholder=text["seed_hint"], elem_id="seed")
        steps = gr.Slider(can.steps.least, min(50, can.steps.most), can.steps.usual, step=1, label=text["steps"])
        guidance = gr.Slider(
            can.guidance.least,
            min(10, can.guidance.most),
            can.guidance.usual,
            step=0.5,
            label=text["guidance"],
            info=text["guidance_info"],
        )
        scheduler = gr.Dropdown(list(can.schedulers), value=can.schedulers[0], label=text["scheduler"])
    return Controls(prompt, negative, style, count, seed, steps, guidance, scheduler, like), make, stop, more


def _style_choices(can: Capabilities) -> list[tuple[str, str]]:
    """Each style by both its names; the first entry leaves it to the model."""
    named = [(f"{style.name} · {style.zh}" if style.zh else style.name, style.name) for style in can.styles]
    return [("any · 任意", ""), *named]


def _wire(desk: Desk, page: gr.Blocks, controls: Controls, shown: Shown) -> None:
    job = gr.State("")
    watched = [shown.stage, shown.strip, shown.make, shown.stop, job]
    hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
    asked = [shown.make.click, controls.prompt.submit]
    greeting = page.load(desk.greet, None, [shown.masthead, *watched], **hidden)
    # A job asked for while the greeting still watches another takes its place on the stage.
    gr.on(asked, desk.start, controls.all(), watched, trigger_mode="once", cancels=[greeting], **hidden)
    shown.stop.click(desk.stop, [job], None, **hidden)
    for pictures in (shown.stage, shown.strip):
        pictures.click(desk.like, None, [controls.like, shown.more], **hidden)
