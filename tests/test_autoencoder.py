"""Autoencoder and upscaler, and their training, on `tiny` over the fixture world.

Byte equality holds for the kernels of a single process.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fixture_world import draw, fixture_world
from safetensors.torch import save_file
from test_build import offline  # noqa: F401 - a fixture
from tiny_parts import awaken

from models.assets import preset
from models.autoencoder import Autoencoder
from models.data import build as building
from models.data import extra_sets
from models.data.extra_sets import LARGE, choose, large
from models.data.pixels import to_tensor
from models.data.world import World
from models.train.autoencoder import SMALL_CROP, UpscalerTask, gradient_loss, reconstruction_loss, softened
from models.train.loop import Length, TaskOptions, Trainer
from models.train.recipes import RECIPES
from models.upscaler import SCALE, Upscaler
from models.weights import LEAST, WeightsError, load_part, part_folder, record_part, save_part, weights_digest


@pytest.fixture
def tiny() -> Autoencoder:
    torch.manual_seed(0)
    model = Autoencoder(**preset("autoencoder", "tiny")).eval()
    for parameter in model.parameters():  # residual branches start at zero: stir them
        torch.nn.init.normal_(parameter, std=0.1)
    return model


@pytest.fixture
def pictures() -> torch.Tensor:
    return to_tensor(fixture_world().pixels[:2])


def test_shapes_and_ranges(tiny, pictures):
    latent = tiny.encode(pictures)
    assert latent.shape == (2, 8, 16, 16)
    decoded = tiny.decode(latent)
    assert decoded.shape == (2, 4, 128, 128)
    assert decoded.min() >= 0
    assert decoded.max() <= 1
    assert (decoded[:, :3] <= decoded[:, 3:]).all()


def test_any_multiple_of_eight_goes_through_and_nothing_else(tiny):
    assert tiny.encode(torch.zeros(1, 4, 24, 40)).shape == (1, 8, 3, 5)
    with pytest.raises(ValueError, match="multiples of 8"):
        tiny.encode(torch.zeros(1, 4, 20, 24))


def test_the_latent_scale_is_undone_by_the_decoder(tiny, pictures):
    before, raw = tiny(pictures), tiny.raw_latent(pictures)
    tiny.set_latent_statistics(raw.mean((0, 2, 3)), raw.std((0, 2, 3)))
    latent = tiny.encode(pictures)
    assert torch.allclose(latent.std((0, 2, 3)), torch.ones(8), atol=1e-4)
    assert torch.allclose(tiny(pictures), before, atol=1e-5)


def test_saved_and_loaded_it_is_the_same_in_bf16(tiny, pictures, tmp_path):
    tiny.set_latent_statistics(torch.linspace(-1, 1, 8), torch.linspace(0.5, 2, 8))
    save_part(tiny, "autoencoder", tmp_path)
    loaded = load_part(Autoencoder, "autoencoder", tmp_path)
    assert loaded.config.latent_std == tiny.config.latent_std
    for parameter in tiny.parameters():
        parameter.data = parameter.bfloat16().float()
    assert torch.equal(loaded(pictures), tiny(pictures))


def test_in_8_bits_it_is_half_as_large_and_within_half_a_step(tiny, tmp_path):
    whole = save_part(tiny, "autoencoder", tmp_path / "whole")
    folder = save_part(tiny, "autoencoder", tmp_path / "small", int8=True)
    size = [sum(file.stat().st_size for file in some.glob("*.safetensors")) for some in (whole, folder)]
    assert size[1] < 0.7 * size[0]  # of a tiny one; its header is the same
    loaded = load_part(Autoencoder, "autoencoder", tmp_path / "small")
    for name, tensor in tiny.state_dict().items():
        rows = tensor.flatten(1) if tensor.ndim > 1 else tensor[None]
        step = rows.abs().amax(1, keepdim=True) / 127
        small = tensor.ndim == 1 or tensor.numel() < LEAST
        bound = rows.abs() / 128 if small else 0.51 * step
        assert ((loaded.state_dict()[name].view_as(rows) - rows).abs() <= bound).all(), name
    save_part(loaded, "autoencoder", tmp_path / "whole", int8=True)  # takes the place of the one in bf16
    again = load_part(Autoencoder, "autoencoder", tmp_path / "whole")
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(again.parameters(), loaded.parameters(), strict=True))


def test_the_loss_of_two_composites_needs_no_compositing(pictures):
    from models.data.pixels import composite

    output, background = torch.rand_like(pictures), torch.rand(2, 3)
    difference = torch.cat(
        [composite(output, background) - composite(pictures, background), (output - pictures)[:, 3:]], 1
    )
    expected = difference.abs().mean() + 2 * difference.square().mean() + gradient_loss(difference)
    assert torch.allclose(reconstruction_loss(pictures, output, background), expected, atol=1e-5)
    assert reconstruction_loss(pictures, pictures, background) == 0


@pytest.mark.parametrize(
    "fault", ["missing", "altered", "cut", "unlisted", "no manifest", "other shape", "other names", "shards beside it"]
)
@pytest.mark.parametrize("int8", [False, True])
def test_altered_weights_do_not_load(tiny, tmp_path, fault, int8):
    folder = save_part(tiny, "autoencoder", tmp_path, int8=int8)
    file = next(folder.glob("*.safetensors"))
    data = file.read_bytes()
    if fault == "missing":
        file.unlink()
    elif fault == "altered":
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif fault == "cut":
        file.write_bytes(data[: len(data) // 2])
    elif fault == "no manifest":
        (tmp_path / "manifest.json").unlink()
    elif fault == "other names":
        file.unlink()
        save_file({f"x.{key}": tensor for key, tensor in tiny.state_dict().items()}, file)
        record_part("autoencoder", tmp_path)
        with pytest.raises(WeightsError, match="not a Autoencoder"):
            load_part(Autoencoder, "autoencoder", tmp_path)
        return
    elif fault == "other shape":
        other = Autoencoder(widths=(8, 8, 8), encoder_blocks=(1, 1, 1), decoder_blocks=(1, 1, 1))
        other.save_pretrained(tmp_path / "other")
        file.write_bytes(next((tmp_path / "other").glob("*.safetensors")).read_bytes())
        record_part("autoencoder", tmp_path)
        with pytest.raises(WeightsError, match="does not load as Autoencoder"):
            load_part(Autoencoder, "autoencoder", tmp_path)
        return
    elif fault == "shards beside it":  # which diffusers would read first
        tiny.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
        for shard in (tmp_path / "shards").glob("*safetensors*"):
            (folder / shard.name).write_bytes(shard.read_bytes())
        with pytest.raises(WeightsError, match="does not belong to the part"):
            load_part(Autoencoder, "autoencoder", tmp_path)
        return
    name = "vision" if fault == "unlisted" else "autoencoder"
    with pytest.raises(WeightsError, match=r"install the package again|train"):
        part_folder(name, tmp_path)


def test_the_digest_names_the_parts(tiny, tmp_path):
    save_part(tiny, "autoencoder", tmp_path)
    first = weights_digest(("autoencoder",), tmp_path)
    torch.nn.init.ones_(tiny.decoder[0].bias)
    save_part(tiny, "autoencoder", tmp_path)
    assert weights_digest(("autoencoder",), tmp_path) != first


# --- The upscaler -----------------------------------------------------------------------------------------------------


@pytest.fixture
def network() -> Upscaler:
    """Untrained, with random weights everywhere."""
    torch.manual_seed(0)
    results = Upscaler(**preset("upscaler", "tiny")).eval()
    awaken(results)
    return results


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return fixture_world().pixels[::7].copy()


# --- The network ------------------------------------------------------------------------------------------------------


def test_an_untrained_upscaler_is_bicubic_interpolation(pixels: np.ndarray) -> None:
    pictures = to_tensor(pixels)
    expected = F.interpolate(pictures, scale_factor=SCALE, mode="bicubic")
    assert torch.allclose(Upscaler(**preset("upscaler", "tiny"))(pictures, bounded=False), expected, atol=1e-5)


def test_colours_stay_within_alpha(network: Upscaler, pixels: np.ndarray) -> None:
    enlarged = network(to_tensor(pixels))
    assert enlarged.shape == (len(pixels), 4, 512, 512)
    assert enlarged.min() >= 0 and enlarged.max() <= 1 and (enlarged[:, :3] <= enlarged[:, 3:]).all()
    loose = network(to_tensor(pixels), bounded=False)
    assert loose.min() < 0 and (loose[:, :3] > loose[:, 3:]).any(), "these weights would not leave the bounds anyway"


@pytest.mark.parametrize("colour", [(0, 0, 0, 0), (255, 255, 255, 255), (13, 120, 200, 201), (0, 0, 0, 255)])
def test_uniform_pictures_stay_uniform(network: Upscaler, colour: tuple[int, ...]) -> None:
    picture = np.broadcast_to(np.array(colour, np.uint8), (24, 40, 4))
    enlarged = network.enlarge(picture)
    assert enlarged.shape == (96, 160, 4) and (enlarged == picture[0, 0]).all()


def test_flat_neighbourhoods_stay_flat(network: Upscaler, pixels: np.ndarray) -> None:
    for picture in pixels:
        padded = np.pad(picture.astype(int), ((2, 2), (2, 2), (0, 0)), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), (0, 1))
        flat = (windows == picture[:, :, :, None, None]).all((2, 3, 4))
        assert 0.3 < flat.mean() < 1
        enlarged, coarse = network.enlarge(picture), picture.repeat(4, 0).repeat(4, 1)
        assert np.array_equal(enlarged[flat.repeat(4, 0).repeat(4, 1)], coarse[flat.repeat(4, 0).repeat(4, 1)])


def test_batch_composition_does_not_change_enlarged_pictures(network: Upscaler, pixels: np.ndarray) -> None:
    together = network(to_tensor(pixels))
    alone = torch.cat([network(to_tensor(picture)) for picture in pixels])
    assert torch.allclose(together, alone, atol=1e-4)
    first = network.enlarge(pixels[0])
    assert np.abs(first.astype(int) - (together[0].permute(1, 2, 0) * 255).round().detach().numpy()).max() <= 1


def test_half_precision_is_near_enough(network: Upscaler, pixels: np.ndarray, tmp_path: Path) -> None:
    save_part(network, "upscaler", tmp_path)
    full, half = (load_part(Upscaler, "upscaler", tmp_path, dtype) for dtype in (torch.float32, torch.bfloat16))
    flat = np.full((16, 16, 4), 77, np.uint8)
    assert np.array_equal(half.enlarge(flat), np.full((64, 64, 4), 77))
    difference = full(to_tensor(pixels[:1])) - half(to_tensor(pixels[:1]))
    assert difference.square().mean().sqrt() < 0.01


# --- What it learns from ----------------------------------------------------------------------------------------------


def test_choice_of_pictures_is_deterministic_within_a_split() -> None:
    world = fixture_world()
    train = choose(world, "train", 20)
    assert len(train) == 20 and {picture.split for picture in train} == {"train"}
    assert [picture.id for picture in choose(world, "train", 20)] == [picture.id for picture in train]
    assert {p.id for p in choose(world, "train", 10)} < {p.id for p in train}, "fewer are some of them"
    assert len(choose(world, "val", 1000)) == len(world.split("val"))
    with pytest.raises(PermissionError):
        choose(world, "concept", 5)


def test_pixels_without_a_drawing_are_left_out() -> None:
    world = fixture_world()
    other = [type(p)(**{**vars(p), "source": "@lobehub/fluent-emoji-3d"}) for p in world.pictures[::2]]
    mixed = World((*world.pictures[1::2], *other), world.pixels, world.digest)
    assert {picture.source for picture in choose(mixed, "train", 100)} == {"fixture"}


@pytest.mark.usefixtures("offline")
def test_svgs_are_rendered_once_and_go_on_where_they_were_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "world"
    building.build(folder, workers=1)
    monkeypatch.setattr(extra_sets, "PACKAGES", building.PACKAGES)
    monkeypatch.setattr(extra_sets, "read_lock", building.packages.read_lock)
    world = World.load(folder)
    read = large(world, world.pictures, workers=1)
    for picture in world.pictures:
        reduced = read(picture).reshape(128, 4, 128, 4, 4).mean((1, 3))
        assert np.abs(reduced - world.pixels[picture.index]).mean() < 1
    first, second = files = sorted((folder / "large").iterdir())
    data, stored = first.read_bytes(), second.stat().st_mtime_ns
    first.unlink()
    large(world, world.pictures, workers=1)
    assert sorted((folder / "large").iterdir()) == files
    assert first.read_bytes() == data and second.stat().st_mtime_ns == stored


def test_decoded_pictures_are_cached(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_part(Autoencoder(**preset("autoencoder", "tiny")), "autoencoder", tmp_path)
    sharp = fixture_world().pixels[:3].copy()
    soft = softened(sharp, tmp_path, tmp_path / "cache")
    assert soft.shape == sharp.shape and not np.array_equal(soft, sharp)
    (file,) = (tmp_path / "cache").iterdir()
    before = file.stat().st_mtime_ns
    assert np.array_equal(softened(sharp, tmp_path, tmp_path / "cache"), soft) and file.stat().st_mtime_ns == before
    softened(sharp[:2].copy(), tmp_path, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2, "other pictures are another file"


# --- Training ---------------------------------------------------------------------------------------------------------


def options(parts: Path | None = None) -> TaskOptions:
    return TaskOptions("tiny", seed=3, world=fixture_world(), batch_size=lambda _: 8, parts=parts)


@pytest.fixture(scope="module", autouse=True)
def drawn_large() -> Iterator[None]:
    """Pictures of the fixture's world at 512 px, where training reads them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.train.autoencoder.large", lambda *_: lambda picture: draw(picture, LARGE))
        yield


