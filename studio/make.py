"""Jobs from request to files: what the commands run in their own process and the page's worker in another."""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

from models.messages import Refused
from studio.backends.base import Backend
from studio.events import Done, Failed, Progress, Result, Saved
from studio.metadata import Job
from studio.requests import ImageRequest, company, job_id
from studio.shelves import Shelf


def make(backend: Backend, request: ImageRequest, shelf: Shelf) -> Generator[Progress | Saved, None, None]:
    """Do a resolved request onto `shelf`, each picture whole as soon as it is finished.

    Pictures that are there are found, not drawn again. Refused where it can't be done or a picture can't be written;
    dropping the iterator cancels and leaves what is whole.
    """
    for _, event in make_together(backend, [request], shelf):
        if isinstance(event, Failed):
            raise Refused(event.sentence)
        if not isinstance(event, Done):
            yield event


def make_together(
    backend: Backend, requests: Sequence[ImageRequest], shelf: Shelf, previews: bool = True
) -> Generator[tuple[int, Progress | Saved | Done | Failed], None, None]:
    """Do resolved requests for one model onto `shelf`; each event comes with the number of its request.

    Those of equal `company` share batches; only pictures that it lacks are drawn. Every request ends with Done or
    Failed, and one that fails does not spoil the others. Refused, with the rest undone, where a picture can't be
    written or the model can't be loaded. Dropping the iterator cancels; to cancel one request, drop it and go on with
    the others: what they have is found.
    """
    yield from ((number, Progress(0, 0)) for number in range(len(requests)))  # begun, before anything can go wrong
    began, digest = time.monotonic(), backend.digest() if requests else ""
    orders = [_Order(number, Job(request, job_id(request, digest), digest)) for number, request in enumerate(requests)]
    for order in orders:
        yield from ((order.number, event) for event in order.find(shelf))
    pieces = [piece for order in orders for piece in order.pieces()]
    if pieces:
        backend.load()
    for group in _companies(pieces):
        for piece, event in _drawn(backend, group, previews):
            for said in piece.order.take(piece, event, shelf, time.monotonic() - began):
                yield piece.order.number, said


@dataclass
class _Order:
    """A request on its way: the pictures that are `left` to be drawn, and how far each piece of it is."""

    number: int
    job: Job
    left: set[int] = field(default_factory=set)
    steps: dict[int, int] = field(default_factory=dict)

    def find(self, shelf: Shelf) -> Iterator[Saved | Done]:
        """The pictures that are there; the others are left."""
        found = shelf.found(self.job)
        yield from found.values()
        self.left = set(range(self.job.request.count)) - set(found)
        if not self.left:
            yield Done()

    def pieces(self) -> "list[_Piece]":
        """What is left, as requests: the whole one, else one a picture, for a picture has its seed and its shape."""
        request, seeds = self.job.request, self.job.request.seeds()
        whole = len(self.left) == request.count
        made = [_Piece(self, 0, request)] if whole else [_Piece.alone(self, i, seeds[i]) for i in sorted(self.left)]
        self.steps = {piece.first: 0 for piece in made}
        return made

    def take(
        self, piece: "_Piece", event: Progress | Result | Failed, shelf: Shelf, seconds: float
    ) -> Iterator[Progress | Saved | Done | Failed]:
        """What an event of a piece is to the whole request; a finished picture is written."""
        if isinstance(event, Progress):
            self.steps[piece.first] = event.step
            step, total = sum(self.steps.values()), event.total * len(self.steps)
            previews = {piece.first + index: image for index, image in event.previews.items()}
            yield replace(event, step=step, total=total, previews=previews)
        elif isinstance(event, Failed):
            self.left.clear()
            yield event
        elif piece.first + event.index in self.left:
            yield self._save(replace(event, index=piece.first + event.index), shelf, seconds)
            if not self.left:
                yield Done()

    def _save(self, result: Result, shelf: Shelf, seconds: float) -> Saved:
        path = shelf.keep(self.job, result)
        self.left.remove(result.index)
        return Saved(str(path), result.index, result.seed, result.score, seconds)


@dataclass(frozen=True)
class _Piece:
    """The pictures of an order from `first` on, as a request of their own."""

    order: _Order
    first: int
    request: ImageRequest

    @staticmethod
    def alone(order: _Order, index: int, seed: int) -> "_Piece":
        return _Piece(order, index, order.job.request.model_copy(update={"seed": seed, "count": 1}))

    @property
    def open(self) -> bool:
        return any(self.first + index in self.order.left for index in range(self.request.count))


def _companies(pieces: list[_Piece]) -> list[list[_Piece]]:
    groups: dict[object, list[_Piece]] = {}
    for piece in pieces:
        groups.setdefault(company(piece.request), []).append(piece)
    return list(groups.values())


def _drawn(
    backend: Backend, pieces: list[_Piece], previews: bool
) -> Iterator[tuple[_Piece, Progress | Result | Failed]]:
    """Pieces drawn together. Where one of them spoils it, those that are still open are drawn each on its own."""
    try:
        for number, event in backend.run_together([piece.request for piece in pieces], previews):
            yield pieces[number], event
    except Refused as refusal:
        if len(pieces) == 1:
            yield pieces[0], Failed(str(refusal))
            return
        for piece in pieces:
            if piece.open:
                yield from _drawn(backend, [piece], previews)


def explain(error: Exception) -> str:
    """What went wrong inside a model, as a sentence."""
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # torch's allocator
        return "the memory does not suffice; ask for fewer pictures at once."
    first = (str(error).splitlines() or [""])[0][:200]
    return f"the model failed ({type(error).__name__}: {first}); please report it with what is in the terminal."
