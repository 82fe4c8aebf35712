"""Scenes: the things that a tokenised prompt names, what it says of each, and how they stand to each other.

One pass over the tokens. What is said (a number, colour, mood, size) waits for the next noun; where an article, a
relation or a punctuation mark comes first, it is said of the thing before: "a red cat", "a cat is happy". Of nouns in a
row the last that can be drawn is the head, as in "coffee cup". A relation joins the thing before it to the next one; in
Chinese, where who does something may come last (戴墨镜的企鹅), to the one behind. Every content word ends as drawn or
as left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from models.prompts.parsed import ANIMALS, PEOPLE, Concept, Entity, State
from models.prompts.tokens import Token
from models.prompts.words import DRAWN, NAMED

# How a thing that is said to be in X's left, and so on, stands to X.
SIDES = {
    "left": "left of",
    "right": "right of",
    "top": "above",
    "bottom": "below",
    "front": "in front of",
    "back": "behind",
}
CARRIED = ("wear", "hold", "hug", "with")  # relations whose object belongs to its subject
GROUP = -1  # as the subject of a relation: all things that stand side by side
_FUNCTION = ("relation", "article", "skip", "and", "of", "not")  # classes of words that are never a noun


@dataclass
class Scene:
    """What `SceneReader.read` returns.

    Attributes:
        entities: the things, in order.
        relations: (subject, relation, object): rows of `entities`, and the name of a relation of the lexicon. The
            subject GROUP is all that stand side by side.
        blends: (entity, concept): what else an entity is, as in "robot cat".
        background: its colours.
        states: by row of a token, what becomes of it; a token without a state says nothing.
        drawn_as: by row of a token, the number of the concept that it is drawn as.
    """

    entities: list[Entity] = field(default_factory=list)
    relations: list[tuple[int, str, int]] = field(default_factory=list)
    blends: list[tuple[int, int]] = field(default_factory=list)
    background: tuple[str, ...] = ()
    states: dict[int, State] = field(default_factory=dict)
    drawn_as: dict[int, int] = field(default_factory=dict)


class SceneReader:
    """Reads scenes of `concepts`, whose numbers `number_of` has by their English names."""

    def __init__(self, concepts: Sequence[Concept]) -> None:
        self.concepts = concepts
        self.number_of = {name: number for number, concept in enumerate(concepts) for name in concept.english_names[:1]}

    def concept_of(self, token: Token, least: float = DRAWN) -> int | None:
        """The number of what a token names with a score of at least `least`; None where that is nothing that can be
        drawn."""
        named = self.concepts_of(token) if token.word is not None and token.word.score >= least else []
        return named[0] if named else None

    def concepts_of(self, token: Token) -> list[int]:
        """The numbers of what a token names, and of the next nearest."""
        names = token.word.concepts if token.word is not None else ()
        return [self.number_of[name] for name in names if name in self.number_of]

    def read(self, tokens: Sequence[Token]) -> Scene:
        """The scene that the tokens describe."""
        return _Pass(self, tokens).scene


class _Pass:
    """One pass over the tokens of a prompt. A method `_on_CLASS(row, value)` reads a word of a closed class; False says
    that the word is not used in that class here."""

    def __init__(self, reader: SceneReader, tokens: Sequence[Token]) -> None:
        self.reader, self.scene = reader, Scene()
        end = tokens[-1].end if tokens else 0
        self.tokens = [*tokens, Token("", end, end, "stop")]  # which stands before the first one, too, at row -1
        self.concepts = [reader.concept_of(token) for token in self.tokens]
        self.modifiers: dict[str, Any] = {}  # fields of an Entity, of the next noun or the thing before
        self.modifier_rows: list[int] = []  # rows of the tokens that say it
        self.activity: tuple[int, int] | None = None  # likewise what a person does: a row and a concept
        self.relation = ""  # between what came before and the next noun
        self.last: int | None = None  # the entity that was named last
        self.before: list[tuple[str, int]] = []  # relations and objects whose subject follows
        self.joined = self.negated = False  # whether "and", "no" stands before the next noun
        self.of_background = False  # whether colours are those of the background
        self.in_list = False  # whether a punctuation mark stands behind the last thing
        self.fallbacks: list[tuple[int, int]] = []  # rows and concepts, drawn where nothing else is
        self.has_things = any(
            token.word.origin != "association" and self._names_thing(row) and not token.has("part", "says", *_FUNCTION)
            for row, token in enumerate(tokens)
            if token.word
        )
        for row, token in enumerate(self.tokens):
            if token.language == "stop":
                self._modify_last()
                self.of_background = self.negated = False
                self.in_list = self.last is not None
            elif token.language == "emoji" or not any(self._read(row, *use) for use in token.uses):
                self._content(row)
        self._end()

    def _read(self, row: int, kind: str, value: str) -> bool:
        handler = getattr(self, f"_on_{kind}", None)
        return handler is not None and handler(row, value) is not False

    # --- Looking around ---

    def _clause(self, row: int) -> range:
        """The rows behind `row`, up to a punctuation mark."""
        return range(row + 1, next(at for at in range(row + 1, len(self.tokens)) if self.tokens[at].language == "stop"))

    def _names_thing(self, row: int) -> bool:
        token = self.tokens[row]
        after_article = token.is_drawn and self.tokens[row - 1].has("article")
        return after_article or (token.word is not None and token.word.names_thing)

    def _can_be_head(self, row: int) -> bool:
        token = self.tokens[row]
        if token.language == "stop" or token.has("side", *_FUNCTION):
            return False
        return token.word is None or "n" in token.word.pos or self.concepts[row] is not None

    def _leads(self, row: int) -> bool:
        """Whether a noun follows."""
        return self.concepts[row + 1] is not None and self._can_be_head(row + 1)

    def _is_noun(self, row: int) -> bool:
        """Whether a word that is of a closed class too names a thing here."""
        word = self.tokens[row].word
        can_be = word is not None and "n" in word.pos and self.concepts[row] is not None
        return can_be and not self._can_be_head(row + 1)

    def _is_verb(self, row: int) -> bool:
        """Whether a word that is a noun too is a verb here, by agreement: "a clock ticks", "two kittens play"."""
        token, word = self.tokens[row], self.tokens[row].word
        if word is None or "v" not in word.pos or self.tokens[row - 1].has("article"):
            return False
        if word.form in ("ing", "ed"):
            return word.base != word.text
        subject = None if self.last is None else self.scene.entities[self.last]
        if subject is None or token.start - subject.end > 1:
            return False
        return word.form == ("" if subject.is_plural else "s")

    def _is_adjective(self, row: int) -> bool:
        """Whether a word is said of the next noun: broken, dancing."""
        word = self.tokens[row].word
        if word is None or word.language == "zh" or not self._leads(row):
            return False
        return word.pos[:1] in "ar" or word.form in ("ing", "ed")

    # --- What is said of things ---

    def _modify(self, row: int, **values: Any) -> None:
        """Note what a token says of a thing; sequences add up. What is denied is left out."""
        if self.negated:
            self.scene.states[row] = "left_out"
            return
        for name, value in values.items():
            self.modifiers[name] = self.modifiers.get(name, ()) + value if isinstance(value, tuple) else value
        self.modifier_rows.append(row)

    def _settle(self, state: State, *rows: int) -> dict[str, Any]:
        """What was said and the tokens `rows` are drawn or left out. Returns what was said."""
        self.scene.states.update(dict.fromkeys((*self.modifier_rows, *rows), state))
        modifiers, self.modifiers, self.modifier_rows = self.modifiers, {}, []
        return modifiers

    def _modified(self, entity: Entity) -> Entity:
        """The entity with what was said of it; sequences add up."""
        kind, modifiers = self.reader.concepts[entity.concept], self._settle("drawn")
        if kind.is_a("several"):
            modifiers.pop("count", None)
        if self.activity is not None:
            self.scene.states[self.activity[0]] = "drawn" if kind.is_a("anyone") else "left_out"
            if kind.is_a("anyone"):  # a dancing girl
                modifiers |= {"concept": self.activity[1], "is_exact": False}
            self.activity = None
        return replace(
            entity, **{k: getattr(entity, k) + v if isinstance(v, tuple) else v for k, v in modifiers.items()}
        )

    def _modify_last(self) -> None:
        """What waits for a noun is said of the thing before: "a cat is happy", "a cat in grey and white"."""
        if self.last is not None and (self.modifier_rows or self.activity):
            self.relation = "" if self.modifier_rows else self.relation
            self.scene.entities[self.last] = self._modified(self.scene.entities[self.last])

    def _on_skip(self, row: int, value: str) -> None: ...

    _on_transparent = _on_style = _on_de = _on_skip

    def _on_article(self, row: int, value: str) -> None:
        self._modify_last()

    def _on_cute(self, row: int, value: str) -> bool:
        if self._is_noun(row):
            return False  # a baby
        self.scene.states[row] = "drawn"  # every sticker is
        return True

    def _on_not(self, row: int, value: str) -> None:
        self.negated = True

    def _on_background(self, row: int, value: str) -> None:
        self.scene.background = tuple(self.modifiers.get("colours", self.scene.background)[:2])
        self._settle("drawn" if self.scene.background else "left_out", row)
        self.of_background = not self.scene.background  # "a gradient from red to blue"

    def _on_colour(self, row: int, value: str) -> bool:
        token, before, following = (self.tokens[at] for at in (row, row - 1, row + 1))
        if self.of_background:
            self.scene.background = (*self.scene.background, value)[:2]
            self._settle("drawn", row, *(at for at in range(row) if self.tokens[at].has("background")))
        elif (
            # Of an orange, a rose, gold: the thing is meant, and no colour of the next noun, or of the background.
            self.reader.concept_of(token, NAMED) is not None
            and not (self._can_be_head(row + 1) or following.has("background", "and", "part", "colour"))
            and (before.has("article") or len(self.tokens) == 2 or token.text.endswith("s"))
        ):
            return False
        else:
            self._modify(row, colours=(value,))
        return True

    def _on_stuff(self, row: int, value: str) -> bool:
        """Made of it: in its colour."""
        if self.relation != "of" and not self.tokens[row + 1].has("made_of"):
            return False
        self._modify(row, colours=(value,))
        self.relation = ""
        return True

    def _on_count(self, row: int, value: str) -> None:
        self._modify(row, count=int(value), is_plural=True)

    def _on_small(self, row: int, value: str) -> None:
        self._modify(row, is_small=True)

    def _on_skin(self, row: int, value: str) -> None:
        self._modify(row, skin=value)

    def _on_gender(self, row: int, value: str) -> bool:
        if self.concepts[row] is not None:
            return False  # somebody
        self._modify(row, gender=value)
        return True

    def _on_state(self, row: int, face: str) -> bool:
        """A mood, which is drawn as its face where nobody is in it."""
        if self.last is None and self._is_noun(row):
            return False
        if self.negated:  # "a cat that is not sad in a box" is in one
            self.scene.states[row], self.negated = "left_out", False
            return True
        self._modify(row, faces=(face,))
        named = self.concepts[row] if self.concepts[row] is not None else self.reader.number_of.get(face)
        self.fallbacks += [] if named is None else [(row, named)]
        return True

    def _on_face(self, row: int, value: str) -> bool:
        """ "with a sad face", "with a smile": an expression of the thing before."""
        has_mood = "faces" in self.modifiers
        if self.last is None and has_mood and self.modifiers["faces"][-1] in self.reader.number_of:  # "a sad face"
            self._enter(row, self.reader.number_of[self.modifiers.pop("faces")[-1]])
            return True
        if not has_mood and (self.relation != "with" or self.last is None):  # 星星表情, 星星的表情: the sticker of it
            return self.last is not None
        self._modify(row, faces=() if has_mood else ("smiling face",))
        self._modify_last()
        return True

    def _on_part(self, row: int, value: str) -> bool:
        """What is said of the eyes or hair of something is not said of all of it, and not drawn."""
        of_next = self.tokens[row + 1].has("de") and self._leads(row + 1)
        if self.last is None and not self.before and not of_next:
            return False
        self._settle("left_out", row)
        self.negated = False
        return True

    def _on_measure(self, row: int, value: str) -> bool:
        return self.tokens[row + 1].has("of")  # a bowl of ramen is ramen

    def _on_of(self, row: int, value: str) -> None:
        self.relation = "of" if self.last is not None and not self.tokens[row - 1].has("measure") else ""

    _on_made_of = _on_of

    def _on_and(self, row: int, value: str) -> None:
        self.joined = True

    # --- Relations ---

    def _on_relation(self, row: int, relation: str) -> bool:
        token, word = self.tokens[row], self.tokens[row].word
        if self.last is None and not self.before and word and word.score >= NAMED and "n" in word.pos:
            return False  # a cook
        if not self.tokens[row + 1].has("colour"):  # "a white to orange gradient"
            self._modify_last()
        if self.last is None and self.before and token.language == "en":
            self.last = self.before[-1][1]
        pos = word.pos[:1] if word else ""
        if all(self.concepts[at] is None for at in self._clause(row)):
            if pos and pos in "vna":  # "a cat reads"
                self.scene.states[row] = "left_out"
            return True
        if pos == "v":  # chasing is drawn as standing beside
            self.scene.states[row] = "left_out" if relation == "beside" else "drawn"
        self.relation = relation
        return True

    def _on_side(self, row: int, side: str) -> None:
        """Where something stands: "on the left" of the picture, or in Chinese of what 在 stands before."""
        relations, relation = self.scene.relations, SIDES.get(side, side)
        if self.tokens[row].language == "en":
            if self.last is None:
                self._modify(row, side=side)
            elif not self.relation:
                self.scene.entities[self.last] = replace(self.scene.entities[self.last], side=side)
        elif relations and relations[-1][1:] == ("at", self.last):
            relations[-1] = (relations[-1][0], relation, relations[-1][2])
        elif self.before and self.before[-1][0] == "at":  # 在盒子里的小狗
            self.before[-1] = (relation, self.before[-1][1])
        elif self.last is not None and self.tokens[row + 1].has("de"):  # 月亮上的兔子, 房子左边有一棵树
            self.before.append((relation, self.last))
            self.last = None
        elif self.last is None and not self.relation:
            self._modify(row, side=side)

    # --- Words of open classes ---

    def _content(self, row: int) -> None:
        """A thing, what somebody does, or what something is like."""
        word, number, entities = self.tokens[row].word, self.concepts[row], self.scene.entities
        concept = None if number is None else self.reader.concepts[number]
        # A party popper is no party where things are named.
        stands_for = word is not None and word.origin == "association" and (self.has_things or bool(entities))
        if self.negated:
            self._settle("left_out", row)
            self.relation, self.negated = "", False
        elif self.in_list and any(self._describes(row, entity.concept) for entity in entities):
            self.scene.states[row] = "drawn"  # "a cat, kitten, pet"
        elif concept is not None and stands_for and concept.is_face and word and word.pos[:1] != "n":
            self._on_state(row, concept.english_names[0])  # lol, a cat
        elif (
            number is not None
            and self._names_thing(row)
            and not (stands_for or self._is_verb(row) or self._is_adjective(row))
        ):
            self._noun(row, number)
        else:
            self.scene.states[row] = "unknown" if word is None else "left_out"
            self.relation = "" if word and word.pos[:1] == "n" else self.relation  # listening to music
            if number is not None and concept is not None:
                self.fallbacks.append((row, number))
                self.activity = (row, number) if concept.is_activity and not self._names_thing(row) else self.activity

    def _describes(self, row: int, other: int) -> bool:
        """Whether a word of a list names a thing of it again, or is one of its keywords."""
        keywords = self.reader.concepts[other].keywords
        return not self.modifier_rows and (self.concepts[row] == other or self.tokens[row].text in keywords)

    def _noun(self, row: int, concept: int) -> None:
        is_adjacent = self.last is not None and self.tokens[row - 1].end == self.scene.entities[self.last].end
        if is_adjacent and not self.modifier_rows and self.tokens[row].language != "emoji":
            self._compound(row, concept)
        else:
            self._enter(row, concept)

    def _entity(self, row: int, concept: int) -> Entity:
        """What a token names, as nothing else is said of it."""
        token, word, names = self.tokens[row], self.tokens[row].word, self.reader.concepts[concept].all_names
        is_exact = not names.isdisjoint((token.text, word.base if word else ""))
        return Entity(
            concept, token.text, token.start, token.end, token.name_language,
            skin=token.use("skin") or "", gender=token.gender,
            is_plural=word is not None and word.form == "s", is_exact=is_exact,
        )  # fmt: skip

    def _enter(self, row: int, concept: int) -> None:
        """Add an entity, and join it to those before it."""
        relations, number = self.scene.relations, len(self.scene.entities)
        first = self.tokens[min((row, *self.modifier_rows))]
        entity = self._modified(replace(self._entity(row, concept), start=first.start))
        self.scene.entities.append(entity)
        self.scene.states[row], self.scene.drawn_as[row] = "drawn", entity.concept
        if self.relation and self.last is not None:
            owner = next((owner for owner, by, thing in relations if thing == self.last and by in CARRIED), GROUP)
            relations.append((self.last if owner == GROUP else owner, self.relation, number))
        elif self.relation:
            self.before.append((self.relation, number))
        elif self.before and self.joined:  # 戴墨镜和帽子的企鹅
            self.before.append((self.before[-1][0], number))
        elif self.before:
            relations += [(number, relation, thing) for relation, thing in self.before]
            self.before = []
        elif self.joined and relations and relations[-1][2] == self.last and relations[-1][1] in CARRIED:
            # "a cat with a hat and a scarf"; but "a girl with a balloon and a boy" are two.
            relations += [(*relations[-1][:2], number)] * (not self.reader.concepts[entity.concept].is_somebody)
        self.relation, self.joined, self.in_list = "", False, False
        self.last = None if self.before else number

    def _compound(self, row: int, concept: int) -> None:
        """A noun right behind another, which is the head of both unless it is less sure, as in "an ice hockey player",
        or that is somebody's role: "robot cat"."""
        token, modifier, scene = self.tokens[row], self.tokens[row - 1].word, self.scene
        assert self.last is not None and token.word is not None
        entity = scene.entities[self.last]
        first, head = (self.reader.concepts[number] for number in (entity.concept, concept))
        numbers = (entity.concept, concept) if first.group == ANIMALS else (concept, entity.concept)
        animal, other = (self.reader.concepts[number] for number in numbers)
        if animal.group == ANIMALS and animal.has_eyes and other.is_a("role", "face_of_its_own"):
            scene.blends.append((self.last, numbers[1]))
            concept = numbers[0]
        elif concept != entity.concept and modifier and token.word.score < NAMED <= modifier.score:
            scene.states[row] = "left_out"
            return
        elif concept != entity.concept and not (entity.gender and head.group == PEOPLE):  # a woman doctor
            scene.states[row - 1] = "left_out"
            scene.drawn_as.pop(row - 1, None)
        whole = self._entity(row, concept)
        scene.entities[self.last] = replace(
            entity, concept=concept, name=whole.name, end=whole.end, gender=whole.gender or entity.gender,
            is_exact=whole.is_exact, is_plural=whole.is_plural or entity.count > 1,
        )  # fmt: skip
        scene.states[row], scene.drawn_as[row] = "drawn", concept

    def _end(self) -> None:
        scene = self.scene
        words = [row for row, t in enumerate(self.tokens) if t.language != "stop" and not t.has("article", "colour")]
        if len(words) == 1:  # "no", "please": what is nearest is drawn, however sure that is
            number = self.reader.concept_of(self.tokens[words[0]], 0)
            self.fallbacks += [] if number is None else [(words[0], number)]
        if self.fallbacks and not scene.entities:
            row, number = max(self.fallbacks, key=lambda pair: getattr(self.tokens[pair[0]].word, "score", 0.0))
            self.modifiers = {name: value for name, value in self.modifiers.items() if name not in ("faces", "count")}
            self._enter(row, number)
        self._settle("left_out")
        # A relation of the last of several that stand side by side is one of all: "a cat and a dog in a box".
        objects = {thing for _, _, thing in scene.relations}
        roots = [number for number in range(len(scene.entities)) if number not in objects]
        scene.relations = [
            (GROUP if len(roots) > 1 and subject == roots[-1] and relation not in CARRIED else subject, relation, thing)
            for subject, relation, thing in scene.relations
        ]
