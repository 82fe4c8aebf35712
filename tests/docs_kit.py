"""What the tests of the documentation share: its pages taken apart, and a reader who types what stands there.

A fenced block in python, bash or javascript is run, unless the line above it says `<!-- not run: why -->`. Blocks of
one language on one page follow each other, as a reader would type them; JavaScript is a module a block. A block with
`title="NAME"` is a file of that name, which lies in the reader's folder before anything is run.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from page_kit import ROOT
from PIL import Image, ImageDraw
from waiting import TIMEOUT

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
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    start, head, said = 0, None, ""
    for number, line in enumerate(lines, 1):
        if head and line == "```":
            code = "\n".join(lines[start - 1 : number - 1]) + "\n"
            found.append(Block(page, start, head[1], head[2] or "", code, said))
            head, said = None, ""
        elif not head and line.lstrip().startswith("```"):
            head, start = FENCE.match(line), number + 1
            assert head, f"{page.relative_to(ROOT)}:{number}: a block begins in its first column, with its language"
        elif not head and line.strip():
            reason = NOT_RUN.fullmatch(line)
            said = reason[1] if reason else ""
    assert head is None, f"{page.relative_to(ROOT)}: a block is never closed"
    return found


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
def tools(folder: Path) -> Iterator[Path]:
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
    said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=TIMEOUT).stdout
    return int(said.strip().lstrip("v").partition(".")[0] or 0) >= 18


def runs() -> Iterator[tuple[Path, str]]:
    """Pages and languages that have something to run."""
    for page in PAGES:
        languages = {block.language for block in blocks(page) if not block.reason}
        yield from ((page, language) for language in RUN if language in languages)
