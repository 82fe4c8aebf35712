"""Who is held out: by hash, never by chance, so that a picture added later moves no other.

Where the hash would hold out every family of a concept, one of them is kept in train. Those cells are listed in
`kept_in_train.json`: a family that comes later, and is in train by its own hash, does not send them to a test.

A *cell* is concept x art family. Held-out cells test "the concept was seen, the family was seen, not together";
held-out concepts test what was never drawn. `merge_lookalikes` joins concepts that one family draws alike (the flags of
Norway and of Bouvet Island), or the test would leak.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import numpy as np

SPLITS = ("train", "val", "cell", "concept")
CONCEPT_SHARE = 0.03
CELL_SHARE = 0.17
VAL_SHARE = 0.04
THUMB = 16  # pixels a side
# The largest mean absolute difference, in levels of 255, of the thumbnails of two pictures that are the same drawing:
# redrawn details (a face's mouth) move one by more, a recompressed copy by less.
SAME_DRAWING = 3.0


def fraction(*key: str) -> float:
    """A number in [0, 1) that depends on the key alone."""
    digest = hashlib.sha256("|".join(key).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def held_out_split(share: float, *key: str) -> str:
    """Split of a combination: "train", but for that share, of which half is "val" and half "test"."""
    draw = fraction(*key)
    return "train" if draw >= share else "val" if draw < share / 2 else "test"


@cache
def kept_in_train() -> frozenset[tuple[str, str]]:
    """(concept, family) of the cells that training has seen because their concept had no other left."""
    listed = json.loads(Path(__file__).with_name("kept_in_train.json").read_text(encoding="utf-8"))
    return frozenset((concept, family) for concept, family in listed)


def assign(cells: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Split of each (concept, family). Some family of a concept stays in train unless the whole concept is held out."""
    families: dict[str, set[str]] = defaultdict(set)
    for concept, family in cells:
        families[concept].add(family)
    return {
        (concept, family): split
        for concept in families
        for family, split in _one_concept(concept, families[concept]).items()
    }


def _one_concept(concept: str, families: set[str]) -> dict[str, str]:
    if fraction("concept", concept) < CONCEPT_SHARE:
        return dict.fromkeys(families, "concept")
    draws = {family: fraction("cell", concept, family) for family in families}
    splits = {
        f: "val" if u < VAL_SHARE else "cell" if u < VAL_SHARE + CELL_SHARE else "train" for f, u in draws.items()
    }
    splits |= {family: "train" for family in families if (concept, family) in kept_in_train()}
    if "train" not in splits.values():
        splits[max(draws, key=lambda family: draws[family])] = "train"
    return splits


def merge_lookalikes(
    concepts: list[str], families: list[str], thumbs: np.ndarray, limit: float = SAME_DRAWING
) -> Mapping[str, str]:
    """Root concept of each concept, after joining those that one family draws almost alike.

    `concepts`, `families` and `thumbs` (N, K), small premultiplied thumbnails in 0..255, are of N pictures.
    """
    parent = {concept: concept for concept in concepts}

    def root(concept: str) -> str:
        while parent[concept] != concept:
            parent[concept] = concept = parent[parent[concept]]
        return concept

    for family in sorted(set(families)):
        rows = np.array([i for i, name in enumerate(families) if name == family])
        for a, b in near_pairs(thumbs[rows], limit):
            first, second = sorted((root(concepts[rows[a]]), root(concepts[rows[b]])))
            parent[second] = first
    return {concept: root(concept) for concept in parent}


def thumbs(pixels: np.ndarray) -> np.ndarray:
    """uint8 (N, S, S, 4) -> float32 (N, 1024): means over S / 16 x S / 16 pixels."""
    n, side = len(pixels), pixels.shape[1] // THUMB
    return pixels.reshape(n, THUMB, side, THUMB, side, 4).mean((2, 4), dtype=np.float32).reshape(n, -1)


def near_pairs(thumbs: np.ndarray, limit: float) -> Iterable[tuple[int, int]]:
    """Pairs closer than `limit` in mean absolute difference; candidates come from the mean square, its upper bound."""
    norms = (thumbs**2).sum(1)
    for start in range(0, len(thumbs), 512):
        block = thumbs[start : start + 512]
        square = (norms[start : start + 512, None] + norms - 2 * block @ thumbs.T) / thumbs.shape[1]
        # E|d| <= limit with |d| <= 255 gives E[d^2] <= 255 limit: no pair is missed.
        for i, near in enumerate(square <= 255 * limit, start):
            later = i + 1 + np.flatnonzero(near[i + 1 :])
            same = np.abs(thumbs[i] - thumbs[later]).mean(1) <= limit
            yield from ((i, int(j)) for j in later[same])
