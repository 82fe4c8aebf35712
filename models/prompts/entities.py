"""Concepts that the models were taught, and entities: the phrases of a prompt that name them."""

import re
from dataclasses import dataclass
from functools import cached_property

from models.data.grammar import language_of
from models.lexicon import CONCEPTS, LEXICONS, pattern
from models.prompts.attributes import colours_in, count_in, expressions_in, gender_in
from models.prompts.normalise import modifiers, words_of

# Groups of concepts.
PEOPLE, FACES, ANIMALS, FLAGS, PLACES = "people-body", "smileys-emotion", "animals-nature", "flags", "travel-places"
_WORN = {where: re.compile(name) for where, name in CONCEPTS["worn"].items()}
ALIASES: dict[str, tuple[str, ...]] = {}  # by CLDR's English name, what people say for it
for _lexicon in LEXICONS.values():
    for _name, _said in _lexicon.rows["aliases"].items():
        ALIASES[_name] = (*ALIASES.get(_name, ()), *_said.split(", "))


def flag_names(name: str) -> tuple[str, ...]:
    """What a country's flag is called besides its own name, in either language: "flag of Japan" a Japan flag."""
    if country := name.removeprefix("flag of ") if name.startswith("flag of ") else "":
        return f"{country} flag", f"{country}'s flag"
    country = name.removesuffix("旗") if name.endswith("旗") else ""
    return tuple(f"{country}{flag}" for flag in ("国旗", "的国旗", "的旗", "旗帜", "旗子")) if country else ()


@dataclass(frozen=True)
class Concept:
    """A concept that was taught: its names by language, keywords, group, and whether it is an object."""

    names: dict[str, tuple[str, ...]]
    keywords: tuple[str, ...]
    group: str
    is_object: bool

    @property
    def english_names(self) -> tuple[str, ...]:
        """By Unicode's CLDR; icons outside it have their own."""
        return self.names.get("en", ())

    @cached_property
    def all_names(self) -> tuple[str, ...]:
        """Those of all languages, in small letters."""
        return tuple(name.lower() for of_language in self.names.values() for name in of_language)

    def is_a(self, *kinds: str) -> bool:
        """Whether it is of one of the classes of `assets/lexicon/concepts.toml`."""
        return any(name in CONCEPTS[kind] for kind in kinds for name in self.english_names)

    @cached_property
    def phrases(self) -> tuple[str, ...]:
        """All names and keywords, in small letters."""
        return tuple(dict.fromkeys((*self.all_names, *(word.lower() for word in self.keywords))))

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(word for phrase in self.phrases for word in words_of(phrase))

    @property
    def english_words(self) -> frozenset[str]:
        return frozenset(word for word in self.words if word.isascii())

    @property
    def chinese_phrases(self) -> tuple[str, ...]:
        return tuple(phrase for phrase in self.phrases if not phrase.isascii())

    @property
    def is_face(self) -> bool:
        """Whether it is a face and nothing else, and not a heart or a ghost."""
        return self.group == FACES and any("face" in name.lower() for name in self.english_names)

    @property
    def has_eyes(self) -> bool:
        """Whether it is drawn with a face of its own."""
        return self.is_a("face_of_its_own") or (self.group == ANIMALS and not self.is_a("plant"))

    @property
    def is_somebody(self) -> bool:
        return self.has_eyes or self.group == PEOPLE or self.is_face

    @cached_property
    def worn_at(self) -> str:
        """Where it is worn, one of `worn` in `concepts.toml`; "" where it is not."""
        names = [name.lower() for name in self.english_names]
        return next((where for where, word in _WORN.items() if any(map(word.search, names))), "")

    @property
    def can_join(self) -> bool:
        """Whether it may stand beside another one."""
        return self.is_object or self.group == FLAGS or self.is_a("loose_body_part")


@dataclass(frozen=True)
class Entity:
    """An entity of a prompt."""

    text: str  # the phrase of the normalised prompt
    concept: int  # its number
    name: str = ""  # as it stands there, or ""
    # What is said of the entity itself, where the phrase says something of its parts too: blue eyes make no blue cat,
    # and two ears no two bears.
    own: str = ""

    @property
    def beside(self) -> str:
        """What is said of the entity beside its name."""
        return (self.own or self.text).replace(self.name, " ", 1)

    @cached_property
    def count(self) -> int:
        """How many there are, 1 to 4; two hearts are one by name."""
        return count_in(self.beside)

    @cached_property
    def colours(self) -> tuple[str, ...]:
        return colours_in(self.beside, language_of(self.text))

    @cached_property
    def is_small(self) -> bool:
        return bool(pattern("small").search(self.beside))

    @cached_property
    def expressions(self) -> list[str]:
        return expressions_in(self.beside)

    @cached_property
    def gender(self) -> str:
        return gender_in(self.text)

    @cached_property
    def modifiers(self) -> list[str]:
        """Words that say something else of it."""
        return modifiers(self.text, self.name)
