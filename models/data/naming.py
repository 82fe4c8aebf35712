"""What a caption says, read off its words: which concepts it names, their colours and numbers, how two stand.

It reads what is written in the wording of the training captions; a caption of a true scene gives that scene's facts.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from models.data.colours import COLOURS
from models.data.grammar import LANGUAGES, NUMBERS, OPPOSITE, RELATIONS, Language, plural
from models.data.scenes import Scene
from models.data.world import Picture

Fact = tuple[str, ...]  # ("thing", concept), ("colour", concept, its), ("count", concept, its), ("relation", its, a, b)
_KEPT = ("left of", "above", "in front of")  # of a relation and its opposite the one that facts are written in
# Icons called "left" and "2": what says where and how many things are names nothing.
_WORDS = frozenset(re.findall(r"[a-z]+", " ".join(form for forms in RELATIONS["en"].values() for form in forms)))
_COLOUR_WORDS: dict[str, dict[str, str]] = {
    "en": {name: name for name in COLOURS},
    "zh": {colour.zh: name for name, colour in COLOURS.items()},
}


@dataclass(frozen=True)
class Named:
    """A name in a text: the concepts that are called so, and what stands before it, back to the name before."""

    concepts: frozenset[str]
    before: str


class Namer:
    """Finds the names of `pictures` in texts, and their plurals: the longest where one holds another."""

    def __init__(self, pictures: Iterable[Picture]) -> None:
        self._concepts: dict[str, dict[str, set[str]]] = {language: defaultdict(set) for language in LANGUAGES}
        for picture in pictures:
            for language, name in picture.names.items():
                said = name.lower()
                bare = said.removesuffix(" face") if language == "en" else said
                for form in {said, bare, plural(said), plural(bare)} if language == "en" else {said}:
                    if not form.isdigit() and form not in _WORDS:
                        self._concepts[language][form].add(picture.concept)
        self._pattern = {
            language: re.compile(_EDGES[language].format("|".join(map(re.escape, sorted(names, key=len)[::-1]))))
            for language, names in self._concepts.items()
        }

    def named(self, text: str, language: Language) -> Iterator[Named]:
        """All names, in order."""
        end, low = 0, text.lower()
        for match in self._pattern[language].finditer(low) if self._concepts[language] else ():
            yield Named(frozenset(self._concepts[language][match[0]]), low[end : match.start()])
            end = match.end()

    def names(self, text: str, language: Language, concept: str) -> bool:
        """Whether it names the concept; in Chinese captions an English name counts, too."""
        spoken = dict.fromkeys((language, LANGUAGES[0]))
        return any(concept in one.concepts for tongue in spoken for one in self.named(text, tongue))

    def facts(self, text: str, language: Language, about: Collection[str] = ()) -> set[Fact]:
        """What it says. Where a name is that of several concepts, it is taken for the one that it may be `about`."""

        def concept(one: Named) -> str:
            return min(one.concepts & set(about) or one.concepts)

        found: set[Fact] = set()
        for one in self.named(text, language):
            found.add(("thing", concept(one)))
            colours = [name for word, name in _COLOUR_WORDS[language].items() if _is_said(word, one.before, language)]
            found |= {("colour", concept(one), name) for name in colours[-1:]}
            found |= {("count", concept(one), str(n)) for n in _numbers(one.before, language)}
        for relation, first, second in self._relations(text, language):
            found.add(relation_fact(relation, concept(first), concept(second)))
        return found

    def _relations(self, text: str, language: Language) -> Iterator[tuple[str, Named, Named]]:
        low = text.lower()
        for relation, templates in RELATIONS[language].items():
            for template in templates:
                form = (
                    re.escape(template.lower()).replace(r"\{a\}", "(?P<a>[^,，]+?)").replace(r"\{b\}", "(?P<b>[^,，]+)")
                )
                if match := re.match(f"{form}(?:[,，.。]|$)", low):
                    both = [list(self.named(match[side], language)) for side in "ab"]
                    if all(len(own) == 1 for own in both):
                        yield relation, both[0][0], both[1][0]


_EDGES = {"en": r"(?<![a-z])(?:{})(?![a-z])", "zh": "(?:{})"}


def _is_said(word: str, text: str, language: Language) -> bool:
    return word in text if language == "zh" else re.search(rf"\b{word}\b", text) is not None


def _numbers(text: str, language: Language) -> list[int]:
    """Numbers above one that stand before a name."""
    words = {n: NUMBERS[language][n] for n in range(2, 5)}
    return [n for n, word in words.items() if _is_said(word, text, language) or _is_said(str(n), text, language)]


def relation_fact(relation: str, first: str, second: str) -> Fact:
    """A relation and its opposite of the exchanged things are one fact."""
    if relation in _KEPT:
        return ("relation", relation, first, second)
    return ("relation", OPPOSITE[relation], second, first)


def scene_facts(scene: Scene) -> set[Fact]:
    """What is true of a scene and its captions say."""
    facts: set[Fact] = {("thing", item.concept) for item in scene.objects}
    facts |= {("colour", item.concept, item.colour) for item in scene.objects if item.colour}
    if scene.kind == "count" and scene.count > 1:
        facts.add(("count", scene.objects[0].concept, str(scene.count)))
    if scene.relation:
        facts.add(relation_fact(scene.relation, scene.objects[0].concept, scene.objects[1].concept))
    return facts


def f1(found: set[Fact], true: set[Fact]) -> float:
    """Harmonic mean of precision and recall; 1 where both are empty."""
    return 2 * len(found & true) / (len(found) + len(true)) if found or true else 1.0
