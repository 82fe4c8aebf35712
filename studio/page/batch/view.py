"""The Batch tab as HTML: the table of what was read, and the batches with how far they are."""

import time
from dataclasses import dataclass
from html import escape

from studio.batch.plan import Job
from studio.batch.sources import Problem
from studio.gallery import Kept
from studio.page.batch.reading import ROWS, Read, cells
from studio.page.batch.words import say
from studio.page.html import button, empty, note
from studio.page.picture.view import in_small
from studio.page.refusals import in_language
from studio.page.series.progress import Progress, about
from studio.page.series.store import Member, Series

COLUMNS = ("line", "prompt", "style", "count", "seed", "steps", "guidance", "scheduler")
EXAMPLE = """\
a smiling cat
a {red|blue|green} dragon, fluent 3d style --d 1,2,3
a (sleepy:1.4) panda --n hat --d 7 --s 20 --f sleepy-panda
{2$$ and $$an apple|a pear|a lemon} on a plate --d 11
一只戴帽子的小狗 --d 5
a robot in love --strenght 2
"""


@dataclass(frozen=True)
class Part:
    """Which rows of the table: from `first` on, and whether only those that can't be done."""

    first: int = 0
    only_bad: bool = False


def drop(spoken: str) -> str:
    """The place for a file. drop.js uploads what is dropped or chosen."""
    words = {name: escape(say(name, spoken)) for name in ("drop", "choose", "kinds", "reading")}
    return (
        f'<label class="dropzone" data-drop><input type="file" class="unseen">'
        f'<span class="sign" aria-hidden="true">⇣</span><b>{words["drop"]}</b><span>{words["choose"]}</span>'
        f'<small>{words["kinds"]}</small><span class="reading" role="status">{words["reading"]}</span></label>'
    )


def nothing_yet(spoken: str) -> str:
    """The table before a file."""
    return (
        f'<div class="panel">{empty(say("empty", spoken), say("empty_hint", spoken))}'
        f'<div class="links middle">{button(say("example", spoken), own="example")}</div></div>'
    )


def refused(sentence: str) -> str:
    """The table of a file that can't be read at all."""
    return f'<div class="panel">{note("problem", sentence)}</div>'


