"""Writing: what a parsed prompt says as sentences again, in either language, by the grammar that captions are made by.

A sentence that is written is only a candidate: `same` says whether the parser reads in it what it read before.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise, product

from models.data.colours import COLOURS, colour_words
from models.data.grammar import NUMBERS, RELATIONS, SKIN_EN, SKIN_ZH, Language, article, plural
from models.data.grammar import SCENE_TEMPLATES as TEMPLATES
from models.data.styles import styled
from models.lexicon import LEXICONS, expressions, table
from models.prompts.attributes import BLACK_AND_WHITE, gender_in, skin_tones_in, without_skin_tone
from models.prompts.entities import ANIMALS, Entity
from models.prompts.layout import SUM
from models.prompts.normalise import core, normalise, without_lettering
from models.prompts.parsed import ParsedPrompt
from models.prompts.parser import PromptParser
from models.prompts.relations import relation_of

MOST = 12  # sentences that are tried for one prompt
FORMS = 3  # of each relation
NAMES = 2  # of each concept
UNSAID = ("with", "in", "带")  # joints that leave open whether it is worn or held


@dataclass(frozen=True)
class Written:
    """A sentence, and the words of the prompt that it leaves out because the language data has none for them."""

    text: str
    lost: tuple[str, ...] = ()


class Writer:
    """Writes what `parser` read."""

    def __init__(self, parser: PromptParser) -> None:
        self.parser = parser

    def sentences(self, parsed: ParsedPrompt, language: Language) -> Iterator[Written]:
        """At most MOST sentences in `language`, the usual words first; none of what names nothing."""
        if SUM in parsed.text:
            parts = [self._first(text, language) for text in parsed.text.split(SUM)]
            yield from [Written(SUM.join(parts))] if all(parts) else []
            return
        if not parsed.entities:
            return
        nouns = [self._nouns(entity, language) for entity in parsed.entities]
        lost = tuple(word for word in parsed.left_out if word not in table("manners") and word not in table("verbs"))
        wholes = (self._joined(choice, language) for choice in _varied([*nouns, *self._joints(parsed, language)]))
        for body in islice(wholes, MOST):
            for single in TEMPLATES[language]["singles"] if len(nouns) == 1 else ("{a}",):
                yield Written(_dressed(single.format(a=body), parsed, language), lost)

    def _first(self, text: str, language: Language) -> str:
        return next((one.text for one in self.sentences(self.parser.parse(text), language)), "")

    @staticmethod
    def _joined(choice: Sequence[str], language: Language) -> str:
        """Noun phrases, then what joins each to the one before."""
        count = (len(choice) + 1) // 2
        text = choice[0]
        for noun, form in zip(choice[1:count], choice[count:], strict=True):
            text = form.format(a=text, b=noun)
        return text

    # --- Things -------------------------------------------------------------------------------------------------------

    def _nouns(self, entity: Entity, language: Language) -> list[str]:
        """Noun phrases for an entity, with number, colours, mood and manner."""
        write = self._english if language == "en" else self._chinese
        return [write(entity, name) for name in self._names(entity, language)[:NAMES]]

    def _names(self, entity: Entity, language: Language) -> list[str]:
        concept, said = self.parser.concept(entity), entity.name or core(entity.text)
        names = concept.names.get(language, ())
        own = [name for name in names if gender_in(name) == entity.gender or not entity.gender]
        if entity.name in concept.all_names:
            return sorted(own, key=lambda name: name.lower() != said)
        called = LEXICONS[language].rows["aliases"]
        others = [alias for name in concept.english_names for alias in called.get(name, "").split(", ") if alias]
        # What has one more name in each language has the same one: a dinosaur, 恐龙. Of several nobody can tell.
        return [said] if said in others else [*others, *own] if len(others) == 1 else own

    def _english(self, entity: Entity, name: str) -> str:
        colours = [colour for colour in entity.colours if colour not in name]
        is_pair = set(colours) == {"black", "white"}
        colour = BLACK_AND_WHITE if is_pair else colour_words(tuple(colours), "en") if colours else ""
        noun = " ".join(filter(None, ["small" * entity.is_small, *_adjectives(entity, "en"), colour, name]))
        return f"{NUMBERS['en'][entity.count]} {plural(noun)}" if entity.count > 1 else article(noun)

    def _chinese(self, entity: Entity, name: str) -> str:
        concept = self.parser.concept(entity)
        head = (concept.english_names or (name,))[0].split(" ")[-1].lower()
        measure = TEMPLATES["zh"]["measures"].get(head) or ("只" if concept.group == ANIMALS else "个")
        colours = tuple(colour for colour in entity.colours if COLOURS[colour].zh[:1] not in name)
        words = *_adjectives(entity, "zh"), colour_words(colours, "zh") if colours else "", "小小" * entity.is_small
        number = NUMBERS["zh"][entity.count] + measure if entity.count > 1 else ""
        return number + "".join(f"{word}的" for word in words if word) + name

    # --- How they stand -----------------------------------------------------------------------------------------------

    def _joints(self, parsed: ParsedPrompt, language: Language) -> list[list[str]]:
        """For each entity but the first the forms that join it to what is before it."""
        text, places, at = normalise(without_skin_tone(without_lettering(parsed.text))), [], 0
        for entity in parsed.entities:
            start = text.find(said := entity.text.strip(), at)
            start = text.find(said) if start < 0 else start
            places.append((start, start + len(said)))
            at = max(at, places[-1][1])
        joints = []
        for n, ((_, end), (start, stop)) in enumerate(pairwise(places), 1):
            after = text[stop : places[n + 1][0]] if n + 1 < len(places) else text[stop:]
            before = text[: places[0][0]] if n == 1 else ""
            marked = f"{before}{{a}}{text[end:start]}{{b}}{after}" if 0 <= end <= start else "{a}, {b}"
            joints.append(self._forms(" ".join(marked.split()), parsed.entities[n], language))
        return joints

    def _forms(self, said: str, other: Entity, language: Language) -> list[str]:
        """Forms in `language` for how two stand that are marked in what is said; the nearest to it first."""
        relations, templates, rows = relation_of(), TEMPLATES[language], LEXICONS[language].rows["relations"]
        joint = said[said.find("{a}") + 3 : said.find("{b}")].strip()
        verb = _verb_of(joint) or ("wear" if self.parser.concept(other).worn_at else "hold") * (joint in UNSAID)
        found = [_between(_usual(language, "verbs", verb), language)] if verb else []
        form = max((form for form in relations if form in said), key=len, default="")
        relation = relations.get(form, "")
        if form in (*TEMPLATES["en"]["pairs"], *TEMPLATES["zh"]["pairs"]) or not form:
            return [*found, *dict.fromkeys(templates["pairs"])][:FORMS]
        of_captions = RELATIONS[language]
        plain = [one for one in (*of_captions.get(relation, ()), *rows.get(relation, ())) if one.count("{") == 2]
        return list(dict.fromkeys([*found, *plain]))[:FORMS]


def same(one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Whether two prompts are read alike: the same things in number, colour and mood, in the same boxes, in one style,
    on one background, with the same words to be written."""
    return _facts(one) == _facts(other)


