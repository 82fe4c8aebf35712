"""Training the detector (recipe "detector"): names and places of things, in any drawing.

It sees single training pictures, scenes with exact truth, pictures of the generator, and a few from outside the world.
All are turned, moved, recoloured, shrunk, laid on backgrounds and compressed: the name of a thing depends on none of
these. Most steps use 96 pixels a side, the last ones 128 (progressive sizes, arXiv 2104.00298).
"""

from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils import send_to_device
from PIL import Image
from torch import Tensor, nn

from models.assets import preset
from models.data.grammar import LANGUAGES
from models.data.pixels import to_tensor, to_uint8
from models.data.scenes import Scene, make_scene
from models.data.stored import progress, stored
from models.data.variety import can_be_mirrored, outside_picture
from models.data.world import Picture, Sampler, pictures_by_concept
from models.detector import PART, Detections, Detector
from models.runtime import native_dtype
from models.space import Embedder
from models.train.caption import FROZEN, SHARD, SHARDS, Sample, degraded, drawn_pool, held_out, plainest, scene_sample
from models.train.loop import Task, TaskOptions, unwrapped
from models.weights import part_digests, save_part, weights_digest

SIDES = ((0.0, 96), (0.7, 128))  # pairs: from this progress on, pictures have so many pixels a side
SCENES, DRAWN, OUTSIDE = 0.25, 0.07, 0.04  # shares of the pictures
SEEN_KINDS = (0, 3)  # of `outside_picture`, noise and patterns; the others are for evaluation
SMOOTHING = 0.1  # of the labels
POSITIVE = 12.0  # weight of a cell that holds a centre: there is one in 64
JITTERED, GREY = 0.6, 0.12  # shares of pictures with other colours and without
DEGRADED = (0.4, 0.0, 0.35, 0.35)  # as in `models.train.caption`, not cropped
HELD_OUT_CELLS, HELD_OUT_SCENES = 600, 128  # in the validation, at most
CHUNK = 32


