"""Other models' spaces: any open_clip model, and our 128-d heads over one, with the methods of `models.space.Embedder`.

CLIP reads three channels, so a picture is laid on white, the ground of most pictures that such models learnt from. The
heads are `SemanticSpace`'s; they read the trunk's one vector as a sequence of one token. Their part holds the heads and
the trunk's name, not the trunk.
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from models.messages import did_you_mean
from models.space import SemanticSpace, in_fixed_shapes
from models.weights import WeightsError, load_part, read_json, record_part, save_part

PART = "open_clip"  # the shipped one, which need not be there
PREFIX = "open_clip:"
HUB, FOLDER = "hf-hub:", "local-dir:"  # open_clip's own prefixes


def library() -> Any:
    """The package; WeightsError where the extra is not installed."""
    try:
        import open_clip
    except ImportError as error:
        raise WeightsError("open_clip.not_installed", problem=str(error)) from error
    return open_clip


def source(name: str) -> tuple[str, str | None]:
    """What open_clip calls a model and its weights, from FOLDER, MODEL:WEIGHTS (a tag or a file) or hf-hub:REPOSITORY,
    each with or without "open_clip:" before it. WeightsError where there are none, or none that are safetensors."""
    name = name.removeprefix(PREFIX)
    if name.startswith(HUB):
        return name, None
    folder = Path(name.removeprefix(FOLDER))
    if folder.is_dir() or name.startswith(FOLDER):
        if not any(folder.glob("*.safetensors")):
            raise WeightsError("open_clip.no_safetensors", path=str(folder))
        return f"{FOLDER}{folder}", None
    model, _, weights = name.partition(":")
    known = library().list_models()
    if model not in known:
        raise WeightsError("open_clip.unknown", name=model, hint=did_you_mean(model, known))
    if not weights:
        raise WeightsError("open_clip.no_weights", name=model)
    if Path(weights).is_file() and Path(weights).suffix != ".safetensors":
        raise WeightsError("open_clip.no_safetensors", path=weights)
    return model, weights


class OpenClip:
    """An open_clip model with its own tokenizer and preprocessing. Bits depend on a batch's shape, so all runs in
    shapes of 1 or of 32 (padded), as in `Embedder`."""

    def __init__(self, model: Any, preprocess: Any, tokenizer: Any) -> None:
        self.model, self.preprocess, self.tokenizer = model.eval().requires_grad_(False), preprocess, tokenizer

    @classmethod
    def load(cls, name: str, device: str = "cpu") -> "OpenClip":
        """A model by its name (see `source`); WeightsError says why it does not load."""
        open_clip, (model, weights) = library(), source(name)
        try:
            network, _, preprocess = open_clip.create_model_and_transforms(model, pretrained=weights, device=device)
            return cls(network, preprocess, open_clip.get_tokenizer(model))
        except Exception as error:  # whatever a file or the hub may hold: open_clip wraps it in no error of its own
            problem = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise WeightsError("open_clip.no_load", name=name, problem=problem) from error

    @torch.inference_mode()
    def text(self, texts: Sequence[str]) -> Tensor:
        """N texts -> (N, D) float32 unit vectors."""
        tokens = self.tokenizer(list(texts)).to(self.device)
        return in_fixed_shapes(partial(self.model.encode_text, normalize=True), tokens).float().cpu()

    @torch.inference_mode()
    def image(self, pictures: np.ndarray) -> Tensor:
        """Premultiplied uint8 (N, H, W, 4) of any size -> (N, D) float32 unit vectors."""
        shown = pictures[..., :3] + (255 - pictures[..., 3:])

        def encode(some: Tensor) -> Tensor:
            ready = [self.preprocess(Image.fromarray(picture)) for picture in some.numpy()]
            return self.model.encode_image(torch.stack(ready).to(self.device), normalize=True)

        return in_fixed_shapes(encode, torch.from_numpy(shown)).float().cpu()

    def clip(self, clips: Sequence[np.ndarray]) -> Tensor:
        """N clips of premultiplied uint8 (T, H, W, 4), sizes may differ -> (N, D): the mean of the frames' vectors."""
        return torch.stack([F.normalize(self.image(frames).mean(0), dim=-1) for frames in clips])

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device


TRUNK_PART = "trunk_space"
TRUNK = "trunk.json"  # in the part's folder: the trunk's name, and where it puts PROBE
PROBE, NUMBERS, NEAR = "a cat", 8, 1e-2  # bf16 on another machine differs by less


class TrunkEmbedder:
    """Texts and pictures in, (N, 128) unit vectors out, as `models.space.Embedder`."""

    def __init__(self, trunk: OpenClip, space: SemanticSpace) -> None:
        self.trunk, self.space = trunk, space.eval()

    @classmethod
    def load(cls, folder: Path) -> "TrunkEmbedder":
        """The part in `folder` over the trunk that it names; WeightsError also where that is another by now."""
        space, stored = load_part(SemanticSpace, TRUNK_PART, folder.parent), read_json(folder / TRUNK)
        trunk = OpenClip.load(stored["name"])
        vector = probe(trunk)
        if len(vector) != len(stored["probe"]) or not np.allclose(vector, stored["probe"], atol=NEAR):
            raise WeightsError("open_clip.other_trunk", folder=str(folder), name=stored["name"])
        return cls(trunk, space)

    def text(self, texts: Sequence[str]) -> Tensor:
        """N texts -> (N, 128) float32 unit vectors."""
        return heads(self.space, texts=self.trunk.text(texts))

    def image(self, pictures: np.ndarray) -> Tensor:
        """Premultiplied uint8 (N, H, W, 4) -> (N, 128) float32 unit vectors."""
        return heads(self.space, pictures=self.trunk.image(pictures))


def heads(space: SemanticSpace, texts: Tensor | None = None, pictures: Tensor | None = None) -> Tensor:
    """A trunk's vectors (N, D) of texts or of pictures -> (N, 128) unit vectors."""
    if texts is None:
        assert pictures is not None
        return space.image(pictures[:, None])
    return space.text(texts[:, None], torch.ones(len(texts), 1, dtype=torch.bool))


def probe(trunk: OpenClip) -> list[float]:
    """The first numbers of where a trunk puts PROBE: with other weights, others."""
    return [round(float(number), 4) for number in trunk.text([PROBE])[0, :NUMBERS]]


def save_heads(space: Any, trunk: OpenClip, name: str, root: Path) -> None:
    """The part, in `root`."""
    folder = save_part(space, TRUNK_PART, root)
    (folder / TRUNK).write_text(json.dumps({"name": name, "probe": probe(trunk)}) + "\n", encoding="utf-8")
    record_part(TRUNK_PART, root)


def any_embedder(name: str) -> "OpenClip | TrunkEmbedder":
    """A model by its name (`models.open_clip.source`), or a folder with heads over one."""
    return TrunkEmbedder.load(Path(name)) if (Path(name) / TRUNK).is_file() else OpenClip.load(name)
