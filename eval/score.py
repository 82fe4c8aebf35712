"""`python -m eval score`: anyone's pictures, captions and vectors, by the measures of the table."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from rich.console import Console
from rich.progress import track

from eval.charts import strips
from eval.copies import DISGUISES, FAR, NEAR, PRINTS, distances
from eval.coverage import Coverage, K, coverage, memorisation, nearest_cosine, vendi
from eval.extractors import ROWS, Extractor, Source, extractor, network
from eval.folders import MOST, Features, PictureFolder, Track
from eval.pairs import caption_rows, captions_of, needs_extractor, retrieval_rows, vectors_of
from eval.report import add_outputs, publish, refusing
from eval.rows import Row, mean_row, share_row
from eval.statistics import (
    FeatureStatistics,
    expected_floor,
    fold_error,
    frechet_distance,
    inception_score,
    kernel_distance,
)
from models.data.pixels import read_picture
from models.data.world import data_folder
from models.messages import Refused

GROUPS = 10  # of a jackknife
TRIED = 100  # pictures that are disguised


def folder_groups(
    a: Path, b: Path, extractors: Sequence[Extractor], cache: Path | None = None, strict: bool = False,
    progress: Track = lambda steps, _: iter(steps),
) -> tuple[dict[str, list[Row]], dict[str, Any]]:  # fmt: skip
    """Rows of the pictures in `a` against those in `b`, a section an extractor and one about copies; and what was
    read. Refused for what can't be measured, and with `strict` for any file that can't be read."""
    folders = [PictureFolder.read(path) for path in (a, b)]

    def read(extractor: Extractor) -> tuple[Features, Features]:
        made, real = (folder.features(extractor, cache, progress) for folder in folders)
        for folder in folders:
            if strict and folder.broken:
                raise Refused("eval.broken", count=len(folder.broken), problem=next(iter(folder.broken.values())))
        return made, real

    groups = {one.name: list(feature_rows(*read(one), one)) for one in extractors}
    groups["copies"] = list(copy_rows(*read(PRINTS), *folders))
    said = {
        name: {
            "path": str(folder.path), "files": len(folder.files), "sha256": folder.digest,
            "broken": list(folder.broken.values()),
        }
        for name, folder in zip("AB", folders, strict=True)
    }  # fmt: skip
    return groups, said


def feature_rows(made: Features, real: Features, extractor: Extractor) -> Iterator[Row]:
    """FD, KID, precision, recall, density, coverage, MiFID and Vendi of one extractor's features."""
    name, n, m = extractor.measure, len(made), len(real)
    some, others = made.some(), real.some()
    yield distance_row(made, real, extractor)
    mean, error = kernel_distance(some, others)[0], fold_error(some, others)
    yield Row(
        f"{name('KID')} x 1000", 1000 * mean, min(n, m), lower_is_better=True, against=floor_of(others),
        interval=(1000 * (mean - error), 1000 * (mean + error)) if error else None,
        note="50 subsets of 500 at most", seeds="subsets 0",
    )  # fmt: skip
    if min(len(some), len(others)) > K:
        yield from coverage_rows(coverage(some, others), name)
    near = nearest_cosine(some, others)
    distance = frechet_distance(made.statistics, real.statistics)
    low, middle = np.percentile(near, [1, 50])
    yield Row(
        name("MiFID"), distance / memorisation(near), n, lower_is_better=True,
        note=f"FD over the mean of 1 - abs(cosine) to the nearest of B, {near.mean():.3f}, where that is below 0.1; its"
        f" hundredth {low:.3f}, its median {middle:.3f}",
    )  # fmt: skip
    if extractor.classes:
        (mean, spread), (beside, _) = (inception_score(extractor.classes(torch.from_numpy(x))) for x in (some, others))
        half = 1.96 * spread / 10**0.5
        yield Row(
            name("Inception Score"), mean, len(some), interval=(mean - half, mean + half), against=(("B", beside),),
            note="ten splits; of photographs of ImageNet's classes it is meant, and sees no stickers", seeds="order 0",
        )  # fmt: skip
    count = min(len(some), len(others))
    yield Row(
        name("Vendi"), vendi([some[:count]]), count, against=(("B", vendi([others[:count]])),),
        note="pictures that differ, in effect, of as many on both sides",
    )  # fmt: skip


