"""Series as HTML: a place with its picture or what has become of it, and series in small."""

from dataclasses import dataclass
from html import escape

from studio.gallery import Kept
from studio.page.html import picture
from studio.page.picture.view import opener
from studio.page.refusals import in_language
from studio.page.series.store import Series
from studio.page.series.words import say


@dataclass(frozen=True)
class Cell:
    """A place of a series: what is written under it, its picture where there is one, its job's state and sentence."""

    label: str
    kept: Kept | None
    state: str = ""
    sentence: str = ""


def board(cell: Cell, spoken: str, source: str = "") -> str:
    """The place itself: the picture as a button that opens its card, or what has become of it. `source` is the address
    of a picture that is shown in its place.
    """
    if cell.kept:
        shown = picture(cell.kept.path, cell.kept.prompt)
        if source:
            shown = f'<img alt="{escape(cell.kept.prompt)}" src="{source}" decoding="async">'
        return opener(cell.kept.sha256, cell.label, shown, spoken)
    if cell.state in ("failed", "aside"):
        return f'<div class="board failed"><span>✗ {escape(in_language(cell.sentence, spoken))}</span></div>'
    words = {"running": "drawing", "cancelled": "cancelled", "done": "deleted"}.get(cell.state, "waiting")
    wait = " wait" if words in ("waiting", "drawing") else ""
    return f'<div class="board{wait}"><span class="quiet">{escape(say(words, spoken))}</span></div>'


@dataclass(frozen=True)
class Tile:
    """A series among the others."""

    series: Series
    cover: Kept | None


def others(tiles: list[Tile], shown: str, title: str, spoken: str) -> str:
    """What was made before; nothing where there is only the one on show."""
    if len(tiles) < 2:
        return ""
    made = "".join(_tile(tile, tile.series.id == shown, spoken) for tile in tiles)
    return f'<section class="listed"><h2>{escape(title)}</h2><div class="covers">{made}</div></section>'


def _tile(tile: Tile, lit: bool, spoken: str) -> str:
    shown = picture(tile.cover.path, "", small=True) if tile.cover else ""
    return (
        f'<button type="button" class="tile" data-own="show" data-series="{tile.series.id}"'
        f' aria-pressed="{str(lit).lower()}" aria-label="{escape(say("look", spoken, title=tile.series.title))}">'
        f'<span class="board">{shown}</span><b>{escape(tile.series.title)}</b></button>'
    )
