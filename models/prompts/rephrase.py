"""A prompt in the words of captions: "a burger, twemoji style" is a hamburger in the twemoji style.

The generator has read some thirty captions of a concept. Of "hamburger" it draws one, of "a burger" a brown bear: so
entities are linked (`models.prompts.entities`), and where a prompt says an entity otherwise than captions do, or says
more than they do, it is read as the caption that comes nearest. Where it says what captions say, weighs words, or
stands in quotation marks, it is left alone.
"""

import re
from functools import lru_cache

from models.data.colours import colour_words
from models.data.grammar import NUMBERS, Language, article, language_of, plural, restore_plurals, singular, styled
from models.lexicon import pattern
from models.prompts.attributes import (
    colours_in,
    gender_in,
    paint_in,
    skin_tone_phrase,
    skin_tones_in,
    with_expression,
    with_skin_tones,
    without_skin_tone,
)
from models.prompts.entities import ANIMALS, FACES, PEOPLE, Concept, Entity
from models.prompts.linker import EntityLinker
from models.prompts.normalise import (
    background_phrase,
    core,
    named_style,
    normalise,
    with_known_colours,
    without_implied,
    without_transparency,
)
from models.prompts.parsed import Target
from models.prompts.weighting import QUOTED, plain, segments
from models.space import Embedder

REMEMBERED = 1024  # prompts
SAME = 0.95  # cosine to a name from which a text says no more and no less


def is_free(prompt: str) -> bool:
    """Whether a prompt may be read in other words."""
    return bool(prompt.strip()) and plain(prompt) == prompt and not QUOTED.fullmatch(prompt)


