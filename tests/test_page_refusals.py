"""What the studio refuses is said in Chinese to who reads Chinese."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from page_kit import ROOT

from models.messages import Refused
from studio.backends.embedded import Embedded
from studio.backends.fake import Fake
from studio.backends.registry import open_backend
from studio.batch.plan import Context, plan
from studio.batch.sources import Source
from studio.page.refusals import _KNOWN, in_language
from studio.planner import resolve
from studio.requests import make_request
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
    desk = Context("fake", Fake().capabilities(), "", Wildcards(folder / "wildcards"), within=folder)
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
        resolve(make_request(**fields), Fake().capabilities())
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


# --- What docs/trouble.md explains ------------------------------------------------------------------------------------

EXPLAINED = (ROOT / "docs" / "trouble.md").read_text(encoding="utf-8")
# Said in a terminal or over HTTP, in English.
ELSEWHERE = (
    "port …", "--host …", "the password", "holds a batch of", "another batch is at work", "this address is not",
    "another web site", "this studio has a password", "a request has …", "a studio is open on",
)  # fmt: skip
# Whole sentences, as the studio says them.
SAID = """\
/h/studio.db can't be opened; give another --home.
/h/studio.db was written by a newer studio (schema 99); update, or give another --home.
/h/studio.db is damaged; run: studio rebuild.
/h/studio.db is in use by another program for too long; close it and try again.
no weights in /w: install the package again; python -m models.train; or try --model fake.
/w/manifest.json lists no part 'dit'; install a release that has it, or train it.
/w/dit/a.json is altered or cut short (sha256 0123456789ab, not ba9876543210); install the package again
512 px need the part 'upscaler', which is not in /w
unknown model 'x'; there are embedded, fake.
unknown style 'notto' (did you mean 'noto'?); `studio styles` lists them.
unknown scheduler 'eular' (did you mean 'euler'?); there are dpm++, euler.
the memory does not suffice; ask for fewer pictures at once.
the worker was killed in the middle of this job, 2 times; retry it alone, or ask for less at once.
the model is another one since this was asked for; ask again.
the model failed (ValueError: x); please report it with what is in the terminal.
the worker process could not be started (exit 1); its messages are in the terminal.
job 0123456789abcdef was put in line by another version of the studio; cancel it.
the disk that holds /h is full; make room and try again, nothing that was saved is lost.
/h/inputs/a.png was changed after the job was put in line; ask again.
a.png is not a picture that can be read (PNG, WEBP).
a.png is damaged or cut short: image file is truncated.
a.png has 9000 x 9000 pixels; at most 16777216 are read, make it smaller.
a.png is larger than 32 MB; give a smaller picture.
the mask m.png has 8 x 8 pixels and the picture 9 x 9; make them the same size.
the mask m.png is black all over; paint white what is to be drawn anew.
strength is about a picture to start from; give it as image.
mask and expand exclude each other; give one of them.
image is no base64 of a picture file; addresses and paths are never fetched.
a.png holds no settings.
the prompt is empty; say what to make, for example: a smiling cat.
prompt: the brace at column 3 is never closed; write \\{ or \\} for a brace that is meant.
there is no wildcard __x__: put it into wildcards/x.txt.
the wildcard __x__ names itself; break the circle.
the weight of a cat is 99; weights go from 0 to 10.
the prompt has a control character (U+0001); take it out.
steps must be between 1 and 100, not 0.
fast draws with steps 4 only; leave steps out, or draw without fast.
fast hears no negative prompt; leave it out, or draw without fast.
Studio 128 stickers has no fast variant; leave fast out.
the fast variant is another one since this was asked for; ask again.
there is no setting 'stepz' (did you mean 'steps'?).
seed is given twice.
the file is UTF-16; save it as UTF-8.
cell 3 (c) is under no name; quote what holds a separator.
another line makes a file a.png already; give another name.
the line asks for the model other; give --model, one batch is for one model.
the picture /etc/passwd is not in the studio's folder; only pictures there may be named.
that file was not uploaded here; drop it again.
a rating is 0 to 5, not 9.
a tag or a board has a name of 1 to 100 characters.
a note has 10,000 characters at most.
the painted layers differ in size; clear the picture and paint again.
the studio was closed before this was done; open it again, and it goes on.
the job was cancelled before it was done; ask again.
the size 64x64: pictures are 128x128 here.
settings that there are not here: hires.
a picture is gone or damaged; `studio doctor` says which.
the picture 'a.png' that it was made from is not beside it, or is another one by now.
""".splitlines()


def test_every_sentence_that_is_explained_is_said_in_chinese() -> None:
    assert [sentence for sentence in SAID if not CHINESE.search(in_language(sentence, "zh"))] == []
    rows = [line.split("|")[1] for line in EXPLAINED.splitlines() if line.startswith("| `")]
    quoted = [words for row in rows for words in re.findall(r"`([^`]+)`", row)]
    assert len(quoted) > 45
    said = "\n".join(SAID)
    known = [".*".join(map(re.escape, words.strip("…").split("…"))) for words in quoted]
    missing = [words for words, pattern in zip(quoted, known, strict=True) if not re.search(pattern, said)]
    assert [words for words in missing if not words.startswith(ELSEWHERE)] == []


def test_what_the_look_for_trouble_advises_is_said_in_chinese() -> None:
    source = (ROOT / "studio" / "care.py").read_text(encoding="utf-8")
    advices = re.findall(
        r'"(ask for it again[^"]*|restore it[^"]*|the next start[^"]*|run: [^"]*|it is none[^"]*)"', source
    )
    assert len(advices) >= 6
    assert all(CHINESE.search(in_language(advice, "zh")) for advice in advices), advices
