"""Layout: what is drawn alone for a prompt, and the box of each drawing.

The generator draws one entity well and two poorly: at half of the picture's side an entity is eight latents wide. So
each is drawn alone, as large as a picture, and laid where the prompt says (Collage Diffusion, arXiv 2303.00262).
`models.compose.collage` lays them; `layout.toml` holds the boxes of each relation.

Composites are entities that no set draws. "An angry dog" is a dog and an angry face blended, "a house made of cakes" a
house and a cake; "a smiling avocado" is an avocado with the eyes and the mouth of a smiling face, "a flying pig" has a
butterfly's wings, "a cat astronaut" is an astronaut with the face of a cat, and "a cat with blue eyes" is its face. An
entity with a face is blended with an expression (`ComposedCondition` of `models.sampling.condition`); on one without,
with wings, and for an animal in a person's clothes, the drawings are laid on each other. Texts of composites have no
background, small letters and known colours (`normalise.simplified`).
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any

from models.data.colours import COLOURS
from models.data.grammar import (
    GROUNDS,
    OPPOSITE,
    RELATIONS,
    SCENE_TEMPLATES,
    Finish,
    language_of,
    restore_plurals,
    singular,
    style_of,
)
from models.data.pixels import SIZE
from models.lexicon import CONCEPTS, LEXICONS, expressions, pattern, search, table, word_set
from models.prompts.linker import Rephraser, in_style, is_free
from models.prompts.normalise import (
    JOINTS,
    Lettering,
    background_phrase,
    core,
    count_in,
    expressions_in,
    find_lettering,
    modifiers,
    named_style,
    normalise,
    simplified,
    with_expression,
    with_known_colours,
    without_background,
    without_transparency,
    words_of,
)
from models.prompts.parsed import ANIMALS, FACES, FLAGS, PEOPLE, PLACES, Anchor, Box, Concept, Entity

Boxes = tuple[Box, ...]


def _read(row: Any) -> Any:
    """Boxes in place of the rows of a table."""
    if isinstance(row, list):
        return tuple(map(_read, row))
    if "box" in row:
        return Box(*row["box"], **{name: value for name, value in row.items() if name != "box"})
    return {int(name) if name.isdigit() else name: _read(rows) for name, rows in row.items()}


_TABLE = _read(tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")))
WHOLE, SMALL, BACKDROP, MIDDLE, FEATURES = itemgetter("whole", "small", "backdrop", "middle", "features")(_TABLE)
STAGE, SKY, BELOW_SKY, SPEAKER, BALLOON = itemgetter("stage", "sky", "below_sky", "speaker", "balloon")(_TABLE)
COSTUME, WINGED, ON_IT, SCATTERED, AROUND = itemgetter("costume", "winged", "on_it", "scattered", "around")(_TABLE)
PAIR: dict[str, Boxes] = _TABLE["pair"]
for _name, _opposite in (("left of", "right of"), ("above", "below"), ("in front of", "behind")):
    PAIR[_opposite] = PAIR[_name][::-1]
IN_SCENE: dict[int, Boxes] = _TABLE["in_scene"]
GRID: dict[int, Boxes] = _TABLE["grid"]


def within(box: Box, frame: Box, keep: bool = False) -> Box:
    """A box of a whole picture, where that picture is as small as a frame: glasses on who stands at the left. What
    moves to an anchor is not to find that of another drawing there; `keep` where there is no other."""
    scale = min(frame.width, frame.height) / SIZE
    left = frame.left + (frame.width - scale * SIZE) / 2
    top = frame.top + frame.align * (frame.height - scale * SIZE)
    x, y, width, height = (round(scale * value) for value in (box.left, box.top, box.width, box.height))
    anchor: Anchor = box.anchor if keep else ""
    at = round(left) + x, round(top) + y
    return replace(box, left=at[0], top=at[1], width=width, height=height, z=frame.z + box.z, anchor=anchor)


def matched(box: Box, standard: Box, other: Box) -> Box:
    """A box that is placed for `standard`, moved and scaled to `other`: a hat's where the head is elsewhere."""
    scale = other.width / standard.width
    left, top = other.left + scale * (box.left - standard.left), other.top + scale * (box.top - standard.top)
    width, height = scale * box.width, scale * box.height
    return replace(box, left=round(left), top=round(top), width=round(width), height=round(height))


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
    words, feeling = expressions_in(text), pattern("expression")
    entity = reader.single_entity(feeling.sub(" ", text).strip(" ,，")) if words else None
    if entity is None:
        return None
    concept, whole = reader.concept(entity), reader.entities(text)
    are_faces = [reader.concept(other).group == FACES for other in whole if other.concept != entity.concept]
    animal = bool(whole) and (bool(whole[0].name) or concept.has_eyes)  # no heart is a face with hearts
    if animal and len(whole) == 1 and any(are_faces):  # a crying cat is no sleeping one, and anger no tomato
        known = reader.concept(whole[0]).words
        if any(known.issuperset(words_of(f"{word} {entity.name}")) for word in words):
            return None
    if any(feeling.search(other.name) and feeling.sub("", other.name) for other in whole):
        return None
    if not concept.can_join or (len(whole) > 1 and not all(are_faces)):
        return None
    return None if concept.is_face else _expression(entity, words[-1], named_style(text), reader)


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
    entity = reader.single_entity(pattern("winged").sub(" ", text))
    if entity is None or reader.concept(entity).words.intersection(CONCEPTS["flying"]):
        return None
    if reader.concept(entity).group == PEOPLE and not pattern("wings").search(text):  # superheroes fly without
        return None
    named = any(pattern("winged").search(other.name) for other in reader.entities(text))  # money with wings
    return None if named else entity


