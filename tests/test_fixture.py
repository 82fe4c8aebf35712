import numpy as np
from fixture_world import DRAWINGS, FAMILIES, fixture_world

from models.data.splits import SPLITS, assign
from models.data.styles import STYLES


def test_every_split_holds_pictures() -> None:
    world = fixture_world()
    assert all(world.split(name, allow_test=True) for name in SPLITS)
    assert len(world.pictures) == len(DRAWINGS) * len(FAMILIES) == 48


def test_splits_are_those_of_the_real_world() -> None:
    splits = assign((concept, family) for concept in DRAWINGS for family in FAMILIES.values())
    assert all(picture.split == splits[picture.concept, picture.family] for picture in fixture_world().pictures)


def test_pixels_are_premultiplied_and_the_same_every_time() -> None:
    first, second = fixture_world(), fixture_world.__wrapped__()
    assert first.digest == second.digest and np.array_equal(first.pixels, second.pixels)
    assert (first.pixels[..., :3] <= first.pixels[..., 3:]).all()
    assert first.pixels.shape == (48, 128, 128, 4)


def test_pictures_differ_and_rows_match() -> None:
    world = fixture_world()
    assert len({world.pixels[p.index].tobytes() for p in world.pictures}) == 48
    assert [p.index for p in world.pictures] == list(range(48))
    assert len({p.id for p in world.pictures}) == 48
    assert all(p.style in STYLES and p.names["zh"] and p.keywords["en"] and p.colours for p in world.pictures)


def test_edges_are_smooth() -> None:
    alpha = fixture_world().pixels[..., 3]
    assert ((alpha > 0) & (alpha < 255)).any((1, 2)).all()
