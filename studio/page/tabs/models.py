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
from studio.page.html import note, render
from studio.page.language import error_text, has_text, label, language_of, text
from studio.page.model_facts import Part
from studio.page.styles import samples

NAMED = 60  # concepts that are listed
FINDINGS = 100  # that are listed


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
        """The name without what it is given."""
        return self.name.partition(":")[0]

    def about(self, language: str) -> str:
        """What it is, in a sentence."""
        code = f"models.about_{self.kind}"
        return text(code, language) if has_text(code) else KINDS[self.kind].about


def model(name: str) -> Model:
    """A backend as it stands, its files read through."""
    made = Model(name)
    try:
        backend = open_backend(name)
        made.can = backend.capabilities()
        made.digest = backend.digest()
    except Refused as refusal:
        made.problem = refusal
        backend = open_backend(name)
    root = getattr(backend, "root", None)
    if isinstance(root, Path):
        try:
            made.parts = model_facts.parts(root)
        except WeightsError as error:
            made.parts_problem = error.message
        made.concepts = model_facts.concepts(root)
    return made


class ModelsHandlers:
    """What happens when the tab is opened, or something on it is pressed."""

    def __init__(self, context: PageContext) -> None:
        self.context, self.store = context, context.studio.store

    def load(self, request: gr.Request) -> str:
        """The tab was opened -> the models."""
        own = self.context.model
        others = [model(name) for name in KINDS if name != own.partition(":")[0] and name != "fake"]
        pictures = samples(self.context.can.styles)
        return overview(model(own), others, pictures, prompt_list("examples"), language_of(request.headers))

    def load_trouble(self, found: str, request: gr.Request) -> str:
        """The tab was opened -> the look for trouble, with what it `found` before."""
        return self._trouble(language_of(request.headers), Markup(found))

    def doctor(self, request: gr.Request) -> Iterator[tuple[str, str]]:
        """Look for trouble, as `studio doctor` does -> how it stands, what it found."""
        language = language_of(request.headers)
        yield self._trouble(language, render("models.looking", language)), ""
        try:
            found = findings(list(maintenance.inspect(self.store)), self.store.gallery.count(), language)
        except Refused as refusal:
            found = note("problem", error_text(refusal, language))
        yield self._trouble(language, found), found

    def _trouble(self, language: str, found: Markup) -> Markup:
        home = self.context.studio.home
        free = shutil.disk_usage(home).free / 1e9
        notice = self.store.queue.notice()
        return trouble(str(home), self.store.gallery.count(), free, notice, language, found)


# --- HTML -------------------------------------------------------------------------------------------------------------


def overview(own: Model, others: list[Model], pictures: dict[str, str], prompts: list[str], language: str) -> Markup:
    """All but the look for trouble. `pictures` holds a picture of each style as data URIs."""
    names = own.concepts.get(language) or own.concepts.get("en") or []
    some = names[:: max(1, len(names) // NAMED)][:NAMED]  # from all over the list
    count = len(own.concepts.get("en") or names)
    knows = {"pictures": pictures, "prompts": prompts, "some": some, "count": f"{count:,}"}
    return render("models.overview", language, own=own, others=others, **knows)


def trouble(
    home: str, pictures: int, free: float, notice: str | Message, language: str, found: Markup | str = ""
) -> Markup:
    """Where the studio's files are, and the button that looks for trouble; `found` is what it found, as HTML."""
    values = {"home": home, "pictures": f"{pictures:,}", "free": f"{free:,.0f}", "notice": notice}
    return render("models.trouble", language, found=Markup(found), **values)


def findings(found: list[maintenance.Finding], pictures: int, language: str) -> Markup:
    """What the look for trouble found."""
    if not found:
        return note("good", text("models.well", language, pictures=f"{pictures:,}"))
    counts = {"count": f"{len(found):,}", "rest": len(found) - FINDINGS}
    return render("models.findings", language, found=found[:FINDINGS], **counts)


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
    tab.select(handlers.load_trouble, found, troubles, **refreshed)
    troubles.select(handlers.doctor, None, [troubles, found], **{**pressed, **ONCE})
