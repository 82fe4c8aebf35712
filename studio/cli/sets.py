"""`studio set` and `grid`: pictures that belong together, and settings compared on one sheet."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from models.messages import Message, Refused
from studio.batch.plan import safe_name
from studio.cli.base import Common, command
from studio.cli.files import pack_files
from studio.cli.generate import finish, planned, readings, run_here
from studio.export.apps import app_named
from studio.export.make import Wanted, opened
from studio.export.pack import check_pack
from studio.files import ready_folder, write_whole
from studio.foreground import Batch
from studio.grid import Axis, Grid
from studio.metadata.files import credits_in
from studio.requests import make_request
from studio.sets import make_set, refuse_unknown
from studio.sinks import holds_another

AGAIN = ("again", "out", "as_json", "home")  # what `studio grid --again` looks at


@command("set", before="out")
def set_of(
    common: Common,
    kind: str,
    first: str,
    words: list[str] | None = None,
    out: Path | None = None,
    pack_title: str = "",
    for_app: str = "",
    outline: bool = False,
    **fields: Any,
) -> None:
    """Make pictures that belong together: `emotions cat`, `subjects happy`, `style noto cat dog pizza`."""
    chosen = app_named(for_app) if for_app else None
    if bool(pack_title) != bool(chosen):
        raise Refused("cli.pack_needs_app")
    members = make_set(kind, first, words or (), **fields, model=common.model)
    if chosen:
        check_pack(pack_title, len(members), chosen)
    refuse_unknown(members, lambda subjects: readings(subjects, common.model))
    backend, jobs = planned([member.request for member in members], common)
    labels = {job.id: member.label for job, member in zip(jobs, members, strict=True)}
    names = {job: f"{n:02}-{safe_name(label) or 'picture'}.png" for n, (job, label) in enumerate(labels.items(), 1)}
    for job, name in names.items():
        if out and holds_another(out / name, job):
            raise Refused("cli.another_picture", path=out / name)
    batch = run_here(backend, jobs, replace(common, out=out), names)
    rows = [{**row.as_dict(), "label": labels[row.job_id]} for row in batch.rows]
    if chosen and not batch.code:
        labelled = [(Path(row["path"]), row["label"]) for row in rows]
        rows.append(pack_files(labelled, pack_title, Wanted(for_app, outline=outline), None, out or Path()))
    finish(batch, rows, common)


@command(before="out")
def grid(
    common: Common,
    context: typer.Context,
    prompt: str = "",
    x: str = "",
    y: str = "",
    again: Path | None = None,
    out: Path | None = None,
    **fields: Any,
) -> None:
    """Compare two settings on one labelled sheet: `--x "seed=1-4" --y "style=noto, outline"`.

    Values as for A1111's X/Y/Z plot: a list, 1-5, 1-10 (+2), 1-10 [5]; for the prompt, words that it says and what to
    put in their place.
    """
    if again:
        _check_nothing_else(context)
        made = Grid.from_file(again)
    elif x:
        request = make_request(prompt=prompt, **fields, model=common.model)
        made = Grid(request, Axis.parse(x), Axis.parse(y) if y else None)
    else:
        raise Refused("cli.grid_what")
    _make_sheet(made, out or Path(made.name), common)


def _check_nothing_else(context: typer.Context) -> None:
    """Refused where an option was typed that `--again` does not look at, even with its default value."""
    names = []
    for one in context.command.params:
        source = context.get_parameter_source(one.name or "")
        if one.name not in AGAIN and source and source.name == "COMMANDLINE":
            names.append(one.opts[0] if one.opts[0].startswith("-") else f"the {one.name}")
    if names:
        options = Message("cli.and", {"listed": names[:-1], "last": names[-1]}) if len(names) > 1 else names[0]
        raise Refused("cli.grid_again", options=options)


def _make_sheet(made: Grid, target: Path, common: Common) -> None:
    """Draw a grid's pictures into the gallery, model by model, and write the sheet."""
    asked = made.requests()
    if target.is_dir():
        raise Refused("cli.is_folder", path=target, example=target / made.name)
    ready_folder(target.parent, 1)
    paths, whole = dict[int, str](), Batch()
    for model in dict.fromkeys(request.model for request in asked):
        places = [place for place, request in enumerate(asked) if request.model == model]
        backend, jobs = planned([asked[place] for place in places], common)
        batch = run_here(backend, jobs, common)
        found = {row.job_id: row.path for row in batch.rows}
        paths |= {place: found[job.id] for place, job in zip(places, jobs, strict=True) if job.id in found}
        whole = Batch([], whole.problems + batch.problems, whole.stopped or batch.stopped)
    pictures = [paths.get(place) for place in range(len(asked))]
    rows = []
    if paths and not whole.stopped:
        owed = itertools.chain.from_iterable(credits_in(Path(path)) for path in paths.values())
        write_whole(target, made.file([None if path is None else opened(Path(path)) for path in pictures], owed))
        axes = {"columns": made.x.labels(), "rows": made.y.labels() if made.y else []}
        rows = [{"path": str(target), **axes, "pictures": pictures}]
    finish(whole, rows, common)
