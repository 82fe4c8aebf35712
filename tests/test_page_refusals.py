"""What the studio refuses is said in Chinese to who reads Chinese."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from studio.backends.embedded import Embedded
from studio.backends.fake import Fake
from studio.backends.registry import open_backend
from studio.batch.plan import Desk, plan
from studio.batch.rows import Source
from studio.capabilities import Refused
from studio.page.refusals import _KNOWN, in_language
from studio.requests import image_request, resolve
from studio.wildcards import Wildcards

CHINESE = re.compile(r"[\u4e00-\u9fff]")
BAD_TEXT = """\
a cat --d x
a cat --s 1.5
a cat --l many
a cat --stepz 3
a cat --ss eular
a cat --s 1000
a cat --d 1 --d 2
a cat --d 1 --seed 2
a cat --d
--prompt "a cat
--prompt cat dog
--prompt
a cat --strength 0.5
a __nothing__
a __../x__
a {red|blue
a (cat:99)
a cat --style notto
a cat --model other
a cat --f same --d 1
a dog --f same --d 2
--seed 3
a cat --size 7
"""
BAD_JSON = [
    '{"prompt": }',
    "[1]",
    '{"prompt": 3}',
    '{"prompt": ""}',
    '{"prompt": "a\\u0001"}',
    '{"prompt": "x", "variations": 2}',
    '{"prompt": "x", "image": "/etc/passwd"}',
    '{"mix": [{"text": "a", "weight": -1}]}',
    '{"mix": [{"text": "a", "weight": 99}]}',
    json.dumps({"mix": [{"text": "a", "weight": 1}] * 99}),
    '{"prompt": "x", "seed": -5}',
    '{"prompt": "%s"}' % ("x" * 9000),
    '{"prompt": "x", "prompt": "y"}',
]
BAD_FILES = {
    "a.csv": "prompt,seed\na,b,c\n",
    "b.csv": ",\n",
    "c.csv": 'prompt\n"open\n',
    "d.yaml": "jobs: 3\n",
    "e.yaml": "matrix: {seed: 3}\n",
    "f.yaml": "defaults: [1]\n",
    "g.yaml": "jobs: [3]\n",
    "h.json": '[{"prompt": "x"} {"prompt": "y"}]',
    "i.json": '{"prompt": "x"} 3',
}


def refusals(folder: Path) -> list[str]:
    """What is wrong with every line of the files in `folder`."""
    desk = Desk("fake", Fake().capabilities(), "", Wildcards(folder / "wildcards"), within=folder)
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    return [one.message for one in plan([Source(path.name, path, folder) for path in paths], desk).problems]


def test_every_fault_of_a_prompt_file_is_said_in_chinese(tmp_path: Path) -> None:
    for name, text in {"0.txt": BAD_TEXT, "1.jsonl": "\n".join(BAD_JSON), **BAD_FILES}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "2.txt").write_bytes(b"a\0b\n\xff\n" + b"x" * 70_000)
    (tmp_path / "3.txt").write_bytes(b"\xff\xfea")
    found = refusals(tmp_path)
    assert len(found) > 45
    assert [sentence for sentence in found if not CHINESE.search(in_language(sentence, "zh"))] == []
    assert [in_language(sentence, "en") for sentence in found] == found


@pytest.mark.parametrize(
    "fields", [{"prompt": " "}, {"prompt": "a", "steps": 0}, {"prompt": "a", "style": "x"}, {"prompt": "a", "cout": 1}]
)
def test_what_the_page_asks_for_is_refused_in_chinese(fields: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        resolve(image_request(**fields), Fake().capabilities())
    assert CHINESE.search(in_language(str(refused.value), "zh"))


@pytest.mark.parametrize(
    "model", ["fkae", "embedded:x", "fake:abc", "fake:-1", "fake:nan", "fake:1e9", "fake:" + "9" * 999]
)
def test_a_model_that_there_is_not_is_refused_in_both_languages(model: str) -> None:
    with pytest.raises(Refused) as refused:
        open_backend(model)
    sentence = str(refused.value)
    assert sentence.endswith(".") and len(sentence) < 200 and in_language(sentence, "en") == sentence
    assert CHINESE.search(in_language(sentence, "zh"))


def test_values_are_taken_along_and_braces_are_harmless() -> None:
    assert (
        in_language("there is no setting 'a{0}b' (did you mean 'ab'?).", "zh")
        == "没有名为“a{0}b”的设置（是否想写“ab”？）。"
    )
    assert in_language("steps must be between 1 and 100, not 0.", "zh") == "steps 必须在 1 到 100 之间，而不是 0。"
    assert in_language("something else.", "zh") == "something else."
    for _, words in _KNOWN:
        assert CHINESE.search(words.format(*"abcdef", near=""))


def test_missing_and_damaged_weights_are_said_in_chinese(tmp_path: Path) -> None:
    sentences = [_unready(tmp_path)]
    for text in ("{}", "no json", "[]"):
        (tmp_path / "manifest.json").write_text(text)
        sentences.append(_unready(tmp_path))
    assert all(CHINESE.search(in_language(sentence, "zh")) for sentence in sentences), sentences
    assert len(set(sentences)) == 4 and all(in_language(sentence, "en") == sentence for sentence in sentences)


def _unready(folder: Path) -> str:
    with pytest.raises(Refused) as refusal:
        Embedded(str(folder)).digest()
    return str(refusal.value)
