"""What stands where on the Create tab, and what listens to what."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from models.assets import prompt_list
from studio.page.create import edits
from studio.page.create.desk import SAMPLED, Desk
from studio.page.create.view import nothing_yet
from studio.page.create.words import labels
from studio.page.frame import LISTEN, PRESSED, QUIET, Frame, said

SHOWN = 12  # pictures at once that the slider offers; the command takes more
STAGE_JS = Path(__file__).with_name("stage.js").read_text(encoding="utf-8")
# Gradio writes attributes; a radio button that was pressed heeds its property.
PICKED_JS = """
watch('value', () => {
  for (const one of element.querySelectorAll('input')) one.checked = one.hasAttribute('checked');
});"""
DROP_JS = Path(__file__).with_name("drop.js").read_text(encoding="utf-8")


@dataclass
class Inputs:
    """The inputs of a job by the names under which `Desk` knows them."""

    named: dict[str, gr.components.Component] = field(default_factory=dict)

    def add(self, name: str, component: Any) -> Any:
        """Take one in."""
        self.named[name] = component
        return component

    def values(self, values: dict[str, Any]) -> list[Any]:
        """An update for each input: a value, None too, where there is one."""
        return [values[name] if name in values else gr.skip() for name in self.named]


def tab(frame: Frame) -> None:
    """The tab."""
    desk, inputs = Desk(frame), Inputs()
    with gr.Tab(labels("tab"), id="create"), gr.Row(equal_height=False, elem_id="desk"):
        with gr.Column(scale=4, min_width=320, elem_id="controls"):
            history, picker, make = _words(frame, inputs)
            accordions = [_from_picture(frame, inputs), _blend(inputs), _more(frame, inputs)]
        with gr.Column(scale=7, min_width=320):
            drop = gr.HTML(js_on_load=DROP_JS, elem_id="drop")
            stage = gr.HTML(nothing_yet("en"), js_on_load=STAGE_JS, elem_id="stage")
            strip = frame.html(elem_id="strip")
    frame.on_load(desk.greet, [stage, strip, picker, history])
    _make(desk, inputs, make, [stage, history, drop])
    _stage(frame, desk, stage, strip)
    _pickers(desk, inputs, picker, history)
    _pictures(frame, desk, inputs, accordions, picker, drop)


def _words(frame: Frame, inputs: Inputs) -> tuple[gr.Dropdown, gr.HTML, gr.Button]:
    hint = labels("prompt_hint")
    prompt = gr.Textbox(
        label=labels("prompt"), placeholder=hint, lines=1, max_lines=5, autofocus=True, elem_id="prompt"
    )
    inputs.add("prompt", prompt)
    history = gr.Dropdown([], label=labels("earlier"), elem_id="history", visible=False, interactive=True)
    picker = gr.HTML(js_on_load=LISTEN + PICKED_JS, elem_id="style")
    inputs.add("style", gr.Textbox("", visible="hidden", container=False))
    most = min(SHOWN, int(frame.can.count.most))
    inputs.add("count", gr.Slider(1, most, 4, step=1, label=labels("count"), elem_id="count"))
    make = gr.Button(labels("make"), variant="primary", size="lg", elem_id="make", elem_classes="make")
    gr.Examples([[line] for line in prompt_list("examples")], [prompt], label=labels("examples"), elem_id="examples")
    return history, picker, make


def _from_picture(frame: Frame, inputs: Inputs) -> gr.Accordion:
    strength = frame.can.strength
    with gr.Accordion(labels("from"), open=False, elem_id="from", visible=frame.can.edits) as accordion:
        gr.Markdown(labels("from_info"))
        canvas = gr.ImageEditor(
            label=labels("canvas"),
            type="filepath",
            image_mode="RGBA",
            sources=["upload", "clipboard"],
            transforms=(),
            layers=False,
            brush=gr.Brush(default_size=12, colors=[edits.PAINT], color_mode="fixed"),
            height=380,
            elem_id="canvas",
        )
        inputs.add("canvas", canvas)
        most, usual = strength.most, strength.usual
        slider = gr.Slider(strength.least, most, usual, label=labels("strength"), info=labels("strength_info"))
        inputs.add("strength", slider)
        inputs.add("expand", gr.Checkbox(False, label=labels("expand"), elem_id="expand"))
    return accordion


def _blend(inputs: Inputs) -> gr.Accordion:
    with gr.Accordion(labels("blend"), open=False, elem_id="blend") as accordion:
        with gr.Row():
            for name in ("first", "second"):
                inputs.add(name, _picture(labels(name), name))
        between = gr.Slider(0, 1, 0.5, step=0.05, label=labels("between"), info=labels("between_info"))
        inputs.add("between", between)
        clear = gr.Button(labels("clear"), size="sm")
        clear.click(lambda: (None, None), None, [inputs.named["first"], inputs.named["second"]], **QUIET)
    return accordion


def _more(frame: Frame, inputs: Inputs) -> gr.Accordion:
    can = frame.can
    with gr.Accordion(labels("more"), open=False, elem_id="more") as accordion:
        inputs.add(
            "negative",
            gr.Textbox(label=labels("negative"), placeholder=labels("negative_hint"), elem_id="negative"),
        )
        seed = gr.Textbox(
            label=labels("seed"), info=labels("seed_info"), placeholder=labels("seed_hint"), elem_id="seed"
        )
        inputs.add("seed", seed)
        with gr.Row():
            dice = gr.Button(labels("dice"), size="sm", elem_id="dice")
            keep = gr.Button(labels("keep"), size="sm", elem_id="keep")
        dice.click(None, None, seed, js="() => String(Math.floor(Math.random() * 2 ** 32))", api_visibility="private")
        keep.click(Desk(frame).last_seed, None, seed, **QUIET)
        _sampling(frame, inputs)
        best_of = can.best_of
        inputs.add(
            "best_of",
            gr.Slider(
                best_of.least,
                best_of.most,
                best_of.usual,
                step=1,
                label=labels("best_of"),
                info=labels("best_of_info"),
                elem_id="best-of",
            ),
        )
        sizes = getattr(can, "sizes", (can.size,))
        inputs.add("size", gr.Radio(list(sizes), value=can.size, label=labels("size"), visible=len(sizes) > 1))
        inputs.add("like", _picture(labels("like"), "like"))
        gr.Markdown(labels("like_info"))
    return accordion


def _sampling(frame: Frame, inputs: Inputs) -> None:
    """The sampler, and how it draws where it leaves a choice."""
    can = frame.can
    steps, guidance = can.steps, can.guidance
    inputs.add(
        "steps",
        gr.Slider(steps.least, steps.most, steps.usual, step=1, label=labels("steps"), elem_id="steps"),
    )
    inputs.add(
        "guidance",
        gr.Slider(
            guidance.least,
            guidance.most,
            guidance.usual,
            step=0.5,
            label=labels("guidance"),
            info=labels("guidance_info"),
            elem_id="guidance",
        ),
    )
    scheduler = gr.Dropdown(
        list(can.schedulers),
        value=can.schedulers[0],
        label=labels("scheduler"),
        info=labels("scheduler_info") if can.fixed else None,
        elem_id="scheduler",
    )
    sliders = [inputs.named[name] for name in SAMPLED]
    sampled = inputs.add("sampled", gr.State(can.schedulers[0]))
    inputs.add("scheduler", scheduler).change(Desk(frame).sampled, [scheduler, sampled], [*sliders, sampled], **QUIET)


def _picture(label: Any, name: str) -> gr.Image:
    """An input for a picture: the file as it is, with alpha and what it says of itself."""
    return gr.Image(
        label=label, type="filepath", image_mode=None, sources=["upload", "clipboard"], height=150, elem_id=name
    )


def _make(desk: Desk, inputs: Inputs, make: gr.Button, outputs: list[Any]) -> None:
    names = list(inputs.named)

    def start(request: gr.Request, *values: Any) -> tuple[str, Any, str]:
        return *desk.start(dict(zip(names, values, strict=True)), request), ""  # what was said of a picture is over

    asked = [make.click, inputs.named["prompt"].submit]  # type: ignore[attr-defined]
    gr.on(asked, start, list(inputs.named.values()), outputs, trigger_mode="multiple", **QUIET)


def _stage(frame: Frame, desk: Desk, stage: gr.HTML, strip: gr.HTML) -> None:
    stage.click(frame.act, None, [frame.card, frame.handed, frame.tabs], **PRESSED)
    stage.select(desk.told, None, None, **PRESSED)
    stage.change(desk.remembered, None, strip, **QUIET)
    stage.input(desk.adopt, None, stage, **QUIET)
    frame.handed.change(desk.watched, frame.handed, stage, **QUIET)


def _pickers(desk: Desk, inputs: Inputs, picker: gr.HTML, history: gr.Dropdown) -> None:
    picker.select(desk.pick, None, inputs.named["style"], **PRESSED)
    history.input(lambda prompt: prompt, history, inputs.named["prompt"], **QUIET)


def _pictures(
    frame: Frame, desk: Desk, inputs: Inputs, accordions: list[gr.Accordion], picker: gr.HTML, drop: gr.HTML
) -> None:
    """Pictures that come from elsewhere: dropped on the page, or handed over by another part of it."""
    named = list(inputs.named.values())
    picker_of = {"canvas": 0, "expand": 0, "first": 1, "second": 1, "like": 2, "seed": 2, "negative": 2}

    def fill(values: dict[str, Any], words: str, request: gr.Request) -> list[Any]:
        opened = {picker_of[name] for name, value in values.items() if name in picker_of and value}
        folds = [gr.Accordion(open=True) if number in opened else gr.skip() for number in range(len(accordions))]
        styles = desk.picker(values["style"], request) if "style" in values else gr.skip()
        return [*inputs.values(values), *folds, styles, words if words else gr.skip()]

    def dropped(event: gr.EventData, request: gr.Request) -> list[Any]:
        values, words = desk.dropped(frame.uploaded(said(event).get("path", "")), request)
        return [*fill(values, words, request), gr.Tabs(selected="create"), ""]

    def handed(what: dict[str, Any], first: str | None, request: gr.Request) -> list[Any]:
        values, words = desk.handed(what, request)
        if "blend" in values:  # the first one that is free
            values["second" if first else "first"] = values.pop("blend")
        return fill(values, words, request)

    outputs = [*named, *accordions, picker, drop]
    drop.select(dropped, None, [*outputs, frame.tabs, frame.card], **PRESSED)
    frame.handed.change(handed, [frame.handed, inputs.named["first"]], outputs, **QUIET)
