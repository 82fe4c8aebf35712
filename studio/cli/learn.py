"""`studio learn` and `studio adapters`: a style or a thing learned from pictures, and what was learned."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from models.messages import Message, Refused
from studio import inputs
from studio import learn as learning
from studio.cli.base import FILE, HOME, Common, command, leave, warn
from studio.cli.generate import readings
from studio.files import write_whole
from studio.foreground import STOPPED, bar_on_stderr


@command(*HOME)
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="DIR|FILE...")
@click.option("--word", required=True, metavar="NAME", help="What to call it: prompts say <lora:NAME>.")
@click.option("--minutes", type=float, default=learning.MINUTES, show_default=True, help="How long to train.")
@click.option("--captions", is_flag=True, help="Only write a text file beside each picture, to be edited.")
def learn(common: Common, files: Sequence[Path], word: str, minutes: float, captions: bool) -> None:
    """Learn a style, or a thing, from 5 to 50 pictures, on this machine.

    What a picture shows is said by the text file beside it (cat.txt beside cat.png), else by the captioner. Stopped
    with Ctrl-C, what was learned so far is there; the same command goes on.
    """
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
    if known := [part["text"] for reading in readings([word], "embedded") for part in _drawn(reading)]:
        warn(Message("learn.known_word", {"name": word, "words": known}))
    with bar_on_stderr() as bar:
        task = bar.add_task("", total=1.0)

        def show(status: learning.Status) -> None:
            bar.update(task, completed=status.progress, description=str(status.sentence))

        try:
            folder = learning.learn(common.root, word, pictures, minutes, show)
        except KeyboardInterrupt:
            leave(STOPPED)
    row = learning.adapter_named(common.root, word).as_dict()
    common.print_document(row, str(Message("learn.learned", {"name": word, "path": str(folder)})))


def _drawn(reading: Any) -> list[dict[str, str]]:
    return [{"text": part.text} for part in reading.parts if part.state == "drawn"]


def _adapter_line(row: dict[str, Any]) -> str:
    count = Message("learn.from", {"count": len(row["pictures"]), "minutes": row["minutes"]})
    return f"{row['name']}\t{count}\t{row['path']}"


def _caption_line(row: dict[str, str]) -> str:
    return f"{row['path']}\t{row['caption']}"


@command("out", *HOME)
@click.argument("do", required=False, default="list", type=click.Choice(["list", "export", "remove"]))
@click.argument("names", nargs=-1, metavar="[NAME]...")
def adapters(common: Common, do: str, names: Sequence[str]) -> None:
    """List what was learned; export NAME: copy it into --out DIR, a folder that peft loads; remove NAME: delete it."""
    if do == "list":
        rows = [adapter.as_dict() for adapter in learning.adapters(common.root)]
        common.print_rows(
            rows, lambda row: f"{row['name']}\t{len(row['pictures'])}\t{row['minutes']} min\t{row['path']}"
        )
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
