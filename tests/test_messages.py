"""Messages: every code has a template in every language, and survives JSON and pickle."""

import ast
import json
import pickle
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.assets import assets
from models.messages import Message, Refused, catalogue, did_you_mean, languages

ROOT = Path(__file__).resolve().parent.parent
TWICE = {"short": "first", "either": "numbers"}  # one value under two names: English wants it in a form of its own
RAISED = {"Refused": 0, "Message": 0, "StoreTrouble": 0, "WeightsError": 0, "Rejected": 1}  # which argument is the code


def names(template: str) -> set[str]:
    """The values that a template shows."""
    return {TWICE.get(name, name) for _, name, _, _ in string.Formatter().parse(template) if name is not None}


# --- The catalogues ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", [language for language in languages() if language != "en"])
def test_a_template_shows_the_same_values_in_every_language(language: str) -> None:
    english, other = catalogue("en"), catalogue(language)
    assert not other.keys() - english.keys(), "a template that no English one belongs to"
    assert {code: names(text) for code, text in other.items()} == {code: names(english[code]) for code in other}


def test_missing_translations_have_no_words() -> None:
    lacking = {code: text for code, text in catalogue("en").items() if code not in catalogue("zh")}
    assert {code for code, text in lacking.items() if re.search(r"[a-z]{2}", re.sub(r"\{.*?\}", "", text))} == set()
    output = (re.sub(r"\{.*?\}|\.\w+", "", text) for text in catalogue("zh").values())
    english = {words for words in output if re.search(r"[a-z]{2}", words) and not re.search(r"[\u4e00-\u9fff]", words)}
    assert english <= {"English"}  # what that language is called


@pytest.mark.parametrize("language", languages())
def test_message_codes_are_unique(language: str) -> None:
    files = [json.loads(path.read_text(encoding="utf-8")) for path in (assets() / "messages" / language).glob("*.json")]
    assert sum(map(len, files)) == len(catalogue(language))


def calls() -> Iterator[tuple[str, str, set[str] | None]]:
    """Every message with a literal code in the source: where, its code, and the names of its values if they show."""
    for path in sorted(path for package in ("studio", "models", "eval") for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            place = RAISED.get(node.func.id, 9) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else 9
            if isinstance(node, ast.Call) and place < len(node.args):
                for code in literals(node.args[place]):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", code, values(node, place)


def literals(argument: ast.expr) -> Iterator[str]:
    """The codes that an argument may be."""
    if isinstance(argument, ast.IfExp):
        yield from (*literals(argument.body), *literals(argument.orelse))
    elif isinstance(argument, ast.Constant) and isinstance(argument.value, str) and argument.value:
        yield argument.value


def values(call: ast.Call, place: int) -> set[str] | None:
    """The names of a call's values: keywords, or keys of a dictionary. None where they can't be read."""
    given: set[str | None] = {keyword.arg for keyword in call.keywords}
    for argument in call.args[place + 1 :]:
        if not isinstance(argument, ast.Dict):
            return None
        given |= {key.value if isinstance(key, ast.Constant) else None for key in argument.keys}
    return None if None in given else {name for name in given if name}


def test_every_raised_code_has_a_template_with_its_values() -> None:
    result, english = list(calls()), catalogue("en")
    assert len(result) > 100
    assert [(where, code) for where, code, _ in result if code not in english] == []
    lacking = [
        (where, code) for where, code, given in result if given is not None and names(english[code]) - given
    ]  # fmt: skip
    assert lacking == []


# --- One message ------------------------------------------------------------------------------------------------------

PLAIN = st.text(max_size=20) | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    PLAIN | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | inner.map(lambda value: Message("hint.did_you_mean", {"near": value})),
    max_leaves=5,
)


@given(VALUES)
def test_messages_survive_json(value: Any) -> None:
    output = Message("request.mix_weight", {"weight": value})
    again = Message.from_json(json.loads(json.dumps(output.as_json())))
    assert again == output
    assert [again.text(language) for language in languages()] == [output.text(language) for language in languages()]


def test_a_message_in_a_message_is_in_the_same_language() -> None:
    output = Message("model.style", {"style": "notto", "hint": did_you_mean("notto", ["noto", "outline"])})
    assert "(did you mean 'noto'?)" in output.text() and "是否想写" not in output.text()
    assert "（是否想写“noto”？）" in output.text("zh") and "did you mean" not in output.text("zh")
    assert did_you_mean("xyz", ["noto"]) == ""
    listed = Message("request.mix_weight", {"weight": [1, did_you_mean("notto", ["noto"])]})
    assert "1、（是否想写" in listed.text("zh") and "1,  (did you mean" in listed.text()


@pytest.mark.parametrize("sentence", ["no.", "a {brace} and 100%", "{", "{0}", "模型坏了。", ""])
def test_a_code_that_nobody_knows_is_the_sentence_itself(sentence: str) -> None:
    for output in (Message(sentence), Message.from_json(sentence), Message.from_json(Message(sentence).as_json())):
        assert output.text() == output.text("zh") == str(output) == sentence


def test_a_language_that_there_is_not_is_english() -> None:
    output = Message("request.empty_prompt")
    assert output.text("xx") == output.text("../en") == output.text("") == output.text("en") != output.text("zh")


def test_refusals_are_picklable() -> None:
    error = Refused("model.range", name="steps", least="1", most="100", value=0)
    again = pickle.loads(pickle.dumps(error))
    assert (again.message, str(again)) == (error.message, str(error))
    assert str(error) == "steps must be between 1 and 100, not 0." and error.text("zh") != str(error)
    assert Refused(error.message).message is error.message
