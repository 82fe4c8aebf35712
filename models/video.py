"""The video generator: the image generator on every frame, and between its blocks attention over the whole clip.

Only what is added is here and in the part that ships; the image generator is stored once, stays as it is, and is given
to every call. All that is added starts at zero, so at first a clip is T pictures drawn apart; and it is multiplied by
the noise level, as an error of the clean latents is divided by it in the velocity (LOG.md). Sources: zero-initialised
temporal layers in an image generator (Align your Latents, arXiv 2304.08818; AnimateDiff, 2307.04725); attention over
all tokens of the clip, because at 16 pixels a token things leave their place (Open-Sora 1.0's report); the picture as
an input beside its mask (Stable Video Diffusion, 2311.15127; Emu Video, 2311.10709).

The planner (`models.motion`) says from the caption where things go; the picture moved so is a draft of each frame, read
as the image generator reads its references, and copied where the network says so.

Shapes: B clips, T frames, C latent channels, S latent size, P patch, N = (S / P)^2 tokens a frame, D width, E = D /
heads, L text tokens.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from models.dit import DiT, patchify, unpatchify
from models.layers import SwiGLU, attend, layer_norm, modulate, rotate, timestep_embedding
from models.motion import SETTINGS, MotionPlanner
from models.sampling.condition import Condition

EVERY = 2  # blocks of the image generator for one of motion


@dataclass(frozen=True)
class Frames:
    """What is known of a clip's frames."""

    times: Tensor  # (B, T) in [0, 1], as `models.motion.frame_times` gives them, or some of them
    loop: Tensor  # (B,) bool
    settings: Tensor  # (B, SETTINGS) of `models.motion.clip_settings`
    draft: Tensor  # (B, T, C, S, S) latents of the picture as it is planned to move; zeros in clips without
    first: Tensor  # (B, C, S, S) latents of the picture at rest; zeros where not given
    last: Tensor  # (B, C, S, S) latents of the last frame; zeros where not given

    def of(self, index: Tensor) -> "Frames":
        """Those frames of the clips, in that order."""
        return replace(self, times=self.times[:, index], draft=self.draft[:, index])

    def rows(self, index: slice) -> "Frames":
        """Those of the clips."""
        return Frames(*(getattr(self, field.name)[index] for field in fields(self)))