def blend(text: str, reader: Rephraser) -> Shares | None:
    """What a drawing is blended of; None where a text asks for no blend."""
    if len(text) > LONGEST_BLEND:
        return None
    if (match := search("made_of", text)) and (shares := _equal(match["stuff"], match["thing"], text, reader)):
        return shares  # "a dragon made of ice", 冰做的龙
    if (felt := expression(text, reader)) and felt.blended:
        face = reader.caption(reader.close_up(felt.entity), text)
        return (FACE_SHARE, in_style(felt.face, named_style(text))), (1 - FACE_SHARE, face)
    if match := search("both", text):  # "half cat half fish", "a mix of a cat and a dog"
        return _equal(match[1], match[2], text, reader, reader.close_up)
    match = search("creature", text)  # of animals "a robot cat"
    animal = reader.single_entity(match[2]) if match else None
    if match is None or animal is None or reader.concept(animal).group != ANIMALS or modifiers(match[2], animal.name):
        return None
    return _equal(match[1], match[2], text, reader, reader.close_up)


def _equal(
    first: str, second: str, text: str, reader: Rephraser, seen: Callable[[Entity], Entity] = lambda one: one
) -> Shares | None:
    """Both in equal shares, as they are seen; None where one of them is no entity, or a person."""
    entities = [one for part in (first, second) if (one := reader.single_entity(part))]
    entities = [one for one in entities if reader.concept(one).group != PEOPLE or one.name in word_set("creature")]
    captions = [reader.caption(seen(one), text) for one in entities]
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
    entity = reader.single_entity(animal)
    if entity is None or reader.concept(entity).group != ANIMALS or not animal.endswith(entity.name):
        return None
    return reader.face_of(entity), replace(person, concept=roles[0])


def _halves(text: str) -> Iterator[tuple[str, str]]:
    """What the last words, or characters, may be said of, and they."""
    chinese = language_of(text) == "zh"
    pieces, between = (list(text), "") if chinese else (text.replace("-", " ").split(), " ")
    for count in range(min(LONGEST_ROLE, len(pieces) - 1), 0, -1):
        yield between.join(pieces[:-count]).rstrip("的"), between.join(pieces[-count:])


def portrait(text: str, reader: Rephraser) -> Entity | None:
    """The face of the animal that is named and nothing else is but of its face, "a cat with blue eyes"; None of any
    other text. Its body is four legs and a tail to whoever draws small pictures; "a standing cat" has one."""
    entity = reader.single_entity(text := pattern("features").sub("", text))
    if entity is None or modifiers(text, entity.name):
        return None
    face = reader.close_up(entity)
    return face if face.concept != entity.concept else None


