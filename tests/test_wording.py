"""Laws of reading: what is named is found, what was taught is left alone, what was not is said in taught words."""

import json
from pathlib import Path

import pytest
import torch
from bags import COMMON, Bags, bag, no_far_names, of_bags  # noqa: F401 - a fixture
from tiny_parts import save_tiny_parts

from models.data.captions import caption
from models.data.fixture import fixture_world
from models.data.scenes import make_scene
from models.pipelines.image import StickerPipeline
from models.reading.naming import Known, Naming
from models.reading.other_names import OTHER_NAMES
from models.reading.phrasing import bare, words_of
from models.reading.wording import BLACK_AND_WHITE, Thing, Wording
from models.weights import WeightsError

KNOWN = (
    Known({"en": ("hamburger",), "zh": ("汉堡",)}, ("burger", "food"), "food-drink", True),
    Known({"en": ("hot beverage",), "zh": ("热饮",)}, ("coffee", "tea", "咖啡"), "food-drink", True),
    Known({"en": ("cheese wedge",), "zh": ("芝士",)}, ("cheese",), "food-drink", True),
    Known({"en": ("red apple",), "zh": ("红苹果",)}, ("apple", "fruit"), "food-drink", True),
    Known({"en": ("cat",), "zh": ("猫",)}, ("pet", "animal"), "animals-nature", True),
    Known({"en": ("dog",), "zh": ("狗",)}, ("pet", "puppy"), "animals-nature", True),
    Known({"en": ("sleeping face",), "zh": ("睡着了",)}, ("sleep", "zzz", "sleepy"), "smileys-emotion", True),
    Known({"en": ("person with white cane", "woman with white cane")}, ("blind",), "people-body", False),
    Known({"en": ("astronaut",)}, ("rocket",), "people-body", False),
    Known({"en": ("flag: Cuba",)}, ("flag",), "flags", False),
)


@pytest.fixture(scope="module")
def wording() -> Wording:
    return of_bags(KNOWN, {})


@pytest.fixture(scope="module")
def knowing(wording: Wording) -> Wording:
    """That also knows what things are called."""
    others = {
        "cheese wedge": ("cheese", "cheese cake", "奶酪"),
        "dog": ("hound", "cat dog", "cat"),
        "red apple": ("apple",),
        "cat": ("white cane",),
    }
    naming = Naming(KNOWN, wording.naming.places, {**others, "sleeping face": ("tired face with cat",)})
    return Wording(Bags(), naming, COMMON)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "names", "read"),
    [
        ("cheese", ["cheese wedge"], "cheese wedge"),
        ("two small cheeses", ["cheese wedge"], "two cheese wedges"),
        ("a red cheese, twemoji style", ["cheese wedge"], "a red cheese wedge, twemoji style"),
        ("红色的奶酪", ["cheese wedge"], "红色的芝士"),
        ("a cat with cheese", ["cat", "cheese wedge"], "a cat with a cheese wedge"),
        ("cheese cake", ["cheese wedge"], "cheese wedge"),
        ("a cat dog", ["dog"], "dog"),
        ("a cat", ["cat"], "a cat"),  # a name is nobody else's
        ("a mouldy cheese", ["cheese wedge"], "cheese wedge"),  # by its head
        (
            "person with white cane",
            ["person with white cane"],
            "person with white cane",
        ),  # has a name, and is called a cat
        ("a cheese axolotl", [], "a cheese axolotl"),
        ("a tired face with a cat", ["sleeping face"], "sleeping face"),  # no cat beside it
        ("a green apple", ["red apple"], "a green apple"),
        ("a red and green apple", ["red apple"], "a red and green apple"),
        ("a hound and a cat", ["dog", "cat"], "a dog and a cat"),
        ("a hound and a cat near two foxes", ["dog", "cat"], "a dog and a cat near two foxes"),
    ],
)
def test_what_things_are_called_names_them(knowing: Wording, text: str, names: list[str], read: str) -> None:
    assert [KNOWN[part.number].names["en"][0] for part in knowing.naming.parts(text, bag)] == names
    assert knowing.read(text) == read


