"""The Gallery tab as HTML: its filters, its cells, what can be done with those that are selected."""

import json
from collections.abc import Iterable
from html import escape

from studio.gallery import Kept
from studio.page.gallery.words import SCRIPT, say
from studio.page.html import empty, picture

CHOICES = ("style", "tag", "board", "model")  # filters whose values come from the pictures
KEYS = {
    "arrows": "← ↑ → ↓",
    "enter": "Enter",
    "space": "Space",
    "all": "Ctrl A",
    "escape": "Esc",
    "star": "S",
    "rate": "1 – 5, 0",
    "delete": "Delete",
}
RATINGS = range(1, 6)


def shelf(spoken: str, zip_most: int) -> str:
    """The tab without its cells: the script asks for these. `zip_most` pictures go into one zip."""
    words = escape(json.dumps({key: say[key][spoken == "zh"] for key in SCRIPT}, ensure_ascii=False))
    return (
        f'<section class="shelf" data-words="{words}" data-zip-most="{zip_most}">{_filters(spoken)}{_bar(spoken)}'
        f'<div class="nothing" aria-live="polite"></div>'
        f'<div class="picks" role="group" aria-label="{_said("pictures", spoken)}"></div>'
        f"{_near(spoken)}{_dock(spoken)}{_sure(spoken)}</section>"
    )


def cell(kept: Kept, spoken: str) -> str:
    """One picture: a button that opens its card, a box that selects it, and what was said of it."""
    words, digest = escape(kept.prompt or say("untitled", spoken)), kept.sha256
    starred = f", {_said('is_starred', spoken)}" if kept.star else ""
    rated = f", {_said('is_rated', spoken, count=kept.rating)}" if kept.rating else ""
    return (
        f'<figure class="cell pick" data-picture="{digest}" data-star="{int(kept.star)}">'
        f'<button type="button" class="board" tabindex="-1" data-do="open" data-picture="{digest}"'
        f' aria-label="{_said("open", spoken)}: {words}{starred}{rated}">{picture(kept.path, kept.prompt, small=True)}'
        f'</button><label class="tick"><input type="checkbox" tabindex="-1"'
        f' aria-label="{_said("select", spoken)}: {words}"></label>'
        f'<figcaption><span class="said" title="{words}">{words}</span><span class="marked" aria-hidden="true">'
        f"{'★' if kept.star else ''}<i>{'●' * kept.rating}</i></span></figcaption></figure>"
    )


def counted(found: int, total: int, in_bin: bool, narrowed: bool, spoken: str) -> str:
    """How many pictures there are, as a sentence."""
    if narrowed:
        return say("count_of", spoken, found=f"{found:,}", total=f"{total:,}")
    if in_bin:
        return say("count_bin", spoken, found=f"{found:,}")
    return f"{say('count', spoken, found=f'{found:,}')} · {say('order', spoken)}"


def nothing(in_bin: bool, narrowed: bool, spoken: str) -> str:
    """What stands where no picture is."""
    key = "none" if narrowed else "bin_empty" if in_bin else "empty"
    clear = f"<p>{_act('clear', spoken)}</p>" if narrowed else ""
    return empty(say(key, spoken), say(f"{key}_hint", spoken)) + clear


def options(values: Iterable[tuple[str, str]], spoken: str) -> str:
    """The choices of a filter, (value, what it is called) each, after "any"."""
    listed = "".join(f'<option value="{escape(value)}">{escape(title)}</option>' for value, title in values)
    return f'<option value="">{escape(say("any", spoken))}</option>{listed}'


def _filters(spoken: str) -> str:
    def labelled(name: str, field: str) -> str:
        return f"<label><span>{_said(name, spoken)}</span>{field}</label>"

    ratings = options(((str(n), say("rating_least", spoken, count=n) if n < 5 else "5") for n in RATINGS), spoken)
    lists = {name: options((), spoken) for name in CHOICES} | {"rating": ratings}
    fields = "".join(labelled(name, f'<select name="{name}">{listed}</select>') for name, listed in lists.items())
    fields += "".join(labelled(name, f'<input type="date" name="{name}">') for name in ("since", "until"))
    box = '<input type="checkbox" name="starred" value="true">'
    fields += f'<label class="box">{box}<span>{_said("starred", spoken)}</span></label>'
    search = labelled(
        "search",
        f'<input type="search" name="words" maxlength="500" autocomplete="off"'
        f' placeholder="{_said("search_hint", spoken)}">',
    )
    thrown = (
        f'<button type="button" class="plain bin" data-act="bin" aria-pressed="false">'
        f'{_said("bin", spoken)} <b class="binned"></b></button>'
    )
    return (
        f'<form class="filters" role="search">{search}{thrown}<details><summary>{_said("filters", spoken)}'
        f' <b class="active"></b></summary><div>{fields}{_act("clear", spoken)}</div></details></form>'
    )


