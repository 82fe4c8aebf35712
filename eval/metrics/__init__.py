"""The metrics by name. A metric's module is imported when it is measured: help and refusals come at once."""

import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eval.rows import Row

if TYPE_CHECKING:
    from eval.context import Context

Measure = Callable[["Context"], Iterator[Row]]


@dataclass(frozen=True)
class Metric:
    """Rows of the table from an evaluation context."""

    function: str  # "module:name" of a `Measure`
    needs: tuple[str, ...] = ()  # of the generator, keys of `LACKS`
    final: bool = False  # measured only by its name, and only with the weights that ship

    @property
    def rows(self) -> Measure:
        measure: Any = pkgutil.resolve_name(self.function)
        return measure


METRICS = {
    "image": Metric("eval.metrics.image:image_rows", ("image",)),
    "fast": Metric("eval.metrics.image:fast_rows", ("image", "fast")),
    "unseen": Metric("eval.metrics.image:unseen_rows", ("image",)),
    "controls": Metric("eval.metrics.image:control_rows"),
    "blends": Metric("eval.metrics.image:blend_rows", ("image", "blends")),
    "reconstruction": Metric("eval.metrics.image:reconstruction_rows", ("image", "autoencoder")),
    "plain": Metric("eval.metrics.novelty:plain_rows", ("image",)),
    "seen": Metric("eval.metrics.novelty:seen_rows", ("image",)),
    "novelty": Metric("eval.metrics.novelty:novelty_rows", ("image", "sources")),
    "steering": Metric("eval.metrics.novelty:steering_rows", ("image", "negative")),
    "scenes": Metric("eval.metrics.image:scene_rows", ("image",)),
    "clips": Metric("eval.metrics.clips:clip_rows", ("clip",)),
    "clip retrieval": Metric("eval.metrics.clips:retrieval_rows", ("embeddings",)),
    "captions": Metric("eval.metrics.captions:caption_rows", ("caption",)),
    "fresh": Metric("eval.metrics.fresh:fresh_rows", ("caption",), final=True),
    "retrieval": Metric("eval.metrics.space:retrieval_rows", ("embeddings",)),
    "words": Metric("eval.metrics.space:word_rows", ("embeddings",)),
    "open_clip": Metric("eval.metrics.space:open_clip_rows", ("embeddings",)),
    "reading": Metric("eval.metrics.space:reading_rows", ("parser",)),
    "nouns": Metric("eval.metrics.space:noun_rows", ("parser",)),
    "ratings": Metric("eval.rate:rating_rows"),
    "preference": Metric("eval.preference:preference_rows", ("image", "fast", "embeddings")),
    "adapter": Metric("eval.preference:adapter_rows", ("image", "fast", "embeddings"), final=True),
    "style": Metric("eval.style:style_rows", ("image",), final=True),
    "continual": Metric("eval.continual:continual_rows", ("image", "embeddings"), final=True),
}
