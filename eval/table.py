"""The table: measures by name, and what a run prints and writes."""

import json
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eval.bench import SEED, Bench
from eval.blends import blend_rows
from eval.conditions import condition_rows
from eval.experts import expert_rows
from eval.features import PREPROCESSING, WEIGHTS_SHA256
from eval.image import control_rows, fast_rows, image_rows, stranger_rows
from eval.plain import plain_rows
from eval.reading import reading_rows
from eval.reconstruction import reconstruction_rows
from eval.retrieval import retrieval_rows
from eval.rows import MissingError, Row
from eval.scenes import scene_rows
from eval.taught import taught_rows
from eval.unknown import unknown_rows
from eval.words import word_rows

# A new measure is a new row here: name -> rows of the bench.
METRICS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "reconstruction": reconstruction_rows,
    "retrieval": retrieval_rows,
    "words": word_rows,
    "unknown": unknown_rows,
    "reading": reading_rows,
    "experts": expert_rows,
    "image": image_rows,
    "fast": fast_rows,
    "plain": plain_rows,
    "taught": taught_rows,
    "strangers": stranger_rows,
    "conditions": condition_rows,
    "blends": blend_rows,
    "scenes": scene_rows,
    "controls": control_rows,
}
LIBRARIES = ("torch", "diffusers", "transformers", "torchmetrics", "numpy", "pillow")
Group = dict[str, Any]


def measure(bench: Bench, names: list[str]) -> dict[str, Group]:
    """Run the measures: name -> {"rows": [Row], "missing": sentence or None, "seconds": float}.

    A measure that lacks weights or data says so and keeps the rows it had; the others run all the same.
    """
    groups: dict[str, Group] = {}
    for name in names:
        rows: list[Row] = []
        missing, start = None, time.perf_counter()
        try:
            rows.extend(METRICS[name](bench))
        except MissingError as error:
            missing = str(error)
        groups[name] = {"rows": rows, "missing": missing, "seconds": round(time.perf_counter() - start, 1)}
    return groups


def report(bench: Bench, groups: dict[str, Group], size: str) -> dict[str, Any]:
    """What the JSON holds: rows with the sha256 of what made them, what is missing, and the run's stamps."""
    parts = sorted({part for group in groups.values() for row in group["rows"] for part in row.parts})
    return {
        "rows": [{**asdict(row), "met": row.met} for group in groups.values() for row in group["rows"]],
        "missing": {name: group["missing"] for name, group in groups.items() if group["missing"]},
        "weights": bench.parts.digests(tuple(parts)),
        "stamps": {
            "seconds": {name: group["seconds"] for name, group in groups.items()},
            "size": {"name": size, **asdict(bench.sizes)},
            "seed": SEED,
            "sampling": asdict(bench.sampling),
            "world": bench.world.digest,
            "extractor": {
                "sha256": WEIGHTS_SHA256,
                "preprocessing": PREPROCESSING,
                "projection": bench.projection.digest() if "projection" in vars(bench) else None,
            },
            **machine(),
        },
    }


def machine() -> dict[str, Any]:
    """Where and with what a figure was made."""
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES},
        "system": platform.platform(),
        "processor": _processor(),
        "isa": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def _commit() -> str | None:
    """The commit, marked "+" where files differ from it; None outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())


def print_table(groups: dict[str, Group], console: Console) -> None:
    """One table, a section a measure; what is missing below it."""
    table = Table(show_lines=False, header_style="bold", expand=False)
    for title, justify in (
        ("", "left"),
        ("figure", "right"),
        ("n", "right"),
        ("goal", "left"),
        ("against", "left"),
        ("", "left"),
    ):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for name, group in groups.items():
        table.add_section()
        table.add_row(f"[bold]{name}[/bold]", "", "", "", "", f"{group['seconds']:.0f} s")
        for row in group["rows"]:
            table.add_row(escape(row.name), _figure(row), str(row.n), _goal(row), _against(row), escape(row.note))
    console.print(table)
    for name, group in groups.items():
        if group["missing"]:
            console.print(f"{name}: {group['missing']}", style="yellow", markup=False)


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _figure(row: Row) -> str:
    unit = f" {row.unit}" if row.unit else ""
    span = f" ({_number(row.interval[0])} to {_number(row.interval[1])})" if row.interval else ""
    return f"{_number(row.value)}{unit}{span}"


def _goal(row: Row) -> str:
    if row.goal is None:
        return ""
    sign = "at most" if row.lower_is_better else "at least"
    return f"{'[green]✓' if row.met else '[red]✗'}[/] {sign} {_number(row.goal)}"


def _against(row: Row) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in row.against)


def write_json(document: dict[str, Any], path: Path) -> None:
    """Whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)
