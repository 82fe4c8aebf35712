"""The card of one picture as HTML: a dialog with the picture, what can be done with it, and how it was made."""

import time
from html import escape
from typing import Any

from studio.gallery import Kept
from studio.page.html import address, button, note, picture
from studio.page.picture.words import say

BOARDS = ("checks", "white", "black")
COLOUR = "#7dd3fc"  # what the colour board begins with
SMALL = (32, 16)  # pixels: where stickers live
SHOWN = ("prompt", "negative", "style", "seed", "steps", "guidance", "scheduler", "strength", "model")


def card(
    kept: Kept,
    origin: dict[str, Any],
    apps: list[tuple[str, str]],
    spoken: str,
    again: bool = False,
    problem: str = "",
) -> str:
    """The dialog. `origin` is what the file says of itself, `apps` are (name, title) of the programs it can be made
    ready for. One that is shown `again` opens nothing: it takes the place of the card that is open. `problem` says why
    what was pressed can't be done.
    """
    title = escape(kept.prompt or say("untitled", spoken))
    # Its place is always there: Gradio exchanges what stands at the same place, and what is typed further down is kept.
    refused = f'<div class="refused">{note("problem", problem) if problem else ""}</div>'
    return (
        f'<dialog class="card"{" data-again" if again else ""} aria-label="{title}"><div class="card-body">'
        f'<div class="card-picture">{boards(spoken)}<div class="board big">'
        f'<img id="card-image" alt="{title}" src="{address(kept.path)}"></div>{_small(kept, spoken)}</div>'
        f'<div class="card-text"><div class="card-head"><h2>{title}</h2>{_close(spoken)}</div>'
        f"{refused}{_marks(kept, spoken)}{_files(kept, apps, spoken)}{_uses(kept, spoken)}"
        f"{_details(kept, spoken)}{_why(kept, origin, spoken)}</div></div></dialog>"
    )


def gone(spoken: str) -> str:
    """The dialog for a picture that was removed meanwhile."""
    head = f'<div class="card-head">{note("problem", say("gone", spoken))}{_close(spoken)}</div>'
    return f'<dialog class="card"><div class="card-text">{head}</div></dialog>'


def opener(digest: str, name: str, shown: str, spoken: str) -> str:
    """A picture as a button that opens its card. `shown` is its HTML; `name` is what it is called, and may be empty."""
    words = escape(f"{say('open', spoken)}: {name}" if name else say("open", spoken))
    return (
        f'<button type="button" class="board" data-do="open" data-picture="{digest}" aria-label="{words}">'
        f"{shown}</button>"
    )


def in_small(kept: Kept, spoken: str) -> str:
    """The same of a picture of the gallery, as small as many of them are shown."""
    return opener(kept.sha256, kept.prompt, picture(kept.path, kept.prompt, small=True), spoken)


def boards(spoken: str) -> str:
    """Buttons that choose what pictures are shown on, all over the page; page.js knows which was picked."""
    chosen = "".join(
        f'<button type="button" class="swatch {name}" data-board-is="{name}" aria-pressed="false"'
        f' title="{escape(say(name, spoken))}"><span class="unseen">{escape(say(name, spoken))}</span></button>'
        for name in BOARDS
    )
    colour = escape(say("colour", spoken))
    picker = (
        f'<input type="color" class="swatch" data-board-is="colour" value="{COLOUR}" aria-label="{colour}"'
        f' title="{colour}">'
    )
    return f'<div class="boards" role="group" aria-label="{escape(say("on", spoken))}">{chosen}{picker}</div>'


def _small(kept: Kept, spoken: str) -> str:
    sizes = "".join(
        f'<span class="chat {ground}"><img alt="" width="{size}" height="{size}" src="{address(kept.path)}"></span>'
        for ground in ("light", "night")
        for size in SMALL
    )
    return f'<div class="chats"><span>{escape(say("small", spoken))}</span>{sizes}</div>'


def _close(spoken: str) -> str:
    words = escape(say("close", spoken))
    return f'<button type="button" class="close" data-close aria-label="{words}" title="{words}">×</button>'


