"""The queue: order, claims, crashes, progress, database errors."""

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from queue_kit import claims, named, put, waiting

from models.messages import Message, Refused
from studio.database import Database, migrations
from studio.events import Cancelled, Done, Failed, Progress, Unknown
from studio.home import Home, ProgressStore
from studio.queue import MAX_CRASHES, Queue


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    yield Home(tmp_path / "home").queue


# --- In line ----------------------------------------------------------------------------------------------------------


def test_first_come_first_served_within_a_priority(queue: Queue) -> None:
    put(queue, "a", "b")
    queue.submit(named("c"), priority=5)
    assert waiting(queue) == ["c", "a", "b"]
    assert [queue.ahead(name) for name in ("c", "a", "b")] == [0, 1, 2]
    assert [claims(queue).claim()[0].id for _ in range(3)] == ["c", "a", "b"]
    assert claims(queue).claim() == []


def test_moving_and_raising(queue: Queue) -> None:
    put(queue, "a", "b", "c", "d")
    queue.move("d", before="b")
    assert waiting(queue) == ["a", "d", "b", "c"]
    queue.move("c", before="a")
    queue.move("d", before=None)
    assert waiting(queue) == ["c", "a", "b", "d"]
    queue.submit(named("e"), priority=3)
    queue.move("d", before="e")
    assert waiting(queue) == ["d", "e", "c", "a", "b"], "with the priority of that one"
    claims(queue).claim()
    with pytest.raises(Refused, match="only jobs that wait"):
        queue.move("d", before="a")


def test_moves_with_equal_positions(queue: Queue) -> None:
    put(queue, "a", "b", "c")
    queue.move("a", "b")
    with queue._database.writing() as connection:
        connection.execute("UPDATE jobs SET position = (SELECT position FROM jobs WHERE id = 'a') WHERE id = 'c'")
    assert waiting(queue) == ["a", "c", "b"]
    queue.move("b", "c")
    assert waiting(queue) == ["a", "b", "c"]
    queue.move("c", "a")
    assert waiting(queue) == ["c", "a", "b"] and [job.id for job in claims(queue, "w1").claim()][:1] == ["c"]


def test_repeated_moves_into_the_same_gap(queue: Queue) -> None:
    put(queue, "a", "b", "c")
    for turn in range(200):
        queue.move("bc"[turn % 2], before="cb"[turn % 2])
        assert waiting(queue)[0] == "a" and waiting(queue)[1] == "bc"[turn % 2]


def test_the_same_work_is_in_line_once_and_done_work_stays_done(queue: Queue) -> None:
    put(queue, "a", "a")
    assert waiting(queue) == ["a"]
    claims(queue).claim()
    put(queue, "a")
    assert queue.job("a").state == "running"
    assert claims(queue).end("a", Done())
    put(queue, "a")
    assert queue.job("a").state == "done"
    queue.submit(named("a"), again=True)
    assert waiting(queue) == ["a"]


def test_batch_mates_are_claimed_while_they_fit(queue: Queue) -> None:
    put(queue, "a", "b", shape=8, count=3)
    put(queue, "x", shape=8, steps=5)
    put(queue, "c", shape=8, count=3)
    put(queue, "d", shape=8, count=1)
    assert [job.id for job in claims(queue).claim()] == ["a", "b"], "c does not fit, and d may not jump the line"
    assert [job.id for job in claims(queue).claim()] == ["x"]
    assert [job.id for job in claims(queue).claim()] == ["c", "d"]
    put(queue, "e", "f")
    assert [job.id for job in claims(queue).claim()] == ["e"], "in the shape of one nobody has company"


def test_pause(queue: Queue) -> None:
    put(queue, "a")
    queue.pause()
    assert queue.is_paused() and claims(queue).claim() == []
    queue.pause(False)
    assert [job.id for job in claims(queue).claim()] == ["a"]


def test_cancel_some_or_all(queue: Queue) -> None:
    put(queue, "a", "b", "c")
    claims(queue).claim()
    assert queue.cancel(["a", "b", "nobody"]) == 2
    assert claims(queue).active() == set() and queue.job("b").state == "cancelled"
    assert queue.cancel() == 2, "a still runs, c waits"
    assert claims(queue).end("a", Cancelled())
    assert queue.counts() == {"cancelled": 3}
    assert queue.cancel() == 0


