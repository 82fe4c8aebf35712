"""Damaged homes, paths outside the home, control characters, migrations."""

import json
import os
import random
import re
import shutil
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, refusal
from page_kit import client_of
from picture_kit import as_file
from PIL import Image
from queue_kit import Entry, ask, keep, named, planned, run_job
from test_gallery import png
from tiny_files import write

from models.messages import Message
from studio import cli, maintenance
from studio.api import v1
from studio.backends.fake import Fake
from studio.clips import picture_of
from studio.database import Database, StoreTrouble, migrations
from studio.gallery import Annotations, Filter, Gallery, beside, read_annotations
from studio.home import Home
from studio.page import routes
from studio.page.context import PageContext
from studio.queue import MAX_CRASHES, Claims
from studio.run import GallerySink
from studio.studio import Studio
from studio.syntax import Wildcards

HOMES, PICTURES, FLIPPED = 20, 2, 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with pictures and jobs, closed."""
    home = Home(tmp_path_factory.mktemp("whole") / "home")
    for number in range(PICTURES):
        list(run_job(Fake(), planned(ask(f"一只猫 {number}")), GallerySink(home.gallery)))
        home.queue.submit(planned(ask(f"一只狗 {number}")))
    home.database.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    home.database.close()
    return home.root


def looked_at(root: Path) -> None:
    """Reads what `studio doctor` and `studio queue` read."""
    home = Home(root)
    list(maintenance.inspect(home))
    home.queue.jobs()


def test_any_flipped_bytes_give_a_sentence_and_a_rebuild(whole: Path, tmp_path: Path) -> None:
    refused = 0
    for seed in range(HOMES):
        root, chance = shutil.copytree(whole, tmp_path / str(seed)), random.Random(seed)
        data = bytearray((root / "studio.db").read_bytes())
        for number in range(FLIPPED):  # half of them where the tables are described
            data[chance.randrange(8192 if number % 2 else len(data))] = chance.randrange(256)
        (root / "studio.db").write_bytes(data)
        refused += bool(refusal(lambda: looked_at(root)))  # noqa: B023
        assert maintenance.rebuild(root).pictures == PICTURES
        home = Home(root)
        assert home.gallery.count() == PICTURES and list(maintenance.inspect(home)) == []
        home.queue.jobs()
    assert refused > HOMES // 4


@pytest.mark.parametrize("what", ["studio.db", "studio.db-wal"])
def test_a_store_whose_files_vanish_says_so(tmp_path: Path, what: str) -> None:
    home = Home(tmp_path)
    home.queue.submit(named("a"))
    (tmp_path / what).unlink()
    for _ in range(2):
        with pytest.raises(StoreTrouble, match="was removed or exchanged while the studio was open"):
            home.queue.submit(named("b"))
    assert "removed or exchanged" in refusal(lambda: home.queue.job("a"))


def test_a_removed_progress_store_is_recreated(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.progress.begin("a")
    for path in (tmp_path / "cache").glob("live.db*"):
        path.unlink()
    Home(tmp_path)
    home.progress.begin("a")
    assert Home(tmp_path).progress.read("a")[1]


# --- Links and pipes --------------------------------------------------------------------------------------------------


@pytest.fixture
def context(tmp_path: Path) -> PageContext:
    return PageContext(Studio(tmp_path / "home"), "fake")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file outside of the home; it holds a whole picture, which a gallery would show."""
    (tmp_path / "outside").mkdir()
    path = tmp_path / "outside" / "secret.png"
    path.write_bytes(png((1, 2, 3)))
    return path


def link(path: Path, secret: Path) -> None:
    path.unlink()
    path.symlink_to(secret)


def pipe(path: Path, secret: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path, secret: Path) -> None:
    path.rename(secret.with_name(path.name))
    path.parent.rmdir()
    path.parent.symlink_to(secret.parent)


