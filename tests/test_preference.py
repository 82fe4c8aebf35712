"""What an adapter learns preferences by, its training on tiny parts, and its use in prompts."""

import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import sentence_of
from queue_kit import ask_of, picture
from test_ratings import fill
from tiny_parts import awaken, give_variant, own_precision, save_tiny_parts, short_runs  # noqa: F401 - fixtures
from training_kit import are_equal, straight_and_resumed

from models.lora import GENERATOR, UP, attach, changes, is_style, load_generator, save_adapter
from models.pipelines.sticker import StickerPipeline
from models.ratings import Pair
from models.reward import Reward, features
from models.train.loop import Length
from models.train.preference import (
    EACH,
    Candidates,
    Comparison,
    dpo_loss,
    draw,
    judged,
    preference_trainer,
    safe_share,
)
from models.train.style import StyleTrainer
from models.weights import weights_digest
from studio import learn, loras, preferences, settings
from studio.backends.base import run
from studio.backends.embedded import Embedded
from studio.home import Home
from studio.media import Artifact
from studio.metadata.files import encoded
from studio.metadata.origin import provenance
from studio.planner import plan
from studio.ratings import Ratings
from studio.requests import make_request
from studio.verify import verify

PROMPTS = ("a cat", "a red ball")


def residuals(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 8, 2, 2, generator=torch.Generator().manual_seed(seed))


# --- Laws -------------------------------------------------------------------------------------------------------------


def test_dpo_is_undecided_where_nothing_has_changed_and_falls_where_the_preferred_picture_gains() -> None:
    share = torch.ones(2)
    still, better, worse = (torch.tensor([change, change, 0.0, 0.0]) for change in (0.0, -1e-3, 1e-3))
    assert math.isclose(float(dpo_loss(still, share)), math.log(2), rel_tol=1e-6)
    assert dpo_loss(better, share) < math.log(2) < dpo_loss(worse, share)
    changed = torch.zeros(4, requires_grad=True)
    dpo_loss(changed, torch.tensor([1.0, 0.25])).backward()
    assert changed.grad is not None
    first, second, third, fourth = changed.grad.tolist()
    assert first == second == -third and math.isclose(fourth, third / 4, rel_tol=1e-6)


@pytest.mark.parametrize("factor", [3.0, 0.5, -1.0, 0.0])
@pytest.mark.parametrize("beside", [0.0, 1.0, 5.0])
def test_the_rejected_picture_does_not_raise_the_error_of_the_preferred(factor: float, beside: float) -> None:
    preferred = residuals(4)
    rejected = factor * preferred + beside * residuals(4, seed=1)
    share = safe_share(torch.cat([preferred, rejected]))
    assert ((share >= 0) & (share <= 1)).all()
    step = preferred - share[:, None, None, None] * rejected
    assert ((preferred * step).flatten(1).sum(1) >= -1e-4).all()


