"""The parser: `PromptParser.parse` reads a prompt once, and everything below takes the `ParsedPrompt` that it returns.

`beside` takes from a parsed prompt what a negative prompt names, before anything is drawn, and leaves the rest to
guidance. Guidance alone acts too late: until half of the noise a picture keeps to its reference drawing, and each of
several things is drawn from its own prompt. Guidance away from what is not drawn anyway costs shape (`LOG.md`).
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch

from models.data.colours import colour_words
from models.data.grammar import language_of
from models.lexicon import LEXICONS, expressions, pattern, table, word_set
from models.prompts.layout import SUM, background_of, blend, plan
from models.prompts.linker import REMEMBERED, EntityLinker, Rephraser, in_style, is_free
from models.prompts.normalise import (
    JOINTS,
    background_phrase,
    colours_in,
    core,
    find_lettering,
    named_style,
    simplified,
    spelled,
    with_expression,
    with_known_colours,
    without_skin_tone,
    without_transparency,
)
from models.prompts.parsed import PEOPLE, Clause, Concept, Layout, ParsedPrompt
from models.prompts.vocabulary import left_out
from models.prompts.weighting import Segment, segments
from models.space import Embedder
from models.weights import load_table, of_split, save_table

PART = "wording"


class PromptParser(Rephraser):
    """Parses prompts; see `Rephraser` for the arguments."""

    def __init__(self, embedder: Embedder, linker: EntityLinker, common: dict[str, frozenset[str]]) -> None:
        super().__init__(embedder, linker, common)
        self.parse = lru_cache(REMEMBERED)(self._parse)
        self._drawing = lru_cache(REMEMBERED)(self._parse_drawing)

    def _parse(self, prompt: str) -> ParsedPrompt:
        """What a prompt asks for, and how it is drawn. Refused where a weight is out of range."""
        prompt = self._swatches(spelled(prompt)[0])
        drawing = self._drawing(prompt)
        if drawing.literal:
            return drawing
        laid = None if drawing.blend else plan(prompt, self)
        layout = Layout(tuple(map(self._drawing, laid.captions)), laid.places, laid.background) if laid else None
        description = (laid.description if laid else "") or drawing.description
        if lettering := find_lettering(prompt):
            drawn = self.parse(without_transparency(lettering.rest))
            description = drawn.description + lettering.phrase.removesuffix("的")
        entities = self.entities(without_skin_tone(prompt))
        parsed = replace(
            drawing,
            description=description,
            background=background_of(prompt),
            lettering=lettering.words if lettering else "",
            entities=tuple(entities),
            layout=layout,
        )
        return replace(parsed, left_out=left_out(parsed, self.shown(parsed), self.linker.called))

    def _swatches(self, prompt: str) -> str:
        """A prompt of colours alone as what is drawn of each, a disc where there is one: "red" is a red circle."""
        language, known = language_of(prompt), pattern("background").sub("", with_known_colours(prompt.lower()))
        if not is_free(prompt) or re.search(r"\w", JOINTS.sub(" ", core(known))):
            return prompt
        for colour in colours_in(known, language):
            word, space = colour_words((colour,), language), "" if language == "zh" else " "
            swatches = [f"{word}{space}{shape}" for shape in LEXICONS[language].rows["words"]["swatches"].split("|")]
            known = known.replace(word, next(filter(self.linker.called, swatches), word), 1)
        return known

    def shown(self, parsed: ParsedPrompt) -> list[Concept]:
        """The concepts that are drawn of it."""
        targets = [one.target.concept for one in (parsed.layout.prompts if parsed.layout else ()) if one.target]
        blended = [entity.concept for _, one in parsed.blend for entity in self.entities(one.text)]
        numbers = [*(one.concept for one in parsed.entities), *targets, *blended]
        return [self.linker.concepts[number] for number in dict.fromkeys(numbers)]

    def _parse_drawing(self, text: str) -> ParsedPrompt:
        """The same of a prompt that one drawing is made of, or one blend."""
        simple, free = simplified(text), is_free(text)
        asks_for_more = background_phrase(simple) or pattern("negation").search(simple) or find_lettering(text)
        shares = blend(simple, self) or () if free and not asks_for_more else ()
        return ParsedPrompt(
            text,
            encoded := self.encoded(text),
            tuple(segments(encoded)),
            SUM.join(caption for _, caption in shares) or encoded,
            literal=not free,
            style=named_style(text),
            target=self.target(text),
            blend=tuple((share, self._drawing(caption)) for share, caption in shares),
        )

    def is_understood(self, word: str) -> bool:
        """Whether a word of a prompt means something though no caption holds it: spaceship, kawaii, spacesuit."""
        phrases_of = (*expressions(), *table("costumes"), *word_set("mix"))
        return word in {one for phrase in phrases_of for one in phrase.split()} or self.linker.is_alias(word)

    def save(self, root: Path, space: str = "", split: str = "") -> Path:
        """Write the part and enter it in the manifest; `space` is the digest of the parts it is of, `split` that of its
        pictures."""
        known = [
            {"names": one.names, "keywords": one.keywords, "group": one.group, "thing": one.is_object}
            for one in self.linker.concepts
        ]
        common = {group: sorted(words) for group, words in self.common.items()}
        vectors = self.linker.vectors.to(torch.float16)
        listed = {"space": space, "known": known, "common": common}
        return save_table(of_split(PART, split), root, {"places": vectors}, listed)

    @classmethod
    def load(cls, embedder: Embedder, root: Path | None = None, split: str = "") -> "PromptParser":
        """What ships, or lies under `root`; WeightsError where it is missing or altered."""
        tensors, listed = load_table(of_split(PART, split), root)
        concepts = []
        for row in listed["known"]:
            names = {language: tuple(of_language) for language, of_language in row["names"].items()}
            concepts.append(Concept(names, tuple(row["keywords"]), row["group"], row["thing"]))
        common = {group: frozenset(words) for group, words in listed["common"].items()}
        return cls(embedder, EntityLinker(concepts, tensors["places"].float()), common)


def parse_literally(prompt: str) -> ParsedPrompt:
    """A prompt read word for word: what to keep away from, and what is drawn by a pipeline without a parser."""
    return ParsedPrompt(prompt, prompt, tuple(segments(prompt)), prompt, literal=True, style=named_style(prompt))


_BETWEEN = " ,;，；。、"
_NEXT = re.compile(rf"(?=[{_BETWEEN.strip()}])")


def beside(prompt: ParsedPrompt, negative: str, parser: PromptParser | None) -> ParsedPrompt:
    """The prompt as it is drawn beside a negative prompt; without a parser, guidance alone hears that."""
    runs = segments(negative)
    if parser is None:
        return replace(prompt, away=(Clause(tuple(runs)),))
    clause_runs: list[list[Segment]] = [[]]
    for run in runs:
        first, *others = _NEXT.split(run.text)
        clause_runs[-1].append(Segment(first, run.weight))
        clause_runs += [[Segment(text, run.weight)] for text in others]
    clauses = tuple(_read(tuple(one), parser, bool(prompt.layout)) for one in clause_runs)
    return _without(prompt, clauses, parser.linker.concepts)


def in_paint(prompt: ParsedPrompt, paint: str) -> ParsedPrompt:
    """The prompt of a drawing whose reference has a paint ("" for none): where that covers an unwanted colour, with the
    paint's in its words, and with no such colour to lead away from."""
    if not (paint and prompt.target and prompt.target.unwanted):
        return prompt
    language = language_of(prompt.encoded)
    unwanted = "|".join(colour_words((one,), language) for one in prompt.target.unwanted)
    plain = re.sub(rf"\b(?:{unwanted})\b *", "", prompt.encoded)  # a red apple, but an orange is one in any colour
    painted = with_expression(colour_words((paint,), language), plain if core(plain) else prompt.encoded)
    away = tuple(clause for clause in prompt.away if not clause.colours)
    return replace(prompt, encoded=painted, segments=tuple(segments(painted)), away=away)


