"""Pipelines of diffusers behind the doors of the studio, on random ones that are built here."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Said, refusal
from PIL import Image, ImageOps
from tiny_pipelines import ROWS, save_tiny_pipeline

from studio.backends import placing
from studio.backends.base import run, run_batch
from studio.backends.diffusers import Diffusers
from studio.events import Progress
from studio.fields import sides
from studio.media import Artifact, frames
from studio.planner import plan
from studio.requests import make_request


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket of the internet is opened, and numbers are those of any computer."""

    def refuse(self: socket.socket, address: Any) -> None:
        assert self.family == socket.AF_UNIX, f"a look-up of {address}"

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(placing, "dtype", lambda: torch.float32)


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a row's pipeline, saved once."""
    root = tmp_path_factory.mktemp("pipelines")

    def folder(family: str) -> Path:
        path = root / family
        return path if path.exists() else save_tiny_pipeline(family, path)

    return folder


def made(backend: Diffusers, **fields: Any) -> list[np.ndarray]:
    """The pictures, or clips (F, H, W, 4), of a request."""
    (job,) = plan(make_request(**{"prompt": "a cat", "seed": 3, "model": "diffusers:x", **fields}), backend)
    return [_pixels(event) for event in run(backend, job.request) if isinstance(event, Artifact)]


def _pixels(artifact: Artifact) -> np.ndarray:
    shown = np.stack([np.asarray(one) for one in frames(artifact.data)])
    return shown if artifact.kind == "clip" else shown[0]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A picture, and a mask that keeps its right half."""
    folder, noise = tmp_path_factory.mktemp("given"), np.random.default_rng(0)
    Image.fromarray(noise.integers(0, 256, (40, 80, 3), np.uint8)).save(folder / "picture.png")
    mask = np.zeros((40, 80), np.uint8)
    mask[:, :40] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    return {name: {"path": str(folder / f"{file}.png")} for name, file in {"image": "picture", "mask": "mask"}.items()}


@pytest.mark.parametrize("family", ROWS)
def test_any_pipeline_does_what_its_signature_says(
    family: str, pipelines: Callable[[str], Path], given: dict[str, Any]
) -> None:
    """From words, from a picture, within a mask; each the same alone as beside another, in the size asked for."""
    backend, row = Diffusers(str(pipelines(family))), ROWS[family]
    can, (width, height) = backend.capabilities(), sides(row["size"])
    asked = {"task": can.tasks[0], "size": row["size"], "steps": 3, "negative": "dog"}
    asked |= {"frames": row["frames"]} if "frames" in row else {}
    starts = [{}] if not can.needs else []
    starts += [given | {"mask": None}] if "image" not in can.lacks else []
    starts += [given] if "mask" not in can.lacks else []
    kept = np.asarray(_fitted(given["image"]["path"], width, height))[:, width // 2 :]
    for start in starts:
        start = start if asked["task"] == "image" else {name: one for name, one in start.items() if name == "image"}
        first, second = made(backend, **asked, **start, count=2)
        assert np.array_equal(made(backend, **asked, **start, seed=4)[0], second)
        assert not np.array_equal(first, second)
        assert first.shape == (*([row["frames"]] if "frames" in row else []), height, width, 4)
        assert not start.get("mask") or np.array_equal(first[:, width // 2 :, :3], kept)
    assert backend.capabilities() == can
    if can.needs:
        assert "needs image" in refusal(lambda: made(backend, **asked))
    if "image" in can.lacks:
        assert "has no use for image" in refusal(lambda: made(backend, **asked, image=given["image"]))


def _fitted(path: str, width: int, height: int) -> Image.Image:
    return ImageOps.fit(Image.open(path).convert("RGB"), (width, height), Image.Resampling.LANCZOS)


def test_a_picture_is_that_of_a_bare_call_and_the_same_in_company(pipelines: Callable[[str], Path]) -> None:
    import diffusers

    backend = Diffusers(str(pipelines("sd")))
    alone, together = made(backend, steps=3, seed=4), made(backend, steps=3, count=3)
    assert np.array_equal(alone[0], together[1])
    assert not np.array_equal(together[0], together[1])
    bare = diffusers.DiffusionPipeline.from_pretrained(pipelines("sd"), use_safetensors=True)
    made_bare = bare("a cat", num_inference_steps=3, guidance_scale=7.5, generator=torch.Generator().manual_seed(4))
    assert np.array_equal(alone[0][..., :3], np.asarray(made_bare.images[0]))
    several = [make_request(prompt=word, seed=4, steps=3, model="diffusers:x") for word in ("a dog", "a cat")]
    jobs = plan(several, backend)
    events = [event for number, event in run_batch(backend, [job.request for job in jobs]) if number == 1]
    assert np.array_equal(_pixels(events[-1]), alone[0])
    steps = [event for event in events if isinstance(event, Progress)]
    assert [(one.step, one.total) for one in steps] == [(1, 3), (2, 3), (3, 3)]
    assert all(one.previews for one in steps)


def test_capabilities_are_read_without_torch(pipelines: Callable[[str], Path]) -> None:
    code = f"""
import sys
from studio.backends.registry import open_backend
backend = open_backend({f"diffusers:{pipelines('sd')}"!r})
can, digest = backend.capabilities(), backend.digest()
assert not {{"torch", "diffusers", "transformers"}} & set(sys.modules)
print(can.model_dump_json(), digest, sep="\\n")
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    backend = Diffusers(str(pipelines("sd")))
    backend.load()
    assert said.stdout.splitlines() == [backend.capabilities().model_dump_json(), backend.digest()]


def test_the_command_draws_with_a_pipeline(pipelines: Callable[[str], Path], studio: Callable[..., Said]) -> None:
    model = f"diffusers:{pipelines('sd')}"
    said = studio("generate", "a cat", "--model", model, "--steps", 2, "--size", "48x32", "--seed", 1, "--json")
    assert said.code == 0, said.err
    with Image.open(said.json[0]["path"]) as picture:
        assert picture.size == (48, 32)
    refused = studio("generate", "a cat", "--model", model, "--size", "45x32")
    assert (refused.code, refused.out) == (2, "")
    assert "multiples of 2" in refused.err
