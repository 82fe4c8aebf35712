"""The card: a dialog with one picture over any tab, and the handlers of `data-do` buttons on every tab."""

import hashlib
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from models.messages import Refused
from models.references.credits import lines
from studio import inputs, media
from studio.export.apps import APPS
from studio.export.clips import FORMATS
from studio.gallery import Gallery, GalleryItem, labels_in
from studio.metadata.files import credits_of_record, read
from studio.metadata.origin import placed
from studio.metadata.restore import restore
from studio.page.context import PRESSED, PageContext, pressed_data, whole_number
from studio.page.html import render, script, text
from studio.page.making import task_of
from studio.page.polling import tab_of
from studio.page.routes import open_clip
from studio.planner import Job
from studio.requests import only, stored_request
from studio.run import GallerySink

LISTS = ("tags", "boards")
VARIATIONS = 4  # made by one press
GIVEN = ("image", "last", "like", "mask", "mix")  # inputs without which the result would differ
USES: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_name("uses.toml").read_text(encoding="utf-8"))
TASKS = ("image", "enlarge", "clip")  # tasks that "again" repeats

Answer = tuple[Any, Any, Any]  # card, handed, tabs


def build(context: PageContext) -> None:
    """Build the card, closed at first, and connect `data-do` buttons."""
    context.act = CardHandlers(context).act
    context.card = gr.HTML(js_on_load=script("card.js"), elem_id="card")
    context.card.click(context.act, None, [context.card, context.handed, context.tabs], **PRESSED)


class CardHandlers:
    def __init__(self, context: PageContext) -> None:
        self.context, self.gallery = context, context.studio.gallery

    def act(self, event: gr.EventData) -> Answer:
        """Handle a `data-do` button; a picture that is not in the gallery gives a notice."""
        data = pressed_data(event)
        do, digest, value = data.get("do", ""), data.get("picture", ""), data.get("value", "")
        try:
            item = self.gallery.get(digest)
        except KeyError:
            return render("card.gone"), gr.skip(), gr.skip()
        try:
            if do in ("again", "vary"):
                job = self._another(item, do)
                return self._handed(tab_of(job.request.task), "watch", job=self.context.studio.submit(job))
            # Settings go to the tab of their task.
            if tab := tab_of(task_of(item.path)) if do == "settings" else USES.get(do, {}).get("tab"):
                return self._handed(tab, do, picture=digest, style=value)
            if do == "frame":
                taken = take_frame(self.gallery, item, whole_number(data.get("frame")))
                return self.show(self.gallery.get(taken), done=text("card.taken")), gr.skip(), gr.skip()
            self._mark(item, do, value)
        except Refused as refusal:  # typed text stays
            typed: dict[str, Any] = {"note": value} if do == "note" else {do: (value,)} if do in LISTS else {}
            return self.show(replace(item, **typed), problem=refusal), gr.skip(), gr.skip()
        return self.show(self.gallery.get(digest), again=do != "open"), gr.skip(), gr.skip()

    def _handed(self, tab: str, use: str, **what: Any) -> Answer:
        """Close the card, and hand something to a tab."""
        return "", self.context.hand(tab, use, **what), gr.update(selected=tab)

    def show(self, item: GalleryItem, again: bool = False, problem: str | Refused = "", done: str = "") -> str:
        """The card of a picture. With `again` it replaces the open card. `problem` is a refusal of the pressed button,
        `done` its confirmation.
        """
        try:
            origin = read(item.path)
        except Refused:
            return render("card.gone")
        can, request, apps = self.context.can.tasks, origin.get("request", {}), list(APPS.values())
        uses = [use for use, row in USES.items() if item.kind in row["kinds"] and row.get("needs", "image") in can]
        if item.medium.visual:
            describes = "caption" in can or item.caption
        else:
            describes = item.text and (item.caption or origin.get("known", True))
        styles = self.context.can.styles if describes else None
        size = self.context.can.enlarges
        large = size if item.kind == "image" and size > max(item.width, item.height) else 0
        credits = credits_of_record(origin)
        about = {"problem": problem, "done": done, "large": large, "credits": credits, "owed": lines(credits)}
        about |= {"read_as": origin.get("read_as", ""), "redrawn": origin.get("redrawn", ())}
        return render("card.card", item, request, apps, list(FORMATS), uses, styles, again, **about)

    def _mark(self, item: GalleryItem, do: str, value: str) -> None:
        changes: dict[str, Any] = {}
        if do == "star":
            changes["star"] = not item.star
        elif do == "rate" and value.isdecimal():
            changes["rating"] = int(value)
        elif do == "note":
            changes["note"] = value
        elif do in LISTS:
            changes[do] = labels_in(value)
        elif do == "delete":
            self.gallery.delete([item.sha256])
        elif do == "restore":
            self.gallery.restore([item.sha256])
        if changes:
            self.gallery.mark([item.sha256], **changes)

    def _another(self, item: GalleryItem, do: str) -> Job:
        """The planned job of the artifact's request with a new seed, or of its variations (`do` is "vary")."""
        start, record = {"path": str(item.path)}, read(item.path)
        restored = restore(record, self.context.can, self.context.studio.home / inputs.INPUTS, TASKS)
        fields = restored.fields
        if do == "vary":
            same = {name: fields[name] for name in ("style", "steps", "guidance", "scheduler") if name in fields}
            fields = same | {"prompt": item.prompt, "image": start, "variations": VARIATIONS}
        elif any(record.get("request", {}).get(name) and name not in fields for name in GIVEN):
            raise Refused(restored.lost[0])
        else:
            fields = {**fields, "seed": None}
        request = {"task": "image", **fields, "shape": None, "model": self.context.model}
        return only(self.context.studio.prepare(**request))


def take_frame(gallery: Gallery, clip: GalleryItem, number: object) -> str:
    """Store a frame of a clip (counted from 1) in the gallery -> its sha256. Refused if there is no such frame.

    The file has the metadata of the clip, and the number of the frame.
    """
    frames = open_clip(clip.path).frames
    if not isinstance(number, int) or not 1 <= number <= len(frames):
        raise Refused("page.no_frame", most=len(frames), number=number)
    record = read(clip.path)
    if "request" not in record:
        raise Refused("metadata.no_record", file=str(clip.path))
    artifact = placed(media.image(frames[number - 1]), record)
    job_id = hashlib.sha256(f"{clip.sha256} {number}".encode()).hexdigest()  # the clip's id would replace the clip
    job = Job(stored_request(record["request"]), job_id, str(record["digest"]))
    return GallerySink(gallery).keep(job, replace(artifact, how={**record["how"], "frame": number})).stem
