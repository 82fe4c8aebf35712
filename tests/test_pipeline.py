"""Drawing: seeds, schedulers, guidance, conditions, previews.

Byte equality holds for the kernels of a single process.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.autoencoder import PREVIEW_SIZE, fit_preview, preview
from models.dit import velocity_to
from models.pipelines.image import BATCH, Pictures, Progress
from models.pipelines.sticker import StickerPipeline
from models.sampling.condition import ComposedCondition, Condition
from models.sampling.guidance import guided
from models.sampling.loop import Sampling, denoise
from models.sampling.schedulers import SCHEDULERS, build_scheduler, set_steps

PROMPT, OTHER = "red apple", "a cat"
QUICK: dict[str, Any] = {"num_inference_steps": 2, "output_type": "uint8"}


def nothing(count: int) -> Condition:
    mask, draft = torch.zeros(count, 1, dtype=torch.bool), torch.zeros(count, 8, 4, 4)
    return Condition(torch.zeros(count, 1, 4), mask, torch.zeros(count, 128), draft)


# --- The loop, on flows with a known end ------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [8, 16, 50])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_finds_the_end_of_a_straight_flow(name: str, steps: int) -> None:
    noise, x0 = torch.randn(2, 8, 4, 4), torch.randn(2, 8, 4, 4)
    calls = []

    def network(x: torch.Tensor, t: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        calls.append(float(t[0]))
        return velocity_to(x0, x, t)  # as a generator answers that knows the picture

    done = list(
        denoise(
            network, noise, ComposedCondition.of(nothing(2)), nothing(2), Sampling(steps, 1.0), build_scheduler(name)
        )
    )
    assert (done[-1].latents - x0).std() < 0.005
    assert len(done) == len(calls) == done[0].count in (steps - 1, steps)
    assert calls == sorted(calls, reverse=True) and calls[0] > 0.99


def curved(x: torch.Tensor, t: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
    """The exact velocity where the data are N(0, 1/4): x (s - (1 - s) / 4) / (s^2 + (1 - s)^2 / 4)."""
    s = t.view(-1, 1, 1, 1)
    return x * (s - (1 - s) / 4) / (s**2 + (1 - s) ** 2 / 4)


@pytest.mark.parametrize("name", [name for name, row in SCHEDULERS.items() if not row.stochastic])
@pytest.mark.parametrize("temperature", [1.0, 0.4])
def test_a_scheduler_converges_on_a_curved_flow(name: str, temperature: float) -> None:
    """Noise e ends at temperature * e / 2."""
    noise = torch.linspace(-2, 2, 8).view(1, 8, 1, 1)
    errors = []
    for steps in (8, 32):
        sampling = Sampling(steps, 1.0, temperature=temperature, cooling=0.0)
        *_, last = denoise(curved, noise, ComposedCondition.of(nothing(1)), nothing(1), sampling, build_scheduler(name))
        errors.append(float((last.latents - temperature * noise / 2).abs().max()))
    assert errors[1] < 0.06 and errors[1] < errors[0]


@pytest.mark.parametrize("name", [name for name, row in SCHEDULERS.items() if row.keeps_changes])
@pytest.mark.parametrize(("temperature", "cooling"), [(0.8, 1.0), (1.0, 0.5), (0.6, 0.0)])
def test_noise_is_cooled_by_the_level_to_a_power(name: str, temperature: float, cooling: float) -> None:
    """After each step the latents are (1 - s) x0 + s (temperature s^cooling) noise."""
    x0, noise = torch.linspace(-1, 1, 8).view(1, 8, 1, 1), torch.linspace(-2, 2, 8).flip(0).view(1, 8, 1, 1)
    network = lambda x, t, *_: (x - x0) / t.view(-1, 1, 1, 1)  # noqa: E731
    sampling, scheduler = Sampling(8, 1.0, temperature=temperature, cooling=cooling), build_scheduler(name)
    done = list(denoise(network, noise, ComposedCondition.of(nothing(1)), nothing(1), sampling, scheduler))
    for item in done[scheduler.order - 1 :: scheduler.order]:
        s = float(scheduler.sigmas[item.index + 1])
        assert torch.allclose(item.latents, (1 - s) * x0 + s * temperature * s**cooling * noise, atol=0.02)
    assert torch.allclose(done[-1].latents, x0, atol=0.02)


def test_a_start_from_a_picture_is_not_cooled() -> None:
    x0, noise = torch.linspace(-1, 1, 8).view(1, 8, 1, 1), torch.linspace(-2, 2, 8).flip(0).view(1, 8, 1, 1)
    network = lambda x, t, *_: (x - x0) / t.view(-1, 1, 1, 1)  # noqa: E731
    sampling, scheduler = Sampling(8, 1.0, strength=0.5), build_scheduler("euler")
    done = list(denoise(network, noise, ComposedCondition.of(nothing(1)), nothing(1), sampling, scheduler, x0))
    for item in done:
        s = float(scheduler.sigmas[item.index + len(scheduler.timesteps) - item.count + 1])
        assert torch.allclose(item.latents, (1 - s) * x0 + s * noise, atol=1e-4)


@pytest.mark.parametrize("name", [name for name, row in SCHEDULERS.items() if row.stochastic])
def test_a_stochastic_scheduler_ends_in_the_spread_of_the_data(name: str) -> None:
    noise, spreads = torch.randn(1, 8, 64, 64, generator=torch.Generator().manual_seed(0)), []
    for steps in (8, 32):
        stream = torch.Generator().manual_seed(1)
        sampling, scheduler = Sampling(steps, 1.0, temperature=1.0), build_scheduler(name)
        renoise = lambda stream=stream: torch.randn(noise.shape, generator=stream)  # noqa: E731
        *_, last = denoise(
            curved, noise, ComposedCondition.of(nothing(1)), nothing(1), sampling, scheduler, renoise=renoise
        )
        spreads.append(float(last.latents.std()))
    assert spreads == pytest.approx([0.5, 0.5], abs=0.02)
    assert abs(float((last.latents * noise).mean())) < 0.1, "hardly anything is left of what it began with"


def test_stochastic_noise_comes_from_the_seed_of_the_picture(pipe: StickerPipeline) -> None:
    options: dict[str, Any] = {"num_inference_steps": 4, "scheduler": "dpm++ sde", "batch": 2}
    apart = [draw(pipe, [PROMPT], [seed], **options) for seed in (3, 9)]
    assert np.array_equal(np.concatenate(apart), draw(pipe, [PROMPT], [3, 9], **options))
    assert not np.array_equal(draw(pipe, [PROMPT], [3], **{**options, "scheduler": "dpm++"}), apart[0])


@pytest.mark.parametrize("name", SCHEDULERS)
def test_strength_starts_near_the_picture(name: str) -> None:
    x0, start, first = torch.randn(1, 8, 4, 4), torch.zeros(1, 8, 4, 4), []

    def network(x: torch.Tensor, t: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        first.append((float(t[0]), x.clone()))
        return (x - x0) / t.view(-1, 1, 1, 1)

    noise = torch.ones(1, 8, 4, 4)
    sampling = Sampling(8, 1.0, strength=0.5)
    done = list(
        denoise(network, noise, ComposedCondition.of(nothing(1)), nothing(1), sampling, build_scheduler(name), start)
    )
    sigma, x = first[0]
    assert 0.3 < sigma < 0.7 and torch.allclose(x, torch.full_like(x, sigma))
    assert len(done) == done[0].count < 7
    assert torch.allclose(done[-1].latents, x0, atol=2e-2)


def test_scheduler_names_are_checked() -> None:
    with pytest.raises(ValueError, match="did you mean 'euler'"):
        build_scheduler("eular")
    assert set_steps(build_scheduler("euler"), 4) == [1.0, 0.75, 0.5, 0.25]


def test_guidance_is_the_formula_within_its_interval() -> None:
    rows = []

    def network(x: torch.Tensor, t: torch.Tensor, *conditions: torch.Tensor, **_: torch.Tensor) -> torch.Tensor:
        rows.append(len(x))
        return conditions[2][:, :1, None, None].expand_as(x)

    wanted = Condition(*nothing(2).__dict__.values())
    wanted.vector[:] = 2.0
    unwanted = nothing(2)
    unwanted.vector[:] = 0.5
    velocity = guided(network, ComposedCondition.of(wanted), unwanted, 3.0, (0.2, 0.8))
    x = torch.zeros(2, 8, 4, 4)
    assert velocity(x, 0.5).unique().tolist() == [0.5 + 3 * 1.5]
    assert velocity(x, 0.9).unique().tolist() == velocity(x, 0.1).unique().tolist() == [2.0]
    assert guided(network, ComposedCondition.of(wanted), unwanted)(x, 0.5).unique().tolist() == [2.0]
    assert rows == [4, 2, 2, 2]


def test_only_the_second_pass_is_weakened() -> None:
    seen = []

    def network(x: torch.Tensor, t: torch.Tensor, *_: torch.Tensor, weakened: torch.Tensor) -> torch.Tensor:
        seen.append(weakened.tolist())
        return torch.where(weakened, 0.5, 2.0)[:, None, None, None].expand_as(x)

    velocity = guided(network, ComposedCondition.of(nothing(2)), nothing(2), 3.0)
    assert velocity(torch.zeros(2, 8, 4, 4), 0.5).unique().tolist() == [0.5 + 3 * 1.5]
    assert seen == [[False, False, True, True]]


def test_a_latent_that_stops_being_finite_names_the_step() -> None:
    def network(x: torch.Tensor, t: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x, float("nan") if t[0] < 0.6 else 0.0)

    wanted, scheduler = ComposedCondition.of(nothing(1)), build_scheduler("euler")
    with pytest.raises(FloatingPointError, match="step 3 of 4"):
        list(denoise(network, torch.ones(1, 8, 4, 4), wanted, nothing(1), Sampling(4, 1.0), scheduler))


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0}, {"steps": 10**9}, {"guidance": float("nan")}, {"guidance": -1}, {"interval": (0.9, 0.1)},
        {"strength": 0}, {"batch": 0}, {"reference_strength": 2},
    ],
)  # fmt: skip
def test_impossible_settings_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong.values()))).replace("(", "\\(").split(",")[0]):
        Sampling(**wrong)


# --- The pipeline -----------------------------------------------------------------------------------------------------


def draw(pipe: StickerPipeline, prompts: list[str], seeds: list[int], **options: Any) -> np.ndarray:
    return pipe(prompts, seeds=seeds, **{**QUICK, **options}).images


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_same_seed_same_picture_in_any_batch(parts: Path, dtype: torch.dtype) -> None:
    pipe = StickerPipeline.assemble(parts, dtype)
    pipe.set_progress_bar_config(disable=True)
    alone = draw(pipe, [PROMPT], [7], batch=BATCH)[0]
    prompts = [OTHER, "x", "", OTHER, PROMPT, "house", OTHER, "y", OTHER, PROMPT]
    together = draw(pipe, prompts, [1, 2, 3, 4, 7, 5, 6, 8, 9, 7])
    assert np.array_equal(alone, together[4])  # another slot, other neighbours
    assert np.array_equal(alone, together[9])  # the padded second batch
    assert not np.array_equal(alone, draw(pipe, [PROMPT], [8], batch=BATCH)[0])


def test_pictures_are_premultiplied_inside_and_straight_outside(pipe: StickerPipeline) -> None:
    inside = draw(pipe, [PROMPT], [1])
    assert inside.shape == (1, 128, 128, 4) and (inside[..., :3] <= inside[..., 3:]).all()
    outside = pipe(PROMPT, seeds=[1], num_inference_steps=2).images[0]
    assert outside.mode == "RGBA" and outside.size == (128, 128)
    again = np.asarray(outside.convert("RGBa"))
    assert np.abs(again.astype(int) - inside[0].astype(int)).max() <= 1
    straight = draw(pipe, [PROMPT], [1], output_type="np")
    assert straight.dtype == np.float32 and np.allclose(straight[0] * 255, np.asarray(outside))
    assert draw(pipe, [PROMPT], [1], output_type="latent").shape == (1, 8, 16, 16)


def test_a_vector_replaces_that_of_the_prompt(pipe: StickerPipeline) -> None:
    this, none = pipe.embedder.text([PROMPT]), torch.zeros(1, 128)
    both = draw(pipe, [PROMPT], [3])
    words, sense, neither = (
        draw(pipe, [text], [3], vector=item) for text, item in ((PROMPT, none), ("", this), ("", none))
    )
    assert len({picture.tobytes() for picture in (both, words, sense, neither)}) == 4
    assert np.array_equal(neither, draw(pipe, [""], [3]))
    assert np.array_equal(both, draw(pipe, [PROMPT], [3], vector=this))
    some = draw(pipe, [PROMPT, PROMPT], [3, 3], vector=[None, none], batch=1)
    assert np.array_equal(some, np.concatenate([both, words]))


def test_guidance_of_1_ignores_negative_prompts(pipe: StickerPipeline) -> None:
    plain = draw(pipe, [PROMPT], [3], guidance_scale=1.0)
    assert np.array_equal(plain, draw(pipe, [PROMPT], [3], guidance_scale=1.0, negative_prompt=OTHER))
    guided_picture = draw(pipe, [PROMPT], [3], guidance_scale=4.0)
    assert not np.array_equal(plain, guided_picture)
    assert not np.array_equal(guided_picture, draw(pipe, [PROMPT], [3], guidance_scale=4.0, negative_prompt=OTHER))


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_draws(pipe: StickerPipeline, name: str) -> None:
    latents = draw(pipe, [PROMPT], [3], scheduler=name, num_inference_steps=4, output_type="latent")
    assert latents.isfinite().all()
    assert torch.equal(latents, draw(pipe, [PROMPT], [3], scheduler=name, num_inference_steps=4, output_type="latent"))


def test_steps_tell_their_progress_with_previews(pipe: StickerPipeline) -> None:
    events = list(pipe.steps(PROMPT, range(10), Sampling(2), previews=True))
    steps = [event for event in events if isinstance(event, Progress)]
    assert [(event.step, event.total) for event in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [event.preview.shape for event in steps if event.preview is not None] == [
        (n, PREVIEW_SIZE, PREVIEW_SIZE, 4) for n in (8, 8, 2, 2)
    ]
    pictures = [event for event in events if isinstance(event, Pictures)]
    assert [(len(p.pixels), p.batch) for p in pictures] == [(8, BATCH), (2, BATCH)]
    assert [seed for p in pictures for seed in p.seeds] == list(range(10))


def test_a_picture_may_be_the_start(pipe: StickerPipeline) -> None:
    start = draw(pipe, [OTHER], [1])
    weak, strong = (
        draw(pipe, [PROMPT], [2], image=start, strength=s, num_inference_steps=8, output_type="latent")
        for s in (0.1, 0.9)
    )
    latent = pipe.autoencoder.encode(torch.from_numpy(start).permute(0, 3, 1, 2) / 255)
    assert (weak - latent).abs().mean() < (strong - latent).abs().mean()


def test_mix_is_a_weighted_unit_sum(pipe: StickerPipeline) -> None:
    picture = draw(pipe, [PROMPT], [1])[0]
    text, image = pipe.embedder.text([OTHER]), pipe.embedder.image(picture[None])
    mixed = pipe.mix([(2.0, OTHER), (-0.5, picture)])
    assert torch.allclose(mixed, F.normalize(2 * text - 0.5 * image, dim=-1), atol=1e-6)
    with pytest.raises(ValueError, match="cancel"):
        pipe.mix([(1.0, OTHER), (-1.0, OTHER)])
    with pytest.raises(ValueError, match="nothing to mix"):
        pipe.mix([])


def test_saved_and_loaded_draws_the_same(pipe: StickerPipeline, parts: Path, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    again = StickerPipeline.from_pretrained(tmp_path, torch_dtype=torch.float32)
    again.set_progress_bar_config(disable=True)
    assert not list(tmp_path.rglob("*.bin"))
    assert np.array_equal(draw(pipe, [PROMPT], [5]), draw(again, [PROMPT], [5]))
    assembled = StickerPipeline.assemble(parts, torch.float32)
    assert np.array_equal(draw(pipe, [PROMPT], [5]), draw(assembled, [PROMPT], [5]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": ["a", "b"], "seeds": [1, 2, 3]}, "2 prompts for 3 pictures"),
        ({"prompt": "a", "seeds": []}, "no seeds"),
        ({"prompt": "a", "seeds": [-1]}, "seed -1"),
        ({"prompt": "a", "seeds": [1], "vector": torch.zeros(1, 3)}, "vector of shape"),
        ({"prompt": "a", "seeds": [1], "output_type": "jpg"}, "output_type 'jpg'"),
        ({"prompt": "a", "seeds": [1], "scheduler": "dpm"}, "did you mean 'dpm\\+\\+'"),
    ],
)
def test_wrong_calls_say_what_is_wrong(pipe: StickerPipeline, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pipe(**{"num_inference_steps": 1, **options})


def test_seeds_come_from_a_generator_where_none_are_given(pipe: StickerPipeline) -> None:
    outputs = [
        pipe(PROMPT, num_images_per_prompt=2, generator=torch.Generator().manual_seed(4), **QUICK) for _ in range(2)
    ]
    assert outputs[0].seeds == outputs[1].seeds and len(set(outputs[0].seeds)) == 2
    assert np.array_equal(outputs[0].images, draw(pipe, [PROMPT, PROMPT], outputs[0].seeds))


def test_negative_prompts_are_repeated_per_picture(pipe: StickerPipeline) -> None:
    settings = {"seeds": [1, 2, 3, 4], "output_type": "uint8", "num_inference_steps": 1}
    result = pipe(["a cat", "a dog"], negative_prompt=["red", "blue"], num_images_per_prompt=2, **settings)
    spelt = pipe(["a cat"] * 2 + ["a dog"] * 2, negative_prompt=["red"] * 2 + ["blue"] * 2, **settings)
    assert np.array_equal(result.images, spelt.images)


# --- The preview ------------------------------------------------------------------------------------------------------


def test_a_linear_picture_is_previewed_exactly() -> None:
    latents, rows = torch.randn(6, 8, 16, 16), torch.rand(9, 4) * 0.02
    rows[8] = torch.tensor([0.3, 0.4, 0.5, 0.8])
    colours = torch.einsum("nchw,cr->nrhw", latents, rows[:-1]) + rows[-1].view(1, 4, 1, 1)
    fitted = torch.tensor(fit_preview(latents, F.interpolate(colours, scale_factor=8)))
    assert torch.allclose(fitted, rows, atol=1e-4)
    plain = latents[:2, :, :1, :1].expand(-1, -1, 16, 16)
    shown = preview(plain, fitted.tolist())
    assert shown.shape == (2, 4, PREVIEW_SIZE, PREVIEW_SIZE)
    assert torch.allclose(shown, colours[:2, :, :1, :1].expand_as(shown), atol=1e-3)
