"""Interactive jobs (questions): order, ownership, cached answers, crashes."""

import asyncio
import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from queue_kit import CAN, claims, picture, put, waiting
from waiting import TIMEOUT

from models.messages import Message, Refused
from studio.backends.base import Backend, run
from studio.backends.embedded import Embedded
from studio.backends.fake import Fake
from studio.events import Cancelled, Done, Failed, Progress, Vector
from studio.home import Home
from studio.media import Artifact
from studio.planner import job_id, resolve
from studio.queue import MAX_ANSWERS, MAX_CRASHES, Queue, State
from studio.requests import EmbedRequest, Request, make_request, stored_request
from studio.studio import Studio

ENDED: list[State] = ["running", "waiting", "done", "failed", "cancelled", "quarantined"]


def words(*texts: str) -> EmbedRequest:
    return make_request("embed", texts=texts, model="fake")


def vector(text: str = "a cat") -> tuple[Vector, ...]:
    return (Vector("text", text, (0.1, -0.2)),)


def taken(home: Home, owner: str, between: str = "") -> str | None:
    """The id of the interactive job that a worker claims."""
    matches = claims(home.queue, owner).claim_interactive(between)
    return matches and matches.id


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


# --- In line ----------------------------------------------------------------------------------------------------------


def test_questions_are_not_listed_as_jobs(home: Home) -> None:
    put(home.queue, "a")
    home.queue.ask(words("a cat"), "q")
    assert home.queue.jobs(ENDED) == home.queue.jobs(["waiting"]) and waiting(home.queue) == ["a"]
    assert home.queue.counts() == {"waiting": 1} and home.queue.ahead("a") == 0
    with pytest.raises(KeyError):
        home.queue.job("q")
    with pytest.raises(Refused, match="no job"):
        home.queue.find("q")
    assert home.queue.cancel() == 1 and home.queue.answer("q") is None, "cancelling all jobs cancels no question"
    assert claims(home.queue, "w").claim() == [] and taken(home, "w") == "q"
    assert claims(home.queue, "w").active() == set()
    put(home.queue, "b")
    assert [one.id for one in home.queue.jobs(limit=1)] == ["b"], "not even where one is looked for"
    home.queue.cancel()
    claims(home.queue, "w").end("q", Failed(Message("no.")))
    assert home.queue.retry() == 0, "nobody asks for it any more"


def test_questions_precede_jobs_and_ignore_pause(home: Home) -> None:
    put(home.queue, "a")
    home.queue.ask(words("one"), "q1")
    home.queue.ask(words("two"), "q2")
    home.queue.pause()
    assert [taken(home, "w") for _ in range(1)] == ["q1"]
    assert claims(home.queue, "w").end("q1", Done(), vector("one")) and taken(home, "w") == "q2"
    assert claims(home.queue, "w").claim() == []


def test_reports_count_only_from_the_current_owner(home: Home) -> None:
    home.queue.ask(words("a cat"), "q")
    taken(home, "old")
    claims(home.queue, "new").recover()
    assert not claims(home.queue, "old").end("q", Done(), vector("late")) and home.queue.answer("q") is None
    assert taken(home, "new") == "q" and claims(home.queue, "new").end("q", Done(), vector())
    assert not claims(home.queue, "old").end("q", Done(), vector("late")) and home.queue.answer("q") == vector()


def test_an_unreported_question_is_claimed_again_by_the_same_worker(home: Home) -> None:
    home.queue.ask(words("a cat"), "q")
    assert taken(home, "w") == taken(home, "w") == "q"
    assert taken(home, "another") is None


def test_a_question_that_crashes_its_worker_twice_fails_and_may_be_retried(home: Home) -> None:
    put(home.queue, "a")
    home.queue.ask(words("bad"), "q")
    for turn in range(MAX_CRASHES):
        assert taken(home, f"w{turn}", "fake" if not turn else "") == "q"
        claims(home.queue, f"w{turn}").release(Message("was ended by signal 9"))
        assert taken(home, f"w{turn}", "fake") is None, "not in the middle of other work again"
    with pytest.raises(Refused, match="signal 9"):
        home.queue.answer("q")
    home.queue.ask(words("bad"), "q")
    assert home.queue.answer("q") is None and taken(home, "w", "fake") == "q"


