"""The picker of styles: a small picture of each, drawn by the shipped model."""

import base64
from functools import cache

from models.assets import assets
from studio.capabilities import Style
from studio.page.html import render
from studio.page.language import text


def picker(known: tuple[Style, ...], chosen: str, language: str, group: str = "style") -> str:
    """The styles as radio buttons; one without a picture shows its name alone. Pickers on one page need each a `group`
    of their own.
    """
    drawn = samples(known)
    choices = [("", text("any", language), "")]
    choices += [
        (one.name, (one.zh if language == "zh" else one.name) or one.name, drawn.get(one.name, "")) for one in known
    ]
    title = text("style", language)
    return render("parts.radios", language, group=group, own="style", title=title, choices=choices, chosen=chosen)


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
