"""Training the detector (recipe "detector"): names and places of things, in any drawing.

Single training pictures, scenes with exact truth, pictures of the generator, and a few from outside that show nothing
of this world. All are turned, moved, recoloured, made small, laid on grounds and compressed: what a thing is depends on
none of that. Most steps see 96 pixels a side, the last ones 128 (progressive sizes, arXiv 2104.00298).
"""

import io
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils import send_to_device
from PIL import Image
from torch import Tensor, nn

from models.data.grammar import LANGUAGES
from models.data.pixels import to_tensor
from models.data.scenes import Scene, make_scene
from models.data.sheet import captioned
from models.data.stored import progress, stored
from models.data.variety import outside_picture
from models.data.world import Picture, Sampler, evenly, pictures_by_concept
from models.detector import PART, Detector, Read
from models.hardware import native_dtype
from models.presets import preset
from models.space import Embedder
from models.train.caption_data import FROZEN, SHARD, SHARDS, Shown, drawn_pool, held_out, shown_scene
from models.train.loop import Task, TaskOptions, unwrapped
from models.train.space_batches import UNTURNED
from models.weights import part_digests, save_part, weights_digest

SIDES = ((0.0, 96), (0.7, 128))  # from which progress on pictures have how many pixels a side
SCENES, DRAWN, OUTSIDE = 0.25, 0.07, 0.04  # shares of the pictures
SEEN_KINDS = (0, 3)  # of `outside_picture`, noise and patterns; the others are for evaluation
SMOOTHING = 0.1  # of the labels
POSITIVE = 12.0  # weight of a cell that holds a centre: there is one in 64
JITTERED, GREY, GROUNDED, SMALLER, COMPRESSED = 0.6, 0.12, 0.4, 0.35, 0.15  # shares that are altered so
LARGEST = 600  # held-out cells that a checkpoint names
SCENES_SEEN = 128
CHUNK = 32