def plan(read: Read, part: Part, seconds: float | None, spoken: str, problem: str = "") -> str:
    """What becomes of each line, ROWS at a time."""
    rows = read.rows(part.only_bad)
    first = min(part.first, max(0, (len(rows) - 1) // ROWS * ROWS))
    body = "".join(_row(row, spoken) for row in rows[first : first + ROWS])
    head = "".join(f'<th scope="col">{escape(say(name, spoken))}</th>' for name in COLUMNS)
    name = escape(say("parsed", spoken))
    return (
        f'<section class="panel plan"><h2>{escape(read.name)}</h2>{_sum(read, seconds, spoken)}'
        f"{note('problem', problem) if problem else ''}{_buttons(read, part, spoken)}{_left_out(read, spoken)}"
        f'<div class="rows" role="region" tabindex="0" aria-label="{name}"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{_pages(len(rows), first, part.only_bad, spoken)}"
        f"{_more(read.plan.more, spoken)}</section>"
    )


def _sum(read: Read, seconds: float | None, spoken: str) -> str:
    jobs = read.plan.jobs
    parts = [say("jobs", spoken, count=f"{len(jobs):,}")]
    parts.append(say("pictures", spoken, count=f"{sum(job.request.count for job in jobs):,}"))
    if jobs:
        parts.append(say("no_pace", spoken) if seconds is None else about(seconds, spoken))
    bad = say("bad", spoken, count=f"{read.bad:,}")
    warned = f' · <b class="warn">{escape(bad)}</b>' if read.bad else ""
    return f'<p class="sum" role="status">{escape(" · ".join(parts))}{warned}</p>'


def _buttons(read: Read, part: Part, spoken: str) -> str:
    made = ""
    if count := len(read.plan.jobs):
        go = escape(say("go_good" if read.bad else "go", spoken, count=f"{count:,}"))
        made = f'<button type="button" class="plain primary make" data-own="go">{go}</button>'
    if read.bad and count:
        only, name = "no" if part.only_bad else "yes", escape(say("only", spoken))
        made += (
            f'<button type="button" data-own="part" data-only="{only}" aria-pressed="{str(part.only_bad).lower()}">'
            f"{name}</button>"
        )
    made += button(say("clear", spoken), own="clear")
    told = "" if count else note("problem", say("nothing", spoken))
    return f'{told}<div class="links">{made}</div>'


def _left_out(read: Read, spoken: str) -> str:
    if not read.plan.ignored:
        return ""
    names = ", ".join(f"{name} ({count})" for name, count in read.plan.ignored.most_common())
    return note("unknown", say("ignored", spoken, names=names))


def _row(row: Job | Problem, spoken: str) -> str:
    if isinstance(row, Problem):
        return f'<tr class="bad"><th scope="row">{row.line}</th>{_fault(row.message, row.column, spoken)}</tr>'
    line, prompt, *values = cells(row)
    words = escape(prompt or say("from_pictures", spoken))
    made = "".join(f"<td>{escape(value)}</td>" for value in values)
    return f'<tr><th scope="row">{line}</th><td class="words">{words}</td>{made}</tr>'


def _fault(message: str, column: int | None, spoken: str) -> str:
    place = say("at", spoken, column=column) if column else ""
    words = f"<b>{escape(place)}</b>{escape(in_language(message, spoken))}"
    return f'<td colspan="{len(COLUMNS) - 1}"><p><span aria-hidden="true">✗</span> {words}</p></td>'


def _pages(total: int, first: int, only_bad: bool, spoken: str) -> str:
    if total <= ROWS:
        return ""
    only, last = "yes" if only_bad else "no", min(total, first + ROWS)
    place = escape(say("rows", spoken, first=f"{first + 1:,}", last=f"{last:,}", total=f"{total:,}"))
    turns = ""
    for name, start in (("earlier", first - ROWS), ("later", first + ROWS)):
        if 0 <= start < total:
            turns += button(say(name, spoken), own="part", first=str(start), only=only)
    return f'<nav class="links pages"><span>{place}</span>{turns}</nav>'


def _more(more: int, spoken: str) -> str:
    return f'<p class="quiet">{escape(say("more_bad", spoken, count=f"{more:,}"))}</p>' if more else ""


# --- The batches ------------------------------------------------------------------------------------------------------


def batches(cards: list[str], spoken: str) -> str:
    """All that are listed; nothing where there are none."""
    body = "".join(cards)
    return f'<section class="listed"><h2>{escape(say("yours", spoken))}</h2>{body}</section>' if body else ""


@dataclass(frozen=True)
class Card:
    """One batch as it stands."""

    series: Series
    progress: Progress
    spoken: str

    def html(self, failures: list[tuple[Member, str]] | None = None, pictures: list[Kept] | None = None) -> str:
        """Folded together, or with what failed and what was made."""
        wide = pictures is not None
        more = self._failures(failures or []) + self._pictures(pictures or []) if wide else ""
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.series.made))
        return (
            f'<article class="batch" data-batch="{self.series.id}"><header><h3>{escape(self.series.title)}</h3>'
            f"<time>{made}</time></header>{self.progress.html(self._bad())}"
            f'<div class="links">{self._fold(wide)}{self.progress.buttons()}</div>{more}</article>'
        )

    def _bad(self) -> str:
        bad = self.series.about.get("bad")
        return self._say("bad", count=f"{bad:,}") if bad else ""

    def _fold(self, wide: bool) -> str:
        shown = self._say("hide" if wide else "show")
        return (
            f'<button type="button" data-own="show" data-series="{self.series.id}" aria-expanded="{str(wide).lower()}"'
            f' aria-label="{escape(f"{shown}: {self.series.title}")}">{escape(shown)}</button>'
        )

    def _failures(self, failures: list[tuple[Member, str]]) -> str:
        """Lines that could not be a job, then jobs that failed."""
        bad = [(str(line), column, message) for line, column, message in self.series.about.get("problems", [])]
        bad += [(one.label, None, sentence) for one, sentence in failures]
        if not bad:
            return ""
        rows = "".join(
            f'<tr class="bad"><th scope="row">{escape(line)}</th>{_fault(message, column, self.spoken)}</tr>'
            for line, column, message in bad
        )
        told = len(bad)
        more = self.progress.standing.failed + int(self.series.about.get("bad", 0)) - told
        rest = f'<p class="quiet">{escape(self._say("more_failed", count=f"{more:,}"))}</p>' if more > 0 else ""
        return f"<h4>{escape(self._say('why'))}</h4><div class='rows'><table><tbody>{rows}</tbody></table></div>{rest}"

    def _pictures(self, pictures: list[Kept]) -> str:
        if not pictures:
            return f'<p class="quiet">{escape(self._say("no_pictures"))}</p>'
        made = "".join(in_small(kept, self.spoken) for kept in pictures)
        return f'<h4>{escape(self._say("newest"))}</h4><div class="tiles">{made}</div>'

    def _say(self, name: str, **values: object) -> str:
        return say(name, self.spoken, **values)
