"""From measures to rows, from rows to one document, from the document to pages.

A table is printed, or written as JSON or Markdown.

`python -m eval report` writes the figures that are shown: `docs/figures.json` holds the last run of each measure at
each size, with the sha256 of the weights that made it. Each of `PAGES` says between two marks what it shows: `figures:
all`, measures by name (on a model card the rows that its part has a share in), or a template of `eval/`. A row whose
weights are no longer those that ship says so.
"""

import argparse
import json
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import date
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, select_autoescape
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eval.metrics import METRICS
from eval.rows import SEED, MissingError, Row
from models.data.stored import whole
from models.messages import Refused
from models.weights import listed_parts, part_digests

if TYPE_CHECKING:
    from eval.context import Context

Group = dict[str, Any]
Document = dict[str, Any]

LIBRARIES = ("torch", "diffusers", "transformers", "torchmetrics", "numpy", "pillow")
WIDE = 200  # columns where standard output is no terminal

ROOT = Path(__file__).parent.parent
FIGURES = "docs/figures.json"
PAGES = ("README.md", "docs/*.md", "assets/weights/*/README.md")
ORDER = ("full", "standard", "quick")
MARKED = re.compile(r'(\[//\]: # "figures: (.+?)"\n).*?(\[//\]: # "end"\n)', re.DOTALL)  # comments in any Markdown


# --- Measuring --------------------------------------------------------------------------------------------------------


def measure(context: "Context", names: list[str]) -> dict[str, Group]:
    """Run metrics: name -> {"rows": [Row], "missing": sentence or None, "inapplicable": sentence or None, "seconds"}.

    A metric that lacks weights or data keeps the rows it had and reports what is missing. One that needs an ability
    that the generator lacks is skipped with the reason. The others run all the same.
    """
    groups: dict[str, Group] = {}
    for name in names:
        rows: list[Row] = []
        missing, start = None, time.perf_counter()
        inapplicable = context.turn_to(METRICS[name].needs)
        try:
            if not inapplicable:
                rows.extend(METRICS[name].rows(context))
        except MissingError as error:
            missing = str(error)
        seconds = round(time.perf_counter() - start, 1)
        groups[name] = {"rows": rows, "missing": missing, "inapplicable": inapplicable, "seconds": seconds}
    return groups


def table_document(context: "Context", groups: dict[str, Group], size: str) -> Document:
    """What the JSON holds: rows with the sha256 of what made them, what is missing, and the run's stamps."""
    from eval.extractors import PREPROCESSING, WEIGHTS_SHA256

    parts = sorted({part for group in groups.values() for row in group["rows"] for part in row.parts})
    return {
        **rows_of(groups),
        "missing": {name: group["missing"] for name, group in groups.items() if group["missing"]},
        "inapplicable": {name: group["inapplicable"] for name, group in groups.items() if group.get("inapplicable")},
        "weights": context.parts.digests(parts),
        "stamps": {
            "seconds": {name: group["seconds"] for name, group in groups.items()},
            "size": {"name": size, **asdict(context.sizes)},
            "seed": SEED,
            "generators": {generator.name: generator.settings() for generator in context.generators},
            "world": context.world.digest,
            "extractor": {
                "sha256": WEIGHTS_SHA256,
                "preprocessing": PREPROCESSING,
                "projection": context.reference.digest() if "reference" in vars(context) else None,
            },
            **machine(),
        },
    }


def rows_of(groups: dict[str, Group]) -> Document:
    """Rows as the JSON holds them."""
    rows = [{"group": name, **asdict(row), "met": row.met} for name, group in groups.items() for row in group["rows"]]
    return {"rows": rows}


def machine() -> dict[str, Any]:
    """Date, commit (marked "+" where files differ from it; None outside a checkout), libraries and processor."""
    import torch

    commit = ""
    if shutil.which("git"):
        command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
        commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    processor = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())
    return {
        "date": date.today().isoformat(),
        "commit": commit or None,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES},
        "system": platform.platform(),
        "processor": processor,
        "isa": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def print_table(groups: dict[str, Group], console: Console) -> None:
    """One table, a section a metric; what is missing or does not apply below it."""
    table = Table(header_style="bold")
    for title in ("", "figure", "n", "goal", "against", ""):
        table.add_column(title, justify="right" if title in ("figure", "n") else "left")
    for name, group in groups.items():
        table.add_section()
        table.add_row(f"[bold]{name}[/bold]", "", "", "", "", f"{group['seconds']:.0f} s")
        for row in group["rows"]:
            span = " ({} to {})".format(*map(number, row.interval)) if row.interval else ""
            figure, sign = f"{number(row.value)} {row.unit}".strip(), "at most" if row.lower_is_better else "at least"
            goal = "" if row.goal is None else f"{'[green]✓' if row.met else '[red]✗'}[/] {sign} {number(row.goal)}"
            against = ", ".join(f"{name} {number(value)}" for name, value in row.against)
            table.add_row(escape(row.name), figure + span, str(row.n), goal, against, escape(row.note))
    console.print(table)
    for name, group in groups.items():
        if sentence := group["missing"] or group.get("inapplicable"):
            console.print(f"{name}: {sentence}", style="yellow", markup=False)


