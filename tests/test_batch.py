"""Prompt files of every kind and `studio batch`: parsing, faults by line, output files, resume."""

import dataclasses
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, Output
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from PIL import Image
from waiting import TIMEOUT, until

from models.assets import assets
from models.messages import Refused
from studio import run as running
from studio.backends import fake
from studio.backends.fake import Fake
from studio.batch import plan as planning
from studio.batch import readers
from studio.batch import run as folders
from studio.batch.plan import Context, Plan, plan, safe_name
from studio.batch.readers import READERS, Problem, Source, digest
from studio.metadata.files import read
from studio.planner import job_id, resolve
from studio.requests import make_request
from studio.syntax import Wildcards

FAKE = Fake()
DESK = Context("fake", FAKE.capabilities(), FAKE.digest(), Wildcards(assets() / "prompts" / "wildcards"))


def planned(path: Path, data: str | bytes) -> Plan:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return plan([replace(Source.open(str(path)), name=path.name)], DESK)


def faults(path: Path, data: str | bytes) -> list[tuple[int, str]]:
    matches = planned(path, data).problems
    assert all("\n" not in str(problem.placed) and problem.reason.text().endswith((".", ")")) for problem in matches)
    return [(problem.line, problem.reason.text()) for problem in matches]


def field_values(path: Path, data: str | bytes, *names: str) -> list[tuple]:
    results = planned(path, data)
    assert not results.problems, results.problems
    return [tuple(getattr(job.request, name) for name in names) for job in results.jobs]


# --- The same jobs in every dialect -----------------------------------------------------------------------------------

DIALECTS = {
    "a.txt": "# two\n\na cat --n dog --s 5 --l 4.5 --d 1 --ss HEUN\n"
    '--prompt "a fox" --negative_prompt dog --steps 5 --cfg_scale 4.5 --seed 2 --sampler_name heun\n',
    "a.jsonl": '{"prompt": "a cat", "negative": "dog", "steps": 5, "guidance": 4.5, "seed": 1, "scheduler": "heun"}\n\n'
    '{"text": "a fox", "n": "dog", "num_inference_steps": 5, "guidance_scale": 4.5, "d": 2, "ss": "heun"}',
    "a.json": '[{"prompt": "a cat", "n": "dog", "s": 5, "l": 4.5, "seed": 1, "sampler": "heun"},\n'
    '{"prompt": "a fox", "n": "dog", "s": 5, "l": 4.5, "seed": 2, "sampler": "heun"}]',
    "a.csv": "prompt,negative,s,l,seed,sampler\r\na cat,dog,5,4.5,1,heun\r\n\r\na fox,dog,5,4.5,2,heun\r\n",
    "b.csv": "\ufeffprompt;negative;s;l;seed;sampler\na cat;dog;5;4.5;1;heun\na fox;dog;5;4.5;2;heun\n",
    "a.tsv": "prompt\tnegative\ts\tl\tseed\tsampler\na cat\tdog\t5\t4.5\t1\theun\na fox\tdog\t5\t4.5\t2\theun",
    "a.yaml": "defaults: {negative: dog, steps: 5, guidance: 4.5, scheduler: heun}\n"
    "jobs:\n  - {prompt: a cat, seed: 1}\n  - {prompt: a fox, seed: 2}\n",
}


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("named", [True, False])
def test_every_dialect_asks_for_the_same(tmp_path: Path, name: str, named: bool) -> None:
    path = tmp_path / (name if named else "stream")
    names = ("prompt", "negative", "steps", "guidance", "seed", "scheduler", "shape")
    assert field_values(path, DIALECTS[name], *names) == [
        ("a cat", "dog", 5, 4.5, 1, "heun", 8),
        ("a fox", "dog", 5, 4.5, 2, "heun", 8),
    ]


def test_seeds_counts_and_names(tmp_path: Path) -> None:
    created = planned(tmp_path / "a.txt", "a cat --d 1,2 --n_iter 2 --batch_size 3 --f pics/cat.png\na dog --d -1\n")
    assert [(job.request.seed, job.request.count) for job in created.jobs[:2]] == [(1, 6), (2, 6)]
    assert created.jobs[0].files[0] == "cat-0.png" and created.jobs[1].files[-1] == "cat-11.png"
    assert created.jobs[2].files == (f"{created.jobs[2].id[:16]}-0-{created.jobs[2].request.seed}.png",)


