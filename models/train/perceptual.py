"""Training the classifier whose features measure how different two latents look (`models.perceptual`).

It learns from the generator's own rows, so nothing is encoded anew, and under a little noise: it is to look at answers
that are not clean yet.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from models.data.colours import NAMES
from models.data.sampling import evenly
from models.data.world import Picture
from models.perceptual import Perceptual
from models.presets import preset
from models.train.image import VALIDATION, ImageTask, noised
from models.train.loop import TaskOptions
from models.weights import load_part, part_digests, save_part

PART = "perceptual"
NOISY, MOST_NOISE = 0.6, 0.4  # share of latents under noise, and the highest level
MOST_SHIFT = 2  # of 16 places, around the edge: where a thing is must not tell what it is
STYLE_WEIGHT, COLOUR_WEIGHT = 0.5, 2.0  # bring the three losses to one size


def load_perceptual(folder: Path, device: torch.device) -> Perceptual:
    """The network that `python -m models.train perceptual` left in `folder`; ValueError where it left none."""
    if not (folder / PART).is_dir():
        raise ValueError(f"no perceptual network in {folder}; train it first: python -m models.train perceptual")
    return load_part(Perceptual, PART, folder, torch.float32).to(device, memory_format=torch.channels_last)


class PerceptualTask(ImageTask):
    """Recipe "perceptual": name, style and colours of a picture from its latent."""

    def __init__(self, options: TaskOptions, **settings: Any) -> None:
        super().__init__(options, **settings)
        self.concepts = {name: i for i, name in enumerate(sorted({p.concept for p in self.pictures}))}
        self.styles = {name: i for i, name in enumerate(sorted({p.style for p in self.pictures}))}
        counts = {"concepts": len(self.concepts), "styles": len(self.styles), "colours": len(NAMES)}
        self.model = Perceptual(**preset(PART, options.preset), **counts)
        self.labels = self._labels(self.pictures)

    def _labels(self, pictures: list[Picture]) -> dict[str, Tensor]:
        """Of N pictures: concept and style (N,), a concept that is not in training as -1, and colours (N, K)."""
        return {
            "concept": torch.tensor([self.concepts.get(p.concept, -1) for p in pictures]),
            "style": torch.tensor([self.styles.get(p.style, -1) for p in pictures]),
            "colour": torch.tensor([[float(name in p.colours) for name in NAMES] for p in pictures]),
        }

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """Latents in some view, some under noise, all of a step moved alike, and what they show."""
        rng = np.random.default_rng((self.options.seed, step))
        size = self.options.batch_size(progress)
        rows = torch.from_numpy(self.sampler.rows(rng, size)[rank::ranks])
        views = torch.from_numpy(rng.integers(len(self.views), size=size)[rank::ranks])
        times = torch.from_numpy(rng.random(size) * MOST_NOISE * (rng.random(size) < NOISY)).float()[rank::ranks]
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        latents = self.encoded.latents[(views * len(self.pictures) + rows).to(self.device)].float()
        noise = torch.randn((size, *latents.shape[1:]), generator=generator)[rank::ranks].to(self.device)
        shift = [int(by) for by in rng.integers(-MOST_SHIFT, MOST_SHIFT + 1, size=2)]
        x = noised(latents, noise, times.to(self.device)).roll(shift, (2, 3))
        return {"latents": x, **{name: label[rows].to(self.device) for name, label in self.labels.items()}}

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """Cross-entropies of concept and style, and of every colour by itself."""
        concept, style, colour = (logits.float() for logits in model(batch["latents"]))
        losses = {
            "concept": F.cross_entropy(concept, batch["concept"], label_smoothing=0.1),
            "style": F.cross_entropy(style, batch["style"]),
            "colour": F.binary_cross_entropy_with_logits(colour, batch["colour"]),
        }
        total = losses["concept"] + STYLE_WEIGHT * losses["style"] + COLOUR_WEIGHT * losses["colour"]
        return {"loss": total, **{name: value.detach() for name, value in losses.items()}}

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Of held-out pictures whose concept training knows: concept first, among five, and style right."""
        labels = self._labels(evenly(self.world.split("val"), VALIDATION))
        known = labels["concept"] >= 0
        concept, style, _ = (x.float().cpu() for x in model(self._validation["val"].latents.float()))
        best = concept.topk(5, 1).indices == labels["concept"][:, None]
        hits = {"concept": best[:, 0], "concept_in_5": best.any(1), "style": style.argmax(1) == labels["style"]}
        return {name: float(hit[known].float().mean()) for name, hit in hits.items()}

    def sheet(self, model: nn.Module) -> Image.Image | None:
        """Nothing to look at."""
        return None

    def export(self, model: nn.Module, folder: Path) -> None:
        """The network, and whose latents it reads."""
        save_part(model, PART, folder, part_digests(("autoencoder",), self.options.parts))
