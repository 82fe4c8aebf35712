"""`python -m eval score`: pictures, captions and vectors of any source, by the measures of the table.

Captions: COCO's result and annotation files, JSON, JSON Lines, CSV, or a text file of one caption a line. Vectors: .npy
(row by row), .npz of `vectors` and `ids`, or what an extractor makes of a folder of pictures or a file of captions.

Pictures of a folder are ordered by the sha256 of their bytes: names, the order of a folder and who reads it change no
figure. Their features are kept in blocks under the hashes of the pictures and of the extractor, so a stopped run goes
on where it was.
"""

import argparse
import csv
import hashlib
import json
import sys
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from eval.captions import bleu, bleu_counts, cider_d, rouge_l
from eval.copies import FAR, NEAR, PRINTS, distances
from eval.extractors import BATCH, ROWS, Extractor, Source, extractor, network
from eval.report import add_outputs, publish, refusing
from eval.rows import Row, mean_row, share_row
from eval.statistics import (
    NEIGHBOURS,
    Coverage,
    FeatureStatistics,
    average_precision,
    cosine,
    coverage,
    expected_floor,
    expected_recall,
    fold_error,
    frechet_distance,
    hubness,
    kernel_distance,
    places,
    same,
    vendi,
)
from models.data.pixels import FORMATS, read_picture
from models.data.stored import stored
from models.data.world import data_folder
from models.messages import Refused

IDS = ("image_id", "id", "image", "file", "key")
TEXTS = ("caption", "captions", "text", "references")
RECALLS = (1, 5, 10)
RESAMPLED = 1000

Captions = dict[str, list[str]]


# --- Captions ---------------------------------------------------------------------------------------------------------


def captions_of(predicted: Path, references: Path) -> tuple[list[str], list[list[str]]]:
    """N texts and the references of each; Refused where an id has no prediction, no reference, or two predictions."""
    captions, wanted = read_captions(predicted), read_captions(references)
    for path, ids, other in (
        (predicted, wanted.keys() - captions.keys(), references),
        (references, captions.keys() - wanted.keys(), predicted),
    ):
        if ids:
            raise Refused("eval.missing_ids", path=str(path), count=len(ids), first=min(ids), other=str(other))
    if double := [key for key, texts in captions.items() if len(texts) > 1]:
        raise Refused("eval.doubled_ids", path=str(predicted), count=len(double), first=double[0])
    return [captions[key][0] for key in captions], [wanted[key] for key in captions]


def read_captions(path: Path) -> Captions:
    """Captions by id; Refused for a file that holds none."""
    if not path.is_file():
        raise Refused("eval.no_file", path=str(path))
    by_id: Captions = defaultdict(list)
    try:
        for key, texts in _rows(path):
            by_id[key] += texts
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise Refused("eval.no_captions", path=str(path), problem=str(error).partition("\n")[0]) from error
    if not by_id:
        raise Refused("eval.no_captions", path=str(path), problem="it is empty")
    return dict(by_id)


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
            key, texts = (row[next((name for name in names if name in row), names[0])] for names in (IDS, TEXTS))
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


def vectors_of(path: Path, extractor: Extractor | None) -> Vectors:
    """Refused where the file holds no vectors, or numbers that are not finite, or the extractor reads no texts."""
    if not path.exists():
        raise Refused("eval.no_file", path=str(path))
    if path.is_dir():
        assert extractor
        files = [file for _, file in PictureFolder.read(path).files]
        parts = [extractor([read_picture(path) for path in files[i : i + 32]]) for i in range(0, len(files), 32)]
        vectors = Vectors(path, np.concatenate(parts), [file.stem for file in files])
    elif path.suffix in (".npy", ".npz"):
        vectors = _stored_vectors(path)
    else:
        assert extractor
        if extractor.text is None:
            raise Refused("eval.no_texts", name=extractor.name)
        pairs = [(key, text) for key, texts in read_captions(path).items() for text in texts]
        vectors = Vectors(path, extractor.text([text for _, text in pairs]).numpy(), [key for key, _ in pairs])
    if vectors.vectors.ndim != 2 or not len(vectors.vectors) or not np.isfinite(vectors.vectors).all():
        raise Refused("eval.no_vectors", path=str(path), problem="they must be finite numbers (N, D)")
    return vectors


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
    keys, others = a.ids, b.ids
    if keys is None or others is None:
        if len(a.vectors) != len(b.vectors):
            raise Refused("eval.other_counts", a=len(a.vectors), b=len(b.vectors))
        keys = others = [str(row) for row in range(len(a.vectors))]
    scores, right = cosine(a.vectors, b.vectors), same(keys, others)
    for side, answers, way in ((a, right, 1), (b, right.T, 0)):
        if lonely := np.flatnonzero(~answers.any(1)).tolist():
            key, other = (keys, b) if way else (others, a)
            raise Refused(
                "eval.missing_ids", path=str(other.path), count=len(lonely), first=key[lonely[0]], other=str(side.path)
            )
    for name, s, r in (("A to B", scores, right), ("B to A", scores.T, right.T)):
        yield from direction_rows(name, s, r)


