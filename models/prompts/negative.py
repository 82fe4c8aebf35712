"""What a negative prompt takes from a prompt before anything is drawn.

Guidance alone leads away from it too late: until half of the noise a picture keeps to its reference drawing, and of
several things each is drawn from its own prompt, which the others' names say nothing to.
"""

from collections.abc import Sequence
from dataclasses import replace

from models.lexicon import LEXICONS
from models.prompts.attributes import colours_in
from models.prompts.entities import PEOPLE, Concept
from models.prompts.parsed import Layout, ParsedPrompt


def without(prompt: ParsedPrompt, negative: ParsedPrompt, concepts: Sequence[Concept]) -> ParsedPrompt:
    """The prompt without the things that the negative prompt names, unless nothing would be left; and where it asks
    for no colour, with the colours that its reference drawing is not to have. Those of people are told by their skin
    and hair: they stay."""
    layout, target = prompt.layout, prompt.target
    if layout is not None:
        named = {one.concept for one in negative.entities} | _drawn(negative)
        drawn = list(zip(layout.prompts, layout.boxes, strict=True))
        kept = [(one, box) for one, box in drawn if not _drawn(one) & named] or drawn
        prompts, boxes = tuple(without(one, negative, concepts) for one, _ in kept), tuple(box for _, box in kept)
        alone = len(prompts) == 1 < len(drawn) and not layout.background
        return prompts[0] if alone else replace(prompt, layout=Layout(prompts, boxes, layout.background))
    if target is None or target.paint or concepts[target.concept].group == PEOPLE:
        return prompt
    colours = (colour for language in LEXICONS for colour in colours_in(negative.text.lower(), language))
    return replace(prompt, target=replace(target, unwanted=tuple(dict.fromkeys(colours))))


def _drawn(prompt: ParsedPrompt) -> set[int]:
    """Concepts that are drawn for a prompt: for "dog" its face."""
    drawings = (prompt, *(prompt.layout.prompts if prompt.layout else ()))
    return {drawing.target.concept for drawing in drawings if drawing.target}
