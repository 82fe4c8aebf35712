"""`studio batch`: what it prints, what lies in its folder, and that it goes on where it was stopped, in any way."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Output
from PIL import Image
from waiting import TIMEOUT, until

from models.assets import assets
from models.messages import Refused
from studio import run as running
from studio.backends import fake
from studio.backends.fake import Fake
from studio.batch import run as folders
from studio.metadata.files import read
from studio.planner import job_id, resolve
from studio.requests import make_request

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def batch(studio: Callable[..., Output]) -> Callable[..., Output]:
    def run(*arguments: object, model: str = "fake") -> Output:
        return studio("batch", *arguments, "--model", model)

    return run


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def pictures(out: Path) -> dict[str, str]:
    """sha256 of every whole picture's pixels, by name."""
    found = {}
    for path in sorted((out / "images").glob("*.png")):
        with Image.open(path) as picture:
            found[path.name] = hashlib.sha256(picture.tobytes()).hexdigest()
    return found


def left(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file() and path.suffix != ".png"}


NAMED = (("cat", "one"), ("dog", "three"), ("cat", "two"))
BOOKS = {".lock", "CREDITS.txt", "errors.jsonl", "jobs.jsonl", "run.json", "images/metadata.jsonl"}


# --- What it says and leaves ------------------------------------------------------------------------------------------


def test_every_line_is_a_picture_or_a_sentence(batch: Callable[..., Output], tmp_path: Path) -> None:
    asked = written(
        tmp_path / "a.txt", "a (red:1.3) cat --d 1 --s 2", "a dog --bogus 1", "a fox --d 2 --f ../fox --s 2"
    )
    said = batch(asked, "--out", tmp_path / "out", "--json")
    told = said.json
    assert (said.code, told["total"], told["done"], told["found"], told["failed"]) == (1, 3, 2, 0, 1)
    assert [(one["line"], one["message"]) for one in told["errors"]] == [(2, "there is no setting 'bogus'.")]
    assert f"studio: {asked}, line 2: there is no setting 'bogus'." in said.err
    first, second = rows(tmp_path / "out/images/metadata.jsonl")
    assert list(first)[:2] == ["file_name", "text"] and list(first) == list(second)
    assert (first["text"], first["prompt"], first["seed"]) == ("a red cat", "a (red:1.3) cat", 1)
    assert second["file_name"] == "fox.png" and (tmp_path / "out/images/fox.png").exists()
    for row in (first, second):
        path = tmp_path / "out/images" / row["file_name"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"] and read(path)["job_id"] == row["job_id"]
    assert [row["status"] for row in rows(tmp_path / "out/jobs.jsonl")] == ["done", "done"]
    assert [row["line"] for row in rows(tmp_path / "out/errors.jsonl")] == [2] and left(tmp_path / "out") == BOOKS
    run = json.loads((tmp_path / "out/run.json").read_text())
    assert run["files"] == [str(asked)] and run["begun"] <= run["ended"] and run["result"]["done"] == 2


def test_a_job_is_the_one_that_every_door_makes(batch: Callable[..., Output], tmp_path: Path) -> None:
    batch(written(tmp_path / "a.jsonl", '{"prompt": "a cat", "seed": 5}'), "--out", tmp_path / "out")
    backend = Fake()
    asked = resolve(make_request(prompt="a cat", seed=5, shape=8, model="fake"), backend.capabilities())
    (row,) = rows(tmp_path / "out/jobs.jsonl")
    assert row["id"] == job_id(asked, backend.digest()) and row["files"] == [f"{row['id'][:16]}-0-5.png"]


def test_a_dry_run_shows_the_jobs_and_writes_nothing(batch: Callable[..., Output], tmp_path: Path) -> None:
    asked = written(tmp_path / "a.txt", "a {red|blue} cat --d 1,2", "a dog --s x")
    before = sorted(tmp_path.rglob("*"))
    said = batch(asked, "--dry-run", "--json", "--out", tmp_path / "out")
    assert said.code == 1 and [job["request"]["seed"] for job in said.json["jobs"]] == [1, 2]
    assert said.json["total"] == 3 and [one["line"] for one in said.json["errors"]] == [2]
    table = batch(asked, "--dry-run").out.splitlines()
    assert [line.split("\t")[:2] for line in table] == [["1", "1"], ["1", "2"]] and "{" not in table[0]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["batch.txt", "batch.jsonl", "batch.csv", "batch.yaml"])
def test_the_examples_that_ship_run(batch: Callable[..., Output], tmp_path: Path, name: str) -> None:
    prompts = assets() / "prompts"
    wild = ("--wildcards", prompts / "wildcards")
    assert batch(prompts / name, "--dry-run", *wild, model="embedded").code in (0, 2), "2 where no weights are there"
    assert batch(prompts / name, "--dry-run", *wild).code == 0
    said = batch(prompts / name, "--out", tmp_path / "out", "--json", *wild)
    assert said.code == 0 and said.json["done"] == said.json["total"] >= 4


