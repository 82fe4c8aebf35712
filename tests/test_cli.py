"""The `studio` command with the fake backend: pictures, imports, signals, queue, maintenance, bad input."""

import errno
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Command, Output
from filelock import FileLock
from PIL import Image
from queue_kit import ask, claims, planned
from waiting import TIMEOUT, until

from models.assets import prompt_list
from models.messages import Message, Refused
from studio import cli, files, sheet
from studio.events import Failed
from studio.files import write_whole
from studio.home import Home

ROOT = Path(__file__).resolve().parent.parent


def faces(studio: Command, *arguments: object) -> Output:
    return studio("generate", *arguments, "--model", "fake", "--json")


def test_generate_makes_transparent_pictures_and_says_where(studio: Command, tmp_path: Path) -> None:
    result = faces(studio, "a smiling cat", "戴帽子的小狗", "--count", 2, "--seed", 7, "--out", tmp_path / "out")
    assert result.code == 0
    assert [(row["prompt"], row["seed"]) for row in result.json] == [
        ("a smiling cat", 7),
        ("a smiling cat", 8),
        ("戴帽子的小狗", 7),
        ("戴帽子的小狗", 8),
    ]
    for row in result.json:
        assert set(row) == {
            "path",
            "seed",
            "prompt",
            "job_id",
            "score",
            "seconds",
            "unknown",
            "read_as",
            "kind",
            "text",
            "redrawn",
        }
        with Image.open(row["path"]) as picture:
            assert (picture.mode, picture.size) == ("RGBA", (128, 128))
            assert picture.getpixel((0, 0))[3] == 0
    assert len(list((tmp_path / "out").iterdir())) == 4, "nothing but the pictures"


def test_the_same_seed_makes_the_same_file_and_finds_it(studio: Command, tmp_path: Path) -> None:
    ask = ("a cat", "--seed", 1, "--out")
    first, two = faces(studio, *ask, tmp_path / "1").json[0], faces(studio, *ask, tmp_path / "2").json[0]
    assert Path(first["path"]).read_bytes() == Path(two["path"]).read_bytes()
    again = faces(studio, *ask, tmp_path / "1").json[0]
    assert (again["path"], again["seconds"]) == (first["path"], 0)
    assert faces(studio, "a cat", "--seed", 2, "--out", tmp_path / "1").json[0]["path"] != first["path"]


def test_without_out_pictures_go_into_the_gallery(studio: Command, tmp_path: Path) -> None:
    result = studio("generate", "a cat", "--model", "fake")
    assert Path(result.out.strip()).parent.parent == tmp_path / "home" / "pictures"
    assert [items.prompt for items in Home(tmp_path / "home").gallery.page()] == ["a cat"]
    result = studio("generate", "a cat", "--model", "fake", "--home", tmp_path / "other")
    assert Path(result.out.strip()).parent.parent == tmp_path / "other" / "pictures"


def test_blends_and_likenesses_need_no_words(studio: Command, tmp_path: Path) -> None:
    Image.new("RGBA", (9, 9), "red").save(tmp_path / "red.png")
    out = ("--out", tmp_path / "out", "--seed", 1)
    likes = [
        faces(studio, "--like", tmp_path / "red.png", *out),
        faces(studio, "--mix", "1:panda", "--mix", ".5:pineapple", *out),
        faces(studio, "--mix", "1:panda", "--mix", f"-.5:{tmp_path / 'red.png'}", *out),
        faces(studio, "--mix", "panda", "--mix", "0.5:pineapple", "--style", "Noto", *out),
    ]
    assert [result.code for result in likes] == [0, 0, 0, 0]
    assert len({result.json[0]["job_id"] for result in likes}) == 4


def test_unquoted_words_are_a_single_prompt(studio: Command, tmp_path: Path) -> None:
    result = faces(studio, "a", "red", "cat", "--out", tmp_path)
    assert [row["prompt"] for row in result.json] == ["a red cat"] and "one prompt, 'a red cat'" in result.err
    assert len(faces(studio, "a red cat", "dog", "--out", tmp_path).json) == 2


def test_version_and_suggestions_of_commands(studio: Command) -> None:
    assert studio("--version").out.startswith("Studio 128 ")
    result = studio("gnerate", "a cat")
    assert result.code == 2 and result.err.endswith("Did you mean 'generate'?\n")
    assert studio("open", "--port", 70000).err == "studio: --port must be between 0 and 65535, not 70000.\n"


