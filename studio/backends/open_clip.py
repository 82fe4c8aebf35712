"""Models of open_clip, which compare words and pictures. torch is imported by `load`, not before."""

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from models.messages import Message, Refused
from models.runtime import silence
from studio import settings
from studio.backends import runtime
from studio.backends.base import Backend, Handler, per_request
from studio.backends.inputs import as_it_is, vectors
from studio.backends.runtime import weights_needed
from studio.capabilities import Capabilities
from studio.disk.models import Digests, located, read_header, whole

if TYPE_CHECKING:
    from models.open_clip import OpenClip

HUB = "hf-hub:"  # as open_clip itself calls a repository


class OpenClipModel(Backend):
    """The model `name`: a folder, one of the hub cache, or MODEL:WEIGHTS with a tag or a safetensors file."""

    read = staticmethod(as_it_is)  # its own preprocessing cuts and scales

    def __init__(self, name: str) -> None:
        self.name = name.removeprefix(HUB)

    @cached_property
    def _where(self) -> Path | None:
        """Its folder; None where it is MODEL:WEIGHTS."""
        path = located(self.name)
        if not path.exists() and not {":", "/"} & set(self.name):
            raise Refused("model.weights", problem=Message("open_clip.no_weights", {"name": self.name}))
        return path if path.exists() or ":" not in self.name else None

    def capabilities(self) -> Capabilities:
        _ = self.digest()
        return Capabilities(title=(self._where or Path(self.name)).name, tasks=tuple(self.tasks))

    @property
    def tasks(self) -> Mapping[str, Handler]:
        return {"embed": per_request(lambda request: vectors(self._loaded, request, self.read))}

    def digest(self) -> str:
        """Of the model's files; of a tag, whose file is open_clip's to find, the name."""
        digests = Digests(settings.home())
        if self._where:
            model_files = whole(str(self._where), "open_clip")
            return digests.of_files(model_files.deciding, model_files.path)
        model, _, weights = self.name.partition(":")
        if not weights.endswith(".safetensors"):
            return hashlib.sha256(self.name.encode()).hexdigest()
        read_header(Path(weights))
        return hashlib.sha256(f"{model} {digests.of(Path(weights))}".encode()).hexdigest()

    def space(self) -> str:
        return self.digest()

    def load(self) -> None:
        _ = self.embedder()

    def embedder(self) -> "OpenClip":
        """What makes the vectors, loaded once."""
        return self._loaded

    @cached_property
    def _loaded(self) -> "OpenClip":
        _ = self.digest()
        silence()
        from models.open_clip import OpenClip

        with weights_needed():
            return OpenClip.load(str(self._where or self.name), str(runtime.device()))
