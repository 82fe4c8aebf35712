"""Scenes: the things that a tokenised prompt names, what it says of each, and how they stand to each other.

One pass over the tokens. What is said before a noun (number, colour, mood, size) modifies it; what follows it without
another noun modifies it, too: "a red cat", "a cat is happy". Of nouns in a row the last that can be drawn is the head,
as in "coffee cup". A relation joins the thing before it to the next one; in Chinese, where who does something may come
last (戴墨镜的企鹅), to the one behind 的. Every content word ends as drawn or as left out.
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
_SCOPE = 4  # tokens before the noun that a mood is said of
GROUP = -1  # as the subject of a relation: all things that stand side by side


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

    def concept_of(self, token: Token | None, least: float = DRAWN) -> int | None:
        """The number of what a token names with a score of at least `least`; None where that is nothing that can be
        drawn."""
        if token is None or token.word is None or token.word.score < least:
            return None
        return next((self.number_of[name] for name in token.word.concepts if name in self.number_of), None)

    def read(self, tokens: Sequence[Token]) -> Scene:
        """The scene that the tokens describe."""
        return _Pass(self, tokens).scene


class _Pass:
    """One pass over the tokens of a prompt. A method `_on_CLASS(row, value)` reads a word of a closed class; False says
    that the word is not used in that class here."""

    # Words of these classes are nouns where they can be: "a smile", "glass".
    NOUNS_FIRST = ("transparent", "article", "skip", "cute", "relation")

    def __init__(self, reader: SceneReader, tokens: Sequence[Token]) -> None:
        self.reader, self.tokens, self.scene = reader, tokens, Scene()
        self.modifiers: dict[str, Any] = {}  # of the next noun: fields of Entity
        self.modifier_rows: list[int] = []  # the tokens that say it
        self.relation = ""  # between what came before and the next noun
        self.last: int | None = None  # the entity that was named last
        self.before: list[tuple[str, int]] = []  # Chinese: relations and objects whose subject follows 的
        self.joined = self.negated = self.behind_de = False  # whether "and", "no", 的 stands before the next noun
        self.of_background = False  # whether colours are those of the background
        self.in_list = False  # whether a punctuation mark stands behind the last thing
        named = [t for row, t in enumerate(tokens) if self._names_thing(row) and not t.has("part", "measure", "says")]
        self.has_things = any(token.word.origin != "association" for token in named if token.word)
        words = [token for token in tokens if token.language != "stop" and not token.has("article", "colour")]
        # "no", "please": what is nearest is drawn, however sure that is.
        self.is_alone = len(words) == 1 and reader.concept_of(words[0], 0) is not None
        for row, token in enumerate(tokens):
            if token.language == "stop":
                self._end_clause()
                self.joined = self.joined or token.has("and")
            elif self.is_alone and token is words[0]:
                self._noun(row, reader.concept_of(token, 0) or 0)
            elif not any(self._read(row, kind, value) for kind, value in token.uses):
                self._content(row)
        self._end_clause()
        self._end()

    def _read(self, row: int, kind: str, value: str) -> bool:
        handler = getattr(self, f"_on_{kind}", None)
        if handler is None or (kind in self.NOUNS_FIRST and self._is_noun(row)):
            return False
        return handler(row, value) is not False

    # --- Looking around ---

    def _token(self, row: int) -> Token | None:
        return self.tokens[row] if 0 <= row < len(self.tokens) else None

    def _has(self, row: int, *kinds: str) -> bool:
        token = self._token(row)
        return token is not None and token.has(*kinds)

    def _clause(self, row: int) -> list[Token]:
        """The tokens behind `row`, up to a punctuation mark."""
        rest = self.tokens[row + 1 :]
        end = next((i for i, token in enumerate(rest) if token.language == "stop"), len(rest))
        return list(rest[:end])

    def _beyond_colours(self, row: int) -> Token | None:
        """The token behind a list of colours."""
        return next((token for token in self.tokens[row:] if not token.has("colour", "and")), None)

    def _names_thing(self, row: int) -> bool:
        token = self.tokens[row]
        named = token.word is not None and (
            token.word.names_thing or (token.is_drawn and self._has(row - 1, "article"))
        )
        return named and not token.has("article", "skip", "relation")

    def _can_be_head(self, token: Token | None) -> bool:
        if (
            token is None
            or token.language == "stop"
            or token.has("relation", "article", "skip", "and", "of", "side", "not")
        ):
            return False
        return token.word is None or "n" in token.word.pos or self.reader.concept_of(token) is not None

    def _leads(self, row: int) -> bool:
        """Whether a noun follows that an adjective may be said of."""
        following = self._token(row + 1)
        return self.reader.concept_of(following) is not None and self._can_be_head(following)

    def _is_noun(self, row: int) -> bool:
        """Whether a word that is of a closed class too names a thing here."""
        token = self.tokens[row]
        if self.reader.concept_of(token) is None or token.word is None or "n" not in token.word.pos:
            return False
        return not token.has("relation", "article", "skip", "and", "of") and not self._can_be_head(self._token(row + 1))

    def _is_verb(self, row: int) -> bool:
        """Whether a word that is a noun too is a verb here, by agreement: "a clock ticks", "two kittens play"."""
        token, word = self.tokens[row], self.tokens[row].word
        if word is None or "v" not in word.pos or self._has(row - 1, "article"):
            return False
        if token.language == "zh":
            return word.pos[0] == "v"
        if word.form in ("ing", "ed"):
            return word.base != word.text
        if self.last is None or self.modifier_rows or self.joined or self.relation:
            return False
        subject = self.scene.entities[self.last]
        if token.start - subject.end > 1:  # "my puppy is a star"
            return word.pos[0] == "v"
        return word.form == ("" if subject.is_plural else "s") if "n" in word.pos else True

    def _is_adjective(self, row: int) -> bool:
        """Whether a word is said of the next noun: broken, dancing."""
        word = self.tokens[row].word
        if word is not None and word.language == "zh":
            de = next((at for at in range(row + 1, row + _SCOPE) if self._has(at, "de")), None)
            return word.pos[:1] in "var" and de is not None and self.reader.concept_of(self._token(de + 1)) is not None
        return word is not None and (word.pos[:1] in "ar" or word.form in ("ing", "ed")) and self._leads(row)

    # --- What is said of things ---

    def _modify(self, row: int, **values: Any) -> None:
        """Note what a token says of the next noun; sequences add up."""
        for name, value in values.items():
            self.modifiers[name] = self.modifiers.get(name, ()) + value if isinstance(value, tuple) else value
        self.modifier_rows.append(row)

    def _settle(self, state: State, *rows: int) -> dict[str, Any]:
        """What was noted and the tokens `rows` are drawn or left out. Returns what was noted."""
        self.scene.states.update(dict.fromkeys((*self.modifier_rows, *rows), state))
        modifiers, self.modifiers, self.modifier_rows = self.modifiers, {}, []
        return modifiers

    def _change(self, number: int, **values: Any) -> None:
        """Say something of an entity; sequences add up."""
        entity = self.scene.entities[number]
        merged = {k: getattr(entity, k) + v if isinstance(v, tuple) else v for k, v in values.items()}
        self.scene.entities[number] = replace(entity, **merged)

    def _on_skip(self, row: int, value: str) -> None: ...

    _on_transparent = _on_article = _on_skip

    def _on_not(self, row: int, value: str) -> bool:
        self.negated = not self._is_noun(row) or any(map(self._can_be_head, self._clause(row)))
        return self.negated

    def _on_background(self, row: int, value: str) -> None:
        self.scene.background = tuple(self.modifiers.get("colours", self.scene.background)[:2])
        self._settle("drawn" if self.scene.background else "left_out", row)
        self.relation, self.of_background = "", not self.scene.background  # "a gradient from red to blue"

    def _on_style(self, row: int, value: str) -> None:
        self.relation = "" if self.relation == "in" else self.relation

    def _on_colour(self, row: int, value: str) -> bool:
        if self.negated:
            self.scene.states[row] = "left_out"
            return True
        if self.of_background:
            self.scene.background = (*self.scene.background, value)[:2]
            self._settle("drawn", row, *(at for at in range(row) if self.tokens[at].has("background")))
            return True
        token, following = self.tokens[row], self._token(row + 1)
        if self.reader.concept_of(token, NAMED) is not None and not (self.is_alone or self._has(row - 1, "colour")):
            # Of an orange, a rose, gold: the thing is meant, and no colour of the next noun, or of the background.
            alone = not (self._can_be_head(following) or self._has(row + 1, "background", "and", "part", "colour"))
            if alone and (self._has(row - 1, "article") or len(self.tokens) == 1 or token.text.endswith("s")):
                return False
        if (
            self.relation == "in"
            and self._has(row - 1, "relation")
            and not self._can_be_head(self._beyond_colours(row))
        ):
            self.relation = ""  # "a cat in grey and white"
        self._modify(row, colours=(value,))
        return True

    def _on_stuff(self, row: int, value: str) -> bool:
        """Made of it: in its colour."""
        if self.relation == "of" and self.last is not None:
            self._change(self.last, colours=(value,))
            self.scene.states[row] = "drawn"
        elif self.relation == "of" or self._has(row + 1, "made_of"):
            self._modify(row, colours=(value,))
        else:
            return False
        self.relation = ""
        return True

    def _on_count(self, row: int, value: str) -> None:
        self._modify(row, count=int(value), is_plural=True)

    def _on_small(self, row: int, value: str) -> None:
        self._modify(row, is_small=True)

    def _on_skin(self, row: int, value: str) -> bool:
        if self.tokens[row].language == "emoji":
            return False
        self._modify(row, skin=value)
        self.relation = "" if self.relation == "with" else self.relation
        return True

    def _on_gender(self, row: int, value: str) -> bool:
        if self.reader.concept_of(self.tokens[row]) is not None:
            return False  # somebody
        self._modify(row, gender=value)
        return True

    def _on_cute(self, row: int, value: str) -> None:
        self.scene.states[row] = "drawn"  # every sticker is

    def _on_part(self, row: int, value: str) -> bool:
        """What is said of the eyes or hair of something is not said of all of it, and not drawn."""
        if self.last is None and not self.before and not (self._has(row + 1, "de") and self._leads(row + 1)):
            return False
        if self.relation not in ("with", "of", "") and self.tokens[row].language == "en":
            return False
        self._settle("left_out", row)
        self.relation, self.negated = "", False
        return True

    def _on_measure(self, row: int, value: str) -> bool:
        return self._has(row + 1, "of")  # a bowl of ramen is ramen

    def _on_of(self, row: int, value: str) -> None:
        self.relation = "of" if self.last is not None and not self._has(row - 1, "measure") else ""

    _on_made_of = _on_of

    def _on_and(self, row: int, value: str) -> None:
        if self.last is not None and self._has(row - 1, "part"):
            self.relation = "with"  # a beard and glasses
        else:
            self.joined = True

    def _on_de(self, row: int, value: str) -> None:
        self.behind_de = True

    def _on_state(self, row: int, face: str) -> bool:
        """A mood: of the noun that follows, else of the thing before, else its face alone."""
        if self.last is None and self._is_noun(row):
            return False
        near = self.tokens[row + 1 : row + _SCOPE]
        noun = next(
            (i for i, t in enumerate(near) if self._can_be_head(t) and self.reader.concept_of(t) is not None), None
        )
        stopped = any(token.language == "stop" or token.has("relation") for token in near[: _SCOPE - 2])
        named = self.reader.concept_of(self.tokens[row])
        named = self.reader.number_of.get(face) if named is None else named
        if self.negated:
            self._settle("left_out", row)
            self.negated = False
        elif (noun is not None and not stopped) or (self.relation == "with" and self._has(row + 1, "face")):
            self._modify(row, faces=(face,))
        elif self.last is not None:
            self._change(self.last, faces=(face,))
            self.scene.states[row] = "drawn"
        elif noun is not None or named is None or self._has(row + 1, "face"):
            self._modify(row, faces=(face,))
        else:
            self._enter(row, self._entity(row, named))
        return True

    def _on_face(self, row: int, value: str) -> bool:
        """ "with a sad face", "with a smile": an expression of the thing before."""
        named = self.reader.number_of.get(self.modifiers.get("faces", ("",))[-1])
        if self.last is None and not self.before and named is not None:  # "a sad face"
            self._enter(row, self._entity(row, named))
            return True
        if self.last is None or not (self.modifiers.get("faces") or self.relation == "with"):
            # 星星表情, 星星的表情: the sticker of it
            return self.last is not None and self.tokens[row].start - self.scene.entities[self.last].end <= 1
        self._change(self.last, faces=self._settle("drawn", row).get("faces", ("smiling face",)))
        self.relation = ""
        return True

    # --- Relations ---

    def _on_relation(self, row: int, relation: str) -> bool:
        token = self.tokens[row]
        if self.last is None and not self.before and token.word and token.word.score >= NAMED and "n" in token.word.pos:
            return False  # a cook
        if self.last is None and self.before and token.language == "en":
            self.last = self.before[-1][1]
        named = (t for t in self._clause(row) if self.reader.concept_of(t) is not None or t.has("part", "face"))
        is_verb = token.word is not None and token.word.pos[:1] == "v"
        if next(named, None) is None and not token.has("side"):
            if is_verb or (token.word is not None and token.word.pos[:1] in ("n", "a")):  # "a cat reads"
                self.scene.states[row] = "left_out"
            return True
        if is_verb:  # chasing is drawn as standing beside
            self.scene.states[row] = "left_out" if relation == "beside" else "drawn"
        if not (token.language == "zh" and self.last is None and self.relation and relation != "at"):
            self.relation = relation
        return True

    def _on_side(self, row: int, side: str) -> None:
        """Where something stands: "on the left" of the picture, or in Chinese of what 在 stands before."""
        relations, relation = self.scene.relations, SIDES.get(side, side)
        if self.last is None and not self.relation:
            self._modify(row, side=side)
        elif self.tokens[row].language == "en":
            if self.last is not None and not self.relation:
                self._change(self.last, side=side)
        elif relations and relations[-1][1:] == ("at", self.last):
            relations[-1] = (relations[-1][0], relation, relations[-1][2])
        elif self.before and self.before[-1][0] == "at":
            self.before[-1] = (relation, self.before[-1][1])
        elif self.last is not None and self._has(row + 1, "de"):  # 月亮上的兔子, 房子左边有一棵树
            self.before.append((relation, self.last))
            self.last = None

    # --- Words of open classes ---

    def _content(self, row: int) -> None:
        """A thing, what somebody does, or what something is like."""
        token, entities = self.tokens[row], self.scene.entities
        concept = self.reader.concept_of(token)
        stands_for = (
            token.word is not None and token.word.origin == "association" and (self.has_things or bool(entities))
        )
        named = self._names_thing(row) or (token.word is not None and token.word.names_thing)
        if self.negated:
            self._settle("left_out", row)
            self.relation, self.negated = "", False
        elif self.in_list and any(self._describes(token, concept, entity.concept) for entity in entities):
            self.scene.states[row] = "drawn"  # "a cat, kitten, pet"
        elif concept is not None and stands_for and self._is_mood(row, concept):
            self._on_state(row, self.reader.concepts[concept].english_names[0])  # lol, a cat
        elif concept is not None and not (stands_for or self._is_verb(row) or self._is_adjective(row)) and named:
            self._noun(row, concept)
        elif concept is not None and self.reader.concepts[concept].is_activity and self._is_anyone(row) and not named:
            if self.last is None:  # a dancing girl
                self._modify(row, concept=concept, is_exact=False)
            else:
                self._change(self.last, concept=concept, is_exact=False)
                self.scene.states[row] = "drawn"
        elif concept is not None and not entities and not any(map(self._names_thing, range(row + 1, len(self.tokens)))):
            self._noun(row, concept)  # all that is said: "dancing"
        else:
            self.scene.states[row] = "left_out" if token.word is not None else "unknown"
            if token.word is not None and token.word.pos[:1] == "n":  # listening to music
                self.relation = ""

    def _describes(self, token: Token, concept: int | None, other: int) -> bool:
        """Whether a word of a list names a thing of it again, or is one of its keywords."""
        return not self.modifier_rows and (concept == other or token.text in self.reader.concepts[other].keywords)

    def _is_mood(self, row: int, concept: int) -> bool:
        """Whether a face stands for a word that is no noun, or that is said of somebody: "lol, a cat"."""
        before = self.scene.entities[self.last].concept if self.last is not None else None
        subject = self.reader.concept_of(self._token(row + 1)) if before is None else before
        word = self.tokens[row].word
        of_somebody = subject is not None and self.reader.concepts[subject].is_somebody
        return self.reader.concepts[concept].is_face and (of_somebody or (word is not None and word.pos[:1] != "n"))

    def _is_anyone(self, row: int) -> bool:
        """Whether what is done is said of a person who is nobody in particular: the one before, else the one that
        follows."""
        if self.last is not None:
            return self.reader.concepts[self.scene.entities[self.last].concept].is_a("anyone")
        following = (self.reader.concept_of(token) for token in self.tokens[row + 1 : row + _SCOPE])
        number = next((number for number in following if number is not None), None)
        return number is not None and self.reader.concepts[number].is_a("anyone")

    def _noun(self, row: int, concept: int) -> None:
        token = self.tokens[row]
        adjacent = self.last is not None and row > 0 and self.tokens[row - 1].end == self.scene.entities[self.last].end
        if adjacent and not (self.modifier_rows or self.joined or token.language == "emoji"):
            self._compound(row, concept)
            return
        first = min((row, *self.modifier_rows))
        modifiers = self._settle("drawn", row)
        if self.reader.concepts[concept].is_a("several"):
            modifiers.pop("count", None)
        self._enter(row, replace(self._entity(row, concept), start=self.tokens[first].start, **modifiers))

    def _entity(self, row: int, concept: int) -> Entity:
        """What a token names, as nothing else is said of it."""
        token, names = self.tokens[row], self.reader.concepts[concept].all_names
        plural = token.word is not None and token.word.form == "s"
        exact = token.text in names or (token.word is not None and plural and token.word.base in names)
        skin = token.use("skin") or ""
        return Entity(
            concept, token.text, token.start, token.end, token.name_language,
            is_plural=plural, is_exact=exact, skin=skin, gender=token.gender,
        )  # fmt: skip

    def _enter(self, row: int, entity: Entity) -> None:
        """Add an entity, and join it to those before it."""
        relations, number = self.scene.relations, len(self.scene.entities)
        self.scene.entities.append(entity)
        self._settle("drawn", row)
        self.scene.drawn_as[row] = entity.concept
        if self.relation and self.last is not None:
            relations.append((self._subject(self.last), self.relation, number))
        elif self.relation:
            self.before.append((self.relation, number))
        elif self.before and self.behind_de:
            relations += [(number, relation, thing) for relation, thing in self.before]
            self.before = []
        elif self.joined and relations and relations[-1][2] == self.last and relations[-1][1] in CARRIED:
            # "a cat with a hat and a scarf"; but "a girl with a balloon and a boy" are two.
            relations += [(*relations[-1][:2], number)] * (not self.reader.concepts[entity.concept].is_somebody)
        self.relation, self.joined, self.behind_de, self.in_list = "", False, False, False
        self.last = None if self.before else number

    def _subject(self, thing: int) -> int:
        """Of what a relation is said: of the thing before it, or of whom that belongs to."""
        owners = {thing: owner for owner, relation, thing in self.scene.relations if relation in CARRIED}
        while owners.get(thing, GROUP) != GROUP:
            thing = owners[thing]
        return thing

    def _compound(self, row: int, concept: int) -> None:
        """A noun right behind another, which is the head of both unless one is somebody's role: "robot cat"."""
        token, concepts = self.tokens[row], self.reader.concepts
        assert self.last is not None and token.word is not None
        entity = self.scene.entities[self.last]
        first, head = concepts[entity.concept], concepts[concept]
        at = next(r for r in range(row, -1, -1) if self.tokens[r].end == entity.end)
        modifier = self.tokens[at].word
        is_head = token.word.score >= NAMED or modifier is None or modifier.score < NAMED  # an ice hockey player
        a_woman_doctor = entity.gender and first.is_a("anyone") and head.group == PEOPLE
        if concept != entity.concept and not a_woman_doctor:
            animal, other = (first, head) if first.group == ANIMALS else (head, first)
            if animal.group == ANIMALS and animal.has_eyes and other.is_a("role", "face_of_its_own"):
                self.scene.blends.append((self.last, concept if animal is first else entity.concept))
                concept, is_head = entity.concept if animal is first else concept, True
            else:
                is_named = entity.name in " ".join((*head.all_names, *head.keywords))
                self.scene.states[at] = "drawn" if is_named or not is_head else "left_out"
                if self.scene.states[at] == "left_out":
                    del self.scene.drawn_as[at]
        self.scene.states[row] = "drawn" if is_head or concept == entity.concept else "left_out"
        if is_head:
            whole = self._entity(row, concept)
            self.scene.entities[self.last] = replace(
                entity, concept=concept, name=whole.name, end=whole.end, gender=whole.gender or entity.gender,
                is_exact=whole.is_exact, is_plural=whole.is_plural or entity.count > 1,
            )  # fmt: skip
            self.scene.drawn_as[row] = concept

    # --- Ends ---

    def _end_clause(self) -> None:
        self.of_background, self.in_list = False, self.last is not None
        if self.modifier_rows and self.last is not None and not self.relation:  # "a house, red"
            self._change(self.last, **self._settle("drawn"))

    def _end(self) -> None:
        scene = self.scene
        self._settle("left_out")
        if self.before and len(scene.entities) > 1:
            scene.relations += [(GROUP, relation, thing) for relation, thing in self.before]
        # A relation of the last of several that stand side by side is one of all: "a cat and a dog in a box".
        objects = {thing for _, _, thing in scene.relations}
        roots = [number for number in range(len(scene.entities)) if number not in objects]
        if len(roots) > 1:
            scene.relations = [
                (GROUP, relation, thing)
                if subject == roots[-1] and relation not in CARRIED
                else (subject, relation, thing)
                for subject, relation, thing in scene.relations
            ]