def _facts(parsed: ParsedPrompt) -> tuple[object, ...]:
    faces, laid, boxes = expressions(), parsed.layout, None
    things = Counter(
        (one.concept, one.count, frozenset(one.colours), *(faces.get(word.removesuffix("的"), "") for word in felt))
        for one in parsed.entities
        for felt in [one.expressions[-1:]]
    )
    if laid:
        drawn = (one.target and one.target.concept for one in laid.prompts)
        boxes = Counter(zip(drawn, laid.boxes, strict=True))
    return things, boxes, parsed.style, parsed.background, parsed.lettering, skin_tones_in(parsed.text)


def _varied(choices: Sequence[Sequence[str]]) -> Iterator[tuple[str, ...]]:
    """All combinations, those with most first choices first."""
    ranked = product(*(list(enumerate(each)) for each in choices))
    yield from (tuple(word for _, word in one) for one in sorted(ranked, key=lambda one: sum(rank for rank, _ in one)))


def _dressed(body: str, parsed: ParsedPrompt, language: Language) -> str:
    """A sentence with what is said of the whole picture."""
    templates, ground, chinese = TEMPLATES[language], parsed.background, language == "zh"
    clauses = []
    if parsed.lettering:
        clauses.append(" " * (not chinese) + LEXICONS[language].rows["writing"]["lettering"].format(parsed.lettering))
    for tone in skin_tones_in(parsed.text)[:1]:
        clauses.append(f"，{SKIN_ZH[tone]}" if chinese else f", {SKIN_EN[0].format(tone)}")
    if ground:
        names = [COLOURS[colour].zh for colour in ground] if chinese else ground
        said = templates["backgrounds"]["plain" if len(ground) == 1 else "gradient"][0]
        clauses.append(("，" if chinese else " ") + said.format(*names, a=article(ground[0])))
    text = body + "".join(clauses)
    return styled(text, parsed.style, chinese) if parsed.style else text


def _adjectives(entity: Entity, language: Language) -> list[str]:
    """What an entity is like, and how it feels, as far as a language has words for it."""
    manners = [_usual(language, "manners", table("manners").get(word, "")) for word in entity.modifiers]
    return [*filter(None, manners), *filter(None, (_mood(word, language) for word in entity.expressions))]


def _usual(language: Language, name: str, key: str) -> str:
    """The usual word of a language for a row of a table; "" for no row."""
    return str(LEXICONS[language].rows["tables"][name][key]).split("|")[0] if key else ""


def _mood(word: str, language: Language) -> str:
    """The usual word of a language for an expression; "" where it has none."""
    plain, lexicons = word.removesuffix("的"), LEXICONS.values()
    for mood in LEXICONS["en"].moods:
        if any(plain == said.removesuffix("的") for one in lexicons for said in one.moods[mood]):
            return LEXICONS[language].moods[mood][0].removesuffix("的")
    face = expressions().get(plain)
    return next((said for said, other in LEXICONS[language].expressions.items() if other == face), "") if face else ""


def _verb_of(joint: str) -> str:
    """The verb that stands between two things; "" for none."""
    verbs = table("verbs")
    return verbs[max(found, key=len)] if (found := [word for word in verbs if word in joint]) else ""


def _between(word: str, language: Language) -> str:
    return f"{{a}} {word} {{b}}" if language == "en" else f"{{a}}{word}{{b}}"
