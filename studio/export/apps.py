"""Chat apps and what they take: a table, one row an app, and files made to fit it.

Each figure has its source beside it, as read in 2026. A limit of "128 KB" is kept as 128,000 bytes, the smaller of its
two readings; where a source says KiB it is 1,024. Where sources disagree the strictest is kept.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from PIL import Image

from models.data.pixels import premultiply, unpremultiply
from models.messages import Refused, did_you_mean
from studio.export.drawing import Drawing, resized, seen_box, straight
from studio.metadata import Provenance, encoded

KB, KIB = 1_000, 1_024
LARGER = 1.5  # times: a small thing in a large picture is not blown up further than that
PALETTES = (256, 128, 64, 32, 16, 8, 4, 2)
COARSER = (1, 2, 4, 8, 16)
ALPHAS = (100, 50, 0)  # WebP's quality of the alpha channel


@dataclass(frozen=True)
class Icon:
    """A picture that stands for a pack: its file's name, size (width, height) and limit in bytes."""

    file: str
    size: tuple[int, int]
    limit: int


@dataclass(frozen=True)
class App:
    """What one app takes.

    `sizes` (width, height): one file each a picture, the main one first. Not `exact`: as large as that at most, with
    even sides. `margin` pixels stay free on each side. `limit` bytes a file. A pack has `least` to `most` pictures, or
    one of `counts`. `file` names them: {n} is the number, {slug} a safe word of the label. `manifest` is what goes
    into a pack for the programs that read it in.
    """

    name: str
    title: str
    zh: str
    sizes: tuple[tuple[int, int], ...]
    limit: int
    kind: Literal["png", "webp"] = "png"
    exact: bool = True
    margin: int = 0
    least: int = 1
    most: int = 200
    counts: tuple[int, ...] = ()
    icons: tuple[Icon, ...] = ()
    file: str = "{n:02}"
    manifest: Literal["", "whatsapp", "emoji"] = ""


_TABLE = (
    # https://docs.slack.dev/reference/methods/admin.emoji.add: "Square images under 128KB and with transparent
    # backgrounds work best", names in lower case. That 128 x 128 is the largest shown is what makers of emoji say, on
    # no page of Slack's that could be found.
    App("slack", "Slack emoji", "Slack 表情", ((128, 128),), 128 * KB, file="{slug}_{n:02}"),
    # https://docs.discord.com/developers/resources/emoji: "the 128x128 emoji image", "maximum file size of 256 KiB".
    # Names of 2 to 32 letters, digits and underscores: said by Discord's own form, on no page that could be found.
    App("discord-emoji", "Discord emoji", "Discord 表情", ((128, 128),), 256 * KIB, file="{slug}_{n:02}"),
    # https://docs.discord.com/developers/resources/sticker: PNG, "320 x 320 pixels", "max 512 KiB", a name of 2 to 30
    # characters, `tags` with an emoji.
    App(
        "discord-sticker", "Discord sticker", "Discord 贴纸", ((320, 320),), 512 * KIB,
        file="{slug}_{n:02}", manifest="emoji",
    ),
    # https://core.telegram.org/stickers: PNG or WebP, one side exactly 512, the icon 100 x 100;
    # https://core.telegram.org/import-stickers: 512 KB and at least one emoji each;
    # https://core.telegram.org/bots/api#setstickersetthumbnail: 128 KB for the icon; #addstickertoset: 120 in a set.
    App(
        "telegram", "Telegram sticker", "Telegram 贴纸", ((512, 512),), 512 * KB,
        most=120, icons=(Icon("icon.png", (100, 100), 128 * KB),), manifest="emoji",
    ),
    # https://github.com/WhatsApp/stickers, Android/README.md: WebP, "exactly 512 x 512 pixels", "less than 100KB", 3 to
    # 30 in a pack, tray icon 96 x 96 and 50KB, contents.json, three emoji at most. The margin of 16 pixels is said by
    # the sample art of faq.whatsapp.com/general/26000226, which could not be read.
    App(
        "whatsapp", "WhatsApp sticker", "WhatsApp 贴纸", ((512, 512),), 100 * KB - 1, "webp",
        margin=16, least=3, most=30, icons=(Icon("tray.png", (96, 96), 50 * KB),), manifest="whatsapp",
    ),
    # https://creator.line.me/en/guideline/sticker: PNG, 370 x 320 at most with even sides and a margin of about 10, 8
    # to 40 in eights, main image 240 x 240, tab 96 x 74, 1 MB each and 20 MB in all: 400 KB each here. Read as quoted
    # by others; the page on animated stickers (/en/guideline/animationsticker) has the same icons. The files' names are
    # those that makers use; no page of LINE's with them could be read.
    App(
        "line-sticker", "LINE sticker", "LINE 贴图", ((370, 320),), 400 * KB,
        exact=False, margin=10, counts=(8, 16, 24, 32, 40),
        icons=(Icon("main.png", (240, 240), 400 * KB), Icon("tab.png", (96, 74), 400 * KB)),
    ),
    # https://creator.line.me/en/guideline/emoji: PNG, 180 x 180 without margins, 8 to 40, tab 96 x 74, 1 MB each and
    # 20 MB in all. The page with the names of the files could not be read.
    App(
        "line-emoji", "LINE emoji", "LINE 表情贴", ((180, 180),), 400 * KB,
        least=8, most=40, icons=(Icon("tab.png", (96, 74), 400 * KB),), file="{n:03}",
    ),
    # help.twitch.tv, "Emotes", as quoted by others: PNG, 28, 56 and 112 pixels, transparent. The bytes could not be
    # confirmed: 1 MB by the newest quotes, 100 KB and 25 KB by older ones.
    App(
        "twitch", "Twitch emote", "Twitch 表情", ((112, 112), (56, 56), (28, 28)), 25 * KB,
        file="{slug}_{n:02}",
    ),
    # https://sticker.weixin.qq.com: could not be read. Quoted by others: 240 x 240, 16 or 24 in a set, a thumbnail of
    # 120 x 120, a cover of 240 x 240, an icon of 50 x 50; 200 KB to 500 KB a picture. The banner (750 x 400) is yours.
    App(
        "wechat", "WeChat sticker", "微信表情", ((240, 240), (120, 120)), 200 * KB,
        counts=(16, 24), icons=(Icon("cover.png", (240, 240), 200 * KB), Icon("icon.png", (50, 50), 100 * KB)),
    ),
)  # fmt: skip
APPS: dict[str, App] = {app.name: app for app in _TABLE}
OTHER_NAMES = {"discord": "discord-sticker", "line": "line-sticker", "emoji": "slack", "weixin": "wechat"}


