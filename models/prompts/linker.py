"""Entity linking: which concepts a prompt names, and the captions that say the same.

"a cat to the left of a dog" names two concepts. Names are looked for phrase by phrase. Where a phrase holds no name, it
means the concept whose names lie nearest to its vector and that shares most of its words ("coffee" is a keyword of a
hot beverage). Colours, numbers and styles are left out first: with them, "a red umbrella" lies nearest to a scarf.

The generator has read some thirty captions of a concept. Of "hamburger" it draws one, of "a burger" a brown bear. So
`Rephraser` replaces an entity that captions would name otherwise by the nearest caption. It leaves captions' own words,
weighted words and quoted prompts alone.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import chain, combinations

import torch
from torch import Tensor

from models.data.colours import colour_words
from models.data.grammar import NUMBERS, Language, article, language_of, plural, restore_plurals, singular, styled
from models.lexicon import LEXICONS, any_of, pattern
from models.prompts.normalise import (
    CLAUSES,
    JOINTS,
    background_phrase,
    colours_in,
    core,
    gender_in,
    modifiers,
    named_style,
    normalise,
    paint_in,
    phrases,
    phrases_about,
    skin_tone_phrase,
    skin_tones_in,
    with_expression,
    with_known_colours,
    with_skin_tones,
    without_implied,
    without_skin_tone,
    without_transparency,
    words_of,
)
from models.prompts.parsed import ANIMALS, FACES, FLAGS, PEOPLE, Concept, Entity, Target
from models.prompts.weighting import QUOTED, plain, segments
from models.space import Embedder

Embed = Callable[[str], Tensor]  # a text -> its semantic vector (128,)

SURE = 0.8  # cosine of a text to a name from which on that is what it is about, if they share SOME words
SAID = 0.6  # what it is worth, in cosine, that all words of a text are words of a concept
ALONE = 0.2  # and that a concept has no other words
SOME = 0.5  # share of words: with none in common, a near name is chance (words that were never taught lie anywhere)
ENOUGH = 0.65  # share of words from which on a concept is meant though its name lies far away
FAR = 0.4  # cosine below which no word is hint enough: a knight is a keyword of the dragon
REMEMBERED_NAMES = 4096  # texts with their longest names
MOST = 32  # phrases of a prompt: no picture has room for so many entities, and each asks for a vector
LITTLE = 4  # letters of a word that says nothing by itself: get, well, soon
_DRESS = re.compile(r"\b(?:hat|crown|cap|helmet|mask|ribbon|performing arts)\b")
KEPT_PLURALS = {"man", "woman", "child", "person"}  # whose plurals `models.data.grammar.regular` keeps
_KEPT = re.compile(rf"\b(?:{'|'.join(map(plural, sorted(KEPT_PLURALS)))})\b")
_EXACT = {FLAGS, "symbols", ""}  # groups of which one concept is no hint at another: those are named or not meant

ALIASES: dict[str, tuple[str, ...]] = {}  # by CLDR's English name, what people say for it
for _lexicon in LEXICONS.values():
    for _name, _alias_names in _lexicon.rows["aliases"].items():
        ALIASES[_name] = (*ALIASES.get(_name, ()), *_alias_names.split(", "))


def flag_names(name: str) -> tuple[str, ...]:
    """What a country's flag is called besides its own name, in either language: "flag of Japan" a Japan flag."""
    if country := name.removeprefix("flag of ") if name.startswith("flag of ") else "":
        return f"{country} flag", f"{country}'s flag"
    country = name.removesuffix("旗") if name.endswith("旗") else ""
    return tuple(f"{country}{flag}" for flag in ("国旗", "的国旗", "的旗", "旗帜", "旗子")) if country else ()


