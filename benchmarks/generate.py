"""Seconds for a picture: `python benchmarks/generate.py`.

One picture and 64 pictures of 128 px, everything loaded, the reading of the prompt and the decoding included: 16 steps
with guidance, and where it ships the fast variant's four steps beside them; on this processor, and in a second process
that may use no more than AVX2, in fp32, as on an older laptop.
Speed does not depend on what the weights are: without shipped ones, untrained ones of the same size are timed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import timing  # the file beside this one
import torch

from models.autoencoder import Autoencoder
from models.data.colours import COLOURS
from models.dit import DiT
from models.hardware import native_dtype
from models.language import LanguageConfig, LanguageModel
from models.pipelines.image import StickerPipeline
from models.presets import preset
from models.sampling.loop import FAST_SAMPLING, Sampling
from models.sampling.schedulers import DEFAULT_SCHEDULER, build_scheduler
from models.space import SemanticSpace
from models.tokenizer import train_tokenizer
from models.vision import VisionEncoder
from models.weights import WeightsError

# One thing, flat and symmetric: what names two is drawn twice. Many, for what was read once is remembered.
PROMPTS = tuple(f"a {colour} {fruit}, twemoji style" for fruit in ("apple", "pear", "tomato") for colour in COLOURS)
GOALS = {1: 0.6, 64: 15.0}  # seconds on two cores
FAST_GOALS = {1: 0.15}
# oneDNN's convolutions and products, ATen's own kernels and MKL's products each read their own name.
OLD_LAPTOP = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


def untrained(folder: Path, size: str) -> StickerPipeline:
    """A pipeline of one preset with random weights."""
    dtype = native_dtype()
    tokenizer = train_tokenizer(PROMPTS, 512, folder)
    dit = DiT(**{**preset("dit", size), "context": preset("language", size)["hidden_size"]})
    autoencoder = Autoencoder(**preset("autoencoder", size))
    for network in (dit, autoencoder):
        torch.nn.Module.to(network, dtype)  # diffusers' own `to` warns of a list of fp32 modules that is empty
    for parameter in dit.parameters():  # the zeros that training starts from would leave the attention nothing to do
        torch.nn.init.normal_(parameter, std=0.02)
    return StickerPipeline(
        tokenizer,
        LanguageModel(LanguageConfig(**preset("language", size))).eval(),
        VisionEncoder(**preset("vision", size)).eval(),
        SemanticSpace(**preset("space", size)).eval(),
        autoencoder.eval(),
        dit.eval(),
        build_scheduler(DEFAULT_SCHEDULER),
    )


def seconds(pipeline: StickerPipeline, count: int, repeats: int, sampling: Sampling) -> float:
    """Median over `repeats` calls that draw `count` pictures, after one that is not counted."""
    taken = []
    for turn in range(repeats + 1):
        start = time.perf_counter()
        for _ in pipeline.steps(PROMPTS[turn % len(PROMPTS)], range(turn * count, (turn + 1) * count), sampling):
            pass
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """The row of this process."""
    torch.set_num_threads(arguments.threads)
    try:
        pipeline, weights = StickerPipeline.assemble(arguments.weights), "shipped"
    except WeightsError:
        with tempfile.TemporaryDirectory() as folder:
            pipeline, weights = untrained(Path(folder), arguments.preset), f"untrained {arguments.preset}"
    plans = {"seconds": Sampling()} | ({"fast": FAST_SAMPLING} if pipeline.fast is not None else {})
    taken = {
        name: {count: seconds(pipeline, count, repeats, plan) for count, repeats in ((1, 5), (64, arguments.repeats))}
        for name, plan in plans.items()
    }
    return {
        "isa": torch.backends.cpu.get_cpu_capability(),
        "onednn": os.environ.get("ONEDNN_MAX_CPU_ISA", "all"),
        "dtype": str(native_dtype()),
        "threads": torch.get_num_threads(),
        "weights": weights,
        **taken,
    }


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = timing.parser("Seconds for a picture.", preset="sticker", threads=2, repeats=1)
    made.add_argument("--weights", type=Path, metavar="DIR")
    made.add_argument("--one", action="store_true", help="this processor only, no second process")
    return made


def main() -> None:
    """Print a row for this processor, and one for an older one."""
    arguments = parser().parse_args()
    rows = [measured(arguments)]
    if not arguments.one:
        command = [sys.executable, __file__, *sys.argv[1:], "--one", "--json"]
        answer = subprocess.run(command, env={**os.environ, **OLD_LAPTOP}, check=True, capture_output=True, text=True)
        rows += json.loads(answer.stdout)
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        facts = (
            f"{row['isa']}, oneDNN {row['onednn']}, {row['dtype']}, {row['threads']} threads, {row['weights']} weights"
        )
        print(f"{facts}\n  pictures {_times(row['seconds'])}")
        if "fast" in row:
            print(f"  fast     {_times(row['fast'])}")
    print(f"goals on two cores: {_times(GOALS)}; fast {_times(FAST_GOALS)}")


def _times(taken: dict[Any, float]) -> str:
    return ", ".join(f"{count}: {time:.2f} s" for count, time in taken.items())


if __name__ == "__main__":
    main()