def test_pairs_are_of_one_prompt_the_better_first_and_an_insult_is_never_preferred() -> None:
    reward = np.random.default_rng(0).standard_normal(2 * EACH)
    reward[[1, 3, 4, 6, 7, 9]] = -np.inf  # of the first prompt three are left
    drawn = Candidates(np.zeros((2 * EACH, 1, 1, 4), np.uint8), ["a"] * EACH + ["b"] * EACH, reward)
    pairs = drawn.pairs
    preferred, rejected = pairs.T
    assert np.array_equal(preferred // EACH, rejected // EACH) and len(pairs) == 18
    assert (reward[preferred] > reward[rejected]).all() and np.isfinite(reward[preferred]).all()
    reward[0] = -np.inf
    assert len(drawn.pairs) == 15, "of two good ones no third is made"


@pytest.mark.parametrize(("gain", "read", "rings"), [(1.0, 0.7, True), (1.0, 0.85, False), (-1.0, 0.7, False)])
def test_the_alarm_rings_where_the_reward_rises_and_things_are_lost(gain: float, read: float, rings: bool) -> None:
    before, after = ({"reward": np.full(3, value)} for value in (0.0, gain))
    blank, right = np.zeros((3, 1, 1, 4), np.uint8), np.arange(20) / 20
    assert Comparison(blank, blank, before, after, right < 0.9, right < read).is_hacked == rings


# --- Training ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = save_tiny_parts(tmp_path_factory.mktemp("parts"))
    give_variant(root, 0.01)
    return root


@pytest.fixture(scope="module")
def judge(parts: Path) -> StickerPipeline:
    return StickerPipeline.assemble(parts)


@pytest.fixture(scope="module")
def candidates(judge: StickerPipeline) -> tuple[Candidates, Reward]:
    pixels = np.concatenate([draw(judge, prompt, number) for number, prompt in enumerate(PROMPTS)])
    width = features(pixels[:1], np.zeros((1, 128))).shape[1] + 2
    weights = np.random.default_rng(0).standard_normal((5, width))
    reward = Reward(weights, np.zeros(width), np.ones(width), np.eye(1, 128))
    return judged(judge, reward, PROMPTS, pixels), reward


Given = tuple[Candidates, Reward]


def trainer_of(parts: Path, judge: StickerPipeline, given: Given, out: Path) -> StyleTrainer:
    out.mkdir(exist_ok=True)
    trainer = preference_trainer(given[0], judge, given[1], out, 1.0, 60.0, lambda **values: None, parts)
    trainer.length = Length(steps=60)
    return trainer


def test_candidates_are_those_of_their_seeds(judge: StickerPipeline, candidates: Given) -> None:
    drawn, _ = candidates
    assert np.array_equal(drawn.pixels[EACH:], draw(judge, PROMPTS[1], 1)) and len(np.unique(drawn.reward)) > EACH
    assert list(drawn.prompts) == [prompt for prompt in PROMPTS for _ in range(EACH)]


def test_a_training_lowers_the_loss_and_draws_with_the_references(
    parts: Path, judge: StickerPipeline, candidates: Given, tmp_path: Path
) -> None:
    trainer = trainer_of(parts, judge, candidates, tmp_path)
    task: Any = trainer.task
    trainer.run()
    figures = [task.loss(task.model, task.batch(step, 0, 1, 0.0), 0.0) for step in range(20)]
    assert sum(float(row["preferred"] - row["rejected"]) for row in figures) < 0
    assert not is_style(tmp_path / "export") and not task.pipeline(task.model).is_adapted
    assert {"reward", "reward_before", "read", "read_before"} <= task.evaluate(task.model).keys()
    assert list(tmp_path.glob("sheet-*.png"))


def test_resumed_equals_straight(parts: Path, judge: StickerPipeline, candidates: Given, tmp_path: Path) -> None:
    straight, resumed = straight_and_resumed(lambda out: trainer_of(parts, judge, candidates, out), tmp_path)
    assert are_equal(straight, resumed)
    assert any(matrix.any() for name, matrix in changes(resumed.plain).items() if UP in name)


# --- Use --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def rated(home: Path, space: str) -> Ratings:
    store = Home(home)
    names, ratings = fill(store, 12, space=space), Ratings(store)
    for place in (1, 2):
        for first, second in zip(names[::3], names[place::3], strict=True):
            ratings.add(Pair("a cat", first, second), "first")
    return ratings


def test_a_run_is_stopped_goes_on_and_is_in_use_until_it_is_removed(
    parts: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preferences, "PROMPTS", 2)
    monkeypatch.setattr(Comparison, "gain", 0.0)  # a step or two change nothing that a random reward would like
    backend, states = Embedded(str(parts)), list[str]()
    ratings = rated(home, backend.space())

    def stop(status: learn.Status) -> None:
        states.append(status.state)
        if status.state == "training":
            os.kill(os.getpid(), signal.SIGINT)

    preferences.learn(home, 60, stop, parts)
    (first,) = learn.adapters(home)
    assert first.card["pairs"] == 24 and "a cat" not in first.card["prompts"][1:]
    assert states.count("drawing") == 2 and states[-1] == "stopped" and learn.TrainingRun(home, "preferences").is_in_use
    assert ask_of(backend, prompt="a cat").preferences == 1
    preferences.learn(home, 60, stop, parts)
    (second,) = learn.adapters(home)
    assert second.card["steps"] > first.card["steps"], "it went on"
    assert len(list((home / "learning/preferences").glob("candidates-*/*.npy"))) == 2
    learn.remove(home, "preferences")
    assert ask_of(backend, prompt="a cat").preferences is None and not settings.preferences()
    assert ratings.reward(), "the reward stays in use"


@pytest.mark.parametrize(("gain", "loses", "sentence"), [(-1.0, False, "less as you prefer"), (1.0, True, "show what")])
def test_what_is_no_gain_is_not_used(
    gain: float, loses: bool, sentence: str, parts: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preferences, "PROMPTS", 2)
    monkeypatch.setattr(Comparison, "gain", gain)
    monkeypatch.setattr(Comparison, "loses_things", loses)
    rated(home, Embedded(str(parts)).space())
    assert sentence in sentence_of(lambda: preferences.learn(home, 0.001, weights=parts))
    assert not settings.preferences() and not list(learn.adapters(home))
    status = learn.TrainingRun(home, "preferences").status
    assert status is not None and status.state == "failed" and sentence in status.message


@pytest.fixture
def in_use(parts: Path, home: Path) -> Path:
    network = load_generator(parts)
    attach(network, 4)
    awaken(network)
    base = weights_digest((GENERATOR,), parts)
    save_adapter(network, home / loras.FOLDER / loras.PREFERENCES, base, "preference")
    settings.choose(home, preferences=base)
    return home


def test_a_request_draws_with_them_or_says_how_much(parts: Path, in_use: Path) -> None:
    backend = Embedded(str(parts))
    usual = ask_of(backend, prompt="a cat")
    assert usual.prompt == "a cat" and usual.preferences == 1 and usual.loras
    assert ask_of(backend, prompt="a cat", preferences=0.5).loras[0].weight == 0.5
    none = ask_of(backend, prompt="a cat", preferences=0)
    assert none.preferences is none.loras is None
    assert not backend._with_loras(usual.loras).is_adapted, "references lead it as ever"
    assert "preferences must be between 0 and 1" in sentence_of(lambda: ask_of(backend, prompt="a cat", preferences=2))
    settings.choose(in_use, preferences="another generator")
    assert ask_of(backend, prompt="a cat").loras is None


def test_files_are_drawn_again_as_they_were(parts: Path, in_use: Path, tmp_path: Path) -> None:
    backend = Embedded(str(parts))
    before, after = tmp_path / "before.png", tmp_path / "after.png"
    preferences.stop(in_use)
    _draw(backend, before)
    settings.choose(in_use, preferences=backend.capabilities().base)
    _draw(backend, after)
    assert before.read_bytes() != after.read_bytes()
    for _ in range(2):  # in use, and then not
        for file in (before, after):
            verdict = verify(file, opener=lambda model: backend)
            assert verdict.result == "identical", verdict
        preferences.stop(in_use)


def _draw(backend: Embedded, file: Path) -> None:
    (job,) = plan(make_request(prompt="a cat", seed=3, steps=2), backend)
    (result,) = (event for event in run(backend, job.request) if isinstance(event, Artifact))
    file.write_bytes(encoded(picture(result), provenance(job, result), "png"))


def test_what_will_not_do_is_said(home: Path, parts: Path) -> None:
    assert "nothing to learn from" in sentence_of(lambda: preferences.learn(home, 1, weights=parts))
    assert "from ratings" in sentence_of(lambda: learn.check_name(home, "preferences"))
    rated(home, "another space")
    assert "another model" in sentence_of(lambda: preferences.learn(home, 1, weights=parts))
    backend = Embedded(str(parts))
    assert "nothing is learned" in sentence_of(lambda: ask_of(backend, prompt="a cat", preferences=1))
