"""Suggestions for a prompt: how it may go on, more detail, other words, the other language, and the nearest things that
can be drawn for words that nobody taught.

The language backbone, which has read captions only, makes good clauses and poor nouns: it chooses here, by likelihood,
among what the names, the lexicon and the grammar of captions can say. The parser and the space then drop what leaves
the subject: every suggestion names the things of the prompt, and lies near it.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, cached_property
from itertools import islice

import torch
from torch import Tensor

from models.data.colours import COLOURS, PAINTS, colour_words
from models.data.grammar import SCENE_TEMPLATES as TEMPLATES
from models.data.grammar import Language, article, language_of, stream
from models.data.styles import STYLES, Finish, styled
from models.lexicon import LEXICONS, any_of, expressions, pattern, table
from models.prompts.attributes import with_expression
from models.prompts.entities import ANIMALS, Concept
from models.prompts.normalise import background_phrase, core
from models.prompts.parsed import ParsedPrompt
from models.prompts.parser import PromptParser
from models.prompts.rephrase import is_free
from models.prompts.suggestion import KINDS, Kind, Suggestion
from models.prompts.vocabulary import Vocabulary
from models.prompts.writing import Writer, same
from models.space import one_thread
from models.tokenizer import TEXT_LENGTH, encode_texts

COUNT = 3  # of each kind
# Least cosine to the prompt: 95 in 100 suggestions for another prompt lie farther away.
NEAR = {"complete": 0.48, "enrich": 0.42, "rewrite": 0.6, "translate": 0.41}
RANKED = 16  # texts that the backbone chooses among
CLAUSE = 6  # tokens of one, and of what begins and ends a text
TRIED = 6  # of them that are read again
MOODS = ("happy", "smiling", "sleepy", "surprised")
LONGEST = 200  # characters of a prompt that are read; the model reads its first 31 tokens
_FRAGMENT = re.compile(r"[a-z'-]+$", re.IGNORECASE)


Slot = tuple[Callable[[str, str], str], list[str]]  # says a word of a text, and the words to choose from


class Suggester:
    """Suggests by `parser`; without a `vocabulary` no word is unknown."""

    def __init__(self, parser: PromptParser, vocabulary: Vocabulary | None = None) -> None:
        self.parser, self.vocabulary, self.writer = parser, vocabulary, Writer(parser)

    def suggest(self, text: str, kinds: Iterable[Kind] = KINDS, count: int = COUNT) -> list[Suggestion]:
        """At most `count` of each kind, best first, none of what is read word for word. The same text has the same
        suggestions. Refused where a weight of the text is out of range."""
        text = text[:LONGEST]
        if not is_free(text):
            return []
        if pattern("negation").search(text):  # what is added, or said again, would lose what should not be there
            kinds = [kind for kind in kinds if kind in ("complete", "nearest")]
        makers: dict[Kind, Callable[[str], Iterator[Suggestion]]] = {
            "complete": self._complete,
            "enrich": self._enrich,
            "rewrite": self._rewrite,
            "translate": self._translate,
            "nearest": self._nearest,
        }
        return [one for kind in kinds for one in islice(_distinct(makers[kind](text), text), count)]

    # --- Completion ---------------------------------------------------------------------------------------------------

    def _complete(self, text: str) -> Iterator[Suggestion]:
        """The word that is begun, the thing that must follow, or what may still be said; each begins with `text`."""
        language, begun = language_of(text), self._begun(text)
        base = text.removesuffix(begun)
        slot = not begun and self._wants_thing(text)
        named = dict[str, str]()
        if begun or slot:
            names = [name for name in self._words(language) if name.startswith(begun.lower()) and name != begun.lower()]
            space = " " if slot and language == "en" and not text.endswith(" ") else ""
            named = {text + space + name[len(begun) :]: name for name in self._likely_names(base, names, slot)}
        clauses = self._clauses(text, language) if not (begun or slot) and self._has_room(text) else []
        ranked, stays = self._by_likelihood([*named, *(text + one for one in clauses)]), self._keeps(base)

        def kept(found: ParsedPrompt) -> bool:
            """Whether the name is read as what it names, too: a woman's hat is no woman."""
            things = set(self.parser.linker.called(named.get(found.text, "")))
            return stays(found) and (not things or bool(things & {one.concept for one in found.entities}))

        yield from self._near("complete", base.strip(" ,，"), _unlike(ranked), kept)

    def _begun(self, text: str) -> str:
        """The word at the end that is no whole one yet; "" where there is none."""
        if language_of(text) == "zh":
            run = re.split(r"[，。、 ]", text)[-1]
            ends = (run[i:] for i in range(max(0, len(run) - 3), len(run)))
            if any(self._is_word(run[-length:]) for length in range(1, 5)):
                return ""
            return next((end for end in ends if any(name.startswith(end) for name in self._words("zh"))), "")
        found = _FRAGMENT.search(text)
        if not found or self._is_word(found[0].lower()):
            return ""
        return found[0]

    def _is_word(self, word: str) -> bool:
        known = self.parser.linker.called(word) or self.parser.is_understood(word) or word in expressions()
        taught = word.isascii() and self.vocabulary and not self.vocabulary.words.candidates(word)
        return bool(known or taught or not core(word) or pattern("joints").fullmatch(word))

    def _has_room(self, text: str) -> bool:
        """Whether the model would still read what follows."""
        ids = self.parser.embedder.tokenizer([text], add_special_tokens=False)["input_ids"][0]
        return len(ids) < TEXT_LENGTH - CLAUSE

    @staticmethod
    def _wants_thing(text: str) -> bool:
        """Whether a text breaks off where a thing must follow: behind an article, an adjective, or a joint."""
        if language_of(text) == "zh":
            return bool(re.search(rf"(?:{any_of(table('verbs'))}|[和与在的个只])$", text))
        words = text.lower().split()
        return bool(words) and (words[-1] in _openers() or (text.endswith(" ") and not core(words[-1])))

    def _likely_names(self, base: str, names: Sequence[str], slot: bool) -> list[str]:
        """The names that the backbone expects most behind `base`, by their first tokens; of what may be worn, or takes
        the measure word, where that is asked for."""
        wears = slot and bool(re.search(rf"(?:{any_of(_verb_words('wear'))})(?: an?)?$", base.strip()))
        if wears:
            names = [name for name in names if name in self._worn("en") + self._worn("zh")]
        elif slot and re.search(r"只[^，,]{0,4}$", base):
            names = [name for name in names if name in self._animals]
        if len(names) <= RANKED:
            return list(names)
        first = [ids[0] for ids in self.parser.embedder.tokenizer(list(names), add_special_tokens=False)["input_ids"]]
        expected = self._next(base.rstrip())[torch.tensor(first)]
        return [names[i] for i in expected.topk(RANKED).indices.tolist()]

    def _clauses(self, text: str, language: Language) -> list[str]:
        """What may be said of the whole picture, with the comma before it."""
        parsed, space = self.parser.parse(text.strip()), "，" if language == "zh" else ""
        styles = [styled("", name, language == "zh") for name in _drawn_styles()] if not parsed.style else []
        grounds = [f"{space or ' '}{said}" for said in _grounds(language)] if not background_phrase(text) else []
        ends = [one if one.startswith("，") else f", {one}" for one in styles] + grounds
        return ends + (self._companions(parsed, language) if len(parsed.entities) == 1 else [])

    def _companions(self, parsed: ParsedPrompt, language: Language) -> list[str]:
        """Something to wear, for somebody who wears nothing."""
        if not self.parser.concept(parsed.entities[0]).is_somebody or re.search(any_of(table("verbs")), parsed.text):
            return []
        verb = _verb_words("wear", language)[0]
        return [f"{verb}{name}" if language == "zh" else f" {verb} {article(name)}" for name in self._worn(language)]

    # --- Detail -------------------------------------------------------------------------------------------------------

    def _enrich(self, text: str) -> Iterator[Suggestion]:
        """The prompt with two or three things said that it leaves open."""
        parsed, language = self.parser.parse(text), language_of(text)
        if not parsed.entities or (parsed.layout and len(parsed.entities) > 2):
            return
        chance, slots = stream("enrich", text), self._open_slots(parsed, language)
        if not slots:
            return
        texts = []
        for _ in range(RANKED):
            chosen = chance.sample(sorted(slots), min(len(slots), chance.choice((2, 2, 3))))
            said = text.rstrip(" .。,，")
            for say, words in (slots[slot] for slot in slots if slot in chosen):
                said = say(said, chance.choice(words))
            texts.append(said)
        ranked = self._by_likelihood(list(dict.fromkeys(texts)))
        yield from self._near("enrich", text, _unlike(ranked), self._keeps(text))

    def _open_slots(self, parsed: ParsedPrompt, language: Language) -> dict[str, Slot]:
        """What a prompt leaves open, in the order in which it is said."""
        one, concept = parsed.entities[0], self.parser.concept(parsed.entities[0])
        phrase, joint = one.text.strip(), "，" if language == "zh" else " "
        say = lambda text, word: text.replace(phrase, _said_of(phrase, word), 1)  # noqa: E731
        slots: dict[str, Slot] = {}
        if phrase not in parsed.text:
            pass
        elif concept.is_somebody and not concept.is_face and not one.expressions:
            slots["mood"] = say, [LEXICONS[language].moods[mood][0].removesuffix("的") for mood in MOODS]
        elif concept.is_object and not concept.is_somebody and not one.colours:
            slots["colour"] = say, [colour_words((paint,), language) for paint in PAINTS]
        if len(parsed.entities) == 1 and (companions := self._companions(parsed, language)):
            slots["companion"] = _before_clauses, companions
        if not background_phrase(parsed.text):
            slots["background"] = _before_clauses, [f"{joint}{said}" for said in _grounds(language)]
        if not parsed.style:
            slots["style"] = lambda text, style: styled(text, style, language == "zh"), list(_drawn_styles())
        return slots

    # --- The same in other words --------------------------------------------------------------------------------------

    def _rewrite(self, text: str) -> Iterator[Suggestion]:
        yield from self._written("rewrite", text, language_of(text))

    def _translate(self, text: str) -> Iterator[Suggestion]:
        yield from islice(self._written("translate", text, "en" if language_of(text) == "zh" else "zh"), 1)

    def _written(self, kind: Kind, text: str, language: Language) -> Iterator[Suggestion]:
        parsed = self.parser.parse(text)
        lost = {one.text: one.lost for one in self.writer.sentences(parsed, language)}
        # Another language may lack a word, the same one may not lose it, and neither what may be a thing.
        lost = {one: words for one, words in lost.items() if not words or (kind == "translate" and self._taught(words))}
        kept = lambda found: same(parsed, found)  # noqa: E731
        yield from self._near(kind, text, _unlike(lost) if kind == "rewrite" else list(lost), kept, lost)

    def _taught(self, words: Iterable[str]) -> bool:
        return self.vocabulary is not None and not self.vocabulary.words.candidates(" ".join(words))

    # --- Words that nobody taught -------------------------------------------------------------------------------------

    def _nearest(self, text: str) -> Iterator[Suggestion]:
        """The prompt with the nearest things that can be drawn in the place of words that the models don't know."""
        if self.vocabulary is None:
            return
        words = [word for word in self.vocabulary.words.candidates(text) if not self.parser.is_understood(word)]
        for word in words:
            for name in self.vocabulary.nearest(word):
                cosine = float(self.parser.vector(word) @ self.parser.vector(name))
                yield Suggestion("nearest", _in_place(text, word, name), round(cosine, 4), (word,))

    # --- What stays ---------------------------------------------------------------------------------------------------

    def _keeps(self, text: str) -> Callable[[ParsedPrompt], bool]:
        """Whether a prompt names all things that `text` does, as often, and nothing that is not understood besides."""
        parsed = self.parser.parse(text.strip(" ,，")) if core(text).strip(" ,，") else None
        if parsed is None:
            return lambda found: not found.left_out
        things, left = Counter(one.concept for one in parsed.entities), set(parsed.left_out)
        return lambda found: things <= Counter(one.concept for one in found.entities) and left >= set(found.left_out)

    def _near(
        self,
        kind: Kind,
        text: str,
        texts: Sequence[str],
        kept: Callable[[ParsedPrompt], bool],
        lost: dict[str, tuple[str, ...]] | None = None,
    ) -> Iterator[Suggestion]:
        """Of the first few texts those that lie near `text` and are read as what is `kept`."""
        tried = [one for one in texts if one != text][:TRIED]
        place = self.parser.vector(text) if core(text).strip(" ,，") else None
        for one in tried:
            score = float(self.parser.vector(one) @ place) if place is not None else 1.0
            if score >= NEAR[kind] and kept(self.parser.parse(one)):
                yield Suggestion(kind, one, round(score, 4), (lost or {}).get(one, ()))

    # --- The backbone -------------------------------------------------------------------------------------------------

    @one_thread()
    @torch.inference_mode()
    def likelihoods(self, texts: Sequence[str]) -> list[float]:
        """Mean log-probability of a token of each text, by the language backbone."""
        embedder = self.parser.embedder
        ids, mask = encode_texts(embedder.tokenizer, texts)
        length = int(mask.sum(1).max()) if len(texts) else 0
        ids, mask = ids[:, :length], mask[:, :length]
        logits = embedder.language(ids, attention_mask=mask).logits[:, :-1].float()
        found = logits.log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
        return [float(v) for v in (found * mask[:, 1:]).sum(1) / mask[:, 1:].sum(1)]

    @one_thread()
    @torch.inference_mode()
    def _next(self, text: str) -> Tensor:
        """(V,) logits of the token that follows a text."""
        ids, mask = encode_texts(self.parser.embedder.tokenizer, [text])
        length = min(int(mask.sum()) - 1, ids.shape[1])  # without <eos>
        return self.parser.embedder.language(ids[:, :length], logits_to_keep=1).logits[0, -1].float()

    def _by_likelihood(self, texts: Sequence[str]) -> list[str]:
        ranked = sorted(zip(self.likelihoods(texts), texts, strict=True), reverse=True) if texts else []
        return [text for _, text in ranked]

    # --- Words --------------------------------------------------------------------------------------------------------

    @cache  # noqa: B019  (there is one for the life of a backend)
    def _words(self, language: Language) -> tuple[str, ...]:
        """What a word may be completed to: names, what people call things, colours, moods."""
        lexicon = LEXICONS[language]
        names = [name for one in self._drawable for name in one.names.get(language, ())]
        called = [said for row in lexicon.rows["aliases"].values() for said in row.split(", ")]
        moods = [word for words in lexicon.moods.values() for word in words]
        return tuple(dict.fromkeys(word.lower() for word in (*names, *called, *lexicon.colours.values(), *moods)))

    @cache  # noqa: B019
    def _worn(self, language: Language) -> tuple[str, ...]:
        worn = [one for one in self._drawable if one.is_object and one.worn_at]
        return tuple(name for one in worn if (name := one.names.get(language, ("",))[0]))

    @cached_property
    def _animals(self) -> frozenset[str]:
        return frozenset(name for one in self._drawable if one.group == ANIMALS for name in one.names.get("zh", ()))

    @cached_property
    def _drawable(self) -> list[Concept]:
        """Concepts of Unicode's groups: icons outside them have names that nobody says."""
        return [one for one in self.parser.linker.concepts if one.group not in ("", "flags", "symbols")]


