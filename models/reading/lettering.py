"""Words that are to be written in the picture: a cat saying "hello", a sign that says OPEN, 写着“加油”的杯子.

They are letters, which no generator of this size draws; a font does (`models.lettering`). What has room for them has
them written on it, anybody else says them in a speech balloon (`models.reading.layout`).
"""

import re
from dataclasses import dataclass

from models.weighting import QUOTED

LONGEST = 40  # characters that are legible in a picture
_QUOTED = r"""["“”](?P<{0}>[^"“”]+)["“”]|[「『](?P<{0}_zh>[^」』]+)[」』]|(?<!\w)'(?P<{0}_one>[^']+)'(?!\w)"""
_WRITING = r"(?:text|words?|message|caption|letters?|lettering|inscription|slogan|writing)"
_SAYS = rf"(?:(?:that |which |who )?(?:says?|saying)|with (?:the |an? )?{_WRITING})"
_SHOWS = r"(?:(?:that |which )?reads?|reading|labell?ed|captioned|shouting|yelling|whispering|singing|asking)"
_AFTER = r"(?= in (?:the )?[\w ]+ style\b| on (?:an? )?[\w ]*background\b|[,，。]|$)"
_PLAIN = rf"(?P<plain>[^\s,，。\"“”'][^,，。\"“”]{{0,{LONGEST}}}?){_AFTER}"  # bounded: each letter looks ahead
_IN_BALLOON = r"(?:\s+(?:with|in|and) an? (?:speech|text|chat|thought) (?:bubble|balloon))?"
_ENGLISH = re.compile(
    rf"{_IN_BALLOON}\s*,?\s+(?:{_SAYS}|{_SHOWS})[\s:：]+(?:{_QUOTED.format('quoted')})"
    rf"|{_IN_BALLOON}\s+{_SAYS}(?: of)?[\s:：]+(?!(?:that|in|on|hi to|hello to|no to)\b){_PLAIN}",
    re.IGNORECASE,
)
_MARK = "[:：]?[\"“「『‘']?"
_END = "[\"”」』’']?"
_WORDS = "(?P<words>[^\"”」』’'，,。%s]+)"
_WRITTEN = '(?:上面?)?(?:写着|写有|写了|印着(?=["“「『])|印有(?=["“「『]))'
_SPOKEN = "(?<![小传听据解述会能])(?:正在|在)?[说喊](?:着|出|道)?(?![明话唱服法谎书])"
_CHINESE_FIRST = re.compile(rf"(?:{_WRITTEN}|{_SPOKEN}){_MARK}{_WORDS % '的'}{_END}字?样?的(?=[^，,。])")
_CHINESE_LAST = re.compile(rf"(?<=.)(?:{_WRITTEN}|{_SPOKEN}){_MARK}{_WORDS % ''}{_END}")


@dataclass(frozen=True)
class Written:
    """What is to be written, the prompt without it, and that part of the prompt as it stands there."""

    words: str
    rest: str
    said: str


def written(prompt: str) -> Written | None:
    """The words that a prompt asks to be written or said; None where it asks for none, or for more than can be read."""
    match = _ENGLISH.search(prompt) or _CHINESE_FIRST.search(prompt) or _CHINESE_LAST.search(prompt)
    words = next(filter(None, match.groupdict().values()), "").strip() if match else ""
    if match is None or not words or len(words) > LONGEST or QUOTED.fullmatch(prompt):
        return None
    rest = " ".join((prompt[: match.start()] + prompt[match.end() :]).split())
    return Written(words, rest, match[0]) if rest.strip(" ,，。") else None


def without_words(prompt: str) -> str:
    """The prompt without what is only to be written."""
    found = written(prompt)
    return found.rest if found else prompt
