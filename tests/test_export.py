"""Pictures and packs for chat apps: never over a limit, never with a dark rim, the same bytes for the same pack."""

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Output
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_kit import face, noise, over, psnr_on_white, render_svg
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo
from queue_kit import artifacts as made_of
from queue_kit import picture

from models.data.captions import MOODS
from models.data.pixels import png, premultiply
from models.messages import Refused
from studio.backends.embedded import Embedded
from studio.export.apps import APPS, app_named, enlarged, fit, placed, rimmed, within
from studio.export.clips import Clip
from studio.export.drawing import drawn, indexed, outlined, resized, seen_box, svg
from studio.export.pack import USUAL, Sticker, emoji_for, pack, pack_name, slug
from studio.metadata.files import provenance_in, read
from studio.metadata.origin import Provenance as Says
from studio.page.routes import export_file as page_file
from studio.planner import resolve
from studio.requests import make_request

SAYS = Says("a prompt, twice as long as most\nSteps: 16, Sampler: euler, CFG scale: 3, Seed: 1", "x" * 3000)
FEW = settings(max_examples=12)


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def pictures() -> st.SearchStrategy[Image.Image]:
    sides = st.integers(1, 140)
    return st.builds(noise, sides, sides, st.integers(0, 9), st.sampled_from(["any", "on or off", "opaque"]))


@pytest.mark.parametrize("app", APPS.values(), ids=APPS)
@given(picture=pictures(), says=st.sampled_from([None, SAYS]))
@settings(max_examples=3)
def test_no_picture_is_over_a_limit(app, picture, says):
    for size in app.sizes:
        data, suffix = fit(Clip((picture,)), app, size, says)
        made = opened(data)
        assert len(data) <= app.limit
        assert (made.format, suffix) == (app.kind.upper(), f".{app.kind}")
        if app.exact:
            assert made.size == size
        else:
            assert made.width <= size[0] and made.height <= size[1] and not made.width % 2 and not made.height % 2
    for icon in app.icons:
        data = within(placed(picture, icon.size), "png", icon.limit)
        assert len(data) <= icon.limit and opened(data).size == icon.size


@pytest.mark.parametrize("app", APPS.values(), ids=APPS)
@pytest.mark.parametrize("alpha", ["any", "opaque"])
def test_noise_in_full_size_fits(app, alpha):
    data, _ = fit(Clip((noise(*app.sizes[0], alpha=alpha),)), app, says=SAYS)
    assert len(data) <= app.limit


@given(st.integers(200, 40_000), st.sampled_from(["png", "webp"]))
@FEW
def test_a_budget_is_kept_or_refused(limit, kind):
    try:
        data = within(noise(64, 64), kind, limit)
    except Refused as refusal:
        assert limit < 1_500 and "does not fit" in str(refusal)
    else:
        assert len(data) <= limit and opened(data).size == (64, 64)


def test_what_fits_is_not_touched():
    for kind in ("png", "webp"):
        again = opened(within(face(), kind, 100_000)).convert("RGBA")
        assert np.array_equal(premultiply(np.asarray(again)), premultiply(np.asarray(face())))


def test_few_colours_keep_alpha_and_leave_no_dark_rim():
    picture = face(hue="#ffee66", mouth=False)
    few = indexed(picture, 16).convert("RGBA")
    assert np.array_equal(np.asarray(few)[..., 3] == 0, np.asarray(picture)[..., 3] == 0)
    assert abs(np.asarray(few, int)[..., 3] - np.asarray(picture, int)[..., 3]).mean() < 3
    for ground in ("white", "black", "#2266ff"):
        assert abs(over(few, ground) - over(picture, ground)).mean() < 4


@pytest.mark.parametrize("name", APPS)
def test_a_sticker_fills_what_it_is_given(name):
    app = APPS[name]
    box = seen_box(np.asarray(opened(fit(Clip((face(),)), app)[0]).convert("RGBA"))[..., 3])
    width, height = opened(fit(Clip((face(),)), app)[0]).size
    assert min(box[0], box[1], width - box[2], height - box[3]) >= app.margin
    assert max((box[2] - box[0]) / (width - 2 * app.margin), (box[3] - box[1]) / (height - 2 * app.margin)) > 0.97