def number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


# --- Documents --------------------------------------------------------------------------------------------------------


def by_group(document: Document) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in document["rows"]:
        groups.setdefault(row["group"], []).append(row)
    return groups


def as_json(document: Document) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def as_markdown(document: Document) -> str:
    return "\n".join(f"### {name}\n\n{markdown_table(rows)}" for name, rows in by_group(document).items())


def markdown_table(rows: Iterable[dict[str, Any]], note: str = "") -> str:
    """Rows as a table; `note` heads the last column."""
    lines = [f"| measure | value | 95 % | n | goal | beside it | {note} |", "|---|---:|---|---:|---|---|---|"]
    for row in rows:
        span = " to ".join(map(number, row["interval"] or ()))
        sign = "at most" if row["lower_is_better"] else "at least"
        shown = (
            row["name"], f"{number(row['value'])} {row['unit']}", span,
            row["n"], "" if row["goal"] is None else f"{'✓' if row['met'] else '✗'} {sign} {number(row['goal'])}",
            "; ".join(f"{name} {number(value)}" for name, value in row["against"]), row["note"],
        )  # fmt: skip
        lines.append(f"| {' | '.join(str(cell).strip().replace('|', chr(92) + '|') for cell in shown)} |")
    return "\n".join(lines) + "\n"


FORMATS: dict[str, Callable[[Document], str]] = {"json": as_json, "markdown": as_markdown}


def rendered(template: str, **values: Any) -> str:
    """A template of this folder, filled in."""
    folder = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=folder, autoescape=select_autoescape(["html.j2"]))
    return environment.get_template(template).render(values)


def add_outputs(parser: argparse.ArgumentParser) -> None:
    for name in FORMATS:
        help = f"write the figures as {name} here, or to standard output"
        parser.add_argument(f"--{name}", nargs="?", const="-", metavar="FILE", help=help)


def write(document: Document, arguments: argparse.Namespace) -> None:
    """Write the document into each named file; "-" is standard output."""
    for name, form in FORMATS.items():
        path = getattr(arguments, name)
        if path == "-":
            sys.stdout.write(form(document))
        elif path:
            with whole(Path(path)) as part:
                part.write_text(form(document), encoding="utf-8")


def console(arguments: argparse.Namespace) -> Console:
    """Where the table is printed: to standard output, unless a document goes there."""
    out = sys.stderr if any(getattr(arguments, name) == "-" for name in FORMATS) else sys.stdout
    return Console(file=out, width=None if out.isatty() else WIDE)


def publish(title: str, groups: dict[str, list[Row]], arguments: argparse.Namespace, **more: Any) -> None:
    """Print rows by group, and write them into the files that the options name."""
    timed: dict[str, Group] = {name: {"rows": rows, "missing": None, "seconds": 0} for name, rows in groups.items()}
    print_table(timed, console(arguments))
    write({"title": title, **rows_of(timed), **more, "stamps": machine()}, arguments)


def refusing(main: Callable[[list[str]], int]) -> Callable[[list[str]], int]:
    """A command whose refusal is one sentence on standard error and exit code 2."""

    @wraps(main)
    def run(words: list[str]) -> int:
        try:
            return main(words)
        except (Refused, ValueError, FileNotFoundError) as error:
            print(error, file=sys.stderr)
            return 2

    return run


# --- Recorded figures -------------------------------------------------------------------------------------------------


