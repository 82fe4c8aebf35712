"""Texts as token rows for training: sorted by length and cut into pieces, so that little padding is computed."""

import contextlib
import hashlib
import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from models.data.text import names, training_captions
from models.data.world import World
from models.presets import preset
from models.tokenizer import TEXT_LENGTH, load_tokenizer, train_tokenizer
from models.train.lexicon import Lexicon

TOKENIZER_CAPTIONS = 60_000
# Rows that go through the backbone together. 128 take twice as long (weights are cast for every piece), 512 half again
# as long (more padding, and activations leave the cache).
PIECE = 256


@dataclass(frozen=True)
class Rows:
    """A piece: token ids (N, L), masks (N, L) of real and of the prompt's tokens, each row's number in the batch."""

    ids: Tensor
    mask: Tensor
    prompt: Tensor
    numbers: Tensor


def text_rows(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[Rows]:
    """Texts to be encoded, as `models.tokenizer.encode_texts` frames them: all of a row is prompt."""
    return _pieces(tokenizer, [(text, "") for text in texts], TEXT_LENGTH, closed=True)


def document_rows(tokenizer: PreTrainedTokenizerFast, documents: Sequence[tuple[str, str]]) -> list[Rows]:
    """Documents (prompt, rest) to be continued: <bos> prompt is one block, rest <eos> is predicted."""
    return _pieces(tokenizer, documents, 2 * TEXT_LENGTH, closed=False)


def _pieces(
    tokenizer: PreTrainedTokenizerFast, parts: Sequence[tuple[str, str]], length: int, closed: bool
) -> list[Rows]:
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    firsts = _tokens(tokenizer, [first for first, _ in parts])
    seconds = _tokens(tokenizer, [second for _, second in parts])
    rows = [[bos, *first, *second, eos][:length] for first, second in zip(firsts, seconds, strict=True)]
    # The block of an empty prompt is <bos> alone: nothing but what is before it can be seen.
    blocks = [len(row) if closed else 1 + len(first) for row, first in zip(rows, firsts, strict=True)]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    return [
        _piece(rows, blocks, order[start : start + PIECE], tokenizer.pad_token_id)
        for start in range(0, len(rows), PIECE)
    ]


def _tokens(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[int]]:
    # An empty text would still get the space that stands before every text.
    return [
        ids if text else []
        for text, ids in zip(texts, tokenizer(texts, add_special_tokens=False)["input_ids"], strict=True)
    ]


def _piece(rows: list[list[int]], blocks: list[int], numbers: list[int], pad: int) -> Rows:
    length = max(len(rows[i]) for i in numbers)
    ids = torch.tensor([rows[i] + [pad] * (length - len(rows[i])) for i in numbers])
    place = torch.arange(length)
    mask = place < torch.tensor([len(rows[i]) for i in numbers])[:, None]
    prompt = mask & (place < torch.tensor([blocks[i] for i in numbers])[:, None])
    return Rows(ids, mask, prompt, torch.tensor(numbers))


def build_tokenizer(world: World, lexicon: Lexicon, size: str, cache: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of this world and preset, learnt once: from captions, names in both languages, and glosses."""
    words = [*names(world.split("train")), *(f"{entry.word}: {entry.gloss}" for entry in lexicon.entries)]
    vocab_size, probes = preset("language", size)["vocab_size"], itertools.islice(training_captions(world, seed=0), 300)
    made_of = hashlib.sha256(repr((world.digest, vocab_size, words, *probes)).encode()).hexdigest()
    folder = cache / f"tokenizer-{size}-{made_of[:12]}"
    if (folder / "tokenizer.json").exists():
        return load_tokenizer(folder)
    texts = [*words, *itertools.islice(training_captions(world, seed=0), TOKENIZER_CAPTIONS)]
    with tempfile.TemporaryDirectory(dir=_made(cache), ignore_cleanup_errors=True) as part:
        tokenizer = train_tokenizer(texts, vocab_size, part)
        with contextlib.suppress(OSError):  # another rank was first: theirs is the same
            Path(part).rename(folder)
    return tokenizer


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
