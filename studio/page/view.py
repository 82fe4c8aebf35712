"""The stage as HTML: pictures that sharpen on a checkerboard, how far it is, and what the model did not know.

Every word that comes from outside goes through `escape`; gr.HTML itself does not.
"""

import base64
import time
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from studio.events import Cancelled, Done, End, Failed, Progress, Saved, Unknown
from studio.page.words import say

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


@dataclass
class Stage:
    """What is known of the job on show. `spoken` is the language of the person who looks."""

    spoken: str
    prompt: str
    count: int
    began: float = field(default_factory=time.monotonic)
    first_step: float = 0.0
    ahead: int = 0
    progress: Progress | None = None
    saved: dict[int, Saved] = field(default_factory=dict)
    end: End | None = None

    def note(self, event: Progress | Saved | End) -> None:
        """Take in what happened."""
        if isinstance(event, Progress):
            self.progress = event
            self.first_step = self.first_step or (time.monotonic() if event.step else 0.0)
        elif isinstance(event, Saved):
            self.saved[event.index] = event
        else:
            self.end = event

    def html(self) -> str:
        """The whole stage."""
        unknown = self.progress.unknown if self.progress else ()
        notes = "".join(_note("unknown", _unknown(word, self.spoken)) for word in unknown)
        if isinstance(self.end, Failed):
            notes += _note("problem", self.end.sentence)
        cells = "".join(self._cell(index) for index in range(self.count) if not self.end or index in self.saved)
        size = "one" if self.count == 1 else "few" if self.count <= 4 else "many"
        return f'<div class="stage">{self._bar()}{notes}<div class="cells {size}">{cells}</div></div>'

    def _bar(self) -> str:
        step, total = (self.progress.step, self.progress.total) if self.progress else (0, 0)
        share = 100 * step / total if total else 0
        busy = " busy" if not self.end and not step else ""
        if self.end:
            return f'<div class="status" role="status">{escape(self._outcome())}</div>' if self._outcome() else ""
        return (
            f'<div class="status" role="status">{escape(self._state(step, total))}</div>'
            f'<div class="bar{busy}"><i style="width:{share:.0f}%"></i></div>'
        )

    def _state(self, step: int, total: int) -> str:
        if self.progress is None:
            return say("waiting", self.spoken, ahead=self.ahead) if self.ahead else say("loading", self.spoken)
        if not total:
            return say("loading", self.spoken)
        state = say("step", self.spoken, step=step, total=total)
        if step < 2:
            return state
        seconds = (time.monotonic() - self.first_step) / (step - 1) * (total - step)
        return f"{state} · {say('left', self.spoken, seconds=max(1, round(seconds)))}"

    def _outcome(self) -> str:
        if isinstance(self.end, Cancelled):
            return say("cancelled", self.spoken)
        if not isinstance(self.end, Done):
            return ""
        if all(saved.found for saved in self.saved.values()):
            return say("found", self.spoken)
        seconds = max((saved.seconds for saved in self.saved.values()), default=0.0)
        return say("done", self.spoken, count=len(self.saved), seconds=f"{seconds:.1f}")

    def _cell(self, index: int) -> str:
        saved = self.saved.get(index)
        if saved:
            return _finished(saved, self.prompt, self.spoken)
        preview = self.progress.previews.get(index) if self.progress else None
        if preview is None:
            return '<figure class="cell wait"><div class="board"></div></figure>'
        source = f"data:image/png;base64,{base64.b64encode(preview).decode()}"
        return f'<figure class="cell"><div class="board"><img alt="" src="{source}"></div></figure>'


def header(spoken: str) -> str:
    """The name of the place."""
    return f'<div class="masthead">{MARK}<div><h1>Studio 128</h1><p>{escape(say("tagline", spoken))}</p></div></div>'


def nothing_yet(spoken: str, problem: str = "") -> str:
    """The stage before the first job; `problem` says why there can't be one."""
    note = _note("problem", problem) if problem else ""
    return (
        f'<div class="stage">{note}<div class="empty">{MARK}<b>{escape(say("empty", spoken))}</b>'
        f"<span>{escape(say('empty_hint', spoken))}</span></div></div>"
    )


def strip(pictures: list[tuple[str, str]], spoken: str) -> str:
    """Pictures that were made before, as (file name, prompt), newest first; nothing where there are none."""
    if not pictures:
        return ""
    cells = "".join(_kept(escape(name), escape(prompt), spoken) for name, prompt in pictures)
    return f'<section class="strip"><h2>{escape(say("before", spoken))}</h2><div class="row">{cells}</div></section>'


def refused(sentence: str) -> str:
    """The stage after a request that can't be done."""
    return f'<div class="stage">{_note("problem", sentence)}</div>'


def _finished(saved: Saved, prompt: str, spoken: str) -> str:
    name, seed = escape(Path(saved.path).name), escape(say("seed", spoken, seed=saved.seed))
    return (
        f'<figure class="cell done"><div class="board"><img alt="{escape(prompt)}" src="/pictures/{name}"></div>'
        f"<figcaption><span>{seed}</span>{_links(name, spoken)}</figcaption></figure>"
    )


def _kept(name: str, prompt: str, spoken: str) -> str:
    return (
        f'<figure class="cell kept"><a class="board" href="/pictures/{name}" target="_blank">'
        f'<img alt="{prompt}" src="/pictures/{name}" loading="lazy"></a>'
        f'<figcaption><span title="{prompt}">{prompt}</span>{_links(name, spoken)}</figcaption></figure>'
    )


def _links(name: str, spoken: str) -> str:
    return (
        f'<span class="links"><a href="/pictures/{name}" download="{name}">{escape(say("download", spoken))}</a>'
        f'<button type="button" data-like="{name}">{escape(say("again", spoken))}</button></span>'
    )


def _note(kind: str, sentence: str) -> str:
    return f'<p class="note {kind}" role="{"alert" if kind == "problem" else "note"}">{escape(sentence)}</p>'


def _unknown(word: Unknown, spoken: str) -> str:
    separator = "、" if spoken == "zh" else ", "
    key = "unknown" if word.nearest else "unknown_near"
    return say(key, spoken, word=word.word, nearest=separator.join(word.nearest))
