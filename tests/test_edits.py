"""What of a picture is kept, and what is drawn anew: the masks, the canvas, and the drawing on tiny parts.

Pictures and vectors equal to the byte are so on the kernels of one process.
"""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.compose.masks import FEATHER, blend, cells, expanded, fit_mask, levels
from models.data.pixels import fit, premultiply
from models.pipelines.sticker import StickerPipeline
from models.sampling.condition import ComposedCondition, Condition
from models.sampling.loop import Sampling, denoise
from models.sampling.schedulers import SCHEDULERS, build_scheduler


def noise(seed: int, shape: tuple[int, ...] = (128, 128, 4)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def half() -> np.ndarray:
    mask = np.zeros((128, 128), np.uint8)
    mask[:, 64:] = 255
    return mask


# --- Masks ------------------------------------------------------------------------------------------------------------


def test_white_is_drawn_anew_and_black_and_transparent_are_kept() -> None:
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0], rgba[0, 1], rgba[1, 0], rgba[1, 1] = (255,) * 4, (0, 0, 0, 255), (255, 255, 255, 0), (255, 255, 255, 51)
    assert np.asarray(levels(Image.fromarray(rgba))).tolist() == [[255, 0], [0, 51]]
    assert np.asarray(levels(Image.new("1", (1, 1), 1))).tolist() == [[255]]
    assert np.asarray(levels(Image.new("LA", (1, 1), (200, 255)))).tolist() == [[200]]


@pytest.mark.parametrize("size", [(400, 200), (200, 400), (31, 64), (128, 128), (1000, 999), (1, 300)])
def test_a_mask_lies_where_its_picture_lies(size: tuple[int, int]) -> None:
    picture = fit(Image.new("RGBA", size, "red"))
    assert np.array_equal(fit_mask(Image.new("L", size, 255)), picture[..., 3])


def test_a_fitted_mask_touches_no_pixel_that_is_black_all_over() -> None:
    grey = np.zeros((512, 512), np.uint8)
    grey[:256] = 255
    assert not fit_mask(Image.fromarray(grey))[64:].any() and (fit_mask(Image.fromarray(grey))[:64] == 255).all()


