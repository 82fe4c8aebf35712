"""Dynamic prompts: `a {red|blue} {2$$cat|dog|fox}, __colours__`, drawn by a seed into plain words; and their wildcards.

    {a|b|3::c}         one of them, c three times as often
    {2$$a|b|c}         two different ones, joined by ", "; {1-2$$ and $$a|b} one or two, joined by " and "
    __colours__        a line of the list `colours`; __colours*__ of all that match
    {2$$__colours__}   two different lines of it
    \\{ \\} \\_           a brace, an underscore that is meant

The package `dynamicprompts` (0.31) has the same syntax, but it removes "# ..." from a prompt, reads "\\{a|b\\}" as an
alternative, stops at a lone "$", keeps an unknown wildcard with a warning on the terminal, reaches Python's recursion
limit at a list that names itself, follows links out of the folder, and has no limits. Hence this parser.

A list is a text file, one entry a line (`#` begins a comment, `3::red` comes up three times as often), or a list in a
YAML file, named by its keys: `{clothes: {hats: [...]}}` is `__clothes/hats__`. Names are looked up among the files that
are there and never joined to a path, so that no prompt reads a file from elsewhere.

Escapes stay in what is drawn, and `models.prompts.weighting` takes them off when the words are read: drawing twice
changes nothing.
"""

import fnmatch
import os
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from models.messages import Message, Refused, did_you_mean

CHOICES = 10_000  # in one prompt, those in the lines of wildcards included
LENGTH = 100_000  # characters on the way; what comes out has the prompt's own limit
DEPTH = 10  # of braces in one text, and of lists in lists
SEPARATOR = ", "
THE_PROMPT = Message("syntax.the_prompt")

_ESCAPE = r"\\."
_NAME = r"__(?![_\s])[^\s{}|$()\[\],:]+?__"
_TOKEN = re.compile(rf"{_ESCAPE}|{_NAME}|[{{}}|]|[^\\{{}}|_]+|.", re.DOTALL)
_AMOUNT = re.compile(r"\s*(\d{0,4})(-?)(\d{0,4})\$\$")

FILES = 10_000
FILE_BYTES = 4 * 2**20
COMMENT = re.compile(r"(?:^|\s)#.*")
WEIGHT = re.compile(r"\s*(\d{1,6}(?:\.\d{1,6})?|\.\d{1,6})::")


# --- Lists ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """A line of a list: its text, the name of the list that it is from, and how often it comes up."""

    text: str
    source: str
    weight: float = 1.0


