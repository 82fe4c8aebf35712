"""Any generator goes through the table: what it can't do does not apply to it, and nothing crashes."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from eval_kit import drawn_context, save_tiny_judge
from tiny_parts import save_tiny_parts

from eval import generator
from eval.context import Context
from eval.generator import LACKS, Generator, Media, Parts, StickerGenerator, StudioModel, lacks
from eval.metrics import METRICS
from eval.report import measure, table_document
from eval.rows import SEED


class Discs:
    """Draws one disc a prompt, whose colour the prompt decides and whose place the seed does."""

    name, abilities, parts = "discs", frozenset[str](), ()
    media: Media = "image"

    def __init__(self) -> None:
        self.calls: list[tuple[int, dict[str, Any]]] = []

    def settings(self, **options: Any) -> str:
        return "one disc"

    def digest(self) -> str:
        return "discs 1"

    def generate(self, prompts: Sequence[str], seeds: Sequence[int], **options: Any) -> Any:
        self.calls.append((len(prompts), options))
        return np.stack([self.disc(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)])

    @staticmethod
    def disc(prompt: str, seed: int) -> np.ndarray:
        y, x = np.indices((128, 128)) - 50 - seed % 20
        colour = [*hashlib.sha256(prompt.encode()).digest()[:3], 255]
        return np.where((x**2 + y**2 < 900)[..., None], colour, 0).astype(np.uint8)


class Clips(Discs):
    """Moves the disc for eight frames."""

    name, media = "moving discs", "clip"

    def generate(self, prompts: Sequence[str], seeds: Sequence[int], **options: Any) -> Any:
        return np.stack([super(Clips, self).generate(prompts, [s + t for s in seeds]) for t in range(8)], 1)


class Captions(Discs):
    """Says of every picture that it is a disc."""

    name, media = "caption of discs", "caption"

    def generate(self, prompts: Sequence[Any], seeds: Sequence[int], **options: Any) -> Any:
        return ["a disc"] * len(prompts)


NAMES = [name for name, one in METRICS.items() if name != "ratings" and not one.final]  # which people give


def context(generator: Generator, root: Path, cache: Path | None = None) -> Context:
    return drawn_context(root, cache, generator)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a judge, and of nothing else."""
    root = tmp_path_factory.mktemp("judge")
    save_tiny_judge(root)
    return root


def test_a_generator_that_nobody_here_made_goes_through_the_whole_table(judged: Path, tmp_path: Path) -> None:
    own = context(discs := Discs(), judged, tmp_path)
    groups = measure(own, NAMES)
    applied = {name for name, group in groups.items() if not group["inapplicable"]}
    assert applied == {"image", "plain", "seen", "unseen", "scenes", "controls"}
    assert all(groups[name]["rows"] for name in applied)
    assert groups["fast"]["inapplicable"] == "does not apply: discs has no fast variant"
    assert groups["retrieval"]["inapplicable"] == "does not apply: discs does not embed text and pictures"
    assert not any(group["rows"] for name, group in groups.items() if name not in applied)
    assert all(not options for _, options in discs.calls), "no option without an ability"
    rows = groups["image"]["rows"]
    assert rows[0].seeds == f"noise {SEED}, {SEED + 1}, ...; one disc"
    assert rows[0].parts == () and rows[0].goal is not None
    assert [name for name, _ in groups["plain"]["rows"][0].against] == ["real held-out"], "no drafts to compare with"
    document = table_document(own, groups, "quick")
    assert json.loads(json.dumps(document))["stamps"]["generators"] == {"discs": "one disc"}
    assert document["inapplicable"]["blends"] == "does not apply: discs does not blend two prompts"
    assert document["weights"].keys() == {"judge"}


def test_a_pipeline_of_diffusers_goes_through_the_whole_table(
    judged: Path, tmp_path: Path, pipelines: Callable[[str], Path], studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that this test builds, drawn by the studio's own command, here within this process."""
    monkeypatch.setattr(
        generator.subprocess, "run", lambda command, **_: SimpleNamespace(returncode=studio(*command[3:]).code)
    )
    own = context(StudioModel(f"diffusers:{pipelines('sd')}"), judged, tmp_path / "cache")
    own.sizes = replace(own.sizes, cells=2, distribution=3, conditions=2, scenes=1)
    groups = measure(own, NAMES)
    said = {name: group["inapplicable"] for name, group in groups.items() if group["inapplicable"]}
    assert groups.keys() - said.keys() == {"image", "plain", "seen", "unseen", "scenes", "controls"}
    assert all(groups[name]["rows"] for name in groups.keys() - said.keys())
    assert all(sentence.startswith("does not apply: diffusers:") for sentence in said.values())


@pytest.mark.parametrize("make", [Clips, Captions])
def test_clips_and_captions_are_asked_for_no_pictures(make: type[Discs], judged: Path) -> None:
    own = context(made := make(), judged)
    groups = measure(own, NAMES)
    measured = {name for name, group in groups.items() if not group["inapplicable"]}
    assert measured == {"controls", "clips" if make is Clips else "captions"}
    assert make is Captions or not made.calls  # the drawn world is too small for held-out clips
    media = own.generate(["a cat", "a dog"]) if make is Clips else made.generate(["a cat"], [0])
    assert len(media) == (2 if make is Clips else 1) and np.shape(media)[1:] in ((8, 128, 128, 4), ())


def test_the_sticker_pipeline_is_a_generator(tmp_path: Path) -> None:
    own: Generator = StickerGenerator(Parts(save_tiny_parts(tmp_path)))
    made = own.generate(["a cat", "a dog"], [1, 2])
    assert made.shape == (2, 128, 128, 4) and made.dtype == np.uint8 and own.media == "image"
    assert own.digest() == StickerGenerator(Parts(tmp_path)).digest() and own.settings() == "16 steps, guidance 4.0"
    blended = own.generate([("cat", "dog")], [1])
    assert blended.shape == (1, 128, 128, 4)


def test_every_need_is_one_that_can_be_lacked() -> None:
    assert {need for metric in METRICS.values() for need in metric.needs} <= LACKS.keys()
    assert all(lacks(Discs(), [need]) for need in LACKS if need != "image") and lacks(Discs(), ["image"]) is None
