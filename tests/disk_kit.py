"""Tiny model files and folders in the layouts of other programs."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

GENERATOR = "model.diffusion_model."
UNET = "input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight"


def weights(path: Path, shapes: dict[str, tuple[int, ...]], **notes: str) -> Path:
    """A safetensors file with tensors of these shapes, in 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.zeros(shape, np.float16) for name, shape in shapes.items()}, path, metadata=notes or None)
    return path


def checkpoint(path: Path, width: int = 768) -> Path:
    """A single file as those of Stable Diffusion."""
    return weights(
        path,
        {
            GENERATOR + UNET: (32, width),
            "first_stage_model.decoder.norm_out.weight": (128,),
            "cond_stage_model.transformer.text_model.final_layer_norm.weight": (64,),
        },
    )


def pipeline(folder: Path, name: str = "StableDiffusionPipeline", licence: str = "") -> Path:
    parts = {"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}
    index = {"_class_name": name, **parts, "scheduler": ["diffusers", "DDIMScheduler"], "safety_checker": [None, None]}
    for part in (*parts, "scheduler"):
        (folder / part).mkdir(parents=True)
    for part, shapes in (("unet", {"a": (100, 10)}), ("vae", {"decoder.conv_norm_out.weight": (64,)})):
        (folder / part / "config.json").write_text(json.dumps({"cross_attention_dim": 768}))
        weights(folder / part / "diffusion_pytorch_model.safetensors", shapes)
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    (folder / "model_index.json").write_text(json.dumps(index))
    if licence:
        (folder / "README.md").write_text(f"---\ntags: [x]\nlicense: {licence}\n---\n# Model\n")
    return folder


def in_hub_cache(cache: Path, repository: str, source: Path) -> Path:
    """A folder as the hub's client would have fetched it: snapshots of links to blobs."""
    root = cache / f"models--{repository.replace('/', '--')}"
    commit = "a" * 40
    (root / "blobs").mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(commit)
    for number, path in enumerate(sorted(path for path in source.rglob("*") if path.is_file())):
        link = root / "snapshots" / commit / path.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.replace(root / "blobs" / f"{number:064x}"))
    return root