def distance_row(made: Features, real: Features, extractor: Extractor) -> Row:
    """The Frechet distance with its jackknife interval and what two draws from B's Gaussian would give."""
    a, b = made.statistics, real.statistics
    n, least = min(a.n, b.n), len(a.mean) + 1
    notes = [f"no judge of the studio's own pictures: {extractor.kin}"] if extractor.kin else []
    if n < least:
        notes.insert(0, f"UNUSABLE: {n} pictures, {least} are the least for {least - 1} features, 10 times that better")
    fits = n >= least * GROUPS / (GROUPS - 1)
    return Row(
        extractor.measure("FD"), frechet_distance(a, b), n, interval=jackknife(made, b) if fits else None,
        against=(("one Gaussian twice", expected_floor(b, a.n, b.n)),) if n >= least else (),
        lower_is_better=True, note="; ".join(notes),
    )  # fmt: skip


def jackknife(made: Features, real: FeatureStatistics) -> tuple[float, float]:
    """95 % interval of the distance over which pictures were made, from leaving out each of ten groups of them
    (M. H. Quenouille, 1956): resampling with replacement would add to the distance itself."""
    parts = [
        FeatureStatistics.merged(map(FeatureStatistics.part, made.every(GROUPS, first))) for first in range(GROUPS)
    ]
    whole = frechet_distance(made.statistics, real)
    without = [
        frechet_distance(FeatureStatistics.merged(p for k, p in enumerate(parts) if k != g), real)
        for g in range(GROUPS)
    ]
    half = 1.96 * float(np.sqrt((GROUPS - 1) * np.var(without)))
    return whole - half, whole + half


def floor_of(real: np.ndarray) -> tuple[tuple[str, float], ...]:
    """KID x 1000 of B's two halves."""
    half = len(real) // 2
    return (("B's halves", 1000 * kernel_distance(real[:half], real[half:])[0]),) if half > 1 else ()


def coverage_rows(found: Coverage, name: Any) -> Iterator[Row]:
    note = f"balls to the {K}th neighbour, {MOST} pictures at most"
    yield share_row(name("precision"), found.precision, note=note)
    yield share_row(name("recall"), found.recall)
    yield mean_row(name("density"), found.density)
    yield share_row(name("coverage"), found.coverage)


def copy_rows(made: Features, real: Features, own_folder: PictureFolder, folder: PictureFolder) -> Iterator[Row]:
    """Pictures of A that are, or look like, one of B, wherever it stands, beside how often the measure finds disguised
    pictures of B again and how often B's pictures are so near to each other."""
    prints, own = made.some(), real.some()
    away, among = distances(prints, own), distances(own, own, itself=True)
    readable = [path for _, path in own_folder.files if path not in own_folder.broken]
    shown = strips(away, lambda number: read_picture(readable[number]))
    pictures = [read_picture(path).convert("RGBA") for _, path in folder.files[:TRIED] if path not in folder.broken]
    hits = {name: distances(PRINTS([disguise(one) for one in pictures]), own) for name, disguise in DISGUISES.items()}
    low, middle, high = np.percentile(away, [1, 50, 99])
    for limit in (NEAR, FAR):
        found = tuple((f"found {name}", float((values < limit).mean())) for name, values in hits.items())
        yield share_row(
            f"copies, within {limit}", away < limit, lower_is_better=True,
            against=(("B among itself", float((among < limit).mean())), *found),
            note=f"distances to the nearest of B {low:.3f}, {middle:.3f}, {high:.3f} (hundredth, median, 99th)",
            shown=shown if limit == NEAR else (),
        )  # fmt: skip


