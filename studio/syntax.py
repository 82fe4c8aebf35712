"""Dynamic prompts: `a {red|blue} {2$$cat|dog|fox}, __colours__`, drawn by a seed into plain words; and their wildcards.

    {a|b|3::c}         one of them, c three times as often
    {2$$a|b|c}         two different ones, joined by ", "; {1-2$$ and $$a|b} one or two, joined by " and "
    __colours__        a line of the list `colours`; __colours*__ of all that match
    {2$$__colours__}   two different lines of it
    \\{ \\} \\_           a brace, an underscore that is meant

The package `dynamicprompts` (0.31) has the same syntax, but it removes "# ..." from a prompt, reads "\\{a|b\\}" as an
alternative, stops at a lone "$", keeps an unknown wildcard with a warning on the terminal, reaches Python's recursion
limit at a list that names itself, follows links out of the folder, and has no limits. Hence this parser.

A list is a text file, one entry a line (`#` begins a comment, `3::red` comes up three times as often), named by its
path in the folder: `clothes/hats.txt` is `__clothes/hats__`. Names are looked up among the files that are there and
never joined to a path, so that no prompt reads a file from elsewhere.

Escapes stay in what is drawn, and `models.prompts.weighting` takes them off when the words are read: drawing twice
changes nothing.
"""

import fnmatch
import os
import random
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from models.messages import Message, Refused, did_you_mean
from studio.files import make_folder, write_whole

CHOICES = 10_000  # in one prompt, those in the lines of wildcards included
LENGTH = 100_000  # characters on the way; what comes out has the prompt's own limit
DEPTH = 10  # of braces in one text, and of lists in lists
SEPARATOR = ", "
THE_PROMPT = Message("syntax.the_prompt")

_ESCAPE = r"\\."
_NAME = r"__(?![_\s])[^\s{}|$()\[\],:]+?__"
_TOKEN = re.compile(rf"{_ESCAPE}|{_NAME}|[{{}}|]|[^\\{{}}|_]+|.", re.DOTALL)
_SEPARATOR = re.compile(r"([^$]*)\$\$")
_AMOUNT = re.compile(r"\s*(\d{0,4})(-?)(\d{0,4})\$\$")

FILES = 10_000
FILE_BYTES = 4 * 2**20
COMMENT = re.compile(r"(?:^|\s)#.*")
LIST_NAME = re.compile(r"(?=.{1,80}$)[^\W_]+(?:[-_/][^\W_]+)*")  # no path leads out of the folder
WEIGHT = re.compile(r"\s*(\d{1,6}(?:\.\d{1,6})?|\.\d{1,6})::")


# --- Lists ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """Something to draw and how often it comes up: a line of the list `source`, or what lies between bars, parsed."""

    text: "str | list[str | _Choice]"
    weight: float = 1.0
    source: str = ""


