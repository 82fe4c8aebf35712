"""A space in which texts lie as near as they share words, and prompts read in it: what tests of reading stand on."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from models.reading.naming import Known, Naming
from models.reading.other_names import OTHER_NAMES
from models.reading.phrasing import words_of
from models.reading.wording import Wording

COMMON = {"food-drink": frozenset({"isolated"}), "people-body": frozenset({"dark", "skin"})}


def bag(text: str) -> Tensor:
    """The place of a text, (128,)."""
    total = torch.zeros(128)
    for word in words_of(text):
        total += torch.randn(128, generator=torch.Generator().manual_seed(zlib.crc32(word.encode())))
    return torch.nn.functional.normalize(total, dim=-1)


class Bags:
    """Stands for the embedder."""

    def text(self, texts: Sequence[str]) -> Tensor:
        return torch.stack([bag(text) for text in texts])


def of_bags(things: Sequence[Known], others: Mapping[str, Sequence[str]] = OTHER_NAMES) -> Wording:
    """Prompts read where these things are known."""
    names = [name for one in things for of_language in one.names.values() for name in of_language]
    embedder: Any = Bags()
    return Wording(embedder, Naming(things, embedder.text(names), others), COMMON)


@pytest.fixture(name="near", autouse=True)
def no_far_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bag of words knows nothing of burgers and hamburgers: no name is too far."""
    monkeypatch.setattr("models.reading.naming.FAR", -1.0)
