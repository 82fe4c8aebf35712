"""The HTTP API: jobs, events, gallery, search, models, OpenAPI."""

import asyncio
import base64
import hashlib
import io
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from page_kit import Elements, Server
from picture_kit import coded
from PIL import Image
from starlette.requests import Request
from waiting import TIMEOUT, until

from studio.api import v1
from studio.api.routing import Served
from studio.events import Done

NOBODY = "0" * 64


@pytest.fixture
def api(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{server.url}/api/v1", timeout=TIMEOUT) as client:
        yield client


def ask(api: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer = api.post("/jobs", json=fields)
    assert answer.status_code == 202, answer.text
    return answer.json()


def done(api: httpx.Client, **fields: Any) -> dict[str, Any]:
    """A submitted job, once it has ended."""
    job = ask(api, **fields)["id"]
    return until(lambda: (j := api.get(f"/jobs/{job}").json())["ended"] and j)


def events(api: httpx.Client, job: str, **headers: str) -> list[tuple[str, Any]]:
    """All events of a job as (name, data), without comments."""
    with api.stream("GET", f"/jobs/{job}/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        blocks = answer.read().decode().split("\n\n")
    result = (dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks if "event: " in block)
    return [(one["event"], json.loads(one["data"])) for one in result]


RED = Image.new("RGBA", (128, 128), (200, 30, 30, 255))


# --- Jobs -------------------------------------------------------------------------------------------------------------


def test_jobs_return_pictures(api: httpx.Client) -> None:
    job = done(api, prompt="a smiling cat", style="outline", count=2, seed=3, steps=2)
    assert job["state"] == "done" and [picture["seed"] for picture in job["pictures"]] == [3, 4]
    assert job["request"]["style"] == "outline" and job["request"]["model"] == "fake:0.02"
    for picture in job["pictures"]:
        file = api.get(f"/gallery/{picture['sha256']}/file")
        assert file.headers["content-type"] == picture["media_type"] == "image/png"
        assert hashlib.sha256(file.content).hexdigest() == picture["sha256"] and picture["url"] == file.url.path
    assert api.get("/jobs", params={"state": "done"}).json()["jobs"][0]["id"] == job["id"]
    assert api.get("/jobs").json()["jobs"] == []


def test_dynamic_prompts_take_a_single_picture_per_job(api: httpx.Client) -> None:
    answer = api.post("/jobs", json={"prompt": "a {red|blue} cat", "count": 2})
    assert answer.status_code == 422 and answer.json()["error"].endswith("ask for them one by one, with a count of 1.")
    assert {ask(api, prompt="a {red|blue} cat", seed=n, steps=1)["request"]["prompt"] for n in range(9)} == {
        "a red cat",
        "a blue cat",
    }


def test_event_stream_of_a_job(api: httpx.Client) -> None:
    job = ask(api, prompt="an axolotl in the news", count=2, seed=1, steps=20)
    answer = events(api, job["id"])
    names = [name for name, _ in answer]
    assert names[0] == "state" and names[-1] == "end" and answer[-1][1] == {"state": "done", "sentence": ""}
    assert sorted(data["index"] for name, data in answer if name == "picture") == [0, 1]
    steps = [data for name, data in answer if name == "progress"]
    assert len(steps) > 2 and [one["step"] for one in steps] == sorted(one["step"] for one in steps)
    assert any(one["unknown"] == [{"word": "axolotl", "nearest": ["lizard", "fish"]}] for one in steps)
    shown = next(one["previews"]["0"] for one in steps if one["previews"])
    with Image.open(io.BytesIO(base64.b64decode(shown.removeprefix("data:image/png;base64,")))) as preview:
        assert preview.size == (128, 128)
    late = events(api, job["id"])
    assert late[0][0] == "state" and late[0][1]["state"] == "done" and late[-1] == answer[-1]
    assert [data for name, data in late if name == "picture"] == [data for name, data in answer if name == "picture"]
    assert api.get(f"/jobs/{job['id']}/events", headers={"last-event-id": "end"}).status_code == 204


def test_a_late_event_stream_begins_with_the_state(api: httpx.Client) -> None:
    job = ask(api, prompt="in the middle", seed=1, steps=60)["id"]
    running = until(lambda: (j := api.get(f"/jobs/{job}").json())["progress"] and j["progress"]["step"] > 5 and j)
    answer = events(api, job)
    assert answer[0][1]["progress"]["step"] >= running["progress"]["step"] and answer[-1][1]["state"] == "done"


def test_event_streams_send_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v1, "HEARTBEAT", 0.01)

    class Silent:
        async def aevents(self, _: str) -> AsyncIterator[Done]:
            await asyncio.sleep(0.1)
            yield Done()

    async def heard() -> bytes:
        sent = []
        monkeypatch.setattr(v1, "describe_job", lambda *_: {"id": "", "state": "running"})
        answer = await v1.events(Served(Silent(), "fake"), "", Request({"type": "http", "headers": []}))

        async def send(message: dict[str, Any]) -> None:
            sent.append(message.get("body", b""))

        await answer({"type": "http", "method": "GET"}, asyncio.Event().wait, send)
        return b"".join(sent)

    report = asyncio.run(heard())
    assert report.startswith(b"event: state\n") and b'"done"' in report and report.count(b"\n: ") >= 2


def test_cancel_and_retry(api: httpx.Client) -> None:
    job = ask(api, prompt="cancelled", seed=1, steps=40, count=16)["id"]
    until(lambda: api.get(f"/jobs/{job}").json()["state"] == "running")
    api.delete(f"/jobs/{job}").raise_for_status()
    assert until(lambda: (j := api.get(f"/jobs/{job}").json())["ended"] and j)["state"] == "cancelled"
    assert events(api, job)[-1][1] == {"state": "cancelled", "sentence": ""}
    assert api.post(f"/jobs/{job}/retry").json()["state"] in ("waiting", "running")
    api.delete(f"/jobs/{job}").raise_for_status()
    api.delete(f"/jobs/{done(api, prompt='whole', seed=1, steps=1)['id']}").raise_for_status()
    refused = api.post(f"/jobs/{done(api, prompt='whole', seed=1, steps=1)['id']}/retry")
    assert refused.status_code == 422 and "done" in refused.json()["error"]


def test_pause_move_and_cancel(api: httpx.Client) -> None:
    api.post("/queue/pause").raise_for_status()
    first, second, third = (ask(api, prompt=f"line {n}", seed=1, steps=1)["id"] for n in range(3))

    def line() -> list[str]:
        return [job["id"] for job in api.get("/jobs").json()["jobs"]]

    assert line() == [first, second, third] and api.get("/jobs").json()["paused"]
    assert api.get(f"/jobs/{third}").json()["ahead"] == 2
    api.post(f"/jobs/{third}/move", json={"before": first}).raise_for_status()
    assert line() == [third, first, second]
    api.post(f"/jobs/{second}/move", json={"before": third}).raise_for_status()
    assert line() == [second, third, first]
    api.delete(f"/jobs/{third}").raise_for_status()
    api.post("/queue/resume").raise_for_status()
    assert (
        until(lambda: api.get("/jobs").json()["counts"].get("waiting", 0) == 0)
        and not api.get("/jobs").json()["paused"]
    )
    assert api.get(f"/jobs/{third}").json()["state"] == "cancelled"
    moved = api.post(f"/jobs/{first}/move", json={"before": None})
    assert moved.status_code == 422 and "only jobs that wait" in moved.json()["error"]


# --- Pictures given ---------------------------------------------------------------------------------------------------


def test_pictures_are_given_as_content_or_by_name(api: httpx.Client, server: Server) -> None:
    mine = done(api, prompt="to be liked", seed=1, steps=1)["pictures"][0]["sha256"]
    liked = done(api, like={"sha256": mine}, seed=1, steps=1)
    assert liked["request"]["like"] == {"path": f"{mine}.png", "sha256": mine}, "no folder of the server's is told"
    red, white = coded(RED), coded(Image.new("L", (128, 128), 255))
    edited = done(api, image={"data": red}, mask={"data": white}, strength=0.5, steps=1, seed=1)
    assert edited["request"]["image"]["sha256"] == hashlib.sha256(base64.b64decode(red)).hexdigest()
    parts = [{"text": "a cat"}, {"picture": {"sha256": mine}, "weight": -0.5}]
    assert done(api, mix=parts, seed=1, steps=1)["state"] == "done"
    assert not list((server.home / "cache").glob("upload-*")), "what was sent does not lie about"


# --- The gallery ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three(server: Server) -> list[str]:
    """Three pictures of a prompt that no other test uses, oldest first."""
    with httpx.Client(base_url=f"{server.url}/api/v1", timeout=TIMEOUT) as api:
        job = done(api, prompt="a gallery zebra", style="noto", count=3, seed=1, steps=1)
    return [picture["sha256"] for picture in job["pictures"]]


def test_the_gallery_comes_in_pages(api: httpx.Client, three: list[str]) -> None:
    matches, before = [], None
    while True:
        where = {"limit": 2, "style": "noto", **({"before": before} if before else {})}
        page = api.get("/gallery", params=where).json()
        assert page["count"] >= 3 and len(page["pictures"]) <= 2
        matches += [picture["sha256"] for picture in page["pictures"]]
        before = page["next"]
        if before is None:
            break
    assert len(set(matches)) == len(matches) == page["count"] and sorted(three) == sorted(set(matches) & set(three))


def test_marks_and_the_bin(api: httpx.Client, three: list[str]) -> None:
    marked = api.patch(f"/gallery/{three[0]}", json={"star": True, "rating": 4, "tags": ["striped"], "note": "nice"})
    assert marked.json() == api.get(f"/gallery/{three[0]}").json()
    assert marked.json()["star"] and marked.json()["tags"] == ["striped"]
    api.patch(f"/gallery/{three[0]}", json={"rating": 5}).raise_for_status()
    starred = api.get("/gallery", params={"starred": True, "tag": "striped", "rating": 5}).json()
    assert [picture["sha256"] for picture in starred["pictures"]] == [three[0]] and starred["count"] == 1
    assert api.delete(f"/gallery/{three[1]}").json()["deleted"]
    shown = [picture["sha256"] for picture in api.get("/gallery", params={"limit": 500}).json()["pictures"]]
    assert three[1] not in shown and three[0] in shown
    binned = api.get("/gallery", params={"deleted": True}).json()["pictures"]
    assert three[1] in [picture["sha256"] for picture in binned]
    assert api.post(f"/gallery/{three[1]}/restore").json()["deleted"] is None
    assert api.patch(f"/gallery/{three[0]}", json={"rating": 9}).status_code == 422
    assert api.patch(f"/gallery/{three[0]}", json={"path": "/etc/passwd"}).status_code == 422


def test_a_search_leads_away_from_words_or_a_picture(api: httpx.Client, three: list[str]) -> None:
    def scores(like: str = three[0], **query: Any) -> dict[str, float]:
        hits = api.get("/search", params={"like": like, "k": 500, **query}).json()["hits"]
        return {hit["picture"]["sha256"]: hit["score"] for hit in hits}

    plain, away, led = scores(), scores(three[1]), scores(unlike=three[1])
    assert plain.keys() == led.keys()
    expected = {sha: plain[sha] - 0.5 * away[sha] for sha in plain}  # of a vector that is not of unit length
    most = max(expected, key=lambda sha: abs(expected[sha]))
    assert led == pytest.approx({sha: one * led[most] / expected[most] for sha, one in expected.items()}, abs=1e-4)
    assert led[most] / expected[most] > 0
    assert plain.keys() - scores(without="gallery zebra").keys() == set(three), "what says the words is left out"
    assert api.get("/search", params={"words": "a", "without": "b", "unlike": three[1]}).status_code == 422


# --- What there is ----------------------------------------------------------------------------------------------------


def test_health_models_and_styles(api: httpx.Client) -> None:
    health = api.get("/health").json()
    assert (health["status"], health["model"], health["problem"]) == ("ok", "fake:0.02", "")
    models = {model["name"]: model for model in api.get("/models").json()}
    assert models["fake:0.02"]["ready"] and models["fake:0.02"]["capabilities"]["schedulers"] == [
        "euler",
        "heun",
        "fast",
    ]
    assert "embedded" in models and bool(models["embedded"]["problem"]) is not models["embedded"]["ready"]
    assert [style["name"] for style in api.get("/styles").json()] == ["noto", "black glyph", "outline"]
    assert len(api.get("/styles", params={"model": "embedded"}).json()) > 3


def test_openapi_documents_every_route(api: httpx.Client) -> None:
    schema, page = api.get("/openapi.json").json(), api.get("/docs").text
    assert schema["openapi"].startswith("3.") and len(schema["paths"]) >= 17
    assert all(path.startswith("/api/v1/") for path in schema["paths"])
    for path, methods in schema["paths"].items():
        assert path in page
        assert all(result["description"] for result in methods.values()), f"{path} says nothing of itself"
    document = Elements(page)
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in document.elements}
    links = [attributes.get("href") or "" for _, attributes in document.elements if "href" in attributes]
    assert "`" not in document.text
    named = {attributes["id"] for _, attributes in document.elements if "id" in attributes}
    assert all(link == "openapi.json" or link.removeprefix("#") in named for link in links)
    assert not re.search(r"@import|url\(", page)


REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("POST", "/jobs", {"prompt": "a", "stepz": 1}, 422, "there is no setting 'stepz' here"),
    ("POST", "/jobs", {"task": "clop"}, 422, "there is no task 'clop' (did you mean 'clip'?)"),
    ("POST", "/jobs", {"prompt": "a", "steps": 10**9}, 422, "steps must be between 1 and 100"),
    ("POST", "/jobs", {"prompt": "a", "like": {"sha256": NOBODY}}, 422, "like: there is no picture"),
    ("POST", "/jobs", {"prompt": "a", "like": {}}, 422, "either as data"),
    ("GET", f"/jobs/{NOBODY}", None, 404, "there is no job"),
    ("GET", f"/jobs/{NOBODY}/events", None, 404, "there is no job"),
    ("POST", f"/jobs/{NOBODY}/retry", None, 404, "there is no job"),
    ("GET", "/jobs/../../etc", None, 404, ""),
    ("GET", "/jobs/abc", None, 422, "job: string should match"),
    ("GET", "/jobs?limit=99999", None, 422, "limit"),
    ("GET", f"/gallery?before={10**30}", None, 422, "before"),
    ("GET", f"/gallery/{NOBODY}", None, 404, "there is no picture"),
    ("GET", f"/gallery/{NOBODY}/file", None, 404, "there is no picture"),
    ("GET", "/nothing", None, 404, "there is no /api/v1/nothing here; see /api/v1/docs"),
    ("PUT", "/jobs", {}, 405, "does not take PUT"),
]


def test_error_responses(api: httpx.Client, subtests: pytest.Subtests) -> None:
    for method, path, body, status, words in REFUSED:
        with subtests.test(method=method, path=path, body=body):
            answer = api.request(method, path, json=body) if body is not None else api.request(method, path)
            assert answer.status_code == status
            assert not words or (list(answer.json()) == ["error"] and words in answer.json()["error"])
