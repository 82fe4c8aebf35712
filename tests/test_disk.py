"""Models on the disk: found in every layout, told from their headers alone, and named with the reason where broken."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Output
from disk_kit import GENERATOR, UNET, checkpoint, in_hub_cache, pipeline, weights

from studio.disk.models import LocalModel, describe, look

Command = Callable[..., Output]


@pytest.fixture(autouse=True)
def empty_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nobody's own cache is looked at."""
    monkeypatch.setattr("huggingface_hub.utils._cache_manager.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def found(path: Path, **above: str) -> LocalModel:
    one = describe(path, **above)
    assert one is not None
    return one


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
def test_a_file_is_told_by_its_keys(tmp_path: Path, shapes: dict, kind: str, family: str) -> None:
    one = found(weights(tmp_path / "a.safetensors", shapes), kind="vae" if kind == "vae" else "")
    assert (one.kind, one.family, str(one.problem)) == (kind, family, "")


def test_every_key_of_the_table_is_one_that_diffusers_tells_by() -> None:
    """Nothing is invented: what a checkpoint is told by here, diffusers tells it by as well."""
    from diffusers.loaders.single_file_utils import CHECKPOINT_KEY_NAMES

    from studio.disk.models import TABLES

    known = {key for keys in CHECKPOINT_KEY_NAMES.values() for key in ([keys] if isinstance(keys, str) else keys)}
    known |= {key.removeprefix(GENERATOR) for key in known}
    keys = {key for row in TABLES["family"] for key in row.get("keys", ())}
    assert keys - known == {"t_block.1.weight"}, "PixArt has no row there"


def test_a_folder_that_diffusers_saved_is_told_by_its_index(tmp_path: Path) -> None:
    one = found(pipeline(tmp_path / "mine", licence="mit"))
    assert (one.kind, one.family, one.task, one.licence) == ("diffusers", "Stable Diffusion 1", "image", "mit")
    assert {part.name: part.parameters for part in one.components} == {"unet": 1000, "vae": 64} and one.width == 64
    assert one.model == f"diffusers:{tmp_path / 'mine'}"
    assert one.bytes == sum(path.stat().st_size for path in (tmp_path / "mine").rglob("*") if path.is_file())
    clip = found(pipeline(tmp_path / "clips", "SomethingNewVideoPipeline"))
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
    told = {one.name: (one.kind, one.family) for one in look([root, root / "webui"])}
    assert told == {
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


def test_what_is_broken_is_named_with_the_reason_and_the_rest_is_listed(studio: Command, tmp_path: Path) -> None:
    root = tmp_path / "folder"
    reasons = ["empty", "cut short", "does not have the length", "can be read"]
    for number, how in enumerate(reasons):
        spoilt(root / f"{number}.safetensors", how)
    (root / "old.ckpt").write_bytes(b"\x80\x04.")
    half = pipeline(root / "half")
    (half / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    less = pipeline(root / "less")
    for path in (less / "scheduler", less / "unet"):
        path.rename(tmp_path / path.name)
    code = pipeline(root / "code")
    index = json.loads((code / "model_index.json").read_text()) | {"_class_name": ["pipeline", "Mine"]}
    (code / "model_index.json").write_text(json.dumps(index))
    checkpoint(root / "whole.safetensors")
    said = studio("models", "list", "--models", root, "--models", tmp_path / "none", "--json")
    problems = {row["name"]: row["problem"] for row in said.json}
    assert said.code == 0 and problems.pop("whole") == ""
    for number, how in enumerate(reasons):
        assert how in problems[str(number)]
    assert "no safetensors" in problems["half"] and "lacks its part 'unet'" in problems["less"]
    assert "code of its own" in problems["code"] and "is not there" in problems["none"]
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
    from studio.disk import digests

    read: list[Path] = []
    compute = digests.file_sha256
    monkeypatch.setattr(digests, "file_sha256", lambda path: read.append(path) or compute(path))
    file = checkpoint(tmp_path / "one.safetensors")

    def told(what: str, *named: object) -> str:
        (row,) = studio("models", what, *named, "--models", tmp_path, "--json").json
        return row["sha256"]

    assert told("list") == "" and not read, "listing reads headers only"
    digest = told("info", "one")
    assert digest and told("list") == told("info", "one") == digest and len(read) == 1
    checkpoint(file, 1024)
    assert told("list") == "" and told("info", "one") not in ("", digest)


def test_what_was_altered_is_seen_though_its_size_and_time_are_the_same(studio: Command, tmp_path: Path) -> None:
    file = checkpoint(tmp_path / "one.safetensors")
    results = [studio("models", "verify", "one", "--models", tmp_path, "--json").json[0]["result"] for _ in range(2)]
    assert results == ["noted", "whole"]
    time = file.stat().st_mtime_ns
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    os.utime(file, ns=(time, time))
    said = studio("models", "verify", "one", "--models", tmp_path, "--json")
    assert (said.code, said.json[0]["result"]) == (1, "altered") and "sha256 is another" in said.json[0]["problem"]


def test_a_model_is_named_as_people_name_it(studio: Command, tmp_path: Path) -> None:
    file = checkpoint(tmp_path / "a/one.safetensors")
    names = ("one", file, f"diffusers:{file}", "one.safetensors")
    rows: list[Any] = [studio("models", "info", name, "--models", tmp_path, "--json").json[0] for name in names]
    for row in rows:
        del row["estimate"]  # it names the memory that is free at the moment
    assert all(row == rows[0] for row in rows)
    checkpoint(tmp_path / "b/one.safetensors")
    for name, says in (("one", "may mean several"), ("onee", "did you mean 'one'?"), (None, "say which model")):
        said = studio("models", "info", *([name] if name else []), "--models", tmp_path)
        assert said.code == 2 and says in said.err and said.err.count("\n") == 1
