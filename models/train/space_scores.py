"""How good the space is on the validation split, in seconds: figures and a sheet at each checkpoint."""

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from models.data.captions import Language, caption
from models.data.pixels import to_tensor
from models.data.sampling import evenly
from models.data.scenes import Scene, make_scene
from models.data.world import World
from models.train.sheet import grid
from models.train.space_batches import CONTRASTS
from models.train.text_rows import text_rows

if TYPE_CHECKING:
    from models.train.space_model import LanguageSpace

LANGUAGES: tuple[Language, ...] = ("en", "zh")
GALLERY = 1000  # pictures
SCENES = 96  # of each kind
SHEET_PROMPTS, SHEET_PICTURES = 12, 6
# Words that no caption needs, and a word of the concepts that they mean.
WORDS = {
    "hound": "dog", "kitten": "cat", "stallion": "horse", "salmon": "fish", "cobra": "snake", "hawk": "bird",
    "oak": "tree", "daisy": "flower", "loaf": "bread", "sedan": "car", "lorry": "truck", "cottage": "house",
    "dagger": "knife", "violinist": "violin", "garment": "shirt", "sneaker": "shoe", "physician": "doctor",
    "monarch": "crown", "infant": "baby", "grin": "grinning", "sorrow": "sad", "blizzard": "snow", "dawn": "sunrise",
    "vessel": "ship", "glacier": "ice", "wristwatch": "watch", "cellphone": "phone", "espresso": "coffee",
    "lager": "beer", "burger": "hamburger", "toad": "frog", "macaw": "parrot", "rodent": "mouse", "shark": "shark",
    "bovine": "cow", "lamb": "sheep", "cash": "money", "padlock": "locked", "chapel": "church", "jogger": "running",
}  # fmt: skip


class Scores:
    """Figures on the validation split; what is looked at is drawn once."""

    def __init__(self, world: World, tokenizer: PreTrainedTokenizerFast) -> None:
        self.world, self.tokenizer = world, tokenizer
        self.gallery = evenly(world.split("val"), GALLERY)
        self.concepts = sorted({picture.concept for picture in world.split("train")})
        self.names = {picture.concept: picture.names["en"] for picture in world.split("train")}

    @cached_property
    def _scenes(self) -> list[tuple[str, Tensor, str, str]]:
        """(kind, pixels, its caption, its contrast's caption) of validation scenes."""
        rows = []
        for kind, attributes in CONTRASTS.items():
            for seed in range(SCENES):
                try:
                    scene = make_scene(self.world, seed, "val", kind)  # type: ignore[arg-type]
                except ValueError:  # a small world holds out no combination of this kind
                    break
                other: Scene = scene.contrast(attributes[0])
                pixels = to_tensor(scene.render(self.world))
                rows.append((kind, pixels, scene.caption(seed, "en", "short"), other.caption(seed, "en", "short")))
        return rows

    def figures(self, model: "LanguageSpace") -> dict[str, float]:
        """Recall among the gallery (right where the concept is), forced choice, words among the concepts."""
        pictures = self._pictures(model)
        same = self._same_concept()
        figures: dict[str, float] = {}
        for language in LANGUAGES:
            texts = self._texts(model, [caption(p, 0, language) for p in self.gallery])
            cosines = texts @ pictures.T
            figures[f"text_to_image_r10_{language}"] = recall(cosines, same, 10)
            figures[f"image_to_text_r10_{language}"] = recall(cosines.T, same.T, 10)
            if language == "en":
                figures["text_to_image_r1_en"] = recall(cosines, same, 1)
        return figures | self._choices(model) | self._words(model)

    def _same_concept(self) -> Tensor:
        names = np.array([picture.concept for picture in self.gallery])
        return torch.from_numpy(names[:, None] == names[None])

    def _pictures(self, model: "LanguageSpace") -> Tensor:
        rows = [picture.index for picture in self.gallery]
        parts = [to_tensor(self.world.pixels[rows[start : start + 64]]) for start in range(0, len(rows), 64)]
        return torch.cat([model.pictures(part, None) for part in parts])

    def _texts(self, model: "LanguageSpace", texts: list[str]) -> Tensor:
        return model.texts(text_rows(self.tokenizer, texts))

    def _choices(self, model: "LanguageSpace") -> dict[str, float]:
        if not self._scenes:
            return {}
        pictures = model.pictures(torch.cat([pixels for _, pixels, _, _ in self._scenes]), None)
        own = self._texts(model, [caption for _, _, caption, _ in self._scenes])
        other = self._texts(model, [caption for _, _, _, caption in self._scenes])
        right = (pictures * own).sum(-1) > (pictures * other).sum(-1)
        kinds = np.array([row[0] for row in self._scenes])
        return {
            f"scene_{kind}": float(right[torch.from_numpy(kinds == kind)].float().mean())
            for kind in dict.fromkeys(kinds)
        }

    def _words(self, model: "LanguageSpace") -> dict[str, float]:
        """Share of WORDS whose ten nearest concept names hold a right one."""
        known = {
            word: concept for word, concept in WORDS.items() if any(concept in c.split("-") for c in self.concepts)
        }
        if not known:
            return {}
        concepts = self._texts(model, [self.names[concept] for concept in self.concepts])
        nearest = (self._texts(model, list(known)) @ concepts.T).topk(min(10, len(concepts))).indices.tolist()
        found = [
            any(concept in self.concepts[i].split("-") for i in row)
            for concept, row in zip(known.values(), nearest, strict=True)
        ]
        return {"words_r10": float(np.mean(found))}

    def sheet(self, model: "LanguageSpace") -> Image.Image:
        """A row for each prompt: the prompt, and the pictures of the gallery nearest to it."""
        prompts = [
            caption(p, 1, "en") for p in self.gallery[:: max(1, len(self.gallery) // SHEET_PROMPTS)][:SHEET_PROMPTS]
        ]
        cosines = self._texts(model, prompts) @ self._pictures(model).T
        nearest = cosines.topk(min(SHEET_PICTURES, len(self.gallery))).indices
        tiles = []
        for prompt, row in zip(prompts, nearest.tolist(), strict=True):
            tiles.append(_written(prompt))
            tiles += [to_tensor(self.world.pixels[self.gallery[i].index]) for i in row]
        return grid(torch.cat(tiles), columns=nearest.shape[1] + 1)


def recall(cosines: Tensor, right: Tensor, k: int) -> float:
    """Share of rows with a right column among their k highest: cosines and right (N, M)."""
    nearest = cosines.float().topk(min(k, cosines.shape[1])).indices
    return float(right.gather(1, nearest).any(1).float().mean())


def _written(text: str) -> Tensor:
    """A tile (1, 4, 128, 128) with the text in black."""
    tile = Image.new("RGBA", (128, 128), (255, 255, 255, 255))
    words, lines = text.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 19:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    ImageDraw.Draw(tile).multiline_text((4, 4), "\n".join(lines), fill=(0, 0, 0, 255))
    return to_tensor(np.asarray(tile))
