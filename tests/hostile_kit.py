"""What the tests of hostile requests share: the studio's doors, requests that no client tidies up, and a trap.

What would reach out would knock at the trap, a socket of the tests' own.
"""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from page_kit import Server
from waiting import TIMEOUT

NOBODY = "0" * 64
JSON = {"Content-Type": "application/json"}


class Answer(NamedTuple):
    """What came back. `sentence` is the error of a door for programs."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def sentence(self) -> str:
        return str(json.loads(self.body)["error"])


@pytest.fixture(scope="session")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("home"), "fake")
    yield server
    server.kill()  # Gradio tells the terminal of what it refuses


@pytest.fixture(scope="session")
def trap() -> Iterator[tuple[str, list[Any]]]:
    """The address of a socket, and who knocked there."""
    knocks: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                knocks.append(connection.recv(1000))
                connection.close()

        threading.Thread(target=listen, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", knocks


def send(doors: Server, method: str, path: str, body: Any = None, **more: Any) -> Answer:
    """One request, its path as it is: no client tidies it up."""
    source = (more.get("source", "127.0.0.1"), 0)
    connection = http.client.HTTPConnection("127.0.0.1", doors.port, timeout=TIMEOUT, source_address=source)
    headers = more.get("headers") or {}
    if isinstance(body, dict):
        body, headers = json.dumps(body).encode(), {**JSON, **headers}
    connection.request(method, path, body, headers, encode_chunked=more.get("chunked", False))
    with connection.getresponse() as answer:
        got = Answer(answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()})
    connection.close()
    return got


def nothing_happened(doors: Server) -> None:
    jobs = json.loads(send(doors, "GET", "/api/v1/jobs").body)
    assert jobs["counts"] == {} and jobs["paused"] is False
    assert not list((doors.home / "cache").glob("upload-*"))
