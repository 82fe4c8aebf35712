"""How far a series is, and what can be done about it."""

from dataclasses import dataclass
from html import escape

from studio.page.html import button, note
from studio.page.refusals import in_language
from studio.page.series.store import Series, Standing
from studio.page.series.words import say

MINUTE, HOUR = 60, 3600


def about(seconds: float, spoken: str) -> str:
    """So long, in the unit that a person would use."""
    return say("about", spoken, time=_time(seconds, spoken))


@dataclass(frozen=True)
class Progress:
    """One series as it stands. `lining`: its jobs are being put in line; `left` is in seconds, None if not known."""

    series: Series
    standing: Standing
    lining: bool
    paused: bool
    left: float | None
    spoken: str

    @property
    def ahead(self) -> int:
        """Jobs that will still be done."""
        return self.standing.open + (self.standing.outside if self.lining else 0)

    @property
    def stopped(self) -> int:
        """Jobs that will not be done unless somebody says so."""
        return self.standing.cancelled + (0 if self.lining else self.standing.outside)

    def html(self, more: str = "") -> str:
        """The line that says it, a bar, and what went wrong; `more` is added to the line."""
        told = " · ".join(part for part in (*self._parts(), more) if part)
        share = 100 * self.standing.done / max(1, self.standing.total)
        name = escape(self._say("progress_of"))
        wrong = self.standing.sentence
        return (
            f'<p class="status">{escape(told)}</p>'
            f'<div class="bar" role="progressbar" aria-valuenow="{share:.0f}" aria-label="{name}">'
            f'<i style="width:{share:.1f}%"></i></div>'
            f"{note('problem', in_language(wrong, self.spoken)) if wrong else ''}"
        )

    def buttons(self) -> str:
        """What can be done now."""
        made = ""
        if self.standing.done:
            made += f'<a href="/series/{self.series.id}/pictures.zip" download>{escape(self._say("zip"))}</a>'
        if self.standing.failed:
            made += self._button("retry")
        made += self._button("stop") if self.ahead else self._button("go_on") if self.stopped else ""
        return made + ("" if self.ahead else self._button("remove"))

    def _parts(self) -> list[str]:
        parts = [self._say("progress", done=f"{self.standing.done:,}", total=f"{self.standing.total:,}")]
        for name, count in (("left", self.ahead), ("stopped", self.stopped), ("failed", self.standing.failed)):
            if count:
                parts.append(self._say(name, count=f"{count:,}"))
        if self.ahead and self.paused:
            parts.append(self._say("paused"))
        elif self.ahead and self.left is not None:
            parts.append(about(self.left, self.spoken))
        return parts

    def _button(self, name: str) -> str:
        return button(self._say(name), own=name, series=self.series.id)

    def _say(self, name: str, **values: object) -> str:
        return say(name, self.spoken, **values)


def _time(seconds: float, spoken: str) -> str:
    if seconds < 100:
        return say("seconds", spoken, count=max(1, round(seconds)))
    if seconds < 100 * MINUTE:
        return say("minutes", spoken, count=round(seconds / MINUTE))
    return say("hours", spoken, count=f"{seconds / HOUR:.1f}")