def test_unknown_words_are_reported(studio: Command, tmp_path: Path) -> None:
    result = faces(studio, "an axolotl", "--out", tmp_path)
    assert "Not drawn: axolotl; nearest: lizard, fish." in result.err
    assert result.json[0]["unknown"] == [{"word": "axolotl", "nearest": ["lizard", "fish"]}]


def test_a_model_that_fails_is_explained(studio: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.backends.fake._draw", lambda *_: (_ for _ in ()).throw(MemoryError()))
    result = faces(studio, "a cat", "--out", tmp_path / "out")
    assert result.code == 2 and "ask for fewer pictures at once" in result.err and not (tmp_path / "out").exists()


def test_embed_gives_unit_vectors(studio: Command, tmp_path: Path) -> None:
    Image.new("RGBA", (9, 9), "red").save(tmp_path / "red.png")
    result = studio(
        "embed", "--text", "a cat", "--text", "猫", "--image", tmp_path / "red.png", "--model", "fake", "--json"
    )
    assert [(row["kind"], row["input"]) for row in result.json] == [
        ("text", "a cat"),
        ("text", "猫"),
        ("image", str(tmp_path / "red.png")),
    ]
    assert all(len(row["vector"]) == 128 and math.isclose(math.hypot(*row["vector"]), 1) for row in result.json)


def test_styles_models_and_info(studio: Command, tmp_path: Path) -> None:
    assert {"name": "noto", "zh": "安卓", "words": []} in studio("styles", "--model", "fake", "--json").json
    assert "noto\t安卓" in studio("styles", "--model", "fake").out
    assert [row["model"] for row in studio("models", "--json").json] == ["embedded", "fake"]
    row = faces(studio, "a cat", "--seed", 3, "--out", tmp_path).json[0]
    matches = studio("info", row["path"], "--json")
    assert (matches.json["job_id"], matches.json["request"]["prompt"]) == (row["job_id"], "a cat")
    assert "prompt: a cat" in studio("info", row["path"]).out and "seed: 3" in studio("info", row["path"]).out


def test_the_contact_sheet_draws_its_prompts_in_rows_of_eight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "prompt_list", lambda name: prompt_list(name)[-9:])
    monkeypatch.setattr(sys, "argv", ["sheet", "--model", "fake", "--out", str(tmp_path / "deep")])
    assert sheet.main() == 0
    assert {path.stem for path in (tmp_path / "deep" / "styles").iterdir()} == {"noto", "black-glyph", "outline"}
    with Image.open(tmp_path / "deep" / "sheet.webp") as drawn:
        assert drawn.width == 8 * 128 and 2 * 128 < drawn.height < 3 * 128 + 100
    with Image.open(tmp_path / "deep" / "clips.webp") as playing:
        assert playing.width == 8 * 128 and playing.n_frames > 1
    monkeypatch.setattr(sys, "argv", ["sheet", "--model", "none"])
    assert sheet.main() == 2


def test_importing_loads_no_torch() -> None:
    code = (
        "import sys, studio, studio.worker; from studio import cli; from studio.page import serve; cli.program();"
        "print(sorted({'torch', 'diffusers', 'transformers', 'gradio'} & set(sys.modules)))"
    )
    assert _python("-c", code).stdout.strip() == "[]"


def test_running_loads_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys, atexit; from studio import cli; sys.argv = ['studio', *sys.argv[1:]];"
        "atexit.register(lambda: sys.stderr.write(str('torch' in sys.modules))); cli.main()"
    )
    for arguments in (["--help"], ["generate", "a", "--model", "fake", "--out", "o"]):
        done = _python("-c", code, *arguments, cwd=tmp_path)
        assert (done.returncode, done.stderr.strip().endswith("False")) == (0, True), done.stderr


FORKED = """
import os, sys
from studio import cli
for names in cli.COMMANDS.values():
    if not os.fork():
        app = cli.program(names[0])
        print(f"{names[0]}:", *app.commands, flush=True)
        os._exit(0)
    os.wait()
"""


