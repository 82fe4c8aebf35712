"""What a picture is told: the condition of a prompt, of several things at once, of a thing that it is drawn from.

Shapes: N pictures of one call, latents (N, 8, 16, 16), vectors (N, 128).
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from models.data.grammar import as_said
from models.data.pixels import fit, to_tensor
from models.data.styles import Finish
from models.language import LanguageModel
from models.pipelines.inputs import Vectors, senses
from models.reading.dressed import WORDS as CLOTHES
from models.reading.dressed import dressed, portrait
from models.reading.dressed import said as said_of_dressed
from models.reading.hybrids import WORDS as MANNERS
from models.reading.hybrids import hybrid
from models.reading.hybrids import said as said_of_felt
from models.reading.layout import SUM, Layout, layout
from models.reading.lettering import written
from models.reading.phrasing import bare, words_of
from models.reading.wording import Wording, ground_of, on_no_ground, style_said, without_ground
from models.references.store import Reference, ReferenceStore
from models.sampling.condition import ComposedCondition, Condition
from models.sampling.postprocess import finish_of
from models.space import DIM, Embedder, SemanticSpace
from models.tokenizer import TEXT_LENGTH
from models.vision import VisionEncoder
from models.weighting import plain, weighted_states

Part = str | np.ndarray | Image.Image | Tensor  # of a mix: text, picture (premultiplied uint8 or PIL), vector (128,)


class Teller:
    """The half of the pipeline that reads; `models.pipelines.image.StickerPipeline` is the whole, and draws."""

    tokenizer: PreTrainedTokenizerFast
    language: LanguageModel
    vision: VisionEncoder
    space: SemanticSpace
    autoencoder: Any
    dit: Any
    wording: Wording | None  # without it, prompts are read as they are
    references: ReferenceStore | None

    @property
    def embedder(self) -> Embedder:
        """The door into the semantic space, on this pipeline's parts."""
        return Embedder(self.tokenizer, self.language, self.vision, self.space)

    def mix(self, parts: Sequence[tuple[float, Part]]) -> Tensor:
        """Weighted mix of texts, pictures (premultiplied uint8 or PIL) and vectors (128,) -> unit vector (1, 128).

        A negative weight takes away. ValueError where the parts cancel out.
        """
        _check(parts)
        total = torch.stack([weight * self._vector_of(part) for weight, part in parts]).sum(0)
        if total.norm() < 1e-3:
            raise ValueError("the parts of the mix cancel each other out; change their weights")
        return torch.nn.functional.normalize(total, dim=-1)

    def _vector_of(self, part: Part) -> Tensor:
        if isinstance(part, str):
            return self.embedder.text([plain(part)])
        if isinstance(part, Tensor):
            return part.reshape(1, -1).float()
        return self.embedder.image(_pixels(part)[None])

    def blend(self, parts: Sequence[tuple[float, Part]], words: str = "", references: bool = True) -> ComposedCondition:
        """What a picture is told that is several things at once, one row: for `steps`, in place of a prompt.

        A text is told as a prompt is, a picture by its vector and as what to draw from, a vector as it is. The first
        lies in the middle. What has a negative weight is taken away from each of the others.

        Args:
            parts: as in `mix`.
            words: what is said beside a part that is no text.
            references: False gives none of them a reference to draw from.

        Raises ValueError where nothing is left of a part, or all of them only take away.
        """
        _check(parts)
        kept = [(weight, what) for weight, what in parts if weight > 0]
        if not kept:
            raise ValueError("the blend only takes away; give a part with a positive weight")
        total = sum(weight for weight, _ in kept)
        away = [(weight / total, what) for weight, what in parts if weight < 0]
        told = [self._told_of(what, away, words, references) for _, what in kept]
        asked = {finish_of(what, new=True) if isinstance(what, str) else Finish.SHADED for _, what in kept}
        finish = asked.pop() if len(asked) == 1 else Finish.SHADED
        shares = torch.tensor([[weight / total for weight, _ in kept]])
        return ComposedCondition(
            tuple(told), shares, finish, not away and self._one_followed([what for _, what in kept])
        )

    def together(self, texts: Sequence[str]) -> tuple[str, ComposedCondition | None]:
        """What to give `steps` for several things in one picture, a prompt and a blend: two of which one alone has a
        face are laid (`models.reading.layout`), for which the prompt is enough; others are blended in equal shares."""
        words = SUM.join(texts)
        if len(texts) == 2 and self.wording is not None and layout(words, self.wording):
            return words, None
        return "", self.blend([(1.0, text) for text in texts])

    def _told_of(self, part: Part, away: Sequence[tuple[float, Part]], words: str, references: bool) -> Condition:
        """What one part of a blend tells, one row."""
        text = part if isinstance(part, str) else words
        vector = self.mix([(1.0, part), *away]) if away or not isinstance(part, str) else None
        told = self.condition([text], vector)
        if not references or isinstance(part, Tensor):
            return told
        if isinstance(part, str):
            return self._with_references([part], [0], [True], told)
        return replace(told, reference=self._encode(_pixels(part)[None]))

    def read_as(self, prompt: str) -> str:
        """What is drawn of a prompt: itself, words that say the same and were taught, or what it is blended of."""
        asked = on_no_ground(prompt)
        if self.wording is None:
            return prompt
        if (found := written(asked)) and layout(asked, self.wording):
            return f"{self.read_as(found.rest)}{found.said.removesuffix('的')}"
        if pair := dressed(asked, self.wording):
            return said_of_dressed(pair, asked, self.wording) + ground_of(asked)
        if face := portrait(asked, self.wording):
            return self.wording.alone(face, asked) + ground_of(asked)
        if felt := said_of_felt(without_ground(asked), self.wording):
            as_asked = words_of(bare(felt)) == words_of(bare(without_ground(asked)))
            return asked if as_asked else as_said(felt, asked) + ground_of(asked)
        both = hybrid(without_ground(asked), self.wording)
        return " + ".join(text for _, text in both) + ground_of(asked) if both else self.read(prompt)

    def is_read(self, word: str) -> bool:
        """Whether a word of a prompt is read as something though no caption holds it: spaceship, kawaii, spacesuit."""
        return word in CLOTHES | MANNERS or (self.wording is not None and self.wording.naming.is_said(word))

    def read(self, prompt: str) -> str:
        """The same without hybrids: where a prompt is told beside a vector, a start, or other things."""
        return self.wording.read(prompt) if self.wording else prompt

    def condition(
        self,
        prompts: Sequence[str],
        vector: Vectors | None = None,
        words: bool = True,
        sense: bool = True,
        literal: bool = False,
    ) -> Condition:
        """What N prompts tell the generator; an empty prompt says nothing.

        Args:
            prompts: N texts; `(word:1.3)` and its kin weigh words (`models.weighting`).
            vector: (N, 128) or (1, 128) instead of the texts' own semantic vectors; zeros drop it. Or N of them, each
                (1, 128) or None for the text's own.
            words, sense: False drops the token states, or the semantic vector unless `vector` is given.
            literal: True reads the texts word for word, not as `read` says.
        """
        embedder, config = self.embedder, self.dit.config
        texts = {prompt: prompt if literal else self.read(prompt) for prompt in prompts}
        read = {prompt: weighted_states(embedder, text) for prompt, text in texts.items() if plain(text)}
        shape = (1, TEXT_LENGTH)
        none = torch.zeros(*shape, config.context), torch.zeros(shape, dtype=torch.bool), torch.zeros(1, DIM)
        states, masks, vectors = (
            torch.cat(column) for column in zip(*(read.get(p, none) for p in prompts), strict=True)
        )
        if vector is not None:
            vectors = senses(vector, vectors)
        elif not sense:
            vectors = torch.zeros_like(vectors)
        reference = torch.zeros(len(prompts), config.channels, config.size, config.size)
        return Condition(states.float(), masks if words else torch.zeros_like(masks), vectors, reference)

    def _hybrid(self, text: str) -> ComposedCondition | None:
        """What a drawing of a hybrid is told; None of any other text."""
        found = hybrid(text, self.wording) if self.wording else None
        return self.blend(found) if found else None

    def _with_references(
        self, texts: Sequence[str], seeds: Sequence[int], free: Sequence[bool], told: Condition
    ) -> Condition:
        """The conditions with the reference of what each text names, of those that are `free` to have one."""
        if (references := self.references) is None:
            return told
        found = self._found(texts, seeds, free)
        latent = functools.cache(lambda reference: self._encode(references.drawing(reference)[None]))
        rows = zip(found, told.reference.split(1), strict=True)
        return replace(told, reference=torch.cat([latent(one) if one else none for one, none in rows]))

    def _found(self, texts: Sequence[str], seeds: Sequence[int], free: Sequence[bool]) -> list[Reference | None]:
        thing = functools.cache(self.reference)
        return [thing(text, seed) if one else None for text, seed, one in zip(texts, seeds, free, strict=True)]

    def reference(self, text: str, seed: int = 0) -> Reference | None:
        """What a picture of one thing is drawn from: the answer of `ReferenceStore.retrieve`; None of another text."""
        if self.wording is None or self.references is None or (thing := self.wording.thing(text)) is None:
            return None
        return self.references.retrieve(thing.number, seed, style_said(text), thing.gender, thing.paint)

    def follows_reference(self, text: str) -> bool:
        """Whether reference guidance applies to a text: no style is asked for, or one that has drawn the thing."""
        if not style_said(text):
            return bool(text)
        found = self.reference(text)
        return found is not None and found.is_exact

    def _one_followed(self, parts: Sequence[Part]) -> bool:
        """Whether all parts are one text that reference guidance applies to: different things share no reference."""
        texts = {part if isinstance(part, str) else "" for part in parts}
        return len(texts) == 1 and all(map(self.follows_reference, texts))

    def _layouts(self, prompts: Sequence[str], free: Sequence[bool]) -> list[Layout | None]:
        """Where the things stand that each prompt names, of those that are `free` to be laid out."""
        wording, found = self.wording, dict[str, Layout | None]()
        if wording is not None:
            asked = {prompt for prompt, one in zip(prompts, free, strict=True) if one}
            found = {prompt: layout(prompt, wording) for prompt in asked if not hybrid(prompt, wording)}
        return [found.get(prompt) if one else None for prompt, one in zip(prompts, free, strict=True)]

    def _encode(self, picture: np.ndarray) -> Tensor:
        return self.autoencoder.encode(to_tensor(picture).to(self.autoencoder.dtype)).float()


def _check(parts: Sequence[tuple[float, Part]]) -> None:
    if not parts:
        raise ValueError("nothing to mix; give (weight, text or picture) pairs")
    if not all(math.isfinite(weight) for weight, _ in parts):
        raise ValueError(f"weights of a mix must be finite; they are {[weight for weight, _ in parts]}")


def _pixels(picture: np.ndarray | Image.Image) -> np.ndarray:
    return fit(picture) if isinstance(picture, Image.Image) else picture
