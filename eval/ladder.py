"""`python -m eval ladder FOLDER`: pictures are made worse step by step, and every measure must see it.

Half of the folder is made worse and measured against the other half. A figure is the share of all pairs of steps, the
untouched pictures among them, that a measure puts in the right order.
"""

import argparse
import io
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from eval.charts import curve
from eval.extractors import Extractor, network
from eval.folders import Features, PictureFolder
from eval.report import add_outputs, publish, refusing
from eval.rows import Row
from eval.score import add_extractors, cache_of, extractors_of, feature_rows
from models.data.pixels import read_picture
from models.messages import Refused

TABLE = tomllib.loads(Path(__file__).with_name("ladders.toml").read_text(encoding="utf-8"))
LEAST = 24  # pictures
ROUNDING = 1e-9  # a difference that is none

Picture = Image.Image  # RGBA


def _blur(picture: Picture, radius: float, _: np.random.Generator) -> Picture:
    premultiplied = picture.convert("RGBa")  # or the colour of what can't be seen would bleed in
    return premultiplied.filter(ImageFilter.GaussianBlur(radius * max(picture.size) / 128)).convert("RGBA")


def _noise(picture: Picture, deviation: float, rng: np.random.Generator) -> Picture:
    pixels = np.asarray(picture).astype(np.float32)
    pixels[..., :3] += rng.normal(0, deviation, pixels[..., :3].shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _jpeg(picture: Picture, quality: float, _: np.random.Generator) -> Picture:
    file = io.BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=int(quality))
    with Image.open(file) as coded:
        coded.putalpha(picture.getchannel("A"))
        return coded


def _colour(picture: Picture, share: float, _: np.random.Generator) -> Picture:
    return ImageEnhance.Color(picture).enhance(1 - share)


def _lost_alpha(picture: Picture, share: float, rng: np.random.Generator) -> Picture:
    if rng.random() >= share:
        return picture
    return Image.alpha_composite(Image.new("RGBA", picture.size, (0, 0, 0, 255)), picture)


WORSE: dict[str, Callable[[Picture, float, np.random.Generator], Picture]] = {
    "blur": _blur, "noise": _noise, "jpeg": _jpeg, "colour": _colour, "lost alpha": _lost_alpha,
}  # fmt: skip


def ladder_rows(folder: Path, extractors: Sequence[Extractor], cache: Path | None) -> dict[str, list[Row]]:
    """Rows by ladder; Refused for a folder of few pictures."""
    every = PictureFolder.read(folder)
    if len(every.files) < LEAST:
        raise Refused("eval.few_pictures", path=str(folder), count=len(every.files), least=LEAST)
    half = len(every.files) // 2
    real = PictureFolder(folder, every.files[half:])
    own = PictureFolder(folder, every.files[:half])
    against = [real.features(one, cache) for one in extractors]
    clean = [own.features(one, cache) for one in extractors]
    found: dict[str, list[Row]] = {}
    for name, steps in TABLE["steps"].items():
        figures = [_figures(clean, against, extractors)]
        for step in steps:
            with tempfile.TemporaryDirectory() as made:
                _write(own, name, step, Path(made), clean[0])
                features = [PictureFolder.read(Path(made)).features(one, cache) for one in extractors]
            figures.append(_figures(features, against, extractors))
        found[name] = list(_rows(name, ["clean", *map(str, steps)], figures, half))
    return found


def _write(own: PictureFolder, name: str, step: float, out: Path, features: Features) -> None:
    """The pictures of a step, as PNG files."""
    files = [path for _, path in own.files if path not in own.broken]
    if name == "dropped modes":
        rows = features.some(len(files))
        direction = np.linalg.svd(rows - rows.mean(0), full_matrices=False)[2][0]
        kept = np.argsort(rows @ direction)[: max(2, round(step * len(files)))]
        files = [files[kept[number % len(kept)]] for number in range(len(files))]
    for number, path in enumerate(files):
        picture = read_picture(path).convert("RGBA")
        rng = np.random.default_rng(number)  # of a picture, so that each step adds to the one before
        (WORSE[name](picture, step, rng) if name in WORSE else picture).save(out / f"{number}.png")


def _figures(
    made: Sequence[Features], real: Sequence[Features], extractors: Sequence[Extractor]
) -> dict[str, float]:  # fmt: skip
    return {
        row.name: row.value
        for a, b, one in zip(made, real, extractors, strict=True)
        for row in feature_rows(a, b, one)
    }  # fmt: skip


def _rows(ladder: str, steps: list[str], figures: list[dict[str, float]], n: int) -> Iterator[Row]:
    ways = TABLE.get(ladder, TABLE["way"])
    for measure in figures[0]:
        kind = "FD" if measure == "FID" else measure.partition("-")[0].partition(" ")[0]
        if way := ways.get(kind):
            values = [one[measure] for one in figures]
            right = [way * (worse - better) > ROUNDING for better, worse in combinations(values, 2)]
            yield Row(
                f"{measure} goes {'up' if way > 0 else 'down'}", float(np.mean(right)), n, goal=1.0,
                against=tuple(zip(steps, values, strict=True)),
            )  # fmt: skip


@refusing
def main(words: list[str]) -> int:
    """Entry point: 0 done, 1 where a measure does not see something, 2 refused."""
    made = argparse.ArgumentParser(prog="python -m eval ladder", description="Does every measure see worse pictures?")
    made.add_argument("folder", type=Path, metavar="FOLDER", help="of pictures: half is made worse")
    add_extractors(made)
    add_outputs(made)
    arguments = made.parse_args(words)
    with network(arguments.download):
        found = ladder_rows(arguments.folder, extractors_of(arguments, "EffLite0"), cache_of(arguments))
    curves = {
        f"Ladder: {name}": [
            curve(row.name, [(step, value) for step, (_, value) in enumerate(row.against)]) for row in rows
        ]
        for name, rows in found.items()
    }
    document = publish(f"ladder {arguments.folder}", found, arguments, curves=curves)
    return 0 if all(row["met"] for row in document["rows"]) else 1
