"""A space in which texts lie as near as they share words, and parsers in it that know a few concepts each."""

import functools
import re
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fixture_world import fixture_world
from torch import Tensor

from models.data.grammar import plural
from models.data.world import World
from models.pipelines.sticker import StickerPipeline
from models.prompts.parsed import Concept, ParsedPrompt
from models.prompts.parser import PromptParser, load_concepts
from models.prompts.words import FILE, Word, WordTable
from models.references.build import build_references
from models.train.vocabulary import build_parser, save


def bag(text: str) -> Tensor:
    """The place of a text, (128,)."""
    total = torch.zeros(128)
    for word in re.findall(r"[a-z]+|[\u3400-\u9fff]", text.lower()):
        total += torch.randn(128, generator=torch.Generator().manual_seed(zlib.crc32(word.encode())))
    return torch.nn.functional.normalize(total, dim=-1)


class BagOfWords:
    """Stands for the embedder."""

    def text(self, texts: Sequence[str]) -> Tensor:
        return torch.stack([bag(text) for text in texts])


def table_of(concepts: Sequence[Concept], rows: Iterable[Word] = ()) -> WordTable:
    """A table that knows the names of these concepts, English ones in the plural too, their keywords, and `rows`."""
    words = {(row.language, row.text): row for row in rows}
    for concept in concepts:
        for language, names in concept.names.items():
            for name in map(str.lower, names):
                row = Word(name, language, "n", name, "", concept.english_names[:1], 1.0, "cldr", 4.0)
                words.setdefault((language, name), row)
                if language == "en":
                    words.setdefault((language, plural(name)), replace(row, text=plural(name), form="s"))
    for word in (word for concept in concepts for word in concept.keywords):
        language = "en" if word.isascii() else "zh"
        words.setdefault((language, word), Word(word, language, "n", word, frequency=4.0))
    folder = Path(tempfile.mkdtemp())
    return WordTable(save(words.values(), folder) / FILE)


def parser_of(concepts: Sequence[Concept], rows: Iterable[Word] = (), table: WordTable | None = None) -> PromptParser:
    """A parser that knows these concepts."""
    names = [name for one in concepts for of_language in one.names.values() for name in of_language]
    embedder: Any = BagOfWords()
    return PromptParser(embedder, concepts, embedder.text(names), table or table_of(concepts, rows))


def concept(en: str, zh: str = "", group: str = "objects") -> Concept:
    """A concept; names are separated by "|"."""
    return Concept({language: tuple(said.split("|")) for language, said in (("en", en), ("zh", zh)) if said}, (), group)


FOOD, ANIMAL, FACE, PERSON = "food-drink", "animals-nature", "smileys-emotion", "people-body"
FEW = (
    concept("cat", "猫", ANIMAL),
    concept("dog", "狗", ANIMAL),
    concept("hamburger", "汉堡", FOOD),
    concept("red apple", "红苹果", FOOD),
    concept("astronaut", "宇航员", PERSON),
    concept("crown", "皇冠"),
    concept("sunglasses", "墨镜"),
    concept("desert", "沙漠", "travel-places"),
    concept("wrench", "扳手"),
    concept("red heart", "红心", FACE),
    concept("t-shirt", "T恤"),
    concept("speech balloon", "话泡泡", FACE),
)
BURGER = Word("burger", "en", "n", "burger", "", ("hamburger",), 0.95, "label", 4.0)
VERBS = [Word(f"{base}ing", "en", "v", base, "ing", frequency=4.0) for base in ("danc", "wear", "hold")]


@functools.cache
def few() -> PromptParser:
    """A parser of FEW, which knows the words "burger", "dancing", "wearing" and "holding", too."""
    return parser_of(FEW, (BURGER, *VERBS))


@functools.cache
def shipped() -> PromptParser:
    """A parser of the concepts and the table that ship."""
    return parser_of(load_concepts(), table=WordTable.load())


def world_parser(world: World) -> PromptParser:
    """A parser of the concepts of a world's training pictures, and of their names alone."""
    return parser_of(build_parser(BagOfWords(), world).concepts)  # type: ignore[arg-type]


@functools.cache
def drawn_world() -> PromptParser:
    return world_parser(fixture_world())


@pytest.fixture(name="pipe", scope="module")
def knowing_pipe(pipe: StickerPipeline) -> StickerPipeline:
    """It reads what a prompt says, and knows drawings."""
    pipe.parser, pipe.references = drawn_world(), build_references(fixture_world())
    return pipe


def drawings(parsed: ParsedPrompt) -> list[str] | None:
    return [one.text for one in parsed.layout.prompts] if parsed.layout else None
