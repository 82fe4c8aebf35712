"""The Create tab: prompt and settings on one side, the pictures on the other.

No event computes a picture, or waits for one: requests go to the queue, and page.js polls how far they are. A page that
is closed leaves the job running, and the page that is opened next shows it.
"""

import time
from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup

from models.assets import prompt_list
from models.messages import Refused
from studio import inputs
from studio.backends.registry import open_backend
from studio.metadata import read, restore
from studio.page import picture_inputs
from studio.page.context import PRESSED, QUIET, PageContext, pressed_data, whole_number
from studio.page.form import Form, picker, style_input
from studio.page.html import render, script
from studio.page.language import error_text, label, text
from studio.requests import ClipRequest

STRIP = 36  # pictures shown below the stage
HISTORY = 50  # earlier prompts
COUNT_MOST = 12  # pictures at once that the slider offers; the command takes more
# The fields of a request that inputs of the same name hold, as they come.
PLAIN = ("negative", "style", "scheduler")
SAMPLING = ("steps", "guidance")  # what some schedulers leave no choice of
# The accordions, and the inputs whose values open them.
FOLDS = (("canvas", "expand"), ("first", "second"), ("like", "seed", "negative"))

Restored = tuple[dict[str, Any], str]  # values of inputs by their names, what to say as HTML


class CreateHandlers:
    def __init__(self, context: PageContext) -> None:
        self.context, self.studio, self.poll = context, context.studio, context.poll

    def load(self) -> tuple[Any, ...]:
        """A page was opened: show the job that is running, if there is one -> stage, strip, history."""
        job = self.studio.current()
        stage = self.poll.stage(job.id).html() if job else render("create.nothing_yet", self._problem())
        return stage, self.strip(), self.history()

    def _problem(self) -> str | Refused:
        """Why the model can't work, "" where it can."""
        try:
            open_backend(self.context.model).digest()
        except Refused as refusal:
            return refusal
        return ""

    def start(self, given: dict[str, Any]) -> tuple[str, Any]:
        """Queue a job, or one a picture where the seed draws the words -> stage of the first, history.

        `given` holds the value of each input by its name.
        """
        task = "clip" if given.get("clip") else "image"
        try:
            fields = self.fields(given)
            if task == "clip":  # what the inputs say of pictures alone is left out
                fields = {name: fields[name] for name in ClipRequest.model_fields if name in fields}
            jobs = [self.studio.submit(job) for job in self.studio.prepare(task, **fields)]
        except Refused as refusal:
            return render("create.refused", refusal), gr.skip()
        return self.poll.stage(jobs[0]).html(mine=True), self.history()

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
        values: dict[str, Any] = {}
        if fixed:
            values = {name: getattr(fixed, name) for name in SAMPLING}
        elif before in can.fixed:
            values = {name: getattr(can, name).usual for name in SAMPLING}
        sliders = [gr.update(interactive=not fixed, **{"value": values[name]} if values else {}) for name in SAMPLING]
        return (*sliders, scheduler)

    def stop(self, event: gr.EventData) -> None:
        """A button on the stage: stop the job, or let it finish the picture that it is at."""
        data = pressed_data(event)
        if data.get("own") == "stop":
            self.studio.cancel(data.get("job", ""))
        elif data.get("own") == "finish":
            self.studio.queue.finish_picture(data.get("job", ""))

    def adopt(self, event: gr.EventData) -> Any:
        """The stage is free, and a job was begun elsewhere: show it."""
        try:
            return self.poll.stage(pressed_data(event).get("job", "")).html()
        except KeyError:
            return gr.skip()

    def watch(self, handed: dict[str, Any] | None) -> Any:
        """A job that another part queued comes on the stage."""
        job = (handed or {}).get("job", "")
        return self.poll.stage(job).html(mine=True) if job else gr.skip()

    def strip(self) -> str:
        return render("create.strip", self.studio.gallery.page(limit=STRIP))

    def history(self) -> Any:
        """Prompts that were asked for before, latest first."""
        latest = self.studio.queue.latest(4 * HISTORY)
        prompts = list(dict.fromkeys(job.request.title for job in latest if job.request.title))[:HISTORY]
        return gr.Dropdown(choices=prompts, value=None, visible=bool(prompts))

    def last_seed(self) -> str:
        """The seed of the newest picture, to be kept."""
        newest = self.studio.gallery.page(limit=1)
        return str(newest[0].seed) if newest else ""

    def dropped(self, path: str | Path) -> Restored:
        """A picture was dropped: its settings, else itself to start from."""
        try:
            found = read(Path(path))
        except Refused as refusal:
            return {}, _notes(problem=[error_text(refusal)])
        if not found:
            return {"canvas": picture_inputs.canvas(str(path))}, _notes(unknown=[text("create.no_settings")])
        restored = restore(found, self.context.can, self.studio.home / inputs.INPUTS)
        lost = [said for said in map(error_text, restored.lost) if said]
        if not restored.fields:
            return {}, _notes(unknown=lost)
        if beyond := picture_inputs.beyond(restored.fields, self.context.can):
            lost.append(text("create.beyond", names=[text(f"create.of_{name}") for name in beyond]))
        return self.values(restored.fields), _notes(good=[text("create.restored")], unknown=lost)

    def handed(self, handed: dict[str, Any] | None, first: str | None = None) -> Restored:
        """Another part of the page handed a picture over; `first` is what is blended already."""
        use, digest = (handed or {}).get("use"), (handed or {}).get("picture", "")
        path = self.context.still(digest)
        if path is None or use in ("watch", "find"):
            return {}, ""
        if use == "settings":
            return self.dropped(path)
        place = {"like": "like", "start": "canvas", "blend": "second" if first else "first"}[str(use)]
        value = picture_inputs.canvas(str(path)) if use == "start" else str(path)
        return {place: value}, _notes(good=[text("create.given")])

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


