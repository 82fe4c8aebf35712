"""Colours as people say them, in the words that are taught: gray is grey, a golden crown yellow, 白猫 is 白色的猫, and
what is made of ice is blue.

Captions know fourteen colours by name (`models.data.colours`).
"""

import re
from collections.abc import Iterable

from models.data.colours import COLOURS
from models.data.grammar import article


def _by_word(listed: dict[str, str]) -> dict[str, str]:
    return {word: colour for colour, words in listed.items() for word in words.split("|")}


# By the colour that is taught, what else is said for it or for what is close to it.
SHADES = _by_word(
    {
        "red": "crimson|scarlet|maroon|burgundy|ruby red",
        "yellow": "golden|gold",
        "green": "emerald|emerald green|mint green|neon green",
        "teal": "turquoise|cyan|aquamarine|aqua",
        "blue": "navy blue|navy|cobalt|indigo|azure",
        "purple": "violet|lavender|lilac|mauve",
        "pink": "magenta|fuchsia|hot pink|rose gold",
        "brown": "wooden",
        "beige": "ivory",
        "grey": "silvery|silver",
    }
)
SHADES_ZH = _by_word(
    {
        "黄色": "金黄色|金色",
        "灰色": "银灰色|银色",
        "橙色": "橘黄色|橘红色|橘色",
        "粉色": "粉红色|粉红",
        "棕色": "咖啡色",
    }
)
# What is called by such a word has no such colour; and before other words it is a thing itself: gold in a chest.
_CALLED = r"(?<=gold|lver|lden) (?:medal|retriever|gate|week|hour|age|screen|coin|bullet)s?\b"
_CALLED += r"|(?<=nder|olet|ilac) (?:flower|plant|blossom)s?\b|(?<=navy) (?:seal|officer)s?\b"
_JOINED = r"(?:and|or|in|on|with|of|at|by|to|from|for|near|under|beside|behind|over|inside|hair)\b"
# Animals that are known by a colour, which their name may say otherwise: a red panda is brown.
BEASTS = {
    "red panda": "brown panda",
    "snow leopard": "white leopard",
    "arctic fox": "white fox",
    "red fox": "orange fox",
    "grizzly bear": "brown bear",
    "blue jay": "blue bird",
    "bluebird": "blue bird",
}
BEASTS_ZH = {
    "小熊猫": "棕色的熊猫",
    "红熊猫": "棕色的熊猫",
    "雪豹": "白色的豹子",
    "北极狐": "白色的狐狸",
    "红狐狸": "橙色的狐狸",
}
# By the colour of what is made of it; a dragon of ice is told from others by nothing else.
STUFFS = _by_word(
    {
        "blue": "ice|water|glass|crystal|diamond|冰|冰块|水|玻璃|水晶|钻石",
        "yellow": "gold|cheese|butter|honey|banana|lemon|sunflower|straw|黄金|金|金子|奶酪|芝士|黄油|蜂蜜",
        "brown": "wood|chocolate|mud|clay|leather|cookie|gingerbread|bread|coffee|cardboard"
        "|木|木头|巧克力|泥|泥巴|面包|纸板",
        "grey": "stone|rock|metal|steel|iron|silver|concrete|石|石头|金属|钢|铁|银|银子",
        "orange": "fire|flame|lava|carrot|pumpkin|火|火焰|岩浆|胡萝卜|南瓜",
        "green": "leave|leaf|grass|plant|moss|slime|jelly|broccoli|vegetable|树叶|叶子|草|植物",
        "pink": "candy|cotton candy|bubblegum|bubble gum|糖|糖果|棉花糖",
        "white": "snow|cloud|paper|marshmallow|cotton|wool|milk|雪|云|云朵|纸|棉花|牛奶",
        "red": "strawberry|rose|tomato|草莓|玫瑰|番茄",
        "black": "coal|ink|煤|煤炭|墨|墨水",
    }
)


def _any_of(words: Iterable[str], chinese: bool = False) -> str:
    return "|".join(sorted((word for word in words if word.isascii() is not chinese), key=len, reverse=True))