def app_named(word: str) -> App:
    """The app that a word means, in any case; Refused names those that there are."""
    name = "-".join(word.casefold().replace("_", " ").split())
    name = OTHER_NAMES.get(name, name)
    if name not in APPS:
        raise Refused("export.unknown_app", app=word, hint=did_you_mean(name, APPS), apps=list(APPS))
    return APPS[name]


def fit(
    picture: Image.Image | Drawing, app: App, size: tuple[int, int] | None = None, says: Provenance | None = None
) -> tuple[bytes, str]:
    """A picture (RGBA, any size) as a file for an app, within its limits -> bytes and suffix.

    What can be seen of it fills the space that the app gives, its margin apart. `size` is one of the app's, None its
    main one. `says` goes into the file; without it the file says nothing of itself.
    """
    placed = _placed(picture, size or app.sizes[0], app.margin, app.exact)
    return within(placed, app.kind, app.limit, says), f".{app.kind}"


def fit_icon(picture: Image.Image | Drawing, icon: Icon) -> bytes:
    """A picture as the icon of a pack, a PNG that says nothing of itself."""
    return within(_placed(picture, icon.size), "png", icon.limit)


def _placed(picture: Image.Image | Drawing, size: tuple[int, int], margin: int = 0, exact: bool = True) -> Image.Image:
    """What can be seen, as large as it can be, in the middle of a transparent canvas."""
    drawing = picture if isinstance(picture, Drawing) else Drawing(picture)
    left, top, right, bottom = seen_box(drawing.pixels[..., 3])
    room = size[0] - 2 * margin, size[1] - 2 * margin
    scale = min(room[0] / (right - left), room[1] / (bottom - top))
    scale = min(scale, LARGER * min(room[0] / drawing.size[0], room[1] / drawing.size[1]))
    wide, high = drawing.size
    while True:  # its edges lie between pixels: the box that holds them may be a pixel too large
        size_then = max(1, round(wide * scale)), max(1, round(high * scale))
        columns = _held(left, right, size_then[0] / wide)
        rows = _held(top, bottom, size_then[1] / high)
        if columns.stop - columns.start <= room[0] and rows.stop - rows.start <= room[1]:
            break
        scale -= 1 / max(wide, high)
    seen = drawing.at(size_then)[rows, columns]
    width, height = size if exact else (_even(seen.shape[1] + 2 * margin), _even(seen.shape[0] + 2 * margin))
    canvas = np.zeros((height, width, 4), np.uint8)
    x, y = (width - seen.shape[1]) // 2, (height - seen.shape[0]) // 2
    canvas[y : y + seen.shape[0], x : x + seen.shape[1]] = seen
    return straight(canvas)


