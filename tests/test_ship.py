"""Shipping of exported parts, averages of runs, and refusal of altered parts."""

import json
import shutil
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import refusal
from tiny_parts import give_variant, save_tiny_parts

from models.data.world import World
from models.dit import DiT
from models.train import ship as shipping
from models.train.average import average
from models.train.ship import ship
from models.weights import (
    DEPENDENCIES,
    MANIFEST,
    WeightsError,
    listed_parts,
    load_part,
    load_table,
    of_split,
    part_digests,
    part_folder,
    record_part,
    save_part,
    save_table,
)

MADE = ("wording", "prototypes")  # of all pictures
TRAINED = tuple(f"{name}-train" for name in MADE)


def exported(root: Path) -> Path:
    """Parts as runs export them, without those derived from the space."""
    manifest = save_tiny_parts(root) / "manifest.json"
    manifest.write_text(json.dumps({name: part for name, part in listed_parts(root).items() if name not in MADE}))
    return root


class Built:
    """Stands for a part that is built from names, which is tested elsewhere."""

    name, count = "", 0

    @classmethod
    def build(cls, *_: object) -> "Built":
        cls.count += 1
        return cls()

    def save(self, root: Path, space: str, split: str) -> None:
        name = of_split(self.name, split)
        (root / name).mkdir(exist_ok=True)
        (root / name / f"{name}.json").write_text(json.dumps({"built": self.count, "space": space}))
        shipping.record_part(name, root)


class Common(Built):
    """Stands for the prototypes."""

    name = "prototypes"

    def save(self, root: Path, split: str) -> None:  # type: ignore[override]
        super().save(root, "", split)


class Read(Built):
    """Stands for the wording."""

    name = "wording"


@pytest.fixture(autouse=True)
def built(monkeypatch: pytest.MonkeyPatch) -> type[Built]:
    monkeypatch.setattr(Built, "count", 0)
    monkeypatch.setattr(Read, "count", 0)
    monkeypatch.setattr(shipping, "build_parser", Read.build)
    monkeypatch.setattr(shipping, "build_references", Common.build)
    monkeypatch.setattr(shipping.World, "load", lambda _folder: World((), np.zeros(0), ""))
    return Built


def test_exports_are_shipped_and_a_new_space_gets_its_words(tmp_path: Path) -> None:
    export, weights = exported(tmp_path / "run"), tmp_path / "weights"
    parts = set(listed_parts(export))
    weights.mkdir()
    assert set(ship([export], weights)) == parts | {*MADE, *TRAINED}
    for part in parts:
        assert part_folder(part, weights).is_dir()  # verified by sha256
    assert ship([export], weights) == []
    (weights / "dit/README.md").write_text("a card")
    (weights / "dit/old.safetensors").write_text("of another shape")
    assert ship([export], weights) == []
    assert (weights / "dit/README.md").exists() and not (weights / "dit/old.safetensors").exists()


def test_a_new_space_without_autoencoder_ships_nothing(tmp_path: Path) -> None:
    export, weights = exported(tmp_path / "run"), tmp_path / "weights"
    weights.mkdir()
    listed = json.loads((export / "manifest.json").read_text())
    del listed["autoencoder"]
    (export / "manifest.json").write_text(json.dumps(listed))
    with pytest.raises(WeightsError, match="no part 'autoencoder'"):
        ship([export], weights)
    assert not set(MADE) & set(listed_parts(weights))


def test_parts_trained_with_older_parts_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export, weights = exported(tmp_path / "run"), tmp_path / "weights"
    weights.mkdir()
    ship([export], weights)
    assert "anew" not in capsys.readouterr().err
    (export / "dit/config.json").write_text((export / "dit/config.json").read_text() + " ")
    record_part("dit", export)
    give_variant(weights, 0.1)
    (weights / "fast/made_with.json").write_text(json.dumps(part_digests(("dit",), weights)))
    record_part("fast", weights)
    assert ship([export], weights) == ["dit"]
    answer = " ".join(capsys.readouterr().err.split())
    assert "was trained with another part 'dit'" in answer and "train it anew and ship it too" in answer


def test_words_are_measured_anew_only_where_the_space_changed(tmp_path: Path, built: type[Built]) -> None:
    export, weights = exported(tmp_path / "run"), tmp_path / "weights"
    weights.mkdir()
    ship([export], weights)
    for part, again in (("dit", 0), ("space", 1)):
        config = export / part / "config.json"
        config.write_text(config.read_text() + "\n")
        shipping.record_part(part, export)
        before = Read.count
        assert part in ship([export], weights)
        assert Read.count - before == 2 * again


