"""What the embedded backend loads; the libraries say nothing meanwhile. Errors are those of `models.weights`."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from models.messages import Refused
from models.weights import WeightsError, listed_parts

if TYPE_CHECKING:
    from models.pipelines.image import StickerPipeline
    from models.prompts.parser import PromptParser
    from models.prompts.vocabulary import Vocabulary
    from models.space import Embedder


@contextlib.contextmanager
def weights_needed(code: str = "model.weights") -> Iterator[None]:
    """What is wrong with weights is said of the model that needs them."""
    try:
        yield
    except WeightsError as error:
        raise Refused(code, problem=error.message) from error


def pipeline(root: Path) -> "StickerPipeline":
    from models.hardware import keep_freed_memory
    from models.pipelines.image import StickerPipeline

    keep_freed_memory()
    silence()
    return StickerPipeline.assemble(root)


def vocabulary(embedder: "Embedder", root: Path) -> "Vocabulary | None":
    """None where the weights came without one."""
    from models.prompts.vocabulary import PART, Vocabulary

    return Vocabulary.load(embedder, root) if PART in listed_parts(root) else None


def reading(root: Path) -> "tuple[PromptParser, Vocabulary | None]":
    """What reads prompts, alone: a tenth of what draws."""
    from models.prompts.parser import PromptParser
    from models.space import Embedder

    silence()
    parser = PromptParser.load(Embedder.load(root), root)
    return parser, vocabulary(parser.embedder, root)


def silence() -> None:
    """Neither bars nor warnings of the libraries that load weights."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
