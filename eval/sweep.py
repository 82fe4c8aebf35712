"""Sampling settings against each other, on split `val`: `python -m eval sweep --guidance 2,3,4 --steps 12,16`.

Settings are chosen here and measured by the table, which reads other pictures.
"""

import argparse
import itertools
import statistics
import timeit
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from eval import sets
from eval.charts import SECONDS
from eval.context import SEED, Context
from eval.distribution import KERNEL_NAME
from eval.metrics.image import judge
from eval.rows import Row, wilson
from eval.statistics import kernel_distance
from models.pipelines.image import BATCH
from models.sampling.hooks import HOOKS
from models.sampling.loop import Sampling
from models.sampling.schedulers import SCHEDULERS

OWN = Sampling()  # what is not tried stays as it ships
TIMED = 3  # single pictures, of which the median is said
COUNT = 128  # cells that each setting draws, unless it is said


def _span(text: str) -> tuple[float, float]:
    low, high = map(float, text.split("-"))
    return low, high


# Settings that can be tried: how one value is read, an example of a list, help.
TRIED: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "scheduler": (str, "euler,heun", ", ".join(SCHEDULERS)),
    "steps": (int, "12,16", ""),
    "guidance": (float, "2,3,4.5", ""),
    "interval": (_span, "0-1,0.1-0.9", "noise levels with guidance"),
    "without": (str, "none,symmetry", f"hooks to switch off, one at a time: none, {', '.join(HOOKS)}"),
    "temperature": (float, "0.65,1", "1 is all noise"),
    "cooling": (float, "0,1", "0 keeps the temperature"),
}


def add_arguments(made: argparse.ArgumentParser) -> None:
    """A list for each setting, tried each against each."""
    group = made.add_argument_group("sweep", "settings to try, each against each, on split val")
    for name, (kind, example, text) in TRIED.items():
        own = (getattr(OWN, name, "none"),)
        group.add_argument(f"--{name}", type=_list(kind, example), default=own, metavar="LIST", help=text or example)
    group.add_argument("--count", type=int, default=COUNT, metavar="N", help="cells that are asked for")
    group.add_argument("--times", type=int, default=1, metavar="N", help="pictures of each cell, from other noise")


def _list(kind: Callable[[str], Any], like: str) -> Callable[[str], tuple[Any, ...]]:
    def read(text: str) -> tuple[Any, ...]:
        try:
            return tuple(kind(part.strip()) for part in text.split(","))
        except (ValueError, KeyError) as error:
            raise argparse.ArgumentTypeError(f"{text!r} is no list like {like}") from error

    return read


def samplings(arguments: argparse.Namespace) -> list[Sampling]:
    """All settings asked for; ValueError names one that can't be."""
    unknown = [name for name in arguments.scheduler if name not in (None, *SCHEDULERS)]
    if unknown:
        raise ValueError(f"unknown scheduler {unknown[0]!r}; there are {', '.join(SCHEDULERS)}")
    if strange := [name for name in arguments.without if name not in ("none", *HOOKS)]:
        raise ValueError(f"unknown hook {strange[0]!r}; there are none, {', '.join(HOOKS)}")
    if arguments.count < 2:
        raise ValueError(f"--count {arguments.count}; a distance needs two pictures at least")
    if arguments.times < 1:
        raise ValueError(f"--times {arguments.times}; each cell is drawn once at least")
    every = itertools.product(*(getattr(arguments, name) for name in TRIED))
    settings = [dict(zip(TRIED, values, strict=True)) for values in every]
    return [Sampling(batch=BATCH, hooks=OWN.hooks - {one.pop("without")}, **one) for one in settings]


def sweep(context: Context, tried: Sequence[Sampling], count: int, times: int = 1) -> Iterator[Row]:
    """Each setting on the same `count` cells and seeds, `times` of each: the share whose concept is found, beside the
    style of the nearest drawing and of the ten nearest (the nearest alone is one bit a picture), KID x 1000 and seconds
    a single picture. KID and not FD, whose covariance a hundred pictures do not fill."""
    cells = sets.chosen(context.world, count)
    asked = cells * times
    prompts = [sets.prompt(picture) for picture in asked]
    trained = context.features_of(sets.partners(context.world, asked, "0"))
    for name, sampling in zip(names(tried), tried, strict=True):
        made = context.generate(prompts, sampling=sampling)
        features = context.features(made)
        found, kernel = judge(context, asked, made, features), kernel_distance(features, trained, seed=SEED)[0]
        yield Row(
            name, float(found.concept.mean()), len(asked),
            interval=wilson(float(found.concept.sum()) / times, len(cells)),
            against=(
                ("style", float(found.style.mean())), ("style of the ten nearest", float(found.styles.mean())),
                (KERNEL_NAME, 1000 * kernel), (SECONDS, _seconds(context, prompts[0], sampling)),
            ),
        )  # fmt: skip


def _seconds(context: Context, prompt: str, sampling: Sampling) -> float:
    one = replace(sampling, batch=1)
    taken = timeit.repeat(lambda: context.generator.generate([prompt], [SEED], sampling=one), repeat=TIMED, number=1)
    return statistics.median(taken)


def names(tried: Sequence[Sampling]) -> list[str]:
    """What each setting is called: what differs between them, or everything where nothing does."""
    every = [{name: _said(one, name) for name in TRIED} for one in tried]
    varied = [name for name in TRIED if len({own[name] for own in every}) > 1] or list(TRIED)
    return [", ".join(f"{name} {own[name]}" for name in varied) for own in every]


def _said(sampling: Sampling, name: str) -> str:
    if name == "without":
        return ", ".join(sorted(OWN.hooks - sampling.hooks)) or "none"
    value = getattr(sampling, name)
    if isinstance(value, tuple):
        return "-".join(f"{part:g}" for part in value)
    return "default" if value is None else str(value) if isinstance(value, str) else f"{value:g}"
