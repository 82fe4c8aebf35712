"""What backends load; the libraries say nothing meanwhile, and what is wrong is one sentence."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from models.messages import Refused
from models.quiet import silence
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


@contextlib.contextmanager
def loads(path: Path) -> Iterator[None]:
    """Whatever libraries raise of a file or folder is said of it."""
    try:
        yield
    except (Refused, MemoryError):
        raise
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise Refused("disk.remote_code", path=str(path)) from error
        raise Refused("pipeline.no_load", path=str(path), problem=first_line(error)) from error


def first_line(error: Exception) -> str:
    return ((str(error).splitlines() or [""])[0].strip(" .") or type(error).__name__)[:300]


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