def test_without_exports_only_references_are_rebuilt(tmp_path: Path, built: type[Built]) -> None:
    export, weights = exported(tmp_path / "run"), tmp_path / "weights"
    weights.mkdir()
    ship([export], weights)
    before = listed_parts(weights)
    (weights / "prototypes" / "prototypes.json").write_text("altered")
    assert ship([], weights) == ["prototypes", "prototypes-train"]
    assert {name: listed_parts(weights)[name] for name in before if "prototypes" not in name} == {
        name: part for name, part in before.items() if "prototypes" not in name
    }


def test_words_that_could_not_be_measured_are_measured_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export, weights = exported(tmp_path / "run"), tmp_path / "weights"
    weights.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(shipping.Embedder, "load", lambda _root: (_ for _ in ()).throw(FileNotFoundError("no space")))
        with pytest.raises(FileNotFoundError):
            ship([export], weights)
    assert Read.count == 0
    assert ship([export], weights) == [*MADE, *TRAINED] and Read.count == 2


def test_an_export_that_was_altered_is_not_shipped(tmp_path: Path) -> None:
    export, weights = exported(tmp_path / "run"), tmp_path / "weights"
    weights.mkdir()
    ship([export], weights)
    before = listed_parts(weights)
    config = export / "autoencoder/config.json"  # one part is new and good, a later one is altered
    config.write_text(config.read_text() + "\n")
    shipping.record_part("autoencoder", export)
    (export / "dit/config.json").write_text("{}")
    with pytest.raises(WeightsError, match="altered"):
        ship([export], weights)
    assert listed_parts(weights) == before and part_folder("autoencoder", weights)
    shutil.rmtree(export)
    with pytest.raises(WeightsError, match="no weights"):
        ship([export], weights)


# --- The mean of several trainings ------------------------------------------------------------------------------------


FROZEN = ("autoencoder", "vision", "space", "language")


def test_a_mean_of_generators(tmp_path: Path) -> None:
    """Three releases whose generators hold only 1, 2 and 4."""
    folders = [save_tiny_parts(tmp_path / str(number)) for number in range(3)]
    origins = part_digests(FROZEN, folders[0])
    for folder, value in zip(folders, (1.0, 2.0, 4.0), strict=True):
        dit = load_part(DiT, "dit", folder)
        for parameter in dit.parameters():
            parameter.data.fill_(value)
        save_part(dit, "dit", folder, origins)
    average(tmp_path / "mean", folders[::2])
    assert all((p == 2.5).all() for p in load_part(DiT, "dit", tmp_path / "mean").parameters())
    average(tmp_path / "same", [folders[1]] * 2)
    for file in (tmp_path / "same/dit").iterdir():
        assert file.read_bytes() == (folders[1] / "dit" / file.name).read_bytes()
    config = {k: v for k, v in load_part(DiT, "dit", folders[0]).config.items() if not k.startswith("_")}
    save_part(DiT(**{**config, "width": 64}), "dit", folders[1], origins)
    (folders[2] / "dit" / DEPENDENCIES).write_text("{}")
    record_part("dit", folders[2])
    for other in folders[1:]:
        with pytest.raises(ValueError, match="different parts or sizes"):
            average(tmp_path / "none", [folders[0], other])
    assert not (tmp_path / "none").exists()


# --- Signed anew ------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return save_table("words", tmp_path, {"rows": torch.zeros(2, 3)}, {"space": "x"})


def header(tensors: int) -> bytes:
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    result = json.dumps({str(n): empty for n in range(tensors)}).encode()
    return struct.pack("<Q", len(result)) + result


FILES = {
    "deep": ("words.json", b"[" * 200_000),
    "no JSON": ("words.json", b"\xff"),
    "a header of 2^63 bytes": ("words.safetensors", struct.pack("<Q", 2**63) + b"{}"),
    "a header beyond the file": ("words.safetensors", struct.pack("<Q", 2**21) + b"{}"),
    "very many tensors": ("words.safetensors", header(60_000)),
}


@pytest.mark.parametrize("what", FILES)
def test_a_part_that_is_beyond_all_bounds_is_refused_at_once(table: Path, what: str) -> None:
    name, data = FILES[what]
    (table / name).write_bytes(data)
    record_part("words", table.parent)
    began = time.process_time()
    assert f"{name} is damaged" in refusal(lambda: load_table("words", table.parent))
    assert time.process_time() - began < 1


@pytest.mark.parametrize("manifest", ["[" * 200_000, '{"words": [1]}', '{"words": {"words.json": 1}}', "[]", "\ud800"])
def test_a_manifest_that_is_none_is_refused(table: Path, manifest: str) -> None:
    (table.parent / MANIFEST).write_bytes(manifest.encode(errors="surrogatepass"))
    for look in (lambda: listed_parts(table.parent), lambda: part_folder("words", table.parent)):
        assert MANIFEST in refusal(look)
