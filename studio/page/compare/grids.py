"""Grids as series: what a grid's pictures are asked for as, and the grid that a series was."""

import json

from studio.backends.registry import offered, open_backend
from studio.grid import Axis, Grid
from studio.page.series.store import Member, Series
from studio.requests import image_request, job_id, resolve
from studio.wildcards import Wildcards


def members(grid: Grid, lists: Wildcards, served: str) -> list[Member]:
    """A job a place, row by row, each model's in the shape that suits so many. Refused where a value won't do.

    `served` is the model that the studio was started with.
    """
    asked = grid.requests()
    made: dict[int, Member] = {}
    columns, rows = grid.x.labels(), grid.y.labels() if grid.y else [""]
    for model in dict.fromkeys(request.model for request in asked):
        backend = open_backend(offered(model, served))
        can, digest = backend.capabilities(), backend.digest()
        places = [place for place, request in enumerate(asked) if request.model == model]
        shape = {"shape": can.shape(len(places))}
        for place in places:
            request = resolve(asked[place].model_copy(update=shape), can, lists)
            label = " · ".join(part for part in (columns[place % len(columns)], rows[place // len(columns)]) if part)
            made[place] = Member(job_id(request, digest), label, (f"{place + 1:03}.png",), request)
    return [made[place] for place in range(len(asked))]


def grid_of(series: Series) -> Grid:
    """The grid that a series was asked for as."""
    said = json.loads(series.about["grid"])
    axes = [
        Axis(setting, tuple(values)) for name in ("x", "y") if name in said for setting, values in said[name].items()
    ]
    return Grid(image_request(**said["request"]), *axes)
