"""Conditions of the generator: of a parsed prompt, of several at once, of what a drawing starts from.

Shapes: N pictures of one call, latents (N, 8, 16, 16), vectors (N, 128).
"""

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from models.data.grammar import Finish
from models.data.pixels import SIZE, to_tensor
from models.language import LanguageModel
from models.messages import Refused
from models.prompts.parsed import ParsedPrompt
from models.prompts.parser import SUM, PromptParser, beside, parse_literally
from models.prompts.weighting import weighted_states
from models.references.credits import REDRAWN, Credit, credit
from models.references.store import Reference, ReferenceStore
from models.sampling.condition import ComposedCondition, Condition
from models.space import DIM, Embedder, MotionHead, SemanticSpace
from models.tokenizer import TEXT_LENGTH
from models.vision import VisionEncoder

T = TypeVar("T")
Text = str | ParsedPrompt
Vectors = Iterable[Tensor | None]  # semantic vectors (128,) or (1, 128), as (N, 128) too; None is a text's own
# Of a mix: text, picture (128, 128, 4) or clip (T, 128, 128, 4), premultiplied uint8.
Part = Text | np.ndarray
Laid = Callable[[int, np.ndarray], np.ndarray]  # (row, drawing) -> picture, both premultiplied uint8 (128, 128, 4)


@dataclass(frozen=True)
class Blend(ComposedCondition):
    """The condition of one picture that is several things at once, one row.

    `finish` is the one that all parts ask for. `follows_reference` says whether reference guidance applies, which it
    does where all parts are one thing. `references` are the drawings whose latents the parts hold.
    """

    finish: Finish = Finish.SHADED
    follows_reference: bool = False
    references: tuple[Reference, ...] = ()


