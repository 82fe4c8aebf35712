"""Random pipelines in diffusers' own classes, from the rows of `tiny_pipelines.toml`, saved as their libraries save
them; nothing is fetched.
"""

import tomllib
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

ROWS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>", "unk_token": "</s>"}


def save_tiny_pipeline(family: str, root: Path) -> Path:
    """The pipeline of a row, in `root`."""
    row = ROWS[family]
    torch.manual_seed(0)
    parts = {name: _component(part) for name, part in row.items() if isinstance(part, dict) and "class" in part}
    more = {name: value or None for name, value in row.get("more", {}).items()}
    cls = getattr(diffusers, row["pipeline"])
    cls(**parts, **more).save_pretrained(root)
    return root


def _component(row: dict[str, Any]) -> Any:
    settings = {name: value for name, value in row.items() if name != "class"}
    if "Tokenizer" in row["class"]:
        return _tokenizer(row["class"])
    if cls := getattr(diffusers, row["class"], None):
        return cls(**settings)
    cls = getattr(transformers, row["class"])
    return cls(cls.config_class(**settings))


def _tokenizer(name: str) -> Any:
    """A token for each byte."""
    vocabulary = {token: n for n, token in enumerate(["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    core = Tokenizer(models.BPE(vocabulary, [], unk_token="</s>"))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=77, **SPECIAL)
