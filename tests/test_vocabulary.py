"""Laws of "I don't know this word": what is asked about, how the threshold is chosen, what is kept."""

from pathlib import Path

import pytest
import torch
from fixture_world import fixture_world

from models.data.text import Nouns
from models.prompts.build import build_vocabulary, inside_words, outside_words, well_placed
from models.prompts.vocabulary import Vocabulary, Words
from models.space import Embedder
from models.weights import WeightsError

# physical entity > feline > cat > tabby, and physical entity > rock > granite, basalt: the drawn world has a cat.
NOUNS = """\
00000001 03 n 01 physical_entity 0 002 ~ 00000100 n 0000 ~ 00000400 n 0000 | something one can touch
00000100 05 n 01 feline 0 002 @ 00000001 n 0000 ~ 00000200 n 0000 | any of various mammals
00000200 05 n 01 cat 0 002 @ 00000100 n 0000 ~ 00000300 n 0000 | feline mammal
00000300 05 n 02 tabby 0 moggie 0 001 @ 00000200 n 0000 | a cat with a grey coat
00000400 27 n 01 rock 0 003 @ 00000001 n 0000 ~ 00000500 n 0000 ~ 00000600 n 0000 | a hard mineral
00000500 27 n 01 granite 0 001 @ 00000400 n 0000 | a plutonic igneous rock
00000600 27 n 01 basalt 0 001 @ 00000400 n 0000 | a dark rock
"""
INDEX = """\
physical_entity n 1 1 ~ 1 1 00000001
feline n 1 2 @ ~ 1 1 00000100
cat n 1 2 @ ~ 1 1 00000200
tabby n 1 1 @ 1 1 00000300
moggie n 1 1 @ 1 1 00000300
rock n 1 2 @ ~ 1 1 00000400
granite n 1 1 @ 1 1 00000500
basalt n 1 1 @ 1 1 00000600
"""
OTHERS = {
    "adj": "00000900 00 s 01 gigantic 0 000 | so exceedingly large\n",
    "adv": "00000901 02 r 01 gently 0 000 | in a gentle manner\n",
    "verb": "00000902 30 v 01 ponder 0 000 00 | reflect deeply\n",
}


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wordnet")
    (folder / "data.noun").write_text(NOUNS)
    (folder / "index.noun").write_text(INDEX)
    for pos, text in OTHERS.items():
        (folder / f"data.{pos}").write_text(text)
    return folder


@pytest.fixture(scope="module")
def vocabulary(parts: Path, wordnet: Path) -> Vocabulary:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.prompts.build.CHINESE_CAPTIONS", 300)
        patch.setattr("models.prompts.build.is_for_calibration", lambda word: True)
        return build_vocabulary(Embedder.load(parts), fixture_world(), Nouns(wordnet), wordnet)


def test_words_below_a_concept_are_inside_and_others_outside(wordnet):
    nouns, world = Nouns(wordnet), fixture_world()
    assert set(inside_words(nouns, world)) == {"tabby", "moggie"}
    assert set(outside_words(nouns, world)) == {"rock", "granite", "basalt"}  # "feline" is above a concept


def test_a_word_is_learned_where_the_space_puts_it(vocabulary):
    cat, star = (vocabulary.concepts["en"].index(name) for name in ("cat", "star"))

    def text(words):
        return vocabulary.vectors[[cat for _ in words]]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary.embedder, "text", text)
        patch.setattr("models.prompts.build.AMONG", 1)
        assert well_placed(vocabulary, {"moggie": {cat}, "nova": {star}, "catstar": {cat, star}}) == {
            "moggie",
            "catstar",
        }
    assert well_placed(vocabulary, {}) == frozenset()


def test_the_threshold_lets_few_outside_words_through(vocabulary):
    scores = vocabulary.cosines(["rock", "granite", "basalt"]).max(1).values
    assert vocabulary.threshold == pytest.approx(float(scores.quantile(0.9)), abs=1e-5)


def test_words_of_captions_and_of_no_thing_are_not_asked_about(vocabulary):
    words = vocabulary.words
    assert words.candidates("Two red cats, a star and the house!") == []
    assert words.candidates("gently ponder a gigantic cat") == []
    assert words.candidates("a gigantic axolotl and two axolotl") == ["axolotl"]


