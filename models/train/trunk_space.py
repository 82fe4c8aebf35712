"""Training our 128-d heads over a frozen trunk: `python -m models.train space --trunk open_clip:MODEL:WEIGHTS`.

Pictures, views, scenes and captions are those of `language_space`, each encoded once by the trunk; a step reads vectors
alone. The losses are its pairwise ones, with graded labels at three Matryoshka widths.

Shapes: N pictures, each with an English and a Chinese caption; D numbers of the trunk.
"""

import hashlib
from collections.abc import Callable, Hashable, Iterator
from dataclasses import fields
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.data.pixels import to_uint8
from models.data.stored import progress, stored_tensors
from models.open_clip import OpenClip
from models.space import SemanticSpace
from models.train import space_batches as batches
from models.train.contrastive import Facts, gather, pair_labels, picture_labels, sigmoid_loss
from models.train.language_space import STAGES
from models.train.loop import Task, TaskOptions
from models.train.space_model import WEIGHTS, nested_loss
from models.train.space_validation import Validation
from models.trunk import heads, probe, save_heads

UNITS = 10_000  # of two pictures each, encoded
CHUNK = 16  # units a pass
SCENES = STAGES[-1].scenes  # share of the units
KINDS = ("picture", "english", "chinese")  # what is known of: what is seen, and what the captions say


class PairedHeads(nn.Module):
    """The heads with their losses."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.space = SemanticSpace(width=width)

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        seen, *said = (facts.gather() for facts in batch["facts"])
        pictures = gather(heads(self.space, pictures=batch["picture"]))
        scale, bias = self.space.calibration()
        losses = []
        for name, facts in zip(KINDS[1:], said, strict=True):
            texts = gather(heads(self.space, texts=batch[name]))
            losses.append(nested_loss(pictures, texts, *pair_labels(seen, facts), scale, bias))
        pair = torch.stack(losses).mean()
        among = sigmoid_loss(pictures, pictures, *picture_labels(seen), scale, bias)
        return {"loss": pair + WEIGHTS["picture_pair"] * among, "pair": pair, "picture_pair": among}


class TrunkSpaceTask(Task):
    """Recipe "space"; `units` of two pictures are encoded."""

    def __init__(self, options: TaskOptions, units: int = UNITS) -> None:
        if not options.trunk:
            raise ValueError("the recipe space needs a trunk; give --trunk open_clip:MODEL:WEIGHTS or a folder")
        self.options, self.world, self.units = options, options.world, units
        self.trunk, self.validation = OpenClip.load(options.trunk), Validation(options.world)
        self.rows, self._known = self._read(), dict[Hashable, Tensor]()
        self.model: nn.Module = PairedHeads(self.rows["picture"].shape[1])

    def _read(self) -> dict[str, Tensor]:
        """Vectors (N, D) and facts of all rows, kept in the cache under the trunk's name and place of a word."""
        o = self.options
        named = [o.trunk, probe(self.trunk), o.world.digest, o.seed, self.units, SCENES]
        name = hashlib.sha256(f"{named}".encode()).hexdigest()[:12]
        return stored_tensors(o.cache and o.cache / f"trunk-{name}.safetensors", self._encoded)

    def _encoded(self) -> dict[str, Tensor]:
        starts = progress(range(0, self.units, CHUNK), f"encoding {2 * self.units:,} pictures")
        chunks = [dict(self._chunk(range(start, min(start + CHUNK, self.units)))) for start in starts]
        return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}

    def _chunk(self, units: range) -> Iterator[tuple[str, Tensor]]:
        """Some units by column: what the trunk makes of pictures and captions, and what is known of each."""
        drawer, numbers = self._drawing
        streams = [batches.stream(self.options.seed, 0, "unit", unit) for unit in units]
        items, rngs = drawer.items(streams, SCENES)
        yield "picture", self.trunk.image(to_uint8(batches.render(self.world, items, rngs)))
        yield from zip(KINDS[1:], self.trunk.text(batches.all_captions(items)).chunk(2), strict=True)
        known = numbers.picture_facts(items), numbers.caption_facts(items, 0), numbers.caption_facts(items, 1)
        for kind, facts in zip(KINDS, known, strict=True):
            yield from ((f"{kind}.{name}", column) for name, column in vars(facts).items())

    @cached_property
    def _drawing(self) -> tuple[batches.Drawer, batches.Numbers]:
        return batches.Drawer(self.world), batches.Numbers(self.world)

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """Some units, both pictures of each side by side."""
        rng = np.random.default_rng((self.options.seed, step))
        size = min(self.options.batch_size(progress) // 2, self.units)
        units = torch.from_numpy(rng.permutation(self.units)[:size][rank::ranks])
        rows = torch.stack([2 * units, 2 * units + 1], 1).flatten()
        facts = [
            Facts(*(self.rows[f"{kind}.{field.name}"][rows] for field in fields(Facts))) for kind in KINDS
        ]  # fmt: skip
        return {"facts": facts} | {kind: self.rows[kind][rows].to(self.options.device) for kind in KINDS}

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        return model(batch)

    def evaluate(self, model: Any) -> dict[str, float]:
        """With the heads, and of the trunk alone."""

        def texts(some: list[str]) -> Tensor:
            return self._once(("text", *some), lambda: self.trunk.text(some))

        def pictures(pixels: Tensor) -> Tensor:
            shown = to_uint8(pixels)
            return self._once(hashlib.sha256(shown.tobytes()).digest(), lambda: self.trunk.image(shown))

        alone = self.validation.figures(texts, pictures)
        found = self.validation.figures(
            lambda some: heads(model.space, texts=texts(some)),
            lambda pixels: heads(model.space, pictures=pictures(pixels)),
        )
        return found | {f"trunk_{name}": value for name, value in alone.items()}

    def _once(self, key: Hashable, encode: Callable[[], Tensor]) -> Tensor:
        """The trunk is frozen: what an evaluation asks, it asks again."""
        if key not in self._known:
            self._known[key] = encode()
        return self._known[key]

    def export(self, model: Any, folder: Any) -> None:
        save_heads(model.space, self.trunk, self.options.trunk, folder)
