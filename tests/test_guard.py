"""Who may use the studio's doors."""

import asyncio
from typing import Any

import pytest

from studio.api.guard import Guard, is_loopback
from studio.page.serve import _fetch_nothing

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
    ({"host": OURS, "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}, "/pictures/x", False),
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


async def _nothing(*_: object) -> None:
    raise AssertionError("not reached")
