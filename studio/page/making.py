"""What the tabs that generate share (Create, Video): common inputs, and the stage that shows the job.

No event generates or waits: requests go to the queue, and page.js polls their progress. A job goes on when its page is
closed, and the page that is opened next shows it.
"""

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Any, ClassVar

import gradio as gr
from markupsafe import Markup

from models.data.grammar import language_of
from models.messages import Refused
from models.prompts.completion import members
from studio import inputs, loras
from studio.backends.base import open_backend
from studio.gallery import Filter
from studio.metadata.files import read
from studio.page.context import LISTEN, PRESSED, QUIET, PageContext, pressed_data, whole_number
from studio.page.form import Form, picker, style_input
from studio.page.html import error_text, label, render, script, text
from studio.page.polling import tab_of
from studio.syntax import LIST_NAME, Wildcards

STRIP = 36  # artifacts shown below the stage
HISTORY = 50  # earlier prompts
PROPOSED = 12  # lines of a new list
LISTLESS = ("syntax.wildcard_missing", "syntax.wildcards_missing", "syntax.wildcard_empty")
COUNT_MOST = 12  # maximum of the count slider; the command takes more
# Request fields that are taken from inputs of the same name without conversion.
PLAIN = ("negative", "style", "scheduler")
SAMPLING = ("steps", "guidance")  # some schedulers fix them
# Inputs in folds, by the name of the chip that shows that they are set.
FOLDED: dict[str, tuple[str, ...]] = {name: (name,) for name in ("seed", "negative", "scheduler", *SAMPLING)}

Restored = tuple[dict[str, Any], str]  # values of inputs by name, notes as HTML


def task_of(path: Path) -> str:
    """The task in a file's metadata; "" if it has none."""
    try:
        return str(read(path).get("request", {}).get("task", ""))
    except Refused:
        return ""


