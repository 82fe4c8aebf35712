"""The Queue tab as HTML. Each row is one piece of its own: the script exchanges what changed and nothing else."""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from studio.events import Saved
from studio.page.html import address, empty, note
from studio.page.line.words import say
from studio.page.refusals import in_language
from studio.queue import QueuedJob

THUMBNAILS = 8  # pictures of one job that are shown
# What a request's pictures are for, in words.
PICTURES = {
    "image": "from_picture",
    "mask": "painted",
    "expand": "bordered",
    "like": "like_picture",
    "mix": "blended",
}


@dataclass(frozen=True)
class Row:
    """A job, its pictures so far, and of one that is being done how far it is: `step` of `total`, `left` seconds."""

    job: QueuedJob
    saved: tuple[Saved, ...] = ()
    step: int = 0
    total: int = 0
    left: float | None = None
    place: int = 0  # in line, 1 the next; 0 for one that does not wait


def line(spoken: str) -> str:
    """The tab without its rows: the script asks for these."""
    close = escape(say("dismiss", spoken))
    lists = "".join(
        f'<section hidden><h2 tabindex="-1">{escape(say(name, spoken))}</h2><ol data-list="{name}"></ol></section>'
        for name in ("line", "wrong", "past")
    )
    return (
        f'<section class="jobs"><div class="jobs-head"></div><div class="nothing"></div>{lists}'
        f'<div class="dock"><div class="told" hidden><span role="status"></span>{_act("undo", spoken)}'
        f'<button type="button" class="plain" data-act="dismiss" aria-label="{close}" title="{close}">×</button></div>'
        '</div><p class="unseen" role="status"></p></section>'
    )


def head(counts: dict[str, int], paused: bool, notice: str, spoken: str) -> str:
    """What is going on, and what can be done with all of it."""
    running, waiting = counts.get("running", 0), counts.get("waiting", 0)
    busy = running or waiting
    state = say("state", spoken, running=running, waiting=waiting) if busy else say("idle", spoken)
    buttons = _act("go" if paused else "pause", spoken)
    buttons += _act("cancel_all", spoken) if busy else ""
    buttons += _act("retry_all", spoken) if counts.get("failed", 0) + counts.get("aside", 0) else ""
    notes = note("unknown", say("paused", spoken)) if paused else ""
    said = say("notice", spoken, sentence=in_language(notice, spoken)) if notice else ""
    notes += f'<p class="how">{escape(said)}</p>' if said else ""
    status = f'<b class="status" role="status">{escape(state)}</b>'
    return f'<div class="bar-line">{status}{buttons}</div>{notes}'


def nothing(spoken: str) -> str:
    """What stands where there is no job at all."""
    return empty(say("empty", spoken), say("empty_hint", spoken))


def more(count: int, spoken: str) -> str:
    """The last row of a line too long to show."""
    return f'<li class="job rest">{escape(say("more", spoken, count=count))}</li>'


def row(one: Row, spoken: str) -> str:
    """One job."""
    job, said, place, drag = one.job, escape(_title(one.job, spoken)), "", ""
    if job.state == "waiting":
        drag = ' draggable="true"'
        place = f'<span class="place" title="{escape(say("place", spoken, place=one.place))}">{one.place}</span>'
    return (
        f'<li class="job {job.state}" data-job="{job.id}"{drag}>{place}'
        f'<div class="about"><b title="{said}">{said}</b><span class="how">{escape(_how(one, spoken))}</span>'
        f"{_progress(one, spoken)}{_why(job, spoken)}</div>{_thumbnails(one, spoken)}"
        f'<div class="does">{_buttons(one, spoken)}</div></li>'
    )


def _title(job: QueuedJob, spoken: str) -> str:
    return job.request.prompt or say("untitled", spoken)


