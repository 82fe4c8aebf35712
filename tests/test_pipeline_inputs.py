"""What pipelines of diffusers are told beside a prompt: weighted and many words, LoRAs, pictures that guide."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from conftest import refusal
from pipeline_kit import fitted, made
from safetensors.torch import load_file, save_file
from tiny_pipelines import ROWS

from studio.backends.base import run
from studio.backends.diffusers import Diffusers
from studio.planner import plan
from studio.requests import make_request

pytestmark = pytest.mark.usefixtures("offline")


@pytest.mark.parametrize("family", ["sd", "flux"])
def test_weighted_words_move_the_picture_and_unweighted_marks_do_not(
    family: str, pipelines: Callable[[str], Path]
) -> None:
    backend, row = Diffusers(str(pipelines(family))), ROWS[family]
    asked = {"task": backend.capabilities().tasks[0], "steps": 2, "size": row["size"], "negative": "dog"}
    prompts = ("a red cat", "a (red:1) cat", "a (red:9) cat", "a (red:0) cat")
    plain, marked, more, less = (made(backend, **asked, prompt=prompt)[0] for prompt in prompts)
    assert np.array_equal(plain, marked)
    assert not np.array_equal(plain, more) and not np.array_equal(plain, less) and not np.array_equal(more, less)


def test_a_long_prompt_is_read_in_chunks(pipelines: Callable[[str], Path]) -> None:
    """A token is a letter here: what lies beyond 75 counts, with its weight, as states that are joined by hand say."""
    backend, words = Diffusers(str(pipelines("sd"))), "a red cat on a mat, " * 6
    plain, *others = (
        made(backend, steps=2, prompt=words + more)[0] for more in ("dog", "cow", "(dog:1)", "(dog:9)", "(dog:0)")
    )
    assert [np.array_equal(plain, one) for one in others] == [False, True, False, False]
    whole = diffusers.DiffusionPipeline.from_pretrained(pipelines("sd"), use_safetensors=True)

    def states(text: str, chunks: int) -> torch.Tensor:
        parts = [text[75 * n : 75 * n + 75] for n in range(chunks)]
        rows = whole.tokenizer(parts, padding="max_length", max_length=77, return_tensors="pt").input_ids
        with torch.no_grad():
            found = whole.text_encoder(rows)[0]
        return found.reshape(1, -1, found.shape[-1])

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
    own = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    save_file(kohya, folder / "kohya.safetensors")
    save_file({f"{own}.lora_A.weight": down, f"{own}.lora_B.weight": up}, folder / "own.safetensors")
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
        made(backend, prompt=f"a cat{mark}", steps=2)[0]
        for mark in ("", " <lora:kohya:0.8>", " <lora:own:0.8>", "<lora:own:0.4><lora:kohya:0.4>", "<lora:own:0>", "")
    )
    kohya, own, both, nothing, after = (frame.astype(int) for frame in drawn)
    assert np.abs(kohya - plain).max() > 0
    assert np.abs(kohya - own).max() <= 1
    assert np.abs(kohya - both).max() <= 1
    assert np.array_equal(nothing, plain)
    assert np.array_equal(after, plain)
    (job,) = plan(make_request(prompt="a cat <lora:own:0.8>", seed=3, model="diffusers:x"), backend)
    (loras / "own.safetensors").write_bytes((loras / "kohya.safetensors").read_bytes())
    (again,) = plan(make_request(prompt="a cat <lora:own:0.8>", seed=3, model="diffusers:x"), backend)
    assert again.id != job.id
    assert "another one" in refusal(lambda: list(run(backend, job.request)))


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("<lora:kohay:1>", "did you mean"),
        ("<lora:own:much>", "must be a number"),
        ("<lora:own:1e9>", "must be a number"),
        ("<lora:other:1>", "does not fit this model"),
        ("<lora:bad:1>", "does not fit this model"),
        ("<lora:cut:1>", "cut.safetensors"),
    ],
)
def test_a_lora_that_will_not_do_is_named(mark: str, said: str, pipelines: Callable[[str], Path], loras: Path) -> None:
    (loras / "cut.safetensors").write_bytes((loras / "own.safetensors").read_bytes()[:-8])
    backend = Diffusers(str(pipelines("sd")))
    plain = made(backend, steps=2)[0]
    sentence = refusal(lambda: made(backend, prompt=f"a cat {mark}", steps=2))
    assert said in sentence and sentence.count("\n") == 0
    assert np.array_equal(made(backend, steps=2)[0], plain)


def test_a_control_picture_guides_as_in_a_bare_call(
    pipelines: Callable[[str], Path], given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIO_MODELS", str(tmp_path))
    whole = diffusers.DiffusionPipeline.from_pretrained(pipelines("sd"), use_safetensors=True)
    net = diffusers.ControlNetModel.from_unet(whole.unet, conditioning_embedding_out_channels=(16, 32))
    for zero in net.controlnet_down_blocks:
        torch.nn.init.normal_(zero.weight, std=0.5, generator=torch.Generator().manual_seed(0))
    net.save_pretrained(tmp_path / "edges")
    backend, asked = Diffusers(str(pipelines("sd"))), {"steps": 2, "size": "32x16", "controlnet": "edges"}
    guided, weak, freely = (
        made(backend, **asked, control=given["image"], control_strength=strength)[0] for strength in (1.0, 0.0, 0.3)
    )
    plain = made(backend, steps=2, size="32x16")[0]
    assert np.array_equal(weak, plain)
    assert not np.array_equal(guided, plain) and not np.array_equal(guided, freely)
    bare = diffusers.StableDiffusionControlNetPipeline.from_pipe(whole, controlnet=net)
    about = {"num_inference_steps": 2, "guidance_scale": 7.5, "width": 32, "height": 16}
    picture = fitted(given["image"]["path"], 32, 16)
    same = bare("a cat", picture, **about, generator=torch.Generator().manual_seed(3)).images[0]
    assert np.array_equal(guided[..., :3], np.asarray(same))
    again = made(backend, **asked, control=given["image"], image=given["image"], strength=0.9)[0]
    assert not np.array_equal(again, guided)
    (job,) = plan(make_request(prompt="a cat", **asked, control=given["image"], seed=3, model="diffusers:x"), backend)
    for controlnet, said in (("edgse", "did you mean"), ("", "both")):
        assert said in refusal(lambda name=controlnet: made(backend, control=given["image"], controlnet=name))
    other = Diffusers(str(pipelines("pixart")))
    assert "no use for control" in refusal(lambda: made(other, control=given["image"], controlnet="edges"))
    path = tmp_path / "edges" / "diffusion_pytorch_model.safetensors"
    save_file({name: one + 1 for name, one in load_file(path).items()}, path)
    assert "another one" in refusal(lambda: list(run(Diffusers(str(pipelines("sd"))), job.request)))


def _ip_adapter(folder: Path, unet: torch.nn.Module) -> None:
    """One of random weights, as the hub has them, with what reads pictures beside it."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    noise, folder = torch.Generator().manual_seed(0), folder / "ip"
    about = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    config = CLIPVisionConfig(**about, projection_dim=16, image_size=32, patch_size=16)
    CLIPVisionModelWithProjection(config).save_pretrained(folder / "image_encoder")
    tensors = {"image_proj.proj.weight": torch.randn(4 * 16, 16, generator=noise)}
    tensors |= {"image_proj.proj.bias": torch.zeros(64)}
    tensors |= {f"image_proj.norm.{name}": torch.ones(16) for name in ("weight", "bias")}
    crossed = [name for name in unet.attn_processors if "attn2" in name]
    for number, name in enumerate(crossed):
        width = unet.get_submodule(name.removesuffix(".processor")).to_q.weight.shape[0]
        for part in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.{2 * number + 1}.{part}.weight"] = torch.randn(width, 16, generator=noise)
    save_file(tensors, folder / "adapter.safetensors")


