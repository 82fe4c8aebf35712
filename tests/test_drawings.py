"""Laws of typical drawings, neighbours, morphs and the atlas that stores drawings.

Pictures and vectors equal to the byte are so on the kernels of one process.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny_parts  # noqa: F401 - packs quickly
import torch
from fixture_world import fixture_world
from PIL import Image
from prompt_kit import BagOfWords, world_parser
from safetensors.torch import load, save
from tiny_parts import save_tiny_parts
from torch import Tensor

from models.data.pixels import resized
from models.data.world import Picture, World, pictures_by_concept
from models.pipelines.sticker import StickerPipeline
from models.references.build import build_references, nearest_neighbours
from models.references.drawing import LEAD, aligned, clear, emphasised, morphed, typical
from models.references.store import NEIGHBOUR_SHARE, SIDE, STRIP, Atlas, Reference, ReferenceStore, packed, unpacked


def mean_drawing(drawings: np.ndarray) -> np.ndarray:
    """Of those that agree."""
    mean: np.ndarray = np.mean(aligned(drawings)[1], 0)
    return mean.round().astype(np.uint8)


def arrow(left: int = 8, top: int = 16, size: int = 40, shade: int = 200) -> np.ndarray:
    """A wedge that is high at its left: it is no mirror image of itself."""
    drawing = np.zeros((SIDE, SIDE, 4), np.uint8)
    rows, columns = np.mgrid[:size, :size]
    wedge = rows + columns < size
    drawing[top : top + size, left : left + size][wedge] = (shade, 30, 30, 255)
    return drawing


def disc(radius: int = 20) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    drawing = np.zeros((SIDE, SIDE, 4), np.uint8)
    drawing[(rows - 32) ** 2 + (columns - 32) ** 2 < radius**2] = (20, 40, 220, 255)
    return drawing


def mirrored(drawing: np.ndarray) -> np.ndarray:
    return drawing[:, ::-1].copy()


def far(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_of_the_same_drawings_it_is_that_drawing() -> None:
    assert far(mean_drawing(np.stack([arrow()] * 3)), arrow()) < 1
    assert np.array_equal(mean_drawing(arrow()[None]), arrow())


def test_a_mirror_image_is_turned_back() -> None:
    """The mean as it is would be a tent."""
    plain = np.mean([arrow(), mirrored(arrow()), arrow()], 0)
    found = mean_drawing(np.stack([arrow(), mirrored(arrow()), arrow()]))
    middle = np.mean([arrow(), mirrored(arrow())], 0)  # where it stands is the mean of where they stood
    assert min(far(found, np.roll(arrow(), shift, 1)) for shift in range(12)) < 1
    assert far(plain, arrow()) > 10 and far(found, middle) > 10
    both = mean_drawing(np.stack([arrow(shade=200), mirrored(arrow(shade=100))]))
    assert np.median(both[both[..., 3] == 255][:, 0]) == 150, "it has its say"


def test_what_looks_the_same_in_a_mirror_stays_as_it_is() -> None:
    assert far(mean_drawing(np.stack([disc(), mirrored(disc())])), disc()) < 2, "it stands in the middle of a pixel"


def test_drawings_are_brought_to_one_box_and_neither_place_nor_size_makes_another_thing() -> None:
    found = mean_drawing(np.stack([arrow(4, 4, 40), arrow(20, 20, 40), arrow(12, 12, 40)]))
    assert far(found, arrow(12, 12, 40)) < 1
    large, small = arrow(2, 2, 60), arrow(12, 12, 40)
    edges = mean_drawing(np.stack([large, small]))[..., 3]
    assert ((edges > 8) & (edges < 247)).mean() < 0.06, "no second outline stands within the first"


def test_the_odd_one_is_left_out() -> None:
    found = mean_drawing(np.stack([disc(), arrow(), arrow(shade=190)]))
    assert not found[..., 2].max() > 60, "nothing of the blue disc"
    assert far(found, arrow(shade=195)) < 1.5


def test_the_most_typical_agrees_most_with_the_others_and_is_the_first() -> None:
    shades = np.stack([arrow(shade=shade) for shade in (120, 230, 190)])
    common = mean_drawing(shades)
    assert typical(shades) == [2, 1], "the middle one; what disagrees with it has no say"
    assert np.unique(common[common[..., 3] == 255][:, 0]).tolist() == [210], "the mean of two that agree"
    assert [typical(pair)[0] for pair in (shades[:2], shades[1::-1])] == [0, 0], "of two the first"
    assert typical(arrow()[None]) == [0]
    assert typical(np.stack([arrow(shade=shade) for shade in (230, 190, 210)])) == [2, 0, 1], "the others in order"
    assert sorted(typical(np.stack([disc(), arrow(), arrow(shade=190)]))) == [1, 2], "the odd one out"


def test_of_two_that_have_nothing_in_common_the_first_is_taken() -> None:
    bars = [np.zeros((SIDE, SIDE, 4), np.uint8) for _ in range(2)]
    bars[0][30:34, :] = (255, 255, 255, 255)
    bars[1][:, 30:34] = (10, 10, 10, 255)
    for first, second in (bars, bars[::-1]):
        assert np.array_equal(mean_drawing(np.stack([first, second])), first)


def test_proportions_are_kept_where_the_boxes_differ_much() -> None:
    wide, square = np.zeros((SIDE, SIDE, 4), np.uint8), np.zeros((SIDE, SIDE, 4), np.uint8)
    wide[24:40, 4:60], square[4:60, 4:60] = (90, 90, 90, 255), (90, 90, 90, 255)
    found = mean_drawing(np.stack([wide, square, wide]))
    assert (found[..., 3] > 128).any(1).sum() <= 40
    assert found[40, 6, 3] == pytest.approx(170, abs=3), "the square is no wider than it is high"


def test_nothing_is_of_nothing() -> None:
    empty = np.zeros((2, SIDE, SIDE, 4), np.uint8)
    assert np.array_equal(mean_drawing(empty), empty[0]) and typical(empty) == [0]
    assert np.array_equal(mean_drawing(np.stack([empty[0], arrow()])), arrow()), "an empty drawing has no say"


# --- Nearest neighbours -----------------------------------------------------------------------------------------------


class Seeing(BagOfWords):
    """Stands for the embedder: pictures lie as near as their coarse pixels."""

    def image(self, pixels: np.ndarray) -> Tensor:
        coarse = torch.from_numpy(np.ascontiguousarray(pixels[:, ::32, ::16])).float().flatten(1)
        return torch.nn.functional.normalize(coarse, dim=-1)


class Blind(Seeing):
    """Names that have nothing to do with each other, and pictures neither: the pixels alone speak."""

    def text(self, texts: Sequence[str]) -> Tensor:
        return torch.eye(128)[: len(texts)]

    def image(self, pixels: np.ndarray) -> Tensor:
        return torch.nn.functional.one_hot(torch.zeros(len(pixels), dtype=torch.long), 128).float()


SEEING: Any = Seeing()
BLIND: Any = Blind()


def repainted(changes: dict[tuple[str, str], np.ndarray]) -> World:
    """The fixture, where what shows a concept in a style is another picture."""
    world = fixture_world()
    pixels = world.pixels.copy()
    for picture in world.pictures:
        if (picture.concept, picture.style) in changes:
            pixels[picture.index] = changes[picture.concept, picture.style]
    return World(world.pictures, pixels, world.digest)


def drawing(concept: str, style: str) -> Picture:
    return next(p for p in fixture_world().pictures if (p.concept, p.style) == (concept, style))


def of(concept: str, style: str) -> np.ndarray:
    return fixture_world().pixels[drawing(concept, style).index]


@pytest.fixture(autouse=True)
def all_are_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twelve things nobody has close neighbours."""
    monkeypatch.setattr("models.references.build.NEAR", -9.0)


