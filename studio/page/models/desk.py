"""What the Models tab asks of the studio. Weights are read through to be verified, and never loaded."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import gradio as gr

from models.assets import prompt_list
from models.messages import Refused
from models.weights import WeightsError
from studio import care
from studio.backends.registry import KINDS, open_backend
from studio.page.frame import Frame
from studio.page.models import facts, view
from studio.page.refusals import in_language
from studio.page.styles.samples import samples


class ModelsDesk:
    """Stands between one page's Models tab and the studio."""

    def __init__(self, frame: Frame) -> None:
        self.frame, self.house = frame, frame.studio.house

    def shown(self, request: gr.Request) -> str:
        """The tab was opened -> the models."""
        spoken, own = self.frame.spoken(request), self.frame.model
        others = [model(name) for name in KINDS if name != own.partition(":")[0] and name != "fake"]
        pictures = samples(self.frame.can.styles)
        return view.page(model(own), others, pictures, prompt_list("examples"), spoken)

    def stands(self, found: str, request: gr.Request) -> str:
        """The tab was opened -> the look for trouble, with what it `found` before."""
        return self._trouble(self.frame.spoken(request), found)

    def doctor(self, request: gr.Request) -> Iterator[tuple[str, str]]:
        """Look for trouble, as `studio doctor` does -> how it stands, what it found."""
        spoken = self.frame.spoken(request)
        yield self._trouble(spoken, view.looking(spoken)), ""
        try:
            found = view.findings(list(care.inspect(self.house)), self.house.gallery.count(), spoken)
        except Refused as refusal:
            found = view.note("problem", in_language(str(refusal), spoken))
        yield self._trouble(spoken, found), found

    def _trouble(self, spoken: str, found: str = "") -> str:
        home = self.frame.studio.home
        free = shutil.disk_usage(home).free / 1e9
        notice = self.house.queue.notice()
        return view.trouble(str(home), self.house.gallery.count(), free, notice, spoken, found)


def model(name: str) -> view.Model:
    """A backend as it stands, its files read through."""
    made = view.Model(name)
    try:
        backend = open_backend(name)
        made.can = backend.capabilities()
        made.digest = backend.digest()
    except Refused as refusal:
        made.problem = str(refusal)
        backend = open_backend(name)
    root = getattr(backend, "root", None)
    if isinstance(root, Path):
        try:
            made.parts = facts.parts(root)
        except WeightsError as error:
            made.parts_problem = str(error)
        made.concepts = facts.concepts(root)
    return made
