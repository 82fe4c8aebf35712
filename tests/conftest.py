"""Fixtures and helpers of several test files."""

from environment import FOLDER  # isort: skip - before all that reads the environment
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import pytest
from page_kit import browser, chromium, home, part, server, url, visit  # noqa: F401 - fixtures
from pipeline_kit import given, offline, pipelines  # noqa: F401 - fixtures
from queue_kit import open_tiny
from tiny_parts import save_tiny_parts
from tone import tone  # noqa: F401 - a fixture

from models.messages import Refused
from studio.backends.base import Backend
from studio.backends.embedded import Embedded
from studio.backends.fake import Fake
from studio.studio import Studio

# A job in a shell's background ignores Ctrl-C, and so would what its tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test fails because the machine is busy.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Environment variables that a command sets for its worker end with the test."""
    before = {name: value for name, value in os.environ.items() if name.startswith("STUDIO_")}
    yield
    for name in [name for name in os.environ if name.startswith("STUDIO_")]:
        del os.environ[name]
    os.environ |= before
    shutil.rmtree(FOLDER, ignore_errors=True)


class Output(NamedTuple):
    """Output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document that `--json` printed."""
        return json.loads(self.out)


Command = Callable[..., Output]


def refusal(call: Callable[[], Any]) -> str:
    """The sentence of a refusal, "" where nothing is refused."""
    try:
        call()
    except Refused as refused:
        return str(refused)
    return ""


def sentence_of(call: Callable[[], Any]) -> str:
    """The sentence of a refusal; fails where nothing is refused or it has several lines."""
    sentence = refusal(call)
    assert "\n" not in sentence and sentence.endswith("."), sentence
    return sentence


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path) -> Iterator[Command]:
    """Runs the `studio` command in this process."""
    from studio import cli  # all commands, which most tests don't need

    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "home"))

    def run(*arguments: object) -> Output:
        monkeypatch.setattr(sys, "argv", ["studio", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        return Output(int(end.value.code or 0), *capsys.readouterr())

    before = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tiny untrained parts, shared by the tests of a file."""
    return save_tiny_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def pipe(parts: Path) -> Any:
    """The pipeline of the tiny parts, without parser and references."""
    import torch

    from models.pipelines.sticker import StickerPipeline  # takes seconds, and most tests don't need it

    pipeline = StickerPipeline.assemble(parts, torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Studio]:
    """A `Studio` in the home that commands use."""
    with Studio(tmp_path / "home") as opened:
        yield opened


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A `Studio` shared by tests that leave its worker alive."""
    with Studio(tmp_path_factory.mktemp("home")) as opened:
        yield opened


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Embedded:
    """The studio's own models, tiny and untrained."""
    return Embedded(str(save_tiny_parts(tmp_path_factory.mktemp("parts"))))


@pytest.fixture(scope="session")
def tiny_studio(tmp_path_factory: pytest.TempPathFactory, tiny: Embedded) -> Iterator[Any]:
    """A `Studio` whose worker has the tiny models; loading them takes seconds."""
    with Studio(tmp_path_factory.mktemp("home"), partial(open_tiny, str(tiny.root))) as studio:
        yield studio


@pytest.fixture(params=["embedded", "fake"])
def backend(request: pytest.FixtureRequest) -> Backend:
    return request.getfixturevalue("tiny") if request.param == "embedded" else Fake()
