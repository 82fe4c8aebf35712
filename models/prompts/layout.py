"""Layout: what is drawn alone for a prompt, and the box of each drawing.

The generator draws one entity well and two of them poorly: at half of the picture's side an entity is eight latents
wide. So each is drawn alone, as large as a picture, and laid where the prompt says (the arrangement of Collage
Diffusion, arXiv 2303.00262, taken from the words). `models.compose.collage` lays them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from models.data.colours import COLOURS
from models.data.grammar import GROUNDS, language_of, restore_plurals, singular
from models.lexicon import pattern
from models.prompts import boxes, composites
from models.prompts.attributes import count_in, with_expression
from models.prompts.boxes import Box, Boxes, within
from models.prompts.composites import FEATURES_STYLE
from models.prompts.entities import Entity
from models.prompts.normalise import (
    Lettering,
    background_phrase,
    core,
    find_lettering,
    named_style,
    normalise,
    simplified,
    with_known_colours,
    without_background,
    without_transparency,
    words_of,
)
from models.prompts.relations import boxes_of
from models.prompts.rephrase import Rephraser, in_style, is_free

SUM = " + "  # between two entities that are one
_COLOUR_NAMES = {word: name for name, c in COLOURS.items() if c.paint or name in GROUNDS for word in (name, c.zh)}
_COLOUR_NAME = re.compile("|".join(rf"\b{word}\b" if word.isascii() else word for word in _COLOUR_NAMES))


@dataclass(frozen=True)
class Plan:
    """The captions of drawings and the box of each, the colours of the background, and what they show in words, ""
    where that is what the text encoder reads of the prompt."""

    captions: tuple[str, ...]
    places: Boxes
    background: tuple[str, ...] = ()
    description: str = ""


def background_of(prompt: str) -> tuple[str, ...]:
    """The colours that are said of the background: none, one, or two of a gradient."""
    said = background_phrase(with_known_colours(prompt.lower())).lower()
    return tuple(dict.fromkeys(_COLOUR_NAMES[word] for word in _COLOUR_NAME.findall(said)))[:2]


def plan(prompt: str, reader: Rephraser) -> Plan | None:
    """Of a prompt that names two to four entities, or one that is small, on a coloured background, has wings or a face
    that is not its own, or of an animal its face; None of any other, and of one that says what should not be there.
    """
    if found := find_lettering(prompt):
        return _lettered(found, reader)
    if pattern("negation").search(prompt):
        return None
    if SUM in prompt:
        return _combined(prompt.split(SUM), reader)
    return _composite(prompt, reader) or _several(prompt, reader)


def _composite(prompt: str, reader: Rephraser) -> Plan | None:
    """One entity that is drawn as more than itself, or less."""
    rest, background = without_background(prompt), background_of(prompt)
    text, behind = simplified(rest), background_phrase(without_transparency(prompt))
    if background and (shares := composites.blend(text, reader)):
        return Plan((rest,), (boxes.WHOLE,), background, SUM.join(caption for _, caption in shares) + behind)
    box = boxes.WHOLE if background else boxes.BACKDROP
    if (found := composites.expression(text, reader)) and not found.blended:
        captions = reader.caption(found.entity, prompt), in_style(found.face, FEATURES_STYLE)
        said = with_expression(found.word, reader.caption(found.entity, text))
        return Plan(captions, (box, boxes.FEATURES), background, _as_asked(said, prompt))
    if one := composites.winged(text, reader):
        captions = reader.caption(reader.close_up(one), prompt), in_style(composites.WINGS, named_style(prompt))
        said = with_expression("会飞" if language_of(text) == "zh" else "flying", reader.caption(one, text))
        return Plan(captions, boxes.WINGED, background, _as_asked(said, prompt))
    if pair := composites.costume(text, reader):
        captions = reader.caption(pair[0], prompt), reader.caption(pair[1], prompt)
        face = reader.caption(pair[0], pair[0].text)
        said = f"{face}在{captions[1]}上" if language_of(prompt) == "zh" else f"{face} on {captions[1]}"
        return Plan(captions, boxes.COSTUME, background, said + behind)
    if one := composites.portrait(text, reader):
        caption = reader.caption(one, prompt)
        return Plan((caption,), (box,), background, caption + behind)
    return None


def _as_asked(said: str, prompt: str) -> str:
    """What is said of a composite, in the prompt's own words where they are the same."""
    asked = without_transparency(prompt)
    same = words_of(core(said)) == words_of(core(without_background(asked)))
    return asked if same else restore_plurals(said, asked) + background_phrase(asked)


