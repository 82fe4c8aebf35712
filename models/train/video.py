"""Training the video generator (recipe "video"): motion layers and planner over the frozen image generator. And the
head that reads the motion of a clip (recipe "motion", `models.space.MotionHead`), for search by words.

A step has two halves: flow matching on latents of a few clips, with some of their frames, and the planner's poses
against the true ones on many rows, at a fraction of the cost. The content of a frame depends on its time, not on the
number of other frames, so few frames teach as much for less.

Clips are encoded in shards. A shard is a pure function of the seed and its number; it is encoded at first use and
stored in a folder. So training starts after the first shard, and sees new clips as it continues.

Shapes: B clips, T frames, latents (C, S, S), K movers; R rows of a shard, of which the first M have frames; L text
tokens of D numbers.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from models.assets import preset
from models.autoencoder import Autoencoder
from models.data.captions import caption
from models.data.clips import (
    FRAMES,
    MOTIONS,
    PLAIN_TRIES,
    REST,
    SPEEDS,
    Clip,
    Move,
    make_clip,
    motion_caption,
    plain_clip,
)
from models.data.extra_sets import AnimatedSet, animated_caption, load_animated
from models.data.grammar import stream
from models.data.pixels import SIZE, to_tensor
from models.data.stored import progress, stored_tensors
from models.data.world import Picture, World
from models.dit import DiT, velocity_to
from models.pipelines.video import ClipSampling, clip_noise, denoise_clip, planned_frames
from models.runtime import native_dtype
from models.sampling.condition import Condition
from models.space import MOTION, Embedder, MotionHead, lines
from models.train.image import FROZEN, Encoder, noise_levels
from models.train.loop import Task, TaskOptions, grid, recall, unwrapped
from models.video import CELLS, MOVERS, POSE, Frames, Plan, VideoDiT, clip_settings, frame_times
from models.weights import load_part, part_digests, save_part, weights_digest

# Motions of the validation, with concepts whose pair is held out.
VALIDATED = (
    "slide left", "slide right", "slide up", "slide down", "roll left", "roll right", "fall", "spin", "bounce", "pulse",
    "wave", "orbit", "fade out",
)  # fmt: skip
SHOWN = 8  # frames of a clip on the sheet
ACTED = 2  # clips of the animated set in the validation, of each of its splits
LEVELS = ((0.1, 0.3), (0.3, 0.6), (0.6, 0.95))
BATCH = 8  # clips drawn together
START = 4  # shards of the planner's rows at first, and shards that a step takes rows from
CLAMP_TIME = 0.2  # sampling takes no step below it: the rest is the image generator's
ANIMATED = 12  # clips of the animated set in a shard, where there is one
STILL_SHARE = 0.06  # of the rows without frames: pictures whose captions name no motion
PLANNED, STANDING = 0.75, 0.1  # shares of drafts that move (with errors) and that stand still; the rest has none
WHOLE = np.array([0.5, 0.5, 1], np.float32)  # place of a mover that is the whole picture


@dataclass(frozen=True)
class ClipItem:
    """A clip before it is encoded: pixels (premultiplied uint8), words and truth."""

    rest: np.ndarray  # (128, 128, 4)
    caption: str
    poses: np.ndarray  # (MOVERS, T, POSE)
    places: np.ndarray  # (MOVERS, PLACE) in sides of the picture
    owners: np.ndarray  # (CELLS, CELLS)
    movers: int  # how many there are; -1 where it is not known how things move
    loop: bool
    fps: float
    strength: float
    frames: np.ndarray | None = None  # (T, 128, 128, 4), None where there are none
    draft: np.ndarray | None = None  # likewise


@dataclass(frozen=True)
class Clips:
    """Encoded clips: R rows, the first M with latents of frames. Half precision where it is enough."""

    first: Tensor  # (R, C, S, S)
    states: Tensor  # (R, L, D)
    mask: Tensor  # (R, L)
    vector: Tensor  # (R, 128)
    poses: Tensor  # (R, MOVERS, T, POSE)
    places: Tensor  # (R, MOVERS, PLACE)
    owners: Tensor  # (R, CELLS, CELLS)
    movers: Tensor  # (R,)
    loop: Tensor  # (R,)
    fps: Tensor  # (R,)
    strength: Tensor  # (R,)
    frames: Tensor  # (M, T, C, S, S)
    draft: Tensor  # (M, T, C, S, S)

    def rows(self, index: Tensor) -> "Clips":
        """Rows `index` without frames and drafts."""
        columns = {field.name: getattr(self, field.name)[index] for field in fields(self)[:-2]}
        return Clips(**columns, frames=self.frames[:0], draft=self.draft[:0])

    @staticmethod
    def cat(parts: "list[Clips]") -> "Clips":
        return Clips(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Clips)))


def item_of(world: World, clip: Clip, seed: int, with_frames: bool) -> ClipItem:
    """The item of a composed clip; `seed` draws its caption and the errors of its draft."""
    tracks = clip.tracks[:1] if clip.scene else clip.tracks
    poses, places = np.tile(REST, (MOVERS, FRAMES, 1)), np.tile(WHOLE, (MOVERS, 1))
    for number, track in enumerate(tracks):
        poses[number] = clip.poses(track)
        places[number] = np.array([track.x, track.y, track.side], np.float32) / SIZE
    frames = clip.render(world) if with_frames else None
    return ClipItem(
        clip.rest(world), clip.caption(world, seed), poses, places, clip.owners(world, CELLS), len(tracks),
        clip.loop, clip.fps, clip.strength, frames, _draft(world, clip, seed) if with_frames else None,
    )  # fmt: skip


def _draft(world: World, clip: Clip, seed: int) -> np.ndarray | None:
    """The clip with small errors, as a planner might move it; or standing still, or None."""
    rng = stream("draft", clip.seed, seed)
    kind = rng.random()
    if kind >= PLANNED + STANDING:
        return None
    if kind >= PLANNED:
        return np.repeat(clip.rest(world)[None], FRAMES, 0)
    numbers = np.random.default_rng(rng.randrange(2**32))
    gain = 1 + numbers.standard_normal(POSE) * [0.08, 0.08, 0.03, 0.08, 0.08, 0.08]
    jitter = numbers.standard_normal(POSE) * [0.012, 0.012, 0.02, 0.02, 0.02, 0.02]
    moves = [clip.poses(track) - REST for track in clip.tracks]
    poses = [(REST + gain * move + jitter * np.abs(move).clip(0, 1)).astype(np.float32) for move in moves]
    return clip.render(world, poses=poses)


def animated_item(animated: AnimatedSet, row: int, seed: int) -> ClipItem:
    """A clip of the animated set. Its motion is unknown; its draft repeats the first frame."""
    frames, draft = np.asarray(animated.frames[row]), np.repeat(animated.frames[row][:1], FRAMES, 0)
    still = _still(frames[0], animated_caption(animated.pictures[row], seed))
    return replace(still, movers=-1, loop=True, fps=float(animated.fps[row]), frames=frames, draft=draft)


def still_item(world: World, picture: Picture, seed: int) -> ClipItem:
    """A picture whose caption names no motion, with a clip's settings: only the words tell that it rests."""
    text = animated_caption(picture, seed) if seed % 2 else caption(picture, seed)
    clip = make_clip(world, seed)
    return replace(_still(world.pixels[picture.index], text), loop=clip.loop, fps=clip.fps, strength=clip.strength)


