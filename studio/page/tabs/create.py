"""The Create tab: pictures from words, from pictures, or from both."""

from pathlib import Path
from typing import Any, ClassVar

import gradio as gr

from models.messages import Refused
from studio import inputs, loras
from studio.metadata.files import read
from studio.metadata.restore import restore
from studio.page import making, picture_inputs
from studio.page.context import PRESSED, QUIET, PageContext, pressed_data
from studio.page.form import TAKES_FILES, Form, examples_here, unable
from studio.page.html import render, script
from studio.page.language import error_text, label, text
from studio.page.making import FOLDED, Inputs, MakeHandlers, Restored, notes
from studio.page.polling import tab_of


class CreateHandlers(MakeHandlers):
    tab, task, beside = "create", "image", "first"
    folded: ClassVar = {
        "from": ("pictured", "canvas"),
        "strength": ("strength",),
        "expand": ("expand",),
        "blend": ("first", "second"),
        "like": ("like",),
        "control": ("control",),
        **FOLDED,
        "best_of": ("best_of",),
        "reference_strength": ("reference_strength",),
        "size": ("size",),
    }

    def fields(self, given: dict[str, Any]) -> dict[str, Any]:
        can, fields = self.context.can, super().fields(given) | {"best_of": int(given["best_of"])}
        fields["reference_strength"] = given.get("reference_strength")
        if given["like"]:
            fields["like"] = {"path": given["like"]}
        if given.get("control"):
            fields["control"], fields["controlnet"] = {"path": given["control"]}, given["controlnet"] or ""
            fields["control_strength"] = float(given["control_strength"])
        if given.get("size"):
            fields["size"] = given["size"]
        fields |= picture_inputs.start(given, self.studio.home, can)
        return fields | picture_inputs.blend(given)

    def dropped(self, path: str | Path) -> Restored:
        """A picture was dropped: its settings, else itself to start from."""
        try:
            found = read(Path(path))
        except Refused as refusal:
            return {}, notes(problem=[error_text(refusal)])
        if not found:
            return picture_inputs.on_canvas(str(path)), notes(unknown=[text("create.no_settings")])
        restored = restore(found, self.context.can, self.studio.home / inputs.INPUTS)
        lost = [said for said in map(error_text, restored.lost) if said]
        if not restored.fields:
            return {}, notes(unknown=lost)
        if beyond := picture_inputs.beyond(restored.fields, self.context.can):
            lost.append(text("create.beyond", names=[text(f"create.of_{name}") for name in beyond]))
        return self.values(restored.fields), notes(good=[text("making.restored")], unknown=lost)

    def handed(self, handed: dict[str, Any], beside: Any) -> Restored:
        path, use = self.context.file(handed["picture"], "image"), handed["use"]
        if use == "words":
            kept = self.studio.gallery.get(handed["picture"])
            style = handed["style"] if handed["style"] in [one.name for one in self.context.can.styles] else ""
            return {"prompt": kept.caption or kept.words, "style": style}, notes(good=[text("create.said")])
        if path is None:
            return {}, ""
        if use == "settings":
            return self.dropped(path)
        if use == "start":  # with its words: they say what it shows
            kept = self.studio.gallery.get(handed["picture"])
            words = {"prompt": kept.words or kept.prompt, "style": kept.style}
            return {**picture_inputs.on_canvas(str(path)), **words}, notes(good=[text("making.given")])
        return {"second" if beside else "first": str(path)}, notes(good=[text("making.given")])

    def values(self, fields: dict[str, Any]) -> dict[str, Any]:
        can = self.context.can
        usual = {name: getattr(can, name).usual for name in ("best_of", "reference_strength")}
        values: dict[str, Any] = {"size": can.size, **usual}
        values = {**super().values(fields), **values, **{name: fields[name] for name in values if name in fields}}
        values["control"] = fields["control"]["path"] if fields.get("control") else None
        values |= {name: fields[name] for name in ("controlnet", "control_strength") if fields.get(name)}
        values["like"] = fields["like"]["path"] if fields.get("like") else None
        return values | picture_inputs.restored(fields, can)