class DetectorTask(Task):
    """Recipe "detector"; with `drawn` it learns on pictures of the generator, too, where there is one."""

    def __init__(self, options: TaskOptions, drawn: bool = True) -> None:
        self.options, self.world = options, options.world
        self.drawn = drawn_pool(options, "train") if drawn else None
        self.seen_drawn = drawn_pool(options, "val") if drawn else None
        by_concept = pictures_by_concept(self.world)
        self.numbers = {concept: number for number, concept in enumerate(by_concept)}
        self.sampler = Sampler([p for p in self.world.split("train") if p.concept in self.numbers])
        names = [plainest(pictures).names for pictures in by_concept.values()]
        listed = [[own.get(language, "") for language in LANGUAGES] for own in names]
        detector = Detector(listed, **preset(PART, options.preset))
        self.embedder = Embedder.load(options.parts)
        detector.begin(self.embedder.text([own[0] for own in listed]).float())
        self.model: nn.Module = detector

    # --- A step -----------------------------------------------------------------------------------------------------

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """Pictures (B, 4, S, S); of each thing the row, its concept, and its centre in [0, 1]; which rows show one."""
        count = self.options.batch_size(progress) // ranks
        rngs = [np.random.default_rng((self.options.seed, step, rank * count + n)) for n in range(count)]
        shown = [self._show(rng) for rng in rngs]
        side = [size for start, size in SIDES if start <= progress][-1]
        return self.rows(shown, side, rngs)

    def _show(self, rng: np.random.Generator) -> Shown | np.ndarray:
        draw, number = rng.random(), int(rng.integers(2**31 - 1))
        if draw < OUTSIDE:
            return outside_picture(4 * number + int(rng.choice(SEEN_KINDS)), seed=2)
        if draw < OUTSIDE + SCENES:
            return shown_scene(self.world, make_scene(self.world, number))
        if self.drawn and draw < OUTSIDE + SCENES + DRAWN:
            return self.drawn.shard(number % SHARDS)[int(rng.integers(self.drawn.size))]
        picture = self.sampler.draw(rng, 1)[0]
        return Shown(self.world.pixels[picture.index], picture)

    def rows(
        self, shown: "list[Shown | np.ndarray]", side: int, rngs: list[np.random.Generator] | None = None
    ) -> dict[str, Any]:
        """What the network is given, altered where there are random streams."""
        pixels = to_tensor(np.stack([one.pixels if isinstance(one, Shown) else one for one in shown]))
        centres = [_centres(one) for one in shown]
        if rngs:
            maps = np.stack([_motion(one, rng) for one, rng in zip(shown, rngs, strict=True)])
            pixels = F.grid_sample(
                pixels,
                F.affine_grid(torch.from_numpy(maps).float(), [len(shown), 4, 128, 128], align_corners=False),
                align_corners=False,
            )
            centres = [_moved(own, motion) for own, motion in zip(centres, maps, strict=True)]
            pixels = torch.stack([_altered(one, rng) for one, rng in zip(pixels, rngs, strict=True)])
        if side != pixels.shape[-1]:
            pixels = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True, align_corners=False)
        things = [
            (row, self.numbers.get(concept, -1), x, y)
            for row, (one, own) in enumerate(zip(shown, centres, strict=True))
            for concept, (x, y) in zip(_concepts(one), own, strict=True)
        ]
        table = torch.tensor([thing[:2] for thing in things]).view(-1, 2)
        places = torch.tensor([thing[2:] for thing in things], dtype=torch.float32).view(-1, 2)
        single = torch.tensor([len(own) == 1 for own in centres])
        found = {"pixels": pixels, "things": table, "centres": places, "single": single}
        return send_to_device(found, self.options.device)

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        # Without autocast: convolutions by channel take longer in bf16 on a CPU (46 pictures a second against 71).
        with torch.autocast(batch["pixels"].device.type, enabled=False):
            read: Read = model(batch["pixels"].float())
        rows, concepts = batch["things"].T
        x, y = _cells(batch, read)
        wanted = torch.zeros_like(read.there)
        wanted[rows, y, x] = 1
        there = F.binary_cross_entropy_with_logits(read.there, wanted, pos_weight=wanted.new_tensor(POSITIVE))
        places = _smoothed(read.places[rows, y, x], concepts)
        alone = batch["single"][rows]
        whole = _smoothed(read.whole[rows[alone]], concepts[alone])
        return {"loss": whole + 0.5 * places + there, "whole": whole, "places": places, "there": there}

    # --- A checkpoint -----------------------------------------------------------------------------------------------

    @cached_property
    def validation(self) -> dict[str, list[Shown]]:
        return held_out(self.world, self.numbers, self.seen_drawn, LARGEST, 2 * SHARD, SCENES_SEEN)

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Share of things whose concept comes first, and among the first five; first by its cell alone; and, of single
        pictures, first when guided by the space."""
        network, figures = unwrapped(model), dict[str, float]()
        for kind, shown in self.validation.items():
            found: dict[str, list[Tensor]] = {"first": [], "five": [], "placed": [], "guided": []}
            for start in range(0, len(shown), CHUNK):
                batch = self.rows(shown[start : start + CHUNK], 128)  # type: ignore[arg-type]
                with torch.autocast(batch["pixels"].device.type, enabled=False):
                    read: Read = model(batch["pixels"].float())
                rows, concepts = batch["things"].T
                x, y = _cells(batch, read)
                whole = read.whole[rows] if kind != "scenes" else read.places[rows, y, x]
                best = whole.topk(min(5, whole.shape[1])).indices == concepts[:, None]
                found["first"].append(best[:, 0])
                found["five"].append(best.any(1))
                found["placed"].append(read.places[rows, y, x].argmax(1) == concepts)
                if kind != "scenes":
                    vectors = self.embedder.image(np.stack([one.pixels for one in shown[start : start + CHUNK]]))
                    found["guided"].append(network.guided(whole, vectors).argmax(1) == concepts)
            for name, right in found.items():
                if right:
                    figures[f"{kind}_{name}"] = float(torch.cat(right).float().mean())
        return figures

    def sheet(self, model: nn.Module) -> Image.Image | None:
        """Some of each kind, under it the three likeliest names."""
        pictures, texts, network = list[np.ndarray](), list[str](), unwrapped(model)
        for shown in self.validation.values():
            some = evenly(shown, 24)
            with torch.autocast("cpu", enabled=False):
                read = model(self.rows(some, 128)["pixels"].float())  # type: ignore[arg-type]
            for one, whole in zip(some, read.whole, strict=True):
                pictures.append(one.pixels)
                texts.append("\n".join(network.name(int(n), "en") for n in whole.topk(3).indices))
        return captioned(pictures, texts)

    @cached_property
    def centres(self) -> Tensor:
        """(C, 128): the mean vector of each concept's training pictures, one of each name and style."""
        pictures = list({(p.names["en"], p.style): p for p in self.sampler.pictures}.values())
        named = f"{self.world.digest[:8]}-{weights_digest(FROZEN, self.options.parts)[:12]}"

        def encoded() -> np.ndarray:
            starts = progress(range(0, len(pictures), CHUNK), f"encoding {len(pictures):,} pictures")
            with torch.autocast("cpu", torch.bfloat16, enabled=native_dtype() == torch.bfloat16):
                rows = [[p.index for p in pictures[start : start + CHUNK]] for start in starts]
                return torch.cat([self.embedder.image(self.world.pixels[some]) for some in rows]).numpy()

        cache = self.options.cache and self.options.cache / f"pictures-{named}.npy"
        vectors = torch.from_numpy(np.array(stored(cache, encoded)))
        concepts = torch.tensor([self.numbers[p.concept] for p in pictures])
        return F.normalize(torch.zeros(len(self.numbers), vectors.shape[1]).index_add(0, concepts, vectors), dim=-1)

    @torch.no_grad()
    def export(self, model: nn.Module, folder: Path) -> None:
        network = unwrapped(model)
        network.centres.copy_(self.centres)
        save_part(network, PART, folder, part_digests(FROZEN, self.options.parts), int8=True)


def _cells(batch: dict[str, Any], read: Read) -> Tensor:
    """Columns and rows (2, N) of the cells in which the centres lie."""
    size = read.there.shape[1]
    return (batch["centres"] * size).long().clamp(0, size - 1).T