def test_without_out_the_same_command_goes_on_with_the_same_batch(batch: Callable[..., Output], tmp_path: Path) -> None:
    asked = written(tmp_path / "my cats.txt", "a cat", "a dog")
    first, again = batch(asked, "--json").json, batch(asked, "--json").json
    assert Path(first["out"]).parent == tmp_path / "home" / "batches" and first["out"] == again["out"]
    assert (first["done"], again["done"], again["found"]) == (2, 0, 2), "seeds left open are fixed once"
    assert batch(written(asked, "a cat"), "--json").json["out"] != first["out"]


def test_lines_that_say_the_same_share_a_picture_and_two_names_are_two_files(
    batch: Callable[..., Output], tmp_path: Path
) -> None:
    asked, out = written(tmp_path / "a.txt", *["a cat --d 1"] * 3), tmp_path / "out"
    told = batch(asked, "--out", out, "--json").json
    assert (told["total"], told["done"], told["found"]) == (3, 1, 2)
    assert len(pictures(out)) == len(rows(out / "images/metadata.jsonl")) == 1
    asked, out = written(tmp_path / "b.txt", *("a {} --d 1 --f {}".format(*n) for n in NAMED)), tmp_path / "two"
    assert batch(asked, "--out", out, "--json").json["done"] == 3
    made = pictures(out)
    assert len(made) == 3 and made["one.png"] == made["two.png"]
    assert {row["file_name"] for row in rows(out / "images/metadata.jsonl")} == set(made)
    assert batch(asked, "--out", out, "--json").json["found"] == 3


@pytest.mark.parametrize(
    ("lines", "says"),
    [(["a --bogus 1", "b --x 1"], "line 1: there is no setting 'bogus', and 1 more."), (["# no"], "nothing to do")],
)
def test_nothing_to_do_leaves_nothing(
    batch: Callable[..., Output], tmp_path: Path, lines: list[str], says: str
) -> None:
    said = batch(written(tmp_path / "a.txt", *lines), "--out", tmp_path / "out", "--json")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1) and says in said.err
    assert not (tmp_path / "out").exists()


# --- Whose folder it is -----------------------------------------------------------------------------------------------


def test_another_batch_of_the_folder_is_refused(batch: Callable[..., Output], tmp_path: Path) -> None:
    asked, out = written(tmp_path / "a.txt", "a cat --d 1"), tmp_path / "out"
    batch(asked, "--out", out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    said = batch(written(tmp_path / "b.txt", "a dog --d 1"), "--out", out)
    assert said.code == 2 and "holds a batch of other prompts; give another --out." in said.err
    with folders.opened(out, 1), pytest.raises(Refused, match="another batch is at work"), folders.opened(out, 1):
        pass
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["images/cat.png", "images/metadata.jsonl", "run.json", "errors.jsonl"])
def test_what_somebody_else_put_there_stays(batch: Callable[..., Output], tmp_path: Path, name: str) -> None:
    asked, out = written(tmp_path / "a.txt", "a cat --d 1 --f cat", "a dog --d 1"), tmp_path / "out"
    (out / "images").mkdir(parents=True)
    (out / name).write_text("{}")
    said = batch(asked, "--out", out)
    assert said.code == 2 and f"{out / name} is there already and is none of this batch; give another --out" in said.err
    assert (out / name).read_text() == "{}"
    assert {path.name for path in out.rglob("*") if path.is_file()} <= {".lock", Path(name).name}


def test_a_damaged_plan_is_refused(batch: Callable[..., Output], tmp_path: Path) -> None:
    asked, out = written(tmp_path / "a.txt", "a cat --d 1"), tmp_path / "out"
    batch(asked, "--out", out)
    whole = (out / "jobs.jsonl").read_text()
    for broken in (whole[:-30], whole + "x\n", whole.replace('"files"', '"fils"'), whole.replace("-0-1.png", "/../x")):
        (out / "jobs.jsonl").write_text(broken)
        said = batch(asked, "--out", out)
        assert said.code == 2 and "jobs.jsonl or errors.jsonl beside it is damaged;" in said.err, broken


