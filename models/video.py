"""The video generator: a planner says what moves where; the image generator draws each frame, with attention between.

The planner answers once a clip, from words and a picture, with curves in closed form (a few harmonics of the clip's
time): so a clip may have any number of frames, a loop closes by construction, and a plan costs less than one picture.
The picture moved so is a draft of each frame; the generator reads it as the image generator reads its references, and
copies it where the network says so. What a plan can't say (a wink, a flame) is left to the temporal attention. Motion
from a network first, then frames that follow it: Motion-I2V (arXiv 2401.15977), latent flow diffusion (2303.13744);
movers with affine motions: 2003.00596.

The part holds only what is added to the image generator, which is stored once, stays as it is, and is given to every
call. All that is added starts at zero, so at first a clip is T pictures drawn apart; and it is multiplied by the noise
level, as an error of the clean latents is divided by it in the velocity (LOG.md). Sources: zero-initialised temporal
layers in an image generator (Align your Latents, arXiv 2304.08818; AnimateDiff, 2307.04725); attention over all tokens
of the clip, because at 16 pixels a token things leave their place (Open-Sora 1.0's report); the picture as an input
beside its mask (Stable Video Diffusion, 2311.15127; Emu Video, 2311.10709).

Shapes: B clips, T frames, K movers, C latent channels, S latent size, P patch, N = (S / P)^2 tokens a frame, D width,
E = D / heads, L text tokens, M basis functions.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from models.dit import Block, DiT, patchify, unpatchify
from models.layers import SwiGLU, attend, layer_norm, modulate, padding_bias, rotate, timestep_embedding
from models.sampling.condition import Condition

MOVERS = 2
HARMONICS = 8  # of the clip's length: 16 frames show no faster ones
POWERS = 3
BASIS = 4 * HARMONICS + POWERS + 2
EVEN = 4 * HARMONICS  # the place of time itself
POSE = 6  # as in `models.data.clips`: right, down, turn, width, height, opacity
TURN = 2  # its place
PLACE = 3  # middle of a mover (x, y) and its side, in sides of the picture
CELLS = 32  # a side: resolution of what belongs to which mover
LEAST_WIDTH = 0.03  # of a mover that is seen edge on
SHARPER = 4.0  # than the planner is sure of it: what it half takes for ground would leave a ghost behind
# Of the poses' numbers, in which the last layer answers.
UNITS = (0.3, 0.3, 3.0, 0.3, 0.3, 0.3)
SETTINGS = 3  # loop, frames a second, strength


def clip_settings(loop: Tensor, fps: Tensor, strength: Tensor) -> Tensor:
    """Settings of a clip besides its words, (B, SETTINGS), each of about unit size.

    `loop` (B,) bool, `fps` (B,) frames a second, `strength` (B,) of the amplitudes, 1 is normal.
    """
    return torch.stack([loop.float(), (fps / 8).log2(), strength.clamp_min(0.1).log2()], 1)


def frame_times(frames: int, loop: Tensor) -> Tensor:
    """(B, T) in [0, 1]: a loop's frames divide its period, other clips end where the motion does."""
    number = torch.arange(frames, device=loop.device)
    return torch.where(loop.bool()[:, None], number / frames, number / max(frames - 1, 1))


def time_basis(times: Tensor, loop: Tensor) -> Tensor:
    """Functions (B, T, BASIS) of `times` (B, T) that vanish at 0; those of a loop (B,) have its period, but for time
    itself, by which things turn whole turns."""
    t = times[..., None]
    k = torch.arange(1, 2 * HARMONICS + 1, device=times.device) / 2  # every second one does not close
    closes = (k % 1 == 0).to(times.dtype)
    waves = torch.cat([torch.sin(2 * torch.pi * k * t), 1 - torch.cos(2 * torch.pi * k * t)], -1)
    powers = t ** torch.arange(1, POWERS + 1, device=times.device)
    stops = torch.cat([(2 * t).clamp(max=1), (4 * t / 3).clamp(max=1)], -1)  # what is fast arrives early, and waits
    closed = torch.cat([closes.repeat(2), F.pad(times.new_ones(1), (0, POWERS + 1))])
    open_or_closed = torch.where(loop.bool()[:, None], closed, torch.ones_like(closed))
    return torch.cat([waves, powers, stops], -1) * open_or_closed[:, None]


