"""The fast variant of the generator: four steps without guidance instead of sixteen with it.

It is the generator with low-rank changes (`models.lora`), a part of its own that knows which generator it changes;
`models.train.fast` says how it is taught.
"""

import copy
from pathlib import Path

from safetensors.torch import load_file

from models.dit import DiT
from models.lora import fold
from models.weights import WeightsError, align, check_company, listed_parts, part_folder

PART = "fast"
FILE = "pytorch_lora_weights.safetensors"  # as diffusers calls such a file


def load_fast(dit: DiT, root: Path | None = None) -> DiT | None:
    """`dit` with the changes that ship beside it; None where none do, or those of another generator."""
    if PART not in listed_parts(root):
        return None
    folder = part_folder(PART, root)
    try:
        check_company(folder, root)
    except WeightsError:  # left from before the generator was trained on: it draws all the same
        return None
    fast = copy.deepcopy(dit)
    fold(fast, load_file(folder / FILE))
    align(fast)
    return fast
