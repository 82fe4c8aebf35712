"""What the tabs share that make something: inputs that each of them has, and the stage that shows what comes of it.

No event computes anything, or waits for it: requests go to the queue, and page.js polls how far they are. A page that
is closed leaves the job running, and the page that is opened next shows it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import gradio as gr
from markupsafe import Markup

from models.messages import Refused
from studio import inputs, loras
from studio.backends.base import open_backend
from studio.gallery import Filter
from studio.metadata.files import read
from studio.page.context import LISTEN, PRESSED, QUIET, PageContext, pressed_data, whole_number
from studio.page.form import Form, picker, style_input
from studio.page.html import error_text, label, render, script, text
from studio.page.polling import tab_of

STRIP = 36  # artifacts shown below the stage
HISTORY = 50  # earlier prompts
COUNT_MOST = 12  # artifacts at once that the slider offers; the command takes more
# The fields of a request that inputs of the same name hold, as they come.
PLAIN = ("negative", "style", "scheduler")
SAMPLING = ("steps", "guidance")  # what some schedulers leave no choice of
# Inputs that may be out of sight, by the name of what stands beside the button where they are set.
FOLDED: dict[str, tuple[str, ...]] = {name: (name,) for name in ("seed", "negative", "scheduler", *SAMPLING)}

Restored = tuple[dict[str, Any], str]  # values of inputs by their names, what to say as HTML


def task_of(path: Path) -> str:
    """The task that a file says it was made by; "" where it says nothing that can be read."""
    try:
        return str(read(path).get("request", {}).get("task", ""))
    except Refused:
        return ""


class MakeHandlers:
    """What happens on such a tab.

    Attributes:
        tab, task: its name, and what it asks for.
        wanted: which artifacts of the gallery stand below its stage.
        beside: the input whose value counts when something is handed over.
        folded: inputs that may be out of sight, by the name of what stands for them beside the button.
    """

    tab = task = beside = ""
    folded: ClassVar[dict[str, tuple[str, ...]]] = FOLDED
    wanted = Filter()

    def __init__(self, context: PageContext) -> None:
        self.context, self.studio, self.poll = context, context.studio, context.poll

    def fields(self, given: dict[str, Any]) -> dict[str, Any]:
        """What the inputs ask for, as fields of a request; `given` holds the value of each input by its name."""
        fields: dict[str, Any] = {name: given.get(name) or "" for name in PLAIN}
        fields |= {"prompt": given["prompt"] or "", "count": int(given["count"]), "seed": whole_number(given["seed"])}
        if fields["scheduler"] not in self.context.can.fixed:
            fields |= {"steps": int(given["steps"]), "guidance": float(given["guidance"])}
        return {**fields, "model": self.context.model}

    def values(self, fields: dict[str, Any]) -> dict[str, Any]:
        """A request's fields as values of the inputs; what it does not ask for is as on a new page."""
        can = self.context.can
        values: dict[str, Any] = {"prompt": "", "negative": "", "style": "", "scheduler": can.schedulers[0]}
        values |= {name: getattr(can, name).usual for name in SAMPLING}
        values |= {name: fields[name] for name in (*values, "count") if name in fields}
        values["sampled"] = values["scheduler"]  # so that the numbers that come with it stay
        return {**values, "seed": str(fields["seed"]) if fields.get("seed") is not None else ""}

    def handed(self, handed: dict[str, Any], beside: Any) -> Restored:
        """Another part of the page handed something over to this tab."""
        raise NotImplementedError

    def load(self) -> tuple[Any, ...]:
        """A page was opened: show the job that is running, if there is one -> stage, strip, history."""
        job = self.poll.current()
        if job and tab_of(job.request.task) == self.tab:
            return self.poll.stage(job.id).html(), self.strip(), self.history()
        return render("stage.nothing_yet", self.tab, self._problem()), self.strip(), self.history()

    def _problem(self) -> str | Refused:
        """Why the model can't work, "" where it can."""
        try:
            open_backend(self.context.model).digest()
        except Refused as refusal:
            return refusal
        return ""

    def start(self, given: dict[str, Any]) -> tuple[str, Any, str]:
        """Queue what the inputs ask for -> stage of the first job, history, notes on the files that it was given."""
        try:
            fields = {name: value for name, value in self.fields(given).items() if name not in self.context.can.lacks}
            jobs = self.studio.prepare(self.task, **fields)
            first, *_ = [self.studio.submit(job) for job in jobs]
        except Refused as refusal:
            return render("stage.refused", refusal), gr.skip(), ""
        unknown = [error_text(note) for note in inputs.notes(jobs[0].request)]
        return self.poll.stage(first).html(mine=True), self.history(), notes(unknown=unknown)

    def stop(self, event: gr.EventData) -> None:
        """A button on the stage: stop the job, or let it finish the artifact that it is at."""
        data = pressed_data(event)
        if data.get("own") == "stop":
            self.studio.cancel(data.get("job", ""))
        elif data.get("own") == "finish":
            self.studio.queue.finish_picture(data.get("job", ""))

    def strip(self) -> str:
        return render("stage.strip", self.studio.gallery.page(self.wanted, limit=STRIP))

    def history(self) -> Any:
        """Prompts that were asked for before, latest first."""
        latest = self.studio.queue.latest(4 * HISTORY)
        prompts = list(dict.fromkeys(job.request.title for job in latest if job.request.title))[:HISTORY]
        return gr.update(choices=prompts, value=None, visible=bool(prompts))

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

    def active(self, form: Form, given: dict[str, Any]) -> str:
        """What is set out of sight, each as a chip that takes it away; `given` is all but a canvas."""
        usual, chips = self.values({}), list[tuple[str, str, str]]()
        hidden = SAMPLING if given["scheduler"] in self.context.can.fixed else ()
        for name, held in self.folded.items():
            if name in hidden or (name in ("strength", "expand") and not given["pictured"]):
                continue
            if any((given[one] or None) != (usual.get(one) or None) for one in held if one in given):
                valued = isinstance(form[held[0]], gr.Textbox | gr.Slider | gr.Dropdown | gr.Radio)
                chips.append((name, text(form.code(name)), str(given[name]) if valued else ""))
        return render("stage.active", form.prefix, chips)

    def last_seed(self) -> str:
        """The seed of the newest of its artifacts, to be kept."""
        newest = self.studio.gallery.page(self.wanted, limit=1)
        return str(newest[0].seed) if newest else ""