@dataclass(frozen=True)
class Plan:
    """How a clip moves."""

    curves: Tensor  # (B, K, BASIS, POSE), weights of the basis functions
    start: Tensor  # (B, K), added to the opacity at all times: what fades in begins at 0
    places: Tensor  # (B, K, PLACE) of the movers at rest
    masks: Tensor  # (B, K + 1, CELLS, CELLS) logits of what a cell of the picture belongs to; 0 stays where it is
    left_out: Tensor  # (B,), root mean square by which the draft is expected to miss the latents

    def poses(self, times: Tensor, loop: Tensor) -> Tensor:
        """(B, T, K, POSE) at `times` (B, T)."""
        even = self.curves[:, :, EVEN] * F.one_hot(torch.tensor(TURN), POSE)  # (B, K, POSE): all that a loop keeps
        curves = self.curves.clone()
        curves[:, :, EVEN] = torch.where(loop.bool()[:, None, None], even, self.curves[:, :, EVEN])
        moved = torch.einsum("btm,bkmp->btkp", time_basis(times, loop), curves)
        rest = moved.new_tensor([0, 0, 0, 1, 1, 1])
        opacity = F.pad(self.start[:, None, :, None], (POSE - 1, 0))
        return rest + moved + opacity

    def closed(self, loop: Tensor) -> "Plan":
        """The plan whose loops (B,) turn by whole turns, so that they close, and that begins with all or nothing."""
        curves = self.curves.clone()
        whole = (curves[:, :, EVEN, TURN] / math.tau).round() * math.tau
        curves[:, :, EVEN, TURN] = torch.where(loop.bool()[:, None], whole, curves[:, :, EVEN, TURN])
        return replace(self, curves=curves, start=self.start.round())


