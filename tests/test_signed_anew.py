"""A folder of weights whose manifest fits, because whoever changed it signed it anew: refused in a moment."""

import json
import struct
import time
from pathlib import Path

import pytest
import torch
from conftest import refusal

from models.weights import MANIFEST, listed_parts, load_table, part_folder, record_part, save_table


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """The folder of a small table."""
    return save_table("words", tmp_path, {"rows": torch.zeros(2, 3)}, {"space": "x"})


def header(tensors: int) -> bytes:
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    said = json.dumps({str(n): empty for n in range(tensors)}).encode()
    return struct.pack("<Q", len(said)) + said


FILES = {
    "deep": ("words.json", b"[" * 200_000),
    "no JSON": ("words.json", b"\xff"),
    "a header of 2^63 bytes": ("words.safetensors", struct.pack("<Q", 2**63) + b"{}"),
    "a header beyond the file": ("words.safetensors", struct.pack("<Q", 2**21) + b"{}"),
    "very many tensors": ("words.safetensors", header(60_000)),
}


@pytest.mark.parametrize("what", FILES)
def test_a_part_that_is_beyond_all_bounds_is_refused_at_once(table: Path, what: str) -> None:
    name, data = FILES[what]
    (table / name).write_bytes(data)
    record_part("words", table.parent)
    began = time.process_time()
    assert f"{name} is damaged" in refusal(lambda: load_table("words", table.parent))
    assert time.process_time() - began < 1


@pytest.mark.parametrize("manifest", ["[" * 200_000, '{"words": [1]}', '{"words": {"words.json": 1}}', "[]", "\ud800"])
def test_a_manifest_that_is_none_is_refused(table: Path, manifest: str) -> None:
    (table.parent / MANIFEST).write_bytes(manifest.encode(errors="surrogatepass"))
    for look in (lambda: listed_parts(table.parent), lambda: part_folder("words", table.parent)):
        assert MANIFEST in refusal(look)
