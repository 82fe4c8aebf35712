"""Helpers for tests of third-party models: tiny random pipelines, no network."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from studio.backends import runtime
from studio.backends.base import Backend, run
from studio.media import Artifact, frames
from studio.planner import plan
from studio.requests import make_request

NATIVE_DTYPE = runtime.dtype


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket of the internet is opened, and numbers are those of any computer."""
    import torch

    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        assert self.family == socket.AF_UNIX or address[0] == "127.0.0.1", f"a look-up of {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(runtime, "dtype", lambda: torch.float32)


@pytest.fixture(scope="session")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a row's pipeline, saved once."""
    root = tmp_path_factory.mktemp("pipelines")

    def folder(family: str) -> Path:
        from tiny_pipelines import save_tiny_pipeline

        path = root / family
        return path if path.exists() else save_tiny_pipeline(family, path)

    return folder


@pytest.fixture(scope="session")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A picture, and a mask that keeps its right half."""
    folder, noise = tmp_path_factory.mktemp("given"), np.random.default_rng(0)
    Image.fromarray(noise.integers(0, 256, (40, 80, 3), np.uint8)).save(folder / "picture.png")
    mask = np.zeros((40, 80), np.uint8)
    mask[:, :40] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    return {name: {"path": str(folder / f"{file}.png")} for name, file in {"image": "picture", "mask": "mask"}.items()}


def artifacts(backend: Backend, **fields: Any) -> list[Artifact]:
    query = {"prompt": "a cat", "seed": 3, "model": "diffusers:x", **fields}
    (job,) = plan(make_request(**{name: value for name, value in query.items() if value is not None}), backend)
    return [event for event in run(backend, job.request) if isinstance(event, Artifact)]


def draw(backend: Backend, **fields: Any) -> list[np.ndarray]:
    """The pictures, or clips (F, H, W, 4), of a request."""
    return [pixels(one) for one in artifacts(backend, **fields)]


def pixels(artifact: Artifact) -> np.ndarray:
    shown = np.stack([np.asarray(one) for one in frames(artifact.data)])
    return shown if artifact.kind == "clip" else shown[0]


def fitted(path: str, width: int, height: int) -> Image.Image:
    """A picture in a size, as what is given to a pipeline."""
    return ImageOps.fit(Image.open(path).convert("RGB"), (width, height), Image.Resampling.LANCZOS)
