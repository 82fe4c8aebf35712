"""Captions of folders and training sets: complete or absent, readable by `datasets`."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Command, refusal
from PIL import Image

from models.messages import Refused
from studio import inputs, maintenance
from studio.export import training
from studio.export.training import Example, training_set, write_training_set
from studio.gallery import Filter, read_annotations
from studio.home import Home

FAKE = ("--model", "fake")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Known, equal, unknown, empty, moving and broken pictures; links in a circle."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    colours = {"red": "red", "again": "red", "grey": "grey", "clear": (0, 0, 0, 0)}
    for name, colour in colours.items():
        Image.new("RGBA", (64, 48), colour).save(folder / f"{name}.png")
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    Image.new("RGB", (64, 64), "lime").save(folder / "sub" / "Red.JPG", "JPEG")
    (folder / "broken.png").write_bytes((folder / "red.png").read_bytes()[:60])
    (folder / "notes.txt").write_text("not a picture")
    (folder / "sub" / "loop").symlink_to(folder)
    (folder / "a.png").symlink_to(folder / "b.png")
    (folder / "b.png").symlink_to(folder / "a.png")
    return folder


def test_a_folder_becomes_a_training_set(studio: Command, folder: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "out"
    output = studio("caption", folder, *FAKE, "--training-set", out, "--json")
    rows = {Path(row["path"]).relative_to(folder).as_posix(): row for row in output.json}
    assert sorted(rows) == ["again.png", "grey.png", "moving.gif", "red.png", "sub/Red.JPG"]
    assert rows["again.png"]["caption"] == rows["red.png"]["caption"] == "a red face, happy"
    assert (rows["grey.png"]["known"], rows["grey.png"]["candidates"][0]["text"]) == (False, "a red face, happy")
    assert output.code == 1 and sum(name in output.err for name in ("broken.png", "clear.png")) == 2
    assert "has 3 pictures" in output.err and "does not know them: 2." in output.err
    written = [json.loads(line) for line in (out / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [list(row) for row in written] == [["file_name", "text"]] * 3
    names = {"again.png": "again.png", "red.png": "red.png", "Red-2.jpg": "sub/Red.JPG"}
    assert {row["file_name"]: row["text"] for row in written} == {
        new: rows[old]["caption"] for new, old in names.items()
    }
    for new, old in names.items():
        assert (out / new).read_bytes() == (folder / old).read_bytes()
        assert (out / new).with_suffix(".txt").read_text() == rows[old]["caption"]
    assert len(list(out.iterdir())) == 7 and not list(tmp_path.glob(".part-*"))
    read = datasets.load_dataset("imagefolder", data_dir=str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert [(row["image"].size, row["text"]) for row in read] == [((64, 48), "a red face, happy")] * 2 + [
        ((64, 64), "a green face, happy")
    ]
    again = studio("caption", folder, *FAKE, "--training-set", out)
    assert again.code == 2 and "name a new folder" in again.err, "what is there stays"


def test_caption_kinds_are_columns(tmp_path: Path) -> None:
    texts: list[dict[str, str]] = [{"short": "a", "tags": "b, c"}, {"tags": "d"}, {"short": "e", "long": "f"}]
    files = dict(training_set([Example(tmp_path / "x.png", "cat.png", one) for one in texts]))
    rows = [json.loads(line) for line in files["metadata.jsonl"].splitlines()]  # type: ignore[arg-type, union-attr]
    assert [row["text"] for row in rows] == ["a", "d", "f"] and len({tuple(row) for row in rows}) == 1
    assert rows[0] == {"file_name": "cat.png", "text": "a", "long": "", "short": "a", "tags": "b, c"}
    assert (files["cat.txt"], files["cat-2.txt"], files["cat-3.txt"]) == (b"a", b"d", b"f")


def test_a_training_set_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    examples = [Example(tmp_path / "x.png", f"{n}.png", {"short": "a"}) for n in range(3)]
    real, calls = training.write_whole, list[Path]()

    def full(path: Path, *rest: Any) -> None:
        calls.append(path)
        if len(calls) == 4:
            raise Refused("file.disk_full", folder=str(path.parent), option="--training-set")
        real(path, *rest)

    monkeypatch.setattr(training, "write_whole", full)
    with pytest.raises(Refused):
        write_training_set(examples, tmp_path / "new" / "out")
    assert list((tmp_path / "new").iterdir()) == [] and "nothing to train" in refusal(
        lambda: write_training_set([], tmp_path)
    )
    (tmp_path / "empty").mkdir()
    write_training_set(examples, tmp_path / "empty")
    assert len(list((tmp_path / "empty").iterdir())) == 7


def test_large_and_empty_folders_are_refused(
    studio: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(inputs, "FILES", 3)
    for where, says in ((folder, "holds more than 3 pictures"), (tmp_path / "empty", "holds no pictures or clips")):
        output = studio("caption", where, *FAKE)
        assert output.code == 2 and says in output.err and output.err.count("\n") == 1 and not output.out
    assert not (tmp_path / "home" / "home.db").exists()


def test_edited_captions_are_searchable_and_survive_a_rebuild(studio: Command, folder: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    studio("caption", folder / "red.png", *FAKE)
    (text,) = home.gallery.page(Filter(kind="text"))
    home.gallery.mark([text.sha256], caption="an apple", sure=0.4, round_trip=0.7)
    home.gallery.mark([text.sha256], caption="a tomato")
    for _ in range(2):
        stored = home.gallery.get(text.sha256)
        assert (stored.words, stored.text, stored.sure, stored.round_trip) == (
            "a tomato",
            "a red face, happy",
            None,
            None,
        )
        assert read_annotations(stored.path).caption == "a tomato"
        result = [home.gallery.count(Filter(words=words)) for words in ("tomato", "red face", "apple")]
        assert result == [1, 1, 0]
        maintenance.rebuild(home.root)
        home = Home(tmp_path / "home")


def odd_pictures(folder: Path) -> None:
    """Unusual files, each named after its outcome."""
    for name, colour in (("unknown-black", "black"), ("unknown-white", "white"), ("refused-clear", (0, 0, 0, 0))):
        Image.new("RGBA", (64, 64), colour).save(folder / f"{name}.png")
    for name, size in (("known-1x1", (1, 1)), ("known-1x10000", (1, 10_000))):
        Image.new("RGB", size, "red").save(folder / f"{name}.png")
    Image.fromarray(np.full((20, 20), 40_000, np.uint16)).save(folder / "unknown-16-bit.png")
    Image.new("CMYK", (20, 20), (0, 255, 255, 0)).save(folder / "known-cmyk.jpg")
    Image.new("RGB", (20, 20), "red").quantize(4).save(folder / "known-palette.png")
    turned, exif = Image.new("RGB", (60, 20), "red"), Image.Exif()
    exif[0x112] = 6
    turned.save(folder / "known-turned.jpg", exif=exif)
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("blue", "red", "lime")]
    frames[0].save(folder / "known-moving.webp", save_all=True, append_images=frames[1:])
    data = (folder / "known-turned.jpg").read_bytes()
    for name, cut in (
        ("refused-cut.jpg", data[: len(data) // 2]),
        ("refused-empty.png", b""),
        ("refused.gif", b"GIF89a"),
    ):
        (folder / name).write_bytes(cut)


def test_any_picture_is_described_or_refused(studio: Command, tmp_path: Path) -> None:
    (folder := tmp_path / "odd").mkdir()
    odd_pictures(folder)
    os.mkfifo(folder / "pipe.png")
    output = studio("caption", folder, *FAKE, "--training-set", tmp_path / "out", "--json")
    become = {Path(row["path"]).name: "known" if row["known"] else "unknown" for row in output.json}
    there = [path.name for path in folder.iterdir() if not path.name.startswith("pipe")]
    assert become == {name: name.partition("-")[0] for name in there if not name.startswith("refused")}
    assert all(row["caption"].endswith("a red face, happy") for row in output.json)
    sentences = output.err.splitlines()
    for name in (name for name in there if name.startswith("refused")):
        assert len([line for line in sentences if f"/{name} " in line and line.endswith(".")]) == 1, name
    assert "Traceback" not in output.err and len(list((tmp_path / "out").iterdir())) == 2 * 5 + 1
    for alone in ("pipe.png", "nothing.png"):
        answer = studio("caption", folder / alone, *FAKE)
        assert answer.code == 2 and "does not exist" in answer.err and not answer.out


def test_datasets_loads_the_folder_of_a_batch(studio: Command, tmp_path: Path) -> None:
    import datasets  # seconds

    (tmp_path / "a.txt").write_text("a cat --d 1\na dog --d 2\n")
    studio("batch", tmp_path / "a.txt", "--model", "fake", "--out", tmp_path / "out")
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "out/images"), split="train", cache_dir=str(tmp_path)
    )
    assert sorted(loaded["text"]) == ["a cat", "a dog"] and loaded[0]["image"].size == (128, 128)
