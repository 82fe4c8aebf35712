"""Load balance of the backbone's experts, and what they specialise in.

On captions of held-out cells in both languages, and on dictionary words that training left out and their glosses.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from eval import sets
from eval.context import SEED, Context
from eval.metrics import metric
from eval.rows import Row, missing_where
from models.data.captions import caption
from models.data.grammar import LANGUAGES
from models.data.text import PARTS_OF_SPEECH, Gloss, glosses
from models.data.world import fraction
from models.tokenizer import encode_texts
from models.train.balance import dead_experts, expert_choices, load_of, max_violation, specialisation
from models.train.lexicon import is_held_out

PART = ("language",)
BALANCED = 0.5  # MaxVio at most
TEXTS = 64  # a pass

Words = Mapping[str, Sequence[Gloss]]  # the senses of each
Labelled = tuple[Tensor, Tensor]  # experts (Y, N, K) of N tokens in Y layers, and the label (N,) of each token's text


@metric("experts", "experts")
def expert_rows(context: Context) -> Iterator[Row]:
    """Balance of the worst layer, dead experts, and what an expert's choice tells of language and part of speech."""
    experts, count = context.generator.weights.embedder.language.config.num_experts, context.sizes.words
    pictures = sets.cells(context.world, count)
    captions = [(caption(p, SEED, language), k) for p in pictures for k, language in enumerate(LANGUAGES)]
    words, of_captions = held_out_words(context.wordnet), labelled(context, captions)
    meanings = [(senses[0].gloss, 0) for senses in islice(words.values(), count)]
    yield from balance_rows({"captions": of_captions[0], "glosses": labelled(context, meanings)[0]}, experts)
    yield specialisation_row("language", of_captions, LANGUAGES)
    yield specialisation_row("part of speech", labelled(context, of_one_part(words, count)), PARTS_OF_SPEECH)


def balance_rows(chosen: Mapping[str, Tensor], experts: int) -> Iterator[Row]:
    """MaxVio of each layer, the worst one as the figure, and how many experts get less than a tenth of the mean.

    `chosen` holds the choices (Y, N, K) of each kind of text; all kinds count the same, whatever their length.
    """
    loads = {kind: load_of(choices, experts) for kind, choices in chosen.items()}
    load = torch.stack(list(loads.values())).mean(0)
    violation, dead = max_violation(load).tolist(), dead_experts(load)
    apart = "; ".join(f"{kind} alone {float(max_violation(own).max()):.2f}" for kind, own in loads.items())
    tokens = sum(choices.shape[1] for choices in chosen.values())
    yield Row(
        "MaxVio of the worst layer", max(violation), tokens,
        against=tuple((f"layer {k + 1}", value) for k, value in enumerate(violation)),
        goal=BALANCED, lower_is_better=True, note=apart, seeds=f"captions {SEED}", parts=PART,
    )  # fmt: skip
    yield Row(
        "dead experts of all layers", float(dead.sum()), tokens,
        against=(("least load over the mean", float((load.amin(-1) / load.mean(-1)).min())),),
        goal=0, lower_is_better=True, seeds=f"captions {SEED}", parts=PART,
    )  # fmt: skip


def specialisation_row(name: str, labelled_tokens: Labelled, labels: Sequence[str]) -> Row:
    """Bits that the choice of an expert tells of a label, in the layer where it tells most, beside shuffled labels."""
    chosen, of_token = labelled_tokens
    shuffled = of_token[torch.randperm(len(of_token), generator=torch.Generator().manual_seed(SEED))]
    bits = [specialisation(layer, of_token) for layer in chosen]
    layer = max(range(len(bits)), key=bits.__getitem__)
    share = of_token.bincount(minlength=len(labels)).double() / len(of_token)
    entropy = -torch.special.xlogy(share, share).sum() / math.log(2)
    return Row(
        f"what an expert tells of the {name}", bits[layer], len(of_token), unit="bit",
        against=(("shuffled", specialisation(chosen[layer], shuffled)), ("all there is", float(entropy))),
        note=f"layer {layer + 1}", seeds=f"{SEED}", parts=PART,
    )  # fmt: skip


def labelled(context: Context, texts: Sequence[tuple[str, int]]) -> Labelled:
    """Experts of every token of texts, <bos> and <eos> left out, and the label that its text came with."""
    e = context.generator.weights.embedder
    choices, labels = [], []
    for start in range(0, len(texts), TEXTS):
        some = texts[start : start + TEXTS]
        ids, mask = encode_texts(e.tokenizer, [text for text, _ in some])
        chosen = expert_choices(e.language, {"input_ids": ids, "attention_mask": mask, "prefix_mask": mask})
        spoken = ~torch.isin(ids[mask], torch.tensor([e.tokenizer.bos_token_id, e.tokenizer.eos_token_id]))
        choices.append(chosen[:, spoken])
        labels.append(torch.tensor([label for _, label in some]).repeat_interleave(mask.sum(1))[spoken])
    return torch.cat(choices, 1), torch.cat(labels)


@missing_where(FileNotFoundError)
def held_out_words(wordnet: Path) -> Words:
    """Lowercase words, no names and no phrases, that training left out, in an order given by hash; MissingError without
    WordNet."""
    found: dict[str, list[Gloss]] = {}
    for gloss in glosses(wordnet):
        if gloss.word.isalpha() and gloss.word.islower() and is_held_out(gloss.word):
            found.setdefault(gloss.word, []).append(gloss)
    return {word: found[word] for word in sorted(found, key=lambda word: fraction("eval", "experts", word))}


def of_one_part(words: Words, count: int) -> list[tuple[str, int]]:
    """`count` words of each part of speech that have no other one, with its number."""
    parts = {word: {sense.pos for sense in senses} for word, senses in words.items()}
    found = [[(word, n) for word, own in parts.items() if own == {pos}] for n, pos in enumerate(PARTS_OF_SPEECH)]
    return [pair for of_it in found for pair in of_it[:count]]
