"""Training on a machine that has a GPU and nothing else: `python -m models.train.remote pack | train | collect`.

The machine has no network, accepts a few dozen MiB at a time and returns only small files. On this machine:

    python -m models.train.remote pack bundle

On the other one, with the checkout and bundle/1, then with bundle/2:

    python -m pip install --no-index --no-deps --target site bundle/1/wheels/*.whl && export PYTHONPATH=site
    mkdir world && mv bundle/1/downloads world && python -m models.data build --folder world --pictures-only
    python -m models.train.remote train --minutes 25 --piece 8
    python -m models.train.remote collect runs/remote collected

`train` stops after `--piece` minutes and resumes when it is called again. If the machine was lost in between, `--init
collected/dit` continues from the weights alone.
"""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import torch
import typer
from PIL import Image
from rich.console import Console

from models.data import packages
from models.data.world import data_folder
from models.dit import DiT
from models.train import checkpoint
from models.train.loop import Length
from models.train.recipes import RECIPES, command, run
from models.weights import load_part, part_folder, record_part

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
console = Console(stderr=True)

LOAD = 60 * 2**20  # bytes of one transfer, without the checkout (about 4 MiB)
FILE = "15MB"  # largest file that is returned
PARTS = ("language", "vision", "space", "autoencoder")
WHEELS = ("diffusers", "resvg-py", "platformdirs")  # what images with PyTorch and transformers lack


@app.command()
def pack(
    bundle: Annotated[Path, typer.Argument(help="folder to write: 1/ goes first, 2/ second")],
    parts: Annotated[Path | None, typer.Option(help="folder of the frozen parts; the shipped ones otherwise")] = None,
    world: Annotated[Path | None, typer.Option(help="folder of the built pictures")] = None,
    python: Annotated[str, typer.Option(help="the other machine's Python")] = "3.12",
) -> None:
    """Gather what the other machine needs, in two loads."""
    downloads, lock = (world or data_folder()) / "downloads", packages.read_lock()
    for package in packages.PACKAGES:
        if package.name != packages.DICTIONARY:  # the backbone's reading; the generator needs none of it
            copy(packages.fetch(package, downloads, lock), bundle / "1/downloads")
    fetch_wheels(bundle / "1/wheels", python)
    for name in PARTS:
        shutil.copytree(part_folder(name, parts), bundle / "2/parts" / name, dirs_exist_ok=True)
        record_part(name, bundle / "2/parts")
    for load in ("1", "2"):
        size = sum(file.stat().st_size for file in (bundle / load).rglob("*") if file.is_file())
        console.print(f"{bundle / load}: {size / 2**20:.1f} MiB")
        if size > LOAD:
            raise ValueError(f"{bundle / load} holds {size / 2**20:.1f} MiB, more than {LOAD / 2**20:.0f} go at once")


def copy(file: Path, folder: Path) -> None:
    """Copy a file into a folder that is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy2(file, folder)


def fetch_wheels(folder: Path, python: str) -> None:
    """The packages of WHEELS as wheels for Linux on x86-64; OSError with pip's last line where one is missing."""
    platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in (28, 27, 24, 17)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *platforms]
    command += ["--platform=manylinux2014_x86_64", f"--python-version={python}", "-d", str(folder), *WHEELS]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"pip download failed: {done.stderr.strip().splitlines()[-1:]}")


@app.command()
def train(
    minutes: Annotated[float, typer.Option(help="of the whole training, all pieces together")],
    piece: Annotated[float, typer.Option(help="minutes until this call ends")],
    parts: Path = Path("bundle/2/parts"),
    world: Path = Path("world"),
    out: Path = Path("runs/remote"),
    init: Annotated[Path | None, typer.Option(help="weights to begin from, where --out holds no state yet")] = None,
    preset: str = "sticker",
    batch: Annotated[int, typer.Option(help="pictures a step")] = 512,
    compiled: Annotated[bool, typer.Option("--compile/--no-compile")] = True,
) -> None:
    """Train the generator for one piece, from where the last piece ended."""
    resume = checkpoint.exists(out / "state")
    length = Length(minutes=minutes, piece=piece)
    begin = None if resume else init
    recipe = dataclasses.replace(RECIPES["image"], batch_size=lambda _: batch)
    run({"image": recipe}, "image", preset, length, out, 0, 2 * piece, resume, begin, parts, world, compiled)


@app.command()
def collect(run_folder: Annotated[Path, typer.Argument(metavar="RUN")], out: Path) -> None:
    """Write a run's averaged weights in files of at most 15 MB, its statistics, and its last sheet as a small JPEG."""
    load_part(DiT, "dit", run_folder / "export", dtype=torch.bfloat16).save_pretrained(out / "dit", max_shard_size=FILE)
    copy(run_folder / "stats.jsonl", out)
    for sheet in sorted(run_folder.glob("sheet-*.png"))[-1:]:
        Image.open(sheet).save(out / f"{sheet.stem}.jpg", quality=85)
    for file in sorted(out.rglob("*")):
        if file.is_file():
            console.print(f"{file}: {file.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    command(app)
