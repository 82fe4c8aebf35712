"""Jobs from request to files: what the commands run in their own process and the page's worker in another."""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from studio.backends.base import Backend
from studio.capabilities import Refused
from studio.events import Done, Failed, Progress, Result, Saved
from studio.files import write_whole
from studio.metadata import Job, png_bytes, read
from studio.requests import ImageRequest, company, job_id

PNG_END = b"IEND\xaeB`\x82"  # Pillow reads a PNG that lacks it


def names(request: ImageRequest, job: str) -> list[str]:
    """The file name of each picture: `<job>-<index>-<seed>.png`. No word of the prompt gets into a name."""
    return [f"{job[:16]}-{index}-{seed}.png" for index, seed in enumerate(request.seeds())]


def make(backend: Backend, request: ImageRequest, folder: Path) -> Generator[Progress | Saved, None, None]:
    """Do a resolved request into `folder`, each picture whole as soon as it is finished.

    Pictures that are there are found, not drawn again. Refused where it can't be done or a picture can't be written;
    dropping the iterator cancels and leaves what is whole.
    """
    for _, event in make_together(backend, [request], folder):
        if isinstance(event, Failed):
            raise Refused(event.sentence)
        if not isinstance(event, Done):
            yield event


def make_together(
    backend: Backend, requests: Sequence[ImageRequest], folder: Path
) -> Generator[tuple[int, Progress | Saved | Done | Failed], None, None]:
    """Do resolved requests for one model into `folder`; each event comes with the number of its request.

    Those of equal `company` share batches; only pictures that `folder` lacks are drawn. Every request ends with Done or
    Failed, and one that fails does not spoil the others. Refused, with the rest undone, where a picture can't be
    written or the model can't be loaded. Dropping the iterator cancels; to cancel one request, drop it and go on with
    the others: what they have is found.
    """
    yield from ((number, Progress(0, 0)) for number in range(len(requests)))  # begun, before anything can go wrong
    began, digest = time.monotonic(), backend.digest() if requests else ""
    orders = [_Order(number, Job(request, job_id(request, digest), digest)) for number, request in enumerate(requests)]
    for order in orders:
        yield from ((order.number, event) for event in order.find(folder))
    pieces = [piece for order in orders for piece in order.pieces()]
    if pieces:
        backend.load()
    for group in _companies(pieces):
        for piece, event in _drawn(backend, group):
            for said in piece.order.take(piece, event, folder, time.monotonic() - began):
                yield piece.order.number, said


@dataclass
class _Order:
    """A request on its way: the pictures that are `left` to be drawn, and how far each piece of it is."""

    number: int
    job: Job
    left: set[int] = field(default_factory=set)
    steps: dict[int, int] = field(default_factory=dict)

    def find(self, folder: Path) -> Iterator[Saved | Done]:
        """The pictures that are there; the others are left."""
        for index, name in enumerate(names(self.job.request, self.job.id)):
            saved = _found(folder / name, self.job)
            if saved:
                yield saved
            else:
                self.left.add(index)
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
        self, piece: "_Piece", event: Progress | Result | Failed, folder: Path, seconds: float
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
            yield self._save(replace(event, index=piece.first + event.index), folder, seconds)
            if not self.left:
                yield Done()

    def _save(self, result: Result, folder: Path, seconds: float) -> Saved:
        path = folder / names(self.job.request, self.job.id)[result.index]
        write_whole(path, png_bytes(result, self.job))
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


def _drawn(backend: Backend, pieces: list[_Piece]) -> Iterator[tuple[_Piece, Progress | Result | Failed]]:
    """Pieces drawn together. Where one of them spoils it, those that are still open are drawn each on its own."""
    try:
        for number, event in backend.run_together([piece.request for piece in pieces]):
            yield pieces[number], event
    except Refused as refusal:
        if len(pieces) == 1:
            yield pieces[0], Failed(str(refusal))
            return
        for piece in pieces:
            if piece.open:
                yield from _drawn(backend, [piece])


def _found(path: Path, job: Job) -> Saved | None:
    """The picture of this job that `path` holds already, if it is whole."""
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            picture.load()
        origin, whole = read(path), path.read_bytes().endswith(PNG_END)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    if not whole or origin.get("job_id") != job.id:
        return None
    return Saved(str(path), origin["index"], origin["seed"], origin["score"], 0.0, found=True)


def explain(error: Exception) -> str:
    """What went wrong inside a model, as a sentence."""
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # torch's allocator
        return "the memory does not suffice; ask for fewer pictures at once."
    first = (str(error).splitlines() or [""])[0][:200]
    return f"the model failed ({type(error).__name__}: {first}); please report it with what is in the terminal."