def test_the_kin_is_what_other_hands_draw_like_it() -> None:
    """Noto has no apple; the two who have one drew it as they drew the fish."""
    world = repainted({("apple", style): of("fish", style) for style in ("twemoji", "outline")})
    found = nearest_neighbours(world, pictures_by_concept(world), BLIND)
    assert found["apple", "noto"] == drawing("fish", "noto")
    assert found["apple", "black glyph"] == drawing("fish", "black glyph")
    assert all(picture.style == style and picture.concept != concept for (concept, style), picture in found.items())


def test_names_speak_where_no_hand_drew_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """A house is drawn by one alone, who has no say in its own style."""
    world = fixture_world()
    only = pictures_by_concept(world)["house"][0]
    pictures = [
        replace(p, names={"en": "bird house"}) if p.concept == "house" else
        replace(p, names={"en": "tree house"}) if p.concept == "tree" else p
        for p in world.pictures
    ]  # fmt: skip
    renamed = World(pictures, world.pixels, world.digest)
    assert nearest_neighbours(renamed, pictures_by_concept(renamed), SEEING)["house", only.style].concept == "tree"
    monkeypatch.setattr("models.references.build.NEAR", 9.0)
    assert nearest_neighbours(world, pictures_by_concept(world), SEEING) == {}


