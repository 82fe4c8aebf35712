"""`studio learn` and `studio adapters`: a style or a thing learned from pictures, and what was learned."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from models.messages import Message, Refused
from studio import inputs, preferences
from studio import learn as learning
from studio.cli.base import FILE, HOME, Common, command, leave, warn
from studio.cli.generate import readings
from studio.files import write_whole
from studio.foreground import STOPPED, bar_on_stderr
from studio.loras import PREFERENCES
from studio.preferences import MINUTES

OTHERS = 30.0  # minutes


@command("model", *HOME)
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="DIR|FILE...|preferences")
@click.option("--word", metavar="NAME", help="What to call it: prompts say <lora:NAME>.")
@click.option(
    "--minutes",
    type=float,
    help=f"How long to train; {learning.MINUTES:g}, of preferences {MINUTES:g}, of other models {OTHERS:g}.",
)
@click.option("--captions", is_flag=True, help="Only write a text file beside each picture, to be edited.")
def learn(common: Common, files: Sequence[Path], word: str | None, minutes: float | None, captions: bool) -> None:
    """Learn a style, or a thing, from 5 to 50 pictures, on this machine; or, without --word, what the ratings of the
    Rate tab prefer. A model of diffusers (--model diffusers:NAME) learns a LoRA as diffusers' own scripts train it.

    What a picture shows is said by the text file beside it (cat.txt beside cat.png), else by the captioner. Stopped
    with Ctrl-C, what was learned so far is there; the same command goes on.
    """
    usual = MINUTES if word is None else learning.MINUTES if common.model == learning.OWN else OTHERS
    given = usual if minutes is None else minutes
    if word is None:
        if [str(file) for file in files] != [PREFERENCES] or captions:
            raise Refused("learn.no_word")
        _learn(common, PREFERENCES, lambda show: preferences.learn(common.root, given, show))
        return
    pictures = learning.read_pictures(
        [path for file in files for path in (inputs.pictures_in(file) if file.is_dir() else [file])]
    )
    learning.check_name(common.root, word)
    if captions:
        pictures = learning.described(pictures)
        for picture in pictures:
            write_whole(picture.path.with_suffix(".txt"), f"{picture.caption}\n".encode(), "DIR")
        common.print_rows([{"path": str(one.path), "caption": one.caption} for one in pictures], _caption_line)
        return
    own = readings([word], learning.OWN) if common.model == learning.OWN else []
    if known := [part["text"] for reading in own for part in _drawn(reading)]:
        warn(Message("learn.known_word", {"name": word, "words": known}))
    _learn(common, word, lambda show: learning.learn(common.root, word, pictures, given, show, model=common.model))


def _learn(common: Common, name: str, train: Callable[[Callable[[learning.Status], None]], Path]) -> None:
    """Train with a bar, and print what was learned."""
    with bar_on_stderr() as bar:
        task = bar.add_task("", total=1.0)

        def show(status: learning.Status) -> None:
            bar.update(task, completed=status.progress, description=str(status.sentence))

        try:
            folder = train(show)
        except KeyboardInterrupt:
            leave(STOPPED)
    about = "learn.preferred" if name == PREFERENCES else "learn.learned"
    row = learning.adapter_named(common.root, name).as_dict()
    common.print_document(row, str(Message(about, {"name": name, "path": str(folder)})))


def _drawn(reading: Any) -> list[dict[str, str]]:
    return [{"text": part.text} for part in reading.parts if part.state == "drawn"]


def _caption_line(row: dict[str, str]) -> str:
    return f"{row['path']}\t{row['caption']}"


@command("out", *HOME)
@click.argument("do", required=False, default="list", type=click.Choice(["list", "export", "remove"]))
@click.argument("names", nargs=-1, metavar="[NAME]...")
def adapters(common: Common, do: str, names: Sequence[str]) -> None:
    """List what was learned; export NAME: copy it into --out DIR, a folder that peft loads; remove NAME: delete it."""
    if do == "list":
        there = {adapter.name: adapter for adapter in learning.adapters(common.root)}
        rows = [adapter.as_dict() for adapter in there.values()]
        common.print_rows(rows, lambda row: f"{row['name']}\t{there[row['name']].source}\t{row['path']}")
        return
    if not names:
        raise Refused("learn.which", do=do)
    if do == "export" and common.out is None:
        raise Refused("learn.no_out")
    for name in names:
        if do == "remove":
            learning.remove(common.root, name)
        elif common.out is not None:
            common.print_document({"path": (path := str(learning.export(common.root, name, common.out)))}, path)
