"""The Models tab as HTML."""

from dataclasses import dataclass, field
from html import escape

from studio.backends.registry import KINDS
from studio.capabilities import Capabilities, Style
from studio.care import Finding
from studio.page.html import button, note
from studio.page.models.facts import Card, Part
from studio.page.models.words import say
from studio.page.refusals import in_language

NAMED = 60  # concepts
TOLD = 100  # findings


@dataclass
class Model:
    """A backend as it stands. `problem` says why it can't work, `parts_problem` why its parts can't be listed."""

    name: str
    can: Capabilities | None = None
    digest: str = ""
    problem: str = ""
    parts: list[Part] = field(default_factory=list)
    parts_problem: str = ""
    concepts: dict[str, list[str]] = field(default_factory=dict)


def page(model: Model, others: list[Model], samples: dict[str, str], prompts: list[str], spoken: str) -> str:
    """All but the look for trouble. `samples` holds a picture of each style as data URIs."""
    return (
        f'<div class="models">{_head(model, spoken)}{_knows(model, samples, prompts, spoken)}'
        f"{''.join(_other(other, spoken) for other in others)}</div>"
    )


def _head(model: Model, spoken: str) -> str:
    rows = [(say("name", spoken), model.name)]
    if model.digest:
        rows.append((say("digest", spoken), model.digest[:16]))
    if model.can:
        sizes = ", ".join(map(str, model.can.sizes))
        rows.append((say("sizes", spoken), say("pixels", spoken, sizes=sizes)))
    listed = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in rows)
    problem = note("problem", in_language(model.problem, spoken)) if model.problem else ""
    return (
        f'<section class="panel">{_title(model, spoken)}<p class="quiet">{escape(_about(model, spoken))}</p>{problem}'
        f'<dl class="facts">{listed}</dl>{_parts(model, spoken)}</section>'
    )


def _about(model: Model, spoken: str) -> str:
    kind = model.name.partition(":")[0]
    return say(f"about_{kind}", spoken) if f"about_{kind}" in say else KINDS[kind].about


def _title(model: Model, spoken: str) -> str:
    state, words = ("bad", "not_ready") if model.problem else ("good", "ready")
    title = model.can.title if model.can else model.name
    return f'<h2>{escape(title)} <span class="badge {state}">{escape(say(words, spoken))}</span></h2>'


def _other(model: Model, spoken: str) -> str:
    problem = note("problem", in_language(model.problem, spoken)) if model.problem else ""
    how = escape(say("how", spoken, name=model.name))
    return (
        f'<section class="panel other">{_title(model, spoken)}<p class="quiet">{escape(_about(model, spoken))}</p>'
        f"{problem}<p>{how}</p>{_parts(model, spoken)}</section>"
    )


# --- Parts ------------------------------------------------------------------------------------------------------------


def _parts(model: Model, spoken: str) -> str:
    if model.parts_problem:
        return note("problem", in_language(model.parts_problem, spoken))
    if not model.parts:
        return ""
    head = "".join(f'<th scope="col">{escape(say(name, spoken))}</th>' for name in ("part", "state", "size", "licence"))
    total = sum(part.bytes for part in model.parts)
    foot = f'<tr><th scope="row">{escape(say("all", spoken))}</th><td></td><td>{_size(total)}</td><td></td></tr>'
    body = "".join(_row(part, spoken) for part in model.parts)
    missing = any(not part.installed for part in model.parts)
    get = note("unknown", say("get", spoken)) if missing else ""
    more = "".join(_card(part, spoken) for part in model.parts if part.card.facts or part.card.figures)
    name = escape(say("parts", spoken))
    return (
        f'<h3>{name}</h3><div class="rows" role="region" tabindex="0" aria-label="{name}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody><tfoot>{foot}</tfoot></table></div>"
        f"{get}{_scores(model.parts, spoken)}{more}"
    )


def _scores(parts: list[Part], spoken: str) -> str:
    """As the cards say, each beside its part; tables stand in the card itself."""
    rows = "".join(
        f'<tr><th scope="row">{escape(part.name)}</th><td>{escape(part.card.score)}</td></tr>'
        for part in parts
        if part.card.score
    )
    title = escape(say("figures", spoken))
    region = f'<div class="rows" role="region" tabindex="0" aria-label="{title}">'
    return f"<h3>{title}</h3>{region}<table><tbody>{rows}</tbody></table></div>" if rows else ""


def _row(part: Part, spoken: str) -> str:
    use = f"<small>{escape(say(part.name, spoken))}</small>" if part.name in say else ""
    if not part.installed:
        state, kind = f"✗ {escape(say('missing', spoken))}", ' class="bad"'
    elif part.problem:
        state, kind = f"✗ {escape(in_language(part.problem, spoken))}", ' class="bad"'
    else:
        state, kind = f"✓ {escape(say('verified', spoken))}", ""
    size = _size(part.bytes) if part.installed else ""
    return (
        f'<tr{kind}><th scope="row">{escape(part.name)} {use}</th><td>{state}</td><td>{size}</td>'
        f"<td>{escape(part.card.licence)}</td></tr>"
    )


