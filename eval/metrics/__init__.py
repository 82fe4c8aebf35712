"""The metrics, one file a subject: a file in this folder registers its metrics by `@metric`, and nothing else does."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eval.rows import Row

if TYPE_CHECKING:
    from eval.context import Context

Measure = Callable[["Context"], Iterator[Row]]


@dataclass(frozen=True)
class Metric:
    """Rows of the table from an evaluation context."""

    rows: Measure
    needs: tuple[str, ...] = ()  # of the generator, keys of `LACKS`
    final: bool = False  # measured where it is asked for by name alone, and of what ships


METRICS: dict[str, Metric] = {}


def metric(name: str, *needs: str, final: bool = False) -> Callable[[Measure], Measure]:
    def register(rows: Measure) -> Measure:
        METRICS[name] = Metric(rows, needs, final)
        return rows

    return register


for module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{module.name}")