def _still(pixels: np.ndarray, text: str) -> ClipItem:
    """An item with a single mover, which owns all cells and rests."""
    poses, places = np.tile(REST, (MOVERS, FRAMES, 1)), np.tile(WHOLE, (MOVERS, 1))
    return ClipItem(pixels, text, poses, places, np.ones((CELLS, CELLS), np.uint8), 1, False, 8.0, 1.0)


@torch.autocast("cpu", enabled=False)  # it can't join tensors of half precision
def encode_clips(items: list[ClipItem], encoder: Encoder) -> Clips:
    """Encode items; those with frames must come first."""
    first = encoder.latents([item.rest for item in items])
    states, mask, vector = encoder.texts([item.caption for item in items])
    moving = [item for item in items if item.frames is not None]
    shape = (len(moving), FRAMES, *first.shape[1:])
    frames, draft = torch.zeros(shape, dtype=torch.float16), torch.zeros(shape, dtype=torch.float16)
    for row, item in enumerate(moving):
        frames[row] = encoder.latents(list(item.frames if item.frames is not None else ()))
        if item.draft is not None:
            draft[row] = encoder.latents(list(item.draft))
    numbers = {
        name: torch.from_numpy(np.stack([np.asarray(getattr(item, name)) for item in items]))
        for name in ("poses", "places", "owners", "movers", "loop", "fps", "strength")
    }
    numbers |= {name: numbers[name].float() for name in ("fps", "strength", "poses", "places")}
    return Clips(first, states, mask, vector, **numbers, frames=frames, draft=draft)


