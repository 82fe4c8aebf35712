"""Laws of what teaches shapes: pure, never of what is held out, a fixed share of a step, and of little noise only."""

import io
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from tiny_parts import save_tiny_parts

pytest.importorskip("resvg_py", reason="resvg-py draws the shapes")

from models.data import mixtures, packages, shapes
from models.data.build import render_svg
from models.data.fixture import fixture_world
from models.data.mixtures import mixture, recoloured
from models.data.packages import Package
from models.data.shapes import Hidden, Shapes
from models.data.world import World
from models.train import shape_rows
from models.train.image import ImageTask, Mix
from models.train.loop import TaskOptions
from models.train.shape_rows import BELOW

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 16 16">'
GRADIENT = '<defs><linearGradient id="a"><stop stop-color="{0}"/></linearGradient></defs>'
PATHS = [f'<path d="M1 {top}h8v9z"/>' for top in range(1, 5)]
DRAWINGS = [
    f'{HEAD}<circle cx="8" cy="8" r="7" fill="#f00"/><rect width="6" height="6" fill="#00ff00"/></svg>',
    f'{HEAD}{GRADIENT.format("#123456")}<path fill="url(#a)" d="M0 0h16v16z"/><circle cx="4" cy="4" r="3"/></svg>',
    f'{HEAD}<g><rect width="16" height="9" fill="#abc"/><rect y="9" width="16" height="7" fill="#fed"/></g></svg>',
    f'{HEAD}<linearGradient id="b"><stop/></linearGradient><path fill="url(#b)" d="M1 0h9v9z"/>{PATHS[0]}</svg>',
    f'{HEAD}<g fill="none">{"".join(PATHS)}</g></svg>',
    f'{HEAD}<path d="M0 9h9v3z"/></svg>',
]
ICONS = [(f'{HEAD}<rect x="2" y="2" width="12" height="12" fill="currentColor"/></svg>', "box, icon")]
SHAPES = Shapes({"round": DRAWINGS}, {"@test/icons": ICONS})


def test_a_shape_is_a_function_of_number_and_seed() -> None:
    first, again = ([SHAPES.draw(number, 5) for number in range(12)] for _ in range(2))
    other = [SHAPES.draw(number, 6) for number in range(12)]
    assert all(np.array_equal(a, b) and said == told for (a, said), (b, told) in zip(first, again, strict=True))
    assert any(not np.array_equal(a, b) for (a, _), (b, _) in zip(first, other, strict=True))
    assert {said for _, said in first[::2]} == {"round style"} and {said for _, said in first[1::2]} == {"box, icon"}
    assert all(pixels.shape == (128, 128, 4) and (pixels[..., 3] > 127).mean() >= 0.03 for pixels, _ in first)


def test_what_shows_nothing_is_drawn_anew_and_at_last_refused() -> None:
    empty = f'{HEAD}<rect width="1" height="1" fill="#fff"/></svg>'
    mostly = Shapes({"round": [*DRAWINGS, empty]}, {"@test/icons": ICONS})
    assert all((mostly.draw(number, 0)[0][..., 3] > 127).mean() >= 0.03 for number in range(0, 40, 2))
    with pytest.raises(ValueError, match="nothing to be seen"):
        Shapes({"round": [empty]}, {"@test/icons": ICONS}).draw(0, 0)


def test_a_mixture_has_some_elements_and_every_gradient_its_own_name() -> None:
    for seed in range(60):
        svg = mixture(DRAWINGS, Random(seed))
        names = re.findall(r'\bid="([^"]+)"', svg)
        assert len(set(names)) == len(names)
        assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= set(names)
        assert render_svg(svg).shape == (128, 128, 4)
    whole = "".join(DRAWINGS)
    drawn = re.findall(r' d="[^"]+"| r="[^"]+"', "".join(mixture(DRAWINGS, Random(seed)) for seed in range(20)))
    assert drawn and all(element in whole for element in drawn)


