"""What pipelines of diffusers are told beside a prompt: weighted and many words, LoRAs, pictures that guide."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
import transformers
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
    asked = {"steps": 2, "size": "32x16", "control": given["image"], "controlnet": "guide"}
    plain, guided, weak, edited, again, after = (
        made(backend, **{"steps": 2, "size": "32x16", **one})[0].astype(int)
        for one in ({}, asked, asked | {"control_strength": 0.1}, asked | {"image": given["image"]}, asked, {})
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
    (job,) = plan(make_request(prompt="a cat", **asked, seed=3, model="diffusers:x"), backend)
    for family, change, said in (
        ("sd", {"controlnet": "giude"}, "did you mean"),
        ("sd", {"controlnet": ""}, "both"),
        ("pixart", {}, "no use for control"),
        ("sdxl", {}, "can't"),
    ):
        other = Diffusers(str(pipelines(family)))
        assert said in refusal(lambda one=other, change=change: made(one, **asked | change))
    save_file({name: one + 1 for name, one in load_file(path).items()}, path)
    assert "another one" in refusal(lambda: list(run(Diffusers(str(pipelines("sd"))), job.request)))
    if make is _ip_adapter:
        (path.parent / "image_encoder").rename(tmp_path / "elsewhere")
        assert "put the folder image_encoder" in refusal(lambda: made(Diffusers(str(pipelines("sd"))), **asked))
