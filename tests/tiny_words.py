"""A small lexicon for tests: a word for each drawn concept, with meanings that a seed made up."""

import numpy as np

from models.data.world import World
from models.train.lexicon import Entry, Lexicon


def tiny_lexicon(world: World) -> Lexicon:
    concepts = sorted({picture.concept for picture in world.split("train")})
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(concepts), 24)).astype(np.float32)
    entries = [Entry(f"{concept}ish", "noun", f"something like a {concept}", ("thing",)) for concept in concepts]
    return Lexicon(entries, vectors + 0.2 * rng.normal(size=vectors.shape).astype(np.float32), vectors)
