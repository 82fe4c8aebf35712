"""Folders of pictures, whatever made them, as features: read in a stream, kept by content, over any number of
processes.

Pictures are ordered by the sha256 of their bytes: names, the order of a folder and who reads it change no figure. A
block of them is kept under the hashes of its pictures and of the extractor, so a stopped run goes on where it was.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from accelerate import PartialState
from PIL import Image

from eval.extractors import BATCH, Extractor
from eval.statistics import FeatureStatistics
from models.data.pixels import FORMATS, read_picture
from models.data.stored import stored
from models.messages import Refused

SUFFIXES = {f".{name.lower()}" for name in FORMATS} | {".jpg", ".tif", ".tiff", ".bmp"}
BLOCK = 512  # pictures a kept file
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

    def every(self, step: int, first: int) -> Iterator[np.ndarray]:
        """Blocks of the rows first, first + step, ..."""
        start = 0
        for block in self.blocks:
            if len(rows := block[(first - start) % step :: step]):
                yield rows
            start += len(block)

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
        state = PartialState()
        blocks = [self.files[start : start + BLOCK] for start in range(0, len(self.files), BLOCK)]
        if cache and state.num_processes > 1:  # each makes its share, and reads that of the others
            for block in blocks[state.process_index :: state.num_processes]:
                self._block(block, extractor, cache)
            state.wait_for_everyone()
        title = f"{extractor.name}, {self.path.name}"
        found = [self._readable(block, self._block(block, extractor, cache)) for block in progress(blocks, title)]
        made = Features([block for block in found if len(block)])
        if len(made) < 2:
            raise Refused("eval.one_picture", path=str(self.path), count=len(made), broken=len(self.broken))
        return made

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
