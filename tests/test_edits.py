"""Edits of a picture: masks, canvas, drawing on tiny parts, and their requests.

Byte equality holds for the kernels of a single process.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Command
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from queue_kit import picture

from models.compose.masks import FEATHER, blend, cells, expanded, fit_mask, levels
from models.data.pixels import fit, load_picture, png, premultiply
from models.messages import Refused
from models.pipelines.sticker import StickerPipeline
from models.sampling.condition import ComposedCondition, Condition
from models.sampling.loop import Sampling, denoise
from models.sampling.schedulers import SCHEDULERS, build_scheduler
from studio.backends.base import Backend, run, run_batch
from studio.backends.embedded import Embedded
from studio.backends.fake import Fake
from studio.media import Artifact
from studio.metadata.files import read
from studio.planner import resolve
from studio.requests import ImageRequest, make_request


def noise(seed: int, shape: tuple[int, ...] = (128, 128, 4)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def half() -> np.ndarray:
    mask = np.zeros((128, 128), np.uint8)
    mask[:, 64:] = 255
    return mask


# --- Masks ------------------------------------------------------------------------------------------------------------


def test_mask_levels() -> None:
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
    result = cells(masks, 16)
    assert result.shape == (2, 16, 16) and np.argwhere(result[0]).tolist() == [[1, 1]] and result[1].all()


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 8, 40]))
def test_blend_keeps_black_pixels_and_premultiplication(seed: int, block: int) -> None:
    stored, drawn = premultiply(noise(seed)), premultiply(noise(seed + 1))
    small = noise(seed + 2, (128 // block + 1, 128 // block + 1))
    mask = np.kron(np.where(small > 200, 255, np.where(small > 120, small, 0)), np.ones((block, block)))
    mask = mask[:128, :128].astype(np.uint8)
    both = blend(drawn, stored, mask)
    assert np.array_equal(both[mask == 0], stored[mask == 0])
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
def test_unmasked_latents_follow_the_noise_schedule(name: str, strength: float) -> None:
    x0, start, first = torch.randn(1, 8, 4, 4), torch.randn(1, 8, 4, 4), torch.randn(1, 8, 4, 4)
    redraw = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    redraw[..., 2:] = True
    stored = ~redraw.expand_as(start)
    off = []

    def network(x: torch.Tensor, t: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        sigma = float(t[0])
        off.append(float(((1 - sigma) * start + sigma * first - x)[stored].abs().max()))
        return (x - x0) / t.view(-1, 1, 1, 1)

    sampling = Sampling(8, 1.0, strength=strength)
    *_, last = denoise(
        network, first, ComposedCondition.of(nothing(1)), nothing(1), sampling, build_scheduler(name), start, redraw
    )
    assert max(off) < 1e-5
    assert torch.equal(last.latents[stored], start[stored]) and torch.equal(last.clean[stored], start[stored])
    assert torch.allclose(last.latents[~stored], x0[~stored], atol=2e-2)


def draw(pipe: StickerPipeline, seeds: list[int], **options: Any) -> np.ndarray:
    options = {"num_inference_steps": 2, "output_type": "uint8", "batch": 8, **options}
    return pipe(["a cat"] * len(seeds), seeds=seeds, **options).images


def test_a_masked_drawing_keeps_black_and_draws_white(pipe: StickerPipeline) -> None:
    start, mask = premultiply(noise(3))[None], half()[None]
    created = draw(pipe, [1, 2], image=start, mask_image=mask)
    plain = draw(pipe, [1, 2], image=start)
    assert np.array_equal(created[:, :, :64], np.broadcast_to(start[:, :, :64], created[:, :, :64].shape))
    assert not np.array_equal(created[0, :, 64:], created[1, :, 64:]) and not np.array_equal(plain, created)
    full = draw(pipe, [1], image=start, mask_image=np.full_like(mask, 255))
    assert np.array_equal(full[0], plain[0]), "a mask that is white all over keeps nothing"


def test_each_picture_has_its_start_and_mask(pipe: StickerPipeline) -> None:
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


# --- Requests of edits ------------------------------------------------------------------------------------------------


CAN = Fake().capabilities()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A picture of 200 x 200, valid and invalid masks for it."""
    results = {}
    grey = np.zeros((200, 200), np.uint8)
    for name, value in (("black", grey), ("white", grey + 255), ("right", grey.copy()), ("small", grey[:100] + 255)):
        if name == "right":
            value[:, 100:] = 255
        Image.fromarray(value).save(tmp_path / f"{name}.png")
        results[name] = str(tmp_path / f"{name}.png")
    ellipse = Image.radial_gradient("L").resize((200, 200))
    picture = Image.merge("RGBA", (ellipse, ellipse.rotate(90), ellipse, ellipse.point(lambda v: 255 - v)))
    picture.save(tmp_path / "picture.png")
    frames = [Image.new("RGB", (200, 200), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    return results | {name: str(tmp_path / name) for name in ("picture.png", "moving.gif")}


def ask(**fields: object) -> ImageRequest:
    for name in ("image", "mask", "like"):
        if isinstance(fields.get(name), str):
            fields[name] = {"path": fields[name]}
    return resolve(make_request("image", **{"seed": 1, "steps": 2, **fields}), CAN)


# --- What is asked ----------------------------------------------------------------------------------------------------


def test_edit_requests_are_resolved(files: dict[str, str]) -> None:
    image = files["picture.png"]
    assert ask(image=image).strength == CAN.strength.usual and ask(prompt="a cat").strength is None
    masked = ask(image=image, mask=files["right"])
    assert masked.strength == 1 and len(masked.mask.sha256) == len(masked.image.sha256) == 64
    assert ask(image=image, expand=0.25).strength == 1
    white = ask(image=image, mask=files["white"])
    assert white == ask(image=image), "a mask that is white all over keeps nothing: plain image to image"
    for request in (masked, ask(image=image, expand=0.5), ask(image=image, variations=3)):
        assert resolve(request, CAN) == request
        assert ImageRequest.model_validate_json(request.model_dump_json()) == request


def test_variations_are_so_many_likenesses_near_the_picture(files: dict[str, str]) -> None:
    image = files["picture.png"]
    request = ask(image=image, variations=4)
    assert request == ask(image=image, like=image, count=4, strength=CAN.variation)
    assert ask(image=image, variations=4, strength=0.3, prompt="a cat").strength == 0.3
    mixed = ask(image=image, variations=2, mix=[{"text": "dog"}])
    assert mixed.like is None, "a mix says of what sense they are to be"


def test_edits_have_separate_batch_keys(files: dict[str, str]) -> None:
    image = files["picture.png"]
    kinds = [{}, {"image": image}, {"image": image, "strength": 0.4}, {"image": image, "mask": files["right"]}]
    assert len({ask(prompt="a cat", **fields).batch_key() for fields in kinds}) == 4
    assert ask(image=image, expand=0.3).batch_key() == ask(image=files["white"], mask=files["right"]).batch_key()


def test_a_model_that_can_not_edit_says_so(files: dict[str, str]) -> None:
    with pytest.raises(Refused, match="can't start from a picture; leave --image out"):
        resolve(make_request("image", image={"path": files["picture.png"]}), CAN.model_copy(update={"edits": False}))


# --- What comes out ---------------------------------------------------------------------------------------------------


def drawn(backend: Backend, request: ImageRequest) -> list[np.ndarray]:
    return [np.asarray(picture(event)) for event in run(backend, request) if isinstance(event, Artifact)]


def original(path: str) -> np.ndarray:
    return np.asarray(png(load_picture(path)))


def test_less_strength_stays_nearer(backend: Backend, files: dict[str, str]) -> None:
    image, far = files["picture.png"], []
    for strength in (0.25, 1.0):
        (results,) = drawn(backend, ask(prompt="a cat", image=image, strength=strength, steps=4))
        far.append(results.astype(int))
    plain = drawn(backend, ask(prompt="a cat", steps=4))[0].astype(int)
    assert np.abs(far[0] - plain).mean() > np.abs(far[1] - plain).mean(), "strength 1 forgets the picture"


def test_black_mask_pixels_are_unchanged(backend: Backend, files: dict[str, str]) -> None:
    item, two = drawn(backend, ask(prompt="a cat", image=files["picture.png"], mask=files["right"], count=2, shape=8))
    items = original(files["picture.png"])
    assert np.array_equal(item[:, :64], items[:, :64]) and np.array_equal(two[:, :64], items[:, :64])
    assert not np.array_equal(item[:, 70:], two[:, 70:]) and not np.array_equal(item[:, 70:], items[:, 70:])


def test_a_larger_canvas_keeps_the_picture_and_draws_round_it(backend: Backend, files: dict[str, str]) -> None:
    (results,) = drawn(backend, ask(prompt="a cat", image=files["picture.png"], expand=0.25))
    pixels, mask = expanded(Image.open(files["picture.png"]), 0.25)
    assert np.array_equal(results[mask == 0], np.asarray(png(pixels))[mask == 0])
    assert results[mask == 255].any(), "there is something in the border"


def test_together_is_apart_with_pictures_too(backend: Backend, files: dict[str, str]) -> None:
    masked = [
        ask(prompt="a cat", image=files["picture.png"], mask=files["right"], shape=8, count=3),
        ask(image=files["white"], mask=files["right"], shape=8, seed=9),
        ask(prompt="a dog", image=files["picture.png"], expand=0.25, shape=8, count=6),
    ]
    apart = [picture for request in masked for picture in drawn(backend, request)]
    events = list(run_batch(backend, masked))
    together = [np.asarray(picture(event)) for _, event in events if isinstance(event, Artifact)]
    assert len(apart) == len(together) == 10
    assert all(np.array_equal(item, two) for item, two in zip(apart, together, strict=True))


def test_without_a_prompt_the_picture_is_the_condition(tiny: Embedded, files: dict[str, str]) -> None:
    image = files["picture.png"]
    (usual,) = drawn(tiny, ask(image=image))
    assert np.array_equal(usual, drawn(tiny, ask(image=image, like=image))[0])
    assert not np.array_equal(usual, drawn(tiny, ask(image=image, prompt="a cat"))[0])


def test_negative_parts_subtract_from_prompt_or_picture(tiny: Embedded, files: dict[str, str]) -> None:
    away = {"text": "hat", "weight": -0.5}
    (words,) = drawn(tiny, ask(prompt="a cat", mix=[away]))
    assert np.array_equal(words, drawn(tiny, ask(prompt="a cat", mix=[{"text": "a cat"}, away]))[0])
    image = files["picture.png"]
    (picture,) = drawn(tiny, ask(image=image, mix=[away]))
    assert np.array_equal(picture, drawn(tiny, ask(image=image, mix=[{"picture": {"path": image}}, away]))[0])


@pytest.mark.parametrize("name", ["picture.png", "right"])
def test_a_picture_that_changed_meanwhile_is_refused(tiny: Embedded, files: dict[str, str], name: str) -> None:
    request = ask(image=files["picture.png"], mask=files["right"])
    Image.new("L", (200, 200), 255).save(files[name])
    with pytest.raises(Refused, match="was changed"):
        drawn(tiny, request)


# --- The command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def edit(studio: Command, tmp_path: Path) -> Command:
    return lambda *arguments: studio("generate", *arguments, "--model", "fake", "--json", "--out", tmp_path / "out")


def test_the_command_edits(edit: Command, files: dict[str, str]) -> None:
    image = ("--image", files["picture.png"], "--seed", 1)
    request = [
        (*image, "--strength", 0.6),
        ("a cat", *image, "--mask", files["right"]),
        ("a cat", *image, "--expand", 0.25),
        (*image, "--variations", 3),
        ("--like", files["picture.png"], "--without", "hat", "--without", "red", "--seed", 1),
    ]
    rows = []
    for arguments in request:
        code, out, err = edit(*arguments)
        assert code == 0, err
        rows.append(json.loads(out))
    assert [len(row) for row in rows] == [1, 1, 1, 3, 1]
    matches = [read(Path(row[0]["path"]))["request"] for row in rows]
    assert (matches[0]["strength"], matches[0]["image"]["path"]) == (0.6, "picture.png")
    assert (matches[1]["strength"], matches[1]["mask"]["path"]) == (1, "right.png")
    assert [part["weight"] for part in matches[4]["mix"]] == [-0.5, -0.5]
    items = np.asarray(Image.open(rows[1][0]["path"]))[:, :64]
    assert np.array_equal(items, original(files["picture.png"])[:, :64])
    with Image.open(rows[0][0]["path"]) as picture:
        assert "Denoising strength: 0.6" in picture.text["parameters"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--image", "picture.png", "--strength", "0"], "a strength of 0 only enlarges the picture; give a size of"),
        (["--image", "picture.png", "--strength", "2"], "strength must be between 0.05 and 1, not 2.0"),
        (["--image", "picture.png", "--expand", "inf"], "expand must be a number, not inf"),
        (["--image", "picture.png", "--variations", "0"], "variations must be between 1 and 64, not 0"),
        (["--image", "picture.png", "--variations", "2", "--count", "3"], "leave count out"),
        (["--image", "picture.png", "--mask", "right", "--expand", "0.2"], "mask and expand exclude each other"),
        (["--image", "picture.png", "--mask", "small"], "200 x 100 pixels and the picture 200 x 200"),
        (["--image", "picture.png", "--mask", "black"], "is black all over"),
        (["--image", "picture.png", "--mask", "missing.png"], "missing.png does not exist"),
        (["a cat", "--mask", "right"], "mask is about a picture to start from"),
        (["", "--without", "hat"], "only takes away"),
    ],
)
def test_bad_edit_commands_are_refused(
    edit: Command, files: dict[str, str], tmp_path: Path, arguments: list[str], says: str
) -> None:
    known = {**files, "missing.png": str(tmp_path / "missing.png")}
    before = sorted(tmp_path.rglob("*"))
    code, out, err = edit(*[known.get(argument, argument) for argument in arguments])
    assert (code, out) == (2, "") and says in err, err
    assert err.count("\n") == 1 and err.startswith("studio: ") and err.strip()[-1] in ".;)", err
    assert sorted(tmp_path.rglob("*")) == before, "something was written"


def test_fit_and_masks_agree_on_a_wide_picture(backend: Backend, tmp_path: Path) -> None:
    wide = Image.effect_noise((300, 120), 90).convert("RGB")
    wide.save(tmp_path / "wide.jpg", quality=95)
    mask = Image.new("RGBA", (300, 120))
    mask.paste((255, 255, 255, 255), (0, 0, 60, 120))
    mask.save(tmp_path / "mask.png")
    (results,) = drawn(backend, ask(prompt="x", image=str(tmp_path / "wide.jpg"), mask=str(tmp_path / "mask.png")))
    items = np.asarray(png(fit(Image.open(tmp_path / "wide.jpg"))))
    assert np.array_equal(results[:, 26:], items[:, 26:]), "60 of 300 pixels are 25.6 of 128"
    assert not np.array_equal(results[:, :20], items[:, :20])
    assert not results[:30].any(), "above a wide picture there is nothing, and nothing is drawn"
