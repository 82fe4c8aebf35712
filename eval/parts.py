"""The models under test, loaded when a measure first asks for them."""

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from eval.rows import MissingError
from models.weights import WeightsError, listed_parts, load_part, weights_digest

if TYPE_CHECKING:
    from eval.judge import Judge
    from models.autoencoder import Autoencoder
    from models.pipelines.image import StickerPipeline
    from models.prompts.parser import PromptParser
    from models.prompts.vocabulary import Vocabulary
    from models.references.store import ReferenceStore
    from models.space import Embedder

T = TypeVar("T")

SPACE = ("language", "vision", "space")
FAST = "fast"  # need not be there; where it is, it draws the last of every picture's way
IMAGE = (*SPACE, "autoencoder", "dit", "wording", "prototypes", FAST)


class Parts:
    """Weights under `root` (None: the shipped ones). What is missing raises `MissingError` with a sentence."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root

    @cached_property
    def autoencoder(self) -> "Autoencoder":
        """In fp32, so that a figure does not depend on the processor's dtypes."""
        from models.autoencoder import Autoencoder

        return self._load(lambda: load_part(Autoencoder, "autoencoder", self.root))

    @cached_property
    def embedder(self) -> "Embedder":
        """The door into the semantic space."""
        from models.space import Embedder

        return self._load(lambda: Embedder.load(self.root))

    @cached_property
    def pipeline(self) -> "StickerPipeline":
        """The generator, in the dtype it ships for this processor."""
        from models.pipelines.image import StickerPipeline

        return self._load(lambda: StickerPipeline.assemble(self.root))

    @cached_property
    def vocabulary(self) -> "Vocabulary":
        """What the models know the words of."""
        from models.prompts.vocabulary import Vocabulary

        return self._load(lambda: Vocabulary.load(self.embedder, self.root))

    @cached_property
    def wording(self) -> "PromptParser":
        """What prompts are read by."""
        from models.prompts.parser import PromptParser

        return self._load(lambda: PromptParser.load(self.embedder, self.root))

    @cached_property
    def references(self) -> "ReferenceStore":
        """What things are drawn from, numbered as `wording` numbers them."""
        from models.references.store import ReferenceStore

        return self._load(lambda: ReferenceStore.load(self.root))

    @cached_property
    def judge(self) -> "Judge":
        """The network that judges scenes; it has no part in making them."""
        from eval.judge import Judge

        return self._load(lambda: Judge.load(self.root))

    def digests(self, names: tuple[str, ...]) -> dict[str, str]:
        """sha256 of each part, from the manifest; of the fast variant where there is one."""
        there = [name for name in names if name != FAST or self._load(partial(listed_parts, self.root)).get(FAST)]
        return {name: self._load(partial(weights_digest, (name,), self.root)) for name in there}

    @staticmethod
    def _load(load: Callable[[], T]) -> T:
        try:
            return load()
        except (WeightsError, FileNotFoundError) as error:
            raise MissingError(str(error)) from error
