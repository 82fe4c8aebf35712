"""What the studio adds to a bare call of a diffusers pipeline: `python benchmarks/pipelines.py [FOLDER]`.

Medians of ratios of pairs, one right after the other: a picture, without previews and with them; the first step of a
pipeline in memory, and of one that is loaded for it. The goals are 3 % and, for what is loaded, 10 %. Without a folder
a Stable Diffusion with 0.3 of the U-Net's channels is built, whose steps take longer than 50 ms.
"""

import contextlib
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
from memory import save_stable_diffusion  # the files beside this one
from timing import parser, ratio, write

from studio.backends import runtime
from studio.backends.base import run
from studio.backends.diffusers import Diffusers
from studio.events import Progress
from studio.planner import plan
from studio.requests import make_request


class FirstStep(Exception):
    """A bare call ends here."""


def until_first_step(call: Callable[..., Any]) -> None:
    def end(pipeline: Any, step: int, time: Any, values: dict[str, Any]) -> dict[str, Any]:
        raise FirstStep

    with contextlib.suppress(FirstStep):
        call(callback_on_step_end=end)


def loaded(folder: str) -> Any:
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, dtype=runtime.dtype(), use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(runtime.device())


def compared(folder: str, steps: int, size: str, repeats: int) -> dict[str, tuple[float, float, float]]:
    """Seconds of a bare call, of ours, and their ratio, by what is measured."""
    backend, pipeline = Diffusers(folder), loaded(folder)
    (job,) = plan(make_request(prompt="a cat", seed=1, steps=steps, model="diffusers:x", size=size or None), backend)
    width, _, height = str(job.request.size or backend.capabilities().size).partition("x")
    settings = {"num_inference_steps": steps, "guidance_scale": job.request.guidance, "width": int(width)}
    settings |= {"height": int(height or width)}

    def bare(pipeline: Any, **more: Any) -> None:
        pipeline("a cat", **settings, **more, generator=torch.Generator().manual_seed(1))

    def first(backend: Diffusers) -> None:
        events = run(backend, job.request)
        next(event for event in events if isinstance(event, Progress) and event.step)
        events.close()  # type: ignore[attr-defined]

    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "a picture": (partial(bare, pipeline), lambda: list(run(backend, job.request))),
        "a picture with previews": (partial(bare, pipeline), lambda: list(run(backend, job.request, True))),
        "the first step": (lambda: until_first_step(partial(bare, pipeline)), lambda: first(backend)),
        "loaded, and the first step": (
            lambda: until_first_step(partial(bare, loaded(folder))),
            lambda: first(Diffusers(folder)),
        ),
    }
    return {name: ratio(*pair, repeats) for name, pair in pairs.items()}


def main() -> None:
    command_line = parser(__doc__, steps=8, size="256", repeats=7)
    command_line.add_argument("folder", nargs="?", default="")
    options = command_line.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        if not options.folder:
            from tiny_pipelines import byte_tokenizer

            save_stable_diffusion(Path(temporary), 0.3, byte_tokenizer())
        rows = compared(options.folder or temporary, options.steps, options.size, options.repeats)
    lines = (
        f"{name:28s} {bare:8.3f} s bare {ours:8.3f} s ours {100 * (over - 1):+6.1f} %"
        for name, (bare, ours, over) in rows.items()
    )
    write(rows, lines, options)


if __name__ == "__main__":
    main()
