"""Batches on Ray: results equal those of a single machine, also after failures."""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Command
from PIL import Image
from waiting import TIMEOUT, until

ROOT = Path(__file__).resolve().parent.parent
SOON = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 3}
Lost = type("Lost", (Exception,), {})


class Actor:
    """In this process. An actor of machine a fails from the third answer on, and any actor on `deadly` arguments."""

    answers, deadly = 0, "nothing"

    def __init__(self, node: str, held: Any) -> None:
        self.node, self.held = node, held

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=lambda *arguments: partial(self.do, name, *arguments))

    def do(self, name: str, *arguments: Any) -> Any:
        Actor.answers += self.node == "a" and name == "answer"
        if (self.node == "a" and Actor.answers > 2) or Actor.deadly in repr(arguments):
            raise Lost
        return getattr(self.held, name)(*arguments)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stub of Ray with two machines."""
    monkeypatch.setattr(Actor, "answers", 0)
    ray = SimpleNamespace(
        exceptions=SimpleNamespace(RayTaskError=KeyboardInterrupt, RayError=Lost),
        nodes=lambda: [
            {"NodeID": node, "Alive": node == "b" or Actor.answers < 3, "Resources": {"CPU": 2.0}} for node in "ab"
        ],
        remote=lambda cls: SimpleNamespace(
            options=lambda scheduling_strategy, **how: SimpleNamespace(remote=lambda: Actor(scheduling_strategy, cls()))
        ),
        wait=lambda refs, timeout: (refs[:1], refs[1:]),
        get=lambda ref: ref(),
        **dict.fromkeys(("init", "shutdown", "kill"), lambda *output, **how: None),
    )
    on_node = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node, soft: node)
    modules = {"ray": ray, "ray._private.worker": SimpleNamespace(), "ray.util.scheduling_strategies": on_node}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)


def batch_file(folder: Path) -> Path:
    """Pictures, one twice, clips, captions of given pictures, one that is refused, and a bad line."""
    (folder / "in").mkdir()
    for number in range(3):
        Image.new("RGB", (8, 8), (250, 60 * number, 0)).save(folder / "in" / f"{number}.png")
    lines: list[dict[str, Any]] = [
        *({"prompt": f"face {i}", "seed": i, "steps": 1 + i % 2, "count": 1 + i % 3} for i in range(24)),
        {"prompt": "face 0", "seed": 0, "steps": 1, "name": "again"},
        *({"task": "clip", "prompt": f"axolotl {i}", "frames": 2, "seed": i} for i in range(3)),
        *({"task": "caption", "image": "in"}, {"prompt": "xyzzy", "seed": 1, "count": 2}, {"prompt": "a", "bogus": 1}),
    ]
    (folder / "asked.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return folder / "asked.jsonl"


def left(out: Path) -> dict[str, Any]:
    """All files but the run's times."""
    files: dict[str, Any] = {str(one.relative_to(out)): one.read_bytes() for one in out.rglob("*") if one.is_file()}
    return files | {"run.json": ""}


def test_a_machine_that_dies_gives_its_work_back(
    studio: Command, tmp_path: Path, two: None, caplog: pytest.LogCaptureFixture
) -> None:
    batch = partial(studio, "batch", batch_file(tmp_path), "--json", "--model", "fake", "--out")
    here, there = batch(tmp_path / "here"), batch(tmp_path / "there", "--cluster", "auto")
    assert (here.code, there.code) == (1, 1) and "a device of machine a " in caplog.text
    assert there.json["failed"] == 2 and {**there.json, "out": ""} == {**here.json, "out": ""}
    assert left(tmp_path / "there") == left(tmp_path / "here")


def test_a_job_that_kills_its_actors_fails_alone(
    studio: Command, tmp_path: Path, two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Actor, "deadly", "face 7")
    output = studio("batch", batch_file(tmp_path), "--json", "--model", "fake", "--out", tmp_path / "out", "--cluster")
    broken = [one["line"] for one in output.json["errors"] if "devices of the cluster broke down" in one["message"]]
    assert output.code == 1 and broken == [8] and (output.json["failed"], output.json["problem"]) == (3, None)
    monkeypatch.setattr(Actor, "deadly", "_maker")  # nobody can even load the model
    output = studio(
        "batch", tmp_path / "asked.jsonl", "--json", "--model", "fake", "--out", tmp_path / "none", "--cluster"
    )
    assert output.code == 2 and "was lost" in output.json["problem"] and output.json["failed"] == 1


def test_a_missing_cluster_is_refused(
    studio: Command, tmp_path: Path, two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = studio(
        "batch", batch_file(tmp_path), "--model", "fake", "--out", tmp_path / "out", "--cluster", "127.0.0.1:1"
    )
    assert output.code == 2 and "there is no Ray cluster at 127.0.0.1:1 (" in output.err
    monkeypatch.setitem(sys.modules, "ray", None)
    output = studio("batch", tmp_path / "asked.jsonl", "--model", "fake", "--out", tmp_path / "out", "--cluster")
    assert output.code == 2 and 'pip install "studio128[cluster]"' in output.err and not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no kill -9")
def test_a_node_is_killed_and_a_command_is_stopped(studio: Command, tmp_path: Path) -> None:
    """By Ray itself. A cluster of this machine alone is gone when the command is stopped, with its folder."""
    ray = pytest.importorskip("ray.cluster_utils", reason="the extra `cluster`")
    start = (
        sys.executable,
        "-m",
        "studio",
        "batch",
        str(batch_file(tmp_path)),
        "--model",
        "fake:0.05",
        "--json",
        "--out",
    )
    begun = partial(subprocess.Popen, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    Path("/tmp/ray").mkdir(exist_ok=True)  # Ray's own test kit writes into it
    cluster = ray.Cluster(True, head_node_args={"num_cpus": 1, "include_dashboard": False, "_system_config": SOON})
    try:
        node = cluster.add_node(num_cpus=1)
        process = begun([*start, str(tmp_path / "there"), "--cluster", cluster.address])
        until(lambda: len(list(tmp_path.glob("there/images/*.png"))) > 8)
        cluster.remove_node(node, allow_graceful=False)
        answer = json.loads(process.communicate(timeout=TIMEOUT)[0])
    finally:
        cluster.shutdown()
    assert answer["done"] + answer["found"] == 31 and answer["failed"] == 2
    assert studio(*start[3:], tmp_path / "here").code == 1 and left(tmp_path / "here") == left(tmp_path / "there")
    before = set(Path("/tmp").glob("studio-ray-*"))
    process = begun([*start, str(tmp_path / "stopped"), "--cluster"])
    until(lambda: len(list(tmp_path.glob("stopped/images/*.png"))) > 8)
    os.killpg(process.pid, signal.SIGINT)
    assert 0 < json.loads(process.communicate(timeout=TIMEOUT)[0])["done"] < 31 and process.returncode == 130
    assert set(Path("/tmp").glob("studio-ray-*")) == before
    assert studio(*start[3:], tmp_path / "stopped").code == 1
    result = {"jobs.jsonl": "what was there is found"}
    assert left(tmp_path / "stopped") | result == left(tmp_path / "here") | result
