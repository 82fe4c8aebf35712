"""Training of the generator: deterministic batches, ranks, condition dropout, exact resume.

Byte equality holds for the kernels of a single process.
"""

import shutil
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from fixture_world import fixture_world
from safetensors.torch import load_file, save_file
from tiny_parts import save_tiny_parts, short_runs  # noqa: F401 - a fixture
from training_kit import are_equal, in_two_processes, straight_and_resumed

from models.assets import preset
from models.data.grammar import STYLES
from models.data.pixels import to_tensor
from models.data.variety import AS_IT_IS, NO_WARP, STAGED, VIEWS, WARPED, likewise, staged, view
from models.dit import DiT
from models.train import loop
from models.train.image import (
    CAPTIONS,
    CHUNK,
    IMAGE_VECTOR,
    NO_VECTOR,
    TEXT_VECTOR,
    Encoded,
    ImageTask,
    Item,
    Mix,
    encode_all,
    noise_levels,
)
from models.train.loop import Length, Log, Recipe, TaskOptions, Trainer
from models.weights import WeightsError, load_part, part_digests, save_part

RECIPE = Recipe(ImageTask, batch_size=lambda _: 4, warmup=2, muon=True)


def options(parts: Path, seed: int = 3) -> TaskOptions:
    return TaskOptions("tiny", seed, fixture_world(), RECIPE.batch_size, parts, parts / "cache")


@pytest.fixture(scope="module")
def task(parts: Path) -> ImageTask:
    return ImageTask(options(parts))


def mixed(options: TaskOptions, mix: Mix) -> ImageTask:
    return type("Mixed", (ImageTask,), {"mix": mix})(options)


def trainer(parts: Path, out: Path) -> Trainer:
    return Trainer(RECIPE, options(parts), out, Length(steps=4), precision="no")


def test_a_batch_is_a_function_of_seed_and_step(task: ImageTask, parts: Path) -> None:
    first, again, later = (
        task.batch(5, 0, 1, 0.1),
        ImageTask(options(parts)).batch(5, 0, 1, 0.1),
        task.batch(6, 0, 1, 0.1),
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["x"], later["x"])
    other = ImageTask(replace(options(parts, seed=4), cache=None))
    assert not torch.equal(first["x"], other.batch(5, 0, 1, 0.1)["x"])


def test_two_ranks_split_a_batch(task: ImageTask) -> None:
    whole = task.batch(5, 0, 1, 0.1)
    halves = [task.batch(5, rank, 2, 0.1) for rank in range(2)]
    for name in ("x", "t", "target", "mask"):
        assert torch.equal(whole[name][0::2], halves[0][name]) and torch.equal(whole[name][1::2], halves[1][name])
    assert torch.allclose(whole["states"][1::2].float(), halves[1]["states"].float(), atol=0.1)


def test_targets_lead_back_to_the_stored_latents(task: ImageTask) -> None:
    batch, draws = task.batch(5, 0, 1, 0.1), task.draws(np.random.default_rng((3, 5)), 4)
    latents = task.encoded.latents[torch.from_numpy(draws.rows)].float()
    t = batch["t"].view(-1, 1, 1, 1)
    assert torch.allclose(batch["x"] - t * batch["target"], latents, atol=1e-4)
    assert latents.std() > 0.1