def test_dynamic_prompts_draw_a_prompt_per_picture(tmp_path: Path) -> None:
    text = "a {red|blue} cat --d 1 --n_iter 8"
    prompts = {prompt for (prompt,) in field_values(tmp_path / "a.txt", text, "prompt")}
    assert prompts == {"a red cat", "a blue cat"} and len(planned(tmp_path / "a.txt", text).jobs) == 8
    line = {"prompt": "a {red|blue} cat, __animals__", "seed": 1}
    assert field_values(tmp_path / "a.jsonl", json.dumps(line), "prompt") == [(r"a \{red|blue\} cat, \__animals__",)]
    ((result,),) = field_values(tmp_path / "a.jsonl", json.dumps({**line, "expand": True}), "prompt")
    assert "{" not in result and "__" not in result
    assert field_values(tmp_path / "a.yaml", "jobs: [{prompt: 'a {b|c}', expand: false}]", "prompt") == [
        (r"a \{b|c\}",)
    ]


def test_a_matrix_is_every_combination(tmp_path: Path) -> None:
    text = "matrix: {style: [noto, outline], seed: [1, 2]}\njobs: [a cat, {prompt: a dog, seed: 9}]"
    rows = field_values(tmp_path / "a.yaml", text, "prompt", "style", "seed")
    assert len(rows) == 8 and rows[:2] == [("a cat", "noto", 1), ("a cat", "noto", 2)] and rows[4][2] == 9
    assert field_values(tmp_path / "a.yaml", "matrix: {prompt: [a, b], seed: [1]}", "prompt") == [("a",), ("b",)]
    assert field_values(tmp_path / "a.yaml", "- a cat\n- a dog", "prompt") == [("a cat",), ("a dog",)]


def test_pictures_lie_beside_the_file(tmp_path: Path) -> None:
    Image.new("RGBA", (9, 9), "red").save(tmp_path / "red.png")
    mix = [{"picture": "red.png", "weight": 0.5}, "2:panda"]
    line = json.dumps({"like": "red.png", "mix": mix, "seed": 1})
    (job,) = planned(tmp_path / "a.jsonl", line).jobs
    assert job.request.like and Path(job.request.like.path) == tmp_path / "red.png"
    assert [(part.weight, bool(part.picture)) for part in job.request.mix] == [(0.5, True), (2.0, False)]
    (job,) = planned(tmp_path / "a.txt", "--like red.png --mix 0.5:panda").jobs
    assert job.request.like and job.request.mix[0].weight == 0.5


def test_csv_cells_are_text_and_ignored_columns_are_counted(tmp_path: Path) -> None:
    text = "prompt,width,notes\n"
    assert "no setting 'notes'" in faults(tmp_path / "a.csv", text + "a,1,2\n")[0][1]
    results = planned(tmp_path / "a.csv", 'prompt,width\n"=cmd|\' /C calc\'!A0",640\n"a, ""b""\nc",\n')
    assert [job.request.prompt for job in results.jobs] == ["=cmd|' /C calc'!A0", 'a, "b" c'] and results.ignored[
        "width"
    ] == 1
    assert [job.line for job in results.jobs] == [2, 3]


