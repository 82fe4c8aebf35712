"""The Models tab: the served model with its verified parts, the models on this disk, a check of the home (`doctor`)."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import gradio as gr
from huggingface_hub import metadata_load
from markupsafe import Markup

from models.assets import assets
from models.messages import Message, Refused
from models.weights import WeightsError, listed_parts, part_folder
from studio import maintenance, settings
from studio.backends.base import KINDS, open_backend
from studio.backends.embedded import PARTS
from studio.capabilities import Capabilities
from studio.disk.memory import fit, machine
from studio.disk.models import look
from studio.page.context import LISTEN, ONCE, QUIET, PageContext, in_order
from studio.page.html import error_text, has_text, label, render, text

ORDER = 100
CARD = "README.md"


@dataclass(frozen=True)
class Part:
    """A part of the model. `problem` says why it can't be used; "" if its files match the manifest. The licence is that
    of its model card, "" if it names none.
    """

    name: str
    installed: bool
    problem: Message | str = ""
    bytes: int = 0
    licence: str = ""


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
    size = sum(path.stat().st_size for path in map((root / name).joinpath, files) if path.is_file())
    card = root / name / CARD
    about = (metadata_load(card) or {}) if card.is_file() else {}
    return Part(name, True, problem, size, str(about.get("license", "")))


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


@dataclass(frozen=True)
class Model:
    """The state of a backend. `problem` says why it can't work; `folder` holds its parts, if it has any."""

    name: str
    can: Capabilities | None = None
    digest: str = ""
    problem: str | Refused = ""
    parts: Sequence[Part] = ()
    folder: Path | None = None

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
    backend, can, digest, listed = open_backend(name), None, "", list[Part]()
    folder: Path | None = getattr(backend, "root", None)
    problem: str | Refused = ""
    try:
        can = backend.capabilities()
        listed = parts(folder) if folder else []
        digest = backend.digest()
    except Refused as refusal:
        problem = refusal
    return Model(name, can, digest, problem, listed, folder)


class ModelsHandlers:
    def __init__(self, context: PageContext) -> None:
        self.context, self.store = context, context.studio.store

    def load(self) -> str:
        """The overview of the served model."""
        return render("models.overview", read_model(self.context.model))

    def disk(self) -> Markup:
        """The models on this disk, as HTML; only their headers are read."""
        here = machine(settings.device())
        models = look(settings.model_folders(self.context.studio.home))
        return render("models.disk", [(one, fit(one, here)) for one in models])

    def trouble(self, findings: str = "") -> Markup:
        """The panel of the home and of the latest `findings`, as HTML."""
        home = self.context.studio.home
        free = shutil.disk_usage(home).free / 1e9
        return render("models.trouble", str(home), self.store.gallery.count(), free, Markup(findings))

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
