"""The benchmark of prompts, and blind ratings by people."""

import json
import math
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from eval import __main__ as command
from eval import bench
from eval.__main__ import main
from eval.rate import Ratings, alpha, app, rated
from models.assets import assets
from models.messages import Refused

ASKED = [json.loads(line) for line in (assets() / "bench" / bench.NAME).read_text(encoding="utf-8").splitlines()]
STEPS = {"left": (-8, 0), "right": (8, 0), "up": (0, -8), "down": (0, 8)}


class Reader:
    """A judge that prefers what is right."""

    def scores(self, pictures: np.ndarray, captions: list[str]) -> np.ndarray:
        level = {item[side]: side == "right" for item in ASKED if "right" in item for side in ("wrong", "right")}
        return np.array([level[caption] for caption in captions], float)


def test_the_bench_file_is_complete() -> None:
    kinds = Counter((item["attribute"], item["language"]) for item in ASKED)
    assert len(kinds) == 12 and set(kinds.values()) == {bench.EACH}
    assert len({item["name"] for item in ASKED}) == len(ASKED)
    for item in ASKED:
        assert item["prompt"] and item["prompt"].isascii() == (item["language"] == "en"), item["name"]
        assert (
            item["direction"] in STEPS if item["task"] == "clip" else item["facts"] and item["right"] != item["wrong"]
        )


def draw(folder: Path, item: dict[str, Any], ground: tuple[int, ...], turn: int = 1) -> None:
    """A square that moves in the requested direction."""
    dx, dy = (turn * step for step in STEPS.get(item.get("direction", ""), (0, 0)))
    frames = []
    for t in range(5):
        frames.append(Image.new("RGBA", (128, 128), ground))
        frames[-1].paste((200, 0, 0, 255), (48 + dx * t, 48 + dy * t, 80 + dx * t, 80 + dy * t))
    moves = {"save_all": True, "append_images": frames[1:]} if item["task"] == "clip" else {}
    frames[0].save(folder / f"{item['name']}.{'webp' if moves else 'png'}", lossless=True, **moves)


@pytest.mark.parametrize("ground", [(0, 0, 0, 0), (255, 255, 255, 255)], ids=["clear", "white"])
def test_bench_scores_motion_and_missing_files(tmp_path: Path, ground: tuple[int, ...]) -> None:
    some = [item for item in ASKED if item["attribute"] in (bench.MOTION, "count") and item["language"] == "en"]
    with pytest.raises(Refused, match="count-00-en"):
        bench.score(tmp_path, some, Reader())  # type: ignore[arg-type]
    for item in some[1:]:
        draw(tmp_path, item, ground)
    count, motion = bench.score(tmp_path, some, Reader())  # type: ignore[arg-type]
    assert (count.value, motion.value) == (1 - 1 / bench.EACH, 1.0) and count.note.startswith("1 missing")
    for item in some[1:]:
        draw(tmp_path, item, ground, turn=-1)
    assert bench.score(tmp_path, some, Reader())[1].value == 0  # type: ignore[arg-type]


def test_any_model_of_the_studio_draws_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(tmp_path / "drawn"), "--model", "fake", "--count", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert len(rows) == 12 and all(row["n"] == 1 and not row["note"] for row in rows)
    assert main(["bench", str(tmp_path / "none"), "--model", "nobody:x", "--count", "1"]) == 2


# --- Ratings ----------------------------------------------------------------------------------------------------------


EACH = 4


@pytest.fixture
def ratings(tmp_path: Path) -> Ratings:
    for number, name in enumerate(("generated", "real")):
        (tmp_path / name).mkdir()
        for k in range(EACH + 2):
            Image.new("RGBA", (300, 200), (40 * k, 200 * number, 9, 255)).save(tmp_path / name / f"{name}-{k}.png")
    return Ratings(tmp_path / "generated", tmp_path / "real", tmp_path / "kept" / "ratings.json", EACH)


