"""Random pipelines of diffusers from the rows of `tiny_pipelines.toml`; nothing is downloaded."""

import shutil
import tomllib
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

ROWS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
SINGLE_FILE = ROWS.pop("single file")
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>", "unk_token": "</s>"}


def save_tiny_pipeline(family: str, root: Path) -> Path:
    """The pipeline of a row, in `root`."""
    row = ROWS[family]
    parts = {name: _component(family, name) for name in row if name not in ("pipeline", "size", "frames", "more")}
    more = {name: value or None for name, value in row.get("more", {}).items()}
    getattr(diffusers, row["pipeline"])(**parts, **more).save_pretrained(root)
    return root


def save_single_file(folder: Path, file: Path) -> None:
    """The pipeline `sd` in `folder` as the one file that other programs have of it; beside it its configurations."""
    tensors = {}
    for part, prefix in {"unet": "model.diffusion_model.", "vae": "first_stage_model."}.items():
        for name, tensor in load_file(folder / part / "diffusion_pytorch_model.safetensors").items():
            called = name
            for theirs, other in SINGLE_FILE[part]:
                inside = "transformer_blocks" in called  # there, names are the same
                called = called if inside and theirs.endswith(".") else called.replace(theirs, other)
            is_linear = part == "vae" and ".attn_1." in called and tensor.ndim == 2
            tensors[prefix + called] = tensor[:, :, None, None].contiguous() if is_linear else tensor
    for name, tensor in load_file(folder / "text_encoder" / "model.safetensors").items():
        tensors["cond_stage_model.transformer.text_model." + name] = tensor
    save_file(tensors, file)
    shutil.copytree(folder, file.with_suffix(""), ignore=shutil.ignore_patterns("*.safetensors"))


def save_gguf(tensors: dict[str, torch.Tensor], architecture: str, kind: str, file: Path) -> Path:
    """Tensors as a GGUF file, its matrices quantised: "Q8_0", "Q4_0"."""
    import gguf

    writer, packed = gguf.GGUFWriter(file, architecture), gguf.GGMLQuantizationType[kind]
    for name, tensor in tensors.items():
        values = tensor.float().numpy()
        if tensor.ndim == 2 and not tensor.shape[1] % 32:
            writer.add_tensor(name, gguf.quants.quantize(values, packed), raw_dtype=packed)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _component(family: str, name: str) -> Any:
    """A component of a row; "sd" is the same component of another row, "sd.vae" another component."""
    row = ROWS[family][name]
    if isinstance(row, str):
        other, _, called = row.partition(".")
        return _component(other, called or name)
    settings = {name: value for name, value in row.items() if name != "class"}
    if row["class"] == "Tokenizer":
        return byte_tokenizer()
    torch.manual_seed(0)
    if cls := getattr(diffusers, row["class"], None):
        return cls(**settings)
    cls = getattr(transformers, row["class"])
    return cls(cls.config_class(**settings))


def byte_tokenizer() -> Any:
    """A token for each byte, framed as CLIP does."""
    vocabulary = {token: n for n, token in enumerate(["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    core = Tokenizer(models.BPE(vocabulary, [], unk_token="</s>"))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    core.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=77, **SPECIAL)
