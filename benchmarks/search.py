"""How long an exact search of a million vectors takes: `python benchmarks/search.py`.

The product with all of them, the best of the scores, and a full sort in its place; medians, in turns. A million takes
512 MB as float32; numpy multiplies float16 twenty times slower, and int8 not by BLAS at all.
"""

import numpy as np
from timing import in_milliseconds, medians, parser, write  # the file beside this one

from studio.media import DIM
from studio.search import best

BLOCK = 100_000
HITS = 52  # a page of hits, and some that may lie in the bin


def unit_vectors(count: int) -> np.ndarray:
    """(count, DIM) float32 of length 1, drawn by a seed."""
    rng, vectors = np.random.default_rng(0), np.empty((count, DIM), np.float32)
    for start in range(0, count, BLOCK):
        block = rng.standard_normal((min(BLOCK, count - start), DIM), np.float32)
        vectors[start : start + BLOCK] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return vectors


def main() -> None:
    options = parser(__doc__, rows=1_000_000, repeats=7).parse_args()
    vectors = unit_vectors(options.rows)
    query = vectors[0]
    scores = vectors @ query
    work = {
        "product and best": lambda: best(vectors @ query, HITS),
        "product": lambda: vectors @ query,
        "best": lambda: best(scores, HITS),
        "full sort": lambda: np.argsort(-scores, kind="stable")[:HITS],
    }
    seconds = medians(work, options.repeats)
    write(seconds, in_milliseconds(seconds), options)


if __name__ == "__main__":
    main()