def test_a_list_without_end_is_not_looked_up_part_by_part(wording: Wording) -> None:
    asked: list[str] = []

    def embed(text: str) -> torch.Tensor:
        asked.append(text)
        return bag(text)

    assert wording.naming.parts(" and ".join(f"x{i}" for i in range(900)), embed) == [] and len(asked) <= 2
    assert wording.naming.parts("a cat" + " and a cat" * 20, embed)


def test_a_name_goes_before_what_another_thing_is_called(wording: Wording) -> None:
    naming = Naming(KNOWN, wording.naming.places, {"dog": ("apple",)})
    assert [KNOWN[naming.parts(text, bag)[0].number].names["en"][0] for text in ("red apple", "an apple")] == [
        "red apple",
        "dog",
    ]


def test_what_is_called_beside_a_name_is_another_thing(wording: Wording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.reading.naming.SURE", 0.5)  # so that all of it lies near the name
    naming = Naming(KNOWN, wording.naming.places, {"dog": ("hound",)})
    assert len(naming.parts("a hot beverage with hound", bag)) == 2
    assert len(wording.naming.parts("a hot beverage with hound", bag)) == 1


def test_every_other_name_is_of_one_thing() -> None:
    said = [name for names in OTHER_NAMES.values() for name in names]
    assert len(said) == len(set(said)) and all(name == name.strip().lower() != "" for name in said)
    keys = {tuple(words_of(bare(name))): thing for thing, names in OTHER_NAMES.items() for name in names}
    assert () not in keys, "what is left out of every prompt can't be found"
    assert all(keys[tuple(words_of(bare(name)))] == thing for thing, names in OTHER_NAMES.items() for name in names)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a cat to the left of a dog", ["cat", "dog"]),
        ("two red cats", ["cat"]),
        ("a burger, twemoji style", ["hamburger"]),
        ("a cat next to a piece of cheese", ["cat", "cheese wedge"]),
        ("A cat in the front, a dog in the back.", ["cat", "dog"]),
        ("猫在狗的左边", ["cat", "dog"]),
        ("一杯咖啡", ["hot beverage"]),
        ("a woman with white cane, dark skin", ["person with white cane"]),
        ("hot beverage, tea, cat", ["hot beverage"]),  # a keyword of the first, though it names another thing
        ("a dog on a red background", ["dog"]),
        ("a cat dog", ["dog"]),
        ("a dog and a burger", ["dog", "hamburger"]),  # but next to it is one
        ("an astronaut and a cat", ["astronaut", "cat"]),
        ("an astronaut wearing a cheese wedge", ["astronaut", "cheese wedge"]),
        ("an astronaut with a cat", ["astronaut", "cat"]),
        ("a cat with an astronaut", ["cat"]),
        ("a burger under a dog", ["hamburger", "dog"]),
        ("拿着芝士的猫，线条风格", ["cat", "cheese wedge"]),
        ("a cat with coffee", ["cat"]),  # beside what has a name, a keyword is no second thing
        ("concatenated", []),
        ("", []),
    ],
)
def test_what_a_prompt_names(wording: Wording, text: str, names: list[str]) -> None:
    assert [KNOWN[part.number].names["en"][0] for part in wording.naming.parts(text, bag)] == names


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a burger, twemoji style", "hamburger, twemoji style"),
        ("a green burger", "a green hamburger"),
        ("three burgers", "three hamburgers"),
        ("an enormous wobbly hamburger", "hamburger"),
        ("a notorious hamburger", "hamburger"),  # in no noto style
        ("a notorious hamburger in 3D", "hamburger, fluent 3d style"),
        ("hot coffee on a red background", "hot beverage, on a red background"),
        ("一杯绿色的咖啡，线条风格", "绿色的热饮，outline风格"),
        ("a blue apple", "a blue apple"),
        ("a purple puppy dog, isolated", "a purple puppy dog, isolated"),
        ("a cat next to a piece of cheese", "a cat next to a cheese wedge"),
        ("a cat next to a burger, outline", "a cat next to a hamburger, outline"),
        ("a cat astronaut", "astronaut"),
        ("a light blue burger", "a light blue hamburger"),
        ("a burger in red", "a red hamburger"),
        ("a black and white burger", "a black and white hamburger"),
        ("a burger and an orange", "hamburger"),
        ("a burger with two blue flags in it", "hamburger"),
    ],
)
def test_what_was_not_taught_is_said_as_captions_do(wording: Wording, text: str, read: str) -> None:
    assert wording.read(text) == read
    assert wording.read(read) == read, "what is read is taught"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "拿着芝士的猫",
        "a red cat",
        "two hamburgers, isolated",
        "a sleepy face",
        "axolotl",
        "猫",
        "flag of Fiji",
    ],
)
def test_what_was_taught_or_is_not_known_is_left_alone(wording: Wording, text: str) -> None:
    assert wording.read(text) == text


