"""What a prompt says that is not drawn: the words that neither the description of the drawing nor the names of what it
shows hold. "a dancing banana" is drawn as a banana, so "dancing" is left out.
"""

import re
from collections.abc import Callable, Iterator
from itertools import combinations

from models.data.grammar import regular
from models.lexicon import pattern, table, word_set
from models.prompts.entities import Concept
from models.prompts.normalise import (
    JOINTS,
    core,
    recoloured,
    with_amounts,
    without_background,
    without_lettering,
    without_transparency,
    words_of,
)
from models.prompts.parsed import ParsedPrompt
from models.prompts.vocabulary import CHINESE, Vocabulary, forms
from models.prompts.weighting import plain

LONGEST = 8  # characters of a name that is looked for
_ENGLISH = re.compile(r"[a-z]+(?:-[a-z]+)*")


def left_out(parsed: ParsedPrompt, concepts: list[Concept], is_name: Callable[[str], object]) -> tuple[str, ...]:
    """Words of `parsed.text`, in order, that nothing of the drawing says; none of a prompt that is read word for word.

    `concepts` are those that are drawn; `is_name` tells names of concepts. Colours, numbers, styles and grounds have
    marks of their own in the drawing and are no content words; English is compared by word forms, Chinese by the
    phrases that the concepts are called.
    """
    if parsed.literal:
        return ()
    text, drawn = _content(parsed.text), _drawn(parsed) if concepts else ""
    names = {word for one in parsed.entities for word in words_of(one.name)}
    own = names.union(*(concept.words for concept in concepts), words_of(drawn))
    said = {form for word in own for form in forms(word)}
    costumes = {word for phrase in table("costumes") for word in phrase.split()}  # drawn as who wears them
    grammar = word_set("function") | word_set("places") | word_set("mix") | costumes
    words = (word for word in _ENGLISH.findall(text) if len(word) > 2 and word not in grammar)
    english = [word for word in words if not said.intersection((*forms(word), *words_of(word)))]
    phrases = {said for one in parsed.entities for said in (one.name, core(one.name))}.union(
        *(one.chinese_phrases for one in concepts)
    )
    if drawn != parsed.text:  # else it is the prompt itself that is encoded, and says nothing of what is drawn
        phrases.update(drawn.split())
    runs = _runs(JOINTS.sub(" ", text) if parsed.layout else text, phrases, is_name)
    return tuple(dict.fromkeys([*english, *runs]))


def _drawn(parsed: ParsedPrompt) -> str:
    """What the drawing shows, in words; of several drawings theirs, and what can be shown by putting them together."""
    parts = [*(one for _, one in parsed.blend), *(parsed.layout.prompts if parsed.layout else ())]
    if not parts:
        return parsed.description.lower()
    said = parsed.text if parsed.blend else parsed.description  # a blend shows an expression that its parts don't name
    together = (found[0] for found in pattern("laid_out").finditer(said.lower()))
    return " ".join([*(one.description.lower() for one in parts), *together])


def not_drawn(parsed: ParsedPrompt, vocabulary: Vocabulary) -> list[tuple[str, tuple[str, ...]]]:
    """What the drawing leaves out of a prompt, each with the nearest concepts where it is a word that was never taught;
    where nothing of the prompt is known, that is all of it. Of a prompt that is read word for word, unknown words."""
    if parsed.literal:
        return vocabulary.unknown(plain(without_lettering(parsed.text)))
    if not parsed.entities and parsed.left_out:
        said = core(_content(parsed.text))
        return [(said, vocabulary.nearest(said))]
    unknown = dict(vocabulary.unknown(" ".join(parsed.left_out)))
    return [(word, unknown.get(word, ())) for word in parsed.left_out]


def _content(prompt: str) -> str:
    """The prompt in small letters without lettering, ground, size, and what says nothing of a thing."""
    text = pattern("denied").sub(" ", without_background(without_transparency(without_lettering(prompt))).lower())
    text = with_amounts(recoloured(regular(text)))
    return core(pattern("on_body").sub(" ", pattern("small").sub(" ", text)))


def _runs(text: str, phrases: set[str], is_name: Callable[[str], object]) -> Iterator[str]:
    """Parts of runs of Chinese characters that share no two characters in a row with any of the phrases. One alone is
    grammar more often than a word, unless it is a name (伞) or listed as a word (旧)."""
    grammar, alone = word_set("function"), word_set("alone")
    for run in CHINESE.findall(text):
        said = [character in grammar or character in phrases for character in run]
        for start, end in combinations(range(len(run) + 1), 2):
            if 1 < end - start <= LONGEST and any(run[start:end] in phrase for phrase in phrases):
                said[start:end] = [True] * (end - start)
        left = "".join(" " if is_said else character for character, is_said in zip(run, said, strict=True))
        yield from (part for part in left.split() if len(part) > 1 or part in alone or is_name(part))
