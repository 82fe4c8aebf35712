"""The generator's later hours: flow matching, and a second loss for what its clean answer looks like.

Mean squares alone leave the middle of a thing blurred for want of hours (LOG.md); a perceptual loss on the predicted
clean latent, below a noise level, says what to draw first there (arXiv 2411.04873 with a decoder's features, 2602.02493
with a classifier's, as here).
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.train.image import ImageTask
from models.train.loop import TaskOptions
from models.train.perceptual import load_perceptual

PERCEPTUAL = Path("runs/perceptual-sticker/export")  # where its recipe leaves it

# At t = 0.4 and this weight the gradient at the answer is 0.6 of the flow's own, at 0.6 1.4 times it.
WEIGHT = 0.4
GATE = 0.75  # above it, the answer is the mean of all that might be meant, and should be


class SharpenTask(ImageTask):
    """Recipe "sharpen": `weight` of the perceptual loss below noise level `gate`, by the network in `perceptual`."""

    def __init__(
        self,
        options: TaskOptions,
        perceptual: Path = PERCEPTUAL,
        weight: float = WEIGHT,
        gate: float = GATE,
        **settings: Any,
    ) -> None:
        self.perceptual = load_perceptual(perceptual, options.device)  # before hours of encoding
        super().__init__(options, **settings)
        self.weight, self.gate = weight, gate

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """The sum of both, and each; in evaluation the flow's alone, to compare with other recipes."""
        velocity = self.velocity(model, batch)
        flow = self.flow_loss(velocity, batch)
        if not model.training:
            return {"loss": flow}
        seen = self._looks(velocity, batch)
        return {"loss": flow + self.weight * seen, "flow": flow.detach(), "perceptual": seen.detach()}

    def _looks(self, velocity: Tensor, batch: dict[str, Any]) -> Tensor:
        """Distance of the clean latent answered, x - t v, from the true one; samples above the gate count as zero."""
        below = batch["t"] < self.gate
        if not below.any():
            return velocity.new_zeros(())
        x, times = batch["x"][below], batch["t"][below][:, None, None, None]
        answered, wanted = (x - times * v[below].float() for v in (velocity, batch["target"]))
        return self.perceptual.distance(answered, wanted).sum() / torch.numel(below)
