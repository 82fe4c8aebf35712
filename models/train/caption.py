"""Training the captioner (recipe "caption"): its readers. Backbone, ViT, space and detector stay as they are.

A step sees pictures with several captions each (kinds and languages), and is scored on the next token. It is told the
true names, so that it learns to write about what it is told; which names are true is the detector's to say.

Shapes: B pictures, R = B CAPTIONS rows, L tokens.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import send_to_device
from PIL import Image
from torch import Tensor, nn

from models.captioner import FIRST_ASK, Captioner, CaptionerConfig
from models.data.captions import Namer, f1, scene_facts
from models.data.grammar import LANGUAGES
from models.data.pixels import SIZE, to_tensor
from models.data.scenes import Scene
from models.data.sheet import captioned
from models.data.variety import outside_pictures
from models.data.world import Picture, World, evenly, pictures_by_concept
from models.detector import PART as DETECTOR
from models.detector import Detector
from models.eyes import EYES, Entity, Looker
from models.hardware import native_dtype
from models.pipelines.caption import PART, CaptionPipeline, Decoding, ranking_figures, ranking_name, ranking_of
from models.presets import preset
from models.space import Embedder
from models.tokenizer import TEXT_LENGTH
from models.train.caption_data import FROZEN, SHARD, SHARDS, CaptionSource, Shown, asked, drawn_pool, held_out
from models.train.detector import plainest
from models.train.loop import Task, TaskOptions, unwrapped
from models.weights import listed_parts, part_digests, save_part

CAPTIONS = 3  # of a picture
UNTOLD = 0.1  # share of pictures without names
HIDDEN = 0.1  # share of pictures that are not shown: the blind decoder, against which drawing is guided
EVERY = 40  # steps after which a new shard of drawn pictures is read
VALIDATED, RANKED = 48, 64  # pictures of each kind that a checkpoint captions, and that the ranking is fitted on
SEVERAL = 5  # candidates that the second ranking is for
SHOWN = 24


class CaptionTask(Task):
    """Recipe "caption"."""

    def __init__(
        self,
        options: TaskOptions,
        drawn: bool = True,  # whether it also learns on pictures of the generator, where there is one among the parts
        validated: int = VALIDATED,
        ranked: int = RANKED,
        shard: int = SHARD,
    ) -> None:
        self.options, self.world, self.validated, self.ranked = options, options.world, validated, ranked
        detector = Detector.load(options.parts) if "detector" in listed_parts(options.parts) else None
        self.looker = Looker(Embedder.load(options.parts), detector)
        self.model: nn.Module = self._network()
        self.drawn = drawn_pool(options, "train", shard) if drawn else None
        self.seen_drawn = drawn_pool(options, "val", shard) if drawn else None
        self.source, self.told = CaptionSource(self.world, self.drawn), Telling(self.world)
        self._said: dict[tuple[str, str], list[str]] = {}
        self._ranked: dict[str, float] = {}

    def _network(self) -> Captioner:
        language = self.looker.embedder.language
        sizes = language.config.to_diff_dict()
        sizes = {key: value for key, value in sizes.items() if key in CaptionerConfig.__dataclass_fields__}
        widths = {eye: self.looker.width(eye) for eye in EYES}
        config = CaptionerConfig(**{**sizes, **preset(PART, self.options.preset), "features": widths})
        return Captioner(config).attach(language)

    # --- A step -----------------------------------------------------------------------------------------------------

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        count = max(1, self.options.batch_size(progress) // ranks)
        rngs = [np.random.default_rng((self.options.seed, step, rank * count + n)) for n in range(count)]
        known = min(1 + step // EVERY, SHARDS) if self.drawn else 0
        shown = [self.source.show(rng, known) for rng in rngs]
        texts = [self._asked(one, rng) for one, rng in zip(shown, rngs, strict=True)]
        hidden = torch.tensor([rng.random() < HIDDEN for rng in rngs])
        told = [self.told.say(one, rng) for one, rng in zip(shown, rngs, strict=True)]
        return self.rows(shown, told, [text for own in texts for text in own], ~hidden)

    @staticmethod
    def _asked(shown: Shown, rng: np.random.Generator) -> list[tuple[int, str]]:
        found = asked(shown, rng, CAPTIONS)
        return (found * CAPTIONS)[:CAPTIONS]

    def rows(
        self, shown: list[Shown], told: list[list[Entity]], texts: list[tuple[int, str]], visible: Tensor
    ) -> dict[str, Any]:
        """What the network is given: what is seen of B pictures, and R / B captions of each in turn."""
        pixels = to_tensor(np.stack([one.pixels for one in shown]))
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=native_dtype() == torch.bfloat16):
            vision: Any = self.looker.embedder.vision
            sight = self.looker.sight(vision.forward(pixels.to(vision.dtype)), told)
        ids, mask = self._ids(texts)
        labels = ids.masked_fill(~mask, -100)
        labels[:, :2] = -100
        found = {"sight": sight, "shown": visible, "ids": ids, "mask": mask, "labels": labels}
        return send_to_device(found, self.options.device)

    def _ids(self, texts: list[tuple[int, str]]) -> tuple[Tensor, Tensor]:
        """<bos> ask text <eos>: ids (R, L) and mask of real tokens."""
        tokenizer = self.looker.embedder.tokenizer
        encoded = tokenizer([text for _, text in texts], add_special_tokens=False)["input_ids"]
        rows = [
            [tokenizer.bos_token_id, FIRST_ASK + ask, *tokens, tokenizer.eos_token_id][: TEXT_LENGTH + 8]
            for (ask, _), tokens in zip(texts, encoded, strict=True)
        ]
        ids = torch.full((len(rows), max(map(len, rows))), tokenizer.pad_token_id)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
        lengths = torch.tensor([len(row) for row in rows])
        return ids, torch.arange(ids.shape[1]) < lengths[:, None]

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        network = unwrapped(model)
        seen = network.look(batch["sight"], batch["shown"])
        output = model(batch["ids"], attention_mask=batch["mask"], seen=seen, labels=batch["labels"])
        readers: Any = network.cross_layers
        gates = torch.stack([reader.gates.abs().mean() for reader in readers]).mean()
        return {"loss": output.loss, "gates": 10 * gates.detach()}

    # --- A checkpoint -----------------------------------------------------------------------------------------------

    @cached_property
    def validation(self) -> dict[str, list[Shown]]:
        count, trained = self.validated, {picture.concept for picture in self.world.split("train")}
        return held_out(self.world, trained, self.seen_drawn, count, count, count)

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The loss, concepts named (greedily) in each language, facts of scenes, and how good the ranking is; "told"
        says true names in the detector's place."""
        pipeline, figures = self.pipeline(model), dict[str, float]()
        for kind, shown in self.validation.items():
            rng = np.random.default_rng(0)
            texts = [text for one in shown for text in self._asked(one, rng)]
            told = [self.told.true(one) for one in shown]
            batch = self.rows(shown, told, texts, torch.ones(len(shown), dtype=torch.bool))
            figures[f"loss_{kind}"] = float(self.loss(model, batch, 1.0)["loss"])
            pixels = np.stack([one.pixels for one in shown])
            for language in LANGUAGES:
                for how, names in {"_told": told, "": None if self.looker.detector else told}.items():
                    captions = pipeline.caption(pixels, language, "short", told=names)
                    said = self._said[kind, language] = [found.text for found in captions]
                    right = [self._right(one, text, language) for one, text in zip(shown, said, strict=True)]
                    figures[f"{kind}_{language}{how}"] = float(np.mean(right))
        return figures | self._ranked

    @cached_property
    def namer(self) -> Namer:
        return Namer(self.world.split("train") + self.world.split("val"))

    def _right(self, shown: Shown, text: str, language: Any) -> float:
        """Whether the concept is named; of a scene, F1 of what is said."""
        if isinstance(shown.source, Scene):
            true = scene_facts(shown.source)
            return f1(self.namer.facts(text, language, {item.concept for item in shown.source.objects}), true)
        return float(self.namer.names(text, language, shown.source.concept))

    def pipeline(self, model: nn.Module) -> CaptionPipeline:
        return CaptionPipeline(unwrapped(model), self.looker)

    def _rank(self, pipeline: CaptionPipeline) -> dict[str, float]:
        """Fit what makes probabilities of candidates' figures, on candidates of `val` and of pictures from outside,
        of which nothing is right; return how good it is on others of them. Returns what it writes down."""
        known = self.validation["cells"] + self.validation.get("drawn", [])
        known = known[:: max(1, len(known) // self.ranked)][: self.ranked]
        pixels = np.stack([*(one.pixels for one in known), *outside_pictures(max(2, len(known) // 4), seed=1)])
        rankings, figures = dict[str, dict[str, float]](), dict[str, float]()
        for decoding in (Decoding(), Decoding(candidates=SEVERAL)):
            name, found = ranking_name(decoding), pipeline.figures(pixels, "en", "short", decoding)
            right = [
                [number < len(known) and bool(self._right(known[number], text, "en")) for text in own.texts]
                for number, own in enumerate(found)
            ]
            rankings[name] = ranking_of(found, right, len(known))
            good = ranking_figures(found, right, len(known), rankings[name])
            figures |= {f"{name}_{figure}": value for figure, value in good.items()}
        pipeline.captioner.config.ranking = rankings
        return figures

    def sheet(self, model: nn.Module) -> Image.Image | None:
        """Some of each kind, under it what is said in English and in Chinese."""
        pictures, texts = list[np.ndarray](), list[str]()
        for kind, shown in self.validation.items():
            rows = evenly(range(len(shown)), SHOWN)
            pictures += [shown[row].pixels for row in rows]
            texts += ["\n".join(self._said[kind, language][row] for language in LANGUAGES) for row in rows]
        return captioned(pictures, texts)

    def export(self, model: nn.Module, folder: Path) -> None:
        """What is added to the backbone, with its ranking fitted anew where there is a detector."""
        company = (*FROZEN, *([DETECTOR] if self.looker.detector else []))
        if self.looker.detector:
            with torch.no_grad():
                self._ranked = self._rank(self.pipeline(model))
        save_part(unwrapped(model), PART, folder, part_digests(company, self.options.parts), int8=True)


class Telling:
    """What the captioner is told in training: true names, where things are, in the order in which things are found."""

    def __init__(self, world: World) -> None:
        self.plain = {concept: plainest(pictures).names for concept, pictures in pictures_by_concept(world).items()}

    def true(self, shown: Shown) -> list[Entity]:
        """The names of what is shown, those of its concept: a detector knows no other."""
        if isinstance(shown.source, Picture):
            return [self._entity(self.plain.get(shown.source.concept, shown.source.names), 0.5, 0.5)]
        boxes = [(item, item.box) for item in shown.source.objects]
        found = [
            self._entity(item.names, (left + width / 2) / SIZE, (top + height / 2) / SIZE)
            for item, (left, top, width, height) in boxes
        ]
        return sorted(found, key=lambda one: one.x + one.y)

    def say(self, shown: Shown, rng: np.random.Generator) -> list[Entity]:
        """The same as a step is told: at times nothing, or the very name of the picture; places are not exact."""
        if rng.random() < UNTOLD:
            return []
        found = self.true(shown)
        if isinstance(shown.source, Picture) and rng.random() < 0.5:
            found = [self._entity(shown.source.names, 0.5, 0.5)]
        moved = rng.normal(0, 0.02, (len(found), 2))
        return [Entity(one.names, one.x + x, one.y + y) for one, (x, y) in zip(found, moved, strict=True)]

    @staticmethod
    def _entity(names: Mapping[str, str], x: float, y: float) -> Entity:
        return Entity(tuple(names.get(language, "") for language in LANGUAGES), x, y)
