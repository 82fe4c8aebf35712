"""The one interface between the studio and whatever makes pictures."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from studio.capabilities import Capabilities
from studio.events import Progress, Result, Vector
from studio.requests import ImageRequest, Request


class Backend(Protocol):
    """A model that the studio can use.

    All but `load`, `run` and `run_together` are cheap and import no torch: the page asks them before it is up.
    """

    def capabilities(self) -> Capabilities:
        """Styles, schedulers and ranges; Refused where the model's files are missing or damaged."""

    def digest(self) -> str:
        """Hex digest of the weights: part of a job's identity."""

    def space(self) -> str:
        """What the semantic space is called: vectors of two spaces don't compare. "" where the model has none; Refused
        as for `digest`.
        """

    def load(self) -> None:
        """Bring the model into memory, once; Refused with a sentence that says which file is missing or altered."""

    def run(self, request: Request) -> Iterator[Progress | Result | Vector]:
        """Do a resolved request. Between two events the caller may stop: dropping the iterator cancels the work."""

    def run_together(
        self, requests: Sequence[ImageRequest], previews: bool = True
    ) -> Iterator[tuple[int, Progress | Result]]:
        """Do resolved requests of equal `company`, in shared batches of their shape: each event with the number of its
        request. A request's progress counts the batches that hold pictures of it; `previews` False leaves them out,
        where nobody looks: they cost a tenth of the drawing.

        A picture is the same, bit for bit, in whatever company and order it is drawn. Refused, for all of them, where
        one can't be done; dropping the iterator cancels.
        """
