"""Training the head that reads the motion of a clip (recipe "motion", `models.space.MotionHead`), for search by words.

The other parts are frozen, so clips and texts are encoded once and a step reads rows. A row is a clip with several
pairs of a vector and a caption. The first pair is the mean of the clip's frame vectors with its caption. The others are
pictures of other things with captions that give them the same motion: there are far more words than clips, and the head
learns the motion, whatever moves.

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

from models.assets import preset
from models.data.clips import MOTIONS, SPEEDS, Clip, Move, make_clip, motion_caption
from models.data.extra_sets import animated_caption, load_animated
from models.data.grammar import stream
from models.data.pixels import to_tensor
from models.data.stored import progress, stored_tensors
from models.data.world import World
from models.runtime import native_dtype
from models.space import MOTION, Embedder, MotionHead, lines
from models.tokenizer import encode_texts
from models.train.loop import Task, TaskOptions, recall
from models.weights import part_digests, save_part, weights_digest

FROZEN = ("language", "vision", "space")
CLIPS, HELD_OUT = 2400, 104  # composed clips of training and validation; training adds the animated set
PROBES = 64  # clips that the components of change are measured on
PAIRS = 5
KINDS = tuple(MOTIONS)
MOVES = [Move(kind, speed, loop) for kind in KINDS for speed in SPEEDS for loop in (False, True)]
SCALE = 16.0  # of the cosines, as in the space
NEAR = 0.6  # weight of a clip's distance from the mean of its frames, because pictures also search among clips
K = 10


@dataclass(frozen=True)
class Item:
    """A clip's frames (T, 128, 128, 4); its pairs of a picture (128, 128, 4), None for the clip itself, and a caption;
    and the number of its move, -1 where no other clip counts as moving alike."""

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
    """The item of a composed clip. Other things get the motion of a single thing; a clip of several things has only
    captions of its own."""
    captions: list[tuple[np.ndarray | None, str]] = [(None, clip.caption(world, n)) for n in range(PAIRS)]
    if len(clip.tracks) > 1 or clip.scene:
        return Item(clip.render(world), captions)
    others = stream("moved alike", clip.seed).sample(world.split("train"), PAIRS - 1)
    move = clip.tracks[0].move
    pairs = [(world.pixels[other.index], motion_caption(other, clip.seed, None, move)) for other in others]
    return Item(clip.render(world), [captions[0], *pairs], MOVES.index(move))


def training_items(world: World, seed: int, count: int) -> Iterator[Item]:
    """`count` composed clips, then the animated set's clips of split `train`."""
    for number in range(count):
        yield item_of(world, make_clip(world, (seed + 2) * 10**7 + number))
    if world.folder:
        animated = load_animated(world)
        for row in animated.rows("train"):
            captions = [(None, animated_caption(animated.pictures[row], n)) for n in range(PAIRS)]
            yield Item(np.asarray(animated.frames[row]), captions)


def held_out_items(world: World, count: int) -> Iterator[Item]:
    """Clips of one thing with pairs of concept and motion in split `val`, the motions in turn, as far as the world has
    such pairs."""
    for number in range(count):
        with suppress(ValueError):
            clip = make_clip(world, number, "val", motion=KINDS[number % len(KINDS)])
            yield Item(clip.render(world), [(None, clip.caption(world, 0, "en"))])


class Reader:
    """Encodes clips by the frozen parts."""

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
        """(channels, D): directions of largest change in rows and columns of clips, scaled to changes of about 1."""
        tokens = torch.stack([lines(self.tokens(list(item.frames)).float()) for item in items])  # (N, T, 16, D)
        changes = (tokens - tokens.mean(1, keepdim=True)).flatten(0, 2)
        values, vectors = torch.linalg.eigh(changes.T @ changes / len(changes))
        return vectors[:, -channels:].T / values[-channels:].mean().clamp_min(1e-9).sqrt()

    def rows(self, items: Iterable[Item], head: MotionHead, count: int) -> Rows:
        """About `count` items, encoded for the head."""
        encoded = [self._row(item, head) for item in progress(items, f"reading {count:,} clips", count)]
        places, vectors, texts, moves = zip(*encoded, strict=True)
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
    """Recipe "motion" with `clips` composed clips for training and `held` for validation."""

    def __init__(self, options: TaskOptions, clips: int = CLIPS, held: int = HELD_OUT) -> None:
        self.options, self.counts = options, (clips, held)
        self.model = MotionHead(**preset(MOTION, options.preset))
        self.components = self.model.components.requires_grad_(False).weight
        stored = self._stored()
        self.components.copy_(stored["components"])
        self.train, self.held = (
            Rows(**{field.name: stored[f"{split}.{field.name}"] for field in fields(Rows)})
            for split in ("train", "held")
        )
        self.alike = {int(move): np.flatnonzero(self.train.moves == move) for move in self.train.moves.unique()}

    def _stored(self) -> dict[str, Tensor]:
        """Components and the rows of both splits, encoded or from the cache."""
        o = self.options
        content = [weights_digest(FROZEN, o.parts), o.world.digest, o.seed, o.preset, self.counts, PAIRS, PROBES]
        clip = make_clip(o.world, o.seed)
        sample = clip.caption(o.world, 0).encode() + clip.render(o.world).tobytes()
        name = hashlib.sha256(f"{content}".encode() + sample).hexdigest()[:12]
        return stored_tensors(o.cache and o.cache / f"motion-{name}.safetensors", self._encoded)

    def _encoded(self) -> dict[str, Tensor]:
        reader, (clips, held) = Reader(Embedder.load(self.options.parts)), self.counts
        sources = self.options.world, self.options.seed
        probes = islice(training_items(*sources, clips), PROBES)
        self.components.copy_(reader.components(probes, len(self.components)))
        rows = {
            "train": reader.rows(training_items(*sources, clips), self.model, clips),
            "held": reader.rows(held_out_items(self.options.world, held), self.model, held),
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
        """Recall at K of held-out clips by their captions: with the head, by the mean of the frames, and with shuffled
        frames; and the distance of clips from that mean."""
        places, means, texts = (
            part.float() for part in (self.held.places, self.held.vectors[:, 0], self.held.texts[:, 0])
        )
        order = torch.rand(places.shape[:2], generator=torch.Generator().manual_seed(0)).argsort(1)
        mixed = places.gather(1, order[..., None].expand_as(places))
        clips = {"": means + model(places), "_mean": means, "_shuffled": means + model(mixed)}
        words, relevant = F.normalize(texts, dim=-1), torch.eye(len(texts), dtype=torch.bool)
        figures = {
            f"words_to_clips_r{K}{name}": recall(words @ F.normalize(vectors.float(), dim=-1).T, relevant, K)
            for name, vectors in clips.items()
        }
        return {**figures, "away": float(1 - F.cosine_similarity(clips[""], means).mean())}

    def export(self, model: nn.Module, folder: Path) -> None:
        save_part(model, MOTION, folder, part_digests(("vision", "space"), self.options.parts))
