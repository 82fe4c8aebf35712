"""Pictures of several requests in shared batches: what is drawn in which batch, the progress of each request, and which
candidate of a picture is kept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from studio.events import Progress
from studio.requests import ImageRequest


@dataclass(frozen=True)
class Slot:
    """What is to be drawn: the number of its request, the index of its picture in it, its seed."""

    number: int
    index: int
    seed: int


class Batches:
    """The batches of resolved requests of one batch key, in their order, each of the shape that they share.

    Raises ValueError where the batch keys differ.
    """

    def __init__(self, requests: Sequence[ImageRequest]) -> None:
        if len({request.batch_key() for request in requests}) > 1:
            raise ValueError("these requests can't share a batch; their batch keys differ")
        slots = [
            Slot(number, index, seed)
            for number, request in enumerate(requests)
            for index, seeds in enumerate(request.candidates())
            for seed in seeds
        ]
        self._wanted = [request.best_of or 1 for request in requests]
        self._drawn: dict[tuple[int, int], list[tuple[float, Any]]] = {}
        shape = (requests[0].shape or 1) if requests else 1
        self.batches = [slots[i : i + shape] for i in range(0, len(slots), shape)]
        self._turns: dict[int, list[int]] = {}  # the batches in which a request has pictures
        for k, batch in enumerate(self.batches):
            for number in dict.fromkeys(slot.number for slot in batch):
                self._turns.setdefault(number, []).append(k)

    def progress(self, k: int, step: int, steps: int, previews: Sequence[bytes] = ()) -> Iterator[tuple[int, Progress]]:
        """`step` of `steps` of batch `k` as progress of each request in it. `previews` are one a slot, or none."""
        batch, shown = self.batches[k], list(previews) or [b""] * len(self.batches[k])
        for number in dict.fromkeys(slot.number for slot in batch):
            turns = self._turns[number]
            mine = {s.index: image for s, image in zip(batch, shown, strict=True) if image and s.number == number}
            yield number, Progress(turns.index(k) * steps + step, len(turns) * steps, mine)

    def chosen(self, slot: Slot, score: float, drawn: Any) -> Any | None:
        """What was drawn for a slot's picture with the highest score, the first of equals, once the last candidate is
        there; None before.
        """
        key = slot.number, slot.index
        self._drawn.setdefault(key, []).append((score, drawn))
        if len(self._drawn[key]) < self._wanted[slot.number]:
            return None
        return max(self._drawn.pop(key), key=lambda one: one[0])[1]