# --- What is wrong is one line's --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "line", "says"),
    [
        ("a.txt", "a cat --stpes 5", "there is no setting 'stpes' (did you mean 'steps'?)"),
        ("a.txt", "a cat --s many", "steps must be a whole number, not 'many'"),
        ("a.txt", "a cat --s", "--s has no value"),
        ("a.txt", "a cat --s 5 --steps 6", "steps is given twice, the second time as steps"),
        ("a.txt", "--prompt a cat", "cat is no flag"),
        ("a.txt", '--prompt "a cat', "a quotation mark is open"),
        ("a.txt", "--prompt", "--prompt has no value"),
        ("a.txt", "a cat --d 1,x", "seed must be a whole number, not 'x'"),
        ("a.txt", "a cat --s 1000000", "steps must be between 1 and 100"),
        ("a.txt", "a {cat", "the brace at column 3 is never closed"),
        ("a.txt", "a __cta__", "there is no wildcard __cta__"),
        ("a.txt", "a (cat:99)", "the weight of 'cat' is 99"),
        ("a.txt", "a cat --model embedded", "asks for the model 'embedded'"),
        ("a.txt", "x" * 70_000, "longer than 64 KB"),
        ("a.txt", "a\x1b[31mcat", "control character"),
        ("a.jsonl", "{", "this is no JSON"),
        ("a.jsonl", "[1]", "a job is an object"),
        ("a.jsonl", '{"prompt": 5}', "prompt must be text"),
        ("a.jsonl", '{"prompt": "a", "steps": "5"}', "steps must be a whole number"),
        ("a.jsonl", '{"prompt": "a", "seed": 1e999}', "seed must be a whole number"),
        ("a.jsonl", '{"prompt": "a", "guidance": NaN}', "guidance must be a number"),
        ("a.jsonl", '{"prompt": "a", "seed": ' + "9" * 5000 + "}", "no JSON"),
        ("a.jsonl", "[" * 30_000, "this is no JSON (maximum recursion depth"),
        ("a.jsonl", '{"prompt": "a", "name": 1}', "name must be text"),
        ("a.jsonl", '{"prompt": "a", "like": "a\\u0000.png"}', "does not exist"),
        ("a.jsonl", '{"prompt": "a", "\\ud800": 1}', "there is no setting"),
        ("a.jsonl", '{"prompt": "a", "task": "embed"}', "there is no task 'embed'; there are image, clip, caption"),
    ],
)
def test_a_bad_line_does_not_affect_others(tmp_path: Path, name: str, line: str, says: str) -> None:
    good = "a cat --d 1" if name == "a.txt" else '{"prompt": "a cat", "seed": 1}'
    results = planned(tmp_path / name, f"{good}\n{line}\n{good}\n")
    assert [job.line for job in results.jobs] == [1, 3]
    (problem,) = results.problems
    assert problem.line == 2 and says in problem.reason.text() and len(problem.reason.text()) < 250, problem


@pytest.mark.parametrize(
    ("name", "data", "line", "says"),
    [
        ("a.txt", b"a cat\n\xff\xfe cat\n", 2, "byte 1 is not UTF-8"),
        ("a.json", '[{"prompt": "a"}\n,\n{"prompt": }]', 3, "no JSON"),
        ("a.json", '[{"prompt": "a"}]\nx', 2, "no JSON"),
        ("a.json", "[" * 100_000, 1, "no JSON"),
        ("a.csv", "prompt,promt\na,b\n", 1, "no setting 'promt' (did you mean 'prompt'?)"),
        ("a.csv", "prompt,seed\na,1,2\n", 2, "cell 3 ('2') is under no name"),
        ("a.csv", 'prompt\n"a\nb\n', 2, "the table is broken here"),
        ("a.csv", ",,\n", 1, "the header is empty"),
        ("a.yaml", "jobs: [a\n", 2, "expected"),
        ("a.yaml", "jbos: [a]", 1, "'jbos' means nothing there (did you mean 'jobs'?)"),
        ("a.yaml", "jobs: a cat", 1, "jobs is a list"),
        ("a.yaml", "jobs:\n- !!python/object/apply:os.system [ls]", 2, "could not determine a constructor"),
        ("a.yaml", "jobs:\n- {prompt: !!bool x}", 1, "x"),
        ("a.yaml", "jobs: [a]\nmatrix: {seed: 1}", 1, "matrix: seed is a list of values"),
        ("a.yaml", "jobs: &a [*a]", 1, "aliases (*name) are not read"),
        ("a.yaml", "[" * 3000, 1, "nested too deep"),
        ("a.yaml", "jobs: [7]", 1, "a job is a prompt, or settings"),
        ("a.yaml", "jobs: [{prompt: yes}]", 1, "prompt must be text"),
        ("a.yaml", "x: " + "y" * 2**20, 1, "more than 1,048,576 characters"),
    ],
)  # fmt: skip
def test_a_bad_file_says_where(tmp_path: Path, name: str, data: str | bytes, line: int, says: str) -> None:
    matches = faults(tmp_path / name, data)
    assert [one for one, _ in matches][-1] == line and says in matches[-1][1], matches


def test_the_rest_of_a_broken_table_is_read(tmp_path: Path) -> None:
    results = planned(tmp_path / "a.csv", b'prompt,seed\n"a"b,1\na dog,2\na bat,3,4\na fox,4\n')
    assert [(job.line, job.request.prompt) for job in results.jobs] == [(3, "a dog"), (5, "a fox")]
    assert [problem.line for problem in results.problems] == [2, 4]