def test_cells_are_those_in_which_anything_is_drawn_anew() -> None:
    masks = np.zeros((2, 128, 128), np.uint8)
    masks[0, 8, 15] = 1
    masks[1] = 255
    found = cells(masks, 16)
    assert found.shape == (2, 16, 16) and np.argwhere(found[0]).tolist() == [[1, 1]] and found[1].all()


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 8, 40]))
def test_what_is_black_is_exactly_the_original_and_colours_stay_below_alpha(seed: int, block: int) -> None:
    kept, drawn = premultiply(noise(seed)), premultiply(noise(seed + 1))
    small = noise(seed + 2, (128 // block + 1, 128 // block + 1))
    mask = np.kron(np.where(small > 200, 255, np.where(small > 120, small, 0)), np.ones((block, block)))
    mask = mask[:128, :128].astype(np.uint8)
    both = blend(drawn, kept, mask)
    assert np.array_equal(both[mask == 0], kept[mask == 0])
    assert (both[..., :3] <= both[..., 3:]).all()


def test_the_edge_fades_in_within_the_mask() -> None:
    both = blend(np.full((128, 128, 4), 255, np.uint8), np.zeros((128, 128, 4), np.uint8), half())[50, :, 3]
    assert not both[:64].any() and (both[64 + FEATHER :] == 255).all()
    assert 0 < both[64] < both[64 + FEATHER - 1] < 255
    line = np.zeros((128, 128), np.uint8)
    line[60] = 255
    thin = blend(np.full((128, 128, 4), 255, np.uint8), np.zeros((128, 128, 4), np.uint8), line)
    assert (thin[60] == 255).all(), "a line of one pixel is drawn, not faded away"


@pytest.mark.parametrize(("share", "inner"), [(0.05, 116), (0.25, 86), (0.5, 64), (1.0, 42)])
def test_a_larger_canvas_keeps_the_scaled_picture(share: float, inner: int) -> None:
    picture = Image.fromarray(noise(1, (300, 300, 4)))
    pixels, mask = expanded(picture, share)
    border = (128 - inner) // 2
    middle = slice(border, border + inner)
    assert np.array_equal(pixels[middle, middle], fit(picture, inner))
    assert not mask[middle, middle].any() and (mask == 0).sum() == inner**2 and (mask[mask > 0] == 255).all()
    wide, mask = expanded(Image.new("RGBA", (200, 100), "red"), 0.5)
    assert np.array_equal(mask == 0, wide[..., 3] == 255), "beside a wide picture there is room on all sides"


# --- Drawing ----------------------------------------------------------------------------------------------------------


def nothing(count: int) -> Condition:
    mask, draft = torch.zeros(count, 1, dtype=torch.bool), torch.zeros(count, 8, 4, 4)
    return Condition(torch.zeros(count, 1, 4), mask, torch.zeros(count, 128), draft)


@pytest.mark.parametrize("strength", [1.0, 0.5])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_what_is_kept_is_at_its_noise_level_at_every_step(name: str, strength: float) -> None:
    x0, start, first = torch.randn(1, 8, 4, 4), torch.randn(1, 8, 4, 4), torch.randn(1, 8, 4, 4)
    redraw = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    redraw[..., 2:] = True
    kept = ~redraw.expand_as(start)
    off = []

    def network(x: torch.Tensor, t: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        sigma = float(t[0])
        off.append(float(((1 - sigma) * start + sigma * first - x)[kept].abs().max()))
        return (x - x0) / t.view(-1, 1, 1, 1)

    sampling = Sampling(8, 1.0, strength=strength)
    *_, last = denoise(
        network, first, ComposedCondition.of(nothing(1)), nothing(1), sampling, build_scheduler(name), start, redraw
    )
    assert max(off) < 1e-5
    assert torch.equal(last.latents[kept], start[kept]) and torch.equal(last.clean[kept], start[kept])
    assert torch.allclose(last.latents[~kept], x0[~kept], atol=2e-2)


def draw(pipe: StickerPipeline, seeds: list[int], **options: Any) -> np.ndarray:
    options = {"num_inference_steps": 2, "output_type": "uint8", "batch": 8, **options}
    return pipe(["a cat"] * len(seeds), seeds=seeds, **options).images


def test_a_masked_drawing_keeps_black_and_draws_white(pipe: StickerPipeline) -> None:
    start, mask = premultiply(noise(3))[None], half()[None]
    made = draw(pipe, [1, 2], image=start, mask_image=mask)
    plain = draw(pipe, [1, 2], image=start)
    assert np.array_equal(made[:, :, :64], np.broadcast_to(start[:, :, :64], made[:, :, :64].shape))
    assert not np.array_equal(made[0, :, 64:], made[1, :, 64:]) and not np.array_equal(plain, made)
    full = draw(pipe, [1], image=start, mask_image=np.full_like(mask, 255))
    assert np.array_equal(full[0], plain[0]), "a mask that is white all over keeps nothing"


def test_each_picture_has_its_own_start_and_mask(pipe: StickerPipeline) -> None:
    starts, masks = premultiply(noise(4, (3, 128, 128, 4))), np.stack([half(), 255 - half(), half().T])
    together = draw(pipe, [1, 2, 3], image=starts, mask_image=masks, strength=0.7)
    for i in range(3):
        alone = draw(pipe, [i + 1], image=starts[i : i + 1], mask_image=masks[i : i + 1], strength=0.7)
        assert np.array_equal(alone[0], together[i])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask_image": np.zeros((1, 128, 128), np.uint8)}, "give the picture's pixels"),
        ({"image": np.zeros((2, 128, 128, 4), np.uint8)}, "2 pictures to start from for 3"),
        ({"image": np.zeros((1, 128, 128, 4), np.uint8), "mask_image": np.zeros((1, 64, 64), np.uint8)}, "masks of"),
    ],
)
def test_wrong_calls_say_what_is_wrong(pipe: StickerPipeline, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(pipe, [1, 2, 3], **options)