def test_retry_puts_back_what_went_wrong(queue: Queue) -> None:
    put(queue, "a", "b", "c")
    for name in "abc":
        claims(queue).claim()
        claims(queue).end(name, Failed(Message("no.")) if name != "b" else Done())
    assert queue.job("a").sentence == "no." and queue.job("a").end == Failed(Message("no."))
    assert queue.retry(["a", "b"]) == 1, "what is done needs no other try"
    assert queue.retry() == 1
    assert waiting(queue) == ["a", "c"] and queue.job("a").sentence == ""


def test_ids_may_be_abbreviated(queue: Queue) -> None:
    put(queue, "abc", "abd", "x%")
    assert queue.find("abc") == "abc"
    for start, says in (("ab", "more than one"), ("zz", "no job"), ("%", "no job"), ("", "no job|more than one")):
        with pytest.raises(Refused, match=says):
            queue.find(start)
    with pytest.raises(KeyError):
        queue.job("nobody")


# --- Who holds what ---------------------------------------------------------------------------------------------------


def test_a_job_that_crashes_its_worker_twice_is_quarantined(queue: Queue) -> None:
    put(queue, "bad", "good")
    for turn in range(MAX_CRASHES):
        assert claims(queue, f"w{turn}").claim()[0].id == "bad", "it keeps its place"
        claims(queue, f"w{turn}").release(Message("was ended by signal 9"))
    job = queue.job("bad")
    assert job.state == "quarantined" and "signal 9" in job.sentence and isinstance(job.end, Failed)
    assert claims(queue).claim()[0].id == "good", "the others go on"
    queue.retry(["bad"])
    assert queue.job("bad").crash_count == 0


def test_a_saved_picture_resets_the_crash_count(queue: Queue) -> None:
    put(queue, "long")
    for turn in range(3 * MAX_CRASHES):
        assert claims(queue, f"w{turn}").claim()
        claims(queue, f"w{turn}").clear_crashes("long")
        claims(queue, f"w{turn}").release(Message("died"))
        assert queue.job("long").state == "waiting"


def test_a_stopped_worker_counts_no_crash_and_cancel_requests_survive(queue: Queue) -> None:
    put(queue, "a", "b")
    for turn in range(2 * MAX_CRASHES):
        assert claims(queue, f"w{turn}").claim()[0].id == "a"
        claims(queue, f"w{turn}").release()
    claims(queue).claim()
    queue.cancel(["a"])
    claims(queue).release(Message("died"))
    assert queue.job("a").state == "cancelled"


def test_a_job_of_another_version_does_not_hold_up_the_line(tmp_path: Path) -> None:
    queue = Home(tmp_path).queue
    put(queue, "old", "new")
    with sqlite3.connect(tmp_path / "studio.db") as connection:
        connection.execute("UPDATE jobs SET request = '{\"task\": \"dance\"}' WHERE id = 'old'")
    assert [job.id for job in claims(queue).claim()] == ["new"]
    assert queue.counts() == {"failed": 1, "running": 1}
    with pytest.raises(Refused, match="another version"):
        queue.job("old")
    assert [job.id for job in queue.jobs(["running", "failed"])] == ["new"]


def test_many_threads_never_claim_a_job_twice(tmp_path: Path) -> None:
    queue, claimed = Home(tmp_path).queue, list[str]()
    put(queue, *(f"{n}" for n in range(60)))

    def work(owner: str) -> None:
        while jobs := claims(queue, owner).claim():
            claimed.extend(job.id for job in jobs)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, map(str, range(8))))
    assert sorted(claimed) == sorted(f"{n}" for n in range(60))


def test_a_job_with_a_crash_is_claimed_alone(queue: Queue) -> None:
    put(queue, "a", "bad", "b", shape=8)
    assert [job.id for job in claims(queue, "w0").claim()] == ["a", "bad", "b"]
    claims(queue, "w0").release(Message("died"))
    alone = [[job.id for job in claims(queue, f"w{n}").claim()] for n in (1, 2, 3)]
    assert alone == [["a"], ["bad"], ["b"]], "each may be the one"


def test_resubmitted_while_being_cancelled(queue: Queue) -> None:
    put(queue, "a")
    claims(queue).claim()
    queue.cancel(["a"])
    assert claims(queue).active() == set()
    put(queue, "a")
    assert claims(queue).active() == {"a"}
    claims(queue).end("a", Cancelled())  # the worker had seen the wish before
    assert waiting(queue) == ["a"]


def test_fail_all_fails_running_and_waiting_jobs(queue: Queue) -> None:
    put(queue, "runs", "waits")
    claims(queue, "gone").claim()
    claims(queue).fail_all(Message("no worker."))
    assert queue.counts() == {"failed": 2} and queue.job("runs").sentence == "no worker."
    assert not claims(queue, "gone").end("runs", Done())


