"""The extractor: what goes in, what is kept on disk, and that it never changes."""

import numpy as np
import pytest
import torch

from eval import features as module
from eval.features import EffLite0, extractor, features, on_white, resize, stored_features


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Five premultiplied pictures (5, 128, 128, 4), no two alike."""
    rng = np.random.default_rng(3)
    alpha = rng.integers(0, 256, (5, 8, 8, 1)).repeat(16, 1).repeat(16, 2)
    rgb = rng.integers(0, 256, (5, 8, 8, 3)).repeat(16, 1).repeat(16, 2) * alpha // 255
    return np.concatenate([rgb, alpha], -1).astype(np.uint8)


def nchw(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)


def test_on_white_equals_compositing_in_float(pictures: np.ndarray) -> None:
    x = nchw(pictures).double() / 255
    expected = x[:, :3] + (1 - x[:, 3:])
    assert torch.allclose(on_white(nchw(pictures)).double() / 255, expected, atol=1e-12)


def test_transparent_is_white_and_rgb_passes_unchanged() -> None:
    assert (on_white(torch.zeros(1, 4, 2, 2, dtype=torch.uint8)) == 255).all()
    rgb = torch.arange(12, dtype=torch.uint8).view(1, 3, 2, 2)
    assert torch.equal(on_white(rgb), rgb)


@pytest.mark.parametrize("bad", [torch.zeros(1, 4, 8, 8), torch.zeros(4, 8, 8, dtype=torch.uint8)])
def test_other_inputs_are_refused(bad: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="uint8"):
        on_white(bad)


def test_resize_keeps_flat_colours_and_the_range() -> None:
    flat = torch.full((1, 3, 128, 128), 200, dtype=torch.uint8)
    assert torch.allclose(resize(flat), torch.tensor(200.0), atol=1e-3)
    edge = torch.zeros(1, 3, 128, 128, dtype=torch.uint8)
    edge[..., 64:] = 255
    assert resize(edge).min() >= 0 and resize(edge).max() <= 255  # bicubic overshoots without the clip


def test_shape_dtype_and_chunks(pictures: np.ndarray) -> None:
    whole = features(nchw(pictures))
    assert whole.shape == (5, 1280) and whole.dtype == torch.float64
    parts = torch.cat([features(nchw(pictures[:2])), features(nchw(pictures[2:]))])
    assert torch.allclose(whole, parts, atol=1e-4)
    assert features(nchw(pictures[:0])).shape == (0, 1280)


def test_training_mode_cannot_be_switched_on(pictures: np.ndarray) -> None:
    before = features(nchw(pictures))
    extractor().train()
    assert not any(part.training for part in extractor().modules())
    assert torch.equal(features(nchw(pictures)), before)


def test_altered_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(ValueError, match="sha256"):
        EffLite0()


def test_stored_features_are_reused_by_content(pictures: np.ndarray, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 2)
    first = stored_features(pictures, tmp_path)
    assert len(list(tmp_path.glob("*.npy"))) == 3
    calls: list[int] = []
    fresh = module.features
    monkeypatch.setattr(module, "features", lambda images: (calls.append(len(images)), fresh(images))[1])
    assert np.array_equal(stored_features(pictures, tmp_path), first) and not calls
    changed = pictures.copy()
    changed[3, 0, 0, 3] ^= 1
    stored_features(changed, tmp_path)
    assert calls == [2]  # the block of the changed picture, and no other
