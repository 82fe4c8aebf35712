"""The parser: `PromptParser.parse` reads a prompt once, and everything below takes the `ParsedPrompt` that it returns.

Each thing is drawn from a caption in the generator's words: its name, colour, skin tone and style. A thing with an
expression is blended with that face, or, if it has no face, gets the face's eyes and mouth.

`beside` takes from a parsed prompt what a negative prompt names, before anything is drawn, and leaves the rest to
guidance. Guidance alone acts too late: until half of the noise a picture keeps to its reference drawing, and each of
several things is drawn from its own prompt. Guidance away from what is not drawn anyway costs shape (`LOG.md`).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import Tensor

from models.data.colours import COLOURS, colour_words
from models.data.grammar import (
    NUMBERS,
    SKIN_EN,
    SKIN_ZH,
    STYLES,
    Finish,
    Language,
    article,
    language_of,
    plural,
    style_of,
    styled,
)
from models.prompts.layout import BACKDROP, BALLOON, COSTUME, FEATURES, SPEAKER, WHOLE, arrange, scaled, within
from models.prompts.parsed import (
    ANIMALS,
    PEOPLE,
    Box,
    Clause,
    Concept,
    Entity,
    Layout,
    ParsedPrompt,
    Part,
    Reading,
    Target,
)
from models.prompts.scene import Scene, SceneReader
from models.prompts.tokens import Token, tokenise
from models.prompts.weighting import MOST, QUOTED, Segment, plain, segments
from models.prompts.words import WordTable
from models.space import Embedder
from models.weights import load_table, of_split, save_table

PART = "wording"
REMEMBERED = 1024  # prompts
LONGEST_LETTERING = 40  # characters that are legible in a picture
FACE_SHARE = 0.4  # of a blend with an expression: with more a robot is an emoji, with less a car has none
FEATURES_STYLE = "fluent flat"  # whose eyes and mouths are plainest: dark, large, on one colour
SUM = " + "  # between two things that are one
OFFERED = 3  # prompts in the place of one that names nothing
MEANINGLESS = ("zxcv", "qwrt", "N/A", "か")  # words that mean nothing to the space
NEAR = 0.35  # likeness beyond that of MEANINGLESS from which a concept is near: nonsense stays below it
_STYLE_WORDS = [
    (len(word), name, re.compile(rf"(?<![a-z\d]){re.escape(word)}(?![a-z\d])", re.IGNORECASE))
    for name, style in STYLES.items()
    for word in style.en + style.zh
]
_WRITTEN = re.compile(
    r"""\s*[:：]?\s*(?:["“「『']([^"”」』']+)["”」』']"""
    r"""|([^,，。"“”的]+?)(?= (?:in|on) [^,]*(?:style|background)|[,，。"“”的]|$))的?"""
)


def named_style(text: str) -> str:
    """The style that is asked for by the longest of its words; "" for none. A blobfish is in no blob style."""
    return max(((length, name) for length, name, word in _STYLE_WORDS if word.search(text)), default=(0, ""))[1]


def in_style(text: str, style: str, language: Language = "en") -> str:
    """The text in a style, as captions say it; the text itself for none."""
    return styled(text, style, language == "zh") if style else text


def parse_literally(prompt: str) -> ParsedPrompt:
    """A prompt read word for word: what to keep away from, and what is drawn by a pipeline without a parser."""
    return ParsedPrompt(prompt, prompt, tuple(segments(prompt)), prompt, literal=True, style=named_style(prompt))


class PromptParser:
    """Parses prompts.

    Args:
        embedder: the space that the vectors were made in.
        concepts: what can be drawn; their numbers are those of the reference drawings.
        vectors: (M, 128) of all their names, one after the other.
        table: the table of words.
    """

    def __init__(self, embedder: Embedder, concepts: Sequence[Concept], vectors: Tensor, table: WordTable) -> None:
        self.embedder, self.concepts, self.vectors, self.table = embedder, tuple(concepts), vectors, table
        counts = [sum(map(len, concept.names.values())) for concept in concepts]
        self._owners = torch.arange(len(concepts)).repeat_interleave(torch.tensor(counts, dtype=torch.long))
        self._is_drawable = torch.tensor([bool(concept.group) for concept in concepts], dtype=torch.bool)
        self._scenes = SceneReader(concepts)
        self.parse = lru_cache(REMEMBERED)(self._parse)

    # --- Parsing ---

    def _parse(self, prompt: str) -> ParsedPrompt:
        """What a prompt asks for, and how it is drawn. Refused where a weight is out of range."""
        runs = segments(prompt)
        if quoted := QUOTED.fullmatch(prompt):
            return parse_literally(next(text for text in quoted.groups() if text is not None))
        if not self.concepts:
            return parse_literally(prompt)
        text = "".join(run.text for run in runs)
        style = named_style(text)
        if SUM in text:
            return self._sum(prompt, style)
        tokens, lettering = _lettering(text, tokenise(text, self.table))
        each = [run.weight for run in runs for _ in run.text]
        silent = [token for token in tokens if not each[token.start]]  # a weight of 0 takes a word away
        tokens = [token for token in tokens if each[token.start]]
        scene = self._scenes.read(tokens)
        gone = [Part(text[token.start : token.end], token.start, "left_out") for token in silent]
        parts = tuple(sorted([*self._parts(text, tokens, scene), *gone], key=lambda part: part.start))
        drawing = replace(parse_literally(prompt), description=text, background=scene.background)
        if scene.entities:
            drawing = self._drawn(scene, style, lettering, language_of(text))
            weights: dict[int | str, float] = {colour: each[t.start] for t in tokens if (colour := t.use("colour"))}
            for entity in scene.entities:
                weights |= dict.fromkeys((entity.concept, self.face_of(entity).concept), each[entity.end - 1])
            drawing = _weighed(drawing, weights)
            if all(part.state == "drawn" for part in parts) and all(entity.is_exact for entity in scene.entities):
                drawing = replace(drawing, encoded=prompt, segments=tuple(runs), description=prompt)
        return replace(
            drawing,
            text=prompt,
            entities=tuple(scene.entities),
            relations=tuple(scene.relations),
            parts=parts,
            lettering=lettering,
        )

    def _drawn(self, scene: Scene, style: str, lettering: str, language: Language) -> ParsedPrompt:
        """How a scene with entities is drawn: as one drawing, or several in boxes."""
        boxes = arrange(scene, self.concepts)
        drawings = [
            drawing
            for number, box in boxes or [(0, WHOLE)]
            for drawing in self._thing(scene, number, box, style, language)
        ]
        if lettering:
            drawings = self._lettered(scene, drawings, lettering, style)
        if len(drawings) == 1 and not boxes and not scene.background and not lettering:
            return drawings[0][0]
        description = self.describe(scene.entities, style, language)
        layout = Layout(tuple(drawing for drawing, _ in drawings), tuple(box for _, box in drawings), scene.background)
        return replace(
            parse_literally(description), literal=False, style=style, background=scene.background, layout=layout
        )

    def _thing(
        self, scene: Scene, number: int, box: Box, style: str, language: Language
    ) -> list[tuple[ParsedPrompt, Box]]:
        """The drawings of an entity: itself, and what is laid on it."""
        entity, concept = scene.entities[number], self.concepts[scene.entities[number].concept]
        other = next((replace(entity, concept=other, name="") for of, other in scene.blends if of == number), None)
        if other and self.concepts[other.concept].is_a("role"):  # an astronaut with a cat's face
            figures = zip((self.face_of(entity), other), COSTUME, strict=True)
            return [(self.drawing(figure, style, language), within(place, box)) for figure, place in figures]
        close_up = box.close_up or other or entity.faces
        drawing = self.drawing(self.face_of(entity) if close_up else entity, style, language)
        has_expression = entity.faces and not concept.is_face and concept.group != PEOPLE
        if not other and not has_expression:
            return [(drawing, box)]
        share, shown = 0.5, other
        if shown is None:
            share, shown = FACE_SHARE, Entity(self._scenes.number_of.get(entity.faces[-1], entity.concept))
            if not concept.has_eyes and not (style and style_of(style).finish is Finish.INK):
                face = self.drawing(shown, FEATURES_STYLE, "en")
                return [(drawing, box), (face, replace(box if box != WHOLE else FEATURES, anchor="face", z=box.z + 1))]
        blend = (share, self.drawing(shown, style, language)), (1 - share, drawing)
        return [(replace(drawing, blend=blend, target=None), box)]

    def _lettered(
        self, scene: Scene, drawings: list[tuple[ParsedPrompt, Box]], words: str, style: str
    ) -> list[tuple[ParsedPrompt, Box]]:
        """With words on the one thing that has room for them, or in a balloon beside who says them."""
        first = self.concepts[scene.entities[0].concept]
        if len(drawings) == 1 and first.is_a("clothes_to_print", "surface", "page"):
            return [(drawings[0][0], replace(WHOLE, lettering=words))]
        balloon = self.drawing(Entity(self._scenes.number_of["speech balloon"]), style, "en")
        moved = [
            (drawing, within(replace(box, close_up=True) if len(drawings) == 1 else box, SPEAKER))
            for drawing, box in drawings
        ]
        return [*moved, (balloon, replace(BALLOON, lettering=words))]

    def _sum(self, text: str, style: str) -> ParsedPrompt:
        """Of "panda + pineapple" the one that has a face in the middle of the other; else the first thing alone."""
        parsed = [self.parse(summand) for summand in text.split(SUM) if summand.strip()]
        entities = [prompt.entities[0] for prompt in parsed if prompt.entities]
        eyed = [entity for entity in entities if self.concepts[entity.concept].has_eyes]
        others = [entity for entity in entities if entity not in eyed]
        description = SUM.join(prompt.description for prompt in parsed)
        whole = replace(parse_literally(text), description=description, literal=False, entities=tuple(entities))
        if len(parsed) != 2 or len(eyed) != 1 or len(others) != 1:
            return whole
        drawn = self.drawing(others[0], style, "en"), self.drawing(self.face_of(eyed[0]), style, "en")
        return replace(whole, layout=Layout(drawn, (BACKDROP, replace(BACKDROP, z=1, anchor="middle"))))

    def drawing(self, entity: Entity, style: str, language: Language) -> ParsedPrompt:
        """The prompt of a drawing of one entity, whatever its number."""
        caption = in_style(self.phrase(replace(entity, count=1), language), style, language)
        paint = entity.paint
        if paint in COLOURS and (not COLOURS[paint].paint or self.concepts[entity.concept].group == PEOPLE):
            paint = ""
        target = Target(entity.concept, paint, entity.gender)
        return ParsedPrompt(caption, caption, tuple(segments(caption)), caption, style=style, target=target)

    def phrase(self, entity: Entity, language: Language) -> str:
        """What captions call an entity, with its colour, number and skin tone."""
        concept = self.concepts[entity.concept]
        called = concept.names.get(language) or concept.english_names
        name = entity.name if entity.name in concept.all_names else called[0]
        name = next((other for other in called if entity.gender and entity.gender in other.split()), name)
        for colour in entity.colours:  # "a blue apple" is no red one
            for word in (colour_words((other,), language) for other in COLOURS if other != colour):
                name = re.sub(rf"(?<![a-z]){word}(?![a-z])", "", name).strip() or name
        colour = colour_words(entity.colours, language) if entity.colours else ""
        if language == "zh":
            number = f"{NUMBERS['zh'][entity.count]}个" if entity.count > 1 else ""
            skin = f"，{SKIN_ZH[entity.skin]}" if entity.skin else ""
            return number + (f"{colour}的{name}" if colour else name) + skin
        noun, skin = f"{colour} {name}".strip(), f", {SKIN_EN[0].format(entity.skin)}" if entity.skin else ""
        if entity.count > 1:
            return f"{NUMBERS['en'][entity.count]} {plural(noun)}{skin}"
        return (article(noun) if colour else noun) + skin

    def face_of(self, entity: Entity) -> Entity:
        """Of an animal its face, where that is a concept and drawn from the front; else the entity."""
        concept = self.concepts[entity.concept]
        if concept.group != ANIMALS or concept.is_a("from_the_side"):
            return entity
        number = self._scenes.number_of.get(f"{concept.english_names[0]} face")
        return entity if number is None else replace(entity, concept=number, name="")

    def describe(self, entities: Sequence[Entity], style: str, language: Language) -> str:
        """What is drawn, in words."""
        phrases = [self.phrase(entity, language) for entity in entities]
        return in_style(("，" if language == "zh" else ", ").join(phrases), style, language)

    # --- What becomes of each word ---

    def _parts(self, text: str, tokens: Sequence[Token], scene: Scene) -> list[Part]:
        parts = []
        for row, state in sorted(scene.states.items()):
            token, number = tokens[row], scene.drawn_as.get(row)
            numbers = self._scenes.concepts_of(token)
            if state != "drawn" and not numbers:
                numbers = self._near(token.text)
            near = dict.fromkeys(self._name(other, token.name_language) for other in numbers)
            drawn_as = "" if number is None else self._name(number, token.name_language)
            nearest = tuple(name for name in near if name not in ("", drawn_as))
            typed = text[token.start : token.end]
            parts.append(Part(typed, token.start, state, drawn_as, nearest, token.text if token.typed else ""))
        return parts

    def _name(self, number: int, language: Language) -> str:
        names = self.concepts[number].names
        return (names.get(language) or names.get("en") or ("",))[0]

    def nearest(self, text: str, count: int) -> list[int]:
        """The concepts whose names lie nearest to a text in the space."""
        return self._likeness(text).argsort(descending=True)[:count].tolist()

    def _likeness(self, text: str) -> Tensor:
        """The greatest cosine between a text and the names of each concept, (concepts,); -1 of icons outside Unicode,
        which are not drawn."""
        cosines = (self.vectors @ self.embedder.text([text])[0]).where(self._is_drawable[self._owners], -1.0)
        return torch.full((len(self.concepts),), -1.0).scatter_reduce(0, self._owners, cosines, "amax")

    @cached_property
    def _hubs(self) -> Tensor:
        """The likeness of each concept to words that mean nothing, (concepts,): a few lie near to all of them, as in
        every such space (contextual calibration, arXiv 2102.09690)."""
        return torch.stack([self._likeness(word) for word in MEANINGLESS]).mean(0)

    def _near(self, text: str) -> list[int]:
        """The concepts that a word means more or less; [] where none is near, or it is in neither language."""
        if not re.search(r"[a-z\u3400-\u9fff]", text.lower()):
            return []
        likeness = self._likeness(text) - self._hubs
        return [n for n in likeness.argsort(descending=True)[:OFFERED].tolist() if likeness[n] >= NEAR]

    def read(self, text: str, negative: str = "") -> Reading:
        """What becomes of each word of a prompt beside a negative one. Refused where a weight is out of range."""
        parsed = self.parse(text)
        drawn = {(entity.start, entity.concept) for entity in beside(parsed, negative, self).entities}
        gone = [entity for entity in parsed.entities if (entity.start, entity.concept) not in drawn]
        parts = tuple(
            replace(part, state="left_out", drawn_as="")
            if any(entity.start <= part.start < entity.end for entity in gone)
            else part
            for part in parsed.parts
        )
        return Reading(text, parts, self.instead(text))

    def instead(self, text: str) -> tuple[str, ...]:
        """Prompts to take in the place of one that names nothing that can be drawn: the things nearest in meaning to
        its words, then the most used; () of a prompt that names something, or is read word for word."""
        parsed = self.parse(text)
        if not self.concepts or parsed.entities or parsed.lettering or QUOTED.fullmatch(text):
            return ()
        language, number_of = language_of(text), self._scenes.number_of
        near = [name for part in parsed.parts for name in part.nearest]
        used = [number_of[name] for name in self.table.most_used() if name in number_of]
        used = used or self.nearest(plain(text), OFFERED)
        things = [self._name(number, language) for number in used if not self.concepts[number].is_somebody]
        names = [name for name in dict.fromkeys([*near, *things]) if name][:OFFERED]
        return tuple(map(article, names) if language == "en" else names)

    # --- Files ---

    def save(self, root: Path, space: str = "", split: str = "") -> Path:
        """Write the part and enter it in the manifest; `space` is the digest of the parts it is of, `split` that of its
        pictures."""
        known = [{"names": c.names, "keywords": c.keywords, "group": c.group} for c in self.concepts]
        return save_table(
            of_split(PART, split), root, {"places": self.vectors.to(torch.float16)}, {"space": space, "known": known}
        )

    @classmethod
    def load(cls, embedder: Embedder, root: Path | None = None, split: str = "") -> "PromptParser":
        """What ships, or lies under `root`; WeightsError where it is missing or altered."""
        tensors, _ = load_table(of_split(PART, split), root)
        return cls(embedder, load_concepts(root, split), tensors["places"].float(), WordTable.load(root))


def load_concepts(root: Path | None = None, split: str = "") -> list[Concept]:
    """The concepts that the part lists, in the order of their numbers; WeightsError where it is missing or altered."""
    rows = load_table(of_split(PART, split), root)[1]["known"]
    return [
        Concept(
            {language: tuple(names) for language, names in row["names"].items()}, tuple(row["keywords"]), row["group"]
        )
        for row in rows
    ]


def _weighed(drawing: ParsedPrompt, weights: Mapping[int | str, float]) -> ParsedPrompt:
    """A drawing whose caption has the weights of its concept and its paint; of several each thing's box grows with its
    weight."""
    if all(weight == 1 for weight in weights.values()):
        return drawing
    blend = tuple((share, _weighed(part, weights)) for share, part in drawing.blend)
    layout, target = drawing.layout, drawing.target
    if layout is not None:
        boxes = tuple(
            scaled(box, weights.get(part.target.concept, 1.0) if part.target else 1.0) for part, box in layout.drawings
        )
        layout = replace(layout, prompts=tuple(_weighed(part, weights) for part in layout.prompts), boxes=boxes)
    if target is None:
        return replace(drawing, layout=layout, blend=blend)
    weight, paint = weights.get(target.concept, 1.0), weights.get(target.paint, 1.0)
    colour = colour_words((target.paint,), language_of(drawing.encoded)) if target.paint in COLOURS else ""
    before, _, after = drawing.encoded.partition(colour) if colour else (drawing.encoded, "", "")
    pieces = (Segment(before, weight), Segment(colour, min(weight * paint, MOST)), Segment(after, weight))
    return replace(drawing, layout=layout, blend=blend, segments=tuple(piece for piece in pieces if piece.text))


def _lettering(text: str, tokens: list[Token]) -> tuple[list[Token], str]:
    """The tokens without words that are only to be written ("a sign that says OPEN"), and these words, "" for none."""
    for says in (token for token in tokens if token.has("says")):
        match = _WRITTEN.match(text, says.end)
        following = next((token for token in tokens if token.start >= says.end), None)
        if match and match[2] and following is not None and following.has("relation"):  # "yelling at a cloud"
            continue
        words = (match[1] or match[2]).strip() if match else ""
        rest = [token for token in tokens if token.end <= says.start or (match and token.start >= match.end())]
        if match and 0 < len(words) <= LONGEST_LETTERING and rest:
            return rest, words
    return tokens, ""


_BETWEEN = " ,;，；。、"
_NEXT = re.compile(rf"(?=[{_BETWEEN.strip()}])")


def beside(prompt: ParsedPrompt, negative: str, parser: PromptParser | None) -> ParsedPrompt:
    """The prompt as it is drawn beside a negative prompt: without the things that it names, unless nothing would be
    left. Without a parser, guidance alone hears that."""
    runs = segments(negative)
    if parser is None:
        return replace(prompt, away=(Clause(tuple(runs)),))
    clause_runs: list[list[Segment]] = [[]]
    for run in runs:
        first, *others = _NEXT.split(run.text)
        clause_runs[-1].append(Segment(first, run.weight))
        clause_runs += [[Segment(text, run.weight)] for text in others]
    clauses = tuple(_read_clause(runs, parser) for runs in clause_runs)
    if prompt.layout is None:
        return _uncoloured(prompt, clauses, parser)
    named = _concepts(clauses)
    drawn = [(part, box, part.target.concept if part.target else None) for part, box in prompt.layout.drawings]
    remaining = [row for row in drawn if row[2] not in named] or drawn
    gone = {concept for _, _, concept in drawn} - {concept for _, _, concept in remaining}
    left = tuple(clause for clause in clauses if not clause.concepts & gone)
    done = _concepts(set(clauses) - set(left))
    prompts = tuple(_uncoloured(part, left, parser) for part, _, _ in remaining)
    entities = tuple(entity for entity in prompt.entities if entity.concept not in done)
    if len(prompts) == 1 < len(drawn) and not prompt.layout.background:
        return replace(prompts[0], entities=entities)
    description = parser.describe(entities, prompt.style, language_of(prompt.text)) if done else prompt.description
    layout = Layout(prompts, tuple(box for _, box, _ in remaining), prompt.layout.background)
    return replace(prompt, entities=entities, description=description, layout=layout, away=clauses)


def _read_clause(runs: Sequence[Segment], parser: PromptParser) -> Clause:
    """A clause of a negative prompt. Where it names a thing or the background it says nothing of the colours of
    others."""
    text = "".join(run.text for run in runs).strip(_BETWEEN)
    parsed, tokens = parser.parse(plain(text)), tokenise(text, parser.table)
    concepts = {drawn.concept for entity in parsed.entities for drawn in (entity, parser.face_of(entity))}
    colours = tuple(colour for token in tokens if (colour := token.use("colour")))
    return Clause(tuple(runs), frozenset(concepts), () if concepts or parsed.background else colours)


def _concepts(clauses: Iterable[Clause]) -> frozenset[int]:
    return frozenset().union(*(clause.concepts for clause in clauses))


def _uncoloured(drawing: ParsedPrompt, clauses: tuple[Clause, ...], parser: PromptParser) -> ParsedPrompt:
    """One drawing with the colours that its reference is not to have, where it asks for none. People keep theirs: skin
    and hair."""
    target = drawing.target
    if target is not None and not target.paint and parser.concepts[target.concept].group != PEOPLE:
        colours = dict.fromkeys(colour for clause in clauses for colour in clause.colours)
        target = replace(target, unwanted=tuple(colours))
    return replace(drawing, target=target, away=clauses)


def in_paint(prompt: ParsedPrompt, paint: str) -> ParsedPrompt:
    """The prompt of a drawing whose reference has a paint ("" for none): where that covers an unwanted colour, with the
    paint's in its words, and with no such colour to lead away from."""
    if not (paint and prompt.target and prompt.target.unwanted):
        return prompt
    language = language_of(prompt.encoded)
    unwanted = "|".join(colour_words((colour,), language) for colour in prompt.target.unwanted)
    noun = re.sub(rf"\b(?:an?|{unwanted})\b *|(?:{unwanted})的", "", prompt.encoded) or prompt.encoded  # an orange
    colour = colour_words((paint,), language)
    painted = f"{colour}的{noun}" if language == "zh" else article(f"{colour} {noun}")
    away = tuple(clause for clause in prompt.away if not clause.colours)
    return replace(prompt, encoded=painted, segments=tuple(segments(painted)), away=away)


def led_away(prompt: ParsedPrompt) -> ParsedPrompt:
    """What guidance leads away from: what of a negative prompt is not done yet."""
    runs = [run for clause in prompt.away for run in clause.segments]
    runs[:1] = [replace(first, text=first.text.lstrip(_BETWEEN)) for first in runs[:1]]
    return ParsedPrompt("", "", tuple(runs))
