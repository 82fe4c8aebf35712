"""Pixels and colours: premultiplied inside, straight in files; refusal of bad files."""

import numpy as np
import pytest
import torch
from fixture_world import fixture_world
from PIL import Image

from models.data import pixels
from models.data.colours import (
    COLOURS,
    NAMES,
    PAINTS,
    black_and_white,
    colour_shares,
    hue_shift,
    main_colours,
    oklab,
    srgb,
)


def _noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (128, 128, 4), np.uint8)


def test_premultiplied_pixels_survive_the_way_out_and_back():
    inside = pixels.premultiply(_noise())
    assert (inside[..., :3] <= inside[..., 3:]).all()
    again = pixels.premultiply(pixels.unpremultiply(inside))
    assert np.array_equal(again, inside)


def test_a_saved_png_is_read_back_equal(tmp_path):
    inside = pixels.premultiply(_noise())
    pixels.png(inside).save(tmp_path / "a.png")
    assert np.abs(pixels.load_picture(tmp_path / "a.png").astype(int) - inside).max() <= 1


def test_fit_keeps_the_picture_without_bleeding():
    wide = np.zeros((50, 200, 4), np.uint8)
    wide[:, :100] = (0, 255, 0, 255)
    wide[:, 100:] = (255, 0, 0, 0)  # transparent red must not show
    inside = pixels.fit(Image.fromarray(wide))
    assert inside.shape == (128, 128, 4)
    assert not inside[..., 0].any()
    assert not inside[:40].any()
    assert (inside[..., :3] <= inside[..., 3:]).all()


def test_tensors_and_uint8_are_inverse():
    inside = pixels.premultiply(np.stack([_noise(1), _noise(2)]))
    tensor = pixels.to_tensor(inside)
    assert tensor.shape == (2, 4, 128, 128)
    assert np.array_equal(pixels.to_uint8(tensor), inside)


def test_composite_is_the_over_operator():
    picture = torch.tensor([0.2, 0.1, 0.0, 0.5]).view(1, 4, 1, 1)
    assert torch.allclose(pixels.composite(picture, (1.0, 1.0, 1.0)).flatten(), torch.tensor([0.7, 0.6, 0.5]))
    grounds = torch.zeros(1, 3)
    assert torch.allclose(pixels.composite(picture, grounds).flatten(), torch.tensor([0.2, 0.1, 0.0]))


