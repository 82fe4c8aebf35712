"""Laws of suggestions: they stay with what a prompt names, whatever the kind. By the shipped names and backbone."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from bags import known, no_far_names  # noqa: F401 - a fixture
from conftest import Said

from models.data.grammar import language_of
from models.prompts.suggest import NEAR, Suggester
from models.prompts.vocabulary import Vocabulary
from models.prompts.writing import same

PROMPTS = ("a smiling cat", "two dogs and a tree, noto style", "戴墨镜的企鹅", "紫色章鱼，红色背景")


@pytest.fixture(scope="module")
def suggester() -> Suggester:
    parser = known("shipped")
    return Suggester(parser, Vocabulary.load(parser.embedder))


@pytest.mark.parametrize("prompt", PROMPTS)
def test_they_stay_on_the_subject(suggester: Suggester, prompt: str) -> None:
    parser, found = suggester.parser, suggester.suggest(prompt)
    assert found == suggester.suggest(prompt), "the same text, the same suggestions"
    kinds = Counter(one.kind for one in found)
    assert kinds["complete"] and kinds["translate"] == 1 and max(kinds.values()) <= 3
    asked = parser.parse(prompt)
    things = Counter(one.concept for one in asked.entities)
    for one in found:
        read = parser.parse(one.text)
        assert one.text != prompt and things <= Counter(entity.concept for entity in read.entities), one
        assert one.score >= NEAR[one.kind], one
        assert one.kind != "complete" or one.text.startswith(prompt)
        assert one.kind not in ("rewrite", "translate") or same(asked, read), one
        assert (language_of(one.text) == language_of(prompt)) is (one.kind != "translate")


def test_a_word_is_completed_and_a_thing_follows_what_wants_one(suggester: Suggester) -> None:
    said = {
        text: [one.text for one in suggester.suggest(text, ["complete"])] for text in ("a drag", "a cat wearing a ")
    }
    assert "a dragon" in said["a drag"] and all(text.startswith("a drag") for text in said["a drag"])
    for text in said["a cat wearing a "]:
        worn = suggester.parser.parse(text).entities[1:]
        assert worn and suggester.parser.concept(worn[0]).worn_at, text


def test_translations_are_those_a_person_would_expect(suggester: Suggester) -> None:
    told = {
        "a cat to the left of a dog": "猫在狗的左边",
        "a dinosaur eating pizza": "恐龙吃着披萨",
        "an angry teapot": "生气的茶壶",
        "two blue cars on a yellow background": "两辆蓝色的汽车，黄色背景",
        "月亮在云朵上面": "a moon above a cloud",
        "吃披萨的青蛙": "a frog eating a pizza",
    }
    found = {text: [one.text for one in suggester.suggest(text, ["translate"])] for text in told}
    assert found == {text: [expected] for text, expected in told.items()}


def test_an_unknown_word_gets_only_what_is_near(suggester: Suggester) -> None:
    (first, *_) = suggester.suggest("a cat on bedding", ["nearest"])
    assert (first.text, first.lost) == ("a cat on bed", ("bedding",))
    assert suggester.suggest("a mermaid on a rock", ["nearest"]) == [], "what is nearest is too far to be honest"


def test_what_is_read_word_for_word_or_asks_for_less_is_left_alone(suggester: Suggester) -> None:
    assert suggester.suggest('"a cat"') == suggester.suggest("a (cat:1.2)") == []
    kinds = {one.kind for one in suggester.suggest("a cat without a hat")}
    assert not kinds & {"enrich", "rewrite", "translate"}
    assert len(suggester.suggest("a cat " * 400)) <= 15, "a long text is cut"


def test_every_door_has_them(studio: Callable[..., Said], house: Any) -> None:
    said = studio("suggest", "a cat", "--model", "fake", "--kind", "enrich", "--count", 2, "--json")
    texts = ["a cat, noto style", "a cat, black glyph style"]
    assert said.code == 0 and [row["text"] for row in said.json] == texts
    assert [one.text for one in house.suggest("a cat", kinds=["enrich"], count=2, model="fake")] == texts
    for words, why in (("", "empty"), ("a" * 100_000, "100,000 characters")):
        refused = studio("suggest", words, "--model", "fake")
        assert refused.code == 2 and why in refused.err and refused.err.count("\n") == 1
