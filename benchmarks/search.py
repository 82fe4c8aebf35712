"""How long an exact search of a million vectors takes: `python benchmarks/search.py`.

The product with all of them, the best of the scores, and a full sort in its place; medians, in turns. A million takes
512 MB as float32; numpy multiplies float16 twenty times slower, and int8 not by BLAS at all.
"""

import numpy as np
from timing import in_milliseconds, medians, parser, write  # the file beside this one

from studio.media import DIM
from studio.search import best

BLOCK = 100_000
WANTED = 52  # a page of hits, and some that may lie in the bin


def unit_vectors(count: int) -> np.ndarray:
    """(count, DIM) float32 of length 1, drawn by a seed."""
    chance, made = np.random.default_rng(0), np.empty((count, DIM), np.float32)
    for start in range(0, count, BLOCK):
        block = chance.standard_normal((min(BLOCK, count - start), DIM), np.float32)
        made[start : start + BLOCK] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return made


def main() -> None:
    options = parser(__doc__, rows=1_000_000, repeats=7).parse_args()
    vectors = unit_vectors(options.rows)
    place = vectors[0]
    scores = vectors @ place
    work = {
        "product and best": lambda: best(vectors @ place, WANTED),
        "product": lambda: vectors @ place,
        "best": lambda: best(scores, WANTED),
        "full sort": lambda: np.argsort(-scores, kind="stable")[:WANTED],
    }
    seconds = medians(work, options.repeats)
    write(seconds, in_milliseconds(seconds), options)


if __name__ == "__main__":
    main()