# --- Progress ---------------------------------------------------------------------------------------------------------


def test_progress_is_read_by_revision(tmp_path: Path) -> None:
    store = ProgressStore(tmp_path / "live.db")
    store.begin("a")
    store.note("a", Progress(1, 4, {0: b"one"}, (Unknown("axolotl", ("fish",)),), "hamburger"))
    store.note("a", Progress(2, 4, {1: b"two"}))
    revision, progress = store.read("a")
    assert progress == Progress(2, 4, {0: b"one", 1: b"two"}, (Unknown("axolotl", ("fish",)),), "hamburger")
    assert store.read("a", revision) == (revision, None)
    store.note("a", Progress(3, 4, {1: b"new"}))
    assert store.read("a", revision)[1] == Progress(3, 4, {1: b"new"}, (Unknown("axolotl", ("fish",)),), "hamburger")
    store.begin("a")
    later, progress = store.read("a", revision + 1)
    assert progress == Progress(0, 0) and later > revision, "a new try is news"
    store.keep_only([])
    assert store.read("a") == (0, None)


def test_a_step_and_its_preview_are_written_together(tmp_path: Path) -> None:
    store = ProgressStore(tmp_path / "live.db")
    store.begin("a")
    steps = [Progress(n, 2000, {0: b"%d" % n}) for n in range(1, 2001)]
    worker = threading.Thread(target=lambda: [store.note("a", step) for step in steps])
    worker.start()
    while worker.is_alive():
        step = store.read("a")[1]
        assert step is not None and step.previews == ({0: b"%d" % step.step} if step.step else {})
    worker.join()


def test_damaged_progress_is_thrown_away(tmp_path: Path) -> None:
    path = tmp_path / "live.db"
    ProgressStore(path).note("a", Progress(1, 2))
    path.write_bytes(b"not a database at all" * 100)
    path.with_name("live.db-wal").unlink(missing_ok=True)
    store = ProgressStore(path)
    assert store.read("a") == (0, None)
    store.note("a", Progress(1, 2))


# --- The database -----------------------------------------------------------------------------------------------------


def test_database_errors_are_refusals(tmp_path: Path) -> None:
    newer = tmp_path / "newer.db"
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version=99")
    (tmp_path / "junk.db").write_bytes(b"junk" * 1000)
    whole = Home(tmp_path / "cut")
    put(whole.queue, *(f"{n}" for n in range(300)))
    whole.database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole.database.close()
    cut = tmp_path / "cut" / "studio.db"
    cut.write_bytes(cut.read_bytes()[:9000])
    (tmp_path / "folder.db").mkdir()
    for path, says in (
        (newer, "newer studio"),
        (tmp_path / "junk.db", "damaged; run: studio rebuild"),
        (tmp_path / "folder.db", "can't be opened"),
        (cut, "damaged; run: studio rebuild"),
    ):
        with pytest.raises(Refused, match=says) as caught:
            Queue(Database(path, migrations("home"))).counts()
        assert str(caught.value).count("\n") == 0
    assert newer.stat().st_size > 0, "nothing of it was touched"


def test_a_lasting_lock_is_reported_and_a_short_lock_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.database.BUSY_SECONDS", 0.2)
    queue = Home(tmp_path).queue
    other = sqlite3.connect(tmp_path / "studio.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Refused, match="in use by another program"):
        put(queue, "a")
    monkeypatch.setattr("studio.database.BUSY_SECONDS", 30)
    queue = Home(tmp_path).queue
    threading.Timer(0.05, other.execute, ("ROLLBACK",)).start()
    put(queue, "a")
    assert waiting(queue) == ["a"]


def test_full_and_read_only_disks_are_reported_and_lose_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path)
    put(home.queue, "kept")
    connection = home.database.connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    for trouble, cure, says in (
        (f"PRAGMA max_page_count={pages}", "PRAGMA max_page_count=1000000", "is full; make room"),
        ("PRAGMA query_only=ON", "PRAGMA query_only=OFF", "can't be written to; give another --home"),
    ):
        connection.execute(trouble)
        with pytest.raises(Refused, match=says):
            put(home.queue, *(f"{n}" for n in range(200)))
        connection.execute(cure)
        assert "kept" in waiting(home.queue) and not connection.in_transaction
        put(home.queue, "after")
        assert waiting(home.queue)[-1] == "after" or trouble.endswith("ON")


def test_eight_openers_migrate_once(tmp_path: Path) -> None:
    def open_it(_: int) -> None:
        Home(tmp_path / "home").queue.counts()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(open_it, range(8)))
