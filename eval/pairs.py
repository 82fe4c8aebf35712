"""Files of captions and of vectors, read and matched by id, and their measures.

Captions: COCO's result and annotation files, JSON, JSON Lines, CSV, or a text file of one caption a line. Vectors: .npy
(row by row), .npz of `vectors` and `ids`, or what an extractor makes of a folder of pictures or a file of captions.
"""

import csv
import json
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.captions import bleu, bleu_counts, cider_d, rouge_l
from eval.extractors import Extractor
from eval.folders import PictureFolder
from eval.neighbours import average_precision, cosine, expected_recall, hubness, places, same
from eval.rows import Row, mean_row
from models.data.pixels import read_picture
from models.messages import Refused

IDS = ("image_id", "id", "image", "file", "key")
TEXTS = ("caption", "captions", "text", "references")
RECALLS = (1, 5, 10)
RESAMPLED = 1000

Captions = dict[str, list[str]]


# --- Captions ---------------------------------------------------------------------------------------------------------


def captions_of(predicted: Path, references: Path) -> tuple[list[str], list[list[str]]]:
    """N texts and the references of each; Refused where an id has no prediction, no reference, or two predictions."""
    said, wanted = read_captions(predicted), read_captions(references)
    for path, ids, other in (
        (predicted, wanted.keys() - said.keys(), references),
        (references, said.keys() - wanted.keys(), predicted),
    ):
        if ids:
            raise Refused("eval.missing_ids", path=str(path), count=len(ids), first=min(ids), other=str(other))
    if double := [key for key, texts in said.items() if len(texts) > 1]:
        raise Refused("eval.doubled_ids", path=str(predicted), count=len(double), first=double[0])
    return [said[key][0] for key in said], [wanted[key] for key in said]


def read_captions(path: Path) -> Captions:
    """Captions by id; Refused for a file that holds none."""
    if not path.is_file():
        raise Refused("eval.no_file", path=str(path))
    try:
        rows = list(_rows(path))
    except (ValueError, KeyError, TypeError, UnicodeDecodeError, csv.Error) as error:
        raise Refused("eval.no_captions", path=str(path), problem=str(error).partition("\n")[0]) from error
    if not rows:
        raise Refused("eval.no_captions", path=str(path), problem="it is empty")
    found: Captions = defaultdict(list)
    for key, texts in rows:
        found[key] += texts
    return dict(found)


def _rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        match path.suffix.lower():
            case ".csv" | ".tsv":
                rows: Any = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            case ".jsonl":
                rows = [json.loads(line) for line in file if line.strip()]
            case ".json":
                rows = json.load(file)
            case _:
                rows = [{"id": str(n), "caption": line} for n, line in enumerate(file.read().splitlines(), 1)]
        if isinstance(rows, dict):
            rows = rows.get("annotations") or [{"id": key, "captions": texts} for key, texts in rows.items()]
        for row in rows:
            key, texts = (next(row[name] for name in names if name in row) for names in (IDS, TEXTS))
            yield str(key), [texts] if isinstance(texts, str) else [str(text) for text in texts]


def caption_rows(texts: Sequence[str], references: Sequence[Sequence[str]]) -> Iterator[Row]:
    """BLEU-1 to 4, ROUGE-L and CIDEr-D, beside the captions of the next picture: what any caption would get."""
    others = [*references[1:], *references[:1]] if len(texts) > 1 else None
    tokens = "words in lower case without punctuation; Chinese by characters"
    counts, shuffled = bleu_counts(texts, references), bleu_counts(texts, others) if others else None
    for n in range(4):
        against = (("another picture's", float(bleu(shuffled.sum(0))[n])),) if shuffled is not None else ()
        yield Row(
            f"BLEU-{n + 1}", float(bleu(counts.sum(0))[n]), len(texts), interval=_resampled(counts, n), against=against,
            note="" if n else tokens, seeds="bootstrap 0",
        )  # fmt: skip
    notes = {
        "ROUGE-L": "COCO's: beta 1.2",
        "CIDEr-D": "rarity is that among these references: compare only within one set",
    }
    for name, measure in (("ROUGE-L", rouge_l), ("CIDEr-D", cider_d)):
        against = (("another picture's", float(measure(texts, others).mean())),) if others else ()
        yield mean_row(name, measure(texts, references), against=against, note=notes[name], seeds="bootstrap 0")


def _resampled(counts: np.ndarray, n: int) -> tuple[float, float]:
    draws = np.random.default_rng(0).integers(0, len(counts), (RESAMPLED, len(counts)))
    low, high = np.percentile([bleu(counts[draw].sum(0))[n] for draw in draws], [2.5, 97.5])
    return float(low), float(high)


