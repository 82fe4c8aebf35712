"""`studio models`: which there are here, what they are, and which one is used."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from models.messages import Message, Refused
from studio import settings
from studio.backends.base import MODELS, open_backend
from studio.cli.base import FILE, HOME, Common, command, leave, warn
from studio.disk.digests import Digests
from studio.disk.download import download
from studio.disk.memory import Fit, fit, machine
from studio.disk.models import LocalModel, look, named, remove
from studio.doors import model_state

NOTHING = {"needs": 0, "memory": "", "estimate": ""}


@command(*HOME)
@click.argument("do", required=False, type=click.Choice(["list", "info", "verify", "add", "remove", "use"]))
@click.argument("names", nargs=-1, metavar="[MODEL|ID|DIR]...")
@click.option(
    "folders",
    "--models",
    multiple=True,
    type=FILE,
    metavar="DIR",
    help="Also look through this folder, of another studio for example. Repeat it.",
)
def models(common: Common, do: str | None, names: Sequence[str], folders: Sequence[Path]) -> None:
    """List the studio's models and what is missing where one is not ready; with a word what lies on this disk and where
    models are looked for:

    list: the models on this disk. info, verify MODEL: what is known of one; whether its files are whole. add ID|DIR:
    download one of the hub, or look through a folder from now on. remove MODEL|DIR: the opposite. use MODEL: take it
    where none is named.
    """
    if do:
        ACTIONS[do](common, names, settings.model_folders(common.root, folders))
        return
    shown = {"about", "ready", "problem", "digest"}
    rows = [{"model": name, **model_state(name).model_dump(include=shown)} for name in MODELS]
    common.print_rows(rows, lambda row: f"{row['model']}\t{row['problem'] or 'ready'}\t{row['about']}")


def _list(common: Common, names: Sequence[str], folders: list[Path]) -> None:
    _show(common, look(folders))


def _show(common: Common, found: list[LocalModel]) -> None:
    here, digests = machine(settings.device()), Digests(common.root)
    rows = [row(one, fit(one, here), digests.of_model(one)) for one in found]
    common.print_rows(rows, _line)
    if not rows:
        warn("There are none; studio models add ID downloads one.", program="")


def _info(common: Common, names: Sequence[str], folders: list[Path]) -> None:
    here, digests, there = machine(settings.device()), Digests(common.root), look(folders)
    found = [named(name, there) for name in _some(names)]
    rows = [row(one, fit(one, here), digests.of_model(one, compute=not one.problem)) for one in found]
    common.print_rows(rows, lambda row: "\n".join(f"{name}: {value}" for name, value in row.items() if value != ""))


def _verify(common: Common, names: Sequence[str], folders: list[Path]) -> None:
    there, digests = look(folders), Digests(common.root)
    rows = [_verified(named(name, there), digests) for name in _some(names)]
    common.print_rows(rows, lambda row: f"{row['name']}\t{row['result']}\t{row['problem']}".rstrip())
    leave(1 if any(row["problem"] for row in rows) else 0)


def _verified(found: LocalModel, digests: Digests) -> dict[str, Any]:
    wrong, compared = digests.altered(found)
    problem = Message("disk.altered", {"path": str(wrong[0])}) if wrong else found.problem
    result = "altered" if wrong else "broken" if problem else "whole" if compared else "noted"
    return {"name": found.name, "path": str(found.path), "result": result, "problem": str(problem)}


def _add(common: Common, names: Sequence[str], folders: list[Path]) -> None:
    added = [_added(common, name) for name in _some(names)]
    there = look(settings.model_folders(common.root, folders))
    _show(common, [one for one in there if any(one.path.is_relative_to(folder) for folder in added)])


def _added(common: Common, name: str) -> Path:
    """A folder that is looked through from now on, or that of a download."""
    folder = Path(name).expanduser().absolute()
    if not folder.is_dir():
        return download(name).resolve()
    kept = settings.chosen(common.root).get("folders", [])
    settings.choose(common.root, folders=list(dict.fromkeys([*kept, str(folder)])))
    return folder


def _remove(common: Common, names: Sequence[str], folders: list[Path]) -> None:
    kept, there = settings.chosen(common.root).get("folders", []), look(folders)
    rows = []
    for name in _some(names):
        folder = str(Path(name).expanduser().absolute())
        if folder in kept:
            settings.choose(common.root, folders=[one for one in kept if one != folder])
            rows.append({"name": folder, "bytes": 0})
        else:
            found = named(name, there)
            rows.append({"name": found.name, "bytes": remove(found)})
    common.print_rows(rows, lambda row: f"{row['name']}\t{_size(row['bytes'])} freed")


def _use(common: Common, names: Sequence[str], folders: list[Path]) -> None:
    name, *more = _some(names)
    if more:
        raise Refused("disk.one")
    model = name
    if name.partition(":")[0] not in MODELS:
        found = named(name, look(folders))
        if found.problem or not found.model:
            raise Refused(found.problem or Message("disk.no_model", {"name": found.name, "kind": found.kind}))
        model = found.model
    open_backend(model)
    settings.choose(common.root, model=model)
    common.print_document({"model": model}, f"{model} is taken where no --model is given.")


def row(found: LocalModel, fits: Fit | None, sha256: str) -> dict[str, Any]:
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


def _some(names: Sequence[str]) -> Sequence[str]:
    if not names:
        raise Refused("disk.which")
    return names


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 50_000_000 else f"{count / 1e6:.1f} MB"


ACTIONS: dict[str, Callable[[Common, Sequence[str], list[Path]], None]] = {
    "list": _list,
    "info": _info,
    "verify": _verify,
    "add": _add,
    "remove": _remove,
    "use": _use,
}
