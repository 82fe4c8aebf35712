"""The Create tab: prompt and settings on one side, the pictures on the other.

No event computes a picture, or waits for one: requests go to the queue, and page.js polls how far they are. A page that
is closed leaves the job running, and the page that is opened next shows it.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from models.assets import prompt_list
from models.messages import Refused
from studio import inputs
from studio.metadata import read, restore
from studio.page import picture_inputs
from studio.page.context import LISTEN, PRESSED, QUIET, PageContext, pressed_data, whole_number
from studio.page.html import media, note, notes, render, script
from studio.page.language import error_text, label, language_of, text
from studio.page.polling import Poll
from studio.page.styles import picker
from studio.requests import ClipRequest

STRIP = 36  # pictures shown below the stage
HISTORY = 50  # earlier prompts
COUNT_MOST = 12  # pictures at once that the slider offers; the command takes more
# The fields of a request that inputs of the same name hold, as they come.
PLAIN = ("negative", "style", "scheduler")
SAMPLING = ("steps", "guidance")  # what some schedulers leave no choice of
FOLDS = {"canvas": 0, "expand": 0, "first": 1, "second": 1, "like": 2, "seed": 2, "negative": 2}  # accordion of each
# Gradio writes attributes; a radio button that was pressed heeds its property.
CHECKED_JS = """
watch('value', () => {
  for (const one of element.querySelectorAll('input')) one.checked = one.hasAttribute('checked');
});"""


class CreateHandlers:
    """What happens when something on the tab is pressed."""

    def __init__(self, context: PageContext) -> None:
        self.context, self.studio, self.poll = context, context.studio, Poll(context)

    def load(self, request: gr.Request) -> tuple[Any, ...]:
        """A page was opened: show the job that is running, if there is one -> stage, strip, styles, history."""
        language, job = language_of(request.headers), self.studio.current()
        stage = self.poll.stage(job.id, language).html() if job else nothing_yet(language, self.context.problem())
        return stage, self.strip(request), self.picker("", request), self.history()

    def start(self, given: dict[str, Any], request: gr.Request) -> tuple[str, Any]:
        """Queue a job, or one a picture where the seed draws the words -> stage of the first, history.

        `given` holds the value of each input by its name.
        """
        language, task = language_of(request.headers), "clip" if given.get("clip") else "image"
        try:
            fields = self.fields(given)
            if task == "clip":  # what the inputs say of pictures alone is left out
                fields = {name: fields[name] for name in ClipRequest.model_fields if name in fields}
            jobs = [self.studio.submit(job) for job in self.studio.prepare(task, **fields)]
        except Refused as refusal:
            return render("create.refused", language, sentence=error_text(refusal, language)), gr.skip()
        return self.poll.stage(jobs[0], language).html(mine=True), self.history()

    def fields(self, given: dict[str, Any]) -> dict[str, Any]:
        """What the inputs ask for, as fields of a request; what is left as it was is left out."""
        can = self.context.can
        fields: dict[str, Any] = {name: given.get(name) or "" for name in PLAIN}
        fields |= {"prompt": given["prompt"] or "", "count": int(given["count"]), "seed": whole_number(given["seed"])}
        fields |= {"best_of": int(given["best_of"]), "model": self.context.model}
        if fields["scheduler"] not in can.fixed:
            fields |= {"steps": int(given["steps"]), "guidance": float(given["guidance"])}
        if given["like"]:
            fields["like"] = {"path": given["like"]}
        if given.get("size") and int(given["size"]) != can.size:
            fields["size"] = int(given["size"])
        fields |= picture_inputs.start(given, self.studio.home, can)
        return fields | picture_inputs.blend(given)

    def sampling(self, scheduler: str, before: str) -> tuple[Any, ...]:
        """Another scheduler was chosen -> steps and guidance, and that scheduler as the present one.

        One that leaves no choice of them fixes them; after it they have their defaults again.
        """
        can, fixed = self.context.can, self.context.can.fixed.get(scheduler)
        if fixed:
            sliders: list[Any] = [gr.update(value=getattr(fixed, name), interactive=False) for name in SAMPLING]
        elif before in can.fixed:
            sliders = [gr.update(value=getattr(can, name).usual, interactive=True) for name in SAMPLING]
        else:
            sliders = [gr.update(interactive=True) for _ in SAMPLING]
        return (*sliders, scheduler)

    def stop(self, event: gr.EventData) -> None:
        """A button on the stage: stop the job, or let it finish the picture that it is at."""
        data = pressed_data(event)
        if data.get("own") == "stop":
            self.studio.cancel(data.get("job", ""))
        elif data.get("own") == "finish":
            self.studio.queue.finish_picture(data.get("job", ""))

    def adopt(self, event: gr.EventData, request: gr.Request) -> Any:
        """The stage is free, and a job was begun elsewhere: show it."""
        try:
            return self.poll.stage(pressed_data(event).get("job", ""), language_of(request.headers)).html()
        except KeyError:
            return gr.skip()

    def watch(self, handed: dict[str, Any] | None, request: gr.Request) -> Any:
        """A job that another part queued comes on the stage."""
        job = (handed or {}).get("job", "")
        return self.poll.stage(job, language_of(request.headers)).html(mine=True) if job else gr.skip()

    def strip(self, request: gr.Request) -> str:
        """The newest pictures of the gallery."""
        pictures = [
            (one, media(one.path, one.prompt, small=True, text=one.text))
            for one in self.studio.gallery.page(limit=STRIP)
        ]
        return render("create.strip", language_of(request.headers), pictures=pictures)

    def history(self) -> Any:
        """Prompts that were asked for before, latest first."""
        latest = self.studio.queue.latest(4 * HISTORY)
        prompts = list(dict.fromkeys(job.request.title for job in latest if job.request.title))[:HISTORY]
        return gr.Dropdown(choices=prompts, value=None, visible=bool(prompts))

    def picker(self, style: str, request: gr.Request) -> str:
        """The styles with one of them chosen. The time makes it another value, whatever was pressed since."""
        made = picker(self.context.can.styles, style, language_of(request.headers))
        return f"{made}<!-- {time.time()} -->"

    def pick(self, event: gr.EventData) -> str:
        """A style was chosen -> the input that holds it."""
        value = pressed_data(event).get("value", "")
        return value if value in [one.name for one in self.context.can.styles] else ""

    def last_seed(self) -> str:
        """The seed of the newest picture, to be kept."""
        newest = self.studio.gallery.page(limit=1)
        return str(newest[0].seed) if newest else ""

    # --- Pictures that come from elsewhere ----------------------------------------------------------------------------

    def dropped(self, path: str, request: gr.Request) -> tuple[dict[str, Any], str]:
        """A picture was dropped: its settings, else itself to start from -> values of inputs, what to say."""
        language = language_of(request.headers)
        try:
            found = read(Path(path))
        except Refused as refusal:
            return {}, note("problem", error_text(refusal, language))
        if not found:
            return {"canvas": picture_inputs.canvas(path)}, note("unknown", text("create.no_settings", language))
        restored = restore(found, self.context.can, self.studio.home / inputs.INPUTS)
        lost = [error_text(sentence, language) for sentence in restored.lost]
        if not restored.fields:
            return {}, notes("unknown", *lost)
        if beyond := picture_inputs.beyond(restored.fields, self.context.can):
            lost.append(text("create.beyond", language, names=[text(f"create.of_{name}", language) for name in beyond]))
        return self.values(restored.fields), note("good", text("create.restored", language)) + notes("unknown", *lost)

    def handed(self, handed: dict[str, Any] | None, request: gr.Request) -> tuple[dict[str, Any], str]:
        """Another part of the page handed a picture over -> values of inputs, what to say."""
        use, digest = (handed or {}).get("use"), (handed or {}).get("picture", "")
        path = self.context.still(digest)
        if path is None or use in ("watch", "find"):
            return {}, ""
        if use == "settings":
            return self.dropped(str(path), request)
        place = {"like": "like", "start": "canvas", "blend": "blend"}[str(use)]
        value = picture_inputs.canvas(str(path)) if place == "canvas" else str(path)
        return {place: value}, note("good", text("create.given", language_of(request.headers)))

    def values(self, fields: dict[str, Any]) -> dict[str, Any]:
        """A request's fields as values of the inputs; what it does not ask for is as on a new page."""
        can = self.context.can
        values = {"prompt": "", "negative": "", "style": "", "scheduler": can.schedulers[0], "size": can.size}
        values |= {"steps": can.steps.usual, "guidance": can.guidance.usual, "best_of": can.best_of.usual}
        values |= {name: fields[name] for name in (*values, "count") if name in fields}
        values["clip"] = False
        values["seed"] = str(fields["seed"]) if fields.get("seed") is not None else ""
        values["sampled"] = values["scheduler"]  # so that the numbers that come with it stay
        values["like"] = fields["like"]["path"] if fields.get("like") else None
        return values | picture_inputs.restored(fields, can)


