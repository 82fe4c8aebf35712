"""The one interface between the studio and whatever makes pictures."""

from collections.abc import Iterator
from typing import Protocol

from studio.capabilities import Capabilities
from studio.events import Progress, Result, Vector
from studio.requests import Request


class Backend(Protocol):
    """A model that the studio can use.

    All but `load` and `run` are cheap and import no torch: the page asks them before it is up.
    """

    def capabilities(self) -> Capabilities:
        """Styles, schedulers and ranges; Refused where the model's files are missing or damaged."""

    def digest(self) -> str:
        """Hex digest of the weights: part of a job's identity."""

    def load(self) -> None:
        """Bring the model into memory, once; Refused with a sentence that says which file is missing or altered."""

    def run(self, request: Request) -> Iterator[Progress | Result | Vector]:
        """Do a resolved request. Between two events the caller may stop: dropping the iterator cancels the work."""
