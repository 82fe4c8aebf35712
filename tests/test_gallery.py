"""The gallery: storage, filters, search, bin, maintenance, failing disks."""

import errno
import io
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_kit import as_file
from PIL import Image
from queue_kit import Entry, ask, keep, planned, put, run_job

from models.messages import Refused
from studio import maintenance
from studio.backends.fake import Fake
from studio.events import Saved
from studio.files import remove_parts
from studio.gallery import Annotations, Filter, Gallery, beside, match, read_annotations
from studio.home import Home
from studio.planner import plan
from studio.requests import make_request
from studio.run import GallerySink


def png(colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    return as_file(Image.new("RGBA", (8, 8), (*colour, 255)))


def unit(*values: float) -> np.ndarray:
    vector = np.zeros(128, np.float32)
    vector[: len(values)] = values
    return vector / np.linalg.norm(vector)


def add(gallery: Gallery, number: int, prompt: str, vector: np.ndarray | None = None, **fields: object) -> str:
    """Store a picture of a distinct colour -> its sha256."""
    place = {"space": "s", "vector": tuple(vector.tolist())} if vector is not None else {}
    entry = Entry(**{"job": f"job{number}", "position": 0, "seed": number, "prompt": prompt, **place, **fields})
    return keep(gallery, png((number % 256, number // 256, 7)), entry).stem


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def gallery(home: Home) -> Gallery:
    return home.gallery


def ids(gallery: Gallery, **wanted: object) -> list[str]:
    return [stored.prompt for stored in gallery.page(Filter(**wanted))]


# --- Keeping ----------------------------------------------------------------------------------------------------------


def test_equal_bytes_are_stored_once(gallery: Gallery) -> None:
    first = add(gallery, 1, "a cat")
    assert add(gallery, 1, "a cat") == first and gallery.count() == 1
    assert gallery.file(first).read_bytes() == png((1, 0, 7))
    assert gallery.thumbnail(first) == png((1, 0, 7)), "small enough to be its own"
    large = keep(gallery, as_file(Image.new("RGBA", (600, 300), "red")), Entry("large", 0, 1, "large")).stem
    with Image.open(io.BytesIO(gallery.thumbnail(large))) as small:
        assert small.format == "WEBP" and small.size == (128, 64)


def test_a_regenerated_picture_replaces_the_old_and_keeps_annotations(gallery: Gallery) -> None:
    old = add(gallery, 1, "a cat")
    gallery.mark([old], star=True, tags=("pets",))
    new = keep(gallery, png((9, 9, 9)), Entry(job="job1", position=0, seed=1, prompt="a cat")).stem
    assert gallery.count() == 1 and gallery.get(new).star and gallery.get(new).tags == ("pets",)
    with pytest.raises(KeyError):
        gallery.get(old)
    assert read_annotations(gallery.file(new)) == Annotations(star=True, tags=("pets",))


def test_missing_or_truncated_files_are_no_results(gallery: Gallery) -> None:
    path = gallery.file(add(gallery, 1, "a cat"))
    assert gallery.results("job1")[0].path == str(path)
    path.write_bytes(path.read_bytes()[:-1])
    assert gallery.results("job1") == {}
    path.unlink()
    assert gallery.results("job1") == {}


# --- Looking ----------------------------------------------------------------------------------------------------------


def test_filters_hold_together(gallery: Gallery) -> None:
    generated = [
        add(gallery, n, f"p{n}", style="noto" if n % 2 else "outline", model="m", created=float(n)) for n in range(6)
    ]
    gallery.mark(generated[:3], star=True, rating=4, tags=("red", "round"))
    gallery.mark(generated[2:4], boards=("Mine",))
    assert ids(gallery) == ["p5", "p4", "p3", "p2", "p1", "p0"]
    assert ids(gallery, style="noto", starred=True) == ["p1"]
    assert ids(gallery, tag="red", board="Mine") == ["p2"]
    assert ids(gallery, rating=4) == ["p2", "p1", "p0"] and ids(gallery, rating=5) == []
    assert ids(gallery, since=2.0, until=4.0) == ["p3", "p2"]
    assert ids(gallery, model="other") == [] and gallery.count(Filter(style="noto")) == 3
    assert gallery.labels("tag") == {"red": 3, "round": 3} and gallery.labels("board") == {"Mine": 2}
    gallery.mark(generated[5:], note="说的是红色的猫")
    assert ids(gallery, words="p2") == ["p2"] and ids(gallery, words="re", rating=4, starred=True) == ["p2", "p1", "p0"]
    assert ids(gallery, words="红色") == ["p5"] and ids(gallery, words="!?") == []
    assert ids(gallery, words=" ") == ids(gallery)
    assert gallery.known([generated[1], "f" * 64, generated[0], generated[1], "\ud800"]) == [generated[1], generated[0]]
    first = gallery.page(limit=4)
    assert [stored.prompt for stored in gallery.page(before=first[-1].number)] == ["p1", "p0"]


def test_a_label_is_put_on_and_taken_off_beside_the_others(gallery: Gallery) -> None:
    cat, dog = add(gallery, 1, "a cat"), add(gallery, 2, "a dog")
    gallery.mark([cat], star=True, tags=("pets", "red"), boards=("Mine",))
    before = [gallery.get(cat), gallery.get(dog)]
    gallery.label([cat, dog], "tags", " round ")
    gallery.label([cat, dog], "tags", "round")
    assert gallery.get(cat).tags == ("pets", "red", "round") and gallery.get(dog).tags == ("round",)
    assert read_annotations(gallery.file(cat)).tags == ("pets", "red", "round") and gallery.get(cat).boards == ("Mine",)
    gallery.label([cat, dog], "tags", "round", on=False)
    gallery.label([dog], "boards", "nowhere", on=False)
    assert [gallery.get(cat), gallery.get(dog)] == before
    with pytest.raises(Refused, match="1 to 100"):
        gallery.label([cat], "boards", "  ")


def test_deleted_pictures_come_back_until_the_bin_is_emptied(gallery: Gallery) -> None:
    generated = [add(gallery, n, f"p{n}") for n in range(3)]
    gallery.mark(generated[:1], note="dear to me")
    gallery.delete(generated[:2])
    assert ids(gallery) == ["p2"] and ids(gallery, deleted=True) == ["p1", "p0"]
    assert gallery.file(generated[0]).exists(), "nothing is gone yet"
    gallery.restore(generated[:1])
    assert ids(gallery) == ["p2", "p0"] and gallery.get(generated[0]).note == "dear to me"
    assert (
        gallery.empty_bin() == 1
        and not gallery.file(generated[1]).exists()
        and not beside(gallery.file(generated[1])).exists()
    )
    assert ids(gallery) == ["p2", "p0"]


def test_emptying_the_bin_spares_what_is_taken_out_meanwhile(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    stored, gone = add(gallery, 1, "kept"), add(gallery, 2, "gone")
    gallery.delete([stored, gone])
    real = gallery.database.rows

    def rows(sql: str, *values: object) -> list[sqlite3.Row]:
        matches = real(sql, *values)
        if "deleted IS NOT NULL" in sql and len(matches) == 2:
            gallery.restore([stored])  # another tab, between the list and the deed
        return matches

    monkeypatch.setattr(gallery.database, "rows", rows)
    assert gallery.empty_bin() == 1
    assert gallery.file(stored).exists() and ids(gallery) == ["kept"]


def test_a_resubmitted_job_restores_its_pictures(gallery: Gallery) -> None:
    picture = add(gallery, 1, "a cat")
    gallery.mark([picture], star=True)
    gallery.delete([picture])
    gallery.restore_job("job1")
    assert ids(gallery, starred=True) == ["a cat"]
    gallery.delete([picture])
    gallery.file(picture).unlink()  # as when the power goes in the middle of emptying
    with gallery.database.writing() as connection:
        connection.execute("DELETE FROM artifacts")
    assert add(gallery, 1, "a cat") == picture and ids(gallery) == ["a cat"], "made anew it is not in the bin"


def test_only_unfinished_files_that_nobody_writes_are_removed(gallery: Gallery) -> None:
    gallery.folder.mkdir(parents=True)
    names = (f".part-{os.getpid()}-new", f".part-{os.getpid()}-old", ".part-99999999-dead", ".part-of-another-version")
    parts = [gallery.folder / name for name in names]
    for part in parts:
        part.write_bytes(b"half")
    os.utime(parts[1], (0, 0))
    remove_parts(gallery.folder)
    assert [part.exists() for part in parts] == [True, False, False, False]


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"rating": 6}, "0 to 5"), ({"tags": ("",)}, "1 to 100"), ({"boards": ("x" * 101,)}, "1 to 100")],
)
def test_marks_that_will_not_do(gallery: Gallery, changes: dict, says: str) -> None:
    picture = add(gallery, 1, "a cat")
    with pytest.raises(Refused, match=says):
        gallery.mark([picture], **changes)
    assert not beside(gallery.file(picture)).exists()


# --- Searching --------------------------------------------------------------------------------------------------------


def prompts(home: Home, *args: object, **kwargs: object) -> list[str]:
    return [hit.picture.prompt for hit in home.search(*args, **kwargs)]


def test_words_choose_and_vectors_order(home: Home) -> None:
    gallery = home.gallery
    cat = add(gallery, 1, "a red cat", unit(1, 0))
    add(gallery, 2, "a red dog", unit(0.6, 0.8))
    add(gallery, 3, "一只红色的猫", unit(0.8, 0.6))
    other = keep(gallery, png((5, 5, 5)), Entry("j", 0, 1, "a red fish", space="old", vector=tuple(unit(1, 0))))
    assert prompts(home, vector=unit(1, 0), space="s") == ["a red cat", "一只红色的猫", "a red dog"]
    assert [round(hit.score or 0, 2) for hit in home.search(vector=unit(1, 0), space="s", k=2)] == [1.0, 0.8]
    assert prompts(home, "red") == ["a red fish", "a red dog", "a red cat"]
    assert prompts(home, "red", unit(0, 1), "s") == ["a red dog", "a red cat"], "fish lies in another space"
    assert prompts(home, "红色") == prompts(home, "猫") == ["一只红色的猫"] and prompts(home, "色红") == []
    assert prompts(home, "re ca") == ["a red cat"], "the last letters may be missing"
    gallery.mark([cat], note="mine alone", star=True)
    assert prompts(home, "alone") == ["a red cat"]
    assert prompts(home, vector=unit(0, 1), space="s", wanted=Filter(starred=True)) == ["a red cat"]
    gallery.delete([cat, other.stem])
    assert prompts(home, "red") == ["a red dog"]
    assert prompts(home, vector=unit(1, 0), space="s") == ["一只红色的猫", "a red dog"]
    gallery.empty_bin()
    assert prompts(home, vector=unit(1, 0), space="s") == ["一只红色的猫", "a red dog"]
    for n in range(20, 90):
        add(gallery, n, "gone", unit(1, 0))
    gallery.delete([stored.sha256 for stored in gallery.page(limit=100) if stored.prompt == "gone"])
    assert prompts(home, vector=unit(1, 0), space="s") == ["一只红色的猫", "a red dog"], "behind seventy in the bin"
    add(gallery, 9, "a new cat", unit(1, 0))
    assert prompts(home, vector=unit(1, 0), space="s", k=1) == ["a new cat"], "what was added since is found"


@given(st.text(max_size=60))
@settings(max_examples=200)
def test_any_text_can_be_searched_for(text: str) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE words USING fts5 (prompt)")
    if query := match(text):
        connection.execute("SELECT rowid FROM words WHERE words MATCH ?", (query,)).fetchall()


# --- Care -------------------------------------------------------------------------------------------------------------


def fill(home: Home) -> list[Path]:
    """Six pictures, a large picture, a clip and a caption, stored as the worker stores them."""
    jobs = [planned(ask(prompt, steps=1, count=2)) for prompt in ("a cat", "一只猫", 'quotes " and, commas\u2028')]
    Image.new("RGB", (9, 9), "red").save(home.root / "red.png")
    caption = make_request("caption", image={"path": str(home.root / "red.png")}, language="zh", model="fake")
    others = (make_request(prompt="large", size=512, model="fake"), make_request("clip", prompt="a dog", model="fake"))
    jobs += plan([*others, caption], Fake())
    events = (event for job in jobs for event in run_job(Fake(), job, GallerySink(home.gallery)))
    return [Path(event.path) for event in events if isinstance(event, Saved)]


def table(home: Home) -> list[tuple]:
    names = "sha256, file, bytes, width, height, job, position, seed, score, prompt, style, model, digest, star"
    rows = home.database.rows(
        f"SELECT {names}, rating, note, deleted, kind, media_type, frames, seconds, text, space, hex(vector), hex(webp)"
        " FROM artifacts LEFT JOIN vectors ON vectors.artifact = number"
        " LEFT JOIN thumbnails ON thumbnails.artifact = number ORDER BY file"
    )
    return [tuple(row) for row in rows] + [tuple(row) for row in home.database.rows("SELECT name FROM labels")]


@pytest.mark.parametrize("damage", ["none", "gone", "junk", "truncated"])
def test_the_database_is_rebuilt_from_the_files_alone(home: Home, damage: str) -> None:
    paths = fill(home)
    home.gallery.mark([paths[0].stem], star=True, rating=5, note="不错", tags=("a", "b"), boards=("B",))
    home.gallery.delete([paths[1].stem])
    put(home.queue, "waiting")
    put(home.queue, "running")
    before = table(home)
    home.database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    home.database.close()
    path = home.database.path
    if damage == "gone":
        path.unlink()
    elif damage == "junk":
        path.write_bytes(os.urandom(5000))
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    stray = home.gallery.folder / "aa" / "holiday.png"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(png())
    result = maintenance.rebuild(home.root)
    again = Home(home.root)
    assert table(again) == before and result.pictures == 9 and result.skipped == 1 and stray.exists()
    assert [hit.picture.prompt for hit in again.search("不错")] == ["a cat"]
    assert {picture.kind for picture in again.gallery.page()} == {"image", "clip", "text"}
    assert again.search("红色")[0].picture.text == "一张红色的脸，开心"
    if damage == "none":
        assert {job.id for job in again.queue.jobs()} == {"waiting", "running"} and result.jobs == 2
    if damage != "gone":
        assert Path(result.old).exists(), "the old one is kept"


def test_the_doctor_finds_what_does_not_fit(home: Home) -> None:
    paths = fill(home)
    assert list(maintenance.inspect(home)) == []
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:-5])
    rotten = bytearray(paths[2].read_bytes())
    rotten[len(rotten) // 2] ^= 1
    paths[2].write_bytes(rotten)
    (paths[3].parent / ".part-123").write_bytes(b"half")
    (paths[3].parent / "other.png").write_bytes(png())
    matches = {finding.kind: finding.path for finding in maintenance.inspect(home)}
    assert matches == {
        "missing file": str(paths[0]),
        "cut short": str(paths[1]),
        "altered or rotten": str(paths[2]),
        "unfinished file": str(paths[3].parent / ".part-123"),
        "not in the gallery": str(paths[3].parent / "other.png"),
    }


# --- When the disk fails ----------------------------------------------------------------------------------------------


def broken_at(turn: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Make the turn-th of all writes, fsyncs, renames and commits fail; says how many there were."""
    calls = [0]

    def failing(real: Callable) -> Callable:
        def call(*args: object, **kwargs: object) -> object:
            calls[0] += 1
            if calls[0] == turn:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real(*args, **kwargs)

        return call

    monkeypatch.setattr(os, "fsync", failing(os.fsync))
    monkeypatch.setattr(Path, "replace", failing(Path.replace))
    monkeypatch.setattr(Path, "open", failing(Path.open))
    monkeypatch.setattr(Path, "mkdir", failing(Path.mkdir))
    return lambda: calls[0]


def test_each_write_may_fail_and_the_gallery_stays_true(tmp_path: Path) -> None:
    turn, count = 0, 1
    while turn < count:
        turn += 1
        home = Home(tmp_path / str(turn))
        stored = add(home.gallery, 1, "kept")
        with pytest.MonkeyPatch.context() as patch:
            count = 99
            calls = broken_at(turn, patch)
            try:
                new = add(home.gallery, 2, "new")
                home.gallery.mark([new], star=True)
                count = calls()  # the turn is past the last call: nothing failed
            except Refused as refusal:
                assert "\n" not in str(refusal)
        findings = [finding.kind for finding in maintenance.inspect(home)]
        assert set(findings) <= {"not in the gallery"}, (turn, findings)
        assert home.gallery.get(stored).prompt == "kept"
        assert not list(home.root.rglob(".part-*"))
        again = add(home.gallery, 2, "new")
        home.gallery.mark([again], star=True)
        assert list(maintenance.inspect(home)) == [] and home.gallery.count() == 2
    assert turn > 5
