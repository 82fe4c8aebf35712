"""The Sets tab as HTML: the set on show with its labels, in small, with its packs; and the other sets."""

from dataclasses import dataclass
from html import escape

from studio.export.apps import APPS, App
from studio.gallery import Kept
from studio.page.html import address
from studio.page.picture.view import SMALL
from studio.page.series.progress import Progress
from studio.page.series.store import Series
from studio.page.series.view import Cell, board
from studio.page.sets.words import say
from studio.sets import KINDS

GROUNDS = ("light", "night")


def kinds(spoken: str) -> str:
    """The kinds of sets as radio buttons."""
    made = "".join(
        f'<label class="style"><input type="radio" name="set-kind" data-own="kind" value="{kind}"'
        f"{' checked' if number == 0 else ''}><span>{escape(say(kind, spoken))}</span></label>"
        for number, kind in enumerate(KINDS)
    )
    return f'<fieldset class="styles"><legend>{escape(say("kind", spoken))}</legend><div>{made}</div></fieldset>'


@dataclass(frozen=True)
class Panel:
    """The set on show."""

    series: Series
    progress: Progress
    cells: list[Cell]
    spoken: str

    def html(self) -> str:
        """All of it."""
        cells = "".join(self._cell(index, cell) for index, cell in enumerate(self.cells))
        return (
            f'<section class="panel set" data-series="{self.series.id}">'
            f'<h2 class="unseen">{escape(self.series.title)}</h2>{self._name()}{self.progress.html()}'
            f'<div class="links">{self.progress.buttons()}</div><div class="cells">{cells}</div>'
            f"{self._small()}{self._packs()}</section>"
        )

    @property
    def _outlined(self) -> bool:
        return bool(self.series.about.get("outline"))

    def _name(self) -> str:
        return (
            f'<label class="name"><span>{escape(self._say("name"))}</span><input type="text" data-own="name"'
            f' data-series="{self.series.id}" maxlength="128" value="{escape(self.series.title)}"></label>'
        )

    def _source(self, kept: Kept) -> str:
        return f"/downloads/{kept.sha256}/png?outline=1" if self._outlined else address(kept.path)

    def _cell(self, index: int, cell: Cell) -> str:
        is_cover = index == self.series.about.get("cover", 0)
        words = escape(self._say("cover" if is_cover else "make_cover"))
        star = (
            f'<button type="button" class="cover" data-own="cover" data-series="{self.series.id}" data-index="{index}"'
            f' aria-pressed="{str(is_cover).lower()}" title="{words}" aria-label="{words}: {escape(cell.label)}">'
            f"{'★' if is_cover else '☆'}</button>"
        )
        shown = board(cell, self.spoken, self._source(cell.kept) if cell.kept and self._outlined else "")
        return f'<figure class="cell">{shown}<figcaption><span>{escape(cell.label)}</span>{star}</figcaption></figure>'

    def _small(self) -> str:
        """All of them as a chat shows them, on light and on dark."""
        kept = [cell.kept for cell in self.cells if cell.kept]
        if not kept:
            return ""
        strips = "".join(
            f'<div class="strip-small {ground}"><span>{escape(self._say("size", size=size))}</span>'
            + "".join(f'<img alt="" width="{size}" height="{size}" src="{self._source(one)}">' for one in kept)
            + "</div>"
            for ground in GROUNDS
            for size in SMALL
        )
        return f'<h3>{escape(self._say("small"))}</h3><div class="smalls">{strips}</div>'

    def _packs(self) -> str:
        if any(cell.kept is None for cell in self.cells):
            return f'<p class="quiet">{escape(self._say("not_yet"))}</p>'
        made = "".join(self._pack(app) for app in APPS.values())
        pressed = str(self._outlined).lower()
        outline = (
            f'<button type="button" data-own="outline" data-series="{self.series.id}" aria-pressed="{pressed}">'
            f"{escape(self._say('outline'))}</button>"
        )
        return (
            f'<h3>{escape(self._say("packs"))}</h3><div class="links packs">{made}</div>'
            f'<div class="links">{outline}</div><p class="fetching" role="status"></p>'
        )

    def _pack(self, app: App) -> str:
        """A link to the pack, or how many pictures the app wants."""
        title, count = app.zh if self.spoken == "zh" else app.title, len(self.cells)
        if count in (app.counts or range(app.least, app.most + 1)):
            busy = escape(self._say("packing"))
            address = f"/series/{self.series.id}/pack/{app.name}.zip"
            return f'<a href="{address}" download data-fetch="{busy}">{escape(title)}</a>'
        wanted = ", ".join(map(str, app.counts)) if app.counts else f"{app.least}–{app.most}"
        return f'<span class="not">{escape(self._say("takes", title=title, count=wanted))}</span>'

    def _say(self, name: str, **values: object) -> str:
        return say(name, self.spoken, **values)
