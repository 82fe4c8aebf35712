"""The emoji that stand for a sticker: messengers find stickers by them."""

import re
import unicodedata

from models.data.moods import MOODS

USUAL = "🙂"  # every sticker needs one
PICTURES = range(0x1F300, 0x1FB00)  # where Unicode keeps emoji that are always pictures

# One for each of `MOODS`, by its first English word.
_FACES = {
    "happy": "😀", "smiling": "😊", "laughing": "😂", "crying": "😭", "sad": "😢", "angry": "😠", "in love": "😍",
    "kissing": "😘", "surprised": "😮", "shocked": "🤯", "scared": "😱", "worried": "😟", "sleepy": "😪",
    "sleeping": "😴", "tired": "😩", "sick": "🤒", "dizzy": "😵", "drunk": "🥴", "cool": "😎", "confused": "😕",
    "bored": "😒", "embarrassed": "😳", "disappointed": "😞", "annoyed": "😤", "smug": "😏", "playful": "😜",
    "silly": "🤪", "thoughtful": "🤔", "relieved": "😌", "evil": "😈", "hungry": "🤤", "cold": "🥶", "hot": "🥵",
    "celebrating": "🥳", "hugging": "🤗", "quiet": "🤫", "pleading": "🥺", "rolling its eyes": "🙄", "nerdy": "🤓",
    "lying": "🤥", "neutral": "😐",
}  # fmt: skip
_CHINESE = {
    "猫": "cat", "狗": "dog", "熊猫": "panda", "狐狸": "fox", "青蛙": "frog", "兔": "rabbit", "熊": "bear",
    "老虎": "tiger", "狮子": "lion", "猴": "monkey", "猪": "pig", "鸡": "chicken", "企鹅": "penguin", "鱼": "fish",
    "火箭": "rocket", "鬼": "ghost", "机器人": "robot",
}  # fmt: skip


def emoji_for(text: str, most: int = 3) -> tuple[str, ...]:
    """Up to `most` emoji for what a label or prompt says, its feeling first; at least one."""
    found = [_FACES[mood.en[0]] for mood in MOODS if any(_says(text, word) for word in (*mood.en, *mood.zh))]
    words = [text, *re.findall(r"[A-Za-z]+", text)]
    for chinese in sorted(_CHINESE, key=len, reverse=True):
        if chinese in text:
            words.append(_CHINESE[chinese])
            break  # 熊猫 is no 猫
    found += [picture for word in words if (picture := _named(word))]
    return tuple(dict.fromkeys(found))[:most] or (USUAL,)


def _says(text: str, word: str) -> bool:
    if word.isascii():
        return re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) is not None
    return word.removesuffix("的") in text


def _named(word: str) -> str:
    """The emoji that Unicode calls so, or nothing."""
    for name in (f"{word} FACE", word):
        try:
            character = unicodedata.lookup(name.upper())
        except KeyError:
            continue
        if ord(character) in PICTURES:
            return character
    return ""