# --- The command ------------------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """`score folder A B`, `score captions PRED REF`, `score retrieval A B`."""
    made = argparse.ArgumentParser(prog="python -m eval score", description="Measure anyone's files.")
    kinds = made.add_subparsers(dest="kind", required=True)
    folder = kinds.add_parser("folder", help="the pictures in A against those in B")
    captions = kinds.add_parser("captions", help="captions against references")
    retrieval = kinds.add_parser("retrieval", help="which of B is nearest to each of A, and the other way round")
    for one, names in ((folder, "AB"), (captions, ("PRED", "REF")), (retrieval, "AB")):
        for name, metavar in zip(("first", "second"), names, strict=True):
            one.add_argument(name, type=Path, metavar=metavar)
        add_outputs(one)
    for one in (folder, retrieval):
        add_extractors(one)
    folder.add_argument("--strict", action="store_true", help="refuse where a file can't be read")
    return made


def add_extractors(made: argparse.ArgumentParser) -> None:
    known = "; ".join(
        f"{name}{':' + row['takes'] if 'takes' in row else ''}: {row['about']}" for name, row in ROWS.items()
    )
    made.add_argument("--extractor", action="append", metavar="NAME", help=f"also several times. {known}")
    made.add_argument("--inception-weights", type=Path, metavar="FILE", help="of FID; another file is refused")
    made.add_argument("--any-weights", action="store_true", help="take other Inception weights, too")
    made.add_argument("--download", action="store_true", help="fetch weights; without it no connection is opened")
    made.add_argument("--weights", type=Path, metavar="DIR", help="the studio's weights, instead of the shipped ones")
    made.add_argument("--cache", type=Path, metavar="DIR", help="where features are kept")


def extractors_of(arguments: argparse.Namespace, usual: str) -> list[Extractor]:
    """Those asked for, or the usual one; Inception also where its weights are given."""
    names = arguments.extractor or [usual]
    if arguments.inception_weights and "Inception" not in names:
        names = [*names, "Inception"]
    source = Source(
        arguments.weights, arguments.inception_weights, arguments.any_weights, arguments.download, cache_of(arguments)
    )
    return [extractor(name, source) for name in names]


def cache_of(arguments: argparse.Namespace) -> Path:
    return arguments.cache or data_folder() / "eval"


def run(arguments: argparse.Namespace) -> tuple[dict[str, list[Row]], dict[str, Any]]:
    """What was asked for -> rows by group, and what was read."""
    first, second = arguments.first, arguments.second
    if arguments.kind == "folder":
        found = extractors_of(arguments, "EffLite0")
        return folder_groups(first, second, found, cache_of(arguments), arguments.strict, _progress)
    if arguments.kind == "captions":
        rows = list(caption_rows(*captions_of(first, second)))
    else:
        one = extractors_of(arguments, "space")[0] if needs_extractor(first, second) else None
        rows = list(retrieval_rows(vectors_of(first, one), vectors_of(second, one)))
    return {arguments.kind: rows}, {"A": {"path": str(first)}, "B": {"path": str(second)}}


@refusing
def main(words: list[str]) -> int:
    """Entry point: 0 done, 2 refused; files that can't be read are named."""
    arguments = parser().parse_args(words)
    with network(getattr(arguments, "download", False)):
        groups, read = run(arguments)
    if PartialState().is_main_process:
        publish(f"score {arguments.kind}", groups, arguments, read=read)
        for problem in (problem for folder in read.values() for problem in folder.get("broken", ())):
            print(problem, file=sys.stderr)
    return 0


def _progress(steps: list, title: str) -> Iterator:
    out = Console(stderr=True)
    shown = out.is_terminal and PartialState().is_main_process
    yield from track(steps, title, console=out, transient=True, disable=not shown)
