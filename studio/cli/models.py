"""`studio models`: which there are here, what they are, and which one is used."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from models.messages import Message, Refused
from studio import settings
from studio.backends.base import MODELS, model_state, open_backend
from studio.cli.base import FILE, HOME, Common, command, warn
from studio.disk.download import download
from studio.disk.memory import Fit, fit, machine
from studio.disk.models import Digests, LocalModel, look, named, remove

NOTHING = {"needs": 0, "memory": "", "estimate": ""}


@command(*HOME)
@click.argument("do", required=False, type=click.Choice(["list", "info", "add", "remove", "use"]))
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

    list: the models on this disk. info MODEL: what is known of one. add ID|DIR:
    download one of the hub, or look through a folder from now on. remove MODEL|DIR: the opposite. use MODEL: take it
    where none is named.
    """
    everywhere = settings.model_folders(common.root, folders)
    if do is None:
        shown = {"about", "ready", "problem", "digest"}
        rows = [{"model": name, **model_state(name).model_dump(include=shown)} for name in MODELS]
        common.print_rows(rows, lambda row: f"{row['model']}\t{row['problem'] or 'ready'}\t{row['about']}")
    elif do == "list":
        _print_models(common, look(everywhere))
    elif not names:
        raise Refused("disk.which")
    elif do == "info":
        present = look(everywhere)
        _print_models(common, [named(name, present) for name in names], details=True)
    else:
        {"add": _add, "remove": _remove, "use": _use}[do](common, names, everywhere)


def _print_models(common: Common, models: Sequence[LocalModel], details: bool = False) -> None:
    """A line a model; with `details` all that is known of each, a line a fact."""
    here, digests = machine(settings.device()), Digests(common.root)
    rows = [
        model_row(model, fit(model, here), digests.of_model(model, compute=details and not model.problem))
        for model in models
    ]
    common.print_rows(rows, _facts if details else _line)
    if not rows:
        warn("There are none; studio models add ID downloads one.", program="")


def _add(common: Common, names: Sequence[str], folders: list[Path]) -> None:
    added = []
    for name in names:
        folder = Path(name).expanduser().absolute()
        if folder.is_dir():  # it is looked through from now on
            before = settings.chosen(common.root).get("folders", [])
            settings.choose(common.root, folders=list(dict.fromkeys([*before, str(folder)])))
        added.append(folder if folder.is_dir() else download(name).resolve())
    there = look(settings.model_folders(common.root, folders))
    _print_models(common, [model for model in there if any(model.path.is_relative_to(folder) for folder in added)])


def _remove(common: Common, names: Sequence[str], folders: list[Path]) -> None:
    before, there = settings.chosen(common.root).get("folders", []), look(folders)
    rows = []
    for name in names:
        folder = str(Path(name).expanduser().absolute())
        if folder in before:
            settings.choose(common.root, folders=[other for other in before if other != folder])
            rows.append({"name": folder, "bytes": 0})
        else:
            model = named(name, there)
            rows.append({"name": model.name, "bytes": remove(model)})
    common.print_rows(rows, lambda row: f"{row['name']}\t{_size(row['bytes'])} freed")


def _use(common: Common, names: Sequence[str], folders: list[Path]) -> None:
    if len(names) > 1:
        raise Refused("disk.one")
    name = names[0]
    if name.partition(":")[0] not in MODELS:
        model = named(name, look(folders))
        if model.problem or not model.model:
            raise Refused(model.problem or Message("disk.no_model", {"name": model.name, "kind": model.kind}))
        name = model.model
    open_backend(name)
    settings.choose(common.root, model=name)
    common.print_document({"model": name}, f"{name} is taken where no --model is given.")


def model_row(model: LocalModel, fits: Fit | None, sha256: str) -> dict[str, Any]:
    """A model as `--json` prints it."""
    return {
        **{name: getattr(model, name) for name in ("name", "model", "kind", "family", "task", "bytes", "licence")},
        "path": str(model.path),
        "sha256": sha256,
        **({"needs": fits.needs, "memory": fits.word, "estimate": str(fits.message)} if fits else NOTHING),
        "problem": str(model.problem),
    }


def _facts(row: dict[str, Any]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in row.items() if value != "")


def _line(row: dict[str, Any]) -> str:
    parts = [row["model"] or row["name"], row["kind"], row["family"], _size(row["bytes"]), row["licence"]]
    return "\t".join([*(part for part in parts if part), row["problem"] or row["estimate"]])


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 50_000_000 else f"{count / 1e6:.1f} MB"