# --- Vectors ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Vectors:
    """Vectors (N, D) and what each belongs to; ids None: rows are matched by their numbers."""

    path: Path
    vectors: np.ndarray
    ids: list[str] | None


def needs_extractor(*paths: Path) -> bool:
    return any(path.suffix not in (".npy", ".npz") for path in paths)


def vectors_of(path: Path, extractor: Extractor | None) -> Vectors:
    """Refused where the file holds no vectors, or numbers that are not finite, or the extractor reads no texts."""
    if not path.exists():
        raise Refused("eval.no_file", path=str(path))
    if path.is_dir():
        assert extractor
        files = [file for _, file in PictureFolder.read(path).files]
        parts = [extractor([read_picture(one) for one in files[i : i + 32]]) for i in range(0, len(files), 32)]
        found = Vectors(path, np.concatenate(parts), [file.stem for file in files])
    elif path.suffix in (".npy", ".npz"):
        found = _stored_vectors(path)
    else:
        assert extractor
        if extractor.text is None:
            raise Refused("eval.no_texts", name=extractor.name)
        pairs = [(key, text) for key, texts in read_captions(path).items() for text in texts]
        found = Vectors(path, extractor.text([text for _, text in pairs]).numpy(), [key for key, _ in pairs])
    if found.vectors.ndim != 2 or not len(found.vectors) or not np.isfinite(found.vectors).all():
        raise Refused("eval.no_vectors", path=str(path), problem="they must be finite numbers (N, D)")
    return found


def _stored_vectors(path: Path) -> Vectors:
    try:
        stored = np.load(path, allow_pickle=False)
        if path.suffix == ".npy":
            return Vectors(path, stored.astype(np.float64), None)
        ids = [str(one) for one in stored["ids"]] if "ids" in stored else None
        vectors = stored["vectors"].astype(np.float64)
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise Refused("eval.no_vectors", path=str(path), problem=str(error).partition("\n")[0]) from error
    if ids is not None and len(ids) != len(vectors):
        raise Refused("eval.no_vectors", path=str(path), problem=f"{len(vectors)} vectors have {len(ids)} ids")
    return Vectors(path, vectors, ids)


def retrieval_rows(a: Vectors, b: Vectors) -> Iterator[Row]:
    """R@1, 5, 10, mAP and the median rank both ways, each query by itself in the intervals.

    Right is what has the query's id, or its row number where a side has no ids. Equal scores are settled by
    expectation.
    """
    if a.vectors.shape[1] != b.vectors.shape[1]:
        raise Refused("eval.other_sizes", a=a.vectors.shape[1], b=b.vectors.shape[1])
    keys, others = (_keys(one, other) for one, other in ((a, b), (b, a)))
    scores, right = cosine(a.vectors, b.vectors), same(keys, others)
    for one, found, way in ((a, right, 1), (b, right.T, 0)):
        if lonely := np.flatnonzero(~found.any(1)).tolist():
            key, other = (keys, b) if way else (others, a)
            raise Refused(
                "eval.missing_ids", path=str(other.path), count=len(lonely), first=key[lonely[0]], other=str(one.path)
            )
    for name, s, r in (("A to B", scores, right), ("B to A", scores.T, right.T)):
        yield from direction_rows(name, s, r)


def _keys(one: Vectors, other: Vectors) -> Sequence[object]:
    if one.ids is not None and other.ids is not None:
        return one.ids
    if len(one.vectors) != len(other.vectors):
        raise Refused("eval.other_counts", a=len(one.vectors), b=len(other.vectors))
    return range(len(one.vectors))


def direction_rows(name: str, scores: np.ndarray, right: np.ndarray) -> Iterator[Row]:
    """One direction: scores (Q, G), and which of the gallery is right for each query."""
    found, shuffled = places(scores, right), np.roll(scores, max(1, len(scores) // 2), axis=0)
    skewness, most = hubness(scores)
    notes = {
        RECALLS[0]: f"of {scores.shape[1]}; median rank {np.median(found.rank()):.1f}",
        RECALLS[-1]: f"hubs: skewness {skewness:.1f}, one is among the ten nearest of {most:.0f}",
    }
    for k in RECALLS:
        yield mean_row(
            f"{name}: R@{k}", found.recall(k), against=(("chance", expected_recall(right, k)),), note=notes.get(k, ""),
            seeds="bootstrap 0",
        )  # fmt: skip
    by_chance = (("shuffled", float(average_precision(shuffled, right).mean())),)
    yield mean_row(f"{name}: mAP", average_precision(scores, right), against=by_chance, seeds="bootstrap 0")
