"""The Models tab: what is installed, what it knows, and a look for trouble. Weights are verified, and never loaded."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr
from markupsafe import Markup

from models.assets import prompt_list
from models.messages import Message, Refused
from models.weights import WeightsError
from studio import maintenance
from studio.backends.registry import KINDS, open_backend
from studio.capabilities import Capabilities
from studio.page import model_facts
from studio.page.context import LISTEN, ONCE, QUIET, PageContext, in_order
from studio.page.form import samples
from studio.page.html import render
from studio.page.language import error_text, has_text, label, reader, text
from studio.page.model_facts import Part

NAMED = 60  # concepts that are listed


@dataclass
class Model:
    """A backend as it stands. `problem` says why it can't work, `parts_problem` why its parts can't be listed."""

    name: str
    can: Capabilities | None = None
    digest: str = ""
    problem: str | Refused = ""
    parts: list[Part] = field(default_factory=list)
    parts_problem: Message | str = ""
    concepts: dict[str, list[str]] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.name.partition(":")[0]

    @property
    def about(self) -> str:
        """What it is, in a sentence."""
        code = f"models.about_{self.kind}"
        return text(code) if has_text(code) else KINDS[self.kind].about


def model(name: str) -> Model:
    """A backend as it stands, its files read through."""
    made = Model(name)
    backend = open_backend(name)
    try:
        made.can = backend.capabilities()
        made.digest = backend.digest()
    except Refused as refusal:
        made.problem = refusal
    root = getattr(backend, "root", None)
    if isinstance(root, Path):
        try:
            made.parts = model_facts.parts(root)
        except WeightsError as error:
            made.parts_problem = error.message
        made.concepts = model_facts.concepts(root)
    return made


class ModelsHandlers:
    def __init__(self, context: PageContext) -> None:
        self.context, self.store = context, context.studio.store

    def load(self) -> str:
        """The tab was opened -> the models."""
        own = self.context.model
        others = [model(name) for name in KINDS if name != own.partition(":")[0] and name != "fake"]
        return overview(model(own), others, samples(self.context.can.styles), prompt_list("examples"))

    def trouble(self, found: str = "") -> Markup:
        """Where the studio's files are, and the look for trouble, with what it `found` before, as HTML."""
        home = self.context.studio.home
        free, notice = shutil.disk_usage(home).free / 1e9, self.store.queue.notice()
        return render("models.trouble", str(home), self.store.gallery.count(), free, notice, Markup(found))

    def doctor(self) -> Iterator[tuple[str, str]]:
        """Look for trouble, as `studio doctor` does -> how it stands, what it found."""
        yield self.trouble(render("models.looking")), ""
        try:
            found = render("models.findings", list(maintenance.inspect(self.store)), self.store.gallery.count())
        except Refused as refusal:
            found = render("parts.note", "problem", error_text(refusal))
        yield self.trouble(found), found


def overview(own: Model, others: list[Model], pictures: dict[str, str], prompts: list[str]) -> Markup:
    """All but the look for trouble. `pictures` holds a picture of each style as data URIs."""
    english = own.concepts.get("en") or []
    names = own.concepts.get(reader()) or english
    some = names[:: max(1, len(names) // NAMED)][:NAMED]  # from all over the list
    return render("models.overview", own, others, pictures, prompts, some, len(english or names))


def build(context: PageContext) -> None:
    """Draw the tab. It is filled when it is opened: weights are read through, which takes a moment."""
    handlers = ModelsHandlers(context)
    with gr.Tab(label("tab.models"), id="models") as tab:
        models = gr.HTML(js_on_load=None, elem_id="models")
        if attribution := model_facts.attribution():
            with gr.Accordion(label("models.attribution"), open=False, elem_id="attribution"):
                gr.Markdown(attribution)
        troubles = gr.HTML(js_on_load=LISTEN, elem_id="trouble")
        found = gr.State("")
    tab.select(handlers.load, None, models, **QUIET)
    pressed, refreshed = in_order("trouble")
    tab.select(handlers.trouble, found, troubles, **refreshed)
    troubles.select(handlers.doctor, None, [troubles, found], **{**pressed, **ONCE})