def _bar(spoken: str) -> str:
    keys = "".join(
        f"<div><dt><kbd>{cap}</kbd></dt><dd>{_said(f'key_{name}', spoken)}</dd></div>" for name, cap in KEYS.items()
    )
    return (
        f'<div class="bar-line"><span class="counted" role="status"></span>{_act("newer", spoken, hidden=True)}'
        f"{_act('select_all', spoken, 'all')}{_act('empty_bin', spoken, 'sure', hidden=True)}"
        f'<details class="keys"><summary class="plain">{_said("keys", spoken)}</summary><dl>{keys}</dl></details></div>'
    )


def _near(spoken: str) -> str:
    title = _said("near", spoken)
    return (
        f'<section class="near" hidden><h2>{title}</h2><p class="looking" role="status" hidden>'
        f'{_said("looking", spoken)}</p><div class="picks" role="group" aria-label="{title}"></div></section>'
    )


def _dock(spoken: str) -> str:
    """What lies at the foot of the window: what was done, with its undo, and the bar for what is selected."""
    close = _said("dismiss", spoken)
    return (
        f'<div class="dock"><div class="told" hidden><span role="status"></span>{_act("undo", spoken)}'
        f'<button type="button" class="plain" data-act="dismiss" aria-label="{close}" title="{close}">×</button></div>'
        f'<div class="chosen" role="toolbar" aria-label="{_said("select", spoken)}" hidden><b></b>'
        f'<span class="kept">{_act("star", spoken)}{_act("unstar", spoken)}{_rate(spoken)}{_labels(spoken)}</span>'
        f'{_act("zip", spoken)}<span class="kept">{_act("delete", spoken)}</span>'
        f'<span class="binned-only">{_act("restore", spoken)}</span>{_act("unselect", spoken, "none")}</div></div>'
    )


def _rate(spoken: str) -> str:
    listed = "".join(f'<option value="{n}">{"●" * n}</option>' for n in reversed(RATINGS))
    rate = _said("rate", spoken)
    return (
        f'<select data-rate aria-label="{rate}"><option value="">{rate}</option>{listed}'
        f'<option value="0">{_said("rate_none", spoken)}</option></select>'
    )


def _labels(spoken: str) -> str:
    fields = "".join(
        f'<div><label><span>{_said(kind, spoken)}</span><input type="text" name="{kind}" maxlength="100"'
        f' list="shelf-{kind}" autocomplete="off"></label>{_act("put_on", spoken, kind)}'
        f'{_act("take_off", spoken, f"un{kind}")}<datalist id="shelf-{kind}"></datalist></div>'
        for kind in ("tag", "board")
    )
    summary = f'<summary class="plain">{_said("labels", spoken)}</summary>'
    return f'<details class="labels">{summary}<div>{fields}</div></details>'


def _sure(spoken: str) -> str:
    return (
        f'<dialog class="sure" aria-labelledby="sure-title"><h2 id="sure-title">{_said("sure", spoken)}</h2>'
        f"<p>{_said('sure_hint', spoken)}</p><div>{_act('sure_no', spoken, 'keep')}"
        f'<button type="button" class="plain danger" data-act="empty"></button></div></dialog>'
    )


def _act(key: str, spoken: str, act: str = "", hidden: bool = False) -> str:
    """A button of this tab: its script listens to `data-act`."""
    off = " hidden" if hidden else ""
    return f'<button type="button" class="plain" data-act="{act or key}"{off}>{_said(key, spoken)}</button>'


def _said(key: str, spoken: str, **values: object) -> str:
    """Words for HTML."""
    return escape(say(key, spoken, **values))