def test_a_cell_s_own_family_has_no_say() -> None:
    world = fixture_world()
    before = nearest_neighbours(world, pictures_by_concept(world), SEEING)
    for cell in (("cat", "noto"), ("star", "twemoji"), ("tree", "outline")):
        other = repainted({cell: of("car", cell[1])})
        assert nearest_neighbours(other, pictures_by_concept(other), SEEING)[cell] == before[cell]
    everyone = {("star", style): of("car", style) for style in ("noto", "outline", "black glyph")}
    found = nearest_neighbours(repainted(everyone), pictures_by_concept(world), BLIND)
    assert found["star", "twemoji"].concept == "car", "and all others have"


def test_what_a_style_has_drawn_needs_no_kin(tmp_path: Path) -> None:
    world = fixture_world()
    numbers = {concept: number for number, concept in enumerate(pictures_by_concept(world))}
    drawn = {(numbers[concept], p.style) for concept, own in pictures_by_concept(world).items() for p in own}
    built = build_references(world, embedder=SEEING)
    every = {(number, style) for number in numbers.values() for style in {p.style for p in world.pictures}}
    assert set(built.neighbours) == every - drawn and set(built.drawn) == drawn
    assert all(
        any(row == other and style == own for (_, own), other in built.drawn.items())
        for (_, style), row in built.neighbours.items()
    )
    world_parser(world).save(tmp_path)
    built.save(tmp_path)
    again = ReferenceStore.load(tmp_path)
    assert again.neighbours == built.neighbours and again.drawn == built.drawn
    assert build_references(world).neighbours == {}


def test_a_thing_is_half_its_kin_in_that_style_alone() -> None:
    pictures = np.full((3, SIDE, SIDE, 4), 200, np.uint8)
    pictures[2] = 100
    store = ReferenceStore(pictures, [[0], [1]], {(2, "noto"): 2}, {(1, "noto"): 2})
    found = store.retrieve(1, style="noto")
    assert (found.rows, found.neighbour) == ((1,), 2) and not found.is_exact
    assert np.unique(store.drawing(found)) == round(200 - 100 * NEIGHBOUR_SHARE)
    for other in (store.retrieve(1), store.retrieve(1, style="twemoji"), store.retrieve(0, style="noto")):
        assert np.unique(store.drawing(other)) == 200


def test_a_prompt_begins_from_the_kin_of_its_style(tmp_path: Path) -> None:
    pipe = StickerPipeline.assemble(save_tiny_parts(tmp_path), torch.float32)
    world = fixture_world()
    pipe.parser = world_parser(world)

    def drafts(store: ReferenceStore) -> Tensor:
        pipe.references = store
        prompts = ["apple, noto style", "apple, twemoji style", "apple"]
        return pipe._with_references(
            pipe.retrieved(prompts, [0] * 3, [True] * 3), pipe.encode_condition(prompts)
        ).reference

    plain, styled = drafts(build_references(world)), drafts(build_references(world, embedder=SEEING))
    same = [torch.equal(one, other) for one, other in zip(plain, styled, strict=True)]
    assert same == [False, True, True], "twemoji has an apple, and no style has no kin"


