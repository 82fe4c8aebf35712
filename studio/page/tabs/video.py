"""The Video tab: clips from a prompt, from a first frame, or from a first and a last frame."""

from pathlib import Path
from typing import Any

import gradio as gr

from models.data.clips import MOTIONS
from models.data.grammar import language_of
from models.messages import Refused
from studio import inputs
from studio.gallery import Filter
from studio.metadata.files import read
from studio.metadata.restore import restore
from studio.page import making
from studio.page.context import LISTEN, PRESSED, PageContext, pressed_data
from studio.page.form import Form, unable
from studio.page.html import error_text, reader, render, text
from studio.page.making import Inputs, MakeHandlers, Restored, notes
from studio.page.polling import TABS

ORDER = 20
TASK = "clip"
TABS[TASK] = "video"
NUMBERS = ("frames", "fps", "motion_strength")
SWITCHES = {"extend": False, "loop": True}  # as they are at first
PICTURES = ("image", "last")  # the first frame (or the clip to extend) and the last frame
USUAL = ("jump", "bounce", "spin", "shake")  # motions that are listed first
JOINTS = {"en": ", ", "zh": "，"}  # between the thing and its motion


class VideoHandlers(MakeHandlers):
    tab, task, current = "video", TASK, "prompt"
    wanted = Filter(kind=TASK)

    def fields(self, given: dict[str, Any]) -> dict[str, Any]:
        fields = super().fields(given)
        if any(given[name] != getattr(self.context.can, name).usual for name in ("frames", "fps")):  # else planned
            fields |= {name: int(given[name]) for name in ("frames", "fps")}
        fields["motion_strength"] = float(given["motion_strength"])
        fields |= {name: bool(given[name]) for name in SWITCHES}
        return fields | {name: {"path": given[name]} for name in PICTURES if given[name]}

    def values(self, fields: dict[str, Any]) -> dict[str, Any]:
        can = self.context.can
        values = {name: getattr(can, name).usual for name in NUMBERS} | SWITCHES
        values |= {name: fields[name] for name in values if name in fields}
        values |= {name: fields[name]["path"] if fields.get(name) else None for name in PICTURES}
        return {**super().values(fields), **values}

    def handed(self, what: dict[str, Any], current: Any) -> Restored:
        use, digest = what["use"], what.get("picture", "")
        path = what.get("file") or self.context.file(digest, "image", "clip")
        if path is None:
            return {}, ""
        if use == "animate":
            words = {"prompt": self.studio.gallery.get(digest).prompt} if digest and not current else {}
            return {"image": str(path), **words}, notes(good=[text("video.given")])
        try:
            return self._of_clip(path, use == "extend")
        except Refused as refusal:
            return {}, notes(problem=[error_text(refusal)])

    def _of_clip(self, path: Path, extend: bool) -> Restored:
        """The settings of a clip; with `extend`, those of a clip that continues it."""
        restored = restore(read(path), self.context.can, self.studio.home / inputs.INPUTS, (TASK,))
        values = self.values(restored.fields)
        if not extend:
            return values, notes(good=[text("making.restored")], unknown=[*map(error_text, restored.lost)])
        values |= {"image": str(path), "last": None, "extend": True, "seed": ""}
        return values, notes(good=[text("video.extended")])

    def moved(self, prompt: str, event: gr.EventData) -> str:
        """A motion was pressed: append its words in place of another motion's; remove them if they are there."""
        motion = pressed_data(event).get("motion", "")
        if motion not in MOTIONS:
            return prompt
        language = language_of(prompt) if prompt.strip() else reader()
        thing, others = _unmoved(prompt)
        if others == words_of(motion, language):
            return thing
        return (JOINTS[language] if thing else "").join([thing, words_of(motion, language)])


def words_of(motion: str, language: str) -> str:
    """The first words of a motion in the table: "sliding left", "向左滑动"."""
    return MOTIONS[motion].zh[0] if language == "zh" else MOTIONS[motion].en[0][1]


def _unmoved(prompt: str) -> tuple[str, str]:
    """A prompt split into the text before the words of a motion, and those words ("" if none)."""
    for language, joint in JOINTS.items():
        for words in (words_of(motion, language) for motion in MOTIONS):
            thing = prompt.removesuffix(words).removesuffix(joint)
            if prompt in (words, f"{thing}{joint}{words}"):
                return thing, words
    return prompt, ""


def build(context: PageContext) -> None:
    handlers, form = VideoHandlers(context), Form("video", "video-", "making", context.can.lacks)
    if TASK in context.can.tasks:
        status = gr.HTML(elem_id="video-told", elem_classes="told", render=False)
        making.build(context, handlers, form, lambda: _inputs(handlers, form), status)
        return
    unable(context, handlers.tab, TASK)


def _inputs(handlers: VideoHandlers, form: Form) -> Inputs:
    context, can = handlers.context, handlers.context.can
    history = making.put_prompt(handlers.context, form)
    motions = gr.HTML(js_on_load=LISTEN, elem_id="motions")
    context.on_load(_motions, motions)
    motions.select(handlers.moved, form["prompt"], form["prompt"], **PRESSED)
    styles, (active, make) = making.put_styles(context, form), making.put_make(form)
    with gr.Row():
        for name in PICTURES:
            form.picture(name)
    form.put(gr.Checkbox, "extend", False)
    with gr.Row():
        form.slider("frames", can.frames, step=1, min_width=150)
        form.slider("fps", can.fps, step=1, min_width=150)
    form.slider("motion_strength", can.motion_strength, step=0.05)
    form.put(gr.Checkbox, "loop", True)
    making.put_count(context, form, 1)
    folds = [(_more(handlers, form), ("seed", "negative"))]
    return Inputs(history, styles, active, make, folds)


def _motions() -> str:
    words = {name: words_of(name, reader()) for name in (*USUAL, *MOTIONS)}
    known = list(words.items())
    return render("video.motions", known[: len(USUAL)], known[len(USUAL) :])


def _more(handlers: VideoHandlers, form: Form) -> gr.Accordion:
    with gr.Accordion(form.text_of("more"), open=False, elem_id="video-more") as accordion:
        form.box("negative")
        making.put_seed(handlers, form)
        making.put_sampling(handlers, form)
    return accordion
