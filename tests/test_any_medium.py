"""Artifacts of every medium: bytes, folders, clients, verify; and tones, a medium that is only registered."""

import asyncio
import base64
import hashlib
import io
import json
import os
import re
import signal
import wave
from pathlib import Path
from typing import Any

import mcp
import numpy as np
import pytest
import tone as toy
from conftest import Command
from hypothesis import given, settings
from hypothesis import strategies as st
from page_kit import client_of
from PIL import Image
from queue_kit import artifacts, of_kind, planned, run_job
from waiting import TIMEOUT, until

from models.messages import Refused
from studio import maintenance, media
from studio.api import v1
from studio.backends.fake import Fake
from studio.batch.readers import is_known
from studio.events import Content, Done, Progress, Saved
from studio.gallery import Filter
from studio.home import Home
from studio.mcp import Tools, media_tools, server
from studio.media import Artifact
from studio.metadata.files import read, stripped
from studio.page import tabs
from studio.page.card import CardHandlers
from studio.page.context import PageContext
from studio.page.html import url
from studio.page.layout import tab_names
from studio.planner import Job, plan
from studio.requests import CaptionRequest, make_request
from studio.run import FolderSink, GallerySink
from studio.studio import Studio

FRAMES = [Image.new("RGBA", (9, 7), colour) for colour in ("red", "red", (0, 0, 255, 80), "red")]


def seen(picture: Image.Image) -> bytes:
    """Visible pixels: transparent ones have no colour."""
    pixels = np.array(picture.convert("RGBA"))
    pixels[pixels[..., 3] == 0] = 0
    return pixels.tobytes()


def large(artifact: Artifact) -> Artifact:
    """The same artifact three hundred pixels wide."""
    frames = [frame.resize((300, 150)) for frame in media.frames(artifact.data)]
    return media.clip(frames, len(frames) / artifact.seconds) if len(frames) > 1 else media.image(frames[0])


# --- The bytes --------------------------------------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(1, 60), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_the_frames_of_a_clip_read_back_equal(count: int, fps: int, width: int, height: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    pixels = chance.integers(0, 256, (count, height, width, 4), np.uint8) * chance.integers(0, 2, (count, 1, 1, 1))
    frames = [Image.fromarray(entry.astype(np.uint8), "RGBA") for entry in pixels]
    clip = media.clip(frames, fps)
    assert [seen(frame) for frame in media.frames(clip.data)] == [seen(frame) for frame in frames]
    assert media.read(clip.data, clip.media_type) == clip, "what it says of itself is what its bytes say"
    assert (clip.suffix, clip.frames, clip.width, clip.height) == (".webp", count, width, height)
    seconds = count / fps if count > 1 else 0.0
    assert clip.kind == ("clip" if count > 1 else "image") and abs(clip.seconds - seconds) <= count * 0.0005 + 1e-9


def test_equal_frames_are_stored_as_full_frames() -> None:
    clip = media.clip(FRAMES, 8)
    assert [seen(frame) for frame in media.frames(clip.data)] == [seen(frame) for frame in FRAMES]
    chunks = [clip.data[i - 4 : i + 20] for i in range(len(clip.data)) if clip.data[i - 4 : i] == b"ANMF"]
    sizes = [tuple(1 + int.from_bytes(chunk[k : k + 3], "little") for k in (14, 17)) for chunk in chunks]
    assert sizes == [(9, 7)] * 4, "no frame is stored as a difference"


@pytest.mark.parametrize(("loop", "times"), [(True, 0), (False, 1)])
def test_a_clip_plays_for_ever_or_once(loop: bool, times: int) -> None:
    with Image.open(io.BytesIO(media.clip(FRAMES, 8, loop).data)) as picture:
        assert picture.info["loop"] == times


def test_a_picture_and_a_text_read_back_equal() -> None:
    picture, text = media.image(FRAMES[2]), media.caption("一只猫 🐱\nand more", [("a dog", 0.5)])
    assert media.read(picture.data, "image/png") == picture and seen(media.frames(picture.data)[0]) == seen(FRAMES[2])
    again = media.read(text.data, text.media_type)
    assert (again.kind, again.text, again.data, text.candidates) == ("text", text.text, text.data, (("a dog", 0.5),))
    assert (text.kind, text.suffix, text.width, text.seconds) == ("text", ".txt", 0, 0.0)


