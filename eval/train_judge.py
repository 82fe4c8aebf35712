"""`python -m eval.train_judge` trains the judge, apart from all that it judges; its options are those of models.train.

Its pictures are scenes, each with its contrast, and some single stickers. Losses: softmax InfoNCE between mean vectors,
and forced choice: of three captions (its own, its contrast's, another scene's) a picture prefers its own, and of two
pictures a caption prefers its own.
"""

from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval.judge import Judge, read
from models.assets import preset
from models.data.captions import caption
from models.data.pixels import to_tensor
from models.data.scenes import ATTRIBUTES, Attribute, choices, make_scene
from models.data.world import Sampler
from models.train.contrastive import gather, global_mean
from models.train.loop import Recipe, Task, TaskOptions
from models.train.recipes import command_line
from models.weights import save_part

SINGLES = 0.2  # of units: two stickers instead of a scene and its contrast
BLURRED, NOISE = 0.3, 0.03  # share of pictures that look like a generator's, and how noisy those are
VALIDATION = 100  # scenes of each attribute
# Colour and number are learnt in minutes; which thing has which, and which is where, take all the time there is.
SHARES: dict[Attribute, tuple[float, float]] = {  # at the start, and from `LATER` of the training on
    "colour": (0.25, 0.1),
    "binding": (0.25, 0.35),
    "count": (0.25, 0.15),
    "relation": (0.25, 0.4),
}
LATER = 0.3


class Choice(nn.Module):
    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self.judge = judge

    def forward(self, pixels: Tensor, table: Tensor) -> dict[str, Tensor]:
        """pixels (N, 4, 128, 128) and captions' table (N, W, P); rows 2u and 2u + 1 are one unit."""
        places = self.judge.picture(pixels)
        words, mask = self.judge.words(table)
        contrastive = self._contrastive(*self.judge.vectors(places, words, mask))
        count = len(pixels)
        partner, other = torch.arange(count) ^ 1, (torch.arange(count) + 2) % count
        rows = torch.cat([torch.arange(count), partner, other])
        fits = self.judge.fit(places.repeat(3, 1, 1), words[rows], mask[rows]).view(3, count)
        fit, others = fits[0], fits[1:]
        everyone = torch.ones(count)
        of_captions = global_mean(fits.logsumexp(0) - fit, everyone)
        of_pictures = global_mean(F.softplus(others[0, partner] - fit), everyone)
        right = global_mean((fit > others[0]).float(), everyone)
        loss = of_captions + of_pictures + 0.3 * contrastive
        parts = {"captions": of_captions, "pictures": of_pictures, "contrastive": contrastive, "right": right}
        return {"loss": loss, **parts}

    def _contrastive(self, pictures: Tensor, captions: Tensor) -> Tensor:
        logits = self.judge.log_scale.exp() * gather(pictures) @ gather(captions).T
        target = torch.arange(len(logits))
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


class JudgeTask(Task):
    """What `python -m eval.train_judge` trains."""

    def __init__(self, options: TaskOptions) -> None:
        self.options, self.world = options, options.world
        self.model: Any = Choice(Judge(**preset("judge", options.preset)))
        self.buckets = self.model.judge.config["buckets"]
        self.sampler = Sampler(self.world.split("train"))

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """Units of two pictures with an English caption each."""
        share = max(1, self.options.batch_size(progress) // 2 // ranks)
        rngs = [np.random.default_rng((self.options.seed, step, rank * share + unit)) for unit in range(share)]
        pixels, texts = zip(*(pair for rng in rngs for pair in self._unit(rng, progress)), strict=True)
        rng = np.random.default_rng((self.options.seed, step, rank, 0x10D6E))
        return {"pixels": _degraded(to_tensor(np.stack(pixels)), rng), "table": read(texts, self.buckets)}

    def _unit(self, rng: np.random.Generator, progress: float) -> list[tuple[np.ndarray, str]]:
        seed = int(rng.integers(2**31 - 1))
        if rng.random() < SINGLES:
            return [(self.world.pixels[p.index], caption(p, seed, "en")) for p in self.sampler.draw(rng, 2)]
        shares = [share[progress >= LATER] for share in SHARES.values()]
        attribute = tuple(SHARES)[int(rng.choice(len(shares), p=shares))]
        scene = make_scene(self.world, seed, kind=ATTRIBUTES[attribute])
        return [(one.render(self.world), one.caption(seed, "en")) for one in (scene, scene.contrast(attribute))]

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        return model(batch["pixels"], batch["table"])

    @cached_property
    def _validation(self) -> dict[str, tuple[np.ndarray, list[str], list[str]]]:
        """Scenes of held-out combinations, made of pictures that training has not seen: pixels, captions, contrasts."""
        scenes_of = {}
        for attribute in ATTRIBUTES:
            with suppress(ValueError):  # a small world holds out too little
                both = choices(self.world, attribute, range(VALIDATION), "val", pictures="val")
                right, other = ([one.caption(0, "en", "short") for one in some] for some in both)
                scenes_of[str(attribute)] = np.stack([scene.render(self.world) for scene in both[0]]), right, other
        return scenes_of

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        judge: Any = model.judge
        return {
            attribute: float((judge.scores(pixels, right) > judge.scores(pixels, other)).mean())
            for attribute, (pixels, right, other) in self._validation.items()
        }

    def export(self, model: nn.Module, folder: Path) -> None:
        save_part(model.judge, "judge", folder, int8=True)


def _degraded(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Blur some pictures and add noise: the judge must read a generator's drawings as it reads an artist's."""
    degraded = torch.from_numpy(rng.random(len(pixels)) < BLURRED)
    if degraded.any():
        small = F.avg_pool2d(pixels[degraded], 2)
        noise = torch.from_numpy(rng.normal(0, NOISE, tuple(small.shape)).astype(np.float32))
        small = (small + noise * (small[:, 3:] > 0)).clamp(0, 1)
        pixels[degraded] = F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
    return pixels


RECIPE = Recipe(
    JudgeTask,
    batch_size=lambda _: 96,
    lr=6e-4,
    weight_decay=0.05,
    decay_from=0.6,
    ema=0.998,
    minutes=35,
    channels_last=True,
    seed=4321,  # another one than any part that it judges
)


if __name__ == "__main__":
    command_line({"judge": RECIPE})
