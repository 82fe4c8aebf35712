"""The reader: whether a drawing shows the thing that was asked for, and nothing that insults.

The detector names the drawing, and the semantic space guides it. A thing that its training held out is no class of it
("thumbs up" is read as "call me hand", or worse): it becomes one by its stored drawings, whose mean vector is its row
of the table (weight imprinting, Qi et al., arXiv 1712.07136). So does a class none of whose stored drawings it reads
rightly.

A drawing is read alone, so what is read depends on no other picture.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.data.pixels import to_tensor
from models.detector import PART, Detector
from models.lexicon import CONCEPTS
from models.prompts.parsed import Concept, ParsedPrompt
from models.references.drawing import enlarged
from models.references.store import ReferenceStore
from models.space import Embedder
from models.weights import fits

# Probability of an insult from which a drawing is one: 8 of 5,408 real pictures of other things have it (index fingers
# that point up, crossed fingers), and of 8 real middle fingers the least has 0.91.
RUDE = 0.02


@dataclass(frozen=True)
class Reading:
    """What a drawing is read as, by an English name; the English name of what it is to show ("" for nothing);
    whether both are the same; whether it insults."""

    name: str
    target: str
    is_right: bool
    is_rude: bool

    @property
    def is_fit(self) -> bool:
        return self.is_right and not self.is_rude


class DrawingReader:
    """Reads drawings of one thing. The detector is loaded when the first one is read."""

    def __init__(
        self, embedder: Embedder, concepts: Sequence[Concept], references: ReferenceStore, root: Path | None = None
    ) -> None:
        self.embedder, self.concepts, self.references, self.root = embedder, concepts, references, root
        self._classes = functools.lru_cache(256)(self._class_of)

    @classmethod
    def load(
        cls, embedder: Embedder, concepts: Sequence[Concept], references: ReferenceStore, root: Path | None = None
    ) -> "DrawingReader | None":
        """None where the weights under `root` have no detector."""
        return cls(embedder, concepts, references, root) if fits(PART, root) else None

    @functools.cached_property
    def detector(self) -> Detector:
        return Detector.load(self.root)

    @functools.cached_property
    def names(self) -> list[str]:
        """The English names of the detector's classes."""
        return [english for english, *_ in self.detector.config["names"]]

    @functools.cached_property
    def _rude(self) -> Tensor:
        return torch.tensor([name in INSULTS for name in self.names])

    def read(self, drawing: np.ndarray, concept: int | None) -> Reading:
        """Premultiplied uint8 (128, 128, 4), of which the concept of that number was asked; None asked for none, and
        every reading is right."""
        return self.read_frames(drawing[None], concept)[0]

    @torch.no_grad()
    def read_frames(self, drawings: np.ndarray, concept: int | None) -> list[Reading]:
        """The same of the frames of a clip (T, 128, 128, 4), together: they are one work."""
        vectors = self._vectors(drawings)
        if concept is None:
            return self._named(vectors, None)
        readings = self._named(vectors, self._classes(concept, False))
        if all(reading.is_fit for reading in readings):
            return readings
        again = self._named(vectors, self._classes(concept, True))
        return [first if first.is_fit else second for first, second in zip(readings, again, strict=True)]

    def _named(self, vectors: tuple[Tensor, Tensor], thing: "_Class | None") -> list[Reading]:
        scores = self._scores(vectors, thing.imprinted if thing else None)
        target, names = thing.name if thing else "", [*self.names, thing.name if thing else ""]
        rude = scores.softmax(-1)[:, : len(self.names)][:, self._rude].sum(-1)
        return [
            Reading(
                names[best], target, thing is None or bool(thing.rows[best]), share >= RUDE and target not in INSULTS
            )
            for best, share in zip(scores.argmax(-1).tolist(), rude.tolist(), strict=True)
        ]

    def _scores(self, vectors: tuple[Tensor, Tensor], imprinted: "tuple[Tensor, ...] | None" = None) -> Tensor:
        """(n, C), or (n, C + 1) with a class that is imprinted."""
        rows, centres = self.detector.concepts.data, self.detector.centres
        if imprinted:
            rows, centres = (torch.cat(pair) for pair in zip((rows, centres), imprinted, strict=True))
        return self.detector.guided(self.detector.named(vectors[0], rows), vectors[1], centres)

    def _vectors(self, drawings: np.ndarray) -> tuple[Tensor, Tensor]:
        """In the detector's table (n, width), and in the space (n, 128)."""
        with torch.autocast("cpu", enabled=False):
            return self.detector.embed(to_tensor(drawings)), self.embedder.image(drawings).clone()

    @torch.no_grad()
    def _class_of(self, concept: int, tries: bool) -> "_Class":
        """What readings of a concept are right: its name, names with the same words and more or fewer, and the row that
        is imprinted where the detector has none of its name, or `tries` all stored drawings and reads none rightly."""
        names = self.concepts[concept].english_names
        wanted = [_words(name) for name in names]
        insults = any(name in INSULTS for name in names)
        alike = [
            (name in INSULTS) == insults and any(words <= _words(name) or _words(name) <= words for words in wanted)
            for name in self.names
        ]
        rows, imprinted, is_class = torch.tensor([*alike, True]), None, bool({*names} & {*self.names})
        if tries or not is_class:
            stored = self.references.of_figure(concept)
            vectors = self._vectors(np.stack([enlarged(self.references.pictures[row]) for row in stored]))
            if not (is_class and rows[self._scores(vectors).argmax(-1)].any()):
                imprinted = tuple(F.normalize(part, dim=-1).mean(0, keepdim=True) for part in vectors)
        return _Class(names[0], rows, imprinted)


@dataclass(frozen=True)
class _Class:
    """A concept: its name; of the detector's classes and the imprinted one which are right (C + 1,); and of the
    imprinted one its row (1, width) and centre (1, 128)."""

    name: str
    rows: Tensor
    imprinted: tuple[Tensor, ...] | None


def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", name.lower()))


# Concepts that insult, by an English name, and the words in small letters that ask for them.
INSULTS: dict[str, list[str]] = CONCEPTS["insults"]


def insult_unasked(prompt: ParsedPrompt, concepts: Sequence[Concept]) -> str:
    """The name of an insult that a prompt would be drawn as and does not name itself; "" for none."""
    text = prompt.text.lower()
    named = (name for entity in prompt.entities for name in concepts[entity.concept].english_names)
    insults = (name for name in named if name in INSULTS)
    return next((name for name in insults if not any(words in text for words in INSULTS[name])), "")
