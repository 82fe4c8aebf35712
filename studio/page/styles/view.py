"""The picker of styles as HTML."""

from html import escape

from studio.capabilities import Style
from studio.page.styles.samples import samples
from studio.page.styles.words import say


def picker(known: tuple[Style, ...], chosen: str, spoken: str, group: str = "style") -> str:
    """The styles as pictures to pick from: radio buttons, so that arrow keys move among them.

    A style without a picture shows its name alone. Pickers on one page need each a `group` of their own.
    """
    names = [("", say("any", spoken)), *((style.name, style.zh if spoken == "zh" else style.name) for style in known)]
    drawn = samples(known)
    cells = "".join(
        f'<label class="style"><input type="radio" name="{group}" data-own="style" value="{escape(name)}"'
        f"{' checked' if name == chosen else ''}>"
        + (f'<img alt="" src="{drawn[name]}">' if name in drawn else "")
        + f"<span>{escape(title or name)}</span></label>"
        for name, title in names
    )
    return f'<fieldset class="styles"><legend>{escape(say("style", spoken))}</legend><div>{cells}</div></fieldset>'
