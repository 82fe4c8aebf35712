"""The Compare tab as HTML: the grid with its labels, filling as pictures come."""

from html import escape

from studio.grid import Axis, Grid
from studio.page.compare.words import say
from studio.page.series.progress import Progress, about
from studio.page.series.store import Series
from studio.page.series.view import Cell, board


def hint(sentence: str) -> str:
    """How a setting is written."""
    return f'<p class="quiet">{escape(sentence)}</p>'


def count(grid: Grid, seconds: float | None, spoken: str) -> str:
    """How many pictures a grid is, and how long they take where that is known."""
    columns, rows = len(grid.x.values), len(grid.y.values) if grid.y else 1
    parts = [say("pictures", spoken, columns=columns, rows=rows, count=columns * rows)]
    if seconds is not None:
        parts.append(about(seconds, spoken))
    return f'<p class="sum" role="status">{escape(" · ".join(parts))}</p>'


def panel(series: Series, grid: Grid, cells: list[Cell], progress: Progress, spoken: str) -> str:
    """The comparison on show. `cells` are in the order of the grid, row by row."""
    link = ""
    if any(cell.kept for cell in cells):
        words = escape(say("sheet", spoken))
        link = f'<a class="primary" href="/series/{series.id}/sheet.png" download>{words}</a>'
    return (
        f'<section class="panel compare" data-series="{series.id}"><h2>{escape(series.title)}</h2>{progress.html()}'
        f'<div class="links">{link}{progress.buttons()}</div>{_table(grid, cells, spoken)}</section>'
    )


def _table(grid: Grid, cells: list[Cell], spoken: str) -> str:
    columns, rows = grid.x.labels(), grid.y.labels() if grid.y else [""]
    across = say(grid.x.setting, spoken)
    corner = say("both", spoken, down=say(grid.y.setting, spoken), across=across) if grid.y else f"{across} →"
    head = "".join(f'<th scope="col">{escape(_named(grid.x, label, spoken))}</th>' for label in columns)
    body = ""
    for number, label in enumerate(rows):
        places = cells[number * len(columns) : (number + 1) * len(columns)]
        made = "".join(f"<td>{board(cell, spoken)}</td>" for cell in places)
        name = _named(grid.y, label, spoken) if grid.y else ""
        body += f'<tr><th scope="row">{escape(name)}</th>{made}</tr>'
    name = escape(corner)
    return (
        f'<div class="rows" role="region" tabindex="0" aria-label="{escape(across)}"><table class="grid"><thead><tr>'
        f"<td>{name}</td>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _named(axis: Axis, label: str, spoken: str) -> str:
    """A number alone says nothing; a word does."""
    return label if isinstance(axis.values[0], str) else f"{say(axis.setting, spoken)} {label}"
