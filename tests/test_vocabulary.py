"""Laws of the table of words: what names and labels say is looked up, the rest is ranked; it is stored whole."""

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from prompt_kit import concept

from models.prompts.words import DRAWN, FILE, Word, WordTable
from models.train.scorer import Label, Scorer, WordNet, is_validation
from models.train.vocabulary import read_labels, save
from models.weights import WeightsError

# physical entity > feline > cat > tabby; physical entity > rock > granite, basalt; physical entity > person > guard.
NOUNS = """\
00000001 03 n 01 physical_entity 0 002 ~ 00000100 n 0000 ~ 00000400 n 0000 | something one can touch
00000100 05 n 01 feline 0 002 @ 00000001 n 0000 ~ 00000200 n 0000 | any of various mammals
00000200 05 n 01 cat 0 002 @ 00000100 n 0000 ~ 00000300 n 0000 | feline mammal
00000300 05 n 02 tabby 0 moggie 0 001 @ 00000200 n 0000 | a cat with a grey coat
00000400 27 n 01 rock 0 003 @ 00000001 n 0000 ~ 00000500 n 0000 ~ 00000600 n 0000 | a hard mineral
00000500 27 n 01 granite 0 001 @ 00000400 n 0000 | a plutonic igneous rock
00000600 27 n 01 basalt 0 001 @ 00000400 n 0000 | a dark rock
00000700 18 n 01 person 0 002 @ 00000001 n 0000 ~ 00000800 n 0000 | a human being
00000800 18 n 02 guard 0 rook 0 001 @ 00000700 n 0000 | somebody who watches
00000900 05 n 01 rook 0 001 @ 00000001 n 0000 | a bird
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
person n 1 2 @ ~ 1 1 00000700
guard n 1 1 @ 1 1 00000800
rook n 2 1 @ 2 2 00000900 00000800
"""
DANCE = "00000902 30 v 01 dance 0 000 00 | move in rhythm\n"


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory: pytest.TempPathFactory) -> WordNet:
    folder = tmp_path_factory.mktemp("wordnet")
    files = {"data.noun": NOUNS, "index.noun": INDEX, "data.verb": DANCE, "index.verb": "dance v 1 0 1 1 00000902\n"}
    files |= dict.fromkeys(("data.adj", "data.adv", "index.adj", "index.adv"), "")
    files["index.sense"] = "dance%2:30:00:: 00000902 1 7\ncat%1:05:00:: 00000200 1 18\n"
    for name, text in files.items():
        (folder / name).write_text(text)
    return WordNet(folder)


def encode(texts: Sequence[str]) -> np.ndarray:
    """Texts lie as near as they share words."""
    rows = [sum(np.random.default_rng(zlib.crc32(w.encode())).standard_normal(384) for w in t.split()) for t in texts]
    return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


def test_senses_lie_below_others_and_what_is_above_all_says_nothing(wordnet: WordNet) -> None:
    ((cat, share),) = wordnet.senses("cat")
    ((tabby, _),), ((granite, _),) = wordnet.senses("tabby"), wordnet.senses("granite")
    assert share == 1 and wordnet.above(tabby)[cat] == 1 and cat not in wordnet.above(granite)
    assert wordnet.information(tabby) > wordnet.information(cat) > wordnet.information((granite[0], 1)) == 0
    assert wordnet.is_a("moggie", "feline") and not wordnet.is_a("rock", "feline")
    assert wordnet.is_person("guard") and not wordnet.is_person("rook"), "which is a bird, too"
    assert (wordnet.parts_of_speech("dance"), wordnet.parts_of_speech("cat")) == ("v", "n")


def test_a_word_below_a_concept_is_ranked_as_it_and_a_label_is_no_evidence_for_itself(wordnet: WordNet) -> None:
    concepts = [concept("cat", group="animals-nature"), concept("rock", group="objects")]
    words = [w for w in ("tabby", "moggie", "granite", "basalt", "feline", "rock") if not is_validation(w)]
    labels = {w: Label("=", ("cat" if wordnet.is_a(w, "feline") else "rock",)) for w in words}
    scorer = Scorer(concepts, wordnet, labels, encode)
    tables = dict(zip(words, scorer.features(words), strict=True))
    below = {word: dict(zip(rows.tolist(), table[:, 9], strict=True)) for word, (rows, table) in tables.items()}
    assert all(below[word][0] > 0 for word in words if word in ("tabby", "moggie"))
    assert all(below[word].get(0, 0) == 0 for word in words if word in ("granite", "basalt"))
    alone = Scorer(concepts, wordnet, {words[0]: labels[words[0]]}, encode)
    (_, table), *_ = alone.features(words[:1])
    assert table[:, 4].max() < 0 and table[:, 6].max() == 0, "neither its vector nor its place in WordNet tells"


def test_every_label_has_a_kind_and_none_is_said_twice() -> None:
    labels = read_labels()
    assert len(labels) > 7_000 and {label.kind for label in labels.values()} == {"=", "~", "-"}
    assert all(bool(label.concepts) == (label.kind != "-") for label in labels.values())
    assert all(word == word.strip().lower() != "" for _, word in labels)


def test_saved_and_looked_up_a_row_is_the_same(tmp_path: Path) -> None:
    rows = [
        Word("cat", "en", "n", "cat", "", ("cat", "cat face"), 1.0, "cldr", 4.9),
        Word("cats", "en", "n", "cat", "s", ("cat", "cat face"), 1.0, "cldr", 4.6),
        Word("猫", "zh", "n", "猫", "", ("cat",), DRAWN, "cc-cedict", 4.4),
        Word("grit", "en", "nv", "grit", "", ("rock",), DRAWN - 0.01, "scorer", 3.2),
    ]
    table = WordTable(save(rows, tmp_path) / FILE)
    assert table.look_up([*(row.text for row in rows), "dog", "'; DROP TABLE words"]) == {row.text: row for row in rows}
    assert table.look_up(f"x{i}" for i in range(40_000)) == {}, "more than a query takes"
    assert [row.is_drawn for row in rows] == [True, True, True, False]
    assert table.names("en") == {"cat": "cat"}, "base forms that name a concept"
    (tmp_path / "words" / FILE).write_bytes(b"x")
    with pytest.raises(WeightsError, match="altered"):
        WordTable.load(tmp_path)
