"""Near-duplicates: moved, scaled or recoloured copies form a group."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Command
from fixture_world import fixture_world
from picture_kit import as_file
from PIL import Image
from queue_kit import Entry, keep

from models.data.pixels import png
from studio import Studio
from studio.duplicates import Duplicates, picture_print
from studio.page.context import PageContext
from studio.page.tabs.search import SearchHandlers

WORLD = fixture_world()


def drawing(number: int) -> Image.Image:
    return png(np.asarray(WORLD.pixels[WORLD.pictures[number].index]))


def moved(picture: Image.Image) -> Image.Image:
    canvas = Image.new("RGBA", (200, 160))
    canvas.paste(picture.resize((90, 90), Image.Resampling.LANCZOS), (101, 13))
    return canvas


def recoloured(picture: Image.Image) -> Image.Image:
    """Every hue changed, with about equal lightness."""
    red, green, blue, alpha = picture.split()
    mixed = red.convert("L"), green, blue
    return Image.merge("RGBA", (*(band.point(lambda value: value * 9 // 10 + 12) for band in mixed), alpha))


def fill_copies(studio: Studio) -> dict[str, str]:
    """Two drawings, and copies of the first -> digests by name."""
    first, other = drawing(0), drawing(len(WORLD.pictures) // 2)
    pictures = {"first": first, "moved": moved(first), "recoloured": recoloured(first), "other": other}
    results = {}
    for n, (name, picture) in enumerate(pictures.items()):
        entry = Entry(f"job{n}", 0, n, name, model="fake", created=1.7e9 + n)
        results[name] = keep(studio.gallery, as_file(picture), entry).stem
    return results


@pytest.fixture
def filled(tmp_path: Path) -> Any:
    with Studio(tmp_path / "home") as studio:
        yield studio, fill_copies(studio)


def test_copies_form_a_group_led_by_a_star(filled: Any) -> None:
    studio, results = filled
    (group,) = studio.duplicates()
    names = {digest: name for name, digest in results.items()}
    assert {names[item.sha256] for item in (group.best, *group.others)} == {"first", "moved", "recoloured"}
    studio.gallery.mark([results["recoloured"]], star=True)
    assert studio.duplicates()[0].best.sha256 == results["recoloured"]
    studio.gallery.delete([results["first"], results["moved"]])
    assert studio.duplicates() == [], "what is in the bin is no copy"


def test_prints_are_cached(filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    studio, _ = filled
    result = studio.duplicates()
    monkeypatch.setattr(Duplicates, "_print", lambda *_: pytest.fail("it was seen before"))
    assert studio.duplicates() == result


def test_a_print_is_of_the_drawing_wherever_it_lies() -> None:
    item, other = picture_print(drawing(0)), picture_print(moved(drawing(0)))
    assert (item * other).sum(1).min() > 0.97
    for empty in (Image.new("RGBA", (9, 9)), Image.new("RGB", (1, 3000), "white")):
        assert np.isfinite(picture_print(empty)).all() and not picture_print(empty).any()


def test_command_and_page_bin_and_restore_copies(studio: Command, tmp_path: Path) -> None:
    with Studio(tmp_path / "home") as opened:
        results = fill_copies(opened)
        handlers = SearchHandlers(PageContext(opened, "fake"))
        (group,) = opened.duplicates()
        others = " ".join(item.sha256 for item in group.others)
        press = lambda own: handlers.thin(type("Event", (), {"_data": {"own": own, "pictures": others}}))  # noqa: E731
        assert "In the bin: 2." in press("bin") and opened.duplicates() == []
        press("restore")
        assert len(opened.duplicates()) == 1
    output = studio("duplicates", "--bin", "--json")
    assert output.code == 0 and len(output.json) == 1 and len(output.json[0]["others"]) == 2
    assert studio("duplicates", "--json").json == []
    with Studio(tmp_path / "home") as opened:
        assert not opened.gallery.get(results["other"]).deleted
