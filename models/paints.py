"""Colours as people say them, in the words that are taught: gray is grey, a golden crown yellow, 白猫 is 白色的猫, and
what is made of ice is blue.

Captions know fourteen colours by name (`models.data.colours`).
"""

import re

from models.data.colours import COLOURS


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
SHADES_ZH = {"金黄色": "黄色", "金色": "黄色", "银灰色": "灰色", "银色": "灰色"}
# What is called by such a word is no thing of that colour.
_CALLED = r"(?:medal|retriever|gate|week|hour|age|flower|plant|blossom|screen|bell|mountain)s?\b"
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


def _any_of(words: dict[str, str], chinese: bool) -> str:
    return "|".join(sorted((word for word in words if word.isascii() is not chinese), key=len, reverse=True))


_TINTED = re.compile(
    rf"\b(?:dark|deep|bright|pale|pastel|neon|vivid|soft|light(?![ -]blue))[ -](?=(?:{'|'.join(COLOURS)}|gray)\b)"
)
_GRAY = re.compile(r"\bgray\b")
_HAIRED = re.compile(r"\b[a-z]+[- ]haired ")  # is said of hair
_SHADE = re.compile(rf"(?<![\w-])({_any_of(SHADES, chinese=False)})(?= [a-z])(?! {_CALLED})")
_SHADE_ZH = re.compile(f"(?:{'|'.join(SHADES_ZH)})(?!头?发)")
_MADE_OF = re.compile(
    r"^(?:(an?|the|one) )?([^,]+?) made (?:out )?of (?:(?:pure|solid|melted|some|an?|the) )?"
    rf"({_any_of(STUFFS, chinese=False)})s?(?=$|,| (?:on|in|with|at|and)\b)"
)
_MADE_OF_ZH = re.compile(rf"^(?:一[只个条座朵辆])?用?({_any_of(STUFFS, chinese=True)})(?:做|制)成?的(?=[^，,])")
# A colour of one character, where what follows is no name with it: 黄瓜 is a cucumber, and 黑猫 is known as that.
_CHARACTER = re.compile(
    r"(?<![\u3400-\u9fff])(一?[只个条朵匹头])?小?(?!黑猫|黑鸟|白花|[红绿]苹果)([红橙黄绿蓝紫粉棕黑灰白])"
    "(?=小?(?:猫(?!头)|狗|兔|马(?!路)|鸟|龙(?!虾)|鱼|鸡|鸭|羊(?!座)|猪|狐狸|老虎|苹果|玫瑰|气球|汽车|雨伞|帽子|裙子|爱心|星|花(?![椰生])))"
)


def painted(text: str) -> str:
    """`text`, in small letters, in the colours that are taught."""
    text = _HAIRED.sub("", _GRAY.sub("grey", _TINTED.sub("", text)))
    text = _SHADE_ZH.sub(lambda match: SHADES_ZH[match[0]], _SHADE.sub(lambda match: SHADES[match[1]], text))
    text = _CHARACTER.sub(lambda match: f"{match[1] or ''}{match[2]}色的", text)
    text = _MADE_OF.sub(lambda match: f"{'the' if match[1] == 'the' else 'a'} {STUFFS[match[3]]} {match[2]}", text)
    return _MADE_OF_ZH.sub(lambda match: f"{COLOURS[STUFFS[match[1]]].zh}的", text)
