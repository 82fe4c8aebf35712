"""Training a CLIP model of open_clip (recipe "open_clip"), to stand beside our space on the same data.

The class, the loss and the preprocessing are open_clip's; pictures, views, scenes and captions in both languages are
those that `language_space` draws. What that recipe has over it stays out: words of a dictionary, documents, graded
labels, pictures without captions. CLIP reads three channels, so each picture is laid on a plain colour.
"""

import copy
import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from models.assets import assets
from models.data.pixels import composite
from models.open_clip import PART, library
from models.tokenizer import BOS, EOS, load_tokenizer
from models.train import space_batches as batches
from models.train.contrastive import gather
from models.train.language_space import STAGES, Stage, stage_at
from models.train.loop import Task, TaskOptions
from models.train.space_validation import Validation
from models.weights import part_folder, record_part

WHITE = (1.0, 1.0, 1.0)  # as `models.open_clip` lays pictures
WHITE_SHARE = 0.7  # of the pictures; on other colours, what is white is seen
MOST_SCALE = math.log(100)  # of the logits, as in the paper (arXiv 2103.00020, section 2.5)


def configuration(name: str) -> dict[str, Any]:
    """A file of `assets/open_clip`, as open_clip writes it beside weights; ValueError where there is none."""
    folder = assets() / "open_clip"
    if not (file := folder / f"{name}.json").is_file():
        raise ValueError(
            f"open_clip has no preset {name!r}; there are {', '.join(sorted(f.stem for f in folder.iterdir()))}"
        )
    return json.loads(file.read_text(encoding="utf-8"))


def stage_of(progress: float) -> Stage:
    """That of `language_space`, but for the first one, which has text alone."""
    return stage_at(max(progress, next(stage.start for stage in STAGES if stage.pictures)))


class OpenClipTask(Task):
    """Recipe "open_clip"; with `init_logit_bias` in the preset's file, the loss is SigLIP's."""

    def __init__(self, options: TaskOptions) -> None:
        open_clip, self.options, self.world = library(), options, options.world
        self.config = configuration(options.preset)
        self.tokenizer = framing_tokenizer(load_tokenizer(part_folder("language", options.parts)), self.config)
        self.config["model_cfg"]["text_cfg"]["vocab_size"] = len(self.tokenizer.tokenizer)
        self.model: Any = open_clip.CLIP(**self.config["model_cfg"])
        open_clip.set_model_preprocess_cfg(self.model, self.config["preprocess_cfg"])
        self.criterion = open_clip.loss.SigLipLoss() if self.model.logit_bias is not None else open_clip.ClipLoss()
        self.drawer, self.validation = batches.Drawer(self.world), Validation(self.world)

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """Pictures (N, 3, 128, 128), normalised, and captions' tokens (2N, L), all English ones first."""
        size, stage = self.options.batch_size(progress), stage_of(progress)
        rngs = batches.streams(self.options.seed, step, "unit", stage.pictures * size / 2, rank, ranks)
        items, rngs = self.drawer.items(rngs, stage.scenes)
        pixels = batches.render(self.world, items, rngs)
        colours = torch.tensor(np.stack([ground(rng) for rng in rngs]), dtype=pixels.dtype)
        pictures = self.normalised(composite(pixels, colours))
        return {"pictures": pictures, "tokens": self.tokenizer(batches.all_captions(items))}

    def normalised(self, pictures: Tensor) -> Tensor:
        """RGB (N, 3, H, W) in [0, 1] as the model reads it."""
        mean, std = (torch.tensor(self.config["preprocess_cfg"][name])[:, None, None] for name in ("mean", "std"))
        return (pictures - mean) / std

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """The mean of the losses with English and with Chinese captions, among the rows of all processes."""
        config = self.config["model_cfg"]["vision_cfg"]
        self.model.visual.patch_dropout.prob = config["patch_dropout"] if stage_of(progress).keep < 64 else 0.0
        pictures, captions, *scale = model(batch["pictures"], batch["tokens"])
        with torch.autocast(pictures.device.type, enabled=False):  # in bf16, logits near 100 are a half apart
            seen, (english, chinese) = gather(pictures.float()), captions.float().chunk(2)
            losses = {
                "english": self.criterion(seen, gather(english), *scale),
                "chinese": self.criterion(seen, gather(chinese), *scale),
            }
        return {"loss": (losses["english"] + losses["chinese"]) / 2, **losses, "scale": scale[0]}

    @torch.no_grad()
    def after_step(self, model: Any) -> None:
        model.logit_scale.clamp_(0, MOST_SCALE)

    def evaluate(self, model: Any) -> dict[str, float]:
        return self.validation.figures(
            lambda texts: model.encode_text(self.tokenizer(texts), normalize=True),
            lambda pixels: model.encode_image(self.normalised(composite(pixels, WHITE)), normalize=True),
        )

    def export(self, model: nn.Module, folder: Path) -> None:
        """A folder that open_clip loads by itself, as "local-dir:FOLDER", in bf16 as other parts."""
        from open_clip.push_to_hf_hub import save_for_hf

        (folder / PART).mkdir(parents=True, exist_ok=True)
        saved = copy.deepcopy(model).bfloat16()
        save_for_hf(saved, self.tokenizer, self.config["model_cfg"], str(folder / PART), safe_serialization=True)
        record_part(PART, folder)


def ground(rng: np.random.Generator) -> np.ndarray:
    """(3,) the colour under one picture."""
    return np.array(WHITE) if rng.random() < WHITE_SHARE else rng.random(3)


def framing_tokenizer(tokenizer: PreTrainedTokenizerFast, config: dict[str, Any]) -> Any:
    """open_clip's tokenizer over ours, which then frames each text itself: <bos> text <eos>, a long text cut before
    <eos>, which is the token that CLIP takes its vector from."""
    framing = copy.deepcopy(tokenizer)
    ends = [(token, framing.convert_tokens_to_ids(token)) for token in (BOS, EOS)]
    framing.backend_tokenizer.post_processor = TemplateProcessing(single=f"{BOS} $A {EOS}", special_tokens=ends)
    with TemporaryDirectory() as folder:
        framing.save_pretrained(folder)
        length = config["model_cfg"]["text_cfg"]["context_length"]
        return library().tokenizer.HFTokenizer(folder, context_length=length)
