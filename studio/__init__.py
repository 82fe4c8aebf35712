"""Requests, the worker, the doors: everything a person touches. Imports no torch; `studio.backends` alone does.

    from studio import Studio

    with Studio() as studio:
        picture = studio.generate("a smiling cat")[0]

What is named here is imported when it is asked for, so that a look at the version costs nothing.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.messages import Refused
    from studio.clips import ClipFile
    from studio.gallery import Filter
    from studio.studio import Studio

# Threads that wait for one another sleep: where they spin, a picture beside other work takes several times as long.
# libgomp reads it when it is loaded, by torch, in this process and in workers.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__all__ = ["ClipFile", "Filter", "Refused", "Studio"]

_HOMES = {
    "Filter": "studio.gallery",
    "Refused": "models.messages",
    "Studio": "studio.studio",
    "ClipFile": "studio.clips",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