@pytest.mark.parametrize(("data", "media_type"), [(b"junk", "image/png"), (b"", "image/webp"), (b"\xff", "text/plain")])
def test_reading_bytes_of_another_type_fails(data: bytes, media_type: str) -> None:
    with pytest.raises((ValueError, OSError)):
        media.read(data, media_type)


def test_small_previews_are_of_the_artifacts_kind() -> None:
    assert {
        media.thumbnail(entry) for entry in (media.image(FRAMES[0]), media.clip(FRAMES, 8), media.caption("x"))
    } == {b""}
    for artifact in (large(media.image(FRAMES[0])), large(media.clip(FRAMES, 8))):
        small = media.read(media.thumbnail(artifact), "image/webp")
        assert (small.kind, small.width, small.height) == (artifact.kind, 128, 64)
        assert (small.frames, small.seconds) == (artifact.frames, artifact.seconds)


def test_every_ending_is_known() -> None:
    types = media.media_types()
    assert {media.media_type_of(Path(f"a{suffix.upper()}")) for suffix in types} == set(types.values())
    with pytest.raises(KeyError):
        media.media_type_of(Path("a.exe"))


# --- Into a folder ----------------------------------------------------------------------------------------------------


def job_of(task: str, red: Path, **fields: Any) -> Job:
    query = {"image": {"path": str(red)}} if task == "caption" else {"prompt": "a red cat", "seed": 3}
    (job,) = plan(make_request(task, **{"model": "fake", **query, **fields}), Fake())
    return job


@pytest.mark.parametrize("task", ["image", "clip", "caption"])
def test_only_truncated_files_are_generated_again(task: str, red: Path) -> None:
    job = job_of(task, red)
    (first,) = of_kind(run_job(Fake(), job, FolderSink(red.parent)), Saved)
    (artifact,) = artifacts(Fake(), job.request)
    assert (first.kind, first.media_type, first.text) == (artifact.kind, artifact.media_type, artifact.text)
    (again,) = of_kind(run_job(Fake(), job, FolderSink(red.parent)), Saved)
    assert again.cached and (again.path, again.kind, again.text) == (first.path, first.kind, first.text)
    path, whole = Path(first.path), Path(first.path).read_bytes()
    path.write_bytes(whole[:-10])
    (third,) = of_kind(run_job(Fake(), job, FolderSink(red.parent)), Saved)
    assert not third.cached and path.read_bytes() == whole


# --- Every door -------------------------------------------------------------------------------------------------------


CLIP = {"prompt": "a red cat", "frames": 6, "fps": 5, "seed": 3}
CLIP_FLAGS = ("a red cat", "--frames", 6, "--fps", 5, "--seed", 3, "--model", "fake", "--json")
WORDS = "a red face, happy"


@pytest.fixture
def red(tmp_path: Path) -> Path:
    Image.new("RGBA", (128, 128), "red").save(tmp_path / "red.png")
    return tmp_path / "red.png"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def clip_job(**fields: Any) -> Job:
    (job,) = plan(make_request("clip", **{"model": "fake", **CLIP, **fields}), Fake())
    return job


def caption_job(red: Path, **fields: Any) -> Job:
    (job,) = plan(make_request("caption", **{"model": "fake", "image": {"path": str(red)}, **fields}), Fake())
    return job


def check(path: str | Path, job: Job, index: int = 0) -> None:
    """The file holds the bytes of the artifact and records its job."""
    artifact, path = artifacts(Fake(), job.request)[index], Path(path)
    assert stripped(path) == artifact.data and path.suffix == artifact.suffix
    assert (read(path)["job_id"], read(path)["index"]) == (job.id, index)
    assert media.read(artifact.data, artifact.media_type).kind == artifact.kind


# --- Python -----------------------------------------------------------------------------------------------------------


def test_python(house: Studio, red: Path) -> None:
    clips, caption = house.animate(**CLIP, count=2, model="fake"), house.caption(red, model="fake")
    assert [(entry.seed, entry.kind, entry.media_type, entry.cached) for entry in clips] == [
        (seed, "clip", "image/webp", False) for seed in (3, 4)
    ]
    assert (caption.kind, caption.media_type, caption.text, caption.cached) == ("text", "text/plain", WORDS, False)
    for index, clip in enumerate(clips):
        check(clip.path, clip_job(count=2), index)
    check(caption.path, caption_job(red))
    assert all(entry.cached for entry in house.animate(**CLIP, count=2, model="fake"))
    assert house.caption(red, model="fake").cached and house.gallery.count() == 3
    assert house.caption(red, model="fake", language="zh").text == "一张红色的脸，开心"
    with pytest.raises(Refused, match="a picture has one caption"):
        house.caption(red, model="fake", count=2)
    (answer,) = house.ask(caption_job(red, seed=1).request)
    assert isinstance(answer, Content) and answer.data.decode() == "a red face, sleepy"
    assert house.gallery.count() == 4, "who only asks stores nothing"
    assert list(maintenance.inspect(house.store)) == []