class DetectorTask(Task):
    """Recipe "detector"; with `drawn` it also trains on pictures of the generator, where there is one."""

    def __init__(self, options: TaskOptions, drawn: bool = True) -> None:
        self.options, self.world = options, options.world
        self.drawn = drawn_pool(options, "train") if drawn else None
        self.seen_drawn = drawn_pool(options, "val") if drawn else None
        by_concept = pictures_by_concept(self.world)
        self.numbers = {concept: number for number, concept in enumerate(by_concept)}
        self.sampler = Sampler([p for p in self.world.split("train") if p.concept in self.numbers])
        pictures = [plainest(pictures) for pictures in by_concept.values()]
        names = [[picture.names.get(language, "") for language in LANGUAGES] for picture in pictures]
        detector = Detector(names, **preset(PART, options.preset))
        self.embedder = Embedder.load(options.parts)
        detector.begin(self.embedder.text([english for english, *_ in names]).float())
        self.model: nn.Module = detector

    # --- A step -----------------------------------------------------------------------------------------------------

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """Pictures (B, 4, S, S); row, concept and centre in [0, 1] of each thing; the rows with a single thing."""
        count = self.options.batch_size(progress) // ranks
        rngs = [np.random.default_rng((self.options.seed, step, rank * count + n)) for n in range(count)]
        samples = [self._sample(rng) for rng in rngs]
        side = [size for start, size in SIDES if start <= progress][-1]
        return self.rows(samples, side, rngs)

    def _sample(self, rng: np.random.Generator) -> Sample:
        draw, number = rng.random(), int(rng.integers(2**31 - 1))
        if draw < OUTSIDE:
            return Sample(outside_picture(4 * number + int(rng.choice(SEEN_KINDS)), seed=2), None)
        if draw < OUTSIDE + SCENES:
            return scene_sample(self.world, make_scene(self.world, number))
        if self.drawn and draw < OUTSIDE + SCENES + DRAWN:
            return self.drawn.shard(number % SHARDS)[int(rng.integers(self.drawn.size))]
        picture = self.sampler.draw(rng, 1)[0]
        return Sample(self.world.pixels[picture.index], picture)

    def rows(self, samples: list[Sample], side: int, rngs: list[np.random.Generator] | None = None) -> dict[str, Any]:
        """The network's input, augmented where there are random streams."""
        pixels = to_tensor(np.stack([sample.pixels for sample in samples]))
        centres = [_centres(sample) for sample in samples]
        if rngs:
            maps = np.stack([_motion(sample, rng) for sample, rng in zip(samples, rngs, strict=True)])
            grid = F.affine_grid(torch.from_numpy(maps).float(), [len(samples), 4, 128, 128], align_corners=False)
            pixels = F.grid_sample(pixels, grid, align_corners=False)
            centres = [_moved(points, motion) for points, motion in zip(centres, maps, strict=True)]
            pixels = torch.stack([_augmented(picture, rng) for picture, rng in zip(pixels, rngs, strict=True)])
        if side != pixels.shape[-1]:
            pixels = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True, align_corners=False)
        things = [
            (row, self.numbers.get(concept, -1), x, y)
            for row, (sample, points) in enumerate(zip(samples, centres, strict=True))
            for concept, (x, y) in zip(_concepts(sample), points, strict=True)
        ]
        table = torch.tensor([thing[:2] for thing in things]).view(-1, 2)
        places = torch.tensor([thing[2:] for thing in things], dtype=torch.float32).view(-1, 2)
        single = torch.tensor([len(points) == 1 for points in centres])
        inputs = {"pixels": pixels, "things": table, "centres": places, "single": single}
        return send_to_device(inputs, self.options.device)

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        # Without autocast: convolutions by channel take longer in bf16 on a CPU (46 pictures a second against 71).
        with torch.autocast(batch["pixels"].device.type, enabled=False):
            detections: Detections = model(batch["pixels"].float())
        rows, concepts = batch["things"].T
        x, y = _cells(batch, detections)
        wanted = torch.zeros_like(detections.objectness)
        wanted[rows, y, x] = 1
        weight = wanted.new_tensor(POSITIVE)
        there = F.binary_cross_entropy_with_logits(detections.objectness, wanted, pos_weight=weight)
        places = _smoothed(detections.cells[rows, y, x], concepts)
        alone = batch["single"][rows]
        whole = _smoothed(detections.whole[rows[alone]], concepts[alone])
        return {"loss": whole + 0.5 * places + there, "whole": whole, "places": places, "there": there}

    # --- A checkpoint -----------------------------------------------------------------------------------------------

    @cached_property
    def validation(self) -> dict[str, list[Sample]]:
        return held_out(self.world, self.numbers, self.seen_drawn, HELD_OUT_CELLS, 2 * SHARD, HELD_OUT_SCENES)

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Share of things whose concept comes first: by its picture ("whole", for single pictures), and by its cell."""
        hits: dict[str, list[Tensor]] = defaultdict(list)
        for kind, samples in self.validation.items():
            for start in range(0, len(samples), CHUNK):
                batch = self.rows(samples[start : start + CHUNK], 128)
                with torch.autocast(batch["pixels"].device.type, enabled=False):
                    detections: Detections = model(batch["pixels"].float())
                rows, concepts = batch["things"].T
                x, y = _cells(batch, detections)
                hits[f"{kind}_placed"].append(detections.cells[rows, y, x].argmax(1) == concepts)
                if kind != "scenes":
                    hits[f"{kind}_whole"].append(detections.whole[rows].argmax(1) == concepts)
        return {name: float(torch.cat(right).float().mean()) for name, right in hits.items()}

    @cached_property
    def centres(self) -> Tensor:
        """(C, 128): the mean vector of each concept's training pictures, one picture of each name and style."""
        pictures = list({(p.names["en"], p.style): p for p in self.sampler.pictures}.values())
        key = f"{self.world.digest[:8]}-{weights_digest(FROZEN, self.options.parts)[:12]}"

        def encoded() -> np.ndarray:
            starts = progress(range(0, len(pictures), CHUNK), f"encoding {len(pictures):,} pictures")
            with torch.autocast("cpu", torch.bfloat16, enabled=native_dtype() == torch.bfloat16):
                rows = [[p.index for p in pictures[start : start + CHUNK]] for start in starts]
                return torch.cat([self.embedder.image(self.world.pixels[some]) for some in rows]).numpy()

        cache = self.options.cache and self.options.cache / f"pictures-{key}.npy"
        vectors = torch.from_numpy(np.array(stored(cache, encoded)))
        concepts = torch.tensor([self.numbers[p.concept] for p in pictures])
        return F.normalize(torch.zeros(len(self.numbers), vectors.shape[1]).index_add(0, concepts, vectors), dim=-1)

    @torch.no_grad()
    def export(self, model: nn.Module, folder: Path) -> None:
        network = unwrapped(model)
        network.centres.copy_(self.centres)
        save_part(network, PART, folder, part_digests(FROZEN, self.options.parts), int8=True)