def direction_rows(name: str, scores: np.ndarray, right: np.ndarray) -> Iterator[Row]:
    """One direction: scores (Q, G), and which of the gallery is right for each query."""
    ranks, shuffled = places(scores, right), np.roll(scores, max(1, len(scores) // 2), axis=0)
    skewness, most = hubness(scores)
    notes = {
        RECALLS[0]: f"of {scores.shape[1]}; median rank {np.median(ranks.rank()):.1f}",
        RECALLS[-1]: f"hubs: skewness {skewness:.1f}, one is among the ten nearest of {most:.0f}",
    }
    for k in RECALLS:
        yield mean_row(
            f"{name}: R@{k}", ranks.recall(k), against=(("chance", expected_recall(right, k)),), note=notes.get(k, ""),
            seeds="bootstrap 0",
        )  # fmt: skip
    by_chance = (("shuffled", float(average_precision(shuffled, right).mean())),)
    yield mean_row(f"{name}: mAP", average_precision(scores, right), against=by_chance, seeds="bootstrap 0")


# --- Folders of pictures ----------------------------------------------------------------------------------------------


SUFFIXES = {f".{name.lower()}" for name in FORMATS} | {".jpg", ".tif", ".tiff", ".bmp"}
FOLDER_BLOCK = 512  # pictures a file of the cache
MOST = 10_000  # pictures of which all pairs are looked at


@dataclass(frozen=True, eq=False)
class Features:
    """Features of N pictures as blocks (n, D) float32, on the disk where they are kept."""

    blocks: list[np.ndarray]

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    def some(self, most: int = MOST) -> np.ndarray:
        """The first (at most `most`) rows: by the order of hashes, a draw."""
        rows, left = [], most
        for block in self.blocks:
            rows.append(np.asarray(block[:left]))
            left -= len(rows[-1])
        return np.concatenate(rows)

    @cached_property
    def statistics(self) -> FeatureStatistics:
        return FeatureStatistics.merged(map(FeatureStatistics.part, self.blocks))


@dataclass(frozen=True, eq=False)
class PictureFolder:
    """The pictures below a folder, in the order of their hashes."""

    path: Path
    files: list[tuple[str, Path]]  # sha256 and file
    broken: dict[Path, str] = field(default_factory=dict)  # sentences about files that can't be read, as they are met

    @classmethod
    def read(cls, path: Path) -> "PictureFolder":
        """Refused where there is no folder, or no picture in it."""
        if not path.is_dir():
            raise Refused("eval.no_folder", path=str(path))
        there = [one for one in path.rglob("*") if one.suffix.lower() in SUFFIXES and one.is_file()]
        if not there:
            raise Refused("eval.empty_folder", path=str(path), formats=FORMATS)
        return cls(path, sorted((hashlib.sha256(one.read_bytes()).hexdigest(), one) for one in there))

    @property
    def digest(self) -> str:
        """Names the pictures, and not their names."""
        return hashlib.sha256("".join(sha256 for sha256, _ in self.files).encode()).hexdigest()

    def features(
        self, extractor: Extractor, cache: Path | None, progress: "Track" = lambda steps, _: iter(steps)
    ) -> Features:
        """Of all pictures that can be read; Refused for fewer than two, and where features are not finite."""
        blocks = [self.files[start : start + FOLDER_BLOCK] for start in range(0, len(self.files), FOLDER_BLOCK)]
        title = f"{extractor.name}, {self.path.name}"
        blocks_read = [self._readable(block, self._block(block, extractor, cache)) for block in progress(blocks, title)]
        features = Features([block for block in blocks_read if len(block)])
        if len(features) < 2:
            raise Refused("eval.one_picture", path=str(self.path), count=len(features), broken=len(self.broken))
        return features

    def _block(self, files: list[tuple[str, Path]], extractor: Extractor, cache: Path | None) -> np.ndarray:
        key = hashlib.sha256("\n".join([extractor.identity, *(sha256 for sha256, _ in files)]).encode()).hexdigest()
        return stored(cache and cache / "folders" / f"{key[:32]}.npy", lambda: _extracted(files, extractor))

    def _readable(self, files: list[tuple[str, Path]], rows: np.ndarray) -> np.ndarray:
        """The rows without those of files that can't be read."""
        finite = np.isfinite(rows).all(1)
        for number in np.flatnonzero(~finite):
            try:
                read_picture(files[number][1])
            except Refused as problem:
                self.broken[files[number][1]] = str(problem)
            else:
                raise Refused("eval.not_finite", path=str(files[number][1]))
        return rows if finite.all() else rows[finite]


Track = Callable[[list, str], Iterator]


def _extracted(files: list[tuple[str, Path]], extractor: Extractor) -> np.ndarray:
    """(n, D) float32; a row of NaN for a file that can't be read."""
    rows = np.full((len(files), extractor.size), np.nan, np.float32)
    for start in range(0, len(files), BATCH):
        read: dict[int, Image.Image] = {}
        for number, (_, path) in enumerate(files[start : start + BATCH], start):
            try:
                read[number] = read_picture(path)
            except Refused:
                continue
        if read:
            rows[list(read)] = extractor(list(read.values()))
    return rows


def folder_groups(
    a: Path, b: Path, extractors: Sequence[Extractor], cache: Path | None = None,
    progress: Track = lambda steps, _: iter(steps),
) -> tuple[dict[str, list[Row]], dict[str, Any]]:  # fmt: skip
    """Rows of the pictures in `a` against those in `b`, a section an extractor and one about copies; and what was
    read. Refused for what can't be measured."""
    folders = [PictureFolder.read(path) for path in (a, b)]

    def read(extractor: Extractor) -> tuple[Features, Features]:
        generated, real = (folder.features(extractor, cache, progress) for folder in folders)
        return generated, real

    groups = {one.name: list(feature_rows(*read(one), one)) for one in extractors}
    groups["copies"] = list(copy_rows(*read(PRINTS)))
    facts = {
        name: {
            "path": str(folder.path), "files": len(folder.files), "sha256": folder.digest,
            "broken": list(folder.broken.values()),
        }
        for name, folder in zip("AB", folders, strict=True)
    }  # fmt: skip
    return groups, facts


def feature_rows(generated: Features, real: Features, extractor: Extractor) -> Iterator[Row]:
    """FD, KID, precision, recall, density, coverage and Vendi of one extractor's features."""
    name, n, m = extractor.measure, len(generated), len(real)
    some, others = generated.some(), real.some()
    yield distance_row(generated, real, extractor)
    mean, error = kernel_distance(some, others)[0], fold_error(some, others)
    yield Row(
        f"{name('KID')} x 1000", 1000 * mean, min(n, m), lower_is_better=True, against=floor_of(others),
        interval=(1000 * (mean - error), 1000 * (mean + error)) if error else None,
        note="50 subsets of 500 at most", seeds="subsets 0",
    )  # fmt: skip
    if min(len(some), len(others)) > NEIGHBOURS:
        yield from coverage_rows(coverage(some, others), name)
    count = min(len(some), len(others))
    yield Row(
        name("Vendi"), vendi([some[:count]]), count, against=(("B", vendi([others[:count]])),),
        note="pictures that differ, in effect, of as many on both sides",
    )  # fmt: skip


def distance_row(generated: Features, real: Features, extractor: Extractor) -> Row:
    """The Frechet distance, beside what two draws from B's Gaussian would give."""
    a, b = generated.statistics, real.statistics
    n, least = min(a.n, b.n), len(a.mean) + 1
    notes = [f"no judge of the studio's own pictures: {extractor.related}"] if extractor.related else []
    if n < least:
        notes.insert(0, f"UNUSABLE: {n} pictures, {least} are the least for {least - 1} features, 10 times that better")
    return Row(
        extractor.measure("FD"), frechet_distance(a, b), n,
        against=(("one Gaussian twice", expected_floor(b, a.n, b.n)),) if n >= least else (),
        lower_is_better=True, note="; ".join(notes),
    )  # fmt: skip


def floor_of(real: np.ndarray) -> tuple[tuple[str, float], ...]:
    """KID x 1000 of B's two halves."""
    half = len(real) // 2
    return (("B's halves", 1000 * kernel_distance(real[:half], real[half:])[0]),) if half > 1 else ()


def coverage_rows(covered: Coverage, name: Any) -> Iterator[Row]:
    note = f"balls to the {NEIGHBOURS}th neighbour, {MOST} pictures at most"
    yield share_row(name("precision"), covered.precision, note=note)
    yield share_row(name("recall"), covered.recall)
    yield mean_row(name("density"), covered.density)
    yield share_row(name("coverage"), covered.coverage)


def copy_rows(generated: Features, real: Features) -> Iterator[Row]:
    """Pictures of A that are, or look like, one of B, wherever it stands, beside how often B's pictures are so near to
    each other."""
    prints, real_prints = generated.some(), real.some()
    away, among = distances(prints, real_prints), distances(real_prints, real_prints, itself=True)
    low, middle, high = np.percentile(away, [1, 50, 99])
    for limit in (NEAR, FAR):
        yield share_row(
            f"copies, within {limit}", away < limit, lower_is_better=True,
            against=(("B among itself", float((among < limit).mean())),),
            note=f"distances to the nearest of B {low:.3f}, {middle:.3f}, {high:.3f} (hundredth, median, 99th)",
        )  # fmt: skip


# --- The command ------------------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """`score folder A B`, `score captions PRED REF`, `score retrieval A B`."""
    parser = argparse.ArgumentParser(prog="python -m eval score", description="Measure files of any source.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    folder = kinds.add_parser("folder", help="the pictures in A against those in B")
    captions = kinds.add_parser("captions", help="captions against references")
    retrieval = kinds.add_parser("retrieval", help="which of B is nearest to each of A, and the other way round")
    for command, names in ((folder, "AB"), (captions, ("PRED", "REF")), (retrieval, "AB")):
        for name, metavar in zip(("first", "second"), names, strict=True):
            command.add_argument(name, type=Path, metavar=metavar)
        add_outputs(command)
    for command in (folder, retrieval):
        add_extractors(command)
    return parser


def add_extractors(parser: argparse.ArgumentParser) -> None:
    known = "; ".join(
        f"{name}{':' + row['takes'] if 'takes' in row else ''}: {row['about']}" for name, row in ROWS.items()
    )
    parser.add_argument("--extractor", action="append", metavar="NAME", help=f"also several times. {known}")
    parser.add_argument("--inception-weights", type=Path, metavar="FILE", help="of FID; another file is refused")
    parser.add_argument("--download", action="store_true", help="fetch weights; without it no connection is opened")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="the studio's weights, instead of the shipped ones")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where features are kept")


def extractors_of(arguments: argparse.Namespace, usual: str) -> list[Extractor]:
    """The named extractors, or the usual one; Inception also where its weights are given."""
    names = arguments.extractor or [usual]
    if arguments.inception_weights and "Inception" not in names:
        names = [*names, "Inception"]
    source = Source(arguments.weights, arguments.inception_weights, arguments.download)
    return [extractor(name, source) for name in names]


def cache_of(arguments: argparse.Namespace) -> Path:
    return arguments.cache or data_folder() / "eval"


def run(arguments: argparse.Namespace) -> tuple[dict[str, list[Row]], dict[str, Any]]:
    """Rows by group, and facts about the files that were read."""
    first, second = arguments.first, arguments.second
    if arguments.kind == "folder":
        extractors = extractors_of(arguments, "EffLite0")
        return folder_groups(first, second, extractors, cache_of(arguments), _progress)
    if arguments.kind == "captions":
        rows = list(caption_rows(*captions_of(first, second)))
    else:
        stored = {first.suffix, second.suffix} <= {".npy", ".npz"}
        extractor = None if stored else extractors_of(arguments, "space")[0]
        rows = list(retrieval_rows(vectors_of(first, extractor), vectors_of(second, extractor)))
    return {arguments.kind: rows}, {"A": {"path": str(first)}, "B": {"path": str(second)}}


@refusing
def main(words: list[str]) -> int:
    """Entry point: 0 done, 2 refused; files that can't be read are named."""
    arguments = parser().parse_args(words)
    with network(getattr(arguments, "download", False)):
        groups, read = run(arguments)
    publish(f"score {arguments.kind}", groups, arguments, read=read)
    for problem in (problem for folder in read.values() for problem in folder.get("broken", ())):
        print(problem, file=sys.stderr)
    return 0


def _progress(steps: list, title: str) -> Iterator:
    out = Console(stderr=True)
    yield from track(steps, title, console=out, transient=True, disable=not out.is_terminal)
