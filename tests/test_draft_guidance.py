"""Laws of keeping to a draft: while there is much noise, in its own rows, and not in a style that lacks the thing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bags import Bags
from tiny_parts import save_tiny_parts

from models.data.fixture import fixture_world
from models.pipelines.image import StickerPipeline
from models.reading.wording import Wording
from models.references.build import build_references
from models.sampling.condition import ComposedCondition, Condition
from models.sampling.hooks import REFERENCE, REFERENCE_PULL, REFERENCE_UNTIL, Call, Hook, ReferenceGuidance
from models.sampling.loop import FAST_SAMPLING, Pictures, Sampling, denoise
from models.sampling.schedulers import build_scheduler


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> StickerPipeline:
    made = StickerPipeline.assemble(save_tiny_parts(tmp_path_factory.mktemp("parts")), torch.float32)
    made.wording = Wording.build(Bags(), fixture_world())  # type: ignore[arg-type]
    made.references = build_references(fixture_world())
    return made


def drawn(pipe: StickerPipeline, prompts: list[str], sampling: Sampling) -> np.ndarray:
    events = pipe.steps(prompts, range(len(prompts)), replace(sampling, batch=2))
    return np.concatenate([event.latents for event in events if isinstance(event, Pictures)])


@pytest.mark.parametrize(
    ("parts", "led"),
    [
        (("a cat", "a cat"), True),
        (("a cat", "a fish"), False),
        (("a cat, noto style",), True),
        (("a cat, blob style",), False),
        (("a cat", np.zeros((128, 128, 4), np.uint8)), False),
    ],
)
def test_a_blend_is_led_where_it_is_of_one_thing_that_is(
    pipe: StickerPipeline, parts: tuple[str | np.ndarray, ...], led: bool
) -> None:
    assert pipe.blend([(1.0, part) for part in parts]).follows == led


def test_a_step_leads_nearer_to_the_reference_in_its_rows_alone() -> None:
    references, x, velocity = (torch.randn(3, 8, 4, 4) for _ in range(3))
    references[1] = 0
    (hook,) = ReferenceGuidance.of(references, torch.tensor([True, True, False]))
    assert isinstance(hook, ReferenceGuidance) and hook.rows.tolist() == [True, False, False]
    sigma = REFERENCE_UNTIL + 0.25
    answer = hook.velocity(sigma, x, velocity)
    before, after = x - sigma * velocity, x - sigma * answer
    assert torch.allclose(
        after[0] - references[0], (1 - REFERENCE_PULL * sigma) * (before[0] - references[0]), atol=1e-5
    )
    assert torch.equal(answer[1:], velocity[1:])
    assert torch.equal(hook.velocity(REFERENCE_UNTIL, x, velocity), velocity)


def test_without_a_reference_to_follow_there_is_no_hook() -> None:
    assert ReferenceGuidance.of(torch.zeros(2, 8, 4, 4), torch.tensor([True, True])) == []
    assert ReferenceGuidance.of(torch.ones(2, 8, 4, 4), torch.tensor([False, False])) == []


def test_the_second_hook_sees_what_the_first_answered() -> None:
    class Adding(Hook):
        def velocity(self, sigma: float, x: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
            return velocity + 1

        def latents(self, call: Call, x: torch.Tensor) -> torch.Tensor:
            return x + 1

    class Doubling(Hook):
        def velocity(self, sigma: float, x: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
            return 2 * velocity

        def latents(self, call: Call, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

    nothing = Condition(
        torch.zeros(1, 1, 4), torch.zeros(1, 1, dtype=torch.bool), torch.zeros(1, 128), torch.zeros(1, 8, 4, 4)
    )
    sampling, still = Sampling(1, 1.0, temperature=1.0, cooling=0.0), lambda x, *_: torch.zeros_like(x)
    (step,) = denoise(
        still, torch.ones(1, 8, 4, 4), ComposedCondition.of(nothing), nothing, sampling, build_scheduler("euler"),
        hooks=[Adding(), Doubling()],
    )  # fmt: skip
    assert step.clean.unique().tolist() == [1 - 2.0] and step.latents.unique().tolist() == [2 * (1 - 2 + 1.0)]


@pytest.mark.parametrize("sampling", [Sampling(8), replace(FAST_SAMPLING, fast=False)])
def test_in_a_style_that_lacks_the_thing_a_drawing_is_as_it_would_be_and_else_nearer_to_its_draft(
    pipe: StickerPipeline, sampling: Sampling
) -> None:
    prompts = ["a cat", "a cat, noto style", "a cat, blob style", "sky", "sky, noto style"]
    led = drawn(pipe, prompts, sampling)
    work = pipe._resolve(prompts, range(5), "", None, True, True, None, None, True)
    wanted = work.wanted
    assert wanted.reference.flatten(1).any(1).tolist() == [True, True, True, False, False]
    assert work.follows == (True, True, False, True, False)
    free = drawn(pipe, prompts, replace(sampling, hooks=sampling.hooks - {REFERENCE}))
    assert np.array_equal(led[2:], free[2:])
    for number, draft in enumerate(wanted.reference[:2].numpy()):
        assert np.square(led[number] - draft).mean() < 0.9 * np.square(free[number] - draft).mean()