class Wildcards:
    """The lists under `folder`, which is listed once; each list is read at its first use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, tuple[Entry, ...]] = {}

    def entries(self, name: str) -> tuple[Entry, ...]:
        """The entries of the list `name`, or of all that match (`colours*`, `clothes/**`); Refused for none."""
        names = [known for known in sorted(self._known) if fnmatch.fnmatchcase(known, name)]
        if not names:
            code = "wildcard_missing" if self.folder.is_dir() else "wildcards_missing"
            hint = did_you_mean(name, self._known)
            raise Refused(f"syntax.{code}", name=name, hint=hint, folder=str(self.folder))
        entries = tuple(entry for known in names for entry in self._list(known))
        if not entries:
            raise Refused("syntax.wildcard_empty", name=name, file=str(self._known[names[0]]))
        return entries

    def text(self, name: str) -> str:
        """The file of a list; "" where there is none."""
        return _text(self._known[name]) if name in self._known else ""

    def names(self) -> list[str]:
        return sorted(self._known)

    def write(self, name: str, text: str) -> None:
        """Write the list `name`, an entry a line; Refused for a bad name, for a line that can't be read, for none."""
        if not LIST_NAME.fullmatch(name):
            raise Refused("syntax.list_name", name=name)
        path, where = self.folder / f"{name}.txt", Message("syntax.wildcard_line", {"name": name})
        lines = [COMMENT.sub("", line).strip() for line in text.splitlines()]
        if not any(lines):
            raise Refused("syntax.wildcard_empty", name=name, file=str(path))
        for line in lines:
            _Parser(line, where).parse()
        make_folder(path.parent)
        write_whole(path, text.encode(), "--home")

    def _list(self, name: str) -> tuple[Entry, ...]:
        if name not in self._read:
            entries = []
            for line in _text(self._known[name]).splitlines():
                if text := COMMENT.sub("", line).strip():
                    weight = WEIGHT.match(text)
                    entry = (text[weight.end() :].strip(), float(weight[1])) if weight else (text, 1.0)
                    entries.append(Entry(*entry, source=name))
            self._read[name] = tuple(entries)
        return self._read[name]

    @cached_property
    def _known(self) -> dict[str, Path]:
        """Where each list is. Links to folders are not followed."""
        files = sorted(Path(folder) / name for folder, _, names in os.walk(self.folder) for name in names)
        if len(files) > FILES:
            raise Refused("syntax.wildcard_files", folder=str(self.folder), most=FILES)
        lists = (path for path in files if path.suffix.lower() == ".txt")
        return {path.relative_to(self.folder).with_suffix("").as_posix(): path for path in lists}


def _text(path: Path) -> str:
    if not path.is_file():  # a pipe would never end
        raise Refused("batch.is_no_file", file=str(path))
    try:
        if path.stat().st_size > FILE_BYTES:
            raise Refused("syntax.list_too_large", file=str(path), most=FILE_BYTES >> 20)
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused("syntax.list_not_utf8", file=str(path), byte=error.start + 1) from error
    except OSError as error:
        raise Refused("syntax.unreadable", file=str(path), why=error.strerror or str(error)) from error


# --- Drawing ----------------------------------------------------------------------------------------------------------


@dataclass
class _Choice:
    """`least` to `most` different options, or entries of the list `name`, joined by `separator`. A wildcard without
    braces is `alone`: a single entry.
    """

    options: list[Entry] = field(default_factory=list)
    least: int = 1
    most: int = 1
    separator: str = SEPARATOR
    name: str = ""
    alone: bool = False


def is_dynamic(text: str) -> bool:
    """Whether a text has braces or wildcards, so that its words depend on the seed."""
    return any(token == "{" or _is_wildcard(token) for token in _TOKEN.findall(text))


def literal(text: str) -> str:
    """The text with all braces and wildcards escaped."""
    return "".join("\\" + token if token in "{}" or _is_wildcard(token) else token for token in _TOKEN.findall(text))


def draw(text: str, seed: str, wildcards: Wildcards, where: Message | str = THE_PROMPT) -> str:
    """Plain words; the same for the same text, seed and lists. Refused with a sentence that says where in `where` a
    brace is open or a weight is wrong, which wildcard is missing or names itself, or which limit was met.
    """
    if not any(sign in text for sign in ("{", "}", "__")):
        return text
    return _Draw(random.Random(seed), wildcards).text(text, where, ())


def _is_wildcard(token: str) -> bool:
    return len(token) > 4 and token.startswith("__")


