"""Where the things of a prompt stand: "a cat to the left of a dog" is a cat in the left half, a dog in the right one.

The generator draws one thing well and two of them poorly: at half of the picture's side a thing is eight latents wide.
So each is drawn alone, as large as a picture, and laid where the prompt says (the arrangement of Collage Diffusion,
arXiv 2303.00262, read from the words). Here stands which things; `models.reading.relations` reads where, and
`models.collage` lays them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from models.data.colours import COLOURS
from models.data.grammar import language_of, singular
from models.data.scenes import GROUNDS
from models.data.styles import styled
from models.reading.dressed import close_up, dressed, one_thing, portrait
from models.reading.feelings import with_feeling
from models.reading.hybrids import FEATURED, HAS_WINGS, WINGS, Felt, felt, felt_of, has_eyes, hybrid, in_style, winged
from models.reading.lettering import Written, written
from models.reading.naming import Part
from models.reading.paints import painted as in_taught_colours
from models.reading.phrasing import bare, in_order
from models.reading.places import (
    BACKDROP,
    BALLOON,
    DRESSED,
    FEATURES,
    MIDDLE,
    SMALL,
    SPEAKER,
    WHOLE,
    WINGED,
    Place,
    several,
    within,
)
from models.reading.relations import has_room, places
from models.reading.wording import NEGATED, Wording, count_of, ground_of, how_many, without_ground

SUM = " + "  # between two things that are one


@dataclass(frozen=True)
class Layout:
    """What is drawn alone, in words, the place of each, and the colours of the ground (`compose.ground`)."""

    texts: tuple[str, ...]
    places: tuple[Place, ...]
    ground: tuple[str, ...] = ()


_ONE_EACH = re.compile(rf"\bone ({'|'.join(COLOURS)})\b|一[^，,一]?({'|'.join(c.zh for c in COLOURS.values())})")
_GROUND_NAMES = {word: name for name, c in COLOURS.items() if c.paint or name in GROUNDS for word in (name, c.zh)}
_GROUND_NAME = re.compile("|".join(rf"\b{word}\b" if word.isascii() else word for word in _GROUND_NAMES))


def layout(prompt: str, wording: Wording) -> Layout | None:
    """Of a prompt that names two to four things, or one that is small, on a coloured ground, has a face that is not its
    own or wings; None of any other, of one that says what should not be there, and of one that is read word for word.
    """
    if wording.is_free(prompt) and (found := written(prompt)):
        return _lettered(found, wording)
    if not wording.is_free(prompt) or NEGATED.search(prompt):
        return None
    if SUM in prompt:
        return _combined(prompt.split(SUM), wording)
    text, bare_prompt = in_order(prompt), without_ground(prompt)
    ground = _colours(ground_of(in_taught_colours(prompt.lower())))
    if ground and hybrid(bare_prompt, wording):
        return Layout((bare_prompt,), (WHOLE,), ground)
    if (feeling := felt(bare_prompt, wording)) and not feeling.blended:
        return _featured(feeling, prompt, ground, wording)
    if thing := winged(bare_prompt, wording):
        return Layout((wording.alone(close_up(thing, wording), prompt), in_style(WINGS, prompt)), WINGED, ground)
    if pair := dressed(prompt, wording):
        return Layout(tuple(wording.alone(part, prompt) for part in pair), DRESSED, ground)
    if face := portrait(prompt, wording):
        return Layout((wording.alone(face, prompt),), (WHOLE if ground else BACKDROP,), ground)
    if painted := _painted(text, wording):
        return _laid(painted, several(len(painted)), prompt, ground, wording)
    text = HAS_WINGS.sub("", text)  # what has them as it is
    parts = wording.parts(text)
    counts = [how_many(part) for part in parts]
    if counts == [1]:
        return _one(parts[0], prompt, ground, wording)
    where = places(text, parts, counts, wording)
    each = [(_single(part, wording) if count > 1 else part, count) for part, count in zip(parts, counts, strict=True)]
    things = [part for part, count in each for _ in range(count)]
    things += things[-1:] * (len(where) - len(things))  # "with hearts" are as many as there is room for
    return _laid(things, where, prompt, ground, wording)


def _lettered(found: Written, wording: Wording) -> Layout:
    """The one thing that has room for words with the words on it; anybody and anything else with a balloon that says
    them."""
    rest, ground = without_ground(found.rest), _colours(ground_of(in_taught_colours(found.rest.lower())))
    inner, parts = layout(rest, wording), wording.parts(in_order(rest))
    alone = len(parts) == 1 and how_many(parts[0]) == 1
    if alone and has_room(wording.naming.known[parts[0].number]):
        return Layout((wording.alone(parts[0], rest),), (replace(WHOLE, words=found.words),), ground)
    if inner is None:
        plain = alone and not hybrid(rest, wording) and not NEGATED.search(rest)
        text = wording.alone(close_up(parts[0], wording), rest) if plain else rest
        inner = Layout((text,), (BACKDROP,))
    texts = *inner.texts, in_style("speech balloon", rest)
    speaker = (within(place, SPEAKER, keep=True) for place in inner.places)
    return Layout(texts, (*speaker, replace(BALLOON, words=found.words)), ground)


def _combined(words: Sequence[str], wording: Wording) -> Layout | None:
    """Of "panda + pineapple" the one that has a face, in the middle of the other; None where both have one, or none."""
    things = [(thing, word) for word in words if wording.is_free(word) and (thing := one_thing(word, wording))]
    eyed = [pair for pair in things if has_eyes(wording.naming.known[pair[0].number])]
    plain = [pair for pair in things if pair not in eyed]
    if len(words) != 2 or (len(plain), len(eyed)) != (1, 1) or not wording.naming.stands(plain[0][0].number):
        return None
    (thing, said), (whose, called) = *plain, *eyed
    return Layout((wording.alone(thing, said), wording.alone(close_up(whose, wording), called)), (BACKDROP, MIDDLE))


def _featured(feeling: Felt, prompt: str, ground: tuple[str, ...], wording: Wording) -> Layout:
    """A thing and the face whose eyes and mouth it has."""
    texts = wording.alone(feeling.thing, prompt), styled(feeling.face, FEATURED, False)
    return Layout(texts, (WHOLE if ground else BACKDROP, FEATURES), ground)


def _laid(
    things: Sequence[Part], where: tuple[Place, ...], prompt: str, ground: tuple[str, ...], wording: Wording
) -> Layout | None:
    """The things in their places; None where there are none for them."""
    if not where:
        return None
    laid = [drawn for pair in zip(things, where, strict=True) for drawn in _drawn(*pair, prompt, wording)]
    texts, found = zip(*laid, strict=True)
    return Layout(texts, found, ground)


def _drawn(part: Part, place: Place, prompt: str, wording: Wording) -> list[tuple[str, Place]]:
    """What is drawn for a place: the thing, and the face whose eyes and mouth it gets."""
    if place.onto == "face":
        return [(styled(wording.naming.known[part.number].names["en"][0], FEATURED, False), place)]
    plain = wording.alone(close_up(part, wording) if place.close else part, prompt)
    feeling = None if place.onto else felt_of(part, prompt, wording)
    if feeling is None:
        return [(plain, place)]
    if feeling.blended:
        return [(with_feeling(feeling.word, plain), place)]
    return [(plain, place), (styled(feeling.face, FEATURED, False), replace(place, onto="face"))]


def _one(part: Part, prompt: str, ground: tuple[str, ...], wording: Wording) -> Layout | None:
    """One thing is laid out where it is small or stands on a coloured ground."""
    if wording.is_small(part):
        return Layout((wording.alone(part, prompt),), (SMALL,), ground)
    return Layout((without_ground(prompt) or wording.alone(part, prompt),), (WHOLE,), ground) if ground else None


def _single(part: Part, wording: Wording) -> Part:
    """One of several: of three hearts a heart, and not the two that one name holds."""
    found = wording.parts(singular(bare(part.text)))
    return Part(part.text, found[0].number, found[0].name) if len(found) == 1 else part


def _painted(text: str, wording: Wording) -> tuple[Part, ...]:
    """Of "two cats, one red and one blue" what each is; nothing of a prompt that says no such thing."""
    first, *rest = re.split(r"[,，]", text, maxsplit=1)
    colours = [english or chinese for english, chinese in _ONE_EACH.findall("".join(rest))]
    parts = wording.parts(first) if len(colours) > 1 else []
    if len(parts) != 1 or count_of(first, language_of(text)) != len(colours):
        return ()
    one = _single(parts[0], wording)
    return tuple(Part(f"{colour} {one.name}", one.number, one.name) for colour in colours)


def _colours(ground: str) -> tuple[str, ...]:
    """The colours that are said of the ground: none, one, or two of a gradient."""
    return tuple(dict.fromkeys(_GROUND_NAMES[word] for word in _GROUND_NAME.findall(ground.lower())))[:2]