class ConditionEncoder:
    """The half of the image pipeline that encodes; `models.pipelines.image.ImagePipeline` is the whole, and draws."""

    tokenizer: PreTrainedTokenizerFast
    language: LanguageModel
    vision: VisionEncoder
    space: SemanticSpace
    motion: MotionHead | None  # without it, clips are the mean of their frames
    autoencoder: Any
    dit: Any
    parser: PromptParser | None  # without it, prompts are read as they are
    references: ReferenceStore | None
    is_adapted: bool

    @property
    def embedder(self) -> Embedder:
        """The door into the semantic space, on this pipeline's parts."""
        return Embedder(self.tokenizer, self.language, self.vision, self.space, self.motion)

    def parse(self, prompt: Text) -> ParsedPrompt:
        """A prompt as it is understood; one that was parsed stays. ValueError where a weight is out of range."""
        if isinstance(prompt, ParsedPrompt):
            return prompt
        return self.parser.parse(prompt) if self.parser else parse_literally(prompt)

    def parse_beside(self, prompt: Text, negative: str) -> ParsedPrompt:
        """A prompt as it is drawn beside a negative prompt. ValueError where a weight of either is out of range."""
        return beside(self.parse(prompt), negative, self.parser)

    def mix(self, parts: Sequence[tuple[float, Part]]) -> Tensor:
        """Weighted mix of texts, pictures and clips -> unit vector (1, 128). A negative weight takes away.
        Refused where the parts cancel out."""
        _check(parts)
        total = torch.stack([weight * self._vector_of(part) for weight, part in parts]).sum(0)
        if total.norm() < 1e-3:
            raise Refused("prompts.mix_cancels")
        return torch.nn.functional.normalize(total, dim=-1)

    def _vector_of(self, part: Part) -> Tensor:
        if isinstance(part, str | ParsedPrompt):
            text = part if isinstance(part, str) else part.text
            return self.embedder.text([parse_literally(text).words])
        return self.embedder.clip([part]) if part.ndim == 4 else self.embedder.image(part[None])

    def blend(self, parts: Sequence[tuple[float, Part]], words: str = "", references: bool = True) -> Blend:
        """The conditions of one picture that is several things at once, one row: for `steps`, in place of a prompt.

        A text is encoded as a prompt is, a picture as its vector and as what to start from (a clip: its first frame).
        The first lies in the middle. What has a negative weight is taken away from each of the others.
        Refused where nothing is left of a part, or all of them only take away.

        Args:
            parts: as in `mix`.
            words: the prompt beside a part that is no text.
            references: False gives none of them a reference to draw from.
        """
        _check(parts)
        positive = [
            (weight, self.parse(part) if isinstance(part, str) else part) for weight, part in parts if weight > 0
        ]
        if not positive:
            raise Refused("prompts.mix_only_takes_away")
        total = sum(weight for weight, _ in positive)
        away = [(weight / total, part) for weight, part in parts if weight < 0]
        conditions = [self._condition_of(part, away, words, references) for _, part in positive]
        texts = {part if isinstance(part, ParsedPrompt) else None for _, part in positive}
        finishes = {finish_of(text, new=True) for text in texts}
        finish = finishes.pop() if len(finishes) == 1 else Finish.SHADED
        same = texts.pop() if len(texts) == 1 and not away else None  # different things share no reference
        follows = same is not None and self.follows_reference(same)
        shares = torch.tensor([[weight / total for weight, _ in positive]])
        drawn = [self._reference(part) for _, part in positive if references and isinstance(part, ParsedPrompt)]
        return Blend(tuple(conditions), shares, finish, follows, tuple(filter(None, drawn)))

    def together(self, texts: Sequence[str]) -> tuple[str, Blend | None]:
        """Several things in one picture as arguments of `steps`, a prompt and a blend: two things of which only one
        has a face are laid out by the prompt alone; others are blended in equal shares."""
        prompt = SUM.join(texts)
        if len(texts) == 2 and self.parse(prompt).layout:
            return prompt, None
        return "", self.blend([(1.0, text) for text in texts])

    def _condition_of(self, part: Part, away: Sequence[tuple[float, Part]], words: str, references: bool) -> Condition:
        """The condition of one part of a blend, one row."""
        text = part if isinstance(part, ParsedPrompt) else words
        vector = self.mix([(1.0, part), *away]) if away or text is not part else None
        condition = self.encode_condition([text], [vector])
        if not references:
            return condition
        if isinstance(part, str | ParsedPrompt):
            return self._with_references(self.retrieved([part], [0], [True]), condition)
        return replace(condition, reference=self._encode(part.reshape(-1, SIZE, SIZE, 4)[:1]))

    def encode_condition(self, prompts: Sequence[Text], vectors: Vectors | None = None) -> Condition:
        """The condition of N prompts; an empty prompt says nothing. `(word:1.3)` weighs a word. `vectors` are N or one
        semantic vectors instead of the texts' own (None keeps that); zeros drop it.
        """
        embedder, config = self.embedder, self.dit.config
        texts = [self.parse(one) for one in prompts]
        read = {text.segments: weighted_states(embedder, text.segments) for text in texts if text.words}
        shape = (1, TEXT_LENGTH)
        none = torch.zeros(*shape, config.context), torch.zeros(shape, dtype=torch.bool), torch.zeros(1, DIM)
        rows = [read.get(text.segments, none) for text in texts]
        states, masks = (torch.cat([row[i] for row in rows]) for i in (0, 1))
        given = zip(rows, each_vector(vectors, len(texts)), strict=True)
        meant = torch.cat([vector if row is None else row for (_, _, vector), row in given])
        reference = torch.zeros(len(prompts), config.channels, config.size, config.size)
        return Condition(states.float(), masks, meant, reference)

    def retrieved(self, prompts: Sequence[Text], seeds: Sequence[int], free: Sequence[bool]) -> list[Reference | None]:
        """The reference of what each prompt shows, of those that are `free` to have one."""
        find = functools.cache(self._reference)
        return [find(prompt, seed) if one else None for prompt, seed, one in zip(prompts, seeds, free, strict=True)]

    def _with_references(
        self, retrieved: Sequence[Reference | None], condition: Condition, laid: Laid | None = None
    ) -> Condition:
        """The condition with the reference drawings that were `retrieved`; `laid` puts that of a row into a picture."""
        if (references := self.references) is None:
            return condition

        @functools.cache
        def latent(reference: Reference, row: int) -> Tensor:
            drawing = references.drawing(reference)
            return self._encode((laid(row, drawing) if laid else drawing)[None])

        rows = enumerate(zip(retrieved, condition.reference.split(1), strict=True))
        latents = [latent(one, number if laid else 0) if one else none for number, (one, none) in rows]
        return replace(condition, reference=torch.cat(latents))

    def _reference(self, prompt: Text, seed: int = 0) -> Reference | None:
        """What a picture of one thing is drawn from; None of another text."""
        parsed = self.parse(prompt)
        if self.references is None or (target := parsed.target) is None:
            return None
        reference = self.references.retrieve(target.concept, seed, parsed.style, target.gender, target.paint)
        return self.references.repainted(reference, target.unwanted) if target.unwanted else reference

    def credits(self, reference: Reference, drawn: np.ndarray) -> Iterator[Credit]:
        """The credits of a picture (128, 128, 4) that was `drawn` from a reference."""
        if self.references is None or self.parser is None:
            return
        done = ["mirrored"] * reference.mirrored + [f"painted {reference.paint}"] * bool(reference.paint)
        rows = self.references.drawn_from(reference)
        done += ["combined with others"] * (len(rows) > 1)
        for row in rows:
            if row in self.references.sources:
                thing, gender, style = self.references.sources[row]
                names = self.parser.concepts[thing].names["en"]
                name = next((one for one in names if gender in one.split()), names[0])
                changed = ", ".join([*done, REDRAWN])
                yield credit(style, name, changed, self.references.copied(row, drawn))

    def follows_reference(self, prompt: Text) -> bool:
        """Whether reference guidance applies to a prompt: it asks for no style, or for one that has drawn the thing."""
        if self.is_adapted:
            return False
        parsed = self.parse(prompt)
        if not parsed.style:
            return bool(parsed.text)
        reference = self._reference(parsed)
        return reference is not None and reference.is_exact

    def _encode(self, picture: np.ndarray) -> Tensor:
        return self.autoencoder.encode(to_tensor(picture).to(self.autoencoder.dtype)).float()