def test_no_mixture_is_a_whole_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixtures, "LAYERS", (1,))
    for seed in range(40):
        assert mixture(DRAWINGS[4:5], Random(seed)).count("<path") in (1, 2)
        assert mixture(DRAWINGS[5:], Random(seed)).count("<g transform") == 2, "of one element: laid over another"
    assert any('fill="none"' in mixture(DRAWINGS[4:5], Random(seed)) for seed in range(4))


def test_recolouring_changes_colours_alone() -> None:
    svg = recoloured(DRAWINGS[0], Random(1))
    assert re.sub(r"#[0-9a-f]+", "", svg) == re.sub(r"#[0-9a-f]+", "", DRAWINGS[0]) and svg != DRAWINGS[0]
    grey = recoloured('fill="#808080"', Random(1))
    assert len({grey[7:9], grey[9:11], grey[11:13]}) == 1  # no hue to turn


def _archive(folder: Path, name: str, icons: dict[str, str]) -> dict[str, str]:
    """A package of icons in `folder`, and its row of the lock."""
    path = folder / packages.archive_name(name, "1.0.0")
    bodies = {icon: {"body": body} for icon, body in icons.items()}
    files: dict[str, object] = {
        "icons.json": {"width": 16, "height": 16, "icons": bodies},
        "chars.json": {},
        "info.json": {"license": {"spdx": "MIT"}},
    }
    with tarfile.open(path, "w:gz") as archive:
        for file, content in files.items():
            data = json.dumps(content).encode()
            info = tarfile.TarInfo(f"package/{file}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return {"version": "1.0.0", "sha256": packages.sha256_file(path), "licence": "MIT"}


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The fixture's world as if it had been built, of one drawn set and one of icons."""
    (tmp_path / "downloads").mkdir()
    world = fixture_world()
    square, hidden = '<rect width="16" height="16"/>', world.split("concept", allow_test=True)[0].names["en"]
    ids = [picture.id.partition("/")[2] for picture in world.pictures if picture.style == "noto"]
    icons = {"paint-tube-2": square, f"big-{hidden.replace(' ', '-')}s": square, "box-outline": square, "64": square}
    sets = {"@test/drawn": dict.fromkeys(ids, square), "@test/icons": icons}
    lock = {name: _archive(tmp_path / "downloads", name, of) for name, of in sets.items()}
    monkeypatch.setattr(shapes, "PACKAGES", (Package("@test/drawn", "iconify", "MIT", "the test", "noto", "noto"),))
    monkeypatch.setattr(shapes, "ICON_SETS", (Package("@test/icons", "icons", "MIT", "the test"),))
    monkeypatch.setattr(shapes, "read_lock", lambda: lock)
    return World(world.pictures, world.pixels, world.digest, tmp_path)


def test_only_what_training_may_see_is_drawn_from(packed: World) -> None:
    found = Shapes.load(packed)
    assert found is not None
    trained = [picture for picture in packed.split("train") if picture.style == "noto"]
    assert len(found.drawings["noto"]) == len(trained) < sum(p.style == "noto" for p in packed.pictures)
    assert [caption for _, caption in found.icons["@test/icons"]] == ["paint tube, icon"]


def test_a_held_out_name_of_common_words_is_not_drawn_from_either(
    packed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "COMMON", 0)
    found = Shapes.load(packed)
    assert found is not None and [caption for _, caption in found.icons["@test/icons"]] == ["paint tube, icon"]


def test_other_drawings_have_another_digest(packed: World) -> None:
    found = Shapes.load(packed)
    assert found is not None
    fewer = Shapes(found.drawings | {"noto": found.drawings["noto"][1:]}, found.icons)
    assert len({found.digest(), fewer.digest(), Shapes(found.drawings, {}).digest()}) == 3
    again = Shapes.load(packed)
    assert again is not None and again.digest() == found.digest()


def test_packages_that_cannot_be_had_are_missed_before_anything_is_encoded(
    packed: World, parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.train.image.encode_all", lambda *_: pytest.fail("encoded for nothing"))
    monkeypatch.setattr(packages.shutil, "which", lambda _: None)
    (packed.folder / "downloads" / packages.archive_name("@test/icons", "1.0.0")).unlink()
    with pytest.raises(OSError, match="npm is not installed"):
        ImageTask(TaskOptions("tiny", 3, packed, lambda _: 20, parts), mix=Mix(shapes=0.25))


def test_icons_under_another_licence_are_refused(packed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "ICON_SETS", (Package("@test/icons", "icons", "CC-BY-4.0", "the test"),))
    with pytest.raises(ValueError, match="declares MIT"):
        Shapes.load(packed)


def test_hidden_words_are_of_concepts_that_no_training_picture_shows() -> None:
    world = fixture_world()
    hidden, concepts = Hidden.of(world).words, {p.concept for p in world.split("concept", allow_test=True)}
    assert concepts and all(set(re.findall("[a-z]{3,}", concept)) <= hidden for concept in concepts)
    assert not hidden & {picture.names["en"].lower() for picture in world.split("train")}


def test_a_world_in_memory_has_no_shapes() -> None:
    assert Shapes.load(fixture_world()) is None


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_parts(tmp_path_factory.mktemp("parts"))


def _task(parts: Path, mix: Mix) -> ImageTask:
    return ImageTask(TaskOptions("tiny", 3, fixture_world(), lambda _: 20, parts, parts / "cache"), mix=mix)


@pytest.fixture(scope="module")
def tasks(parts: Path) -> Iterator[tuple[ImageTask, ImageTask]]:
    """With shapes in a quarter of the samples, and without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shape_rows, "POOL", 12)
        patch.setattr(Shapes, "load", classmethod(lambda cls, world: SHAPES))
        yield _task(parts, Mix(shapes=0.25)), _task(parts, Mix(shapes=0.0))


def test_shapes_take_their_share_of_a_step_and_leave_the_others(tasks: tuple[ImageTask, ImageTask]) -> None:
    mixed, plain = (task.batch(4, 0, 1, 0.0) for task in tasks)
    rows = tasks[0].shapes.encoded.latents.float()
    assert all(torch.equal(mixed[name][:15], plain[name][:15]) for name in mixed)
    shown = mixed["x"][15:] - mixed["t"][15:, None, None, None] * mixed["target"][15:]
    nearest = (shown[:, None] - rows[None]).square().mean((2, 3, 4)).min(1).values
    assert (nearest < 1e-4).all()
    assert (mixed["t"][15:] < BELOW).all() and not mixed["vector"][15:].any()
    assert not mixed["reference"][15:].any() and not mixed["warp"][15:].any()


def test_ranks_share_the_shapes_of_a_step(tasks: tuple[ImageTask, ImageTask]) -> None:
    whole, halves = tasks[0].batch(4, 0, 1, 0.0), [tasks[0].batch(4, rank, 2, 0.0) for rank in range(2)]
    for name in ("x", "t", "target", "mask", "warp"):
        assert torch.equal(whole[name][0::2], halves[0][name]) and torch.equal(whole[name][1::2], halves[1][name])


def test_some_shapes_are_told_and_some_are_not(tasks: tuple[ImageTask, ImageTask]) -> None:
    told = [tasks[0].batch(step, 0, 1, 0.0)["mask"][15:].any(1) for step in range(40)]
    assert torch.cat(told).float().mean() == pytest.approx(shape_rows.TOLD, abs=0.12)


def test_shapes_are_encoded_once(tasks: tuple[ImageTask, ImageTask], monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    draw = Shapes.draw
    monkeypatch.setattr(Shapes, "draw", lambda self, number, seed: drawn.append(number) or draw(self, number, seed))
    again = _task(tasks[0].options.parts, replace(tasks[0].mix))
    assert torch.equal(again.shapes.encoded.latents, tasks[0].shapes.encoded.latents)
    assert len(drawn) == len(set(drawn))  # the probes that name the file, and no more
