"""How the page speaks English and Chinese.

Each part of the page keeps its own words beside it, in a file `words.py`: `Labels` are translated in the browser
(gr.I18n), `Said` on the server, for what changes while one looks. Both follow the language that was picked on the page,
else the browser's first choice.
"""

from collections.abc import Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

from gradio.i18n import I18nData

Both = tuple[str, str]  # English, Chinese
LANGUAGES = ("en", "zh")
COOKIE = "studio_language"


class Labels(dict[str, Both]):
    """What stands beside inputs and on buttons. `part` keeps the keys of two parts of the page apart."""

    def __init__(self, part: str, words: Mapping[str, Both]) -> None:
        super().__init__(words)
        self.part = part

    def __call__(self, key: str) -> Any:
        """A label as Gradio's components take it; KeyError where there is none."""
        self[key]
        return I18nData(f"{self.part}_{key}")


class Said(dict[str, Both]):
    """Sentences with places for values."""

    def __call__(self, key: str, spoken: str, **values: Any) -> str:
        """One of them in a language, filled in. Plain text: it still has to be escaped for HTML."""
        return self[key][spoken == "zh"].format(**values)


def language(headers: Mapping[str, str]) -> str:
    """ "zh" or "en": as picked on the page, else the browser's first choice."""
    try:
        picked = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        picked = None
    if picked is not None and picked.value in LANGUAGES:
        return picked.value
    return "zh" if headers.get("accept-language", "").lower().startswith("zh") else "en"


def translations(parts: Iterable[Labels]) -> dict[str, dict[str, str]]:
    """All labels as gr.I18n takes them."""
    named = {f"{part.part}_{key}": both for part in parts for key, both in part.items()}
    english, chinese = ({key: both[i] for key, both in named.items()} for i in (0, 1))
    return {"en": english, "zh": chinese, "zh-CN": chinese, "zh-TW": chinese}