_TINTED = re.compile(
    rf"\b(?:dark|deep|bright|pale|pastel|neon|vivid|soft|light(?![ -]blue))[ -](?=(?:{'|'.join(COLOURS)}|gray)\b)"
)
_BEAST = re.compile(rf"\b(?:{_any_of(BEASTS)})(?=(?:e?s)?\b)")
_BEAST_ZH = re.compile("|".join(BEASTS_ZH))
_GRAY = re.compile(r"\bgray\b")
_HAIRED = re.compile(r"\b[a-z]+[- ]haired ")  # is said of hair
_OF_WORDS, _OF_ONE = ([word for word in SHADES if (" " in word) is several] for several in (True, False))
_SHADE = re.compile(
    rf"(?<![\w-])(?:({_any_of(_OF_WORDS)})(?![\w-])"
    rf"|({_any_of(_OF_ONE)})(?= [a-z])(?! {_JOINED})(?!{_CALLED}))"
)
_SHADE_ZH = re.compile(f"(?:{'|'.join(SHADES_ZH)})(?!头?发|色|的?心)")
_AN = re.compile(rf"\ban? (?=({'|'.join(COLOURS)})\b)")
_MADE_OF = re.compile(
    r"^(?:(an?|the|one|two|three|four) )?((?:(?!\b(?:and|with|on|in|of|to|by|next|beside|\w+ing)\b)[^,])+?)"
    r" made (?:out )?of "
    rf"(?:(?:pure|solid|melted|some|an?|the) )?({_any_of(STUFFS)})s?(?=$|,| (?:on|in|with|at)\b)"
)
_MADE_OF_ZH = re.compile(
    rf"^(?:一[只个条座朵辆把颗栋间艘匹架块张])?[用由]?({_any_of(STUFFS, chinese=True)})(?:做|制)成?的(?=[^，,])"
)
# A colour of one character, where what follows is no name with it: 黄瓜 is a cucumber, and 黑猫 is known as that.
_CHARACTER = re.compile(
    r"(?:(?<![\u3400-\u9fff])|(?<=[的和与跟、只条个朵匹头把顶件颗辆着拿戴穿抱骑吃系]))小?"
    "(?!黑猫|黑鸟|白花|[红绿]苹果|白熊|红灯笼)([红橙黄绿蓝紫粉棕黑灰白橘])"
    "(?=小?(?:猫(?!头)|狗|兔|马(?![路甲车桶]|王子)|鸟|龙(?![虾果舟珠猫])|鱼(?!丸)|鸡(?![蛋尾腿翅])|鸭|鹅|天鹅|羊(?![座绒毛肉])|猪"
    "|熊(?!猫)|狼|狐狸|老虎|蝴蝶|苹果|玫瑰|气球|汽车|雨?伞|帽子?|裙子?|围巾|灯笼|爱心|星星|花(?![椰生油菜])))"
)
_WARM = {"橘": "橙"}


_BOTH = re.compile(r"\bblack(?: ?& ?|[ -](?:and|n)[ -])white\b|\bwhite(?: ?& ?|[ -]and[ -])black\b")


def painted(text: str) -> str:
    """`text`, in small letters, in the colours that are taught."""
    text = _BOTH.sub("black and white", text)
    told = _BEAST.sub(lambda match: BEASTS[match[0]], _BEAST_ZH.sub(lambda match: BEASTS_ZH[match[0]], text))
    told = _HAIRED.sub("", _GRAY.sub("grey", _TINTED.sub("", told)))
    told = _SHADE.sub(lambda match: SHADES[match[1] or match[2]], told)
    told = _SHADE_ZH.sub(lambda match: SHADES_ZH[match[0]], told)
    told = _CHARACTER.sub(lambda match: f"{_WARM.get(match[1], match[1])}色的", told)
    told = _MADE_OF.sub(lambda match: f"{match[1] or 'a'} {STUFFS[match[3]]} {match[2]}", told)
    told = _MADE_OF_ZH.sub(lambda match: f"{COLOURS[STUFFS[match[1]]].zh}的", told)
    return told if told == text else _AN.sub(lambda match: f"{article(match[1])[: -len(match[1])]}", told)
