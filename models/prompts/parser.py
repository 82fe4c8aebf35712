"""The parser: `PromptParser.parse` reads a prompt once, and everything below takes the `ParsedPrompt` that it makes."""

import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch

from models.data.colours import colour_words
from models.data.grammar import language_of
from models.lexicon import LEXICONS, expressions, pattern, table, word_set
from models.prompts.attributes import colours_in, without_skin_tone
from models.prompts.composites import blend
from models.prompts.coverage import left_out
from models.prompts.emoji import spelled
from models.prompts.entities import Concept
from models.prompts.layout import SUM, background_of, plan
from models.prompts.linker import EntityLinker
from models.prompts.normalise import (
    JOINTS,
    background_phrase,
    core,
    find_lettering,
    named_style,
    simplified,
    with_known_colours,
    without_transparency,
)
from models.prompts.parsed import Layout, ParsedPrompt
from models.prompts.rephrase import REMEMBERED, Rephraser, is_free
from models.prompts.weighting import segments
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
        found = None if drawing.blend else plan(prompt, self)
        layout = Layout(tuple(map(self._drawing, found.captions)), found.places, found.background) if found else None
        description = (found.description if found else "") or drawing.description
        if lettering := find_lettering(prompt):
            drawn = self.parse(without_transparency(lettering.rest))
            description = drawn.description + lettering.said.removesuffix("的")
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
