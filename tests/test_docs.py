"""The documentation: its code runs, its links lead somewhere, and what it names is what the code has.

A fenced block in python, bash or javascript is run, unless the line above it says `<!-- not run: why -->`. Blocks of
one language on one page follow each other, as a reader would type them; JavaScript is a module a block. A block with
`title="NAME"` is a file of that name, which lies in the reader's folder before anything is run.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path

import pytest
from page_kit import ROOT, Elements, Server
from PIL import Image, ImageDraw
from waiting import TIMEOUT

from studio import settings
from studio.backends.fake import Fake
from studio.batch import readers
from studio.cli import program
from studio.export.apps import APPS
from studio.export.clips import FORMATS
from studio.export.make import SHEET
from studio.grid import SETTINGS
from studio.sets import KINDS
from studio.studio import Studio

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
PAPERS = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
RUN = ("python", "bash", "javascript")
FENCE = re.compile(r'```(\w*)(?: title="([^"]+)")?$')
NOT_RUN = re.compile(r"<!-- not run: (.{10,}) -->")
PORT = "7860"  # as the pages write it; the server of the tests has another
# Where the pages name no model they mean the embedded one, whose weights are large and slow: here another one draws.
STAND_IN = 'from studio.backends import base\n\nbase.KINDS["embedded"] = base.KINDS["fake"]\n'


@dataclass(frozen=True)
class Block:
    """A fenced block: `line` is that of its first line of code, from 1; `reason` is why it is not run."""

    page: Path
    line: int
    language: str
    title: str
    code: str
    reason: str

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    result: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    start, head, output = 0, None, ""
    for number, line in enumerate(lines, 1):
        if head and line == "```":
            code = "\n".join(lines[start - 1 : number - 1]) + "\n"
            result.append(Block(page, start, head[1], head[2] or "", code, output))
            head, output = None, ""
        elif not head and line.lstrip().startswith("```"):
            head, start = FENCE.match(line), number + 1
            assert head, f"{page.relative_to(ROOT)}:{number}: a block begins in its first column, with its language"
        elif not head and line.strip():
            reason = NOT_RUN.fullmatch(line)
            output = reason[1] if reason else ""
    assert head is None, f"{page.relative_to(ROOT)}: a block is never closed"
    return result


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"(?ms)^```.*?^```$", "", page.read_text(encoding="utf-8"))


def spans(page: Path) -> list[str]:
    """What stands in `backticks` outside of blocks."""
    return re.findall(r"`([^`\n]+)`", prose(page))


def anchors(page: Path) -> set[str]:
    """What links to a page may end in: its headings, as GitHub and MkDocs both write plain words."""
    headings = re.findall(r"(?m)^#+ (.+)$", prose(page))
    plain = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings)
    return {re.sub(r"[\s-]+", "-", heading) for heading in plain}


def as_script(parts: Iterable[Block]) -> str:
    """Blocks of one page, each line with the number that it has there: what fails says where to look."""
    lines: list[str] = []
    for block in parts:
        lines += [""] * (block.line - 1 - len(lines)) + block.code.splitlines()
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def typed_tools(folder: Path) -> Iterator[Path]:
    """The folder with what a reader types: `python`, and `studio`, which is forked (fork_server.py)."""
    (folder / "sitecustomize.py").write_text(STAND_IN)
    program, place = ROOT / "tests" / "fork_server.py", folder / "socket"
    for name, what in {"python": "", "studio": f'-S "{program}" "{place}"'}.items():
        tool = folder / name
        tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" {what} "$@"\n')
        tool.chmod(0o755)
    command = [sys.executable, str(program), str(place)]
    with subprocess.Popen(command, env=_environment(folder), stdout=subprocess.PIPE) as server:
        assert server.stdout and server.stdout.readline() == b"ready\n"
        yield folder
        server.kill()


def _environment(tools: Path) -> dict[str, str]:
    paths = {"PYTHONPATH": f"{tools}{os.pathsep}{ROOT}", "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    return {**os.environ, **paths}


class Reader:
    """Somebody who types what a page says, in a folder of his own, at a home that is his."""

    def __init__(self, folder: Path, home: Path, tools: Path) -> None:
        self.folder, self.home, self._tools = folder, home, tools
        folder.mkdir()
        _draw_pictures(folder)

    def lay_out(self, files: Iterable[Block]) -> None:
        """The files that the page shows."""
        for block in files:
            path = self.folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code, encoding="utf-8")

    def type(self, parts: list[Block], port: int) -> None:
        """Run blocks of one language; each must end well."""
        language, page = parts[0].language, parts[0].page
        scripts = [[block] for block in parts] if language == "javascript" else [parts]
        for number, script in enumerate(scripts):
            ending = ".mjs" if language == "javascript" else ""
            path = self._tools / f"{page.stem}-{language}-{number}{ending}"
            head = "set -euo pipefail" if language == "bash" else ""
            text = head + as_script(script).replace(PORT, str(port))
            path.write_text(text, encoding="utf-8")
            done = self._run([*_program(language, script), str(path)])
            assert done.returncode == 0, f"{page.relative_to(ROOT)}\n{done.stdout}\n{done.stderr}"

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**_environment(self._tools), "STUDIO_HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )


def _draw_pictures(folder: Path) -> None:
    """What a reader has lying about: two pictures, and a mask that fits them."""
    for name, colour in {"cat": "orange", "hat": "navy"}.items():
        picture = Image.new("RGBA", (96, 96))
        ImageDraw.Draw(picture).ellipse((8, 8, 88, 88), fill=colour)
        picture.save(folder / f"{name}.png")
    mask = Image.new("L", (96, 96), 0)
    mask.paste(255, (0, 0, 96, 40))
    mask.save(folder / "mask.png")
    (folder / "prompts.jsonl").write_text('{"prompt": "a smiling cat", "seed": 1}\n')


def _program(language: str, script: list[Block]) -> list[str]:
    """What runs a language; skips where it is not on this computer."""
    if language == "python":
        return [sys.executable]
    name = {"bash": "bash", "javascript": "node"}[language]
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"there is no {name} on this computer to run the page's {language} with")
    if language == "javascript" and not _fetches(program):
        pytest.skip("this node is older than 18 and has no fetch")
    if any("curl " in block.code for block in script) and shutil.which("curl") is None:
        pytest.skip("there is no curl on this computer, which the page uses")
    return [program]


def _fetches(node: str) -> bool:
    output = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=TIMEOUT).stdout
    return int(output.strip().lstrip("v").partition(".")[0] or 0) >= 18


def runs() -> Iterator[tuple[Path, str]]:
    """Pages and languages that have something to run."""
    for page in PAGES:
        languages = {block.language for block in blocks(page) if not block.reason}
        yield from ((page, language) for language in RUN if language in languages)


# --- The pages --------------------------------------------------------------------------------------------------------


PICTURE_BYTES = 150_000
ASSETS = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"}
FOREIGN = re.compile(r"(?:https?:)?//")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# --- Code -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server") / "home", "fake")
    yield server
    server.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the pages that need no server."""
    return tmp_path_factory.mktemp("reader") / "home"


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with typed_tools(tmp_path_factory.mktemp("tools")) as folder:
        yield folder


