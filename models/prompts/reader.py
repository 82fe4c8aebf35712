"""Says what becomes of each word of a prompt: drawn, left out, or not known; and what can be drawn instead."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from models.data.grammar import Language, article, language_of, regular
from models.lexicon import CONCEPTS, LEXICONS, any_of, table, word_set
from models.prompts.layout import SUM
from models.prompts.linker import is_free
from models.prompts.normalise import core, spelled, words_of
from models.prompts.parsed import Concept, Entity, Part, Reading, State
from models.prompts.parser import PromptParser, beside
from models.prompts.vocabulary import Vocabulary, not_drawn
from models.prompts.weighting import QUOTED, plain

OFFERED = 3  # prompts instead of one that names nothing
NEAREST = 5  # things in the place of one
_HOW = re.compile(any_of([*LEXICONS["zh"].colours.values(), *LEXICONS["zh"].expressions]))
_WORDS = re.compile(r"[a-z]+(?:[-'’][a-z]+)*|[\u3400-\u9fff]+")


class Reader:
    """Reads by `parser`; without a `vocabulary` no word is unknown."""

    def __init__(self, parser: PromptParser, vocabulary: Vocabulary | None = None) -> None:
        self.parser, self.vocabulary = parser, vocabulary

    def read(self, text: str, negative: str = "") -> Reading:
        """The parts of a prompt beside a negative one. Refused where a weight is out of range."""
        instead, (spelling, places) = self.instead(text), spelled(text)
        low = spelling.lower() if len(spelling.lower()) == len(spelling) else spelling
        parts: list[Part] = []
        for first, last, state, drawn_as, nearest in self._spans(low, negative, bool(instead)):
            start, end = (places[first][0], places[last - 1][1]) if first < last else (0, 0)
            if start < end and all(end <= one.start or start >= one.start + len(one.text) for one in parts):
                parts.append(Part(text[start:end], start, state, drawn_as, nearest))
        return Reading(text, tuple(sorted(parts, key=lambda one: one.start)), instead)

    def instead(self, text: str) -> tuple[str, ...]:
        """Prompts to take in the place of one that names nothing that can be drawn: what belongs to what its words are
        about, what lies near, what of the usual lies nearest; none of a prompt that names something."""
        if not self.parser.linker.concepts or self._names_something(text):
            return ()
        words, language = core(_words_alone(text)), language_of(text)
        near = self.vocabulary.nearest(words) if self.vocabulary and words else ()
        others = (self._called(self.parser.linker.concepts[number], language) for number in self._akin(words))
        names = dict.fromkeys(filter(None, chain(near, others)))
        return tuple(islice((article(name) if language == "en" else name for name in names), OFFERED))

    def _akin(self, words: str) -> Iterator[int]:
        """Concepts for words that name none: those of their themes, then the usual ones, the nearest first."""
        themes = [theme for word, theme in table("themes").items() if any(_places(words, word))]
        for name in chain.from_iterable(CONCEPTS["themes"][theme] for theme in dict.fromkeys(themes)):
            yield from self.parser.linker.called(name)[:1]
        usual = [number for number, one in enumerate(self.parser.linker.concepts) if one.is_a("usual")]
        yield from self.parser.linker.nearest(self.parser.vector(words), usual) if words else usual

    def _names_something(self, text: str) -> bool:
        parsed = self.parser.parse(_words_alone(text))
        return bool(parsed.entities or parsed.blend or parsed.layout or parsed.lettering)

    def _spans(
        self, low: str, negative: str, is_unknown: bool
    ) -> Iterator[tuple[int, int, State, str, tuple[str, ...]]]:
        """(start, end, state, what it is drawn as, nearest) of words of a prompt in small letters; what is found first
        is so."""
        parsed = self.parser.parse(low)
        left: dict[str, tuple[str, ...]] = dict(not_drawn(parsed, self.vocabulary)) if self.vocabulary else {}
        unknown = {word for word, _ in self.vocabulary.unknown(plain(low))} if self.vocabulary else set()
        if not is_unknown:
            drawn_entities = beside(parsed, negative, self.parser).entities
            gone = [entity for entity in parsed.entities if entity not in drawn_entities]
            whole = chain.from_iterable(_places(low, one.text.strip()) for one in gone if SUM not in one.text)
            named = ((start, end) for start, end, *_ in self._things(low, gone))
            yield from ((*place, "left_out", "", ()) for place in chain(whole, named))
            yield from self._things(low, drawn_entities)
            for word in dict.fromkeys([*parsed.left_out, *left]):
                state: State = "unknown" if word in unknown else "left_out"
                yield from ((*span, state, "", left.get(word, ())) for span in _places(low, word))
        grammar = word_set("function") | word_set("places") | word_set("plain")
        for match in _WORDS.finditer(low):
            if match[0].isascii() and len(match[0]) > 2 and match[0] not in grammar:
                yield (*match.span(), "unknown" if is_unknown else "drawn", "", ())
            elif not match[0].isascii():
                marks = [match] if is_unknown else _HOW.finditer(low, *match.span())
                yield from ((*one.span(), "unknown" if is_unknown else "drawn", "", ()) for one in marks)

    def _things(self, low: str, entities: Sequence[Entity]) -> Iterator[tuple[int, int, State, str, tuple[str, ...]]]:
        """Where entities are named: by their names, else by the words of their concepts."""
        for entity in entities:
            concept, language = self.parser.concept(entity), language_of(entity.name or entity.text)
            beside = self._called(concept, language), self._beside(entity.concept, language)
            english = (word for word in _WORDS.findall(entity.text) if word not in word_set("function"))
            words = english if language == "en" else concept.chinese_phrases
            matching = [
                one for one in words if (words_of(one)[0] in concept.words if language == "en" else one in entity.text)
            ]
            for name in [entity.name] if any(_places(low, entity.name)) else matching or [core(entity.text)]:
                yield from ((*place, "drawn", *beside) for place in _places(low, name))

    @staticmethod
    def _called(concept: Concept, language: Language) -> str:
        return next(iter(concept.names.get(language, ())), "")

    def _beside(self, number: int, language: Language) -> tuple[str, ...]:
        """The things of the same group nearest to one, by name."""
        concepts = self.parser.linker.concepts
        akin = [i for i, one in enumerate(concepts) if one.group == concepts[number].group and i != number]
        near = self.parser.linker.nearest(self.parser.linker.vector_of(number), akin)
        names = dict.fromkeys(filter(None, (self._called(concepts[other], language) for other in near)))
        return tuple(islice(names, NEAREST))


def _words_alone(text: str) -> str:
    """What is read of a prompt: without quotation marks around all of it, and without marks."""
    quoted = QUOTED.fullmatch(text)
    return text if is_free(text) else plain(next(one for one in quoted.groups() if one is not None) if quoted else text)


def _places(low: str, words: str) -> Iterator[tuple[int, int]]:
    """Where words stand, in any number; also where a plural that is no name and an s was made regular."""
    if words and words.isascii():
        pattern_ = re.compile(rf"(?<![a-z]){re.escape(words)}(?:e?s)?(?![a-z])")
        yield from (match.span() for match in pattern_.finditer(low))
        yield from (m.span() for m in _WORDS.finditer(low) if m[0] != words and regular(m[0]) in (words, f"{words}s"))
    elif words:
        yield from (match.span() for match in re.finditer(re.escape(words), low))
