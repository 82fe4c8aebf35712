"""The Models tab: what is installed, what it knows, and a look for trouble. Weights are verified, and never loaded.

What is known of the models comes from the parts that ship, their cards, and the words they were taught.
"""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path

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
from studio.disk.memory import fit, machine
from studio.disk.models import look
from studio.page.context import LISTEN, ONCE, QUIET, PageContext, in_order
from studio.page.form import examples_here, samples
from studio.page.html import error_text, has_text, label, reader, render, text

ORDER = 100
NAMED = 60  # concepts that are listed
CARD = "README.md"
VOCABULARY = "vocabulary"  # the part that lists the concepts; its own module imports torch
_LICENCE = re.compile(r"^license:\s*(\S+)", re.MULTILINE)
# The item that says how good a part is, up to the next one.
_SCORE = re.compile(r"^- \*\*(?:scores?|figures|results)\*\*:?((?:.|\n(?!- |\n))*)", re.IGNORECASE | re.MULTILINE)
_MARKS = re.compile(r"\*\*|`")
MARKDOWN = MarkdownIt("js-default")  # without HTML


@dataclass(frozen=True)
class Card:
    """What a model card says: its licence, how good the part is ("" if not said), and all of it as HTML."""

    licence: str = ""
    score: str = ""
    html: str = ""


@dataclass(frozen=True)
class Part:
    """A part of the model. `problem` says why it can't be used, "" where its files are those that were measured."""

    name: str
    installed: bool
    problem: Message | str = ""
    bytes: int = 0
    sha256: tuple[tuple[str, str], ...] = ()
    card: Card = field(default_factory=Card)


def parts(root: Path) -> list[Part]:
    """The parts that drawing needs and others that are there, verified. WeightsError for a damaged manifest."""
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
    """A model card; empty where there is none. No HTML in it is HTML here."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return Card()
    head, _, body = text[4:].partition("\n---\n") if text.startswith("---\n") else ("", "", text)
    licence, score = _LICENCE.search(head), _SCORE.search(body)
    shown = Markup(MARKDOWN.render(body))
    return Card(licence[1] if licence else "", _MARKS.sub("", " ".join(score[1].split())) if score else "", shown)


@cache
def concepts(root: Path) -> dict[str, list[str]]:
    """Names of the concepts that the model was taught, by language ("en", "zh"); empty where no part lists them."""
    try:
        listed = json.loads((root / VOCABULARY / "vocabulary.json").read_text(encoding="utf-8"))["concepts"]
        return {language: [name for name in names if name] for language, names in listed.items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return {}


def attribution() -> str:
    """ATTRIBUTION.md: beside the assets in a checkout, with the licences in an installed package; "" where neither."""
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
            made.parts = parts(root)
        except WeightsError as error:
            made.parts_problem = error.message
        made.concepts = concepts(root)
    return made


class ModelsHandlers:
    def __init__(self, context: PageContext) -> None:
        self.context, self.store = context, context.studio.store

    def load(self) -> str:
        """The tab was opened -> the models."""
        own = self.context.model
        others = [model(name) for name in MODELS if name != own.partition(":")[0] and name != "fake"]
        return overview(model(own), others, samples(self.context.can.styles), examples_here())

    def disk(self) -> Markup:
        """The models on this disk, read from their headers alone, as HTML."""
        here = machine(settings.device())
        found = look(settings.model_folders(self.context.studio.home))
        return render("models.disk", [(one, fit(one, here)) for one in found])

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
        disk = gr.HTML(js_on_load=None, elem_id="disk")
        if sources := attribution():
            with gr.Accordion(label("models.attribution"), open=False, elem_id="attribution"):
                gr.Markdown(sources)
        troubles = gr.HTML(js_on_load=LISTEN, elem_id="trouble")
        found = gr.State("")
    tab.select(handlers.load, None, models, **QUIET)
    tab.select(handlers.disk, None, disk, **QUIET)
    pressed, refreshed = in_order("trouble")
    tab.select(handlers.trouble, found, troubles, **refreshed)
    troubles.select(handlers.doctor, None, [troubles, found], **{**pressed, **ONCE})
