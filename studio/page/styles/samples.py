"""A small picture of each style, drawn by the shipped model."""

import base64
from functools import cache

from models.assets import assets
from studio.capabilities import Style


@cache
def samples(known: tuple[Style, ...]) -> dict[str, str]:
    """Data URIs by style, of those that there are pictures of in `assets/examples/styles`."""
    folder = assets() / "examples" / "styles"
    files = {style.name: folder / f"{style.name.replace(' ', '-')}.webp" for style in known}
    return {
        name: f"data:image/webp;base64,{base64.b64encode(path.read_bytes()).decode()}"
        for name, path in files.items()
        if path.is_file()
    }