def _card(part: Part, spoken: str) -> str:
    card: Card = part.card
    facts = [fact for fact in card.facts if fact[0] != "sha256"] + list(part.sha256)  # the card only points to them
    listed = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in facts)
    tables = "".join(_figures(rows) for rows in card.figures)
    return (
        f"<details><summary>{escape(part.name)} · {escape(say('more', spoken))}</summary>"
        f'<p>{escape(card.about)}</p>{tables}<dl class="facts">{listed}</dl></details>'
    )


def _figures(rows: list[list[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
    return f'<div class="rows"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 50_000 else f"{count / 1e3:.0f} kB"


# --- What it knows ----------------------------------------------------------------------------------------------------


def _knows(model: Model, samples: dict[str, str], prompts: list[str], spoken: str) -> str:
    if not model.can:
        return ""
    limits = say("fake_limits" if model.name.partition(":")[0] == "fake" else "limits", spoken)
    taught = f" {say('unknown', spoken)}" if model.concepts else ""
    return (
        f'<section class="panel"><h2>{escape(say("knows", spoken))}</h2>{_styles(model.can.styles, samples, spoken)}'
        f"{_concepts(model.concepts, spoken)}{_prompts(prompts, spoken)}"
        f"<h3>{escape(say('knows_not', spoken))}</h3><p>{escape(limits + taught)}</p></section>"
    )


def _styles(styles: tuple[Style, ...], samples: dict[str, str], spoken: str) -> str:
    tiles = "".join(
        "<li>"
        + (f'<img alt="" src="{samples[one.name]}">' if one.name in samples else "")
        + f'<b>{escape(one.name)}</b><span lang="zh">{escape(one.zh if one.zh != one.name else "")}</span></li>'
        for one in styles
    )
    return f'<h3>{escape(say("styles", spoken, count=len(styles)))}</h3><ul class="known">{tiles}</ul>' if tiles else ""


def _concepts(concepts: dict[str, list[str]], spoken: str) -> str:
    """How many, and some of them from all over the list."""
    names = concepts.get(spoken) or concepts.get("en") or []
    if not names:
        return ""
    some = names[:: max(1, len(names) // NAMED)][:NAMED]
    listed = ("、" if spoken == "zh" else ", ").join(some)
    count = f"{len(concepts.get('en') or names):,}"
    return (
        f"<h3>{escape(say('concepts', spoken, count=count))}</h3>"
        f'<p class="quiet">{escape(say("such_as", spoken, names=listed))}</p>'
    )


def _prompts(prompts: list[str], spoken: str) -> str:
    listed = "".join(f"<li>{escape(prompt)}</li>" for prompt in prompts)
    return f'<h3>{escape(say("try", spoken))}</h3><ul class="prompts">{listed}</ul>' if listed else ""


# --- Trouble ----------------------------------------------------------------------------------------------------------


def trouble(home: str, pictures: int, free: float, notice: str, spoken: str, found: str = "") -> str:
    """Where things lie, and the button that looks for trouble; `found` is what it found."""
    said = note("unknown", say("worker", spoken, sentence=in_language(notice, spoken))) if notice else ""
    kept = say("kept", spoken, pictures=f"{pictures:,}", free=f"{free:,.0f}")
    return (
        f'<section class="panel"><h2>{escape(say("home", spoken))}</h2><p><code>{escape(home)}</code><br>'
        f'<span class="quiet">{escape(kept)}</span></p>{said}<p class="quiet">{escape(say("doctor_info", spoken))}</p>'
        f'<div class="links">{button(say("doctor", spoken), own="doctor")}</div>'
        f'<div role="status">{found}</div></section>'
    )


def looking(spoken: str) -> str:
    """While it looks."""
    return f"<p>{escape(say('looking', spoken))}</p>"


def findings(found: list[Finding], pictures: int, spoken: str) -> str:
    """What the look for trouble found."""
    if not found:
        return note("good", say("well", spoken, pictures=f"{pictures:,}"))
    head = "".join(f'<th scope="col">{escape(say(name, spoken))}</th>' for name in ("what", "file", "todo"))
    rows = "".join(
        f"<tr><td>{escape(say(one.kind, spoken) if one.kind in say else one.kind)}</td>"
        f"<td>{escape(one.path)}</td><td>{escape(in_language(one.advice, spoken))}</td></tr>"
        for one in found[:TOLD]
    )
    rest = len(found) - TOLD
    more = f'<p class="quiet">{escape(say("more_trouble", spoken, count=f"{rest:,}"))}</p>' if rest > 0 else ""
    return (
        f"{note('problem', say('trouble', spoken, count=f'{len(found):,}'))}"
        f'<div class="rows"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{more}'
    )
