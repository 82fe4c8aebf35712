"""A space in which texts lie as near as they share words, and parsers in it that know a few concepts each."""

import functools
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from fixture_world import fixture_world
from torch import Tensor

from models.pipelines.sticker import StickerPipeline
from models.prompts.build import build_parser
from models.prompts.linker import ALIASES, EntityLinker
from models.prompts.normalise import words_of
from models.prompts.parsed import Concept, ParsedPrompt
from models.prompts.parser import PromptParser
from models.references.build import build_references
from models.space import Embedder

ROWS = [json.loads(line) for line in (Path(__file__).parent / "prompts.jsonl").read_text(encoding="utf-8").splitlines()]
COMMON = {"food-drink": frozenset({"isolated"}), "people-body": frozenset({"dark", "skin"})}


def bag(text: str) -> Tensor:
    """The place of a text, (128,)."""
    total = torch.zeros(128)
    for word in words_of(text):
        total += torch.randn(128, generator=torch.Generator().manual_seed(zlib.crc32(word.encode())))
    return torch.nn.functional.normalize(total, dim=-1)


class BagOfWords:
    """Stands for the embedder."""

    def text(self, texts: Sequence[str]) -> Tensor:
        return torch.stack([bag(text) for text in texts])


def parser_of_concepts(concepts: Sequence[Concept], aliases: Mapping[str, Sequence[str]] = ALIASES) -> PromptParser:
    """A parser that knows these concepts."""
    names = [name for one in concepts for of_language in one.names.values() for name in of_language]
    embedder: Any = BagOfWords()
    return PromptParser(embedder, EntityLinker(concepts, embedder.text(names), aliases), COMMON)