def led_away(prompt: ParsedPrompt) -> ParsedPrompt:
    """What guidance leads away from: what of a negative prompt is not done yet."""
    runs = [run for clause in prompt.away for run in clause.segments]
    runs[:1] = [replace(first, text=first.text.lstrip(_BETWEEN)) for first in runs[:1]]
    return ParsedPrompt("", "", tuple(runs))


def _read(clause: tuple[Segment, ...], parser: PromptParser, several: bool) -> Clause:
    """A clause as it is understood beside `several` things or one. One that names a thing or the background says
    nothing of the colours of others; where it has none, to look for things in it would take time for nothing."""
    text = "".join(run.text for run in clause).strip(_BETWEEN).lower()
    colours = tuple(one for language in LEXICONS for one in colours_in(text, language))
    entities = parser.entities(text) if several or colours else []
    named = frozenset(one.concept for entity in entities for one in (entity, parser.close_up(entity)))
    return Clause(clause, named, () if named or background_phrase(text) else colours)


def _without(prompt: ParsedPrompt, negative: tuple[Clause, ...], concepts: Sequence[Concept]) -> ParsedPrompt:
    """The prompt without the things that the negative prompt names, unless nothing would be left; and where it asks
    for no colour, with the colours that its reference drawing is not to have. Those of people are told by their skin
    and hair: they stay."""
    layout, target = prompt.layout, prompt.target
    if layout is None:
        if target is not None and not target.paint and concepts[target.concept].group != PEOPLE:
            colours = dict.fromkeys(colour for clause in negative for colour in clause.colours)
            target = replace(target, unwanted=tuple(colours))
        return replace(prompt, target=target, away=negative)
    named, drawn = _named(negative), list(zip(layout.prompts, layout.boxes, strict=True))
    remaining = [(one, box) for one, box in drawn if not _drawn(one) & named] or drawn
    gone = named & _drawn(prompt) if len(remaining) < len(drawn) else set()
    left = tuple(clause for clause in negative if not clause.concepts & gone)
    prompts, boxes = tuple(_without(one, left, concepts) for one, _ in remaining), tuple(box for _, box in remaining)
    prompt = _without_entities(prompt, _named(set(negative) - set(left)))
    alone = len(prompts) == 1 < len(drawn) and not layout.background
    laid = replace(prompt, layout=Layout(prompts, boxes, layout.background), away=negative)
    return replace(prompts[0], entities=prompt.entities) if alone else laid


def _without_entities(prompt: ParsedPrompt, gone: set[int]) -> ParsedPrompt:
    """The prompt with what is said of it when some of its concepts are gone."""
    if not gone:
        return prompt
    entities = tuple(entity for entity in prompt.entities if entity.concept not in gone)
    text = SUM.join(entity.text.strip() for entity in entities) + background_phrase(prompt.text)
    description = in_style(text, prompt.style, language_of(prompt.text))
    return replace(prompt, entities=entities, description=description)


def _named(clauses: Collection[Clause]) -> set[int]:
    return {concept for clause in clauses for concept in clause.concepts}


def _drawn(prompt: ParsedPrompt) -> set[int]:
    """Concepts that are drawn for a prompt: for "dog" its face."""
    drawings = (prompt, *(prompt.layout.prompts if prompt.layout else ()))
    return {drawing.target.concept for drawing in drawings if drawing.target}