@pytest.fixture(scope="module")
def task(parts: Path) -> Iterator[UpscalerTask]:
    """With sharp crops only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.train.autoencoder.SOFT", 0)
        yield UpscalerTask(options(parts))


def test_small_and_large_crops_match(task: UpscalerTask) -> None:
    seen = []
    for step in range(4):
        batch = task.batch(step, 0, 1, 0.0)
        assert batch["small"].shape == (8, 4, SMALL_CROP, SMALL_CROP) and batch["large"].shape == (
            8,
            4,
            4 * SMALL_CROP,
            4 * SMALL_CROP,
        )
        assert (F.avg_pool2d(batch["large"], SCALE) - batch["small"]).abs().mean() < 0.01
        assert (batch["small"].flatten(2).std(2).amax(1) > 0).all(), "nothing is to be learned from a flat crop"
        seen.append(batch["small"])
    assert not torch.equal(seen[0], seen[1])


def test_two_ranks_split_the_upscaler_batch(task: UpscalerTask) -> None:
    whole, parts = task.batch(5, 0, 1, 0.0), [task.batch(5, rank, 2, 0.0) for rank in range(2)]
    for name in whole:
        assert torch.equal(whole[name][0::2], parts[0][name]) and torch.equal(whole[name][1::2], parts[1][name])


def test_a_few_steps_beat_where_it_started(task: UpscalerTask) -> None:
    torch.manual_seed(0)
    network, batch = Upscaler(**preset("upscaler", "tiny")), task.batch(0, 0, 1, 0.0)
    optimiser, losses = torch.optim.AdamW(network.parameters(), lr=3e-3), []
    for _ in range(25):
        loss = task.loss(network, batch, 0.0)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.93 * losses[0]


def test_a_run_leaves_figures_a_sheet_and_a_part_that_loads(parts: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPES["upscaler"], batch_size=lambda _: 8, warmup=2)
    Trainer(recipe, options(parts), tmp_path / "run", Length(steps=2), precision="no").run()
    (row,) = (json.loads(line) for line in (tmp_path / "run" / "stats.jsonl").read_text().splitlines())
    assert row["evaluation"].keys() == {"sharp_white", "soft_white"}
    assert row["evaluation"]["sharp_white"] > row["evaluation"]["soft_white"]
    assert list((tmp_path / "run").glob("sheet-*.png"))
    assert load_part(Upscaler, "upscaler", tmp_path / "run" / "export").config.width == 8