def test_a_file_name_belongs_to_a_single_job(tmp_path: Path) -> None:
    results = planned(tmp_path / "a.txt", "a --d 1 --f x\nb --d 1 --f X\na --d 1 --f x\na --d 1\na --d 1\n")
    assert [problem.line for problem in results.problems] == [2] and "makes a file x.png already" in results.problems[
        0
    ].reason.text()
    assert len(results.jobs) == 4 and results.jobs[0].files == results.jobs[1].files


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("cat", "cat"),
        ("../../etc/passwd", "passwd"),
        ("C:\\x\\y.PNG", "y"),
        ("/abs/cat.png", "cat"),
        ("CON", "_CON"),
        ("nul.txt", "_nul"),
        ("nul.tar", "_nul.tar"),
        ("..", ""),
        (".hidden", "hidden"),
        ("a:b|c?", "a_b_c_"),
        ("猫" * 99, "猫" * 33),
        ("  . ", ""),
        ("-", ""),
        ("\u202egnp", "_gnp"),
    ],
)
def test_safe_names(given: str, stored: str) -> None:
    assert safe_name(given) == stored


@given(st.text(max_size=40))
def test_any_name_becomes_a_safe_file_name(name: str) -> None:
    items = safe_name(name)
    assert not set('/\\\0:*?"<>|\n') & set(items) and len(items.encode()) <= 101 and items not in (".", "..")
    assert items == items.strip() and not items.startswith(".")


# --- Any bytes, any size ----------------------------------------------------------------------------------------------

PIECES = ["a cat", "--n ", "--d 1", "prompt", "jobs", "seed", "1", "-1", "- ", "&a ", "*a", "!!int ", "$$", "::", "__"]
PIECES += [*"\"{}|,;\t\n[]:\0\ufeff'\\", '{"prompt": "a"}']


@pytest.mark.parametrize("kind", ["", *READERS])
@given(data=st.binary(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=30).map(lambda p: "".join(p).encode()))
@limits(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_jobs_or_faults(tmp_path: Path, kind: str, data: bytes) -> None:
    results = planned(tmp_path / f"any{kind}", data)
    for problem in results.problems:
        assert problem.line >= 1 and problem.reason.text().strip() and problem.reason.text().isprintable(), problem
    assert json.dumps([job.as_dict() for job in results.jobs])


def test_a_problem_has_a_language(tmp_path: Path) -> None:
    results = planned(tmp_path / "a.txt", "a --sede 1\na --d x\na {b")
    assert [problem.placed.text("zh").removeprefix("a.txt ") for problem in results.problems] == [
        "第 1 行：没有名为“sede”的设置（是否想写“seed”？）。",
        "第 2 行：seed 必须是整数，而不是 'x'。",
        "第 3 行：the prompt：第 3 列的花括号没有闭合；要写花括号本身，请用 \\{ 或 \\}。",
    ]
    for problem in results.problems:
        assert problem.as_dict()["message"] == problem.reason.text() and problem.reason.text().isascii()
        assert Problem.of(problem.as_dict()).as_dict() == problem.as_dict()


def test_problems_are_printable_and_short(tmp_path: Path) -> None:
    (problem,) = planned(tmp_path / "a.jsonl", '{"prompt": "a", "s\\u001b[31m": 1}\n').problems
    assert problem.reason.text().isprintable() and problem.placed.text("zh").isprintable()
    (problem,) = planned(
        tmp_path / "a.yaml", f"jobs: [{{prompt: a, name: {'x' * 300}}}, {{prompt: b, seed: {'y' * 300}}}]"
    ).problems
    assert len(problem.reason.text()) < 300


def test_jobs_and_problems_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "PROBLEMS", 3)
    with pytest.raises(Refused, match="more than 3 lines can't be done; the first: a"):
        planned(tmp_path / "a.txt", "a --x 1\n" * 10)
    with pytest.raises(Refused, match="asks for more than 3 jobs"):
        plan([Source("b.txt", b"a\n" * 10, tmp_path)], dataclasses.replace(DESK, most=3))


# --- Where files come from --------------------------------------------------------------------------------------------


def named(*names: str) -> list[str]:
    return [source.name for source in map(Source.open, names)]


def test_unreadable_sources_are_refused(tmp_path: Path) -> None:
    for bad in (f"{tmp_path}/*.yaml", f"{tmp_path}/missing.txt", str(tmp_path), "/dev/zero", "a\0b"):
        with pytest.raises(Refused):
            Source.open(bad)


