"""Questions through the queue: answered as the model itself answers, by whoever is alive, and shown to nobody."""

import asyncio
import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from patience import PATIENCE
from PIL import Image
from test_queue import ask as job
from test_queue import put, waiting

from models.messages import Refused
from studio import care
from studio.backends.base import Backend
from studio.backends.embedded import Embedded
from studio.backends.fake import Fake
from studio.database import Database
from studio.events import Cancelled, Done, Failed, Progress, Result, Vector
from studio.house import House
from studio.questions import KEPT, QUESTION, Questions, question_id
from studio.queue import DEATHS, Queue
from studio.requests import (
    EmbedRequest,
    Request,
    embed_request,
    enlarge,
    image_request,
    job_id,
    resolve,
    resolve_embed,
)
from studio.schema import MIGRATIONS
from studio.studio import Studio

ENDED = ["running", "waiting", "done", "failed", "cancelled", "aside"]


def words(*texts: str) -> EmbedRequest:
    return embed_request(texts=texts, model="fake")


def vector(text: str = "a cat") -> tuple[Vector, ...]:
    return (Vector("text", text, (0.1, -0.2)),)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "home")


# --- In line ----------------------------------------------------------------------------------------------------------


def test_a_question_is_no_job(house: House) -> None:
    put(house.queue, "a")
    house.questions.ask(words("a cat"), "q")
    assert house.queue.jobs(ENDED) == house.queue.jobs(["waiting"]) and waiting(house.queue) == ["a"]
    assert house.queue.counts() == {"waiting": 1} and house.queue.ahead("a") == 0
    with pytest.raises(KeyError):
        house.queue.job("q")
    with pytest.raises(Refused, match="no job"):
        house.queue.find("q")
    assert house.queue.cancel() == 1 and house.questions.read("q") is None, "cancelling all jobs cancels no question"
    assert house.queue.claim("w") == [] and house.questions.claim("w").id == "q"
    assert house.queue.wishes("w") == {}
    put(house.queue, "b")
    assert [one.id for one in house.queue.jobs(limit=1)] == ["b"], "not even where one is looked for"
    house.queue.cancel()
    house.queue.end("w", "q", Failed("no."))
    assert house.queue.retry() == 0, "nobody asks for it any more"


def test_questions_go_first_and_through_a_pause(house: House) -> None:
    put(house.queue, "a")
    house.questions.ask(words("one"), "q1")
    house.questions.ask(words("two"), "q2")
    house.queue.pause()
    assert [house.questions.claim("w").id for _ in range(1)] == ["q1"]
    assert house.questions.answer("w", "q1", vector("one")) and house.questions.claim("w").id == "q2"
    assert house.queue.claim("w") == []


def test_what_a_worker_says_counts_only_while_it_holds_the_question(house: House) -> None:
    house.questions.ask(words("a cat"), "q")
    house.questions.claim("old")
    house.queue.recover("new")
    assert not house.questions.answer("old", "q", vector("late")) and house.questions.read("q") is None
    assert house.questions.claim("new").id == "q" and house.questions.answer("new", "q", vector())
    assert not house.questions.answer("old", "q", vector("late")) and house.questions.read("q") == vector()


def test_an_answer_that_could_not_be_told_is_found_again_by_the_same_worker(house: House) -> None:
    house.questions.ask(words("a cat"), "q")
    assert house.questions.claim("w").id == house.questions.claim("w").id == "q"
    assert house.questions.claim("another") is None


def test_a_question_that_ends_its_worker_twice_is_put_aside_and_may_be_asked_again(house: House) -> None:
    put(house.queue, "a")
    house.questions.ask(words("bad"), "q")
    for turn in range(DEATHS):
        assert house.questions.claim(f"w{turn}", between="fake" if not turn else "").id == "q"
        house.queue.bury(f"w{turn}", "was ended by signal 9")
        assert house.questions.claim(f"w{turn}", between="fake") is None, "not in the middle of other work again"
    with pytest.raises(Refused, match="signal 9"):
        house.questions.read("q")
    house.questions.ask(words("bad"), "q")
    assert house.questions.read("q") is None and house.questions.claim("w", between="fake").id == "q"


def test_only_questions_for_the_model_at_work_are_answered_in_between(house: House) -> None:
    house.questions.ask(embed_request(texts=("a cat",), model="embedded"), "other")
    house.questions.ask(words("a cat"), "same")
    assert house.questions.claim("w", between="fake").id == "same"


