"""The Models tab: installed models, verified without loading them, their cards, and a check of the home (`doctor`)."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import gradio as gr
from markdown_it import MarkdownIt
from markupsafe import Markup

from models.assets import assets
from models.messages import Message, Refused
from models.weights import WeightsError, listed_parts, part_folder
from studio import maintenance, settings
from studio.backends.base import KINDS, MODELS, open_backend
from studio.backends.embedded import PARTS
from studio.capabilities import Capabilities
from studio.disk.memory import AUTO, MEMORY, fit, machine
from studio.disk.models import LocalModel, look
from studio.page.context import LISTEN, ONCE, QUIET, PageContext, in_order
from studio.page.form import samples
from studio.page.html import error_text, has_text, label, render, text
from studio.page.making import notes

ORDER = 100
CARD = "README.md"
_LICENCE = re.compile(r"^license:\s*(\S+)", re.MULTILINE)
MARKDOWN = MarkdownIt("js-default")  # without HTML


@dataclass(frozen=True)
class Card:
    """A model card: its licence ("" if it names none), and its text as HTML."""

    licence: str = ""
    html: str = ""


@dataclass(frozen=True)
class Part:
    """A part of the model. `problem` says why it can't be used; "" if its files match the manifest."""

    name: str
    installed: bool
    problem: Message | str = ""
    bytes: int = 0
    sha256: tuple[tuple[str, str], ...] = ()
    card: Card = field(default_factory=Card)


def parts(root: Path) -> list[Part]:
    """The required and the other listed parts, verified. WeightsError for a damaged manifest."""
    listed = listed_parts(root)
    return [_part(name, listed.get(name), root) for name in dict.fromkeys([*PARTS, *listed])]


def _part(name: str, files: dict[str, str] | None, root: Path) -> Part:
    if files is None:
        return Part(name, installed=False)
    problem: Message | str = ""
    try:
        part_folder(name, root)
    except WeightsError as error:
        problem = error.message
    there = [path for path in map((root / name).joinpath, files) if path.is_file()]
    size = sum(path.stat().st_size for path in there)
    return Part(name, True, problem, size, tuple(files.items()), read_card(root / name / CARD))