def test_streams_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"prompt": "a cat", "seed": 1}\n')))
    os.mkfifo(tmp_path / "pipe.txt")
    writer = threading.Thread(target=(tmp_path / "pipe.txt").write_text, args=("a dog --d 1\n",), daemon=True)
    writer.start()
    sources = list(map(Source.open, ["-", str(tmp_path / "pipe.txt")]))
    assert len(digest(sources)) == 64
    assert {source.folder for source in sources} == {Path()}, "relative pictures begin in the current folder"
    assert [(job.file, job.request.prompt) for job in plan(sources, DESK).jobs] == [
        ("standard input", "a cat"),
        (str(tmp_path / "pipe.txt"), "a dog"),
    ]


def test_an_item_of_a_list_that_is_wrong_does_not_spoil_the_others(tmp_path: Path) -> None:
    results = planned(tmp_path / "a.json", '[{"promt": "a"}, {"prompt": "c", "seed": 1}]')
    assert [job.request.prompt for job in results.jobs] == ["c"]
    assert [(problem.line, problem.reason.text()) for problem in results.problems] == [
        (1, "there is no setting 'promt' (did you mean 'prompt'?).")
    ]


def test_impossible_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="too long"):
        Source.open("a" * 300)
    (tmp_path / "a.jsonl").write_text('{"prompt": "a cat", "image": "x\\u0000y"}')
    inside = replace(DESK, within=tmp_path)
    assert len(plan([Source.open(str(tmp_path / "a.jsonl"))], inside).problems) == 1


def test_a_file_is_limited_and_may_be_utf16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert field_values(tmp_path / "a.txt", "一只猫\na cat".encode("utf-16"), "prompt") == [("一只猫",), ("a cat",)]
    assert field_values(tmp_path / "list", '[{"prompt": "一只猫"}]'.encode("utf-16"), "prompt") == [("一只猫",)]
    monkeypatch.setattr(readers, "FILE_BYTES", 5)
    with pytest.raises(Refused, match="is larger than"):
        named(str(tmp_path / "a.txt"))


# --- The command ------------------------------------------------------------------------------------------------------


ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def batch(studio: Command) -> Command:
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
    hits = {}
    for path in sorted((out / "images").glob("*.png")):
        with Image.open(path) as picture:
            hits[path.name] = hashlib.sha256(picture.tobytes()).hexdigest()
    return hits


def left(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file() and path.suffix != ".png"}


NAMED = (("cat", "one"), ("dog", "three"), ("cat", "two"))
BOOKS = {".lock", "CREDITS.txt", "errors.jsonl", "jobs.jsonl", "run.json", "images/metadata.jsonl"}


# --- What it says and leaves ------------------------------------------------------------------------------------------


def test_every_line_is_a_picture_or_a_sentence(batch: Command, tmp_path: Path) -> None:
    prompt_file = written(
        tmp_path / "a.txt", "a (red:1.3) cat --d 1 --s 2", "a dog --bogus 1", "a fox --d 2 --f ../fox --s 2"
    )
    output = batch(prompt_file, "--out", tmp_path / "out", "--json")
    answer = output.json
    assert (output.code, answer["total"], answer["done"], answer["found"], answer["failed"]) == (1, 3, 2, 0, 1)
    assert [(one["line"], one["message"]) for one in answer["errors"]] == [(2, "there is no setting 'bogus'.")]
    assert f"studio: {prompt_file}, line 2: there is no setting 'bogus'." in output.err
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
    assert run["files"] == [str(prompt_file)] and run["begun"] <= run["ended"] and run["result"]["done"] == 2


def test_batch_job_ids_equal_planner_ids(batch: Command, tmp_path: Path) -> None:
    batch(written(tmp_path / "a.jsonl", '{"prompt": "a cat", "seed": 5}'), "--out", tmp_path / "out")
    backend = Fake()
    prompt_file = resolve(make_request(prompt="a cat", seed=5, shape=8, model="fake"), backend.capabilities())
    (row,) = rows(tmp_path / "out/jobs.jsonl")
    assert row["id"] == job_id(prompt_file, backend.digest()) and row["files"] == [f"{row['id'][:16]}-0-5.png"]


