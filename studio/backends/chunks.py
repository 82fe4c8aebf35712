"""Prompts that are longer than CLIP reads at once: in chunks, whose states stand one behind the other, as in A1111.

A pipeline whose code fixes the length of what it reads cuts the prompt as ever.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
CLIP = "CLIPText"  # in the names of the classes


@contextmanager
def chunked(pipeline: Any, *texts: str) -> Iterator[None]:
    """The pipeline's CLIP encoders read the longest of the texts whole meanwhile."""
    readers: list[tuple[Any, Any]] = [
        (tokenizer, encoder)
        for name, tokenizer in pipeline.components.items()
        if name.startswith("tokenizer") and hasattr(tokenizer, "model_max_length")
        if CLIP in type(encoder := getattr(pipeline, name.replace("tokenizer", "text_encoder"), None)).__name__
    ]
    counts = [
        math.ceil(len(tokenizer(text, add_special_tokens=False)["input_ids"]) / (tokenizer.model_max_length - 2))
        for tokenizer, _ in readers
        for text in texts
    ]
    with ExitStack() as undo:
        for tokenizer, encoder in readers if max(counts, default=1) > 1 else ():
            length = tokenizer.model_max_length
            undo.callback(setattr, tokenizer, "model_max_length", length)
            tokenizer.model_max_length = length * max(counts)
            undo.callback(_restore, encoder, encoder.__dict__.get("forward"))
            encoder.forward = Reading(encoder.forward, tokenizer, length)
        yield


def _restore(encoder: Any, own: Any) -> None:
    """Its forward as it was: one that was set (by what offloads it), else that of its class."""
    if own is None:
        del encoder.forward
    else:
        encoder.forward = own


class Reading:
    """An encoder's forward, of rows of several chunks of a `length`."""

    def __init__(self, forward: Any, tokenizer: Any, length: int) -> None:
        self._forward, self._length, self._eos = forward, length, tokenizer.eos_token_id
        self._ends = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id

    def apart(self, row: Sequence[int], values: Sequence[T], ends: tuple[T, T, T]) -> list[T]:
        """A value of each token of a row, as the chunks have them: each with `ends` round it, what begins one, what
        ends one, and what fills it up.
        """
        first, last, fill = ends
        inside, made = self._length - 2, list[T]()
        end = row.index(self._eos, 1) if self._eos in row[1:] else len(row)
        for at in range(1, 1 + len(row) // self._length * inside, inside):
            part = values[at : min(at + inside, end)]
            made += [first, *part, last, *[fill] * (inside - len(part))]
        return made

    def __call__(self, input_ids: Any, attention_mask: Any = None, **named: Any) -> Any:
        if input_ids.shape[1] <= self._length:
            return self._forward(input_ids, attention_mask=attention_mask, **named)
        rows = [self.apart(row, row, self._ends) for row in input_ids.tolist()]
        output = self._forward(input_ids.new_tensor(rows).reshape(-1, self._length), **named)
        count = input_ids.shape[1] // self._length
        for name, value in list(output.items()):
            several = tuple(self._joined(one, count) for one in value) if isinstance(value, tuple) else None
            output[name] = several or self._joined(value, count)
        return output

    def _joined(self, states: Any, count: int) -> Any:
        """States of chunks behind each other; of what stands for a whole text that of the first."""
        return states.reshape(-1, count * self._length, states.shape[-1]) if states.ndim == 3 else states[::count]