class Figures:
    """Recorded runs, each {measure, size, rows, weights, stamps}, beside the weights that ship, {part: sha256}."""

    def __init__(self, runs: Sequence[Document], shipped: dict[str, str]) -> None:
        self.runs, self.shipped = list(runs), shipped

    @classmethod
    def load(cls, root: Path = ROOT) -> "Figures":
        path, weights = root / FIGURES, root / "assets" / "weights"
        runs = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.is_file() else []
        return cls(runs, part_digests(tuple(listed_parts(weights)), weights))

    def add(self, document: Document) -> None:
        """The measures of a document of `--json`, each in place of its last run at that size. One that lacked something
        stays as it was."""
        stamps = document["stamps"]
        size = stamps["size"]["name"]
        rows = by_group(document)
        for measure in rows.keys() - document["missing"].keys():
            used = {name for row in rows[measure] for name in document["weights"] if part_of(name) in row["parts"]}
            run = {
                "measure": measure, "size": size, "rows": rows[measure],
                "weights": {name: document["weights"][name] for name in sorted(used)},
                "stamps": stamps | {"seconds": stamps["seconds"][measure]},
            }  # fmt: skip
            others = [other for other in self.runs if (other["measure"], other["size"]) != (measure, size)]
            self.runs = sorted([*others, run], key=lambda run: (run["measure"], ORDER.index(run["size"])))

    def older(self, run: Document, row: Document) -> list[str]:
        """Parts that had a share in a row and are others now."""
        weights = run["weights"].items()
        return [name for name, sha in weights if part_of(name) in row["parts"] and self.shipped.get(name) != sha]

    def find(self, measure: str, name: str) -> tuple[Document, list[str]]:
        """A row, and what is older in it: by the weights that ship where there is one, else of the largest run."""
        runs = [run for run in self.runs if run["measure"] == measure]
        matches = [(row, self.older(run, row)) for run in runs for row in run["rows"] if row["name"] == name]
        if not matches:
            raise ValueError(f"{FIGURES} has no figure {name!r} of {measure}; run: python -m eval {measure} --record")
        return min(matches, key=lambda match: bool(match[1]))

    def tables(self, measures: Sequence[str], part: str = "") -> Iterator[str]:
        """Heading and table of each run of these measures, or all; with a part the rows that it has a share in."""
        for run in self.runs:
            rows = [row for row in run["rows"] if not part or part_of(part) in row["parts"]]
            if not rows or not ({"all", run["measure"]} & set(measures)):
                continue
            shown = [row | {"note": ", ".join(f"`{name}`" for name in self.older(run, row))} for row in rows]
            measure = f'"{run["measure"]}"' if " " in run["measure"] else run["measure"]
            when = [run["stamps"].get("date"), (run["stamps"]["commit"] or "")[:7]]
            title = ", ".join([f"`python -m eval {measure} --{run['size']}`", *filter(None, when)])
            about = (METRICS[run["measure"]].rows.__doc__ or "") if run["measure"] in METRICS else ""
            yield f"{title}. {' '.join(about.split())}\n\n{markdown_table(shown, 'older weights')}"

    def template(self, name: str) -> str:
        """A template of `eval/` with `of(measure, row, beside)`: a figure, or one that stands beside it, marked † where
        its weights are older."""
        marked: set[str] = set()

        def of(measure: str, name: str, beside: str = "", share: bool = True) -> str:
            row, older = self.find(measure, name)
            marked.update(older)
            value = dict(row["against"])[beside] if beside else row["value"]
            return (f"{100 * value:.0f}" if share else f"{value:.1f}") + ("†" if older and not beside else "")

        return rendered(name, of=of, marked=marked)

    def pages(self, root: Path = ROOT) -> dict[Path, str]:
        """All pages that show figures, as they must be."""

        def block(path: Path, content: str) -> str:
            if content.endswith(".j2"):
                return self.template(content)
            part = path.parent.name if path.parent.parent.name == "weights" else ""
            return "\n".join(self.tables(content.split(", "), part))

        pages = {path: path.read_text(encoding="utf-8") for page in PAGES for path in sorted(root.glob(page))}
        return {
            path: MARKED.sub(lambda mark: f"{mark[1]}\n{block(path, mark[2]).strip()}\n\n{mark[3]}", text)  # noqa: B023
            for path, text in pages.items() if MARKED.search(text)
        }  # fmt: skip

    def write(self, root: Path = ROOT) -> None:
        """The JSON and the pages."""
        for path, text in {root / FIGURES: as_json({"runs": self.runs}), **self.pages(root)}.items():
            with whole(path) as part:
                part.write_text(text, encoding="utf-8")


def part_of(name: str) -> str:
    """A part as rows name it: that of the training pictures is called as that of all."""
    return name.removesuffix("-train")


def record(documents: Sequence[Document]) -> None:
    """Add runs to the figures that are shown, and write the pages anew."""
    figures = Figures.load()
    for document in documents:
        figures.add(document)
    figures.write()


@refusing
def main(words: list[str]) -> int:
    """Entry point: 0 done, 1 where `--check` finds a page that is not as its figures, 2 refused."""
    parser = argparse.ArgumentParser(prog="python -m eval report", description="Write the pages that show figures.")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="what --json wrote, to be added first")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page differs")
    arguments = parser.parse_args(words)
    if not arguments.check:
        record([json.loads(path.read_text(encoding="utf-8")) for path in arguments.files])
        return 0
    stale = [str(path) for path, text in Figures.load().pages().items() if path.read_text("utf-8") != text]
    if stale:
        print(f"not as {FIGURES} says: {', '.join(stale)}; run: python -m eval report", file=sys.stderr)
    return 1 if stale else 0
