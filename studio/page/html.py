"""Pieces of HTML that several parts of the page use.

Every word that comes from outside goes through `escape`; gr.HTML itself does not.
"""

from html import escape
from pathlib import Path

from models.messages import Refused
from studio.page.refusals import in_language

# A round sticker whose corner comes off.
_FACE = (
    '<path d="M24 3a21 21 0 1 0 21 21l-9 .5A11.5 11.5 0 0 1 24 12z" fill="{body}"/>'
    '<path d="M24 3v9a11.5 11.5 0 0 0 12 12.5l9-.5A21 21 0 0 0 24 3z" fill="{corner}"/>'
    '<circle cx="16.5" cy="22" r="2.6" fill="#fff"/><circle cx="26" cy="27" r="2.6" fill="#fff"/>'
    '<path d="M13 31c3 5 9 6.500 13 4" fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round"/></svg>'
)
MARK = '<svg viewBox="0 0 48 48" aria-hidden="true">' + _FACE.format(
    body="var(--primary-500)", corner="var(--primary-200)"
)
ICON = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48">' + _FACE.format(body="#8b5cf6", corner="#ddd6fe")


def note(kind: str, sentence: str) -> str:
    """A sentence in a box. `kind` is "problem", "unknown" or "good"."""
    return f'<p class="note {kind}" role="{"alert" if kind == "problem" else "note"}">{escape(sentence)}</p>'


def noted(kind: str, sentence: str) -> str:
    """The same, above what else there is."""
    return f'<div class="told">{note(kind, sentence)}</div>'


def wrong(refusal: Refused, spoken: str) -> str:
    """A refusal above what else there is, in the language of the person who looks."""
    return noted("problem", in_language(str(refusal), spoken))


def address(path: str | Path) -> str:
    """Where the browser gets a picture of the gallery, escaped."""
    return f"/pictures/{escape(Path(path).name)}"


def picture(path: str | Path, words: str, small: bool = False) -> str:
    """A picture of the gallery on the board of the viewer's choice; its alternative text is what it shows."""
    source = address(path).replace("/pictures/", "/thumbnails/") if small else address(path)
    return f'<img alt="{escape(words)}" src="{source}" loading="lazy" decoding="async">'


def button(words: str, **data: str) -> str:
    """A button that tells the page what its data say: `do` is for the whole page, `own` for the part it stands in."""
    said = "".join(f' data-{key.replace("_", "-")}="{escape(value)}"' for key, value in data.items())
    return f'<button type="button"{said}>{escape(words)}</button>'


def empty(title: str, hint: str) -> str:
    """What stands where there is nothing yet, and what to do about it."""
    return f'<div class="empty">{MARK}<b>{escape(title)}</b><span>{escape(hint)}</span></div>'