class ClipPool:
    """Training clips in shards."""

    def __init__(
        self,
        world: World,
        encoder: Encoder,
        seed: int,
        animated: AnimatedSet | None,
        folder: Path | None,  # of the stored shards; None keeps them in memory
        parts: str,  # digest of the frozen parts
        rows: int,  # of a shard
        moving: int,  # rows with frames; a row without costs a thirtieth
    ) -> None:
        self.world, self.encoder, self.seed, self.animated = world, encoder, seed, animated
        self.rows, self.moving = rows, moving
        self.acted = animated.rows("train") if animated else []
        self.acting = min(ANIMATED, moving) if self.acted else 0  # rows of a shard, the first ones
        clip = make_clip(world, seed)
        poses = (clip.poses(track).tobytes() for track in clip.tracks)
        sample = b"".join([clip.caption(world, 0).encode(), clip.render(world).tobytes(), *poses])
        content = f"{parts} {world.digest} {seed} {rows} {moving} {len(self.acted)} {STILL_SHARE} {PLANNED} {STANDING}"
        self.name = hashlib.sha256(content.encode() + sample).hexdigest()[:12]
        self.folder = folder and folder / f"clips-{self.name}"
        self.shard = lru_cache(maxsize=None)(self._shard)

    def items(self, number: int) -> list[ClipItem]:
        """The items of a shard, those with frames first."""
        first = (self.seed * 10_000 + number) * self.rows
        rng = stream("clip shard", self.seed, number)
        pictures = self.world.split("train")
        items = []
        for row in range(first, first + self.rows):
            place = row - first
            if place < self.acting:
                acted = self.acted[(number * ANIMATED + place) % len(self.acted)]
                items.append(animated_item(self.animated, acted, row))  # type: ignore[arg-type]
            elif place >= self.moving and rng.random() < STILL_SHARE:
                items.append(still_item(self.world, rng.choice(pictures), row))
            else:
                items.append(item_of(self.world, make_clip(self.world, row), row, place < self.moving))
        return items

    def _shard(self, number: int) -> Clips:
        file = self.folder and self.folder / f"{number:05d}.safetensors"
        return Clips(**stored_tensors(file, lambda: vars(encode_clips(self.items(number), self.encoder))))


# --- Training ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClipMix:
    """What a step draws."""

    frames: int = 6  # of a clip, at random times
    whole: int = 8  # of so many steps, one has all frames of fewer clips, and one has single frames of more clips
    shards: int = 100  # of clips, at most
    every: int = 40  # steps after which a new shard joins
    animated: float = 0.6  # share of clips from the animated set, whose motion no draft has: for the motion layers
    planned: int = 64  # rows of the planner's half, from separate shards
    plans: int = 100  # such shards, at most
    often: int = 20  # steps after which a new one of them joins
    begin: int = 200  # step before which the planner learns alone
    last: float = 0.15  # share of clips that are given their last frame, too
    drop_text: float = 0.1  # share without words
    drop_vector: float = 0.5  # share without vector
    # Of the logit-normal noise levels. Sampling begins at `ClipSampling.least` where the draft has all of the motion.
    time_mean: float = -0.8
    time_std: float = 1.2
    undrafted: float = 2.0  # added to the mean without a draft: sampling begins higher there
    acted: float = 1.2  # added to the mean where the draft lacks the motion
    planner: float = 1.0  # weight of the planner's loss


