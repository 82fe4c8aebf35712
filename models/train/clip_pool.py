"""Clips as training reads them: latents, drafts, captions and true motions, in files of a shard each.

A shard is a pure function of the seed and its number, encoded when it is first asked for and kept in a folder. So
training starts after the first one, and sees new clips as it goes on.

Shapes: R rows of a shard, of which the first M have frames; T frames, latents (C, S, S), L text tokens of D numbers.
"""

import hashlib
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.data.captions import caption
from models.data.clips import FRAMES, REST, Clip, make_clip
from models.data.extra_sets import AnimatedSet, animated_caption
from models.data.grammar import stream
from models.data.pixels import SIZE, to_tensor
from models.data.stored import stored_tensors
from models.data.world import Picture, World
from models.motion import CELLS, MOVERS, POSE
from models.tokenizer import encode_texts
from models.train.encoded import Encoder

ANIMATED = 12  # of the moving ones, from the animated set where there is one
STILL_SHARE = 0.06  # of the rows without frames: pictures whose captions name no motion
PLANNED, STANDING = 0.75, 0.1  # shares of drafts that move (with errors), and that stand still; the others are none
CHUNK = 32
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
        """Rows `index` of all that every row has; of the frames nothing."""
        own = {field.name: getattr(self, field.name)[index] for field in fields(self)[:-2]}
        return Clips(**own, frames=self.frames[:0], draft=self.draft[:0])

    @staticmethod
    def cat(several: "list[Clips]") -> "Clips":
        """All rows of several."""
        return Clips(*(torch.cat([getattr(one, field.name) for one in several]) for field in fields(Clips)))


# --- Items -----------------------------------------------------------------------------------------------------------


def item_of(world: World, clip: Clip, seed: int, with_frames: bool) -> ClipItem:
    """A clip of code; `seed` draws its caption and the errors of its draft."""
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
    """The clip as a planner might move it, a little wrong; or standing still, or none."""
    rng = stream("draft", clip.seed, seed)
    kind = rng.random()
    if kind >= PLANNED + STANDING:
        return None
    if kind >= PLANNED:
        return np.repeat(clip.rest(world)[None], FRAMES, 0)
    numbers = np.random.default_rng(rng.randrange(2**32))
    gain = 1 + numbers.standard_normal(POSE) * [0.08, 0.08, 0.03, 0.08, 0.08, 0.08]
    jitter = numbers.standard_normal(POSE) * [0.012, 0.012, 0.02, 0.02, 0.02, 0.02]
    wrong = []
    for true in map(clip.poses, clip.tracks):
        moved = true - REST
        wrong.append((REST + gain * moved + jitter * np.abs(moved).clip(0, 1)).astype(np.float32))
    return clip.render(world, poses=wrong)


def animated_item(animated: AnimatedSet, row: int, seed: int) -> ClipItem:
    """A clip of the animated set. Nobody knows its motion; its draft is the first frame."""
    frames, picture = np.asarray(animated.frames[row]), animated.pictures[row]
    still = _still(frames[0], animated_caption(picture, seed))
    draft = np.repeat(frames[:1], FRAMES, 0)
    own = {"movers": -1, "loop": True, "fps": float(animated.fps[row]), "frames": frames, "draft": draft}
    return ClipItem(**{**vars(still), **own})


def still_item(world: World, picture: Picture, seed: int) -> ClipItem:
    """A picture whose caption says of no motion, asked for as clips are: nothing but its words tells that it rests."""
    said = animated_caption if seed % 2 else caption
    still, asked = _still(world.pixels[picture.index], said(picture, seed)), make_clip(world, seed)
    return replace(still, loop=asked.loop, fps=asked.fps, strength=asked.strength)


def _still(pixels: np.ndarray, text: str) -> ClipItem:
    """One mover that owns all and rests."""
    poses, places = np.tile(REST, (MOVERS, FRAMES, 1)), np.tile(WHOLE, (MOVERS, 1))
    return ClipItem(pixels, text, poses, places, np.ones((CELLS, CELLS), np.uint8), 1, False, 8.0, 1.0)


# --- Shards ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
@torch.autocast("cpu", enabled=False)  # it can't join tensors of half precision
def encode_clips(items: list[ClipItem], encoder: Encoder) -> Clips:
    """Those with frames must come first."""
    moving = [item for item in items if item.frames is not None]
    captions = [item.caption for item in items]
    ids, mask = encode_texts(encoder.embedder.tokenizer, captions)
    half = encoder.autoencoder.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        states = torch.cat([encoder.embedder.language.encode(*part) for part in _parts(ids, mask)])
        vector = torch.cat([encoder.embedder.space.text(*part) for part in _parts(states, mask)])
    shape = (len(moving), FRAMES, *_latents([items[0].rest], encoder).shape[1:])
    frames, draft = torch.zeros(shape, dtype=torch.float16), torch.zeros(shape, dtype=torch.float16)
    for row, item in enumerate(moving):
        frames[row] = _latents(list(item.frames if item.frames is not None else ()), encoder)
        if item.draft is not None:
            draft[row] = _latents(list(item.draft), encoder)
    numbers = {
        name: torch.from_numpy(np.stack([np.asarray(getattr(item, name)) for item in items]))
        for name in ("poses", "places", "owners", "movers", "loop", "fps", "strength")
    }
    numbers |= {name: numbers[name].float() for name in ("fps", "strength", "poses", "places")}
    first = torch.cat(
        [_latents([item.rest for item in items[i : i + CHUNK]], encoder) for i in range(0, len(items), CHUNK)]
    )
    return Clips(first, states.half(), mask, vector.half(), **numbers, frames=frames, draft=draft)


def _parts(*tensors: Tensor) -> list[tuple[Tensor, ...]]:
    return list(zip(*(tensor.split(CHUNK) for tensor in tensors), strict=True))


def _latents(pictures: list[np.ndarray], encoder: Encoder) -> Tensor:
    pixels = to_tensor(np.stack(pictures)).contiguous(memory_format=torch.channels_last)
    return encoder.autoencoder.encode(pixels.to(encoder.autoencoder.dtype)).half()


class ClipPool:
    """Training clips in shards."""

    def __init__(
        self,
        world: World,
        encoder: Encoder,
        seed: int,
        animated: AnimatedSet | None,
        folder: Path | None,  # where they are kept, None for memory alone
        made_with: str,  # digest of the frozen parts
        rows: int,  # of a shard
        moving: int,  # and those of them with frames: one without costs a thirtieth
    ) -> None:
        self.world, self.encoder, self.seed, self.animated = world, encoder, seed, animated
        self.rows, self.moving = rows, moving
        self.acted = animated.rows("train") if animated else []
        self.acting = min(ANIMATED, moving) if self.acted else 0  # rows of a shard, the first ones
        clip = make_clip(world, seed)
        said, drawn = clip.caption(world, 0).encode(), clip.render(world).tobytes()
        sample = [said, drawn, *(clip.poses(track).tobytes() for track in clip.tracks)]
        named = (
            f"{made_with} {world.digest} {seed} {rows} {moving} {len(self.acted)} {STILL_SHARE} {PLANNED} {STANDING}"
        )
        self.name = hashlib.sha256(named.encode() + b"".join(sample)).hexdigest()[:12]
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
