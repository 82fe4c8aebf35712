"""Relations: which words say that one entity is left of, on, worn or held by another, and the boxes that follow."""

import re
from collections.abc import Iterable, Sequence
from functools import cache

from models.data.grammar import OPPOSITE, RELATIONS, SCENE_TEMPLATES, singular
from models.lexicon import LEXICONS, pattern
from models.prompts import boxes
from models.prompts.boxes import PAIR, Boxes, matched, within
from models.prompts.entities import FLAGS, PEOPLE, PLACES, Concept, Entity
from models.prompts.normalise import core
from models.prompts.rephrase import Rephraser

_AT_BODY = {"head": "on the head", "nose": "on the head", "neck": "round the neck", "back": "below"}
_UNHELD = {PLACES, FLAGS, "symbols"}  # groups of what nobody holds


@cache
def forms(relation: str) -> tuple[str, ...]:
    """What is said of {a} and {b} where the first stands so to the second, by the lexicon of every language. A name in
    braces stands for each of the words of a row."""
    found = []
    for lexicon in LEXICONS.values():
        words = lexicon.rows["words"]
        for form in lexicon.rows["relations"].get(relation, ()):
            name = next((name for name in words if f"{{{name}}}" in form), "")
            found += [form.replace(f"{{{name}}}", word) for word in words[name].split("|")] if name else [form]
    return tuple(found)


@cache
def relation_of() -> dict[str, str]:
    """By form, how the first entity stands to the second. Those of captions go before what people say besides."""
    found = dict.fromkeys((*SCENE_TEMPLATES["en"]["pairs"], *SCENE_TEMPLATES["zh"]["pairs"]), "left of")
    for relation in dict.fromkeys(name for one in LEXICONS.values() for name in one.rows["relations"]):
        if relation not in ("worn", "printed"):
            found |= dict.fromkeys(forms(relation), relation)
    for table in RELATIONS.values():
        found |= {form: relation for relation, forms_of in table.items() for form in forms_of}
    for lexicon in LEXICONS.values():
        sides = dict(lexicon.rows["sides"])
        for form in sides.pop("forms"):
            for relation, (here, there) in sides.items():
                found[form.format(here=here, there=there, a="{a}", b="{b}")] = relation
                found[form.format(here=there, there=here, a="{a}", b="{b}")] = OPPOSITE[relation]
    return found


def boxes_of(text: str, entities: Sequence[Entity], counts: Sequence[int], reader: Rephraser) -> Boxes:
    """One for each of the entities, of which there are so many, and more where the last are scattered; none where they
    are not to be laid out. `text` is normalised."""
    if scene := next((i for i in range(1, len(entities)) if _is_scene(text, entities[i], reader)), 0):
        others = [entity for i, entity in enumerate(entities) if i != scene]
        around = _in_scene(text, others, [*counts[:scene], *counts[scene + 1 :]], reader)
        at = sum(counts[:scene])
        return (*around[:at], boxes.BACKDROP, *around[at:]) if around and counts[scene] == 1 else ()
    if len(entities) == 2 and counts[0] == 1 and (small := _small(text, entities, counts[1], reader)):
        return small
    if counts == [1, 1]:
        return _of_two(text, entities, reader)
    return (_of_three(text, entities, reader) if counts == [1, 1, 1] else ()) or boxes.GRID.get(sum(counts), ())


def _is_scene(text: str, entity: Entity, reader: Rephraser) -> bool:
    """Whether an entity is scenery, and the others are in it."""
    before = text[: text.rfind(entity.text.strip())].strip()
    return reader.concept(entity).is_a("scenery") and bool(pattern("in_place").search(before))


def _in_scene(text: str, entities: Sequence[Entity], counts: Sequence[int], reader: Rephraser) -> Boxes:
    """Those that are in front of scenery: what belongs together as that, others in a row."""
    together = {2: _of_two, 3: _of_three}.get(len(entities)) if set(counts) == {1} else None
    found = together(text, entities, reader) if together else ()
    if found and found != PAIR["left of"]:
        return tuple(within(box, boxes.STAGE) for box in found)
    return boxes.IN_SCENE.get(sum(counts), ())


def _small(text: str, entities: Sequence[Entity], count: int, reader: Rephraser) -> Boxes:
    """Where the second is small and lies on the first, or around it: "a bear with hearts"; none where it is not."""
    said, (first, second) = _marked(text, entities), map(reader.concept, entities)
    around, noun = "{a} surrounded by {b}" in said, core(entities[1].text)
    if "{a} with {b}" in said and pattern("on_it").search(said):
        return PAIR["printed on"] if _is_print(first, second) else boxes.ON_IT
    lies = around or ("{a} with {b}" in said and _is_held(second) and not _where_worn(entities[1], second))
    plural = singular(noun) != noun and noun not in map(str.lower, second.english_names)
    many = count if count > 1 else len(boxes.AROUND) - 1 if plural else 1
    one_thing = pattern("one_thing_plural").search(noun) or any(n.startswith("two ") for n in second.english_names)
    if not lies or many == 1 or many >= len(boxes.AROUND) or one_thing:
        return ()
    if around or first.is_somebody:
        return boxes.AROUND[: 1 + many]
    return boxes.SCATTERED[: 1 + many] if first.group not in _UNHELD else ()


def _is_held(concept: Concept) -> bool:
    """Whether somebody who comes with it holds it."""
    return concept.is_a("held") or (concept.group not in _UNHELD and not concept.is_somebody)