def _notes(**said: list[str]) -> Markup:
    """A box for each sentence, by kinds."""
    return Markup("").join(render("parts.note", kind, words) for kind, several in said.items() for words in several)


def build(context: PageContext) -> None:
    handlers, form = CreateHandlers(context), Form("create")
    with gr.Tab(label("tab.create"), id="create"), gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=320, elem_id="controls"):
            history, styles, make = _words(context, form)
            folds = [_from_picture(context, form), _blend(form), _more(handlers, form)]
        with gr.Column(scale=7, min_width=320):
            drop = gr.HTML(js_on_load=script("drop.js"), elem_id="drop")
            stage = context.html(script=script("stage.js"), elem_id="stage")  # what it shows at first comes by `load`
            strip = context.html(elem_id="strip")
    context.on_load(handlers.load, stage, strip, history)
    stage.select(handlers.stop, None, None, **PRESSED)
    stage.change(handlers.strip, None, strip, **QUIET)
    stage.input(handlers.adopt, None, stage, **QUIET)
    context.handed.change(handlers.watch, context.handed, stage, **QUIET)
    history.input(lambda prompt: prompt, history, form["prompt"], **QUIET)

    def start(*values: Any) -> tuple[str, Any, str]:
        return *handlers.start(dict(zip(form, values, strict=True))), ""  # what was said of a picture is over

    events = [make.click, form["prompt"].submit]
    gr.on(events, start, list(form.values()), [stage, history, drop], trigger_mode="multiple", **QUIET)
    _connect_pictures(context, handlers, form, folds, [styles, drop])


def _words(context: PageContext, form: Form) -> tuple[gr.Dropdown, gr.HTML, gr.Button]:
    can = context.can
    form.box("prompt", lines=1, max_lines=5, autofocus=True)
    history = gr.Dropdown([], label=label("create.earlier"), elem_id="history", visible=False, interactive=True)
    styles, form["style"] = style_input(context, "style")
    form.put(gr.Slider, "count", 1, min(COUNT_MOST, int(can.count.most)), 4, step=1)
    form.put(gr.Checkbox, "clip", False, visible="clip" in can.tasks)
    make, examples = form.make(), [[line] for line in prompt_list("examples")]
    gr.Examples(examples, [form["prompt"]], label=label("create.examples"), elem_id="examples")
    return history, styles, make


