"""Models of the hub come when they are asked for, whole or not at all, and go again. A tiny hub here serves them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from disk_kit import pipeline, weights
from tiny_hub import TOKEN, TinyHub, tiny_hub
from waiting import TIMEOUT


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, type[TinyHub]]]:
    made = pipeline(tmp_path / "made", licence="mit")
    weights(made / "unet" / "diffusion_pytorch_model.fp16.safetensors", {"a": (100, 10)})
    weights(made / "everything-pruned.safetensors", {"a": (10, 10)})
    files = {path.relative_to(made).as_posix(): path.read_bytes() for path in made.rglob("*") if path.is_file()}
    old = {"model_index.json": b"{}", "unet/diffusion_pytorch_model.bin": b"\x80\x04."}
    with tiny_hub({"org/mine": files, "org/old": old}) as served:
        yield served


@pytest.fixture
def models(hub: tuple[str, type[TinyHub]], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Runs `studio models` in a process of its own, which the tiny hub is the hub of."""

    def run(*arguments: object, **more: str) -> subprocess.CompletedProcess:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        environment |= {"HF_ENDPOINT": hub[0], "HF_HOME": str(tmp_path / "hf")}
        environment |= {"STUDIO_HOME": str(tmp_path / "home"), "no_proxy": "127.0.0.1", **more}
        code = "from studio import cli; cli.main()"
        command = [sys.executable, "-c", code, "models", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=TIMEOUT)

    return run


def rows(said: subprocess.CompletedProcess) -> list[dict[str, Any]]:
    return json.loads(said.stdout)


def test_a_model_comes_is_verified_used_and_goes(models: Callable, hub: tuple, tmp_path: Path) -> None:
    (row,) = rows(models("add", "org/mine", "--json"))
    assert (row["model"], row["licence"], row["problem"]) == ("diffusers:org/mine", "mit", "") and row["sha256"]
    came = {Path(path).name for path, _ in hub[1].asked if "/resolve/" in path}
    assert "everything-pruned.safetensors" not in came and not any("fp16" in name for name in came)
    hub[1].asked.clear()
    assert rows(models("verify", "org/mine", "--json"))[0]["result"] == "whole"
    assert [one["name"] for one in rows(models("list", "--json"))] == ["org/mine"]
    assert not hub[1].asked, "nobody is asked but by `add`"
    file = Path(row["path"]) / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.resolve().write_bytes(data)
    said = models("verify", "org/mine", "--json")
    assert said.returncode == 1 and rows(said)[0]["result"] == "altered" and "unet" in rows(said)[0]["problem"]
    assert rows(models("remove", "org/mine", "--json"))[0]["bytes"] > 2000
    assert rows(models("list", "--json")) == [] and not list((tmp_path / "hf" / "hub").glob("models--*"))


def test_what_broke_off_goes_on_where_it_was(models: Callable, hub: tuple, tmp_path: Path) -> None:
    large = weights(tmp_path / "large.safetensors", {"a": (6 << 20,)}).read_bytes()
    hub[1].files["org/mine"]["unet/diffusion_pytorch_model.safetensors"] = large
    hub[1].cuts = [11 << 20]  # the client writes 10 MiB at once
    (row,) = rows(models("add", "org/mine", "--json"))
    assert row["problem"] == "" and f"bytes={10 << 20}-" in [asked for _, asked in hub[1].asked]


def test_what_is_half_there_says_how_to_go_on(models: Callable, hub: tuple, tmp_path: Path) -> None:
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
def test_what_can_not_come_is_one_sentence(
    models: Callable, tmp_path: Path, arguments: tuple, environment: dict, says: str
) -> None:
    said = models("add", *arguments, **environment)
    assert said.returncode == 2 and says in said.stderr and said.stderr.count("\n") == 1, said.stderr
    assert not list((tmp_path / "hf").rglob("*.safetensors"))


def test_consent_is_explained_and_a_token_is_honoured(models: Callable, hub: tuple) -> None:
    hub[1].gated.add("org/mine")
    said = models("add", "org/mine")
    assert said.returncode == 2 and f"agree on {hub[0]}/org/mine" in said.stderr and "HF_TOKEN" in said.stderr
    assert "your token has none" in models("add", "org/mine", HF_TOKEN="hf_" + "x" * 34).stderr
    assert not [path for path, _ in hub[1].asked if "/resolve/" in path]
    assert models("add", "org/mine", HF_TOKEN=TOKEN).returncode == 0


def test_what_comes_altered_is_thrown_away(models: Callable, hub: tuple, tmp_path: Path) -> None:
    hub[1].lies = True
    said = models("add", "org/mine")
    assert said.returncode == 2 and "came with another sha256 than the hub lists" in said.stderr
    hub[1].lies = False
    assert (
        models("add", "org/mine").returncode == 0 and rows(models("verify", "org/mine", "--json"))[0]["problem"] == ""
    )


def test_a_full_disk_is_seen_before(monkeypatch: pytest.MonkeyPatch, hub: tuple, tmp_path: Path) -> None:
    from collections import namedtuple

    from huggingface_hub import constants

    from models.messages import Refused
    from studio.disk import download

    monkeypatch.setattr(download, "offline_by_user", lambda: False)  # whatever the tests run with
    monkeypatch.setattr(constants, "ENDPOINT", hub[0])
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(1000))
    with pytest.raises(Refused, match=r"needs 1\.1 GB on the disk .*, which has 0\.0"):
        download.download("org/mine")
    assert not [path for path, _ in hub[1].asked if "/resolve/" in path]


def test_a_folder_is_looked_through_until_it_is_forgotten_and_a_model_is_the_usual_one(
    studio: Callable, tmp_path: Path
) -> None:
    file = weights(tmp_path / "mine" / "style.safetensors", {"a.lora_up.weight": (4, 4)})
    assert studio("models", "add", tmp_path / "mine").code == 0
    assert [row["path"] for row in studio("models", "list", "--json").json] == [str(file)]
    for arguments, says in (
        (("use", "style"), "no model that draws"),
        (("use", "nobody"), "no model 'nobody' is on this disk"),
        (("remove", file), "in a folder of your own"),
    ):
        said = studio("models", *arguments)
        assert said.code == 2 and says in said.err and said.err.count("\n") == 1
    assert file.is_file() and studio("models", "use", "fake").code == 0
    assert studio("generate", "a face", "--json").code == 0, "fake needs no weights, and nobody named it"
    assert studio("models", "remove", tmp_path / "mine").code == 0
    assert studio("models", "list", "--json").json == []
    (tmp_path / "home" / "settings.json").write_text("{")
    said = studio("styles")
    assert said.code == 2 and "settings.json can't be read" in said.err
