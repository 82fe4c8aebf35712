"""The benchmark: what is published is whole, what is drawn as asked is right, and any model of the studio draws it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval import bench
from eval.__main__ import main
from models.assets import assets
from models.messages import Refused

ASKED = [json.loads(line) for line in (assets() / "bench" / bench.NAME).read_text(encoding="utf-8").splitlines()]
STEPS = {"left": (-8, 0), "right": (8, 0), "up": (0, -8), "down": (0, 8)}


class Reader:
    """A judge that prefers what is right."""

    def scores(self, pictures: np.ndarray, captions: list[str]) -> np.ndarray:
        level = {one[side]: side == "right" for one in ASKED if "right" in one for side in ("wrong", "right")}
        return np.array([level[caption] for caption in captions], float)


def test_what_is_published_is_whole() -> None:
    kinds = Counter((one["attribute"], one["language"]) for one in ASKED)
    assert len(kinds) == 12 and set(kinds.values()) == {bench.EACH}
    assert len({one["name"] for one in ASKED}) == len(ASKED)
    for one in ASKED:
        assert one["prompt"] and one["prompt"].isascii() == (one["language"] == "en"), one["name"]
        assert one["direction"] in STEPS if one["task"] == "clip" else one["facts"] and one["right"] != one["wrong"]


def draw(folder: Path, one: dict[str, Any], ground: tuple[int, ...], turn: int = 1) -> None:
    """A square that goes where it is asked to."""
    dx, dy = (turn * step for step in STEPS.get(one.get("direction", ""), (0, 0)))
    frames = []
    for t in range(5):
        frames.append(Image.new("RGBA", (128, 128), ground))
        frames[-1].paste((200, 0, 0, 255), (48 + dx * t, 48 + dy * t, 80 + dx * t, 80 + dy * t))
    moves = {"save_all": True, "append_images": frames[1:]} if one["task"] == "clip" else {}
    frames[0].save(folder / f"{one['name']}.{'webp' if moves else 'png'}", lossless=True, **moves)


@pytest.mark.parametrize("ground", [(0, 0, 0, 0), (255, 255, 255, 255)], ids=["clear", "white"])
def test_what_moves_as_asked_is_right_and_what_is_missing_is_wrong(tmp_path: Path, ground: tuple[int, ...]) -> None:
    some = [one for one in ASKED if one["attribute"] in (bench.MOTION, "count") and one["language"] == "en"]
    with pytest.raises(Refused, match="count-00-en"):
        bench.score(tmp_path, some, Reader())  # type: ignore[arg-type]
    for one in some[1:]:
        draw(tmp_path, one, ground)
    count, motion = bench.score(tmp_path, some, Reader())  # type: ignore[arg-type]
    assert (count.value, motion.value) == (1 - 1 / bench.EACH, 1.0) and count.note.startswith("1 missing")
    for one in some[1:]:
        draw(tmp_path, one, ground, turn=-1)
    assert bench.score(tmp_path, some, Reader())[1].value == 0  # type: ignore[arg-type]


def test_any_model_of_the_studio_draws_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(tmp_path / "drawn"), "--model", "fake", "--count", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert len(rows) == 12 and all(row["n"] == 1 and not row["note"] for row in rows)
    assert main(["bench", str(tmp_path / "none"), "--model", "nobody:x", "--count", "1"]) == 2
