"""How long a prompt takes to be read, and how much memory the table of words: `python benchmarks/reading.py`.

Medians over the prompts of `assets/prompts/typed.txt`, read anew each time, beside the embedding of one text. The
memory is what the process grows by when the table is opened and all prompts are looked up.
"""

import itertools
import statistics

import psutil
from timing import medians, parser, write  # the file beside this one

from models.assets import prompt_list
from models.prompts.parser import PromptParser
from models.prompts.tokens import tokenise
from models.prompts.words import WordTable
from models.space import Embedder

GOALS = {"a prompt read, ms": 3, "the table in memory, MB": 60}


def main() -> None:
    options = parser(__doc__, repeats=5).parse_args()
    prompts, process = prompt_list("typed"), psutil.Process()
    before = process.memory_info().rss
    table = WordTable.load()
    for prompt in prompts:
        tokenise(prompt, table)
    memory = (process.memory_info().rss - before) / 2**20
    reader = PromptParser.load(Embedder.load())
    turns = {name: itertools.cycle(prompts) for name in ("read", "embed")}
    work = {
        "a prompt read, ms": lambda: reader._parse(next(turns["read"])),
        "a text embedded, ms": lambda: reader.embedder.text([next(turns["embed"])]),
    }
    seconds = [medians(work, options.repeats) for _ in prompts]
    figures = {name: 1000 * statistics.median(one[name] for one in seconds) for name in work}
    figures["the table in memory, MB"] = memory
    goals = {name: f"   at most {goal:g}" for name, goal in GOALS.items()}
    write(figures, (f"{name:32} {value:8.2f}{goals.get(name, '')}" for name, value in figures.items()), options)


if __name__ == "__main__":
    main()
