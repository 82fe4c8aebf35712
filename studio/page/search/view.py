"""The Search tab's answers as HTML."""

from collections.abc import Sequence
from html import escape

from studio.page.html import empty
from studio.page.picture.view import in_small
from studio.page.search.words import say
from studio.search import Hit


def waiting(spoken: str) -> str:
    """What stands there before anything was looked for."""
    return empty(say("empty", spoken), say("empty_hint", spoken))


def looking(spoken: str) -> str:
    """While the answer is on its way: the first one loads the model."""
    return f'<p class="looking" role="status">{escape(say("looking", spoken))}</p>'


def nothing(bare: bool, spoken: str) -> str:
    """Where nothing was found; `bare` where there is nothing at all."""
    key = "bare" if bare else "nothing"
    return empty(say(key, spoken), say(f"{key}_hint", spoken))


def found(hits: Sequence[Hit], spoken: str) -> str:
    """The pictures, best first, each with its score."""
    count = escape(say("found", spoken, count=len(hits)))
    cells = "".join(_cell(hit, spoken) for hit in hits)
    return f'<p class="counted" role="status">{count}</p><div class="hits">{cells}</div>'


def _cell(hit: Hit, spoken: str) -> str:
    words, key = escape(hit.picture.prompt), "says" if hit.score is None else "score"
    score = escape(say("says", spoken)) if hit.score is None else f"{hit.score:.2f}"
    return (
        f'<figure class="cell">{in_small(hit.picture, spoken)}<figcaption><span class="said" title="{words}">{words}'
        f'</span><span class="score" title="{escape(say(key, spoken))}">{score}</span></figcaption></figure>'
    )
