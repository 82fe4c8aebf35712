"""A prompt in words that the models were taught: "a burger, twemoji style" is a hamburger in the twemoji style.

The generator has read some thirty captions of a thing. Of "hamburger" it draws one, of "a burger" a brown bear: so what
a prompt names is found (`models.reading.naming`), and where the prompt says it otherwise than captions do, or says more
than they do, it is read as the caption that comes nearest. Where it says what captions say, weighs words, or stands in
quotation marks, it is left alone.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from models.data.captions import caption, colour_words
from models.data.colours import COLOURS
from models.data.combinations import MAX_COUNT, THINGS
from models.data.grammar import MEASURES_ZH, NUMBERS, Language, article, as_said, language_of, plural
from models.data.styles import STYLES, styled
from models.data.world import Picture, World
from models.reading.amounts import without_parts
from models.reading.chinese import ground_last
from models.reading.feelings import feelings, with_feeling
from models.reading.genders import gender_said
from models.reading.naming import PEOPLE, Known, Naming, Part
from models.reading.paints import painted
from models.reading.phrasing import in_order, left_of, words_of
from models.skin import of_people, tone_said, tones_said, with_tone, without_tone
from models.space import Embedder
from models.weighting import QUOTED, plain, segments
from models.weights import part_folder, record_part

PART = "wording"
READ = 8  # pictures of a thing, and captions of each, that are read for what captions say
REMEMBERED = 1024  # prompts
COMMON = 0.02  # share of the things of a group whose captions hold a word that is said of all of them
_FELT = {"smileys-emotion"}  # things that captions call by their feelings too: "a sleepy face"
_SMALL = re.compile(r"\b(?:small|tiny)\b|小小?的|[很微]小", re.IGNORECASE)  # 小猫 is a kitten of any size
_ON_GROUND = re.compile(
    r"\b(?:on|with|against) (?:an? )?(?:(?!(?:on|with|against)\b)[\w-]+ ){0,4}"
    r"(?:background|gradient from [\w ]+)\b",
    re.IGNORECASE,
)
_GROUND = re.compile(r"[^,，。]*(?:background|背景(?!的))[^,，。]*", re.IGNORECASE)
NEGATED = re.compile(r"\b(?:no|not|without|never)\b(?! background)|没有|不是|不要|没戴", re.IGNORECASE)
_NO_GROUND = re.compile(r"\b(?:on )?(?:an? )?(?:transparent|no) background\b|(?:透明|无)背景|背景透明", re.IGNORECASE)
_SECOND = re.compile(rf"(?<!第)二(?=[{MEASURES_ZH}])")  # as some people count
BLACK_AND_WHITE = "black and white"
_BOTH_ZH = re.compile("黑白(?![红黄蓝绿橙紫粉棕灰色])")
_IN_COLOUR = re.compile(rf"\b(?:in|wearing) (?:{'|'.join(COLOURS)})\b", re.IGNORECASE)  # of people: their clothes
# Who is named after it is somebody else.
_COMPANY = re.compile(r"\b(?:with|holding|feeding|hugging|carrying) (?=an? |the |his |her |two )|给|抱")
_SOLID = re.compile(r"3\s*d", re.IGNORECASE)  # is no number of things


@dataclass(frozen=True)
class Thing:
    """What one drawing is to show.

    Attributes:
        number: in `naming.known`.
        paint: a colour, BLACK_AND_WHITE or a skin tone, "" for its own.
        gender: "woman" or "man", "" for nobody's in particular.
    """

    number: int
    paint: str = ""
    gender: str = ""


class Wording:
    """What turns prompts into words that were taught.

    Args:
        embedder: the space that the vectors of names were made in.
        naming: what a prompt names.
        common: by group, words that captions of many of its things hold: "smiling" of faces, "woman" of people.
    """

    def __init__(self, embedder: Embedder, naming: Naming, common: dict[str, frozenset[str]]) -> None:
        self.embedder, self.naming, self.common = embedder, naming, common
        self.read = lru_cache(REMEMBERED)(self._read)  # asked for at every batch, and once more for the file
        self._embed = lru_cache(REMEMBERED)(lambda text: embedder.text([text])[0])
        self.parts = lru_cache(REMEMBERED)(lambda text: naming.parts(text, self._embed))  # for what is read, and drawn

    def _read(self, prompt: str) -> str:
        """What is read of a prompt: what it says, without quotation marks around all of it, or what was taught."""
        if quoted := QUOTED.fullmatch(prompt):
            return next(text for text in quoted.groups() if text is not None)
        return self.taught(prompt) if self.is_free(prompt) else prompt

    @staticmethod
    def is_free(prompt: str) -> bool:
        """Whether it may be read in other words."""
        return bool(prompt.strip()) and plain(prompt) == prompt and not QUOTED.fullmatch(prompt)

    def named(self, text: str) -> list[int]:
        """Numbers (in `naming.known`) of the things that `text` names, in order."""
        return [part.number for part in self.parts(text)]

    def taught(self, text: str) -> str:
        """`text` as captions would say it."""
        if (told := without_parts(painted(of_people(text.lower())))) != text.lower():
            text = told
        parts = self.parts(without_tone(text))
        new = [part for part in parts if self._is_new(part)]
        if not new or (len(parts) == 1 and self.naming.same(text, self._embed)):
            return text
        language = language_of(text)
        if len(parts) == 1:
            style = style_said(text)
            said = self._phrase(parts[0], language, alone=True) + with_tone(text) + ground_of(text)
            return styled(said, style, language == "zh") if style else said
        said, space = in_order(text), "" if language == "zh" else " "
        at = 0
        for part in new:
            if match := re.compile(rf"(?<![a-z]){re.escape(part.text.strip())}(?![a-z])").search(said, at):
                phrase = f"{space}{self._with_feeling(part, self._phrase(part, language))}{space}"
                said, at = said[: match.start()] + phrase + said[match.end() :], match.start() + len(phrase)
        return as_said(re.sub(r" (?=[,.;])", "", " ".join(said.split())), text)

    def _with_feeling(self, part: Part, phrase: str) -> str:
        """How several things feel is drawn on each (`models.reading.layout`), though no caption says it of things."""
        known = self.naming.known[part.number]
        felt = feelings(part.beside) if self.naming.stands(part.number) and not known.is_face else []
        return with_feeling(felt[-1], phrase) if felt else phrase

    def _is_new(self, part: Part) -> bool:
        """Whether captions of the thing would not have said it so."""
        known = self.naming.known[part.number]
        strange = set(left_of(part.text, part.name)) - known.words - self.common.get(known.group, frozenset())
        return bool(strange) or (not self._is_own(part) and (known.group not in _FELT or bool(part.name)))

    def _is_own(self, part: Part) -> bool:
        """Whether what stands there is a name of the thing by which captions know it."""
        names = self.naming.known[part.number].names.values()
        return part.name in {name.lower() for of_language in names for name in of_language}

    def alone(self, part: Part, prompt: str) -> str:
        """How one thing of what `part` names is asked for, in the style of the prompt that it is a part of."""
        language, style = language_of(prompt), style_said(prompt)
        said = self._phrase(part, language, alone=True, one=True) + with_tone(part.beside)
        return styled(said, style, language == "zh") if style else said

    def is_small(self, part: Part) -> bool:
        """Whether the thing is to be small in the picture."""
        return bool(_SMALL.search(part.beside))

    def _phrase(self, part: Part, language: Language, alone: bool = False, one: bool = False) -> str:
        names = self.naming.known[part.number].names
        called = names.get(language) or names["en"]
        name = _gendered(part.name if self._is_own(part) else called[0], called, part.text)
        colours = _colours(part.beside, language)
        for own in _colours(name, language)[: len(colours)]:  # "a blue apple" is no red one
            name = name.replace(_word(own, language), "", 1).strip()
        colour = colour_words(colours, language) if colours else ""
        count = 1 if one else how_many(part)
        if language == "zh":
            number = f"{NUMBERS['zh'][count]}个" if count > 1 else ""
            return number + (f"{colour}的{name}" if colour else name)
        noun = f"{colour} {name}".strip()
        if count > 1:
            return f"{NUMBERS['en'][count]} {plural(noun)}"
        return noun if alone and not colour else article(noun)

    def thing(self, prompt: str) -> Thing | None:
        """The one thing that a prompt asks for, as large as the picture and on no ground; None where it asks for
        something else, or stands in quotation marks. Weights say how much a word is to be heard, and not that nothing
        is meant by it, unless they are 0."""
        prompt = "".join(run.text for run in segments(prompt) if run.weight)
        if not self.is_free(prompt):
            return None
        parts = self.parts(without_tone(prompt))
        language = language_of(prompt)
        grounded = bool(_NO_GROUND.sub("", ground_of(prompt)).strip(" ,，"))
        several = len(parts) != 1 or len(tones_said(prompt)) > 1
        if several or grounded or self.is_small(parts[0]) or how_many(parts[0]) > 1:
            return None
        dressed = self.naming.known[parts[0].number].group == PEOPLE and _IN_COLOUR.search(painted(prompt.lower()))
        paint = tone_said(prompt) or ("" if dressed else _paint(parts[0].beside, language))
        return Thing(parts[0].number, paint, gender_said(_COMPANY.split(prompt)[0]))

    @classmethod
    def build(cls, embedder: Embedder, world: World) -> "Wording":
        """From the training pictures' names and keywords."""
        by_concept = things(world)
        known = [_known(pictures) for pictures in by_concept.values()]
        names = [name for one in known for of_language in one.names.values() for name in of_language]
        places = torch.cat([embedder.text(names[i : i + 64]) for i in range(0, len(names), 64)])
        return cls(embedder, Naming(known, places), _common(by_concept))

    def save(self, root: Path, space: str = "") -> Path:
        """Write `root/wording` and enter it in the manifest; `space` is the digest of the parts it is of."""
        folder = root / PART
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"places": self.naming.places.to(torch.float16)}, folder / "wording.safetensors")
        listed = {
            "space": space,
            "known": [asdict(one) for one in self.naming.known],
            "common": {group: sorted(words) for group, words in self.common.items()},
        }
        text = json.dumps(listed, ensure_ascii=False)
        (folder / "wording.json").write_text(text, encoding="utf-8")
        record_part(PART, root)
        return folder

    @classmethod
    def load(cls, embedder: Embedder, root: Path | None = None) -> "Wording":
        """What ships, or lies under `root`; WeightsError where it is missing or altered."""
        folder = part_folder(PART, root)
        listed = json.loads((folder / "wording.json").read_text(encoding="utf-8"))
        known = [
            Known(
                {language: tuple(names) for language, names in row["names"].items()},
                tuple(row["keywords"]),
                row["group"],
                row["thing"],
            )
            for row in listed["known"]
        ]
        places = load_file(folder / "wording.safetensors")["places"].float()
        return cls(
            embedder, Naming(known, places), {group: frozenset(words) for group, words in listed["common"].items()}
        )

    @staticmethod
    def space_of(root: Path) -> str:
        """The digest of the space that the part under `root` is of, as `save` was told; "" without one."""
        path = root / PART / "wording.json"
        return str(json.loads(path.read_text(encoding="utf-8"))["space"]) if path.is_file() else ""


