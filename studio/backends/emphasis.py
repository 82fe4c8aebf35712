"""Weighted words, `(cat:1.3)`, for any text encoder of a pipeline: the states of their tokens move as they come out."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from models.prompts.weighting import plain, segments, token_weights, weigh
from studio.backends.chunks import Reading


@contextmanager
def emphasised(pipeline: Any, prompt: str) -> Iterator[str]:
    """The words of a prompt without marks, to be given to the pipeline meanwhile. Where an encoder's tokens are not
    found as they are in the words alone, these weigh as usual there.
    """
    runs, words = segments(prompt), plain(prompt)
    with ExitStack() as hooks:
        for name, tokenizer in pipeline.components.items() if any(run.weight != 1 for run in runs) else ():
            encoder = getattr(pipeline, name.replace("tokenizer", "text_encoder"), None)
            if name.startswith("tokenizer") and encoder is not None and getattr(tokenizer, "is_fast", False):
                read = tokenizer(words, add_special_tokens=False, return_offsets_mapping=True)
                weights = token_weights(runs, read["offset_mapping"])
                hook = encoder.register_forward_hook(_Hook(read["input_ids"], weights), with_kwargs=True)
                hooks.callback(hook.remove)
        yield words


class _Hook:
    def __init__(self, tokens: Sequence[int], weights: Sequence[float]) -> None:
        self._tokens, self._weights = list(tokens), list(weights)

    def __call__(self, encoder: Any, args: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
        import torch

        rows = args[0] if args else named.get("input_ids")
        if rows is None or not hasattr(output, "keys"):
            return output
        mask = named.get("attention_mask")
        mask = rows.new_ones(rows.shape) if mask is None else mask
        weights, reading = [self._in_row(row) for row in rows.tolist()], encoder.__dict__.get("forward")
        if isinstance(reading, Reading):
            weights = [reading.apart(row, one, (1.0,) * 3) for row, one in zip(rows.tolist(), weights, strict=True)]

        def moved(states: Any) -> Any:
            several = zip(states.split(1), mask.split(1), weights, strict=True)
            return torch.cat([weigh(*one) for one in several])

        output["last_hidden_state"] = moved(output["last_hidden_state"])
        if "hidden_states" in output:
            output["hidden_states"] = tuple(map(moved, output["hidden_states"]))
        return output

    def _in_row(self, row: list[int]) -> list[float]:
        """The weight of each token of what the encoder reads; of a prompt that is too long, those that fit."""
        for first in range(len(row)):
            count = min(len(self._tokens), len(row) - first - 1)
            whole = count == len(self._tokens) or first < 2
            if count and whole and row[first : first + count] == self._tokens[:count]:
                before, after = [1.0] * first, [1.0] * (len(row) - first - count)
                return [*before, *self._weights[:count], *after]
        return [1.0] * len(row)