def test_an_ip_adapter_guides_as_in_a_bare_call_and_leaves_no_trace(
    pipelines: Callable[[str], Path], given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIO_MODELS", str(tmp_path))
    bare = diffusers.DiffusionPipeline.from_pretrained(pipelines("sd"), use_safetensors=True)
    _ip_adapter(tmp_path, bare.unet)
    backend, asked = Diffusers(str(pipelines("sd"))), {"steps": 2, "size": "32x16"}
    seen = asked | {"control": given["image"], "controlnet": "adapter"}
    plain, guided, weak, after, edited, again = (
        made(backend, **one)[0]
        for one in (asked, seen, seen | {"control_strength": 0.1}, asked, seen | {"image": given["image"]}, seen)
    )
    assert np.array_equal(plain, after) and np.array_equal(guided, again)
    distances = [np.abs(one.astype(int) - plain).mean() for one in (weak, guided)]
    assert 0 < distances[0] < distances[1] and not np.array_equal(edited, guided)
    bare.load_ip_adapter(str(tmp_path / "ip"), subfolder="", weight_name="adapter.safetensors")
    about = {"num_inference_steps": 2, "guidance_scale": 7.5, "width": 32, "height": 16}
    about |= {"ip_adapter_image": fitted(given["image"]["path"], 32, 16)}
    same = bare("a cat", **about, generator=torch.Generator().manual_seed(3)).images[0]
    assert np.array_equal(guided[..., :3], np.asarray(same))
    assert "can't be loaded" in refusal(lambda: made(Diffusers(str(pipelines("sdxl"))), **seen))
    (tmp_path / "ip" / "image_encoder").rename(tmp_path / "elsewhere")
    assert "put the folder image_encoder" in refusal(lambda: made(Diffusers(str(pipelines("sd"))), **seen))
