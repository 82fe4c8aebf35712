"""The commands that look after a home: the queue's, doctor and rebuild."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Said
from filelock import FileLock
from studio.house import House

from studio.backends.fake import Fake
from studio.events import Failed
from studio.requests import image_request, resolve

Command = Callable[..., Said]


@pytest.fixture
def house(tmp_path: Path) -> House:
    """The home that the command has by default, with three jobs: one runs, one waits, one went wrong."""
    house = House(tmp_path / "home")
    for name in ("wrong", "runs", "waits"):
        request = resolve(image_request(prompt=f"it {name}", seed=1), Fake().capabilities())
        house.queue.submit(request, f"{name}-1", name)
    house.queue.claim("w")
    house.queue.end("w", "wrong-1", Failed("the disk is full."))
    house.queue.claim("w")
    return house


def test_the_jobs_are_listed_and_can_be_read_by_programs(studio: Command, house: House) -> None:
    lines = studio("queue").out.splitlines()
    assert [line.split("\t")[:3] for line in lines] == [
        ["runs-1", "running", "it runs"],
        ["waits-1", "waiting", "it waits"],
        ["wrong-1", "failed", "it wrong"],
    ]
    assert lines[2].endswith("the disk is full.")
    rows = studio("queue", "--json").json
    assert [(row["id"], row["state"]) for row in rows][1] == ("waits-1", "waiting") and rows[0]["request"]["seed"] == 1


def test_jobs_are_cancelled_retried_and_moved(studio: Command, house: House) -> None:
    assert studio("retry", "wr").code == 0
    assert studio("move", "wrong", "--before", "waits").code == 0
    assert [job.id for job in house.queue.jobs(["waiting"])] == ["wrong-1", "waits-1"]
    assert studio("move", "wrong").code == 0 and studio("move", "wrong", "--priority", 2).code == 0
    assert [job.id for job in house.queue.jobs(["waiting"])] == ["wrong-1", "waits-1"], "by priority"
    assert studio("cancel", "--all", "--after-picture").code == 0
    assert house.queue.wishes("w") == {"runs-1": "finish"} and not house.queue.jobs(["waiting"])
    assert json.loads(studio("cancel", "runs", "--json").out) == {"jobs": ["runs-1"], "result": "1 cancelled"}
    assert house.queue.wishes("w") == {"runs-1": "cancel"}


def test_the_queue_is_paused_and_goes_on(studio: Command, house: House) -> None:
    studio("pause")
    assert house.queue.is_paused() and "paused" in studio("queue").err
    studio("resume")
    assert not house.queue.is_paused()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("cancel",), "say which jobs, or all of them: studio cancel --all."),
        (("retry", "a", "--all"), "say which jobs, or all of them"),
        (("cancel", "nobody"), "there is no job 'nobody'; `studio queue` lists them."),
        (("cancel", "w"), "more than one job begins with 'w'"),
        (("cancel", "\udcff"), "there is no job '\\udcff'"),
        (("move", "runs"), "only jobs that wait can be moved"),
        (("move", "waits", "--priority", 2**64), "should be less than or equal to 1000000"),
    ],
)
def test_what_can_not_be_done_is_one_sentence(studio: Command, house: House, arguments: tuple, says: str) -> None:
    said = studio(*arguments)
    assert said.code == 2 and says in said.err and said.err.count("\n") == 1


def test_the_doctor_and_the_rebuild(studio: Command, tmp_path: Path) -> None:
    for prompt in ("a cat", "a dog"):
        assert studio("generate", prompt, "--model", "fake").code == 0
    assert studio("doctor").code == 0
    path = next((tmp_path / "home" / "pictures").rglob("*.png"))
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    said = studio("doctor", "--json")
    assert said.code == 1 and [row["kind"] for row in said.json] == ["cut short"]
    path.write_bytes(data)
    (tmp_path / "junk").write_bytes(b"junk" * 999)
    (tmp_path / "junk").replace(tmp_path / "home" / "studio.db")
    (tmp_path / "home" / "studio.db-wal").unlink(missing_ok=True)  # the log alone would heal it
    said = studio("doctor")
    assert said.code == 2 and "damaged; run: studio rebuild" in said.err
    assert studio("rebuild", "--json").json["pictures"] == 2
    assert studio("doctor").code == 0 and House(tmp_path / "home").gallery.count() == 2


def test_no_rebuild_under_an_open_studio(studio: Command, house: House) -> None:
    with FileLock(house.root / "worker.lock"):
        said = studio("rebuild")
    assert said.code == 2 and "a studio is open on" in said.err


def test_a_home_that_can_not_be_is_one_sentence(studio: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for command in (("queue",), ("doctor",), ("rebuild",), ("generate", "a cat", "--model", "fake")):
        for home in (tmp_path / "file", "~nosuch/x"):
            said = studio(*command, "--home", home)
            assert said.code == 2 and said.err.count("\n") == 1 and "another --home" in said.err, said.err