_AT_BODY = {"head": "on the head", "nose": "on the head", "neck": "round the neck", "back": "below"}
_UNHELD = {PLACES, FLAGS, "symbols"}  # groups of what nobody holds


@cache
def forms(relation: str) -> tuple[str, ...]:
    """What is said of {a} and {b} where the first stands so to the second, by the lexicon of every language. A name in
    braces stands for each of the words of a row."""
    phrases = []
    for lexicon in LEXICONS.values():
        words = lexicon.rows["words"]
        for form in lexicon.rows["relations"].get(relation, ()):
            name = next((name for name in words if f"{{{name}}}" in form), "")
            phrases += [form.replace(f"{{{name}}}", word) for word in words[name].split("|")] if name else [form]
    return tuple(phrases)


@cache
def relation_of() -> dict[str, str]:
    """By form, how the first entity stands to the second. Those of captions go before what people say besides."""
    relations = dict.fromkeys((*SCENE_TEMPLATES["en"]["pairs"], *SCENE_TEMPLATES["zh"]["pairs"]), "left of")
    for relation in dict.fromkeys(name for one in LEXICONS.values() for name in one.rows["relations"]):
        if relation not in ("worn", "printed"):
            relations |= dict.fromkeys(forms(relation), relation)
    for forms_by_relation in RELATIONS.values():
        relations |= {form: relation for relation, forms_of in forms_by_relation.items() for form in forms_of}
    for lexicon in LEXICONS.values():
        sides = dict(lexicon.rows["sides"])
        for form in sides.pop("forms"):
            for relation, (here, there) in sides.items():
                relations[form.format(here=here, there=there, a="{a}", b="{b}")] = relation
                relations[form.format(here=there, there=here, a="{a}", b="{b}")] = OPPOSITE[relation]
    return relations


def boxes_of(text: str, entities: Sequence[Entity], counts: Sequence[int], reader: Rephraser) -> Boxes:
    """One for each of the entities, of which there are so many, and more where the last are scattered; none where they
    are not to be laid out. `text` is normalised."""
    if scene := next((i for i in range(1, len(entities)) if _is_scene(text, entities[i], reader)), 0):
        others = [entity for i, entity in enumerate(entities) if i != scene]
        around = _in_scene(text, others, [*counts[:scene], *counts[scene + 1 :]], reader)
        at = sum(counts[:scene])
        return (*around[:at], BACKDROP, *around[at:]) if around and counts[scene] == 1 else ()
    if len(entities) == 2 and counts[0] == 1 and (small := _small(text, entities, counts[1], reader)):
        return small
    if counts == [1, 1]:
        return _of_two(text, entities, reader)
    return (_of_three(text, entities, reader) if counts == [1, 1, 1] else ()) or GRID.get(sum(counts), ())


def _is_scene(text: str, entity: Entity, reader: Rephraser) -> bool:
    """Whether an entity is scenery, and the others are in it."""
    before = text[: text.rfind(entity.text.strip())].strip()
    return reader.concept(entity).is_a("scenery") and bool(pattern("in_place").search(before))


def _in_scene(text: str, entities: Sequence[Entity], counts: Sequence[int], reader: Rephraser) -> Boxes:
    """Those that are in front of scenery: what belongs together as that, others in a row."""
    together = {2: _of_two, 3: _of_three}.get(len(entities)) if set(counts) == {1} else None
    places = together(text, entities, reader) if together else ()
    if places and places != PAIR["left of"]:
        return tuple(within(box, STAGE) for box in places)
    return IN_SCENE.get(sum(counts), ())


def _small(text: str, entities: Sequence[Entity], count: int, reader: Rephraser) -> Boxes:
    """Where the second is small and lies on the first, or around it: "a bear with hearts"; none where it is not."""
    marked, (first, second) = _marked(text, entities), map(reader.concept, entities)
    around, noun = "{a} surrounded by {b}" in marked, core(entities[1].text)
    if "{a} with {b}" in marked and pattern("on_it").search(marked):
        return PAIR["printed on"] if _is_print(first, second) else ON_IT
    lies = around or ("{a} with {b}" in marked and _is_held(second) and not _where_worn(entities[1], second))
    plural = singular(noun) != noun and noun not in map(str.lower, second.english_names)
    many = count if count > 1 else len(AROUND) - 1 if plural else 1
    is_single = pattern("one_thing_plural").search(noun) or any(n.startswith("two ") for n in second.english_names)
    if not lies or many == 1 or many >= len(AROUND) or is_single:
        return ()
    if around or first.is_somebody:
        return AROUND[: 1 + many]
    return SCATTERED[: 1 + many] if first.group not in _UNHELD else ()


