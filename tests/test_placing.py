"""What a model needs is known before it is loaded, and how it is kept in memory is a row of a table."""

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Output
from disk_kit import pipeline as folder_of
from PIL import Image
from tiny_pipelines import save_tiny_pipeline

from models.messages import Refused
from studio import settings, worker
from studio.backends import runtime
from studio.backends.base import run
from studio.backends.diffusers import Diffusers
from studio.backends.fake import Fake
from studio.disk import memory
from studio.disk.memory import MEMORY, RUNTIME, Machine, fit, needs
from studio.disk.models import describe
from studio.media import Artifact
from studio.planner import plan
from studio.requests import make_request

GB = 10**9
PROCESSOR, CARD = Machine("cpu", 64 * GB, 64 * GB), Machine("cuda", 64 * GB, 64 * GB)


@pytest.fixture(scope="module")
def tiny_sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pipeline("sd", tmp_path_factory.mktemp("pipelines") / "sd")


@pytest.fixture(autouse=True)
def plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory that is free at the moment decides nothing."""
    monkeypatch.setattr(runtime, "machine", lambda *_: PROCESSOR)


def test_an_estimate_counts_what_is_there_and_saving_takes_less(tiny_sd: Path, tmp_path: Path) -> None:
    import diffusers

    found, loaded = describe(tiny_sd), diffusers.DiffusionPipeline.from_pretrained(tiny_sd, safety_checker=None)
    assert found
    networks = {name: one for name, one in loaded.components.items() if isinstance(one, torch.nn.Module)}
    told = {one.name: (one.parameters, one.matrices) for one in found.components}
    assert told == {
        name: (
            sum(tensor.numel() for tensor in one.state_dict().values()),
            sum(part.weight.numel() for part in one.modules() if isinstance(part, torch.nn.Linear)),
        )
        for name, one in networks.items()
    }
    for here in (PROCESSOR, CARD):
        high, balanced, eight, low = (needs(found, here, way, 1024 * 1024) for way in MEMORY.values())
        assert high > balanced > eight and balanced >= low, "each way takes no more than the one before"
    read = {name: 2 * one for name, (one, _) in told.items()}
    held = sum(read.values()) - sum(matrices for name, (_, matrices) in told.items() if name != "vae")
    loading = held + RUNTIME + max(size for name, size in read.items() if name != "vae")
    assert needs(found, PROCESSOR, MEMORY["8bit"], 0) == loading, "what is quantised is there twice meanwhile"
    small, large = (needs(found, PROCESSOR, MEMORY["high"], side * side) for side in (512, 1024))
    assert small < large


def test_a_way_is_chosen_by_what_is_free(tmp_path: Path) -> None:
    found = describe(folder_of(tmp_path / "mine"))
    assert found
    sizes = {word: needs(found, CARD, way) for word, way in MEMORY.items()}
    for word, free in sorted(sizes.items(), key=lambda one: -one[1]):
        one = fit(found, Machine("cuda", 64 * GB, free))
        assert one and (one.word, one.takes) == (word, sizes[word])
    none = fit(found, Machine("cuda", 64 * GB, min(sizes.values()) - 1))
    assert none and none.word == "" and "it does not fit" in str(none.message) and "放不下" in none.message.text("zh")
    asked = fit(found, CARD, word="low")
    assert asked and asked.word == "low"
    with pytest.raises(Refused, match="did you mean 'low'"):
        fit(found, CARD, word="lo")


def drawn(model: Path, **fields: Any) -> tuple[np.ndarray, dict[str, Any]]:
    backend = Diffusers(str(model))
    (job,) = plan(make_request(prompt="a cat", seed=3, steps=2, model=f"diffusers:{model}", **fields), backend)
    (made,) = [event for event in run(backend, job.request) if isinstance(event, Artifact)]
    return np.asarray(Image.open(BytesIO(made.data)), np.int16), dict(made.how)


def test_every_way_draws_and_the_picture_says_which(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = {}
    for word in MEMORY:
        monkeypatch.setenv("STUDIO_MEMORY", word)
        pictures[word], how = drawn(tiny_sd)
        assert how["memory"] == word
    eight = pictures.pop("8bit")
    assert all((one == pictures["high"]).all() for one in pictures.values()), "one tile holds it, nothing is cast"
    assert 0 < np.abs(eight - pictures["high"]).mean() < 8, "of 255"


def test_eight_bits_take_less_and_no_more_than_estimated(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that the tensors hold, each with what it is packed of."""

    def held(network: Any) -> int:
        tensors = [one.data for one in network.parameters()]
        packed = (getattr(one, "__tensor_flatten__", lambda: (["data"],))()[0] for one in tensors)
        return sum(getattr(one, name).nbytes for one, names in zip(tensors, packed, strict=True) for name in names)

    found, bytes_of = describe(tiny_sd), dict[str, int]()
    for word in ("high", "8bit"):
        monkeypatch.setenv("STUDIO_MEMORY", word)
        monkeypatch.setenv("STUDIO_DTYPE", "bf16")
        backend = Diffusers(str(tiny_sd))
        backend.load()
        bytes_of[word] = sum(map(held, (backend._loaded[""].unet, backend._loaded[""].text_encoder)))
    assert found
    saved = sum(one.matrices for one in found.components if one.name != "vae")
    scales = bytes_of["8bit"] - (bytes_of["high"] - saved)
    assert 0 < scales < 0.5 * saved, "two bytes become one and, a row, a scale: rows are short here"
    monkeypatch.setattr("studio.disk.memory.find_spec", lambda name: None)
    monkeypatch.setattr("studio.disk.models.find_spec", lambda name: None)
    with pytest.raises(Refused, match="needs torchao, which is not installed: pip install 'studio128"):
        drawn(tiny_sd)