def test_what_stands_between_two_things_is_known():
    words = Words(frozenset({"cat", "dog", "hat"}), frozenset({"a"}), frozenset())
    assert words.candidates("a cat chasing a dog wearing a hat") == []
    assert words.candidates("a chaser wears a hat") == ["chaser", "wears"]


def test_forms_of_a_known_word_are_known():
    words = Words(frozenset({"cherry", "dance", "box"}), frozenset(), frozenset())
    assert words.candidates("cherries dancing boxes danced box's cherry-boxes") == []
    assert words.candidates("quokkas") == ["quokkas"]


def test_chinese_is_covered_by_pairs_of_characters():
    words = Words(frozenset(), frozenset(), frozenset({"一只", "红色", "色的", "猫"}))
    assert words.candidates("一只红色的蝾螈") == ["蝾螈"]
    assert words.candidates("一只猫") == []
    assert words.candidates("一只猫色") == []  # one character, known from 红色: grammar, not a thing
    assert words.candidates("一只猫鹤") == ["鹤"]


def test_far_words_are_unknown_and_near_ones_are_not(vocabulary):
    concept = vocabulary.concepts["en"].index("cat")

    def text(words):
        far, near = torch.zeros(1, 128), vocabulary.vectors[concept : concept + 1]
        return torch.cat([near if word == "grimalkin" else far for word in words])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary.embedder, "text", text)
        patch.setattr(vocabulary, "threshold", 0.5)
        assert vocabulary.unknown("an axolotl") == [("axolotl", ())], "none is named that is not near"
        patch.setattr("models.prompts.vocabulary.NEAR", {"en": -2.0})
        found = vocabulary.unknown("a grimalkin beside an axolotl")
        assert [word for word, _ in found] == ["axolotl"]
        assert len(found[0][1]) == 3
        assert vocabulary.unknown("axolotl") and vocabulary.unknown("granite") and not vocabulary.unknown("grimalkin")
        patch.setattr(vocabulary, "threshold", 1.1)
        assert vocabulary.unknown("a grimalkin")[0][1][0] == "cat"


def test_a_prompt_of_known_words_costs_no_vector(vocabulary, monkeypatch):
    monkeypatch.setattr(vocabulary.embedder, "text", None)
    assert vocabulary.unknown("a red cat") == []


def test_saved_and_loaded_equal(vocabulary, parts):
    vocabulary.save(parts)
    again = Vocabulary.load(vocabulary.embedder, parts)
    assert again.words == vocabulary.words
    assert again.concepts == vocabulary.concepts
    assert again.threshold == pytest.approx(vocabulary.threshold, abs=1e-4)
    assert torch.allclose(again.vectors, vocabulary.vectors, atol=1e-3)
    (parts / "vocabulary/vocabulary.json").write_text("{}")
    with pytest.raises(WeightsError, match="altered"):
        Vocabulary.load(vocabulary.embedder, parts)


def test_a_prompt_of_thousands_of_words_is_not_looked_at_whole(vocabulary):
    assert (
        len(vocabulary.words.candidates(" ".join(f"quok{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(600))))
        == 64
    )


def test_what_is_near_to_everything_is_not_named_first(vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two concepts at equal distance: the one that any word comes near to stands behind."""
    monkeypatch.setattr("models.prompts.vocabulary.NEAR", {"en": -2.0})
    names = {"en": ["herb", "cat", "dog"], "zh": ["", "", ""]}
    common = torch.tensor([0.4, 0.1, 0.1])
    of = Vocabulary(vocabulary.embedder, vocabulary.words, names, torch.eye(3, 128), 1.0, common)
    assert of._nearest(torch.tensor([0.5, 0.45, 0.1]), "en") == ("cat", "herb", "dog")
    plain = Vocabulary(vocabulary.embedder, vocabulary.words, names, torch.eye(3, 128), 1.0)
    assert plain._nearest(torch.tensor([0.5, 0.45, 0.1]), "en") == ("herb", "cat", "dog")