def _is_held(concept: Concept) -> bool:
    """Whether somebody who comes with it holds it."""
    return concept.is_a("held") or (concept.group not in _UNHELD and not concept.is_somebody)


def _is_print(concept: Concept, other: Concept, explicit: bool = True) -> bool:
    """Whether `other` is a picture on `concept`: a heart on an envelope, a cat on a shirt. Unless the prompt names the
    relation (`explicit`), a cat on a laptop sits there."""
    pictured = other.is_a("emblem")
    flat = concept.is_a("clothes_to_print") or (concept.is_a("surface") and (explicit or pictured))
    return flat and (pictured or other.group == FLAGS or other.is_somebody)


def _of_two(text: str, entities: Sequence[Entity], reader: Rephraser) -> Boxes:
    marked, concepts = _marked(text, entities), [reader.concept(entity) for entity in entities]
    if pattern("set_out").search(marked):  # nothing but a comma between what is at the left and what is at the right
        marked = re.sub(r",? (?:and|with|while) \{b\}", ", {b}", marked)
    if "{a} on {b}" in marked and (where := _where_worn(entities[0], concepts[0])):
        return PAIR[where][::-1]
    if "{a} on {b}" in marked and _is_print(concepts[1], concepts[0], explicit=False):
        return PAIR["printed on"][::-1]
    relation = _relation(marked, entities, concepts)
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
        return (*(within(box, BELOW_SKY) for box in below), SKY) if together else ()
    if beside := _two_inside(text, entities, reader):
        return beside
    for i, wearer in enumerate(entities[:2]):
        pair = wearer, entities[i + 1]
        marked, name = _marked(text, pair), wearer.text.strip()
        joint = next((form for form in forms("worn") if form in marked), "")
        if not joint or not worn[i + 1]:
            continue
        inner = _of_two(joint.format(a=name, b=pair[1].text.strip()), pair, reader)
        if i == 0 and worn[2] and worn[1] != worn[2]:
            second = _of_two(joint.format(a=name, b=entities[2].text.strip()), (wearer, entities[2]), reader)
            return _both_worn(inner, second)
        alone = marked.replace(joint, name, 1)
        if outer := _of_two(alone, [entity for entity in entities if entity is not pair[1]], reader):
            return (*outer[:i], *(within(box, outer[i]) for box in inner), *outer[i + 1 :])
    return ()


def _two_inside(text: str, entities: Sequence[Entity], reader: Rephraser) -> Boxes:
    """Of "a cat and a dog in a box" the two side by side in the box of one; none where they are not both in, or on, the
    third."""
    marked = _marked(text, entities[:2])
    if "{a} and {b}" not in marked:
        return ()
    alone = marked.replace("{a} and {b}", entities[0].text.strip(), 1)
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


def _relation(marked: str, entities: Sequence[Entity], concepts: Sequence[Concept]) -> str:
    """How the first of two entities stands to the second."""
    if "{a} with {b} on top" in marked:
        return "on top"
    if match := pattern("at_body").search(marked):
        return _AT_BODY.get(match[1], "in the hand")
    if any(form in marked for form in forms("worn")):
        if where := _where_worn(entities[1], concepts[1]):
            return where
        if concepts[1].is_face:
            return "on the front"
    if any(form in marked for form in ("{a} with {b}", *forms("printed"))) and _is_print(concepts[0], concepts[1]):
        return "printed on"
    if "{a} with {b}" in marked and concepts[1].group == FLAGS and concepts[0].group == PLACES:
        return "on top"
    if "{a} with {b}" in marked and concepts[0].is_somebody and _is_held(concepts[1]):
        return "in the hand"
    relations = relation_of()
    relation = relations[max((form for form in relations if form in marked), key=len, default="{a} and {b}")]
    return "below" if relation == "in" and concepts[1].is_a("weather") else relation


