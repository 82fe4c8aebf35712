"""Where the files that ship with the project lie (the top of a checkout, or inside the wheel), and its prompt lists."""

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


def prompt_list(name: str) -> list[str]:
    """The prompts of `assets/prompts/<name>.txt` in order: one a line, `#` begins a comment."""
    lines = (assets() / "prompts" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