def test_a_dry_run_shows_the_jobs_and_writes_nothing(batch: Command, tmp_path: Path) -> None:
    prompt_file = written(tmp_path / "a.txt", "a {red|blue} cat --d 1,2", "a dog --s x")
    before = sorted(tmp_path.rglob("*"))
    output = batch(prompt_file, "--dry-run", "--json", "--out", tmp_path / "out")
    assert output.code == 1 and [job["request"]["seed"] for job in output.json["jobs"]] == [1, 2]
    assert output.json["total"] == 3 and [one["line"] for one in output.json["errors"]] == [2]
    table = batch(prompt_file, "--dry-run").out.splitlines()
    assert [line.split("\t")[:2] for line in table] == [["1", "1"], ["1", "2"]] and "{" not in table[0]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["batch.txt", "batch.jsonl", "batch.csv", "batch.yaml"])
def test_the_examples_that_ship_run(batch: Command, tmp_path: Path, name: str) -> None:
    prompts = assets() / "prompts"
    wild = ("--wildcards", prompts / "wildcards")
    assert batch(prompts / name, "--dry-run", *wild, model="embedded").code in (0, 2), "2 where no weights are there"
    assert batch(prompts / name, "--dry-run", *wild).code == 0
    output = batch(prompts / name, "--out", tmp_path / "out", "--json", *wild)
    assert output.code == 0 and output.json["done"] == output.json["total"] >= 4


def test_without_out_a_repeated_batch_resumes(batch: Command, tmp_path: Path) -> None:
    prompt_file = written(tmp_path / "my cats.txt", "a cat", "a dog")
    first, again = batch(prompt_file, "--json").json, batch(prompt_file, "--json").json
    assert Path(first["out"]).parent == tmp_path / "home" / "batches" and first["out"] == again["out"]
    assert (first["done"], again["done"], again["found"]) == (2, 0, 2), "seeds left open are fixed once"
    assert batch(written(prompt_file, "a cat"), "--json").json["out"] != first["out"]


def test_equal_lines_share_a_picture_and_names_make_files(batch: Command, tmp_path: Path) -> None:
    prompt_file, out = written(tmp_path / "a.txt", *["a cat --d 1"] * 3), tmp_path / "out"
    answer = batch(prompt_file, "--out", out, "--json").json
    assert (answer["total"], answer["done"], answer["found"]) == (3, 1, 2)
    assert len(pictures(out)) == len(rows(out / "images/metadata.jsonl")) == 1
    prompt_file, out = written(tmp_path / "b.txt", *("a {} --d 1 --f {}".format(*n) for n in NAMED)), tmp_path / "two"
    assert batch(prompt_file, "--out", out, "--json").json["done"] == 3
    created = pictures(out)
    assert len(created) == 3 and created["one.png"] == created["two.png"]
    assert {row["file_name"] for row in rows(out / "images/metadata.jsonl")} == set(created)
    assert batch(prompt_file, "--out", out, "--json").json["found"] == 3


@pytest.mark.parametrize(
    ("lines", "says"),
    [(["a --bogus 1", "b --x 1"], "line 1: there is no setting 'bogus', and 1 more."), (["# no"], "nothing to do")],
)
def test_an_empty_batch_writes_nothing(batch: Command, tmp_path: Path, lines: list[str], says: str) -> None:
    output = batch(written(tmp_path / "a.txt", *lines), "--out", tmp_path / "out", "--json")
    assert (output.code, output.out, output.err.count("\n")) == (2, "", 1) and says in output.err
    assert not (tmp_path / "out").exists()


# --- Whose folder it is -----------------------------------------------------------------------------------------------


def test_another_batch_of_the_folder_is_refused(batch: Command, tmp_path: Path) -> None:
    prompt_file, out = written(tmp_path / "a.txt", "a cat --d 1"), tmp_path / "out"
    batch(prompt_file, "--out", out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    output = batch(written(tmp_path / "b.txt", "a dog --d 1"), "--out", out)
    assert output.code == 2 and "holds a batch of other prompts; give another --out." in output.err
    with folders.opened(out, 1), pytest.raises(Refused, match="another batch is at work"), folders.opened(out, 1):
        pass
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["images/cat.png", "images/metadata.jsonl", "run.json", "errors.jsonl"])
def test_foreign_files_are_not_overwritten(batch: Command, tmp_path: Path, name: str) -> None:
    prompt_file, out = written(tmp_path / "a.txt", "a cat --d 1 --f cat", "a dog --d 1"), tmp_path / "out"
    (out / "images").mkdir(parents=True)
    (out / name).write_text("{}")
    output = batch(prompt_file, "--out", out)
    assert (
        output.code == 2
        and f"{out / name} is there already and is none of this batch; give another --out" in output.err
    )
    assert (out / name).read_text() == "{}"
    assert {path.name for path in out.rglob("*") if path.is_file()} <= {".lock", Path(name).name}


