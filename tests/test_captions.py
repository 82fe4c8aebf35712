import dataclasses

import pytest
from fixture_world import fixture_world

from models.data.captions import caption, moods_of
from models.data.colours import COLOURS
from models.data.grammar import STYLES, article, english_list, fit, is_plural, plural, regular, singular, size
from models.data.world import Picture

WORLD = fixture_world()
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


def test_language_is_kept_and_both_are_drawn() -> None:
    p = picture("cat")
    assert all(caption(p, seed, "en").isascii() for seed in SEEDS)
    assert not any(caption(p, seed, "zh").isascii() for seed in SEEDS)
    chinese = sum(not caption(p, seed).isascii() for seed in range(400))
    assert 90 < chinese < 190  # 35 % of 400


def test_without_a_chinese_name_captions_are_english_unless_asked() -> None:
    p = dataclasses.replace(picture("cat"), names={"en": "axolotl"}, keywords={"en": ("gills",)})
    assert all(caption(p, seed).isascii() for seed in SEEDS)
    assert any("axolotl" in caption(p, seed, "zh").lower() for seed in SEEDS)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("style", ["noto", "twemoji", "outline", "black glyph"])
def test_style_is_named_exactly_when_asked(language: str, style: str) -> None:
    p = picture("fish", style)
    for length in ("short", "long"):
        assert all(says_style(caption(p, seed, language, length, style=True), style) for seed in SEEDS)
        plain = [caption(p, seed, language, length, style=False) for seed in SEEDS]
        assert not any(says_style(text, style) or "style" in text or "风格" in text for text in plain)


def test_long_captions_say_more() -> None:
    short = [size(caption(p, 0, length="short")) for p in WORLD.pictures]
    long = [size(caption(p, 0, length="long")) for p in WORLD.pictures]
    assert sum(long) > 1.7 * sum(short)


def test_no_colour_is_claimed_that_was_not_measured() -> None:
    """The fixture's black apple has "red" among its keywords."""
    for style in ("noto", "black glyph"):
        p = picture("apple", style)
        wrong = set(COLOURS) - set(p.colours)
        for seed in range(300):
            words = set(caption(p, seed, "en", style=False).lower().replace(",", "").split())
            assert not wrong & words
            assert not any(COLOURS[name].zh in caption(p, seed, "zh", style=False) for name in wrong)


def test_the_feeling_of_a_face_is_asked_for() -> None:
    p = picture("grinning-face")
    texts = " ".join(caption(p, seed, "en") for seed in range(200)).lower()
    assert "happy face" in texts or "cheerful face" in texts
    assert "开心的脸" in " ".join(caption(p, seed, "zh") for seed in range(200))
    assert moods_of("crying face", ("sad", "tear"), "smileys-emotion")[0].en[0] == "crying"
    assert moods_of("crystal ball", ("crying",), "activities") == ()


def test_skin_tone_is_said() -> None:
    p = dataclasses.replace(picture("cat"), skin="medium-dark")
    assert sum("medium-dark skin" in caption(p, seed, "en").lower() for seed in range(200)) > 80
    assert sum("中深肤色" in caption(p, seed, "zh") for seed in range(200)) > 80


@pytest.mark.parametrize(
    ("noun", "one", "many"),
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
def test_grammar(noun: str, one: str, many: str) -> None:
    assert article(noun) == one
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
    for word, one in (("strawberrys", "strawberry"), ("boxs", "box"), ("mouses", "mouse"), ("cactuses", "cactus")):
        assert singular(word) == one
    assert singular("cookies") == "cookie" and singular("fairies") == "fairy"


def test_lists_and_budget() -> None:
    assert english_list(("a", "b", "c")) == "a, b and c"
    assert size("three cats, 三只猫") == pytest.approx(2 + 3 * 22 / 28)
    assert fit("one two", ("three four", "five"), ", ", budget=3) == "one two, five"
