"""Chinese in the order of English: who it is, what it does, with what, and where.

戴墨镜的企鹅 is 企鹅戴墨镜, 盒子里的猫 is 猫在盒子里, 红色背景上的猫 is 猫，红色背景. Deeds are said in the few words
that `models.reading.phrasing` joins things by: who raises a heart holds it, and who drives a car rides it.
"""

import re
from collections.abc import Callable

from models.data.colours import COLOURS

_GROUND_FIRST = re.compile(r"^([^，,。]*背景)[上里中]?的([^,，。]+)")
_ON_GROUND_LAST = re.compile(r"^([^，,。]+)在([^，,。]*背景)[上里中]?$")
_CLAUSE_FIRST = re.compile(r"^([^，,。]*(?:背景|风格|画风))[，,]([^，,。]+)$")
_STYLE_FIRST = re.compile(r"^((?:一[只个张位朵条头匹])?)([^，,。的]*(?:风格|画风))的([^，,。]+)")
_ASKED = re.compile(r"^(?:请)?(?:帮我|给我|我想要|我要)?(?:画|生成|设计|来)?(?:出)?(?=一?[只个张幅位条头匹朵]|两|三)")
_DEAR = re.compile(r"(?:超级?|非常|很|特别|好)?(?:可爱|萌萌?|呆萌|萌萌哒|帅气|卡通|漂亮|美丽|胖乎乎|圆滚滚|毛茸茸)的")
_MEASURE = "(?:[一两三四]?[个只位名条头匹朵])?"
_BODY = re.compile(r"(?:[手嘴头]|脖子|怀|背)[里上](?=[拿叼戴抱顶背系围咬握])|手(?=拿|持|握)")
# Whoever runs is a person running by name; a duck that swims is a duck, and a fireman one.
_SOMEBODY = "(?:(?<=[女男小]孩)|(?<=[女男]生)|(?<=[女男]士)|(?<=[孩男女]子)|(?<=[女男个黑白的]人)|(?<=^人))"
_DURING = re.compile(
    rf"(?:正在|在)(?=[弹喝吃看读踢抱拿骑追戴穿玩]|打(?!开))|{_SOMEBODY}(?:正在|在)(?=跑步|跳舞|游泳|冲浪|滑雪|攀岩|举重)"
)
_LISTED = re.compile(r"(?<!色)、")
# How else people say what is worn, held, or ridden; of one character only before what is.
_OBJECT = "(?=[^，,。的在和]{0,4}的?(?:%s))"
_WORN = re.compile(
    "(?:(?<![领腰皮彩卷])[系围披带]着?|打着?)"
    + _OBJECT % "领[带结巾]|围巾|丝巾|披风|斗篷|眼镜|墨镜|太阳镜|帽|耳机|皇冠|蝴蝶结|铃铛"
)
_HELD = re.compile(
    "[举捧提端叼牵背推顶撑玩咬握持挥]着|[举捧叼](?=爱?心|花|玫瑰|骨头|鱼|灯|牌|奖)|背(?=书包|背包)|提(?=灯)"
    "|玩(?=手机|游戏|毛线|电脑|玩具|积木)|拉着?(?=小提琴|大提琴|二胡)|吹着?(?=[笛号喇口]|小号|气球|泡泡)"
    "|撑(?=伞|雨伞)|打着?(?=伞|雨伞|[篮网排棒羽乒]|鼓)|弹着?(?=[^，,。的]{0,3}琴|[^，,。的]{0,2}吉他|尤克里里)"
    "|放着?(?=风筝|烟花)|送着?(?=礼物|花|爱?心)|踢着?(?=足?球)"
)
_RIDDEN = re.compile(
    "滑着?(?=滑板)|(?:开着?|坐着?|驾驶着?|乘着?)" + _OBJECT % "汽?车|飞机|火箭|飞船|船|坦克|热气球|雪橇|扫帚"
)
_PRINTED = re.compile("[印画绣]着|[印画]有|带着?(?=[一两三]?[颗个]?(?:爱心|红心|心形|星星|笑脸))")
# Places come first. But 跪下的人 kneels, 合上的书本, 蒸房里的人 are names, 世界上 is nowhere.
_AT_FIRST = re.compile(
    rf"^({_MEASURE})(?:[坐站躺趴睡躲蹲飘]?着?在)?([^，,。在有]+?)(?<![跪向躺房合幕界手头身墙脸])(?<!足球)(?<!网球)(?<!水晶球)(?<!地球)(?<!卷)"
    r"(里面?|上面?|下面?|旁边|[前后]面|[左右]边|中间?|边|旁)(?:[坐站躺趴睡躲蹲]着?)?的([^，,。]+)"
)
_IS_THERE = re.compile(r"^([^，,。在有嘴头脸手]+?)(里面?|上面?|下面?|旁边|[前后]面)有(?!人)([^，,。]+)$")
TAKES = (  # deeds of one character that stand in names too, by what they are done with
    "喝着?(?=[咖奶牛啤果可茶水酒汤红热珍冰饮])|(?<![好小])吃着?(?![惊货力])|看着?(?=[书报电手])|读着?(?=书|报)"
)
_DOES = f"戴着?|穿着?|印着|拿着?|骑着?|抱着?|追着?|{TAKES}"
_DOER_LAST = re.compile(
    rf"^({_MEASURE})({_DOES})((?:(?:{'|'.join(c.zh for c in COLOURS.values())}|[大小]{{1,2}})的)?[^，,。]+?)的"
    r"((?:(?!和(?![服平尚])|[与跟在戴穿印拿抱骑吃])[^，,。])+)"
)
_UNDONE = re.compile(rf"^{_MEASURE}(?:{_DOES})[^的]+$")
_AND = re.compile(r"(和(?![服平尚面])|[与跟]|[，,。])")


# Names, by CLDR, that stay as they are.
_NAMES = re.compile("(?:穿(?:燕尾服|礼服)|戴(?:头纱|王冠|兔耳朵|瓜皮帽|助听器)|带单片眼镜|躺在床上)的(?=[人男女耳脸])")


def ground_last(text: str) -> str:
    """With a ground in a clause of its own, behind what stands on it."""
    return _ON_GROUND_LAST.sub(r"\1，\2", _GROUND_FIRST.sub(r"\2，\1", text))


def ordered(text: str, names: Callable[[str], bool]) -> str:
    """`text` in the order of English; `names` says of a phrase whether it says anything beside colour and number."""
    if _NAMES.search(text):
        return text
    text = _ASKED.sub("", _CLAUSE_FIRST.sub(r"\2，\1", _LISTED.sub("和", text) if "和" in text else text))
    text = _STYLE_FIRST.sub(r"\1\3，\2", _DEAR.sub("", text))
    for said, meant in (
        (_BODY, ""),
        (_WORN, "戴"),
        (_RIDDEN, "骑"),
        (_HELD, "拿着"),
        (_PRINTED, "印着"),
        (_DURING, ""),
    ):
        text = said.sub(meant, text)
    text = _IS_THERE.sub(r"\3在\1\2", _AT_FIRST.sub(r"\1\4在\2\3", text))
    clauses = _AND.split(text)
    while len(clauses) > 2 and clauses[1] not in "，,。" and _UNDONE.match(clauses[0]):  # 戴着帽子和眼镜的猫
        clauses[:3] = ["".join(clauses[:3])]
    return "".join(_doer_first(clause, names) for clause in clauses)


def _doer_first(clause: str, names: Callable[[str], bool]) -> str:
    found = _DOER_LAST.match(clause)
    return _DOER_LAST.sub(r"\1\4\2\3", clause) if found and names(found[3]) else clause