def test_a_damaged_plan_is_refused(batch: Command, tmp_path: Path) -> None:
    prompt_file, out = written(tmp_path / "a.txt", "a cat --d 1"), tmp_path / "out"
    batch(prompt_file, "--out", out)
    whole = (out / "jobs.jsonl").read_text()
    for broken in (whole[:-30], whole + "x\n", whole.replace('"files"', '"fils"'), whole.replace("-0-1.png", "/../x")):
        (out / "jobs.jsonl").write_text(broken)
        output = batch(prompt_file, "--out", out)
        assert output.code == 2 and "jobs.jsonl or errors.jsonl beside it is damaged;" in output.err, broken


def test_resume_regenerates_only_missing_or_changed_files(
    batch: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt_file, out = (
        written(tmp_path / "a.txt", "a cat --d 1 --n_iter 4", "a dog --d 9", "a fox --d 10"),
        tmp_path / "out",
    )
    batch(prompt_file, "--out", out)
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
    answer = batch(prompt_file, "--out", out, "--json").json
    assert (answer["done"], answer["found"]) == (2, 1) and sorted(drawn) == [2, 9]
    assert pictures(out) == before and left(out) == BOOKS
    assert len(rows(out / "images/metadata.jsonl")) == 6
    (out / "images" / names[3]).write_bytes((out / "images" / names[1]).read_bytes())
    assert batch(prompt_file, "--out", out).code == 0 and pictures(out) == before, (
        "a copy of another picture is none of it"
    )
    assert len(rows(out / "images/metadata.jsonl")) == 6


def test_a_picture_that_is_removed_meanwhile_is_in_no_table(
    batch: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt_file, out, real = written(tmp_path / "a.txt", "a cat --d 1", "a dog --d 2"), tmp_path / "out", fake._draw

    def draw(request: Any, seed: int) -> Any:
        for path in out.glob("images/*.png"):
            path.unlink()
        return real(request, seed)

    monkeypatch.setattr(fake, "_draw", draw)
    monkeypatch.setattr(Fake, "group", 1)
    assert batch(prompt_file, "--out", out).code == 0 and left(out) == BOOKS
    assert [row["file_name"] for row in rows(out / "images/metadata.jsonl")] == list(pictures(out))
    assert len(pictures(out)) == 1


# --- Faults on the way ------------------------------------------------------------------------------------------------


def test_a_job_that_fails_does_not_spoil_the_others(
    batch: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt_file, out = written(tmp_path / "a.txt", *(f"face {i} --d {i}" for i in range(6))), tmp_path / "out"
    real = fake._draw

    def draw(request: Any, seed: int) -> Image.Image:
        if request.prompt == "face 2":
            raise Refused("it can't be done.")
        if request.prompt == "face 4":
            raise MemoryError
        return real(request, seed)

    with monkeypatch.context() as broken:
        broken.setattr(fake, "_draw", draw)
        output = batch(prompt_file, "--out", out, "--json")
    errors = {one["line"]: one["message"] for one in output.json["errors"]}
    assert output.code == 1 and set(errors) == {3, 5} and errors[3] == "it can't be done." and "memory" in errors[5]
    assert len(pictures(out)) == 4
    assert [row["status"] for row in rows(out / "jobs.jsonl")] == ["done", "done", "failed", "done", "failed", "done"]
    again = batch(prompt_file, "--out", out, "--json")
    assert (again.code, again.json["done"], again.json["found"]) == (0, 2, 4), "what failed is tried anew"
    assert rows(out / "errors.jsonl") == []


def test_a_disk_that_fills_up_ends_it_with_whole_pictures(
    batch: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt_file, out = written(tmp_path / "a.txt", *(f"face {i} --d {i}" for i in range(6))), tmp_path / "out"
    write, count = running.write_whole, []

    def full(path: Path, data: bytes) -> None:
        count.append(path)
        if len(count) > 3:
            raise Refused("the disk is full.")
        write(path, data)

    with monkeypatch.context() as broken:
        broken.setattr(running, "write_whole", full)
        output = batch(prompt_file, "--out", out, "--json")
    assert (output.code, output.json["done"], output.json["problem"]) == (1, 3, "the disk is full.")
    assert len(pictures(out)) == len(rows(out / "images/metadata.jsonl")) == 3
    assert batch(prompt_file, "--out", out, "--json").json["found"] == 3


# --- Stopped ----------------------------------------------------------------------------------------------------------

START = "import sys; from studio import cli; cli.main()"
FIXED = ("prompt", "seed", "steps", "count", "shape")


def started(prompt_file: Path, out: Path, model: str) -> subprocess.Popen:
    command = [sys.executable, "-c", START, "batch", str(prompt_file), "--out", str(out), "--model", model, "--json"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_stopping_leaves_whole_pictures_and_true_books(tmp_path: Path) -> None:
    prompt_file, out = written(tmp_path / "a.txt", *(f"face {i} --s 2" for i in range(60))), tmp_path / "out"
    process = started(prompt_file, out, "fake:0.01")
    until(lambda: len(list(out.glob("images/*.png"))) > 1, 0.002)
    process.send_signal(signal.SIGTERM)
    answer, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130 and "Traceback" not in err, err
    created = pictures(out)
    assert 0 < json.loads(answer)["done"] <= len(created) < 60 and left(out) == BOOKS
    assert {row["file_name"] for row in rows(out / "images/metadata.jsonl")} <= set(created)


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
def test_killed_and_resumed_equals_straight(batch: Command, tmp_path: Path, jobs: int, kills: int) -> None:
    """A fourth of the kills comes at any moment since the start, the others soon after a picture."""
    lines = (f"face {i} {{a|b|c}} --s 1 --n_iter {1 + i % 3}" for i in range(jobs))
    prompt_file, out = written(tmp_path / "a.txt", *lines), tmp_path / "out"
    chance, alive = random.Random(0), 0
    for number in range(kills):
        before = len(list(out.glob("images/*.png")))
        process = started(prompt_file, out, "fake:0.02")
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
    output = batch(prompt_file, "--out", out, "--json")
    assert output.code == 0 and output.json["failed"] == 0
    assert output.json["done"] + output.json["found"] == output.json["total"]
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
def test_captions_of_a_folder_are_resumed_after_kills(batch: Command, tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for number in range(12):
        Image.new("RGB", (8, 8), (250, 10 * number, 0)).save(tmp_path / "in" / f"{number:02}.png")
    Image.new("RGB", (8, 8), "lime").save(tmp_path / "in" / "sub" / "x.png")
    (tmp_path / "in" / "bad.png").write_bytes(b"no picture")
    (tmp_path / "empty").mkdir()
    line = {"task": "caption", "image": "in", "tags": True}
    lines = [line, {**line, "image": "empty"}, {"task": "caption", "image": "in/00.png", "name": "one"}]
    prompt_file, out = written(tmp_path / "a.jsonl", *map(json.dumps, lines)), tmp_path / "out"
    output = {}
    for least in (2, 5):
        process = started(prompt_file, out, "fake:0.2")
        until(lambda n=least: len(list(out.glob("images/*.txt"))) >= n, 0.002)
        process.kill()
        process.communicate()
        output |= {path.name: path.read_bytes() for path in out.glob("images/*.txt")}
    answer = batch(prompt_file, "--out", out, "--json").json
    assert (answer["done"] + answer["found"], answer["failed"], answer["total"]) == (14, 2, 16) and answer["found"] >= 5
    assert [(one["line"], one["message"].split(" ")[-1]) for one in answer["errors"]][:1] == [(1, "MOV).")]
    assert "holds no pictures" in answer["errors"][1]["message"] and answer["errors"][1]["line"] == 2
    created = {path.name: path.read_bytes() for path in out.glob("images/*.txt")}
    assert output.items() <= created.items() and "one.txt" in created
    assert left(out) - {f"images/{name}" for name in created} == BOOKS - {"CREDITS.txt"}, "words are nobody's drawing"
    books = rows(out / "images/metadata.jsonl")
    names = {row["source"]: row["text"] for row in books}
    assert sorted(names) == [*(f"{number:02}.png" for number in range(12)), "x.png"]
    assert names["x.png"] == "a green face, happy" and sorted(row["file_name"] for row in books) == sorted(created)
