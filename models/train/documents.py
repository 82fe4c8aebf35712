"""Texts for the backbone: documents that it learns to continue, and texts as rows of tokens.

Documents are glosses, captions, translations, motions, instructions and edits: a prompt and a continuation. Attention
inside the prompt is bidirectional; the continuation is predicted token by token.
"""

import contextlib
import hashlib
import itertools
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerFast

from models.assets import preset
from models.data.captions import Language, caption, display_name
from models.data.clips import motion_caption
from models.data.colours import colour_words
from models.data.grammar import LANGUAGES, style_of
from models.data.scenes import make_scene
from models.data.text import names, training_captions
from models.data.world import Picture, Sampler, World
from models.tokenizer import TEXT_LENGTH, load_tokenizer, train_tokenizer
from models.train.lexicon import Lexicon

TEMPLATES: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("documents.json").read_text(encoding="utf-8")
)


class Document(NamedTuple):
    """A text in two parts; either may be empty."""

    prompt: str
    rest: str


class Writer:
    """Writes documents of a kind from a random stream: a method for each of `SOURCES`."""

    def __init__(self, world: World, sampler: Sampler, lexicon: Lexicon) -> None:
        self.world, self.sampler, self.lexicon = world, sampler, lexicon

    def write(self, source: str, rng: np.random.Generator) -> Document:
        """One document of a kind; ValueError names the kinds there are."""
        if source not in SOURCES:
            raise ValueError(f"unknown source {source!r}; there are {', '.join(SOURCES)}")
        return getattr(self, source)(rng)

    def gloss(self, rng: np.random.Generator) -> Document:
        """A dictionary entry, read either way: word to meaning, or meaning to word."""
        entry = self.lexicon.entries[int(rng.integers(len(self.lexicon.entries)))]
        if rng.random() < 0.2:
            return Document(f"{entry.gloss}:", entry.word)
        return Document("", f"{entry.word} ({entry.pos}): {entry.gloss}")

    def caption(self, rng: np.random.Generator) -> Document:
        seed = _seed(rng)
        if rng.random() < 0.3:
            return Document("", make_scene(self.world, seed).caption(seed))
        return Document("", caption(self._picture(rng), seed))

    def translation(self, rng: np.random.Generator) -> Document:
        seed = _seed(rng)
        if rng.random() < 0.4:
            scene = make_scene(self.world, seed)
            english, chinese = (scene.caption(seed, language) for language in LANGUAGES)
        else:
            picture, styled = self._picture(rng), rng.random() < 0.5
            english, chinese = (caption(picture, seed, language, style=styled) for language in LANGUAGES)
        if rng.random() < 0.5:
            return Document(f"{english} 中文：", chinese)
        return Document(f"{chinese} English:", english)

    def motion(self, rng: np.random.Generator) -> Document:
        seed = _seed(rng)
        thing = make_scene(self.world, seed) if rng.random() < 0.2 else self._picture(rng)
        return Document("", motion_caption(thing, seed))

    def instruction(self, rng: np.random.Generator) -> Document:
        """A request as in a chat, answered by the prompt for it."""
        seed, language = _seed(rng), _language(rng)
        asks = TEMPLATES[language]["asks"]
        text = caption(self._picture(rng), seed, language, "short", style=False)
        return Document(f"{asks[seed % len(asks)].format(text)} =>", text)

    def edit(self, rng: np.random.Generator) -> Document:
        """A prompt, an edit of colour, number or style, and the edited prompt."""
        seed, language = _seed(rng), _language(rng)
        templates = TEMPLATES[language]
        if rng.random() < 0.35:
            picture, style = self._picture(rng), style_of(self._picture(rng).style)
            name, words = display_name(picture, language), style.en[0] if language == "en" else style.zh[0]
            wish = templates["restyles"][seed % len(templates["restyles"])].format(words)
            return Document(f"{name} {wish} =>", templates["styled"].format(name, words))
        kind: Literal["colour", "count"] = "colour" if rng.random() < 0.5 else "count"
        scene = make_scene(self.world, seed, kind=kind)
        other = scene.contrast(kind)
        wanted = other.count if kind == "count" else colour_words((str(other.objects[0].colour),), language)
        wish = templates[kind][seed // 2 % len(templates[kind])].format(wanted)
        return Document(f"{scene.caption(seed, language, 'short')} {wish} =>", other.caption(seed, language, "short"))

    def _picture(self, rng: np.random.Generator) -> Picture:
        return self.sampler.draw(rng, 1)[0]


SOURCES = ("gloss", "caption", "translation", "motion", "instruction", "edit")


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31 - 1))


