"""Any model that the studio knows (`diffusers:...`, `fake`, ...), measured from outside: `studio batch` draws, in a
process of its own, so nothing is measured that a user would not get."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.generator import Media, digest_of, drawing_code
from models.data.pixels import load_picture
from models.messages import Refused


def draw(asked: Sequence[dict[str, Any]], model: str, out: Path) -> None:
    """Draw rows {name, prompt, seed, task} into files of those names below a folder; what is there is not drawn again.
    Refused where the model draws nothing."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(json.dumps(one) + "\n" for one in asked)
        file.flush()
        command = [sys.executable, "-m", "studio", "batch", file.name, "--model", model, "--out", str(out)]
        if (code := subprocess.run(command, stdout=2).returncode) > 1:  # standard output is for documents
            raise Refused("eval.not_drawn", model=model, exit=code)


class StudioModel:
    """A model of the studio as a `Generator` of pictures, with its own settings and no other ability."""

    media: Media = "image"
    abilities = frozenset[str]()
    parts: tuple[str, ...] = ()

    def __init__(self, name: str) -> None:
        self.name = name

    def settings(self, **options: Any) -> str:
        return "as the studio draws where nothing else is said"

    def digest(self) -> str:
        """Of its name, of a folder's files by size and time, and of the code."""
        folder = Path(self.name.partition(":")[2] or ".none")
        files = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))]
        return digest_of(self.name, files, drawing_code())

    def generate(self, prompts: Sequence[str], seeds: Sequence[int], **options: Any) -> np.ndarray:
        """(N, 128, 128, 4): pictures of other sizes are made smaller; Refused where one was not drawn."""
        names = [f"{number:06d}" for number in range(len(prompts))]
        rows = zip(names, prompts, seeds, strict=True)
        with tempfile.TemporaryDirectory() as made:
            draw([{"name": name, "prompt": text, "seed": seed} for name, text, seed in rows], self.name, Path(made))
            return np.stack([load_picture(Path(made) / "images" / f"{name}.png") for name in names])