def _where_worn(entity: Entity, concept: Concept) -> str:
    """Where an entity is worn; "" where it is not."""
    if pattern("bow_tie").search(entity.text):  # a ribbon by name, and not in the hair
        return "round the neck"
    return concept.worn_at


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
    background = background_phrase(with_known_colours(prompt.lower())).lower()
    return tuple(dict.fromkeys(_COLOUR_NAMES[word] for word in _COLOUR_NAME.findall(background)))[:2]


def plan(prompt: str, reader: Rephraser) -> Plan | None:
    """Of a prompt that names two to four entities, or one that is small, on a coloured background, has wings or a face
    that is not its own, or of an animal its face; None of any other, and of one that says what should not be there.
    """
    if lettering := find_lettering(prompt):
        return _lettered(lettering, reader)
    if pattern("negation").search(prompt):
        return None
    if SUM in prompt:
        return _combined(prompt.split(SUM), reader)
    return _composite(prompt, reader) or _several(prompt, reader)


def _composite(prompt: str, reader: Rephraser) -> Plan | None:
    """One entity that is drawn as more than itself, or less."""
    rest, background = without_background(prompt), background_of(prompt)
    text, behind = simplified(rest), background_phrase(without_transparency(prompt))
    if background and (shares := blend(text, reader)):
        return Plan((rest,), (WHOLE,), background, SUM.join(caption for _, caption in shares) + behind)
    box = WHOLE if background else BACKDROP
    if (felt := expression(text, reader)) and not felt.blended:
        captions = reader.caption(felt.entity, prompt), in_style(felt.face, FEATURES_STYLE)
        description = with_expression(felt.word, reader.caption(felt.entity, text))
        return Plan(captions, (box, FEATURES), background, _in_prompt_words(description, prompt))
    if entity := winged(text, reader):
        captions = reader.caption(reader.close_up(entity), prompt), in_style(WINGS, named_style(prompt))
        description = with_expression("会飞" if language_of(text) == "zh" else "flying", reader.caption(entity, text))
        return Plan(captions, WINGED, background, _in_prompt_words(description, prompt))
    if pair := costume(text, reader):
        captions = reader.caption(pair[0], prompt), reader.caption(pair[1], prompt)
        face = reader.caption(pair[0], pair[0].text)
        description = f"{face}在{captions[1]}上" if language_of(prompt) == "zh" else f"{face} on {captions[1]}"
        return Plan(captions, COSTUME, background, description + behind)
    if entity := portrait(text, reader):
        caption = reader.caption(entity, prompt)
        return Plan((caption,), (box,), background, caption + behind)
    return None


def _in_prompt_words(description: str, prompt: str) -> str:
    """What is said of a composite, in the prompt's own words where they are the same."""
    text = without_transparency(prompt)
    same = words_of(core(description)) == words_of(core(without_background(text)))
    return text if same else restore_plurals(description, text) + background_phrase(text)


def _several(prompt: str, reader: Rephraser) -> Plan | None:
    """Several entities in the boxes of their relation, or one that is small or on a coloured background."""
    text, background = normalise(prompt), background_of(prompt)
    if each := _separate_colours(text, reader):
        return _laid(each, GRID.get(len(each), ()), prompt, background, reader)
    text = pattern("has_wings").sub("", text)  # what has them as it is
    entities = reader.entities(text)
    counts = [entity.count for entity in entities]
    if counts == [1] and entities[0].is_small:
        return Plan((reader.caption(entities[0], prompt),), (SMALL,), background)
    if counts == [1]:
        alone = without_background(prompt) or reader.caption(entities[0], prompt)
        return Plan((alone,), (WHOLE,), background) if background else None
    places = boxes_of(text, entities, counts, reader)
    singles = [(_single(one, reader) if n > 1 else one, n) for one, n in zip(entities, counts, strict=True)]
    drawn = [entity for entity, count in singles for _ in range(count)]
    drawn += drawn[-1:] * (len(places) - len(drawn))  # "with hearts" are as many as there is room for
    return _laid(drawn, places, prompt, background, reader)