def _held(start: int, stop: int, scale: float) -> slice:
    """The whole pixels that hold what lies from `start` to `stop` once it is scaled."""
    return slice(int(start * scale + 1e-6), int(np.ceil(stop * scale - 1e-6)))


def _even(pixels: int) -> int:
    """The next even number: the sides that are given are even themselves."""
    return pixels + pixels % 2


# --- Files no larger than they may be ---------------------------------------------------------------------------------


def within(picture: Image.Image, kind: str, limit: int, says: Provenance | None = None) -> bytes:
    """A "png" or "webp" file of a picture (RGBA) of at most `limit` bytes, what it says of itself included.

    Without any loss where that fits, else with as little as it takes: fewer colours in PNG, a lower quality in WebP, in
    the end fewer details. Refused where the limit is too small for any picture of that size.
    """
    for data in (_webps if kind == "webp" else _pngs)(picture, limit, says):
        if len(data) <= limit:
            return data
    raise Refused("export.too_small_a_limit", width=picture.width, height=picture.height, limit=limit)


def _pngs(picture: Image.Image, limit: int, says: Provenance | None) -> Iterator[bytes]:
    yield encoded([picture], says, "png", optimize=True)
    for colours in PALETTES:
        yield encoded([indexed(picture, colours)], says, "png", optimize=True)


def _webps(picture: Image.Image, limit: int, says: Provenance | None) -> Iterator[bytes]:
    yield encoded([picture], says, "webp", exact=False, method=4)
    for coarser in COARSER:
        small = premultiply(np.asarray(picture))
        size = max(1, picture.width // coarser), max(1, picture.height // coarser)
        shown = straight(resized(resized(small, size), picture.size))
        for alpha in ALPHAS:
            lossy: dict[str, Any] = {"lossless": False, "exact": False, "alpha_quality": alpha, "method": 4}
            yield _best(partial(_webp, shown, says, lossy), limit)


def _webp(shown: Image.Image, says: Provenance | None, lossy: dict[str, Any], quality: int) -> bytes:
    return encoded([shown], says, "webp", quality=quality, **lossy)


def _best(encode: Callable[[int], bytes], limit: int) -> bytes:
    """The file of the highest quality from 1 to 100 that fits, else of the lowest."""
    low, high, best = 1, 100, encode(1)
    while len(best) <= limit and low < high:
        middle = (low + high + 1) // 2
        data = encode(middle)
        if len(data) <= limit:
            low, best = middle, data
        else:
            high = middle - 1
    return best


def indexed(picture: Image.Image, colours: int) -> Image.Image:
    """The picture (RGBA) in so many colours, one of them transparent: mode "P".

    Colours are chosen premultiplied: a faint pixel's colour hardly counts, and none of them can leave a dark rim.
    """
    pixels = premultiply(np.asarray(picture))
    chosen = Image.fromarray(pixels, "RGBA").quantize(max(1, colours - 1), Image.Quantize.FASTOCTREE)
    rows = np.where(pixels[..., 3] > 0, np.asarray(chosen).astype(int) + 1, 0)  # row 0 is nothing, and only that
    counts = np.maximum(np.bincount(rows.ravel(), minlength=colours), 1)
    sums = [np.bincount(rows.ravel(), pixels[..., band].ravel(), colours) for band in range(4)]
    table = np.rint(np.stack(sums, -1) / counts[:, None]).astype(np.uint8)[None]
    table = unpremultiply(table)[0]
    out = Image.fromarray(rows.astype(np.uint8), "P")
    out.putpalette(table[:, :3].tobytes())
    out.info["transparency"] = table[:, 3].tobytes()
    return out
