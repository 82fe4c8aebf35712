"""`python -m eval`: measure, print the table, write the JSON."""

import argparse
import pkgutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from eval.metrics import METRICS
from eval.report import add_outputs, console, measure, print_table, record, table_document, write
from eval.rows import SIZES, MissingError
from models.data.world import World, data_folder
from models.messages import Refused, did_you_mean
from models.runtime import silence

if TYPE_CHECKING:
    from eval.context import Context

REFERENCE = "reference"
COMMANDS = {
    "score": "eval.score:main",
    "report": "eval.report:main",
    "bench": "eval.bench:main",
    "rate": "eval.rate:main",
}  # with arguments of their own


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eval", description="Measure the models on held-out pictures.")
    parser.add_argument(
        "measures",
        nargs="*",
        default=["all"],
        metavar="MEASURE",
        help=f"{', '.join(METRICS)}; all (default); or {REFERENCE}, which fits the projection of the Frechet distance;"
        f" {' and '.join(COMMANDS)} --help: for files of other sources",
    )
    size = parser.add_mutually_exclusive_group()
    for name in SIZES:
        size.add_argument(f"--{name}", dest="size", action="store_const", const=name, default="quick")
    add_outputs(parser)
    parser.add_argument("--weights", type=Path, metavar="DIR", help="folder of weights instead of the shipped ones")
    parser.add_argument("--model", metavar="MODEL", help="pictures of any model of `studio models` instead of our own")
    parser.add_argument("--world", type=Path, metavar="DIR", help="folder of the built pictures")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where features and generated pictures are kept")
    parser.add_argument(
        "--open-clip", action="append", default=[], metavar="MODEL",
        help="measured beside our space by open_clip: a folder, NAME:WEIGHTS or hf-hub:REPOSITORY, also several times",
    )  # fmt: skip
    parser.add_argument("--check-controls", action="store_true", help="fail where controls do not rank as they must")
    parser.add_argument("--record", action="store_true", help="keep the figures as those that README and docs show")
    return parser


def names_of(words: list[str]) -> list[str]:
    """Metrics in the table's order; ValueError names the one that was probably meant."""
    for word in words:
        if word not in (*METRICS, "all"):
            hint = did_you_mean(word, METRICS) or f"; there are {', '.join(METRICS)}, all"
            raise ValueError(f"unknown measure {word!r}{hint}")
    return [name for name, metric in METRICS.items() if name in words or ("all" in words and not metric.final)]


def prepare(arguments: argparse.Namespace) -> tuple[list[str], "Context"]:
    """The measures (none for the reference) and the context they run on."""
    words = [*arguments.measures, *["controls"] * arguments.check_controls]
    names = [] if arguments.measures == [REFERENCE] else names_of(words)
    if (arguments.record or any(METRICS[name].final for name in names)) and (arguments.weights or arguments.model):
        for_shipped = ", ".join(["--record", *(name for name, metric in METRICS.items() if metric.final)])
        raise ValueError(f"{for_shipped}: for the weights that ship; ship them first: python -m models.train.ship")
    folder = arguments.world or data_folder()
    world = World.load(folder)
    silence()
    from eval.context import Context
    from eval.generator import Parts, StudioModel
    from models.data.text import wordnet_folder
    from models.runtime import keep_freed_memory

    keep_freed_memory()
    parts = Parts(arguments.weights, arguments.open_clip)
    model = StudioModel(arguments.model) if arguments.model else None
    cache = arguments.cache or folder / "eval"
    size = SIZES[arguments.size]
    return names, Context(world, size, parts, cache, wordnet_folder(folder), generator=model)


def run(names: list[str], context: "Context", arguments: argparse.Namespace) -> int:
    """Measure, print and write; without measures fit the reference statistics on all training pictures, and save them
    where they ship. 0 done, 1 where a measure that was named was missing."""
    from eval.metrics.image import misranked
    from eval.statistics import FeatureStatistics, ReferenceStatistics, reference_path

    if not names:
        statistics = FeatureStatistics.of(context.features_of(context.train))
        reference = ReferenceStatistics.fit(statistics, context.world.digest)
        reference.save(reference_path())
        print(f"{reference_path()}: {reference.pictures} training pictures, sha256 {reference.digest()}")
        return 0
    groups = measure(context, names)
    document = table_document(context, groups, arguments.size)
    print_table(groups, console(arguments))
    write(document, arguments)
    if arguments.record:
        record([document])
    if arguments.check_controls and (wrong := misranked(groups["controls"]["rows"])):
        print("\n".join(wrong), file=sys.stderr)
        return 1
    return 1 if set(arguments.measures) & set(document["missing"]) else 0


def main(words: list[str] | None = None) -> int:
    """Entry point: a refusal is one sentence on standard error and exit code 2, what is missing 1; Ctrl-C is 130."""
    words = sys.argv[1:] if words is None else words
    if words and words[0] in COMMANDS:
        silence()
        code: int = pkgutil.resolve_name(COMMANDS[words[0]])(words[1:])
        return code
    arguments = parser().parse_args(words)
    try:
        names, context = prepare(arguments)
    except (ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    try:
        return run(names, context, arguments)
    except (MissingError, Refused) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
