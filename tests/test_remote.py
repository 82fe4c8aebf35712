"""Training away from home: what is packed, pieces that go on from each other, and weights that come home."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from tiny_parts import save_tiny_parts

from models.data import packages
from models.data.fixture import fixture_world
from models.dit import DiT
from models.train import remote
from models.train.recipes import World
from models.weights import listed_parts, load_part


@pytest.fixture(autouse=True)
def drawn_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    AcceleratorState._reset_state(True)  # accelerate keeps one precision a process, and other tests train in another
    monkeypatch.setattr(World, "load", staticmethod(lambda _folder: fixture_world()))
    yield
    AcceleratorState._reset_state(True)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_parts(tmp_path_factory.mktemp("parts"))


def test_pieces_go_on_from_each_other_and_weights_come_home(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        remote.train(0.2, 0.01, parts, None, tmp_path / "run", None, "tiny", 4, False)  # type: ignore[arg-type]
    steps = [
        row["step"]
        for row in map(json.loads, (tmp_path / "run/stats.jsonl").read_text().splitlines())
        if "evaluation" in row
    ]
    assert len(steps) == 2 and steps[0] < steps[1]
    monkeypatch.setattr(remote, "FILE", "50KB")
    remote.collect(tmp_path / "run", tmp_path / "collected")
    files = list((tmp_path / "collected/dit").glob("*.safetensors"))
    assert len(files) > 1 and (tmp_path / "collected/stats.jsonl").exists() and list(tmp_path.glob("collected/*.jpg"))
    home, there = DiT.from_pretrained(tmp_path / "collected/dit"), load_part(DiT, "dit", tmp_path / "run/export")
    assert all(torch.equal(a.float(), b) for a, b in zip(home.parameters(), there.parameters(), strict=True))
    remote.train(0.2, 0.01, parts, None, tmp_path / "new", tmp_path / "collected/dit", "tiny", 4, False)  # type: ignore[arg-type]
    assert (tmp_path / "new/state/model.safetensors").exists()


def test_two_loads_hold_pictures_wheels_and_parts(parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetched(package: packages.Package, downloads: Path, lock: object) -> Path:
        file = downloads / packages.archive_name(package.name, "1.0.0")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"an archive")
        return file

    monkeypatch.setattr(packages, "fetch", fetched)
    monkeypatch.setattr(remote, "fetch_wheels", lambda folder, _python: folder.mkdir(parents=True, exist_ok=True))
    remote.pack(tmp_path / "bundle", parts, tmp_path / "world", "3.12")
    archives = {file.name for file in (tmp_path / "bundle/1/downloads").iterdir()}
    assert len(archives) == len(packages.PACKAGES) - 1 and not any("wordnet" in name for name in archives)
    assert listed_parts(tmp_path / "bundle/2/parts").keys() == set(remote.PARTS)
    weights = tmp_path / "bundle/2/parts/autoencoder/diffusion_pytorch_model.safetensors"
    assert load_file(weights)
    monkeypatch.setattr(remote, "LOAD", 1000)
    with pytest.raises(ValueError, match="more than 0 go at once"):
        remote.pack(tmp_path / "bundle", parts, tmp_path / "world", "3.12")