def test_only_what_is_missing_or_changed_is_made(
    batch: Callable[..., Output], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, out = written(tmp_path / "a.txt", "a cat --d 1 --n_iter 4", "a dog --d 9", "a fox --d 10"), tmp_path / "out"
    batch(asked, "--out", out)
    before = pictures(out)
    names = {row["seed"]: row["file_name"] for row in rows(out / "images/metadata.jsonl")}
    (out / "images" / names[2]).unlink()
    data = (out / "images" / names[9]).read_bytes()
    (out / "images" / names[9]).write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])
    for parts in (out, out / "images"):
        (parts / ".part-1234").write_bytes(b"half")
    drawn = []
    real = fake._draw
    monkeypatch.setattr(fake, "_draw", lambda request, seed: drawn.append(seed) or real(request, seed))
    told = batch(asked, "--out", out, "--json").json
    assert (told["done"], told["found"]) == (2, 1) and sorted(drawn) == [2, 9]
    assert pictures(out) == before and left(out) == BOOKS
    assert len(rows(out / "images/metadata.jsonl")) == 6
    (out / "images" / names[3]).write_bytes((out / "images" / names[1]).read_bytes())
    assert batch(asked, "--out", out).code == 0 and pictures(out) == before, "a copy of another picture is none of it"
    assert len(rows(out / "images/metadata.jsonl")) == 6


