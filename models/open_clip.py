"""Other models' spaces: any open_clip model, with the methods of `models.space.Embedder`.

CLIP reads three channels, so a picture is laid on white, the ground of most pictures that such models learnt from.
"""

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
from models.space import in_fixed_shapes
from models.weights import WeightsError

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
