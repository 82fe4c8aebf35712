"""What is given once for all pictures of a call, or once for each."""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.condition import Blend

Vectors = Tensor | Sequence[Tensor | None]


def each(what: str, given: Sequence[str], count: int) -> list[str]:
    """`count` of them, from as many or from one; ValueError says how many `what` were given."""
    if len(given) not in (1, count):
        raise ValueError(f"{len(given)} {what} for {count} pictures; give 1 or {count}")
    return list(given) * (count if len(given) == 1 else 1)


def each_vector(given: Vectors | None, count: int) -> Vectors | None:
    """Of a list one for each of `count` pictures, from as many or from one; ValueError says how many there are."""
    if given is None or isinstance(given, Tensor):
        return given
    if len(given) not in (1, count):
        raise ValueError(f"{len(given)} vectors for {count} pictures; give 1 or {count}")
    return list(given) * (count if len(given) == 1 else 1)


def each_blend(given: Sequence[Blend | None], prompts: Sequence[str]) -> list[Blend | None]:
    """One for each of the pictures, from as many, from one or from none; ValueError where they are of another number,
    of several rows, or beside words.
    """
    blends = list(given or [None]) * (1 if len(given) == len(prompts) else len(prompts))
    if len(blends) != len(prompts):
        raise ValueError(f"{len(given)} blends for {len(prompts)} pictures; give 1 or {len(prompts)}")
    for blend, prompt in zip(blends, prompts, strict=True):
        if blend is not None and (prompt or len(blend) != 1):
            raise ValueError(f"a blend is one row and takes a prompt's place; it has {len(blend)} beside {prompt!r}")
    return blends


def own_words(given: Vectors | None, count: int) -> list[bool]:
    """Which of `count` pictures are told no vector but that of their words."""
    if isinstance(given, Tensor):
        return [False] * count
    return [True] * count if given is None else [row is None for row in given]


def senses(given: Vectors, own: Tensor) -> Tensor:
    """The semantic vectors (N, 128) where some are given; `own` are the texts'."""
    if not isinstance(given, Tensor):
        given = torch.cat([own[i : i + 1] if row is None else row for i, row in enumerate(given)])
    if given.ndim != 2 or given.shape[1] != own.shape[1] or len(given) not in (1, len(own)):
        raise ValueError(f"vector of shape {tuple(given.shape)}; give (1 or {len(own)}, {own.shape[1]})")
    return given.float().expand(len(own), -1)