@pytest.mark.parametrize("name", APPS)
@pytest.mark.parametrize("box", [(11, 9, 116, 109), (0, 0, 128, 99), (37, 3, 90, 126), (9, 11, 109, 116)])
def test_no_edge_is_cut_off(name, box):
    picture = Image.new("RGBA", (128, 128))
    picture.paste("red", box)
    app = APPS[name]
    for size in app.sizes:
        seen = np.asarray(opened(fit(Clip((picture,)), app, size)[0]).convert("RGBA"))[..., 3] / 255
        width, height = seen.max(0).sum(), seen.max(1).sum()  # edges lie between pixels
        assert width / height == pytest.approx((box[2] - box[0]) / (box[3] - box[1]), rel=0.008), (size, width, height)


@pytest.mark.parametrize("picture", [Image.new("RGBA", (128, 128)), Image.new("RGBA", (1, 1), "red")])
def test_nothing_at_all_is_a_picture_too(picture):
    for app in APPS.values():
        fit(Clip((picture,)), app)
    assert "<svg" in svg(picture)


def test_a_larger_version_is_taken_where_more_pixels_are_asked_for():
    small, large = face(128), premultiply(np.asarray(face(512)))
    assert np.array_equal(drawn(small, (512, 512), face(512)), large)
    assert np.array_equal(drawn(small, (320, 320), face(512)), resized(large, (320, 320)))
    assert np.array_equal(drawn(small, (320, 320)), resized(premultiply(np.asarray(small)), (320, 320)))
    for size in ((128, 128), (96, 96), (150, 150)):
        assert np.array_equal(drawn(small, size, face(512)), drawn(small, size))


# --- SVG --------------------------------------------------------------------------------------------------------------


def test_svg_of_flat_art_is_sharper_than_lanczos_and_as_true():
    small, truth = face(128), premultiply(np.asarray(face(512)))
    traced = render_svg(svg(small), (512, 512))
    smooth = resized(premultiply(np.asarray(small)), (512, 512))
    assert psnr_on_white(traced, truth) > psnr_on_white(smooth, truth)

    def soft(pixels: np.ndarray) -> int:
        return int(((pixels[..., 3] > 16) & (pixels[..., 3] < 239)).sum())

    assert soft(traced) < 0.5 * soft(smooth)


def test_soft_edges_are_traced_without_a_halo():
    """On any ground, no pixel is darker or brighter than the disc and the ground."""
    disc = Image.new("RGBA", (512, 512))
    ImageDraw.Draw(disc).ellipse((60, 60, 450, 450), fill="#ffdd00")
    traced = png(render_svg(svg(disc.resize((128, 128), Image.Resampling.BOX)), (512, 512)))
    for ground in ((255, 255, 255), (0, 0, 0), (0, 0, 255)):
        seen = over(traced, f"rgb{ground}")
        low, high = np.minimum(ground, (255, 221, 0)) - 3, np.maximum(ground, (255, 221, 0)) + 3
        assert ((seen >= low) & (seen <= high)).all()


def test_holes_and_half_transparent_areas_stay():
    picture = Image.new("RGBA", (512, 512))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((20, 20, 300, 300), fill="#cc0000")
    draw.ellipse((100, 100, 220, 220), fill=(0, 0, 0, 0))
    draw.rectangle((320, 320, 500, 500), fill=(0, 0, 255, 102))
    alpha = render_svg(svg(picture.resize((128, 128), Image.Resampling.BOX)), (512, 512))[..., 3]
    assert alpha[160, 160] == 0 and alpha[60, 160] == 255
    assert abs(int(alpha[410, 410]) - 102) <= 3


def test_a_transparent_corner_stays_transparent_where_all_else_is_opaque():
    picture = Image.new("RGBA", (64, 64), "#33aa55")
    picture.paste((0, 0, 0, 0), (50, 50, 64, 64))
    pixels = render_svg(svg(picture), (64, 64))
    assert pixels[60, 60].tolist() == [0, 0, 0, 0] and pixels[10, 10, 3] == 255


@given(pictures())
@settings(max_examples=2)  # noise has thousands of shapes
def test_svg_has_the_pictures_size_and_is_the_same_each_time(picture):
    document = svg(picture)
    assert f'width="{picture.width}" height="{picture.height}"' in document
    assert document == svg(picture)
    assert render_svg(document, picture.size).shape == (picture.height, picture.width, 4)
    assert "<image" not in document and "href" not in document


# --- The white rim --------------------------------------------------------------------------------------------------


def disc(side: int, radius: float, colour: str = "#0044cc") -> Image.Image:
    """A smooth disc in the middle."""
    big = Image.new("RGBA", (8 * side, 8 * side))
    middle, reach = 4 * side, 8 * radius
    ImageDraw.Draw(big).ellipse((middle - reach, middle - reach, middle + reach, middle + reach), fill=colour)
    return big.resize((side, side), Image.Resampling.BOX)