def nothing_yet(language: str, problem: str | Refused = "") -> str:
    """The stage before the first job; `problem` says why there can't be one."""
    return render("create.nothing_yet", language, problem=problem)


# --- What stands where ------------------------------------------------------------------------------------------------


@dataclass
class Inputs:
    """The inputs of a job by the names under which `CreateHandlers` knows them."""

    named: dict[str, gr.components.Component] = field(default_factory=dict)

    def add(self, name: str, component: Any) -> Any:
        """Take one in."""
        self.named[name] = component
        return component

    def slider(self, name: str, least: float, most: float, usual: float, **settings: Any) -> gr.Slider:
        """Take in a slider; its label has the input's name."""
        shown = settings.pop("label", None) or label(f"create.{name}")
        return self.add(name, gr.Slider(least, most, usual, label=shown, **settings))

    def picture(self, name: str) -> gr.Image:
        """Take in an input for a picture: the file as it is, with alpha and metadata."""
        sources: Any = ["upload", "clipboard"]
        shown = label(f"create.{name}")
        return self.add(
            name, gr.Image(label=shown, type="filepath", image_mode=None, sources=sources, height=150, elem_id=name)
        )

    def updates(self, values: dict[str, Any]) -> list[Any]:
        """An update for each input: a value, None too, where there is one."""
        return [values[name] if name in values else gr.skip() for name in self.named]