@pytest.mark.parametrize(("page", "language"), runs(), ids=lambda value: getattr(value, "stem", value))
def test_the_code_runs(
    page: Path, language: str, home: Path, tools: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    parts = [item for item in blocks(page) if item.language == language and not item.reason and not item.title]
    port = 0
    if any(PORT in item.code for item in parts):
        server = request.getfixturevalue("server")
        home, port = server.home, server.port
    reader = Reader(tmp_path / "folder", home, tools)
    reader.lay_out(item for item in blocks(page) if item.title)
    reader.type(parts, port)


def test_code_blocks_are_run_or_give_a_reason() -> None:
    every = [block for page in PAGES for block in blocks(page)]
    for block in every:
        assert block.language, f"{block.place}: a block says its language"
        assert not block.reason or block.language in RUN, f"{block.place}: {block.language} is never run"
        if block.language in ("sh", "shell", "console", "js", "py", "mjs"):
            pytest.fail(f"{block.place}: write one of {', '.join(RUN)}, so that it is run")
        if block.language == "json" and block.title.endswith(".json"):
            json.loads(block.code)
    for page in PAGES:
        assert r"\|" not in prose(page), f"{name(page)}: the site shows the backslash; put it outside of a table"
    for language in RUN:
        assert sum(block.language == language and not block.reason for block in every) >= 3, language


# --- Names ------------------------------------------------------------------------------------------------------------


def test_commands_have_a_json_option() -> None:
    assert [name for name, options in commands().items() if "--json" not in options] == ["mcp", "open"]


def test_offline_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/security.md: no telemetry, no hub, no code from elsewhere, unless somebody has said otherwise."""
    monkeypatch.setattr(os, "environ", {"HF_HUB_OFFLINE": "0"})
    settings.stay_offline()
    assert os.environ == {
        "HF_HUB_OFFLINE": "0",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DIFFUSERS_DISABLE_REMOTE_CODE": "1",
    }


def commands() -> dict[str, set[str]]:
    """The options of each command of `studio`."""
    group = program()
    return {
        command: {option for parameter in item.params for option in (*parameter.opts, *parameter.secondary_opts)}
        for command, item in group.commands.items()
    }


def test_commands_and_options_are_those_that_there_are() -> None:
    known = commands()
    opens = known["open"]  # which `python app.py` is, too
    flags = {f"--{item}" for item in (*readers.ALIASES, *readers.SIDES, *readers.known_settings())}
    every = set().union(*known.values(), flags, {"--help"})
    for page in PAPERS:
        typed = [line for block in blocks(page) if block.language == "bash" for line in block.code.splitlines()]
        for span in [*spans(page), *typed]:
            for command, rest in re.findall(r"(?:^|; |\| |&& )studio ([a-z]+)\b([^;|#]*)", span):
                assert command in known, f"{name(page)}: there is no studio {command}"
                output = {option.partition("=")[0] for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", rest)}
                assert output <= known[command] | {"--help"}, f"{name(page)}: {span}"
        for span in spans(page) if page in PAGES else ():  # others speak of other programs, too
            for option in re.findall(r"^--\w[\w-]*", span):
                assert option in every, f"{name(page)}: {span}"
    listed = " ".join(spans(DOCS / "commands.md"))
    missing = [item for item in known if f"studio {item}" not in listed]
    missing += [option for option in opens - {"--help"} if option not in listed]
    assert not missing, "docs/commands.md lists every command, and every option of the page"


def test_addresses_are_those_that_there_are(tmp_path: Path) -> None:
    from fastapi import FastAPI

    from studio.api import a1111, v1

    server, studio = FastAPI(), Studio(tmp_path)
    for door in (a1111, v1):
        server.include_router(door.router(studio, "fake"))
    named = {"{job}": "ID", "{sha256}": "SHA256", "{number}": "NUMBER"}
    there = {re.sub(r"{\w+}", lambda m: named[m[0]], path): how for path, how in server.openapi()["paths"].items()}
    text = (DOCS / "http.md").read_text(encoding="utf-8")
    for path in (path for path in there if path.startswith(v1.PREFIX)):
        assert f" {path}`" in text, f"docs/http.md does not name {path}"
    for method, path in re.findall(r"`(GET|POST|PATCH|DELETE) (/api/v1[\w/]*)", text):
        assert method.lower() in there.get(path, {}), f"docs/http.md names {method} {path}"
    table = text.partition("| address below")[2].partition("\n\n")[0]
    theirs = [item for row in table.splitlines()[2:] for item in re.findall(r"`([\w-]+)`", row.split("|")[1])]
    assert len(theirs) > 10 and {f"{a1111.PREFIX}/{item}" for item in theirs} <= set(there)


def test_tools_are_those_that_there_are(tmp_path: Path) -> None:
    from studio.mcp import server

    tools = {tool.name for tool in asyncio.run(server(Studio(tmp_path), "fake").list_tools())}
    table = (DOCS / "mcp.md").read_text(encoding="utf-8").partition("| tool |")[2].partition("\n\n")[0]
    named = [item for row in table.splitlines()[2:] for item in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert set(named) == tools and len(named) == len(tools)


def sources() -> str:
    """All that the code may say: its text, with strings that go on on the next line joined."""
    files = [*(ROOT / "studio").rglob("*.py"), *(ROOT / "models").rglob("*.py")]
    files += (ROOT / "assets" / "messages" / "en").glob("*.json")
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return re.sub(r'"\s*\n\s*f?"', "", text).replace("{{", "{").replace("}}", "}").replace("\\\\", "\\")


def test_pages_that_the_code_mentions_are_there() -> None:
    mentioned = set(re.findall(r"docs/[\w/]+\.md(?:#[\w-]+)?", sources()))
    assert mentioned
    for path, _, anchor in (mention.partition("#") for mention in mentioned):
        assert (ROOT / path).is_file(), path
        assert not anchor or anchor in anchors(ROOT / path), f"{path}#{anchor}"


def test_findings_of_the_doctor_are_documented() -> None:
    text = (ROOT / "studio" / "maintenance.py").read_text(encoding="utf-8")
    kinds = set(re.findall(r'Finding\(\s*"([a-z ]+)"', text))
    assert len(kinds) == 6
    assert {kind.replace(" ", "-") for kind in kinds} <= anchors(DOCS / "trouble.md")


def test_styles_and_numbers_are_those_of_the_model() -> None:
    can, text = Fake().capabilities(), (DOCS / "create.md").read_text(encoding="utf-8")
    from models.data.grammar import STYLES
    from studio.backends.embedded import Embedded

    ours = Embedded().capabilities()
    assert ours.schedulers[0] == "dpm++" and all(f"`{item}`" in text for item in ours.schedulers)
    for setting in ("steps", "guidance"):
        limits = getattr(ours, setting)
        assert limits == getattr(can, setting)
        assert f"`--{setting}`, {limits.least:g} to {limits.most:g} | {limits.usual:g} |" in text
    assert len(STYLES) == 10 and "ten styles" in (DOCS / "index.md").read_text(encoding="utf-8")


def test_the_apps_are_those_that_there_are() -> None:
    text = (DOCS / "export.md").read_text(encoding="utf-8")
    for item in APPS.values():
        sizes = ", ".join(f"{width} × {height}" for width, height in item.sizes)
        counts = ", ".join(map(str, item.counts)) or f"{item.least} to {item.most}"
        row = f"| `{item.name}` | {item.title} | {item.kind.upper()}, {sizes} | {item.limit:,} | {counts} |"
        assert row in text, f"docs/export.md lacks {row}"
    for item in (app.moving for app in APPS.values() if app.moving):
        size, seconds = " × ".join(map(str, item.sizes[0])), item.motion.seconds
        row = f"| `{item.name}` | {item.title} | {item.kind.upper()}, {size} | {item.limit:,} | {seconds:g} |"
        assert row in text, f"docs/export.md lacks {row}"
    assert all(f"| `{kind}`" in text for kind in (*FORMATS, SHEET))
    assert all(f"`{setting}`" in text for setting in SETTINGS) and all(f"| `{kind}` |" in text for kind in KINDS)


# --- Links, pictures and the site -------------------------------------------------------------------------------------


def test_links_lead_somewhere() -> None:
    wrong = []
    for page in PAPERS:
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
            path, _, anchor = target.partition("#")
            there = (page.parent / path).resolve() if path else page
            if FOREIGN.match(target):
                continue
            if not there.exists() or (anchor and anchor not in anchors(there)):
                wrong.append(f"{name(page)} links to {target}, which is not there")
            elif page in PAGES and not there.is_relative_to(DOCS):
                wrong.append(f"{name(page)} links to {target}, which is not in the site")
    assert wrong == []


def test_pictures_are_small_and_used() -> None:
    used = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", prose(page))
    }
    for picture in (DOCS / "images").iterdir():
        assert picture.stat().st_size < PICTURE_BYTES, picture
        assert picture in used or picture.name == "logo.svg", (
            f"no page shows {picture}, with words for who can't see it"
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as it is built; a warning is an error."""
    if util.find_spec("material") is None or util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs-material is not installed (extra `docs`)")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]  # --quiet would be lenient
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_the_site_is_whole(site: Path) -> None:
    for page in PAGES:
        assert (site / page.relative_to(DOCS)).with_suffix(".html").is_file()


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    seen = 0
    for path in site.rglob("*.html"):
        for tag, attributes in Elements(path.read_text(encoding="utf-8")).elements:
            target = attributes.get(ASSETS.get(tag, "")) or ""
            seen += bool(target)
            assert not FOREIGN.match(target), f"{path.name} loads {target}"
    assert seen > 50
    for path in site.rglob("*.css"):
        for target in re.findall(r"(?:url\(|@import )['\"]?([^'\")]+)", path.read_text(encoding="utf-8")):
            assert not FOREIGN.match(target), f"{path.name} loads {target}"
