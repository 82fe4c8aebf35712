"""Skin tones: which one a prompt names, and a drawing of yellow people in it.

Sets draw each gesture and person six times: in the yellow of emoji, and in the five tones of Unicode's modifiers (UTS
51, 2.4). The yellow one is what others are drawn from (`models.prototypes`), so it is painted where a tone is named.
"""

import re

import numpy as np

from models.data.captions import SKIN_EN, SKIN_ZH
from models.data.colours import oklab, srgb
from models.data.grammar import language_of

# As the noto and blob sets have them: medians of their hands, sRGB; other sets' lie within 0.1 of OKLab's lightness.
TONES = {
    "light": (0xFA, 0xDC, 0xBC),
    "medium-light": (0xE0, 0xBB, 0x95),
    "medium": (0xBF, 0x8F, 0x68),
    "medium-dark": (0x9B, 0x64, 0x3C),
    "dark": (0x70, 0x53, 0x4A),
}
# Of who has golden hair, with skin of that tone; with lighter skin it stays.
HAIR = {"medium": (0x6B, 0x42, 0x2C), "medium-dark": (0x44, 0x2B, 0x22), "dark": (0x2B, 0x20, 0x1E)}
GOLD = 56  # degrees of hue from which hair is golden, up to the skin
WIDE = 4  # degrees of hue, a bar of the histogram that tells them apart
APART, SHARE = 9, 0.15  # degrees between hair and skin, and of both together the share of each, at least
VALLEY = 0.4  # of the lower of their bars, at most, the one between them
YELLOW = (68, 100)  # degrees of hue: sets' skin lies from 76 to 94
CHROMA, LIGHTNESS = 0.1, 0.6  # at least: 0.14 and 0.82 in all sets
ALIKE = 22  # degrees of hue within which shades of one skin lie; hair is further
LEAST = 0.02  # share of what is drawn: less than that is no skin
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


def toned(pixels: np.ndarray, tone: str) -> np.ndarray:
    """Premultiplied uint8 (H, W, 4): the same with yellow skin in a tone, its light and shade kept, and golden hair in
    the colour that goes with it."""
    alpha = pixels[..., 3].astype(np.uint16)
    seen = alpha > 0
    straight = np.minimum((pixels[seen][:, :3].astype(np.uint16) * 255) // alpha[seen][:, None], 255).astype(np.uint8)
    lab = oklab(straight)
    chroma, hue = np.hypot(lab[:, 1], lab[:, 2]), np.degrees(np.arctan2(lab[:, 2], lab[:, 1]))
    bright = (chroma > CHROMA) & (lab[:, 0] > LIGHTNESS)
    edge = _hair_below(hue[(hue > GOLD) & (hue < YELLOW[1]) & bright])
    yellow = (hue > max(YELLOW[0], edge)) & (hue < YELLOW[1]) & bright
    if yellow.sum() <= LEAST * len(lab):
        return pixels
    base = np.median(lab[yellow], 0)
    strength, angle = np.hypot(base[1], base[2]), np.degrees(np.arctan2(base[2], base[1]))
    skin = (np.abs(hue - angle) < ALIKE) & (hue > edge) & (chroma > strength / 2) & (lab[:, 0] > LIGHTNESS)
    out, solid = pixels.copy(), pixels[seen]
    for part, colour in ((skin, TONES[tone]), ((hue > GOLD) & (hue <= edge) & bright, HAIR.get(tone))):
        if colour and part.any():
            rgb = _shaded(lab[part], colour)
            solid[part, :3] = (rgb * alpha[seen][part][:, None] + 127) // 255
    out[seen] = solid
    return out


def _shaded(lab: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """sRGB (N, 3) of a colour in the light and shade of what has `lab` (N, 3)."""
    base, target = np.median(lab, 0), oklab(np.array(colour, np.uint8))
    chroma = np.hypot(lab[:, 1], lab[:, 2]) / np.hypot(base[1], base[2])
    return srgb(np.clip(target * np.stack([lab[:, 0] / base[0], chroma, chroma], 1), [0, -1, -1], 1))


def _hair_below(hues: np.ndarray) -> float:
    """Degrees below which golden hair lies, of hair and yellow skin together; 0 where it is all skin.

    Otsu's threshold (1979), which makes the most of the variance between both, where they are APART and little lies
    between them: the shades of one skin are not.
    """
    count, edges = np.histogram(hues, np.arange(GOLD, YELLOW[1] + WIDE, WIDE))
    number, total = count.cumsum(), (count * (edges[:-1] + WIDE / 2)).cumsum()
    below, above = number[:-1], number[-1] - number[:-1]
    between = (total[-1] - total[:-1]) / np.maximum(above, 1) - total[:-1] / np.maximum(below, 1)
    cut = int((below * above * between**2).argmax())
    if between[cut] < APART or min(below[cut], above[cut]) < SHARE * number[-1]:
        return 0.0
    hair, skin = int(count[: cut + 1].argmax()), cut + 1 + int(count[cut + 1 :].argmax())
    valley = hair + int(count[hair : skin + 1].argmin())
    return float(edges[valley] + WIDE / 2) if count[valley] < VALLEY * min(count[hair], count[skin]) else 0.0
