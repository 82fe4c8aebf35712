"""Comparison grids and sets: axes, sheets, labels, packs, refusals."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import Command, refusal
from hypothesis import given
from hypothesis import strategies as st
from picture_kit import face
from PIL import Image

from models.data.captions import MOODS
from models.messages import Refused
from studio.grid import KEYWORD, MOST, Axis, Grid, _wrapped
from studio.metadata.files import read
from studio.requests import make_request
from studio.sets import EMOTIONS, SUBJECTS, SUBJECTS_ZH, felt, make_set

VALUES = {
    "seed=1, 2, 3": (1, 2, 3),
    "seed=1-5": (1, 2, 3, 4, 5),
    "seed=1-10 (+2)": (1, 3, 5, 7, 9),
    "seed=10-5 (-3)": (10, 7),
    "seed=5-3": (5, 4, 3),
    "steps=1-10 [5]": (1, 3, 5, 7, 10),
    "steps=7-7 [3]": (7, 7, 7),
    "steps=4, 8-10, 20-40 (+10)": (4, 8, 9, 10, 20, 30, 40),
    "guidance=1-3 (+0.5)": (1.0, 1.5, 2.0, 2.5, 3.0),
    "guidance=0.0-1.0 [6]": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    "guidance=0.1-0.4 (+.1)": (0.1, 0.2, 0.3, 0.4),
    'prompt=cat, "dog, wet", 熊猫': ("cat", "dog, wet", "熊猫"),
    "STYLE = noto，outline": ("noto", "outline"),
    "style=安卓、线条": ("安卓", "线条"),
}
REFUSED = {
    "seeds=1": "a grid can't vary 'seeds' (did you mean 'seed'?)",
    "seed": "write an axis as SETTING=VALUES",
    "seed=": "say which values of seed to compare, for example: seed=1-4.",
    "seed=x": "'x' is no value of seed; write 3, 1-5",
    "seed=1.5": "seed must be a whole number, not 1.5.",
    "seed=1-999999999999": f"at most {MOST} values of seed",
    "seed=1-9 [99999]": f"at most {MOST} values of seed",
    "seed=1-5 (-1)": "1-5 has no values of seed with the step -1.",
    "seed=1-5 (+0)": "1-5 has no values of seed with the step +0.",
    f"style={','.join('abcdefghijklmnopqrstuvwxyzABCDEFGH')}": f"at most {MOST} values of style, not 34",
}


def test_values_are_read_as_a1111_reads_them():
    assert {text: repr(Axis.parse(text).values) for text in VALUES} == {text: repr(row) for text, row in VALUES.items()}


def test_invalid_axes_are_refused():
    output = {text: refusal(lambda text=text: Axis.parse(text)) for text in REFUSED}
    assert [(text, output[text]) for text, sentence in REFUSED.items() if sentence not in output[text]] == []


@given(st.text(max_size=40))
def test_any_text_is_an_axis_or_refused(text):
    for setting in ("seed", "guidance", "style"):
        try:
            assert Axis.parse(f"{setting}={text}").values
        except Refused as refusal:
            assert str(refusal).endswith(".")


def grid(x: str = "seed=1-3", y: str | None = "style=noto, outline", prompt: str = "a happy cat", **fields) -> Grid:
    request = make_request(prompt=prompt, model="fake", **fields)
    return Grid(request, Axis.parse(x), Axis.parse(y) if y else None)


def test_prompt_is_search_and_replace_on_both_axes():
    query = grid("prompt=cat, dog", "prompt=happy, very sad", negative="cat hair").requests()
    assert [one.prompt for one in query] == ["a happy cat", "a happy dog", "a very sad cat", "a very sad dog"]
    assert [one.negative for one in query] == ["cat hair", "dog hair"] * 2


def test_a_grid_that_makes_no_sense_is_refused():
    for x, y, sentence in (
        ("seed=1,2", "seed=3,4", "both axes vary seed"),
        ("prompt=dog, cat", None, "the prompt does not say 'dog'"),
        ("seed=1-32", "steps=1-32", "at most 256 pictures, not 32 x 32"),
    ):
        assert sentence in refusal(lambda x=x, y=y: grid(x, y))


def test_the_sheet_has_every_picture_in_its_place():
    hues = ["#ff0000", "#00ff00", "#0000ff", "#ffff00", "#ff00ff", "#00ffff"]
    sheet = np.asarray(grid().sheet([face(128, hue, mouth=False) for hue in hues]), int)
    assert (sheet[..., 3] == 255).all()
    matches = []
    for hue in hues:
        colour = [int(hue[i : i + 2], 16) for i in (1, 3, 5)]
        rows, columns = np.nonzero((abs(sheet[..., :3] - colour) < 2).all(-1))
        matches.append((rows.mean(), columns.mean()))
    (top, left), (down, right) = matches[0], matches[5]
    assert top + 128 < down and left + 256 < right
    assert [round(y) for y, _ in matches[:3]] == [round(top)] * 3
    assert sorted(x for _, x in matches[:3]) == [x for _, x in matches[:3]]


def test_labels_stay_in_their_place():
    long = "a very long prompt about cats that no column could ever hold in one line, or in three of them either"
    results = grid(f'prompt=猫, 会飞的熊猫, "{long}"', None, prompt="开心的猫")
    sheet = np.asarray(results.sheet([None, None, None]).convert("L"), int)
    strip = sheet[: sheet.shape[0] - 128 - 16]
    assert (strip[:, :14] == 255).all() and (strip[:, -14:] == 255).all()
    assert (strip < 100).sum() > 500


@given(st.text(max_size=200), st.integers(1, 4), st.integers(20, 300))
def test_lines_fit_their_width(text, most, width):
    text, font = _wrapped(text.replace("\n", " "), 14, width, most)
    lines = text.split("\n")
    assert len(lines) <= most
    assert all(font.getlength(line) <= width or line == "…" for line in lines)


def test_a_sheet_can_be_restored_from_its_file(tmp_path: Path):
    results = grid("guidance=1-3 (+0.5)", "prompt=cat, 狗", negative="hat", seed=4)
    path = tmp_path / "sheet.png"
    path.write_bytes(results.file([face()] * 10))
    with Image.open(path) as picture:
        again = Grid.from_record(picture.info[KEYWORD])
    assert (again, again.requests()) == (results, results.requests())
    output = read(path)
    assert output["program"] == "A1111" and output["prompt"] == "a happy cat" and output["negative"] == "hat"
    assert output["other"]["X Type"] == "CFG Scale" and output["other"]["Y Values"] == "cat, 狗"


def test_the_command_draws_and_finds_again(studio: Command, tmp_path: Path):
    out = tmp_path / "sheets" / "one.png"
    ask = ("grid", "a happy cat", "--x", "seed=1-3", "--y", "prompt=cat, 狗", "--steps", 2, "--seed", 4)
    output = studio(*ask, "--model", "fake", "--out", out, "--json")
    assert output.code == 0, output.err
    row = output.json[0]
    assert (row["path"], row["columns"], row["rows"]) == (str(out), ["1", "2", "3"], ["cat", "狗"])
    assert len(set(row["pictures"])) == 6
    assert [read(Path(path))["request"]["prompt"] for path in row["pictures"]] == ["a happy cat"] * 3 + [
        "a happy 狗"
    ] * 3
    studio(*ask, "--model", "fake", "--out", tmp_path / "two.png")
    assert (tmp_path / "two.png").read_bytes() == out.read_bytes()


def test_models_may_vary(studio: Command, tmp_path: Path):
    output = studio("grid", "cat", "--x", "model=fake, fake:0", "--out", tmp_path / "g.png", "--seed", 1, "--json")
    assert output.code == 0 and len(output.json[0]["pictures"]) == 2


# --- Sets -------------------------------------------------------------------------------------------------------------


def test_a_set_of_emotions():
    members = make_set("emotions", "cat", seed=5, style="noto")
    assert [member.label for member in members] == list(EMOTIONS)
    assert [member.request.prompt for member in members][:5] == [
        "happy cat",
        "crying cat",
        "angry cat",
        "surprised cat",
        "cat in love",
    ]
    assert {(one.request.seed, one.request.style, one.request.count) for one in members} == {(5, "noto", 1)}


def test_a_chinese_subject_has_chinese_prompts():
    members = make_set("emotions", "小狗")
    assert members[0].request.prompt == "开心的小狗" and members[0].label == "开心"
    assert [one.request.prompt for one in make_set("emotions", "猫", ["生气的", "grumpy"])] == ["生气的猫", "grumpy 猫"]


def test_a_set_of_subjects():
    assert [one.request.prompt for one in make_set("subjects", "happy")] == [f"happy {subject}" for subject in SUBJECTS]
    assert [one.request.prompt for one in make_set("subjects", "开心")] == [
        f"开心的{subject}" for subject in SUBJECTS_ZH
    ]
    assert [one.label for one in make_set("subjects", "sad", ["robot", "robot", " ghost "])] == ["robot", "ghost"]


def test_a_set_of_a_style():
    members = make_set("style", "outline", ["cat", "披萨"])
    assert [(one.request.prompt, one.request.style) for one in members] == [("cat", "outline"), ("披萨", "outline")]


def test_a_set_without_a_seed_shares_a_random_seed():
    seeds = [{one.request.seed for one in make_set("emotions", "cat")} for _ in range(3)]
    assert all(len(one) == 1 for one in seeds) and len(set.union(*seeds)) == 3


def test_every_mood_follows_the_subjects_language():
    for word in (word for mood in MOODS for word in (*mood.en, *mood.zh)):
        assert felt(word, "cat").isascii(), word
        assert not any(character.isascii() for character in felt(word, "猫")), word


def test_invalid_sets_are_refused():
    for query, fields, sentence in (
        (("emotion", "cat"), {}, "did you mean 'emotions'"),
        (("emotions", " "), {}, "say a subject"),
        (("style", "noto"), {}, "say what is to be in the set"),
        (("subjects", "happy", [str(n) for n in range(65)]), {}, "at most 64"),
        (("emotions", "cat"), {"steps": "many"}, "steps must be a whole number"),
    ):
        assert sentence in refusal(lambda query=query, fields=fields: make_set(*query, **fields))


def test_the_command_names_labels_and_packs(studio: Command, tmp_path: Path):
    out = tmp_path / "cats"
    ask = ("set", "emotions", "猫", "--model", "fake", "--seed", 9, "--out", out, "--json")
    output = studio(*ask, "--pack", "猫", "--for", "telegram")
    assert output.code == 0, output.err
    rows, packed = output.json[:-1], output.json[-1]
    assert [row["label"] for row in rows][:2] == ["开心", "哭泣"]
    assert {row["seed"] for row in rows} == {9}
    assert Path(rows[0]["path"]).name == "01-开心.png"
    assert {read(Path(row["path"]))["request"]["shape"] for row in rows} == {8}, "one shape for the family"
    assert packed["stickers"] == 6 and packed["app"] == "telegram"
    with zipfile.ZipFile(packed["path"]) as archive:
        assert "猫" in archive.read("about/about.txt").decode()
    assert [row["seconds"] for row in studio(*ask).json] == [0] * 6, "found, not drawn again"


def test_another_set_of_the_folder_is_refused_and_stays(studio: Command, tmp_path: Path):
    ask = ("set", "style", "noto", "cat", "dog", "--model", "fake", "--out", tmp_path)
    assert studio(*ask, "--seed", 1).code == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.png")}
    output = studio(*ask, "--seed", 2)
    assert output.code == 2 and "01-cat.png is there already and is another picture; give another --out." in output.err
    assert before == {path.name: path.read_bytes() for path in tmp_path.glob("*.png")}


@pytest.mark.parametrize("command", [("set", "subjects", "happy", "a __kind__ cat"), ("grid", "a __kind__ cat")])
def test_lists_are_those_of_the_home_that_is_named(studio: Command, tmp_path: Path, command):
    home, more = tmp_path / "other", ("--x", "seed=1", "--out", tmp_path / "g.png") if command[0] == "grid" else ()
    (home / "wildcards").mkdir(parents=True)
    (home / "wildcards" / "kind.txt").write_text("tabby")
    output = studio(*command, *more, "--model", "fake", "--home", home, "--json")
    assert output.code == 0, output.err
    paths = output.json[0]["pictures"] if command[0] == "grid" else [row["path"] for row in output.json]
    assert all("a tabby cat" in read(Path(path))["request"]["prompt"] for path in paths)


def test_without_out_a_set_goes_into_the_gallery(studio: Command, tmp_path: Path):
    output = studio("set", "style", "noto", "cat", "dog", "--model", "fake", "--json")
    assert output.code == 0
    assert all(Path(row["path"]).is_relative_to(tmp_path / "home") for row in output.json)


def test_command_refusals(studio: Command, tmp_path: Path):
    for arguments, sentence in (
        (("grid", "cat"), "say what to compare"),
        (("grid", "cat", "--x", "style=nto"), "unknown style 'nto'"),
        (("grid", "cat", "--x", "steps=1-30 (+20), 900"), "steps must be between"),
        (("grid", "cat", "--x", "seed=1", "--out", tmp_path), f"{tmp_path} is a folder; give a file"),
        (("set", "emotion", "cat"), "unknown kind of set 'emotion'"),
        (("set", "style", "nto", "cat"), "unknown style 'nto' (did you mean 'noto'?)"),
        (("set", "emotions", "cat", "--pack", "x"), "a pack is made with --pack NAME and --for APP"),
        (("set", "emotions", "cat", "--pack", "x", "--for", "line"), "a pack for LINE sticker has 8 or 16 or 24"),
    ):
        result = studio(*arguments, "--model", "fake")
        assert result.code == 2 and result.err.startswith(f"studio: {sentence}") and result.err.count("\n") == 1
    assert not list(tmp_path.rglob("*.png"))
