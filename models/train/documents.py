"""Texts for the backbone: documents that it learns to continue, and texts as rows of tokens.

Documents are glosses, captions, translations, motions, instructions and edits: a prompt and what follows it. The prompt
is one block that sees itself both ways; what follows is predicted token by token. Without a prompt all of it is.
"""

import contextlib
import hashlib
import itertools
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from models.data.captions import Language, caption, colour_words, display_name
from models.data.colours import COLOURS
from models.data.motion import motion_caption
from models.data.sampling import Sampler
from models.data.scenes import Scene, make_scene
from models.data.styles import style_of
from models.data.text import names, training_captions
from models.data.world import World
from models.presets import preset
from models.tokenizer import TEXT_LENGTH, load_tokenizer, train_tokenizer
from models.train.lexicon import Lexicon

TEMPLATES: dict[str, dict[str, list[str]]] = json.loads(
    Path(__file__).with_name("documents.json").read_text(encoding="utf-8")
)


class Document(NamedTuple):
    """A text in two parts; either may be empty."""

    prompt: str
    rest: str


class Writer:
    """Writes documents of a kind from a random stream. `SOURCES` are its kinds."""

    def __init__(self, world: World, sampler: Sampler, lexicon: Lexicon) -> None:
        self.world, self.sampler, self.lexicon = world, sampler, lexicon

    def write(self, source: str, rng: np.random.Generator) -> Document:
        """One document of a kind; ValueError names the kinds there are."""
        if source not in SOURCES:
            raise ValueError(f"unknown source {source!r}; there are {', '.join(SOURCES)}")
        return SOURCES[source](self, rng)

    def gloss(self, rng: np.random.Generator) -> Document:
        """A dictionary entry, read either way: word to meaning, or meaning to word."""
        entry = self.lexicon.entries[int(rng.integers(len(self.lexicon.entries)))]
        if rng.random() < 0.2:
            return Document(f"{entry.gloss}:", entry.word)
        return Document("", f"{entry.word} ({entry.pos}): {entry.gloss}")

    def caption(self, rng: np.random.Generator) -> Document:
        """A caption of a picture or of a scene."""
        seed = _seed(rng)
        if rng.random() < 0.3:
            return Document("", make_scene(self.world, seed).caption(seed))
        return Document("", caption(self.sampler.draw(rng, 1)[0], seed))

    def translation(self, rng: np.random.Generator) -> Document:
        """The same thing in the other language."""
        seed = _seed(rng)
        if rng.random() < 0.4:
            scene = make_scene(self.world, seed)
            english, chinese = scene.caption(seed, "en"), scene.caption(seed, "zh")
        else:
            picture, styled = self.sampler.draw(rng, 1)[0], rng.random() < 0.5
            english, chinese = caption(picture, seed, "en", style=styled), caption(picture, seed, "zh", style=styled)
        if rng.random() < 0.5:
            return Document(f"{english} 中文：", chinese)
        return Document(f"{chinese} English:", english)

    def motion(self, rng: np.random.Generator) -> Document:
        """A caption of something that moves."""
        seed = _seed(rng)
        thing = make_scene(self.world, seed) if rng.random() < 0.2 else self.sampler.draw(rng, 1)[0]
        return Document("", motion_caption(thing, seed))

    def instruction(self, rng: np.random.Generator) -> Document:
        """What people type into a chat, answered by the prompt they mean."""
        seed, chinese = _seed(rng), rng.random() < 0.35
        asks = TEMPLATES["zh" if chinese else "en"]["asks"]
        picture = self.sampler.draw(rng, 1)[0]
        text = caption(picture, seed, "zh" if chinese else "en", "short", style=False)
        return Document(f"{asks[seed % len(asks)].format(text)} =>", text)

    def edit(self, rng: np.random.Generator) -> Document:
        """A prompt, a wish, and the prompt with the wish granted: colour, number or style."""
        seed, chinese = _seed(rng), rng.random() < 0.35
        if rng.random() < 0.35:
            return self._restyled(seed, chinese, rng)
        kind: Literal["colour", "count"] = "colour" if rng.random() < 0.5 else "count"
        scene = make_scene(self.world, seed, kind=kind)
        other = scene.contrast(kind)
        language: Language = "zh" if chinese else "en"
        wish = _wish(other, kind, chinese, seed)
        return Document(f"{scene.caption(seed, language, 'short')} {wish} =>", other.caption(seed, language, "short"))

    def _restyled(self, seed: int, chinese: bool, rng: np.random.Generator) -> Document:
        language: Language = "zh" if chinese else "en"
        picture = self.sampler.draw(rng, 1)[0]
        style = style_of(self.sampler.draw(rng, 1)[0].style)
        name, restyles = display_name(picture, language), TEMPLATES[language]["restyles"]
        words = style.zh[0] if chinese else style.en[0]
        styled = f"{name}，{words}风格" if chinese else f"{name}, {words} style"
        return Document(f"{name} {restyles[seed % len(restyles)].format(words)} =>", styled)


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31 - 1))


def _wish(after: Scene, kind: str, chinese: bool, seed: int) -> str:
    if kind == "count":
        templates: Sequence[str] = TEMPLATES["zh" if chinese else "en"]["counts"]
        return templates[seed // 2 % len(templates)].format(after.count)
    colour = str(after.objects[0].colour)
    templates = TEMPLATES["zh" if chinese else "en"]["colourings"]
    return templates[seed // 2 % len(templates)].format(
        colour_words((colour,), "zh") if chinese else COLOURS[colour].en
    )


SOURCES: dict[str, Callable[[Writer, np.random.Generator], Document]] = {
    "gloss": Writer.gloss,
    "caption": Writer.caption,
    "translation": Writer.translation,
    "motion": Writer.motion,
    "instruction": Writer.instruction,
    "edit": Writer.edit,
}


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
