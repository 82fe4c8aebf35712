"""The table: runs metrics by name, prints their rows and writes the JSON."""

import platform
import shutil
import subprocess
import time
from dataclasses import asdict
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eval.context import SEED, Context
from eval.features import PREPROCESSING, WEIGHTS_SHA256
from eval.metrics import METRICS
from eval.rows import MissingError, Row

LIBRARIES = ("torch", "diffusers", "transformers", "torchmetrics", "numpy", "pillow")
Group = dict[str, Any]


def measure(context: Context, names: list[str]) -> dict[str, Group]:
    """Run metrics: name -> {"rows": [Row], "missing": sentence or None, "inapplicable": sentence or None, "seconds"}.

    A metric that lacks weights or data says so and keeps the rows it had; one that needs what the generator has not is
    skipped and says why. The others run all the same.
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


def report(context: Context, groups: dict[str, Group], size: str) -> dict[str, Any]:
    """What the JSON holds: rows with the sha256 of what made them, what is missing, and the run's stamps."""
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
            "generators": {one.name: one.settings() for one in context.generators},
            "world": context.world.digest,
            "extractor": {
                "sha256": WEIGHTS_SHA256,
                "preprocessing": PREPROCESSING,
                "projection": context.reference.digest() if "reference" in vars(context) else None,
            },
            **machine(),
        },
    }


def rows_of(groups: dict[str, Group]) -> dict[str, Any]:
    """Rows as the JSON holds them, and the pictures that the page shows of them."""
    every = [(name, row) for name, group in groups.items() for row in group["rows"]]
    rows = [{"group": name, **asdict(row), "met": row.met} for name, row in every]
    sheets = {f"{name}: {row.name}": [asdict(strip) for strip in row.shown] for name, row in every if row.shown}
    return {"rows": [{key: value for key, value in row.items() if key != "shown"} for row in rows], "sheets": sheets}


def machine() -> dict[str, Any]:
    return {
        "date": date.today().isoformat(),
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
    if not shutil.which("git"):
        return None
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    return done.stdout.strip() or None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())


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