def read_card(path: Path) -> Card:
    """A model card; empty if there is none. HTML in it is escaped."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return Card()
    head, _, body = text[4:].partition("\n---\n") if text.startswith("---\n") else ("", "", text)
    licence = _LICENCE.search(head)
    return Card(licence[1] if licence else "", Markup(MARKDOWN.render(body)))


def attribution() -> str:
    """ATTRIBUTION.md, from the checkout or from the installed package; "" if there is none."""
    beside = assets().parent / "ATTRIBUTION.md"
    if beside.is_file():
        return beside.read_text(encoding="utf-8")
    try:
        files = metadata.files("studio128") or []
    except metadata.PackageNotFoundError:
        return ""
    return next((file.read_text(encoding="utf-8") for file in files if file.name == "ATTRIBUTION.md"), "")


@dataclass
class Model:
    """The state of a backend. `problem` says why it can't work, `parts_problem` why its parts can't be listed."""

    name: str
    can: Capabilities | None = None
    digest: str = ""
    problem: str | Refused = ""
    parts: list[Part] = field(default_factory=list)
    parts_problem: Message | str = ""

    @property
    def kind(self) -> str:
        return self.name.partition(":")[0]

    @property
    def about(self) -> str:
        """A sentence about the backend."""
        code = f"models.about_{self.kind}"
        return text(code) if has_text(code) else KINDS[self.kind].about


def read_model(name: str) -> Model:
    """The state of a backend; reads and verifies its files."""
    model = Model(name)
    backend = open_backend(name)
    try:
        model.can = backend.capabilities()
        model.digest = backend.digest()
    except Refused as refusal:
        model.problem = refusal
    root = getattr(backend, "root", None)
    if isinstance(root, Path):
        try:
            model.parts = parts(root)
        except WeightsError as error:
            model.parts_problem = error.message
    return model


class ModelsHandlers:
    def __init__(self, context: PageContext) -> None:
        self.context, self.store = context, context.studio.store

    def load(self) -> str:
        """The overview of the models."""
        served = self.context.model
        others = [read_model(name) for name in MODELS if name != served.partition(":")[0] and name != "fake"]
        return render("models.overview", read_model(served), others, samples(self.context.can.styles))

    def disk(self) -> Markup:
        """The models on this disk, as HTML; only their headers are read."""
        here = machine(settings.device())
        models = look(settings.model_folders(self.context.studio.home))
        return render("models.disk", [(one, fit(one, here)) for one in models])

    def trouble(self, findings: str = "") -> Markup:
        """The panel of the home and of the latest `findings`, as HTML."""
        home = self.context.studio.home
        free, notice = shutil.disk_usage(home).free / 1e9, self.store.queue.notice()
        return render("models.trouble", str(home), self.store.gallery.count(), free, notice, Markup(findings))

    def doctor(self) -> Iterator[tuple[str, str]]:
        """Check the home, as `studio doctor` does -> panel, findings."""
        yield self.trouble(render("models.looking")), ""
        try:
            findings = render("models.findings", list(maintenance.inspect(self.store)), self.store.gallery.count())
        except Refused as refusal:
            findings = render("parts.note", "problem", error_text(refusal))
        yield self.trouble(findings), findings


def build(context: PageContext) -> None:
    """Build the tab. Opening it fills it: verifying weights takes a moment."""
    handlers = ModelsHandlers(context)
    with gr.Tab(label("tab.models"), id="models") as tab:
        models = gr.HTML(js_on_load=None, elem_id="models")
        disk = gr.HTML(js_on_load=None, elem_id="disk")
        if sources := attribution():
            with gr.Accordion(label("models.attribution"), open=False, elem_id="attribution"):
                gr.Markdown(sources)
        troubles = gr.HTML(js_on_load=LISTEN, elem_id="trouble")
        findings = gr.State("")
    tab.select(handlers.load, None, models, **QUIET)
    tab.select(handlers.disk, None, disk, **QUIET)
    pressed, refreshed = in_order("trouble")
    tab.select(handlers.trouble, findings, troubles, **refreshed)
    troubles.select(handlers.doctor, None, [troubles, findings], **{**pressed, **ONCE})


# --- Which model the page is for --------------------------------------------------------------------------------------


def build_picker(context: PageContext) -> None:
    """Put the pickers of the model and of its memory above the tabs, hidden if there is no choice."""
    limited = context.can.memory
    with gr.Row(elem_id="serving", visible=limited) as row:
        model = gr.Dropdown([(context.can.title, context.model)], label=label("serving.model"), elem_id="model")
        about: Any = {"label": label("serving.memory"), "elem_id": "memory", "visible": limited}
        memory = gr.Dropdown([AUTO, *MEMORY], value=settings.memory() or AUTO, **about)
    status = gr.HTML(elem_id="served")
    picked_model = gr.HTML(visible="hidden")

    def load() -> tuple[Any, Any, str]:
        local = _local_models(context)
        choices = [(context.can.title, context.model)] * (context.model not in local)
        choices += [(model.name, name) for name, model in local.items()]
        choices += [("Studio 128", "embedded")] * (context.model != "embedded")
        picked = gr.update(choices=choices, value=context.model)
        return gr.update(visible=len(choices) > 1 or limited), picked, _estimate(local.get(context.model))

    def pick(picked: str) -> tuple[str, str]:
        try:
            if picked not in (context.model, "embedded", *_local_models(context)):
                raise Refused("model.unknown", model=str(picked)[:200], hint="", models=list(KINDS))
            assert context.serve
            context.serve(picked)
        except Refused as refusal:
            return notes(problem=[error_text(refusal)]), ""
        return "", picked

    def keep(word: str) -> str:
        settings.choose(settings.home(), memory=None if word == AUTO else word)
        return _estimate(_local_models(context).get(context.model))

    context.on_load(load, row, model, status)
    reload = "(picked) => { if (picked) location.reload(); }"  # page.js restores typed text
    model.input(pick, model, [status, picked_model], **QUIET).then(
        None, picked_model, None, js=reload, api_visibility="private"
    )
    if limited:
        memory.input(keep, memory, status, **QUIET)


def _local_models(context: PageContext) -> dict[str, LocalModel]:
    """The usable models on this disk, by their `--model` names."""
    models = look(settings.model_folders(context.studio.home))
    return {one.model: one for one in models if one.model and not one.problem}


def _estimate(local: LocalModel | None) -> str:
    """A note whether a model fits into memory, with the chosen memory setting."""
    fits = fit(local, machine(settings.device()), word=settings.memory() or AUTO) if local else None
    return notes(note=[text("serving.fit", estimate=error_text(fits.message))]) if fits else ""
