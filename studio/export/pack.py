"""Packs: the stickers of a set as one zip file that an app, or the programs that feed it, can read in."""

import contextlib
import hashlib
import io
import json
import re
import unicodedata
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jinja2 import Template

from models.data.captions import MOODS
from models.data.pixels import fit as fit_square
from models.data.sheet import captioned
from models.messages import Message, Refused
from models.references.credits import Credit, as_file
from studio.batch.plan import safe_name
from studio.export.apps import App, Icon, Motion, clip_rules, fit, in_place, within
from studio.export.clips import Clip
from studio.media import saved
from studio.metadata.origin import Provenance, version

ABOUT = "about"  # the folder of what is for people
NAME_LIMIT = 128  # characters; WhatsApp's limit for a pack's name
PUBLISHER = "Studio 128"
DATE = (1980, 1, 1, 0, 0, 0)  # the same pack is the same bytes whenever it is made
SHEET_SIDE = 128
USUAL = "🙂"  # every sticker needs one
PICTURES = range(0x1F300, 0x1FB00)  # where Unicode keeps emoji that are always pictures

# `moods` has a face for each of `MOODS`, by its first English word; `chinese` has names that Unicode knows in English.
_EMOJI = json.loads(Path(__file__).with_name("emoji.json").read_text(encoding="utf-8"))
_CHINESE: dict[str, str] = _EMOJI["chinese"]


@dataclass(frozen=True)
class Sticker:
    """A picture or clip, its label, what its file says, facts for the pack's papers, what is behind a GIF's edges, and
    whom it is owed to.
    """

    clip: Clip
    label: str = ""
    says: Provenance | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    matte: str = ""
    credits: tuple[Credit, ...] = ()


def pack(stickers: Sequence[Sticker], name: str, app: App, cover: Sticker | None = None) -> bytes:
    """A zip file for an app: numbered stickers, its icons, what its importers read, and in `about/` a contact sheet and
    a text that says where all of it comes from.

    `cover` is for the icons, None the first sticker. Refused where the app takes no pack of so many, and for a name
    that says nothing.
    """
    rules = check_pack(name, len(stickers), app, sum(sticker.clip.moves for sticker in stickers))
    title = title_of(name)
    files = _stickers(stickers, app)
    emoji = [emoji_for(one.label or str(one.facts.get("prompt", ""))) for one in stickers]
    named = dict(zip([next(iter(made)) for made in files], emoji, strict=True))  # by the file of the main size
    out = {file: data for made in files for file, data in made.items()}
    out |= {icon.file: _icon(cover or stickers[0], icon, app) for icon in rules.icons}
    out |= _manifest(app, title, named, out, rules is not app)
    labels = [f"{number} {one.label}" for number, one in enumerate(stickers, 1)]
    sheet = captioned(
        [fit_square(sticker.clip.frames[0], SHEET_SIDE) for sticker in stickers], labels, min(len(stickers), 6)
    )
    out[f"{ABOUT}/sheet.png"] = saved(sheet, "PNG", optimize=True)
    out[f"{ABOUT}/about.txt"] = _about(title, app, stickers, named, out).encode()
    owed = as_file(one for sticker in stickers for one in sticker.credits)
    return zipped(out | {f"{ABOUT}/{file}": data for file, data in owed.items()})


def title_of(name: str) -> str:
    """A pack's name on one line, as long as apps take it; Refused where it says nothing."""
    title = " ".join("".join(c for c in name if c.isprintable()).split())
    if not title:
        raise Refused("export.pack_name")
    return title[:NAME_LIMIT]


def check_pack(name: str, count: int, app: App, clips: int = 0) -> App:
    """What the app takes of a pack of so many, `clips` of which move. Refused where no such pack can be made: the app
    takes none of so many, or not both of clips and pictures, or the name says nothing.
    """
    title_of(name)
    if 0 < clips < count and not (clip_rules(app).motion or Motion()).mixes:
        raise Refused("export.pack_of_one_kind", app=app.title)
    app = clip_rules(app) if clips == count else app
    if count in (allowed := app.allowed):
        return app
    listed = Message("export.from_to", {"least": app.least, "most": app.most})
    if app.counts:
        listed = Message("export.one_of", {"either": " or ".join(map(str, app.counts)), "numbers": list(app.counts)})
    more, fewer = next((n for n in allowed if n > count), 0), next((n for n in reversed(allowed) if n < count), 0)
    hint = "add_or_leave" if more and fewer else "add" if more else "leave"
    what = Message(f"export.{hint}", {"more": more - count, "fewer": count - fewer})
    raise Refused("export.pack_count", app=app.title, listed=listed, count=count, hint=what)


