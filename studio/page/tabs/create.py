"""The Create tab: pictures from words, from pictures, or from both."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import gradio as gr
import numpy as np
from PIL import Image, ImageColor

from models.compose.masks import levels
from models.messages import Refused
from studio import inputs, loras, settings
from studio.capabilities import Capabilities
from studio.clips import picture_of
from studio.files import make_folder, write_whole
from studio.metadata.files import encoded, read
from studio.metadata.restore import restore
from studio.page import making
from studio.page.context import PRESSED, QUIET, PageContext, pressed_data
from studio.page.form import TAKES_FILES, Form, examples_here, unable
from studio.page.html import error_text, label, render, script, text
from studio.page.making import FOLDED, Inputs, MakeHandlers, Restored, notes
from studio.page.polling import tab_of

ORDER = 10
PAINT = "#ec4899"
PAINTED = 8  # minimum alpha of 255: less is the soft edge of a brush
WHITE = 128  # minimum level of a mask that counts as painted


class CreateHandlers(MakeHandlers):
    tab, task, current = "create", "image", "first"
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
        "preferences": ("preferences",),
        "size": ("size",),
    }

    def fields(self, given: dict[str, Any]) -> dict[str, Any]:
        can, fields = self.context.can, super().fields(given) | {"best_of": int(given["best_of"])}
        fields["reference_strength"] = given.get("reference_strength")
        if (learned := given.get("preferences")) != can.preferences.usual:  # at the usual value they may be none
            fields["preferences"] = learned
        if given["like"]:
            fields["like"] = {"path": given["like"]}
        if given.get("control"):
            fields["control"], fields["controlnet"] = {"path": given["control"]}, given["controlnet"] or ""
            fields["control_strength"] = float(given["control_strength"])
        if given.get("size"):
            fields["size"] = given["size"]
        fields |= start_fields(given, self.studio.home, can)
        return fields | blend(given)

    def dropped(self, path: str | Path) -> Restored:
        """A picture was dropped: restore its settings; without any, start from it."""
        try:
            record = read(Path(path))
        except Refused as refusal:
            return {}, notes(problem=[error_text(refusal)])
        if not record:
            return on_canvas(str(path)), notes(unknown=[text("create.no_settings")])
        restored = restore(record, self.context.can, self.studio.home / inputs.INPUTS)
        lost = list(filter(None, map(error_text, restored.lost)))
        if not restored.fields:
            return {}, notes(unknown=lost)
        if names := beyond(restored.fields, self.context.can):
            lost.append(text("create.beyond", names=[text(f"create.of_{name}") for name in names]))
        return self.values(restored.fields), notes(good=[text("making.restored")], unknown=lost)

    def handed(self, what: dict[str, Any], current: Any) -> Restored:
        path, use = self.context.file(what["picture"], "image"), what["use"]
        if use == "words":
            item = self.studio.gallery.get(what["picture"])
            style = what["style"] if what["style"] in [one.name for one in self.context.can.styles] else ""
            return {"prompt": item.caption or item.words, "style": style}, notes(good=[text("create.said")])
        if path is None:
            return {}, ""
        if use == "settings":
            return self.dropped(path)
        if use == "start":  # with its prompt, which describes it
            item = self.studio.gallery.get(what["picture"])
            words = {"prompt": item.words or item.prompt, "style": item.style}
            return {**on_canvas(str(path)), **words}, notes(good=[text("making.given")])
        return {"second" if current else "first": str(path)}, notes(good=[text("making.given")])

    def values(self, fields: dict[str, Any]) -> dict[str, Any]:
        can = self.context.can
        usual = {name: getattr(can, name).usual for name in ("best_of", "reference_strength", "preferences")}
        values: dict[str, Any] = {"size": can.size, **usual}
        values = {**super().values(fields), **values, **{name: fields[name] for name in values if name in fields}}
        values["control"] = fields["control"]["path"] if fields.get("control") else None
        values |= {name: fields[name] for name in ("controlnet", "control_strength") if fields.get(name)}
        values["like"] = fields["like"]["path"] if fields.get("like") else None
        return values | picture_values(fields, can)


def build(context: PageContext) -> None:
    handlers = CreateHandlers(context)
    if handlers.task not in context.can.tasks:
        unable(context, handlers.tab, handlers.task)
        return
    form = Form("create", shared="making", hidden=context.can.lacks)
    drop = gr.HTML(js_on_load=script("drop.js"), elem_id="drop", elem_classes="told", render=False)
    filled, fill = making.build(context, handlers, form, lambda: _inputs(handlers, form), drop)

    def dropped(event: gr.EventData) -> list[Any]:
        """A file was dropped: its settings go to the tab of their task; without any, it is an input of the open tab."""
        data = pressed_data(event)
        path = context.uploaded(data.get("path", ""))
        task = making.task_of(path)
        tab = tab_of(task or ("clip" if data.get("video") == "True" else ""))
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
    return Inputs(history, styles, active, make, folds)


def _from_picture(context: PageContext, form: Form) -> gr.Accordion:
    with gr.Accordion(label("create.from"), open=False, elem_id="from", visible=context.can.edits) as accordion:
        gr.Markdown(label("create.from_info"))
        brush = gr.Brush(default_size=12, colors=[PAINT], color_mode="fixed")
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
    """The inputs of ControlNets, shown if the model takes them."""
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
    with gr.Accordion(form.text_of("more"), open=False, elem_id="more") as accordion:
        form.box("negative")
        making.put_seed(handlers, form)
        making.put_sampling(handlers, form)
        form.slider("best_of", can.best_of, step=1)
        form.slider("reference_strength", can.reference_strength, step=0.05)
        form.slider("preferences", can.preferences, step=0.05)
        if can.sides:
            form.put(gr.Dropdown, "size", list(can.sizes), value=can.size, allow_custom_value=True)
        else:
            form.put(gr.Radio, "size", list(can.sizes), value=can.size, visible=len(can.sizes) > 1)
        form.picture("like")
        gr.Markdown(label("create.like_meant"), visible=can.pictures)
    return accordion


# --- Picture inputs and fields of a request ---------------------------------------------------------------------------


def start_fields(given: dict[str, Any], home: Path, can: Capabilities) -> dict[str, Any]:
    """The fields of the picture to start from, with its painted mask or the border to draw."""
    canvas = given.get("canvas") or {}
    if not canvas.get("background"):
        return {}
    fields: dict[str, Any] = {"image": {"path": canvas["background"]}, "strength": float(given["strength"])}
    mask = painted([Path(layer) for layer in canvas.get("layers") or [] if layer])
    if mask is not None:
        return fields | {"mask": {"path": str(_write_mask(mask, home))}, "strength": can.strength.most}
    if given.get("expand"):
        return fields | {"expand": can.expand.usual, "strength": can.strength.most}
    return fields


def painted(layers: list[Path]) -> Image.Image | None:
    """A mask: white where any layer is painted; None if none is."""
    masks = [np.asarray(picture_of(layer).convert("RGBA"))[..., 3] > PAINTED for layer in layers]
    masks = [mask for mask in masks if mask.any()]
    if not masks:
        return None
    if len({mask.shape for mask in masks}) > 1:
        raise Refused("page.create.layers_differ")
    return Image.fromarray(np.where(np.any(masks, axis=0), np.uint8(255), np.uint8(0)))


def blend(given: dict[str, Any]) -> dict[str, Any]:
    """The mix of the two pictures; pictures of weight 0 are left out."""
    second = float(given.get("between") or 0)
    weights = ((given.get("first"), 1 - second), (given.get("second"), second))
    parts = [{"weight": weight, "picture": {"path": path}} for path, weight in weights if path and weight > 0]
    return {"mix": tuple(parts)} if parts else {}


def on_canvas(picture: str, mask: str = "") -> dict[str, Any]:
    """Values of the inputs for a picture on the canvas, painted where the mask is white."""
    layers = []
    if mask:
        grey = levels(picture_of(mask)).point(lambda level: 255 * (level >= WHITE))
        layers.append(
            Image.merge("RGBA", [*(Image.new("L", grey.size, one) for one in ImageColor.getrgb(PAINT)), grey])
        )
    return {"canvas": {"background": picture, "layers": layers, "composite": None}, "pictured": True}


def picture_values(fields: dict[str, Any], can: Capabilities) -> dict[str, Any]:
    """Values of all picture inputs from the fields of a request."""
    values: dict[str, Any] = {"canvas": None, "pictured": False, "first": None, "second": None, "between": 0.5}
    values |= {"expand": bool(fields.get("expand")), "strength": fields.get("strength") or can.strength.usual}
    if fields.get("image"):
        values |= on_canvas(fields["image"]["path"], (fields.get("mask") or {}).get("path", ""))
    pictures = [part for part in fields.get("mix", ()) if part.get("picture")]
    for place, part in zip(("first", "second"), pictures, strict=False):
        values[place] = part["picture"]["path"]
    weights = [max(0.0, float(part["weight"])) for part in pictures[:2]]
    if len(weights) == 1:
        values["between"] = max(0.0, 1 - weights[0])
    elif sum(weights):
        values["between"] = weights[1] / sum(weights)
    return values


def beyond(fields: dict[str, Any], can: Capabilities) -> list[str]:
    """Names of the fields whose values the inputs can't hold: mix, border, strength."""
    partly = fields.get("mask") or fields.get("expand")
    strength, held = fields.get("strength"), blend(picture_values(fields, can))
    exceeds = {
        "mix": _plain(held.get("mix", ())) != _plain(fields.get("mix", ())),
        "expand": fields.get("expand") not in (None, can.expand.usual),
        "strength": strength is not None
        and (strength < can.strength.least or (partly and strength != can.strength.most)),
    }
    return [name for name, is_beyond in exceeds.items() if is_beyond]


def _plain(mix: Sequence[dict[str, Any]]) -> list[tuple[str, float]]:
    return [((part.get("picture") or {}).get("path", ""), round(float(part["weight"]), 6)) for part in mix]


def _write_mask(mask: Image.Image, home: Path) -> Path:
    """Write the mask to a file for the request; the queue copies it."""
    data = encoded(mask, None, "png")
    path = settings.uploads(home) / f"mask-{hashlib.sha256(data).hexdigest()[:32]}.png"
    make_folder(path.parent)
    write_whole(path, data, "--home")
    return path