def test_conditions_are_dropped_apart_and_scenes_have_their_share(task: ImageTask) -> None:
    draws = task.draws(np.random.default_rng(0), 4000)
    share = {
        "scene": (draws.rows >= task.first_scene).mean(),
        "text": draws.text.mean(),
        "draft": draws.draft.mean(),
        "none": (draws.vector == NO_VECTOR).mean(),
        "image": (draws.vector == IMAGE_VECTOR).mean(),
        "nothing": (~draws.text & (draws.vector == NO_VECTOR)).mean(),
    }
    mix = Mix()
    expected = {"scene": mix.scenes, "text": 1 - mix.drop_text, "none": mix.drop_vector, "draft": 1 - mix.drop_draft}
    expected |= {"image": (1 - mix.drop_vector) / 2, "nothing": mix.drop_text * mix.drop_vector}
    assert share == pytest.approx(expected, abs=0.03)
    views = np.bincount(draws.rows[draws.rows < task.first_scene] // len(task.pictures))
    assert views / views.sum() == pytest.approx(mix.views, abs=0.03)
    assert np.bincount(draws.captions) / 4000 == pytest.approx(np.full(CAPTIONS, 1 / CAPTIONS), abs=0.03)


def test_the_batch_says_what_was_drawn(task: ImageTask) -> None:
    seen = set()
    for step in range(20):
        batch, draws = task.batch(step, 0, 1, 0.0), task.draws(np.random.default_rng((3, step)), 4)
        for i, (row, k, text, kind, drafted) in enumerate(zip(*vars(draws).values(), strict=True)):
            pixels, captions, warp, draft = task.item(int(row))
            states, mask, answer = task.embedder.states([captions[k]])
            this = task.embedder.image(pixels[None])
            vector = {NO_VECTOR: torch.zeros(1, 128), TEXT_VECTOR: answer, IMAGE_VECTOR: this}[kind]
            assert torch.allclose(batch["vector"][i], vector[0], atol=0.1)  # read in bf16
            assert torch.equal(batch["mask"][i], mask[0] & bool(text))
            assert torch.allclose(batch["warp"][i], torch.from_numpy(warp), atol=0.01)
            # Not number by number: in half precision a token now and then meets another expert.
            assert torch.cosine_similarity(batch["states"][i].float().flatten(), states[0].flatten(), 0) > 0.95
            begun = torch.zeros(8, 16, 16)
            if drafted and draft is not None:
                begun = task.autoencoder.encode(to_tensor(draft[None]).to(task.autoencoder.dtype))[0].float()
            assert torch.allclose(batch["reference"][i], begun, atol=0.1)
            seen.add((bool(text), int(kind), bool(begun.any())))
    assert len(seen) >= 9


def test_noise_levels_are_spread_evenly() -> None:
    levels = noise_levels(np.random.default_rng(0), 1000, 0.4, 1.2)
    assert ((levels > 0) & (levels < 1)).all()
    assert torch.logit(levels).mean().item() == pytest.approx(0.4, abs=0.02)
    assert torch.logit(levels).std().item() == pytest.approx(1.2, abs=0.03)


def test_a_draft_is_seen_as_its_picture_is(task: ImageTask) -> None:
    count, seed, seen = len(task.pictures), task.options.seed, set()
    for number in range(VIEWS):
        for row, picture in enumerate(task.pictures):
            item = task.item(number * count + row)
            scene = staged(picture, seed) if number == STAGED else None
            colour = scene.objects[0].colour if scene else ""
            this = None if colour is None else task.references.reference(picture, seed * VIEWS + number, colour)
            assert (this is None) == (item.draft is None)
            if this is not None and item.draft is not None:
                assert np.array_equal(item.draft, likewise(this, item.warp))
                seen.add((number, bool(colour), bool(item.warp.any())))
    assert {(AS_IT_IS, False, False), (WARPED, False, True), (STAGED, True, False)} <= seen


def test_references_shift_the_noise_levels(task: ImageTask) -> None:
    batches = [task.batch(step, 0, 1, 0.0) for step in range(40)]
    rngs = [np.random.default_rng((3, step)) for step in range(40)]
    levels = [task.times(rng, len(task.draws(rng, 4).rows)) for rng in rngs]
    drafted = torch.cat([batch["reference"].flatten(1).any(1) for batch in batches])
    seen, drawn = torch.cat([batch["t"] for batch in batches]), torch.cat(levels)
    assert 0.1 < drafted.float().mean() < 0.9
    more = torch.logit(seen) - torch.logit(drawn)
    assert torch.allclose(more[drafted], torch.tensor(Mix().draft_shift), atol=1e-2)
    assert 0 < (more[~drafted] > 1).float().mean() < 4 * Mix().high
    assert torch.equal(seen[more < 1], drawn[more < 1])


def test_a_style_without_colour_is_always_named_in_captions(task: ImageTask) -> None:
    def named(row: int) -> list[bool]:
        style = STYLES[task.pictures[row].style]
        return [any(word.lower() in text.lower() for word in style.en + style.zh) for text in task.item(row)[1]]

    rows = range(len(task.pictures))
    black = [row for row in rows if task.pictures[row].style == "black glyph"]
    assert black and all(all(named(row)) for row in black)
    assert not all(all(named(row)) for row in rows if row not in black), "others are what comes without a style"


def test_only_training_pictures_are_drawn(task: ImageTask) -> None:
    rows = task.draws(np.random.default_rng(0), 500).rows
    assert {task.pictures[row % len(task.pictures)].split for row in rows if row < task.first_scene} == {"train"}
    assert rows.max() < len(task.encoded) == VIEWS * len(task.pictures) + task.scenes


def test_another_seed_words_and_warps_and_composes_anew(task: ImageTask, parts: Path) -> None:
    other, count, rows = ImageTask(options(parts, seed=4)), len(task.pictures), range(0, len(task.encoded), 4)
    result = [{c for row in rows for c in t.item(row)[1]} for t in (task, other)]
    assert len(result[0] & result[1]) < len(result[0]) / 4
    for row in range(count):
        assert np.array_equal(task.item(row)[0], other.item(row)[0]), "the picture as it is stays as it is"
    differ = [
        not np.array_equal(task.item(row)[0], other.item(row)[0])
        for start in (2 * count, task.first_scene)
        for row in range(start, start + count)
    ]
    assert np.mean(differ) > 0.9


def test_the_staged_view_is_staged_where_it_can_be(task: ImageTask) -> None:
    seed = task.options.seed
    scenes = [(row, staged(picture, seed)) for row, picture in enumerate(task.pictures)]
    assert any(scene for _, scene in scenes)
    for row, scene in scenes:
        picture = task.pictures[row]
        plain = view(task.world.pixels[picture.index], picture, STAGED, seed)
        shown = plain if scene is None else (scene.render(task.world), NO_WARP)
        item = task.item(STAGED * len(task.pictures) + row)
        assert np.array_equal(item.pixels, shown[0]) and np.array_equal(item.warp, shown[1])


def test_a_view_without_a_share_is_not_encoded(parts: Path) -> None:
    task = mixed(replace(options(parts), cache=None), Mix(scenes=0, views=(0.5, 0, 0.5, 0)))
    count = len(task.pictures)
    assert len(task.encoded) == 2 * count + task.scenes
    for row in (0, count - 1):
        picture = task.pictures[row]
        pixels, seed = task.world.pixels[picture.index], task.options.seed
        for place, number in enumerate((AS_IT_IS, WARPED)):
            assert np.array_equal(task.item(place * count + row).pixels, view(pixels, picture, number, seed)[0])
    rows = task.draws(np.random.default_rng(0), 1000).rows
    assert rows.max() < 2 * count and np.mean(rows < count) == pytest.approx(0.5, abs=0.05)


def test_encodings_are_cached(parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = replace(options(parts), cache=tmp_path)
    first = ImageTask(cached).encoded.latents.clone()
    assert [file.suffix for file in tmp_path.iterdir()] == [".npy"]
    monkeypatch.setattr("models.train.image._encoded", lambda *_: pytest.fail("encoded twice"))
    assert torch.equal(ImageTask(cached).encoded.latents, first)


def test_encoding_that_is_cut_short_leaves_nothing_to_find(task: ImageTask, tmp_path: Path) -> None:
    def cut(row: int) -> Item:
        if row == CHUNK + 1:
            raise KeyboardInterrupt
        return task.item(row)

    with task._encoder() as reader:
        with pytest.raises(KeyboardInterrupt):
            encode_all(CHUNK + 4, cut, reader, tmp_path / "some.npy")
        assert not list(tmp_path.glob("*.npy"))
        whole = encode_all(CHUNK + 4, task.item, reader, tmp_path / "some.npy")
        stored = encode_all(CHUNK + 4, task.item, reader)
    assert all(torch.equal(getattr(whole, field.name), getattr(stored, field.name)) for field in fields(Encoded))


def test_held_out_figures_are_repeatable_and_tell_conditions_apart(task: ImageTask) -> None:
    figures = task.evaluate(task.model)
    assert figures.keys() == {"val", "val_scenes", "val_words", "val_vector", "val_nothing", "val_drafted"}
    assert figures == task.evaluate(task.model)
    assert all(np.isfinite(list(figures.values())))


def test_resumed_equals_straight(parts: Path, tmp_path: Path) -> None:
    straight, again = straight_and_resumed(partial(trainer, parts), tmp_path)
    assert are_equal(straight, again)
    assert any(parameter.any() for parameter in again.plain.out.parameters())


def together(parts: Path, out: Path, first: int, last: int) -> None:
    """Steps `first` to `last` of a run of four; resumes where `first` > 0, leaves a checkpoint or weights."""
    run = trainer(parts, out)
    for group in run.optimizers[0].param_groups:
        group["eps"] = 1e-3  # Adam turns rounding noise in a gradient near zero into whole steps
    if first:
        run.resume()
    for step in range(first, last):
        run.step(step / 4)
    if last < 4:
        out.mkdir(exist_ok=True)
        run.checkpoint(Log(out / "stats.jsonl", False))
    elif run.accelerator.is_main_process:
        save_file({name: p.detach().clone() for name, p in run.plain.named_parameters()}, f"{out}.safetensors")
    run.accelerator.wait_for_everyone()


@pytest.mark.slow  # four runs
def test_two_processes_with_muon_equal_a_single_process_and_resume(parts: Path, tmp_path: Path) -> None:
    together(parts, tmp_path / "one", 0, 4)
    for name, first, last in (("two", 0, 4), ("halted", 0, 2), ("halted", 2, 4)):
        in_two_processes(together, parts, tmp_path / name, first, last)
    entry, two, resumed = (load_file(tmp_path / f"{name}.safetensors") for name in ("one", "two", "halted"))
    assert all(torch.equal(two[name], resumed[name]) for name in two)
    # Each process's half of a batch is summed on its own, and Muon's iterations may be in half precision.
    assert all(torch.allclose(entry[name], two[name], atol=1e-3) for name in entry)


def test_a_run_starts_from_the_weights_of_another_or_of_a_part(parts: Path, tmp_path: Path) -> None:
    first = trainer(parts, tmp_path / "first")
    first.run()
    again, part = trainer(parts, tmp_path / "second"), trainer(parts, tmp_path / "third")
    again.start_from(tmp_path / "first")
    assert all(torch.equal(a, b) for a, b in zip(first.plain.parameters(), again.plain.parameters(), strict=True))
    pieces = tmp_path / "pieces"
    load_part(DiT, "dit", tmp_path / "first/export").save_pretrained(pieces, max_shard_size="50KB")
    assert len(list(pieces.glob("*.safetensors"))) > 1
    part.start_from(pieces)
    averaged = load_part(DiT, "dit", tmp_path / "first/export").state_dict()
    assert all(torch.equal(averaged[name], tensor) for name, tensor in part.plain.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(part.ema.shadow_params, part.plain.parameters(), strict=True))
    save_part(load_part(DiT, "dit", tmp_path / "first/export"), "dit", tmp_path / "small", int8=True)
    part.start_from(tmp_path / "small/dit")  # as parts ship
    small = load_part(DiT, "dit", tmp_path / "small").state_dict()
    assert all(torch.equal(small[name], tensor) for name, tensor in part.plain.state_dict().items())
    with pytest.raises(FileNotFoundError, match="a part's folder"):
        part.start_from(tmp_path)


def test_unfitting_weights_are_refused_before_encoding(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_part(DiT(**{**preset("dit", "tiny"), "depth": 8}), "dit", tmp_path, part_digests(("autoencoder",), parts))
    monkeypatch.setattr("models.train.image.encode_all", lambda *_: pytest.fail("encoded for nothing"))
    with pytest.raises(ValueError, match="does not fit the model: "):
        trainer(parts, tmp_path / "run").start_from(tmp_path / "dit")


def test_a_generator_of_other_parts_is_not_begun_from(parts: Path, tmp_path: Path) -> None:
    save_part(load_part(DiT, "dit", parts), "dit", tmp_path, {"autoencoder": "another"})
    with pytest.raises(WeightsError, match="another part 'autoencoder'"):
        trainer(parts, tmp_path / "run").start_from(tmp_path / "dit")


def test_muon_has_the_matrices_of_the_blocks_and_nothing_else(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "native_dtype", lambda: torch.float32)
    assert len(trainer(parts, tmp_path).optimizers) == 1, "bf16 would be emulated"
    monkeypatch.setattr(loop, "native_dtype", lambda: torch.bfloat16)
    run = trainer(parts, tmp_path)
    adamw, muon = ({id(p) for g in o.param_groups for p in g["params"]} for o in run.optimizers)
    names = {id(p): name for name, p in run.plain.named_parameters()}
    assert adamw | muon == names.keys() and not adamw & muon
    assert all(names[i].startswith("blocks.") and names[i].endswith(".weight") for i in muon)
    assert {names[i] for i in adamw} >= {"patch_in.weight", "out.weight", "modulation.1.weight"}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_equals_eager(parts: Path, tmp_path: Path) -> None:
    eager = trainer(parts, tmp_path / "eager")
    compiled = Trainer(RECIPE, options(parts), tmp_path / "c", Length(steps=4), precision="no", compiled=True)
    for step in range(3):
        losses = [run.step(step / 4)["loss"].item() for run in (eager, compiled)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    pairs = zip(eager.plain.parameters(), compiled.plain.parameters(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-3) for a, b in pairs)
    with compiled.averaged() as model:
        compiled.task.evaluate(model)
    assert {name for name, _ in compiled.plain.named_parameters()} == {n for n, _ in eager.plain.named_parameters()}