def test_a_picture_that_is_removed_meanwhile_is_in_no_table(
    batch: Callable[..., Output], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, out, real = written(tmp_path / "a.txt", "a cat --d 1", "a dog --d 2"), tmp_path / "out", fake._draw

    def draw(request: Any, seed: int) -> Any:
        for path in out.glob("images/*.png"):
            path.unlink()
        return real(request, seed)

    monkeypatch.setattr(fake, "_draw", draw)
    monkeypatch.setattr(Fake, "group", 1)
    assert batch(asked, "--out", out).code == 0 and left(out) == BOOKS
    assert [row["file_name"] for row in rows(out / "images/metadata.jsonl")] == list(pictures(out))
    assert len(pictures(out)) == 1


# --- Faults on the way ------------------------------------------------------------------------------------------------


def test_a_job_that_fails_does_not_spoil_the_others(
    batch: Callable[..., Output], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, out = written(tmp_path / "a.txt", *(f"face {i} --d {i}" for i in range(6))), tmp_path / "out"
    real = fake._draw

    def draw(request: Any, seed: int) -> Image.Image:
        if request.prompt == "face 2":
            raise Refused("it can't be done.")
        if request.prompt == "face 4":
            raise MemoryError
        return real(request, seed)

    with monkeypatch.context() as broken:
        broken.setattr(fake, "_draw", draw)
        said = batch(asked, "--out", out, "--json")
    errors = {one["line"]: one["message"] for one in said.json["errors"]}
    assert said.code == 1 and set(errors) == {3, 5} and errors[3] == "it can't be done." and "memory" in errors[5]
    assert len(pictures(out)) == 4
    assert [row["status"] for row in rows(out / "jobs.jsonl")] == ["done", "done", "failed", "done", "failed", "done"]
    again = batch(asked, "--out", out, "--json")
    assert (again.code, again.json["done"], again.json["found"]) == (0, 2, 4), "what failed is tried anew"
    assert rows(out / "errors.jsonl") == []


def test_a_disk_that_fills_up_ends_it_with_whole_pictures(
    batch: Callable[..., Output], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, out = written(tmp_path / "a.txt", *(f"face {i} --d {i}" for i in range(6))), tmp_path / "out"
    write, count = running.write_whole, []

    def full(path: Path, data: bytes) -> None:
        count.append(path)
        if len(count) > 3:
            raise Refused("the disk is full.")
        write(path, data)

    with monkeypatch.context() as broken:
        broken.setattr(running, "write_whole", full)
        said = batch(asked, "--out", out, "--json")
    assert (said.code, said.json["done"], said.json["problem"]) == (1, 3, "the disk is full.")
    assert len(pictures(out)) == len(rows(out / "images/metadata.jsonl")) == 3
    assert batch(asked, "--out", out, "--json").json["found"] == 3


# --- Stopped ----------------------------------------------------------------------------------------------------------

START = "import sys; from studio import cli; cli.main()"
FIXED = ("prompt", "seed", "steps", "count", "shape")


def started(asked: Path, out: Path, model: str) -> subprocess.Popen:
    command = [sys.executable, "-c", START, "batch", str(asked), "--out", str(out), "--model", model, "--json"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_stopping_leaves_whole_pictures_and_true_books(tmp_path: Path) -> None:
    asked, out = written(tmp_path / "a.txt", *(f"face {i} --s 2" for i in range(60))), tmp_path / "out"
    process = started(asked, out, "fake:0.01")
    until(lambda: len(list(out.glob("images/*.png"))) > 1, 0.002)
    process.send_signal(signal.SIGTERM)
    told, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130 and "Traceback" not in err, err
    made = pictures(out)
    assert 0 < json.loads(told)["done"] <= len(made) < 60 and left(out) == BOOKS
    assert {row["file_name"] for row in rows(out / "images/metadata.jsonl")} <= set(made)


def test_stopped_before_it_begins_it_leaves_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "prompts.txt")
    process = started(tmp_path / "prompts.txt", tmp_path / "out", "fake")
    with (tmp_path / "prompts.txt").open("w"):  # opens once the command reads, which then waits for lines
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=TIMEOUT)[1]
    assert process.returncode == 130 and "Traceback" not in err, err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="there is no kill -9")
@pytest.mark.parametrize(("jobs", "kills"), [(30, 3), pytest.param(200, 100, marks=pytest.mark.slow)])
def test_killed_and_started_again_nothing_is_lost_and_nothing_twice(
    batch: Callable[..., Output], tmp_path: Path, jobs: int, kills: int
) -> None:
    """Killed at random moments, a batch leaves in the end what an uninterrupted run of its jobs leaves. One kill in
    four comes at any moment since the start, the others soon after a picture."""
    lines = (f"face {i} {{a|b|c}} --s 1 --n_iter {1 + i % 3}" for i in range(jobs))
    asked, out = written(tmp_path / "a.txt", *lines), tmp_path / "out"
    chance, alive = random.Random(0), 0
    for number in range(kills):
        before = len(list(out.glob("images/*.png")))
        process = started(asked, out, "fake:0.02")
        if number % 4 == 0:
            time.sleep(chance.random())
        else:
            until(lambda a=before, p=process: len(list(out.glob("images/*.png"))) > a or p.poll() is not None, 0.002)
            time.sleep(chance.random() * 0.03)
        alive += process.poll() is None
        process.kill()
        process.communicate()
        pictures(out)  # every one of them opens
    assert alive > 0.9 * kills, "most were at work when they were killed"
    plan = (out / "jobs.jsonl").read_text()
    said = batch(asked, "--out", out, "--json")
    assert said.code == 0 and said.json["failed"] == 0
    assert said.json["done"] + said.json["found"] == said.json["total"]
    seeds = [row["request"]["seed"] for row in map(json.loads, plan.splitlines())]
    assert [row["request"]["seed"] for row in rows(out / "jobs.jsonl")] == seeds, "fixed once"
    fixed = [{key: row["request"][key] for key in FIXED} for row in rows(out / "jobs.jsonl")]
    straight = written(tmp_path / "b.jsonl", *map(json.dumps, fixed))
    assert batch(straight, "--out", tmp_path / "straight").code == 0
    assert pictures(out) == pictures(tmp_path / "straight"), "the same names, the same pixels, none twice"
    assert left(out) == BOOKS
    books = rows(out / "images/metadata.jsonl")
    assert sorted(row["file_name"] for row in books) == sorted(pictures(out))
    assert len({row["file_name"] for row in books}) == len(books)


@pytest.mark.skipif(os.name == "nt", reason="there is no kill -9")
def test_captions_of_a_folder_are_killed_and_resumed_as_pictures_are(
    batch: Callable[..., Output], tmp_path: Path
) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for number in range(12):
        Image.new("RGB", (8, 8), (250, 10 * number, 0)).save(tmp_path / "in" / f"{number:02}.png")
    Image.new("RGB", (8, 8), "lime").save(tmp_path / "in" / "sub" / "x.png")
    (tmp_path / "in" / "bad.png").write_bytes(b"no picture")
    (tmp_path / "empty").mkdir()
    line = {"task": "caption", "image": "in", "tags": True}
    lines = [line, {**line, "image": "empty"}, {"task": "caption", "image": "in/00.png", "name": "one"}]
    asked, out = written(tmp_path / "a.jsonl", *map(json.dumps, lines)), tmp_path / "out"
    said = {}
    for least in (2, 5):
        process = started(asked, out, "fake:0.2")
        until(lambda n=least: len(list(out.glob("images/*.txt"))) >= n, 0.002)
        process.kill()
        process.communicate()
        said |= {path.name: path.read_bytes() for path in out.glob("images/*.txt")}
    told = batch(asked, "--out", out, "--json").json
    assert (told["done"] + told["found"], told["failed"], told["total"]) == (14, 2, 16) and told["found"] >= 5
    assert [(one["line"], one["message"].split(" ")[-1]) for one in told["errors"]][:1] == [(1, "MOV).")]
    assert "holds no pictures" in told["errors"][1]["message"] and told["errors"][1]["line"] == 2
    made = {path.name: path.read_bytes() for path in out.glob("images/*.txt")}
    assert said.items() <= made.items() and "one.txt" in made
    assert left(out) - {f"images/{name}" for name in made} == BOOKS - {"CREDITS.txt"}, "words are nobody's drawing"
    books = rows(out / "images/metadata.jsonl")
    names = {row["source"]: row["text"] for row in books}
    assert sorted(names) == [*(f"{number:02}.png" for number in range(12)), "x.png"]
    assert names["x.png"] == "a green face, happy" and sorted(row["file_name"] for row in books) == sorted(made)
