"""What sharing work out by Ray costs: `python benchmarks/cluster.py`.

Jobs of the model that takes no time, written into a folder: here, and by two local nodes of one processor each, which
are there already. Alone each picture is a call; together eight are one. The median of ratios of pairs in turns.
"""

import tempfile
from functools import partial
from pathlib import Path

from timing import parser, ratio, write  # the file beside this one

from studio.backends.base import Backend, open_backend
from studio.backends.cluster import opened
from studio.planner import Job, plan
from studio.requests import make_request
from studio.run import run_jobs
from studio.sinks import FolderSink


def done(backend: Backend, jobs: list[Job]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        list(run_jobs(backend, jobs, FolderSink(Path(folder)), previews=False))


def compared(address: str, count: int, repeats: int) -> dict[str, tuple[float, float, float]]:
    """Seconds here, there, and their ratio."""
    rows = {}
    with opened(open_backend, "fake", None) as here, opened(open_backend, "fake", address) as there:
        for name, shape in (("alone", 1), ("together", 8)):
            about = {"model": "fake", "steps": 1, "shape": shape}
            jobs = plan([make_request(prompt=f"face {n}", seed=n, **about) for n in range(count)], here)
            rows[name] = ratio(partial(done, here, jobs), partial(done, there, jobs), repeats)
    return rows


def main() -> None:
    asked = parser(__doc__ or "", jobs=200, repeats=5).parse_args()
    from ray.cluster_utils import Cluster

    Path("/tmp/ray").mkdir(exist_ok=True)  # Ray's own test kit writes into it
    cluster = Cluster(True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        rows = compared(cluster.address, asked.jobs, asked.repeats)
    finally:
        cluster.shutdown()
    each = 1000 / asked.jobs
    lines = (
        f"{name:10s} {here * each:7.2f} ms a job here {there * each:7.2f} ms there  x{over:.2f}"
        for name, (here, there, over) in rows.items()
    )
    write(rows, lines, asked)


if __name__ == "__main__":
    main()
