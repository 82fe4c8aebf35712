"""The card: one picture in large, over whatever tab it was opened from, and what `data-do` buttons do on every tab."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from models.messages import Refused
from studio import inputs
from studio.annotations import labels_in
from studio.backends.registry import open_backend
from studio.export.apps import APPS
from studio.gallery import Kept
from studio.metadata import read, restore
from studio.page.context import PRESSED, PageContext, pressed_data
from studio.page.html import media, render, script
from studio.page.language import error_text, language_of, text
from studio.planner import Job, plan
from studio.requests import make_request

LISTS = ("tags", "boards")
FACTS = ("prompt", "negative", "style", "seed", "steps", "guidance", "scheduler", "strength", "model")
VARIATIONS = 4  # that one press makes
GIVEN = ("image", "last", "like", "mask", "mix")  # what a picture is made from: without it, it would be another one
# What can be done next with each kind; `describe` where the model writes captions.
USES = {"image": ("again", "like", "start", "vary", "blend", "settings", "find", "describe"), "clip": ("again",)}
TASKS = ("image", "enlarge", "clip")  # that are made again

Answer = tuple[Any, Any, Any]  # card, handed, tabs


def build(context: PageContext) -> None:
    """Put the card over the page, out of sight until something opens it, and give `data-do` buttons their meaning."""
    context.act = CardHandlers(context).act
    context.card = gr.HTML(js_on_load=script("card.js", "download.js"), elem_id="card")
    context.card.click(context.act, None, [context.card, context.handed, context.tabs], **PRESSED)


class CardHandlers:
    """Does what a `data-do` button says to the picture it names."""

    def __init__(self, context: PageContext) -> None:
        self.context, self.gallery = context, context.studio.gallery

    def act(self, event: gr.EventData, request: gr.Request) -> Answer:
        """Whatever was pressed; a picture that the gallery does not have is refused in a sentence."""
        data, language = pressed_data(event), language_of(request.headers)
        do, digest, value = data.get("do", ""), data.get("picture", ""), data.get("value", "")
        try:
            kept = self.gallery.get(digest)
        except KeyError:
            return render("card.gone", language), gr.skip(), gr.skip()
        try:
            if do in ("again", "vary", "describe"):
                job = self.context.studio.submit(self._another(kept, do, language))
                return "", {**self.context.hand("watch", digest), "job": job}, gr.Tabs(selected="create")
            if do == "find":
                return "", self.context.hand(do, digest), gr.Tabs(selected="search")
            if do in ("like", "start", "blend", "settings"):
                return "", self.context.hand(do, digest), gr.Tabs(selected="create")
            self._mark(kept, do, value)
        except Refused as refusal:
            problem = error_text(refusal, language)
            return self._card(as_typed(kept, do, value), language, problem=problem), gr.skip(), gr.skip()
        return self.show(digest, language, again=do != "open"), gr.skip(), gr.skip()

    def show(self, digest: str, language: str, again: bool = False) -> str:
        """The card of a picture; `again` where it was on show when something was changed."""
        return self._card(self.gallery.get(digest), language, again)

    def _card(self, kept: Kept, language: str, again: bool = False, problem: str = "") -> str:
        try:
            origin = read(kept.path)
        except Refused:
            return render("card.gone", language)
        apps = [(app.name, app.zh if language == "zh" else app.title) for app in APPS.values()]
        uses = [use for use in USES.get(kept.kind, ()) if use != "describe" or "caption" in self.context.can.tasks]
        return card(kept, origin, apps, language, again, problem, uses)

    def _mark(self, kept: Kept, do: str, value: str) -> None:
        if do == "star":
            self.gallery.mark([kept.sha256], star=not kept.star)
        elif do == "rate" and value.isdecimal():
            self.gallery.mark([kept.sha256], rating=int(value))
        elif do == "note":
            self.gallery.mark([kept.sha256], note=value)
        elif do in LISTS:
            self.gallery.mark([kept.sha256], **{do: labels_in(value)})
        elif do == "delete":
            self.gallery.delete([kept.sha256])
        elif do == "restore":
            self.gallery.restore([kept.sha256])

    def _another(self, kept: Kept, do: str, language: str) -> Job:
        """The artifact's request with a new seed, one for variations of it ("vary") or for its caption, planned."""
        if do == "describe":
            spoken = language if language in self.context.can.languages else "en"
            return self._planned({"task": "caption", "image": {"path": str(kept.path)}, "language": spoken})
        found = read(kept.path)
        restored = restore(found, self.context.can, self.context.studio.home / inputs.INPUTS, TASKS)
        fields = restored.fields
        if do == "vary":
            varied: dict[str, Any] = {
                "prompt": kept.prompt,
                "image": {"path": str(kept.path)},
                "variations": VARIATIONS,
            }
            same = {name: fields[name] for name in ("style", "steps", "guidance", "scheduler") if name in fields}
            return self._planned(varied | same)
        if any(found.get("request", {}).get(name) and name not in fields for name in GIVEN):
            raise Refused(restored.lost[0])
        return self._planned({**fields, "seed": None})

    def _planned(self, fields: dict[str, Any]) -> Job:
        asked = make_request(**{**fields, "shape": None, "model": self.context.model})
        (job,) = plan(asked, open_backend(self.context.model), self.context.wildcards)
        return job


def card(
    kept: Kept,
    origin: dict[str, Any],
    apps: list[tuple[str, str]],
    language: str,
    again: bool = False,
    problem: str = "",
    uses: Sequence[str] = (),
) -> str:
    """The dialog. `origin` is the metadata of the file, `apps` are (name, title) of the programs that it can be made
    ready for, `uses` what can be done next. One that is shown `again` takes the place of the card that is open.
    `problem` says why what was pressed can't be done.
    """
    shown = media(kept.path, kept.prompt or text("card.untitled", language), text=kept.text)
    facts = _facts(kept, origin, language)
    values = {"apps": apps, "uses": uses, "facts": facts, "again": again, "problem": problem}
    return render("card.card", language, kept=kept, shown=shown, **values)


def _facts(kept: Kept, origin: dict[str, Any], language: str) -> list[tuple[str, str]]:
    """(name, value) of the settings that a picture was made with, and what else is known of it."""
    request = origin.get("request", {})
    values = {name: request.get(name) for name in FACTS} | {"seed": kept.seed, "model": kept.model}
    rows = [(name, str(value)) for name, value in values.items() if value not in (None, "")]
    if kept.width:
        rows.append(("card.size", f"{kept.width} × {kept.height}"))
    if kept.kind == "clip":
        length = text("card.frames", language, frames=kept.frames, seconds=f"{kept.seconds:g}")
        rows.append(("card.length", length))
    if kept.score is not None:
        rows.append(("card.score", f"{kept.score:.2f}"))
    rows.append(("card.made", time.strftime("%Y-%m-%d %H:%M", time.localtime(kept.made))))
    return [(text("card.strength" if name == "strength" else name, language), value) for name, value in rows]


def as_typed(kept: Kept, do: str, value: str) -> Kept:
    """The picture as if what was typed were accepted: it is refused, but not lost."""
    fields: dict[str, Any] = {"note": value} if do == "note" else {do: (value,)} if do in LISTS else {}
    return replace(kept, **fields)