def finish(ratings: Ratings, rater: str) -> None:
    """Answers three stars for each picture, and the generated picture of each pair."""
    while task := ratings.next(rater):
        this = task["pictures"]
        result = next(item for item in this if ratings.pictures[item][0] == "generated") if len(this) > 1 else 3
        assert ratings.answer(rater, task["task"], result)


def test_each_rater_gets_all_tasks_shuffled_and_resumes(ratings: Ratings, tmp_path: Path) -> None:
    first, second = ratings.order("a"), ratings.order("b")
    assert first == ratings.order("a") != second and len(first) == 3 * EACH
    assert {item["task"] for item in first} == {item["task"] for item in second} == ratings.tasks.keys()
    assert "generated" not in str(first) and "real" not in str(first)
    sides = [
        ratings.pictures[item["pictures"][0]][0] for r in "abcdef" for item in ratings.order(r) if item["pictures"][1:]
    ]
    assert set(sides) == {"generated", "real"}, "neither is always on the left"
    finish(ratings, "a")
    again = Ratings(tmp_path / "generated", tmp_path / "real", ratings.out, EACH)
    assert again.next("a") is None and again.next("b") == second[0] | {"done": 0, "of": 3 * EACH}


def test_rows_say_what_was_answered_and_how_far_raters_agree(ratings: Ratings) -> None:
    assert list(rated([])) == [], "nothing where nobody rated"
    for rater in "ab":
        finish(ratings, rater)
    stars, pairs = rated(ratings.answers)
    assert (stars.value, dict(stars.against)) == (3, {"real": 3}) and "2 raters" in stars.note
    assert pairs.value == 1

    def ratings_of(values: list[list[int]]) -> list[dict[str, Any]]:
        return [{"task": n, "value": v} for n, unit in enumerate(values) for v in unit]

    assert alpha(ratings_of([[1, 1], [5, 5], [3, 3]])) == 1 and math.isnan(alpha(ratings_of([[1], [2]])))
    # By hand (K. Krippendorff, 2011): observed 1 / 2, expected 22 / 12.
    assert alpha(ratings_of([[1, 2], [3, 3]])) == pytest.approx(1 - (1 / 2) / (22 / 12))


def test_invalid_answers_are_rejected(ratings: Ratings) -> None:
    client = TestClient(app(ratings))
    task = client.get("/next", params={"rater": "a"}).json()
    right = {"rater": "a", "task": task["task"], "choice": 3 if len(task["pictures"]) == 1 else task["pictures"][0]}
    wrong: list[Any] = [[], {}, right | {"choice": 6}, right | {"choice": [3]}, right | {"task": "x"}]
    assert [client.post("/answer", json=item).status_code for item in wrong] == [400] * len(wrong)
    assert client.post("/answer", content=json.dumps(right), headers={"content-type": "text/plain"}).status_code == 415
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/picture/..%2f..%2fx").status_code == 404 and not ratings.out.exists()
    assert client.post("/answer", json=right).status_code == 204
    (stored,) = json.loads(ratings.out.read_text())["answers"]
    assert stored["rater"] == "a" and client.post("/answer", json=right).status_code == 400, "not twice"
    picture = client.get(f"/picture/{task['pictures'][0]}")
    assert picture.headers["content-type"] == "image/png" and "表" not in client.get("/").text
    assert "开始" in client.get("/", headers={"accept-language": "zh-CN"}).text


def test_a_person_rates_in_a_browser(ratings: Ratings, browser: Any) -> None:
    server = uvicorn.Server(uvicorn.Config(app(ratings), port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.05)
    page = browser.open()
    page.goto(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/")
    page.fill("input", "ann")
    page.click("text=Begin")
    for number in range(3 * EACH):
        page.wait_for_function(f"document.querySelector('progress').value == {number}")
        page.click("#pictures button, #stars button:nth-child(4)")
    page.wait_for_selector("text=Thank you")
    server.should_exit = True
    thread.join()
    assert ratings.next("ann") is None and {item["value"] for item in ratings.answers} <= {4, 0, 1}


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["rate", str(tmp_path / "none"), str(tmp_path)]) == 2
    assert "none" in capsys.readouterr().err