# --- Morphing ---------------------------------------------------------------------------------------------------------


RED, BLUE = (220, 40, 40), (40, 40, 220)


def bottle(neck: int, colour: tuple[int, int, int] = RED) -> np.ndarray:
    """A body, and on it a neck of some width: shapes that one box does not make equal."""
    drawing = np.zeros((128, 128, 4), np.uint8)
    drawing[60:120, 24:104] = drawing[8:60, 64 - neck : 64 + neck] = (*colour, 255)
    drawing[80:100, 40:88] = (250, 250, 250, 255)
    return drawing


def neck(drawing: np.ndarray) -> int:
    return int((drawing[30, :, 3] > 127).sum())


def test_of_one_or_of_those_that_have_nothing_in_common_it_is_the_first() -> None:
    lines = np.zeros((128, 128, 4), np.uint8)
    lines[:, 10:14] = 255
    for others, shares in (([], [1.0]), ([lines], [0.5, 0.5])):
        found, rows = morphed(np.stack([bottle(10), *others]), shares)
        assert np.array_equal(found, bottle(10)) and rows == (0,)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_it_lies_between_two_and_has_no_ghosts(share: float) -> None:
    found, rows = morphed(np.stack([bottle(14), bottle(22)]), [1 - share, share])
    assert set(rows) == {0, 1}
    first = LEAD[0] + (LEAD[1] - LEAD[0]) * (1 - share)
    assert abs(neck(found) - (28 + 16 * (1 - first))) <= 4
    assert ((found[..., 3] > 40) & (found[..., 3] < 215)).mean() < 0.03, "half transparent is what only one of them has"
    assert (found[..., :3].astype(int) <= found[..., 3:].astype(int) + 1).all()
    mean = (bottle(14).astype(float) + bottle(22)) / 2
    assert ((mean[..., 3] > 40) & (mean[..., 3] < 215)).mean() > 0.04


def test_the_look_is_the_first_one_s_where_it_is_kept() -> None:
    drawings = np.stack([bottle(14, RED), bottle(22, BLUE)])
    kept, mixed = (morphed(drawings, [0.5, 0.5], keeps_look=kept)[0] for kept in (True, False))
    assert abs(neck(kept) - neck(mixed)) <= 2 and neck(kept) > 30
    tint = np.mean(LEAD) * np.array(RED) + (1 - np.mean(LEAD)) * np.array(BLUE)
    assert np.allclose(kept[110, 30, :3], RED, atol=2) and np.allclose(mixed[110, 30, :3], tint, atol=5)


def test_it_is_turned_as_the_others_are_and_the_same_on_any_number_of_threads() -> None:
    tilted = np.array(Image.fromarray(bottle(12)).rotate(15))
    drawings = np.stack([tilted, tilted[:, ::-1], bottle(16)])
    found, _ = morphed(drawings, [0.4, 0.4, 0.2])
    assert np.array_equal(found, morphed(drawings, [4, 4, 2])[0]) and cv2.getNumThreads() == 1


def test_a_drawing_without_a_share_is_no_source() -> None:
    lines = np.zeros((128, 128, 4), np.uint8)
    lines[:, 10:14] = 255
    store = ReferenceStore(np.stack([bottle(14), lines, bottle(22)])[:, ::2, ::2], [[0, 1, 2]])
    for rows in [(0, 1, 2), (1, 0, 2), (2, 0, 1)]:
        one = Reference(rows, (0.4, 0.3, 0.3))
        assert set(store.drawn_from(one)) == ({1} if one.rows[0] == 1 else {0, 2})


