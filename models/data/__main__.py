"""`python -m models.data build | animated | fresh | licences`."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from models.data import packages
from models.data.world import World, data_folder

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The sticker world: its pictures and licences.")
console = Console(stderr=True)
Folder = Annotated[Path | None, typer.Option("--folder", help="where the world lies; $STUDIO128_DATA otherwise")]


@app.command()
def build(
    folder: Folder = None,
    workers: Annotated[int | None, typer.Option(help="processes; all cores otherwise")] = None,
    update_lock: Annotated[bool, typer.Option(help="take the newest packages and pin them")] = False,
) -> None:
    """Fetch the packages, check them, render every picture and assign the splits."""
    from models.data.build import build as run

    folder = folder or data_folder()
    if update_lock:
        packages.update_lock(folder / "downloads")
    manifest = run(folder, workers)
    console.print(f"{manifest['pictures']:,} pictures in {folder}, digest {manifest['digest'][:12]}")


@app.command()
def animated(folder: Folder = None) -> None:
    """Fetch the animated set (about 700 MB) and read its frames, as far as they are not there."""
    from models.data.extra_sets import load_animated

    world = World.load(folder)
    console.print(f"{len(load_animated(world).pictures):,} animated stickers in {world.folder}")


@app.command()
def fresh(folder: Folder = None) -> None:
    """Fetch and render the fresh test set, which is for final figures alone: python -m eval fresh."""
    from models.data.extra_sets import fetch_fresh

    pictures = fetch_fresh(World.load(folder))
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in pictures.left_out.items())
    console.print(f"{len(pictures.pictures):,} fresh pictures; left out: {left_out}")


@app.command()
def licences(
    out: Annotated[Path, typer.Argument(help="file to write")] = Path("ATTRIBUTION.md"), folder: Folder = None
) -> None:
    """Write ATTRIBUTION.md from the manifest."""
    from models.data.build import attribution

    out.write_text(attribution(folder or data_folder()), encoding="utf-8")
    console.print(f"wrote {out}")


def main() -> None:
    """Errors that a user can fix become one sentence and exit code 2."""
    try:
        app()
    except (ValueError, OSError) as error:
        console.print(f"[red]{error}[/red]", highlight=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
