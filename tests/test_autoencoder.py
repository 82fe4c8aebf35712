"""Laws of the autoencoder, on `tiny`."""

import pytest
import torch
from fixture_world import fixture_world
from safetensors.torch import save_file

from models.assets import preset
from models.autoencoder import Autoencoder
from models.data.pixels import to_tensor
from models.train.autoencoder import gradient_loss, reconstruction_loss
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
def test_weights_that_are_not_the_ones_that_were_measured_are_refused(tiny, tmp_path, fault, int8):
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