class VideoTask(Task):
    """Recipe "video"."""

    sampling = ClipSampling()

    def __init__(
        self,
        options: TaskOptions,
        mix: ClipMix = ClipMix(),
        clips: int = 48,  # in a shard of clips with their frames
        rows: int = 512,  # in a shard of clips for the planner
    ) -> None:
        self.options, self.world, self.mix = options, options.world, mix
        self.embedder = Embedder.load(options.parts)
        self.autoencoder = load_part(Autoencoder, "autoencoder", options.parts, native_dtype())
        self.autoencoder.to(memory_format=torch.channels_last)
        self.image = load_part(DiT, "dit", options.parts).to(options.device)
        context = self.embedder.language.config.hidden_size
        self.model = VideoDiT(**{**preset("video", options.preset), "context": context})
        animated = load_animated(self.world) if self.world.folder else None
        self.encoder = Encoder(self.embedder, self.autoencoder)
        parts = f"{weights_digest(FROZEN, options.parts)} {native_dtype()}"
        sources = self.world, self.encoder, options.seed, animated, options.cache, parts
        self.clips, self.rows = ClipPool(*sources, clips, clips), ClipPool(*sources, rows, 0)

    # --- A step -----------------------------------------------------------------------------------------------------

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """Noisy latents and targets of some frames with their conditions, and rows for the planner."""
        rng = np.random.default_rng((self.options.seed, step, rank))
        batch = {"plan": _to(self._planned(rng, step), self.options.device)}
        if step >= self.mix.begin:
            frames = self.shown(step, rng)
            count = max(1, self.options.batch_size(progress) * self.mix.frames // len(frames) // ranks)
            clips, latents, draft = self._clips(rng, step, count)
            batch["flow"] = _to(self.flow(clips, latents, draft, torch.from_numpy(frames), rng), self.options.device)
        return batch

    def shown(self, step: int, rng: np.random.Generator) -> np.ndarray:
        """Numbers of the frames that a step shows of each clip; fewer frames mean more clips. Several frames include
        the first one: the sampler knows it."""
        mix = self.mix
        count = {mix.whole - 1: FRAMES, mix.whole // 2 - 1: 1}.get(step % mix.whole, mix.frames)
        if count == 1:
            return rng.integers(FRAMES, size=1)
        return np.concatenate([[0], 1 + np.sort(rng.choice(FRAMES - 1, count - 1, replace=False))])

    def _clips(self, rng: np.random.Generator, step: int, count: int) -> tuple[Clips, Tensor, Tensor]:
        """Some clips, their latents and their drafts (B, T, C, S, S)."""
        known = min(1 + (step - self.mix.begin) // self.mix.every, self.mix.shards)
        acted, moving = self.clips.acting, self.clips.moving
        animated = rng.random(count) < (self.mix.animated if 0 < acted < moving else acted / moving)
        ranges = [(0, acted) if is_animated else (acted, moving) for is_animated in animated]
        places = [(self.clips.shard(int(rng.integers(known))), int(rng.integers(*span))) for span in ranges]
        clips = Clips.cat([shard.rows(torch.tensor([row])) for shard, row in places])
        latents, draft = (
            torch.stack([getattr(shard, name)[row] for shard, row in places]) for name in ("frames", "draft")
        )
        return clips, latents.float(), draft.float()

    def _planned(self, rng: np.random.Generator, step: int) -> Clips:
        """Rows of some shards for the planner."""
        known = min(START + step // self.mix.often, self.mix.plans)
        numbers = rng.integers(known, size=START)
        each = self.mix.planned // START
        rows = [torch.from_numpy(rng.integers(self.rows.rows, size=each)) for _ in numbers]
        return Clips.cat([self.rows.shard(int(n)).rows(index) for n, index in zip(numbers, rows, strict=True)])

    def flow(
        self,
        clips: Clips,
        latents: Tensor,
        draft: Tensor,
        index: Tensor,
        rng: np.random.Generator,
        levels: tuple[float, float] | None = None,
    ) -> dict[str, Any]:
        """x_t = (1 - t) x0 + t noise of the frames `index`, and the network's target there.

        Noise levels and dropped conditions are random. With `levels` (lowest, highest), as in the validation, noise
        levels lie evenly between them, words and vector are given and the last frame is not.
        """
        mix, count, acted = self.mix, len(draft), clips.movers < 0
        mean = mix.time_mean + acted * mix.acted
        mean = torch.where(draft.flatten(1).any(1), mean, mix.time_mean + mix.undrafted)
        t = noise_levels(rng, count, mean, mix.time_std)
        text, vector, last = torch.from_numpy(rng.random((3, count)))
        given = [text >= mix.drop_text, vector >= mix.drop_vector, last < mix.last]
        if levels:
            t = torch.linspace(*levels, len(t))
            given = [torch.full((len(t),), value) for value in (True, True, False)]
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        x0, wide = latents[:, index], t[:, None, None, None, None]
        x = (1 - wide) * x0 + wide * clip_noise(generator, x0.shape)
        target = velocity_to(x0.flatten(0, 1), x.flatten(0, 1), t.repeat_interleave(len(index))).view_as(x)
        times, settings = frame_times(FRAMES, clips.loop), clip_settings(clips.loop, clips.fps, clips.strength)
        last = latents[:, -1] * given[2][:, None, None, None]
        frames = Frames(times, clips.loop, settings, draft, clips.first.float(), last).of(index)
        missed = (latents - draft).square().mean((1, 2, 3, 4)).sqrt() * acted
        condition = condition_of(clips, *given[:2])
        known = {"condition": condition, "frames": frames, "acted": acted.float(), "missed": missed}
        return {"x": x, "t": t, "target": target, **known}

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """Mean squared error of the velocity, and the planner's distance from the truth."""
        whole = unwrapped(model)
        values = plan_losses(whole.planner, batch["plan"])
        total = self.mix.planner * torch.stack(list(values.values())).sum()
        if "flow" in batch:
            flow = batch["flow"]
            more = {"flow": flow_loss(model, self.image, flow), **acted_losses(whole.planner, flow)}
            values, total = values | more, total + torch.stack(list(more.values())).sum()
        return {"loss": total, **values}

    # --- A checkpoint -----------------------------------------------------------------------------------------------

    @cached_property
    def validation(self) -> tuple[list[ClipItem], Clips]:
        """Items with all frames, plain and encoded: clips of held-out pairs without background, and some of the
        animated set (trained on, and not). The drafts have no errors."""
        items = list[ClipItem]()
        for number, motion in enumerate(VALIDATED):
            with suppress(ValueError):  # a small world has no held-out pair of every motion
                items.append(item_of(self.world, plain_clip(self.world, PLAIN_TRIES * number, "val", motion), 0, True))
        if animated := self.clips.animated:
            rows = [row for split in ("train", "val") for row in animated.rows(split)[:ACTED]]
            items += [animated_item(animated, row, 0) for row in rows]
        return items, encode_clips(items, self.encoder)

    @torch.no_grad()
    def evaluate(self, model: Any) -> dict[str, float]:
        """Losses by noise level and of the planner."""
        (_, encoded), rng = self.validation, np.random.default_rng(0)
        figures = {name: float(value) for name, value in plan_losses(model.planner, encoded).items()}
        for low, high in LEVELS:
            index = torch.arange(0, FRAMES, 3)
            flow = self.flow(encoded, encoded.frames.float(), encoded.draft.float(), index, rng, (low, high))
            figures[f"flow_{low:g}_{high:g}"] = float(flow_loss(model, self.image, flow))
        return figures

    def sheet(self, model: Any) -> Image.Image:
        """Clips of the validation, SHOWN frames a row, sampled from start pictures and captions."""
        items, encoded = self.validation
        whole = torch.ones(len(items), dtype=torch.bool)
        condition = condition_of(encoded, whole, whole)
        rest = to_tensor(np.stack([item.rest for item in items]))
        index, shown = torch.linspace(0, FRAMES - 1, SHOWN).round().long(), []
        for some in (slice(i, i + BATCH) for i in range(0, len(items), BATCH)):
            part = condition.rows(list(range(len(items)))[some])
            given = rest[some], part, encoded.loop[some], encoded.fps[some], encoded.strength[some]
            frames, left_out, fading = planned_frames(model, self.autoencoder, *given, FRAMES, self.sampling.drafted)
            noise = clip_noise(torch.Generator().manual_seed(some.start), frames.draft.shape)
            *_, latents = denoise_clip(model, self.image, noise, part, frames, left_out, self.sampling)
            pictures = self.autoencoder.decode(latents[:, index].flatten(0, 1))
            shown.append(pictures * fading[:, index].flatten(0, 1))
        return grid(torch.cat(shown), columns=2 * SHOWN)

    def export(self, model: nn.Module, folder: Path) -> None:
        """The motion layers and the planner, as they ship."""
        save_part(model, "video", folder, part_digests((*FROZEN, "dit"), self.options.parts), int8=True)


def condition_of(clips: Clips, text: Tensor, vector: Tensor) -> Condition:
    """Words and vectors of clips, where `text` and `vector` (B,) are true; references are zero: clips have drafts."""
    vectors = clips.vector.float() * vector[:, None]
    return Condition(clips.states.float(), clips.mask & text[:, None], vectors, torch.zeros_like(clips.first).float())


def flow_loss(model: nn.Module, image: DiT, flow: dict[str, Any]) -> Tensor:
    """Mean squared error of the velocity; below CLAMP_TIME as if 1 / t had stopped growing there (JiT)."""
    velocity = model(image, flow["x"], flow["t"], flow["condition"], flow["frames"])
    weight = (flow["t"] / CLAMP_TIME).clamp(max=1)[:, None, None, None, None]
    return (weight * (velocity - flow["target"])).square().mean()


def plan_losses(planner: nn.Module, rows: Clips) -> dict[str, Tensor]:
    """Distances of the plan from the truth: of the poses, of the movers' places, of the cells' owners."""
    settings = clip_settings(rows.loop, rows.fps, rows.strength)
    plan: Plan = planner(rows.first.float(), rows.states.float(), rows.mask, settings)
    times = frame_times(FRAMES, rows.loop)
    there = (torch.arange(rows.poses.shape[1], device=rows.movers.device) < rows.movers[:, None]).float()  # (R, K)
    share = there / there.sum().clamp_min(1)
    poses = plan.poses(times, rows.loop).transpose(1, 2)  # (R, K, T, POSE)
    apart = F.smooth_l1_loss(poses, rows.poses, beta=0.1, reduction="none").mean(2)  # (R, K, POSE)
    weights = apart.new_tensor([4, 4, 0.5, 1, 1, 1])
    places = F.smooth_l1_loss(plan.places, rows.places, beta=0.05, reduction="none").mean(-1)
    owners = F.cross_entropy(plan.masks, rows.owners.long())
    return {
        "poses": ((weights * apart).sum(-1) * share).sum(),
        "places": (places * share).sum(),
        "owners": 0.2 * owners,
    }


def acted_losses(planner: nn.Module, flow: dict[str, Any]) -> dict[str, Tensor]:
    """Error of the planner's estimate of what its draft misses; and its motion in clips of the animated set, whose
    drafts stand still."""
    frames, condition = flow["frames"], flow["condition"]
    plan: Plan = planner(frames.first, condition.states, condition.mask, frames.settings)
    poses = plan.poses(frames.times, frames.loop)  # (B, T, K, POSE)
    apart = F.smooth_l1_loss(poses, torch.from_numpy(REST).expand_as(poses), beta=0.1, reduction="none")
    return {
        "left_out": F.smooth_l1_loss(plan.left_out, flow["missed"], beta=0.1),
        "acted": (apart.sum(-1).mean((1, 2)) * flow["acted"]).mean(),
    }


def _to(value: Any, device: torch.device) -> Any:
    """Tensors in dictionaries and dataclasses to a device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: _to(part, device) for name, part in value.items()}
    return type(value)(**{name: _to(part, device) for name, part in vars(value).items()})


# --- The motion head --------------------------------------------------------------------------------------------------
# A row is a clip with several pairs of a vector and a caption. The first pair is the mean of the clip's frame vectors
# with its caption. The others are pictures of other things with captions that give them the same motion: there are far
# more words than clips, and the head learns the motion, whatever moves.
# Shapes: N clips of T frames, P pairs each, K numbers of a frame's places.


READERS = ("language", "vision", "space")
CLIPS, HELD_OUT = 2400, 104  # composed clips of training and validation; training adds the animated set
PROBES = 64  # clips that the components of change are measured on
PAIRS = 5
KINDS = tuple(MOTIONS)
MOVES = [Move(kind, speed, loop) for kind in KINDS for speed in SPEEDS for loop in (False, True)]
SCALE = 16.0  # of the cosines, as in the space
NEAR = 0.6  # weight of a clip's distance from the mean of its frames, because pictures also search among clips
K = 10


@dataclass(frozen=True)
class MotionItem:
    """A clip's frames (T, 128, 128, 4); its pairs of a picture (128, 128, 4), None for the clip itself, and a caption;
    and the number of its move, -1 where no other clip counts as moving alike."""

    frames: np.ndarray
    pairs: Sequence[tuple[np.ndarray | None, str]]
    move: int = -1


@dataclass(frozen=True)
class MotionRows:
    """Encoded clips: places (N, T, K), vectors and texts (N, P, 128), all in half precision, and moves (N,)."""

    places: Tensor
    vectors: Tensor
    texts: Tensor
    moves: Tensor


def motion_item(world: World, clip: Clip) -> MotionItem:
    """The item of a composed clip. Other things get the motion of a single thing; a clip of several things has only
    captions of its own."""
    captions: list[tuple[np.ndarray | None, str]] = [(None, clip.caption(world, n)) for n in range(PAIRS)]
    if len(clip.tracks) > 1 or clip.scene:
        return MotionItem(clip.render(world), captions)
    others = stream("moved alike", clip.seed).sample(world.split("train"), PAIRS - 1)
    move = clip.tracks[0].move
    pairs = [(world.pixels[other.index], motion_caption(other, clip.seed, None, move)) for other in others]
    return MotionItem(clip.render(world), [captions[0], *pairs], MOVES.index(move))


def training_items(world: World, seed: int, count: int) -> Iterator[MotionItem]:
    """`count` composed clips, then the animated set's clips of split `train`."""
    for number in range(count):
        yield motion_item(world, make_clip(world, (seed + 2) * 10**7 + number))
    if world.folder:
        animated = load_animated(world)
        for row in animated.rows("train"):
            captions = [(None, animated_caption(animated.pictures[row], n)) for n in range(PAIRS)]
            yield MotionItem(np.asarray(animated.frames[row]), captions)


def held_out_items(world: World, count: int) -> Iterator[MotionItem]:
    """Clips of one thing with pairs of concept and motion in split `val`, the motions in turn, as far as the world has
    such pairs."""
    for number in range(count):
        with suppress(ValueError):
            clip = make_clip(world, number, "val", motion=KINDS[number % len(KINDS)])
            yield MotionItem(clip.render(world), [(None, clip.caption(world, 0, "en"))])


def change_components(encoder: Encoder, items: Iterable[MotionItem], channels: int) -> Tensor:
    """(channels, D): directions of largest change in rows and columns of clips, scaled to changes of about 1."""
    tokens = torch.stack([lines(encoder.tokens(list(item.frames))) for item in items])  # (N, T, 16, D)
    changes = (tokens - tokens.mean(1, keepdim=True)).flatten(0, 2)
    values, vectors = torch.linalg.eigh(changes.T @ changes / len(changes))
    return vectors[:, -channels:].T / values[-channels:].mean().clamp_min(1e-9).sqrt()


@torch.no_grad()
def encode_motion(encoder: Encoder, items: Iterable[MotionItem], head: MotionHead, count: int) -> MotionRows:
    """About `count` items, encoded for the head."""
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    moves = []
    for item in progress(items, f"reading {count:,} clips", count):
        frames = len(item.frames)
        tokens = encoder.tokens([*item.frames, *(picture for picture, _ in item.pairs if picture is not None)])
        vectors = encoder.vectors(tokens)
        others = iter(vectors[frames:])
        pairs = [vectors[:frames].mean(0) if picture is None else next(others) for picture, _ in item.pairs]
        _, _, texts = encoder.texts([caption for _, caption in item.pairs])
        rows.append((head.places(tokens[:frames]).half(), torch.stack(pairs).half(), texts))
        moves.append(item.move)
    places, vectors, texts = (torch.stack(part) for part in zip(*rows, strict=True))
    return MotionRows(places, vectors, texts, torch.tensor(moves))


class MotionTask(Task):
    """Recipe "motion" with `clips` composed clips for training and `held` for validation."""

    def __init__(self, options: TaskOptions, clips: int = CLIPS, held: int = HELD_OUT) -> None:
        self.options, self.counts = options, (clips, held)
        self.model = MotionHead(**preset(MOTION, options.preset))
        self.components = self.model.components.requires_grad_(False).weight
        stored = self._stored()
        self.components.copy_(stored["components"])
        self.train, self.held = (
            MotionRows(**{field.name: stored[f"{split}.{field.name}"] for field in fields(MotionRows)})
            for split in ("train", "held")
        )
        self.alike = {int(move): np.flatnonzero(self.train.moves == move) for move in self.train.moves.unique()}

    def _stored(self) -> dict[str, Tensor]:
        """Components and the rows of both splits, encoded or from the cache."""
        o = self.options
        content = [weights_digest(READERS, o.parts), o.world.digest, o.seed, o.preset, self.counts, PAIRS, PROBES]
        clip = make_clip(o.world, o.seed)
        sample = clip.caption(o.world, 0).encode() + clip.render(o.world).tobytes()
        name = hashlib.sha256(f"{content}".encode() + sample).hexdigest()[:12]
        return stored_tensors(o.cache and o.cache / f"motion-{name}.safetensors", self._encoded)

    def _encoded(self) -> dict[str, Tensor]:
        encoder, (clips, held) = Encoder(Embedder.load(self.options.parts)), self.counts
        sources = self.options.world, self.options.seed
        probes = islice(training_items(*sources, clips), PROBES)
        self.components.copy_(change_components(encoder, probes, len(self.components)))
        rows = {
            "train": encode_motion(encoder, training_items(*sources, clips), self.model, clips),
            "held": encode_motion(encoder, held_out_items(self.options.world, held), self.model, held),
        }
        tensors = {f"{split}.{name}": value for split, table in rows.items() for name, value in vars(table).items()}
        return {"components": self.components.clone(), **tensors}

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """Clips, each with one pair: of itself, or of a clip with the same move."""
        rng = np.random.default_rng((self.options.seed, step))
        size = min(self.options.batch_size(progress), len(self.train.places))
        rows, pairs = rng.permutation(len(self.train.places))[:size], rng.integers(PAIRS, size=size)
        moves = self.train.moves[rows].tolist()
        sources = [
            rng.choice(self.alike[move]) if pair and move >= 0 else row
            for row, pair, move in zip(rows, pairs, moves, strict=True)
        ]
        index = np.array(sources)[rank::ranks], pairs[rank::ranks]
        places, vectors, texts = (
            self.train.places[rows[rank::ranks]],
            self.train.vectors[index],
            self.train.texts[index],
        )
        batch = {"places": places, "vectors": vectors, "texts": texts}
        return {name: tensor.float().to(self.options.device) for name, tensor in batch.items()}

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """Cross-entropy between texts and clips of the batch, both ways (CLIP, arXiv 2103.00020), and the distance of
        clips from the mean of their frames."""
        clips = F.normalize(batch["vectors"] + model(batch["places"]).float(), dim=-1)
        logits, truth = SCALE * (batch["texts"] @ clips.T).float(), torch.arange(len(clips), device=clips.device)
        contrast = (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2
        away = 1 - F.cosine_similarity(clips, batch["vectors"]).mean()
        return {"loss": contrast + NEAR * away, "contrast": contrast, "away": away}

    @torch.no_grad()
    def evaluate(self, model: Any) -> dict[str, float]:
        """Recall at K of held-out clips by their captions, with the head and by the mean of the frames; and the
        distance of clips from that mean."""
        places, means, texts = (
            part.float() for part in (self.held.places, self.held.vectors[:, 0], self.held.texts[:, 0])
        )
        clips, words = means + model(places), F.normalize(texts, dim=-1)
        figures = {
            name: recall(words @ F.normalize(vectors.float(), dim=-1).T, torch.eye(len(texts), dtype=torch.bool), K)
            for name, vectors in {f"words_to_clips_r{K}": clips, f"words_to_clips_r{K}_mean": means}.items()
        }
        return {**figures, "away": float(1 - F.cosine_similarity(clips, means).mean())}

    def export(self, model: nn.Module, folder: Path) -> None:
        save_part(model, MOTION, folder, part_digests(("vision", "space"), self.options.parts))
