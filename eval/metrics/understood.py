"""Whether every content word of a prompt is drawn or named as left out.

The prompts are those that people type (`assets/prompts/typed.txt`), written before anything was measured on them. Which
words they have is read from the prompts, not from what the parser made of them: English ones without grammar, Chinese
ones as a person cut them (`typed_zh.txt`). Drawn is a word that a drawn concept is called by, or that says how one is
drawn: a colour, a mood, a number, a ground, letters to be written. What is neither drawn nor named is lost.
"""

import re
from collections.abc import Iterator, Sequence

from eval.context import Context
from eval.generator import SPACE
from eval.metrics import metric
from eval.rows import Row, share_row
from models.assets import prompt_list
from models.lexicon import LEXICONS, pattern, rewrite, table, word_set
from models.prompts.entities import ALIASES
from models.prompts.normalise import background_phrase, find_lettering, words_of
from models.prompts.parsed import ParsedPrompt
from models.prompts.parser import PromptParser
from models.prompts.vocabulary import forms

GOAL = 0.98
# Words for how something is drawn, and grammar, by rows of the lexicon.
SAID = ("shades", "shade_phrases", "animals", "characters", "skin_tones", "costumes")
GRAMMAR = ("function", "places", "plain", "mix", "numbers", "measures", "groups", "creature")
LAID_OUT = ("laid_out", "joints", "expression", "denied", "winged", "small", "woman", "man")
_ENGLISH = re.compile(r"[a-z]{3,}")


@metric("understood", "parser")
def understood_rows(context: Context) -> Iterator[Row]:
    """Share of content words that are drawn or named as left out; the note names those that are lost."""
    parser = context.generator.weights.parser
    for language, asked in content_words().items():
        answers, lost = [], []
        for prompt, words in asked.items():
            gone = lost_words(parser, prompt, words)
            answers += [word not in gone for word in words]
            lost += [f"{prompt}: {', '.join(gone)}"] if gone else []
        note = f"lost: {'; '.join(lost)}" if lost else ""
        name = f"content words drawn or named, {language}"
        yield share_row(name, answers, goal=GOAL, note=note, seeds="typed.txt", parts=(*SPACE, "wording"))


def content_words() -> dict[str, dict[str, Sequence[str]]]:
    """By language, prompts with their content words."""
    typed, cut = prompt_list("typed"), prompt_list("typed_zh")
    english, chinese = ([one for one in typed if one.isascii() is ascii] for ascii in (True, False))
    grammar = {part for name in GRAMMAR for word in word_set(name) for part in word.split()}
    words: dict[str, Sequence[str]] = {
        one: [word for word in _ENGLISH.findall(one.lower()) if word not in grammar] for one in english
    }
    return {"en": words, "zh": {one: said.split() for one, said in zip(chinese, cut, strict=True)}}


def lost_words(parser: PromptParser, prompt: str, words: Sequence[str]) -> list[str]:
    """Words of a prompt that are neither drawn nor named."""
    parsed = parser.parse(prompt)
    phrases = list(_drawn(parser, parsed))
    if not prompt.isascii():
        near = [one for one in phrases if len(one) > 1 or one in words] + [*parsed.left_out]
        return [word for word in words if not any(word in one or one in word for one in near)]
    own = {form for phrase in (*phrases, *parsed.left_out) for word in words_of(phrase) for form in forms(word)}
    return [word for word in words if not own.intersection((*forms(word), *words_of(word)))]


def _drawn(parser: PromptParser, parsed: ParsedPrompt) -> Iterator[str]:
    """What the drawing may be called: its concepts by all their names, and words for how they are drawn."""
    text = parsed.text.lower()
    for one in parser.shown(parsed):
        yield from (*one.phrases, *(word for name in one.english_names for word in ALIASES.get(name, ())))
    yield from (found[0] for name in LAID_OUT for found in pattern(name).finditer(text))
    yield from (word for name in SAID for word in table(name) if word in text)
    yield from (word for one in LEXICONS.values() for word in one.colours.values() if word in text)
    lettering = find_lettering(text)
    yield from (background_phrase(text), lettering.said if lettering else "")
    yield from set(words_of(text)) - set(words_of(rewrite("implied", text)))  # goes without saying
