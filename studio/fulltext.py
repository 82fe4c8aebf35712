"""Words as FTS5 takes them: how they are stored, and how they are asked for."""

WORDS_LIMIT = 32  # words of a query that are looked at


def spaced(text: str) -> str:
    """Chinese characters as words of their own: FTS5 takes a run of them for one word."""
    return "".join(f" {c} " if "\u3400" <= c <= "\u9fff" else c for c in text)


def match(words: str, whole: bool = False) -> str:
    """An FTS5 query in which every word counts and nothing is an operator; "" where there is no word.

    Words may go on behind their last letter, unless they are meant `whole`.
    """
    seen = "".join(character if character.isprintable() else " " for character in words)  # NUL ends a C string
    phrases = [" ".join(spaced(word).split()) for word in seen.split()[:WORDS_LIMIT]]
    end = '"' if whole else '"*'
    return " ".join('"' + phrase.replace('"', '""') + end for phrase in phrases if any(map(str.isalnum, phrase)))
