"""Styles learned from a user's pictures: adapters as files, in prompts, and their training on tiny parts."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import refusal, sentence_of
from peft import PeftModel
from PIL import Image, ImageDraw
from queue_kit import ask_of as ask
from queue_kit import picture
from tiny_parts import awaken, own_precision, save_tiny_parts, short_runs  # noqa: F401 - fixtures
from training_kit import are_equal, straight_and_resumed

from models.data.pixels import png, without_ground
from models.dit import DiT
from models.lora import GENERATOR, UP, adapted, attach, changes, load_adapter, load_generator, save_adapter
from models.messages import Refused
from models.train.loop import Length
from models.train.style import Example, StyleTask, StyleTrainer, examples_world, style_trainer
from models.weights import save_part, weights_digest
from studio import learn
from studio.backends.base import run
from studio.backends.embedded import Embedded
from studio.media import Artifact
from studio.planner import plan
from studio.requests import make_request


def drawing(number: int, ground: str | None = None) -> Image.Image:
    image = Image.new("RGBA", (96, 96), ground or (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((20, 20, 60 + number, 50 + 2 * number), fill=(40 * number % 255, 90, 160, 255))
    return image


def examples(count: int = 5) -> list[Example]:
    read = [learn.fit(drawing(number)) for number in range(count)]
    return [Example(f"{number}", pixels, "a cat") for number, pixels in enumerate(read)]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def taught(parts: Path, home: Path) -> Path:
    """The folder of an adapter "ink" with random changes."""
    network = load_generator(parts)
    attach(network, 4)
    awaken(network)
    save_adapter(network, home / "loras/ink", weights_digest((GENERATOR,), parts))
    return home / "loras/ink"


def inputs(dit: DiT) -> tuple[torch.Tensor, ...]:
    c, noise = dit.config, torch.Generator().manual_seed(1)
    latent, states, vector = (
        torch.randn(2, *shape, generator=noise) for shape in ((c.channels, c.size, c.size), (4, c.context), (c.vector,))
    )
    return latent, torch.tensor([0.2, 0.8]), states, torch.ones(2, 4, dtype=torch.bool), vector


# --- Files ------------------------------------------------------------------------------------------------------------


def test_an_adapter_is_what_peft_loads(parts: Path, taught: Path) -> None:
    base = load_generator(parts)
    x = inputs(base)
    ours = adapted(base, [(load_adapter(taught), 1.0)])
    assert ours is not None
    plain, changed = base(*x), ours(*x)
    theirs = PeftModel.from_pretrained(load_generator(parts), str(taught)).eval()(*x)
    assert (changed - plain).abs().max() > 0.01
    assert (changed - theirs).abs().max() < 1e-3 * changed.abs().max()
    assert torch.equal(base(*x), plain), "the base stays as it is"


def test_weights_of_adapters_add_up(parts: Path, taught: Path) -> None:
    base, tensors = load_generator(parts), load_adapter(taught)
    once, twice = (adapted(base, [(tensors, share)] * count) for share, count in ((1.0, 1), (0.5, 2)))
    assert once is not None and twice is not None
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(once.parameters(), twice.parameters(), strict=True))
    nothing = adapted(base, [(tensors, 0.0)])
    assert nothing is not None and torch.equal(nothing(*inputs(base)), base(*inputs(base)))


# --- Prompts ----------------------------------------------------------------------------------------------------------


def pictures(backend: Embedded, prompt: str) -> np.ndarray:
    (event,) = (event for event in run(backend, ask(backend, prompt=prompt, steps=2)) if isinstance(event, Artifact))
    return np.asarray(picture(event))


def test_a_prompt_draws_with_an_adapter_and_others_stay_the_same(parts: Path, taught: Path) -> None:
    backend = Embedded(str(parts))
    plain, inked, none, after = (pictures(backend, f"a cat{mark}") for mark in ("", "<lora:ink>", "<lora:ink:0>", ""))
    assert not np.array_equal(plain, inked)
    assert np.array_equal(plain, none) and np.array_equal(plain, after)
    assert np.array_equal(inked, pictures(Embedded(str(parts)), "a cat <lora:ink>")), "a fresh one draws the same"
    jobs = [plan(make_request(prompt=f"a cat{mark}", seed=1), backend)[0] for mark in ("", "<lora:ink>")]
    assert jobs[0].id != jobs[1].id and jobs[0].batch_key != jobs[1].batch_key


def test_an_adapter_of_another_base_or_model_is_refused(parts: Path, taught: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(parts, tmp_path / "other"))
    dit = load_generator(other)
    dit.out.weight.data += 1
    save_part(dit, GENERATOR, other)
    backend = Embedded(str(other))
    assert "another version" in refusal(lambda: pictures(backend, "a cat <lora:ink>"))
    shutil.copy(taught / "adapter_model.safetensors", taught.parent / "kohya.safetensors")
    backend = Embedded(str(parts))
    assert "another model" in refusal(lambda: pictures(backend, "a cat <lora:kohya>"))
    assert "no LoRA" in sentence_of(lambda: pictures(backend, "a cat <lora:missing>"))


# --- Training ---------------------------------------------------------------------------------------------------------


def trainer_of(parts: Path, out: Path, steps: int = 8) -> StyleTrainer:
    out.mkdir(exist_ok=True)
    trainer = style_trainer(examples_world(examples()), out, 1.0, 60.0, lambda **values: None, parts)
    trainer.length = Length(steps=steps)
    return trainer


def test_resumed_equals_straight(parts: Path, tmp_path: Path) -> None:
    straight, resumed = straight_and_resumed(lambda out: trainer_of(parts, out), tmp_path)
    assert are_equal(straight, resumed)
    assert any(matrix.any() for name, matrix in changes(resumed.plain).items() if UP in name), "it learned something"


def test_training_lowers_the_loss_on_the_pictures(parts: Path, tmp_path: Path) -> None:
    trainer = trainer_of(parts, tmp_path, 30)
    assert isinstance(trainer.task, StyleTask)
    with trainer.averaged() as network:
        before = trainer.task.evaluate(network)["learned"]
    trainer.run()
    with trainer.averaged() as network:
        assert trainer.task.evaluate(network)["learned"] < before
    assert list(tmp_path.glob("sheet-*.png"))


def files(folder: Path, count: int = 5) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        drawing(number).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("a cat\n")
    return sorted(folder.glob("*.png"))


def test_a_stopped_run_goes_on_and_is_listed(parts: Path, home: Path, tmp_path: Path) -> None:
    read = learn.read_pictures(files(tmp_path / "mine"))

    def stop(status: learn.Status) -> None:
        if status.state == "training":
            os.kill(os.getpid(), signal.SIGINT)

    learn.learn(home, "ink", read, 60, stop, parts)
    run_of = learn.TrainingRun(home, "ink")
    assert run_of.status is not None and run_of.status.state == "stopped" and not run_of.status.is_running
    (first,) = learn.adapters(home)
    assert first.card["word"] == "ink" and len(first.card["pictures"]) == 5 and first.card["steps"] >= 1
    learn.learn(home, "ink", read, 60, stop, parts)
    (second,) = learn.adapters(home)
    assert second.card["steps"] > first.card["steps"], "it went on"
    learn.learn(home, "ink", read[1:] + read[:1], 60, stop, parts)
    (third,) = learn.adapters(home)
    assert third.card["steps"] < second.card["steps"], "of other pictures it begins anew"
    assert learn.export(home, "ink", tmp_path / "out").joinpath("adapter_config.json").is_file()
    assert "there already" in sentence_of(lambda: learn.export(home, "ink", tmp_path / "out"))
    learn.remove(home, "ink")
    assert not list(learn.adapters(home)) and not run_of.folder.exists()


def test_a_run_whose_process_is_gone_was_stopped(home: Path) -> None:
    training = learn.TrainingRun(home, "ink")
    training.report(state="training", progress=0.4)
    status = training.status
    assert status is not None and status.is_running
    with pytest.raises(Refused, match="being learned now"):
        _other_process(training)
    text = (training.folder / learn.STATUS).read_text().replace(str(os.getpid()), "4194304")
    (training.folder / learn.STATUS).write_text(text)
    status = training.status
    assert status is not None and status.state == "stopped"


def _other_process(training: learn.TrainingRun) -> None:
    text = (training.folder / learn.STATUS).read_text().replace(str(os.getpid()), str(os.getppid()))
    (training.folder / learn.STATUS).write_text(text)
    try:
        learn.check_name(training.root, training.name)
    finally:
        (training.folder / learn.STATUS).write_text(text.replace(str(os.getppid()), str(os.getpid())))


# --- Bad input --------------------------------------------------------------------------------------------------------


def same(folder: Path) -> list[Path]:
    for number in range(9):
        drawing(1).save(folder / f"{number}.png")
    return sorted(folder.glob("*.png"))


def empty(folder: Path) -> list[Path]:
    Image.new("RGBA", (50, 50)).save(folder / "empty.png")
    return [folder / "empty.png"]


def text(folder: Path) -> list[Path]:
    (folder / "text.png").write_text("no picture")
    return [folder / "text.png"]


def wrong_caption(folder: Path) -> list[Path]:
    drawing(1).save(folder / "a.png")
    (folder / "a.txt").write_bytes(b"\xff\xfe\x00")
    return [folder / "a.png"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (lambda folder: [], "0 different pictures in 0 files are too few"),
        (lambda folder: files(folder, 1), "1 different pictures in 1 files are too few"),
        (same, "1 different pictures in 9 files are too few"),
        (lambda folder: files(folder, 51), "51 pictures are too many"),
        (empty, "transparent"),
        (text, "text.png"),
        (wrong_caption, "a.txt"),
    ],
)
def test_pictures_that_will_not_do_are_named(
    given: Callable[[Path], list[Path]], sentence: str, tmp_path: Path
) -> None:
    assert sentence in sentence_of(lambda: learn.read_pictures(given(tmp_path)))


@pytest.mark.parametrize("name", ["", " ", "a/b", "..", "a:b", "<x>", "x" * 50, "a."])
def test_a_name_that_will_not_do_is_refused(name: str, home: Path) -> None:
    assert "can't be the name" in sentence_of(lambda: learn.check_name(home, name))


def test_the_ground_of_an_opaque_picture_is_removed() -> None:
    cut = np.asarray(without_ground(drawing(5, "white")))
    assert not cut[0, 0, 3] and cut[40, 40, 3] == 255
    own = drawing(5)
    assert without_ground(own) is own, "one with alpha stays"
    striped = drawing(5, "white")
    striped.putpixel((0, 0), (0, 0, 0, 255))
    assert without_ground(striped) is striped, "one whose corners differ stays"
    assert png(learn.fit(drawing(5, "white"))).size == (128, 128)


def test_an_adapter_fits_networks_of_its_shape_alone(taught: Path) -> None:
    with pytest.raises(ValueError, match="no layer"):
        adapted(DiT(width=8, depth=2, heads=1), [(load_adapter(taught), 1.0)])
