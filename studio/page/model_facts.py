"""What is known of the models without loading them: the parts that ship, their cards, the words they were taught."""

import json
import re
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path

from models.assets import assets
from models.messages import Message
from models.weights import WeightsError, listed_parts, part_folder
from studio.backends.embedded import PARTS

CARD = "README.md"
VOCABULARY = "vocabulary"  # the part that lists the concepts; its own module imports torch
_LICENCE = re.compile(r"^license:\s*(\S+)", re.MULTILINE)
_FACT = re.compile(r"^- \*\*(.+?)\*\*:?\s*(.*)")
_MARKS = re.compile(r"\*\*|`")
MEASURED = ("score", "scores", "figures", "results")  # what cards call the item that says how good a part is


@dataclass
class Card:
    """What a model card says. `figures` are its tables, each a list of rows of cells, the first the header."""

    licence: str = ""
    about: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list)
    figures: list[list[list[str]]] = field(default_factory=list)

    @property
    def score(self) -> str:
        """How good it was measured to be, "" where the card does not say."""
        return next((text for name, text in self.facts if name.lower() in MEASURED), "")


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
    """The parts that drawing needs and the others that are there, read through and compared with the manifest.

    WeightsError where the manifest itself is missing or damaged.
    """
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
    """A model card: licence, first paragraph, `- **Name**: ...` items and tables. Empty where there is no card."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return Card()
    card, body = Card(), text
    if text.startswith("---\n"):
        head, _, body = text[4:].partition("\n---\n")
        licence = _LICENCE.search(head)
        card.licence = licence[1] if licence else ""
    for block in re.split(r"\n\s*\n", body.strip()):
        _take(card, block.splitlines())
    return card


def _take(card: Card, lines: list[str]) -> None:
    if lines and lines[0].startswith("|"):
        rows = [[_plain(cell) for cell in line.strip().strip("|").split("|")] for line in lines]
        card.figures.append([row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row)])
    elif lines and lines[0].startswith("- "):
        items = re.split(r"\n(?=- )", "\n".join(lines))
        found = [_FACT.match(" ".join(item.split())) for item in items]
        card.facts += [(_plain(item[1]), _plain(item[2])) for item in found if item]
    elif lines and not lines[0].startswith("#") and not card.about:
        card.about = _plain(" ".join(lines))


def _plain(text: str) -> str:
    return _MARKS.sub("", text).strip()


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
