"""Pipelines of diffusers through the studio, with LoRAs, adapters and control pictures; random weights."""

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import httpx
import numpy as np
import pytest
import torch
import transformers
from conftest import refusal
from page_kit import served
from pipeline_kit import NATIVE_DTYPE, draw, fitted, pixels
from safetensors.torch import load_file, save_file
from tiny_pipelines import ROWS, save_gguf, save_single_file
from waiting import TIMEOUT

from studio.backends import runtime
from studio.backends.base import run, run_batch
from studio.backends.diffusers import Diffusers
from studio.disk.models import describe
from studio.events import Progress
from studio.gallery import Filter
from studio.metadata.files import read
from studio.metadata.restore import restore
from studio.planner import plan
from studio.requests import make_request, sides
from studio.run import FolderSink, run_jobs
from studio.studio import Studio
from studio.verify import verify

pytestmark = pytest.mark.usefixtures("offline")


@pytest.mark.parametrize("family", ROWS)
def test_any_pipeline_does_what_its_signature_says(
    family: str, pipelines: Callable[[str], Path], given: dict[str, Any]
) -> None:
    """From a prompt, a picture, a mask; equal alone and in a batch; in the requested size."""
    backend, row = Diffusers(str(pipelines(family))), ROWS[family]
    can, (width, height) = backend.capabilities(), sides(row["size"])
    query = {"task": can.tasks[0], "size": row["size"], "steps": 3, "negative": "dog"}
    query |= {"frames": row["frames"]} if "frames" in row else {}
    starts = [{}] if not can.needs else []
    starts += [given | {"mask": None}] if "image" not in can.lacks else []
    starts += [given] if "mask" not in can.lacks else []
    stored = slice(width // 2 + 2, None)  # beyond the soft edge of the mask
    as_given = np.asarray(fitted(given["image"]["path"], width, height))[:, stored]
    for start in starts:
        start = start if query["task"] == "image" else {name: one for name, one in start.items() if name == "image"}
        first, second = draw(backend, **query, **start, count=2)
        assert np.array_equal(draw(backend, **query, **start, seed=4)[0], second)
        assert not np.array_equal(first, second)
        assert first.shape == (*([row["frames"]] if "frames" in row else []), height, width, 4)
        assert not start.get("mask") or np.array_equal(first[:, stored, :3], as_given)
    assert backend.capabilities() == can
    if can.needs:
        assert "needs image" in refusal(lambda: draw(backend, **query))
    if "image" in can.lacks:
        assert "has no use for image" in refusal(lambda: draw(backend, **query, image=given["image"]))


def test_a_picture_equals_a_bare_call_in_any_batch(pipelines: Callable[[str], Path]) -> None:
    import diffusers

    backend = Diffusers(str(pipelines("sd")))
    alone, together = draw(backend, steps=3, seed=4), draw(backend, steps=3, count=3)
    assert np.array_equal(alone[0], together[1])
    assert not np.array_equal(together[0], together[1])
    bare = diffusers.DiffusionPipeline.from_pretrained(pipelines("sd"), use_safetensors=True)
    results_bare = bare("a cat", num_inference_steps=3, guidance_scale=7.5, generator=torch.Generator().manual_seed(4))
    assert np.array_equal(alone[0][..., :3], np.asarray(results_bare.images[0]))
    several = [make_request(prompt=word, seed=4, steps=3, model="diffusers:x") for word in ("a dog", "a cat")]
    jobs = plan(several, backend)
    events = [event for number, event in run_batch(backend, [job.request for job in jobs]) if number == 1]
    assert np.array_equal(pixels(events[-1]), alone[0])
    steps = [event for event in events if isinstance(event, Progress)]
    assert [(one.step, one.total) for one in steps] == [(1, 3), (2, 3), (3, 3)]
    assert all(one.previews for one in steps)


PICTURE = """
import sys
from studio.backends import diffusers, inputs
from studio.backends.base import run
from studio.planner import plan
from studio.requests import make_request
if sys.argv[2] == "without":
    inputs.SemanticSpace.space = lambda self: ""
backend = diffusers.Diffusers(sys.argv[1])
(job,) = plan(make_request(prompt="a cat", seed=1, steps=1, model="diffusers:x"), backend)
list(run(backend, job.request))
print(*(name for name in sys.modules if name.startswith("models.")))
"""
NETWORKS = ("autoencoder", "captioner", "detector", "dit", "language", "space", "upscaler", "video", "vision")


@pytest.mark.parametrize(("space", "loaded"), [("with", {"language", "space", "vision"}), ("without", set())])
def test_diffusers_loads_only_the_encoder_networks(
    pipelines: Callable[[str], Path], space: str, loaded: set[str]
) -> None:
    command = [sys.executable, "-c", PICTURE, str(pipelines("sd")), space]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert "models.messages" in names and {name for name in NETWORKS if f"models.{name}" in names} == loaded


def test_a_single_file_draws_as_its_folder(pipelines: Callable[[str], Path], tmp_path: Path) -> None:
    file = tmp_path / "sd.safetensors"
    save_single_file(pipelines("sd"), file)
    backend, folder = Diffusers(str(file)), Diffusers(str(pipelines("sd")))
    assert backend.capabilities() == folder.capabilities()
    assert backend.digest() != folder.digest()
    assert np.array_equal(draw(backend, steps=2)[0], draw(folder, steps=2)[0])
    shutil.rmtree(tmp_path / "sd")
    assert "tokenizer files are enough" in refusal(Diffusers(str(file)).capabilities)
    assert "pickle" in refusal(Diffusers(str(file.rename(tmp_path / "sd.ckpt"))).capabilities)


def test_a_gguf_file_is_completed_by_a_pipeline_of_its_family(
    pipelines: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In 4 and 8 bits: near the full weights, with the memory of the file."""
    monkeypatch.setenv("STUDIO_MODELS", str(tmp_path))
    shutil.copytree(pipelines("flux"), tmp_path / "rest")
    tensors = load_file(tmp_path / "rest" / "transformer" / "diffusion_pytorch_model.safetensors")
    _component(tmp_path / "rest", "transformer").unlink()
    plain = draw(Diffusers(str(pipelines("flux"))), steps=2, size="32x16")[0].astype(int)
    apart = {}
    for kind in ("Q8_0", "Q4_0"):
        file = save_gguf(tensors, "flux", kind, tmp_path / f"{kind}.gguf")
        matches = describe(file)
        assert (
            matches
            and matches.model
            and (matches.kind, matches.family, matches.task) == ("generator", "FLUX.1", "image")
        )
        backend = Diffusers(str(file))
        apart[kind] = np.abs(draw(backend, steps=2, size="32x16")[0] - plain).mean()
        net = backend._loaded[""].transformer
        assert sum(one.nbytes for one in net.parameters()) < file.stat().st_size
        (packed,) = [one.bytes for one in backend.folder.model.components if one.packed]
        assert packed == file.stat().st_size and len(backend.folder.model.components) == 4, "and the rest"
    assert 0 < apart["Q8_0"] < apart["Q4_0"] < 8
    for spoil, output in (
        (lambda data: b"", "is empty"),
        (lambda data: data[:-40], "GGUF"),
        (lambda data: data[9:], "GGUF"),
    ):
        (tmp_path / "bad.gguf").write_bytes(spoil(file.read_bytes()))
        assert output in refusal(Diffusers(str(tmp_path / "bad.gguf")).capabilities)
    monkeypatch.setattr("studio.disk.models.find_spec", lambda name: None)
    assert "pip install 'studio128[quantised]'" in refusal(Diffusers(str(file)).capabilities)


def test_every_door_finds_what_a_pipeline_drew(
    pipelines: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queue, worker process, gallery, search, A1111's API and ours, metadata, verify."""
    monkeypatch.setattr(runtime, "dtype", NATIVE_DTYPE)  # as in the worker
    model = f"diffusers:{pipelines('sd')}"
    with Studio(tmp_path / "home") as house:
        first, second = house.generate("a cat", model=model, steps=2, count=2, seed=5, size="32x16")
        assert house.generate("a cat", model=model, steps=2, count=2, seed=5, size="32x16")[0].cached
        stored = house.gallery.page(Filter(), limit=5)
        assert {(one.seed, one.width, one.height) for one in stored} == {(5, 32, 16), (6, 32, 16)}
        assert [hit.picture.seed for hit in house.search("cat", meaning=False)] in ([5, 6], [6, 5])
    with served(tmp_path / "home", model) as url:
        report = {"prompt": "a cat", "steps": 2, "seed": 5, "width": 32, "height": 16, "n_iter": 2}
        report |= {"sampler_name": "DDIM"}
        answer = httpx.post(f"{url}/sdapi/v1/txt2img", json=report, timeout=TIMEOUT).raise_for_status().json()
        assert [base64.b64decode(one) for one in answer["images"]] == [
            Path(one.path).read_bytes() for one in (first, second)
        ]
        report = {"prompt": "a cat", "steps": 2, "seed": 5, "size": "32x16", "count": 2}
        job = httpx.post(f"{url}/api/v1/jobs", json=report, timeout=TIMEOUT).raise_for_status().json()
        assert job["ended"] and len(job["pictures"]) == 2
        assert httpx.get(f"{url}/sdapi/v1/sd-models").json()[0]["title"].startswith(model)
    output = read(Path(second.path))
    assert output["request"]["model"] == "diffusers:sd"
    assert str(pipelines("sd").parent) not in Path(second.path).read_bytes().decode("latin-1")
    verdict = verify(Path(second.path), model)
    assert verdict.result == "identical", verdict
    assert first.path != second.path
    restored = restore(output, Diffusers(str(pipelines("sd"))).capabilities())
    assert (restored.lost, restored.fields["size"], restored.fields["seed"]) == ((), "32x16", 6)


def test_cancel_leaves_nothing_and_resume_equals_straight(pipelines: Callable[[str], Path], tmp_path: Path) -> None:
    backend = Diffusers(str(pipelines("sd")))
    jobs = plan(make_request(prompt="a cat", seed=3, steps=3, count=3, model="diffusers:x"), backend)
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    straight.mkdir()
    resumed.mkdir()
    list(run_jobs(backend, jobs, FolderSink(straight)))
    threads = threading.active_count()
    for stop_at in (2, 5, None):  # steps: within the first picture, within the second
        events = run_jobs(backend, jobs, FolderSink(resumed))
        for _, event in events:
            if isinstance(event, Progress) and stop_at and event.step == stop_at:
                break
        events.close()
        whole = {path.name: path.read_bytes() for path in resumed.iterdir()}
        assert len(whole) == (3 if stop_at is None else stop_at // 3)
    assert whole == {path.name: path.read_bytes() for path in straight.iterdir()}
    assert threading.active_count() == threads


# --- Bad folders ------------------------------------------------------------------------------------------------------


def _written(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def _component(folder: Path, name: str) -> Path:
    (path,) = (folder / name).glob("*.safetensors")
    return path


def _other_encoder(folder: Path) -> None:
    shutil.rmtree(folder / "text_encoder")
    shutil.copytree(folder.parent / "sd3" / "text_encoder_3", folder / "text_encoder")


def _no_numbers(path: Path) -> None:
    save_file({name: one * float("nan") for name, one in load_file(path).items()}, path)


INDEX, PACKED = "model_index.json", {"quant_method": "bitsandbytes_4bit"}
BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (shutil.rmtree, "nothing is downloaded"),
    "no index": (lambda folder: (folder / INDEX).unlink(), "model_index.json is missing"),
    "index cut short": (lambda folder: (folder / INDEX).write_text('{"_class'), "is damaged"),
    "no component": (lambda folder: shutil.rmtree(folder / "vae"), "lacks its part 'vae'"),
    "no weights": (lambda folder: _component(folder, "unet").unlink(), "unet holds no safetensors"),
    "empty weights": (lambda folder: _component(folder, "vae").write_bytes(b""), "is empty"),
    "half a file": (lambda folder: os.truncate(_component(folder, "vae"), 999), "vae"),
    "a lying header": (lambda folder: _component(folder, "unet").write_bytes(b"\xff" * 6 + b"\0\0{}"), "unet"),
    "a pickle": (lambda folder: _component(folder, "unet").rename(folder / "unet" / "model.bin"), "pickle"),
    "another component": (
        lambda folder: shutil.copytree(folder / "vae", folder / "unet", dirs_exist_ok=True),
        "AutoencoderKL, where",
    ),
    "remote code": (lambda folder: _written(folder / INDEX, _class_name=["pipeline", "Mine"]), "code of its own"),
    "a module": (lambda folder: _written(folder / INDEX, unet=["os", "system"]), "code of its own (os.system)"),
    "unknown class": (lambda folder: _written(folder / INDEX, _class_name="NoSuchPipeline"), "upgrade diffusers"),
    "no such task": (lambda folder: _written(folder / INDEX, _class_name="StableAudioPipeline"), "neither pictures"),
    "no library": (
        lambda folder: _written(folder / "unet" / "config.json", quantization_config=PACKED),
        "needs bitsandbytes, which is not installed: pip install bitsandbytes",
    ),
    # What only loading or drawing shows.
    "another encoder": (_other_encoder, "model"),
    "no numbers": (lambda folder: _no_numbers(_component(folder, "unet")), "drew numbers that are none"),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_folders_are_refused_before_loading(
    fault: str, pipelines: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, spoil, output = shutil.copytree(pipelines("sd"), tmp_path / "model"), *BAD[fault]
    (tmp_path / "sd3").symlink_to(pipelines("sd3"))
    spoil(folder)
    if fault not in ("another encoder", "no numbers"):
        monkeypatch.setattr("diffusers.DiffusionPipeline.from_pretrained", lambda *_, **__: pytest.fail("loaded"))
    sentence = refusal(lambda: draw(Diffusers(str(folder)), steps=1))
    assert output in sentence and (sentence.endswith((".", '"')) or "pip" in sentence) and "\n" not in sentence


@pytest.mark.parametrize("family", ["sd", "flux"])
def test_weights_in_prompts_change_the_picture(family: str, pipelines: Callable[[str], Path]) -> None:
    backend, row = Diffusers(str(pipelines(family))), ROWS[family]
    query = {"task": backend.capabilities().tasks[0], "steps": 2, "size": row["size"], "negative": "dog"}
    prompts = ("a red cat", "a (red:1) cat", "a (red:9) cat", "a (red:0) cat")
    plain, marked, more, less = (draw(backend, **query, prompt=prompt)[0] for prompt in prompts)
    assert np.array_equal(plain, marked)
    assert not np.array_equal(plain, more) and not np.array_equal(plain, less) and not np.array_equal(more, less)


def test_a_long_prompt_is_read_in_chunks(pipelines: Callable[[str], Path]) -> None:
    """A token is a letter here. Beyond 75 tokens the states equal those joined by hand."""
    backend, words = Diffusers(str(pipelines("sd"))), "a red cat on a mat, " * 6
    plain, *others = (
        draw(backend, steps=2, prompt=words + more)[0] for more in ("dog", "cow", "(dog:1)", "(dog:9)", "(dog:0)")
    )
    assert [np.array_equal(plain, one) for one in others] == [False, True, False, False]
    whole = diffusers.DiffusionPipeline.from_pretrained(pipelines("sd"), use_safetensors=True)

    def states(text: str, chunks: int) -> torch.Tensor:
        parts = [text[75 * n : 75 * n + 75] for n in range(chunks)]
        rows = whole.tokenizer(parts, padding="max_length", max_length=77, return_tensors="pt").input_ids
        with torch.no_grad():
            matches = whole.text_encoder(rows)[0]
        return matches.reshape(1, -1, matches.shape[-1])

    about = {"num_inference_steps": 2, "guidance_scale": 7.5, "generator": torch.Generator().manual_seed(3)}
    same = whole(prompt_embeds=states(words + "dog", 2), negative_prompt_embeds=states("", 2), **about).images[0]
    assert np.abs(plain[..., :3].astype(int) - np.asarray(same)).max() <= 1


# --- LoRAs ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def loras(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with models, in which LoRAs of one layer lie: as kohya's scripts write them, and as diffusers does."""
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STUDIO_MODELS", str(tmp_path))
    folder, layer = tmp_path / "loras", "down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    folder.mkdir()
    noise = torch.Generator().manual_seed(0)
    down, up = torch.randn(2, 16, generator=noise), torch.randn(16, 2, generator=noise)
    kohya = {f"lora_unet_{layer}.lora_{side}.weight": one for side, one in (("down", down), ("up", up))}
    kohya |= {f"lora_unet_{layer}.alpha": torch.tensor(2.0)}
    this = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    save_file(kohya, folder / "kohya.safetensors")
    save_file({f"{this}.lora_A.weight": down, f"{this}.lora_B.weight": up}, folder / "own.safetensors")
    save_file(
        {name: one[:, :1].contiguous() if one.ndim > 1 else one for name, one in kohya.items()},
        folder / "bad.safetensors",
    )
    other = {"transformer.blocks.0.attn.lora_A.weight": down, "transformer.blocks.0.attn.lora_B.weight": up}
    save_file(other, folder / "other.safetensors")
    return folder


def test_loras_are_named_in_the_prompt_and_leave_no_trace(pipelines: Callable[[str], Path], loras: Path) -> None:
    backend = Diffusers(str(pipelines("sd")))
    plain, *drawn = (
        draw(backend, prompt=f"a cat{mark}", steps=2)[0]
        for mark in ("", " <lora:kohya:0.8>", " <lora:own:0.8>", "<lora:own:0.4><lora:kohya:0.4>", "<lora:own:0>", "")
    )
    kohya, this, both, nothing, after = (frame.astype(int) for frame in drawn)
    assert np.abs(kohya - plain).max() > 0
    assert np.abs(kohya - this).max() <= 1
    assert np.abs(kohya - both).max() <= 1
    assert np.array_equal(nothing, plain)
    assert np.array_equal(after, plain)
    (job,) = plan(make_request(prompt="a cat <lora:own:0.8>", seed=3, model="diffusers:x"), backend)
    (loras / "own.safetensors").write_bytes((loras / "kohya.safetensors").read_bytes())
    (again,) = plan(make_request(prompt="a cat <lora:own:0.8>", seed=3, model="diffusers:x"), backend)
    assert again.id != job.id
    assert "another one" in refusal(lambda: list(run(backend, job.request)))


@pytest.mark.parametrize(
    ("mark", "output"),
    [
        ("<lora:kohay:1>", "did you mean"),
        ("<lora:own:much>", "must be a number"),
        ("<lora:own:1e9>", "must be a number"),
        ("<lora:other:1>", "does not fit this model"),
        ("<lora:bad:1>", "does not fit this model"),
        ("<lora:cut:1>", "cut.safetensors"),
    ],
)
def test_a_lora_that_will_not_do_is_named(
    mark: str, output: str, pipelines: Callable[[str], Path], loras: Path
) -> None:
    (loras / "cut.safetensors").write_bytes((loras / "own.safetensors").read_bytes()[:-8])
    backend = Diffusers(str(pipelines("sd")))
    plain = draw(backend, steps=2)[0]
    sentence = refusal(lambda: draw(backend, prompt=f"a cat {mark}", steps=2))
    assert output in sentence and sentence.count("\n") == 0
    assert np.array_equal(draw(backend, steps=2)[0], plain)


# --- Pictures that guide ----------------------------------------------------------------------------------------------


def _controlnet(folder: Path, whole: Any) -> Path:
    net = diffusers.ControlNetModel.from_unet(whole.unet, conditioning_embedding_out_channels=(16, 32))
    for zero in net.controlnet_down_blocks:
        torch.nn.init.normal_(zero.weight, std=0.5, generator=torch.Generator().manual_seed(0))
    net.save_pretrained(folder / "guide")
    return folder / "guide" / "diffusion_pytorch_model.safetensors"


def _ip_adapter(folder: Path, whole: Any) -> Path:
    """One of random weights, as the hub has them, with what reads pictures beside it."""
    about = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    config = transformers.CLIPVisionConfig(**about, projection_dim=16, image_size=32, patch_size=16)
    transformers.CLIPVisionModelWithProjection(config).save_pretrained(folder / "ip" / "image_encoder")
    shapes = {"proj.weight": (64, 16), "proj.bias": (64,), "norm.weight": (16,), "norm.bias": (16,)}
    shapes = {f"image_proj.{name}": shape for name, shape in shapes.items()}
    for number, name in enumerate(name for name in whole.unet.attn_processors if "attn2" in name):
        width = whole.unet.get_submodule(name.removesuffix(".processor")).to_q.weight.shape[0]
        shapes |= {f"ip_adapter.{2 * number + 1}.to_{part}_ip.weight": (width, 16) for part in "kv"}
    noise = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(shape, generator=noise) for name, shape in shapes.items()}
    save_file(tensors, folder / "ip" / "guide.safetensors")
    return folder / "ip" / "guide.safetensors"


@pytest.mark.parametrize("make", [_controlnet, _ip_adapter])
def test_a_picture_guides_as_in_a_bare_call_and_leaves_no_trace(
    make: Callable[[Path, Any], Path],
    pipelines: Callable[[str], Path],
    given: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STUDIO_MODELS", str(tmp_path))
    bare = diffusers.DiffusionPipeline.from_pretrained(pipelines("sd"), use_safetensors=True)
    path, backend = make(tmp_path, bare), Diffusers(str(pipelines("sd")))
    query = {"steps": 2, "size": "32x16", "control": given["image"], "controlnet": "guide"}
    plain, guided, weak, edited, again, after = (
        draw(backend, **{"steps": 2, "size": "32x16", **one})[0].astype(int)
        for one in ({}, query, query | {"control_strength": 0.1}, query | {"image": given["image"]}, query, {})
    )
    assert np.array_equal(plain, after) and np.array_equal(guided, again) and not np.array_equal(edited, guided)
    assert 0 < np.abs(weak - plain).mean() < np.abs(guided - plain).mean()
    picture = fitted(given["image"]["path"], 32, 16)
    about = {"num_inference_steps": 2, "guidance_scale": 7.5, "width": 32, "height": 16}
    if make is _controlnet:
        net = diffusers.ControlNetModel.from_pretrained(path.parent)
        bare, more = diffusers.StableDiffusionControlNetPipeline.from_pipe(bare, controlnet=net), {"image": picture}
    else:
        bare.load_ip_adapter(str(path.parent), subfolder="", weight_name=path.name)
        more = {"ip_adapter_image": picture}
    same = bare("a cat", **about, **more, generator=torch.Generator().manual_seed(3)).images[0]
    assert np.array_equal(guided[..., :3], np.asarray(same))
    (job,) = plan(make_request(prompt="a cat", **query, seed=3, model="diffusers:x"), backend)
    for family, change, output in (
        ("sd", {"controlnet": "giude"}, "did you mean"),
        ("sd", {"controlnet": ""}, "both"),
        ("pixart", {}, "no use for control"),
        ("sdxl", {}, "can't"),
    ):
        other = Diffusers(str(pipelines(family)))
        assert output in refusal(lambda one=other, change=change: draw(one, **query | change))
    save_file({name: one + 1 for name, one in load_file(path).items()}, path)
    assert "another one" in refusal(lambda: list(run(Diffusers(str(pipelines("sd"))), job.request)))
    if make is _ip_adapter:
        (path.parent / "image_encoder").rename(tmp_path / "elsewhere")
        assert "put the folder image_encoder" in refusal(lambda: draw(Diffusers(str(pipelines("sd"))), **query))