def _lettered(lettering: Lettering, reader: Rephraser) -> Plan:
    """The one entity that has room for words with the words on it; anybody and anything else with a balloon that says
    them."""
    rest, background = without_background(lettering.rest), background_of(lettering.rest)
    entities, style = reader.entities(normalise(rest)), named_style(rest)
    alone = len(entities) == 1 and entities[0].count == 1
    inner = plan(rest, reader) if is_free(rest) else None
    if alone and reader.concept(entities[0]).is_a("clothes_to_print", "surface", "page"):
        caption = reader.caption(entities[0], rest)
        return Plan((caption,), (replace(WHOLE, lettering=lettering.words),), background)
    if inner is None:
        plain = alone and not blend(simplified(rest), reader) and not pattern("negation").search(rest)
        caption = reader.caption(reader.close_up(entities[0]), rest) if plain else rest
        inner = Plan((caption,), (BACKDROP,))
    speaker = (within(box, SPEAKER, keep=True) for box in inner.places)
    captions = *inner.captions, in_style("speech balloon", style)
    return Plan(captions, (*speaker, replace(BALLOON, lettering=lettering.words)), background)


def _combined(words: Sequence[str], reader: Rephraser) -> Plan | None:
    """Of "panda + pineapple" the one that has a face, in the middle of the other; None where both have one, or none."""
    pairs = [(entity, word) for word in words if is_free(word) and (entity := reader.single_entity(word))]
    eyed = [pair for pair in pairs if reader.concept(pair[0]).has_eyes]
    plain = [pair for pair in pairs if pair not in eyed]
    if len(words) != 2 or (len(plain), len(eyed)) != (1, 1) or not reader.concept(plain[0][0]).can_join:
        return None
    (entity, text), (animal, called) = *plain, *eyed
    captions = reader.caption(entity, text), reader.caption(reader.close_up(animal), called)
    return Plan(captions, (BACKDROP, MIDDLE))


def _laid(
    entities: Sequence[Entity], places: Boxes, prompt: str, background: tuple[str, ...], reader: Rephraser
) -> Plan | None:
    """The entities in their boxes; None where there are none for them."""
    if not places:
        return None
    laid = [drawn for pair in zip(entities, places, strict=True) for drawn in _drawn(*pair, prompt, reader)]
    captions, boxes = zip(*laid, strict=True)
    return Plan(captions, boxes, background)


def _drawn(entity: Entity, box: Box, prompt: str, reader: Rephraser) -> list[tuple[str, Box]]:
    """What is drawn for a box: the entity, and the face whose eyes and mouth it gets."""
    if box.anchor == "face":
        return [(in_style(reader.concept(entity).english_names[0], FEATURES_STYLE), box)]
    plain = reader.caption(reader.close_up(entity) if box.close_up else entity, prompt)
    felt = None if box.anchor else expression_of(entity, prompt, reader)
    if felt is None:
        return [(plain, box)]
    if felt.blended:
        return [(with_expression(felt.word, plain), box)]
    return [(plain, box), (in_style(felt.face, FEATURES_STYLE), replace(box, anchor="face"))]


def _single(entity: Entity, reader: Rephraser) -> Entity:
    """One of several: of three hearts a heart, and not the two that one name holds."""
    singles = reader.entities(singular(core(entity.text)))
    return Entity(entity.text, singles[0].concept, singles[0].name) if len(singles) == 1 else entity


def _separate_colours(text: str, reader: Rephraser) -> tuple[Entity, ...]:
    """Of "two cats, one red and one blue" what each is; nothing of a text that says no such thing."""
    first, *rest = re.split(r"[,，]", text, maxsplit=1)
    matches = pattern("one_each").findall("".join(rest))
    colours = [next(filter(None, groups)) for groups in matches]
    entities = reader.entities(first) if len(colours) > 1 else []
    if len(entities) != 1 or count_in(first) != len(colours):
        return ()
    entity = _single(entities[0], reader)
    return tuple(Entity(f"{colour} {entity.name}", entity.concept, entity.name) for colour in colours)
