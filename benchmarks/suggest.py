"""How long reading a prompt and suggestions for it take: `python benchmarks/suggest.py`.

Medians of processor time on one thread over the example prompts, of each kind, beside that of parsing a prompt that was
not read before, so that other work on the machine slows both alike. At most 300 ms each are wanted.
"""

import statistics
import time
from collections.abc import Callable

import torch
from timing import in_milliseconds, parser, write  # the file beside this one

from models.assets import prompt_list
from models.prompts.parser import PromptParser
from models.prompts.reader import Reader
from models.prompts.suggest import Suggester
from models.prompts.suggestion import KINDS
from models.prompts.vocabulary import Vocabulary
from models.space import Embedder

LISTS = ("examples", "sheet")


def median(work: Callable[[str], object], prompts: list[str]) -> float:
    """Median seconds of processor time."""
    taken = []
    for prompt in prompts:
        start = time.process_time()
        work(prompt)
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def main() -> None:
    options = parser(__doc__, prompts=60).parse_args()
    torch.set_num_threads(1)
    embedder = Embedder.load()
    reader = PromptParser.load(embedder)
    vocabulary = Vocabulary.load(embedder)
    suggester = Suggester(reader, vocabulary)
    prompts = [prompt for name in LISTS for prompt in prompt_list(name)][: options.prompts]
    suggester.suggest(prompts[0])  # what is derived from the names once
    seconds = {"parse": median(reader.parse, prompts)}
    seconds["read, parsed before"] = median(Reader(reader, vocabulary).read, prompts)
    seconds |= {kind: median(lambda text, kind=kind: suggester.suggest(text, [kind]), prompts) for kind in KINDS}
    write(seconds, in_milliseconds(seconds), options)


if __name__ == "__main__":
    main()
