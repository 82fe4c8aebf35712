"""Training of captioner and detector: true captions, detections, resume, export."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fixture_world import fixture_world
from tiny_parts import awaken, save_tiny_parts, tiny_detector
from training_kit import STEPS, are_equal, straight_and_resumed

from models.captioner import KINDS, TASKS, Captioner, Entity, PictureContext, task_token
from models.data.captions import Namer, f1, scene_facts
from models.data.pixels import to_tensor
from models.data.scenes import make_scene
from models.data.variety import outside_picture
from models.detector import MOST, Detections, Detector, cut_out, peaks, thing_at
from models.pipelines import caption
from models.pipelines.caption import Candidates, CaptionPipeline, choices, probabilities, ranking_of
from models.space import Embedder
from models.train import caption as training
from models.train.caption import CaptionTask, DetectorTask, SampleSource, captions_of
from models.train.loop import Length, Recipe, TaskOptions, Trainer
from models.weights import load_part, save_part

WORLD = fixture_world()
PIXELS = WORLD.pixels[:3]


def task_of(options: TaskOptions) -> CaptionTask:
    return CaptionTask(options, validated=2, ranked=4, shard=2)


RECIPE = Recipe(task_of, batch_size=lambda _: 2, warmup=2, muon=True)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption, "LONGEST", 6)
    monkeypatch.setattr(caption, "SHAPES", (1, 4))


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = save_tiny_parts(tmp_path_factory.mktemp("parts"))
    save_part(tiny_detector(), "detector", root)
    return root


def options(parts: Path) -> TaskOptions:
    return TaskOptions("tiny", 3, WORLD, lambda _: 2, parts, parts / "cache")


@pytest.fixture(scope="module")
def task(parts: Path) -> CaptionTask:
    network = task_of(options(parts))
    awaken(network.model)
    network.model.eval()
    return network


@pytest.fixture
def pipeline(task: CaptionTask) -> Iterator[CaptionPipeline]:
    with torch.no_grad():
        yield task.pipeline(task.model)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_scene_s_captions_say_its_facts(language: str) -> None:
    namer = Namer(WORLD.pictures)
    for seed in range(40):
        scene = make_scene(WORLD, seed)
        true, about = scene_facts(scene), {item.concept for item in scene.objects}
        assert f1(namer.facts(scene.caption(seed, language, "short"), language, about), true) == 1
        if scene.kind == "relation":  # what is said of the exchanged scene is another fact
            other = namer.facts(scene.contrast("relation").caption(seed, language, "short"), language, about)
            assert f1(other, true) < 1


def test_the_longest_name_counts() -> None:
    namer = Namer(WORLD.pictures)
    concept = WORLD.pictures[0].concept
    name = WORLD.pictures[0].names["en"]
    assert namer.names(f"two red {name}s", "en", concept) and not namer.names(f"x{name}y", "en", concept)
    other = replace(WORLD.pictures[0], concept="other", names={"en": f"{name} with hat"})
    both = Namer([WORLD.pictures[0], other])
    assert both.names(f"a {name} with hat", "en", "other") and not both.names(f"a {name} with hat", "en", concept)
    assert not namer.names("nothing of it", "en", concept) and namer.facts("", "zh") == set()


def test_every_caption_names_what_is_shown_and_its_ground() -> None:
    namer, source = Namer(WORLD.pictures), SampleSource(WORLD, WORLD.split("train"), None, 0.5, 0.0)
    for number in range(60):
        rng = np.random.default_rng(number)
        shown = source.sample(rng, 0).degraded(rng)
        assert shown.pixels.shape == (128, 128, 4) and (shown.pixels[..., :3] <= shown.pixels[..., 3:]).all()
        concepts = [o.concept for o in getattr(shown.source, "objects", [shown.source])]
        for ask, text in captions_of(shown, rng, 6):
            assert all(namer.names(text, TASKS[ask][1], concept) for concept in concepts), text
            assert not (shown.grounded and ("transparent" in text or "透明" in text))


def test_captions_do_not_depend_on_the_batch(pipeline: CaptionPipeline) -> None:
    every = pipeline.figures(PIXELS, "en", "short", 3, [5, 6, 7])
    again = pipeline.figures(PIXELS[1:], "en", "short", 3, [6, 7])
    assert [result.texts for result in every[1:]] == [result.texts for result in again]
    alone = pipeline.caption(PIXELS[:1], "en", "long", 3, [5])
    assert alone == pipeline.caption(PIXELS[:1], "en", "long", 3, [5])
    other = pipeline.figures(PIXELS, "en", "short", 3, [8, 9, 10])
    assert [result.texts for result in other] != [result.texts for result in every]


def test_tags_are_not_repeated() -> None:
    output = {"en": "cat, red, cat, noto", "zh": "猫，红色，猫"}
    result = [CaptionPipeline._unrepeated(text, task_token("tags", language)) for language, text in output.items()]  # type: ignore[arg-type]
    assert result == ["cat, red, noto", "猫，红色"]
    assert CaptionPipeline._unrepeated("a cat, a cat", task_token("short", "en")) == "a cat, a cat"


def test_candidates_are_ranked(pipeline: CaptionPipeline) -> None:
    for result in pipeline.caption(PIXELS, "zh", "tags", 3):
        scores = [result.score, *(score for _, score in result.others)]
        assert scores == sorted(scores, reverse=True) and 0 <= scores[-1] <= scores[0] <= 1
        assert len(scores) <= 3


def test_a_blind_caption_does_not_depend_on_the_picture(
    pipeline: CaptionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate, read = pipeline.captioner.generate, list[PictureContext]()
    spy = lambda ids, picture, **options: read.append(picture) or generate(ids, picture=picture, **options)  # noqa: E731
    monkeypatch.setattr(pipeline.captioner, "generate", spy)
    for blind in (True, False):
        for pixels in (PIXELS[:1], PIXELS[1:2]):
            pipeline.figures(pixels, "en", "short", blind=blind)
    keys = [context.layers[0][0] for context in read]
    assert torch.equal(keys[0], keys[1]) and not torch.equal(keys[2], keys[3])


def test_a_ranking_tells_right_from_wrong_and_known_from_unknown() -> None:
    rng, result, right = np.random.default_rng(0), [], []
    for number in range(80):
        answers = [bool(n == 0 and number < 60) for n in range(3)]
        figures = rng.normal(0, 0.1, (3, 5)) + np.array(answers)[:, None] * np.array([1, 1, 0, 0, 0])
        result.append(Candidates(("a", "b", "c"), figures))
        right.append(answers)
    ranking = ranking_of(result, right, 60)
    assert all(probabilities(entry, ranking).argmax() == 0 for entry in result[:60])
    best = [probabilities(entry, ranking).max() < ranking["threshold"] for entry in result]
    assert all(best[60:]) and sum(best[:60]) < 0.35 * 60


def test_pictures_from_outside_repeat_and_differ() -> None:
    network = [outside_picture(number, seed=1) for number in range(8)]
    assert all(np.array_equal(entry, outside_picture(n, seed=1)) for n, entry in enumerate(network))
    assert len({entry.tobytes() for entry in network}) == 8 and all((entry[..., 3] == 255).all() for entry in network)


def test_training_entities_are_true_and_ordered(task: CaptionTask) -> None:
    for number in range(20):
        shown = task.source.sample(np.random.default_rng(number), 0)
        answer, source = task.entities.exact(shown), shown.source
        concepts = sorted(item.names["en"] for item in getattr(source, "objects", ()))
        if concepts:
            assert sorted(entry.names[0] for entry in answer) == concepts
            assert [entry.x + entry.y for entry in answer] == sorted(entry.x + entry.y for entry in answer)
        else:
            assert len(answer) == 1 and Namer(WORLD.pictures).names(answer[0].names[0], "en", source.concept)  # type: ignore[union-attr]


def test_entities_come_from_the_detector_or_the_caller(pipeline: CaptionPipeline) -> None:
    result = pipeline.figures(PIXELS, "en", "short")
    names = pipeline.encoder.encode(to_tensor(PIXELS)).things
    answer = [pipeline.encoder.entities(own) for own in names]
    assert [entry.texts for entry in result] == [
        entry.texts for entry in pipeline.figures(PIXELS, "en", "short", entities=answer)
    ]
    other = [[Entity(("ball",), 0.9, 0.9)]] * len(PIXELS)
    changed = pipeline.figures(PIXELS, "en", "short", entities=other)
    assert any(a.figures[0, 2] != b.figures[0, 2] for a, b in zip(result, changed, strict=True))


def test_a_run_resumes_exactly_ships_and_leaves_the_backbone_alone(parts: Path, tmp_path: Path) -> None:
    def trainer(out: Path) -> Trainer:
        return Trainer(RECIPE, options(parts), out, Length(steps=STEPS), precision="no")

    language = {n: p.clone() for n, p in Embedder.load(parts).language.named_parameters()}
    straight, again = straight_and_resumed(trainer, tmp_path)
    assert are_equal(straight, again, 1e-6)
    again.run()
    now = dict(straight.task.encoder.embedder.language.named_parameters())  # type: ignore[attr-defined]
    assert all(torch.equal(language[name], now[name]) for name in language)
    assert any(reader.gates.any() for reader in again.plain.cross_layers)  # type: ignore[union-attr]
    shipped = load_part(Captioner, "captioner", again.out / "export")
    assert set(shipped.config.ranking or {}) == {"single", "several"} and len(KINDS) == 3


# --- The detector -----------------------------------------------------------------------------------------------------


DETECTOR_RECIPE = Recipe(
    lambda detector_options: DetectorTask(detector_options, drawn=False), batch_size=lambda _: 4, warmup=2
)


@pytest.fixture(scope="module")
def detector_options(tmp_path_factory: pytest.TempPathFactory) -> TaskOptions:
    parts = save_tiny_parts(tmp_path_factory.mktemp("parts"))
    return TaskOptions("tiny", 3, WORLD, lambda _: 4, parts, parts / "cache")


@pytest.fixture(scope="module")
def detecting(detector_options: TaskOptions) -> DetectorTask:
    return DetectorTask(detector_options, drawn=False)


def detections_of(places: dict[tuple[int, int], int]) -> Detections:
    """What a perfect detector says of things at cells (x, y) of a grid of eight."""
    there, named, whole = torch.full((1, 8, 8), -6.0), torch.full((1, 8, 8, 5), -9.0), torch.full((1, 5), -9.0)
    for (x, y), concept in places.items():
        there[0, y, x], named[0, y, x, concept], whole[0, concept] = 3.0, -0.1, -0.1
    return Detections(whole, named, there)


def test_each_thing_is_detected_once() -> None:
    detections = detections_of({(6, 2): 1, (1, 2): 4, (3, 6): 4})
    cells = peaks(detections)[0]
    assert cells == [(1, 2), (6, 2), (3, 6)]
    result = [thing_at(detections.cells[0, y, x], detections.objectness[0], (x, y)) for x, y in cells]
    assert [(entry.concepts[0], entry.x, entry.y) for entry in result] == [
        (4, 0.1875, 0.3125), (1, 0.8125, 0.3125), (4, 0.4375, 0.8125),
    ]  # fmt: skip
    assert all(entry.objectness > 0.9 and entry.shares[0] > 0.9 for entry in result)
    assert len(peaks(detections_of({}))[0]) == 1  # nothing is sure: it is named nevertheless, as the whole picture
    assert len(peaks(detections_of({(n % 4 * 2, n // 4 * 2): 0 for n in range(8)}))[0]) == MOST


def test_windows_around_centres() -> None:
    pixels = torch.zeros(4, 128, 128)
    pixels[:, 16:48, 80:112] = 1  # around the cell (5.5, 1.5) of eight
    windows = cut_out(pixels, [(5, 1), (0, 7)], 8)
    assert windows.shape == (MOST, 4, 128, 128)
    assert windows[0].mean() == pytest.approx(0.25, abs=0.02) and not windows[1].any()
    assert windows[2].equal(windows[1])


def test_naming_choices_are_ordered_and_counted() -> None:
    detections = detections_of({(1, 1): 2, (6, 6): 3})
    result = [thing_at(detections.cells[0, n, n], detections.objectness[0], (n, n)) for n in (1, 6)]
    ways = choices(result, 3)
    assert len(ways) == 3 and ways[0][0] == [0, 0] and ways == choices(result, 3)
    assert ways[0][1] >= ways[1][1] >= ways[2][1] or ways[1] == ways[0]
    assert choices([], 2) == [([], 0.0), ([], 0.0)]


def test_detections_do_not_depend_on_batch_or_storage(tmp_path: Path) -> None:
    network, pixels = tiny_detector(), to_tensor(WORLD.pixels[:3])
    with torch.no_grad():
        every, entry = network(pixels), network(pixels[1:2])
        for name in ("whole", "cells", "objectness"):
            assert torch.allclose(getattr(every, name)[1:2], getattr(entry, name), atol=1e-4)
        save_part(network, "detector", tmp_path, int8=True)
        stored: Detector = load_part(Detector, "detector", tmp_path)
        assert torch.equal(network.guided(every.whole, torch.ones(3, 128)), every.whole)  # no centres yet
        assert torch.allclose(stored(pixels).whole, every.whole, atol=0.2)


def test_augmented_things_stay_at_their_centres(detecting: DetectorTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "DETECTED_DEGRADED", (0.0, 0.0, 0.35, 0.0))
    for step in range(4):
        batch = detecting.batch(step, 0, 1, 0.0)
        assert batch["pixels"].shape == (4, 4, 96, 96)
        assert ((batch["centres"] >= 0) & (batch["centres"] < 1)).all()
        for (row, _), (x, y) in zip(batch["things"].tolist(), (96 * batch["centres"]).long().tolist(), strict=True):
            near = batch["pixels"][row, 3, max(0, y - 24) : y + 24, max(0, x - 24) : x + 24]
            assert near.max() > 0.3
    maps = [training._motion(detecting._sample(rng), rng) for rng in map(np.random.default_rng, range(60))]
    sizes = np.linalg.svd(np.stack(maps)[:, :, :2], compute_uv=False)  # of what a pixel shows: 2 is half as large
    assert 0.6 < sizes.min() < 0.9 and 1.2 < sizes.max() < 2
    again = detecting.batch(3, 0, 1, 0.0)
    assert all(again[name].equal(batch[name]) for name in batch)
    halves = [detecting.batch(3, rank, 2, 0.0)["pixels"] for rank in range(2)]
    assert torch.cat(halves).equal(batch["pixels"])


def test_a_run_resumes_exactly_and_ships(detector_options: TaskOptions, tmp_path: Path) -> None:
    def trainer(out: Path) -> Trainer:
        return Trainer(DETECTOR_RECIPE, detector_options, out, Length(steps=STEPS), precision="no")

    straight, again = straight_and_resumed(trainer, tmp_path)
    assert are_equal(straight, again, 1e-5)
    again.run()
    shipped: Detector = load_part(Detector, "detector", again.out / "export")
    assert len(shipped.config["names"]) == len(straight.task.numbers)  # type: ignore[attr-defined]
    assert torch.allclose(shipped.centres.norm(dim=-1), torch.ones(1), atol=0.02) and not straight.plain.centres.any()