def test_a_command_imports_no_other() -> None:
    """The module of the table registers each command."""
    answer = dict(line.split(": ") for line in _python("-c", FORKED).stdout.splitlines())
    for names in cli.COMMANDS.values():
        assert set(names) <= set(answer[names[0]].split())
    assert "set" not in answer["generate"].split()
    assert set(cli.program().commands) == {name for names in cli.COMMANDS.values() for name in names}


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopping_leaves_whole_pictures_only(tmp_path: Path, stop: signal.Signals) -> None:
    prompts = [f"face {i}" for i in range(50)]
    arguments = ["generate", *prompts, "--model", "fake:0.02", "--out", str(tmp_path / "out"), "--json"]
    code = "from studio import cli; cli.main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until(lambda: list(tmp_path.glob("out/*.png")))
    process.send_signal(stop)
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    left = sorted((tmp_path / "out").iterdir())
    answer = {Path(row["path"]) for row in json.loads(out)}
    assert 0 < len(left) < 50 and len(set(left) - answer) <= 1 and answer <= set(left), (
        "one may be whole and not yet told"
    )
    for path in left:
        with Image.open(path) as picture:
            picture.load()


def _python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT)


# --- The home ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def house(tmp_path: Path) -> Home:
    """The home that the command has by default, with three jobs: one runs, one waits, one went wrong."""
    house = Home(tmp_path / "home")
    for name in ("wrong", "runs", "waits"):
        house.queue.submit(replace(planned(ask(f"it {name}")), id=f"{name}-1"))
    claims(house.queue).claim()
    claims(house.queue).end("wrong-1", Failed(Message("the disk is full.")))
    claims(house.queue).claim()
    return house


def test_the_jobs_are_listed_and_can_be_read_by_programs(studio: Command, house: Home) -> None:
    lines = studio("queue").out.splitlines()
    assert [line.split("\t")[:3] for line in lines] == [
        ["runs-1", "running", "it runs"],
        ["waits-1", "waiting", "it waits"],
        ["wrong-1", "failed", "it wrong"],
    ]
    assert lines[2].endswith("the disk is full.")
    rows = studio("queue", "--json").json
    assert [(row["id"], row["state"]) for row in rows][1] == ("waits-1", "waiting") and rows[0]["request"]["seed"] == 1


def test_jobs_are_cancelled_and_retried(studio: Command, house: Home) -> None:
    assert studio("retry", "wr").code == 0
    assert [job.id for job in house.queue.jobs(["waiting"])] == ["waits-1", "wrong-1"]
    assert json.loads(studio("cancel", "runs", "--json").out) == {"jobs": ["runs-1"], "result": "1 cancelled"}
    assert claims(house.queue).active() == set()
    assert studio("cancel", "--all").code == 0 and not house.queue.jobs(["waiting"])


def test_the_queue_is_paused_and_goes_on(studio: Command, house: Home) -> None:
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
    ],
)
def test_queue_commands_refuse_bad_ids(studio: Command, house: Home, arguments: tuple, says: str) -> None:
    result = studio(*arguments)
    assert result.code == 2 and says in result.err and result.err.count("\n") == 1


def test_the_doctor_and_the_rebuild(studio: Command, tmp_path: Path) -> None:
    for prompt in ("a cat", "a dog"):
        assert studio("generate", prompt, "--model", "fake").code == 0
    assert studio("doctor").code == 0
    path = next((tmp_path / "home" / "pictures").rglob("*.png"))
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    result = studio("doctor", "--json")
    assert result.code == 1 and [row["kind"] for row in result.json] == ["cut short"]
    path.write_bytes(data)
    (tmp_path / "junk").write_bytes(b"junk" * 999)
    (tmp_path / "junk").replace(tmp_path / "home" / "studio.db")
    (tmp_path / "home" / "studio.db-wal").unlink(missing_ok=True)  # the log alone would heal it
    result = studio("doctor")
    assert result.code == 2 and "damaged; run: studio rebuild" in result.err
    assert studio("rebuild", "--json").json["pictures"] == 2
    assert studio("doctor").code == 0 and Home(tmp_path / "home").gallery.count() == 2


def test_rebuild_is_refused_while_a_studio_is_open(studio: Command, house: Home) -> None:
    with FileLock(house.root / "worker.lock"):
        result = studio("rebuild")
    assert result.code == 2 and "a studio is open on" in result.err


def test_an_unusable_home_is_refused(studio: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for command in (("queue",), ("doctor",), ("rebuild",), ("generate", "a cat", "--model", "fake")):
        for home in (tmp_path / "file", "~nosuch/x"):
            result = studio(*command, "--home", home)
            assert result.code == 2 and result.err.count("\n") == 1 and "another --home" in result.err, result.err


# --- Bad input --------------------------------------------------------------------------------------------------------


@pytest.fixture
def refuse(studio: Command, tmp_path: Path) -> Callable[..., str]:
    """Runs `studio` on bad input, checks that it refuses and writes nothing, and returns its sentence."""

    def run(*arguments: object, command: str = "generate") -> str:
        before = sorted(tmp_path.rglob("*"))
        model = [] if "--model" in arguments else ["--model", "fake"]
        code, out, err = studio(command, *arguments, *model, "--json")
        assert (code, out) == (2, "")
        assert err.count("\n") == 1 and err.startswith("studio: ") and err.strip()[-1] in ".;)", err
        assert sorted(tmp_path.rglob("*")) == before, "something was written"
        return err

    return run


BAD: list[tuple[str, list[str], str]] = [  # tests/test_requests.py has more
    ("generate", [], "say what to make"),
    ("generate", [""], "the prompt is empty"),
    ("generate", ["a cat", "--steps", "many"], "Invalid value for '--steps'"),
    ("generate", ["a cat", "--seed", "9" * 5000], "--seed"),
    ("generate", ["a cat", "--mix", "1:"], "either words or a picture"),
    ("generate", ["a cat", "--mix", "1:missing.png"], "missing.png does not exist"),
    ("generate", ["a cat", "--like", __file__], "is not a picture"),
    ("embed", ["--image", str(ROOT)], "is a folder"),
    ("generate", ["a cat", "--stlye", "noto"], "No such option '--stlye'"),
    ("animate", [], "nothing to animate"),
    ("animate", ["a cat", "--last", "a.png"], "last is about a picture to start from"),
    ("animate", ["a cat", "--image", __file__], "is not a picture"),
]


def test_requests(refuse: Callable[..., str], subtests: pytest.Subtests) -> None:
    for command, arguments, says in BAD:
        with subtests.test(arguments=[argument[:40] for argument in arguments]):
            assert says in refuse(*arguments, command=command)


def test_the_first_bad_prompt_refuses_all(refuse: Callable[..., str]) -> None:
    assert "empty" in refuse("a cat", "", "--count", 1)


# --- Where pictures go ------------------------------------------------------------------------------------------------


def test_out_is_a_file(refuse: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "is not a folder" in refuse("a cat", "--out", tmp_path / "file")
    assert "studio export --format" in refuse("a cat", "--out", tmp_path / "cat.avi")
    assert "is not a folder" in refuse("a cat", "--out", tmp_path / "file" / "deeper")
    assert "too long" in refuse("a cat", "--out", tmp_path / ("n" * 300))


@pytest.mark.skipif(sys.platform != "linux", reason="/proc and /sys are Linux's")
@pytest.mark.parametrize("out", ["/proc/studio", "/sys/studio/deeper", "/dev/null/x"])
def test_out_can_not_be_written(refuse: Callable[..., str], out: str) -> None:
    assert "--out" in refuse("a cat", "--out", out)


def test_out_is_full(refuse: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert "is full" in refuse("a cat", "--out", tmp_path / "out")


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_write_that_fails_leaves_nothing(
    refuse: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    owner = files.os if call == "fsync" else files.Path
    monkeypatch.setattr(owner, call, fail)
    assert "--out" in refuse("a cat", "--out", tmp_path / "out")


def test_a_real_disk_that_is_full(refuse: Callable[..., str], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk can't be mounted here")
    try:
        assert "is full" in refuse("a cat", "--out", disk)
        with pytest.raises(Refused, match="is full"):
            write_whole(disk / "a.png", bytes(200_000))
        assert not list(disk.iterdir()), "nothing half-written"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_write_never_changes_the_old_file_by_halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(tmp_path / "a", b"old")
    monkeypatch.setattr(files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "I/O error")))
    with pytest.raises(Refused, match="I/O error"):
        write_whole(tmp_path / "a", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"old")]


# --- The page's command line ------------------------------------------------------------------------------------------


def test_a_second_studio_on_the_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "app.py", "--no-browser", "--model", "fake", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "is taken, perhaps by another studio" in done.stderr
