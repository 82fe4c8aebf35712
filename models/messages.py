"""Messages for people, as a code and values: `assets/messages/<language>/*.json` hold the sentences.

An error is raised with a code (`Refused("seed.range", most=9, seed=-1)`), travels and is stored as code and values, and
becomes a sentence in the reader's language where it is shown. A language is a folder; what it lacks is said in English.
"""

import json
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from models.assets import assets

DEFAULT = "en"


@dataclass(frozen=True)
class Message:
    """One sentence in no language yet. Values are numbers, text, lists of text, or other messages."""

    code: str
    values: dict[str, Any] = field(default_factory=dict)

    def text(self, language: str = DEFAULT) -> str:
        """The sentence. A code that no catalogue has is the sentence itself: other programs' errors have no code."""
        template = catalogue(language).get(self.code) or catalogue(DEFAULT).get(self.code)
        if template is None:
            return self.code
        return template.format(**{name: _shown(value, language) for name, value in self.values.items()})

    def as_json(self) -> dict[str, Any]:
        """What `from_json` reads again."""
        return {"code": self.code, **({"values": _plain(self.values)} if self.values else {})}

    @classmethod
    def from_json(cls, data: Any) -> "Message":
        """The message again; a bare text is a sentence without a code."""
        if not isinstance(data, dict):
            return cls(str(data))
        return cls(data["code"], {name: _read(value) for name, value in data.get("values", {}).items()})

    def __str__(self) -> str:
        return self.text()

    def __bool__(self) -> bool:
        return bool(self.code)


class Refused(ValueError):
    """A request that can't be done. Its message says what is wrong, where, and what to do."""

    def __init__(self, code: str | Message = "", **values: Any) -> None:
        self.message = code if isinstance(code, Message) else Message(code, values)
        super().__init__(self.message)

    def text(self, language: str = DEFAULT) -> str:
        """The sentence in a language."""
        return self.message.text(language)

    def __str__(self) -> str:
        return self.message.text()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message,)


@cache
def catalogue(language: str) -> dict[str, str]:
    """All templates of a language by code; none where there is no such language."""
    folder = assets() / "messages" / language
    files = sorted(folder.glob("*.json")) if language.isalnum() else []
    return {code: text for file in files for code, text in json.loads(file.read_text(encoding="utf-8")).items()}


def languages() -> list[str]:
    """The languages that have a catalogue."""
    return sorted(path.name for path in (assets() / "messages").iterdir() if path.is_dir())


def did_you_mean(word: str, known: Any) -> Message | str:
    """A hint at the nearest of what is known, as a value of another message; "" where nothing is near."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return Message("hint.did_you_mean", {"near": near[0]}) if near else ""


def _shown(value: Any, language: str) -> Any:
    if isinstance(value, Message):
        return value.text(language)
    if isinstance(value, list | tuple):
        return ("、" if language == "zh" else ", ").join(str(_shown(one, language)) for one in value)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Message):
        return {"message": value.as_json()}
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool) else str(value)


def _read(value: Any) -> Any:
    if isinstance(value, dict) and "message" in value:
        return Message.from_json(value["message"])
    return [_read(one) for one in value] if isinstance(value, list) else value
