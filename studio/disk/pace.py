"""How long a picture takes: as the last one of the model took, else by what this processor computes in a second."""

import json
import timeit
from functools import cache
from pathlib import Path

import numpy as np

from models.messages import Message
from studio import settings
from studio.disk.found import Found
from studio.disk.machine import Machine
from studio.files import make_folder, write_whole

STEPS, CELL = 30, 64  # of a picture, and pixels that a place of a latent stands for, where nothing else is known
# The share of those places at which a number of the generator is multiplied, in the middle: U-Nets compute mostly in
# smaller layers (Stable Diffusion 1.5: 0.1, XL: 0.07), transformers read patches of 2 x 2 (0.25).
SHARES = {"unet": 0.08, "transformer": 0.25, "generator": 0.08, "prior": 0.25}
CHANGED = 0.1  # a pace is noted anew where it is another by so much


def note(path: Path, device: str, seconds: float) -> None:
    """A picture of the usual size and steps takes so long."""
    noted, key = _noted(), f"{path} {device}"
    if abs(noted.get(key, 0) - seconds) > CHANGED * seconds:
        make_folder(_file().parent)
        write_whole(_file(), json.dumps(noted | {key: seconds}).encode(), "--home")


def said(found: Found, machine: Machine, pixels: int) -> Message | str:
    """As the end of a sentence, "" where nothing is known of it."""
    known = _noted().get(f"{found.path.resolve()} {machine.device}", 0.0)
    seconds = known or (_computed(found, pixels) if machine.device == "cpu" and found.task == "image" else 0)
    return Message(f"fit.time.{found.task}", {"seconds": f"{float(f'{seconds:.2g}'):g}"}) if seconds else ""


def _computed(found: Found, pixels: int) -> float:
    """Each number is multiplied and added twice a step, with the prompt and without."""
    work = sum(one.parameters * SHARES.get(one.name, 0) for one in found.components)
    return 4 * work * pixels / CELL * STEPS / _operations()


@cache
def _operations() -> float:
    """Of fp32 that the processor does in a second, in a product of matrices."""
    square = np.ones((1024, 1024), np.float32)
    return 2 * 1024**3 / min(timeit.repeat(lambda: square @ square, number=1, repeat=3))


def _noted() -> dict[str, float]:
    try:
        return {str(key): float(seconds) for key, seconds in json.loads(_file().read_text("utf-8")).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _file() -> Path:
    return settings.home() / "cache" / "seconds.json"