def test_the_same_question_is_answered_at_once_and_old_ones_are_forgotten(house: House) -> None:
    house.questions.ask(words("first"), "first")
    house.questions.claim("w")
    house.questions.answer("w", "first", vector("first"))
    for number in range(KEPT):
        house.questions.ask(words(f"{number}"), f"q{number}")
        house.questions.claim("w")
        house.questions.answer("w", f"q{number}", vector(f"{number}"))
        if number == KEPT // 2:
            house.questions.ask(words("first"), "first")
            assert house.questions.read("first") == vector("first"), "remembered, and for longer"
    house.questions.ask(words("open"), "open")
    assert house.questions.read("first") == vector("first") and house.questions.read("open") is None
    with pytest.raises(Refused, match="forgotten"):
        house.questions.read("q0")
    assert house.database.row("SELECT count(*) AS n FROM jobs")["n"] <= KEPT + 1


def test_an_open_question_is_never_forgotten(house: House) -> None:
    house.questions.ask(words("held"), "held")
    house.questions.claim("w")
    for number in range(KEPT + 5):
        house.questions.ask(words(f"{number}"), f"q{number}")
    assert house.questions.read("held") is None and house.questions.read("q0") is None


def test_a_question_of_another_version_does_not_hold_up_the_line(house: House) -> None:
    house.questions.ask(words("old"), "old")
    house.questions.ask(words("new"), "new")
    with sqlite3.connect(house.root / "studio.db") as connection:
        connection.execute("UPDATE jobs SET request = '{\"task\": \"dance\"}' WHERE id = 'old'")
    assert house.questions.claim("w") is None and house.questions.claim("w").id == "new"
    with pytest.raises(Refused, match="another version"):
        house.questions.read("old")


def test_a_question_is_named_by_what_is_asked(tmp_path: Path) -> None:
    for name in ("one", "two", "other"):
        Image.new("RGBA", (4, 4), "red" if name != "other" else "blue").save(tmp_path / f"{name}.png")
    ids = {}
    for name in ("one", "two", "other"):
        asked = embed_request(texts=("a",), pictures=({"path": str(tmp_path / f"{name}.png")},))
        ids[name] = question_id(resolve_embed(asked), "digest")
    assert ids["one"] == ids["two"] != ids["other"]
    assert question_id(words("a"), "one") != question_id(words("a"), "two"), "another model is another question"
    assert question_id(words("a", "b"), "") != question_id(words("b", "a"), "")


def test_a_home_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    old = Database(tmp_path / "studio.db", MIGRATIONS[:1])
    with old.writing() as connection:
        connection.execute(
            "INSERT INTO jobs (id, request, company, place, submitted) VALUES ('a', ?, 'c', 1, 0)",
            (job("a").model_dump_json(),),
        )
    old.close()
    house = House(tmp_path)
    assert waiting(house.queue) == ["a"]
    house.questions.ask(words("a cat"), "q")
    house.database.close()
    assert care.rebuild(tmp_path).jobs == 1
    assert House(tmp_path).questions.claim("w").id == "q"


# --- Through a worker -------------------------------------------------------------------------------------------------


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with Studio(tmp_path / "home") as studio:
        yield studio


def open_tiny(root: str, model: str) -> Backend:
    return Embedded(root) if model == "embedded" else Fake()


def direct(backend: Backend, request: Request) -> list[Vector | Progress | Result]:
    backend.load()
    return list(backend.run(request))


def test_a_picture_is_enlarged_for_somebody_who_waits_and_is_put_nowhere(studio: Studio, tmp_path: Path) -> None:
    Image.new("RGBA", (128, 128), "red").save(tmp_path / "red.png")
    request = resolve(enlarge(str(tmp_path / "red.png"), 512, "fake"), Fake().capabilities())
    (result,) = (event for event in direct(Fake(), request) if isinstance(event, Result))
    for _ in range(2):  # the second time as it was kept
        told = studio.enlarge(tmp_path / "red.png", model="fake")
        assert told.mode == "RGBA" and told.tobytes() == result.picture.tobytes()
    assert asyncio.run(studio.aenlarge(tmp_path / "red.png", model="fake")).size == (512, 512)
    assert not studio.gallery.count() and not studio.queue.jobs(ENDED), "neither a picture nor a job of it"
    assert question_id(request, "d") != job_id(request, "d"), "and none is taken for it"
    with pytest.raises(Refused, match="size must be 128 or 512, not 300"):
        studio.enlarge(tmp_path / "red.png", 300, model="fake")