@pytest.mark.parametrize("side", [64, 128, 512])
def test_a_disc_gets_a_ring_of_the_width_that_was_said(side):
    radius, share = 0.3 * side, 0.06
    out = np.asarray(outlined(disc(side, radius), share), float)
    area = out[..., 3].sum() / 255
    assert np.sqrt(area / np.pi) - radius == pytest.approx(share * side, abs=0.25)
    ring = out[side // 2, int(side / 2 - radius - share * side * 0.5)]
    assert ring.tolist() == [255, 255, 255, 255]


def test_the_edge_is_smooth_and_white_all_the_way():
    out = np.asarray(outlined(disc(128, 40), 0.05), int)
    edge = out[(out[..., 3] > 10) & (out[..., 3] < 245)]
    assert len(edge) > 200, "pixels that are partly covered"
    assert edge[:, :3].min() > 250


@given(
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(20, 128),
    st.integers(20, 128),
    st.sampled_from([0.02, 0.05, 0.1]),
)
@settings(max_examples=8)
def test_the_rim_is_never_cut_off(left, top, width, height, share):
    picture = Image.new("RGBA", (128, 128))
    picture.paste("red", (left, top, min(128, left + width), min(128, top + height)))
    out = np.asarray(outlined(picture, share))
    assert out.shape == (128, 128, 4)
    assert out[0, :, 3].max() == out[-1, :, 3].max() == out[:, 0, 3].max() == out[:, -1, 3].max() == 0
    box, red = seen_box(out[..., 3]), seen_box(np.where(out[..., 1] < 100, out[..., 3], 0))
    for outer, inner in zip((box[0], box[1], -box[2], -box[3]), (red[0], red[1], -red[2], -red[3]), strict=True):
        assert inner - outer == pytest.approx(share * 128, abs=1.6)


def test_what_is_made_larger_has_its_whole_rim_and_the_small_one_is_the_same_picture():
    both = rimmed(enlarged(Clip((disc(128, 63.5),)), (512, 512), lambda _: disc(512, 254)))
    assert (both.size, both.larger[0].size) == ((128, 128), (512, 512))
    sticker = np.asarray(Image.open(io.BytesIO(fit(both, APPS["telegram"])[0])).convert("RGBA"))
    for row in (sticker[256], sticker[256, ::-1], sticker[:, 256], sticker[::-1, 256]):
        visible = row[row[:, 3] > 127]
        assert np.argmax(visible[:, 0] < 127) == pytest.approx(0.04 * 512, abs=1.5), "pixels of rim before the blue"
    alone = rimmed(enlarged(Clip((disc(128, 63.5),)), (512, 512), lambda _: None))
    assert not alone.larger and np.array_equal(np.asarray(alone.frames[0]), np.asarray(outlined(disc(128, 63.5))))


# --- The command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def made(studio: Callable[..., Output], tmp_path: Path) -> Path:
    """A picture that the studio made."""
    row = studio("generate", "a happy cat", "--model", "fake", "--seed", 3, "--out", tmp_path / "in", "--json").json[0]
    return Path(row["path"])


def test_export_writes_beside_the_file_and_keeps_what_it_says(studio, made: Path, tmp_path: Path):
    said = studio("export", made, "--for", "WhatsApp", "--json")
    assert said.code == 0
    row = said.json[0]["files"][0]
    path = Path(row["path"])
    assert (path.name, path.parent) == (f"{made.stem}-whatsapp.webp", made.parent)
    assert (row["width"], row["height"], row["bytes"]) == (512, 512, path.stat().st_size)
    assert read(path)["job_id"] == read(made)["job_id"]
    assert provenance_in(path).parameters == provenance_in(made).parameters
    plain = studio("export", made, "--for", "whatsapp", "--no-metadata", "--out", tmp_path / "plain", "--json").json
    assert read(Path(plain[0]["files"][0]["path"])) == {}


def test_every_door_enlarges_with_the_studios_own_model(studio, made: Path, tmp_path: Path):
    backend = Embedded()
    can = backend.capabilities()

    def larger(path: Path) -> Image.Image:
        asked = make_request("enlarge", image={"path": str(path)}, size=512)
        return picture(made_of(backend, resolve(asked, can))[0])

    for outline in (False, True):
        said = studio(
            "export", made, "--for", "telegram", "--no-metadata", *["--outline"] * outline, "--out", tmp_path, "--json"
        )
        data = Path(said.json[0]["files"][0]["path"]).read_bytes()
        assert data == page_file(made, "telegram", outline, larger)[0]
        assert data != page_file(made, "telegram", outline, lambda _: None)[0]
    wide = tmp_path / "wide.png"
    face().resize((128, 64)).save(wide)
    assert studio("export", wide, "--for", "telegram").code == 0, "what is not square by a filter"


def test_export_makes_every_size_svg_and_outline(studio, made: Path, tmp_path: Path):
    said = studio("export", made, made, "--for", "twitch", "--outline", "--svg", "--out", tmp_path / "out", "--json")
    names = [Path(one["path"]).name for row in said.json for one in row["files"]]
    stem = made.stem
    ends = [".svg", "-twitch-112.png", "-twitch-56.png", "-twitch-28.png"]
    again = [".svg", "-twitch-112", "-twitch-56", "-twitch-28"]
    assert names[:4] == [stem + end for end in ends]
    assert names[4:] == [f"{stem}-2.svg", *(f"{stem}{end}-2.png" for end in again[1:])], (
        "one does not overwrite the other"
    )
    with Image.open(tmp_path / "out" / f"{stem}-twitch-112.png") as picture:
        rim = np.asarray(picture.convert("RGBA"))
    first = rim[56][rim[56][:, 3] > 200][0]
    assert first[:3].min() > 240, "white outside"
    assert studio("export", made, "--outline", "--out", tmp_path / "o").code == 0
    assert (tmp_path / "o" / f"{stem}-outlined.png").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "say what to make: --for APP, --format FORMAT, --svg"),
        (("--for", "telegramm"), "unknown app 'telegramm' (did you mean 'telegram'?)"),
        (("--pack", "x"), "a pack is made with --pack NAME and --for APP"),
        (
            ("--for", "line", "--pack", "x"),
            "a pack for LINE sticker has 8 or 16 or 24 or 32 or 40 pictures, not 1; add 7.",
        ),
        (("--for", "telegram", "--pack", " "), "a pack needs a name"),
        (("--for", "telegram", "--pack", "x", "--cover", "none.png"), "none.png does not exist"),
    ],
)
def test_refusals_are_one_sentence_and_leave_nothing(studio, made: Path, tmp_path: Path, arguments, sentence):
    said = studio("export", made, *arguments)
    assert said.code == 2 and said.out == ""
    assert said.err.startswith(f"studio: {sentence}") and said.err.count("\n") == 1
    assert [path.name for path in made.parent.iterdir()] == [made.name]


