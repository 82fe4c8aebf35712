"""Blind ratings: nothing says where a picture is from, answers are kept at once, and agreement is what it is called."""

import json
import math
import threading
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from eval import __main__ as command
from eval.rate import Ratings, alpha, app, rated

EACH = 4


@pytest.fixture
def ratings(tmp_path: Path) -> Ratings:
    for number, name in enumerate(("generated", "real")):
        (tmp_path / name).mkdir()
        for k in range(EACH + 2):
            Image.new("RGBA", (300, 200), (40 * k, 200 * number, 9, 255)).save(tmp_path / name / f"{name}-{k}.png")
    return Ratings(tmp_path / "generated", tmp_path / "real", tmp_path / "kept" / "ratings.json", EACH)


def finish(ratings: Ratings, rater: str) -> None:
    """Three stars for all, and the generated one of each pair."""
    while task := ratings.next(rater):
        own = task["pictures"]
        said = next(one for one in own if ratings.pictures[one][0] == "generated") if len(own) > 1 else 3
        assert ratings.answer(rater, task["task"], said)


def test_raters_are_asked_the_same_in_their_own_order_and_go_on_where_they_were(
    ratings: Ratings, tmp_path: Path
) -> None:
    first, second = ratings.order("a"), ratings.order("b")
    assert first == ratings.order("a") != second and len(first) == 3 * EACH
    assert {one["task"] for one in first} == {one["task"] for one in second} == ratings.tasks.keys()
    assert "generated" not in str(first) and "real" not in str(first)
    sides = [
        ratings.pictures[one["pictures"][0]][0] for r in "abcdef" for one in ratings.order(r) if one["pictures"][1:]
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

    def said(values: list[list[int]]) -> list[dict[str, Any]]:
        return [{"task": n, "value": v} for n, unit in enumerate(values) for v in unit]

    assert alpha(said([[1, 1], [5, 5], [3, 3]])) == 1 and math.isnan(alpha(said([[1], [2]])))
    # By hand (K. Krippendorff, 2011): observed 1 / 2, expected 22 / 12.
    assert alpha(said([[1, 2], [3, 3]])) == pytest.approx(1 - (1 / 2) / (22 / 12))


def test_what_was_not_asked_is_not_kept(ratings: Ratings) -> None:
    client = TestClient(app(ratings))
    task = client.get("/next", params={"rater": "a"}).json()
    right = {
        "rater": "a",
        "task": task["task"],
        "choice": 3 if len(task["pictures"]) == 1 else task["pictures"][0],
    }
    wrong: list[Any] = [[], {}, right | {"choice": 6}, right | {"choice": [3]}, right | {"task": "x"}]
    assert [client.post("/answer", json=one).status_code for one in wrong] == [400] * len(wrong)
    assert client.post("/answer", content=json.dumps(right), headers={"content-type": "text/plain"}).status_code == 415
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/picture/..%2f..%2fx").status_code == 404 and not ratings.out.exists()
    assert client.post("/answer", json=right).status_code == 204
    (kept,) = json.loads(ratings.out.read_text())["answers"]
    assert kept["rater"] == "a" and client.post("/answer", json=right).status_code == 400, "not twice"
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
    assert ratings.next("ann") is None and {one["value"] for one in ratings.answers} <= {4, 0, 1}


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["rate", str(tmp_path / "none"), str(tmp_path)]) == 2
    assert "none" in capsys.readouterr().err