@pytest.mark.parametrize("model", ["embedded", "fake"])
def test_what_the_worker_answers_is_what_the_model_says(model: str, tiny: Embedded, tmp_path: Path) -> None:
    Image.new("RGBA", (40, 9), "red").save(tmp_path / "red.png")
    asked = {"texts": ("a cat", "猫", "a cat with a hat"), "pictures": ({"path": str(tmp_path / "red.png")},) * 2}
    request = resolve_embed(embed_request(**asked, model=model))
    with Studio(tmp_path / "home", partial(open_tiny, str(tiny.root))) as studio:
        slow = resolve(
            image_request(prompt="a dog", steps=100, seed=1, count=16, model=model), open_backend_of(model, tiny)
        )
        job = studio.submit(slow)
        while (live := studio.house.live.read(job)[1]) is None or not live.step:
            time.sleep(0.01)
        answers = studio.ask(request)
        midst = studio.queue.job(job).state
        assert studio.ask(request) == answers, "and remembers it"
        end = list(studio.events(job))[-1]
    assert list(answers) == direct(tiny if model == "embedded" else Fake(), request), "to the bit"
    assert end == Done() and (midst == "running" or model == "fake"), "between two steps of a job"


def open_backend_of(model: str, tiny: Embedded):
    return (tiny if model == "embedded" else Fake()).capabilities()


def test_an_answer_survives_the_worker_and_so_does_the_job_at_work(tmp_path: Path) -> None:
    with Studio(tmp_path / "home", open_slow) as studio:
        answers: list[object] = []
        asking = threading.Thread(target=lambda: answers.append(studio.ask(words("a cat"))))
        asking.start()
        while not house_holds(studio.house):
            time.sleep(0.01)
        process = studio._foreman.process
        assert process and process.pid
        os.kill(process.pid, signal.SIGKILL)
        asking.join(PATIENCE)
        assert answers == [tuple(direct(Fake(), words("a cat")))]
        assert studio.queue.jobs(ENDED) == [] and studio.current() is None


def house_holds(house: House) -> bool:
    return bool(house.database.rows("SELECT 1 FROM jobs WHERE question AND state = 'running'"))


class Slow(Fake):
    """Thinks for a while, and for ever about one thing."""

    def run(self, request: Request) -> Iterator[Progress | Result | Vector]:
        if isinstance(request, EmbedRequest):
            time.sleep(0.5)
            if "poison" in request.texts:
                os._exit(3)
            if "trouble" in request.texts:
                raise MemoryError
        yield from super().run(request)


def open_slow(model: str) -> Backend:
    return Slow() if multiprocessing.parent_process() else Fake()


def test_what_can_not_be_answered_is_said_and_the_others_are(tmp_path: Path) -> None:
    with Studio(tmp_path / "home", open_slow) as studio:
        with pytest.raises(Refused, match="memory does not suffice"):
            studio.ask(words("trouble"))
        with pytest.raises(Refused, match="exit code 3"):
            studio.ask(words("poison"))
        assert studio.ask(words("a cat"))
        Image.new("RGBA", (4, 4)).save(tmp_path / "gone.png")
        gone = resolve_embed(embed_request(pictures=({"path": str(tmp_path / "gone.png")},), model="fake"))
        (tmp_path / "gone.png").unlink()
        assert studio.ask(gone), "the fake model looks at no pixels"


def test_closing_ends_the_waiting(tmp_path: Path) -> None:
    studio = Studio(tmp_path / "home", open_slow)
    threading.Timer(0.3, studio.close).start()
    with pytest.raises(Refused, match="was closed"):
        studio.ask(words("a cat"))
    assert Queue(studio.house.database).jobs(ENDED) == []


def test_answers_are_stored_as_they_are(house: House) -> None:
    exact = (Vector("text", "猫 \u2028 \"'", (0.1 + 0.2, -1e-300, 5e-324, 1.0)),)
    house.questions.ask(words("a"), "q")
    house.questions.claim("w")
    house.questions.answer("w", "q", exact)
    assert Questions(house.database).read("q") == exact
    assert QUESTION.validate_json(words("a").model_dump_json()) == words("a")
    house.queue.end("w", "q", Cancelled())
    assert house.questions.read("q") == exact, "what is answered stays answered"