class _Draw:
    """One drawing: its random numbers, and how many choices and characters are left to it."""

    def __init__(self, chance: random.Random, wildcards: Wildcards) -> None:
        self.chance, self.wildcards = chance, wildcards
        self.choices, self.length = CHOICES, LENGTH

    def text(self, text: str, where: Message | str, inside: tuple[str, ...]) -> str:
        """`inside` names the lists that led here."""
        return self._parts(_Parser(text, where).parse(), inside)

    def _parts(self, parts: list[str | _Choice], inside: tuple[str, ...]) -> str:
        text = "".join(part if isinstance(part, str) else self._choice(part, inside) for part in parts)
        self.length -= len(text)
        if self.length < 0:
            raise Refused("syntax.prompt_grows", most=LENGTH)
        return text

    def _choice(self, choice: _Choice, inside: tuple[str, ...]) -> str:
        """All options where there are fewer than are to be drawn, each as likely as it weighs."""
        left, chosen = list(self.wildcards.entries(choice.name) if choice.name else choice.options), list[str]()
        amount = 1 if choice.alone else choice.least + int(self.chance.random() * (choice.most - choice.least + 1))
        for _ in range(min(amount, len(left))):
            self.choices -= 1
            if self.choices < 0:
                raise Refused("syntax.too_many_choices", most=CHOICES)
            weights = [each.weight for each in left]  # where all are 0, they are equal
            pick = left.pop(self.chance.choices(range(len(left)), weights if any(weights) else None)[0])
            chosen.append(self._line(pick, inside) if isinstance(pick.text, str) else self._parts(pick.text, inside))
        return choice.separator.join(chosen)

    def _line(self, entry: Entry, inside: tuple[str, ...]) -> str:
        if entry.source in inside:
            raise Refused("syntax.wildcard_circle", names=" -> ".join((*inside, entry.source)))
        if len(inside) >= DEPTH:
            raise Refused("syntax.wildcard_depth", most=DEPTH)
        where = Message("syntax.wildcard_line", {"name": entry.source})
        return self.text(str(entry.text), where, (*inside, entry.source))


class _Parser:
    """A text as a tree. Columns count from 1."""

    def __init__(self, text: str, where: Message | str) -> None:
        self.where = where
        self.tokens = [(match[0], match.start() + 1) for match in _TOKEN.finditer(text)]
        self.at = 0

    def parse(self, depth: int = 0) -> list[str | _Choice]:
        """Parse all tokens; within braces, up to their next bar or closing brace."""
        parts: list[str | _Choice] = []
        while self.at < len(self.tokens):
            token, column = self.tokens[self.at]
            if depth and token in ("|", "}"):
                break
            if token == "}":
                raise self._refused("closes_nothing", column=column)
            self.at += 1
            if token == "{":
                parts.append(self._choice(depth + 1, column))
            else:
                parts.append(_Choice(name=token[2:-2], alone=True) if _is_wildcard(token) else token)
        return parts

    def _choice(self, depth: int, column: int) -> _Choice:
        if depth > DEPTH:
            raise self._refused("depth", most=DEPTH, column=column)
        choice = _Choice()
        # `2$$`, `1-3$$`, `-3$$` or `2-$$` at the head, perhaps with a separator and another `$$`.
        amount = self._take(_AMOUNT)
        if amount and (amount[1] or amount[3]):
            choice.least = int(amount[1] or 1)
            choice.most = int(amount[3] or 10_000) if amount[2] else choice.least
            if choice.least > choice.most:
                raise self._refused("amount", column=column, amount=amount[0].strip("$ "))
            if separator := self._take(_SEPARATOR):
                choice.separator = separator[1]
        while True:
            weight = self._take(WEIGHT)
            parts = self.parse(depth)
            choice.options.append(Entry(parts, float(weight[1]) if weight else 1.0))
            if self.at == len(self.tokens):
                raise self._refused("open", column=column)
            self.at += 1
            if self.tokens[self.at - 1][0] == "}":
                words = [part for part in parts if not isinstance(part, str) or part.strip()]
                if len(choice.options) == len(words) == 1 and isinstance(words[0], _Choice) and words[0].alone:
                    choice.name = words[0].name  # a wildcard by itself is all of its lines
                return choice

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """A match at the beginning of the next token, removed from it."""
        if self.at == len(self.tokens):
            return None
        token, column = self.tokens[self.at]
        match = pattern.match(token)
        if match:
            self.tokens[self.at] = (token[match.end() :], column + match.end())
        return match

    def _refused(self, what: str, **values: Any) -> Refused:
        return Refused("syntax.brace", where=self.where, problem=Message(f"syntax.brace_{what}", values))
