"""Laws of the atlas: small pictures come back as they were, in their places, each strip unpacked when asked for."""

import numpy as np
import pytest
import tiny_parts  # noqa: F401 - packs quickly
import torch
from fixture_world import fixture_world
from safetensors.torch import load, save

from models.data.pixels import resized
from models.references.store import SIDE, STRIP, Atlas, packed, unpacked

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
