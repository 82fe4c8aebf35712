"""What the buttons on the card do, and those on pictures anywhere on the page."""

from dataclasses import replace
from typing import Any

import gradio as gr

from models.messages import Refused
from studio import inputs
from studio.export.apps import APPS
from studio.gallery import Kept
from studio.marks import labels_in
from studio.metadata import read, restore
from studio.page.frame import Frame, said
from studio.page.picture.view import card, gone
from studio.page.refusals import in_language
from studio.requests import ImageRequest, image_request, resolve

LISTS = ("tags", "boards")
VARIED = 4  # variations that one press makes
GIVEN = ("image", "like", "mask", "mix")  # what a picture is made from: without it, it would be another one

Acted = tuple[Any, Any, Any]  # card, handed, tabs


class PictureDesk:
    """Does what a `data-do` button says to the picture it names."""

    def __init__(self, frame: Frame) -> None:
        self.frame, self.gallery = frame, frame.studio.gallery

    def act(self, event: gr.EventData, request: gr.Request) -> Acted:
        """Whatever was pressed. What is not known here, or names no picture of ours, does nothing but say so."""
        asked, spoken = said(event), self.frame.spoken(request)
        do, digest, value = asked.get("do", ""), asked.get("picture", ""), asked.get("value", "")
        try:
            kept = self.gallery.get(digest)
        except KeyError:
            return gone(spoken), gr.skip(), gr.skip()
        try:
            if do in ("again", "vary"):
                job = self.frame.studio.submit(self._anew(kept, do))
                return "", {**self.frame.hand("watch", digest), "job": job}, gr.Tabs(selected="create")
            if do == "find":
                return "", self.frame.hand(do, digest), gr.Tabs(selected="search")
            if do in ("like", "start", "blend", "settings"):
                return "", self.frame.hand(do, digest), gr.Tabs(selected="create")
            self._mark(kept, do, value)
        except Refused as refusal:
            problem = in_language(str(refusal), spoken)
            return self._card(typed(kept, do, value), spoken, problem=problem), gr.skip(), gr.skip()
        return self.show(digest, spoken, again=do != "open"), gr.skip(), gr.skip()

    def show(self, digest: str, spoken: str, again: bool = False) -> str:
        """The card of a picture; `again` where it was on show when something was said of the picture."""
        return self._card(self.gallery.get(digest), spoken, again)

    def _card(self, kept: Kept, spoken: str, again: bool = False, problem: str = "") -> str:
        try:
            origin = read(kept.path)
        except Refused:
            return gone(spoken)
        apps = [(app.name, app.zh if spoken == "zh" else app.title) for app in APPS.values()]
        return card(kept, origin, apps, spoken, again, problem)

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

    def _anew(self, kept: Kept, do: str) -> ImageRequest:
        """The picture's request with a new seed, or that of its near relatives, resolved."""
        found = read(kept.path)
        restored = restore(found, self.frame.can, self.frame.studio.home / inputs.INPUTS)
        fields = restored.fields
        if do == "vary":
            varied: dict[str, Any] = {"prompt": kept.prompt, "image": {"path": str(kept.path)}, "variations": VARIED}
            same = {name: fields[name] for name in ("style", "steps", "guidance", "scheduler") if name in fields}
            return self._resolved(varied | same)
        if any(found.get("request", {}).get(name) and name not in fields for name in GIVEN):
            raise Refused(restored.dropped[0])
        return self._resolved({**fields, "seed": None})

    def _resolved(self, fields: dict[str, Any]) -> ImageRequest:
        asked = image_request(**{**fields, "shape": None, "model": self.frame.model})
        return resolve(asked, self.frame.can, self.frame.lists)


def typed(kept: Kept, do: str, value: str) -> Kept:
    """The picture as if what was typed of it were so: it is refused, but not lost."""
    fields: dict[str, Any] = {"note": value} if do == "note" else {do: (value,)} if do in LISTS else {}
    return replace(kept, **fields)