def pack_name(name: str) -> str:
    """The zip file's name, good on every system."""
    return f"{safe_name(title_of(name)) or 'stickers'}.zip"


def slug(text: str) -> str:
    """A label as apps take it for the name of an emoji: a to z, digits and underscores, 2 to 20; "sticker" for none."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:20].strip("_")
    return name if len(name) > 1 else "sticker"


def _stickers(stickers: Sequence[Sticker], app: App) -> list[dict[str, bytes]]:
    """The files of each sticker by name, the main size first; the other sizes have their width in their names."""
    files_of_each = []
    for number, sticker in enumerate(stickers, 1):
        stem, files = app.file.format(n=number, slug=slug(sticker.label)), dict[str, bytes]()
        for size in clip_rules(app).sizes if sticker.clip.moves else app.sizes:
            data, suffix = fit(sticker.clip, app, size, sticker.says, sticker.matte)
            files[f"{stem}{'' if not files else f'_{size[0]}'}{suffix}"] = data
        files_of_each.append(files)
    return files_of_each


def _icon(front: Sticker, icon: Icon, app: App) -> bytes:
    if icon.moves and front.clip.moves:
        return fit(front.clip, app, icon.size)[0]
    still = replace(front.clip, frames=front.clip.frames[:1], larger=front.clip.larger[:1])
    return within(in_place(still, icon.size).frames[0], "png", icon.limit)


def _manifest(
    app: App, title: str, emoji: dict[str, tuple[str, ...]], files: dict[str, bytes], moves: bool
) -> dict[str, bytes]:
    """What importers read: WhatsApp's contents.json, title.txt and author.txt, or the emoji of each sticker."""
    if app.manifest == "emoji":
        return {"emoji.txt": _json({file.rpartition(".")[0]: "".join(faces) for file, faces in emoji.items()})}
    if app.manifest != "whatsapp":
        return {}
    rows = [{"image_file": file, "emojis": list(faces)} for file, faces in emoji.items()]
    content = hashlib.sha256(b"".join(files[file] for file in emoji)).hexdigest()
    body = {
        "identifier": content[:32],
        "name": title,
        "publisher": PUBLISHER,
        "tray_image_file": app.icons[0].file,
        "image_data_version": content[:8],  # another one tells WhatsApp that the pictures are others
        "avoid_cache": False,
        "animated_sticker_pack": moves,
        "stickers": rows,
    }
    listed = {"android_play_store_link": "", "ios_app_store_link": "", "sticker_packs": [body]}
    return {"contents.json": _json(listed), "title.txt": title.encode(), "author.txt": PUBLISHER.encode()}


def _json(value: object) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()


def _about(
    title: str, app: App, stickers: Sequence[Sticker], emoji: dict[str, tuple[str, ...]], files: dict[str, bytes]
) -> str:
    """Where the pack comes from, for people."""
    shown = [
        (one, file, "".join(faces), hashlib.sha256(files[file]).hexdigest())
        for one, (file, faces) in zip(stickers, emoji.items(), strict=True)
    ]
    text = Path(__file__).with_name("about.txt").read_text(encoding="utf-8")
    template = Template(text, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    modelled, owed = any(one.facts.get("model") for one in stickers), any(one.credits for one in stickers)
    about = {"title": title, "app": app, "stickers": shown, "modelled": modelled, "owed": owed}
    return template.render(**about, folder=ABOUT, version=version())


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip file, names as UTF-8, the same bytes for the same files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, DATE)
            entry.external_attr = 0o644 << 16
            packed = name.endswith((".png", ".webp", ".gif", ".webm"))
            entry.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return out.getvalue()


# --- The emoji that stand for a sticker: messengers find stickers by them ---------------------------------------------


def emoji_for(text: str) -> tuple[str, ...]:
    """Up to three emoji for what a label or prompt says, its feeling first; at least one."""
    emoji = [_EMOJI["moods"][mood.en[0]] for mood in MOODS if any(_says(text, word) for word in (*mood.en, *mood.zh))]
    longest = max((word for word in _CHINESE if word in text), key=len, default="")  # 熊猫 is no 猫
    words = [text, *re.findall(r"[A-Za-z]+", text), *([_CHINESE[longest]] if longest else [])]
    emoji += [picture for word in words if (picture := _named(word))]
    return tuple(dict.fromkeys(emoji))[:3] or (USUAL,)


def _says(text: str, word: str) -> bool:
    if word.isascii():
        return re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) is not None
    return word.removesuffix("的") in text


def _named(word: str) -> str:
    """The emoji that Unicode calls so, or nothing."""
    for name in (f"{word} FACE", word):
        with contextlib.suppress(KeyError):
            character = unicodedata.lookup(name.upper())
            if ord(character) in PICTURES:
                return character
    return ""
