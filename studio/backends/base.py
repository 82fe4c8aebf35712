"""The one interface between the studio and whatever makes media."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from studio.backends.registry import no_task
from studio.capabilities import Capabilities
from studio.events import Progress, Reading, Suggestion, Vector
from studio.media import Artifact

Made = Progress | Artifact | Vector | Suggestion | Reading
# Does resolved requests of equal batch key -> (number of the request, event). The second argument says whether previews
# are wanted. Dropping the iterator cancels. Refused, for all of them, where one can't be done. An artifact is the same,
# bit for bit, in whatever company and order it is made.
Handler = Callable[[Sequence[Any], bool], Iterator[tuple[int, Made]]]


class Backend(Protocol):
    """A model that the studio can use. All but `load` and the handlers are cheap and import no torch. It is asked for
    `group` artifacts at a time, a multiple of every batch shape; where one fails, so many are made again.
    """

    group: int = 64

    @property
    def tasks(self) -> Mapping[str, Handler]:
        """What it can do: a handler a task of `studio.requests.REQUESTS`."""

    def capabilities(self) -> Capabilities:
        """Styles, schedulers and ranges; Refused where the model's files are missing or damaged."""

    def check(self) -> None:
        """Refused where its files are missing or damaged, as far as that is seen without reading them through."""
        self.digest()

    def digest(self) -> str:
        """Hex digest of the weights: part of a job's identity."""

    def space(self) -> str:
        """The semantic space's name: vectors of two spaces don't compare. "" where it has none; Refused as `digest`."""

    def load(self) -> None:
        """Bring the model into memory, once; Refused with a sentence that says which file is missing or altered."""

    def batch_key(self, request: Any) -> Hashable:
        """Requests of equal keys may be asked for at once."""
        return request.batch_key()


def one_by_one(make: Callable[[Any], Iterator[Made]]) -> Handler:
    """A handler for what does one request, and shares nothing with others."""

    def handler(requests: Sequence[Any], previews: bool) -> Iterator[tuple[int, Made]]:
        for number, request in enumerate(requests):
            yield from ((number, event) for event in make(request))

    return handler


def run(backend: Backend, request: Any, previews: bool = False) -> Iterator[Made]:
    """Do one resolved request."""
    yield from (event for _, event in run_batch(backend, [request], previews))


def run_batch(backend: Backend, requests: Sequence[Any], previews: bool = True) -> Iterator[tuple[int, Made]]:
    """Do resolved requests of equal batch key with the handler of their task; Refused where there is none."""
    task = requests[0].task
    if task not in backend.tasks:
        raise no_task(backend.capabilities(), task)
    yield from backend.tasks[task](requests, previews)