def test_grey_of_16_bits_is_not_turned_white(tmp_path):
    grey = (np.arange(128 * 128) * 4).astype(np.uint16).reshape(128, 128)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(pixels.load_picture(tmp_path / "grey.png")[..., 0], grey // 257)


@pytest.mark.parametrize("kind", ["png", "webp"])
@pytest.mark.parametrize("block", [b"II*\0", b"no TIFF at all"])
def test_a_picture_whose_rotation_cannot_be_read_is_taken_as_it_is(tmp_path, kind, block):
    path = tmp_path / f"a.{kind}"
    Image.new("RGBA", (9, 5), "red").save(path, exif=b"Exif\0\0" + block, lossless=True)
    assert pixels.read_picture(path).size == (9, 5)


@pytest.mark.parametrize("case", ["missing", "folder", "text", "cut", "empty", "bomb", "pdf"])
def test_a_file_that_is_no_picture_gets_a_sentence_that_names_it(tmp_path, case):
    path = tmp_path / f"{case}.png"
    if case == "folder":
        path.mkdir()
    elif case == "text":
        path.write_text("not a picture")
    elif case == "empty":
        path.write_bytes(b"")
    elif case == "pdf":
        Image.new("RGB", (8, 8)).save(path, "PDF")
    elif case == "cut":
        pixels.png(_noise()).save(path)
        path.write_bytes(path.read_bytes()[:2000])
    elif case == "bomb":
        Image.new("1", (30_000, 30_000)).save(path)
    with pytest.raises(ValueError, match=path.name):
        pixels.load_picture(path)


# --- Colours ----------------------------------------------------------------------------------------------------------


WORLD = fixture_world()


def patch(*colours: str) -> np.ndarray:
    """Equal stripes of sRGB hex colours, opaque."""
    rows = [[int(code[i : i + 2], 16) for i in (0, 2, 4)] + [255] for code in colours]
    return np.repeat(np.array(rows, np.uint8), 120 // len(rows), 0)[:, None].repeat(64, 1)


def test_oklab_matches_its_published_values() -> None:
    # Ottosson's post: white is (1, 0, 0); red is about (0.628, 0.225, 0.126).
    white, red = oklab(np.array([[255, 255, 255], [255, 0, 0]], np.uint8))
    assert np.allclose(white, [1, 0, 0], atol=2e-3)
    assert np.allclose(red, [0.628, 0.225, 0.126], atol=2e-3)


def test_oklab_and_back_is_the_same_colour() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (2000, 3), dtype=np.uint8)
    assert np.abs(srgb(oklab(colours)).astype(int) - colours).max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_each_shade_has_its_name(name: str) -> None:
    for shade in COLOURS[name].shades:
        assert main_colours(patch(shade)) == (name,), shade


def test_colours_come_by_share_and_details_are_dropped() -> None:
    picture = patch("DD2E44", "DD2E44", "DD2E44", "DD2E44", "DD2E44", "4CAF50", "4CAF50", "4CAF50", "1E88E5", "000000")
    assert main_colours(picture) == ("red", "green")  # blue and black cover 10 % each
    assert sum(colour_shares(picture).values()) == pytest.approx(1)


def test_pixels_count_by_their_opacity() -> None:
    picture = patch("DD2E44", "4CAF50")
    picture[60:] //= 4  # a quarter as opaque, still green
    assert colour_shares(picture)["red"] == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("colour", PAINTS)
def test_a_painted_picture_has_that_colour_first(colour: str) -> None:
    shifted = [hue_shift(WORLD.pixels[picture.index], colour) for picture in WORLD.pictures]
    first = [main_colours(pixels)[0] == colour for pixels in shifted]
    assert np.mean(first) >= 0.9
    assert all(colour in main_colours(pixels) for pixels in shifted)


def test_painting_keeps_alpha_premultiplication_and_shading() -> None:
    picture = WORLD.pictures[0]  # shaded: darker at the bottom
    before = WORLD.pixels[picture.index]
    after = hue_shift(before, "blue")
    assert np.array_equal(after[..., 3], before[..., 3])
    assert (after[..., :3] <= after[..., 3:]).all()
    body = np.abs(before[..., :3].astype(int) - (221, 46, 68)).sum(-1) < 120
    light, shifted = oklab(before[..., :3])[..., 0][body], oklab(after[..., :3])[..., 0][body]
    assert np.corrcoef(light, shifted)[0, 1] > 0.9


@pytest.mark.parametrize("colour", ["orange", "blue"])
def test_painted_whole_its_neutral_parts_have_the_colour_too(colour: str) -> None:
    rocket = np.full((32, 32, 4), 255, np.uint8)
    rocket[:12, :, :3] = 128  # a grey body and more that is red
    rocket[12:, :, 1:3] = 30
    assert 0.5 < colour_shares(hue_shift(rocket, colour))[colour] < 0.7
    assert colour_shares(hue_shift(rocket, colour, whole=True))[colour] > 0.9


def test_black_and_white() -> None:
    picture = np.zeros((64, 64, 4), np.uint8)
    picture[8:56, 8:56] = [200, 120, 40, 255]
    picture[8:20, 8:56] = [120, 40, 20, 255]
    picture[40:56, 8:56] = [100, 90, 10, 128]
    grey = black_and_white(picture)
    assert np.array_equal(grey[..., 3], picture[..., 3]) and np.ptp(grey[..., :3].astype(int), -1).max() <= 1
    assert grey[10, 10, 0] < 50 < grey[30, 30, 0] < 200 and grey[45, 30, 0] > 115 and not grey[0].any()
    assert np.array_equal(black_and_white(np.zeros_like(picture)), np.zeros_like(picture))
    plain = np.full_like(picture, 255)
    assert np.abs(black_and_white(plain)[..., :3].astype(int) - 245).max() < 5
