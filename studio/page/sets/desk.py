"""What happens on the Sets tab: a set is asked for, shown as its pictures come, named, given a cover and packed."""

import re
from typing import Any

import gradio as gr

from models.messages import Refused
from studio.backends.registry import open_backend
from studio.batch.plan import safe_name
from studio.export.pack import NAME_LIMIT
from studio.files import ready_folder
from studio.page.frame import Frame, said, whole_number
from studio.page.series.desk import ShowDesk, Shown
from studio.page.series.store import LOOKED_AT, Member, Series
from studio.page.sets import view
from studio.page.sets.words import say
from studio.page.styles.view import picker
from studio.requests import job_id, resolve
from studio.sets import KINDS, make_set

KIND = "set"
SEPARATORS = re.compile(r"[,\n，、;；]+")


class SetsDesk(ShowDesk):
    """Stands between one page's Sets tab and the studio."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame, KIND, say)

    # --- Asking -------------------------------------------------------------------------------------------------------

    def make(self, kind: str, first: str, words: str, style: str, seed: str, shown: str, request: gr.Request) -> Shown:
        """Put a set in line -> what is shown."""
        spoken = self.frame.spoken(request)
        try:
            series = self._begin(kind, style if kind == "style" else first, words, style, seed, spoken)
        except Refused as refusal:
            return self.refused(shown, refusal, spoken)
        return self.show(series.id, spoken)

    def _begin(self, kind: str, first: str, words: str, style: str, seed: str, spoken: str) -> Series:
        if kind == "style" and not style:
            raise Refused(say("need_style", spoken))
        backend, can = open_backend(self.frame.model), self.frame.can
        listed = [word.strip() for word in SEPARATORS.split(words or "") if word.strip()]
        fields = {"style": style or "", "seed": whole_number(seed), "model": self.frame.model}
        asked = make_set(kind, first or "", listed, **fields)
        ready_folder(self.frame.studio.gallery.folder, len(asked))
        shape, digest = {"shape": can.shape(len(asked))}, backend.digest()
        members = []
        for number, one in enumerate(asked, 1):
            request = resolve(one.request.model_copy(update=shape), can, self.frame.lists)
            name = f"{number:02}-{safe_name(one.label) or 'picture'}.png"
            members.append(Member(job_id(request, digest), one.label, (name,), request))
        about = {"kind": kind, "digest": digest, "cover": 0, "outline": False}
        return self.series.begin(KIND, first.strip()[:NAME_LIMIT], members, LOOKED_AT, about)

    # --- Looking and changing -----------------------------------------------------------------------------------------

    def panel(self, series: Series, spoken: str) -> str:
        """A set with its labels, in small, with its packs."""
        return view.Panel(series, self.progress(series, spoken), self.cells(series), spoken).html()

    def change(self, series: Series, asked: dict[str, str]) -> None:
        """Name, cover or outline; a value that won't do changes nothing."""
        own, value, index = asked.get("own", ""), asked.get("value", "").strip(), asked.get("index", "")
        if own == "name" and value:
            self.series.change(series, title=value[:NAME_LIMIT])
        elif own == "cover" and index.isdecimal() and len(index) < 4 and int(index) < series.jobs:
            self.series.change(series, cover=int(index))
        elif own == "outline":
            self.series.change(series, outline=not series.about.get("outline"))

    # --- Pickers ------------------------------------------------------------------------------------------------------

    def picked(self, event: gr.EventData) -> tuple[Any, ...]:
        """A kind was picked -> the input that holds it, and the inputs of each kind, seen or not."""
        value = said(event).get("value", "")
        kind = value if value in KINDS else next(iter(KINDS))
        return kind, *(gr.Column(visible=name == kind) for name in KINDS)

    def styled(self, event: gr.EventData) -> str:
        """A style was picked -> the input that holds it."""
        value = said(event).get("value", "")
        return value if value in [one.name for one in self.frame.can.styles] else ""

    def picker(self, spoken: str) -> str:
        """The styles to pick from."""
        return picker(self.frame.can.styles, "", spoken, "set-style")
