"""Media for the table made on the devices of a Ray cluster, block by block: what is made there is what is made here."""

import platform
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eval.generator import Generator, Parts, digest_of, drawing_code
from models.cluster import TRIES, Cluster
from models.messages import Refused
from models.weights import listed_parts, part_digests

Drawn = tuple[np.ndarray, list[tuple[str, ...]]]  # media, and the styles that each was drawn from
Block = tuple[Any, ...]  # prompts, seeds and options of one call of a generator
Make = Callable[[Parts], list[Any]]  # every generator on some weights


def drawn(generator: Any, block: Block) -> Drawn:
    """The media of a block."""
    prompts, seeds, options = block
    if "sources" in generator.abilities:
        return generator.draw(prompts, seeds, **options)
    return generator.generate(prompts, seeds, **options), [()] * len(prompts)


def opened(address: str | None, make: Make, root: Path | None) -> Cluster | None:
    """The cluster at the address, each device of it with the generators that `make` makes of the weights in `root`."""
    if address is None:
        return None
    return Cluster(address, partial(_maker, make, root and root.absolute(), _digest(root)))


def drawn_there(cluster: Cluster, generator: Generator, blocks: Mapping[int, Block]) -> Iterator[tuple[int, Drawn]]:
    """Each block under its number, in the order in which they come. Raises what the generator raises."""
    for number, made in cluster.share(deque(blocks), lambda number: (generator.name, blocks[number])):
        if made is None or isinstance(made, Exception):
            raise made or Refused("cluster.crashed", times=TRIES)
        yield number, made


def _digest(root: Path | None) -> str:
    """Of weights and code."""
    return digest_of(part_digests(tuple(sorted(listed_parts(root))), root), drawing_code())


def _maker(make: Make, root: Path | None, expected: str) -> Callable[..., Drawn | Exception]:
    """On a device: draws a block by the generator of a name. Refused where weights or code are others."""
    if _digest(root) != expected:
        raise Refused("cluster.other_model", node=platform.node())
    generators = {one.name: one for one in make(Parts(root))}

    def draw(name: str, block: Block) -> Drawn | Exception:
        try:
            return drawn(generators[name], block)
        except Exception as error:
            return error

    return draw