def test_between_steps_only_questions_for_the_same_model_are_claimed(home: Home) -> None:
    home.queue.ask(make_request("embed", texts=("a cat",), model="embedded"), "other")
    home.queue.ask(words("a cat"), "same")
    assert taken(home, "w", "fake") == "same"


def test_answers_are_cached_up_to_a_limit(home: Home) -> None:
    home.queue.ask(words("first"), "first")
    taken(home, "w")
    claims(home.queue, "w").end("first", Done(), vector("first"))
    for number in range(MAX_ANSWERS):
        home.queue.ask(words(f"{number}"), f"q{number}")
        taken(home, "w")
        claims(home.queue, "w").end(f"q{number}", Done(), vector(f"{number}"))
        if number == MAX_ANSWERS // 2:
            home.queue.ask(words("first"), "first")
            assert home.queue.answer("first") == vector("first"), "remembered, and for longer"
    home.queue.ask(words("open"), "open")
    assert home.queue.answer("first") == vector("first") and home.queue.answer("open") is None
    with pytest.raises(Refused, match="forgotten"):
        home.queue.answer("q0")
    assert home.database.row("SELECT count(*) AS n FROM jobs")["n"] <= MAX_ANSWERS + 1


def test_an_open_question_is_never_forgotten(home: Home) -> None:
    home.queue.ask(words("held"), "held")
    taken(home, "w")
    for number in range(MAX_ANSWERS + 5):
        home.queue.ask(words(f"{number}"), f"q{number}")
    assert home.queue.answer("held") is None and home.queue.answer("q0") is None


def test_a_question_of_another_version_does_not_hold_up_the_line(home: Home) -> None:
    home.queue.ask(words("old"), "old")
    home.queue.ask(words("new"), "new")
    with sqlite3.connect(home.root / "studio.db") as connection:
        connection.execute("UPDATE jobs SET request = '{\"task\": \"dance\"}' WHERE id = 'old'")
    assert taken(home, "w") is None and taken(home, "w") == "new"
    with pytest.raises(Refused, match="another version"):
        home.queue.answer("old")


def test_id_of_an_interactive_job_comes_from_its_content(tmp_path: Path) -> None:
    for name in ("one", "two", "other"):
        Image.new("RGBA", (4, 4), "red" if name != "other" else "blue").save(tmp_path / f"{name}.png")
    ids = {}
    for name in ("one", "two", "other"):
        query = make_request("embed", texts=("a",), images=({"path": str(tmp_path / f"{name}.png")},))
        ids[name] = job_id(resolve(query, CAN), "digest", interactive=True)
    assert ids["one"] == ids["two"] != ids["other"]
    assert job_id(words("a"), "one", interactive=True) != job_id(words("a"), "two", interactive=True), (
        "another model is another question"
    )
    assert job_id(words("a", "b"), "", interactive=True) != job_id(words("b", "a"), "", interactive=True)


# --- Through a worker -------------------------------------------------------------------------------------------------


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with Studio(tmp_path / "home") as studio:
        yield studio


def direct(backend: Backend, request: Request) -> list[Vector | Progress | Artifact]:
    backend.load()
    return list(run(backend, request))


def test_enlarge_returns_a_picture_and_stores_nothing(studio: Studio, tmp_path: Path) -> None:
    Image.new("RGBA", (128, 128), "red").save(tmp_path / "red.png")
    request = resolve(
        make_request("enlarge", image={"path": str(tmp_path / "red.png")}, size=512, model="fake"),
        Fake().capabilities(),
    )
    (result,) = (event for event in direct(Fake(), request) if isinstance(event, Artifact))
    for _ in range(2):  # the second time as it was kept
        report = studio.enlarge(tmp_path / "red.png", model="fake")
        assert report.mode == "RGBA" and report.tobytes() == picture(result).tobytes()
    assert asyncio.run(studio.aenlarge(tmp_path / "red.png", model="fake")).size == (512, 512)
    assert not studio.gallery.count() and not studio.queue.jobs(ENDED), "neither a picture nor a job of it"
    assert job_id(request, "d", interactive=True) != job_id(request, "d"), "and none is taken for it"
    with pytest.raises(Refused, match="size must be 128 or 512, not 300"):
        studio.enlarge(tmp_path / "red.png", 300, model="fake")


