"""Feelings, as a table: what people ask a face to show, and the CLDR keywords that say a picture shows it."""

import functools
from dataclasses import dataclass


@dataclass(frozen=True)
class Mood:
    """A feeling: adjectives that fit "a ... face" in both languages, and CLDR name words or keywords that mean it.

    `face` is the name of the one face that a thing with that feeling has; "" where the words say something else of
    things: hot coffee does not sweat.
    """

    en: tuple[str, ...]
    zh: tuple[str, ...]
    signs: frozenset[str]
    face: str = ""


def _mood(en: str, zh: str, signs: str, face: str = "") -> Mood:
    return Mood(tuple(en.split(", ")), tuple(zh.split("，")), frozenset(signs.split()), face)


MOODS = (
    _mood("happy, cheerful, joyful", "开心的，快乐的，高兴的", "happy glad cheerful delighted", "smiling face"),
    _mood("smiling", "微笑的", "smiling smile", "smiling face"),
    _mood("laughing", "大笑的", "laughing laugh lol rofl haha", "grinning face"),
    _mood("crying, weeping", "哭泣的，流泪的", "crying cry sob bawling", "crying face"),
    _mood("sad, unhappy", "伤心的，难过的", "sad unhappy dejected", "disappointed face"),
    _mood("angry, mad, furious", "生气的，愤怒的", "angry anger rage furious enraged", "angry face"),
    _mood(
        "in love, loving", "恋爱的，花痴的", "adore crush smitten heart-eyes romance", "smiling face with heart-eyes"
    ),
    _mood("kissing", "亲吻的", "kissing kiss"),
    _mood("surprised, astonished", "惊讶的，吃惊的", "surprised astonished surprise hushed", "astonished face"),
    _mood("shocked", "震惊的", "shocked mindblown exploding", "astonished face"),
    _mood("scared, frightened", "害怕的，惊恐的", "scared fearful afraid fear", "fearful face"),
    _mood("worried, anxious", "担心的，焦虑的", "worried anxious nervous stressed", "worried face"),
    _mood("sleepy", "犯困的，困倦的", "sleepy yawn yawning", "sleeping face"),
    _mood("sleeping", "睡觉的", "sleeping snore", "sleeping face"),
    _mood("tired, exhausted", "疲惫的，累的", "tired weary exhausted fatigued", "tired face"),
    _mood("sick, ill", "生病的", "sick ill nauseated fever flu", "nauseated face"),
    _mood("dizzy", "头晕的", "dizzy woozy", "woozy face"),
    _mood("drunk", "喝醉的", "drunk tipsy", "woozy face"),
    _mood("cool", "酷酷的", "sunglasses"),
    _mood("confused, puzzled", "困惑的，疑惑的", "confused befuddled confounded", "confused face"),
    _mood("bored", "无聊的", "bored unamused", "unamused face"),
    _mood("embarrassed, blushing", "尴尬的，脸红的", "embarrassed blush flushed", "smiling face with smiling eyes"),
    _mood("disappointed", "失望的", "disappointed", "disappointed face"),
    _mood("annoyed", "不爽的", "annoyed frustrated", "unamused face"),
    _mood("smug", "得意的", "smug smirk smirking", "smirking face"),
    _mood("playful, teasing", "调皮的", "winking wink joke"),
    _mood("silly, goofy, crazy", "搞怪的，疯狂的", "goofy wacky zany silly"),
    _mood("thoughtful, thinking", "思考的", "thinking consider pensive", "thinking face"),
    _mood("relieved, calm", "放松的，平静的", "relieved calm"),
    _mood("evil, devilish", "邪恶的", "devil evil demon"),
    _mood("hungry, drooling", "流口水的，嘴馋的", "drooling hungry delicious yummy", "drooling face"),
    _mood("cold, freezing", "冷的", "freezing frostbite"),
    _mood("hot, sweating", "热的", "feverish heat"),
    _mood("celebrating", "庆祝的", "celebrate celebration partying"),
    _mood("hugging", "拥抱的", "hug hugging"),
    _mood("quiet", "安静的", "shush shushing mute"),
    _mood("pleading, begging", "恳求的", "pleading begging", "pleading face"),
    _mood("rolling its eyes", "翻白眼的", "eyeroll"),
    _mood("nerdy", "书呆子气的", "nerd geek", "nerd face"),
    _mood("lying", "说谎的", "lying liar"),
    _mood("neutral", "面无表情的", "neutral deadpan expressionless"),
)


@functools.cache
def moods_of(name: str, keywords: tuple[str, ...], group: str) -> tuple[Mood, ...]:
    """What a face shows, from its English name and keywords; empty for anything that is no face.

    A feeling that the name itself speaks of comes alone: "crying face" has "awful" and "sad" among its keywords, but
    is asked for as crying.
    """
    words = frozenset(name.lower().replace("-", " ").split())
    if group != "smileys-emotion" or not words & {"face", "cat", "head"}:
        return ()
    named = tuple(mood for mood in MOODS if mood.signs & words)
    if named:
        return named
    told = frozenset(keywords)
    return tuple(mood for mood in MOODS if len(mood.signs & told) > 0)
