"""The MCP tools through the official client: stdio and HTTP, current and older protocol."""

import asyncio
import base64
import dataclasses
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mcp
import pytest
import uvicorn
from picture_kit import coded
from PIL import Image
from starlette.applications import Starlette
from waiting import TIMEOUT

from studio import Studio
from studio.api.guard import Guard
from studio.gallery import GalleryItem
from studio.mcp import hits_result, http_routes
from studio.mcp import server as tools_of
from studio.metadata.files import read as read_settings

ROOT = Path(__file__).resolve().parent.parent
TOOLS = {"generate", "animate", "caption", "export", "search", "read", "status", "cancel", "styles", "models"}
SERVED = "fake:0.1"  # slow enough to be watched
SLOW = {"prompt": "a slow face", "steps": 100}
Use = Callable[[Any], Coroutine[Any, Any, None]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mcp") / "home"


@pytest.fixture(scope="module")
def url(home: Path) -> Iterator[str]:
    """A server with the guard and the fake model."""
    with Studio(home) as studio:
        tools = tools_of(studio, SERVED)

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            async with tools.session_manager.run():
                yield

        app = Starlette(routes=http_routes(tools), lifespan=lifespan)
        listener = socket.create_server(("127.0.0.1", 0))
        serving = uvicorn.Server(uvicorn.Config(Guard(app), log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=serving.run, args=([listener],))
        thread.start()
        while not serving.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        serving.should_exit = True
        thread.join()


HTTP, OLDER, STDIO = "http", "http, the older protocol", "stdio"


@pytest.fixture
def use(request: pytest.FixtureRequest, home: Path) -> Callable[[Use], None]:
    """Runs something with a client that is connected."""
    kind = request.param
    address = request.getfixturevalue("url") if kind.startswith("http") else ""

    def run(something: Use) -> None:
        async def connected() -> None:
            async with client(kind, address, home) as item:
                await something(item)

        asyncio.run(asyncio.wait_for(connected(), TIMEOUT))

    run.kind = kind
    return run


@asynccontextmanager
async def client(kind: str, address: str, home: Path) -> AsyncIterator[Any]:
    command = mcp.StdioServerParameters(
        command=sys.executable,
        args=["-m", "studio", "mcp", "--model", SERVED, "--home", str(home)],
        env=dict(os.environ),
        cwd=ROOT,
    )
    mode = "legacy" if "older" in kind else "auto"
    async with mcp.Client(command if kind == "stdio" else address, mode=mode) as connected:
        yield connected


def kinds(result: Any) -> list[str]:
    return [block.type for block in result.content]


@pytest.mark.parametrize("use", [HTTP, OLDER], indirect=True)
def test_tools_are_listed_with_schemas(use: Callable[[Use], None]) -> None:
    async def look(client: Any) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == TOOLS
        for tool in tools.values():
            assert tool.description and tool.description[0].isupper() and tool.output_schema
            assert all(item.get("description") for item in tool.input_schema["properties"].values()), tool.name
        assert tools["search"].annotations.read_only_hint and not tools["generate"].annotations.read_only_hint
        assert tools["caption"].input_schema["required"] == ["image"]
        assert client.server_info.name == "studio128" and "stickers" in client.instructions
        styles = (await client.call_tool("styles")).structured_content["result"]
        models = (await client.call_tool("models")).structured_content["result"]
        assert {"name": "noto", "zh": "安卓", "words": []} in styles
        assert models[0]["name"] == SERVED and models[0]["ready"] and len(models) == 2

    use(look)


@pytest.mark.parametrize("use", [HTTP, OLDER, STDIO], indirect=True)
def test_generate_edit_search_and_read_pictures(use: Callable[[Use], None], home: Path) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        heard.append((done, total, message))

    async def make(client: Any) -> None:
        ask = {"prompt": f"an axolotl {use.kind}", "count": 2, "seed": 7, "steps": 5, "model": SERVED}
        results = await client.call_tool("generate", ask, progress_callback=progress)
        assert not results.is_error and kinds(results) == ["text", "image", "image", "resource_link", "resource_link"]
        job = results.structured_content["jobs"][0]
        assert job["state"] == "done" and [item["seed"] for item in job["pictures"]] == [7, 8]
        assert job["unknown"] == [{"word": "axolotl", "nearest": ["lizard", "fish"]}]
        assert "Not drawn: axolotl; nearest: lizard, fish." in results.content[0].text
        item = job["pictures"][0]
        file = Path(item["path"])
        assert file.is_relative_to(home / "pictures") and item["path"] in results.content[0].text
        assert base64.b64decode(results.content[1].data) == file.read_bytes()
        link = next(block for block in results.content if block.type == "resource_link")
        read = (await client.read_resource(link.uri)).contents[0]
        assert base64.b64decode(read.blob) == file.read_bytes() and read.mime_type == "image/png"
        steps = [done for done, _, _ in heard]
        assert len(steps) > 2 and steps == sorted(set(steps)) and max(steps) <= 1 and heard[-1][2].startswith("step ")

        again = await client.call_tool("generate", ask)
        pictures = again.structured_content["jobs"][0]["pictures"]
        assert [(p["sha256"], p["cached"]) for p in pictures] == [(p["sha256"], True) for p in job["pictures"]]
        blue = coded(Image.new("RGBA", (20, 20), "blue"))
        mask = coded(Image.new("L", (128, 128), 255).point(lambda _: 255))
        for given in (item["sha256"], blue, f"data:image/png;base64,{blue}"):
            edit = {"image": given, "prompt": "a face", "strength": 0.5, "seed": 1, "steps": 1}
            edited = await client.call_tool("generate", {**edit, "mask": mask if given == item["sha256"] else ""})
            assert not edited.is_error and kinds(edited)[1] == "image", edited.content
        matches = await client.call_tool("search", {"query": f"axolotl {use.kind}", "k": 2})
        assert {hit["picture"]["sha256"] for hit in matches.structured_content["hits"]} >= {item["sha256"]}
        assert kinds(matches)[:2] == ["text", "image"]
        like = await client.call_tool("search", {"like": item["sha256"], "k": 1})
        assert len(like.structured_content["hits"]) == 1 and not like.is_error
        fast = await client.call_tool("generate", {"prompt": f"a fox {use.kind}", "fast": True})
        requests = read_settings(Path(fast.structured_content["jobs"][0]["pictures"][0]["path"]))["request"]
        assert (requests["scheduler"], requests["steps"]) == ("fast", 4)

    use(make)


@pytest.mark.parametrize("use", [HTTP], indirect=True)
def test_a_clip_is_written_for_others(use: Callable[[Use], None], home: Path) -> None:
    async def take(client: Any) -> None:
        results = await client.call_tool("animate", {"prompt": "a cat jumps", "frames": 5, "seed": 1, "model": "fake"})
        clip = results.structured_content["jobs"][0]["pictures"][0]
        requests: tuple[dict[str, Any], ...] = (
            {"app": "slack"},
            {"format": ".MP4", "ground": "#123"},
            {"format": "sheet"},
        )
        for wanted, name in zip(requests, ("slack.gif", ".mp4", "sheet.png"), strict=True):
            answer = await client.call_tool("export", {"picture": clip["sha256"], **wanted})
            file = answer.structured_content["files"][0]
            assert file["path"].endswith(name), answer.content
            assert Path(file["path"]).is_relative_to(home / "cache")
            link = next(block for block in answer.content if block.type == "resource_link")
            read = (await client.read_resource(link.uri)).contents[0]
            assert base64.b64decode(read.blob) == Path(file["path"]).read_bytes() and link.size == file["bytes"]
        for tool, arguments, says in (
            ("export", {"picture": clip["sha256"]}, "say what to make"),
            ("export", {"picture": clip["sha256"], "format": "avi"}, "there are no 'avi' files"),
            ("export", {"picture": clip["sha256"], "app": "twitch"}, "takes no clips"),
            ("export", {"picture": "0" * 64, "format": "gif"}, "there is no picture"),
        ):
            answer = await client.call_tool(tool, arguments)
            assert answer.is_error and says in answer.content[0].text, answer.content
        for address in ("studio://files/x/..", "studio://files/x/%2e%2e%2fstudio.db"):
            with pytest.raises(mcp.MCPError):
                await client.read_resource(address)

    use(take)


@pytest.mark.parametrize("use", [HTTP], indirect=True)
def test_jobs_are_queued_inspected_and_cancelled(use: Callable[[Use], None]) -> None:
    async def leave(client: Any) -> None:
        begun = await client.call_tool("generate", {**SLOW, "seed": 1, "wait": False})
        job = begun.structured_content["jobs"][0]
        assert job["state"] in ("waiting", "running") and kinds(begun) == ["text"]
        report = (await client.call_tool("status")).structured_content
        assert job["id"] in [item["id"] for item in report["jobs"]] and not report["paused"]
        item = (await client.call_tool("status", {"job": job["id"][:12]})).structured_content["jobs"]
        assert [job["id"]] == [item["id"] for item in item]
        await client.call_tool("cancel", {"job": job["id"]})
        for _ in range(20 * TIMEOUT):
            item = (await client.call_tool("status", {"job": job["id"]})).structured_content["jobs"][0]
            if item["state"] == "cancelled":
                return
            await asyncio.sleep(0.05)
        pytest.fail("it was not stopped")

    use(leave)


@pytest.mark.parametrize("use", [HTTP, STDIO], indirect=True)
def test_a_call_that_is_cancelled_cancels_its_job(use: Callable[[Use], None], home: Path) -> None:
    with Studio(home) as beside:
        queue = beside.queue

        async def leave(client: Any) -> None:
            calling = asyncio.create_task(client.call_tool("generate", {**SLOW, "seed": 2}))
            while not queue.jobs(["running"]):
                await asyncio.sleep(0.02)
            job = queue.jobs(["running"])[0].id
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
            for _ in range(400):
                if queue.job(job).state == "cancelled":
                    return
                await asyncio.sleep(0.05)
            pytest.fail(f"it is {queue.job(job).state}")

        use(leave)


@pytest.mark.parametrize("use", [HTTP, STDIO], indirect=True)
def test_refusals_of_tools(use: Callable[[Use], None], tmp_path: Path) -> None:
    local = use.kind == "stdio"
    Image.new("RGBA", (9, 9), "red").save(tmp_path / "red.png")
    for_paths = "does not exist" if local else "is no base64 of a picture file; addresses and paths are never fetched."
    requests: list[tuple[str, dict[str, Any], str]] = [
        ("generate", {"prompt": "a", "style": "nto"}, "unknown style 'nto' (did you mean 'noto'?); `studio styles`"),
        ("generate", {"prompt": "a", "model": "fkae"}, "unknown model 'fkae' (did you mean 'fake'?)"),
        ("generate", {"prompt": "", "model": "fake:60"}, "the prompt is empty" if local else "unknown model 'fake:60'"),
        ("generate", {"image": "0" * 64, "prompt": "a"}, f"image: there is no picture {'0' * 64} in the gallery."),
        ("generate", {"image": "/nowhere/a.png", "prompt": "a"}, for_paths),
        ("generate", {"image": "~nosuch/a.png", "prompt": "a"}, "a user that there is not" if local else for_paths),
        ("generate", {"image": "http://169.254.169.254/a.png", "prompt": "a"}, for_paths),
        ("generate", {"image": "AAAA", "prompt": "a"}, "image is not a picture that can be read"),
        ("search", {"query": "a", "like": "../../etc/passwd"}, "is no base64 of a picture file"),
        ("status", {"job": "zzz"}, "there is no job 'zzz'"),
        ("cancel", {"job": "zzz"}, "there is no job 'zzz'"),
    ]

    async def try_all(client: Any) -> None:
        for tool, arguments, says in requests:
            result = await client.call_tool(tool, arguments)
            text = result.content[0].text
            assert result.is_error and says in text and "\n" not in text, (tool, arguments, text)
            assert str(tmp_path.parent) not in text
        wrong = await client.call_tool("generate", {"prompt": "a", "count": "many"})
        assert wrong.is_error and "count" in wrong.content[0].text
        edit = {"image": str(tmp_path / "red.png"), "prompt": "a", "steps": 1, "strength": 1.0}
        by_path = await client.call_tool("generate", edit)
        assert by_path.is_error != local, "this computer's user may give a path, nobody else"
        with pytest.raises(mcp.MCPError, match="no picture"):
            await client.read_resource(f"studio://pictures/{'0' * 64}")

    use(try_all)


def test_stdout_carries_the_protocol_and_nothing_else(tmp_path: Path) -> None:
    """Also of the worker; the process ends when its input ends."""
    client = {"name": "test", "version": "1"}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
    output = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {
            "jsonrpc": "2.0",
            "id": 2,
            "method": "tools/call",
            "params": {"name": "generate", "arguments": {"prompt": "a"}},
        },
    ]
    command = [sys.executable, "-m", "studio", "mcp", "--model", "fake", "--home", str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=ROOT, **pipes)
    assert process.stdin and process.stdout
    for message in output:
        process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()
    lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert [line["id"] for line in lines] == [1, 2] and not lines[1]["result"]["isError"]
    rest, noise = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, rest) == (0, ""), noise


def test_text_is_answered_as_text_and_what_is_gone_only_as_a_link(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("一只猫", encoding="utf-8")
    facts = dict.fromkeys(
        (item.name for item in dataclasses.fields(GalleryItem) if item.default is dataclasses.MISSING), None
    )
    there, gone = (
        GalleryItem(**{**facts, "sha256": n[0], "path": tmp_path / n, "seed": 1, "prompt": "", **about})
        for n, about in (
            ("a.txt", {"kind": "text", "media_type": "text/plain", "text": "一只猫"}),
            ("b.png", {"kind": "image", "media_type": "image/png"}),
        )
    )
    gallery: Any = SimpleNamespace(get={"a": there}.__getitem__)
    answer = hits_result(gallery, [(there, 0.5), (gone, None)])
    assert [block.type for block in answer.content] == ["text", "text", "resource_link", "resource_link"]
    assert answer.content[1].text == "一只猫" and answer.content[2].mime_type.startswith("text/plain")


def test_a_bad_model_is_refused_before_it_serves(studio: Callable[..., Any]) -> None:
    output = studio("mcp", "--model", "fkae")
    assert output.code == 2 and output.out == "" and "did you mean 'fake'" in output.err
