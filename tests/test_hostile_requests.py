"""Hostile HTTP requests: status, sentence, limits, and no side effect. `trap` is a socket that must not be reached."""

import asyncio
import base64
import contextlib
import http.client
import itertools
import json
import logging
import resource
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import Command
from page_kit import Server, get
from picture_kit import as_file, coded
from PIL import Image
from queue_kit import named
from starlette.requests import Request
from tiny_files import bomb
from waiting import TIMEOUT, memory, until

from studio.api import guard as guard_module
from studio.api import v1
from studio.api.guard import BODY_LIMIT, FREE, PASSWORD_LEAST, Guard, is_loopback
from studio.api.routing import Rejected, Served
from studio.metadata.containers import png_chunk
from studio.page import serve
from studio.studio import Studio

NOBODY = "0" * 64
JSON = {"Content-Type": "application/json"}
PASSWORD = "correct horse: 正确"


class Answer(NamedTuple):
    """A response. `sentence` is its JSON error."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def sentence(self) -> str:
        return str(json.loads(self.body)["error"])


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("home"), "fake")
    yield server
    server.kill()  # Gradio tells the terminal of what it refuses


@pytest.fixture(scope="module")
def trap() -> Iterator[tuple[str, list[Any]]]:
    """The address of a socket, and the requests that it got."""
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
    """A single request; its path is sent as it is."""
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


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIO_PASSWORD", PASSWORD)
        server = Server(tmp_path_factory.mktemp("locked"), "fake")
    yield server
    server.close()


# --- Who asks ---------------------------------------------------------------------------------------------------------

CHANGES = [
    ("POST", "/sdapi/v1/txt2img"),
    ("POST", "/sdapi/v1/interrupt"),
    ("POST", "/sdapi/v1/options"),
    ("POST", "/api/v1/jobs"),
    ("DELETE", f"/api/v1/jobs/{NOBODY}"),
    ("PATCH", f"/api/v1/gallery/{NOBODY}"),
    ("POST", "/api/v1/queue/pause"),
    ("POST", "/gradio_api/queue/join"),
    ("POST", "/gradio_api/upload"),
    ("POST", "/mcp"),
]
READS = [
    ("GET", "/"),
    ("GET", f"/api/v1/gallery/{NOBODY}/file"),
    ("GET", "/api/v1/gallery"),
    ("GET", "/sdapi/v1/options"),
]
STRANGERS = {  # the guard is tested below
    "foreign origin": {"Origin": "https://evil.example"},
    "rebound name": {"Host": "evil.example"},
    "another site's script": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
}


def test_cross_site_requests_are_refused(doors: Server, subtests: pytest.Subtests) -> None:
    for (method, path), stranger in itertools.product(CHANGES + READS, STRANGERS):
        with subtests.test(path=path, stranger=stranger):
            body = {"prompt": "theirs"} if method == "POST" else None
            answer = send(doors, method, path, body, headers=STRANGERS[stranger])
            assert answer.status == 403
            words = answer.sentence if path.startswith(("/api", "/sdapi")) else answer.body.decode()
            assert words.startswith(("another web site", "this address"))
            assert "access-control-allow-origin" not in answer.headers
    nothing_happened(doors)


def test_form_content_types_are_refused(doors: Server, subtests: pytest.Subtests) -> None:
    body = b'{"prompt": "theirs", "sd_model_checkpoint": "x"}'
    kinds = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")
    for path, kind in itertools.product(("/sdapi/v1/txt2img", "/sdapi/v1/options", "/api/v1/jobs"), kinds):
        with subtests.test(path=path, kind=kind):
            answer = send(doors, "POST", path, body, headers={"Content-Type": kind})
            assert answer.status == 422 and "JSON" in answer.sentence
    nothing_happened(doors)


def test_websockets_are_refused(doors: Server) -> None:
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "x" * 24,
        "Sec-WebSocket-Version": "13",
    }
    assert send(doors, "GET", "/gradio_api/queue/join", headers=upgrade).status >= 400


# --- The password -----------------------------------------------------------------------------------------------------


def basic(password: str, user: str = "anyone") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


WRONG = {
    "none": None,
    "wrong": basic("correct horse: wrong"),
    "a part": basic(PASSWORD[:-1]),
    "longer": basic(PASSWORD + "x"),
    "as the name": basic("", PASSWORD),
    "not base64": "Basic %%%",
    "half": "Basic",
    "another scheme": "Bearer " + base64.b64encode(f"x:{PASSWORD}".encode()).decode(),
    "plain": PASSWORD.encode().decode("latin-1"),
}


def test_requests_without_the_password_are_refused(locked: Server, subtests: pytest.Subtests) -> None:
    for number, ((method, path), given) in enumerate(itertools.product(CHANGES + READS, WRONG), 2):
        with subtests.test(path=path, given=given):
            headers = {"Authorization": WRONG[given]} if WRONG[given] else {}
            body = {"prompt": "theirs"} if method == "POST" else None
            # Each from an address of its own: one that goes on guessing has to wait.
            answer = send(locked, method, path, body, headers=headers, source=f"127.0.0.{number}")
            assert answer.status == 401 and answer.headers["www-authenticate"].startswith("Basic ")
            assert b"password" in answer.body and PASSWORD.encode() not in answer.body


def test_requests_with_the_password(locked: Server) -> None:
    for path in ("/", "/sdapi/v1/options", "/api/v1/jobs"):
        assert send(locked, "GET", path, headers={"Authorization": basic(PASSWORD)}).status == 200
    stranger = {"Authorization": basic(PASSWORD), "Origin": "https://evil.example"}
    assert send(locked, "POST", "/api/v1/queue/pause", headers=stranger).status == 403, "a browser sends it along"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0 would let other computers in; add --password WORD"),
        (["--host", "::"], "would let other computers in"),
        (["--host", "192.168.1.5"], "--allow-network if whoever reaches it may see all pictures"),
        (["--password", "short"], f"give one of {PASSWORD_LEAST} characters or more"),
        (["--password", ""], "too short"),
    ],
)
def test_opening_to_the_network_needs_a_password(studio: Command, arguments: list[str], words: str) -> None:
    done = studio("open", *arguments, "--port", 0, "--model", "fake")
    assert done.code == 2 and words in done.err and done.err.count("\n") == 1


def test_listening_on_all_addresses_with_permission() -> None:
    with serve._listen("0.0.0.0", 0, others=True) as listener:
        assert listener.getsockname()[0] == "0.0.0.0"


# --- How much is sent -------------------------------------------------------------------------------------------------

UPLOAD = {"Content-Type": "multipart/form-data; boundary=x"}
PART = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
LARGE = [("/sdapi/v1/img2img", JSON, b'{"init_images": ["'), ("/api/v1/jobs", JSON, b'{"prompt": "')]
LARGE += [("/gradio_api/upload", UPLOAD, PART)]


@pytest.mark.parametrize(("path", "kind", "_"), LARGE)
def test_large_bodies_by_content_length(doors: Server, path: str, kind: dict[str, str], _: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", doors.port, timeout=TIMEOUT)
    connection.putrequest("POST", path)
    for name, value in {**kind, "Content-Length": str(BODY_LIMIT + 1)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    with connection.getresponse() as answer:
        assert answer.status == 413 and b"48 MB at most" in answer.read()
    connection.close()


@pytest.mark.parametrize(("path", "kind", "begin"), LARGE)
def test_large_chunked_bodies(doors: Server, path: str, kind: dict[str, str], begin: bytes) -> None:
    body = iter([begin, *[b"A" * 2**20] * ((BODY_LIMIT >> 20) + 4)])
    answer = send(doors, "POST", path, body, headers={**kind, "Transfer-Encoding": "chunked"}, chunked=True)
    assert answer.status == 413 and answer.body
    nothing_happened(doors)
    assert send(doors, "GET", "/api/v1/health").status == 200


NO_REQUESTS = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"prompt": ' + b"[" * 100_000,
    b'{"prompt": "a", "seed": ' + b"9" * 5_000 + b"}",
    b'{"prompt": "a", "seed": 1e999}',
    b'{"prompt": "a", "steps": NaN}',
    b'{"prompt": "a", "count": true, "batch_size": [1]}',
    b'{"prompt": {"$ne": 1}}',
    b'{"prompt": "\\ud800"}',
    b'{"prompt": "a\\u0000b"}',
    b'{"prompt": "a\\u202eb"}',
    b'{"prompt": "' + b"a" * 3_000 + b'"}',
]


def test_invalid_bodies(doors: Server, subtests: pytest.Subtests) -> None:
    for path, body in itertools.product(("/sdapi/v1/txt2img", "/api/v1/jobs"), NO_REQUESTS):
        with subtests.test(path=path, body=body[:50]):
            answer = send(doors, "POST", path, body, headers=JSON)
            assert answer.status in (400, 422) and answer.sentence and "\n" not in answer.sentence
            assert len(answer.sentence) < 500 and "Traceback" not in answer.sentence
    nothing_happened(doors)


# --- Forged choices ---------------------------------------------------------------------------------------------------


CHOICES: list[tuple[str, dict[str, Any], int]] = [
    ("/sdapi/v1/txt2img", {"override_settings": {"sd_model_checkpoint": "fake:600"}}, 404),
    ("/sdapi/v1/txt2img", {"override_settings": {"sd_model_checkpoint": {"a": 1}}}, 404),
    ("/sdapi/v1/txt2img", {"batch_size": 10**9, "n_iter": 10**9, "prompt": "{a|b}"}, 422),
    ("/sdapi/v1/options", {"sd_model_checkpoint": "/etc/passwd"}, 404),
    ("/api/v1/jobs", {"model": "diffusers:/etc"}, 422),
    ("/api/v1/jobs", {"model": "fake:x"}, 422),
    ("/api/v1/jobs", {"count": 10**9, "prompt": "{a|b}"}, 422),
    ("/api/v1/jobs", {"__class__": "x"}, 422),
]


def test_forged_choices(doors: Server, subtests: pytest.Subtests) -> None:
    for path, body, status in CHOICES:
        with subtests.test(path=path, **body):
            answer = send(doors, "POST", path, {"prompt": "a", **body})
            assert answer.status == status and answer.sentence, answer.body[:300]
    nothing_happened(doors)


# --- Where they look --------------------------------------------------------------------------------------------------


OUTSIDE = [
    "/downloads/..%2f..%2fetc%2fpasswd/png",
    "/gradio_api/file=/etc/passwd",
    "/gradio_api/file=../../../../../../etc/passwd",
    "/gradio_api/file=..%2f..%2f..%2fetc%2fpasswd",
    "/gradio_api/file/etc/passwd",
    "/gradio_api/file={home}/studio.db",
    "/gradio_api/file={home}/pictures/../studio.db",
    "/gradio_api/file=http://{trap}/",
    "/gradio_api/file=HTTPS://{trap}/",
    "/gradio_api/file/http://{trap}/x.png",
    "/gradio_api/proxy=http://{trap}/",
    "/gradio_api/custom_component/..%2f..%2fetc/x/x/passwd",
    "/static/..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/assets/..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/svelte/..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/api/v1/gallery/..%2f..%2fetc%2fpasswd",
    "/api/v1/gallery/..%2f..%2fetc%2fpasswd/file",
    "/api/v1/gallery/%00/file",
    "/api/v1/gallery/..%2f..%2fetc%2fpasswd/thumbnail",
    "/api/v1/jobs/..%2f..%2fstudio.db",
    "/api/v1/../../etc/passwd",
    "/sdapi/v1/../../../etc/passwd",
    "/docs",
    "/redoc",
]


def test_files_outside_the_gallery_are_not_served(
    doors: Server, trap: tuple[str, list[Any]], subtests: pytest.Subtests
) -> None:
    for path in OUTSIDE:
        with subtests.test(path=path):
            answer = send(doors, "GET", path.format(home=doors.home, trap=trap[0]))
            assert answer.status in (400, 403, 404, 422)
            assert b"root:" not in answer.body and b"SQLite" not in answer.body
    assert trap[1] == []


def forged(path: str) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}, "orig_name": "a.png"}


FORGED: dict[str, Any] = {
    "image": forged,
    "file": forged,
    "uploadbutton": forged,
    "video": forged,
    "imageeditor": lambda path: {"background": forged(path), "layers": [], "composite": None},
    "gallery": lambda path: [{"image": forged(path), "caption": None}],
}


@pytest.fixture(scope="module")
def takers(doors: Server) -> list[tuple[int, list[Any], list[str]]]:
    """Every page event with a file input: its number, initial inputs, and their types."""
    config = json.loads(send(doors, "GET", "/config").body)
    parts = {component["id"]: component for component in config["components"]}
    events = [(event["id"], [parts[one] for one in event["inputs"]]) for event in config["dependencies"]]
    named = [
        (n, [one["props"].get("value") for one in inputs], [one["type"] for one in inputs]) for n, inputs in events
    ]
    return [event for event in named if set(event[2]) & set(FORGED)]


def page_event(doors: Server, number: int, data: list[Any], session: str) -> dict[str, Any]:
    """The last message of a page event."""
    body = {"data": data, "fn_index": number, "session_hash": session}
    assert send(doors, "POST", "/gradio_api/queue/join", body).status == 200
    lines = send(doors, "GET", f"/gradio_api/queue/data?session_hash={session}").body.decode().splitlines()
    result = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    return next(one for one in result if one["msg"] == "process_completed")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("http://{trap}/x.png", "fetches nothing from the network"),
        ("http://example.com/x.png", "fetches nothing from the network"),
        ("/etc/passwd", "'error': None"),  # Gradio would say what it did with which path
        ("{home}/studio.db", "'error': None"),
        ("{home}/cache/page/../../studio.db", "'error': None"),
    ],
)
def test_the_page_takes_only_what_was_uploaded(
    doors: Server, takers: list[tuple[int, list[Any], list[str]]], trap: tuple[str, list[Any]], place: str, words: str
) -> None:
    assert takers, "the page takes no files any more: this test proves nothing"
    path = place.format(trap=trap[0], home=doors.home)
    for number, usual, kinds in takers:
        for position, kind in enumerate(kinds):
            if kind in FORGED:
                data = [*usual[:position], FORGED[kind](path), *usual[position + 1 :]]
                end = page_event(doors, number, data, f"{number}-{position}-{len(words)}-{len(place)}")
                assert not end["success"] and words in str(end["output"]), (number, kinds, position)
                assert path not in str(end["output"]) and "Traceback" not in str(end["output"])
    assert trap[1] == []
    stored = [one.name for one in (doors.home / "cache" / "page").rglob("*") if one.is_file()]
    assert not {"passwd", "studio.db", "x.png"} & set(stored), "nothing was copied to where it could be had"
    nothing_happened(doors)


def text_bomb() -> bytes:
    whole = as_file(Image.new("RGBA", (8, 8)))
    return whole[:33] + png_chunk(b"zTXt", b"parameters\0\0" + zlib.compress(bytes(100 * 2**20), 9)) + whole[33:]


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
POSING = {
    "svg": (SVG, "is not a picture"),
    "html": (b"<!doctype html><script>alert(1)</script>", "is not a picture"),
    "text": (b"hello", "is not a picture"),
    "zeros": (bytes(1000), "is not a picture"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "is not a picture"),
    "tiff": (as_file(Image.new("RGB", (8, 8)), "TIFF"), "is not a picture"),
    "bomb": (bomb(30_000), "pixels"),
    "bomb that Pillow refuses": (bomb(2**31 - 1), ""),
    "half": (as_file(Image.effect_noise((128, 128), 100))[:500], "damaged or cut short"),
}
MOVING = as_file(
    Image.new("L", (4, 4)), "GIF", save_all=True, append_images=[Image.new("L", (4, 4), n) for n in (90, 200)] * 200
)
POSING |= {"frames": (MOVING, "more than 300 frames"), "text bomb": (text_bomb(), "too large")}


def bodies(sent: str) -> dict[str, dict[str, Any]]:
    """Bodies for every field that takes a picture."""
    fine = coded(Image.new("RGB", (16, 16)))
    return {
        "/sdapi/v1/img2img": {"prompt": "a", "init_images": [sent]},
        "/sdapi/v1/img2img ": {"prompt": "a", "init_images": [fine], "mask": sent},
        "/sdapi/v1/interrogate": {"image": sent},
        "/api/v1/jobs": {"prompt": "a", "like": {"data": sent}},
        "/api/v1/jobs ": {"image": {"data": sent}},
        "/api/v1/jobs  ": {"prompt": "a", "mix": [{"picture": {"data": sent}}]},
    }


PICTURED = list(bodies(""))


def test_files_posing_as_pictures(doors: Server, subtests: pytest.Subtests) -> None:
    """Every file at a single field, and an SVG at all: they share a reader."""
    for path, name in {*itertools.product(PICTURED, ["svg"]), *itertools.product(["/api/v1/jobs "], POSING)}:
        with subtests.test(path=path, name=name):
            data, words = POSING[name]
            answer = send(doors, "POST", path.strip(), bodies(base64.b64encode(data).decode())[path])
            assert answer.status == 422 and words in answer.sentence, answer.body[:500]
            assert str(doors.home) not in answer.sentence and len(answer.sentence) < 300
    nothing_happened(doors)


@pytest.mark.parametrize(
    ("path", "side", "words"),
    [("/api/v1/jobs", 8, "pixels"), ("/api/v1/jobs", 16, "black"), ("/sdapi/v1/img2img", 9, "black")],
)
def test_refusals_name_no_paths(doors: Server, path: str, side: int, words: str) -> None:
    image, mask = (coded(Image.new("L", (n, n))) for n in (16, side))
    fields = {"image": {"data": image}, "mask": {"data": mask}} if "api/v1/jobs" in path else {}
    answer = send(doors, "POST", path, fields or {"prompt": "a", "init_images": [image], "mask": mask})
    assert answer.status == 422 and answer.sentence.startswith("mask ") and words in answer.sentence
    assert str(doors.home) not in answer.sentence
    nothing_happened(doors)


def test_a_picture_that_is_too_large(doors: Server) -> None:
    coded = "A" * (46 * 2**20)
    for path in ("/sdapi/v1/img2img", "/api/v1/jobs"):
        answer = send(doors, "POST", path, bodies(coded)[path])
        assert answer.status == 413 and "larger than 32 MB" in answer.sentence


def test_addresses_and_paths_are_not_read(
    doors: Server, trap: tuple[str, list[Any]], subtests: pytest.Subtests
) -> None:
    picture = doors.home / "secret.png"
    picture.write_bytes(as_file(Image.new("RGB", (16, 16))))
    places = [f"http://{trap[0]}/x.png", f"https://{trap[0]}/x.png", f"HTTP://{trap[0]}", f"//{trap[0]}/x.png"]
    places += ["file:///etc/passwd", "/etc/passwd", "/etc/passwd1", str(picture), f"file://{picture}", "../secret.png"]
    places += ["data:text/html,<script>", "data:image/png;base64,", "", "C:\\x.png", "\\\\host\\x.png", "clipboard:"]
    for path, place in itertools.product(PICTURED, places):
        if not place and "mask" in bodies(place)[path]:
            continue  # as if there were none
        with subtests.test(path=path, place=place):
            answer = send(doors, "POST", path.strip(), bodies(place)[path])
            assert answer.status in (404, 422) and answer.sentence and b"root:" not in answer.body, answer.body[:300]
    assert trap[1] == []


PATHS: list[Any] = [
    {"path": "/etc/passwd"},
    {"path": "/etc/passwd", "sha256": NOBODY},
    {"url": "http://127.0.0.1/"},
    {"sha256": "../../etc/passwd"},
    {"sha256": NOBODY + "/../x"},
    {"sha256": NOBODY, "data": "AAAA"},
    "http://127.0.0.1/x.png",
    "/etc/passwd",
    ["/etc/passwd"],
]


def test_a_picture_is_never_a_path(doors: Server, subtests: pytest.Subtests) -> None:
    for field, given in itertools.product(("like", "image", "mask"), PATHS):
        with subtests.test(field=field, given=given):
            answer = send(doors, "POST", "/api/v1/jobs", {"prompt": "a", field: given})
            assert answer.status == 422 and answer.sentence
    nothing_happened(doors)


# --- The guard itself -------------------------------------------------------------------------------------------------


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


def test_guard_of_hosts_and_origins() -> None:
    allowed = [Guard(_nothing).problem(headers, path) == "" for headers, path, _ in REQUESTS]
    assert [row for row, result in zip(REQUESTS, allowed, strict=True) if row[2] is not result] == []


def test_addresses_of_this_computer() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.1", "example.com", "")))
    assert Guard(_nothing, anywhere=True).problem({"host": "192.168.1.5:7860"}, "/") == ""
    assert Guard(_nothing, anywhere=True).problem({"host": "evil.example"}, "/"), "no name but an address: rebinding"


def test_gradio_fetches_nothing_of_what_passes() -> None:
    from gradio import processing_utils, routes

    serve._fetch_nothing()
    passed_on, fetched = routes.secure_url_stream_response, processing_utils.async_ssrf_protected_get
    query: list[Any] = [passed_on("https://a.example/x.png", None), fetched("https://a.example/")]  # type: ignore[arg-type]
    for answer in query:
        with pytest.raises(Exception, match=r"403|fetches nothing from the network"):
            asyncio.run(answer)


async def status_of(guard: Guard, body: bytes = b"", password: str = "", client: str = "127.0.0.1") -> int:
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
    monkeypatch.setattr(guard_module, "TOGETHER", 100_000)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if (await receive())["type"] == "http.request":
            await gate.wait()
            await send({"type": "http.response.start", "status": 200})

    async def run() -> list[int]:
        guard = Guard(app)
        first = asyncio.create_task(status_of(guard, bytes(80_000)))
        await asyncio.sleep(0)
        refused, small = await status_of(guard, bytes(70_000)), asyncio.create_task(status_of(guard, bytes(30_000)))
        await asyncio.sleep(0)
        gate.set()
        answers = [refused, await first, await small, await status_of(guard, bytes(70_000))]
        assert guard.held == 0
        return answers

    gate = asyncio.Event()
    assert asyncio.run(run()) == [503, 200, 200, 200]


def test_wrong_passwords_are_limited_by_address_and_logged_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    now = [1000.0]
    monkeypatch.setattr(guard_module, "time", SimpleNamespace(monotonic=lambda: now[0]))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})

    guard, right = Guard(app, password="correct horse"), "correct horse"

    def tried(password: str, client: str = "127.0.0.1") -> int:
        return asyncio.run(status_of(guard, password=password, client=client))

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
    """Connections that send `words` and nothing more."""
    with contextlib.ExitStack() as stack:
        opened = list[socket.socket]()
        for _ in range(number):
            opened.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)))
            with contextlib.suppress(OSError):  # it was refused and closed already
                opened[-1].sendall(words)
        yield opened


def test_idle_connections_are_limited(doors: Server) -> None:
    resource.prlimit(doors.process.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    with silent(doors.port, DESCRIPTORS + 100) as opened:
        assert opened[-1].recv(100).startswith(b"HTTP/1.1 503 ")
    until(lambda: send(doors, "GET", "/api/v1/health").status == 200)
    assert doors.process.poll() is None


def test_aborted_uploads_log_no_error(url: str) -> None:
    result: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = result.append  # type: ignore[method-assign]
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
    assert [record.getMessage() for record in result] == []


def test_incomplete_requests_time_out(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = int(url.rpartition(":")[2])
    head = b"POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port
    whole = b"GET /api/v1/health HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port
    with monkeypatch.context() as patch:
        patch.setattr(guard_module, "PATIENCE", 0.2)
        patch.setattr(guard_module, "BODY_LOOKS", 3)
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
    query: list[tuple[str, dict[str, Any], int]] = [("/sdapi/v1/img2img", start, 422)] * 4
    query += [("/api/v1/jobs", job, 422)] * 4
    pid = doors.process.pid
    before = memory("VmRSS", pid)
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # what it held at most is counted anew
    with ThreadPoolExecutor(len(query)) as pool:
        answers = list(pool.map(lambda one: send(doors, "POST", *one[:2]), query))
    assert [answer.status for answer in answers] == [status for *_, status in query]
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


def test_listing_jobs_is_fast(tmp_path: Path) -> None:
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
