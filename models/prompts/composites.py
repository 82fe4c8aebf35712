"""Composites: one entity that no set draws, and several drawings or conditions in one are.

"An angry dog" is a dog and an angry face blended, "a house made of cakes" a house and a cake; "a smiling avocado" is an
avocado with the eyes and the mouth of a smiling face, "a flying pig" has a butterfly's wings, "a cat astronaut" is an
astronaut with the face of a cat, and "a cat with blue eyes" is its face. What has a face of its own is blended with an
expression, for a blend is conditioned on both as themselves (`ComposedCondition` of `models.sampling.condition`); on
what has none, before wings, and for an animal in a person's clothes, the drawings are laid on each other
(`models.prompts.layout`).

Texts are without their background, in small letters and known colours (`normalise.simplified`).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from models.data.grammar import Finish, language_of, style_of
from models.lexicon import CONCEPTS, expressions, pattern, search, table, word_set
from models.prompts.attributes import expressions_in
from models.prompts.entities import ANIMALS, FACES, PEOPLE, Entity
from models.prompts.normalise import JOINTS, core, modifiers, named_style, normalise, words_of
from models.prompts.rephrase import Rephraser, in_style

Shares = tuple[tuple[float, str], ...]  # of a blend: how much of the picture, and what in words; the middle first

FACE_SHARE = 0.4  # of a blend with an expression: with more a robot is an emoji, with less a car has none
EQUAL_SHARE = 0.5  # of two entities at once, and of what an entity is made of
LONGEST_BLEND = 200  # characters: what says more is about more than this
LONGEST_ROLE = 4  # words, or Chinese characters, that people are called
WINGS = "butterfly"  # of all that has wings, the one whose wings stand out to both sides
FEATURES_STYLE = "fluent flat"  # whose eyes and mouths are plainest: dark, large, on one colour
_OPEN_EYED = {"sleeping face": "relieved face"}  # whose eyes and mouth are the same, without letters beside them


@dataclass(frozen=True)
class Expression:
    """An entity with an expression: the name of the face that has it, how it is said, and whether both are blended, for
    the entity has a face of its own."""

    face: str
    entity: Entity
    word: str
    blended: bool


def expression(text: str, reader: Rephraser) -> Expression | None:
    """The one entity with an expression that a text asks for; None where both have a name together ("a crying cat")."""
    words, said = expressions_in(text), pattern("expression")
    one = reader.one_entity(said.sub(" ", text).strip(" ,，")) if words else None
    if one is None:
        return None
    concept, whole = reader.concept(one), reader.entities(text)
    are_faces = [reader.concept(other).group == FACES for other in whole if other.concept != one.concept]
    animal = bool(whole) and (bool(whole[0].name) or concept.has_eyes)  # no heart is a face with hearts
    if animal and len(whole) == 1 and any(are_faces):  # a crying cat is no sleeping one, and anger no tomato
        known = reader.concept(whole[0]).words
        if any(known.issuperset(words_of(f"{word} {one.name}")) for word in words):
            return None
    if any(said.search(other.name) and said.sub("", other.name) for other in whole):
        return None
    if not concept.can_join or (len(whole) > 1 and not all(are_faces)):
        return None
    return None if concept.is_face else _expression(one, words[-1], named_style(text), reader)


def expression_of(entity: Entity, prompt: str, reader: Rephraser) -> Expression | None:
    """The same of one of several entities, with the expression that is said of it: "an angry cat and a sad house"."""
    concept = reader.concept(entity)
    if not entity.expressions or concept.is_face or not concept.can_join:
        return None
    return _expression(entity, entity.expressions[-1], named_style(prompt), reader)


def _expression(entity: Entity, word: str, style: str, reader: Rephraser) -> Expression:
    blended = reader.concept(entity).has_eyes or bool(style and style_of(style).finish is Finish.INK)
    face = expressions()[word]
    return Expression(face if blended else _OPEN_EYED.get(face, face), entity, word, blended)


def winged(text: str, reader: Rephraser) -> Entity | None:
    """What does not fly by itself, and is to fly: "a flying pig", 会飞的猪."""
    if not pattern("winged").search(text):
        return None
    one = reader.one_entity(pattern("winged").sub(" ", text))
    if one is None or reader.concept(one).words.intersection(CONCEPTS["flying"]):
        return None
    if reader.concept(one).group == PEOPLE and not pattern("wings").search(text):  # superheroes fly without
        return None
    named = any(pattern("winged").search(entity.name) for entity in reader.entities(text))  # money with wings
    return None if named else one


def blend(text: str, reader: Rephraser) -> Shares | None:
    """What a drawing is blended of; None where a text asks for no blend."""
    if len(text) > LONGEST_BLEND:
        return None
    if (match := search("made_of", text)) and (shares := _equal(match["stuff"], match["thing"], text, reader)):
        return shares  # "a dragon made of ice", 冰做的龙
    if (found := expression(text, reader)) and found.blended:
        face = reader.caption(reader.close_up(found.entity), text)
        return (FACE_SHARE, in_style(found.face, named_style(text))), (1 - FACE_SHARE, face)
    if match := search("both", text):  # "half cat half fish", "a mix of a cat and a dog"
        return _equal(match[1], match[2], text, reader, reader.close_up)
    match = search("creature", text)  # of animals "a robot cat"
    animal = reader.one_entity(match[2]) if match else None
    if match is None or animal is None or reader.concept(animal).group != ANIMALS or modifiers(match[2], animal.name):
        return None
    return _equal(match[1], match[2], text, reader, reader.close_up)


def _equal(
    first: str, second: str, text: str, reader: Rephraser, seen: Callable[[Entity], Entity] = lambda one: one
) -> Shares | None:
    """Both in equal shares, as they are seen; None where one of them is no entity, or a person."""
    found = [one for part in (first, second) if (one := reader.one_entity(part))]
    found = [one for one in found if reader.concept(one).group != PEOPLE or one.name in word_set("creature")]
    captions = [reader.caption(seen(one), text) for one in found]
    return ((EQUAL_SHARE, captions[0]), (EQUAL_SHARE, captions[1])) if len(captions) == 2 else None


def costume(text: str, reader: Rephraser) -> tuple[Entity, Entity] | None:
    """Of an animal that does what people do, "a cat astronaut", 猫宇航员, the face and the person. No set draws
    one, and a blend has the features of neither; laid on the person's own, the animal's face stays as it was drawn."""
    first = re.split("[,，]", text, maxsplit=1)[0]
    if clothed := search("costume", normalise(first)):
        return _pair(clothed[1], table("costumes")[clothed[2]], Entity(clothed[2], 0), reader)
    if disguised := search("disguise", text):
        return _pair(disguised[1], disguised[2], Entity(disguised[2], 0, disguised[2]), reader)
    who = pattern("beyond").split(text, maxsplit=1)[0]
    if reader.linker.called(core(who)):  # a queen bee
        return None
    orders = list(_halves(who.strip()))
    if who == first and not who.startswith("cook "):  # a ninja cat, and nothing beside it
        orders += [(name, core(before)) for before, name in orders]
    pairs = (_pair(animal, person, Entity(person, 0, person), reader) for animal, person in orders)
    return next(filter(None, pairs), None)


def _pair(animal: str, called: str, person: Entity, reader: Rephraser) -> tuple[Entity, Entity] | None:
    """The face of what `animal` says and the person who is called so; None where there is no such animal or role."""
    concepts = reader.linker.concepts
    # Names first: what needs a vector costs as much as a step of drawing, and nearly every prompt ends here.
    roles = [number for number in reader.linker.called(called) if concepts[number].is_a("role")]
    if not roles or JOINTS.search(animal.split("的")[-1]):  # 骑马的宇航员 rides one
        return None
    one = reader.one_entity(animal)
    if one is None or reader.concept(one).group != ANIMALS or not animal.endswith(one.name):
        return None
    return reader.face_of(one), replace(person, concept=roles[0])


def _halves(said: str) -> Iterator[tuple[str, str]]:
    """What the last words, or characters, may be said of, and they."""
    chinese = language_of(said) == "zh"
    pieces, between = (list(said), "") if chinese else (said.replace("-", " ").split(), " ")
    for count in range(min(LONGEST_ROLE, len(pieces) - 1), 0, -1):
        yield between.join(pieces[:-count]).rstrip("的"), between.join(pieces[-count:])


def portrait(text: str, reader: Rephraser) -> Entity | None:
    """The face of the animal that is named and nothing else is but of its face, "a cat with blue eyes"; None of any
    other text. Its body is four legs and a tail to whoever draws small pictures; "a standing cat" has one."""
    one = reader.one_entity(text := pattern("features").sub("", text))
    if one is None or modifiers(text, one.name):
        return None
    face = reader.close_up(one)
    return face if face.concept != one.concept else None
