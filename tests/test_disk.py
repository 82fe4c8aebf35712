"""Models on disk: layouts, downloads, memory estimates and modes, devices."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Command
from disk_kit import GENERATOR, UNET, checkpoint, in_hub_cache, pipeline, weights
from disk_kit import pipeline as folder_of
from PIL import Image
from tiny_hub import TOKEN, TinyHub, tiny_hub
from tiny_pipelines import save_tiny_pipeline
from waiting import TIMEOUT

from models.messages import Refused
from studio import settings, worker
from studio.backends import runtime
from studio.backends.base import run
from studio.backends.diffusers import Diffusers
from studio.backends.fake import Fake
from studio.disk import memory
from studio.disk.memory import MEMORY, RUNTIME, Machine, fit, needs
from studio.disk.models import LocalModel, describe, look
from studio.files import sha256
from studio.media import Artifact
from studio.page import serve
from studio.planner import plan
from studio.requests import make_request


@pytest.fixture(autouse=True)
def empty_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The cache of the user is not read."""
    monkeypatch.setattr("huggingface_hub.utils._cache_manager.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def described(path: Path, **above: str) -> LocalModel:
    item = describe(path, **above)
    assert item is not None
    return item


@pytest.mark.parametrize(
    ("shapes", "kind", "family"),
    [
        ({GENERATOR + UNET: (8, 768), "first_stage_model.x": (4,)}, "checkpoint", "Stable Diffusion 1"),
        ({GENERATOR + UNET: (8, 1024), "first_stage_model.x": (4,)}, "checkpoint", "Stable Diffusion 2"),
        ({"double_blocks.0.img_attn.norm.key_norm.scale": (8,)}, "generator", "FLUX.1"),
        ({"lora_unet_down_blocks_1_attentions_0_attn2_to_k.lora_down.weight": (4, 768)}, "lora", "Stable Diffusion 1"),
        ({"unet.down.attn2.to_k.lora_A.weight": (4, 2048)}, "lora", "Stable Diffusion XL"),
        ({"lora_unet_double_blocks_0_img_attn_proj.lora_up.weight": (8, 4)}, "lora", "FLUX.1"),
        ({"controlnet_cond_embedding.conv_in.weight": (4, 3)}, "controlnet", ""),
        ({"emb_params": (2, 768)}, "embedding", ""),
        ({"encoder.conv.weight": (2,)}, "vae", ""),
    ],
)
def test_a_file_is_identified_by_its_keys(tmp_path: Path, shapes: dict, kind: str, family: str) -> None:
    item = described(weights(tmp_path / "a.safetensors", shapes), kind="vae" if kind == "vae" else "")
    assert (item.kind, item.family, str(item.problem)) == (kind, family, "")


def test_every_key_of_the_table_is_known_to_diffusers() -> None:
    from diffusers.loaders.single_file_utils import CHECKPOINT_KEY_NAMES

    from studio.disk.models import TABLES

    known = {key for keys in CHECKPOINT_KEY_NAMES.values() for key in ([keys] if isinstance(keys, str) else keys)}
    known |= {key.removeprefix(GENERATOR) for key in known}
    keys = {key for row in TABLES["family"] for key in row.get("keys", ())}
    assert keys - known == {"t_block.1.weight"}, "PixArt has no row there"


def test_a_diffusers_folder_is_identified_by_its_index(tmp_path: Path) -> None:
    item = described(pipeline(tmp_path / "mine", licence="mit"))
    assert (item.kind, item.family, item.task, item.licence) == ("diffusers", "Stable Diffusion 1", "image", "mit")
    assert {part.name: part.parameters for part in item.components} == {"unet": 1000, "vae": 64} and item.width == 64
    assert item.model == f"diffusers:{tmp_path / 'mine'}"
    assert item.bytes == sum(path.stat().st_size for path in (tmp_path / "mine").rglob("*") if path.is_file())
    clip = described(pipeline(tmp_path / "clips", "SomethingNewVideoPipeline"))
    assert (clip.family, clip.task) == ("SomethingNewVideo", "clip"), "a family that nobody has heard of"


def test_every_layout_is_looked_through_and_no_circle_has_an_end(tmp_path: Path, empty_hub: Path) -> None:
    root = tmp_path / "studios"
    checkpoint(root / "webui/models/Stable-diffusion/one.safetensors")
    weights(root / "webui/models/VAE/clear.safetensors", {"x": (2,)})
    weights(root / "ComfyUI/models/upscale_models/sharp.safetensors", {"x": (2,)})
    weights(root / "ComfyUI/models/loras/style.safetensors", {"a.lora_up.weight": (4, 4)})
    weights(root / "ComfyUI/custom_nodes/junk.safetensors", {"x": (2,)})
    weights(root / "invokeai/models/sdxl/lora/inked.safetensors", {"a.lora_down.weight": (4, 4)})
    in_hub_cache(root / "sdnext/models/Diffusers", "org/next", pipeline(tmp_path / "made"))
    in_hub_cache(empty_hub, "org/cached", pipeline(tmp_path / "more"))
    (root / "webui/models/round").symlink_to(root, target_is_directory=True)
    (root / "lost").symlink_to(tmp_path / "nowhere")
    answer = {item.name: (item.kind, item.family) for item in look([root, root / "webui"])}
    assert answer == {
        "org/cached": ("diffusers", "Stable Diffusion 1"),
        "org/next": ("diffusers", "Stable Diffusion 1"),
        "one": ("checkpoint", "Stable Diffusion 1"),
        "clear": ("vae", ""),
        "sharp": ("upscaler", ""),
        "style": ("lora", ""),
        "inked": ("lora", "Stable Diffusion XL"),
    }


def spoilt(path: Path, how: str) -> Path:
    """A checkpoint that is broken in one way."""
    whole = checkpoint(path).read_bytes()
    length = int.from_bytes(whole[:8], "little")
    spoils = {
        "empty": b"",
        "cut short": whole[:-10],
        "does not have the length": (2**40).to_bytes(8, "little") + whole[8:],
        "can be read": (length - 9).to_bytes(8, "little") + whole[8:],
    }
    path.write_bytes(spoils[how])
    return path


def test_broken_models_are_listed_with_the_reason(studio: Command, tmp_path: Path) -> None:
    root = tmp_path / "folder"
    reasons = ["empty", "cut short", "does not have the length", "can be read"]
    for number, how in enumerate(reasons):
        spoilt(root / f"{number}.safetensors", how)
    (root / "old.ckpt").write_bytes(b"\x80\x04.")
    half = pipeline(root / "half")  # tests/test_diffusers.py has more
    (half / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    checkpoint(root / "whole.safetensors")
    output = studio("models", "list", "--models", root, "--models", tmp_path / "none", "--json")
    problems = {row["name"]: row["problem"] for row in output.json}
    assert output.code == 0 and problems.pop("whole") == ""
    for number, how in enumerate(reasons):
        assert how in problems[str(number)]
    assert "no safetensors" in problems["half"] and "is not there" in problems["none"]
    assert all(problem.count("\n") == 0 for problem in problems.values())


def test_the_command_that_converts_a_pickle_converts_it(studio: Command, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save({"state_dict": {"a": torch.arange(3.0), "epoch": 3}}, tmp_path / "old.ckpt")
    (row,) = studio("models", "info", tmp_path / "old.ckpt", "--models", tmp_path, "--json").json
    command = row["problem"].partition("make safetensors of it: python ")[2]
    subprocess.run(f"{sys.executable} {command}", shell=True, check=True)
    assert load_file(tmp_path / "old.safetensors")["a"].tolist() == [0, 1, 2]


def test_listing_is_fast_asks_nobody_and_imports_no_torch(studio: Command, tmp_path: Path) -> None:
    for number in range(50):
        weights(tmp_path / f"{number}.safetensors", {f"{layer}.lora_up.weight": (1, 1) for layer in range(500)})
    code = (
        "import socket, sys\n"
        "def no(*a, **k): raise AssertionError('asked')\n"
        "socket.socket.connect = socket.getaddrinfo = no\n"
        "from studio import cli\n"
        "try: cli.main()\n"
        "except SystemExit as end: code = end.code\n"
        "import time; print(code, 'torch' in sys.modules, round(time.process_time()), file=sys.stderr)"
    )
    arguments = ["models", "list", "--models", str(tmp_path), "--home", str(tmp_path / "home"), "--json"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert len(json.loads(done.stdout)) == 50, done.stderr
    exit_code, torch, seconds = done.stderr.split()[-3:]
    assert (exit_code, torch) == ("0", "False") and int(seconds) < 5


def test_a_digest_is_computed_once_for_each_state_of_a_file(
    studio: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    monkeypatch.setattr("studio.disk.models.sha256", lambda path: read.append(path) or sha256(path))
    file = checkpoint(tmp_path / "one.safetensors")

    def digest_of(what: str, *named: object) -> str:
        (row,) = studio("models", what, *named, "--models", tmp_path, "--json").json
        return row["sha256"]

    assert digest_of("list") == "" and not read, "listing reads headers only"
    digest = digest_of("info", "one")
    assert digest and digest_of("list") == digest_of("info", "one") == digest and len(read) == 1
    checkpoint(file, 1024)
    assert digest_of("list") == "" and digest_of("info", "one") not in ("", digest)


def test_a_model_is_named_as_people_name_it(studio: Command, tmp_path: Path) -> None:
    file = checkpoint(tmp_path / "a/one.safetensors")
    names = ("one", file, f"diffusers:{file}", "one.safetensors")
    rows: list[Any] = [studio("models", "info", name, "--models", tmp_path, "--json").json[0] for name in names]
    for row in rows:
        del row["estimate"]  # it names the memory that is free at the moment
    assert all(row == rows[0] for row in rows)
    checkpoint(tmp_path / "b/one.safetensors")
    for name, says in (("one", "may mean several"), ("onee", "did you mean 'one'?"), (None, "say which model")):
        output = studio("models", "info", *([name] if name else []), "--models", tmp_path)
        assert output.code == 2 and says in output.err and output.err.count("\n") == 1


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, type[TinyHub]]]:
    results = pipeline(tmp_path / "made", licence="mit")
    weights(results / "unet" / "diffusion_pytorch_model.fp16.safetensors", {"a": (100, 10)})
    weights(results / "everything-pruned.safetensors", {"a": (10, 10)})
    files = {path.relative_to(results).as_posix(): path.read_bytes() for path in results.rglob("*") if path.is_file()}
    old = {"model_index.json": b"{}", "unet/diffusion_pytorch_model.bin": b"\x80\x04."}
    with tiny_hub({"org/mine": files, "org/old": old}) as served:
        yield served


@pytest.fixture
def models(hub: tuple[str, type[TinyHub]], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Runs `studio models` in a subprocess with the tiny hub."""

    def run(*arguments: object, **more: str) -> subprocess.CompletedProcess:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        environment |= {"HF_ENDPOINT": hub[0], "HF_HOME": str(tmp_path / "hf")}
        environment |= {"STUDIO_HOME": str(tmp_path / "home"), "no_proxy": "127.0.0.1", **more}
        code = "from studio import cli; cli.main()"
        command = [sys.executable, "-c", code, "models", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=TIMEOUT)

    return run


def rows(output: subprocess.CompletedProcess) -> list[dict[str, Any]]:
    return json.loads(output.stdout)


def test_a_model_comes_is_used_and_goes(models: Callable, hub: tuple, tmp_path: Path) -> None:
    (row,) = rows(models("add", "org/mine", "--json"))
    assert (row["model"], row["licence"], row["problem"]) == ("diffusers:org/mine", "mit", "") and row["sha256"]
    came = {Path(path).name for path, _ in hub[1].requests if "/resolve/" in path}
    assert "everything-pruned.safetensors" not in came and not any("fp16" in name for name in came)
    hub[1].requests.clear()
    assert [item["name"] for item in rows(models("list", "--json"))] == ["org/mine"]
    assert not hub[1].requests, "nobody is asked but by `add`"
    assert rows(models("remove", "org/mine", "--json"))[0]["bytes"] > 2000
    assert rows(models("list", "--json")) == [] and not list((tmp_path / "hf" / "hub").glob("models--*"))


def test_interrupted_downloads_resume(models: Callable, hub: tuple, tmp_path: Path) -> None:
    large = weights(tmp_path / "large.safetensors", {"a": (6 << 20,)}).read_bytes()
    hub[1].files["org/mine"]["unet/diffusion_pytorch_model.safetensors"] = large
    hub[1].cuts = [11 << 20]  # the client writes 10 MiB at once
    (row,) = rows(models("add", "org/mine", "--json"))
    assert row["problem"] == "" and f"bytes={10 << 20}-" in [query for _, query in hub[1].requests]


def test_incomplete_downloads_are_reported(models: Callable, hub: tuple, tmp_path: Path) -> None:
    models("add", "org/mine")
    blobs = next((tmp_path / "hf").rglob("blobs"))
    (blobs / ("d" * 64 + ".incomplete")).write_bytes(b"half")
    assert "studio models add org/mine" in rows(models("list", "--json"))[0]["problem"]


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        (("org/none",), {}, "the hub has no model org/none"),
        (("no id at all",), {}, "neither a folder nor the name of a model on the hub"),
        (("org/old",), {}, "org/old has pickles only"),
        (("org/mine",), {"HF_ENDPOINT": "http://127.0.0.1:9"}, "the hub does not answer"),
        (("org/mine",), {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        ((), {}, "say which model"),
    ],
)
def test_downloads_that_fail_are_refused(
    models: Callable, tmp_path: Path, arguments: tuple, environment: dict, says: str
) -> None:
    output = models("add", *arguments, **environment)
    assert output.returncode == 2 and says in output.stderr and output.stderr.count("\n") == 1, output.stderr
    assert not list((tmp_path / "hf").rglob("*.safetensors"))


def test_consent_is_explained_and_a_token_is_honoured(models: Callable, hub: tuple) -> None:
    hub[1].gated.add("org/mine")
    output = models("add", "org/mine")
    assert output.returncode == 2 and f"agree on {hub[0]}/org/mine" in output.stderr and "HF_TOKEN" in output.stderr
    assert "your token has none" in models("add", "org/mine", HF_TOKEN="hf_" + "x" * 34).stderr
    assert not [path for path, _ in hub[1].requests if "/resolve/" in path]
    assert models("add", "org/mine", HF_TOKEN=TOKEN).returncode == 0


def test_altered_downloads_are_removed(models: Callable, hub: tuple, tmp_path: Path) -> None:
    hub[1].lies = True
    output = models("add", "org/mine")
    assert output.returncode == 2 and "came with another sha256 than the hub lists" in output.stderr
    hub[1].lies = False
    assert models("add", "org/mine").returncode == 0 and rows(models("info", "org/mine", "--json"))[0]["problem"] == ""


def test_folders_are_added_and_removed_and_a_default_model_is_set(studio: Callable, tmp_path: Path) -> None:
    file = weights(tmp_path / "mine" / "style.safetensors", {"a.lora_up.weight": (4, 4)})
    assert studio("models", "add", tmp_path / "mine").code == 0
    assert [row["path"] for row in studio("models", "list", "--json").json] == [str(file)]
    for arguments, says in (
        (("use", "style"), "no model that draws"),
        (("use", "nobody"), "no model 'nobody' is on this disk"),
        (("remove", file), "in a folder of your own"),
    ):
        output = studio("models", *arguments)
        assert output.code == 2 and says in output.err and output.err.count("\n") == 1
    assert file.is_file() and studio("models", "use", "fake").code == 0
    assert studio("generate", "a face", "--json").code == 0, "fake needs no weights, and nobody named it"
    assert studio("models", "remove", tmp_path / "mine").code == 0
    assert studio("models", "list", "--json").json == []
    (tmp_path / "home" / "settings.json").write_text("{")
    output = studio("styles")
    assert output.code == 2 and "settings.json can't be read" in output.err


GB = 10**9
PROCESSOR, CARD = Machine("cpu", 64 * GB, 64 * GB), Machine("cuda", 64 * GB, 64 * GB)


@pytest.fixture(scope="module")
def tiny_sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pipeline("sd", tmp_path_factory.mktemp("pipelines") / "sd")


@pytest.fixture(autouse=True)
def plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Free memory of this machine decides nothing."""
    monkeypatch.setattr(runtime, "machine", lambda *_: PROCESSOR)


def test_an_estimate_counts_what_is_there_and_saving_takes_less(tiny_sd: Path, tmp_path: Path) -> None:
    import diffusers

    result, loaded = describe(tiny_sd), diffusers.DiffusionPipeline.from_pretrained(tiny_sd, safety_checker=None)
    assert result
    networks = {name: item for name, item in loaded.components.items() if isinstance(item, torch.nn.Module)}
    answer = {item.name: (item.parameters, item.matrices) for item in result.components}
    assert answer == {
        name: (
            sum(tensor.numel() for tensor in item.state_dict().values()),
            sum(part.weight.numel() for part in item.modules() if isinstance(part, torch.nn.Linear)),
        )
        for name, item in networks.items()
    }
    for here in (PROCESSOR, CARD):
        high, balanced, eight, low = (needs(result, here, way, 1024 * 1024) for way in MEMORY.values())
        assert high > balanced > eight and balanced >= low, "each way takes no more than the one before"
    read = {name: 2 * item for name, (item, _) in answer.items()}
    held = sum(read.values()) - sum(matrices for name, (_, matrices) in answer.items() if name != "vae")
    loading = held + RUNTIME + max(size for name, size in read.items() if name != "vae")
    assert needs(result, PROCESSOR, MEMORY["8bit"], 0) == loading, "what is quantised is there twice meanwhile"
    small, large = (needs(result, PROCESSOR, MEMORY["high"], side * side) for side in (512, 1024))
    assert small < large


def test_a_way_is_chosen_by_what_is_free(tmp_path: Path) -> None:
    result = describe(folder_of(tmp_path / "mine"))
    assert result
    sizes = {word: needs(result, CARD, way) for word, way in MEMORY.items()}
    for word, free in sorted(sizes.items(), key=lambda item: -item[1]):
        item = fit(result, Machine("cuda", 64 * GB, free))
        assert item and (item.word, item.takes) == (word, sizes[word])
    none = fit(result, Machine("cuda", 64 * GB, min(sizes.values()) - 1))
    assert none and none.word == "" and "it does not fit" in str(none.message) and "放不下" in none.message.text("zh")
    query = fit(result, CARD, word="low")
    assert query and query.word == "low"
    with pytest.raises(Refused, match="did you mean 'low'"):
        fit(result, CARD, word="lo")


def drawn(model: Path, **fields: Any) -> tuple[np.ndarray, dict[str, Any]]:
    backend = Diffusers(str(model))
    (job,) = plan(make_request(prompt="a cat", seed=3, steps=2, model=f"diffusers:{model}", **fields), backend)
    (results,) = [event for event in run(backend, job.request) if isinstance(event, Artifact)]
    return np.asarray(Image.open(BytesIO(results.data)), np.int16), dict(results.how)


def test_every_way_draws_and_the_picture_says_which(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = {}
    for word in MEMORY:
        monkeypatch.setenv("STUDIO_MEMORY", word)
        pictures[word], how = drawn(tiny_sd)
        assert how["memory"] == word
    eight = pictures.pop("8bit")
    assert all((item == pictures["high"]).all() for item in pictures.values()), "one tile holds it, nothing is cast"
    assert 0 < np.abs(eight - pictures["high"]).mean() < 8, "of 255"


def test_eight_bits_take_less_and_no_more_than_estimated(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of the tensors, packed ones included."""

    def held(network: Any) -> int:
        tensors = [item.data for item in network.parameters()]
        packed = (getattr(item, "__tensor_flatten__", lambda: (["data"],))()[0] for item in tensors)
        return sum(getattr(item, name).nbytes for item, names in zip(tensors, packed, strict=True) for name in names)

    result, bytes_of = describe(tiny_sd), dict[str, int]()
    for word in ("high", "8bit"):
        monkeypatch.setenv("STUDIO_MEMORY", word)
        monkeypatch.setenv("STUDIO_DTYPE", "bf16")
        backend = Diffusers(str(tiny_sd))
        backend.load()
        bytes_of[word] = sum(map(held, (backend._loaded[""].unet, backend._loaded[""].text_encoder)))
    assert result
    saved = sum(item.matrices for item in result.components if item.name != "vae")
    scales = bytes_of["8bit"] - (bytes_of["high"] - saved)
    assert 0 < scales < 0.5 * saved, "two bytes become one and, a row, a scale: rows are short here"
    monkeypatch.setattr("studio.disk.memory.find_spec", lambda name: None)
    monkeypatch.setattr("studio.disk.models.find_spec", lambda name: None)
    with pytest.raises(Refused, match="needs torchao, which is not installed: pip install 'studio128"):
        drawn(tiny_sd)


def test_a_card_keeps_what_the_table_says(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a card: calls to diffusers are recorded, and 8 bits draw nearly the same."""
    import diffusers

    query: list[str] = []
    for name in ("to", "enable_model_cpu_offload", "enable_group_offload"):
        output = lambda self, *_, name=name, **__: query.append(name) or self  # noqa: E731
        monkeypatch.setattr(diffusers.StableDiffusionPipeline, name, output)
    monkeypatch.setattr(runtime, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(runtime, "dtype", lambda: torch.float32)
    pictures = []
    for word, calls in (("high", ["to"]), ("balanced", ["to", "enable_model_cpu_offload"])):
        query.clear()
        pipeline = diffusers.StableDiffusionPipeline.from_pretrained(tiny_sd, safety_checker=None)
        runtime.place(pipeline, MEMORY[word])
        assert (
            query == calls
            and runtime.memory_of(pipeline).word == word
            and pipeline.vae.use_tiling == MEMORY[word].tiling
        )
        pictures.append(
            pipeline("a cat", num_inference_steps=2, output_type="np", generator=torch.manual_seed(0)).images
        )
    query.clear()
    runtime.place(pipeline, MEMORY["low"])
    assert query == ["to", "enable_group_offload"]
    assert {item.dtype for name, item in pipeline.unet.named_parameters() if "attn" in name} == {torch.float8_e4m3fn}
    assert {item.dtype for item in pipeline.vae.parameters()} == {torch.float32}
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
        ("STUDIO_DEVICE", "nonsense", "no device 'nonsense'"),
        ("STUDIO_DTYPE", "fp12", "unknown type of numbers 'fp12'"),
        ("STUDIO_MEMORY", "lo", "did you mean 'low'"),
    ],
)
def test_unknown_runtime_settings_are_refused(
    tiny_sd: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Refused, match=says):
        drawn(tiny_sd)


def test_models_too_large_are_refused_before_loading(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_command_passes_memory_mode_and_size(studio: Command, tiny_sd: Path) -> None:
    query = ("generate", "a cat", "--model", f"diffusers:{tiny_sd}", "--steps", 2, "--size")
    output = studio(*query, "48x32", "--memory", "low", "--json")
    assert output.code == 0, output.err
    (row,) = output.json
    with Image.open(row["path"]) as picture:
        assert picture.size == (48, 32)
    refused = studio(*query, "45x32")
    assert (refused.code, refused.out) == (2, "") and "multiples of 2" in refused.err
    this = studio("generate", "a cat", "--model", "fake", "--memory", "8bit")
    assert (this.code, this.out) == (2, "") and "Fake has no use for --memory 8bit; leave it out." in this.err
    answer = studio("info", row["path"], "--json").json
    assert '"memory": "low"' in json.dumps(answer)


def test_each_home_has_its_settings(studio: Command, tiny_sd: Path, tmp_path: Path) -> None:
    settings.choose(tmp_path / "named", memory="balanced")
    named = ("--home", tmp_path / "named")
    assert studio("models", "use", tiny_sd, "--models", tiny_sd.parent, *named).code == 0
    (row,) = studio("generate", "a cat", "--steps", 2, "--size", "16x16", "--json", *named).json
    assert '"memory": "balanced"' in studio("info", row["path"], "--json").out
    assert not (tmp_path / "home").exists()


# --- Devices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("named", "missing"), [("cud:0", "cud:0"), ("meta", "meta")])
def test_an_unknown_device_refuses_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], named: str, missing: str
) -> None:
    monkeypatch.setenv("STUDIO_DEVICE", named)
    monkeypatch.setattr(serve, "http_server", lambda *_: pytest.fail("it opens"))
    with pytest.raises(Refused, match=f"there is no device '{missing}' here; there are cpu"):
        serve.open_page(tmp_path / "a home", "fake", "127.0.0.1", 0, None, False, False)
    assert not (tmp_path / "a home").exists() and capfd.readouterr().out == ""


@pytest.mark.parametrize("command", [("generate", "a cat"), ("batch", "none.txt"), ("search", "a cat"), ("embed",)])
def test_an_unknown_device_refuses_commands(
    studio: Command, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("STUDIO_DEVICE", "")  # and so afterwards
    output = studio(*command, "--device", "cud:0")
    assert (output.code, output.out) == (2, "") and "there is no device 'cud:0' here" in output.err


def test_cards_are_those_of_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    monkeypatch.delenv("STUDIO_DEVICE")
    program.write_text("#!/bin/sh\necho '80000, 500'\necho '40000, 900'\n")
    program.chmod(0o755)
    monkeypatch.setattr(memory, "_which", lambda name: str(program))
    machine = memory.machine
    assert [card.free >> 20 for card in (machine(), machine("cuda:0"), machine("cuda:1"))] == [900, 500, 900]
    assert machine("cpu").device == "cpu"
    for output in ("No devices were found", "1, 2, 3", "1"):
        program.write_text(f"#!/bin/sh\necho '{output}'\n")
        assert memory.cards() == [] and machine().device == "cpu"