def build(context: PageContext) -> None:
    """Draw the tab."""
    handlers, given = CreateHandlers(context), Inputs()
    with gr.Tab(label("tab.create"), id="create"), gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=320, elem_id="controls"):
            history, styles, make = _words(context, given)
            accordions = [_from_picture(context, given), _blend(given), _more(handlers, given)]
        with gr.Column(scale=7, min_width=320):
            drop = gr.HTML(js_on_load=script("drop.js"), elem_id="drop")
            stage = context.html(nothing_yet("en"), script("stage.js"), elem_id="stage")
            strip = context.html(elem_id="strip")
    context.on_load(handlers.load, [stage, strip, styles, history])
    _connect(context, handlers, given, make, [stage, history, drop])
    stage.select(handlers.stop, None, None, **PRESSED)
    stage.change(handlers.strip, None, strip, **QUIET)
    stage.input(handlers.adopt, None, stage, **QUIET)
    context.handed.change(handlers.watch, context.handed, stage, **QUIET)
    styles.select(handlers.pick, None, given.named["style"], **PRESSED)
    history.input(lambda prompt: prompt, history, given.named["prompt"], **QUIET)
    _connect_pictures(context, handlers, given, accordions, [styles, drop])


def _words(context: PageContext, given: Inputs) -> tuple[gr.Dropdown, gr.HTML, gr.Button]:
    prompt = gr.Textbox(
        label=label("prompt_question"),
        placeholder=label("create.prompt_hint"),
        lines=1,
        max_lines=5,
        autofocus=True,
        elem_id="prompt",
    )
    given.add("prompt", prompt)
    history = gr.Dropdown([], label=label("create.earlier"), elem_id="history", visible=False, interactive=True)
    styles = gr.HTML(js_on_load=LISTEN + CHECKED_JS, elem_id="style")
    given.add("style", gr.Textbox("", visible="hidden", container=False))
    given.slider("count", 1, min(COUNT_MOST, int(context.can.count.most)), 4, step=1, elem_id="count")
    moving = gr.Checkbox(False, label=label("create.clip"), elem_id="clip", visible="clip" in context.can.tasks)
    given.add("clip", moving)
    make = gr.Button(label("create.make"), variant="primary", size="lg", elem_id="make", elem_classes="make")
    examples = [[line] for line in prompt_list("examples")]
    gr.Examples(examples, [prompt], label=label("create.examples"), elem_id="examples")
    return history, styles, make


def _from_picture(context: PageContext, given: Inputs) -> gr.Accordion:
    strength = context.can.strength
    with gr.Accordion(label("create.from"), open=False, elem_id="from", visible=context.can.edits) as accordion:
        gr.Markdown(label("create.from_info"))
        canvas = gr.ImageEditor(
            label=label("create.canvas"),
            type="filepath",
            image_mode="RGBA",
            sources=["upload", "clipboard"],
            transforms=(),
            layers=False,
            brush=gr.Brush(default_size=12, colors=[picture_inputs.PAINT], color_mode="fixed"),
            height=380,
            elem_id="canvas",
        )
        given.add("canvas", canvas)
        given.slider("strength", strength.least, strength.most, strength.usual, info=label("create.strength_info"))
        given.add("expand", gr.Checkbox(False, label=label("create.expand"), elem_id="expand"))
    return accordion