def build(context: PageContext) -> None:
    handlers = CreateHandlers(context)
    if handlers.task not in context.can.tasks:
        unable(context, handlers.tab, handlers.task)
        return
    form = Form("create", shared="making", hidden=context.can.lacks)
    drop = gr.HTML(js_on_load=script("drop.js"), elem_id="drop", elem_classes="told", render=False)
    filled, fill = making.build(context, handlers, form, lambda: _inputs(handlers, form), drop)

    def dropped(event: gr.EventData) -> list[Any]:
        """A file was dropped: its settings go to the tab that made it; without any it is used on the tab shown."""
        said = pressed_data(event)
        path = context.uploaded(said.get("path", ""))
        task = making.task_of(path)
        tab = tab_of(task or ("clip" if said.get("video") == "True" else ""))
        if tab == handlers.tab:
            return [*fill(*handlers.dropped(path)), gr.skip(), gr.update(selected=tab), ""]
        handed = context.hand(tab, "settings" if task else "animate", file=path)
        return [*[gr.skip()] * len(filled), handed, gr.update(selected=tab), ""]

    drop.select(dropped, None, [*filled, context.handed, context.tabs, context.card], **PRESSED)


def _inputs(handlers: CreateHandlers, form: Form) -> Inputs:
    context = handlers.context
    history, styles = making.put_prompt(context, form), making.put_styles(context, form)
    making.put_loras(context, form)
    making.put_count(context, form, 4)
    active, make = making.put_make(form)
    examples = gr.HTML(elem_id="examples")
    context.on_load(lambda: render("stage.examples", examples_here()), examples)
    folds = [
        (_from_picture(context, form), ("canvas", "expand")),
        (_blend(form, context.can.pictures), ("first", "second")),
        (_control(context, form), ("control",)),
        (_more(handlers, form), ("like", "seed", "negative")),
    ]
    return Inputs(history, styles, active, make, making.put_presets(form), folds)


def _from_picture(context: PageContext, form: Form) -> gr.Accordion:
    with gr.Accordion(label("create.from"), open=False, elem_id="from", visible=context.can.edits) as accordion:
        gr.Markdown(label("create.from_info"))
        brush = gr.Brush(default_size=12, colors=[picture_inputs.PAINT], color_mode="fixed")
        about: Any = {"type": "filepath", "image_mode": "RGBA", "sources": ["upload", "clipboard"]}
        about |= {"elem_classes": TAKES_FILES, "height": 380}
        canvas = form.put(gr.ImageEditor, "canvas", transforms=(), layers=False, brush=brush, **about)
        pictured = form["pictured"] = gr.State(False)
        canvas.upload(lambda: True, None, pictured, **QUIET)
        canvas.clear(lambda: False, None, pictured, **QUIET)
        form.slider("strength", context.can.strength)
        form.put(gr.Checkbox, "expand", False)
    return accordion


def _blend(form: Form, shown: bool) -> gr.Accordion:
    with gr.Accordion(label("create.blend"), open=False, elem_id="blend", visible=shown) as accordion:
        with gr.Row():
            pictures = [form.picture("first"), form.picture("second")]
        form.put(gr.Slider, "between", 0, 1, 0.5, step=0.05)
        clear = gr.Button(label("create.clear"), size="sm")
        clear.click(lambda: (None, None), None, pictures, **QUIET)
    return accordion


def _control(context: PageContext, form: Form) -> gr.Accordion:
    """A picture that a network reads, where the model takes such."""
    about: Any = {"open": False, "elem_id": "guided", "visible": context.can.controls}
    with gr.Accordion(label("create.guided"), **about) as accordion:
        form.picture("control")
        net = form.put(gr.Dropdown, "controlnet", [])
        form.slider("control_strength", context.can.control_strength)
    if context.can.controls:
        context.on_load(lambda: gr.update(choices=list(loras.nets())), net)
    return accordion


def _more(handlers: CreateHandlers, form: Form) -> gr.Accordion:
    can = handlers.context.can
    with gr.Accordion(form.said("more"), open=False, elem_id="more") as accordion:
        form.box("negative")
        making.put_seed(handlers, form)
        making.put_sampling(handlers, form)
        form.slider("best_of", can.best_of, step=1)
        form.slider("reference_strength", can.reference_strength, step=0.05)
        if can.sides:
            form.put(gr.Dropdown, "size", list(can.sizes), value=can.size, allow_custom_value=True)
        else:
            form.put(gr.Radio, "size", list(can.sizes), value=can.size, visible=len(can.sizes) > 1)
        form.picture("like")
        gr.Markdown(label("create.like_meant"), visible=can.pictures)
    return accordion
