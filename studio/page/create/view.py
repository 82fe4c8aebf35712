"""The stage as HTML: pictures that sharpen on their board, how far they are, and what the model did not know."""

import base64
from dataclasses import dataclass, field
from html import escape

from studio.events import Cancelled, Done, Failed, Progress, Saved, Unknown
from studio.gallery import Kept
from studio.page.create.words import say
from studio.page.html import address, button, empty, note, picture
from studio.page.picture.view import boards, in_small, opener
from studio.page.refusals import in_language
from studio.queue import QueuedJob


@dataclass
class Stage:
    """What is known of the job on show. `spoken` is the language of the person who looks, `left` is in seconds."""

    spoken: str
    job: QueuedJob
    ahead: int = 0
    paused: bool = False
    left: float | None = None
    progress: Progress | None = None
    saved: dict[int, Saved] = field(default_factory=dict)

    def html(self, own: bool = False) -> str:
        """The whole stage. page.js asks for news of `data-job` and exchanges head and cells.

        A job that was asked for on this very page (`own`) stays when others begin.
        """
        cells, mine = "".join(self.cells()), " data-mine" if own else ""
        return (
            f'<div class="stage" data-job="{self.job.id}"{mine}><div class="head">{self.head()}</div>'
            f'<div class="cells {self.size()}">{cells}</div>{boards(self.spoken)}</div>'
        )

    def size(self) -> str:
        """How many pictures there are room for, as a class."""
        count = self.job.request.count
        return "one" if count == 1 else "few" if count <= 4 else "many"

    def head(self) -> str:
        """What it is doing, what it did not know, what went wrong."""
        unknown = self.progress.unknown if self.progress else ()
        notes = "".join(note("unknown", _unknown(word, self.spoken)) for word in unknown)
        if self.progress and self.progress.read_as:
            notes += note("good", say("read_as", self.spoken, words=self.progress.read_as))
        if isinstance(self.job.end, Failed):
            notes += note("problem", in_language(self.job.end.sentence, self.spoken))
        return self._bar() + notes

    def cells(self) -> list[str]:
        """Each picture, or its place."""
        indices = range(self.job.request.count)
        return [self._cell(index) for index in indices if not self.job.end or index in self.saved]

    def _bar(self) -> str:
        if self.job.end:
            outcome = self._outcome()
            return f'<div class="status" role="status">{escape(outcome)}</div>' if outcome else ""
        step, total = (self.progress.step, self.progress.total) if self.progress else (0, 0)
        share = 100 * step / total if total else 0
        return (
            f'<div class="line"><div class="status" role="status">{escape(self._state(step, total))}</div>'
            f"{self._stops()}</div>"
            f'<div class="bar{"" if step else " busy"}"><i style="width:{share:.0f}%"></i></div>'
        )

    def _stops(self) -> str:
        """What can still be wished of it. Stop is first: were it moved while it is held, another would be pressed."""
        job = self.job
        stop = "" if job.wish == "cancel" else button(say("stop", self.spoken), own="stop", job=job.id)
        if job.request.count == 1 or job.state != "running" or job.wish:
            return stop
        return stop + button(say("finish", self.spoken), own="finish", job=job.id)

    def _state(self, step: int, total: int) -> str:
        if self.job.state == "waiting":
            if self.paused:
                return say("paused", self.spoken)
            return say("waiting", self.spoken, ahead=self.ahead) if self.ahead else say("loading", self.spoken)
        if self.job.wish:
            return say("stopping" if self.job.wish == "cancel" else "stopping_after", self.spoken)
        if not total:
            return say("loading", self.spoken)
        state = say("step", self.spoken, step=step, total=total)
        if self.left is None:
            return state
        return f"{state} · {say('left', self.spoken, seconds=max(1, round(self.left)))}"

    def _outcome(self) -> str:
        if isinstance(self.job.end, Cancelled):
            return say("cancelled", self.spoken)
        if not isinstance(self.job.end, Done) or not self.saved:
            return ""
        if all(saved.found for saved in self.saved.values()):
            return say("found", self.spoken)
        seconds = max(saved.seconds for saved in self.saved.values())
        return say("done", self.spoken, count=len(self.saved), seconds=f"{seconds:.1f}")

    def _cell(self, index: int) -> str:
        saved = self.saved.get(index)
        if saved:
            return _finished(saved, self.job.request.prompt, self.spoken)
        preview = self.progress.previews.get(index) if self.progress else None
        if preview is None:
            return '<figure class="cell wait"><div class="board"></div></figure>'
        source = f"data:image/png;base64,{base64.b64encode(preview).decode()}"
        return f'<figure class="cell"><div class="board"><img alt="" src="{source}"></div></figure>'


def nothing_yet(spoken: str, problem: str = "") -> str:
    """The stage before the first job; `problem` says why there can't be one."""
    said = note("problem", in_language(problem, spoken)) if problem else ""
    return f'<div class="stage">{said}{empty(say("empty", spoken), say("empty_hint", spoken))}</div>'


def refused(sentence: str) -> str:
    """The stage after a request that can't be done."""
    return f'<div class="stage">{note("problem", sentence)}</div>'


def told(kind: str, *sentences: str) -> str:
    """What was done with a picture that was dropped or handed over."""
    return "".join(note(kind, sentence) for sentence in sentences if sentence)


def strip(pictures: list[Kept], spoken: str) -> str:
    """Pictures that were made before, newest first; nothing where there are none."""
    if not pictures:
        return ""
    cells = "".join(_kept(kept, spoken) for kept in pictures)
    return f'<section class="strip"><h2>{escape(say("before", spoken))}</h2><div class="row">{cells}</div></section>'


def _finished(saved: Saved, prompt: str, spoken: str) -> str:
    digest = _digest(saved.path)
    seed = escape(say("seed", spoken, seed=saved.seed))
    return (
        f'<figure class="cell done">{opener(digest, prompt, picture(saved.path, prompt), spoken)}'
        f"<figcaption><span>{seed}</span>{_links(saved.path, digest, spoken)}</figcaption></figure>"
    )


def _kept(kept: Kept, spoken: str) -> str:
    words = escape(kept.prompt)
    return (
        f'<figure class="cell kept">{in_small(kept, spoken)}'
        f'<figcaption><span title="{words}">{words}</span></figcaption></figure>'
    )


def _links(path: object, digest: str, spoken: str) -> str:
    return (
        f'<span class="links"><a href="{address(str(path))}" download>{escape(say("download", spoken))}</a>'
        f"{button(say('again', spoken), do='like', picture=digest)}</span>"
    )


def _digest(path: object) -> str:
    return str(path).replace("\\", "/").rpartition("/")[2].removesuffix(".png")


def _unknown(word: Unknown, spoken: str) -> str:
    separator = "、" if spoken == "zh" else ", "
    key = "unknown" if word.nearest else "unknown_near"
    return say(key, spoken, word=word.word, nearest=separator.join(word.nearest))
