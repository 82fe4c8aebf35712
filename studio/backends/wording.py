"""Prompts for the text encoders of any pipeline, as A1111 reads them: weighted words, `(cat:1.3)`, move the states of
their tokens, and a prompt longer than CLIP's limit is encoded in chunks whose states are joined. A pipeline whose code
fixes the length cuts the prompt.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from models.prompts.weighting import plain, segments, token_weights, weigh

T = TypeVar("T")
CLIP = "CLIPText"  # in the names of the classes


@contextmanager
def worded(pipeline: Any, prompt: str, negative: str) -> Iterator[str]:
    """The words of a prompt without marks, to be given to the pipeline meanwhile. Where an encoder's tokens are not
    found as they are in the words alone, these weigh as usual there.
    """
    runs, words = segments(prompt), plain(prompt)
    readers: list[tuple[Any, Any, bool]] = [
        (tokenizer, encoder, CLIP in type(encoder).__name__)
        for name, tokenizer in pipeline.components.items()
        if name.startswith("tokenizer") and hasattr(tokenizer, "model_max_length")
        if (encoder := getattr(pipeline, name.replace("tokenizer", "text_encoder"), None)) is not None
    ]
    counts = [
        math.ceil(len(tokenizer(text, add_special_tokens=False)["input_ids"]) / (tokenizer.model_max_length - 2))
        for tokenizer, _, clip in readers
        for text in (words, negative)
        if clip
    ]
    with ExitStack() as undo:
        for tokenizer, encoder, clip in readers:
            length, marks = tokenizer.model_max_length, (list[int](), list[float]())
            if any(run.weight != 1 for run in runs) and getattr(tokenizer, "is_fast", False):
                read = tokenizer(words, add_special_tokens=False, return_offsets_mapping=True)
                marks = read["input_ids"], token_weights(runs, read["offset_mapping"])
            chunks = max(counts) if clip else 1
            if chunks > 1:
                undo.callback(setattr, tokenizer, "model_max_length", length)
                tokenizer.model_max_length = length * chunks
            if chunks > 1 or marks[0]:
                undo.callback(_restore, encoder, encoder.__dict__.get("forward"))
                encoder.forward = _Reading(encoder.forward, tokenizer, length if chunks > 1 else 0, *marks)
        yield words


def _restore(encoder: Any, own: Any) -> None:
    """Its forward as it was: one that was set (by what offloads it), else that of its class."""
    if own is None:
        del encoder.forward
    else:
        encoder.forward = own


class _Reading:
    """An encoder's forward, of rows of chunks of a `length` (0: never in chunks), in which tokens have weights."""

    def __init__(
        self, forward: Any, tokenizer: Any, length: int, tokens: Sequence[int], weights: Sequence[float]
    ) -> None:
        self._forward, self._length, self._tokens, self._weights = forward, length, list(tokens), list(weights)
        self._ends = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id

    def __call__(self, *args: Any, **named: Any) -> Any:
        read = args[0] if args else named.get("input_ids")
        if read is None:
            return self._forward(*args, **named)
        mask, rows = named.get("attention_mask"), read.tolist()
        weights, chunks = [self._in_row(row) for row in rows], read.shape[1] // self._length if self._length else 1
        if chunks > 1:
            weights = [self._apart(row, one, (1.0,) * 3) for row, one in zip(rows, weights, strict=True)]
            pieces = read.new_tensor([self._apart(row, row, self._ends) for row in rows]).reshape(-1, self._length)
            rest = {name: one for name, one in named.items() if name not in ("input_ids", "attention_mask")}
            output = self._forward(pieces, **rest)
            _change(output, list(output), lambda states: self._joined(states, chunks))
        else:
            output = self._forward(*args, **named)
        if self._tokens and hasattr(output, "keys"):
            masks = (read.new_ones(read.shape) if mask is None else mask).split(1)
            moved = [name for name in ("last_hidden_state", "hidden_states") if name in output]
            _change(output, moved, lambda states: _weighed(states, masks, weights))
        return output

    def _in_row(self, row: list[int]) -> list[float]:
        """The weight of each token of what the encoder reads; of a prompt that is too long, those that fit."""
        for first in range(len(row)):
            count = min(len(self._tokens), len(row) - first - 1)
            whole = count == len(self._tokens) or first < 2
            if count and whole and row[first : first + count] == self._tokens[:count]:
                return [*[1.0] * first, *self._weights[:count], *[1.0] * (len(row) - first - count)]
        return [1.0] * len(row)

    def _apart(self, row: Sequence[int], values: Sequence[T], ends: tuple[T, T, T]) -> list[T]:
        """A value of each token, as the chunks have them: between the first two of `ends`, filled up with the third."""
        first, last, fill = ends
        inside, made, eos = self._length - 2, list[T](), self._ends[1]
        end = row.index(eos, 1) if eos in row[1:] else len(row)
        for at in range(1, 1 + len(row) // self._length * inside, inside):
            part = values[at : min(at + inside, end)]
            made += [first, *part, last, *[fill] * (inside - len(part))]
        return made

    def _joined(self, states: Any, count: int) -> Any:
        """States of chunks behind each other; of what stands for a whole text that of the first."""
        return states.reshape(-1, count * self._length, states.shape[-1]) if states.ndim == 3 else states[::count]


def _change(output: Any, names: Sequence[str], change: Callable[[Any], Any]) -> None:
    for name in names:
        value = output[name]
        output[name] = tuple(map(change, value)) if isinstance(value, tuple) else change(value)


def _weighed(states: Any, masks: Any, weights: Any) -> Any:
    import torch

    return torch.cat([weigh(*one) for one in zip(states.split(1), masks, weights, strict=True)])