# --- Commands ---------------------------------------------------------------------------------------------------------


def test_the_command(studio: Command, home: Home, red: Path, tmp_path: Path) -> None:
    for out in (("--out", tmp_path), ()):
        (clip,) = studio("animate", *CLIP_FLAGS, *out).json
        assert (clip["kind"], clip["frames"], clip["fps"], clip["seed"]) == ("clip", 6, 5, 3)
        check(clip["path"], clip_job())
        (caption,) = studio("caption", red, "--model", "fake", "--candidates", 2, "--json", *out).json
        assert (caption["path"], caption["caption"], caption["score"]) == (str(red), WORDS, 0.9)
        assert caption["candidates"] == [{"text": "a red face, sleepy", "score": 0.8}]
        check(caption["file"], caption_job(red, candidates=2))
        where = tmp_path if out else home.root
        assert all(Path(path).is_relative_to(where) for path in (clip["path"], caption["file"]))
        assert studio("animate", *CLIP_FLAGS, *out).json[0]["seconds"] == 0, "found, not made again"
    assert studio("caption", red, "--model", "fake", "--candidates", 2).out == f"{red}\t{WORDS}\n"
    assert {entry.kind for entry in home.gallery.page()} == {"clip", "text"} and home.gallery.count() == 2


def test_a_batch(studio: Command, tmp_path: Path, red: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    query, out = tmp_path / "a.jsonl", tmp_path / "out"
    rows = [
        {"prompt": "a (red:1.3) cat", "seed": 1, "steps": 1, "name": "still"},
        {"task": "clip", **CLIP},
        {"task": "caption", "image": "red.png", "name": "words"},
        {"task": "clip", "image": "red.png", "strength": 1},
        {"task": "song"},
    ]
    query.write_text("\n".join(map(json.dumps, rows)))
    batch = ("batch", query, "--model", "fake", "--out", out, "--json")

    def stopped(fake: Fake, request: CaptionRequest) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(Fake, "_caption", stopped)
        output = studio(*batch)
    assert (output.code, output.json["done"], output.json["found"]) == (130, 2, 0)
    report = studio(*batch).json
    assert (report["total"], report["done"], report["found"], report["failed"]) == (5, 1, 2, 2)
    assert [error["line"] for error in report["errors"]] == [4, 5]
    assert [error["message"].partition("'")[0] for error in report["errors"]] == [
        "there is no setting ",
        "there is no task ",
    ]
    books = [json.loads(line) for line in (out / "images/metadata.jsonl").read_text(encoding="utf-8").splitlines()]
    files = ["still.png", f"{clip_job().id[:16]}-0-3.webp", "words.txt"]
    assert [row["file_name"] for row in books] == files and len({tuple(row) for row in books}) == 1
    assert [row["text"] for row in books] == ["a red cat", "a red cat", WORDS]
    for row, job in zip(books[1:], (clip_job(), caption_job(red)), strict=True):
        path = out / "images" / row["file_name"]
        check(path, job)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"]
    assert sorted(path.name for path in (out / "images").iterdir()) == sorted([*files, "metadata.jsonl"])


# --- For programs -----------------------------------------------------------------------------------------------------


def test_the_api(house: Studio, red: Path) -> None:
    api = client_of(v1.router(house, "fake"))
    image = {"data": base64.b64encode(red.read_bytes()).decode()}
    query = {"clip": (CLIP, clip_job()), "caption": ({"image": image}, caption_job(red))}
    for task, (fields, job) in query.items():
        answer = api.post("/api/v1/jobs", json={"task": task, **fields})
        assert answer.status_code == 202 and answer.json()["id"] == job.id
        ended = until(lambda job=job: (j := api.get(f"/api/v1/jobs/{job.id}").json())["ended"] and j)
        (artifact,), (entry,) = artifacts(Fake(), job.request), ended["pictures"]
        assert (ended["state"], ended["request"]["task"]) == ("done", task)
        assert (entry["kind"], entry["media_type"], entry["text"]) == (
            artifact.kind,
            artifact.media_type,
            artifact.text,
        )
        file = api.get(entry["url"])
        assert file.headers["content-type"].partition(";")[0] == artifact.media_type
        assert hashlib.sha256(file.content).hexdigest() == entry["sha256"]
        check(house.gallery.get(entry["sha256"]).path, job)
        (stored,) = api.get("/api/v1/gallery", params={"kind": artifact.kind}).json()["pictures"]
        facts = (stored["frames"], stored["seconds"], stored["text"])
        assert facts == (artifact.frames, artifact.seconds, artifact.text)
        small = api.get(stored["thumbnail"])
        assert small.content == file.content and small.headers["content-type"] == file.headers["content-type"]
        hits = api.get("/api/v1/search", params={"words": "red", "kind": artifact.kind, "meaning": False}).json()[
            "hits"
        ]
        assert [hit["picture"]["sha256"] for hit in hits] == [entry["sha256"]]
    at_once = api.post("/api/v1/caption", json={"image": image, "seed": 1})
    assert at_once.json() == {"caption": "a red face, sleepy", "score": 0.9, "known": True}
    assert api.get("/api/v1/gallery").json()["count"] == 2, "nothing is stored"
    assert api.post("/api/v1/caption", json={"image": {"data": "?"}}).status_code == 422
    wrong = api.post("/api/v1/jobs", json={"task": "clip", "prompt": "a", "frames": 1000})
    assert (wrong.status_code, wrong.json()) == (422, {"error": "frames must be between 1 and 64, not 1000."})
    assert api.post("/api/v1/jobs", json={"task": "caption"}).status_code == 422
    assert api.post("/api/v1/jobs", json={"task": "song"}).status_code == 422


def test_the_tools(house: Studio, red: Path) -> None:
    query = [("animate", CLIP, clip_job(), "image"), ("caption", {"image": str(red)}, caption_job(red), "text")]

    async def use() -> None:
        async with mcp.Client(server(house, "fake", local=True)) as client:
            for tool, arguments, job, block in query:
                result = await client.call_tool(tool, arguments)
                assert not result.is_error, result.content
                (report,), content = result.structured_content["jobs"], result.content
                (entry,) = report["pictures"]
                assert (report["id"], report["state"]) == (job.id, "done")
                assert [part.type for part in content] == ["text", block, "resource_link"]
                (artifact,) = artifacts(Fake(), job.request)
                assert entry["media_type"] == content[2].mime_type == artifact.media_type
                check(entry["path"], job)
                linked = (await client.read_resource(content[2].uri)).contents[0]
                assert base64.b64decode(linked.blob) == Path(entry["path"]).read_bytes()
                if block == "text":
                    assert content[1].text == entry["text"] == WORDS
                else:
                    with Image.open(io.BytesIO(base64.b64decode(content[1].data))) as moving:
                        assert (moving.n_frames, content[1].mime_type) == (6, "image/webp")
            for words, kind in (("cat", "image/webp"), ("face", "text/plain")):
                matches = await client.call_tool("search", {"query": words, "k": 1})
                assert matches.structured_content["hits"][0]["picture"]["media_type"] == kind
            wrong = await client.call_tool("animate", {"prompt": "a", "fps": 1000})
            assert wrong.is_error and wrong.content[0].text.startswith("fps must be between")

    asyncio.run(asyncio.wait_for(use(), TIMEOUT))


# --- The worker dies --------------------------------------------------------------------------------------------------


def digests(home: Home) -> dict[tuple[str, int], str]:
    rows = home.database.rows("SELECT job, position, sha256 FROM artifacts")
    return {(row["job"], row["position"]): row["sha256"] for row in rows}


def test_a_killed_worker_loses_and_repeats_no_artifact(house: Studio, red: Path, tmp_path: Path) -> None:
    jobs = [
        clip_job(model="fake:0.05", frames=12, count=3),
        caption_job(red, model="fake:0.5", language="zh"),
        caption_job(red, model="fake:0.5"),
    ]
    ids = [house.submit(job) for job in jobs]
    until(lambda: house.gallery.results(ids[0]))
    first = house.gallery.get(Path(house.gallery.results(ids[0])[0].path).stem)
    for job in ids[:2]:
        until(lambda job=job: (house.store.progress.read(job)[1] or Progress(0, 0)).total)
        process = house._worker.process
        assert process and process.pid and house.queue.job(job).state == "running"
        os.kill(process.pid, signal.SIGKILL)
        until(lambda process=process: house._worker.process not in (None, process))
        assert [type(event) for event in house.events(job)][-1] is Done
    assert len(house.result(ids[0])) == 3 and house.result(ids[2])[0].text == WORDS
    assert house.queue.counts() == {"done": 3} and house.gallery.get(first.sha256) == first
    straight = Home(tmp_path / "straight")
    for job in ids:
        list(run_job(Fake(), planned(house.queue.job(job).request), GallerySink(straight.gallery)))
    assert digests(house.store) == digests(straight), "the same bytes as in one go"
    assert list(maintenance.inspect(house.store)) == []


# --- A new medium -----------------------------------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parent.parent


def listed(what: str) -> list[str]:
    """The files that CONTRIBUTING lists for what can be added; each is there."""
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition(f"### {what}\n")[2].partition("\n#")[0]
    paths = re.findall(r"^\d+\. `([^`]+)`", section, re.MULTILINE)
    assert paths and all((ROOT / path).exists() for path in paths)
    return paths


def test_a_medium_a_tab_and_a_backend_are_few_files() -> None:
    medium, tab, backend = map(listed, ("A medium", "A tab of the page", "A backend"))
    assert len(medium) <= 12 and len(tab) <= 5 and len(backend) <= 3
    modules = {module for module, _ in toy.ROWS} | {toy.BACKEND[0]}
    assert {f"{module.replace('.', '/')}.py" for module in modules} <= set(medium)


def test_a_module_among_the_tabs_is_a_tab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = tab_names()
    (tmp_path / "sounds.py").write_text("ORDER = 15\n")
    monkeypatch.setattr(tabs, "__path__", [*tabs.__path__, str(tmp_path)])
    assert tab_names() == [before[0], "sounds", *before[1:]]


def test_a_tone_goes_all_the_way(tone: None, studio: Command, tmp_path: Path) -> None:
    refused = studio("tone", "a bell", "--pitch", 1, "--model", "fake")
    assert (refused.code, refused.err) == (2, "studio: pitch must be between 20 and 20000, not 1.0.\n")
    assert is_known("pitch"), "a setting of prompt files"
    prompt = {"prompt": "a {low|high} bell", "seed": 2, "model": "fake"}
    (row,) = studio("tone", prompt["prompt"], "--seed", 2, "--model", "fake", "--out", tmp_path / "out", "--json").json
    file = Path(row["path"])
    with wave.open(str(file)) as sound, Studio(tmp_path / "home", toy.FakeOpener()) as house:
        assert (row["kind"], file.suffix, sound.getnframes()) == ("audio", ".wav", 800)
        (saved,) = house.make("tone", **prompt)
        assert Path(saved.path).read_bytes() == file.read_bytes(), "the worker makes what the command makes"
        assert house.make("tone", **prompt)[0].cached
        tool = Tools(house, "fake", True).media_tool("tone", media_tools()["tone"])
        assert tool.parameters["properties"]["pitch"]["maximum"] == 20_000
        api = client_of(v1.router(house, "fake"))
        (item,) = api.get("/api/v1/gallery", params={"kind": "audio"}).json()["pictures"]
        assert (item["prompt"], item["seconds"], item["media_type"]) == (
            read(file)["request"]["prompt"],
            0.1,
            "audio/wav",
        )
        assert api.get(item["url"]).content == file.read_bytes()
        job = api.post("/api/v1/jobs", json={"task": "tone", "prompt": "a gong", "seed": 1, "pitch": 100}).json()["id"]
        until(lambda: house.queue.job(job).state == "done")
        (stored,) = house.gallery.page(Filter(words="gong"))
        assert read(stored.path)["request"]["pitch"] == 100 and list(maintenance.inspect(house.store)) == []
        card = CardHandlers(PageContext(house, "fake")).show(stored)
        assert f'<audio controls preload="none" src="{url(stored.path)}"' in card and "<img" not in card
        assert maintenance.rebuild(house.home).pictures == 2
    assert [row["result"] for row in studio("verify", file, stored.path, "--json").json] == ["identical", "identical"]
    start = file.read_bytes().index(b"data") + 8
    file.write_bytes(file.read_bytes()[:start] + bytes(100) + file.read_bytes()[start + 100 :])
    changed = studio("verify", file, "--json").json
    assert changed["why"] == "the content was changed after it was made"
