"""The dictionary that the space is taught from: each word keeps its own meaning, and what is held out is not in it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fixture_world import fixture_world
from test_text import ADJECTIVES, INDEX, NOUNS

from models.train import lexicon
from models.train.lexicon import DIMENSION, Lexicon, is_held_out, meanings

WORLD = fixture_world()


def encode(texts: Sequence[str]) -> np.ndarray:
    """A direction of its own for every text."""
    seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") for text in texts]
    return np.stack([np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32) for seed in seeds])


@pytest.fixture
def wordnet(tmp_path: Path) -> Path:
    folder = tmp_path / "wordnet"
    folder.mkdir()
    for part in ("noun", "verb", "adj", "adv"):
        for kind in ("data", "index"):
            (folder / f"{kind}.{part}").write_text("")
    (folder / "data.noun").write_text(NOUNS)
    (folder / "index.noun").write_text(INDEX)
    (folder / "data.adj").write_text(ADJECTIVES)
    return folder


def test_every_entry_has_the_meaning_that_is_its_own(wordnet: Path, tmp_path: Path) -> None:
    made = Lexicon.build(WORLD, tmp_path / "cache", wordnet, encode)
    assert len(made.entries) == len(made.vectors) == sum(made.groups)
    cache, count = tmp_path / "cache", len(made.concepts)
    own, chinese = list(made.entries[:count]), [entry for entry in made.entries if not entry.word.isascii()]
    others = list(zip(made.entries, made.vectors, strict=True))[count + len(chinese) :]
    words = {entry.word for entry, _ in others}
    assert "tabby" in words and "moggy" not in words, "what is below a concept, but no slur"
    for entry, vector in others:
        assert np.allclose(lexicon._unit(meanings([entry], cache, encode)[0]), vector, atol=1e-2), entry.word
    assert np.allclose(lexicon._unit(meanings(own, cache, encode, sentence=True)), made.concepts, atol=1e-2)
    first = {entry.word: row for row, entry in reversed(list(enumerate(own)))}
    for entry in chinese:  # means what its English name does
        assert np.allclose(made.vectors[made.entries.index(entry)], made.concepts[first[entry.gloss]], atol=1e-2)
    assert chinese


def test_what_is_held_out_is_in_no_group(wordnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexicon, "is_held_out", lambda word: word in ("tabby", "trout") or is_held_out(word))
    made = Lexicon.build(WORLD, tmp_path / "cache", wordnet, encode)
    assert not {"tabby", "trout"} & {entry.word for entry in made.entries}