class EntityLinker:
    """Finds entities. A name that some concept has itself stays that concept's.

    Args:
        concepts: what may be named.
        vectors: (M, 128) of all their names, one after the other.
        aliases: what else they are called, by an English name: that names them where nothing else is said.
    """

    def __init__(
        self, concepts: Sequence[Concept], vectors: Tensor, aliases: Mapping[str, Sequence[str]] = ALIASES
    ) -> None:
        self.concepts, self.vectors = tuple(concepts), vectors
        self._longest_name = lru_cache(REMEMBERED_NAMES)(self._find_longest_name)
        named = [(name, n) for n, concept in enumerate(concepts) for names in concept.names.values() for name in names]
        self._owners = torch.tensor([number for _, number in named], dtype=torch.long)
        self._names: dict[str, list[int]] = defaultdict(list)
        for name, number in named:
            self._names[name.lower()].append(number)
        for name in KEPT_PLURALS & self._names.keys():  # women are no women with bunny ears
            self._names[plural(name)] = self._names.get(plural(name), self._names[name])
        called = [(alias, number) for name, number in named for alias in aliases.get(name, ())]
        flags = [(name, number) for name, number in named if concepts[number].group == FLAGS]
        called += [(alias, number) for name, number in flags for alias in flag_names(name)]
        self._aliases = {tuple(words_of(core(alias))): number for alias, number in called}
        # An icon outside Unicode's groups keeps no name that people mean another concept by: a bunny is a rabbit.
        all_aliases = [*chain.from_iterable(aliases.values()), *(alias for alias, _ in called)]
        for alias in set(map(str.lower, all_aliases)):
            if alias in self._names and all(not concepts[number].group for number in self._names[alias]):
                del self._names[alias]

    def called(self, name: str) -> list[int]:
        """Numbers of the concepts that are called so, to the letter; needs no vectors."""
        alias = self._aliases.get(tuple(words_of(core(name))))
        return self._names.get(name.lower(), []) or ([] if alias is None else [alias])

    def is_alias(self, word: str) -> bool:
        """Whether a word is an alias of some concept, or, in English, a longer word of one."""
        words = words_of(word)
        return tuple(words) in self._aliases or (word.isascii() and len(words) == 1 and words[0] in self._alias_words)

    def link(self, text: str, embed: Embed) -> list[Entity]:
        """The entities that `text` names: none, one, or more that are drawn side by side."""
        if not self.concepts:
            return []
        first, *rest = CLAUSES.split(pattern("on_body").sub("", normalise(without_transparency(text))))
        if called := self._alias(first):
            return [called]
        name = self._longest_name(first)
        # An activity, 骑自行车, may be done by another entity, which is then meant with what it holds.
        has_doer = name and JOINTS.match(name) and self._longest_name(first.replace(name, " ", 1))
        if name and JOINTS.search(name) and not has_doer:  # "person with white cane" is one
            return [Entity(first, self._nearest(self._names[name], first, embed), name)]
        plainer = pattern("inner_article").sub("", first)  # "a heart with an arrow" is a heart with arrow
        joined = self._longest_name(plainer) if plainer != first else name
        if joined != name and JOINTS.search(joined):
            beside_it = plainer.replace(joined, " ", 1) or " "  # its own colour, and none of what its name says
            return [Entity(first, self._nearest(self._names[joined], first, embed), about=beside_it)]
        more = [clause for clause in rest[1::2] if pattern("another_entity").search(clause)]
        pieces = [piece for clause in [first, *more] for piece in phrases(clause)]
        if len(pieces) > MOST:
            return []
        names = sum(bool(self._longest_name(piece)) for piece in pieces)
        is_single = names < 2 and not any(map(self._alias, pieces)) and modifiers(first, name)
        if is_single and (whole := self._whole(first, name, pieces, embed)):
            return [whole]
        if names > 1 and (activity := self._activity(first, embed)):
            return [activity]
        entities = [entity for piece in pieces if (entity := self._link_phrase(piece, embed))]
        return self._distinct(entities, first, more)

    def _whole(self, text: str, name: str, pieces: Sequence[str], embed: Embed) -> Entity | None:
        """The concept that the whole of a text lies near to."""
        singular_text = _KEPT.sub(lambda match: singular(match[0]), text)  # men running are a person running
        # A paint of two colours is part of no name.
        for words in (pattern("paint_of_two").sub("", singular_text), core(singular_text)):
            best, cosine, share = self._best_match(singular_text, words, embed)
            animal = any(self.concepts[number].group == ANIMALS for number in self._names.get(name, ()))
            acts = animal and self.concepts[best].group == PEOPLE  # a dog swimming is a dog
            if cosine >= SURE and share >= SOME and not acts:
                name = max((name for name in self.concepts[best].all_names if name in text), key=len, default="")
                piece_of_name = next((piece for piece in pieces if (name in piece if name else core(piece))), "")
                return Entity(text, best, name, phrases_about(text, piece_of_name) if piece_of_name else "")
        return None

    def _distinct(self, linked: list[Entity], first: str, more: Sequence[str]) -> list[Entity]:
        """Of what the phrases name those that are entities of their own."""
        pieces = JOINTS.split(first)  # and what stands on both sides of a joint that can only lead to another entity
        firm = (i for i, joint in enumerate(pieces[1::2]) if not pattern("loose_joint").fullmatch(joint))
        both = {part for i in firm for part in pieces[2 * i : 2 * i + 3 : 2]}
        apart = both.union(*map(phrases, more))
        if any(one.name for one in linked):  # beside a name, the word of another one: cheese of a cheese wedge
            linked = [one for one in linked if one.name or one.text in both or self._is_named_by(one)]
        # Of what a panda eats its keywords say bamboo, and that is no second panda.
        by_name = {one.concept for one in linked if one.name}
        linked = [one for one in linked if one.name or one.concept not in by_name]
        # A concept that is named twice is another entity only where it is said to stand beside the first.
        doer = linked[0] if linked and linked[0].name and self._may_do(linked) else None
        entities = {
            one.text if one.text in apart else one.concept: one
            for one in linked
            if one is doer or self._may_join(self.concepts[one.concept], bool(both))
        }
        if len(entities) > 1:
            return list(entities.values())
        chosen = sorted(linked, key=lambda one: not one.name)[:1]
        description = " ".join(phrases(first))
        return [Entity(description, one.concept, one.name, phrases_about(first, one.text)) for one in chosen]

    def _activity(self, text: str, embed: Embed) -> Entity | None:
        """What somebody does, where that has a name of its own: "a man climbing a mountain" is a person climbing."""
        if not pattern("action").search(text):
            return None
        who = self._longest_name(pattern("action").split(text)[0])
        if not who or all(self.concepts[number].group != PEOPLE for number in self._names[who]):
            return None
        best, cosine, share = self._best_match(text, core(text), embed)
        named = best in self._names[who] or self.concepts[best].group != PEOPLE or cosine < FAR
        return None if named or share < SOME else Entity(text, best)

    def _may_do(self, entities: Sequence[Entity]) -> bool:
        """Whether the first is a person who may stand beside the others; whose clothes are drawn needs no hat."""
        who = self.concepts[entities[0].concept]
        dress = any(_DRESS.search(name) for one in entities[1:] for name in self.concepts[one.concept].english_names)
        return who.group == PEOPLE and (not dress or who.is_a("anyone"))

    def _alias(self, text: str, head: bool = False) -> Entity | None:
        """The concept that is called what is said, and nothing else is; or what is said last, its `head`."""
        if (name := self._longest_name(text)) and not modifiers(text, name):  # two hearts are one by name
            return None
        words = text_words = words_of(plain := core(text))
        while head and len(words) > 1 and tuple(words) not in self._aliases:
            words = words[1:]
        if words[-1:] and words[-1].endswith("ing") and tuple(words[:-1]) in self._aliases:  # a doctor running
            words = words[:-1]
        number = self._aliases.get(tuple(words))
        short = len("".join(words)) < 2  # 棉花 is cotton, and no flower
        if number is None or (words != text_words and (short or words == ["flag"])):  # a pirate flag is another one
            return None
        match = re.search(r"\s*".join(f"{re.escape(word)}s?" for word in words) + r"$", plain)
        return Entity(text, number, match[0] if match and match[0] in text else "")

    def _link_phrase(self, phrase: str, embed: Embed) -> Entity | None:
        if called := self._alias(phrase) or self._alias(phrase.rstrip("上下里中旁边")):
            return called
        if name := self._without_face(phrase, self._longest_name(phrase)):
            called = self._alias(phrase, head=True)
            if called and name != called.name and name in called.name:  # 电脑 is no 脑
                return called
            number = self._nearest(self._names[name], phrase, embed)
            return self._occupation(phrase, number) or Entity(phrase, number, name)
        if not (plain := core(phrase)):
            return None
        best, cosine, share = self._best_match(phrase, plain, embed)
        if share < 1 and (called := self._alias(phrase, head=True)):
            return called
        enough = SOME if cosine >= SURE else ENOUGH if cosine >= FAR else math.inf
        if share >= enough:
            return Entity(phrase, best)
        doer = pattern("doing").split(phrase)[0]  # a clown juggling balls is a clown
        return self._link_phrase(doer, embed) if doer != phrase else None

    def _without_face(self, phrase: str, name: str) -> str:
        """Of a face and an object in one phrase the object, which looks so: a smiling cloud, 生气的狗."""
        if not any(self.concepts[number].is_face for number in self._names.get(name, ())):
            return name
        other = self._longest_name(phrase.replace(name, " ", 1))
        concepts = [self.concepts[number] for number in self._names.get(other, ())]
        return other if any(one.can_join and not one.is_face for one in concepts) else name

    def _occupation(self, phrase: str, number: int) -> Entity | None:
        """What a person does is who is meant: a woman doctor is a health worker, as she is a scientist by name."""
        young = {"baby", "child"} & set(words_of(phrase))
        called = self._alias(phrase, head=True) if self.concepts[number].group == PEOPLE and not young else None
        return called if called and self.concepts[called.concept].group == PEOPLE else None

    @staticmethod
    def _may_join(concept: Concept, firm: bool) -> bool:
        return concept.can_join or (firm and concept.group not in _EXACT)

    def _is_named_by(self, entity: Entity) -> bool:
        names = self.concepts[entity.concept].all_names
        return set(words_of(core(entity.text))) <= {word for name in names for word in words_of(name)}

    def cosines(self, vector: Tensor) -> list[float]:
        """Of a text's vector (128,) to each concept: that of the nearest of its names."""
        best = torch.full((len(self.concepts),), -1.0)
        return best.scatter_reduce(0, self._owners, self.vectors @ vector, "amax").tolist()

    def vector_of(self, number: int) -> Tensor:
        """(128,) of a concept's first name."""
        return self.vectors[int((self._owners == number).nonzero()[0])]

    def nearest(self, vector: Tensor, among: Sequence[int]) -> list[int]:
        """Of some concepts those first whose names lie nearest to a vector (128,)."""
        cosines = self.cosines(vector)
        return sorted(among, key=cosines.__getitem__, reverse=True)

    def _best_match(self, text: str, plain: str, embed: Embed) -> tuple[int, float, float]:
        """The most likely concept, its cosine to `plain`, and the share of the words that are in its name. Where no
        concept's name has SOME of the words, none is meant and no vector is needed."""
        shares, none = self._shares(words_of(core(text))), (0.0, 0.0)
        if all(share < SOME for share, _ in shares.values()):
            return 0, 0.0, 0.0
        cosines = self.cosines(embed(plain))

        def worth(number: int) -> float:
            of_text, of_concept = shares.get(number, none)
            return cosines[number] + SAID * of_text + ALONE * of_concept

        best = max(range(len(cosines)), key=worth)
        return best, cosines[best], shares.get(best, none)[0]

    def _shares(self, words: Sequence[str]) -> dict[int, tuple[float, float]]:
        """By concept, which share of some words (as `words_of` gives them) is its own, and which share of its own these
        are. Of a Chinese character only in a phrase: 火焰 is a flame, and 焰火 fireworks."""
        covered: dict[int, set[object]] = defaultdict(set)
        for place, word in enumerate(words):
            for number in self._by_word.get(word, ()) if word.isascii() else ():
                covered[number].add((place,))
        run = "".join(word for word in words if not word.isascii())
        for start, end in combinations(range(len(run) + 1), 2):
            for number in self._by_word.get(run[start:end], ()) if run.find(run[start:end]) == start else ():
                covered[number].update(range(start, end))

        def size(concept: Concept) -> int:
            return max(1, sum(map(len, concept.chinese_phrases)) if run else len(concept.english_words))

        return {n: (len(places) / len(words), len(places) / size(self.concepts[n])) for n, places in covered.items()}

    @cached_property
    def _by_word(self) -> dict[str, list[int]]:
        """By English word and by phrase with Chinese characters, the concepts that have it; only of groups of which one
        concept is a hint at another."""
        by_word: dict[str, list[int]] = defaultdict(list)
        for number, concept in enumerate(self.concepts):
            for word in (*concept.english_words, *concept.chinese_phrases) if concept.group not in _EXACT else ():
                by_word[word].append(number)
        return by_word

    def _nearest(self, numbers: Sequence[int], text: str, embed: Embed) -> int:
        """Of the concepts of one name the one that a text lies nearest to; most names need no vector."""
        if len(numbers) == 1:
            return numbers[0]
        cosines = self.cosines(embed(text))
        return max(numbers, key=cosines.__getitem__)

    def _find_longest_name(self, text: str) -> str:
        """The longest name that stands in `text`; "" for none."""
        near = [name for name in self._names if name in text]  # an expression of all takes half a second to build
        english, others = (any_of(name for name in near if name.isascii() is ascii) for ascii in (True, False))
        matches = re.finditer(rf"(?<![a-z\d])({english})(?:e?s)?(?![a-z\d])|({others})", text)
        names = [match[1] or match[2] for match in matches]
        return max(reversed(names), key=len, default="")  # of two the last, which is the head: a cat astronaut

    @cached_property
    def _alias_words(self) -> frozenset[str]:
        return frozenset(word for words in self._aliases for word in words if len(word) > LITTLE and word.isascii())


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
            caption = self._phrase(entities[0], language, alone=True) + skin_tone_phrase(text) + background_phrase(text)
            return in_style(caption, named_style(text), language)
        caption, space = normalise(text), "" if language == "zh" else " "
        at = 0
        for entity in new:
            if match := re.compile(rf"(?<![a-z]){re.escape(entity.text.strip())}(?![a-z])").search(caption, at):
                phrase, concept = self._phrase(entity, language), self.concept(entity)
                if entity.expressions and concept.can_join and not concept.is_face:  # though no caption says so
                    phrase = with_expression(entity.expressions[-1], phrase)
                phrase = f"{space}{phrase}{space}"
                caption, at = caption[: match.start()] + phrase + caption[match.end() :], match.start() + len(phrase)
        return restore_plurals(re.sub(r" (?=[,.;])", "", " ".join(caption.split())), text)

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
        phrase = self._phrase(entity, language, alone=True, single=True) + skin_tone_phrase(entity.beside)
        return in_style(phrase, named_style(prompt), language)

    def _phrase(self, entity: Entity, language: Language, alone: bool = False, single: bool = False) -> str:
        concept = self.concept(entity)
        called = concept.names.get(language) or concept.names["en"]
        name = entity.name if entity.name in concept.all_names else called[0]
        # A woman doctor is a woman health worker.
        name = next((one for one in called if entity.gender and gender_in(one) == entity.gender), name)
        colours = colours_in(entity.beside, language)
        for colour_in_name in colours_in(name, language)[: len(colours)]:  # "a blue apple" is no red one
            name = name.replace(colour_words((colour_in_name,), language), "", 1).strip()
        colour = colour_words(colours, language) if colours else ""
        count = 1 if single else entity.count
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
        (entity,) = entities
        is_person = self.concept(entity).group == PEOPLE
        wears = is_person and pattern("worn_colour").search(with_known_colours(prompt.lower()))
        paint = tones[0] if tones else "" if wears else paint_in(entity.beside, language_of(prompt))
        return Target(entity.concept, paint, gender_in(pattern("company").split(prompt)[0]))

    def single_entity(self, text: str) -> Entity | None:
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
        for number, concept in enumerate(self.linker.concepts):
            if matches := faces.intersection(name.lower() for name in concept.english_names):
                name = matches.pop() if language_of(animal.text) == "en" else concept.names.get("zh", (animal.name,))[0]
                return Entity(animal.text.replace(animal.name, name, 1), number, name)
        return animal


def in_style(text: str, style: str, language: str = "en") -> str:
    """The text in a style, as captions say it; the text itself for none."""
    return styled(text, style, language == "zh") if style else text