class VideoDiT(ModelMixin, ConfigMixin):
    """What a clip needs beside the image generator: motion blocks, the inputs of given frames, the planner. Sizes are
    the image generator's where nothing else is said."""

    config: Any

    @register_to_config
    def __init__(
        self,
        width: int = 256,
        depth: int = 10,
        heads: int = 4,  # of the motion attention
        channels: int = 8,
        size: int = 16,
        patch: int = 2,
        context: int = 256,
        hidden: int = 256,  # of the motion blocks' feed-forward layers
        planner_size: dict[str, int] | None = None,  # arguments of `MotionPlanner` besides those
    ) -> None:
        super().__init__()
        values = patch * patch * (3 * channels + 3)
        self.frames_in = nn.Linear(values, width, bias=False)
        self.settings_in = nn.Linear(SETTINGS, width)
        self.time_in = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.blocks = nn.ModuleList(MotionBlock(width, heads, hidden) for _ in range(depth // EVERY))
        self.copy_out = nn.Linear(width, patch * patch)
        self.planner = MotionPlanner(channels=channels, size=size, context=context, **(planner_size or {}))
        for zero in (self.frames_in.weight, self.copy_out.weight, self.copy_out.bias):
            nn.init.zeros_(zero)

    def forward(self, image: Any, x: Tensor, t: Tensor, condition: Condition, frames: Frames) -> Tensor:
        """Velocity (B, T, C, S, S) in fp32.

        Args:
            image: the image generator, a `DiT`.
            x: noisy latents (B, T, C, S, S).
            t: noise level of each clip, (B,).
            condition: of each clip (B rows); its reference is not read, the draft is one.
            frames: what is known of the frames.
        """
        batch, count = x.shape[:2]
        modulation, given = self._modulation(t, frames), self._given(frames)
        turns = rotations(frames, self.config.size // self.config.patch, self.config.width // self.config.heads)
        last: list[Tensor] = []

        def between(number: int, tokens: Tensor) -> Tensor:
            clip = tokens.unflatten(0, (batch, count)).flatten(1, 2)  # (B, T N, D)
            added = self.blocks[number - 1](clip, modulation, turns) - clip if number else given
            last[:] = [clip + (t[:, None, None] * added).to(clip.dtype)]
            return last[0].reshape(tokens.shape)

        each = Condition(*(part.repeat_interleave(count, 0) for part in vars(condition).values()))
        inputs = {**vars(each), "reference": frames.draft.flatten(0, 1)}
        with interposed(image, between):
            velocity = image(x.flatten(0, 1), t.repeat_interleave(count), **inputs).unflatten(0, (batch, count))
        return self._copied(velocity, x, t, frames.draft, last[0])

    def _modulation(self, t: Tensor, frames: Frames) -> Tensor:
        """(B, 6, D) from the noise level (B,) and what is asked for."""
        dtype = self.settings_in.weight.dtype
        time = self.time_in(timestep_embedding(t, self.config.width).to(dtype))
        return self.modulation(time + self.settings_in(frames.settings.to(dtype))).unflatten(-1, (6, -1))

    def _given(self, frames: Frames) -> Tensor:
        """(B, T N, D) of draft, first and last frame, and for each a channel that says whether it is there, and of the
        last two how near in time: what turns about in a loop has no other way to know where it begins."""
        count, looping = frames.times.shape[1], frames.loop.bool()[:, None]
        began = torch.where(looping, 2 * torch.minimum(frames.times, 1 - frames.times), frames.times)
        near = (torch.ones_like(began), 1 - began, torch.where(looping, 1 - began, began))
        ends = [part[:, None].expand(-1, count, -1, -1, -1) for part in (frames.first, frames.last)]
        parts = [frames.draft, *ends]
        there = [
            (part.flatten(2).any(2) * how)[..., None, None, None].expand_as(part[:, :, :1])
            for part, how in zip(parts, near, strict=True)
        ]
        known = torch.cat([*parts, *(one.to(frames.draft.dtype) for one in there)], 2).flatten(0, 1)
        tokens = self.frames_in(patchify(known, self.config.patch).to(self.frames_in.weight.dtype))
        return tokens.unflatten(0, (-1, count)).flatten(1, 2)

    def _copied(self, velocity: Tensor, x: Tensor, t: Tensor, draft: Tensor, tokens: Tensor) -> Tensor:
        """The velocity that leads to clean latents of which a learned share at each place, times t, is the draft."""
        cells = self.copy_out(layer_norm(tokens)).unflatten(1, (x.shape[1], -1)).flatten(0, 1)  # (B T, N, P P)
        share = unpatchify(cells, self.config.patch)
        share = share.float().unflatten(0, x.shape[:2]) * draft.flatten(2).any(2)[..., None, None, None]
        clean = x.float() - t.float()[:, None, None, None, None] * velocity
        return velocity - share * (draft.float() - clean)


class MotionBlock(nn.Module):
    """Attention over the tokens of a clip and a feed-forward layer of `hidden` numbers; both start at zero. E = width /
    heads must be a multiple of 4."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.mlp = SwiGLU(width, hidden)
        self.table = nn.Parameter(torch.zeros(6, width))
        for zero in (self.out, self.mlp.down):
            nn.init.zeros_(zero.weight)

    def forward(self, x: Tensor, modulation: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        """`x` (B, T N, D), `modulation` (B, 6, D), `turns` of `rotations` -> (B, T N, D)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (modulation + self.table).to(x.dtype).unbind(1)
        x = torch.addcmul(x, 1 + gate1[:, None], self._attention(modulate(layer_norm(x), shift1, scale1), turns))
        return torch.addcmul(x, 1 + gate2[:, None], self.mlp(modulate(layer_norm(x), shift2, scale2)))

    def _attention(self, x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in self.query_key_value(x).chunk(3, -1))
        q, k = rotate(layer_norm(q), *turns).to(v.dtype), rotate(layer_norm(k), *turns).to(v.dtype)
        y = attend(*(part.transpose(1, 2) for part in (q, k, v)))
        return self.out(y.transpose(1, 2).flatten(2))


def rotations(frames: Frames, side: int, part: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines (B, T N, 1, E / 2) of rotary positions: half for time, a quarter each for row and column.

    A loop takes whole turns, so that its last frame stands before its first; another clip takes half of them.
    """
    device, half = frames.times.device, part // 2
    whole = torch.where(frames.loop.bool(), 2 * torch.pi, torch.pi)[:, None, None]
    time = whole * frames.times[..., None] * torch.arange(1, half - 2 * (half // 4) + 1, device=device)  # (B, T, .)
    speeds = torch.pi / side * side ** torch.linspace(0, 1, half // 4, device=device)
    place = torch.arange(side, device=device)[:, None] * speeds  # (side, .)
    row, column = place[:, None].expand(-1, side, -1), place[None].expand(side, -1, -1)
    batch, count = frames.times.shape
    across = torch.cat([row, column], -1).flatten(0, 1).expand(batch, count, -1, -1)
    angles = torch.cat([time[:, :, None].expand(-1, -1, side * side, -1), across], -1).flatten(1, 2)[:, :, None]
    return angles.cos(), angles.sin()


@contextmanager
def interposed(image: DiT, between: Callable[[int, Tensor], Tensor]) -> Iterator[None]:
    """While it is open, `between` changes the image generator's tokens: (0, before the first block), and then (1, 2...)
    after every second one."""

    def before(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (between(0, inputs[0]), *inputs[1:])

    def after(number: int) -> Callable[..., Tensor]:
        return lambda _module, _inputs, tokens: between(number, tokens)

    with ExitStack() as removed:
        removed.enter_context(image.blocks[0].register_forward_pre_hook(before))
        for number, block in enumerate(image.blocks[EVERY - 1 :: EVERY], 1):
            removed.enter_context(block.register_forward_hook(after(number)))
        yield
