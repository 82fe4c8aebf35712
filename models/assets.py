"""Where the files that ship with the project lie: the top of a checkout, or inside the wheel."""

from pathlib import Path


def assets() -> Path:
    """The folder with `weights/` and `prompts/`; FileNotFoundError says what a broken installation lacks."""
    here = Path(__file__).resolve().parent
    for folder in (here / "_assets", here.parent / "assets"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"no assets beside {here}; install the package again: pip install --force-reinstall studio128"
    )
