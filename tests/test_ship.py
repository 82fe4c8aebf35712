"""What runs export becomes what is shipped: whole, listed by sha256, with the words that a new space knows."""

import json
import shutil
from pathlib import Path

import pytest
from tiny_parts import give_variant, save_tiny_parts

from models.train import ship as shipping
from models.train.ship import ship
from models.weights import WeightsError, listed_parts, part_digests, part_folder, record_part

MADE = ("wording", "prototypes")


def exported(root: Path) -> Path:
    """Parts as runs export them: nothing that is made of the space."""
    manifest = save_tiny_parts(root) / "manifest.json"
    manifest.write_text(json.dumps({name: part for name, part in listed_parts(root).items() if name not in MADE}))
    return root


class Built:
    """Stands for the vocabulary, whose building is a test of its own."""

    name, count = "vocabulary", 0

    @classmethod
    def build(cls, *_: object) -> "Built":
        cls.count += 1
        return cls()

    def save(self, root: Path, space: str) -> None:
        (root / self.name).mkdir(exist_ok=True)
        (root / self.name / f"{self.name}.json").write_text(json.dumps({"built": self.count, "space": space}))
        shipping.record_part(self.name, root)


class Common(Built):
    """Stands for the prototypes."""

    name = "prototypes"

    def save(self, root: Path, space: str = "") -> None:
        super().save(root, space)


class Read(Built):
    """Stands for the wording."""

    name = "wording"


@pytest.fixture(autouse=True)
def built(monkeypatch: pytest.MonkeyPatch) -> type[Built]:
    monkeypatch.setattr(Built, "count", 0)
    monkeypatch.setattr(Read, "count", 0)
    monkeypatch.setattr(shipping, "build_vocabulary", Built.build)
    monkeypatch.setattr(shipping, "build_parser", Read.build)
    monkeypatch.setattr(shipping, "build_references", Common.build)
    monkeypatch.setattr(shipping, "Nouns", lambda _folder: None)
    monkeypatch.setattr(shipping, "wordnet_folder", lambda folder: folder)
    monkeypatch.setattr(shipping.World, "load", lambda _folder: None)
    return Built


def test_exports_are_shipped_and_a_new_space_gets_its_words(tmp_path: Path) -> None:
    export, weights = exported(tmp_path / "run"), tmp_path / "weights"
    parts = set(listed_parts(export))
    weights.mkdir()
    assert set(ship([export], weights)) == parts | {"vocabulary", *MADE}
    for part in parts:
        assert part_folder(part, weights).is_dir()  # verified by sha256
    assert ship([export], weights) == []
    (weights / "dit/README.md").write_text("a card")
    (weights / "dit/old.safetensors").write_text("of another shape")
    assert ship([export], weights) == []
    assert (weights / "dit/README.md").exists() and not (weights / "dit/old.safetensors").exists()


def test_without_an_autoencoder_nothing_is_half_made_of_a_new_space(tmp_path: Path) -> None:
    export, weights = exported(tmp_path / "run"), tmp_path / "weights"
    weights.mkdir()
    listed = json.loads((export / "manifest.json").read_text())
    del listed["autoencoder"]
    (export / "manifest.json").write_text(json.dumps(listed))
    with pytest.raises(WeightsError, match="no part 'autoencoder'"):
        ship([export], weights)
    assert not set(MADE) & set(listed_parts(weights))


def test_a_part_that_was_made_with_an_earlier_one_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    told = " ".join(capsys.readouterr().err.split())
    assert "was trained with another part 'dit'" in told and "train it anew and ship it too" in told


def test_words_are_measured_anew_only_where_the_space_changed(tmp_path: Path, built: type[Built]) -> None:
    export, weights = exported(tmp_path / "run"), tmp_path / "weights"
    weights.mkdir()
    ship([export], weights)
    for part, again in (("dit", 0), ("space", 1)):
        config = export / part / "config.json"
        config.write_text(config.read_text() + "\n")
        shipping.record_part(part, export)
        before = built.count
        assert part in ship([export], weights)
        assert built.count - before == again and Read.count == built.count


def test_of_no_export_the_prototypes_alone_are_made_anew(tmp_path: Path, built: type[Built]) -> None:
    export, weights = exported(tmp_path / "run"), tmp_path / "weights"
    weights.mkdir()
    ship([export], weights)
    before = listed_parts(weights)
    (weights / "prototypes" / "prototypes.json").write_text("altered")
    assert ship([], weights) == ["prototypes"]
    assert {name: listed_parts(weights)[name] for name in before if name != "prototypes"} == {
        name: part for name, part in before.items() if name != "prototypes"
    }


def test_words_that_could_not_be_measured_are_measured_next_time(
    tmp_path: Path, built: type[Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    export, weights = exported(tmp_path / "run"), tmp_path / "weights"
    weights.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(shipping, "Nouns", lambda _folder: (_ for _ in ()).throw(FileNotFoundError("no WordNet")))
        with pytest.raises(FileNotFoundError):
            ship([export], weights)
    assert built.count == 0
    assert ship([export], weights) == ["vocabulary", *MADE] and built.count == 1


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