def _from_picture(context: PageContext, form: Form) -> gr.Accordion:
    with gr.Accordion(label("create.from"), open=False, elem_id="from", visible=context.can.edits) as accordion:
        gr.Markdown(label("create.from_info"))
        brush = gr.Brush(default_size=12, colors=[picture_inputs.PAINT], color_mode="fixed")
        about: Any = {"type": "filepath", "image_mode": "RGBA", "sources": ["upload", "clipboard"]}
        form.put(gr.ImageEditor, "canvas", transforms=(), layers=False, brush=brush, height=380, **about)
        form.slider("strength", context.can.strength)
        form.put(gr.Checkbox, "expand", False)
    return accordion


def _blend(form: Form) -> gr.Accordion:
    with gr.Accordion(label("create.blend"), open=False, elem_id="blend") as accordion:
        with gr.Row():
            pictures = [form.picture("first"), form.picture("second")]
        form.put(gr.Slider, "between", 0, 1, 0.5, step=0.05)
        clear = gr.Button(label("create.clear"), size="sm")
        clear.click(lambda: (None, None), None, pictures, **QUIET)
    return accordion


def _more(handlers: CreateHandlers, form: Form) -> gr.Accordion:
    can = handlers.context.can
    with gr.Accordion(label("create.more"), open=False, elem_id="more") as accordion:
        form.box("negative")
        seed = form.box("seed")
        with gr.Row():
            dice = gr.Button(label("create.dice"), size="sm", elem_id="dice")
            keep = gr.Button(label("create.keep"), size="sm", elem_id="keep")
        dice.click(None, None, seed, js="() => String(Math.floor(Math.random() * 2 ** 32))", api_visibility="private")
        keep.click(handlers.last_seed, None, seed, **QUIET)
        sliders = [form.slider("steps", can.steps, step=1), form.slider("guidance", can.guidance, step=0.5)]
        choices, usual, info = list(can.schedulers), can.schedulers[0], form.said("scheduler_info")
        present = form["sampled"] = gr.State(usual)
        scheduler = form.put(gr.Dropdown, "scheduler", choices, value=usual, info=info if can.fixed else None)
        scheduler.change(handlers.sampling, [scheduler, present], [*sliders, present], **QUIET)
        form.slider("best_of", can.best_of, step=1)
        form.put(gr.Radio, "size", list(can.sizes), value=can.size, visible=len(can.sizes) > 1)
        form.picture("like")
        gr.Markdown(label("create.like_meant"))
    return accordion


def _connect_pictures(
    context: PageContext, handlers: CreateHandlers, form: Form, folds: list[gr.Accordion], said: list[gr.HTML]
) -> None:
    """Pictures that are dropped on the page, or handed over by another part of it."""

    def fill(values: dict[str, Any], words: str) -> list[Any]:
        opened = [gr.Accordion(open=True) if any(map(values.get, names)) else gr.skip() for names in FOLDS]
        picked = gr.skip()
        if "style" in values:  # the time makes it another value, whatever was pressed since
            picked = f"{picker(context.can.styles, values['style'], 'style')}<!-- {time.time()} -->"
        return [*(values.get(name, gr.skip()) for name in form), *opened, picked, words or gr.skip()]

    def dropped(event: gr.EventData) -> list[Any]:
        restored = handlers.dropped(context.uploaded(pressed_data(event).get("path", "")))
        return [*fill(*restored), gr.Tabs(selected="create"), ""]

    def handed(what: dict[str, Any], first: str | None) -> list[Any]:
        return fill(*handlers.handed(what, first))

    outputs = [*form.values(), *folds, *said]
    said[1].select(dropped, None, [*outputs, context.tabs, context.card], **PRESSED)
    context.handed.change(handed, [context.handed, form["first"]], outputs, **QUIET)
