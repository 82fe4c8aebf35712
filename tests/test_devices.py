"""Several workers on one home, each on a device of its own: what one leaves the others do, nothing twice."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Output
from filelock import FileLock
from queue_kit import ask, claims, planned, put, work
from waiting import until

from models.messages import Message, Refused
from studio import settings
from studio.backends.fake import Fake
from studio.capabilities import Capabilities
from studio.disk import memory as machine
from studio.events import Done
from studio.home import Home
from studio.page import serve
from studio.studio import Studio
from studio.worker import Supervisor

SECOND = 32 * "b" + ".1"


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    """A studio with two workers, both on the processor."""
    monkeypatch.setenv("STUDIO_DEVICE", "cpu,cpu")
    with Studio(tmp_path / "home") as studio:
        yield studio


def holders(home: Home) -> dict[str, set[str]]:
    """The running jobs by who holds them."""
    held: dict[str, set[str]] = {}
    for row in home.database.rows("SELECT id, owner FROM jobs WHERE state = 'running'"):
        held.setdefault(row["owner"], set()).add(row["id"])
    return held


def test_two_share_the_line_and_one_that_is_killed_loses_nothing(pair: Studio) -> None:
    pair.queue.pause()
    jobs = {
        pair.submit(planned(ask(f"face {n}", model="fake:0.05", count=2, seed=7 * n)), n % 3): n % 3 for n in range(36)
    }
    pair.queue.pause(False)
    held = until(lambda: len(both := holders(pair.store)) == 2 and both)
    assert all(len(each) == 4 for each in held.values()), "a batch each"
    process = pair._workers.each[1].process
    assert process and process.pid
    os.kill(process.pid, signal.SIGKILL)
    (lost,) = (each for owner, each in held.items() if owner.endswith(".1"))
    until(lambda: pair._workers.each[1].process not in (None, process))
    assert all(list(pair.events(job))[-1] == Done() for job in jobs)
    made = [(one.job, one.position) for one in pair.gallery.page(limit=1000)]
    assert sorted(made) == sorted((job, index) for job in jobs for index in range(2)), "all of them, none twice"
    ended = sorted(((pair.queue.job(job).started or 0), -jobs[job]) for job in jobs.keys() - lost)
    assert [priority for _, priority in ended] == sorted(priority for _, priority in ended)


@pytest.mark.parametrize("alive", [False, True])
def test_jobs_of_a_worker_that_there_is_no_longer_are_taken_up(tmp_path: Path, alive: bool) -> None:
    """As after a restart with fewer devices; not those of one that holds its lock."""
    home = Home(tmp_path)
    put(home.queue, "a cat")
    (job,) = claims(home.queue, SECOND).claim()
    with FileLock(tmp_path / "worker.1.lock") if alive else contextlib.nullcontext():
        work(home)
        assert home.queue.job(job.id).state == ("running" if alive else "failed"), "its name is not that of the work"
        home.queue.retry()
        put(home.queue, "a dog")
        Supervisor(tmp_path, home.database)._give_up(Message("It can't be started."))
    assert (home.queue.job("a dog").state == "failed") != alive, "another worker may do it"


def test_a_worker_for_each_card_begins_with_a_model_that_computes_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Placed(Fake):
        def capabilities(self) -> Capabilities:
            return super().capabilities().model_copy(update={"memory": True})

    woken: list[str] = []
    monkeypatch.delenv("STUDIO_DEVICE")
    monkeypatch.setattr(Supervisor, "wake", lambda self, model="": woken.append(self._device))
    monkeypatch.setattr("studio.worker.cards", lambda: [machine.machine("cpu")] * 2)
    for kind, expected in ((Fake, ["cuda:0"]), (Placed, ["cuda:0", "cuda:1"])):
        woken.clear()
        opened: list[str] = []
        with Studio(tmp_path, opener=lambda model, kind=kind, opened=opened: opened.append(model) or kind()) as studio:
            for n in range(3):
                studio.submit(planned(ask(f"{kind} {n}")))
        assert woken == 3 * expected
        assert opened == ["fake"], "what a model computes on is asked once"


@pytest.mark.parametrize("named", ["", "cpu, cpu"])
def test_cards_are_counted_when_the_first_worker_is_needed_and_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    asked: list[bool] = []
    monkeypatch.setenv("STUDIO_DEVICE", named)
    monkeypatch.setattr(Supervisor, "wake", lambda self, model="": None)
    monkeypatch.setattr("studio.worker.cards", lambda: asked.append(True) or [])
    with Studio(tmp_path) as studio:
        assert studio.trouble() is None and not asked
        studio.open("fake")
        assert [one._device for one in studio._workers.each] == (["cpu", "cpu"] if named else [""])
    assert asked == [True] * (not named)
    with Studio(tmp_path) as studio:
        studio.close()
        studio.open("fake")
        assert studio._workers.each == [], "what is closed starts nothing"


@pytest.mark.parametrize(("named", "missing"), [("cpu,cud:0", "cud:0"), ("cpu,", "cpu,"), ("meta", "meta")])
def test_a_device_that_is_not_there_is_refused_before_the_page_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], named: str, missing: str
) -> None:
    monkeypatch.setenv("STUDIO_DEVICE", named)
    monkeypatch.setattr(serve, "http_server", lambda *_: pytest.fail("it opens"))
    with pytest.raises(Refused, match=f"there is no device '{missing}' here; there are cpu"):
        serve.open_page(tmp_path / "a home", "fake", "127.0.0.1", 0, None, False, False)
    assert not (tmp_path / "a home").exists() and capfd.readouterr().out == ""


@pytest.mark.parametrize("command", [("generate", "a cat"), ("batch", "none.txt"), ("search", "a cat"), ("embed",)])
def test_a_device_that_is_not_there_is_refused_before_a_command_begins(
    studio: Callable[..., Output], monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("STUDIO_DEVICE", "")  # and so afterwards
    said = studio(*command, "--device", "cud:0")
    assert (said.code, said.out) == (2, "") and "there is no device 'cud:0' here" in said.err


def test_cards_are_those_of_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    monkeypatch.delenv("STUDIO_DEVICE")
    program.write_text("#!/bin/sh\necho '80000, 500'\necho '40000, 900'\n")
    program.chmod(0o755)
    monkeypatch.setattr(machine, "_which", lambda name: str(program))
    found = machine.machine
    assert [card.free >> 20 for card in (found(), found("cuda:0"), found("cuda:1"))] == [900, 500, 900]
    assert found("cpu").device == "cpu" and settings.devices(lambda: len(machine.cards())) == ["cuda:0", "cuda:1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert settings.devices(lambda: 2) == [""], "somebody chose already"
    monkeypatch.setenv("STUDIO_DEVICE", "cuda:1,cpu")
    assert settings.devices(lambda: 2) == ["cuda:1", "cpu"]
    for said in ("No devices were found", "1, 2, 3", "1"):
        program.write_text(f"#!/bin/sh\necho '{said}'\n")
        assert machine.cards() == [] and found().device == "cpu"
