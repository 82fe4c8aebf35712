"""From an icon's file name to what it shows: concept, English and Chinese name, keywords, skin tone, gender.

Names and keywords are Unicode CLDR's, through `emojibase-data`. The *concept* is the base one: skin tone and gender
are taken off, so that they can neither leak between splits nor eat the sampling.
"""

import functools
import json
import re
import tarfile
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.data.packages import read_member

TONES = ("light", "medium-light", "medium", "medium-dark", "dark")
_TONE = re.compile(r"-(medium-light|medium-dark|light|medium|dark)-skin-tone")
_SHORT_TONE = re.compile(r"-(medium-light|medium-dark|light|medium|dark)$")  # fluent leaves "-skin-tone" out
_COUPLES = ("couple-with-heart", "kiss", "family", "people-holding-hands", "men-holding-hands", "women-holding-hands")
_TONE_POINTS = {f"{0x1F3FB + i:X}": tone for i, tone in enumerate(TONES)}
_GENDER = re.compile(r"^(man|woman|men|women)\b")
_NEUTRAL = {"man": "person", "woman": "person", "men": "people", "women": "people"}


@dataclass(frozen=True)
class Meaning:
    """What one icon shows. `names` and `keywords` are by language; `skin` and `gender` are None where not drawn."""

    concept: str
    names: dict[str, str]
    keywords: dict[str, tuple[str, ...]]
    group: str = ""
    skin: str | None = None
    gender: str | None = None


