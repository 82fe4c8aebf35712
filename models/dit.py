"""The image generator: a Diffusion Transformer that predicts the clean latent and returns a flow velocity.

Sources: DiT (arXiv 2212.09748: patches, adaLN-zero), PixArt-alpha (2310.00426: one shared modulation with a table per
block, cross-attention to text), JiT (2511.13720: x-prediction with a loss on the velocity), U-ViT (2209.12152: long
skips), EDM (2206.00364, section 5: a skip of the input around the network). The noise level sigma is the time t:
x_t = (1 - t) x0 + t noise, velocity = noise - x0.

Shapes: B batch, C latent channels, S latent size, P patch, N = (S / P)^2 tokens, D width, L text tokens,
T width of the text's token states, V size of the semantic vector, W numbers of a warp.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from models.layers import Attention, SwiGLU, layer_norm, modulate, padding_bias, timestep_embedding

MIN_TIME = 1e-3  # noise level below which x - x0 is nothing but rounding


class DiT(ModelMixin, ConfigMixin):
    """Text- and vector-conditioned Diffusion Transformer on latents; block i also feeds block depth - 1 - i."""

    config: Any
    _supports_gradient_checkpointing = True
    _no_split_modules = ["Block"]  # noqa: RUF012 - diffusers' own declaration
    _repeated_blocks = ["Block"]  # noqa: RUF012

    @register_to_config
    def __init__(
        self,
        width: int = 256,  # D
        depth: int = 10,  # blocks
        heads: int = 4,  # must divide D
        channels: int = 8,  # C
        size: int = 16,  # S
        patch: int = 2,  # P
        context: int = 256,  # T
        vector: int = 128,  # V
        warp: int = 0,  # W: how a training picture was warped (`models.data.variety`); 0 for no such input
    ) -> None:
        super().__init__()
        if size % patch:
            raise ValueError(f"a patch of {patch} does not divide a latent of {size}")
        values = channels * patch * patch
        self.gradient_checkpointing = False
        self.patch_in = nn.Linear(values, width)
        # A reference latent is read patch upon patch beside the noisy one. Its gate depends on the time: where little
        # noise is left, a reference adds nothing.
        self.reference_in = nn.Linear(values, width, bias=False)
        self.reference_gate = nn.Linear(width, width)
        self.positions = nn.Parameter(torch.empty((size // patch) ** 2, width))
        self.time_in = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.vector_in = nn.Linear(vector, width)
        self.warp_in = nn.Linear(warp, width, bias=False) if warp else None
        self.null_vector = nn.Parameter(torch.zeros(vector))
        self.text_in = nn.Linear(context, context)
        self.vector_token = nn.Linear(vector, context)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.blocks = nn.ModuleList(Block(width, heads, context, long_skip=2 * i >= depth) for i in range(depth))
        self.table = nn.Parameter(torch.zeros(2, width))
        self.out = nn.Linear(width, values)
        # EDM's c_skip, learned for each value of a patch: where little noise is left, the blocks need not carry the
        # picture itself through their norms.
        self.skip_gain = nn.Linear(width, values)
        self._initialise()

    def _initialise(self) -> None:
        """Xavier everywhere; zero where a branch enters the stream, so that every block starts as the identity."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.positions, std=0.02)
        nn.init.normal_(self.null_vector, std=0.02)
        blocks: list[Any] = list(self.blocks)
        branches = [self.out, self.modulation[1], self.skip_gain, self.warp_in, self.reference_gate]
        for zero in branches + [block.cross.out for block in blocks] + [block.skip for block in blocks]:
            if zero is not None:
                nn.init.zeros_(zero.weight)

    @property
    def bypassed(self) -> int:
        """The block that a weakened row skips: the fourth of ten and of twelve (`models/train/LOG.md`)."""
        return 3 * len(self.blocks) // 10

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        states: Tensor,
        mask: Tensor,
        vector: Tensor,
        reference: Tensor | None = None,
        weakened: Tensor | None = None,
        warp: Tensor | None = None,
    ) -> Tensor:
        """Velocity (B, C, S, S), in fp32, at the noisy latent.

        Args:
            x: noisy latent (B, C, S, S), per-channel unit variance when clean.
            t: noise level sigma in [0, 1], (B,).
            states: token states of the text (B, L, T).
            mask: true at real tokens (B, L); a row of false drops the text.
            vector: unit semantic vectors (B, V); a row of zeros drops it.
            reference: clean latents to draw from, (B, C, S, S); a row of zeros adds nothing.
            weakened: (B,), true where the answer is to be a worse one of the same kind, for guidance to lead away from
                (autoguidance, arXiv 2406.02507): those rows skip one block.
            warp: how the training picture is warped (B, W); a row of zeros adds nothing.
        """
        dtype = self.out.weight.dtype
        vector = self._vector(vector.to(dtype))  # (B, V)
        time = self.time_in(timestep_embedding(t, self.config.width).to(dtype)) + self.vector_in(vector)  # (B, D)
        if self.warp_in is not None and warp is not None:
            time = time + self.warp_in(warp.to(dtype))
        condition = self.modulation(time).unflatten(-1, (6, -1))  # (B, 6, D)
        context, bias = self._context(states.to(dtype), mask.bool(), vector)
        patches = patchify(x, self.config.patch)
        tokens = self.patch_in(patches.to(dtype))  # (B, N, D)
        if reference is not None:
            drawn_from = self.reference_in(patchify(reference, self.config.patch).to(dtype))
            tokens = torch.addcmul(tokens, self.reference_gate(time)[:, None], drawn_from)
        tokens = tokens + self.positions.to(tokens.dtype)
        tokens = self._run_blocks(tokens, condition, context, bias, weakened)
        shift, scale = (time[:, None] + self.table).unbind(1)
        output = self.out(modulate(layer_norm(tokens), shift, scale)).float()
        output = torch.addcmul(output, self.skip_gain(time).float()[:, None], patches.float())
        return velocity_to(unpatchify(output, self.config.patch), x.float(), t.float())

    def _vector(self, vector: Tensor) -> Tensor:
        """A row of zeros becomes the learned null; the others go to unit variance per number instead of unit length."""
        absent = (vector == 0).all(-1, keepdim=True)
        return torch.where(absent, self.null_vector.to(vector.dtype), vector) * math.sqrt(vector.shape[-1])

    def _context(self, states: Tensor, mask: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Keys (B, 1 + L, T) and bias of cross-attention: a token made of the vector, which is never masked, and the
        text's tokens. With every text token masked, the first one is the null of the text."""
        text = self.text_in(layer_norm(states))
        context = torch.cat([self.vector_token(vector)[:, None].to(text.dtype), text], 1)
        return context, padding_bias(torch.cat([mask.new_ones(len(mask), 1), mask], 1))

    def _run_blocks(
        self, x: Tensor, condition: Tensor, context: Tensor, bias: Tensor, weakened: Tensor | None
    ) -> Tensor:
        """The stream after the last block."""
        skips: list[Tensor] = []
        for i, block in enumerate(self.blocks):
            late = 2 * i >= len(self.blocks)
            inputs = (x, condition, context, bias, skips.pop() if late and skips else None)
            if weakened is not None and i == self.bypassed:
                strong = ~weakened
                x = x.clone()
                x[strong] = block(x[strong], condition[strong], context[strong], bias[strong])
            elif torch.is_grad_enabled() and self.gradient_checkpointing:
                x = self._gradient_checkpointing_func(block, *inputs)
            else:
                x = block(*inputs)
            if not late:
                skips.append(x)
        return x


class Block(nn.Module):
    """Self-attention, cross-attention and feed-forward; the first and the last are modulated by time and vector.
    `long_skip` adds a projection of an earlier block's output, starting from zero."""

    def __init__(self, width: int, heads: int, context: int, long_skip: bool = False) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.cross = Attention(width, heads, context=context)
        self.mlp = SwiGLU(width)
        self.table = nn.Parameter(torch.zeros(6, width))
        self.skip = nn.Linear(width, width, bias=False) if long_skip else None

    def forward(
        self, x: Tensor, condition: Tensor, context: Tensor, bias: Tensor, skip: Tensor | None = None
    ) -> Tensor:
        """`x` (B, N, D), `condition` (B, 6, D), `context` (B, L, T), `bias` (B, 1, 1, L) -> (B, N, D)."""
        if self.skip is not None and skip is not None:
            x = x + self.skip(skip)
        modulation = (condition + self.table).to(x.dtype)
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation.unbind(1)  # (B, D) each
        x = torch.addcmul(x, gate1[:, None], self.attention(modulate(layer_norm(x), shift1, scale1)))
        x = x + self.cross(layer_norm(x), context, bias)
        return torch.addcmul(x, gate2[:, None], self.mlp(modulate(layer_norm(x), shift2, scale2)))


def patchify(x: Tensor, patch: int) -> Tensor:
    """(B, C, S, S) -> (B, N, C * P * P), rows of patches from the top left."""
    return F.pixel_unshuffle(x, patch).flatten(2).transpose(1, 2).contiguous()


def unpatchify(tokens: Tensor, patch: int) -> Tensor:
    """The inverse of `patchify`: (B, N, C * P * P) -> (B, C, S, S)."""
    side = math.isqrt(tokens.shape[1])
    return F.pixel_shuffle(tokens.transpose(1, 2).contiguous().unflatten(2, (side, side)), patch)


def velocity_to(x0: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """The velocity that leads from x_t (B, C, S, S) back to x0 at times t (B,): (x_t - x0) / t, which is noise - x0."""
    return (x - x0) / t.clamp_min(MIN_TIME)[:, None, None, None]
