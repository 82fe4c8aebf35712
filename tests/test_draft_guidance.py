"""Laws of keeping to a draft: while there is much noise, in its own rows, and not in a style that lacks the thing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bags import Bags
from tiny_parts import save_tiny_parts

from models.data.fixture import fixture_world
from models.draft_guidance import NEARER, UNTIL, DraftGuidance
from models.drawing import FAST_SAMPLING, Pictures, Sampling, in_turn
from models.pipeline import StickerPipeline
from models.prompts.parser import PromptParser
from models.prototypes import Prototypes


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> StickerPipeline:
    made = StickerPipeline.assemble(save_tiny_parts(tmp_path_factory.mktemp("parts")), torch.float32)
    made.parser = PromptParser.build(Bags(), fixture_world())  # type: ignore[arg-type]
    made.prototypes = Prototypes.build(fixture_world())
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
    assert pipe.blend([(1.0, part) for part in parts]).led == led


def test_a_step_promises_what_is_nearer_to_the_draft_in_its_rows_alone() -> None:
    drafts, x, velocity = (torch.randn(3, 8, 4, 4) for _ in range(3))
    drafts[1] = 0
    led = DraftGuidance.of(drafts, torch.tensor([True, True, False]))
    assert led is not None and led.rows.tolist() == [True, False, False]
    sigma = UNTIL + 0.25
    answer = led(sigma, x, velocity)
    before, after = x - sigma * velocity, x - sigma * answer
    assert torch.allclose(after[0] - drafts[0], (1 - NEARER * sigma) * (before[0] - drafts[0]), atol=1e-5)
    assert torch.equal(answer[1:], velocity[1:])
    assert torch.equal(led(UNTIL, x, velocity), velocity)


def test_without_a_draft_that_is_wanted_nothing_is_led() -> None:
    assert DraftGuidance.of(torch.zeros(2, 8, 4, 4), torch.tensor([True, True])) is None
    assert DraftGuidance.of(torch.ones(2, 8, 4, 4), torch.tensor([False, False])) is None


def test_who_leads_second_sees_what_the_first_answered() -> None:
    both = in_turn([lambda _, x, v: v + x, lambda sigma, _, v: v * sigma])
    assert both is not None and float(both(2.0, torch.tensor(3.0), torch.tensor(1.0))) == 8.0
    assert in_turn([]) is None


@pytest.mark.parametrize("sampling", [Sampling(8), replace(FAST_SAMPLING, fast=False)])
def test_in_a_style_that_lacks_the_thing_a_drawing_is_as_it_would_be_and_else_nearer_to_its_draft(
    pipe: StickerPipeline, sampling: Sampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = ["a cat", "a cat, noto style", "a cat, blob style", "sky", "sky, noto style"]
    led = drawn(pipe, prompts, sampling)
    work = pipe._resolve(prompts, range(5), "", None, True, True, None, None, True)
    wanted = work.wanted
    assert wanted.draft.flatten(1).any(1).tolist() == [True, True, True, False, False]
    assert work.led == (True, True, False, True, False)
    monkeypatch.setattr("models.draft_guidance.NEARER", 0.0)
    free = drawn(pipe, prompts, sampling)
    assert np.array_equal(led[2:], free[2:])
    for number, draft in enumerate(wanted.draft[:2].numpy()):
        assert np.square(led[number] - draft).mean() < 0.9 * np.square(free[number] - draft).mean()
