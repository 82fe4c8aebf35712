"""What happens on the Sets tab: a set is asked for, shown as its pictures come, named, given a cover and packed."""

import re
from typing import Any

import gradio as gr

from studio.backends.registry import open_backend
from studio.batch.plan import safe_name
from studio.capabilities import Refused
from studio.export.pack import NAME_LIMIT
from studio.files import ready_folder
from studio.gallery import Kept
from studio.page.batch.actions import SeriesDesk
from studio.page.create.desk import whole_number
from studio.page.create.samples import samples
from studio.page.create.view import styles
from studio.page.frame import Frame, said
from studio.page.html import wrong
from studio.page.series import LOOKED_AT, Member, Series
from studio.page.sets import view
from studio.page.sets.words import say
from studio.requests import job_id, resolve
from studio.sets import KINDS, make_set

KIND = "set"
LISTED = 24  # sets
SEPARATORS = re.compile(r"[,\n，、;；]+")

Shown = tuple[Any, Any, Any]  # the set on show, its panel, the others


class ShowDesk(SeriesDesk):
    """A tab that shows one series place by place, and the others in small."""

    def pictures(self, series: Series) -> dict[str, Kept]:
        """The picture of each job that has one; a job has one picture here."""
        return {one.job: one for one in self.series.pictures(series)}

    def cells(self, series: Series) -> list[view.Cell]:
        """What has become of each of its jobs, in their order. KeyError where the series was removed meanwhile."""
        states, kept = self.series.states(series), self.pictures(series)
        members = self.series.members(series)
        return [view.Cell(one.label, kept.get(one.id), *states.get(one.id, ("", ""))) for one in members]

    def latest_or(self, shown: str) -> tuple[str, list[Series]]:
        """The one on show, the newest where that is not there, and the latest ones."""
        every = self.series.latest(self.kind, LISTED)
        if shown not in [series.id for series in every]:
            shown = every[0].id if every else ""
        return shown, every

    def tile(self, series: Series) -> view.Tile:
        """A series in small: its cover, else the first picture that is there."""
        try:
            members, kept = self.series.members(series), self.pictures(series)
        except KeyError:
            return view.Tile(series, None)
        cover = members[int(series.about.get("cover", 0))].id
        return view.Tile(series, kept.get(cover) or next(iter(kept.values()), None))


class SetsDesk(ShowDesk):
    """Stands between one page's Sets tab and the studio."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame, KIND)

    # --- Asking -------------------------------------------------------------------------------------------------------

    def make(self, kind: str, first: str, words: str, style: str, seed: str, shown: str, request: gr.Request) -> Shown:
        """Put a set in line -> what is shown."""
        spoken = self.frame.spoken(request)
        try:
            series = self._begin(kind, style if kind == "style" else first, words, style, seed, spoken)
        except Refused as refusal:
            return shown, wrong(refusal, spoken) + self._panel(shown, spoken), gr.skip()
        return self._all(series.id, spoken)

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

    def look(self, shown: str, request: gr.Request) -> Shown:
        """As it stands now; the newest set where none was picked."""
        return self._all(shown, self.frame.spoken(request))

    def acted(self, shown: str, event: gr.EventData, request: gr.Request) -> Shown:
        """A button or the name of the set on show, or another set."""
        asked, spoken = said(event), self.frame.spoken(request)
        own, name = asked.get("own", ""), asked.get("series", "")
        told = self.act(own, name, spoken)
        if not told and own in ("name", "cover", "outline"):
            told = self._change(self.find(name), own, asked, spoken)
        if own == "show" and not told:
            shown = name
        number, panel, others = self._all("" if own == "remove" and name == shown else shown, spoken)
        return number, told + panel, others

    def _change(self, series: Series, own: str, asked: dict[str, str], spoken: str) -> str:
        """Name, cover or outline; a value that won't do changes nothing."""
        value = asked.get("value", "").strip()
        index = asked.get("index", "")
        try:
            if own == "name" and value:
                self.series.change(series, title=value[:NAME_LIMIT])
            elif own == "cover" and index.isdecimal() and len(index) < 4 and int(index) < series.jobs:
                self.series.change(series, cover=int(index))
            elif own == "outline":
                self.series.change(series, outline=not series.about.get("outline"))
        except Refused as refusal:
            return wrong(refusal, spoken)
        return ""

    def _all(self, shown: str, spoken: str) -> Shown:
        shown, every = self.latest_or(shown)
        others = view.others([self.tile(one) for one in every], shown, say("yours", spoken), spoken)
        return shown, self._panel(shown, spoken), others

    def _panel(self, shown: str, spoken: str) -> str:
        try:
            series = self.find(shown)
            return view.Panel(series, self.progress(series, spoken), self.cells(series), spoken).html()
        except KeyError:  # none yet, or removed meanwhile
            return view.nothing_yet(spoken)

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
        known = self.frame.can.styles
        return styles(known, "", samples(known), spoken, "set-style")
