"""Concurrent clients of every interface: nothing is lost or repeated, and memory does not grow."""

import asyncio
import base64
import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import mcp
import psutil
import pytest
from page_kit import Server
from waiting import TIMEOUT

from studio import Studio, maintenance
from studio.home import Home

MODEL, STEPS = "fake:0.01", 2
WARM = 0.2  # of the time, after which memory is looked at first
GROWTH = 1.05

Door = Callable[[str, str, Path], str]  # (address, prompt, home) -> sha256 of the picture that came back


def a1111(address: str, prompt: str, home: Path) -> str:
    report = {"prompt": prompt, "steps": STEPS, "width": 128, "height": 128}
    answer = httpx.post(f"{address}/sdapi/v1/txt2img", json=report, timeout=TIMEOUT).raise_for_status()
    return hashlib.sha256(base64.b64decode(answer.json()["images"][0])).hexdigest()


def api(address: str, prompt: str, home: Path) -> str:
    with httpx.Client(base_url=f"{address}/api/v1", timeout=TIMEOUT) as client:
        job = client.post("/jobs", json={"prompt": prompt, "steps": STEPS}).raise_for_status().json()
        while not job["ended"]:
            time.sleep(0.02)
            job = client.get(f"/jobs/{job['id']}").raise_for_status().json()
        return job["pictures"][0]["sha256"]


def tools(address: str, prompt: str, home: Path) -> str:
    async def call() -> str:
        async with mcp.Client(f"{address}/mcp") as client:
            results = await client.call_tool("generate", {"prompt": prompt, "steps": STEPS})
            return results.structured_content["jobs"][0]["pictures"][0]["sha256"]

    return asyncio.run(call())


def python(address: str, prompt: str, home: Path) -> str:
    with Studio(home) as studio:
        return Path(studio.generate(prompt, model=MODEL, steps=STEPS)[0].path).stem


DOORS: tuple[Door, ...] = (a1111, api, tools, python)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    results = Server(tmp_path / "home", MODEL)
    yield results
    results.close()


def memory(server: Server) -> int:
    """Bytes held by the server and its worker."""
    process = psutil.Process(server.process.pid)
    return sum(item.memory_info().rss for item in (process, *process.children(recursive=True)))


@pytest.mark.parametrize(
    ("clients", "seconds"),
    [(4, 3), pytest.param(8, 600, marks=[pytest.mark.slow, pytest.mark.timeout(1500)])],
    ids=["short", "long"],
)
def test_concurrent_clients_lose_nothing_and_memory_is_stable(server: Server, clients: int, seconds: float) -> None:
    over, got, begin = threading.Event(), dict[str, str](), time.monotonic()

    def ask(number: int) -> None:
        for turn in itertools.count():
            door = DOORS[(number + turn) % len(DOORS)]
            prompt = f"a face for client {number}, turn {turn}, by {door.__name__}"
            got[prompt] = door(server.url.rstrip("/"), prompt, server.home)
            if over.is_set() and turn:
                return

    with ThreadPoolExecutor(clients) as pool:
        requests = [pool.submit(ask, number) for number in range(clients)]
        time.sleep(WARM * seconds)
        warm = memory(server)
        over.wait(max(0.0, begin + seconds - time.monotonic()))
        held = memory(server)
        over.set()
        for item in requests:
            item.result()
    home = Home(server.home)
    rows = home.database.rows("SELECT prompt, sha256 FROM artifacts")
    assert {row["prompt"]: row["sha256"] for row in rows} == got and len(rows) == len(got) >= 2 * clients
    assert home.queue.counts() == {"done": len(got)} and list(maintenance.inspect(home)) == []
    print(f"{len(got)} pictures, {warm >> 20} -> {held >> 20} MiB")
    if seconds > 60:
        assert held < GROWTH * warm, f"{warm >> 20} -> {held >> 20} MiB"
