"""Skin tones: which one a prompt names. `models.references.paint` paints them."""

import re

from models.data.captions import SKIN_EN, SKIN_ZH
from models.data.grammar import language_of

_EN = re.compile(
    r"[,:]?\s*\b(?:with (?:an? )?)?(medium[- ]light|medium[- ]dark|light|medium|dark)[ -]skin(?:ned|[ -]tone)?\b",
    re.IGNORECASE,
)
_ZH = re.compile(r"[，、：]?(中浅|中深|中等|浅|深|白|黑)色?(?:肤色|皮肤)(?:的)?")
_SAID_ZH = {
    "浅": "light",
    "白": "light",
    "中浅": "medium-light",
    "中等": "medium",
    "中深": "medium-dark",
    "深": "dark",
    "黑": "dark",
}
# Of people black, white and brown are tones, and of nothing else: a baby elephant, a chef's hat, a lady beetle.
_SOMEBODY = (
    r"(?:wom[ae]n|m[ae]n|girls?|boys?|lad(?:y|ies)|guys?|persons?|people|bab(?:y|ies)|kids?|child(?:ren)?|doctors?"
    r"|nurses?|teachers?|scientists?|firefighters?|cooks?|chefs?|students?|singers?|judges?|farmers?|pilots?"
    r"|astronauts?|officers?|artists?|workers?|vampires?|zombies?|superheroe?s?|elf|elves|fair(?:y|ies))"
)
_LIKE = r"(?:(?:old|older|young|little|tall|female|male|pregnant|happy|smiling|business|police) )"
_ENDS = r"(?=$|[,.;:!?]| &| (?:with|in|on|at|by|from|and|or|who|is|has|[a-z]+ing)\b)"
_COLOURED = re.compile(
    rf"(?<!and )(?<!& )\b(black|white|brown)(?= {_LIKE}*{_SOMEBODY}(?: {_SOMEBODY})*{_ENDS})", re.IGNORECASE
)
_COLOURED_ZH = re.compile(
    "(?<![雪明漂黑苍斑])(?:([黑白])人(?=[女男小孩妇医护老厨警消科学歌音])"
    "|([黑白])(?=人(?:$|[，,。的和与跟在戴穿拿抱骑吃喝看弹打踢跑跳])))"
)
_AS_SKIN = {"black": "dark-skinned", "brown": "medium-dark-skinned", "white": "light-skinned"}
_AS_SKIN_ZH = {"黑": "深肤色的", "白": "浅肤色的"}


def of_people(text: str) -> str:
    """`text` with the colours of people said as skin tones: a black woman is a dark-skinned woman."""
    told = _COLOURED.sub(lambda match: _AS_SKIN[match[1].lower()], text)
    return _COLOURED_ZH.sub(lambda match: _AS_SKIN_ZH[match[1] or match[2]], told)


def tones_said(text: str) -> list[str]:
    """The skin tones that a text names, of TONES, each once."""
    text = of_people(text)
    english = [found[1].lower().replace(" ", "-") for found in _EN.finditer(text)]
    return list(dict.fromkeys([*english, *(_SAID_ZH[found[1]] for found in _ZH.finditer(text))]))


def tone_said(text: str) -> str:
    """The first of them; "" where there is none."""
    return next(iter(tones_said(text)), "")


def without_tone(text: str) -> str:
    """What `text` says besides."""
    return _ZH.sub("", _EN.sub("", of_people(text))).strip()


def with_tone(text: str) -> str:
    """What captions say after a name of the skin tone that `text` names; "" where it names none."""
    tone = tone_said(text)
    if not tone:
        return ""
    return f"，{SKIN_ZH[tone]}" if language_of(text) == "zh" else f", {SKIN_EN[0].format(tone)}"
