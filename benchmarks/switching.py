"""What a person waits for where a model changes: `python benchmarks/switching.py`.

Two Stable Diffusions with 0.3 of the U-Net's channels. A worker holds both: seconds from asking for a picture to its
first step, by the model that drew the last one and by the other, in turns. And how long the page and its API take to
answer while a model is loaded and draws its first picture, and afterwards. The goals are no difference, and 0.5 s.
"""

import tempfile
import threading
import time
from itertools import count
from pathlib import Path
from statistics import median

import httpx
from memory import save_stable_diffusion  # the files beside this one
from timing import page, parser, write

from studio.events import Progress
from studio.studio import Studio

seeds = count()


def first_step(studio: Studio, model: Path, last: Path) -> float:
    """Seconds until the first step of a picture, right after one by the model `last`."""
    took = 0.0
    for one in (last, model):
        began, took = time.perf_counter(), 0.0
        asked = {"seed": next(seeds), "steps": 2, "size": 128, "model": f"diffusers:{one}"}
        for event in studio.events(studio.submit(*studio.prepare("image", prompt="a cat", **asked))):
            if isinstance(event, Progress) and event.step and not took:
                took = time.perf_counter() - began
    return took


def switched(one: Path, other: Path, repeats: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as home, Studio(home) as studio:
        first_step(studio, one, other)  # both are in memory
        pairs = [(first_step(studio, one, one), first_step(studio, one, other)) for _ in range(repeats)]
    same, changed = (median(each) for each in zip(*pairs, strict=True))
    return {"the same model": same, "the other model": changed, "ratio": median(b / a for a, b in pairs)}


def answered(model: Path) -> dict[str, float]:
    """Seconds until the page and `/api/v1/health` answer, median and most: while the model is loaded, and after."""
    took: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as home, page(home, f"diffusers:{model}") as url:
        asked = {"prompt": "a cat", "steps": 1, "width": 128, "height": 128}
        drawing = threading.Thread(target=lambda: httpx.post(f"{url}/sdapi/v1/txt2img", json=asked, timeout=600))
        drawing.start()
        httpx.get(url, timeout=60)  # what is computed once
        while drawing.is_alive() or len(took.get(("/", "loaded"), ())) < 50:
            when = "loading" if drawing.is_alive() else "loaded"
            for path in ("/", "/api/v1/health"):
                began = time.perf_counter()
                httpx.get(url + path, timeout=60).raise_for_status()
                took.setdefault((path, when), []).append(time.perf_counter() - began)
            time.sleep(0.02)
    figures = {"median": median, "most": max}
    return {f"{path}, {when}, {name}": of(each) for (path, when), each in took.items() for name, of in figures.items()}


def main() -> None:
    asked = parser(__doc__ or "", share=0.3, repeats=7).parse_args()
    from tiny_pipelines import byte_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        one, other = (Path(folder) / name for name in ("one", "other"))
        for each in (one, other):
            save_stable_diffusion(each, asked.share, byte_tokenizer())
        rows = {**switched(one, other, asked.repeats), **answered(one)}
    write(rows, (f"{name:32s} {value:8.3f}" for name, value in rows.items()), asked)


if __name__ == "__main__":
    main()
