"""The generator's network: predictions, conditions, gradients, precision."""

import pytest
import torch
import torch.nn.functional as F

from models.assets import preset
from models.dit import DiT, patchify, unpatchify, velocity_to

TINY = preset("dit", "tiny")


def inputs(batch: int = 3, words: int = 5) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "x": torch.randn(batch, 8, 16, 16, generator=generator),
        "t": torch.linspace(0.2, 0.9, batch),
        "states": torch.randn(batch, words, 256, generator=generator),
        "mask": torch.ones(batch, words, dtype=torch.bool),
        "vector": F.normalize(torch.randn(batch, 128, generator=generator), dim=-1),
        "reference": torch.randn(batch, 8, 16, 16, generator=generator),
        "warp": torch.randn(batch, TINY["warp"], generator=generator),
    }


def awake(**options: object) -> DiT:
    """A tiny network whose zero-initialised branches are random, as after training."""
    torch.manual_seed(1)
    net = DiT(**{**TINY, **options}).eval()
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    return net


def test_patches_come_back() -> None:
    x = torch.randn(2, 8, 16, 16)
    tokens = patchify(x, 2)
    assert tokens.shape == (2, 64, 32)
    assert torch.equal(unpatchify(tokens, 2), x)
    assert torch.equal(tokens[0, 9].view(8, 2, 2), x[0, :, 2:4, 2:4])  # row 1, column 1


def test_a_fresh_network_predicts_zeros() -> None:
    batch = inputs()
    velocity = DiT(**TINY)(**batch)
    assert velocity.shape == batch["x"].shape
    assert torch.allclose(velocity, batch["x"] / batch["t"].view(-1, 1, 1, 1))


def test_target_is_noise_minus_picture() -> None:
    x0, noise, t = torch.randn(4, 8, 16, 16), torch.randn(4, 8, 16, 16), torch.tensor([0.05, 0.3, 0.7, 1.0])
    s = t.view(-1, 1, 1, 1)
    assert torch.allclose(velocity_to(x0, (1 - s) * x0 + s * noise, t), noise - x0, atol=1e-4)
    assert velocity_to(x0, x0 + 1e-3, torch.zeros(4)).isfinite().all()


@pytest.mark.parametrize("name", ["t", "states", "vector"])
def test_every_condition_matters(name: str) -> None:
    net, batch = awake(), inputs()
    other = {**batch, name: batch[name].flip(0) if name != "t" else batch["t"] * 0.5}
    assert (net(**batch) - net(**other)).abs().max() > 1e-3


def test_masked_words_are_not_read() -> None:
    net, batch = awake(), inputs()
    batch["mask"][:, 3:] = False
    changed = batch["states"].clone()
    changed[:, 3:] = 7 * torch.randn(3, 2, 256)
    assert torch.equal(net(**batch), net(**{**batch, "states": changed}))
    shorter = {**batch, "states": batch["states"][:, :3], "mask": batch["mask"][:, :3]}
    assert torch.allclose(net(**batch), net(**shorter), atol=1e-4)


def test_dropped_conditions_are_the_learned_nulls() -> None:
    net, batch = awake(), inputs()
    no_words = {**batch, "mask": torch.zeros_like(batch["mask"])}
    assert torch.equal(net(**no_words), net(**{**no_words, "states": torch.randn_like(batch["states"])}))
    assert not torch.allclose(net(**no_words), net(**batch))
    dropped = net(**{**batch, "vector": torch.zeros(3, 128)})
    assert torch.equal(dropped, net(**{**batch, "vector": net.null_vector.expand(3, -1)}))
    assert not torch.allclose(dropped, net(**batch))


def test_conditions_drop_row_by_row() -> None:
    net, batch = awake(), inputs()
    mixed = {**batch, "mask": batch["mask"].clone(), "vector": batch["vector"].clone()}
    mixed["mask"][0], mixed["vector"][1] = False, 0
    whole, partly = net(**batch), net(**mixed)
    assert torch.allclose(whole[2], partly[2], atol=1e-5)
    assert all((whole[i] - partly[i]).abs().max() > 1e-3 for i in (0, 1))


