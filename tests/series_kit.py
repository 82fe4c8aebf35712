"""What the tests of tabs with series share: a context whose worker never begins, what a button says, a picture."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
import queue_kit
from PIL import Image

from studio.metadata.files import encoded
from studio.page.context import PageContext
from studio.page.html import ROUTE_LANGUAGE
from studio.page.series import Member
from studio.studio import Studio


@contextlib.contextmanager
def spoken(language: str) -> Iterator[None]:
    """To a reader of that language."""
    before = ROUTE_LANGUAGE.set(language)
    yield
    ROUTE_LANGUAGE.reset(before)


@pytest.fixture(name="context")
def idle_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PageContext]:
    """A page's context on a home where what is put in line waits."""
    studio = Studio(tmp_path / "home")
    monkeypatch.setattr(studio._worker, "wake", lambda model="": None)
    monkeypatch.setattr(studio, "read", lambda *texts, **_: [])  # no worker reads
    yield PageContext(studio, "fake")
    studio.close()


def told(**data: object) -> gr.EventData:
    """What a button says."""
    return gr.EventData(None, data)


def keep(context: PageContext, member: Member, red: int | None = None) -> Path:
    """A finished picture of a job, of a colour of its own."""
    seed = member.request.seed or 0
    picture = Image.new("RGBA", (32, 32), (seed % 256 if red is None else red, 0, 99, 255))
    picture.paste((0, 0, 0, 0), (0, 0, 32, 4))
    data = encoded(picture, None, "png")
    entry = queue_kit.Entry(member.id, 0, seed, member.request.prompt, model="fake")
    return queue_kit.keep(context.studio.gallery, data, entry)
