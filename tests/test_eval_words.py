"""Words and their nearest concepts, with an embedder that knows some of them."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from fixture_world import fixture_world
from prompt_kit import BagOfWords, parser_of_concepts

from eval.context import Context
from eval.generator import Parts
from eval.metrics import space as module
from eval.metrics.space import chinese_words, concept_shares, english_words, word_rows
from eval.rows import MissingError, Sizes
from models.assets import assets
from models.data.text import caption_words
from models.data.world import World
from models.prompts.build import build_parser
from models.prompts.parsed import Concept
from models.train.documents import is_held_out

CATS = [
    "tabby", "moggy", "tigress", "ocelot", "margay", "civet", "serval", "puma", "tomcat", "mouser", "wildcat", "lynx",
]  # fmt: skip


@pytest.fixture(scope="module")
def world() -> World:
    return fixture_world()


@pytest.fixture
def context(world: World, tmp_path: Path) -> Context:
    """Over a dictionary in which every cat is below "cat"."""
    below = "".join(
        f"0000{i + 1000} 05 n 01 {cat} 0 001 @ 00000200 n 0000 | a kind of cat\n" for i, cat in enumerate(CATS)
    )
    pointers = " ".join(f"~ 0000{i + 1000} n 0000" for i in range(len(CATS)))
    cat = f"00000200 05 n 01 cat 0 {len(CATS):03d} {pointers} | feline mammal\n"
    (tmp_path / "data.noun").write_text(cat + below)
    (tmp_path / "index.noun").write_text("cat n 1 1 ~ 1 1 00000200\n")
    return Context(world, Sizes(8, 4, 6, 6, 3, 2, words=2), Parts(), wordnet=tmp_path, quiet=True)


class Knowing:
    """Concept names get a direction each, `known` words that of "cat", all others the opposite of everything."""

    def __init__(self, world: World, known: Sequence[str]) -> None:
        names = sorted({picture.names["en"] for picture in world.pictures})
        self.rows = {name: torch.eye(128)[i] for i, name in enumerate(names)}
        self.rows |= dict.fromkeys(known, self.rows["cat"])

    def text(self, texts: Sequence[str]) -> torch.Tensor:
        far = torch.eye(128)[100] - self.rows["cat"]  # the cat is the very last of the concepts
        return torch.stack([self.rows.get(text, far) for text in texts])


def test_drawn_words_are_in_no_caption_and_mean_their_concept(context: Context) -> None:
    words = english_words(context, 8)
    assert set(words) <= set(CATS) and set(words.values()) == {frozenset({"cat"})}
    assert not set(words) & caption_words(context.world)
    assert list(english_words(context, 3)) == list(words)[:3]  # a longer draw goes on from a shorter one


def test_a_known_word_is_right_and_a_strange_one_wrong(context: Context) -> None:
    context.parts.embedder = Knowing(context.world, ["tabby"])  # type: ignore[misc, assignment]
    cat = frozenset({"cat"})
    assert concept_shares(context, {"tabby": cat, "moggy": cat}) == {"tabby": 1, "moggy": 0}


def test_equal_scores_give_chance(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    context.parts.embedder = Knowing(context.world, [])  # type: ignore[misc, assignment]
    monkeypatch.setattr(context.parts.embedder, "text", lambda texts: torch.ones(len(texts), 128))
    concepts = len({picture.concept for picture in context.world.split("train")})
    assert concept_shares(context, {"tabby": frozenset({"cat"})})["tabby"] == pytest.approx(10 / concepts)


def test_rows_tell_words_apart_by_what_training_saw(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_held_out", lambda word: word in CATS[::2])
    context.parts.embedder = Knowing(context.world, CATS[::2])  # type: ignore[misc, assignment]
    rows = {row.name: row for row in word_rows(context)}
    assert rows["of 10, seen in glosses and phrases at most"].value == 1
    assert rows["of 10, taught by the dictionary"].value == 0
    assert rows["2 WordNet words in no caption"].goal == 0.7


class Says:
    """A vocabulary that calls the given prompts module."""

    def __init__(self, *unknown: str) -> None:
        self.prompts = unknown

    def unknown(self, prompt: str) -> list[str]:
        return [prompt] if prompt in self.prompts else []


def test_hits_and_false_alarms(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_for_calibration", lambda word: False)
    monkeypatch.setattr(module, "outside_words", lambda nouns, world: ["granite", "basalt"])
    inside = module.unknown_prompts(context)["false alarms: inside words called unknown"]
    assert len(inside) == 2 and set(inside) <= set(CATS)
    context.parts.vocabulary = Says("granite", inside[0])  # type: ignore[misc, assignment]
    rows = {row.name: row for row in module.unknown_rows(context)}
    assert rows[module.OUTSIDE].value == 0.5 and rows[module.OUTSIDE].note == "wrong: basalt"
    assert rows["false alarms: inside words called unknown"].note == f"wrong: {inside[0]}"
    assert rows["false alarms: Chinese captions"].value == 0


def test_the_words_that_chose_the_threshold_are_left_out(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_for_calibration", lambda word: word in CATS[:6])
    context.sizes = Sizes(8, 4, 6, 6, 3, 2, words=100)
    assert set(module.unknown_prompts(context)["false alarms: inside words called unknown"]) == set(CATS[6:])


def test_without_a_dictionary_or_with_too_small_a_one_a_sentence(context: Context, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="100 were asked for"):
        english_words(context, 100)
    context.wordnet = tmp_path / "nowhere"
    with pytest.raises(MissingError, match="no WordNet"):
        english_words(context, 2)


def test_the_chinese_list_is_fifty_words(world: World) -> None:
    listed = json.loads((assets() / "prompts" / "words_zh.json").read_text(encoding="utf-8"))
    assert len(listed) == 50 and all(listed.values())
    assert set(chinese_words(world).values()) <= {frozenset({p.concept}) for p in world.split("train")}


@pytest.mark.world
def test_the_real_words_are_in_no_caption() -> None:
    """English words by construction, the Chinese list as a whole: no name and no keyword holds one of its words."""
    try:
        world = World.load()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    english = english_words(Context(world, Sizes(8, 4, 6, 6, 3, 2), Parts(), quiet=True), 200)
    assert len(english) == 200 and not set(english) & caption_words(world)
    assert any(is_held_out(word) for word in english)
    listed = json.loads((assets() / "prompts" / "words_zh.json").read_text(encoding="utf-8"))
    concepts = {picture.concept for picture in world.split("train")}
    assert all(set(right) <= concepts for right in listed.values())
    said = {t for p in world.split("train") for t in (p.names.get("zh", ""), *p.keywords.get("zh", ()))}
    assert not [word for word in listed if any(word in text for text in said)]


def test_what_is_read_is_compared_with_what_was_drawn(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = build_parser(BagOfWords(), context.world)  # type: ignore[arg-type]
    context.parts.parser = parser  # type: ignore[misc]
    rows = {row.name: row for row in module.reading_rows(context)}
    assert all(0 <= row.value <= 1 and row.parts == module.READ["parts"] for row in rows.values()) and len(rows) == 5
    assert rows["captions read as they are"].value > 0.5
    found = module._all_named(parser, ["a cat and a fish", "a cat", "a cat"], [{"fish", "cat"}, {"cat"}, {"fish"}])
    assert found == [True, True, False]
    monkeypatch.setattr(parser, "encoded", lambda text: "a cat")
    assert not any(row.value for row in module.reading_rows(context) if "as they are" in row.name)


# --- Reading ----------------------------------------------------------------------------------------------------------


KNOWN = (
    Concept({"en": ("teacher", "woman teacher"), "zh": ("老师",)}, (), "people-body", False),
    Concept({"en": ("cat",), "zh": ("猫",)}, (), "animals-nature", True),
    Concept({"en": ("dog",), "zh": ("狗",)}, (), "animals-nature", True),
)


def test_a_thing_is_found_by_any_of_its_names_and_by_no_other() -> None:
    told = ["a cat", "a cat and a dog", "a woman teacher", "a cat", "a cat and a dog", "a cat"]
    things = [{"cat"}, {"dog", "cat"}, {"woman teacher"}, {"dog"}, {"cat"}, {"dog", "cat"}]
    assert module._all_named(parser_of_concepts(KNOWN), told, things) == [True, True, True, False, False, False]


def test_the_nearest_thing_has_all_of_its_names() -> None:
    assert module._nearest(parser_of_concepts(KNOWN), "a woman teacher") == {"teacher", "woman teacher"}
    assert module._nearest(parser_of_concepts(KNOWN), "cat") == {"cat"}