def test_answers_of_the_worker_equal_the_model(tiny: Embedded, tiny_studio: Studio, tmp_path: Path) -> None:
    Image.new("RGBA", (40, 9), "red").save(tmp_path / "red.png")
    query = {"texts": ("a cat", "猫", "a cat with a hat"), "images": ({"path": str(tmp_path / "red.png")},) * 2}
    request = resolve(make_request("embed", **query), CAN)
    job = tiny_studio.submit(*tiny_studio.prepare("image", prompt="a dog", steps=60, seed=1, count=8))
    while (live := tiny_studio.store.progress.read(job)[1]) is None or not live.step:
        time.sleep(0.01)
    answers = tiny_studio.ask(request)
    assert tiny_studio.ask(request) == answers, "and remembers it"
    assert list(tiny_studio.events(job))[-1] == Done()
    (answered,) = tiny_studio.store.database.rows("SELECT max(ended) AS at FROM jobs WHERE interactive")
    assert answered["at"] < (tiny_studio.queue.job(job).ended or 0), "between two steps of a job"
    assert list(answers) == direct(tiny, request), "to the bit"


def test_an_answer_survives_the_worker_and_so_does_the_job_at_work(tmp_path: Path) -> None:
    with Studio(tmp_path / "home", open_slow) as studio:
        answers: list[object] = []
        asking = threading.Thread(target=lambda: answers.append(studio.ask(words("a cat"))))
        asking.start()
        while not interactive_job_runs(studio.store):
            time.sleep(0.01)
        process = studio._worker.process
        assert process and process.pid
        os.kill(process.pid, signal.SIGKILL)
        asking.join(TIMEOUT)
        assert answers == [tuple(direct(Fake(), words("a cat")))]
        assert studio.queue.jobs(ENDED) == [] and studio.current() is None


def interactive_job_runs(home: Home) -> bool:
    return bool(home.database.rows("SELECT 1 FROM jobs WHERE interactive AND state = 'running'"))


class Slow(Fake):
    """Takes half a second per answer; "poison" ends the process."""

    def _vectors(self, request: EmbedRequest) -> Any:
        time.sleep(0.5)
        if "poison" in request.texts:
            os._exit(3)
        if "trouble" in request.texts:
            raise MemoryError
        yield from super()._vectors(request)


def open_slow(model: str) -> Backend:
    return Slow() if multiprocessing.parent_process() else Fake()


def test_a_failed_question_does_not_stop_others(tmp_path: Path) -> None:
    with Studio(tmp_path / "home", open_slow) as studio:
        with pytest.raises(Refused, match="memory does not suffice"):
            studio.ask(words("trouble"))
        with pytest.raises(Refused, match="exit code 3"):
            studio.ask(words("poison"))
        assert studio.ask(words("a cat"))
        Image.new("RGBA", (4, 4)).save(tmp_path / "gone.png")
        gone = resolve(make_request("embed", images=({"path": str(tmp_path / "gone.png")},), model="fake"), CAN)
        (tmp_path / "gone.png").unlink()
        with pytest.raises(Refused, match="does not exist"):
            studio.ask(gone)


def test_closing_refuses_waiting_questions(tmp_path: Path) -> None:
    studio = Studio(tmp_path / "home", open_slow)
    threading.Timer(0.3, studio.close).start()
    with pytest.raises(Refused, match="was closed"):
        studio.ask(words("a cat"))
    assert Queue(studio.store.database).jobs(ENDED) == []


def test_vectors_of_answers_are_stored_exactly(home: Home) -> None:
    exact = (Vector("text", "猫 \u2028 \"'", (0.1 + 0.2, -1e-300, 5e-324, 1.0)),)
    home.queue.ask(words("a"), "q")
    taken(home, "w")
    claims(home.queue, "w").end("q", Done(), exact)
    assert Queue(home.database).answer("q") == exact
    assert stored_request(words("a").model_dump_json()) == words("a")
    claims(home.queue, "w").end("q", Cancelled())
    assert home.queue.answer("q") == exact, "what is answered stays answered"
