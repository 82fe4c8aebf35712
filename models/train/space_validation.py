"""Figures on split `val` that every model of texts and pictures has, whatever it is and however it is trained."""

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from models.data.captions import caption
from models.data.grammar import LANGUAGES
from models.data.pixels import to_tensor
from models.data.scenes import ATTRIBUTES, choices
from models.data.world import World, evenly

GALLERY = 1000  # pictures that an evaluation looks at
SCENES = 96  # of each attribute
CHUNK = 64  # pictures a pass

Texts = Callable[[list[str]], Tensor]  # N texts -> (N, D) unit vectors
Pictures = Callable[[Tensor], Tensor]  # premultiplied (N, 4, 128, 128) in [0, 1] -> (N, D) unit vectors


class Validation:
    """Recall among a gallery (right where the concept is), and forced choice between a scene and its contrast."""

    def __init__(self, world: World) -> None:
        self.world, self.gallery = world, evenly(world.split("val"), GALLERY)

    def figures(self, texts: Texts, pictures: Pictures) -> dict[str, float]:
        """Shares by name."""
        pixels = to_tensor(self.world.pixels[[picture.index for picture in self.gallery]])
        seen = torch.cat([pictures(part) for part in pixels.split(CHUNK)])
        names = np.array([picture.concept for picture in self.gallery])
        same, figures = torch.from_numpy(names[:, None] == names[None]), {}
        for language in LANGUAGES:
            cosines = texts([caption(picture, 0, language) for picture in self.gallery]) @ seen.T
            figures[f"text_to_image_r10_{language}"] = recall(cosines, same, 10)
            figures[f"image_to_text_r10_{language}"] = recall(cosines.T, same.T, 10)
        for kind, (shown, *captions) in self._choices.items():
            vectors = torch.cat([pictures(part) for part in shown.split(CHUNK)])
            own, other = ((vectors * texts(some)).sum(-1) for some in captions)
            figures[f"scene_{kind}"] = float((own > other).float().mean())
        return figures

    @cached_property
    def _choices(self) -> dict[str, tuple[Tensor, list[str], list[str]]]:
        """By kind, pixels of scenes, their captions, and those of their contrasts."""
        found: dict[str, tuple[Tensor, list[str], list[str]]] = {}
        for attribute, kind in ATTRIBUTES.items():
            with suppress(ValueError):  # a small world holds out no combination of this kind
                both = choices(self.world, attribute, range(SCENES), "val")
                own, other = ([one.caption(one.seed, "en", "short") for one in some] for some in both)
                found[kind] = torch.cat([to_tensor(scene.render(self.world)) for scene in both[0]]), own, other
        return found


def recall(cosines: Tensor, right: Tensor, k: int) -> float:
    """Share of rows with a right column among their k highest: cosines and right (N, M)."""
    nearest = cosines.float().topk(min(k, cosines.shape[1])).indices
    return float(right.gather(1, nearest).any(1).float().mean())