def _is_print(concept: Concept, other: Concept, said: bool = True) -> bool:
    """Whether of the two the other is a picture on the first: a heart on an envelope, a cat on a shirt. Where the first
    is not `said` to come with it, a cat on a laptop sits there."""
    pictured = other.is_a("emblem")
    flat = concept.is_a("clothes_to_print") or (concept.is_a("surface") and (said or pictured))
    return flat and (pictured or other.group == FLAGS or other.is_somebody)


def _of_two(text: str, entities: Sequence[Entity], reader: Rephraser) -> Boxes:
    said, concepts = _marked(text, entities), [reader.concept(entity) for entity in entities]
    if pattern("set_out").search(said):  # nothing but a comma between what is at the left and what is at the right
        said = re.sub(r",? (?:and|with|while) \{b\}", ", {b}", said)
    if "{a} on {b}" in said and (where := _where_worn(entities[0], concepts[0])):
        return PAIR[where][::-1]
    if "{a} on {b}" in said and _is_print(concepts[1], concepts[0], said=False):
        return PAIR["printed on"][::-1]
    relation = _relation(said, entities, concepts)
    only_face = concepts[0].group == PEOPLE or reader.close_up(entities[0]) != entities[0]
    if relation == "round the neck" and only_face:
        relation = "under the chin"
    return PAIR[relation] if relation else ()


def _of_three(text: str, entities: Sequence[Entity], reader: Rephraser) -> Boxes:
    """Where one of three is worn by the one before it: that pair is one of two. Or both are worn by the first; or it
    rains on the first two."""
    concepts = [reader.concept(entity) for entity in entities]
    worn = [_where_worn(entity, concept) for entity, concept in zip(entities, concepts, strict=True)]
    if concepts[2].is_a("weather"):
        below = _of_two(text, entities[:2], reader)
        together = below and below != PAIR["left of"]
        return (*(within(box, boxes.BELOW_SKY) for box in below), boxes.SKY) if together else ()
    if beside := _two_in_one(text, entities, reader):
        return beside
    for i, wearer in enumerate(entities[:2]):
        pair = wearer, entities[i + 1]
        said, name = _marked(text, pair), wearer.text.strip()
        joint = next((form for form in forms("worn") if form in said), "")
        if not joint or not worn[i + 1]:
            continue
        inner = _of_two(joint.format(a=name, b=pair[1].text.strip()), pair, reader)
        if i == 0 and worn[2] and worn[1] != worn[2]:
            second = _of_two(joint.format(a=name, b=entities[2].text.strip()), (wearer, entities[2]), reader)
            return _both_worn(inner, second)
        alone = said.replace(joint, name, 1)
        if outer := _of_two(alone, [entity for entity in entities if entity is not pair[1]], reader):
            return (*outer[:i], *(within(box, outer[i]) for box in inner), *outer[i + 1 :])
    return ()


def _two_in_one(text: str, entities: Sequence[Entity], reader: Rephraser) -> Boxes:
    """Of "a cat and a dog in a box" the two side by side in the box of one; none where they are not both in, or on, the
    third."""
    said = _marked(text, entities[:2])
    if "{a} and {b}" not in said:
        return ()
    alone = said.replace("{a} and {b}", entities[0].text.strip(), 1)
    outer = _of_two(alone, (entities[0], entities[2]), reader)
    if outer not in (PAIR["in"], PAIR["on"]):
        return ()
    return *(within(box, outer[0]) for box in PAIR["left of"]), outer[1]


def _both_worn(first: Boxes, second: Boxes) -> Boxes:
    """The wearer as for what leaves less of the picture to it, that and the other entity."""
    if second[0].width < first[0].width:
        return tuple(_both_worn(second, first)[i] for i in (0, 2, 1))
    return *first, matched(second[1], second[0], first[0])


def _marked(text: str, entities: Iterable[Entity]) -> str:
    """The prompt with {a} and {b} where the two entities stand."""
    for key, entity in zip(("{a}", "{b}"), entities, strict=True):
        text = text.replace(entity.text.strip().rstrip("的坐站躺趴睡上下里"), key, 1)
    return " ".join(pattern("posed").sub("", text).split())


def _relation(said: str, entities: Sequence[Entity], concepts: Sequence[Concept]) -> str:
    """How the first of two entities stands to the second."""
    if "{a} with {b} on top" in said:
        return "on top"
    if match := pattern("at_body").search(said):
        return _AT_BODY.get(match[1], "in the hand")
    if any(form in said for form in forms("worn")):
        if where := _where_worn(entities[1], concepts[1]):
            return where
        if concepts[1].is_face:
            return "on the front"
    if any(form in said for form in ("{a} with {b}", *forms("printed"))) and _is_print(concepts[0], concepts[1]):
        return "printed on"
    if "{a} with {b}" in said and concepts[1].group == FLAGS and concepts[0].group == PLACES:
        return "on top"
    if "{a} with {b}" in said and concepts[0].is_somebody and _is_held(concepts[1]):
        return "in the hand"
    relations = relation_of()
    relation = relations[max((form for form in relations if form in said), key=len, default="{a} and {b}")]
    return "below" if relation == "in" and concepts[1].is_a("weather") else relation


def _where_worn(entity: Entity, concept: Concept) -> str:
    """Where an entity is worn; "" where it is not."""
    if pattern("bow_tie").search(entity.text):  # a ribbon by name, and not in the hair
        return "round the neck"
    return concept.worn_at
