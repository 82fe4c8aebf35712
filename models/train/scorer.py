"""Which concept to draw for an English word: a small network on features of a word and a concept, trained on labels.

Features are cosines of a sentence encoder between the word or its WordNet glosses and the concept's name, keywords,
gloss and nearest labelled words; whether one lies below the other in WordNet, what they share there (D. Lin, ICML
1998), and what the labelled words around the word are drawn as; and whether the word is a keyword or a part of the
name.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.data.text import PARTS_OF_SPEECH, read_lines, read_synsets
from models.data.world import fraction
from models.prompts.parsed import Concept

CANDIDATES = 24  # concepts that each cosine proposes
ALSO = 3  # concepts that are named beside the first
SENSES = 3  # most frequent senses of a word
HIDDEN, EPOCHS, RATE = 64, 40, 3e-3
VALIDATION = 0.1  # share of the labels, by hash, that training does not see
Key = tuple[str, int]  # of a sense: part of speech, offset
Encode = Callable[[Sequence[str]], np.ndarray]  # texts -> unit vectors (N, 384)


@dataclass(frozen=True)
class Label:
    """What an annotator draws for a word: `concepts`, the best first; `kind` is "=" where the word names them or a kind
    of them, "~" where they stand for it, "-" where nothing does."""

    kind: str
    concepts: tuple[str, ...]


class WordNet:
    """Senses of all parts of speech, and how often a word has each in the tagged corpus."""

    def __init__(self, folder: Path) -> None:
        self.synsets = {(pos, synset.offset): synset for pos in PARTS_OF_SPEECH for synset in read_synsets(folder, pos)}
        self.by_word: dict[str, list[Key]] = defaultdict(list)
        for pos in PARTS_OF_SPEECH:
            for line in read_lines(folder, f"index.{pos}"):
                fields = line.split()
                self.by_word[fields[0].replace("_", " ")] += [(pos, int(at)) for at in fields[-int(fields[2]) :]]
        self.counts: dict[tuple[str, str, int], int] = {}
        for line in read_lines(folder, "index.sense"):  # lemma%type:... offset number tag_count
            key, offset, _, count = line.split()
            lemma, _, rest = key.partition("%")
            pos = ("noun", "verb", "adj", "adv", "adj")[int(rest[0]) - 1]
            self.counts[lemma.replace("_", " "), pos, int(offset)] = int(count)
        self._above: dict[Key, dict[Key, int]] = {}
        nouns = [sense for sense in self.synsets if sense[0] == "noun"]
        self._below = Counter(upper for sense in nouns for upper in self.above(sense))
        self._nouns = len(nouns)

    def senses(self, word: str) -> list[tuple[Key, float]]:
        """The senses of a word with their shares, the commonest first. Counts are smoothed: the first sense of a part
        of speech has one more, the others less by rank."""
        weights, rank = {}, dict.fromkeys(PARTS_OF_SPEECH, 0)
        for pos, offset in self.by_word.get(word, ()):
            rank[pos] += 1
            prior = (1.0 if rank[pos] == 1 else 0.3 / rank[pos]) * (1.0 if pos == "noun" else 0.6)
            weights[pos, offset] = self.counts.get((word, pos, offset), 0) + prior
        total = sum(weights.values())
        return sorted(((key, weight / total) for key, weight in weights.items()), key=lambda pair: -pair[1])

    def parts_of_speech(self, word: str) -> str:
        """Initials, the commonest first: "nv" of "dance"."""
        shares: dict[str, float] = defaultdict(float)
        for (pos, _), share in self.senses(word):
            shares["r" if pos == "adv" else pos[0]] += share
        return "".join(sorted((pos for pos in shares if shares[pos] > 0.04), key=lambda pos: -shares[pos]))

    def above(self, sense: Key) -> dict[Key, int]:
        """A noun sense and those above it, with the number of steps."""
        if sense not in self._above:
            above, level, steps = {sense: 0}, {sense}, 0
            while level:
                steps += 1
                pointers = (pointer for key in level for pointer in self.synsets[key].pointers)
                level = {(pos, at) for symbol, pos, at in pointers if symbol in ("@", "@i")} - above.keys()
                above.update(dict.fromkeys(level, steps))
            self._above[sense] = above
        return self._above[sense]

    def is_a(self, word: str, kind: str) -> bool:
        """Whether one of the two commonest senses of a word lies below a synset of this name: "physical entity"."""
        nouns = [key for key, share in self.senses(word)[:2] if key[0] == "noun" and share > 0.1]
        return any(kind in self.synsets[upper].words for key in nouns for upper in self.above(key))

    def is_person(self, word: str) -> bool:
        """Whether nearly all uses of a word are of persons."""
        nouns = [(key, share) for key, share in self.senses(word) if key[0] == "noun"]
        people = (s for key, s in nouns if any("person" in self.synsets[upper].words for upper in self.above(key)))
        return sum(people) > 0.9

    def information(self, sense: Key) -> float:
        """0 of what is above all nouns, 1 of what nothing is below."""
        return -math.log(self._below[sense] / self._nouns) / math.log(self._nouns)


PLAIN = re.compile(r" (face|button)$")  # of names of emoji
# WordNet's lexicographer files (lexnames(5WN)) that hold the concepts of a CLDR group.
_FILES = {
    "animals-nature": (5, 20),
    "food-drink": (13, 20, 6),
    "travel-places": (6, 17, 19),
    "activities": (6, 17, 4),
    "objects": (6, 17, 8),
    "people-body": (18, 8),
}
COSINES = ("word-name", "word-keywords", "gloss-keywords", "gloss-gloss", "word-label", "gloss-label")
RELATIONS = ("siblings", "is keyword", "in name", "below", "above", "lin", "information")
CONTEXT = ("best name", "best label", "noun", "face", "person", "symbol")
FEATURES = COSINES + RELATIONS + CONTEXT


class Scorer:
    """Ranks the concepts that may be drawn for an English word.

    Args:
        concepts: what can be drawn, without flags.
        labels: of English words; those of VALIDATION are left out of training and of the features.
        encode: texts -> unit vectors (N, 384).
    """

    def __init__(
        self, concepts: Sequence[Concept], wordnet: WordNet, labels: Mapping[str, Label], encode: Encode
    ) -> None:
        self.concepts, self.wordnet, self.encode = concepts, wordnet, encode
        self.names = [PLAIN.sub("", row.english_names[0].lower()).replace("’", "'") for row in concepts]
        self.keywords = [[word.lower() for word in row.keywords if word.isascii()] for row in concepts]
        self.sense = {row: key for row in range(len(concepts)) if (key := self._sense(row))}
        below: dict[Key, list[tuple[int, int]]] = defaultdict(list)
        for row, key in self.sense.items():
            for upper, steps in wordnet.above(key).items():
                below[upper].append((row, steps))
        self._below = {key: np.array(pairs).T for key, pairs in below.items()}  # concepts below a sense, and steps
        self._rows_of = {key: pairs[0][pairs[1] == 0] for key, pairs in self._below.items()}
        self._information = np.full(len(concepts), 0.5)
        self._information[list(self.sense)] = [wordnet.information(key) for key in self.sense.values()]
        self._named: dict[str, set[int]] = defaultdict(set)  # concepts by the words of their names, and by keywords
        self._keyword_of: dict[str, set[int]] = defaultdict(set)
        for row, name in enumerate(self.names):
            for word in name.split():
                self._named[word].add(row)
            for word in self.keywords[row]:
                self._keyword_of[word].add(row)
        listed = [", ".join(words) for words in self.keywords]
        glosses = [wordnet.synsets[self.sense[r]].gloss if r in self.sense else listed[r] for r in range(len(concepts))]
        self._by_name = encode(self.names)
        self._by_keywords = encode([f"{name}: {words}" for name, words in zip(self.names, listed, strict=True)])
        self._by_gloss = encode([f"{name}: {gloss}" for name, gloss in zip(self.names, glosses, strict=True)])
        number = {concept.english_names[0]: row for row, concept in enumerate(concepts)}
        known = {word: [number[name] for name in label.concepts if name in number] for word, label in labels.items()}
        self.labels = {word: rows for word, rows in known.items() if rows or labels[word].kind == "-"}
        shown = sorted((rows[0], word) for word, rows in self.labels.items() if rows and not is_validation(word))
        self._label_words = {word: place for place, (_, word) in enumerate(shown)}
        rows = np.array([row for row, _ in shown])
        self._labelled, self._first = np.unique(rows, return_index=True)  # concepts, and where each one's words begin
        words = [word for _, word in shown]
        self._label_vectors, self._label_glosses = encode(words), encode([self._glossed(word) for word in words])
        siblings: dict[Key, Counter[int]] = defaultdict(Counter)  # what labelled words below a sense are drawn as
        for row, word in shown:
            for upper, _ in self._upper(word):
                siblings[upper][row] += 1
        self._siblings = {key: np.array([*counts.items()]).T for key, counts in siblings.items()}
        self.network = nn.Sequential(nn.Linear(len(FEATURES), HIDDEN), nn.GELU(), nn.Linear(HIDDEN, 1))
        self.none = nn.Parameter(torch.zeros(()))  # the score of no concept at all
        self._scale, self._shift = 1.0, 0.0  # of the logit of a score

    def _sense(self, row: int) -> Key | None:
        """The WordNet sense of a concept: in the files of its group, the one whose gloss shares most words with its
        keywords (M. Lesk, 1986)."""
        hints = {*self.keywords[row], *self.names[row].split()}
        for name in (
            self.concepts[row].english_names[0].lower(),
            self.names[row],
            self.names[row].removesuffix(" fruit"),
        ):
            senses = [key for key in self.wordnet.by_word.get(name, ()) if key[0] == "noun"]
            for file in _FILES.get(self.concepts[row].group, ()):
                if matching := [key for key in senses if self.wordnet.synsets[key].file == file]:
                    return max(matching, key=lambda key: len(self._context(key) & hints))
        return None

    def _context(self, key: Key) -> set[str]:
        near = [self.wordnet.synsets[above] for above, steps in self.wordnet.above(key).items() if steps < 3]
        text = " ".join([near[0].gloss, *(word for synset in near for word in synset.words)])
        return set(re.findall("[a-z]+", text.lower()))

    def _glossed(self, word: str) -> str:
        senses = self.wordnet.senses(word)
        return f"{word}: {self.wordnet.synsets[senses[0][0]].gloss}" if senses else word

    def _upper(self, word: str) -> Iterator[tuple[Key, float]]:
        """The senses above a noun's commonest sense, with weights that halve at each step."""
        for key, _ in self.wordnet.senses(word)[:1]:
            if key[0] == "noun":
                yield from ((upper, 0.5**steps) for upper, steps in self.wordnet.above(key).items())

    def features(self, words: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Of each word the rows of its candidates (K,), and their features (K, F)."""
        senses = [self.wordnet.senses(word) for word in words]
        leading = [[(key, share) for key, share in of_word[:SENSES]] for of_word in senses]
        texts = [
            f"{w}: {self.wordnet.synsets[key].gloss}" for w, of in zip(words, leading, strict=True) for key, _ in of
        ]
        vectors, glosses = self.encode(words), iter(self.encode(texts) if texts else ())
        for word, vector, of_word, lead in zip(words, vectors, senses, leading, strict=True):
            shares = np.array([share for _, share in lead] or [1.0])
            gloss = np.stack([next(glosses) for _ in lead]) if lead else vector[None]
            mean = gloss.T @ (shares / shares.sum())
            cosines = (
                self._by_name @ vector,
                self._by_keywords @ vector,
                self._by_keywords @ mean,
                self._by_gloss @ mean,
                self._nearest_label(word, self._label_vectors @ vector),
                self._nearest_label(word, self._label_glosses @ gloss[0]),
            )
            nouns = [(key, share) for key, share in of_word if key[0] == "noun" and share > 0.03]
            relations = self._relations(word, nouns)
            best = [
                np.argpartition(-c, CANDIDATES)[:CANDIDATES] if len(c) > CANDIDATES else np.arange(len(c))
                for c in cosines
            ]
            related = np.flatnonzero((relations[1:4] > 0).any(0))
            rows = np.unique(np.concatenate([*best, related]))
            noun_share = sum(share for key, share in of_word if key[0] == "noun")
            groups = [self.concepts[row].group for row in rows.tolist()]
            context = [
                cosines[0][rows] - cosines[0].max(),
                cosines[4][rows] - cosines[4].max(),
                np.full(len(rows), noun_share),
                *(
                    np.array([group == kind for group in groups])
                    for kind in ("smileys-emotion", "people-body", "symbols")
                ),
            ]
            yield rows, np.stack([*(values[rows] for values in (*cosines, *relations)), *context], 1).astype(np.float32)

    def _nearest_label(self, word: str, cosines: np.ndarray) -> np.ndarray:
        """By concept, the cosine of the nearest of its labelled words; a label is no evidence for itself."""
        if word in self._label_words:
            cosines[self._label_words[word]] = -1
        best = np.full(len(self.concepts), -0.2, np.float32)
        best[self._labelled] = np.maximum(best[self._labelled], np.maximum.reduceat(cosines, self._first))
        return best

    def _sibling_shares(self, word: str) -> np.ndarray:
        """By concept (C,), the share of the labelled words around a word that are drawn as it, without itself."""
        itself = self.labels[word][0] if word in self._label_words else -1
        shares, total = np.zeros(len(self.concepts)), 0.0
        for upper, weight in self._upper(word):
            rows, counts = self._siblings.get(upper, np.zeros((2, 0), int))
            counts = counts - (rows == itself)
            shares[rows] += weight * counts / (counts.sum() + 1)
            total += weight * bool(counts.any())
        return shares / (total or 1)

    def _relations(self, word: str, nouns: Sequence[tuple[Key, float]]) -> np.ndarray:
        """The features RELATIONS of all concepts (7, C) to a word with these noun senses and their shares."""
        table = np.zeros((len(RELATIONS), len(self.concepts)))
        siblings, is_keyword, in_name, below, above, lin, information = table
        siblings[:] = self._sibling_shares(word)
        is_keyword[list(self._keyword_of.get(word, ()))] = 1
        in_name[list(self._named.get(word, ()))] = 1
        for key, share in nouns:
            shared, empty = np.zeros(len(self.concepts)), np.zeros((2, 0), int)
            for upper in sorted(self.wordnet.above(key), key=self.wordnet.information):
                shared[self._below.get(upper, empty)[0]] = self.wordnet.information(upper)
                rows = self._rows_of.get(upper, empty[0])
                below[rows] = np.maximum(below[rows], share * self.wordnet.information(upper))
            both = self.wordnet.information(key) + self._information
            lin[:] = np.maximum(lin, share * np.where(shared > 0, 2 * shared / both, 0))
            rows, steps = self._below.get(key, empty)
            above[rows] = np.maximum(above[rows], share * 0.8**steps)
        information[:] = self._information
        return table

    def _logits(self, tables: Sequence[Tensor]) -> Iterator[Tensor]:
        """Of each table (K, F) the logits (K + 1,) of candidates; the last is that of no concept."""
        scores = self.network((torch.cat(list(tables)) - self._mean) / self._std)[:, 0]
        return (torch.cat([of, self.none[None]]) for of in scores.split([len(table) for table in tables]))

    def train(self, seed: int = 0) -> dict[str, float]:
        """Fit to the labels by the likelihood of any of a word's concepts, and calibrate the scores on VALIDATION (J.
        Platt, 1999). Returns the share of words of VALIDATION whose first concept is a labelled one, of those that have
        any; and of those that have none, the share with a score below 0.5."""
        torch.manual_seed(seed)
        words = sorted(self.labels)
        data = dict(zip(words, self.features(words), strict=True))
        stacked = np.concatenate([table for _, table in data.values()])
        self._mean, self._std = (torch.from_numpy(value) for value in (stacked.mean(0), stacked.std(0) + 1e-6))
        fitted = [word for word in words if not is_validation(word)]
        tables = [torch.from_numpy(data[word][1]) for word in fitted]
        # Which candidates are right, the last of all that none is.
        right = [torch.from_numpy(np.append(np.isin(data[w][0], self.labels[w]), not self.labels[w])) for w in fitted]
        usable = torch.tensor([bool(row.any()) for row in right]).nonzero()[:, 0]
        optimizer = torch.optim.AdamW([*self.network.parameters(), self.none], RATE, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
        for _ in range(EPOCHS):
            for batch in usable[torch.randperm(len(usable))].split(64):
                logits = self._logits([tables[i] for i in batch])
                losses = [of.logsumexp(0) - of[right[i]].logsumexp(0) for i, of in zip(batch, logits, strict=True)]
                optimizer.zero_grad()
                torch.stack(losses).mean().backward()
                optimizer.step()
            schedule.step()
        held = [word for word in words if is_validation(word)]
        best = {word: self.ranked(*data[word]) for word in held}
        first = {word: best[word][0][0] in self.labels[word] for word in held}
        self._calibrate([best[word][1] for word in held], [first[word] for word in held])
        empty = [self.ranked(*data[word])[1] < 0.5 for word in held if not self.labels[word]]
        return {
            "first": float(np.mean([first[w] for w in held if self.labels[w]])),
            "empty": float(np.mean(empty)),
            "words": len(held),
        }

    def _calibrate(self, scores: Sequence[float], right: Sequence[bool]) -> None:
        logits, targets = torch.tensor(scores).logit(1e-4), torch.tensor(right, dtype=torch.float32)
        line = torch.tensor([1.0, 0.0], requires_grad=True)
        optimizer = torch.optim.LBFGS([line], max_iter=50)

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = nn.functional.binary_cross_entropy_with_logits(line[0] * logits + line[1], targets)
            value.backward()
            return value

        optimizer.step(loss)
        self._scale, self._shift = line.tolist()

    @torch.no_grad()
    def ranked(self, rows: np.ndarray, table: np.ndarray) -> tuple[list[int], float]:
        """Concepts, the most likely first, and the probability that the first is right."""
        (logits,) = self._logits([torch.from_numpy(table)])
        order = logits[:-1].argsort(descending=True)[: 1 + ALSO]
        score = logits.softmax(0)[order[0]].logit(1e-4)
        return rows[order.numpy()].tolist(), float((self._scale * score + self._shift).sigmoid())


def is_validation(word: str) -> bool:
    """Whether a labelled word is held out of training, by a hash."""
    return fraction("labels", word) < VALIDATION