def _marks(kept: Kept, spoken: str) -> str:
    star = (
        f'<button type="button" class="star" data-do="star" data-picture="{kept.sha256}"'
        f' aria-pressed="{str(kept.star).lower()}">{"★" if kept.star else "☆"} '
        f"{escape(say('starred' if kept.star else 'star', spoken))}</button>"
    )
    return f'<div class="marks">{star}{_rating(kept, spoken)}</div>'


def _rating(kept: Kept, spoken: str) -> str:
    """Radio buttons, so that arrow keys move among them."""
    choices = "".join(
        f'<label class="{"lit" if 0 < value <= kept.rating else ""}">'
        f'<input type="radio" name="rating" value="{value}" data-do="rate" data-picture="{kept.sha256}"'
        f"{' checked' if value == kept.rating else ''}"
        f' aria-label="{escape(say("stars", spoken, count=value) if value else say("none", spoken))}">'
        f'<span aria-hidden="true">{"●" if value else "○"}</span></label>'
        for value in range(6)
    )
    return f'<fieldset class="rating"><legend>{escape(say("rating", spoken))}</legend>{choices}</fieldset>'


def _files(kept: Kept, apps: list[tuple[str, str]], spoken: str) -> str:
    """Plain links: the browser downloads them, also with scripts off. card.js adds the outline to each address, and
    fetch.js says what is done meanwhile.
    """
    name, base, busy = kept.sha256[:16], f"/downloads/{kept.sha256}", escape(say("busy", spoken))
    links = f'<a class="primary" href="{address(kept.path)}" download="{name}.png" data-outlined="{base}/png">PNG</a>'
    links += "".join(
        f'<a href="{base}/{escape(use)}" download data-fetch="{busy}" data-outlined="{base}/{escape(use)}">'
        f"{escape(title)}</a>"
        for use, title in [("svg", "SVG"), *apps]
    )
    outline = f'<label><input type="checkbox" data-outline> {escape(say("outline", spoken))}</label>'
    copy = (
        f'<button type="button" data-copy data-done="{escape(say("copied", spoken))}"'
        f' data-failed="{escape(say("not_copied", spoken))}">'
        f"{escape(say('copy', spoken))}</button>"
    )
    return (
        f'<section class="files"><h3>{escape(say("download", spoken))}</h3><div class="links">{links}{copy}</div>'
        f'{outline}<p class="fetching" role="status"></p></section>'
    )


def _uses(kept: Kept, spoken: str) -> str:
    made = "".join(
        button(say(use, spoken), do=use, picture=kept.sha256)
        for use in ("again", "like", "start", "vary", "blend", "settings", "find")
    )
    end = "restore" if kept.deleted else "delete"
    removed = button(say(end, spoken), do=end, picture=kept.sha256)
    said = note("unknown", say("deleted", spoken)) if kept.deleted else ""
    return (
        f'<section class="uses"><h3>{escape(say("next", spoken))}</h3><div class="links">{made}'
        f'<span class="danger">{removed}</span></div>{said}</section>'
    )


def _details(kept: Kept, spoken: str) -> str:
    def line(name: str, value: str) -> str:
        hint = "" if name == "note" else escape(say("commas", spoken))
        return (
            f'<label><span>{escape(say(name, spoken))}</span><input type="text" data-do="{name}"'
            f' data-picture="{kept.sha256}" maxlength="2000" placeholder="{hint}" value="{escape(value)}"></label>'
        )

    fields = line("tags", ", ".join(kept.tags)) + line("boards", ", ".join(kept.boards)) + line("note", kept.note)
    return f'<section class="details">{fields}</section>'


def _why(kept: Kept, origin: dict[str, Any], spoken: str) -> str:
    request = origin.get("request", {})
    values = {name: request.get(name) for name in SHOWN} | {"seed": kept.seed, "model": kept.model}
    rows = [(say(name, spoken), str(value)) for name, value in values.items() if value not in (None, "")]
    rows.append((say("size", spoken), f"{kept.width} × {kept.height}"))
    if kept.score is not None:
        rows.append((say("score", spoken), f"{kept.score:.2f}"))
    rows.append((say("made", spoken), time.strftime("%Y-%m-%d %H:%M", time.localtime(kept.made))))
    listed = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in rows)
    return f'<details class="why"><summary>{escape(say("why", spoken))}</summary><dl>{listed}</dl></details>'
