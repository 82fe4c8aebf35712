"""Sets: the words that the models learned, one seed for all, labels, and packs from them."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Said, refusal

from models.data.captions import MOODS
from studio.metadata import read
from studio.sets import EMOTIONS, SUBJECTS, SUBJECTS_ZH, felt, make_set


def test_one_subject_in_six_emotions():
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


def test_a_chinese_subject_is_asked_for_in_chinese():
    members = make_set("emotions", "小狗")
    assert members[0].request.prompt == "开心的小狗" and members[0].label == "开心"
    assert [one.request.prompt for one in make_set("emotions", "猫", ["生气的", "grumpy"])] == ["生气的猫", "grumpy 猫"]


def test_one_emotion_on_six_subjects():
    assert [one.request.prompt for one in make_set("subjects", "happy")] == [f"happy {subject}" for subject in SUBJECTS]
    assert [one.request.prompt for one in make_set("subjects", "开心")] == [
        f"开心的{subject}" for subject in SUBJECTS_ZH
    ]
    assert [one.label for one in make_set("subjects", "sad", ["robot", "robot", " ghost "])] == ["robot", "ghost"]


def test_one_style_across_a_list():
    members = make_set("style", "outline", ["cat", "披萨"])
    assert [(one.request.prompt, one.request.style) for one in members] == [("cat", "outline"), ("披萨", "outline")]


def test_a_set_without_a_seed_draws_one_for_all():
    seeds = [{one.request.seed for one in make_set("emotions", "cat")} for _ in range(3)]
    assert all(len(one) == 1 for one in seeds) and len(set.union(*seeds)) == 3


def test_every_mood_is_said_in_the_subjects_language():
    for word in (word for mood in MOODS for word in (*mood.en, *mood.zh)):
        assert felt(word, "cat").isascii(), word
        assert not any(character.isascii() for character in felt(word, "猫")), word


def test_what_can_not_be_is_refused():
    for asked, fields, sentence in (
        (("emotion", "cat"), {}, "did you mean 'emotions'"),
        (("emotions", " "), {}, "say a subject"),
        (("style", "noto"), {}, "say what is to be in the set"),
        (("subjects", "happy", [str(n) for n in range(65)]), {}, "at most 64"),
        (("emotions", "cat"), {"steps": "many"}, "steps must be a whole number"),
    ):
        assert sentence in refusal(lambda asked=asked, fields=fields: make_set(*asked, **fields))


def test_the_command_names_labels_and_packs(studio: Callable[..., Said], tmp_path: Path):
    out = tmp_path / "cats"
    ask = ("set", "emotions", "猫", "--model", "fake", "--seed", 9, "--out", out, "--json")
    said = studio(*ask, "--pack", "猫", "--for", "telegram")
    assert said.code == 0, said.err
    rows, packed = said.json[:-1], said.json[-1]
    assert [row["label"] for row in rows][:2] == ["开心", "哭泣"]
    assert {row["seed"] for row in rows} == {9}
    assert Path(rows[0]["path"]).name == "01-开心.png"
    assert {read(Path(row["path"]))["request"]["shape"] for row in rows} == {8}, "one shape for the family"
    assert packed["stickers"] == 6 and packed["app"] == "telegram"
    with zipfile.ZipFile(packed["path"]) as archive:
        assert "猫" in archive.read("about/about.txt").decode()
    assert [row["seconds"] for row in studio(*ask).json] == [0] * 6, "found, not drawn again"


def test_another_set_of_the_folder_is_refused_and_stays(studio: Callable[..., Said], tmp_path: Path):
    ask = ("set", "style", "noto", "cat", "dog", "--model", "fake", "--out", tmp_path)
    assert studio(*ask, "--seed", 1).code == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.png")}
    said = studio(*ask, "--seed", 2)
    assert said.code == 2 and "01-cat.png is there already and is another picture; give another --out." in said.err
    assert before == {path.name: path.read_bytes() for path in tmp_path.glob("*.png")}


@pytest.mark.parametrize("command", [("set", "subjects", "happy", "a __kind__ cat"), ("grid", "a __kind__ cat")])
def test_lists_are_those_of_the_home_that_is_named(studio: Callable[..., Said], tmp_path: Path, command):
    home, more = tmp_path / "other", ("--x", "seed=1", "--out", tmp_path / "g.png") if command[0] == "grid" else ()
    (home / "wildcards").mkdir(parents=True)
    (home / "wildcards" / "kind.txt").write_text("tabby")
    said = studio(*command, *more, "--model", "fake", "--home", home, "--json")
    assert said.code == 0, said.err
    paths = said.json[0]["pictures"] if command[0] == "grid" else [row["path"] for row in said.json]
    assert all("a tabby cat" in read(Path(path))["request"]["prompt"] for path in paths)


def test_without_out_a_set_goes_into_the_gallery(studio: Callable[..., Said], tmp_path: Path):
    said = studio("set", "style", "noto", "cat", "dog", "--model", "fake", "--json")
    assert said.code == 0
    assert all(Path(row["path"]).is_relative_to(tmp_path / "home") for row in said.json)


def test_the_command_refuses_with_a_sentence_and_draws_nothing(studio: Callable[..., Said], tmp_path: Path):
    for arguments, sentence in (
        (("emotion", "cat"), "unknown kind of set 'emotion'"),
        (("style", "nto", "cat"), "unknown style 'nto' (did you mean 'noto'?)"),
        (("emotions", "cat", "--pack", "x"), "a pack is made with --pack NAME and --for APP"),
        (("emotions", "cat", "--pack", "x", "--for", "line"), "a pack for LINE sticker has 8 or 16 or 24"),
        (("emotions", "cat", "--pack", " ", "--for", "telegram"), "a pack needs a name"),
    ):
        said = studio("set", *arguments, "--model", "fake")
        assert said.code == 2 and said.err.startswith(f"studio: {sentence}") and said.err.count("\n") == 1
    assert not list(tmp_path.rglob("*.png"))
