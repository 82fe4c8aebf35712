"""What the studio adds to a bare call of a diffusers pipeline: `python benchmarks/pipelines.py FOLDER`.

Medians of a picture from both in turns, without previews and with them, and of capabilities and digest in this process.
"""

from functools import partial

import torch
from timing import medians, parser, show, write_json  # the file beside this one

from studio.backends.base import run
from studio.backends.diffusers import Diffusers
from studio.planner import plan
from studio.requests import make_request


def main() -> None:
    options = parser(__doc__, steps=20, size="", repeats=5)
    options.add_argument("folder")
    asked = options.parse_args()
    backend = Diffusers(asked.folder)
    backend.load()
    pipeline = backend._pipeline("", backend.capabilities().schedulers[0])
    request = make_request(
        prompt="a cat", seed=1, steps=asked.steps, model=f"diffusers:{asked.folder}", size=asked.size or None
    )
    (job,) = plan(request, backend)
    width, _, height = str(job.request.size or backend.capabilities().size).partition("x")
    settings = {"num_inference_steps": asked.steps, "guidance_scale": job.request.guidance, "width": int(width)}
    settings |= {"height": int(height or width)}

    def bare() -> None:
        pipeline("a cat", **settings, generator=torch.Generator().manual_seed(1))

    def ours(previews: bool) -> None:
        list(run(backend, job.request, previews))

    work = {"bare call": bare, "the studio": partial(ours, False), "with previews": partial(ours, True)}
    work |= {"capabilities": backend.capabilities, "digest": backend.digest}
    seconds = medians(work, asked.repeats)
    write_json(seconds) if asked.json else show(seconds)


if __name__ == "__main__":
    main()