def test_a_bad_file_is_one_files_problem(studio, made: Path, tmp_path: Path):
    (tmp_path / "bad.png").write_text("no picture")
    said = studio("export", made, tmp_path / "bad.png", "--for", "slack", "--json")
    assert said.code == 1 and len(said.json) == 1 and "bad.png is not a picture" in said.err


def test_apps_are_found_by_other_names():
    assert app_named("LINE") is APPS["line-sticker"] and app_named("Discord Emoji") is APPS["discord-emoji"]


def stickers(count: int) -> list[Sticker]:
    hues = ["#ffcc22", "#22ccff", "#ff6688"]
    facts = {"prompt": "a happy cat", "seed": 7, "model": "embedded"}
    return [Sticker(Clip((face(48, hues[n % 3]),)), f"happy cat {n}", facts=facts) for n in range(count)]


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
        unpacked(pack([*stickers(3), Sticker(Clip((face(40),)))], "Happy cats", APPS["whatsapp"]))["contents.json"]
    )
    assert other["sticker_packs"][0]["identifier"] != said["identifier"]


def test_line_gets_its_names():
    files = unpacked(pack(stickers(8), "cats", APPS["line-sticker"]))
    assert [name for name in files if "/" not in name] == [*(f"{n:02}.png" for n in range(1, 9)), "main.png", "tab.png"]


def test_telegram_gets_an_emoji_for_each():
    files = unpacked(pack([Sticker(Clip((face(40),)), "frog"), *stickers(1)], "frogs", APPS["telegram"]))
    assert json.loads(files["emoji.txt"]) == {"01": "🐸", "02": "😀🐱"}


def test_the_same_pack_is_the_same_bytes_and_the_cover_is_the_icon():
    app = APPS["telegram"]
    assert pack(stickers(2), "cats", app) == pack(stickers(2), "cats", app)
    cover = Sticker(Clip((Image.new("RGBA", (9, 9), "red"),)))
    plain, covered = (unpacked(pack(stickers(2), "cats", app, front)) for front in (None, cover))
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
        pack([Sticker(Clip((face(8),)))] * count, "x", APPS[app])


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
