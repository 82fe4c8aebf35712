"""`/api/v1/health`: whether pictures can be made, said at once; and what would hold up the page's answers."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from page_kit import client_of
from queue_kit import ask, planned
from tiny_pipelines import save_tiny_pipeline
from waiting import until

from studio.api import v1
from studio.backends.base import Backend
from studio.backends.fake import Fake
from studio.events import Done
from studio.studio import Studio


class Held(Fake):
    """Is in memory once a file is there."""

    file = Path()

    def load(self) -> None:
        until(self.file.exists)


def held(file: Path, model: str) -> Backend:
    backend = Held()
    backend.file = file
    return backend


def health(studio: Studio, model: str = "fake") -> dict[str, Any]:
    with client_of(v1.router(studio, model)) as client:
        said: dict[str, Any] = client.get("/api/v1/health").json()
    return said


def test_it_says_whether_the_model_is_in_memory(tmp_path: Path) -> None:
    with Studio(tmp_path / "a home", opener=partial(held, tmp_path / "there")) as studio:
        assert health(studio)["loaded"] == "not loaded" and health(studio)["worker_seen"] is None
        job = studio.submit(planned(ask()))
        until(lambda: health(studio)["loaded"] == "loading")
        with Studio(tmp_path / "a home") as beside:
            assert health(beside)["loaded"] == "loading", "the worker of another process"
        (tmp_path / "there").touch()
        assert list(studio.events(job))[-1] == Done()
        assert health(studio)["loaded"] == "loaded" and health(studio, "fake:0.1")["loaded"] == "not loaded"
    assert health(studio)["loaded"] == "not loaded", "it went with its worker"


def test_of_a_new_model_no_weights_are_read_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_tiny_pipeline("sd", tmp_path / "sd")
    for function in ("studio.disk.models.sha256", "models.weights.file_sha256"):
        monkeypatch.setattr(function, lambda path: pytest.fail(f"{path} is read"))
    with Studio(tmp_path / "home") as studio:
        assert health(studio, f"diffusers:{folder}")["status"] == "ok"
        (file,) = (folder / "unet").glob("*.safetensors")
        file.write_bytes(file.read_bytes()[:-1])
        said = health(studio, f"diffusers:{folder}")
        assert said["status"] == "not ready" and file.name in said["problem"]