class MotionPlanner(nn.Module):
    """Transformer over the picture's patches and a query for each mover, reading the caption, `context` numbers a
    token, by cross-attention. Its blocks are the image generator's; `channels` and `size` are C and S."""

    def __init__(self, width: int, depth: int, heads: int, channels: int, size: int, context: int) -> None:
        super().__init__()
        self.grid = size // 2
        self.patch_in = nn.Linear(4 * channels, width)
        self.positions = nn.Parameter(0.02 * torch.randn(self.grid**2, width))
        self.movers = nn.Parameter(torch.randn(MOVERS, width))
        self.text_in = nn.Linear(context, context)
        self.settings_in = nn.Sequential(nn.Linear(SETTINGS, width), nn.SiLU(), nn.Linear(width, 6 * width))
        self.blocks = nn.ModuleList(Block(width, heads, context) for _ in range(depth))
        self.curves_out = nn.Linear(width, BASIS * POSE + 1 + PLACE + 1)
        self.masks_out = nn.Linear(width, (MOVERS + 1) * (CELLS // self.grid) ** 2)
        for layer in (self.curves_out, self.masks_out):  # at first nothing moves
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, given: Tensor, states: Tensor, mask: Tensor, settings: Tensor) -> Plan:
        """The plan of clips.

        Args:
            given: clean latents (B, C, S, S) of the picture as it is at rest.
            states: token states of the text (B, L, D); `mask` (B, L), true at real tokens.
            settings: (B, SETTINGS) of `clip_settings`.
        """
        dtype = self.patch_in.weight.dtype
        tokens = self.patch_in(patchify(given.to(dtype), 2)) + self.positions
        x = torch.cat([self.movers.expand(len(given), -1, -1).to(tokens.dtype), tokens], 1)  # (B, K + N, D)
        words = self.text_in(layer_norm(states.to(dtype)))
        words, seen = F.pad(words, (0, 0, 1, 0)), F.pad(mask.bool(), (1, 0), value=True)
        condition = self.settings_in(settings.to(dtype)).unflatten(-1, (6, -1))
        for block in self.blocks:
            x = block(x, condition, words, padding_bias(seen))
        movers, tokens = layer_norm(x).split([MOVERS, self.grid**2], 1)
        return self._plan(self.curves_out(movers).float(), self.masks_out(tokens).float())

    def _plan(self, curves: Tensor, masks: Tensor) -> Plan:
        curves, start, places, left_out = curves.split([BASIS * POSE, 1, PLACE, 1], -1)
        cell = CELLS // self.grid
        masks = masks.unflatten(-1, (MOVERS + 1, cell, cell)).unflatten(1, (self.grid, self.grid))
        return Plan(
            curves.unflatten(-1, (BASIS, POSE)) * curves.new_tensor(UNITS),
            start[..., 0],
            places + places.new_tensor([0.5, 0.5, 1.0]),
            masks.permute(0, 3, 1, 4, 2, 5).reshape(len(masks), MOVERS + 1, CELLS, CELLS),
            left_out[:, :, 0].mean(1),
        )


def moved(picture: Tensor, plan: Plan, times: Tensor, loop: Tensor) -> tuple[Tensor, Tensor]:
    """The pictures (B, 4, H, W), premultiplied in [0, 1], as the plan moves them: (B, T, 4, H, W), and what they are to
    be multiplied by, (B, T, 1, H, W), where they fade.

    What a mover leaves behind is filled with the mean colour of what stays; where nothing stays, with nothing. There
    what fades would be half transparent, and the autoencoder knows no such pictures: so that is done after it.
    """
    shares = F.interpolate((SHARPER * plan.masks).softmax(1), picture.shape[-2:], mode="bilinear")  # (B, K + 1, H, W)
    stays = shares[:, :1]
    colour = (picture * stays).sum((2, 3), keepdim=True) / stays.sum((2, 3), keepdim=True).clamp_min(1.0)
    filled = stays.mean((2, 3), keepdim=True).gt(0.05)  # a picture that moves whole has no ground to show
    canvas = (picture * stays + (1 - stays) * colour * filled)[:, None].expand(-1, times.shape[1], -1, -1, -1)
    poses, fading = plan.closed(loop).poses(times, loop), torch.ones_like(canvas[:, :, :1])
    for mover in reversed(range(MOVERS)):  # what is named first is nearest
        share = shares[:, mover + 1 : mover + 2]
        layer = _placed(torch.cat([picture * share, share], 1), poses[:, :, mover], plan.places[:, mover])
        opacity = poses[:, :, mover, -1].clamp(0, 1)[..., None, None, None]
        fading = fading * torch.where(filled[:, None], 1, 1 - layer[:, :, 4:].clamp(0, 1) * (1 - opacity))
        layer = layer * torch.where(filled[:, None], opacity, 1)
        covered = torch.where(filled[:, None], layer[:, :, 4:], layer[:, :, 3:4]).clamp(0, 1)
        canvas = layer[:, :, :4] + (1 - covered) * canvas
    colours, alpha = canvas.clamp(0, 1).split([3, 1], 2)
    return torch.cat([torch.minimum(colours, alpha), alpha], 2), fading


def _placed(layer: Tensor, poses: Tensor, place: Tensor) -> Tensor:
    """A mover's layer (B, 5, H, W) in its poses (B, T, POSE) about its `place` (B, PLACE): (B, T, 5, H, W)."""
    shift, middle = poses[..., :2] * place[:, None, 2:], place[:, None, :2]
    back = _back(*poses[..., 2:5].unbind(-1))
    origin = middle - (back @ (middle + shift)[..., None])[..., 0]  # where the picture's corner comes from
    # Coordinates of grid_sample run from -1 to 1.
    offset = 2 * origin - 1 + back.sum(-1)
    theta = torch.cat([back, offset[..., None]], -1).flatten(0, 1)  # (B T, 2, 3)
    frames = poses.shape[1]
    source = layer.repeat_interleave(frames, 0)
    grid = F.affine_grid(theta, list(source.shape), align_corners=False)
    return F.grid_sample(source, grid, mode="bicubic", align_corners=False).unflatten(0, (-1, frames))


def reach(alpha: Tensor, plan: Plan, times: Tensor, loop: Tensor) -> Tensor:
    """(B, T, 2, 2): least and greatest x and y, in sides of the picture, of what is seen of it in each frame.

    `alpha` (B, 1, H, W) of the picture at rest. A frame in which nothing is seen reaches from 1 to 0.
    """
    cells = F.adaptive_max_pool2d(alpha.float(), CELLS)[:, 0] > 0.1
    middle = (torch.arange(CELLS, device=alpha.device) + 0.5) / CELLS
    points = torch.stack(torch.meshgrid(middle, middle, indexing="xy"), -1)  # (CELLS, CELLS, 2)
    at = points.expand(len(alpha), times.shape[1], -1, -1, -1)
    poses, masks = plan.closed(loop).poses(times, loop), plan.masks.argmax(1)
    seen = cells[:, None].expand(at.shape[:-1])
    for mover in range(MOVERS):
        pose, place = poses[:, :, mover, None, None], plan.places[:, mover, None, None, None]
        apart = torch.linalg.solve(_back(*pose[..., 2:5].unbind(-1)), (points - place[..., :2])[..., None])[..., 0]
        moves = (masks == mover + 1)[:, None]
        at = torch.where(moves[..., None], place[..., :2] + pose[..., :2] * place[..., 2:] + apart, at)
        seen = seen & (~moves | (pose[..., -1] > 0.1))
    low, high = (torch.where(seen[..., None], at, empty) for empty in (1.0, 0.0))
    return torch.stack([low.amin((2, 3)), high.amax((2, 3))], 2)


def _back(turn: Tensor, width: Tensor, height: Tensor) -> Tensor:
    """The inverse (..., 2, 2) of scaling and then turning; what is seen edge on keeps LEAST_WIDTH."""
    width, height = (torch.where(x < 0, -1.0, 1.0) * x.abs().clamp_min(LEAST_WIDTH) for x in (width, height))
    cos, sin = turn.cos(), turn.sin()
    return torch.stack([cos / width, sin / width, -sin / height, cos / height], -1).unflatten(-1, (2, 2))


EVERY = 2  # blocks of the image generator for one of motion


@dataclass(frozen=True)
class Frames:
    """What is known of a clip's frames."""

    times: Tensor  # (B, T) in [0, 1], as `frame_times` gives them, or some of them
    loop: Tensor  # (B,) bool
    settings: Tensor  # (B, SETTINGS) of `clip_settings`
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
