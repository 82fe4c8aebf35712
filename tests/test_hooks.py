"""Guidance hooks: symmetry and references, by row and noise level.

Byte equality holds for the kernels of a single process.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fixture_world import fixture_world
from prompt_kit import knowing_pipe  # noqa: F401 - a fixture
from tiny_parts import save_tiny_parts

from models.assets import preset
from models.autoencoder import Autoencoder
from models.dit import velocity_to
from models.pipelines.image import Pictures
from models.pipelines.sticker import StickerPipeline
from models.references.build import _mirror
from models.references.store import SIDE, ReferenceStore
from models.sampling.condition import ComposedCondition, Condition
from models.sampling.guidance import (
    ALIKE,
    DETAIL_PULL,
    DETAILS_FROM,
    REFERENCE_PULL,
    SYMMETRIC_UNTIL,
    LatentMirror,
    guidance_hooks,
    reference_guidance,
    symmetry_guidance,
)
from models.sampling.loop import FAST_SAMPLING, Sampling, denoise
from models.sampling.schedulers import build_scheduler
from models.weights import WeightsError, save_part


def leaning() -> torch.Tensor:
    """Stands for an autoencoder: (8, 8), the map of channels by mirroring, its own inverse."""
    swap = torch.eye(8)[[1, 0, 2, 3, 4, 5, 7, 6]]
    return swap * torch.tensor([1.0, 1, -1, 1, 1, 1, 1, 1])


def mirrored(latents: torch.Tensor) -> torch.Tensor:
    return torch.einsum("nchw,cd->ndhw", latents.flip(3), leaning())


@pytest.fixture(scope="module")
def mirror() -> LatentMirror:
    latents = torch.randn(20, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    return LatentMirror.fit(latents, mirrored(latents))


def test_the_latent_mirror_is_fitted(mirror: LatentMirror) -> None:
    latents = torch.randn(3, 8, 16, 16)
    assert torch.allclose(mirror(latents), mirrored(latents), atol=1e-4)
    assert torch.allclose(mirror(mirror(latents)), latents, atol=1e-4)
    assert torch.allclose(mirror.asymmetry((latents + mirrored(latents)) / 2), torch.zeros(3), atol=1e-6)
    assert ((mirror.asymmetry(latents) - 2).abs() < 0.5).all()


def test_an_autoencoder_that_is_symmetric_itself_gives_the_flip() -> None:
    torch.manual_seed(0)
    autoencoder = Autoencoder(**preset("autoencoder", "tiny")).eval()
    result = _mirror(fixture_world(), autoencoder)
    pixels = torch.rand(2, 4, 128, 128)
    this, other = autoencoder.encode(pixels), autoencoder.encode(pixels.flip(3))
    assert result.weights.shape == (9 * 8 + 1, 8)
    assert (result(this) - other).square().mean() < (this.flip(3) - other).square().mean()


def nothing(draft: torch.Tensor) -> Condition:
    count = len(draft)
    return Condition(torch.zeros(count, 1, 4), torch.zeros(count, 1, dtype=torch.bool), torch.zeros(count, 128), draft)


@pytest.mark.parametrize("sampling", [Sampling(16, 1.0), FAST_SAMPLING])
def test_a_symmetric_draft_gives_a_symmetric_picture(mirror: LatentMirror, sampling: Sampling) -> None:
    plain = torch.randn(2, 8, 16, 16)
    draft = torch.stack([(plain[0] + mirrored(plain[:1])[0]) / 2, plain[1]])
    wanted, aims = ComposedCondition.of(nothing(draft)), torch.randn(2, 8, 16, 16)

    def network(x: torch.Tensor, t: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        seen = x.clone()
        return velocity_to(torch.where(t[:, None, None, None] >= SYMMETRIC_UNTIL, aims, seen), x, t)

    def drawn(steer: object) -> torch.Tensor:
        scheduler = build_scheduler(sampling.scheduler or "euler")
        conditions = nothing(torch.zeros_like(draft))
        noise = torch.randn(2, 8, 16, 16, generator=torch.Generator().manual_seed(3))
        clean = [s.clean for s in denoise(network, noise, wanted, conditions, sampling, scheduler, hooks=steer)]  # type: ignore[arg-type]
        return clean[1]

    free, led = drawn([]), drawn([symmetry_guidance(mirror, draft)])
    assert mirror.asymmetry(free)[0] > 1 and mirror.asymmetry(led)[0] < ALIKE
    assert torch.equal(led[1], free[1]), "a picture beside it is the same to the bit"


def test_no_symmetry_hook_without_a_symmetric_draft(mirror: LatentMirror) -> None:
    assert symmetry_guidance(mirror, torch.zeros(2, 8, 16, 16)) is None
    assert symmetry_guidance(mirror, torch.randn(2, 8, 16, 16)) is None
    assert guidance_hooks(torch.ones(2, 8, 16, 16), [False] * 2, None) == []


def test_symmetry_guidance_ends_at_a_noise_level(mirror: LatentMirror) -> None:
    x, velocity = torch.randn(1, 8, 16, 16), torch.randn(1, 8, 16, 16)
    draft = x + mirrored(x)
    hook = symmetry_guidance(mirror, draft)
    assert hook is not None and torch.equal(hook(SYMMETRIC_UNTIL - 0.01, x, velocity), velocity)
    assert mirror.asymmetry(x - SYMMETRIC_UNTIL * hook(SYMMETRIC_UNTIL, x, velocity)).max() < 1e-4


def test_the_mirror_is_stored_with_its_autoencoder(tmp_path: Path, mirror: LatentMirror) -> None:
    root = save_tiny_parts(tmp_path)
    assert ReferenceStore.load(root).mirror is None
    ReferenceStore(np.zeros((0, SIDE, SIDE, 4), np.uint8), mirror=mirror).save(root)
    again = ReferenceStore.load(root).mirror
    assert again is not None and torch.equal(again.weights, mirror.weights)
    save_part(Autoencoder(**preset("autoencoder", "tiny")), "autoencoder", root)
    with pytest.raises(WeightsError, match="another part 'autoencoder'"):
        ReferenceStore.load(root)


# --- Reference guidance -----------------------------------------------------------------------------------------------


def drawn(pipe: StickerPipeline, prompts: list[str], sampling: Sampling) -> np.ndarray:
    events = pipe.steps(prompts, range(len(prompts)), replace(sampling, batch=2))
    return np.concatenate([event.latents for event in events if isinstance(event, Pictures)])


@pytest.mark.parametrize(
    ("summands", "led"),
    [
        (("a cat", "a cat"), True),
        (("a cat", "a fish"), False),
        (("a cat, noto style",), True),
        (("a cat, blob style",), False),
        (("a cat", np.zeros((128, 128, 4), np.uint8)), False),
    ],
)
def test_a_blend_follows_a_reference_only_if_all_parts_do(
    pipe: StickerPipeline, summands: tuple[str | np.ndarray, ...], led: bool
) -> None:
    assert pipe.blend([(1.0, part) for part in summands]).follows_reference == led


def test_a_step_leads_nearer_to_the_reference_in_its_rows_alone() -> None:
    references, x, velocity = (torch.randn(3, 8, 4, 4) for _ in range(3))
    references[1] = 0
    hook = reference_guidance(references, torch.tensor([True, True, False]))
    assert hook is not None
    for sigma, pull in ((DETAILS_FROM + 0.25, REFERENCE_PULL * (DETAILS_FROM + 0.25)), (DETAILS_FROM, DETAIL_PULL)):
        answer = hook(sigma, x, velocity)
        before, after = x - sigma * velocity, x - sigma * answer
        assert torch.allclose(after[0] - references[0], (1 - pull) * (before[0] - references[0]), atol=1e-5)
        assert torch.equal(answer[1:], velocity[1:])


def test_no_reference_hook_without_a_reference() -> None:
    assert reference_guidance(torch.zeros(2, 8, 4, 4), torch.tensor([True, True])) is None
    assert reference_guidance(torch.ones(2, 8, 4, 4), torch.tensor([False, False])) is None


def test_the_second_hook_sees_what_the_first_answered() -> None:
    nothing = Condition(
        torch.zeros(1, 1, 4), torch.zeros(1, 1, dtype=torch.bool), torch.zeros(1, 128), torch.zeros(1, 8, 4, 4)
    )
    sampling, still = Sampling(1, 1.0, temperature=1.0, cooling=0.0), lambda x, *_: torch.zeros_like(x)
    (step,) = denoise(
        still, torch.ones(1, 8, 4, 4), ComposedCondition.of(nothing), nothing, sampling, build_scheduler("euler"),
        hooks=[lambda sigma, x, velocity: velocity + 1, lambda sigma, x, velocity: 2 * velocity],
    )  # fmt: skip
    assert step.clean.unique().tolist() == step.latents.unique().tolist() == [1 - 2.0]


@pytest.mark.parametrize("sampling", [Sampling(8), replace(FAST_SAMPLING, fast=False)])
def test_reference_guidance_applies_only_to_styles_with_the_concept(
    pipe: StickerPipeline, sampling: Sampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = ["a cat", "a cat, noto style", "a cat, blob style", "sky", "sky, noto style"]
    led = drawn(pipe, prompts, sampling)
    work = pipe._resolve(prompts, range(5), sampling)
    wanted = work.wanted
    assert wanted.reference.flatten(1).any(1).tolist() == [True, True, True, False, False]
    assert work.follows == [True, True, False, True, False]
    monkeypatch.setattr("models.pipelines.image.guidance_hooks", lambda *_: [])
    free = drawn(pipe, prompts, sampling)
    assert np.array_equal(led[2:], free[2:])
    for number, draft in enumerate(wanted.reference[:2].numpy()):
        assert np.square(led[number] - draft).mean() < 0.9 * np.square(free[number] - draft).mean()
