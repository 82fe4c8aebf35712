"""What the Models tab asks of the studio. Weights are read through to be verified, and never loaded."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import gradio as gr

from models.assets import prompt_list
from models.weights import WeightsError
from studio import care
from studio.backends.registry import KINDS, open_backend
from studio.capabilities import Refused
from studio.page.frame import Frame
from studio.page.models import facts, view
from studio.page.refusals import in_language
from studio.page.styles.samples import samples


class ModelsDesk:
    """Stands between one page's Models tab and the studio."""

    def __init__(self, frame: Frame) -> None:
        self.frame, self.house = frame, frame.studio.house

    def shown(self, request: gr.Request) -> tuple[str, str]:
        """The tab was opened -> the models, the look for trouble."""
        spoken, own = self.frame.spoken(request), self.frame.model
        others = [model(name) for name in KINDS if name != own.partition(":")[0] and name != "fake"]
        pictures = samples(self.frame.can.styles)
        return view.page(model(own), others, pictures, prompt_list("examples"), spoken), self._trouble(spoken)

    def doctor(self, request: gr.Request) -> Iterator[str]:
        """Look for trouble, as `studio doctor` does."""
        spoken = self.frame.spoken(request)
        yield self._trouble(spoken, view.looking(spoken))
        try:
            found = list(care.inspect(self.house))
        except Refused as refusal:
            yield self._trouble(spoken, view.note("problem", in_language(str(refusal), spoken)))
            return
        yield self._trouble(spoken, view.findings(found, self.house.gallery.count(), spoken))

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