def test_how_long_a_picture_takes_on_a_processor(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_operations", lambda: 1e6)
    found = describe(tiny_sd)
    assert found
    (unet,) = [one.parameters for one in found.components if one.name == "unet"]
    one = fit(found, PROCESSOR)
    assert one and f"about {float(f'{4 * unet * 0.08 * 64 * 64 * 30 / 1e6:.2g}'):g} s a picture" in str(one.message)
    assert (card := fit(found, CARD)) and "a picture" not in str(card.message), "nobody knows how fast it is"
    assert one and "每张图约" in one.message.text("zh")


def test_a_card_keeps_what_the_table_says(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no card here: what is asked of diffusers is looked at, and that 8 bits draw nearly the same."""
    import diffusers

    asked: list[str] = []
    for name in ("to", "enable_model_cpu_offload", "enable_group_offload"):
        said = lambda self, *_, name=name, **__: asked.append(name) or self  # noqa: E731
        monkeypatch.setattr(diffusers.StableDiffusionPipeline, name, said)
    monkeypatch.setattr(runtime, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(runtime, "dtype", lambda: torch.float32)
    pictures = []
    for word, calls in (("high", ["to"]), ("balanced", ["to", "enable_model_cpu_offload"])):
        asked.clear()
        pipeline = diffusers.StableDiffusionPipeline.from_pretrained(tiny_sd, safety_checker=None)
        runtime.place(pipeline, MEMORY[word])
        assert (
            asked == calls
            and runtime.memory_of(pipeline).word == word
            and pipeline.vae.use_tiling == MEMORY[word].tiling
        )
        pictures.append(
            pipeline("a cat", num_inference_steps=2, output_type="np", generator=torch.manual_seed(0)).images
        )
    asked.clear()
    runtime.place(pipeline, MEMORY["low"])
    assert asked == ["to", "enable_group_offload"]
    assert {one.dtype for name, one in pipeline.unet.named_parameters() if "attn" in name} == {torch.float8_e4m3fn}
    assert {one.dtype for one in pipeline.vae.parameters()} == {torch.float32}
    pictures.append(pipeline("a cat", num_inference_steps=2, output_type="np", generator=torch.manual_seed(0)).images)
    again = diffusers.StableDiffusionPipeline(**pipeline.components, requires_safety_checker=False)
    assert runtime.memory_of(runtime.place(again)).word == "low", "it shares the networks, and casts none of them twice"
    assert (pictures[0] == pictures[1]).all() and 0 < np.abs(pictures[0] - pictures[2]).mean() < 0.05


def test_out_of_memory_is_tried_once_smaller_and_then_explained(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import AutoencoderKL

    decode, tries = AutoencoderKL.decode, []

    def scarce(self: Any, *given: Any, **named: Any) -> Any:
        tries.append(self.use_tiling)
        if len(tries) <= fails:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:116] DefaultCPUAllocator: can't allocate memory")
        return decode(self, *given, **named)

    monkeypatch.setattr(AutoencoderKL, "decode", scarce)
    fails = 1
    picture, how = drawn(tiny_sd)
    assert how["memory"] == "balanced" and tries == [False, True]
    monkeypatch.setenv("STUDIO_MEMORY", "balanced")
    assert (picture == drawn(tiny_sd)[0]).all(), "with the same random numbers"
    monkeypatch.setenv("STUDIO_MEMORY", "high")
    fails, tries[:] = 9, []
    with pytest.raises(Refused, match="the memory does not suffice"):
        drawn(tiny_sd)
    assert len(tries) == 2, "once"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("STUDIO_DEVICE", "cuda:7", "no device 'cuda:7'"),
        ("STUDIO_DEVICE", "nonsense", "no device 'nonsense'"),
        ("STUDIO_DTYPE", "fp12", "unknown type of numbers 'fp12'"),
        ("STUDIO_MEMORY", "lo", "did you mean 'low'"),
    ],
)
def test_what_there_is_not_is_one_sentence(
    tiny_sd: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Refused, match=says):
        drawn(tiny_sd)


def test_what_fits_in_no_way_is_refused_before_it_is_loaded(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "machine", lambda *_: Machine("cpu", GB, 1))
    monkeypatch.setattr("diffusers.DiffusionPipeline.from_pretrained", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(Refused, match="it does not fit"):
        drawn(tiny_sd)


def test_models_stay_in_memory_until_another_needs_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def opener(model: str) -> Fake:
        opened.append(model)
        return Fake(model.partition(":")[2])

    free = 100 * GB
    monkeypatch.setattr(worker, "machine", lambda _: Machine("cpu", 100 * GB, free))
    loaded = worker._LoadedModels(opener)
    for model in ("fake:0", "fake:0.1", "fake:0", "fake:0.1"):
        loaded.backend(model)
    assert opened == ["fake:0", "fake:0.1"], "switching takes no time"
    loaded.backend("fake:0")
    free = 0
    loaded.backend("fake:0.2")
    free = 100 * GB
    loaded.backend("fake:0.1")
    assert opened == ["fake:0", "fake:0.1", "fake:0.2", "fake:0.1"]


def test_the_command_hands_the_way_on(studio: Callable[..., Output], tiny_sd: Path) -> None:
    asked = ("generate", "a cat", "--model", f"diffusers:{tiny_sd}", "--steps", 2, "--size")
    said = studio(*asked, "48x32", "--memory", "low", "--json")
    assert said.code == 0, said.err
    (row,) = said.json
    with Image.open(row["path"]) as picture:
        assert picture.size == (48, 32)
    refused = studio(*asked, "45x32")
    assert (refused.code, refused.out) == (2, "") and "multiples of 2" in refused.err
    own = studio("generate", "a cat", "--model", "fake", "--memory", "8bit")
    assert (own.code, own.out) == (2, "") and "Fake has no use for --memory 8bit; leave it out." in own.err
    told = studio("info", row["path"], "--json").json
    assert '"memory": "low"' in json.dumps(told)
    said = studio("generate", "a dog", "--model", f"diffusers:{tiny_sd}", "--device", "cuda:7", "--steps", 2)
    assert said.code == 2 and "no device 'cuda:7'" in said.err


def test_a_home_that_is_named_has_settings_of_its_own(
    studio: Callable[..., Output], tiny_sd: Path, tmp_path: Path
) -> None:
    settings.choose(tmp_path / "named", memory="balanced")
    named = ("--home", tmp_path / "named")
    assert studio("models", "use", tiny_sd, "--models", tiny_sd.parent, *named).code == 0
    (row,) = studio("generate", "a cat", "--steps", 2, "--size", "16x16", "--json", *named).json
    assert '"memory": "balanced"' in studio("info", row["path"], "--json").out
    assert not (tmp_path / "home").exists()
