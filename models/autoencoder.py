"""RGBA autoencoder: a picture of 128 px becomes a latent of 16 x 16 with 8 channels, and comes back with its alpha.

Pixel-unshuffle and pixel-shuffle change the resolution (they are lossless, and faster than strided convolutions on a
CPU); residual blocks do the rest. Fully convolutional: any multiple of 8 pixels goes through.

Shapes: pictures (B, 4, H, W) premultiplied RGBA in [0, 1]; latents (B, C, H / 8, W / 8), zero mean and unit variance
per channel over the training pictures.
"""

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

PREVIEW_SIZE = 64  # pixels a side of a preview, enlarged smoothly from one per latent pixel


class Autoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]  # the library types config_name twice
    """Encoder and decoder with the latent's scale inside, so that no caller multiplies."""

    @register_to_config
    def __init__(
        self,
        widths: tuple[int, int, int] = (48, 96, 192),  # channels at 1/2, 1/4 and 1/8 of the picture's resolution
        encoder_blocks: tuple[int, int, int] = (1, 2, 3),  # residual ones at each of them
        decoder_blocks: tuple[int, int, int] = (2, 3, 4),  # likewise, in the same order
        latent_channels: int = 8,  # C
        latent_mean: list[float] | None = None,  # of the raw latent's channels, over the training pictures, once known
        latent_std: list[float] | None = None,  # likewise
        # (C + 1) rows of RGBA, the least-squares map from a latent's pixel to its colour, for cheap previews.
        preview: list[list[float]] | None = None,
    ) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.encoder = nn.Sequential(
            _half(4, fine),
            *(ResBlock(fine) for _ in range(encoder_blocks[0])),
            _half(fine, middle),
            *(ResBlock(middle) for _ in range(encoder_blocks[1])),
            _half(middle, coarse),
            *(ResBlock(coarse) for _ in range(encoder_blocks[2])),
            ChannelNorm(coarse),
            nn.Conv2d(coarse, latent_channels, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, coarse, 3, padding=1),
            *(ResBlock(coarse) for _ in range(decoder_blocks[2])),
            _double(coarse, middle),
            *(ResBlock(middle) for _ in range(decoder_blocks[1])),
            _double(middle, fine),
            *(ResBlock(fine) for _ in range(decoder_blocks[0])),
            ChannelNorm(fine),
            _double(fine, 4),
        )
        self.register_buffer("shift", _channels(latent_mean, latent_channels, 0.0), persistent=False)
        self.register_buffer("scale", _channels(latent_std, latent_channels, 1.0), persistent=False)

    def set_latent_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Fix the scale of the latent: `mean` and `std` (C,) of the raw latent over the training pictures."""
        self.register_to_config(latent_mean=mean.tolist(), latent_std=std.tolist())
        self.shift = mean.float().view(1, -1, 1, 1)
        self.scale = std.float().view(1, -1, 1, 1)

    def raw_latent(self, pictures: Tensor) -> Tensor:
        """The encoder's own output, before the scale: (B, C, H / 8, W / 8)."""
        return self.encoder(pictures * 2 - 1)

    def from_raw(self, raw: Tensor) -> Tensor:
        """The decoder's answer to an unscaled latent; training clamps nothing."""
        return self.decoder(raw) * 0.5 + 0.5

    def encode(self, pictures: Tensor) -> Tensor:
        """(B, 4, H, W) premultiplied in [0, 1] -> normalised latent (B, C, H / 8, W / 8)."""
        height, width = pictures.shape[-2:]
        if height % 8 or width % 8:
            raise ValueError(f"pictures of {height} x {width}: both sides must be multiples of 8")
        return (self.raw_latent(pictures).float() - self.shift) / self.scale

    def decode(self, latents: Tensor) -> Tensor:
        """Normalised latent (B, C, h, w) -> pictures (B, 4, 8 h, 8 w) in [0, 1], colours no brighter than alpha."""
        pictures = self.from_raw((latents * self.scale + self.shift).to(self.dtype)).float().clamp(0, 1)
        return _below_alpha(pictures)

    def forward(self, pictures: Tensor) -> Tensor:
        """The reconstruction of `pictures`."""
        return self.decode(self.encode(pictures))


def _half(inputs: int, outputs: int) -> nn.Module:
    """(B, I, H, W) -> (B, O, H / 2, W / 2)."""
    return nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * inputs, outputs, 3, padding=1))


def _double(inputs: int, outputs: int) -> nn.Module:
    """(B, I, H, W) -> (B, O, 2 H, 2 W)."""
    return nn.Sequential(nn.Conv2d(inputs, 4 * outputs, 3, padding=1), nn.PixelShuffle(2))


class ResBlock(nn.Module):
    """x + conv(silu(conv(norm(x)))); the second convolution starts at zero, so a fresh block is the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        for parameter in self.conv2.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.conv1(self.norm(x))))


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of each pixel of an NCHW map, in `channels_last` memory where that is a view."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            y = F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2], self.weight.to(x.dtype), self.bias.to(x.dtype))
        return y.permute(0, 3, 1, 2)


def _below_alpha(pictures: Tensor) -> Tensor:
    return torch.cat([torch.minimum(pictures[:, :3], pictures[:, 3:]), pictures[:, 3:]], 1)


def _channels(values: list[float] | None, count: int, default: float) -> Tensor:
    return torch.tensor(values or [default] * count, dtype=torch.float32).view(1, -1, 1, 1)


def fit_preview(latents: Tensor, pictures: Tensor) -> list[list[float]]:
    """The C + 1 rows of RGBA (last: the constant) that map normalised latents (N, C, S, S) to the mean colours of their
    pictures, premultiplied (N, 4, H, H) in [0, 1], by least squares."""
    colours = F.avg_pool2d(pictures.float(), pictures.shape[-1] // latents.shape[-1])
    values = latents.float().permute(0, 2, 3, 1).flatten(0, 2)  # (N S S, C)
    design = torch.cat([values, torch.ones(len(values), 1)], 1)
    solution = torch.linalg.lstsq(design, colours.permute(0, 2, 3, 1).flatten(0, 2)).solution
    return [[round(value, 5) for value in row] for row in solution.tolist()]


def preview(latents: Tensor, coefficients: list[list[float]]) -> Tensor:
    """Latents (N, C, S, S) -> premultiplied (N, 4, PREVIEW_SIZE, PREVIEW_SIZE) in [0, 1], colours below alpha. One
    matrix product instead of the decoder: microseconds a step, and colours and outline are already right."""
    rows = torch.tensor(coefficients)
    colours = torch.einsum("nchw,cr->nrhw", latents.float(), rows[:-1]) + rows[-1].view(1, 4, 1, 1)
    return _below_alpha(F.interpolate(colours, size=(PREVIEW_SIZE, PREVIEW_SIZE), mode="bilinear").clamp(0, 1))
