"""Women and men, as prompts say them: a lady cook, a policewoman, 女消防员."""

import re

GENDERS = ("woman", "man")
_WHO = (
    r"(?:police|fire|business|sales|super|spider|fisher|sports|post|mail|camera|crafts|cave|milk|door|horse|swords"
    r"|work|handy|space|strong)?"
)
_WOMAN = re.compile(
    rf"\b(?:{_WHO}wom[ae]n|females?|lad(?:y|ies)|(?:cow|school)?girls?|witch(?:es)?|sorceress(?:es)?|heroines?"
    r"|mothers?|mom|mum|brides?)\b|女|妈妈|母亲|新娘",
    re.IGNORECASE,
)
_MAN = re.compile(
    rf"\b(?:{_WHO}m[ae]n|males?|(?:cow|school)?boys?|guys?|gentlem[ae]n|fathers?|dad|grooms?)\b|男|爸爸|父亲|新郎",
    re.IGNORECASE,
)


def gender_said(text: str) -> str:
    """ "woman" or "man", as the text says; "" where it says neither, or both."""
    woman, man = _WOMAN.search(text), _MAN.search(text)
    return "" if bool(woman) == bool(man) else "woman" if woman else "man"