def notes(**sentences: Sequence[str]) -> Markup:
    """A box for each sentence, by kinds."""
    return Markup("").join(render("parts.note", kind, words) for kind, texts in sentences.items() for words in texts)


# --- The inputs -------------------------------------------------------------------------------------------------------


@dataclass
class Inputs:
    """The inputs beside those of the form. `folds` are accordions, with the names of the inputs that open them."""

    history: gr.Dropdown
    styles: gr.HTML
    active: gr.HTML
    make: gr.Button
    folds: Sequence[tuple[gr.Accordion, tuple[str, ...]]]


def put_prompt(context: PageContext, form: Form) -> gr.Dropdown:
    """Put the prompt here, and below it its completion and chips where the model reads prompts, help, earlier ones."""
    form.box("prompt", lines=1, max_lines=5, autofocus=not form.prefix)
    for name in ("complete", "chips") if "read" in context.can.tasks else ():
        bar = gr.HTML(js_on_load=script(f"{name}.js"), elem_id=f"{form.prefix}{name}", elem_classes=name)
        context.on_load(partial(render, f"{name}.bar", f"{form.prefix}prompt"), bar)
    helps = gr.HTML(elem_id=f"{form.prefix}help")
    context.on_load(lambda: render("complete.help", f"{form.prefix}prompt", str(context.wildcards.folder)), helps)
    about: Any = {"label": form.text_of("earlier"), "elem_id": f"{form.prefix}history"}
    history = gr.Dropdown([], visible=False, interactive=True, **about)
    history.input(lambda prompt: prompt, history, form["prompt"], **QUIET)
    return history


def put_loras(context: PageContext, form: Form) -> None:
    """Put the LoRAs on this disk here, where the model draws with them: what is picked is written into the prompt."""
    if not context.can.loras:
        return
    with gr.Row(elem_id=f"{form.prefix}loras"):
        name = gr.Dropdown([], label=form.text_of("lora"), info=form.text_of("lora_info"), elem_id=f"{form.prefix}lora")
        weight = gr.Slider(
            -2, 2, 0.8, step=0.05, label=form.text_of("lora_weight"), elem_id=f"{form.prefix}lora-weight"
        )
        add = gr.Button(form.text_of("lora_add"), size="sm", elem_id=f"{form.prefix}lora-add")
    context.on_load(lambda: gr.update(choices=list(loras.files())), name)

    def marked(prompt: str, lora: str | None, share: float) -> str:
        return loras.marked(prompt or "", lora, share) if lora else prompt

    add.click(marked, [form["prompt"], name, weight], form["prompt"], **QUIET)


def put_make(form: Form) -> tuple[gr.HTML, gr.Button]:
    """Put the button here that makes it, in a bar that stays in sight, with what is set out of sight."""
    with gr.Column(elem_classes="make-bar"):
        return gr.HTML(js_on_load=LISTEN, elem_id=f"{form.prefix}active"), form.make()


def put_styles(context: PageContext, form: Form) -> gr.HTML:
    styles, form["style"] = style_input(context, f"{form.prefix}style")
    return styles


def put_count(context: PageContext, form: Form, usual: int) -> None:
    form.put(gr.Slider, "count", 1, min(COUNT_MOST, int(context.can.count.most)), usual, step=1)


def put_seed(handlers: MakeHandlers, form: Form) -> None:
    """Put the seed here, and what draws it or keeps the last one."""
    seed = form.box("seed")
    with gr.Row():
        dice = gr.Button(form.text_of("dice"), size="sm", elem_id=f"{form.prefix}dice")
        keep = gr.Button(form.text_of("keep"), size="sm", elem_id=f"{form.prefix}keep")
    dice.click(None, None, seed, js="() => String(Math.floor(Math.random() * 2 ** 32))", api_visibility="private")
    keep.click(handlers.last_seed, None, seed, **QUIET)