def test_a_drawing_of_fewer_lines_than_the_others_does_not_lead() -> None:
    striped, faint, empty = bottle(14), bottle(14), bottle(14, (250, 250, 250))
    striped[64:116:8, 28:100, :3] = 0
    faint[64:116:8, 28:100, :3] //= 2
    assert clear([striped, empty, faint]) == [0, 2] and clear([empty] * 3) == [0, 1, 2] and clear([empty]) == [0]
    assert clear([striped, empty]) == [0, 1], "two lead at least"
    store = ReferenceStore(np.stack([striped, empty, faint])[:, ::2, ::2], [[0, 1, 2]])
    assert [store.retrieve(0, seed).rows[0] for seed in range(4)] == [0, 2, 0, 2]


def test_lines_inside_are_stronger_and_flat_areas_and_outlines_stay() -> None:
    flat = bottle(14)
    flat[flat[..., 3] > 0] = (200, 150, 100, 255)
    assert np.array_equal(emphasised(flat), flat)
    lined = flat.copy()
    lined[88:91, 40:88, :3] -= 30
    strong = emphasised(lined)
    assert np.ptp(strong[..., 0][80:100, 44:84]) > 1.3 * np.ptp(lined[..., 0][80:100, 44:84])
    assert np.array_equal(strong[..., 3], flat[..., 3]) and np.array_equal(strong[:40], flat[:40])


# --- The atlas --------------------------------------------------------------------------------------------------------


LAST = 3  # pictures of the last strip


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Plain ones, each of another grey: none could be taken for its neighbour."""
    grey = np.arange(STRIP + LAST, dtype=np.uint8) * 3
    made = np.broadcast_to(grey[:, None, None, None], (STRIP + LAST, SIDE, SIDE, 4)).copy()
    made[..., 3] = 255
    return made


def test_every_picture_comes_back_in_its_place(pictures: np.ndarray) -> None:
    again = Atlas.from_tensors(load(save(Atlas.of(pictures).tensors())))
    assert len(again) == len(pictures)
    for kept, own in zip([again[number] for number in range(len(again))], pictures, strict=True):
        assert kept.shape == (SIDE, SIDE, 4) and np.abs(kept.astype(int) - own).max() <= 3
    assert np.array_equal(list(again), [again[number] for number in range(len(again))])
    for number in (-1, len(pictures)):
        with pytest.raises(IndexError, match=f"picture {number} of {len(pictures)}"):
            again[number]


def test_one_strip_is_unpacked_once_and_only_when_it_is_asked_for(
    pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr("models.references.store.unpacked", lambda avif: seen.append(len(avif)) or unpacked(avif))
    made = Atlas.from_tensors(Atlas.of(pictures).tensors())
    assert not seen
    for number in (0, STRIP - 1, 1):
        made[number]
    assert len(seen) == 1
    made[STRIP + LAST - 1]
    assert len(seen) == 2


def test_of_no_pictures_it_is_none() -> None:
    none = Atlas.from_tensors(load(save(Atlas.of(np.zeros((0, SIDE, SIDE, 4), np.uint8)).tensors())))
    assert len(none) == 0 and not list(none)


def test_what_is_clear_stays_so() -> None:
    half = torch.zeros(SIDE, SIDE, 4, dtype=torch.uint8).numpy()
    half[:, : SIDE // 2] = 255
    kept = unpacked(packed(half))
    assert (kept[:, : SIDE // 2 - 2] > 250).all() and (kept[:, SIDE // 2 + 2 :] < 5).all()
    assert (kept[..., :3] <= kept[..., 3:]).all()


def test_packing_leaves_no_haze_where_nothing_is_and_no_hole_where_all_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.references.store.SPEED", 3)  # as what ships is packed
    drawings = np.stack([resized(pixels, SIDE, SIDE) for pixels in fixture_world().pixels[:STRIP]])
    strip = drawings.swapaxes(0, 1).reshape(SIDE, -1, 4)
    kept, alpha = unpacked(packed(strip))[..., 3], strip[..., 3]
    assert (kept[alpha == 0] == 0).mean() > 0.9 and (kept[alpha == 255] == 255).mean() > 0.9