def _smoothed(logs: Tensor, concepts: Tensor) -> Tensor:
    """Cross-entropy with smoothed labels of (N, C); 0 of none. What training does not know (-1) is left out."""
    logs, concepts = logs[concepts >= 0], concepts[concepts >= 0]
    if not len(logs):
        return logs.sum()
    own = logs.gather(1, concepts[:, None])
    return -((1 - SMOOTHING) * own.mean() + SMOOTHING * logs.mean())


def plainest(pictures: list[Picture]) -> Picture:
    """The one without skin tone and gender, where there is one."""
    return min(pictures, key=lambda p: (p.skin is not None, p.gender is not None, len(p.names["en"])))


def _concepts(shown: Shown | np.ndarray) -> list[str]:
    if not isinstance(shown, Shown):
        return []
    source = shown.source
    return [source.concept] if isinstance(source, Picture) else [item.concept for item in source.objects]


def _centres(shown: Shown | np.ndarray) -> list[tuple[float, float]]:
    """Of what is shown, in [0, 1]; of a single picture, the middle of what is opaque."""
    if not isinstance(shown, Shown):
        return []
    if isinstance(shown.source, Scene):
        boxes = (item.box for item in shown.source.objects)
        return [((left + width / 2) / 128, (top + height / 2) / 128) for left, top, width, height in boxes]
    box = Image.fromarray(np.ascontiguousarray(shown.pixels[..., 3])).getbbox() or (0, 0, 128, 128)
    return [((box[0] + box[2]) / 256, (box[1] + box[3]) / 256)]


def _motion(shown: Shown | np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(2, 3) affine map from output to input coordinates, both in [-1, 1]; what a scene shows stays in sight."""
    scene = not isinstance(shown, Shown) or isinstance(shown.source, Scene)
    angle, zoom = (
        (0.0 if scene else rng.normal(0, 0.15)),
        np.exp(rng.uniform(*((-0.05, 0.25) if scene else (-0.3, 0.5)))),
    )
    stretch, room = np.exp(rng.uniform(-0.12, 0.12)), 0.04 if scene else 0.15
    shift = rng.uniform(-room, room, 2)
    turned = not scene and shown.source.group not in UNTURNED and rng.random() < 0.5  # type: ignore[union-attr]
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    flip = -1.0 if turned else 1.0
    return np.array([[flip * cos * stretch, -flip * sin, shift[0]], [sin * stretch, cos, shift[1]]])


def _moved(centres: list[tuple[float, float]], motion: np.ndarray) -> list[tuple[float, float]]:
    """Where centres lie after the inverse of a map."""
    places = np.array(centres).reshape(-1, 2) * 2 - 1
    moved = np.linalg.solve(motion[:, :2], (places - motion[:, 2]).T).T
    return [tuple(one) for one in np.clip((moved + 1) / 2, 0, 0.999)]


def _altered(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """One picture (4, 128, 128): its colours mixed, laid on a ground, made small, compressed."""
    jitter, grey, ground, small, compressed = rng.random(5) < (JITTERED, GREY, GROUNDED, SMALLER, COMPRESSED)
    rgb, alpha = pixels[:3], pixels[3:]
    if jitter:
        rgb = torch.einsum("ij,jhw->ihw", _mixing(rng), rgb)
        light, contrast = rng.uniform(-0.15, 0.15), rng.uniform(0.7, 1.3)
        rgb = (contrast * rgb + (0.5 * (1 - contrast) + light) * alpha).clamp(min=0).minimum(alpha)
    if grey:
        rgb = rgb.mean(0, keepdim=True).expand_as(rgb)
    if ground:
        colour = torch.from_numpy(rng.random(3)).to(rgb)
        rgb, alpha = rgb + (1 - alpha) * colour[:, None, None], torch.ones_like(alpha)
    if small:
        side = int(rng.integers(32, 100))
        less = F.interpolate(torch.cat([rgb, alpha])[None], (side, side), mode="bilinear", antialias=True)
        rgb, alpha = F.interpolate(less, (128, 128), mode="bilinear")[0].split([3, 1])
    if compressed:
        white = (255 * (rgb + 1 - alpha)).clamp(0, 255).byte().permute(1, 2, 0).numpy()
        file = io.BytesIO()
        Image.fromarray(white).save(file, "JPEG", quality=int(rng.integers(20, 90)))
        rgb = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float() / 255
        alpha = torch.ones_like(alpha)
    return torch.cat([rgb, alpha])


def _mixing(rng: np.random.Generator) -> Tensor:
    """(3, 3): a turn about the grey axis by any angle, and a saturation."""
    angle, saturation = rng.uniform(-np.pi, np.pi) * (rng.random() < 0.5), rng.uniform(0.4, 1.5)
    cos, sin = np.cos(angle), np.sin(angle)
    grey = np.full((3, 3), 1 / 3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    turn = cos * np.eye(3) + (1 - cos) * grey + sin * cross
    return torch.from_numpy(grey + saturation * (turn - grey)).float()
