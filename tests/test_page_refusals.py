"""What the studio refuses is said in Chinese to who reads Chinese."""

import json
import re
from pathlib import Path

import pytest
from page_kit import ROOT

from models.messages import Message, Refused, catalogue
from studio.backends.embedded import Embedded
from studio.backends.fake import Fake
from studio.batch.plan import Context, plan
from studio.batch.readers import Source
from studio.planner import check_size, resolve
from studio.requests import make_request
from studio.syntax import Wildcards

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


def error_text(error: Refused | Message, language: str) -> str:
    return error.text(language)


def refusals(folder: Path) -> list[Message]:
    """What is wrong with every line of the files in `folder`."""
    context = Context("fake", Fake().capabilities(), "", Wildcards(folder / "wildcards"), within=folder)
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    return [
        one.reason for one in plan([Source(path.name, path.read_bytes(), folder) for path in paths], context).problems
    ]


def test_every_fault_of_a_prompt_file_is_said_in_chinese(tmp_path: Path) -> None:
    for name, text in {"0.txt": BAD_TEXT, "1.jsonl": "\n".join(BAD_JSON), **BAD_FILES}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "2.txt").write_bytes(b"a\0b\n\xff\n" + b"x" * 70_000)
    (tmp_path / "3.txt").write_bytes(b"\xff\xfea")
    found = refusals(tmp_path)
    assert len(found) > 45
    assert [str(message) for message in found if not CHINESE.search(error_text(message, "zh"))] == []
    assert [str(message) for message in found if CHINESE.search(error_text(message, "en"))] == []


def test_values_are_taken_along_and_braces_are_harmless() -> None:
    with pytest.raises(Refused) as refused:
        make_request(prompt="a", **{"cou{0}t": 1})
    assert error_text(refused.value, "zh") == "没有名为“cou{0}t”的设置（是否想写“count”？）。"
    with pytest.raises(Refused) as refused:
        resolve(make_request(prompt="a", steps=0), Fake().capabilities())
    assert error_text(refused.value, "zh") == "steps 必须在 1 到 100 之间，而不是 0。"
    assert Message("something else {0}.").text("zh") == "something else {0}."


def test_missing_and_damaged_weights_are_said_in_chinese(tmp_path: Path) -> None:
    refused = [_unready(tmp_path)]
    for text in ("{}", "no json", "[]"):
        (tmp_path / "manifest.json").write_text(text)
        refused.append(_unready(tmp_path))
    sentences = [error_text(one, "en") for one in refused]
    assert len(set(sentences)) == 4 and all(str(tmp_path) in sentence for sentence in sentences)
    chinese = [error_text(one, "zh") for one in refused]
    assert all(str(tmp_path) in said and "；" in said and "install" not in said for said in chinese), chinese
    with_reason = error_text(resolve_size(tmp_path), "zh")
    assert "像素需要" in with_reason and str(tmp_path) in with_reason


def resolve_size(folder: Path) -> Refused:
    """What weights without an upscaler say of a larger size."""
    with pytest.raises(Refused) as refusal:
        check_size(512, Embedded(str(folder)).capabilities())
    return refusal.value


def _unready(folder: Path) -> Refused:
    with pytest.raises(Refused) as refusal:
        Embedded(str(folder)).digest()
    return refusal.value


# --- What docs/trouble.md explains ------------------------------------------------------------------------------------

EXPLAINED = (ROOT / "docs" / "trouble.md").read_text(encoding="utf-8")


def test_every_sentence_that_is_explained_is_said_in_both_languages() -> None:
    rows = [line.split("|")[1] for line in EXPLAINED.splitlines() if line.startswith("| `")]
    quoted = [words for row in rows for words in re.findall(r"`([^`]+)`", row)]
    assert len(quoted) > 45
    english, chinese = catalogue("en"), catalogue("zh")
    said = {code: re.sub(r"\{\w[^}]*\}", "…", text) for code, text in english.items()}
    for words in quoted:
        pattern = ".*".join(map(re.escape, words.replace("U+…", "…").strip("…").split("…")))
        codes = [code for code, text in said.items() if re.search(pattern, text)]
        assert codes, words
        assert [code for code in codes if not CHINESE.search(chinese.get(code, ""))] == [], words