def _cells(batch: dict[str, Any], detections: Detections) -> Tensor:
    """Columns and rows (2, N) of the cells in which the centres lie."""
    size = detections.objectness.shape[1]
    return (batch["centres"] * size).long().clamp(0, size - 1).T


def _smoothed(logs: Tensor, concepts: Tensor) -> Tensor:
    """Cross-entropy of (N, C) with smoothed labels, 0 for no rows. Rows of unknown concepts (-1) do not count."""
    total = F.cross_entropy(logs, concepts, ignore_index=-1, label_smoothing=SMOOTHING, reduction="sum")
    return total / (concepts >= 0).sum().clamp_min(1)


def _concepts(sample: Sample) -> list[str]:
    if isinstance(sample.source, Scene):
        return [item.concept for item in sample.source.objects]
    return [sample.source.concept] if sample.source else []


def _centres(sample: Sample) -> list[tuple[float, float]]:
    """Centres of the things in [0, 1]; for a single picture, of its opaque box."""
    if sample.source is None:
        return []
    if isinstance(sample.source, Scene):
        boxes = (item.box for item in sample.source.objects)
        return [((left + width / 2) / 128, (top + height / 2) / 128) for left, top, width, height in boxes]
    box = Image.fromarray(np.ascontiguousarray(sample.pixels[..., 3])).getbbox() or (0, 0, 128, 128)
    return [((box[0] + box[2]) / 256, (box[1] + box[3]) / 256)]


def _motion(sample: Sample, rng: np.random.Generator) -> np.ndarray:
    """(2, 3) affine map from output to input coordinates, both in [-1, 1]; the things of a scene stay in the frame."""
    picture = sample.source if isinstance(sample.source, Picture) else None
    scene = picture is None
    angle = 0.0 if scene else rng.normal(0, 0.15)
    zoom = np.exp(rng.uniform(*((-0.05, 0.25) if scene else (-0.3, 0.5))))
    stretch, room = np.exp(rng.uniform(-0.12, 0.12)), 0.04 if scene else 0.15
    shift = rng.uniform(-room, room, 2)
    flip = -1.0 if picture and can_be_mirrored(picture) and rng.random() < 0.5 else 1.0
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    return np.array([[flip * cos * stretch, -flip * sin, shift[0]], [sin * stretch, cos, shift[1]]])


def _moved(centres: list[tuple[float, float]], motion: np.ndarray) -> list[tuple[float, float]]:
    """Where centres lie after the inverse of a map."""
    places = np.array(centres).reshape(-1, 2) * 2 - 1
    moved = np.linalg.solve(motion[:, :2], (places - motion[:, 2]).T).T
    return [(x, y) for x, y in np.clip((moved + 1) / 2, 0, 0.999).tolist()]


def _augmented(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """A picture (4, 128, 128) with mixed colours, degraded as files are."""
    rgb, alpha = pixels[:3], pixels[3:]
    if rng.random() < JITTERED:
        rgb = torch.einsum("ij,jhw->ihw", _mixing(rng), rgb)
        light, contrast = rng.uniform(-0.15, 0.15), rng.uniform(0.7, 1.3)
        rgb = (contrast * rgb + (0.5 * (1 - contrast) + light) * alpha).clamp(min=0).minimum(alpha)
    if rng.random() < GREY:
        rgb = rgb.mean(0, keepdim=True).expand_as(rgb)
    shown, _ = degraded(to_uint8(torch.cat([rgb, alpha])[None])[0], rng, DEGRADED)
    return to_tensor(shown)[0]


def _mixing(rng: np.random.Generator) -> Tensor:
    """(3, 3) colour matrix: a rotation about the grey axis by any angle, and a saturation."""
    angle, saturation = rng.uniform(-np.pi, np.pi) * (rng.random() < 0.5), rng.uniform(0.4, 1.5)
    cos, sin = np.cos(angle), np.sin(angle)
    grey = np.full((3, 3), 1 / 3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    turn = cos * np.eye(3) + (1 - cos) * grey + sin * cross
    return torch.from_numpy(grey + saturation * (turn - grey)).float()
