"""Conditions of the generator: of a parsed prompt, of several at once, of what a drawing starts from.

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

from models.arguments import Vectors, senses
from models.condition import Blend, Condition
from models.data.pixels import fit, to_tensor
from models.data.styles import Finish
from models.finish import finish_of
from models.language import LanguageModel
from models.messages import Refused
from models.prompts.layout import SUM
from models.prompts.parsed import ParsedPrompt
from models.prompts.parser import PromptParser, parse_literally
from models.prompts.weighting import weighted_states
from models.prototypes import Prototypes
from models.space import DIM, Embedder, SemanticSpace
from models.tokenizer import TEXT_LENGTH
from models.vision import VisionEncoder

Text = str | ParsedPrompt
Part = Text | np.ndarray | Image.Image | Tensor  # of a mix: text, picture (premultiplied uint8 or PIL), vector (128,)


class ConditionEncoder:
    """The half of the pipeline that encodes; `models.pipeline.StickerPipeline` is the whole, and draws."""

    tokenizer: PreTrainedTokenizerFast
    language: LanguageModel
    vision: VisionEncoder
    space: SemanticSpace
    autoencoder: Any
    dit: Any
    parser: PromptParser | None  # without it, prompts are read as they are
    prototypes: Prototypes | None

    @property
    def embedder(self) -> Embedder:
        """The door into the semantic space, on this pipeline's parts."""
        return Embedder(self.tokenizer, self.language, self.vision, self.space)

    def parse(self, prompt: Text) -> ParsedPrompt:
        """A prompt as it is understood; one that was parsed stays. ValueError where a weight is out of range."""
        if isinstance(prompt, ParsedPrompt):
            return prompt
        return self.parser.parse(prompt) if self.parser else parse_literally(prompt)

    def is_understood(self, word: str) -> bool:
        """Whether a word of a prompt means something though no caption holds it: spaceship, kawaii, spacesuit."""
        return self.parser is not None and self.parser.is_understood(word)

    def mix(self, parts: Sequence[tuple[float, Part]]) -> Tensor:
        """Weighted mix of texts, pictures (premultiplied uint8 or PIL) and vectors (128,) -> unit vector (1, 128).

        A negative weight takes away. Refused where the parts cancel out.
        """
        _check(parts)
        total = torch.stack([weight * self._vector_of(part) for weight, part in parts]).sum(0)
        if total.norm() < 1e-3:
            raise Refused("prompts.mix_cancels")
        return torch.nn.functional.normalize(total, dim=-1)

    def _vector_of(self, part: Part) -> Tensor:
        if isinstance(part, str | ParsedPrompt):
            text = part if isinstance(part, str) else part.text
            return self.embedder.text([parse_literally(text).words])
        if isinstance(part, Tensor):
            return part.reshape(1, -1).float()
        return self.embedder.image(_pixels(part)[None])

    def blend(self, parts: Sequence[tuple[float, Part]], words: str = "", draft: bool = True) -> Blend:
        """The conditions of one picture that is several things at once, one row: for `steps`, in place of a prompt.

        A text is encoded as a prompt is, a picture as its vector and as what to start from, a vector as it is. The
        first lies in the middle. What has a negative weight is taken away from each of the others.

        Args:
            parts: as in `mix`.
            words: the prompt beside a part that is no text.
            draft: False gives none of them anything to start from.

        Raises Refused where nothing is left of a part, or all of them only take away.
        """
        _check(parts)
        kept = [(weight, self.parse(part) if isinstance(part, str) else part) for weight, part in parts if weight > 0]
        if not kept:
            raise Refused("prompts.mix_only_takes_away")
        total = sum(weight for weight, _ in kept)
        away = [(weight / total, part) for weight, part in parts if weight < 0]
        conditions = [self._condition_of(part, away, words, draft) for _, part in kept]
        finishes = {finish_of(part, new=True) if isinstance(part, ParsedPrompt) else Finish.SHADED for _, part in kept}
        finish = finishes.pop() if len(finishes) == 1 else Finish.SHADED
        shares = torch.tensor([[weight / total for weight, _ in kept]])
        return Blend(tuple(conditions), shares, finish, not away and self._is_one_guided([part for _, part in kept]))

    def together(self, texts: Sequence[str]) -> tuple[str, Blend | None]:
        """What to give `steps` for several things in one picture, a prompt and a blend: two of which one alone has a
        face are laid out, for which the prompt is enough; others are blended in equal shares."""
        prompt = SUM.join(texts)
        if len(texts) == 2 and self.parse(prompt).layout:
            return prompt, None
        return "", self.blend([(1.0, text) for text in texts])

    def _condition_of(self, part: Part, away: Sequence[tuple[float, Part]], words: str, draft: bool) -> Condition:
        """The condition of one part of a blend, one row."""
        text = part if isinstance(part, ParsedPrompt) else words
        vector = self.mix([(1.0, part), *away]) if away or not isinstance(part, ParsedPrompt) else None
        found = self.encode_condition([text], vector)
        if not draft or isinstance(part, Tensor):
            return found
        if isinstance(part, str | ParsedPrompt):
            return self._with_drafts([self.parse(part)], [0], [True], found)
        return replace(found, draft=self._encode(_pixels(part)[None]))

    def encode_condition(
        self,
        prompts: Sequence[Text],
        vector: Vectors | None = None,
        words: bool = True,
        sense: bool = True,
        literal: bool = False,
    ) -> Condition:
        """The condition of N prompts; an empty prompt says nothing.

        Args:
            prompts: N texts; `(word:1.3)` and its like weigh words (`models.prompts.weighting`).
            vector: (N, 128) or (1, 128) instead of the texts' own semantic vectors; zeros drop it. Or N of them, each
                (1, 128) or None for the text's own.
            words, sense: False drops the token states, or the semantic vector unless `vector` is given.
            literal: True reads the texts word for word.
        """
        embedder, config = self.embedder, self.dit.config
        parse = parse_literally if literal else self.parse
        texts = [one if isinstance(one, ParsedPrompt) else parse(one) for one in prompts]
        read = {text.segments: weighted_states(embedder, text.segments) for text in texts if text.words}
        shape = (1, TEXT_LENGTH)
        none = torch.zeros(*shape, config.context), torch.zeros(shape, dtype=torch.bool), torch.zeros(1, DIM)
        states, masks, vectors = (
            torch.cat(column) for column in zip(*(read.get(text.segments, none) for text in texts), strict=True)
        )
        if vector is not None:
            vectors = senses(vector, vectors)
        elif not sense:
            vectors = torch.zeros_like(vectors)
        draft = torch.zeros(len(prompts), config.channels, config.size, config.size)
        return Condition(states.float(), masks if words else torch.zeros_like(masks), vectors, draft)

    def _with_drafts(
        self, prompts: Sequence[ParsedPrompt], seeds: Sequence[int], free: Sequence[bool], condition: Condition
    ) -> Condition:
        """The condition, with the reference drawing of what each prompt shows to start from, of those that are `free`
        to."""
        if (prototypes := self.prototypes) is None:
            return condition
        latent = functools.cache(lambda *which: self._encode(prototypes.picture(*which)[None]))

        def draft(which: int, paint: str, style: str, seed: int) -> Tensor:
            return latent(which, paint, style, prototypes.look(which, seed, style))

        rows = zip(prompts, seeds, free, condition.draft.split(1), strict=True)
        drafts = [
            draft(*found, seed) if one and (found := self._reference(prompt)) else none
            for prompt, seed, one, none in rows
        ]
        return replace(condition, draft=torch.cat(drafts))

    def _reference(self, prompt: ParsedPrompt) -> tuple[int, str, str] | None:
        """The figure of `prototypes` that a drawing starts from, its paint, and the style that it is asked for in."""
        if self.prototypes is None or (target := prompt.target) is None:
            return None
        figure = self.prototypes.figure(target.concept, target.gender, prompt.style)
        return figure, target.paint, prompt.style

    def is_guided(self, prompt: Text) -> bool:
        """Whether a drawing keeps to its reference (`models.draft_guidance`): one in no style, or in a style that has
        drawn the concept. What the others drew would take the style with it."""
        parsed = self.parse(prompt)
        if not parsed.style:
            return bool(parsed.text)
        if self.prototypes is None or (found := self._reference(parsed)) is None:
            return False
        figure, _, style = found
        return self.prototypes.has(figure, style)

    def _is_one_guided(self, parts: Sequence[Part]) -> bool:
        """Whether all parts are one text that is guided: of different things no reference is that of both."""
        texts = {part if isinstance(part, ParsedPrompt) else None for part in parts}
        return len(texts) == 1 and all(text is not None and self.is_guided(text) for text in texts)

    def _encode(self, picture: np.ndarray) -> Tensor:
        return self.autoencoder.encode(to_tensor(picture).to(self.autoencoder.dtype)).float()


def _check(parts: Sequence[tuple[float, Part]]) -> None:
    if not parts:
        raise Refused("prompts.mix_empty")
    if not all(math.isfinite(weight) for weight, _ in parts):
        raise Refused("prompts.mix_not_finite", weights=str([weight for weight, _ in parts]))


def _pixels(picture: np.ndarray | Image.Image) -> np.ndarray:
    return fit(picture) if isinstance(picture, Image.Image) else picture
