"""Laws of the vision encoder."""

import pytest
import torch

from models.presets import PRESETS, preset
from models.vision import VisionEncoder


@pytest.fixture(scope="module")
def encoder() -> VisionEncoder:
    torch.manual_seed(0)
    return VisionEncoder(**preset("vision", "tiny")).eval()


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return torch.rand(3, 4, 128, 128, generator=torch.Generator().manual_seed(1))


def test_a_picture_becomes_64_tokens(encoder, pictures):
    tokens = encoder(pictures)
    assert tokens.shape == (3, 64, encoder.config["width"])
    assert torch.allclose(tokens.mean(-1), torch.zeros(3, 64), atol=1e-5)  # normed


def test_pictures_do_not_see_each_other(encoder, pictures):
    assert torch.allclose(encoder(pictures)[1], encoder(pictures[1:2])[0], atol=1e-5)


def test_keeping_all_tokens_changes_nothing(encoder, pictures):
    everything = torch.arange(64).expand(3, 64)
    assert torch.allclose(encoder(pictures, everything), encoder(pictures), atol=1e-6)


def test_a_dropped_token_is_not_seen(encoder, pictures):
    keep = torch.arange(0, 32).expand(3, 32)  # the upper half
    changed = pictures.clone()
    changed[:, :, 96:] = 0  # far enough below that no convolution reaches the upper half
    assert torch.allclose(encoder(pictures, keep), encoder(changed, keep), atol=1e-6)
    assert not torch.allclose(encoder(pictures)[:, :32], encoder(changed)[:, :32], atol=1e-4)


def test_tokens_know_their_place(encoder):
    """A blank picture differs between tokens by position alone, and tokens go row by row."""
    blank = torch.zeros(1, 4, 128, 128)
    marked = blank.clone()
    marked[:, :, 28:44, 60:76] = 1  # around the middle of token row 2, column 4
    before, after = encoder.stem(blank), encoder.stem(marked)
    assert int((after - before).abs().sum(-1).argmax()) == 2 * 8 + 4
    assert encoder(blank)[0].std(0).min() > 1e-3


def test_alpha_matters_where_colour_does_not(encoder):
    """Black on transparent ground is not the same as nothing: alpha is read."""
    nothing, black = torch.zeros(1, 4, 128, 128), torch.zeros(1, 4, 128, 128)
    black[:, 3, 32:96, 32:96] = 1
    assert not torch.allclose(encoder(nothing), encoder(black), atol=1e-3)


def test_saved_and_loaded_equal(encoder, pictures, tmp_path):
    encoder.save_pretrained(tmp_path)
    again = VisionEncoder.from_pretrained(tmp_path).eval()
    assert torch.equal(again(pictures), encoder(pictures))


def test_the_shipped_size_is_as_planned():
    with torch.device("meta"):
        encoder = VisionEncoder(**PRESETS["vision"]["sticker"])
    assert 4e6 < sum(p.numel() for p in encoder.parameters()) < 7e6


def test_a_wrong_shape_is_named(encoder):
    with pytest.raises(ValueError, match=r"\(1, 3, 64, 64\).*\(B, 4, 128, 128\)"):
        encoder(torch.zeros(1, 3, 64, 64))
