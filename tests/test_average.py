"""The mean of several generators: exact, of one release only, and with a branch that one of them lacks."""

import shutil
from pathlib import Path

import pytest
from tiny_parts import save_tiny_parts

from models.dit import DiT
from models.train.average import average_generators
from models.weights import MADE_WITH, WeightsError, load_part, part_digests, record_part, save_part

FROZEN = ("autoencoder", "vision", "space", "language")


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Three copies of one release, whose generators hold nothing but 1, 2 and 4."""
    first = save_tiny_parts(tmp_path / "0")
    made = part_digests(FROZEN, first)
    found = []
    for number, value in enumerate((1.0, 2.0, 4.0)):
        folder = tmp_path / str(number)
        if number:
            shutil.copytree(first, folder)
        dit = load_part(DiT, "dit", folder)
        for parameter in dit.parameters():
            parameter.data.fill_(value)
        save_part(dit, "dit", folder, made)
        found.append(folder)
    return found


def test_a_mean_is_weighted(folders: list[Path], tmp_path: Path) -> None:
    average_generators(folders, [1, 1, 2], tmp_path / "mean")
    assert all((p == 2.75).all() for p in load_part(DiT, "dit", tmp_path / "mean").parameters())
    average_generators(folders[:2], [3, 0], tmp_path / "first")
    assert all((p == 1).all() for p in load_part(DiT, "dit", tmp_path / "first").parameters())


def test_a_mean_of_equals_is_the_same_part(folders: list[Path], tmp_path: Path) -> None:
    folder = average_generators([folders[1]] * 2, [1, 1], tmp_path / "mean")
    for file in folder.iterdir():
        assert file.read_bytes() == (folders[1] / "dit" / file.name).read_bytes()


def test_generators_of_other_depths_are_refused(folders: list[Path], tmp_path: Path) -> None:
    config = {k: v for k, v in load_part(DiT, "dit", folders[0]).config.items() if not k.startswith("_")}
    save_part(DiT(**{**config, "depth": 6}), "dit", folders[0], part_digests(FROZEN, folders[0]))
    with pytest.raises(ValueError, match="differ in depth; average those of one shape"):
        average_generators(folders[:2], [1, 1], tmp_path / "mean")


def test_what_does_not_fit_together_is_refused(folders: list[Path], tmp_path: Path) -> None:
    for shares in ([1], [1, 1, 1], [1, -1], [0, 0]):
        with pytest.raises(ValueError, match="share"):
            average_generators(folders[:2], shares, tmp_path / "mean")
    config = {k: v for k, v in load_part(DiT, "dit", folders[0]).config.items() if not k.startswith("_")}
    save_part(DiT(**{**config, "width": 64}), "dit", folders[1], part_digests(FROZEN, folders[1]))
    with pytest.raises(ValueError, match="differ in width"):
        average_generators(folders[:2], [1, 1], tmp_path / "mean")
    (folders[2] / "dit" / MADE_WITH).write_text("{}")
    record_part("dit", folders[2])
    with pytest.raises(WeightsError, match="different parts"):
        average_generators([folders[0], folders[2]], [1, 1], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
