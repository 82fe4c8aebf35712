"""Byte-level BPE: any text is made of its 256 bytes, so nothing is ever unknown and everything comes back exactly.

A space is put before every text and taken off again when decoding. A word is then the same token at the start of a
prompt as in its middle, and unlike GPT-2's `add_prefix_space` a text that does begin with a space stays itself.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

TEXT_LENGTH = 32  # tokens of a prompt, <bos> and <eos> among them
PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"  # always tokens 0, 1, 2
SPARE = tuple(f"<spare{i}>" for i in range(64))  # roles, pictures, slots...: names that later training may give a sense

# GPT-2's pattern with two changes. Han characters never carry the space before them: Chinese puts none between words,
# so a word would be one token at the start of a prompt and another elsewhere. Digits stand alone: 12 is a 1 and a 2.
_WORDS = r"'(?:[sdmt]|ll|ve|re)| ?(?:(?!\p{Han})[\p{L}\p{M}])+|\p{Han}+| ?\p{N}| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s+"


def train_tokenizer(texts: Iterable[str], vocab_size: int, folder: str | Path) -> PreTrainedTokenizerFast:
    """Learn the merges of `texts`, write them to `folder` and return the tokenizer; same texts, same files. Pairs that
    occur once are not merged, so a small corpus gives fewer than `vocab_size` tokens. ValueError where that is below
    323, too small for special tokens and all bytes."""
    specials = [PAD, BOS, EOS, *SPARE]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if vocab_size < len(specials) + len(alphabet):
        raise ValueError(f"vocab_size {vocab_size} is below {len(specials) + len(alphabet)}: special tokens and bytes")
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.Prepend(" ")
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=specials,
        initial_alphabet=sorted(alphabet),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        extra_special_tokens=list(SPARE),
        padding_side="right",
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,  # "<eos>" typed into a prompt is five characters and ends nothing
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerFast:
    """The tokenizer that `train_tokenizer` wrote to `folder`; FileNotFoundError where there is none."""
    file = Path(folder) / "tokenizer.json"
    if not file.is_file():
        raise FileNotFoundError(f"no tokenizer at {file}")
    return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)


def encode_texts(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], length: int = TEXT_LENGTH
) -> tuple[Tensor, Tensor]:
    """Token ids (B, length) int64 and mask (B, length) bool, true at real tokens: <bos> text <eos>, padded right. A
    text that is too long is cut and then has no <eos>: it did not end there."""
    ids = torch.full((len(texts), length), tokenizer.pad_token_id)
    mask = torch.zeros(len(texts), length, dtype=torch.bool)
    encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"] if len(texts) else []
    for row, tokens in enumerate(encoded):
        line = [tokenizer.bos_token_id, *tokens, tokenizer.eos_token_id][:length]
        ids[row, : len(line)] = torch.tensor(line)
        mask[row, : len(line)] = True
    return ids, mask
