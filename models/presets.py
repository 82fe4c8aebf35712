"""Sizes as a table: `PRESETS[part][preset]` holds the keyword arguments of that part's constructor.

`tiny` is for tests (seconds), `sticker` is what ships, `full` states where the family goes.
"""

from typing import Any

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "autoencoder": {
        "tiny": {"widths": (8, 16, 16), "encoder_blocks": (1, 1, 1), "decoder_blocks": (1, 1, 1)},
        "sticker": {"widths": (48, 96, 192), "encoder_blocks": (1, 2, 3), "decoder_blocks": (2, 3, 4)},
    },
}


def preset(part: str, name: str) -> dict[str, Any]:
    """The constructor arguments of `part` at size `name`; ValueError names what there is."""
    if part not in PRESETS:
        raise ValueError(f"unknown part {part!r}; there are {', '.join(sorted(PRESETS))}")
    if name not in PRESETS[part]:
        raise ValueError(f"{part} has no preset {name!r}; there are {', '.join(sorted(PRESETS[part]))}")
    return dict(PRESETS[part][name])
