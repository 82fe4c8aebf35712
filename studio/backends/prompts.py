"""What the embedded backend says of prompts: how they are read, and what is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from models.messages import Refused
from studio.backends import loading
from studio.backends.base import Event
from studio.events import Unknown
from studio.requests import ImageRequest, ReadRequest, summands

if TYPE_CHECKING:
    from models.pipelines.image import StickerPipeline
    from models.prompts.parser import PromptParser
    from models.prompts.vocabulary import Vocabulary


class PromptReading:
    """Reads prompts by the loaded `pipeline`'s parser and `vocabulary`, else by those parts alone, a tenth of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pipeline: StickerPipeline | None = None
        self.vocabulary: Vocabulary | None = None
        self._alone: tuple[PromptParser, Vocabulary | None] | None = None

    def read(self, request: ReadRequest) -> Iterator[Event]:
        from models.prompts.reader import Reader

        reader = Reader(*self._parts())
        yield from (reader.read(text, request.negative) for text in request.texts)

    def refuse_unknown(self, request: ImageRequest) -> None:
        """Refused where words alone say what to draw, and name nothing that can be drawn."""
        from models.prompts.reader import Reader

        parser = self.pipeline.parser if self.pipeline else None
        if parser is None or request.like or request.mix or request.image:
            return
        if instead := Reader(parser, self.vocabulary).instead(request.prompt):
            raise Refused("reading.nothing", text=request.prompt, instead=list(instead))

    def unknown(self, request: ImageRequest) -> tuple[Unknown, ...]:
        """Words of the request that are not drawn; none where the weights came without a vocabulary."""
        from models.prompts.coverage import not_drawn
        from models.prompts.parser import parse_literally

        if self.vocabulary is None:
            return ()
        texts = [*summands(request.prompt), *(part.text for part in request.mix)]
        parser = self.pipeline.parser if self.pipeline else None
        read = parser.parse if parser and parser.linker.concepts else parse_literally
        prompts = [read(text) for text in texts if text.strip()]
        found = [(one, *words) for one in prompts for words in not_drawn(one, self.vocabulary)]
        # Of a parsed prompt that is decided: an alias that names nothing there ("knight") is not drawn.
        known = {word for one, word, _ in found if one.literal and parser and parser.is_understood(word)}
        return tuple(Unknown(word, nearest) for _, word, nearest in found if word not in known)

    def _parts(self) -> "tuple[PromptParser, Vocabulary | None]":
        if self.pipeline and self.pipeline.parser:
            return self.pipeline.parser, self.vocabulary
        if self._alone is None:
            with loading.weights_needed():
                self._alone = loading.reading(self.root)
        return self._alone
