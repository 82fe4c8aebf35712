"""Packs: what apps and their importers expect, names that every system takes, the same bytes for the same pack."""

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Output
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_kit import face
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from models.data.captions import MOODS
from models.messages import Refused
from studio.export.apps import APPS
from studio.export.pack import USUAL, Sticker, emoji_for, pack, pack_name, slug


def stickers(count: int) -> list[Sticker]:
    hues = ["#ffcc22", "#22ccff", "#ff6688"]
    facts = {"prompt": "a happy cat", "seed": 7, "model": "embedded"}
    return [Sticker(face(48, hues[n % 3]), f"happy cat {n}", facts=facts) for n in range(count)]


def unpacked(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("name", APPS)
def test_every_app_gets_a_pack_within_its_limits(name):
    app = APPS[name]
    count = app.counts[0] if app.counts else max(app.least, 2)
    files = unpacked(pack(stickers(count), "Happy cats", app))
    made = [file for file in files if file.endswith(f".{app.kind}") and "/" not in file]
    icons = {icon.file for icon in app.icons}
    assert icons <= set(files)
    assert len(set(made) - icons) == count * len(app.sizes)
    for file in set(made) - icons:
        assert len(files[file]) <= app.limit
        assert re.fullmatch(r"[a-z0-9_]+\.(png|webp)", file)
    for icon in app.icons:
        assert Image.open(io.BytesIO(files[icon.file])).size == icon.size
    assert b"seed: 7" in files["about/about.txt"] and b"ATTRIBUTION.md" in files["about/about.txt"]
    assert Image.open(io.BytesIO(files["about/sheet.png"])).width > 100


def test_whatsapp_gets_its_contents_json():
    files = unpacked(pack(stickers(3), "Happy cats", APPS["whatsapp"]))
    said = json.loads(files["contents.json"])["sticker_packs"][0]
    assert (said["name"], said["publisher"], said["tray_image_file"]) == ("Happy cats", "Studio 128", "tray.png")
    assert re.fullmatch(r"[A-Za-z0-9_. -]{1,127}", said["identifier"])
    assert [row["image_file"] for row in said["stickers"]] == ["01.webp", "02.webp", "03.webp"]
    assert all(row["image_file"] in files and 1 <= len(row["emojis"]) <= 3 for row in said["stickers"])
    assert said["stickers"][0]["emojis"] == ["😀", "🐱"]
    assert (files["title.txt"], files["author.txt"]) == (b"Happy cats", b"Studio 128")
    other = json.loads(
        unpacked(pack([*stickers(3), Sticker(face(40))], "Happy cats", APPS["whatsapp"]))["contents.json"]
    )
    assert other["sticker_packs"][0]["identifier"] != said["identifier"]


def test_line_gets_its_names():
    files = unpacked(pack(stickers(8), "cats", APPS["line-sticker"]))
    assert [name for name in files if "/" not in name] == [*(f"{n:02}.png" for n in range(1, 9)), "main.png", "tab.png"]


def test_telegram_gets_an_emoji_for_each():
    files = unpacked(pack([Sticker(face(40), "frog"), *stickers(1)], "frogs", APPS["telegram"]))
    assert json.loads(files["emoji.txt"]) == {"01": "🐸", "02": "😀🐱"}


def test_the_same_pack_is_the_same_bytes_and_the_cover_is_the_icon():
    app = APPS["telegram"]
    assert pack(stickers(2), "cats", app) == pack(stickers(2), "cats", app)
    plain, covered = (
        unpacked(pack(stickers(2), "cats", app, cover)) for cover in (None, Sticker(Image.new("RGBA", (9, 9), "red")))
    )
    assert plain["01.png"] == covered["01.png"] and plain["icon.png"] != covered["icon.png"]
    assert Image.open(io.BytesIO(covered["icon.png"])).convert("RGB").getpixel((50, 50)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("app", "count", "hint"),
    [
        ("whatsapp", 2, "has 3 to 30 pictures, not 2; add 1."),
        ("whatsapp", 31, "not 31; leave 1 out."),
        ("line-sticker", 10, "not 10; add 6 or leave 2 out."),
        ("telegram", 0, "has 1 to 120 pictures, not 0; add 1."),
    ],
)
def test_a_count_that_the_app_refuses_is_refused_here(app, count, hint):
    with pytest.raises(Refused, match=re.escape(hint)):
        pack([Sticker(face(8))] * count, "x", APPS[app])


@given(st.text(max_size=300))
@settings(max_examples=300)
def test_names_are_safe_on_every_file_system(text):
    assert re.fullmatch(r"[a-z0-9][a-z0-9_]{0,18}[a-z0-9]", slug(text))
    try:
        name = pack_name(text)
    except Refused:
        return
    assert name.endswith(".zip") and len(name.encode()) <= 110
    assert not re.search(r'[<>:"/\\|?*\x00-\x1f]', name) and name == name.strip(" .")
    assert not re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)\.", name)


def test_every_mood_has_an_emoji_in_both_languages():
    for mood in MOODS:
        for word in (*mood.en, *mood.zh):
            assert emoji_for(f"{word} thing" if word.isascii() else f"{word}东西") != (USUAL,), word
    assert emoji_for("开心的熊猫") == ("😀", "🐼")
    assert emoji_for("a fox in love") == ("😍", "🦊")
    assert emoji_for("nothing known") == (USUAL,)
    assert emoji_for("") == (USUAL,)


def test_the_command_looks_at_no_picture_of_a_pack_that_can_not_be(studio: Callable[..., Output]):
    said = studio("export", "none.png", "--for", "line", "--pack", "x")
    assert said.code == 2 and "not 1; add 7." in said.err


@pytest.mark.parametrize("prompt", [7, ["a", "cat"], {"a": 1}, None, "x\ny " * 9000])
def test_the_command_packs_files_that_say_what_we_never_would(studio: Callable[..., Output], tmp_path: Path, prompt):
    record = {"version": "1", "job_id": "a", "digest": "b", "index": 0, "seed": 1}
    about = PngInfo()
    about.add_itxt("studio", json.dumps({**record, "request": {"prompt": prompt, "model": prompt}}))
    face().save(tmp_path / "a.png", pnginfo=about)
    said = studio("export", tmp_path / "a.png", "--for", "slack", "--pack", "x", "--out", tmp_path, "--json")
    assert said.code == 0
    lines = unpacked(Path(said.json[0]["path"]).read_bytes())["about/about.txt"].decode().splitlines()
    assert "[seed: 1]" in lines[3] and max(map(len, lines)) < 7000


def test_the_command_packs_what_it_made(studio: Callable[..., Output], tmp_path: Path):
    made = studio("generate", "a happy cat", "--count", 3, "--model", "fake", "--out", tmp_path / "in", "--json").json
    paths = [row["path"] for row in made]
    said = studio(
        "export",
        *paths,
        "--for",
        "whatsapp",
        "--pack",
        "猫/咪",
        "--cover",
        paths[2],
        "--outline",
        "--out",
        tmp_path,
        "--json",
    )
    assert said.code == 0 and said.json[0]["stickers"] == 3
    path = Path(said.json[0]["path"])
    assert path.parent == tmp_path and path.suffix == ".zip" and "/" not in path.name
    files = unpacked(path.read_bytes())
    assert json.loads(files["contents.json"])["sticker_packs"][0]["name"] == "猫/咪"
    assert "prompt: a happy cat" in files["about/about.txt"].decode()
