"""Who may use the studio's doors, how many connections it holds, and how much memory they take together."""

import asyncio
import base64
import contextlib
import json
import logging
import resource
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hostile_kit import send
from page_kit import Server, get
from picture_kit import coded
from PIL import Image
from queue_kit import named
from starlette.requests import Request
from waiting import memory, until

from studio.api import guard as module
from studio.api import v1
from studio.api.guard import FREE, Guard, is_loopback
from studio.api.routing import Rejected, Served
from studio.page.serve import _fetch_nothing
from studio.studio import Studio

OURS = "127.0.0.1:7860"


REQUESTS: list[tuple[dict[str, str], str, bool]] = [
    ({"host": OURS}, "/", True),
    ({"host": "localhost:7860"}, "/", True),
    ({"host": "[::1]:7860"}, "/", True),
    ({"host": OURS, "origin": f"http://{OURS}"}, "/gradio_api/queue/join", True),
    ({"host": OURS, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, "/", True),
    ({"host": "evil.example"}, "/", False),
    ({"host": "127.0.0.1.evil.example"}, "/", False),
    ({"host": "192.168.1.5:7860"}, "/", False),
    ({"host": "[::1"}, "/", False),
    ({}, "/", False),
    ({"host": OURS, "origin": "https://evil.example"}, "/gradio_api/queue/join", False),
    ({"host": OURS, "origin": "null"}, "/gradio_api/queue/join", False),
    ({"host": OURS, "origin": "http://127.0.0.1:9999"}, "/gradio_api/queue/join", False),
    ({"host": OURS, "origin": "http://[::1"}, "/gradio_api/queue/join", False),
    ({"host": OURS, "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}, "/downloads/x", False),
    ({"host": OURS}, "/gradio_api/file=http://169.254.169.254/", False),
    ({"host": OURS, "sec-fetch-mode": "navigate"}, "/gradio_api/file/https://evil.example/x.png", False),
    ({"host": OURS}, "/gradio_api/file= HTTPS://evil.example/x.png", False),
]


def test_other_sites_are_kept_out() -> None:
    allowed = [Guard(_nothing).problem(headers, path) == "" for headers, path, _ in REQUESTS]
    assert [row for row, said in zip(REQUESTS, allowed, strict=True) if row[2] is not said] == []


def test_addresses_of_this_computer() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.1", "example.com", "")))
    assert Guard(_nothing, anywhere=True).problem({"host": "192.168.1.5:7860"}, "/") == ""
    assert Guard(_nothing, anywhere=True).problem({"host": "evil.example"}, "/"), "no name but an address: rebinding"


def test_gradio_fetches_nothing_of_what_passes() -> None:
    from gradio import processing_utils, routes

    _fetch_nothing()
    passed_on, fetched = routes.secure_url_stream_response, processing_utils.async_ssrf_protected_get
    asked: list[Any] = [passed_on("https://a.example/x.png", None), fetched("https://a.example/")]  # type: ignore[arg-type]
    for answer in asked:
        with pytest.raises(Exception, match=r"403|fetches nothing from the network"):
            asyncio.run(answer)


async def asked(guard: Guard, body: bytes = b"", password: str = "", client: str = "127.0.0.1") -> int:
    """The status of an answer."""
    headers = [(b"host", OURS.encode())]
    if password:
        headers.append((b"authorization", b"Basic " + base64.b64encode(b":" + password.encode())))
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    scope = {"type": "http", "path": "/api/v1/jobs", "headers": headers, "client": (client, 9)}
    await guard(scope, receive, send)
    return statuses[0]


def test_the_bodies_of_all_requests_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOGETHER", 100_000)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if (await receive())["type"] == "http.request":
            await gate.wait()
            await send({"type": "http.response.start", "status": 200})

    async def run() -> list[int]:
        guard = Guard(app)
        first = asyncio.create_task(asked(guard, bytes(80_000)))
        await asyncio.sleep(0)
        refused, small = await asked(guard, bytes(70_000)), asyncio.create_task(asked(guard, bytes(30_000)))
        await asyncio.sleep(0)
        gate.set()
        answers = [refused, await first, await small, await asked(guard, bytes(70_000))]
        assert guard.held == 0
        return answers

    gate = asyncio.Event()
    assert asyncio.run(run()) == [503, 200, 200, 200]


def test_wrong_passwords_are_slowed_by_address_and_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    now = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})

    guard, right = Guard(app, password="correct horse"), "correct horse"

    def tried(password: str, client: str = "127.0.0.1") -> int:
        return asyncio.run(asked(guard, password=password, client=client))

    assert [tried("") for _ in range(20)] == [401] * 20, "a browser asks without one first"
    assert [tried("wrong") for _ in range(700)] == [401] * FREE + [429] * (700 - FREE)
    assert tried(right) == 429 and tried(right, "127.0.0.2") == 200
    looked_at = 0
    for _ in range(600):
        now[0] += 1
        looked_at += tried("wrong") == 401
    assert looked_at < 20
    now[0] += 61
    assert tried(right) == 200
    assert capsys.readouterr().err.count("wrong passwords came from 127.0.0.1") == 1
    statuses = [tried("wrong", f"2001:db8::{n:x}") for n in range(10)]
    assert statuses == [401] * FREE + [429] * (10 - FREE), "one subscriber has many addresses"


async def _nothing(*_: object) -> None:
    raise AssertionError("not reached")


# --- Connections ------------------------------------------------------------------------------------------------------


DESCRIPTORS = 1024  # what a process may have where nobody has changed it


@contextlib.contextmanager
def silent(port: int, number: int, words: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many connections that say these words and no more."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(number):
            opened.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)))
            with contextlib.suppress(OSError):  # it was refused and closed already
                opened[-1].sendall(words)
        yield opened


