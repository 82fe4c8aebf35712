"""What a negative prompt takes from a prompt before anything is drawn, and what is left of it for guidance.

Guidance alone leads away from it too late: until half of the noise a picture keeps to its reference drawing, and of
several things each is drawn from its own prompt. Away from what is not drawn anyway, it costs shape (`LOG.md`).
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

from models.data.colours import colour_words
from models.data.grammar import language_of
from models.lexicon import LEXICONS
from models.prompts.attributes import colours_in, with_expression
from models.prompts.entities import PEOPLE, Concept
from models.prompts.layout import SUM
from models.prompts.normalise import background_phrase, core
from models.prompts.parsed import Clause, Layout, ParsedPrompt
from models.prompts.parser import PromptParser
from models.prompts.rephrase import in_style
from models.prompts.weighting import Segment, segments

_BETWEEN = " ,;，；。、"
_NEXT = re.compile(rf"(?=[{_BETWEEN.strip()}])")


def beside(prompt: ParsedPrompt, negative: str, parser: PromptParser | None) -> ParsedPrompt:
    """The prompt as it is drawn beside a negative prompt; without a parser, guidance alone hears that."""
    runs = segments(negative)
    if parser is None:
        return replace(prompt, away=(Clause(tuple(runs)),))
    said: list[list[Segment]] = [[]]
    for run in runs:
        first, *others = _NEXT.split(run.text)
        said[-1].append(Segment(first, run.weight))
        said += [[Segment(text, run.weight)] for text in others]
    clauses = tuple(_read(tuple(one), parser, bool(prompt.layout)) for one in said)
    return _without(prompt, clauses, parser.linker.concepts)


def in_paint(prompt: ParsedPrompt, paint: str) -> ParsedPrompt:
    """The prompt of a drawing whose reference has a paint ("" for none): where that covers an unwanted colour, with the
    paint's in its words, and with no such colour to lead away from."""
    if not (paint and prompt.target and prompt.target.unwanted):
        return prompt
    language = language_of(prompt.encoded)
    own = "|".join(colour_words((one,), language) for one in prompt.target.unwanted)
    plain = re.sub(rf"\b(?:{own})\b *", "", prompt.encoded)  # a red apple, but an orange is one in any colour
    said = with_expression(colour_words((paint,), language), plain if core(plain) else prompt.encoded)
    away = tuple(clause for clause in prompt.away if not clause.colours)
    return replace(prompt, encoded=said, segments=tuple(segments(said)), away=away)


def led_away(prompt: ParsedPrompt) -> ParsedPrompt:
    """What guidance leads away from: what of a negative prompt is not done yet."""
    said = [run for clause in prompt.away for run in clause.said]
    said[:1] = [replace(first, text=first.text.lstrip(_BETWEEN)) for first in said[:1]]
    return ParsedPrompt("", "", tuple(said))


def _read(said: tuple[Segment, ...], parser: PromptParser, several: bool) -> Clause:
    """A clause as it is understood beside `several` things or one. One that names a thing or the background says
    nothing of the colours of others; where it has none, to look for things in it would take time for nothing."""
    text = "".join(run.text for run in said).strip(_BETWEEN).lower()
    colours = tuple(one for language in LEXICONS for one in colours_in(text, language))
    entities = parser.entities(text) if several or colours else []
    named = frozenset(one.concept for entity in entities for one in (entity, parser.close_up(entity)))
    return Clause(said, named, () if named or background_phrase(text) else colours)


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
    kept = [(one, box) for one, box in drawn if not _drawn(one) & named] or drawn
    gone = named & _drawn(prompt) if len(kept) < len(drawn) else set()
    left = tuple(clause for clause in negative if not clause.concepts & gone)
    prompts, boxes = tuple(_without(one, left, concepts) for one, _ in kept), tuple(box for _, box in kept)
    prompt = _said(prompt, _named(set(negative) - set(left)))
    alone = len(prompts) == 1 < len(drawn) and not layout.background
    laid = replace(prompt, layout=Layout(prompts, boxes, layout.background), away=negative)
    return replace(prompts[0], entities=prompt.entities) if alone else laid


def _said(prompt: ParsedPrompt, gone: set[int]) -> ParsedPrompt:
    """The prompt with what is said of it when some of its concepts are gone."""
    if not gone:
        return prompt
    entities = tuple(entity for entity in prompt.entities if entity.concept not in gone)
    said = SUM.join(entity.text.strip() for entity in entities) + background_phrase(prompt.text)
    description = in_style(said, prompt.style, language_of(prompt.text))
    return replace(prompt, entities=entities, description=description)


def _named(clauses: Collection[Clause]) -> set[int]:
    return {concept for clause in clauses for concept in clause.concepts}


def _drawn(prompt: ParsedPrompt) -> set[int]:
    """Concepts that are drawn for a prompt: for "dog" its face."""
    drawings = (prompt, *(prompt.layout.prompts if prompt.layout else ()))
    return {drawing.target.concept for drawing in drawings if drawing.target}
