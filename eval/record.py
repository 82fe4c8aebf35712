"""`python -m eval report`: the figures that are shown, in one JSON, and the pages that are written from it.

`docs/figures.json` holds the last run of each measure at each size, with the sha256 of the weights that made it. Each
of `PAGES` says between two marks what it shows: `figures: all`, measures by name (on a model card the rows that its
part has a share in), or a template of `eval/`. A row whose weights are no longer those that ship says so.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from eval.report import Document, as_json, by_group, markdown_table, refusing, rendered
from eval.table import METRICS
from models.data.stored import whole
from models.weights import listed_parts, part_digests

ROOT = Path(__file__).parent.parent
FIGURES = "docs/figures.json"
PAGES = ("README.md", "docs/*.md", "assets/weights/*/README.md")
SIZES = ("full", "standard", "quick")
BLOCK = re.compile(r'(\[//\]: # "figures: (.+?)"\n).*?(\[//\]: # "end"\n)', re.DOTALL)  # comments in any Markdown


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
            others = [one for one in self.runs if (one["measure"], one["size"]) != (measure, size)]
            self.runs = sorted([*others, run], key=lambda one: (one["measure"], SIZES.index(one["size"])))

    def older(self, run: Document, row: Document) -> list[str]:
        """Parts that had a share in a row and are others now."""
        own = run["weights"].items()
        return [name for name, sha in own if part_of(name) in row["parts"] and self.shipped.get(name) != sha]

    def find(self, measure: str, name: str) -> tuple[Document, list[str]]:
        """A row, and what is older in it: by the weights that ship where there is one, else of the largest run."""
        every = [(row, self.older(run, row)) for run in self.runs if run["measure"] == measure for row in run["rows"]]
        if not (found := [one for one in every if one[0]["name"] == name]):
            raise ValueError(f"{FIGURES} has no figure {name!r} of {measure}; run: python -m eval {measure} --record")
        return min(found, key=lambda one: bool(one[1]))

    def tables(self, measures: Sequence[str], part: str = "") -> Iterator[str]:
        """Heading and table of each run of these measures, or all; with a part the rows that it has a share in."""
        for run in self.runs:
            if run["measure"] in measures or "all" in measures:
                rows = [row for row in run["rows"] if not part or part_of(part) in row["parts"]]
                shown = [row | {"note": ", ".join(f"`{one}`" for one in self.older(run, row))} for row in rows]
                measure = f'"{run["measure"]}"' if " " in run["measure"] else run["measure"]
                when = [run["stamps"].get("date"), (run["stamps"]["commit"] or "")[:7]]
                title = ", ".join([f"`python -m eval {measure} --{run['size']}`", *filter(None, when)])
                about = (METRICS[run["measure"]].rows.__doc__ or "") if run["measure"] in METRICS else ""
                text = f"{title}. {' '.join(about.split())}\n\n{markdown_table(shown, 'older weights')}"
                yield text if rows else ""

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

        def block(path: Path, asked: str) -> str:
            if asked.endswith(".j2"):
                return self.template(asked)
            part = path.parent.name if path.parent.parent.name == "weights" else ""
            return "\n".join(filter(None, self.tables(asked.split(", "), part)))

        pages = {path: path.read_text(encoding="utf-8") for one in PAGES for path in sorted(root.glob(one))}
        return {
            path: BLOCK.sub(lambda found: f"{found[1]}\n{block(path, found[2]).strip()}\n\n{found[3]}", text)  # noqa: B023
            for path, text in pages.items() if BLOCK.search(text)
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
    made = argparse.ArgumentParser(prog="python -m eval report", description="Write the pages that show figures.")
    made.add_argument("files", nargs="*", type=Path, metavar="FILE", help="what --json wrote, to be added first")
    made.add_argument("--check", action="store_true", help="write nothing; fail where a page differs")
    arguments = made.parse_args(words)
    if not arguments.check:
        record([json.loads(path.read_text(encoding="utf-8")) for path in arguments.files])
        return 0
    stale = [str(path) for path, text in Figures.load().pages().items() if path.read_text("utf-8") != text]
    if stale:
        print(f"not as {FIGURES} says: {', '.join(stale)}; run: python -m eval report", file=sys.stderr)
    return 1 if stale else 0
