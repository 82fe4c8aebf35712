"""Learning from ratings: an adapter that draws more of what a user prefers (`models.train.preference`), and its use.

The reward is learned from the home's ratings; the studio draws pictures of rated prompts and of frequent ones, judges
them by the reward, and trains the adapter, as a run of `studio.learn`. From then on the planner adds it to each
request of the studio's model, until it is taken out of use.
"""

import functools
import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.assets import prompt_list
from models.data.stored import stored
from models.messages import Message, Refused
from models.weights import listed_parts, weights_digest
from studio import learn as learning
from studio import loras, settings
from studio.backends.embedded import SPACE
from studio.home import Home
from studio.learn import Status, TrainingRun, TrainingSet
from studio.ratings import Ratings

if TYPE_CHECKING:
    from models.pipelines.sticker import StickerPipeline
    from models.train.style import StyleTrainer

NAME = loras.PREFERENCES
PROMPTS = 100
MINUTES = 8.0


def learn(
    root: Path,
    minutes: float = MINUTES,
    report: Callable[[Status], None] = lambda status: None,
    weights: Path | None = None,
) -> Path:
    """Learn the reward and the adapter from the ratings of a home, and draw with it -> its folder. Refused as
    `studio.learn.train`, with too few ratings, and where the reward falls or fewer drawings show what they should: then
    nothing is drawn with the adapter."""
    folder = learning.train(root, NAME, functools.partial(_training_set, weights=weights), minutes, report)
    use(root)
    return folder


def use(root: Path) -> None:
    """Draw with the adapter from now on."""
    settings.choose(root, preferences=learning.adapter_named(root, NAME).card["base_model"])


def stop(root: Path) -> None:
    """Draw without the adapter from now on; it stays where it is."""
    settings.choose(root, preferences=None)


def _training_set(run: TrainingRun, note: Callable[..., None], weights: Path | None) -> TrainingSet:
    from models.lora import GENERATOR
    from models.pipelines.sticker import StickerPipeline
    from models.reward import Reward
    from models.train import preference

    ratings = Ratings(Home(run.root))
    digest, about = ratings.learn()
    if about.get("space") != weights_digest(SPACE, weights):
        raise Refused("learn.other_space")
    judge, reward = StickerPipeline.assemble(weights), Reward.load(settings.rewards(run.root), digest)
    prompts = training_prompts(ratings, judge)
    drawn = preference.judged(judge, reward, prompts, _drawings(run, judge, prompts, weights, note))
    if not len(drawn.pairs):
        raise Refused("learn.no_pairs")
    content = hashlib.sha256(f"{digest} {sorted(prompts)}".encode() + drawn.pixels.tobytes()).hexdigest()
    facts = {"ratings": about["ratings"], "pairs": about["pairs"], "reward": digest, "prompts": prompts, "pictures": []}
    card = Message("learn.preferences_card", {"pairs": about["pairs"]})
    trainer = functools.partial(preference.preference_trainer, drawn, judge, reward, root=weights)
    base = weights_digest((GENERATOR,), weights)
    return TrainingSet(content, base, facts, card, trainer, check=_check)


def training_prompts(ratings: Ratings, judge: "StickerPipeline") -> list[str]:
    """PROMPTS prompts of one thing: rated ones, the latest first, then frequent ones."""
    rated = [loras.words(rating.prompt) for rating in reversed(ratings.all())]
    prompts = list[str]()
    for prompt in dict.fromkeys([*rated, *prompt_list("frequent")]):
        if len(prompts) < PROMPTS and _is_single(judge, prompt):
            prompts.append(prompt)
    return prompts


def _is_single(judge: "StickerPipeline", prompt: str) -> bool:
    try:
        return bool(prompt) and judge.parse(prompt).layout is None
    except Refused:
        return False


def _drawings(
    run: TrainingRun, judge: "StickerPipeline", prompts: Sequence[str], weights: Path | None, note: Callable[..., None]
) -> np.ndarray:
    """The candidates of all prompts (N, 128, 128, 4); those of an earlier run are read from its folder."""
    from models.train import preference

    content = f"{weights_digest(tuple(listed_parts(weights)), weights)} {list(prompts)}"
    folder = run.folder / f"candidates-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    for old in set(run.folder.glob("candidates-*")) - {folder}:
        shutil.rmtree(old)
    pictures = list[np.ndarray]()
    for number, prompt in enumerate(prompts):
        note(state="drawing", progress=number / len(prompts))
        drawn = functools.partial(preference.draw, judge, prompt, number)
        pictures.append(stored(folder / f"{number}.npy", drawn))
    note(state="preparing")
    return np.concatenate(pictures)


def _check(trainer: "StyleTrainer") -> None:
    task: Any = trainer.task
    with trainer.averaged() as model:
        comparison = task.compared(model, task.prompts)
    if comparison.gain < 0:
        raise Refused("learn.no_gain")
    if comparison.loses_things:
        shares = {"before": f"{comparison.read_before:.0%}", "after": f"{comparison.read:.0%}"}
        raise Refused("learn.hacked", **shares)