class Wildcards:
    """The lists under `folder`: it is listed once, and each list is read at its first use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, tuple[Entry, ...]] = {}

    def entries(self, name: str) -> tuple[Entry, ...]:
        """The entries of the list `name`, or of all that match (`colours*`, `clothes/**`); Refused for none."""
        if name.startswith(("/", "\\", "~")) or ".." in re.split(r"[/\\]", name) or ":" in name:
            raise Refused("syntax.wildcard_outside", name=name, folder=str(self.folder))
        names = [known for known in sorted(self._known) if fnmatch.fnmatchcase(known, name)]
        if not names:
            code = "wildcard_missing" if self.folder.is_dir() else "wildcards_missing"
            hint = did_you_mean(name, self._known)
            raise Refused(f"syntax.{code}", name=name, hint=hint, folder=str(self.folder))
        entries = tuple(entry for known in names for entry in self._list(known))
        if not entries:
            raise Refused("syntax.wildcard_empty", name=name, file=str(self._known[names[0]][0]))
        return entries

    def _list(self, name: str) -> tuple[Entry, ...]:
        if name not in self._read:
            path, lines = self._known[name]
            self._check_inside(path)
            lines = _text(path).splitlines() if lines is None else lines
            matched = [(WEIGHT.match(text), text) for line in lines if (text := COMMENT.sub("", line).strip())]
            self._read[name] = tuple(
                Entry(text[match.end() :].strip(), name, float(match[1])) if match else Entry(text, name)
                for match, text in matched
            )
        return self._read[name]

    @cached_property
    def _known(self) -> dict[str, tuple[Path, list[str] | None]]:
        """Where each list is, and its lines where it is part of a YAML file."""
        from studio.yaml_file import load_yaml

        known: dict[str, tuple[Path, list[str] | None]] = {}
        for path in self._files():
            if path.suffix.lower() == ".txt":
                known[path.relative_to(self.folder).with_suffix("").as_posix()] = path, None
            elif path.suffix.lower() in (".yaml", ".yml"):
                self._check_inside(path)
                tree, _ = load_yaml(_text(path), str(path))
                known |= {"/".join(keys): (path, lines) for keys, lines in _lists(tree)}
        return known

    def _files(self) -> Iterator[Path]:
        """Files in the folder and in those below it; links to folders are not followed."""
        count = 0
        for place, folders, files in os.walk(self.folder):
            folders.sort()
            for file in sorted(files):
                count += 1
                if count > FILES:
                    raise Refused("syntax.wildcard_files", folder=str(self.folder), most=FILES)
                yield Path(place) / file

    def _check_inside(self, path: Path) -> None:
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise Refused("syntax.wildcard_link", file=str(path), folder=str(self.folder))


def _text(path: Path) -> str:
    if not path.is_file():  # a pipe would never end
        raise Refused("batch.is_no_file", file=str(path))
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES + 1)
        if len(data) > FILE_BYTES:
            raise Refused("syntax.list_too_large", file=str(path), most=FILE_BYTES >> 20)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused("syntax.list_not_utf8", file=str(path), byte=error.start + 1) from error
    except OSError as error:
        raise Refused("syntax.unreadable", file=str(path), why=error.strerror or str(error)) from error


def _lists(tree: object, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """The keys that lead to a list, and its lines."""
    if isinstance(tree, list) and keys:
        yield keys, [str(item) for item in tree if isinstance(item, str | int | float)]
    elif isinstance(tree, dict):
        for key, below in tree.items():
            yield from _lists(below, (*keys, str(key)))


# --- Drawing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Wildcard:
    name: str


@dataclass
class _Option:
    weight: float = 1.0
    parts: "list[str | _Wildcard | _Choice]" = field(default_factory=list)


@dataclass
class _Choice:
    options: list[_Option]
    least: int = 1
    most: int = 1
    separator: str = SEPARATOR


def is_dynamic(text: str) -> bool:
    """Whether the words depend on the seed."""
    return any(token == "{" or _is_wildcard(token) for token in _TOKEN.findall(text))


def literal(text: str) -> str:
    """The text with everything that would be drawn escaped."""
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
        return self._drawn(_Parser(text, where).parse(), inside)

    def _drawn(self, option: _Option, inside: tuple[str, ...]) -> str:
        text = "".join(self._part(part, inside) for part in option.parts)
        self.length -= len(text)
        if self.length < 0:
            raise Refused("syntax.prompt_grows", most=LENGTH)
        return text

    def _part(self, part: "str | _Wildcard | _Choice", inside: tuple[str, ...]) -> str:
        if isinstance(part, str):
            return part
        if isinstance(part, _Wildcard):
            return self._chosen(self.wildcards.entries(part.name), 1, inside)[0]
        pool: Sequence[_Option | Entry] = part.options
        alone = [piece for piece in part.options[0].parts if not isinstance(piece, str) or piece.strip()]
        if len(pool) == len(alone) == 1 and isinstance(alone[0], _Wildcard):  # it is all of its lines
            pool = self.wildcards.entries(alone[0].name)
        amount = part.least + int(self.chance.random() * (part.most - part.least + 1))
        return part.separator.join(self._chosen(pool, amount, inside))

    def _chosen(self, pool: "Sequence[_Option | Entry]", amount: int, inside: tuple[str, ...]) -> list[str]:
        """`amount` different ones of `pool`, all of it where there are fewer, each as likely as it weighs."""
        left, chosen = list(pool), []
        for _ in range(min(amount, len(left))):
            self.choices -= 1
            if self.choices < 0:
                raise Refused("syntax.too_many_choices", most=CHOICES)
            weights = [each.weight for each in left]  # where all are 0, they are equal
            pick = left.pop(self.chance.choices(range(len(left)), weights if any(weights) else None)[0])
            chosen.append(self._drawn(pick, inside) if isinstance(pick, _Option) else self._line(pick, inside))
        return chosen

    def _line(self, entry: Entry, inside: tuple[str, ...]) -> str:
        if entry.source in inside:
            raise Refused("syntax.wildcard_circle", names=" -> ".join((*inside, entry.source)))
        if len(inside) >= DEPTH:
            raise Refused("syntax.wildcard_depth", most=DEPTH)
        where = Message("syntax.wildcard_line", {"name": entry.source})
        return self.text(entry.text, where, (*inside, entry.source))


class _Parser:
    """A text as a tree. Columns count from 1."""

    def __init__(self, text: str, where: Message | str) -> None:
        self.where = where
        self.tokens = [(match[0], match.start() + 1) for match in _TOKEN.finditer(text)]
        self.at = 0

    def parse(self, depth: int = 0) -> _Option:
        """All of it; within braces, up to the next bar or closing brace of their own."""
        option = _Option()
        while self.at < len(self.tokens):
            token, column = self.tokens[self.at]
            if depth and token in ("|", "}"):
                break
            if token == "}":
                raise self._refused("closes_nothing", column=column)
            self.at += 1
            if token == "{":
                option.parts.append(self._choice(depth + 1, column))
            else:
                option.parts.append(_Wildcard(token[2:-2]) if _is_wildcard(token) else token)
        return option

    def _choice(self, depth: int, column: int) -> _Choice:
        if depth > DEPTH:
            raise self._refused("depth", most=DEPTH, column=column)
        choice = _Choice([])
        self._amount(choice, column)
        while True:
            weight = self._take(WEIGHT)
            choice.options.append(_Option(float(weight[1]) if weight else 1.0, self.parse(depth).parts))
            if self.at == len(self.tokens):
                raise self._refused("open", column=column)
            self.at += 1
            if self.tokens[self.at - 1][0] == "}":
                return choice

    def _amount(self, choice: _Choice, column: int) -> None:
        """`2$$`, `1-3$$`, `-3$$` or `2-$$` at the head, perhaps with a separator and another `$$`."""
        match = self._take(_AMOUNT)
        if not match or not (match[1] or match[3]):
            return
        choice.least = int(match[1] or 1)
        choice.most = int(match[3] or 10_000) if match[2] else choice.least
        if choice.least > choice.most:
            raise self._refused("amount", column=column, amount=match[0].strip("$ "))
        separator = self._take(re.compile(r"([^$]*)\$\$"))
        if separator:
            choice.separator = separator[1]

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