def _check(parts: Sequence[tuple[float, Part]]) -> None:
    if not parts:
        raise Refused("prompts.mix_empty")
    if not all(math.isfinite(weight) for weight, _ in parts):
        raise Refused("prompts.mix_not_finite", weights=str([weight for weight, _ in parts]))


def finish_of(prompt: ParsedPrompt | None, new: bool) -> Finish:
    """The finish of the style that a prompt asks for. Where it names none, a `new` picture is flat, and one that starts
    from a picture, or from no words, keeps its shades."""
    if prompt is None or not prompt.text:
        return Finish.SHADED
    return prompt.finish or (Finish.FLAT if new else Finish.SHADED)


def each(what: str, given: Sequence[T], count: int) -> list[T]:
    """`count` of them, from as many or from one; Refused says how many `what` were given (a code of the messages)."""
    given = [given] if isinstance(given, str) else given  # type: ignore[list-item]  # then T is a text
    if len(given) not in (1, count):
        raise Refused(f"models.{what}", given=len(given), count=count)
    return list(given) * (count if len(given) == 1 else 1)


def each_vector(given: Vectors | None, count: int) -> list[Tensor | None]:
    """`each` of the vectors, (1, 128) or None for the text's own; Refused for another shape."""
    vectors = [row if row is None else row.reshape(1, -1).float() for row in ([None] if given is None else given)]
    for row in vectors:
        if row is not None and row.shape[1] != DIM:
            raise Refused("models.vector_shape", shape=str(tuple(row.shape)), count=count, size=DIM)
    return each("vectors", vectors, count)


def each_blend(given: Sequence[Blend | None], prompts: Sequence[str]) -> list[Blend | None]:
    """`each`, or None for all; Refused for one of several rows, or beside words."""
    blends = each("blends", given or [None], len(prompts))
    for blend, prompt in zip(blends, prompts, strict=True):
        if blend is not None and (prompt or len(blend) != 1):
            raise Refused("models.blend_beside_prompt", rows=len(blend), prompt=prompt)
    return blends