def _language(rng: np.random.Generator) -> Language:
    return "zh" if rng.random() < 0.35 else "en"


TOKENIZER_CAPTIONS = 60_000
# Rows that go through the backbone together. With 128 a step takes twice as long (weights are cast for every piece),
# with 512 half again as long (more padding, and activations leave the cache).
PIECE = 256


@dataclass(frozen=True)
class Rows:
    """A piece: token ids (N, L), masks (N, L) of real and of the prompt's tokens, each row's number in the batch."""

    ids: Tensor
    mask: Tensor
    prompt: Tensor
    numbers: Tensor


def text_rows(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[Rows]:
    """Texts to encode, framed as by `models.tokenizer.encode_texts`: the whole row is prompt."""
    return _pieces(tokenizer, [(text, "") for text in texts], TEXT_LENGTH, closed=True)


def document_rows(tokenizer: PreTrainedTokenizerFast, documents: Sequence[tuple[str, str]]) -> list[Rows]:
    """Documents (prompt, rest): <bos> prompt is bidirectional, rest <eos> is predicted."""
    return _pieces(tokenizer, documents, 2 * TEXT_LENGTH, closed=False)


def _pieces(
    tokenizer: PreTrainedTokenizerFast, parts: Sequence[tuple[str, str]], length: int, closed: bool
) -> list[Rows]:
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    firsts, seconds = (_tokens(tokenizer, [part[side] for part in parts]) for side in (0, 1))
    rows = [[bos, *first, *second, eos][:length] for first, second in zip(firsts, seconds, strict=True)]
    # The block of an empty prompt is <bos> alone.
    blocks = torch.tensor([len(row) if closed else 1 + len(first) for row, first in zip(rows, firsts, strict=True)])
    order = torch.tensor(sorted(range(len(rows)), key=lambda i: len(rows[i])), dtype=torch.int64)
    pieces = []
    for numbers in order.split(PIECE) if rows else ():
        tokens = [torch.tensor(rows[i]) for i in numbers]
        ids = pad_sequence(tokens, batch_first=True, padding_value=tokenizer.pad_token_id)
        place = torch.arange(ids.shape[1])
        mask = place < torch.tensor([len(row) for row in tokens])[:, None]
        pieces.append(Rows(ids, mask, mask & (place < blocks[numbers, None]), numbers))
    return pieces


def _tokens(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[int]]:
    # An empty text would still get the space that stands before every text.
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return [row if text else [] for text, row in zip(texts, ids, strict=True)]


def build_tokenizer(world: World, lexicon: Lexicon, size: str, cache: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of this world and preset, trained once on captions, names in both languages, and glosses."""
    words = [*names(world.split("train")), *(f"{entry.word}: {entry.gloss}" for entry in lexicon.entries)]
    vocab_size, probes = preset("language", size)["vocab_size"], itertools.islice(training_captions(world, seed=0), 300)
    digest = hashlib.sha256(repr((world.digest, vocab_size, words, *probes)).encode()).hexdigest()
    folder = cache / f"tokenizer-{size}-{digest[:12]}"
    if (folder / "tokenizer.json").exists():
        return load_tokenizer(folder)
    texts = [*words, *itertools.islice(training_captions(world, seed=0), TOKENIZER_CAPTIONS)]
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, ignore_cleanup_errors=True) as part:
        tokenizer = train_tokenizer(texts, vocab_size, part)
        with contextlib.suppress(OSError):  # another rank was first: theirs is the same
            Path(part).rename(folder)
    return tokenizer
