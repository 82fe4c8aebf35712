"""The experts' rows: balance is zero where it is even, a specialist is told from a generalist, words are held out."""

from pathlib import Path

import pytest
import torch
from fixture_world import fixture_world
from tiny_parts import save_tiny_parts

from eval.context import Context, Sizes
from eval.generator import Parts
from eval.metrics.experts import LANGUAGES, balance_rows, expert_rows, held_out_words, of_one_part, specialisation_row
from eval.rows import MissingError
from models.train.lexicon import is_held_out

WORDS = [f"{first}{second}{third}" for first in "bdfgklm" for second in "aeiou" for third in "nprst"]


def wordnet(folder: Path) -> Path:
    """A dictionary in which every word has one sense, all parts of speech in turn."""
    for k, (pos, letter) in enumerate((("noun", "n"), ("verb", "v"), ("adj", "a"), ("adv", "r"))):
        lines = [f"{i:08d} 05 {letter} 01 {word} 0 000 | what {word} is\n" for i, word in enumerate(WORDS[k::4])]
        (folder / f"data.{pos}").write_text("".join(lines))
    return folder


def test_even_choices_are_in_balance_and_an_idle_expert_is_dead() -> None:
    even = torch.arange(32).view(1, 16, 2) % 8
    balance, dead = balance_rows({"a": even, "b": even}, 8)
    assert balance.value == 0 and dead.value == 0 and balance.met and dead.met
    balance, dead = balance_rows({"a": torch.cat([even, even.clamp(max=6)])}, 8)
    assert balance.value == pytest.approx(1, abs=0.01) and dead.value == 1 and not balance.met


def test_kinds_of_text_count_the_same_whatever_their_length() -> None:
    left, right = torch.zeros(1, 5, 1, dtype=torch.long), torch.ones(1, 500, 1, dtype=torch.long)
    balance, _ = balance_rows({"short": left, "long": right}, 2)
    assert balance.value == 0 and balance.note == "short alone 1.00; long alone 1.00"


def test_an_expert_of_its_own_tells_all_of_the_language() -> None:
    of_token = torch.arange(400) % 2
    keen = specialisation_row("language", (of_token.view(1, -1, 1) + 3, of_token), LANGUAGES)
    assert keen.value == pytest.approx(1) and dict(keen.against)["shuffled"] < 0.05


def test_words_are_held_out_and_of_one_part_of_speech(tmp_path: Path) -> None:
    words = held_out_words(wordnet(tmp_path))
    assert 4 < len(words) < len(WORDS) / 2 and all(map(is_held_out, words))
    assert all(words[word][0].pos == ("noun", "verb", "adj", "adv")[k] for word, k in of_one_part(words, 3))
    with pytest.raises(MissingError, match="python -m"):
        held_out_words(tmp_path / "nowhere")


def test_the_rows_of_a_tiny_backbone(tmp_path: Path) -> None:
    save_tiny_parts(tmp_path / "parts")
    sizes = Sizes(8, 4, 6, 6, 3, 2, words=4)
    rows = list(expert_rows(Context(fixture_world(), sizes, Parts(tmp_path / "parts"), wordnet=wordnet(tmp_path))))
    assert [row.unit for row in rows] == ["", "", "bit", "bit"] and all(row.parts == ("language",) for row in rows)
    assert all(0 <= row.value <= dict(row.against)["all there is"] + 0.3 for row in rows[2:])