@pytest.fixture(name="near", autouse=True)
def no_far_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bag of words knows nothing of burgers and hamburgers: no name is too far."""
    monkeypatch.setattr("models.prompts.linker.FAR", -1.0)


@pytest.fixture(name="pipe", scope="module")
def knowing_pipe(pipe: StickerPipeline) -> StickerPipeline:
    """It reads what a prompt says, and knows drawings."""
    pipe.parser, pipe.references = build_parser(BagOfWords(), fixture_world()), build_references(fixture_world())  # type: ignore[arg-type]
    return pipe


def concept(en: str, zh: str = "", group: str = "objects", keywords: str = "", is_object: bool = True) -> Concept:
    """A concept; names and keywords are separated by "|"."""
    names = {language: tuple(said.split("|")) for language, said in (("en", en), ("zh", zh)) if said}
    return Concept(names, tuple(filter(None, keywords.split("|"))), group, is_object)


FOOD, ANIMAL, FACE, PERSON = "food-drink", "animals-nature", "smileys-emotion", "people-body"
FEW = (
    concept("hamburger", "汉堡", FOOD, "burger|food"),
    concept("hot beverage", "热饮", FOOD, "coffee|tea|咖啡"),
    concept("cheese wedge", "芝士", FOOD, "cheese"),
    concept("red apple", "红苹果", FOOD, "apple|fruit"),
    concept("cat", "猫", ANIMAL, "pet|animal"),
    concept("dog", "狗", ANIMAL, "pet|puppy"),
    concept("sleeping face", "睡着了", FACE, "sleep|zzz|sleepy"),
    concept("person with white cane|woman with white cane", "", PERSON, "blind", False),
    concept("astronaut", "", PERSON, "rocket", False),
    concept("flag: Cuba", "", "flags", "flag", False),
)
RELATIONS = (
    *FEW,
    concept("crown", "皇冠"),
    concept("sunglasses", "墨镜"),
    concept("two hearts", "", FACE),
    concept("ice", "", FOOD),
    concept("heart", "", FACE),
    concept("desert", "沙漠", "travel-places"),
)
CONCEPTS = {
    "few": FEW,
    "aliases": FEW,
    "relations": RELATIONS,
    "faces": (
        *RELATIONS,
        concept("cat face", "猫脸", ANIMAL),
        *(concept(name, "", ANIMAL) for name in ("mouse", "mouse face", "horse", "horse face")),
        concept("crown face"),
    ),
    "composites": (
        concept("avocado", "牛油果", FOOD, "fruit"),
        concept("teapot", "茶壶", FOOD, "tea"),
        concept("robot", "", FACE),
        concept("detective", "侦探", PERSON, is_object=False),
        concept("dog", "狗", ANIMAL),
        concept("cat", "", ANIMAL),
        concept("crying cat", "", FACE),
        concept("grinning cat|smiling cat face", "", FACE, "smiling|happy"),
        concept("smiling face", "", FACE, "happy"),
        concept("drooling face", "", FACE),
        concept("parrot", "", ANIMAL, "bird|pirate"),
        concept("flying saucer", "", "travel-places", "UFO"),
        concept("family", "", PERSON, is_object=False),
        concept("birthday cake", "", FOOD),
    ),
    "costumes": (
        concept("detective", "侦探", PERSON, is_object=False),
        concept("astronaut", "宇航员", PERSON, is_object=False),
        concept("person", "人", PERSON, is_object=False),
        concept("cat", "猫", ANIMAL),
        concept("cat face", "猫脸", ANIMAL),
        concept("bear", "熊", ANIMAL),
        concept("avocado", "牛油果", FOOD, "fruit"),
    ),
    "flags": (
        concept("flag of Japan", "日本旗", "flags", is_object=False),
        concept("flag of Canada", "加拿大旗", "flags", is_object=False),
        concept("triangular flag", "三角旗", "flags", "post", False),
        concept("white flag", "白旗", "flags", "waving", False),
        concept("panda", "熊猫", ANIMAL, "animal"),
        concept("turkey", "火鸡", ANIMAL, "animal"),
        concept("flag of Türkiye", "土耳其旗", "flags", is_object=False),
        concept("person swimming", "游泳", PERSON, "swim", False),
        concept("health worker", "卫生工作者", PERSON, "care", False),
        concept("index pointing up", "食指向上指", PERSON, is_object=False),
    ),
    "prints": (
        concept("envelope", "信封"),
        concept("t-shirt", "T恤"),
        concept("laptop", "笔记本电脑"),
        concept("wrench", "扳手"),
        concept("red heart", "红心", FACE),
        concept("cat", "猫", ANIMAL),
        concept("crown", "皇冠"),
        concept("castle", "城堡", "travel-places"),
        concept("triangular flag", "三角旗", "flags", is_object=False),
        concept("balloon", "气球", "activities"),
        concept("speech balloon", "话泡泡", FACE),
    ),
    "letters": (
        concept("cat", "猫", ANIMAL),
        concept("angry face", "生气", FACE),
        concept("speech balloon", "话泡泡", FACE),
        concept("t-shirt", "t恤"),
        concept("crown", "皇冠"),
        concept("closed book", "书", keywords="book"),
    ),
}
OTHER_ALIASES: dict[str, dict[str, tuple[str, ...]]] = {
    "few": {},
    "aliases": {
        "cheese wedge": ("cheese", "cheese cake", "奶酪"),
        "dog": ("hound", "cat dog", "cat"),
        "red apple": ("apple",),
        "cat": ("white cane",),
        "sleeping face": ("tired face with cat",),
    },
}


def parser_of(world: str) -> PromptParser:
    """A parser that knows the concepts of one of CONCEPTS."""
    return parser_of_concepts(CONCEPTS[world], OTHER_ALIASES.get(world, ALIASES))


@functools.cache
def known(world: str) -> PromptParser:
    """The parser of a world: of the parts that ship, of the drawn world, or of one of CONCEPTS."""
    if world == "drawn":
        return build_parser(BagOfWords(), fixture_world())  # type: ignore[arg-type]
    return PromptParser.load(Embedder.load()) if world == "shipped" else parser_of(world)


def drawings(parsed: ParsedPrompt) -> list[str] | None:
    return [one.text for one in parsed.layout.prompts] if parsed.layout else None