def _how(one: Row, spoken: str) -> str:
    """What was asked for, in a line."""
    job, request = one.job, one.job.request
    parts = [say("pictures", spoken, count=request.count)] if request.count > 1 else []
    parts += [request.style] if request.style else []
    numbers = {name: getattr(request, name) for name in ("size", "steps", "guidance", "best_of", "seed")}
    parts += [say(name, spoken, value=_short(value)) for name, value in numbers.items() if value is not None]
    parts += [say("without", spoken, words=request.negative)] if request.negative else []
    parts += [say(key, spoken) for name, key in PICTURES.items() if getattr(request, name)]
    if job.state == "done" and job.started and job.ended:
        parts.append(say("took", spoken, seconds=f"{max(0.0, job.ended - job.started):.1f}"))
    if job.state == "cancelled":
        parts.append(say("cancelled", spoken))
    return " · ".join(parts)


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _progress(one: Row, spoken: str) -> str:
    if one.job.state != "running":
        return ""
    parts = [say("step", spoken, step=one.step, total=one.total) if one.total else say("loading", spoken)]
    if one.job.request.count > 1 and one.total:
        parts.append(say("made", spoken, made=len(one.saved), count=one.job.request.count))
    if one.left is not None:
        parts.append(say("left", spoken, seconds=max(1, round(one.left))))
    if one.job.wish:
        parts = [say("stopping" if one.job.wish == "cancel" else "stopping_after", spoken)]
    share = 100 * one.step / one.total if one.total else 0
    return (
        f'<div class="bar{"" if one.step else " busy"}"><i style="width:{share:.0f}%"></i></div>'
        f'<span class="how">{escape(" · ".join(parts))}</span>'
    )


def _why(job: QueuedJob, spoken: str) -> str:
    """Why it failed. Where it is said in other words than the studio's own, these are a press away."""
    if job.state not in ("failed", "aside"):
        return ""
    said, detail = in_language(job.sentence, spoken), ""
    if said != job.sentence:
        detail = f"<details><summary>{escape(say('details', spoken))}</summary>{escape(job.sentence)}</details>"
    return f'<div class="note problem">{escape(said[:1].upper() + said[1:])}{detail}</div>'


def _thumbnails(one: Row, spoken: str) -> str:
    shown, prompt = one.saved[:THUMBNAILS], escape(_title(one.job, spoken))
    if not shown:
        return ""
    pictures = "".join(_thumbnail(saved, prompt, spoken) for saved in shown)
    others = len(one.saved) - len(shown)
    rest = f"<span>+{others}</span>" if others else ""
    return f'<div class="made">{pictures}{rest}</div>'


def _thumbnail(saved: Saved, prompt: str, spoken: str) -> str:
    source = address(saved.path)
    digest = source.rpartition("/")[2].partition(".")[0]
    return (
        f'<button type="button" class="board" data-do="open" data-picture="{digest}"'
        f' aria-label="{escape(say("open", spoken))}: {prompt}">'
        f'<img alt="{prompt}" src="{source.replace("/pictures/", "/thumbnails/")}" decoding="async"></button>'
    )


def _buttons(one: Row, spoken: str) -> str:
    match one.job.state:
        case "waiting":
            off = one.place == 1
            moves = [_act(act, spoken, sign=sign, off=off) for act, sign in (("first", "⤒"), ("up", "↑"))]
            return "".join([*moves, _act("down", spoken, sign="↓"), _act("cancel", spoken)])
        case "running":
            after = _act("finish", spoken) if one.job.request.count > 1 and not one.job.wish else ""
            return after + ("" if one.job.wish == "cancel" else _act("stop", spoken, act="cancel"))
        case "failed" | "aside":
            return _act("retry", spoken)
        case "cancelled":
            return _act("back", spoken, act="retry")
    return ""


def _act(key: str, spoken: str, act: str = "", sign: str = "", off: bool = False) -> str:
    """A button of this tab. One that is off keeps the focus that it may have."""
    words = escape(say(key, spoken))
    named = f' aria-label="{words}" title="{words}"' if sign else ""
    disabled = ' aria-disabled="true"' if off else ""
    return f'<button type="button" class="plain" data-act="{act or key}"{named}{disabled}>{sign or words}</button>'


def rows(listed: Iterable[Row], spoken: str) -> list[tuple[str, str]]:
    """(job, HTML) of each."""
    return [(one.job.id, row(one, spoken)) for one in listed]
