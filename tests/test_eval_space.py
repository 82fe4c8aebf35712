"""Metrics of the semantic space: words, retrieval, differences from other models."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from eval_kit import SIZES, drawn_context
from fixture_world import fixture_world
from prompt_kit import world_parser

from eval.context import Context
from eval.generator import Parts
from eval.metrics import space as module
from eval.metrics.image import ATTRIBUTES
from eval.metrics.space import (
    Answers,
    chinese_words,
    concept_shares,
    difference_row,
    english_words,
    open_clip_rows,
    retrieval_rows,
    word_rows,
)
from eval.rows import MissingError, Row, Sizes
from models.assets import assets
from models.data.text import caption_words
from models.data.world import World
from models.train.documents import is_held_out


class Constant:
    """The same vector for everything."""

    def text(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.ones(len(texts), 8) / 8**0.5

    def image(self, pictures: np.ndarray) -> torch.Tensor:
        return self.text([""] * len(pictures))


@pytest.fixture
def context(parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """Over the fixture world and a dictionary of ten cats, half of them held out."""
    cats = {f"cat{i}": frozenset({"cat"}) for i in range(10)}
    monkeypatch.setattr("eval.metrics.space.english_words", lambda context, count: cats)
    monkeypatch.setattr("eval.metrics.space.is_held_out", lambda word: int(word[3:]) % 2 == 0)
    monkeypatch.delitem(ATTRIBUTES, "count")  # the drawn world holds out no number
    return drawn_context(parts, tmp_path, sizes=replace(SIZES, gallery=40))


def beside(context: Context, other: Any) -> dict[str, Row]:
    """The rows by question, with `other` as the only model."""
    context.parts.open_clip = {"other": other}  # type: ignore[misc]
    rows = list(open_clip_rows(context))
    assert all(row.name.endswith(": space less other") for row in rows)
    return {row.name.split(":")[0]: row for row in rows}


def test_beside_itself_nothing_differs(context: Context) -> None:
    rows = beside(context, context.parts.embedder)
    assert {(row.value, row.interval) for row in rows.values()} == {(0.0, (0.0, 0.0))}
    assert len([name for name in rows if "R@10" in name]) == 4 + 2 * 2 and len(rows) == 8 + 2 + 3


def test_a_constant_model_gets_chance(context: Context) -> None:
    ours = {row.name: row.value for row in retrieval_rows(context)}
    for question, row in beside(context, Constant()).items():
        share = dict(row.against)
        assert share["other"] == pytest.approx(share["chance"]), question
        assert (
            row.value == pytest.approx(share["space"] - share["other"]) and 0 <= share["chance"] <= share["space"] + 1
        )
        assert row.interval and row.interval[0] <= row.value <= row.interval[1]
        assert share["space"] == pytest.approx(ours.get(question, share["space"])), "the table's own figure"


def test_the_interval_is_that_of_paired_answers() -> None:
    """Two models with equal answers differ by nothing, however few the questions."""
    half = np.arange(40) % 2.0
    same, shifted = Answers(half, 0.1), Answers(np.roll(half, 1), 0.1)
    assert difference_row("q", same, same, "b").interval == (0, 0)
    low, high = difference_row("q", same, shifted, "b").interval or (0, 0)
    assert low < -0.2 and high > 0.2


def test_models_are_called_by_the_last_part_of_their_names(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval.generator.OpenClip.load", lambda name: name)
    assert Parts(parts, ["a/x", "b/x", "hf-hub:c/y"]).open_clip == {"x": "a/x", "b/x": "b/x", "y": "hf-hub:c/y"}


def test_a_model_that_is_not_there_is_missing(parts: Path) -> None:
    with pytest.raises(MissingError, match="give --open-clip"):
        _ = Parts(parts).open_clip
    with pytest.raises(MissingError, match="holds no safetensors"):
        _ = Parts(parts, [f"local-dir:{parts}"]).open_clip


# --- Words ------------------------------------------------------------------------------------------------------------


CATS = [
    "tabby", "moggy", "tigress", "ocelot", "margay", "civet", "serval", "puma", "tomcat", "mouser", "wildcat", "lynx",
]  # fmt: skip


@pytest.fixture(scope="module")
def world() -> World:
    return fixture_world()


@pytest.fixture
def words_context(world: World, tmp_path: Path) -> Context:
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


def test_drawn_words_are_in_no_caption_and_mean_their_concept(words_context: Context) -> None:
    words = english_words(words_context, 8)
    assert set(words) <= set(CATS) and set(words.values()) == {frozenset({"cat"})}
    assert not set(words) & caption_words(words_context.world)
    assert list(english_words(words_context, 3)) == list(words)[:3]  # a longer draw goes on from a shorter one


def test_concept_shares_of_known_and_unknown_words(words_context: Context) -> None:
    words_context.parts.embedder = Knowing(words_context.world, ["tabby"])  # type: ignore[misc, assignment]
    cat = frozenset({"cat"})
    assert concept_shares(words_context, {"tabby": cat, "moggy": cat}) == {"tabby": 1, "moggy": 0}


def test_equal_scores_give_chance(words_context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    words_context.parts.embedder = Knowing(words_context.world, [])  # type: ignore[misc, assignment]
    monkeypatch.setattr(words_context.parts.embedder, "text", lambda texts: torch.ones(len(texts), 128))
    concepts = len({picture.concept for picture in words_context.world.split("train")})
    assert concept_shares(words_context, {"tabby": frozenset({"cat"})})["tabby"] == pytest.approx(10 / concepts)


def test_rows_tell_words_apart_by_what_training_saw(words_context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_held_out", lambda word: word in CATS[::2])
    words_context.parts.embedder = Knowing(words_context.world, CATS[::2])  # type: ignore[misc, assignment]
    rows = {row.name: row for row in word_rows(words_context)}
    assert rows["of 10, seen in glosses and phrases at most"].value == 1
    assert rows["of 10, taught by the dictionary"].value == 0
    assert rows["2 WordNet words in no caption"].goal == 0.7


def test_a_missing_or_small_dictionary_is_reported(words_context: Context, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="100 were asked for"):
        english_words(words_context, 100)
    words_context.wordnet = tmp_path / "nowhere"
    with pytest.raises(MissingError, match="no WordNet"):
        english_words(words_context, 2)


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
    output = {t for p in world.split("train") for t in (p.names.get("zh", ""), *p.keywords.get("zh", ()))}
    assert not [word for word in listed if any(word in text for text in output)]


def test_reading_rows(words_context: Context) -> None:
    parser = world_parser(words_context.world)
    words_context.parts.parser = parser  # type: ignore[misc]
    rows = {row.name: row for row in module.reading_rows(words_context)}
    assert all(0 <= row.value <= 1 and row.parts == module.READ["parts"] for row in rows.values()) and len(rows) == 5
    assert rows["captions read as they are"].value > 0.5
    result = module._all_named(parser, ["a cat and a fish", "a cat", "a cat"], [{"fish", "cat"}, {"cat"}, {"fish"}])
    assert result == [True, True, False]


def test_noun_rows(words_context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    words_context.parts.parser = world_parser(words_context.world)  # type: ignore[misc]
    nouns = {"en": {"cat": frozenset({"cat"}), "fish": frozenset({"cat"})}, "zh": {"猫": frozenset({"cat"})}}
    monkeypatch.setattr(module, "read_nouns", nouns.__getitem__)
    rows = {row.name: row.value for row in module.noun_rows(words_context)}
    assert (rows["nouns alone, English"], rows["nouns alone, Chinese"]) == (0.5, 1)
    assert rows["nouns in 5 sentences, English"] == 0.5 and rows["nouns in 5 sentences, Chinese"] == 1


def test_the_nouns_are_in_both_languages_and_the_article_fits() -> None:
    assert len(module.read_table("nouns.tsv")) == 200 and len(module.read_nouns("en")) > 180
    assert module.in_frame("a {} and a {}", "owl") == "an owl and an owl" and "{}" not in module.in_frame(
        "那个{}", "猫"
    )