def _several(prompt: str, reader: Rephraser) -> Plan | None:
    """Several entities in the boxes of their relation, or one that is small or on a coloured background."""
    text, background = normalise(prompt), background_of(prompt)
    if each := _one_each(text, reader):
        return _laid(each, boxes.GRID.get(len(each), ()), prompt, background, reader)
    text = pattern("has_wings").sub("", text)  # what has them as it is
    entities = reader.entities(text)
    counts = [entity.count for entity in entities]
    if counts == [1] and entities[0].is_small:
        return Plan((reader.caption(entities[0], prompt),), (boxes.SMALL,), background)
    if counts == [1]:
        alone = without_background(prompt) or reader.caption(entities[0], prompt)
        return Plan((alone,), (boxes.WHOLE,), background) if background else None
    places = boxes_of(text, entities, counts, reader)
    singles = [(_single(one, reader) if n > 1 else one, n) for one, n in zip(entities, counts, strict=True)]
    drawn = [entity for entity, count in singles for _ in range(count)]
    drawn += drawn[-1:] * (len(places) - len(drawn))  # "with hearts" are as many as there is room for
    return _laid(drawn, places, prompt, background, reader)


def _lettered(found: Lettering, reader: Rephraser) -> Plan:
    """The one entity that has room for words with the words on it; anybody and anything else with a balloon that says
    them."""
    rest, background = without_background(found.rest), background_of(found.rest)
    entities, style = reader.entities(normalise(rest)), named_style(rest)
    alone = len(entities) == 1 and entities[0].count == 1
    inner = plan(rest, reader) if is_free(rest) else None
    if alone and reader.concept(entities[0]).is_a("clothes_to_print", "surface", "page"):
        caption = reader.caption(entities[0], rest)
        return Plan((caption,), (replace(boxes.WHOLE, lettering=found.words),), background)
    if inner is None:
        plain = alone and not composites.blend(simplified(rest), reader) and not pattern("negation").search(rest)
        caption = reader.caption(reader.close_up(entities[0]), rest) if plain else rest
        inner = Plan((caption,), (boxes.BACKDROP,))
    speaker = (within(box, boxes.SPEAKER, keep=True) for box in inner.places)
    captions = *inner.captions, in_style("speech balloon", style)
    return Plan(captions, (*speaker, replace(boxes.BALLOON, lettering=found.words)), background)


def _combined(words: Sequence[str], reader: Rephraser) -> Plan | None:
    """Of "panda + pineapple" the one that has a face, in the middle of the other; None where both have one, or none."""
    found = [(one, word) for word in words if is_free(word) and (one := reader.one_entity(word))]
    eyed = [pair for pair in found if reader.concept(pair[0]).has_eyes]
    plain = [pair for pair in found if pair not in eyed]
    if len(words) != 2 or (len(plain), len(eyed)) != (1, 1) or not reader.concept(plain[0][0]).can_join:
        return None
    (entity, said), (animal, called) = *plain, *eyed
    captions = reader.caption(entity, said), reader.caption(reader.close_up(animal), called)
    return Plan(captions, (boxes.BACKDROP, boxes.MIDDLE))


def _laid(
    entities: Sequence[Entity], places: Boxes, prompt: str, background: tuple[str, ...], reader: Rephraser
) -> Plan | None:
    """The entities in their boxes; None where there are none for them."""
    if not places:
        return None
    laid = [drawn for pair in zip(entities, places, strict=True) for drawn in _drawn(*pair, prompt, reader)]
    captions, found = zip(*laid, strict=True)
    return Plan(captions, found, background)


def _drawn(entity: Entity, box: Box, prompt: str, reader: Rephraser) -> list[tuple[str, Box]]:
    """What is drawn for a box: the entity, and the face whose eyes and mouth it gets."""
    if box.anchor == "face":
        return [(in_style(reader.concept(entity).english_names[0], FEATURES_STYLE), box)]
    plain = reader.caption(reader.close_up(entity) if box.close_up else entity, prompt)
    felt = None if box.anchor else composites.expression_of(entity, prompt, reader)
    if felt is None:
        return [(plain, box)]
    if felt.blended:
        return [(with_expression(felt.word, plain), box)]
    return [(plain, box), (in_style(felt.face, FEATURES_STYLE), replace(box, anchor="face"))]


def _single(entity: Entity, reader: Rephraser) -> Entity:
    """One of several: of three hearts a heart, and not the two that one name holds."""
    found = reader.entities(singular(core(entity.text)))
    return Entity(entity.text, found[0].concept, found[0].name) if len(found) == 1 else entity


def _one_each(text: str, reader: Rephraser) -> tuple[Entity, ...]:
    """Of "two cats, one red and one blue" what each is; nothing of a text that says no such thing."""
    first, *rest = re.split(r"[,，]", text, maxsplit=1)
    found = pattern("one_each").findall("".join(rest))
    colours = [next(filter(None, groups)) for groups in found]
    entities = reader.entities(first) if len(colours) > 1 else []
    if len(entities) != 1 or count_in(first) != len(colours):
        return ()
    one = _single(entities[0], reader)
    return tuple(Entity(f"{colour} {one.name}", one.concept, one.name) for colour in colours)