class Rephraser:
    """What turns prompts into words of captions.

    Args:
        embedder: the space that the vectors of names were made in.
        linker: finds entities.
        common: by group, words that captions of many of its concepts hold: "smiling" of faces, "woman" of people.
    """

    def __init__(self, embedder: Embedder, linker: EntityLinker, common: dict[str, frozenset[str]]) -> None:
        self.embedder, self.linker, self.common = embedder, linker, common
        self.vector = lru_cache(REMEMBERED)(lambda text: embedder.text([text])[0])
        self.entities = lru_cache(REMEMBERED)(lambda text: linker.link(text, self.vector))

    def concept(self, entity: Entity) -> Concept:
        return self.linker.concepts[entity.concept]

    def encoded(self, prompt: str) -> str:
        """What the text encoder is to read: what a prompt says, without quotation marks around all of it, or captions'
        words for it. Weights stay marked."""
        if quoted := QUOTED.fullmatch(prompt):
            return next(text for text in quoted.groups() if text is not None)
        return self.rephrase(prompt) if is_free(prompt) else prompt

    def rephrase(self, text: str) -> str:
        """`text` as captions would say it."""
        if (simple := without_implied(with_known_colours(with_skin_tones(text.lower())))) != text.lower():
            text = simple
        entities = self.entities(without_skin_tone(text))
        new = [entity for entity in entities if self._is_new(entity)]
        if not new or (len(entities) == 1 and float((self.linker.vectors @ self.vector(text)).max()) >= SAME):
            return text
        language = language_of(text)
        if len(entities) == 1:
            said = self._phrase(entities[0], language, alone=True) + skin_tone_phrase(text) + background_phrase(text)
            return in_style(said, named_style(text), language)
        said, space = normalise(text), "" if language == "zh" else " "
        at = 0
        for entity in new:
            if match := re.compile(rf"(?<![a-z]){re.escape(entity.text.strip())}(?![a-z])").search(said, at):
                phrase, concept = self._phrase(entity, language), self.concept(entity)
                if entity.expressions and concept.can_join and not concept.is_face:  # though no caption says so
                    phrase = with_expression(entity.expressions[-1], phrase)
                phrase = f"{space}{phrase}{space}"
                said, at = said[: match.start()] + phrase + said[match.end() :], match.start() + len(phrase)
        return restore_plurals(re.sub(r" (?=[,.;])", "", " ".join(said.split())), text)

    def _is_new(self, entity: Entity) -> bool:
        """Whether captions of the concept would not have said it so."""
        concept = self.concept(entity)
        strange = set(entity.modifiers) - concept.words - self.common.get(concept.group, frozenset())
        # Captions call faces by their expressions too: "a sleepy face".
        by_name = entity.name in concept.all_names or (concept.group == FACES and not entity.name)
        return bool(strange) or not by_name

    def caption(self, entity: Entity, prompt: str) -> str:
        """The caption for a drawing of one such entity, in the language and the style of the prompt that it is of."""
        language = language_of(prompt)
        said = self._phrase(entity, language, alone=True, one=True) + skin_tone_phrase(entity.beside)
        return in_style(said, named_style(prompt), language)

    def _phrase(self, entity: Entity, language: Language, alone: bool = False, one: bool = False) -> str:
        concept = self.concept(entity)
        called = concept.names.get(language) or concept.names["en"]
        name = entity.name if entity.name in concept.all_names else called[0]
        # A woman doctor is a woman health worker.
        name = next((one for one in called if entity.gender and gender_in(one) == entity.gender), name)
        colours = colours_in(entity.beside, language)
        for own in colours_in(name, language)[: len(colours)]:  # "a blue apple" is no red one
            name = name.replace(colour_words((own,), language), "", 1).strip()
        colour = colour_words(colours, language) if colours else ""
        count = 1 if one else entity.count
        if language == "zh":
            number = f"{NUMBERS['zh'][count]}个" if count > 1 else ""
            return number + (f"{colour}的{name}" if colour else name)
        noun = f"{colour} {name}".strip()
        if count > 1:
            return f"{NUMBERS['en'][count]} {plural(noun)}"
        return noun if alone and not colour else article(noun)

    def target(self, prompt: str) -> Target | None:
        """What a prompt shows, where that is one entity as large as the picture and on no background; None where it
        asks for something else, or stands in quotation marks. Weights say how much a word is to be heard, and not that
        nothing is meant by it, unless they are 0."""
        prompt = "".join(run.text for run in segments(prompt) if run.weight)
        if not is_free(prompt):
            return None
        entities, tones = self.entities(without_skin_tone(prompt)), skin_tones_in(prompt)
        on_background = bool(without_transparency(background_phrase(prompt)).strip(" ,，"))
        if len(entities) != 1 or len(tones) > 1 or on_background or entities[0].is_small or entities[0].count > 1:
            return None
        (one,) = entities
        wears = self.concept(one).group == PEOPLE and pattern("worn_colour").search(with_known_colours(prompt.lower()))
        paint = tones[0] if tones else "" if wears else paint_in(one.beside, language_of(prompt))
        return Target(one.concept, paint, gender_in(pattern("company").split(prompt)[0]))

    def one_entity(self, text: str) -> Entity | None:
        """The one entity of usual size that is named in `text`."""
        entities = self.entities(text)
        alone = len(entities) == 1 and entities[0].name and entities[0].count == 1 and not entities[0].is_small
        return entities[0] if alone else None

    def close_up(self, entity: Entity) -> Entity:
        """Of an animal its face, where that is drawn from the front and nothing is said of its body; else `entity`."""
        concept = self.concept(entity)
        from_front = concept.group == ANIMALS and not concept.is_a("from_the_side")
        plain = (
            entity.name
            and singular(core(entity.text)).endswith(entity.name)
            and not pattern("pose").search(entity.text)
        )
        return self.face_of(entity) if plain and from_front else entity

    def face_of(self, animal: Entity) -> Entity:
        """The animal's face, where that is a concept of its own; else the animal, whose drawings are faces or as
        good."""
        faces = {f"{name.lower()} face" for name in self.concept(animal).english_names}
        for number, one in enumerate(self.linker.concepts):
            if found := faces.intersection(name.lower() for name in one.english_names):
                name = found.pop() if language_of(animal.text) == "en" else one.names.get("zh", (animal.name,))[0]
                return Entity(animal.text.replace(animal.name, name, 1), number, name)
        return animal


def in_style(text: str, style: str, language: str = "en") -> str:
    """The text in a style, as captions say it; the text itself for none."""
    return styled(text, style, language == "zh") if style else text