def test_a_keyword_of_what_lies_far_away_is_no_hint(wording: Wording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.reading.naming.FAR", 0.4)
    wording = Wording(wording.embedder, wording.naming, wording.common)  # one that remembers nothing
    assert wording.taught("a burger") == "a burger" and wording.taught("a huge hamburger") == "hamburger"


@pytest.mark.parametrize("text", ['"a burger"', "“a burger”", "「a burger」"])
def test_in_quotation_marks_it_is_read_word_for_word(wording: Wording, text: str) -> None:
    assert wording.read(text) == "a burger"


def test_weighted_words_are_read_word_for_word(wording: Wording) -> None:
    assert wording.read("a (burger:1.3)") == "a (burger:1.3)"


@pytest.fixture(scope="module")
def built() -> Wording:
    return Wording.build(Bags(), fixture_world())  # type: ignore[arg-type]


def test_captions_of_one_thing_and_of_scenes_are_left_alone(built: Wording) -> None:
    captions = [caption(picture, seed, style=True) for picture in fixture_world().split("train") for seed in range(3)]
    scenes = [make_scene(fixture_world(), seed).caption(seed) for seed in range(100)]
    assert sum(built.read(text) != text for text in captions) / len(captions) < 0.1
    assert sum(built.read(text) != text for text in scenes) / len(scenes) < 0.1


@pytest.mark.parametrize(
    ("text", "colour"),
    [
        ("a red cat", "red"),
        ("a cat in red", "red"),
        ("a cat with blue eyes", ""),
        ("a cat with two ears", ""),
        ("a cat with small ears", ""),
        ("a cat and an orange", ""),
        ("a black and white cat", BLACK_AND_WHITE),
        ("黑白猫", BLACK_AND_WHITE),
        ("a black white and red cat", ""),
    ],
)
def test_what_is_said_of_its_parts_is_not_said_of_a_thing(wording: Wording, text: str, colour: str) -> None:
    assert wording.thing(text) == Thing(4, colour)


def test_saved_and_loaded_it_reads_the_same(built: Wording, tmp_path: Path) -> None:
    built.save(tmp_path, "space")
    again = Wording.load(built.embedder, tmp_path)
    assert again.naming.known == built.naming.known and again.common == built.common
    assert torch.allclose(again.naming.places, built.naming.places, atol=1e-3)
    assert Wording.space_of(tmp_path) == "space" and Wording.space_of(tmp_path / "none") == ""
    listed = json.loads((tmp_path / "wording/wording.json").read_text())
    (tmp_path / "wording/wording.json").write_text(json.dumps(listed | {"common": {}}))
    with pytest.raises(WeightsError, match="altered"):
        Wording.load(built.embedder, tmp_path)


def test_the_pipeline_draws_what_is_read_and_keeps_from_what_is_said(tmp_path: Path, wording: Wording) -> None:
    pipe = StickerPipeline.assemble(save_tiny_parts(tmp_path), torch.float32)
    plain = pipe.condition(["hamburger", "a burger"])
    pipe.wording, pipe.references = wording, None
    read, literal = pipe.condition(["a burger", '"a burger"']), pipe.condition(["a burger"], literal=True)
    assert torch.equal(read.states, plain.states) and torch.equal(read.vector, plain.vector)
    assert torch.equal(literal.states, plain.states[1:])
    work = pipe._resolve(["a burger"], [1], "a burger", None, True, True, None, None, True)
    assert torch.equal(work.wanted.parts[0].states, plain.states[:1]) and torch.equal(
        work.unwanted.states, plain.states[1:]
    )
