"""The wheel: built, installed and used elsewhere."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from studio.backends.embedded import PARTS

ROOT = Path(__file__).resolve().parent.parent
CODE = ("studio", "models", "eval")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Of all tracked files, with empty weights: packing those takes minutes."""
    out, source = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("source")
    for name in subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(b"" if name.endswith(".safetensors") else (ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("studio128-*.whl"))


@pytest.fixture(scope="module")
def elsewhere(wheel, tmp_path_factory) -> Path:
    """A folder with the files of the wheel only; libraries are those of this Python."""
    target = tmp_path_factory.mktemp("elsewhere")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(target / "site"), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    return target


def run(elsewhere: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(elsewhere / "site"), "STUDIO_HOME": str(elsewhere / "home")}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=elsewhere, env=environment)


def test_every_shipped_part_is_in_the_wheel(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert any(name.startswith("models/_assets/prompts/") for name in names)
    manifest = ROOT / "assets/weights/manifest.json"
    if manifest.exists():
        parts = json.loads(manifest.read_text())
        assert {f"models/_assets/weights/{part}/{file}" for part, files in parts.items() for file in files} <= names
    tracked = subprocess.run(["git", "ls-files", *CODE], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    assert set(tracked) <= names, "the page's scripts and styles, too"
    assert not any(name.startswith(("tests/", "runs/", "benchmarks/")) for name in names)


def test_the_installed_package_uses_its_files(elsewhere):
    requests = (
        "import models.assets as a; print(a.__file__, a.assets())",
        "from models.weights import listed_parts; print(*listed_parts())",
        "import studio, pathlib; print(pathlib.Path(studio.__file__).parent / 'page')",
    )
    this, parts, page = run(elsewhere, "-c", "\n".join(requests)).stdout.splitlines()
    assert all(path.startswith(str(elsewhere)) for path in (*this.split(), page))
    assert not (ROOT / "assets/weights/manifest.json").exists() or set(PARTS) <= set(parts.split())
    assert (Path(page) / "templates").is_dir() and (Path(page) / "static").is_dir()


def test_the_installed_package_generates(elsewhere):
    command = ("-m", "studio", "generate", "a red cat", "--model", "fake", "--seed", "1", "--out", "out", "--json")
    done = run(elsewhere, *command)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (elsewhere / row["path"]).read_bytes()[:4] == b"\x89PNG"