def _gendered(name: str, names: Sequence[str], text: str) -> str:
    """Of a thing's names the one that says what a text says of a person: a woman doctor is a woman health worker."""
    gender = gender_said(text)
    return next((one for one in names if gender and gender_said(one) == gender), name)


def things(world: World) -> dict[str, list[Picture]]:
    """The training pictures by concept, in the order of the numbers of things."""
    by_concept: dict[str, list[Picture]] = defaultdict(list)
    for picture in world.split("train"):
        if picture.group != "component":
            by_concept[picture.concept].append(picture)
    return dict(sorted(by_concept.items()))


def _known(pictures: Sequence[Picture]) -> Known:
    """Names that are one Latin letter or digit name nothing."""
    names: dict[str, dict[str, None]] = defaultdict(dict)
    for picture in sorted(pictures, key=lambda picture: bool(picture.skin) + bool(picture.gender)):
        for language, name in picture.names.items():
            if len(name) > 1 or not name.isascii():
                names[language][name] = None
    keywords = {word: None for p in pictures for words in p.keywords.values() for word in words if len(word) > 1}
    found = {language: tuple(of_language) for language, of_language in names.items()}
    group = pictures[0].group
    return Known(found or {"en": (pictures[0].concept,)}, tuple(keywords), group, group in THINGS)


