"""Training of backbone, vision encoder and space: batches, labels, stages, two processes."""

import copy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from fixture_world import fixture_world
from training_kit import are_equal, in_two_processes, straight_and_resumed

from models.data.scenes import Scene
from models.data.world import World
from models.space import Embedder
from models.train import language_space as batches
from models.train.documents import SOURCES, Document, Entry, Lexicon, Writer, document_rows, text_rows
from models.train.language_space import STAGES, WEIGHTS, LanguageSpaceTask, stage_at
from models.train.loop import Length, Recipe, TaskOptions, Trainer, recall

SIZE = 8


def tiny_lexicon(world: World) -> Lexicon:
    """A word for each drawn concept, with meanings from a seed."""
    concepts = sorted({picture.concept for picture in world.split("train")})
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(concepts), 24)).astype(np.float32)
    entries = [Entry(f"{concept}ish", "noun", f"something like a {concept}", ("thing",)) for concept in concepts]
    return Lexicon(entries, vectors + 0.2 * rng.normal(size=vectors.shape).astype(np.float32), vectors)


def build(options: TaskOptions) -> LanguageSpaceTask:
    return LanguageSpaceTask(options, tiny_lexicon(options.world))


RECIPE = Recipe(build, batch_size=lambda _: SIZE, warmup=2)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the trained tokenizer."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", autouse=True)
def small():
    """The tokenizer of the fixture world needs no 60,000 captions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.train.documents.TOKENIZER_CAPTIONS", 500)
        yield


@pytest.fixture(scope="module")
def task(cache: Path) -> LanguageSpaceTask:
    torch.manual_seed(0)
    return build(TaskOptions("tiny", 3, fixture_world(), RECIPE.batch_size, cache=cache))


def trainer(cache: Path, out: Path, steps: int = 4) -> Trainer:
    options = TaskOptions("tiny", 3, fixture_world(), RECIPE.batch_size, cache=cache)
    return Trainer(RECIPE, options, out, Length(steps=steps), precision="no")


def equal(left: object, right: object) -> bool:
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, list | tuple):
        return all(equal(a, b) for a, b in zip(left, right, strict=True))
    if hasattr(left, "__dict__"):
        return equal(list(vars(left).values()), list(vars(right).values()))
    return bool(left == right)


@pytest.mark.parametrize("progress", [0.0, 0.3, 0.9])
def test_a_batch_is_a_function_of_seed_step_and_progress(task, progress):
    first, again, later = (task.batch(step, 0, 1, progress) for step in (5, 5, 6))
    assert equal(list(first.values()), list(again.values()))
    assert not equal(first["meanings"], later["meanings"])


def test_two_ranks_split_a_batch(task):
    whole, parts = task.batch(2, 0, 1, 0.9), [task.batch(2, rank, 2, 0.9) for rank in (0, 1)]
    for name in ("pixels", "meanings"):
        assert torch.equal(whole[name], torch.cat([part[name] for part in parts]))
    for name in ("concepts", "attributes", "colours", "scene"):
        together = torch.cat([getattr(part["picture_facts"], name) for part in parts])
        assert torch.equal(getattr(whole["picture_facts"], name), together)


def test_only_training_pictures_are_drawn(task):
    world = task.world
    allowed = {picture.index for picture in world.split("train")}
    for number in range(40):
        rng = batches.stream(0, 0, "unit", number)
        for item in task.drawer.pair(rng, scenes=0.5):
            used = {o.picture for o in item.source.objects} if isinstance(item.source, Scene) else {item.source.index}
            assert used <= allowed


def test_scenes_come_with_their_contrast(task):
    rng = batches.stream(0, 0, "unit", 0)
    for _ in range(20):
        entry, two = task.drawer.pair(rng, scenes=1.0)
        assert (entry.scene // 2, entry.scene + 1) == (two.scene // 2, two.scene)
        assert entry.captions[0] != two.captions[0]
        assert entry.captions[1] != two.captions[1]


def test_pictures_with_sides_are_not_mirrored(task):
    picture = task.world.split("train")[0]
    item = batches.Item(picture, ("a cat looking left", "猫"), (False, False))
    handed = [batches._motion(item, np.random.default_rng(seed))[0, 0] for seed in range(40)]
    free = [
        batches._motion(batches.Item(picture, ("a cat", "猫"), (False, False)), np.random.default_rng(s))[0, 0]
        for s in range(40)
    ]
    assert min(handed) > 0 > min(free)


def test_pixels_stay_premultiplied(task):
    pixels = task.batch(1, 0, 1, 0.3)["pixels"]
    assert pixels.min() >= 0
    assert pixels.max() <= 1 + 1e-5
    assert (pixels[:, :3] <= pixels[:, 3:] + 1e-4).all()


def test_visible_tokens_are_selected_first():
    pixels = torch.zeros(1, 4, 128, 128)
    pixels[:, :, 32:64, 32:80] = 1  # rows 2 and 3, columns 2 to 4
    keep = batches.visible_tokens(pixels, 8, [np.random.default_rng(0)])
    assert {18, 19, 20, 26, 27, 28} <= set(keep[0].tolist())
    assert keep[0].tolist() == sorted(keep[0].tolist())
    assert batches.visible_tokens(pixels, 64, [np.random.default_rng(0)]) is None


def test_stages_follow_each_other() -> None:
    assert [stage_at(stage.start) for stage in STAGES] == list(STAGES) and stage_at(1.0) is STAGES[-1]
    for stage in STAGES:
        assert sum(stage.sources.values()) == pytest.approx(1) and stage.sources.keys() <= set(SOURCES)


@pytest.mark.parametrize("source", SOURCES)
def test_documents_of_every_kind(task, source):
    writer = Writer(task.world, task.drawer.sampler, task.lexicon)
    documents = [writer.write(source, np.random.default_rng(seed)) for seed in range(20)]
    assert all(document.rest for document in documents)
    assert documents[0] == writer.write(source, np.random.default_rng(0))
    assert len(set(documents)) > 5


def test_rows_are_framed_as_the_embedder_frames_them(task):
    from models.tokenizer import encode_texts

    texts = ["a cat", "", "一只红色的猫", "star " * 60]
    (piece,) = text_rows(task.tokenizer, texts)
    ids, mask = encode_texts(task.tokenizer, texts)
    order = piece.numbers.argsort()
    width = piece.ids.shape[1]
    # An empty text is a space to `encode_texts` and nothing here; the others are the same.
    for row in (0, 2, 3):
        assert torch.equal(piece.ids[order][row], ids[row, :width])
        assert torch.equal(piece.mask[order][row], mask[row, :width])
    assert torch.equal(piece.prompt, piece.mask)


def test_only_what_follows_a_prompt_is_predicted(task):
    (piece,) = document_rows(task.tokenizer, [Document("a cat", "a dog"), Document("", "a star")])
    follows = piece.mask & ~piece.prompt
    text = [
        task.tokenizer.decode(ids[keep], skip_special_tokens=True) for ids, keep in zip(piece.ids, follows, strict=True)
    ]
    assert [text[i] for i in piece.numbers.argsort()] == ["a dog", "a star"]
    assert piece.prompt[:, 0].all()


def test_vectors_come_back_in_order(task):
    """Sorting by length and cutting into pieces changes no vector and no order."""
    texts = [item.caption(0) for item in (_scene(task, seed) for seed in range(30))]
    task.model.eval()
    with torch.no_grad():
        together = task.model.texts(text_rows(task.tokenizer, texts))
        alone = torch.cat([task.model.texts(text_rows(task.tokenizer, [text])) for text in texts])
    assert torch.allclose(together, alone, atol=1e-4)


def _scene(task: LanguageSpaceTask, seed: int) -> Scene:
    from models.data.scenes import make_scene

    return make_scene(task.world, seed)


def test_the_choice_is_between_a_scene_and_its_contrast(task):
    """With every caption at its own picture the choice is always right; exchanged within units always wrong."""
    facts = task.batch(0, 0, 1, 0.9)["picture_facts"]
    object.__setattr__(facts, "scene", torch.arange(SIZE))
    pictures = torch.eye(SIZE, 128)
    swapped = pictures[torch.arange(SIZE) ^ 1]
    right = task.model._choice(pictures, torch.cat([pictures, pictures]), facts)
    wrong = task.model._choice(pictures, torch.cat([swapped, swapped]), facts)
    half = task.model._choice(pictures, torch.cat([pictures, swapped]), facts)
    assert (right["chosen"], wrong["chosen"], half["chosen"]) == (1, 0, 0.5)
    assert right["choice"] < half["choice"] < wrong["choice"]


def test_every_parameter_is_trained(task):
    task.model.train()
    task.model.zero_grad()
    task.loss(task.model, task.batch(1, 0, 1, 0.9), 0.9)["loss"].backward()
    idle = [name for name, p in task.model.named_parameters() if p.grad is None]
    assert idle == []


def test_training_lowers_the_losses(task):
    """On one batch, every loss falls but the choice between contrasts, which takes longest to learn."""
    model = copy.deepcopy(task.model).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    batch, history = task.batch(3, 0, 1, 0.9), []
    for _ in range(40):
        losses = task.loss(model, batch, 0.9)
        losses["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        history.append({name: float(value.detach()) for name, value in losses.items()})
    assert {name for name in WEIGHTS if history[-1][name] > 0.95 * history[0][name]} <= {"choice"}


def test_resumed_equals_straight_and_what_is_exported_opens(cache, tmp_path):
    straight, again = straight_and_resumed(partial(trainer, cache), tmp_path)
    assert are_equal(straight, again)
    again.run()
    embedder = Embedder.load(again.out / "export")
    assert embedder.text(["a cat", "猫"]).shape == (2, 128)


def test_recall_counts_any_right_answer_among_the_highest():
    cosines = torch.tensor([[0.9, 0.8, 0.1], [0.9, 0.8, 0.1]])
    right = torch.tensor([[False, True, False], [False, False, True]])
    assert recall(cosines, right, 1) == 0
    assert recall(cosines, right, 2) == 0.5
    assert recall(cosines, right, 3) == 1


def loss_and_gradients(folder: Path, rank: int, ranks: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    task = build(TaskOptions("tiny", 3, fixture_world(), RECIPE.batch_size, cache=folder))
    model = task.model.train()
    if ranks > 1:
        model = torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)
    values = task.loss(model, task.batch(4, rank, ranks, 0.9), 0.9)
    values["loss"].backward()
    gradients = {name: p.grad for name, p in task.model.named_parameters() if p.grad is not None}
    return {"loss": values["loss"].detach(), **gradients}


def run_rank(folder: Path) -> None:
    rank = dist.get_rank()
    result = loss_and_gradients(folder, rank, 2)
    dist.all_reduce(result["loss"])
    torch.save({**result, "loss": result["loss"] / 2}, folder / f"{rank}.pt")


def test_two_processes_equal_a_single_process(cache, tmp_path):
    """Loss and gradients: the pairwise losses see all rows of all processes, the others are means over all."""
    entry = loss_and_gradients(tmp_path, 0, 1)  # and the tokenizer, before they race
    in_two_processes(run_rank, tmp_path)
    two, other = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert entry.keys() == two.keys() == other.keys()
    for name, gradient in entry.items():
        assert torch.allclose(two[name], gradient, rtol=1e-3, atol=1e-4 * max(1.0, float(gradient.abs().max()))), name
        assert torch.equal(two[name], other[name]), name
