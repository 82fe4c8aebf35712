"""How long drawing takes, from what the queue remembers."""

from collections.abc import Iterable

from studio.requests import ImageRequest
from studio.studio import Studio

LATEST = 200  # jobs that are looked at

# Jobs of one batch are begun and ended together, and some were found and not drawn: only pictures that were made
# between a job's beginning and its end count, and time in which several jobs were drawn counts once.
DRAWN = """
SELECT jobs.started, jobs.ended, count(*) * max(1, ifnull(json_extract(jobs.request, '$.steps'), 1)) AS work
FROM (SELECT * FROM jobs WHERE state = 'done' AND started IS NOT NULL ORDER BY number DESC LIMIT ?) AS jobs
JOIN pictures ON pictures.job = jobs.id AND pictures.digest = ? AND pictures.made BETWEEN jobs.started AND jobs.ended
GROUP BY jobs.id ORDER BY jobs.started
"""


def pace(studio: Studio, digest: str) -> float | None:
    """Seconds a picture takes for each of its steps, by the latest jobs of the model `digest`; None where there are
    none.
    """
    rows = studio.house.database.rows(DRAWN, LATEST, digest)
    work = sum(row["work"] for row in rows)
    return busy((row["started"], row["ended"]) for row in rows) / work if work else None


def busy(spans: Iterable[tuple[float, float]]) -> float:
    """Seconds that lie in at least one of `spans`, which come in the order of their beginnings."""
    total, until = 0.0, float("-inf")
    for begin, end in spans:
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def work(requests: Iterable[ImageRequest]) -> int:
    """Pictures times steps."""
    return sum(request.count * (request.steps or 1) for request in requests)
