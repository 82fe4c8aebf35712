"""The ladder: what is made worse is seen, and a measure that does not see it is named."""

import json
from pathlib import Path

import numpy as np
import pytest
from eval_kit import TINY, draw
from PIL import Image

from eval import __main__ as command
from eval import ladder, score
from eval.ladder import TABLE, WORSE


def test_every_step_is_further_from_the_picture(tmp_path: Path) -> None:
    picture = Image.open(next(draw(tmp_path / "a", 4, seed=0).glob("*.png"))).convert("RGBA")
    own = np.asarray(picture.convert("RGBa"), float)
    for name, worsen in WORSE.items():
        made = [
            np.asarray(worsen(picture, step, np.random.default_rng(0)).convert("RGBa"), float)
            for step in TABLE["steps"][name]
        ]
        apart = [float(np.abs(one - own).mean()) for one in made]
        assert apart == sorted(apart) and apart[-1] > 0, name


def test_a_measure_that_sees_nothing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    folder = draw(tmp_path / "a", 24, seed=0)
    blind = type(TINY)("blind", "blind", TINY.prepare, lambda x: x.flatten(1) * 0)
    monkeypatch.setattr(score, "extractor", lambda name, source: TINY if name == "tiny" else blind)
    monkeypatch.setitem(ladder.TABLE, "steps", {"lost alpha": [1.0], "dropped modes": [0.2]})
    files = ("--cache", str(tmp_path / "cache"), "--html", str(tmp_path / "page.html"))
    assert command.main(["ladder", str(folder), "--extractor", "tiny", "--extractor", "blind", "--json", *files]) == 1
    rows = {(row["group"], row["name"]): row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["lost alpha", "FD-tiny goes up"]["value"] == rows["dropped modes", "Vendi-tiny goes down"]["value"] == 1
    assert rows["lost alpha", "FD-blind goes up"]["value"] == 0
    assert (tmp_path / "page.html").read_text().count("<polyline") == len(rows), "a curve of every measure"
    assert command.main(["ladder", str(draw(tmp_path / "few", 4, seed=1)), "--extractor", "tiny", *files]) == 2
    assert "24 or more" in capsys.readouterr().err
