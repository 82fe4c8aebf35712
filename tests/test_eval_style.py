"""The measure `style`: the styles that code draws, and its rows with tiny parts."""

from pathlib import Path

import numpy as np
import pytest
from eval_kit import drawn_context, save_tiny_judge
from fixture_world import fixture_world
from tiny_parts import own_precision, save_tiny_parts, short_runs  # noqa: F401 - fixtures

from eval import continual, sets, style
from eval.continual import accuracy, backward_transfer, forgetting
from eval.style import coded_styles, judged, measured, neon, pixels
from models.train.style import Example


@pytest.fixture(scope="module")
def drawing() -> np.ndarray:
    return fixture_world().pixels[0]


def test_pixel_art_is_of_equal_blocks(drawing: np.ndarray) -> None:
    art = pixels(drawing, side=16, levels=4)
    blocks = art.reshape(16, 8, 16, 8, 4)
    assert (blocks == blocks[:, :1, :, :1]).all() and art.shape == drawing.shape
    opaque = art[art[..., 3] > 0]
    assert set(np.unique(opaque[:, 3])) == {255}
    assert set(map(tuple, opaque[:, :3].tolist())) <= {
        (24, 20, 37),
        *((a, b, c) for a in (0, 85, 170, 255) for b in (0, 85, 170, 255) for c in (0, 85, 170, 255)),
    }


def test_neon_is_dark_with_bright_edges(drawing: np.ndarray) -> None:
    art = neon(drawing)
    light = art[..., :3].max(2)
    assert (art[..., :3] <= art[..., 3:]).all(), "premultiplied"
    assert light.max() > 200 and np.median(light[drawing[..., 3] == 255]) < 120


def test_the_judge_names_a_picture_by_its_highest_score() -> None:
    class Knows:
        def scores(self, shown: np.ndarray, captions: list[str]) -> np.ndarray:
            return np.array(
                [float(picture[0, 0, 0]) == len(text) for picture, text in zip(shown, captions, strict=True)]
            )

    shown = np.zeros((3, 1, 1, 4), np.uint8)
    shown[:, 0, 0, 0] = 1, 2, 1
    assert judged(Knows(), shown, ["a", "bb", "ccc"]).tolist() == [True, True, False]  # type: ignore[arg-type]


def test_rows_of_a_style(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = save_tiny_parts(tmp_path / "parts")
    save_tiny_judge(root)
    monkeypatch.setattr(style, "LEARNED", 5)
    monkeypatch.setattr(style, "DRAWN", 2)
    monkeypatch.setattr(sets, "common", lambda world, count: sets.seen(world, count))
    context = drawn_context(root)
    first, second = coded_styles(context.world)
    assert (first.name, second.name) == ("pixels", "neon")
    learned = {example.caption for example in first.examples}
    assert len(learned) == 5 and isinstance(first.examples[0], Example)
    assert not learned & set(style.things_to_draw(context.world, first))
    shown = [example.pixels for example in first.examples] + list(first.real) + list(first.gallery)
    assert len({picture.tobytes() for picture in shown}) == len(shown), "the three sets are apart"

    rows = {row.name: row for row in measured(context, first, tmp_path / "styles", 0.001)}
    assert rows["after it, without it: equal bytes"].value == 1
    assert dict(rows["the nearest picture is of the style"].against).keys() == {"base", "real"}
    (adapter,) = (tmp_path / "styles").glob("pixels-*/export/adapter_model.safetensors")
    written = adapter.stat().st_mtime_ns
    again = {row.name: row for row in measured(context, first, tmp_path / "styles", 0.001)}
    assert adapter.stat().st_mtime_ns == written and again == rows, "a kept adapter is not trained again"


def test_backward_transfer_and_forgetting_of_known_matrices() -> None:
    kept, lost = np.tile([0.9, 0.8, 0.7], (3, 1)), np.array([[0.9, 0.1, 0.0], [0.4, 0.8, 0.0], [0.1, 0.2, 0.7]])
    assert (accuracy(kept), backward_transfer(kept), forgetting(kept)) == (pytest.approx(0.8), 0, 0)
    assert backward_transfer(lost) == pytest.approx(-0.7) and forgetting(lost) == pytest.approx(0.7)
    assert accuracy(lost) == pytest.approx(1 / 3)


def test_separate_adapters_forget_nothing_and_a_sequence_begins_where_the_last_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = save_tiny_parts(tmp_path / "parts")
    monkeypatch.setattr(style, "LEARNED", 3)
    monkeypatch.setattr(style, "DRAWN", 2)
    monkeypatch.setattr(sets, "common", lambda world, count: sets.seen(world, count))
    context = drawn_context(root)
    context.cache = tmp_path
    rows = {row.name: row for row in continual.measured(context, list(coded_styles(context.world)), 0.001)}
    assert rows["separate: BWT"].value == rows["separate: forgetting"].value == 0
    assert {name.split(":")[0] for name in rows} >= {"separate", "sequential", "merged"}
    assert rows["the nearest centroid names a picture's style"].value is not None
    folders = sorted(path.name.split("-")[0] for path in (tmp_path / "styles").iterdir())
    assert folders == ["neon", "neon", "pixels"], "of the second style two: from zero, and from the first"
