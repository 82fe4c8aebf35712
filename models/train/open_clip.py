"""Training with open_clip: a CLIP model to compare our space with, and our 128-d heads over a frozen CLIP model.

Recipe "open_clip" trains a CLIP model. Class, loss and preprocessing are open_clip's; pictures, views, scenes and
captions in both languages are those of `language_space`, without that recipe's dictionary words, documents, graded
labels and pictures without captions. CLIP reads three channels, so each picture is laid on a plain colour.

Recipe "space" (`--trunk open_clip:MODEL:WEIGHTS`) trains heads. The trunk encodes each picture and caption once; a step
reads vectors. The losses are the pairwise ones of `language_space`, with graded labels at three Matryoshka widths.

Shapes: N pictures, each with an English and a Chinese caption; D numbers of the trunk.
"""

import copy
import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from models.assets import assets
from models.data.pixels import composite, to_uint8
from models.data.stored import progress, stored_tensors
from models.open_clip import PART, OpenClip, heads, library, probe, save_heads
from models.space import SemanticSpace
from models.tokenizer import BOS, EOS, load_tokenizer
from models.train.contrastive import (
    Drawer,
    Facts,
    Numbers,
    Validation,
    all_captions,
    gather,
    pair_labels,
    picture_labels,
    render,
    sigmoid_loss,
    stream,
    streams,
)
from models.train.language_space import STAGES, WEIGHTS, Stage, nested_loss, stage_at
from models.train.loop import Task, TaskOptions
from models.weights import part_folder, record_part

WHITE = (1.0, 1.0, 1.0)  # as `models.open_clip` lays pictures
WHITE_SHARE = 0.7  # of the pictures; on other colours, what is white is seen
MOST_SCALE = math.log(100)  # of the logits, as in the paper (arXiv 2103.00020, section 2.5)
UNITS = 10_000  # of two pictures each, encoded
CHUNK = 16  # units a pass
SCENES = STAGES[-1].scenes  # share of the units
KINDS = ("picture", "english", "chinese")  # rows with facts: pictures, and captions by language


def configuration(name: str) -> dict[str, Any]:
    """A file of `assets/open_clip`, in open_clip's format; ValueError for an unknown name."""
    folder = assets() / "open_clip"
    if not (file := folder / f"{name}.json").is_file():
        raise ValueError(
            f"open_clip has no preset {name!r}; there are {', '.join(sorted(f.stem for f in folder.iterdir()))}"
        )
    return json.loads(file.read_text(encoding="utf-8"))