def _distinct(found: Iterable[Suggestion], text: str) -> Iterator[Suggestion]:
    seen = {text.casefold()}
    for one in found:
        if one.text.casefold() not in seen:
            seen.add(one.text.casefold())
            yield one


def _unlike(texts: Iterable[str]) -> list[str]:
    """The texts, those that begin or end otherwise than the ones before them first."""
    firsts, seconds, ends = list[str](), list[str](), set[str]()
    for text in texts:
        end = text[-6:]
        (seconds if end in ends else firsts).append(text)
        ends.add(end)
    return [*firsts, *seconds]


def _said_of(phrase: str, word: str) -> str:
    """A phrase for a thing with one more word said of it, behind its number."""
    if language_of(phrase) == "en":
        return with_expression(word, re.sub(r"^(?:an?|the) ", "", phrase))
    number = re.match(LEXICONS["zh"].expand("{measured}"), phrase)
    end = number.end() if number else 0
    return phrase[:end] + with_expression(word, phrase[end:])


def _before_clauses(text: str, said: str) -> str:
    """A text with something said before its first comma."""
    found = re.search(r"[,，]", text)
    return text + said if found is None else text[: found.start()] + said + text[found.start() :]


def _in_place(text: str, word: str, name: str) -> str:
    """A text with a name for a word, and the article that goes with it."""
    if language_of(word) == "zh":
        return text.replace(word, name, 1)
    said = re.compile(rf"\b(an? )?{re.escape(word)}\b", re.IGNORECASE)
    return said.sub(lambda found: article(name) if found[1] else name, text, count=1)


@cache
def _drawn_styles() -> tuple[str, ...]:
    return tuple(name for name, style in STYLES.items() if style.finish is not Finish.INK)


@cache
def _grounds(language: Language) -> tuple[str, ...]:
    """Plain backgrounds, as captions say them."""
    template, colours = TEMPLATES[language]["backgrounds"]["plain"][0], list(PAINTS)
    return tuple(template.format(COLOURS[one].zh if language == "zh" else one, a=article(one)) for one in colours)


@cache
def _openers() -> frozenset[str]:
    """English words that a thing must follow."""
    english = LEXICONS["en"]
    adjectives = *english.table("manners"), *english.expressions
    joints = ("and", "with", "on", "in", "of", "under", "over", "above", "below")
    return frozenset([*english.table("verbs"), *adjectives, *joints])


def _verb_words(verb: str, language: Language | None = None) -> list[str]:
    found = [LEXICONS[one].rows["tables"]["verbs"][verb].split("|") for one in ([language] if language else LEXICONS)]
    return [word for words in found for word in words]