def _blend(given: Inputs) -> gr.Accordion:
    with gr.Accordion(label("create.blend"), open=False, elem_id="blend") as accordion:
        with gr.Row():
            pictures = [given.picture("first"), given.picture("second")]
        given.slider("between", 0, 1, 0.5, step=0.05, info=label("create.between_info"))
        clear = gr.Button(label("create.clear"), size="sm")
        clear.click(lambda: (None, None), None, pictures, **QUIET)
    return accordion


def _more(handlers: CreateHandlers, given: Inputs) -> gr.Accordion:
    can = handlers.context.can
    with gr.Accordion(label("create.more"), open=False, elem_id="more") as accordion:
        hint = label("create.negative_hint")
        given.add("negative", gr.Textbox(label=label("negative"), placeholder=hint, elem_id="negative"))
        hint, info = label("seed_hint"), label("create.seed_info")
        seed = given.add("seed", gr.Textbox(label=label("seed"), info=info, placeholder=hint, elem_id="seed"))
        with gr.Row():
            dice = gr.Button(label("create.dice"), size="sm", elem_id="dice")
            keep = gr.Button(label("create.keep"), size="sm", elem_id="keep")
        dice.click(None, None, seed, js="() => String(Math.floor(Math.random() * 2 ** 32))", api_visibility="private")
        keep.click(handlers.last_seed, None, seed, **QUIET)
        _sampling(handlers, given)
        best, info = can.best_of, label("create.best_of_info")
        given.slider("best_of", best.least, best.most, best.usual, step=1, info=info, elem_id="best-of")
        size = gr.Radio(list(can.sizes), value=can.size, label=label("create.size"), visible=len(can.sizes) > 1)
        given.add("size", size)
        given.picture("like")
        gr.Markdown(label("create.like_info"))
    return accordion


def _sampling(handlers: CreateHandlers, given: Inputs) -> None:
    """The sampler, and steps and guidance where it leaves a choice."""
    can = handlers.context.can
    for name, step in (("steps", 1), ("guidance", 0.5)):
        allowed, info = getattr(can, name), label("create.guidance_info") if name == "guidance" else None
        about = {"label": label(name), "info": info, "elem_id": name}
        given.slider(name, allowed.least, allowed.most, allowed.usual, step=step, **about)
    scheduler = gr.Dropdown(
        list(can.schedulers),
        value=can.schedulers[0],
        label=label("scheduler"),
        info=label("create.scheduler_info") if can.fixed else None,
        elem_id="scheduler",
    )
    sliders, present = [given.named[name] for name in SAMPLING], given.add("sampled", gr.State(can.schedulers[0]))
    given.add("scheduler", scheduler).change(handlers.sampling, [scheduler, present], [*sliders, present], **QUIET)


def _connect(
    context: PageContext, handlers: CreateHandlers, given: Inputs, make: gr.Button, outputs: list[Any]
) -> None:
    names = list(given.named)

    def start(request: gr.Request, *values: Any) -> tuple[str, Any, str]:
        return *handlers.start(dict(zip(names, values, strict=True)), request), ""  # what was said of a picture is over

    events = [make.click, given.named["prompt"].submit]  # type: ignore[attr-defined]
    gr.on(events, start, list(given.named.values()), outputs, trigger_mode="multiple", **QUIET)


def _connect_pictures(
    context: PageContext, handlers: CreateHandlers, given: Inputs, accordions: list[gr.Accordion], said: list[gr.HTML]
) -> None:
    """Pictures that are dropped on the page, or handed over by another part of it."""
    styles, drop = said

    def fill(values: dict[str, Any], words: str, request: gr.Request) -> list[Any]:
        opened = {FOLDS[name] for name, value in values.items() if name in FOLDS and value}
        folds = [gr.Accordion(open=True) if number in opened else gr.skip() for number in range(len(accordions))]
        picked = handlers.picker(values["style"], request) if "style" in values else gr.skip()
        return [*given.updates(values), *folds, picked, words if words else gr.skip()]

    def dropped(event: gr.EventData, request: gr.Request) -> list[Any]:
        values, words = handlers.dropped(context.uploaded(pressed_data(event).get("path", "")), request)
        return [*fill(values, words, request), gr.Tabs(selected="create"), ""]

    def handed(what: dict[str, Any], first: str | None, request: gr.Request) -> list[Any]:
        values, words = handlers.handed(what, request)
        if "blend" in values:  # the first one that is free
            values["second" if first else "first"] = values.pop("blend")
        return fill(values, words, request)

    outputs = [*given.named.values(), *accordions, styles, drop]
    drop.select(dropped, None, [*outputs, context.tabs, context.card], **PRESSED)
    context.handed.change(handed, [context.handed, given.named["first"]], outputs, **QUIET)