def row(path: Path, secret: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("trick", [link, pipe, folder, row])
def test_files_outside_the_home_are_not_touched(
    context: PageContext, secret: Path, trick: Callable[[Path, Path], None]
) -> None:
    gallery, entry = context.studio.gallery, Entry(job="a", position=0, seed=1, prompt="a cat")
    path = keep(gallery, png(), entry)
    trick(path, secret)
    if trick is row:
        gallery.database.write("UPDATE artifacts SET file = ?", os.path.relpath(secret, gallery.root))
    gallery.database.write("UPDATE artifacts SET bytes = ?", secret.stat().st_size)
    before = {one: one.read_bytes() for one in secret.parent.iterdir()}
    with client_of(routes.router(context), v1.router(context.studio, "fake")) as client:
        place = f"/api/v1/gallery/{path.stem}"
        for address in (f"{place}/thumbnail", f"{place}/file"):
            assert client.get(address).status_code == 404, address
        assert client.get(f"{place}/export?format=png").status_code == 404
    assert gallery.results("a") == {} and [one.kind for one in maintenance.inspect(context.studio.store)]
    assert ("is a link" in refusal(lambda: keep(gallery, png(), entry))) == (trick is folder)
    gallery.database.write("UPDATE artifacts SET deleted = 1")
    assert gallery.empty_bin() == 1
    assert {one: one.read_bytes() for one in secret.parent.iterdir()} == before


def test_a_pipe_beside_a_picture_hangs_nothing(context: PageContext, secret: Path) -> None:
    gallery = context.studio.gallery
    path = keep(gallery, png(), Entry(job="a", position=0, seed=1, prompt="a cat"))
    os.mkfifo(beside(path))
    os.mkfifo(path.with_name("f" * 64 + ".png"))
    path.with_name("e" * 64 + ".png").symlink_to(secret)
    assert read_annotations(path) == Annotations() and maintenance.rebuild(gallery.root).skipped == 1


# --- Text from outside ------------------------------------------------------------------------------------------------


HOSTILE = "a\x1b[31m\x9b31m\u202e\x07"
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_names_of_files_do_nothing_to_the_terminal(studio: Command, tmp_path: Path, flags: tuple) -> None:
    picture, prompts = tmp_path / f"{HOSTILE}.png", tmp_path / f"{HOSTILE}.txt"
    write(picture)
    prompts.write_text("a cat\n--w 1\n")
    gone, out = tmp_path / f"{HOSTILE}-gone.png", tmp_path / HOSTILE
    commands = [("strip", picture), ("strip", gone, picture), ("strip", picture, "--out", out), ("info", picture)]
    commands += [("batch", prompts, "--model", "fake", "--out", out), ("batch", gone, "--model", "fake")]
    commands += [("batch", prompts, "--model", "fake", "--dry-run"), ("queue", "--home", out)]
    for command in commands:
        result = studio(*command, *flags)
        assert not CONTROLS.search(result.out + result.err), (command, result)


def test_annotations_have_no_control_characters(tmp_path: Path) -> None:
    gallery: Gallery = Home(tmp_path).gallery
    path = keep(gallery, png(), Entry(job="a", position=0, seed=1, prompt="a cat"))
    gallery.mark([path.stem], note=f"{HOSTILE}\nsecond line", tags=(HOSTILE,))
    gallery.label([path.stem], "boards", HOSTILE)
    stored = gallery.get(path.stem)
    assert stored.note == "a[31m31m\nsecond line" and stored.tags == stored.boards == ("a[31m31m",)
    beside(path).write_text('{"note": "a\\u001b[31m", "tags": ["\\u202eb"]}')
    assert read_annotations(path) == Annotations(note="a[31m", tags=("b",))


def test_a_home_is_for_its_owner_alone(tmp_path: Path) -> None:
    assert stat.S_IMODE(Home(tmp_path / "home").root.stat().st_mode) == 0o700


def test_pipes_are_refused_as_files(tmp_path: Path) -> None:
    for name in ("lines.txt", "a.png"):
        os.mkfifo(tmp_path / name)
    assert "is no file" in refusal(lambda: Wildcards(tmp_path).entries("lines"))
    assert refusal(lambda: picture_of(tmp_path / "a.png"))


def test_a_read_only_home_refuses_rebuild(studio: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("studio.worker.FileLock", read_only)
    result = studio("rebuild")
    assert result.code == 2 and "can't be written" in result.err and result.err.count("\n") == 1


def test_ctrl_c_while_a_command_is_imported_is_no_traceback(studio: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.importlib, "import_module", stopped)
    result = studio("queue")
    assert (result.code, result.err) == (130, "")


# --- Homes of earlier versions ----------------------------------------------------------------------------------------


LATEST = 4  # the last version before the tables were renamed
STATES = ("waiting", "running", "done", "failed", "cancelled", "aside")
FAILURE = Message("job.quarantined", {"how": "x", "times": MAX_CRASHES})


def old_home(root: Path, version: int, request: str) -> None:
    """A home of that version with a job in every state."""
    old = Database(root / "studio.db", migrations("home")[:version])
    with old.writing() as connection:
        for number, state in enumerate(STATES):
            wish = "finish" if state == "running" else ""
            connection.execute(
                "INSERT INTO jobs (id, request, company, state, priority, place, owner, wish, deaths, sentence,"
                " submitted) VALUES (?, ?, 'c', ?, ?, ?, 'w', ?, ?, ?, 9)",
                (f"job-{state}", request, state, number, 2.5, wish, number, json.dumps(FAILURE.as_json())),
            )
        connection.execute("INSERT INTO settings VALUES ('paused', '1')")
    old.close()


@pytest.mark.parametrize("version", [1, LATEST])
@pytest.mark.parametrize("is_rebuilt", [False, True])
def test_jobs_and_settings_of_an_earlier_version_are_all_there(tmp_path: Path, version: int, is_rebuilt: bool) -> None:
    old_home(tmp_path, version, ask("a").model_dump_json())
    if is_rebuilt:
        assert maintenance.rebuild(tmp_path).jobs == len(STATES)
    queue = Home(tmp_path).queue
    if not is_rebuilt:  # a rebuild does what the next worker would do
        assert queue.job("job-running").stop_request == "finish"
        Claims(queue._database, "w").release()
    states = {f"job-{state}": state for state in STATES} | {"job-running": "cancelled", "job-aside": "quarantined"}
    for number, name in enumerate(states):
        job = queue.job(name)
        assert (job.state, job.priority, job.crash_count, job.submitted) == (states[name], number, number, 9)
        assert job.request == ask("a") and (job.message == FAILURE or name == "job-running")
    assert queue.is_paused()
    assert queue.retry() == 2 and queue.counts()["waiting"] == 3


def test_artifacts_of_an_earlier_version_keep_what_was_noted(tmp_path: Path) -> None:
    """The rows of today under their former names."""
    path = keep(Home(tmp_path).gallery, as_file(Image.new("RGBA", (200, 200), "red")), entry())
    home = Home(tmp_path)
    home.gallery.mark([path.stem], star=True, rating=3, note="mine", tags=("red",), boards=("b",))
    now, thumbnail = home.gallery.get(path.stem), home.gallery.thumbnail(path.stem)
    tables = {
        name: home.database.rows(f"SELECT * FROM {name}") for name in ("labels", "thumbnails", "vectors", "words")
    }
    rows = home.database.rows("SELECT * FROM artifacts")
    home.database.close()
    (tmp_path / "studio.db").unlink()
    old = Database(tmp_path / "studio.db", migrations("home")[:LATEST])
    with old.writing() as connection:
        insert(connection, "pictures", [{**dict(row), "made": row["created"]} for row in rows], "created")
        for name, values in tables.items():
            named = [dict(row) if name == "words" else {**dict(row), "picture": row["artifact"]} for row in values]
            insert(connection, name, [{"rowid": 1, **row} if name == "words" else row for row in named], "artifact")
    old.close()
    gallery = Home(tmp_path).gallery
    assert gallery.get(path.stem) == now and gallery.thumbnail(path.stem) == thumbnail
    assert gallery.page(Filter(tag="red", board="b", starred=True, words="cat")) == [now]
    numbers, vectors = Home(tmp_path).search.vectors("fake")
    assert numbers.tolist() == [now.number] and vectors.shape == (1, 128)
    gallery.delete([path.stem])
    assert gallery.empty_bin() == 1
    for name in tables:
        assert not gallery.database.rows(f"SELECT * FROM {name}"), f"{name} go with the artifact"


def test_guided_from_of_0_migrates_to_none(tmp_path: Path) -> None:
    """The request has 0, the id was computed without."""
    request = ask("a")
    old_home(tmp_path, LATEST, json.dumps({**request.model_dump(mode="json"), "guided_from": 0.0}))
    assert Home(tmp_path).queue.job("job-waiting").request == request and request.guided_from is None


def entry() -> Entry:
    return Entry("job", 0, 7, "a cat", "noto", "fake", "d", 0.5, 1.7e9, "fake", (1.0,) + (0.0,) * 127)


def insert(connection: sqlite3.Connection, table: str, rows: list[dict[str, Any]], without: str) -> None:
    for row in rows:
        row.pop(without, None)
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))
