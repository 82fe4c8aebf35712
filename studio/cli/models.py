"""`studio models`: which there are here, what they are, and which one is used."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from models.messages import Refused
from studio import settings
from studio.backends.registry import MODELS
from studio.cli.base import Common, command, warn
from studio.disk.digests import Digests
from studio.disk.estimate import Fit, fit
from studio.disk.found import Found
from studio.disk.look import look, named
from studio.disk.machine import machine
from studio.doors import model_state

NOTHING = {"needs": 0, "memory": "", "estimate": ""}
Do = Literal["", "list", "info", "verify", "add", "remove", "use"]


@command()
def models(common: Common, do: Do = "", names: list[str] | None = None, folders: list[Path] | None = None) -> None:
    """List the studio's models and what is missing where one is not ready; with a word what lies on this disk and where
    models are looked for:

    list: the models on this disk. info, verify MODEL: what is known of one; whether its files are whole. add ID|DIR:
    download one of the hub, or look through a folder from now on. remove MODEL|DIR: the opposite. use MODEL: take it
    where none is named.
    """
    if not do:
        _own(common)
        return
    DOES[do](common, names or [], settings.model_folders(common.root, folders or []))


def _own(common: Common) -> None:
    shown = {"about", "ready", "problem", "digest"}
    rows = [{"model": name, **model_state(name).model_dump(include=shown)} for name in MODELS]
    common.print_rows(rows, lambda row: f"{row['model']}\t{row['problem'] or 'ready'}\t{row['about']}")


def _list(common: Common, names: list[str], folders: list[Path]) -> None:
    here, digests = machine(), Digests(common.root)
    rows = [row(one, fit(one, here), digests.of_model(one)) for one in look(folders)]
    common.print_rows(rows, _line)
    if not rows:
        warn("There are none; studio models add ID downloads one.", program="")


def _info(common: Common, names: list[str], folders: list[Path]) -> None:
    here, digests, there = machine(), Digests(common.root), look(folders)
    found = [named(name, there) for name in _some(names)]
    rows = [row(one, fit(one, here), digests.of_model(one, compute=not one.problem)) for one in found]
    common.print_rows(rows, lambda row: "\n".join(f"{name}: {value}" for name, value in row.items() if value != ""))


def row(found: Found, fits: Fit | None, sha256: str) -> dict[str, Any]:
    """A model as `--json` prints it."""
    return {
        **{name: getattr(found, name) for name in ("name", "model", "kind", "family", "task", "bytes", "licence")},
        "path": str(found.path),
        "sha256": sha256,
        **({"needs": fits.needs, "memory": fits.word, "estimate": str(fits.message)} if fits else NOTHING),
        "problem": str(found.problem),
    }


def _line(row: dict[str, Any]) -> str:
    parts = [row["model"] or row["name"], row["kind"], row["family"], _size(row["bytes"]), row["licence"]]
    return "\t".join([*(part for part in parts if part), row["problem"] or row["estimate"]])


def _some(names: list[str]) -> list[str]:
    if not names:
        raise Refused("disk.which")
    return names


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 50_000_000 else f"{count / 1e6:.1f} MB"


DOES: dict[str, Callable[[Common, list[str], list[Path]], None]] = {"list": _list, "info": _info}