def slug(text: str) -> str:
    """Lower-case words joined by dashes, as iconify names its icons: "man: red hair" -> "man-red-hair"."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower().replace("’", "").replace("'", "")).strip("-")


def squeeze(name: str) -> str:
    """A slug without its dashes; fxemoji spells names so."""
    return slug(name).replace("-", "")


def hexcode(points: str) -> tuple[str, str | None]:
    """Code points "1F44B-1F3FB-FE0F" -> (key without variation selector and tone, tone)."""
    parts = [p.upper().zfill(4) for p in re.split(r"[-_ ]", points)]
    tones = [_TONE_POINTS[p] for p in parts if p in _TONE_POINTS]
    kept = [p for p in parts if p not in _TONE_POINTS and p != "FE0F"]
    return "-".join(kept or parts), tones[0] if tones and kept else None


class Emojibase:
    """The names of all emoji in two languages, looked up by code points or by an icon's name."""

    def __init__(
        self,
        english: list[dict[str, Any]],
        chinese: list[dict[str, Any]],
        groups: dict[str, str],
        shortcodes: list[dict[str, Any]] = [],  # noqa: B006 - never changed
    ) -> None:
        self._english = {hexcode(entry["hexcode"])[0]: entry for entry in english}
        self._chinese = {hexcode(entry["hexcode"])[0]: entry for entry in chinese}
        self._groups = groups
        self._labels = {entry["label"] for entry in english}
        self._by_slug: dict[str, str] = {}
        for key, entry in self._english.items():
            self._add_names(key, entry)
        for table in shortcodes:
            listed = {points: [codes] if isinstance(codes, str) else codes for points, codes in table.items()}
            self.learn((points, code) for points, codes in listed.items() for code in codes)

    @classmethod
    def read(cls, archive: Path) -> "Emojibase":
        with tarfile.open(archive) as tar:
            english, chinese = (json.loads(read_member(tar, f"{code}/data.json")) for code in ("en", "zh"))
            groups = json.loads(read_member(tar, "meta/groups.json"))["groups"]
            names = ("emojibase", "joypixels", "github", "iamcal")
            shortcodes = [json.loads(read_member(tar, f"en/shortcodes/{name}.json")) for name in names]
        return cls(english, chinese, groups, shortcodes)

    def _add_names(self, key: str, entry: dict[str, Any]) -> None:
        """A name given earlier wins: CLDR labels come before Unicode's older character names."""
        old = unicodedata.name(entry["emoji"][0], "") if len(key.split("-")) == 1 else ""
        for name in (entry["label"], old, old.removesuffix(" face"), f"{entry['label']} face"):
            if name:
                self._by_slug.setdefault(slug(name), key)
                self._by_slug.setdefault(squeeze(name), key)

    def learn(self, names: Iterable[tuple[str, str]]) -> None:
        """Take an icon set's own table, (code points, icon name), as further spellings."""
        for points, name in names:
            key, tone = hexcode(points)
            if tone is None and key in self._english:
                self._by_slug.setdefault(slug(name), key)
                self._by_slug.setdefault(squeeze(name), key)

    def by_points(self, points: str) -> Meaning | None:
        """Meaning of a code point sequence, None where emojibase does not know it."""
        key, tone = hexcode(points)
        return self._meaning(key, tone) if key in self._english else None

    def by_name(self, name: str) -> Meaning:
        """Meaning of an icon's name; an unknown one becomes a concept of its own, named by its words."""
        match, base = _TONE.search(name), _TONE.sub("", name)
        if match is None and (short := _SHORT_TONE.search(name)) and self._find(name[: short.start()]):
            match, base = short, name[: short.start()]
        tone = match.group(1) if match else None
        if key := self._find(base) or self._find(re.sub(r"-\d+$", "", base)):
            return self._meaning(key, tone)
        words = base.replace("-", " ") if "-" in base else self._cut(base)
        return Meaning(slug(words), {"en": words}, {"en": ()}, "", tone, _gender(words))

    def _find(self, base: str) -> str | None:
        couple = next((name for name in _COUPLES if base.startswith(f"{name}-")), "")
        flag = f"flag-{base.removeprefix('flag-for-')}"
        spellings = (base, squeeze(base), base.removesuffix("-face"), f"{base}-face", flag, couple)
        return next((self._by_slug[spelling] for spelling in spellings if spelling in self._by_slug), None)

    def _meaning(self, key: str, tone: str | None) -> Meaning:
        entry, chinese = self._english[key], self._chinese.get(key, {})
        names = {"en": plain_english(entry["label"])}
        keywords = {"en": tuple(entry.get("tags", ()))}
        if chinese:
            names["zh"] = plain_chinese(chinese["label"])
            keywords["zh"] = tuple(chinese.get("tags", ()))
        group = self._groups.get(str(entry.get("group")), "")
        return Meaning(slug(self._base(entry["label"])), names, keywords, group, tone, _gender(entry["label"]))

    def _base(self, label: str) -> str:
        """The label without gender: "woman cook" -> "cook", "man: beard" -> "person: beard", families -> "family"."""
        head = label.split(":")[0]
        if head in ("family", "kiss", "couple with heart"):
            return head
        match = _GENDER.match(label)
        if not match:
            return label
        rest = label[match.end() :].lstrip()
        for neutral in (_NEUTRAL[match.group(1)] + label[match.end() :], rest):
            if neutral in self._labels:
                return neutral
        return label

    @functools.cached_property
    def _vocabulary(self) -> frozenset[str]:
        texts = (" ".join((entry["label"], *entry.get("tags", ()))) for entry in self._english.values())
        words = re.findall(r"[a-z]+", " ".join(texts).lower())
        return frozenset(word for word in words if len(word) > 2) | {"of", "up", "on", "in", "no", "ok"}

    def _cut(self, text: str) -> str:
        """A name that is written together, cut into the fewest words emojibase uses; as it is where it can't be."""
        best: list[tuple[int, str]] = [(0, "")]  # best[i]: fewest words that spell text[:i], letters left over cost 10
        for end in range(1, len(text) + 1):
            options = [(best[end - 1][0] + 10, best[end - 1][1] + text[end - 1])]
            options += [
                (best[start][0] + 1, f"{best[start][1]} {text[start:end]}")
                for start in range(max(0, end - 16), end)
                if text[start:end] in self._vocabulary
            ]
            best.append(min(options))
        cost, words = best[-1]
        return words.strip() if cost < 10 else text


def _gender(label: str) -> str | None:
    words = set(re.findall(r"[a-z]+", label.lower()))
    if words & {"woman", "women", "girl", "female"}:
        return None if words & {"man", "men", "boy"} else "woman"
    return "man" if words & {"man", "men", "boy", "male"} else None


def plain_english(label: str) -> str:
    """CLDR's structured label as people say it: "man: red hair" -> "man with red hair"."""
    head, _, tail = label.replace("’", "'").partition(": ")
    if not tail:
        return label
    if head == "flag":
        return f"flag of {tail}"
    if head in ("keycap", "family", "kiss", "couple with heart"):
        return f"{head} {tail.replace(',', '')}".strip()
    if tail == "bald":
        return f"bald {head}"
    return f"{head} {tail}" if tail.startswith("facing") else f"{head} with {tail}"


def plain_chinese(label: str) -> str:
    """The same for Chinese: "旗: 日本" -> "日本旗", "男人: 红发" -> "红发男人"."""
    head, _, tail = label.replace("：", ": ").replace(":  ", ": ").partition(": ")
    return f"{tail}{head}" if tail else label
