"""Training the captioner (recipe "caption"): its layers and its own eyes. Backbone, ViT and space stay as they are.

A step sees pictures with several captions each (kinds and languages), and is scored on the next token. What is
remembered of a picture's own concept and art family is hidden from it: as with held-out cells, the nearest things are
other drawings, and copying the nearest name is not enough.

Shapes: B pictures, R = B CAPTIONS rows, L tokens.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from models.captioner import FIRST_ASK, Captioner, CaptionerConfig
from models.data.grammar import LANGUAGES
from models.data.naming import Namer, f1, scene_facts
from models.data.outside import outside_pictures
from models.data.pixels import to_tensor
from models.data.sampling import evenly
from models.data.scenes import Scene, make_scene
from models.data.sheet import captioned
from models.data.world import Picture
from models.eyes import OWN, Looker
from models.hardware import native_dtype
from models.memory import Memory
from models.pipelines.caption import PART, CaptionPipeline, Decoding, ranking_figures, ranking_of
from models.presets import preset
from models.space import Embedder
from models.tokenizer import TEXT_LENGTH
from models.train.caption_data import SHARD, CaptionSource, DrawnPool, Shown, asked
from models.train.loop import Task, TaskOptions
from models.weights import listed_parts, part_digests, save_part, weights_digest

FROZEN = ("language", "vision", "space")
CAPTIONS = 3  # of a picture
HIDDEN = 0.1  # share of pictures that are not shown: the blind decoder, against which drawing is guided
SHARDS, EVERY = 60, 40  # shards of drawn pictures at most; a new one after so many steps
VALIDATED, RANKED = 48, 64  # pictures of each kind that a checkpoint captions, and that the ranking is fitted on
SHOWN = 24
VIT_SIZES = ("width", "layers", "heads", "channels")


class CaptionTask(Task):
    """Recipe "caption".

    Args:
        drawn: whether it also learns on pictures of the generator, where there is one among the parts.
        validated, ranked: how many pictures a checkpoint looks at.
        shard: drawn pictures in a shard.
    """

    def __init__(
        self,
        options: TaskOptions,
        drawn: bool = True,
        validated: int = VALIDATED,
        ranked: int = RANKED,
        shard: int = SHARD,
    ) -> None:
        self.options, self.world, self.validated, self.ranked = options, options.world, validated, ranked
        self.embedder = Embedder.load(options.parts)
        space = f"{self.world.digest[:8]}-{weights_digest(FROZEN, options.parts)[:12]}"
        memory, remembered = Memory.of(
            self.world, self.embedder, options.cache and options.cache / f"memory-{space}.npy"
        )
        self.looker, self.concepts = Looker(self.embedder, memory), np.array([p.concept for p in remembered])
        self.families = np.array([p.family for p in remembered])
        self.model: nn.Module = self._network()
        generator = drawn and "dit" in listed_parts(options.parts)
        self.drawn = self._pool("train", shard) if generator else None
        self.seen_drawn = self._pool("val", shard) if generator else None
        self.source = CaptionSource(self.world, self.drawn)
        self._said: dict[tuple[str, str], list[str]] = {}
        self._ranked: dict[str, float] = {}

    def _network(self) -> Captioner:
        added, vision = preset(PART, self.options.preset), self.embedder.vision.config
        eyes = added["eyes"]
        own = {eye: {key: vision[key] for key in VIT_SIZES} for eye in eyes if eye == "second"}
        widths = {eye: OWN[eye](**own.get(eye, {})).width if eye in OWN else self.looker.width(eye) for eye in eyes}
        sizes = self.embedder.language.config.to_diff_dict()
        sizes = {key: value for key, value in sizes.items() if key in CaptionerConfig.__dataclass_fields__}
        config = CaptionerConfig(**{**sizes, **added, "eyes": widths, "own_eyes": own})
        network = Captioner(config).attach(self.embedder.language)
        for eye in network.eyes.values():
            with torch.no_grad():
                eye.begin(self.embedder)  # type: ignore[operator]
        return network

    def _pool(self, split: str, shard: int) -> DrawnPool:
        made_with = weights_digest((*FROZEN, "autoencoder", "dit"), self.options.parts)[:12]
        folder = self.options.cache and self.options.cache / f"drawn-{made_with}-{self.world.digest[:8]}"
        return DrawnPool(self.world, self._draw, folder, self.options.seed, split, shard)

    def _draw(self, prompts: Any, seeds: Any) -> np.ndarray:
        from models.pipelines.image import StickerPipeline
        from models.sampling.loop import FAST_SAMPLING, Pictures, Sampling

        if not hasattr(self, "_stickers"):
            self._stickers = StickerPipeline.assemble(self.options.parts)
        sampling = FAST_SAMPLING if self._stickers.fast is not None else Sampling(8)
        with torch.autocast("cpu", enabled=False):
            events = self._stickers.steps(prompts, seeds, sampling)
            return np.concatenate([event.pixels for event in events if isinstance(event, Pictures)])

    # --- A step -----------------------------------------------------------------------------------------------------

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        count = max(1, self.options.batch_size(progress) // ranks)
        rngs = [np.random.default_rng((self.options.seed, step, rank * count + n)) for n in range(count)]
        known = min(1 + step // EVERY, SHARDS) if self.drawn else 0
        shown = [self.source.show(rng, known) for rng in rngs]
        texts = [self._asked(one, rng) for one, rng in zip(shown, rngs, strict=True)]
        hidden = torch.tensor([rng.random() < HIDDEN for rng in rngs])
        return self.rows(shown, [text for own in texts for text in own], ~hidden)

    @staticmethod
    def _asked(shown: Shown, rng: np.random.Generator) -> list[tuple[int, str]]:
        found = asked(shown, rng, CAPTIONS)
        return (found * CAPTIONS)[:CAPTIONS]

    def rows(self, shown: list[Shown], texts: list[tuple[int, str]], visible: Tensor) -> dict[str, Any]:
        """What the network is given: what is seen of B pictures, and R / B captions of each in turn."""
        pixels = to_tensor(np.stack([one.pixels for one in shown]))
        eyes = self.options.device, native_dtype()
        with torch.autocast("cpu", torch.bfloat16, enabled=eyes[1] == torch.bfloat16):
            sight, _ = self.looker.look(pixels, self._eyes, self._without(shown))
        ids, mask = self._ids(texts)
        labels = ids.masked_fill(~mask, -100)
        labels[:, :2] = -100
        found = {"sight": sight, "pixels": pixels, "shown": visible, "ids": ids, "mask": mask, "labels": labels}
        return {name: _to(value, self.options.device) for name, value in found.items()}

    @property
    def _eyes(self) -> tuple[str, ...]:
        return tuple(self.network(self.model).views.keys())

    @staticmethod
    def network(model: Any) -> Captioner:
        """Without its distributed wrapper."""
        return getattr(model, "module", model)

    def _ids(self, texts: list[tuple[int, str]]) -> tuple[Tensor, Tensor]:
        """<bos> ask text <eos>: ids (R, L) and mask of real tokens."""
        tokenizer = self.embedder.tokenizer
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

    def _without(self, shown: list[Shown]) -> Tensor:
        """(B, M): what is remembered of the picture's own concept and art family; of a scene all of its pictures."""
        rows = []
        for one in shown:
            pictures = [one.source] if isinstance(one.source, Picture) else [
                self.world.pictures[item.picture] for item in one.source.objects
            ]  # fmt: skip
            hidden = [(self.concepts == p.concept) & (self.families == p.family) for p in pictures]
            rows.append(np.any(hidden, 0))
        return torch.from_numpy(np.stack(rows))

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        network = self.network(model)
        seen = network.look(batch["sight"], batch["pixels"], batch["shown"])
        output = model(batch["ids"], attention_mask=batch["mask"], seen=seen, labels=batch["labels"])
        readers: Any = network.readers
        gates = torch.stack([reader.gates.abs().mean() for reader in readers]).mean()
        return {"loss": output.loss, "gates": 10 * gates.detach()}

    # --- A checkpoint -----------------------------------------------------------------------------------------------

    @cached_property
    def validation(self) -> dict[str, list[Shown]]:
        """Held-out cells of `val`, pictures that the generator drew of them, and scenes of held-out combinations."""
        trained = {picture.concept for picture in self.world.split("train")}
        cells = [p for p in self.world.split("val") if p.concept in trained and not p.skin]
        found = {"cells": [Shown(self.world.pixels[p.index], p) for p in evenly(cells, self.validated)]}
        if self.seen_drawn:
            shards = -(-self.validated // self.seen_drawn.size)
            found["drawn"] = [one for n in range(shards) for one in self.seen_drawn.shard(n)][: self.validated]
        scenes = list[Shown]()
        for seed in range(self.validated):
            try:
                scene = make_scene(self.world, seed, "val")
            except ValueError:  # a small world has few held-out combinations
                continue
            scenes.append(Shown(scene.render(self.world), scene, bool(scene.background.colours)))
        return found | ({"scenes": scenes} if scenes else {})

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The loss, concepts named (greedily) in each language, facts of scenes, and how good the ranking is."""
        pipeline, figures = self.pipeline(model), dict[str, float]()
        greedy = Decoding(way="greedy")
        for kind, shown in self.validation.items():
            rng = np.random.default_rng(0)
            texts = [text for one in shown for text in self._asked(one, rng)]
            batch = self.rows(shown, texts, torch.ones(len(shown), dtype=torch.bool))
            figures[f"loss_{kind}"] = float(self.loss(model, batch, 1.0)["loss"])
            pixels = np.stack([one.pixels for one in shown])
            for language in LANGUAGES:
                said = [found.text for found in pipeline.caption(pixels, language, "short", greedy)]
                figures[f"{kind}_{language}"] = float(
                    np.mean([self._right(one, text, language) for one, text in zip(shown, said, strict=True)])
                )
                self._said[kind, language] = said
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
        return CaptionPipeline(self.network(model), self.looker)

    def _rank(self, pipeline: CaptionPipeline) -> dict[str, float]:
        """Fit what makes a probability of a candidate's figures, on candidates of `val` and of pictures from outside,
        of which nothing is right; return how good it is on others of them. Returns what it writes down."""
        known = self.validation["cells"] + self.validation.get("drawn", [])
        known = known[:: max(1, len(known) // self.ranked)][: self.ranked]
        pixels = np.stack([*(one.pixels for one in known), *outside_pictures(max(2, len(known) // 4), seed=1)])
        found = pipeline.figures(pixels, "en", "short", Decoding())
        right = [
            [number < len(known) and bool(self._right(known[number], text, "en")) for text in own.texts]
            for number, own in enumerate(found)
        ]
        ranking = ranking_of(found, right, len(known))
        pipeline.captioner.config.ranking = ranking
        return ranking_figures(found, right, len(known), ranking)

    def sheet(self, model: nn.Module) -> Image.Image | None:
        """Some of each kind, under it what is said in English and in Chinese."""
        pictures, texts = list[np.ndarray](), list[str]()
        for kind, shown in self.validation.items():
            rows = evenly(range(len(shown)), SHOWN)
            pictures += [shown[row].pixels for row in rows]
            texts += ["\n".join(self._said[kind, language][row] for language in LANGUAGES) for row in rows]
        return captioned(pictures, texts)

    def export(self, model: nn.Module, folder: Path) -> None:
        """What is added to the backbone, with its ranking fitted anew, and the memory."""
        with torch.no_grad():
            self._ranked = self._rank(self.pipeline(model))
        save_part(self.network(model), PART, folder, part_digests(FROZEN, self.options.parts), int8=True)
        self.looker.memory.save(folder, weights_digest(FROZEN, self.options.parts))


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, dict):
        return {name: tuple(part.to(device) for part in parts) for name, parts in value.items()}
    return value.to(device)