class MakeHandlers(ABC):
    """The event handlers of a tab that generates.

    Attributes:
        tab, task: the name of the tab and the task of its requests.
        wanted: the filter of the gallery artifacts below its stage.
        current: the input whose value `handed` gets too.
        folded: inputs in folds, by the name of their chip.
    """

    tab: ClassVar[str]
    task: ClassVar[str]
    current: ClassVar[str]
    folded: ClassVar[dict[str, tuple[str, ...]]] = FOLDED
    wanted = Filter()

    def __init__(self, context: PageContext) -> None:
        self.context, self.studio, self.poll = context, context.studio, context.poll

    def fields(self, given: dict[str, Any]) -> dict[str, Any]:
        """The fields of a request from the values of the inputs, `given` by name."""
        fields: dict[str, Any] = {name: given.get(name) or "" for name in PLAIN}
        fields |= {"prompt": given["prompt"] or "", "count": int(given["count"]), "seed": whole_number(given["seed"])}
        if fields["scheduler"] not in self.context.can.fixed:
            fields |= {"steps": int(given["steps"]), "guidance": float(given["guidance"])}
        return {**fields, "model": self.context.model}

    def values(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The values of the inputs from the fields of a request; fields that it lacks have their defaults."""
        can = self.context.can
        values: dict[str, Any] = {"prompt": "", "negative": "", "style": "", "scheduler": can.schedulers[0]}
        values |= {name: getattr(can, name).usual for name in SAMPLING}
        values |= {name: fields[name] for name in (*values, "count") if name in fields}
        values["sampled"] = values["scheduler"]  # keeps steps and guidance as restored
        return {**values, "seed": str(fields["seed"]) if fields.get("seed") is not None else ""}

    @abstractmethod
    def handed(self, what: dict[str, Any], current: Any) -> Restored:
        """Another part of the page handed something to this tab; `current` is the value of that input."""

    def load(self) -> tuple[Any, ...]:
        """A page was opened -> stage (of the running job, if any), strip, history."""
        job = self.poll.current()
        if job and tab_of(job.request.task) == self.tab:
            return self.poll.stage(job.id).html(), self.strip(), self.history()
        return render("stage.nothing_yet", self.tab, self._problem()), self.strip(), self.history()

    def _problem(self) -> str | Refused:
        """Why the model can't work; "" if it can."""
        try:
            open_backend(self.context.model).digest()
        except Refused as refusal:
            return refusal
        return ""

    def start(self, given: dict[str, Any]) -> tuple[str, Any, str]:
        """Queue the jobs -> their stage, history, notes on the input files."""
        try:
            fields = {name: value for name, value in self.fields(given).items() if name not in self.context.can.lacks}
            jobs = self.studio.prepare(self.task, **fields)
            names = ",".join(self.studio.submit(job) for job in jobs)
        except Refused as refusal:
            name = refusal.message.values["name"] if refusal.message.code in LISTLESS else ""
            form = list_form(self.context.wildcards, name) if LIST_NAME.fullmatch(name) else ""
            return render("stage.refused", refusal, form), gr.skip(), ""
        unknown = [error_text(note) for note in inputs.notes(jobs[0].request)]
        return self.poll.stage(names).html(mine=True), self.history(), notes(unknown=unknown)

    def stop(self, event: gr.EventData) -> None:
        """A button of the stage: stop the job."""
        data = pressed_data(event)
        if data.get("own") == "stop":
            for job in data.get("job", "").split(","):
                self.studio.cancel(job)

    def strip(self) -> str:
        return render("stage.strip", self.studio.gallery.page(self.wanted, limit=STRIP))

    def history(self) -> Any:
        """Earlier prompts, latest first."""
        latest = self.studio.queue.latest(4 * HISTORY)
        prompts = list(dict.fromkeys(job.request.title for job in latest if job.request.title))[:HISTORY]
        return gr.update(choices=prompts, value=None, visible=bool(prompts))

    def sampling(self, scheduler: str, before: str) -> tuple[Any, ...]:
        """Another scheduler was chosen -> steps, guidance, and that scheduler as the current one.

        A scheduler may fix both; when another one follows it, both get their defaults again.
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
        """A chip for each folded input that is set, which resets it; `given` holds all inputs but the canvas."""
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
        """The seed of the newest artifact."""
        newest = self.studio.gallery.page(self.wanted, limit=1)
        return str(newest[0].seed) if newest else ""


def list_form(lists: Wildcards, name: str) -> Markup:
    """The form of a list of wildcards; that of an empty or a new one proposes things of the kind that it is named."""
    lines = lists.text(name)
    if is_new := not lines.strip():
        kind = re.sub("[-_]", " ", PurePath(name).name.lower())
        lines = "\n".join(members(kind, language_of(kind))[:PROPOSED])
    return render("lists.form", name, lines, is_new and bool(lines))


def notes(**sentences: Sequence[str]) -> Markup:
    """A note for each sentence, by kind."""
    return Markup("").join(render("parts.note", kind, words) for kind, texts in sentences.items() for words in texts)


# --- The inputs -------------------------------------------------------------------------------------------------------


@dataclass
class Inputs:
    """Components beside the inputs of the form. `folds` are accordions, with the inputs whose values open them."""

    history: gr.Dropdown
    styles: gr.HTML
    active: gr.HTML
    make: gr.Button
    folds: Sequence[tuple[gr.Accordion, tuple[str, ...]]]


def put_prompt(context: PageContext, form: Form) -> gr.Dropdown:
    """Put the prompt here; below it completion and chips (if the model reads prompts), help, and earlier prompts."""
    form.box("prompt", lines=1, max_lines=5, autofocus=not form.prefix)
    for name in ("complete", "chips") if "read" in context.can.tasks else ():
        bar = gr.HTML(js_on_load=script(f"{name}.js"), elem_id=f"{form.prefix}{name}", elem_classes=name)
        context.on_load(partial(render, f"{name}.bar", f"{form.prefix}prompt"), bar)
    helps = gr.HTML(elem_id=f"{form.prefix}help")

    def help_text() -> str:
        return render("complete.help", f"{form.prefix}prompt", str(context.wildcards.folder), context.wildcards.names())

    context.on_load(help_text, helps)
    about: Any = {"label": form.text_of("earlier"), "elem_id": f"{form.prefix}history"}
    history = gr.Dropdown([], visible=False, interactive=True, **about)
    history.input(lambda prompt: prompt, history, form["prompt"], **QUIET)
    return history


def put_loras(context: PageContext, form: Form) -> None:
    """Put a picker of the LoRAs on this disk here, if the model takes them. It writes the choice into the prompt."""
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
    """Put the main button here, in a bar that stays in sight, with the chips of folded inputs."""
    with gr.Column(elem_classes="make-bar"):
        return gr.HTML(js_on_load=LISTEN, elem_id=f"{form.prefix}active"), form.make()


def put_styles(context: PageContext, form: Form) -> gr.HTML:
    styles, form["style"] = style_input(context, f"{form.prefix}style")
    return styles


def put_count(context: PageContext, form: Form, usual: int) -> None:
    form.put(gr.Slider, "count", 1, min(COUNT_MOST, int(context.can.count.most)), usual, step=1)


def put_seed(handlers: MakeHandlers, form: Form) -> None:
    """Put the seed here, with buttons for a random one and for the last one."""
    seed = form.box("seed")
    with gr.Row():
        dice = gr.Button(form.text_of("dice"), size="sm", elem_id=f"{form.prefix}dice")
        keep = gr.Button(form.text_of("keep"), size="sm", elem_id=f"{form.prefix}keep")
    dice.click(None, None, seed, js="() => String(Math.floor(Math.random() * 2 ** 32))", api_visibility="private")
    keep.click(handlers.last_seed, None, seed, **QUIET)


def put_sampling(handlers: MakeHandlers, form: Form) -> None:
    """Put scheduler, steps and guidance here, as far as the model leaves a choice."""
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
    """Build the tab: the inputs that `put` adds on the left; `status`, stage and strip on the right.

    Returns the components that restored settings fill in, and the function that turns settings into their values.
    """
    with gr.Tab(label(f"tab.{handlers.tab}"), id=handlers.tab) as tab, gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=320, elem_id=f"{form.prefix}controls"):
            side = put()
        with gr.Column(scale=7, min_width=320):
            status.render()
            # Its first content comes by `load`: an initial value would arrive late and replace a newer one.
            stage = context.html(script=script("stage.js"), elem_id=f"{form.prefix}stage")
            strip = context.html(elem_id=f"{form.prefix}strip")
    context.on_load(handlers.load, stage, strip, side.history)
    context.on_load(lambda: render("stage.active", form.prefix, []), side.active)
    stage.select(handlers.stop, None, None, **PRESSED)
    stage.change(handlers.strip, None, strip, **QUIET)
    tab.select(handlers.strip, None, strip, **QUIET)  # a stage that is not built yet gets no news

    def start(*values: Any) -> tuple[str, Any, str]:
        return handlers.start(dict(zip(form, values, strict=True)))

    events = [side.make.click, form["prompt"].submit]
    gr.on(events, start, list(form.values()), [stage, side.history, status], trigger_mode="multiple", **QUIET)

    _connect_active(handlers, form, side)

    def fill(values: dict[str, Any], words: str) -> list[Any]:
        opened = [gr.update(open=True) if any(map(values.get, names)) else gr.skip() for _, names in side.folds]
        picked = gr.skip()
        if "style" in values:  # the time makes the value differ, so that Gradio updates it
            chosen = picker(context.can.styles, values["style"], f"{form.prefix}style")
            picked = f"{chosen}<!-- {time.time()} -->"
        return [*(values.get(name, gr.skip()) for name in form), *opened, picked, words or gr.skip()]

    def handed(what: dict[str, Any] | None, current: Any) -> list[Any]:
        if what is None or what["tab"] != handlers.tab:
            return [gr.skip()] * (len(filled) + 1)
        if what["use"] == "watch":  # a job that another part queued comes on the stage
            return [*[gr.skip()] * len(filled), handlers.poll.stage(what["job"]).html(mine=True)]
        return [*fill(*handlers.handed(what, current)), gr.skip()]

    filled = [*form.values(), *(fold for fold, _ in side.folds), side.styles, status]
    context.handed.change(handed, [context.handed, form[handlers.current]], [*filled, stage], **QUIET)
    return filled, fill


def _connect_active(handlers: MakeHandlers, form: Form, side: Inputs) -> None:
    """Connect the chips of folded inputs that are set; pressing a chip resets its inputs."""
    seen = [name for name in form if name != "canvas"]  # its layers would be uploaded with each event
    inputs = [form[name] for name in seen]
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
