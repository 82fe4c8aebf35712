"""How long a start takes: `python benchmarks/start.py`.

First one picture by `studio generate` in a new process: its processor time over that of `import torch` in another new
process, the median of both taken in turns, and how many modules of this project are imported for it.
"""

import resource
import statistics
import subprocess
import sys
import tempfile

from timing import ROOT, parser, write  # the file beside this one

RATIO, MODULES = "processor time of a picture over import torch", "own modules imported for a picture"
GOALS = {RATIO: 3.5, MODULES: 80}
PICTURE = """
import runpy, sys
sys.argv = ["studio", "generate", "a red apple", "--seed", "1", *sys.argv[1:]]
try:
    runpy.run_module("studio", run_name="__main__")
except SystemExit as end:
    assert not end.code, end
print(sum(name.partition(".")[0] in ("studio", "models") for name in sys.modules))
"""


def processor_seconds(*arguments: str) -> tuple[float, str]:
    """Processor time of Python with these arguments, all its threads and children, and the last line that it prints."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, output.strip().rpartition("\n")[2]


def picture_start(model: str, repeats: int) -> dict[str, float]:
    """Medians after one turn that is not counted: it writes compiled modules and fills the disk's cache."""
    imports, pictures, modules = [], [], 0
    for _ in range(repeats + 1):
        imports.append(processor_seconds("-c", "import torch")[0])
        with tempfile.TemporaryDirectory() as folder:
            options = ("--model", model, "--out", folder, "--home", f"{folder}/home")
            seconds, count = processor_seconds("-c", PICTURE, *options)
        pictures.append(seconds)
        modules = int(count)
    base, taken = statistics.median(imports[1:]), statistics.median(pictures[1:])
    return {"import torch, s": base, "a picture, s": taken, RATIO: taken / base, MODULES: modules}


def main() -> None:
    options = parser(__doc__, model="embedded", repeats=3).parse_args()
    figures = picture_start(options.model, options.repeats)
    goals = {name: f"   at most {goal:g}" for name, goal in GOALS.items()}
    lines = (f"{name:48} {value:8.2f}{goals.get(name, '')}" for name, value in figures.items())
    write({"model": options.model, **figures}, lines, options)


if __name__ == "__main__":
    main()
