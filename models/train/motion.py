"""Training the head that reads how a clip moves (`models.space.MotionHead`), so that words that name a motion find it.

The other parts are frozen, texts among them, so everything is encoded once and a step reads rows alone. A row is a clip
with several pairs of a vector and a caption. One is its own: the mean of its frames' vectors, and what is said of it.
The others are pictures of other things, with captions that give them the same motion: there are far more words than
clips, and what is learnt is the motion, whatever it is that moves.

Shapes: N clips of T frames, P pairs each, K numbers of a frame's places.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.data.clips import MOTIONS, SPEEDS, Clip, Move, make_clip, motion_caption
from models.data.extra_sets import animated_caption, load_animated
from models.data.grammar import stream
from models.data.pixels import to_tensor
from models.data.stored import progress, stored_tensors
from models.data.world import World
from models.hardware import native_dtype
from models.presets import preset
from models.space import MOTION, Embedder, MotionHead, lines
from models.tokenizer import encode_texts
from models.train.contrastive import recall
from models.train.loop import Task, TaskOptions
from models.weights import part_digests, save_part, weights_digest

MADE_WITH = ("language", "vision", "space")
CLIPS, HELD = 2400, 104  # of code, to learn from and to validate on; those of the animated set come on top
PROBES = 64  # clips whose tokens say which of their components change
PAIRS = 5
KINDS = tuple(MOTIONS)
MOVES = [Move(kind, speed, loop) for kind in KINDS for speed in SPEEDS for loop in (False, True)]
SCALE = 16.0  # of the cosines, as the space's own
NEAR = 0.6  # weight of how far a clip leaves the mean of its frames: pictures are looked for among clips, too
K = 10


@dataclass(frozen=True)
class Item:
    """A clip's frames (T, 128, 128, 4); its pairs of a picture (128, 128, 4) and a caption, of its own there is no
    picture; and the number of its move, -1 where nothing else is said to move alike."""

    frames: np.ndarray
    pairs: Sequence[tuple[np.ndarray | None, str]]
    move: int = -1


@dataclass(frozen=True)
class Rows:
    """Encoded clips: places (N, T, K), vectors and texts (N, P, 128), all in half precision, and moves (N,)."""

    places: Tensor
    vectors: Tensor
    texts: Tensor
    moves: Tensor


def item_of(world: World, clip: Clip) -> Item:
    """A clip of code. Where one thing moves, others do as it does; of several things, all captions are their own."""
    own: list[tuple[np.ndarray | None, str]] = [(None, clip.caption(world, n)) for n in range(PAIRS)]
    if len(clip.tracks) > 1 or clip.scene:
        return Item(clip.render(world), own)
    others = stream("moved alike", clip.seed).sample(world.split("train"), PAIRS - 1)
    move = clip.tracks[0].move
    said = [(world.pixels[other.index], motion_caption(other, clip.seed, None, move)) for other in others]
    return Item(clip.render(world), [own[0], *said], MOVES.index(move))


def training_items(world: World, seed: int, count: int) -> Iterator[Item]:
    """`count` clips of code, then all of the animated set that is in split `train`."""
    for number in range(count):
        yield item_of(world, make_clip(world, (seed + 2) * 10**7 + number))
    if world.folder:
        animated = load_animated(world)
        for row in animated.rows("train"):
            captions = [(None, animated_caption(animated.pictures[row], n)) for n in range(PAIRS)]
            yield Item(np.asarray(animated.frames[row]), captions)


def held_items(world: World, count: int) -> Iterator[Item]:
    """Clips of one thing, of pairs of concept and motion in split `val`, the motions in turn. A small world may have no
    such pair of a motion."""
    for number in range(count):
        with suppress(ValueError):
            clip = make_clip(world, number, "val", motion=KINDS[number % len(KINDS)])
            yield Item(clip.render(world), [(None, clip.caption(world, 0, "en"))])


class Reader:
    """The frozen parts, reading clips."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder, self.half = embedder, native_dtype() == torch.bfloat16

    @torch.no_grad()
    def tokens(self, pictures: Sequence[np.ndarray]) -> Tensor:
        """(N, 64, D)."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            return self.embedder.vision.forward(to_tensor(np.stack(pictures)))

    @torch.no_grad()
    def texts(self, captions: Sequence[str]) -> Tensor:
        """(N, 128)."""
        e = self.embedder
        ids, mask = encode_texts(e.tokenizer, list(captions))
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            return e.space.text(e.language.encode(ids, mask), mask)

    def components(self, items: Iterable[Item], channels: int) -> Tensor:
        """(channels, D): along these, rows and columns of a clip change most; scaled so that changes are about 1."""
        tokens = torch.stack([lines(self.tokens(list(item.frames)).float()) for item in items])  # (N, T, 16, D)
        changes = (tokens - tokens.mean(1, keepdim=True)).flatten(0, 2)
        found = torch.linalg.eigh(changes.T @ changes / len(changes))
        return found.eigenvectors[:, -channels:].T / found.eigenvalues[-channels:].mean().clamp_min(1e-9).sqrt()

    def rows(self, items: Iterable[Item], head: MotionHead, count: int) -> Rows:
        """About `count` items as the head reads them."""
        read = [self._row(item, head) for item in progress(items, f"reading {count:,} clips", count)]
        places, vectors, texts, moves = zip(*read, strict=True)
        halves = [torch.stack(part).half() for part in (places, vectors, texts)]
        return Rows(halves[0], halves[1], halves[2], torch.tensor(moves))

    @torch.no_grad()
    def _row(self, item: Item, head: MotionHead) -> tuple[Tensor, Tensor, Tensor, int]:
        pictures = [picture for picture, _ in item.pairs if picture is not None]
        count = len(item.frames)
        tokens = self.tokens([*item.frames, *pictures]).float()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            vectors = self.embedder.space.image(tokens)
        others = iter(vectors[count:])
        pairs = [vectors[:count].mean(0) if picture is None else next(others) for picture, _ in item.pairs]
        texts = self.texts([caption for _, caption in item.pairs])
        return head.places(tokens[:count]), torch.stack(pairs), texts, item.move


class MotionTask(Task):
    """Recipe "motion"; `clips` of code are learnt from, and `held` of them validated on."""

    def __init__(self, options: TaskOptions, clips: int = CLIPS, held: int = HELD) -> None:
        self.options, self.counts = options, (clips, held)
        self.model = MotionHead(**preset(MOTION, options.preset))
        self.components = self.model.components.requires_grad_(False).weight
        read = self._read()
        self.components.copy_(read["components"])
        self.train, self.held = (
            Rows(**{field.name: read[f"{split}.{field.name}"] for field in fields(Rows)}) for split in ("train", "held")
        )
        self.alike = {int(move): np.flatnonzero(self.train.moves == move) for move in self.train.moves.unique()}

    def _read(self) -> dict[str, Tensor]:
        """Components, and the rows of both splits; kept in the cache."""
        o = self.options
        named = [weights_digest(MADE_WITH, o.parts), o.world.digest, o.seed, o.preset, self.counts, PAIRS, PROBES]
        clip = make_clip(o.world, o.seed)
        sample = clip.caption(o.world, 0).encode() + clip.render(o.world).tobytes()
        name = hashlib.sha256(f"{named}".encode() + sample).hexdigest()[:12]
        return stored_tensors(o.cache and o.cache / f"motion-{name}.safetensors", self._encoded)

    def _encoded(self) -> dict[str, Tensor]:
        reader, (clips, held) = Reader(Embedder.load(self.options.parts)), self.counts
        sources = self.options.world, self.options.seed
        probes = islice(training_items(*sources, clips), PROBES)
        self.components.copy_(reader.components(probes, len(self.components)))
        rows = {
            "train": reader.rows(training_items(*sources, clips), self.model, clips),
            "held": reader.rows(held_items(self.options.world, held), self.model, held),
        }
        tensors = {f"{split}.{name}": value for split, own in rows.items() for name, value in vars(own).items()}
        return {"components": self.components.clone(), **tensors}

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """Clips, each with one pair: its own, or one of a clip that has the same move."""
        rng = np.random.default_rng((self.options.seed, step))
        size = min(self.options.batch_size(progress), len(self.train.places))
        rows, pairs = rng.permutation(len(self.train.places))[:size], rng.integers(PAIRS, size=size)
        moves = self.train.moves[rows].tolist()
        sources = [
            rng.choice(self.alike[move]) if pair and move >= 0 else row
            for row, pair, move in zip(rows, pairs, moves, strict=True)
        ]
        own, which = rows[rank::ranks], (np.array(sources)[rank::ranks], pairs[rank::ranks])
        places, vectors, texts = self.train.places[own], self.train.vectors[which], self.train.texts[which]
        batch = {"places": places, "vectors": vectors, "texts": texts}
        return {name: tensor.float().to(self.options.device) for name, tensor in batch.items()}

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """Each text is to tell its clip from all others of the batch, and each clip its text (CLIP, arXiv 2103.00020);
        and how far clips leave the mean of their frames."""
        clips = F.normalize(batch["vectors"] + model(batch["places"]).float(), dim=-1)
        logits, truth = SCALE * (batch["texts"] @ clips.T).float(), torch.arange(len(clips), device=clips.device)
        contrast = (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2
        away = 1 - F.cosine_similarity(clips, batch["vectors"]).mean()
        return {"loss": contrast + NEAR * away, "contrast": contrast, "away": away}

    @torch.no_grad()
    def evaluate(self, model: Any) -> dict[str, float]:
        """Share of words that find their clip among the first ten of the held-out ones: with the head, by the mean of
        the frames alone, and with the frames in another order; and how far clips leave that mean."""
        places, means, texts = (
            part.float() for part in (self.held.places, self.held.vectors[:, 0], self.held.texts[:, 0])
        )
        order = torch.rand(places.shape[:2], generator=torch.Generator().manual_seed(0)).argsort(1)
        mixed = places.gather(1, order[..., None].expand_as(places))
        clips = {"": means + model(places), "_mean": means, "_shuffled": means + model(mixed)}
        words, own = F.normalize(texts, dim=-1), torch.eye(len(texts), dtype=torch.bool)
        figures = {
            f"words_to_clips_r{K}{name}": recall(words @ F.normalize(found.float(), dim=-1).T, own, K)
            for name, found in clips.items()
        }
        return {**figures, "away": float(1 - F.cosine_similarity(clips[""], means).mean())}

    def export(self, model: nn.Module, folder: Path) -> None:
        save_part(model, MOTION, folder, part_digests(("vision", "space"), self.options.parts))