def _common(by_concept: Mapping[str, Sequence[Picture]]) -> dict[str, frozenset[str]]:
    """By group, the words in captions of COMMON of its things."""
    holds: dict[str, Counter[str]] = defaultdict(Counter)
    sizes = Counter(pictures[0].group for pictures in by_concept.values())
    for pictures in by_concept.values():
        captions = (caption(picture, seed) for picture in pictures[:READ] for seed in range(READ))
        holds[pictures[0].group].update({word for text in captions for word in words_of(text)})
    return {
        group: frozenset(word for word, count in words.items() if count >= max(2, COMMON * sizes[group]))
        for group, words in holds.items()
    }


def _colours(text: str, language: str) -> tuple[str, ...]:
    """The colours that `text` names, in order; light blue is one."""
    named = {_word(name, language): name for name in COLOURS}
    text = _BOTH_ZH.sub("黑色白色", text)
    edge = "" if language == "zh" else r"\b"
    expression = f"{edge}(?:{'|'.join(named)}){edge}"
    return tuple(dict.fromkeys(named[word] for word in re.findall(expression, text)))


def _word(colour: str, language: str) -> str:
    return COLOURS[colour].zh if language == "zh" else colour


def _paint(text: str, language: str) -> str:
    """The colour that is asked for, if it is one and things can be painted in it; black and white are one."""
    colours = _colours(text, language)
    if set(colours) == {"black", "white"} and (BLACK_AND_WHITE in text or language == "zh"):
        return BLACK_AND_WHITE
    return colours[0] if len(colours) == 1 and COLOURS[colours[0]].paint else ""