@pytest.mark.parametrize("options", [{}, {"depth": 3}])
def test_gradient_reaches_every_parameter(options: dict[str, object]) -> None:
    net, batch = awake(**options).train(), inputs()
    batch["vector"][0] = 0
    net(**batch).square().mean().backward()
    silent = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


def test_checkpointed_gradients_are_the_same() -> None:
    net, batch = awake().train(), inputs()
    gradients = []
    for checkpointing in (False, True):
        net.zero_grad()
        if checkpointing:
            net.enable_gradient_checkpointing()
        net(**batch).square().mean().backward()
        gradients.append([p.grad.clone() for p in net.parameters()])
    assert net.is_gradient_checkpointing
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


def test_bf16_is_close_and_velocity_stays_fp32() -> None:
    net, batch = awake(), inputs()
    exact = net(**batch)
    with torch.autocast("cpu", torch.bfloat16):
        autocast = net(**batch)
    stored = net.to(torch.bfloat16)(**batch)
    for velocity in (autocast, stored):
        assert velocity.dtype == torch.float32
        assert (velocity - exact).abs().mean() < 0.05 * exact.abs().mean()


@pytest.mark.parametrize(("options", "word"), [({"patch": 3}, "3"), ({"heads": 5}, "5")])
def test_wrong_options_are_named(options: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        DiT(**{**TINY, **options})


def test_weakened_rows_skip_a_block() -> None:
    batch, net = inputs(), awake()
    weakened = torch.tensor([False, True, False])
    whole, mixed = net(**batch), net(**batch, weakened=weakened)
    torch.testing.assert_close(mixed[~weakened], whole[~weakened])
    assert not torch.allclose(mixed[1], whole[1], atol=1e-3)
    net.blocks[net.bypassed].forward = lambda x, *_: x
    torch.testing.assert_close(net(**batch)[1], mixed[1])


def test_a_warp_starts_from_nothing_and_none_is_zeros() -> None:
    net, answer = awake(), inputs()
    warp = answer.pop("warp")
    warp[-1] = 0
    warped, plain = net(**answer, warp=warp), net(**answer)
    assert torch.equal(warped[-1], plain[-1]) and not torch.allclose(warped[0], plain[0], atol=1e-3)
    assert not DiT(**preset("dit", "tiny")).get_parameter("warp_in.weight").any()


def test_the_reference_branch_starts_at_zero() -> None:
    net, answer = awake(), inputs()
    reference = answer.pop("reference")
    reference[-1] = 0
    drawn, plain = net(**answer, reference=reference), net(**answer)
    assert torch.equal(drawn[-1], plain[-1]) and not torch.allclose(drawn[0], plain[0], atol=1e-3)
    fresh = DiT(**preset("dit", "tiny"))
    assert not any(fresh.get_parameter(f"reference_gate.{name}").any() for name in ("weight", "bias"))
    net.reference_in.load_state_dict({"weight": net.patch_in.weight})
    net.reference_gate.load_state_dict({"weight": torch.zeros(32, 32), "bias": torch.ones(32)})
    moved, here = {**answer, "x": answer["x"] + reference}, {**answer, "reference": torch.zeros_like(reference)}
    seen: list[torch.Tensor] = []
    net.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    net(**{**answer, "reference": reference}), net(**moved), net(**here)
    torch.testing.assert_close(seen[0], seen[1])
    assert not torch.allclose(seen[0], seen[2])


def test_the_input_skips_the_network_by_a_gain_that_starts_at_zero() -> None:
    batch, net = inputs(), awake()
    assert not any(parameter.any() for parameter in DiT(**TINY).skip_gain.parameters())
    with torch.no_grad():
        net.skip_gain.bias.zero_()
        plain = net(**batch)
        net.skip_gain.bias.fill_(0.5)
        # Half of the input more in the predicted picture is that much less in the way to it, divided by the time.
        less = plain - net(**batch)
    torch.testing.assert_close(less, 0.5 * batch["x"] / batch["t"][:, None, None, None])
