"""Premultiplied inside, straight in files; hostile files get a sentence."""

import numpy as np
import pytest
import torch
from PIL import Image

from models.data import pixels


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


def test_fit_keeps_the_whole_picture_and_bleeds_no_invisible_colour():
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
