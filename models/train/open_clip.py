"""Training a CLIP model of open_clip (recipe "open_clip"), the control of the semantic space on equal data.

Class, loss and preprocessing are open_clip's; pictures, views, scenes and captions in both languages are those of
`language_space`, without its dictionary words, documents, graded labels and pictures without captions. CLIP reads three
channels, so each picture is laid on a plain colour.

Shapes: N pictures, each with an English and a Chinese caption; L tokens.
"""

import copy
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from models.assets import preset
from models.data.grammar import LANGUAGES
from models.data.pixels import composite
from models.open_clip import library
from models.tokenizer import BOS, EOS, TEXT_LENGTH, load_tokenizer
from models.train.language_space import STAGES, Drawer, all_captions, recall_figures, render, stage_at, streams
from models.train.loop import Task, TaskOptions, gather
from models.weights import part_folder

WHITE = (1.0, 1.0, 1.0)  # as `models.open_clip` lays pictures
WHITE_SHARE = 0.7  # of the pictures; the others lie on a random colour, so that a white drawing is seen
MOST_SCALE = math.log(100)  # of the logits (arXiv 2103.00020, section 2.5)
PREPROCESSING = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
FIRST = next(stage.start for stage in STAGES if stage.pictures)  # the stage before it has text alone, and is skipped


class OpenClipTask(Task):
    """Recipe "open_clip"."""

    def __init__(self, options: TaskOptions) -> None:
        open_clip, self.options, self.world = library(), options, options.world
        self.tokenizer = framing_tokenizer(load_tokenizer(part_folder("language", options.parts)))
        config = preset("open_clip", options.preset)
        tokenizer = self.tokenizer.tokenizer
        text: dict[str, Any] = {"hf_tokenizer_name": "studio128", "pool_type": "eos"}
        text |= {"context_length": TEXT_LENGTH, "vocab_size": len(tokenizer), "eos_id": tokenizer.eos_token_id}
        self.config: dict[str, Any] = {**config, "text_cfg": {**config["text_cfg"], **text}}
        self.model: Any = open_clip.CLIP(**self.config)
        open_clip.set_model_preprocess_cfg(self.model, PREPROCESSING)
        self.criterion = open_clip.ClipLoss()
        self.drawer = Drawer(self.world)

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """Pictures (N, 3, 128, 128), normalised, and captions' tokens (2N, L), all English ones first."""
        stage, size = stage_at(max(progress, FIRST)), self.options.batch_size(progress)
        rngs = streams(self.options.seed, step, "unit", stage.pictures * size / 2, rank, ranks)
        items, rngs = self.drawer.items(rngs, stage.scenes)
        pixels = render(self.world, items, rngs)
        grounds = [WHITE if rng.random() < WHITE_SHARE else rng.random(3) for rng in rngs]
        pictures = normalised(composite(pixels, torch.tensor(np.array(grounds), dtype=pixels.dtype)))
        return {"pictures": pictures, "tokens": self.tokenizer(all_captions(items)), "keep": stage.keep}

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """Mean of the losses with English and with Chinese captions, over the rows of all processes."""
        dropout = self.config["vision_cfg"]["patch_dropout"]
        self.model.visual.patch_dropout.prob = dropout if batch["keep"] < 64 else 0.0
        pictures, captions, scale = model(batch["pictures"], batch["tokens"])
        with torch.autocast(pictures.device.type, enabled=False):  # in bf16, logits near 100 are a half apart
            pictures, texts = gather(pictures.float()), captions.float().chunk(2)
            losses: dict[str, Tensor] = {
                language: self.criterion(pictures, gather(text), scale)
                for language, text in zip(LANGUAGES, texts, strict=True)
            }
        return {"loss": torch.stack([*losses.values()]).mean(), **losses, "scale": scale}

    @torch.no_grad()
    def after_step(self, model: Any) -> None:
        model.logit_scale.clamp_(0, MOST_SCALE)

    def evaluate(self, model: Any) -> dict[str, float]:
        return recall_figures(
            self.world,
            lambda texts: model.encode_text(self.tokenizer(texts), normalize=True),
            lambda pixels: model.encode_image(normalised(composite(pixels, WHITE)), normalize=True),
        )

    def export(self, model: nn.Module, folder: Path) -> None:
        """A folder that open_clip loads by itself, as "local-dir:FOLDER", in bf16 as other parts."""
        from open_clip.push_to_hf_hub import save_for_hf

        (folder / "open_clip").mkdir(parents=True, exist_ok=True)
        saved = copy.deepcopy(model).bfloat16()
        save_for_hf(saved, self.tokenizer, self.config, str(folder / "open_clip"), safe_serialization=True)


def normalised(pictures: Tensor) -> Tensor:
    """RGB (N, 3, H, W) in [0, 1] as the model reads it."""
    mean, std = (torch.tensor(PREPROCESSING[name])[:, None, None] for name in ("mean", "std"))
    return (pictures - mean) / std


def framing_tokenizer(tokenizer: PreTrainedTokenizerFast) -> Any:
    """open_clip's tokenizer over ours. Each text becomes <bos> text <eos>; a long text is cut before <eos>, the token
    from which CLIP takes its vector."""
    framing = copy.deepcopy(tokenizer)
    ends = [(token, framing.convert_tokens_to_ids(token)) for token in (BOS, EOS)]
    framing.backend_tokenizer.post_processor = TemplateProcessing(single=f"{BOS} $A {EOS}", special_tokens=ends)
    with TemporaryDirectory() as folder:
        framing.save_pretrained(folder)
        return library().tokenizer.HFTokenizer(folder, context_length=TEXT_LENGTH)