def test_many_that_send_nothing_are_refused_and_the_studio_lives(doors: Server) -> None:
    resource.prlimit(doors.process.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    with silent(doors.port, DESCRIPTORS + 100) as opened:
        assert opened[-1].recv(100).startswith(b"HTTP/1.1 503 ")
    until(lambda: send(doors, "GET", "/api/v1/health").status == 200)
    assert doors.process.poll() is None


def test_who_leaves_in_the_middle_of_an_upload_is_no_error(url: str) -> None:
    said: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = said.append  # type: ignore[method-assign]
    logging.getLogger("uvicorn.error").addHandler(handler)
    port = int(url.rpartition(":")[2])
    part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nhalf of it'
    for path in (b"/gradio_api/upload", b"/api/v1/jobs", b"/mcp"):
        head = b"POST %b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 9999\r\n" % (path, port)
        with silent(port, 5, head + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" + part):
            time.sleep(0.1)  # it is being read
    for _ in range(3):
        assert get(f"{url}/api/v1/health")[0] == 200
        time.sleep(0.1)
    logging.getLogger("uvicorn.error").removeHandler(handler)
    assert [record.getMessage() for record in said] == []


def test_half_a_request_is_not_waited_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = int(url.rpartition(":")[2])
    head = b"POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port
    whole = b"GET /api/v1/health HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port
    with monkeypatch.context() as patch:
        patch.setattr(module, "PATIENCE", 0.2)
        patch.setattr(module, "BODY_LOOKS", 3)
        for words in (b"", head, head + b"Content-Length: 9\r\n\r\n{", whole + head):
            with silent(port, 1, words) as (opened,):
                while opened.recv(10_000):
                    pass
    status, body = get(f"{url}/api/v1/health")
    assert status == 200 and json.loads(body)["status"] == "ok"


# --- Bounds -----------------------------------------------------------------------------------------------------------


MB = 2**20


def test_small_files_of_large_pictures_are_decoded_a_few_at_a_time(doors: Server) -> None:
    data = coded(Image.fromarray(np.zeros((4096, 4096), np.uint16)))
    assert len(data) < MB
    start = {"prompt": "a", "styles": ["none such"], "init_images": [data]}
    job = {"prompt": "a", "style": "none such", "image": {"data": data}, "strength": 0.5}
    asked: list[tuple[str, dict[str, Any], int]] = [("/sdapi/v1/img2img", start, 422)] * 4
    asked += [("/api/v1/jobs", job, 422)] * 4
    pid = doors.process.pid
    before = memory("VmRSS", pid)
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # what it held at most is counted anew
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda one: send(doors, "POST", *one[:2]), asked))
    assert [answer.status for answer in answers] == [status for *_, status in asked]
    assert memory("VmHWM", pid) - before < 500 * MB
    assert memory("VmRSS", pid) - before < 200 * MB


def test_streams_of_events_are_bounded(tmp_path: Path) -> None:
    with Studio(tmp_path) as studio:
        studio.queue.submit(named("a" * 64))
        studio.queue.cancel(["a" * 64])
        served = Served(studio, "fake")

        async def run() -> None:
            request = Request({"type": "http", "headers": []})
            stream = v1._event_stream(served, v1.describe_job(served, "a" * 64))
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
            connection.executemany(
                "INSERT INTO jobs (id, request, batch_key, position, submitted) VALUES (?,?,?,?,?)", rows
            )
        began = time.process_time()
        listed = v1.list_jobs(Served(studio, "fake"), limit=1000)["jobs"]
        assert [job["ahead"] for job in listed] == list(range(1000)) and studio.queue.ahead(f"{5000:064}") == 5000
        assert time.process_time() - began < 2, "it took ten seconds"
