"""The finish of pictures: flat areas, edges, alpha, and the finish of each style.

Byte equality holds for the kernels of a single process.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.data.grammar import STYLES, Finish
from models.data.pixels import to_tensor, to_uint8
from models.pipelines.conditioning import finish_of
from models.pipelines.image import EDGE, Pictures, flattened, postprocessed, sharp_alpha
from models.pipelines.sticker import StickerPipeline
from models.prompts.parser import parse_literally
from models.sampling.loop import Sampling

LEVEL = 1 / 255


def drawing() -> torch.Tensor:
    """A red disc with a white square in it, on nothing: (4, 64, 64), premultiplied."""
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    disc, square = ((x - 32) ** 2 + (y - 32) ** 2 < 24**2).float(), ((x - 32).abs().maximum((y - 32).abs()) < 8).float()
    return torch.stack([disc * 0.9, disc * 0.1 + square * 0.8, disc * 0.1 + square * 0.8, disc])


def rippled(picture: torch.Tensor) -> torch.Tensor:
    """As a decoder returns it: soft edges, uneven areas."""
    soft = F.avg_pool2d(F.pad(picture[None], (1, 1, 1, 1), mode="replicate"), 3, 1)[0]
    uneven = soft + 3 * LEVEL * torch.randn(soft.shape, generator=torch.Generator().manual_seed(0)) * soft[3:]
    return torch.cat([uneven[:3].minimum(soft[3:]), soft[3:]]).clamp(0, 1)


def test_flat_areas_stay_unchanged() -> None:
    assert (flattened(drawing()) - drawing()).abs().max() < LEVEL / 2


def test_ripples_go_and_edges_stay() -> None:
    result, true = flattened(rippled(drawing())), drawing()
    inside = F.avg_pool2d(true[None, 3:], 9, 1, 4)[0, 0] == 1
    square = F.avg_pool2d(true[None, 1:2], 5, 1, 2)[0, 0] > 0.89
    assert rippled(true)[:3, square].std(1).max() > 2 * LEVEL, "there was something to be evened out"
    assert result[:3, square & inside].std(1).max() < LEVEL / 2
    assert ((result[3] > 0.5) == (true[3] > 0.5)).all(), "the outline is where it was"


def test_gradients_change_in_small_steps() -> None:
    ramp = torch.linspace(0.2, 0.8, 64).expand(3, 64, 64)
    shaded = torch.cat([ramp, torch.ones(1, 64, 64)])
    assert (flattened(shaded) - shaded).abs().max() < 0.15


def test_flattening_is_shift_invariant() -> None:
    there = flattened(rippled(drawing()).roll((9, -14), (1, 2)))
    assert torch.allclose(there, flattened(rippled(drawing())).roll((9, -14), (1, 2)), atol=LEVEL)


def test_colours_are_no_brighter_than_their_alpha() -> None:
    result = flattened(torch.rand(4, 32, 48, generator=torch.Generator().manual_seed(1)))
    assert result.shape == (4, 32, 48) and result.min() >= 0 and result.max() <= 1
    assert (result[:3] <= result[3:]).all()


@pytest.mark.parametrize("name", STYLES)
def test_a_style_that_is_named_says_its_finish(name: str) -> None:
    style = STYLES[name]
    for text in (f"a cat, {name} style", f"猫，{style.zh[-1]}风格"):
        assert finish_of(parse_literally(text), new=True) is finish_of(parse_literally(text), new=False) is style.finish


def test_finish_without_a_style() -> None:
    assert finish_of(parse_literally("a cat"), new=True) is Finish.FLAT
    assert finish_of(parse_literally("a cat"), new=False) is Finish.SHADED
    assert finish_of(parse_literally(""), new=True) is Finish.SHADED, "of a picture nothing is said"


@pytest.mark.parametrize("finish", Finish)
def test_alpha_has_no_haze_and_no_holes(finish: Finish) -> None:
    """As a decoder returns it: alpha of some levels where it is 0 or 255."""
    true = drawing()
    hazy = torch.cat([true[:3] * 250 / 255, true[3:] * (247 / 255) + 4 * LEVEL])
    result = to_uint8(postprocessed(hazy, finish)[None])[0]
    inner, outer = (F.avg_pool2d(side[None], 5, 1, 2)[0, 0] == 1 for side in (true[3:], 1 - true[3:]))
    assert (result[inner.numpy(), 3] == 255).all() and not result[outer.numpy()].any()


def test_an_edge_is_where_it_was_and_as_wide_as_its_style_has_it() -> None:
    ramp = torch.linspace(0, 1, 256).expand(4, 8, 256)
    for low, high in EDGE.values():
        result = sharp_alpha(ramp, low, high)
        assert abs(float(result[3, 0].mean()) - 0.5) < 0.01 and (result[3].diff() >= 0).all()
        assert (result[:3] <= result[3:]).all() and torch.allclose(result[0], result[3]), "white stays white"
    widths = {
        finish: ((result := sharp_alpha(ramp, *edge)[3, 0]) > 0).sum() - (result == 1).sum()
        for finish, edge in EDGE.items()
    }
    assert widths[Finish.INK] * 2 < widths[Finish.FLAT] == widths[Finish.SHADED]


# --- In the pipeline --------------------------------------------------------------------------------------------------


def drawn(pipe: StickerPipeline, prompts: list[str], **answer: Any) -> tuple[np.ndarray, torch.Tensor]:
    """The pictures, and what the decoder says of their latents."""
    events = pipe.steps(prompts, range(len(prompts)), Sampling(2, **answer.pop("sampling", {})), **answer)
    results = [event for event in events if isinstance(event, Pictures)]
    latents = torch.cat([event.latents for event in results])
    return np.concatenate([event.pixels for event in results]), pipe.autoencoder.decode(latents)


def test_each_style_has_its_finish(pipe: StickerPipeline) -> None:
    wanted = {
        "a cat, fluent style": Finish.SHADED,
        "a cat, twemoji style": Finish.FLAT,
        "a cat": Finish.FLAT,
        "a cat, black glyph style": Finish.INK,
    }
    pixels, decoded = drawn(pipe, list(wanted))
    for picture, plain, finish in zip(pixels, decoded, wanted.values(), strict=True):
        for item in Finish:
            far = np.abs(picture.astype(int) - to_uint8(postprocessed(plain, item)[None])[0]).max()
            assert (far <= 1) == (item is finish), (finish, item)


def test_a_blend_is_flat_where_all_of_it_is(pipe: StickerPipeline) -> None:
    pair = [(1.0, "a cat"), (1.0, "a dog")]
    picture = np.zeros((128, 128, 4), np.uint8)
    assert pipe.blend(pair).finish is pipe.blend([(1.0, "a cat, noto style"), *pair[1:]]).finish is Finish.FLAT
    assert pipe.blend([(1.0, "a cat, 3d style"), *pair[1:]]).finish is Finish.SHADED
    assert pipe.blend([(1.0, picture), *pair[1:]]).finish is Finish.SHADED, "a picture has its own shades"
    assert pipe.blend([(1.0, f"{item}, black glyph style") for item in ("a cat", "a dog")]).finish is Finish.INK
    for blend in (pipe.blend(pair), pipe.blend([(1.0, "a cat, 3d style"), (1.0, "a dog, 3d style")])):
        (picture,), (plain,) = drawn(pipe, [""], blends=[blend])
        wanted = postprocessed(plain, blend.finish)
        assert np.abs(picture.astype(int) - to_uint8(wanted[None])[0]).max() <= 1


def test_start_pictures_keep_their_shades(pipe: StickerPipeline, tmp_path: Path) -> None:
    start = np.full((1, 128, 128, 4), 255, np.uint8)
    pixels, decoded = drawn(pipe, ["a cat"], start=start, sampling={"strength": 0.5})
    assert np.abs(pixels.astype(int) - to_uint8(postprocessed(decoded[0], Finish.SHADED)[None])).max() <= 1
    assert to_tensor(pixels).shape == decoded.shape