def stage_of(progress: float) -> Stage:
    """The stage of `language_space`; its first one has text alone and is skipped."""
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
        self.drawer, self.validation = Drawer(self.world), Validation(self.world)

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """Pictures (N, 3, 128, 128), normalised, and captions' tokens (2N, L), all English ones first."""
        size, stage = self.options.batch_size(progress), stage_of(progress)
        rngs = streams(self.options.seed, step, "unit", stage.pictures * size / 2, rank, ranks)
        items, rngs = self.drawer.items(rngs, stage.scenes)
        pixels = render(self.world, items, rngs)
        colours = torch.tensor(np.stack([ground(rng) for rng in rngs]), dtype=pixels.dtype)
        pictures = self.normalised(composite(pixels, colours))
        return {"pictures": pictures, "tokens": self.tokenizer(all_captions(items))}

    def normalised(self, pictures: Tensor) -> Tensor:
        """RGB (N, 3, H, W) in [0, 1] as the model reads it."""
        mean, std = (torch.tensor(self.config["preprocess_cfg"][name])[:, None, None] for name in ("mean", "std"))
        return (pictures - mean) / std

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """Mean of the losses with English and with Chinese captions, over the rows of all processes."""
        config = self.config["model_cfg"]["vision_cfg"]
        self.model.visual.patch_dropout.prob = config["patch_dropout"] if stage_of(progress).keep < 64 else 0.0
        pictures, captions, *scale = model(batch["pictures"], batch["tokens"])
        with torch.autocast(pictures.device.type, enabled=False):  # in bf16, logits near 100 are a half apart
            pictures, languages = gather(pictures.float()), captions.float().chunk(2)
            losses = {
                name: self.criterion(pictures, gather(texts), *scale)
                for name, texts in zip(KINDS[1:], languages, strict=True)
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
    """open_clip's tokenizer over ours. Each text becomes <bos> text <eos>; a long text is cut before <eos>, the token
    from which CLIP takes its vector."""
    framing = copy.deepcopy(tokenizer)
    ends = [(token, framing.convert_tokens_to_ids(token)) for token in (BOS, EOS)]
    framing.backend_tokenizer.post_processor = TemplateProcessing(single=f"{BOS} $A {EOS}", special_tokens=ends)
    with TemporaryDirectory() as folder:
        framing.save_pretrained(folder)
        length = config["model_cfg"]["text_cfg"]["context_length"]
        return library().tokenizer.HFTokenizer(folder, context_length=length)


# --- Heads over a frozen trunk ---------------------------------------------------------------------------------------


class PairedHeads(nn.Module):
    """The heads with their losses."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.space = SemanticSpace(width=width)

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        picture_facts, *caption_facts = (facts.gather() for facts in batch["facts"])
        pictures = gather(heads(self.space, pictures=batch["picture"]))
        scale, bias = self.space.calibration()
        losses = []
        for name, facts in zip(KINDS[1:], caption_facts, strict=True):
            texts = gather(heads(self.space, texts=batch[name]))
            losses.append(nested_loss(pictures, texts, *pair_labels(picture_facts, facts), scale, bias))
        pair = torch.stack(losses).mean()
        among = sigmoid_loss(pictures, pictures, *picture_labels(picture_facts), scale, bias)
        return {"loss": pair + WEIGHTS["picture_pair"] * among, "pair": pair, "picture_pair": among}


class TrunkSpaceTask(Task):
    """Recipe "space"; `units` of two pictures are encoded."""

    def __init__(self, options: TaskOptions, units: int = UNITS) -> None:
        if not options.trunk:
            raise ValueError("the recipe space needs a trunk; give --trunk open_clip:MODEL:WEIGHTS or a folder")
        self.options, self.world, self.units = options, options.world, units
        self.trunk, self.validation = OpenClip.load(options.trunk), Validation(options.world)
        self.rows, self._known = self._read(), dict[Hashable, Tensor]()
        self.model: nn.Module = PairedHeads(self.rows["picture"].shape[1])

    def _read(self) -> dict[str, Tensor]:
        """Vectors (N, D) and facts of all rows, stored in the cache by the trunk's name and its vector of a probe."""
        o = self.options
        named = [o.trunk, probe(self.trunk), o.world.digest, o.seed, self.units, SCENES]
        name = hashlib.sha256(f"{named}".encode()).hexdigest()[:12]
        return stored_tensors(o.cache and o.cache / f"trunk-{name}.safetensors", self._encoded)

    def _encoded(self) -> dict[str, Tensor]:
        """By column: the trunk's vectors of pictures and captions, and their facts."""
        drawer, numbers = Drawer(self.world), Numbers(self.world)
        columns = defaultdict[str, list[Tensor]](list)
        for start in progress(range(0, self.units, CHUNK), f"encoding {2 * self.units:,} pictures"):
            units = range(start, min(start + CHUNK, self.units))
            items, rngs = drawer.items([stream(self.options.seed, 0, "unit", unit) for unit in units], SCENES)
            columns["picture"].append(self.trunk.image(to_uint8(render(self.world, items, rngs))))
            for name, texts in zip(KINDS[1:], self.trunk.text(all_captions(items)).chunk(2), strict=True):
                columns[name].append(texts)
            facts = numbers.picture_facts(items), numbers.caption_facts(items, 0), numbers.caption_facts(items, 1)
            for kind, of_kind in zip(KINDS, facts, strict=True):
                for name, column in vars(of_kind).items():
                    columns[f"{kind}.{name}"].append(column)
        return {name: torch.cat(parts) for name, parts in columns.items()}

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """Some units, the two pictures of each side by side."""
        rng = np.random.default_rng((self.options.seed, step))
        size = min(self.options.batch_size(progress) // 2, self.units)
        units = torch.from_numpy(rng.permutation(self.units)[:size][rank::ranks])
        rows = torch.stack([2 * units, 2 * units + 1], 1).flatten()
        facts = [Facts(*(self.rows[f"{kind}.{field.name}"][rows] for field in fields(Facts))) for kind in KINDS]
        return {"facts": facts} | {kind: self.rows[kind][rows].to(self.options.device) for kind in KINDS}

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        return model(batch)

    def evaluate(self, model: Any) -> dict[str, float]:
        """With the heads, and of the trunk alone."""

        def texts(some: list[str]) -> Tensor:
            return self._once(("text", *some), lambda: self.trunk.text(some))

        def pictures(pixels: Tensor) -> Tensor:
            shown = to_uint8(pixels)
            return self._once(hashlib.sha256(shown.tobytes()).digest(), lambda: self.trunk.image(shown))

        alone = self.validation.figures(texts, pictures)
        figures = self.validation.figures(
            lambda some: heads(model.space, texts=texts(some)),
            lambda pixels: heads(model.space, pictures=pictures(pixels)),
        )
        return figures | {f"trunk_{name}": value for name, value in alone.items()}

    def _once(self, key: Hashable, encode: Callable[[], Tensor]) -> Tensor:
        """The trunk is frozen, so each evaluation reuses the vectors of the first one."""
        if key not in self._known:
            self._known[key] = encode()
        return self._known[key]

    def export(self, model: Any, folder: Any) -> None:
        save_heads(model.space, self.trunk, self.options.trunk, folder)
