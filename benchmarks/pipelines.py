"""What the studio adds to a bare call of a diffusers pipeline: `python benchmarks/pipelines.py FOLDER`.

Medians of both in turns: a picture, without previews and with them; the first step of a pipeline in memory, and of one
that is loaded for it. The goals are 3 % and, for what is loaded, 10 %.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import diffusers
import torch
from timing import medians, parser, write_json  # the file beside this one

from studio.backends import placing
from studio.backends.base import run
from studio.backends.diffusers import Diffusers
from studio.events import Progress
from studio.planner import plan
from studio.requests import make_request

PAIRS = {
    "a picture": ("bare", "ours"),
    "a picture with previews": ("bare", "ours with previews"),
    "the first step": ("bare first", "ours first"),
    "loaded, and the first step": ("bare loaded", "ours loaded"),
}


class FirstStep(Exception):
    """A bare call ends here."""


def ended(pipeline: Any, step: int, time: Any, values: dict[str, Any]) -> dict[str, Any]:
    raise FirstStep


def until_first_step(call: Callable[..., Any]) -> None:
    try:
        call(callback_on_step_end=ended)
    except FirstStep:
        return


def loaded(folder: str) -> Any:
    made = diffusers.DiffusionPipeline.from_pretrained(folder, dtype=placing.dtype(), use_safetensors=True)
    made.set_progress_bar_config(disable=True)
    return made.to(placing.device())


def main() -> None:
    options = parser(__doc__, steps=20, size="", repeats=5)
    options.add_argument("folder")
    asked = options.parse_args()
    backend, pipeline = Diffusers(asked.folder), loaded(asked.folder)
    size = asked.size or None
    (job,) = plan(make_request(prompt="a cat", seed=1, steps=asked.steps, model="diffusers:x", size=size), backend)
    width, _, height = str(job.request.size or backend.capabilities().size).partition("x")
    settings = {"num_inference_steps": asked.steps, "guidance_scale": job.request.guidance, "width": int(width)}
    settings |= {"height": int(height or width)}

    def bare(one: Any, **more: Any) -> None:
        one("a cat", **settings, **more, generator=torch.Generator().manual_seed(1))

    def first(one: Diffusers) -> None:
        events = run(one, job.request)
        next(event for event in events if isinstance(event, Progress) and event.step)
        events.close()  # type: ignore[attr-defined]

    work = {
        "bare": partial(bare, pipeline),
        "ours": lambda: list(run(backend, job.request)),
        "ours with previews": lambda: list(run(backend, job.request, True)),
        "bare first": lambda: until_first_step(partial(bare, pipeline)),
        "ours first": lambda: first(backend),
        "bare loaded": lambda: until_first_step(partial(bare, loaded(asked.folder))),
        "ours loaded": lambda: first(Diffusers(asked.folder)),
    }
    seconds = medians(work, asked.repeats)
    over = {name: round(100 * (seconds[ours] / seconds[plain] - 1), 2) for name, (plain, ours) in PAIRS.items()}
    if asked.json:
        write_json({"seconds": seconds, "percent": over})
    for name, percent in {} if asked.json else over.items():
        plain, ours = PAIRS[name]
        print(f"  {name:28s} {seconds[plain]:8.3f} s bare {seconds[ours]:8.3f} s ours {percent:+6.1f} %")


if __name__ == "__main__":
    main()