def put_sampling(handlers: MakeHandlers, form: Form) -> None:
    """Put the sampler and its settings here, those that the model leaves a choice of."""
    can = handlers.context.can
    steps = form.slider("steps", can.steps, step=1, visible=can.steps.least < can.steps.most)
    guidance = form.slider("guidance", can.guidance, step=0.5, visible=can.guidance.least < can.guidance.most)
    choices, usual, info = list(can.schedulers), can.schedulers[0], form.text_of("scheduler_info")
    present = form["sampled"] = gr.State(usual)
    scheduler = form.put(gr.Dropdown, "scheduler", choices, value=usual, info=info if can.fixed else None)
    scheduler.change(handlers.sampling, [scheduler, present], [steps, guidance, present], **QUIET)


# --- The tab ----------------------------------------------------------------------------------------------------------


def build(
    context: PageContext, handlers: MakeHandlers, form: Form, put: Callable[[], Inputs], status: gr.HTML
) -> tuple[list[Any], Callable[..., list[Any]]]:
    """The tab: the inputs that `put` puts on one side, what they make on the other, below what is `status` of them.

    Returns what a request that is restored fills in, and the function that turns it into values of those.
    """
    with gr.Tab(label(f"tab.{handlers.tab}"), id=handlers.tab) as tab, gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=320, elem_id=f"{form.prefix}controls"):
            side = put()
        with gr.Column(scale=7, min_width=320):
            status.render()
            # What it shows at first comes by `load`: a value would come late, over what was asked for since.
            stage = context.html(script=script("stage.js"), elem_id=f"{form.prefix}stage")
            strip = context.html(elem_id=f"{form.prefix}strip")
    context.on_load(handlers.load, stage, strip, side.history)
    context.on_load(lambda: render("stage.active", form.prefix, []), side.active)
    stage.select(handlers.stop, None, None, **PRESSED)
    stage.change(handlers.strip, None, strip, **QUIET)
    tab.select(handlers.strip, None, strip, **QUIET)  # a stage that was not open yet heard of nothing

    def start(*values: Any) -> tuple[str, Any, str]:
        return handlers.start(dict(zip(form, values, strict=True)))

    events = [side.make.click, form["prompt"].submit]
    gr.on(events, start, list(form.values()), [stage, side.history, status], trigger_mode="multiple", **QUIET)

    _connect_active(handlers, form, side)

    def fill(values: dict[str, Any], words: str) -> list[Any]:
        opened = [gr.update(open=True) if any(map(values.get, names)) else gr.skip() for _, names in side.folds]
        picked = gr.skip()
        if "style" in values:  # the time makes it another value, whatever was pressed since
            chosen = picker(context.can.styles, values["style"], f"{form.prefix}style")
            picked = f"{chosen}<!-- {time.time()} -->"
        return [*(values.get(name, gr.skip()) for name in form), *opened, picked, words or gr.skip()]

    def handed(what: dict[str, Any] | None, beside: Any) -> list[Any]:
        if what is None or what["tab"] != handlers.tab:
            return [gr.skip()] * (len(filled) + 1)
        if what["use"] == "watch":  # a job that another part queued comes on the stage
            return [*[gr.skip()] * len(filled), handlers.poll.stage(what["job"]).html(mine=True)]
        return [*fill(*handlers.handed(what, beside)), gr.skip()]

    filled = [*form.values(), *(fold for fold, _ in side.folds), side.styles, status]
    context.handed.change(handed, [context.handed, form[handlers.beside]], [*filled, stage], **QUIET)
    return filled, fill


def _seen(form: Form) -> tuple[list[str], list[Any]]:
    """Names and inputs of all but a canvas: an event that need not see it would have its layers uploaded each time."""
    names = [name for name in form if name != "canvas"]
    return names, [form[name] for name in names]


def _connect_active(handlers: MakeHandlers, form: Form, side: Inputs) -> None:
    """What is set out of sight stands beside the button as chips, and goes with them."""
    seen, inputs = _seen(form)
    folded = [name for held in handlers.folded.values() for name in held]

    def active(*values: Any) -> str:
        return handlers.active(form, dict(zip(seen, values, strict=True)))

    def take_away(event: gr.EventData, *values: Any) -> list[Any]:
        gone = handlers.folded.get(pressed_data(event).get("name", ""), ())
        usual = {name: handlers.values({}).get(name) for name in gone}
        given = dict(zip(seen, values, strict=True)) | usual
        return [*(usual.get(name, gr.skip()) for name in folded), handlers.active(form, given)]

    triggers = [form[name].change for name in folded if name in seen]
    gr.on(triggers, active, inputs, side.active, trigger_mode="always_last", **QUIET)
    side.active.select(take_away, inputs, [*(form[name] for name in folded), side.active], **PRESSED)
