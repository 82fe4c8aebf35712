"""A home of any earlier version is opened with nothing lost, by itself and by a rebuild."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from picture_kit import as_file
from PIL import Image
from queue_kit import Entry, ask, keep

from models.messages import Message
from studio import maintenance
from studio.database import Database, migrations
from studio.gallery import Filter
from studio.home import Home
from studio.queue import MAX_CRASHES, Claims

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
    states = {f"job-{state}": state for state in STATES} | {
        "job-running": "cancelled",
        "job-aside": "quarantined",
    }
    for number, name in enumerate(states):
        job = queue.job(name)
        assert (job.state, job.priority, job.crash_count, job.submitted) == (states[name], number, number, 9)
        assert job.request == ask("a") and (job.message == FAILURE or name == "job-running")
    assert queue.is_paused()
    assert queue.retry() == 2 and queue.counts()["waiting"] == 3


def test_artifacts_of_an_earlier_version_keep_what_was_noted(tmp_path: Path) -> None:
    """The rows of today, under the names that they had."""
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


def test_a_waiting_job_that_was_guided_all_the_way_is_the_same_work(tmp_path: Path) -> None:
    """Its request says 0; the identity was made without."""
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
