"""What the parser makes of prompts: captions ("reading"), and prompts that people type ("understood").

Reading: all things that a caption names should be found, and a caption in the training wording should be kept as it is.
Of an unseen concept the parser knows no name, so its captions should be kept as they are, too.

Understood: every content word of a prompt is drawn or named as left out. The prompts are those that people type
(`assets/prompts/typed.txt`), written before anything was measured on them. Which words they have is read from the
prompts, not from what the parser made of them: English ones without grammar, Chinese ones as a person cut them
(`typed_zh.txt`). Drawn is a word that a drawn concept is called by, or that says how one is drawn: a colour, a mood, a
number, a ground, letters to be written. What is neither drawn nor named is lost.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from eval import sets
from eval.context import Context
from eval.generator import SPACE
from eval.neighbours import ranked
from eval.rows import SEED, Row, share_row
from models.assets import prompt_list
from models.data.captions import caption
from models.data.scenes import make_scene
from models.lexicon import LEXICONS, pattern, rewrite, table, word_set
from models.prompts.linker import ALIASES
from models.prompts.normalise import background_phrase, find_lettering, words_of
from models.prompts.parsed import ParsedPrompt
from models.prompts.parser import PromptParser
from models.prompts.vocabulary import forms

ORIGIN = {"seeds": f"captions {SEED}", "parts": (*SPACE, "wording")}


def reading_rows(context: Context) -> Iterator[Row]:
    """Share of prompts whose things are found, all of them and no other; share that is read as it is."""
    parser = context.generator.weights.parser
    cells = sets.cells(context.world, context.sizes.gallery)
    captions, things = [caption(picture, SEED) for picture in cells], [{p.names["en"].lower()} for p in cells]
    near = np.mean([bool(names & _nearest(parser, text)) for text, names in zip(captions, things, strict=True)])
    answers, nearest = _all_named(parser, captions, things), (("the nearest name alone", float(near)),)
    yield share_row("captions whose thing is found", answers, against=nearest, **ORIGIN)
    yield _unchanged("captions", parser, captions)
    scenes = [make_scene(context.world, SEED + i, "test") for i in range(4 * context.sizes.scenes)]
    captions = [scene.caption(0, grounded=True) for scene in scenes]
    things = [{item.names["en"].lower() for item in scene.objects} for scene in scenes]
    yield share_row("scenes whose things are all found", _all_named(parser, captions, things), **ORIGIN)
    yield _unchanged("scenes", parser, captions)
    unseen = sets.unseen(context.world, context.sizes.gallery)
    yield _unchanged("captions of unseen concepts", parser, [caption(picture, SEED) for picture in unseen])


def _unchanged(what: str, parser: PromptParser, captions: Sequence[str]) -> Row:
    return share_row(f"{what} read as they are", [parser.encoded(text) == text for text in captions], **ORIGIN)


def _nearest(parser: PromptParser, text: str) -> set[str]:
    """All English names of the thing whose name is nearest to a text."""
    return _names(
        parser, int(ranked(np.asarray(parser.linker.cosines(parser.embedder.text([text])[0]))[None], 1)[0, 0])
    )


def _names(parser: PromptParser, number: int) -> set[str]:
    return {name.lower() for name in parser.linker.concepts[number].names["en"]}


def _all_named(parser: PromptParser, captions: Sequence[str], things: Sequence[set[str]]) -> list[bool]:
    """For each text, whether the things that it is found to name are these, by any of their English names."""
    answers = []
    for text, wanted in zip(captions, things, strict=True):
        named = [_names(parser, entity.concept) for entity in parser.entities(text)]
        answers.append(len(named) == len(wanted) and all(names & wanted for names in named))
    return answers


# --- Typed prompts ----------------------------------------------------------------------------------------------------


GOAL = 0.98
# Words for how something is drawn, and grammar, by rows of the lexicon.
SAID = ("shades", "shade_phrases", "animals", "characters", "skin_tones", "costumes")
GRAMMAR = ("function", "places", "plain", "mix", "numbers", "measures", "groups", "creature")
LAID_OUT = ("laid_out", "joints", "expression", "denied", "winged", "small", "woman", "man")
_ENGLISH = re.compile(r"[a-z]{3,}")


def understood_rows(context: Context) -> Iterator[Row]:
    """Share of content words that are drawn or named as left out; the note names those that are lost."""
    parser = context.generator.weights.parser
    for language, prompts in content_words().items():
        answers, lost = [], []
        for prompt, words in prompts.items():
            gone = lost_words(parser, prompt, words)
            answers += [word not in gone for word in words]
            lost += [f"{prompt}: {', '.join(gone)}"] if gone else []
        note = f"lost: {'; '.join(lost)}" if lost else ""
        name = f"content words drawn or named, {language}"
        yield share_row(name, answers, goal=GOAL, note=note, seeds="typed.txt", parts=(*SPACE, "wording"))


def content_words() -> dict[str, dict[str, Sequence[str]]]:
    """By language, prompts with their content words."""
    typed, cut = prompt_list("typed"), prompt_list("typed_zh")
    english, chinese = ([prompt for prompt in typed if prompt.isascii() is ascii] for ascii in (True, False))
    grammar = {part for name in GRAMMAR for word in word_set(name) for part in word.split()}
    words: dict[str, Sequence[str]] = {
        prompt: [word for word in _ENGLISH.findall(prompt.lower()) if word not in grammar] for prompt in english
    }
    return {"en": words, "zh": {prompt: line.split() for prompt, line in zip(chinese, cut, strict=True)}}


def lost_words(parser: PromptParser, prompt: str, words: Sequence[str]) -> list[str]:
    """Words of a prompt that are neither drawn nor named."""
    parsed = parser.parse(prompt)
    phrases = list(_drawn(parser, parsed))
    if not prompt.isascii():
        near = [one for one in phrases if len(one) > 1 or one in words] + [*parsed.left_out]
        return [word for word in words if not any(word in one or one in word for one in near)]
    known = {form for phrase in (*phrases, *parsed.left_out) for word in words_of(phrase) for form in forms(word)}
    return [word for word in words if not known.intersection((*forms(word), *words_of(word)))]


def _drawn(parser: PromptParser, parsed: ParsedPrompt) -> Iterator[str]:
    """What the drawing may be called: its concepts by all their names, and words for how they are drawn."""
    text = parsed.text.lower()
    for entity in parser.shown(parsed):
        yield from (*entity.phrases, *(word for name in entity.english_names for word in ALIASES.get(name, ())))
    yield from (found[0] for name in LAID_OUT for found in pattern(name).finditer(text))
    yield from (word for name in SAID for word in table(name) if word in text)
    yield from (word for lexicon in LEXICONS.values() for word in lexicon.colours.values() if word in text)
    lettering = find_lettering(text)
    yield from (background_phrase(text), lettering.phrase if lettering else "")
    yield from set(words_of(text)) - set(words_of(rewrite("implied", text)))  # goes without saying
