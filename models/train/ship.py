"""`python -m models.train.ship [EXPORT...] [--weights assets/weights]`: ship the parts that runs exported.

Every part is copied whole and entered in the manifest. After a new semantic space, the parts that depend on it are
rebuilt: the names for parsing prompts (`models.prompts.parser`), and the reference drawings, which share their numbers
(`models.references.store`). Each is built twice: from all pictures, for
users, and from training pictures, for the table. Without an export only the reference drawings are rebuilt.
"""

import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from models.autoencoder import Autoencoder
from models.data.world import World
from models.prompts.parser import PART as WORDING
from models.references.build import build_references
from models.references.store import PART as PROTOTYPES
from models.references.store import ReferenceStore
from models.space import Embedder
from models.train.recipes import command
from models.train.vocabulary import build_parser
from models.weights import (
    WeightsError,
    check_dependencies,
    listed_parts,
    load_part,
    of_split,
    part_folder,
    record_part,
    space_of,
    weights_digest,
    weights_root,
)

SPLITS = ("", "train")  # of parts built from names and drawings: of all pictures, of training pictures
READERS = ("language", "vision", "space")  # parts that the wording depends on
CARD = "README.md"

console = Console(stderr=True)


def ship(exports: list[Path], weights: Path, world: Path | None = None) -> list[str]:
    """Copy the parts under `exports` into `weights`; returns the names of parts that changed or were rebuilt.

    Existing model cards stay. WeightsError where an export's files differ from its manifest.
    """
    if not exports:
        for split, pictures in _worlds(world).items():
            _references(weights, pictures).save(weights, split)
        return [of_split(PROTOTYPES, split) for split in SPLITS]
    # All are verified before the first is copied.
    folders = {name: part_folder(name, export) for export in exports for name in listed_parts(export)}
    before = listed_parts(weights) if (weights / "manifest.json").exists() else {}
    for name, folder in folders.items():
        _replace(folder, weights / name)
        record_part(name, weights)
    shipped = listed_parts(weights)
    for name in shipped:
        try:
            check_dependencies(weights / name, weights)
        except WeightsError as error:  # it does not load beside what is new
            console.print(f"[yellow]{error}; train it anew and ship it too.[/yellow]", highlight=False)
    changed = [name for name in folders if shipped[name] != before.get(name)]
    return changed + (_rebuild(weights, world) if shipped.keys() >= set(READERS) else [])


def _rebuild(weights: Path, world: Path | None) -> list[str]:
    """Rebuild the parts that depend on the space, if it has changed; returns their names."""
    space = weights_digest(READERS, weights)
    if all(space_of(of_split(WORDING, split), weights) == space for split in SPLITS):
        return []
    embedder = Embedder.load(weights)
    for split, pictures in _worlds(world).items():
        references = _references(weights, pictures)  # before anything is saved: it may lack the autoencoder
        references.save(weights, split)
        build_parser(embedder, pictures).save(weights, space, split)
    return [of_split(part, split) for split in SPLITS for part in (WORDING, PROTOTYPES)]


def _worlds(folder: Path | None) -> dict[str, World]:
    """By split, the pictures that wording and references are built from."""
    world = World.load(folder)
    return dict(zip(SPLITS, (world.released(), world), strict=True))


def _references(weights: Path, world: World) -> ReferenceStore:
    autoencoder, embedder = load_part(Autoencoder, "autoencoder", weights), Embedder.load(weights)
    return build_references(world, autoencoder, embedder)


def _replace(source: Path, target: Path) -> None:
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(source, fresh)
    if (target / CARD).exists():
        shutil.copy2(target / CARD, fresh)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)


def main(
    exports: Annotated[list[Path] | None, typer.Argument(help="folders `export` of runs", metavar="EXPORT...")] = None,
    weights: Annotated[Path | None, typer.Option(help="folder to ship from; the shipped one otherwise")] = None,
    world: Annotated[Path | None, typer.Option(help="folder of the built pictures")] = None,
) -> None:
    """Ship what runs exported."""
    changed = ship(exports or [], weights_root(weights), world)
    console.print(f"changed: {', '.join(changed) or 'nothing'}")


if __name__ == "__main__":
    command(main)
