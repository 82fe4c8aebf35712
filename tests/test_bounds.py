"""What many do at once: pictures that are small and large, bodies, streams. The memory they take is bounded, and given
back."""

import asyncio
import base64
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_kit import file, send
from page_kit import Server
from PIL import Image
from queue_kit import named
from starlette.requests import Request

from studio.api import v1
from studio.api.routing import Rejected, Served
from studio.studio import Studio

MB = 2**20


def memory(server: Server, what: str) -> int:
    """Bytes that a server holds (VmRSS), or held at most (VmHWM)."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(rf"{what}:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


def test_small_files_of_large_pictures_are_decoded_a_few_at_a_time(doors: Server) -> None:
    data = base64.b64encode(file(Image.fromarray(np.zeros((4096, 4096), np.uint16)))).decode()
    assert len(data) < MB
    larger = {"image": data, "resize_mode": 1, "upscaling_resize_w": 64, "upscaling_resize_h": 64}
    job = {"prompt": "a", "style": "none such", "image": {"data": data}, "strength": 0.5}
    asked: list[tuple[str, dict[str, Any], int]] = [("/sdapi/v1/extra-single-image", larger, 200)] * 4
    asked += [("/api/v1/jobs", job, 422)] * 4
    before = memory(doors, "VmRSS")
    Path(f"/proc/{doors.process.pid}/clear_refs").write_text("5")  # what it held at most is counted anew
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda one: send(doors, "POST", *one[:2]), asked))
    assert [answer.status for answer in answers] == [status for *_, status in asked]
    assert memory(doors, "VmHWM") - before < 500 * MB
    assert memory(doors, "VmRSS") - before < 200 * MB


def test_streams_of_events_are_bounded(tmp_path: Path) -> None:
    with Studio(tmp_path) as studio:
        studio.queue.submit(named("a" * 64))
        studio.queue.cancel(["a" * 64])
        served = Served(studio, "fake")

        async def run() -> None:
            request = Request({"type": "http", "headers": []})
            stream = v1._told(served, v1.describe_job(served, "a" * 64))
            await anext(stream)
            assert len(served.streams) == 1
            served.streams.update(range(v1.STREAMS - 1))
            with pytest.raises(Rejected, match="streams of events"):
                await v1.events(served, "a" * 64, request)
            assert [one async for one in stream] and len(served.streams) == v1.STREAMS - 1
            assert (await v1.events(served, "a" * 64, request)).status_code == 200

        asyncio.run(run())


def test_a_thousand_jobs_of_ten_thousand_are_listed_in_a_moment(tmp_path: Path) -> None:
    with Studio(tmp_path) as studio:
        text = named("a").request.model_dump_json()
        rows = [(f"{n:064}", text, "x", n, 1.0) for n in range(10_000)]
        with studio.store.database.writing() as connection:
            connection.executemany("INSERT INTO jobs (id, request, company, place, submitted) VALUES (?,?,?,?,?)", rows)
        began = time.process_time()
        listed = v1.list_jobs(Served(studio, "fake"), limit=1000)["jobs"]
        assert [job["ahead"] for job in listed] == list(range(1000)) and studio.queue.ahead(f"{5000:064}") == 5000
        assert time.process_time() - began < 2, "it took ten seconds"