def count_of(text: str, language: str) -> int:
    """How many `text` asks for; 1 where it does not say."""
    text = _SECOND.sub("两", _SOLID.sub("", text)) if language == "zh" else text
    words = set(re.findall(r"\d+|\D", text) if language == "zh" else text.split())
    return max((n for n in range(2, MAX_COUNT + 1) if {NUMBERS[language][n], str(n)} & words), default=1)


def how_many(part: Part) -> int:
    """How many of its thing a part asks for; two hearts are one by name."""
    return count_of(part.beside, language_of(part.text))


def ground_of(text: str) -> str:
    """The background as it is asked for, to be added."""
    text = ground_last(text)
    found = _ON_GROUND.search(text) or _GROUND.search(text)
    return ("，" if found and language_of(found[0]) == "zh" else ", ") + found[0].strip() if found else ""


def on_no_ground(text: str) -> str:
    """`text` without the words that ask for no background, which no sticker has."""
    return _NO_GROUND.sub("", text).strip(" ,，")


def plainly(prompt: str) -> str:
    """A prompt in small letters and the colours that are taught, without words that ask for no background."""
    return on_no_ground(without_parts(painted(prompt.lower())))


def without_ground(text: str) -> str:
    """`text` without what it says of its background."""
    text = ground_last(text)
    return (_ON_GROUND if _ON_GROUND.search(text) else _GROUND).sub("", text).strip(" ,，")


def style_said(text: str) -> str:
    """The style that is asked for; "" for none."""
    words = ((word, name) for name, style in STYLES.items() for word in style.en + style.zh)
    return max(((len(word), name) for word, name in words if _stands(word, text)), default=(0, ""))[1]


def _stands(word: str, text: str) -> bool:
    """Whether a word stands in the text: a blobfish is in no blob style."""
    return bool(re.search(rf"(?<![a-z\d]){re.escape(word)}(?![a-z\d])", text, re.IGNORECASE))
