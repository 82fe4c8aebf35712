"""Connections that send nothing, or half of something: the studio holds a bounded number, and lives."""

import contextlib
import json
import logging
import resource
import socket
import time
from collections.abc import Iterator

import pytest
from hostile_kit import send
from page_kit import Server, get
from patience import until

from studio.api import connections

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
    monkeypatch.setattr(connections, "PATIENCE", 0.2)
    monkeypatch.setattr(connections, "BODY_LOOKS", 3)
    port = int(url.rpartition(":")[2])
    head = b"POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port
    whole = b"GET /api/v1/health HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port
    for words in (b"", head, head + b"Content-Length: 9\r\n\r\n{", whole + head):
        with silent(port, 1, words) as (opened,):
            while opened.recv(10_000):
                pass
    status, body = get(f"{url}/api/v1/health")
    assert status == 200 and json.loads(body)["status"] == "ok"
