"""The rim of a sticker: as wide as said, smooth, nothing of the picture lost."""

import io
from pathlib import Path

import numpy as np
import pytest
from drawn import face, noise
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from models.messages import Refused
from studio.export.apps import APPS, fit
from studio.export.drawing import Drawing, both, distance, outlined, seen_box


def disc(side: int, radius: float, colour: str = "#0044cc") -> Image.Image:
    """A smooth disc in the middle."""
    big = Image.new("RGBA", (8 * side, 8 * side))
    middle, reach = 4 * side, 8 * radius
    ImageDraw.Draw(big).ellipse((middle - reach, middle - reach, middle + reach, middle + reach), fill=colour)
    return big.resize((side, side), Image.Resampling.BOX)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31), st.integers(1, 14))
@settings(max_examples=60, deadline=None)
def test_distance_is_that_of_the_nearest_pixel(height, width, seed, reach):
    inside = np.random.default_rng(seed).random((height, width)) < 0.15
    far = distance(inside, reach)
    places = np.argwhere(inside)
    for y in range(height):
        for x in range(width):
            true = min((np.hypot(y - a, x - b) for a, b in places), default=np.inf)
            if true <= reach:
                assert far[y, x] == pytest.approx(true, abs=1e-4)
            else:
                assert far[y, x] > reach


@pytest.mark.parametrize("side", [64, 128, 512])
def test_a_disc_gets_a_ring_of_the_width_that_was_said(side):
    radius, share = 0.3 * side, 0.06
    out = np.asarray(outlined(disc(side, radius), share), float)
    area = out[..., 3].sum() / 255
    assert np.sqrt(area / np.pi) - radius == pytest.approx(share * side, abs=0.25)
    ring = out[side // 2, int(side / 2 - radius - share * side * 0.5)]
    assert ring.tolist() == [255, 255, 255, 255]


def test_the_edge_is_smooth_and_white_all_the_way():
    out = np.asarray(outlined(disc(128, 40), 0.05), int)
    edge = out[(out[..., 3] > 10) & (out[..., 3] < 245)]
    assert len(edge) > 200, "pixels that are partly covered"
    assert edge[:, :3].min() > 250


def test_what_has_the_room_stays_where_it_is():
    before, after = disc(128, 40), outlined(disc(128, 40), 0.05)
    opaque = np.asarray(before)[..., 3] == 255
    assert np.array_equal(np.asarray(before)[opaque], np.asarray(after)[opaque])


@given(
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(20, 128),
    st.integers(20, 128),
    st.sampled_from([0.02, 0.05, 0.1]),
)
@settings(max_examples=25, deadline=None)
def test_the_rim_is_never_cut_off(left, top, width, height, share):
    picture = Image.new("RGBA", (128, 128))
    picture.paste("red", (left, top, min(128, left + width), min(128, top + height)))
    out = np.asarray(outlined(picture, share))
    assert out.shape == (128, 128, 4)
    assert out[0, :, 3].max() == out[-1, :, 3].max() == out[:, 0, 3].max() == out[:, -1, 3].max() == 0
    box, red = seen_box(out[..., 3]), seen_box(np.where(out[..., 1] < 100, out[..., 3], 0))
    for outer, inner in zip((box[0], box[1], -box[2], -box[3]), (red[0], red[1], -red[2], -red[3]), strict=True):
        assert inner - outer == pytest.approx(share * 128, abs=1.6)


def test_what_is_made_larger_has_its_whole_rim_and_the_small_one_is_the_same_picture():
    small, large = both(Path("disc.png"), disc(128, 63.5), (512, 512), lambda _: disc(512, 254), rim=True)
    assert large is not None and (small.size, large.size) == ((128, 128), (512, 512))
    sticker = np.asarray(Image.open(io.BytesIO(fit(Drawing(small, large), APPS["telegram"])[0])).convert("RGBA"))
    for row in (sticker[256], sticker[256, ::-1], sticker[:, 256], sticker[::-1, 256]):
        visible = row[row[:, 3] > 127]
        assert np.argmax(visible[:, 0] < 127) == pytest.approx(0.04 * 512, abs=1.5), "pixels of rim before the blue"
    alone, nothing = both(Path("disc.png"), disc(128, 63.5), (512, 512), lambda _: None, rim=True)
    assert nothing is None and np.array_equal(np.asarray(alone), np.asarray(outlined(disc(128, 63.5))))


def test_colour_size_and_nothing():
    assert np.asarray(outlined(face(), colour="black"))[64, 8, :3].max() < 90
    assert outlined(noise(33, 77)).size == (33, 77)
    empty = Image.new("RGBA", (20, 20))
    assert not np.asarray(outlined(empty))[..., 3].any()
    assert np.array_equal(np.asarray(outlined(face(), 0))[..., 3], np.asarray(face())[..., 3])


@pytest.mark.parametrize(
    ("share", "colour"), [(-0.1, "white"), (0.5, "white"), (float("nan"), "white"), (0.1, "blanc")]
)
def test_what_can_not_be_is_refused(share, colour):
    with pytest.raises(Refused, match=r"\.$"):
        outlined(face(), share, colour)
