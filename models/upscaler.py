"""RGBA upscaler: a picture of any size becomes four times as large, with its alpha; 128 px become 512.

Each pixel becomes sixteen. For each of them the network says with which weights the 25 pixels round about are mixed:
those of bicubic interpolation plus what it learned (dynamic upsampling filters, Jo et al., CVPR 2018, without their
residual; the work is done at the small size and its answer is shuffled into place at the end, as in ESPCN, arXiv
1609.05158). So colours come from the picture itself and never from the weights: where nothing changes, nothing changes,
what is transparent stays transparent, and the four channels keep in step. A weight may be negative, or a line thinner
than a pixel could not get its own colour back.

Shapes: pictures (B, 4, H, W) premultiplied RGBA in [0, 1] -> (B, 4, 4 H, 4 W), the same.
"""

import functools

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from models.autoencoder import ChannelNorm, ResBlock
from models.data.pixels import to_tensor, to_uint8

PART = "upscaler"
SCALE = 4
WINDOW = 5  # pixels a side that are mixed


class Upscaler(ModelMixin, ConfigMixin):  # type: ignore[misc]  # the library types config_name twice
    """`blocks` residual blocks of `width` channels; a fresh one is bicubic interpolation."""

    @register_to_config
    def __init__(self, width: int = 64, blocks: int = 6) -> None:
        super().__init__()
        answer = nn.Conv2d(width, SCALE**2 * WINDOW**2, 1)
        for parameter in answer.parameters():
            nn.init.zeros_(parameter)
        self.body = nn.Sequential(
            nn.Conv2d(4, width, 3, padding=1), *(ResBlock(width) for _ in range(blocks)), ChannelNorm(width), answer
        )

    def forward(self, pictures: Tensor, bounded: bool = True) -> Tensor:
        """The pictures, enlarged; not `bounded`, as training wants them, they may leave 0 <= rgb <= alpha <= 1."""
        centred = (pictures * 2 - 1).to(self.dtype).contiguous(memory_format=torch.channels_last)
        learned = self.body(centred)
        with torch.autocast(pictures.device.type, enabled=False):  # eight bits of colour are not enough of a sum
            enlarged = mixed(pictures.float(), learned.float())
        if not bounded:
            return enlarged
        alpha = enlarged[:, 3:].clamp(0, 1)
        return torch.cat([torch.minimum(enlarged[:, :3].clamp(min=0), alpha), alpha], 1)

    @torch.no_grad()
    def enlarge(self, pixels: np.ndarray) -> np.ndarray:
        """One picture, premultiplied uint8 (H, W, 4) -> (4 H, 4 W, 4). Alone: the last bits depend on the company."""
        return to_uint8(self(to_tensor(pixels)))[0]


def mixed(pictures: Tensor, learned: Tensor) -> Tensor:
    """Mix the pixels round about each pixel of (B, 4, H, W) by bicubic weights plus `learned` (B, 400, H, W). What is
    mixed are the differences from the pixel in the middle, so that no weights at all can change what is uniform. Beyond
    the border the outermost pixels go on."""
    batch, channels, height, width = pictures.shape
    middle = pictures.permute(0, 2, 3, 1).reshape(-1, 1, channels)
    padded = F.pad(pictures, (WINDOW // 2,) * 4, mode="replicate").permute(0, 2, 3, 1)
    round_about = padded.unfold(1, WINDOW, 1).unfold(2, WINDOW, 1).reshape(-1, channels, WINDOW**2).transpose(1, 2)
    weights = learned.permute(0, 2, 3, 1).reshape(-1, SCALE**2, WINDOW**2) + bicubic().to(learned.device)
    sixteen = middle + weights @ (round_about - middle)  # (B H W, 16, 4)
    shuffled = sixteen.view(batch, height, width, SCALE, SCALE, channels).permute(0, 5, 1, 3, 2, 4)
    return shuffled.reshape(batch, channels, SCALE * height, SCALE * width)


@functools.cache
def bicubic() -> Tensor:
    """(16, 25): the weights by which bicubic interpolation makes sixteen pixels of the middle one of 25."""
    each = torch.eye(WINDOW**2).view(-1, 1, WINDOW, WINDOW)
    enlarged = F.interpolate(each, scale_factor=SCALE, mode="bicubic")
    middle = slice(WINDOW // 2 * SCALE, (WINDOW // 2 + 1) * SCALE)
    return enlarged[:, 0, middle, middle].reshape(WINDOW**2, SCALE**2).T.contiguous()
