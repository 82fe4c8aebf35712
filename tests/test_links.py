"""Links, pipes and rows that name what is not the home's: nothing of them is read, written or removed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import refusal
from fastapi import FastAPI
from fastapi.testclient import TestClient
from queue_kit import Entry, keep
from test_gallery import png

from studio import maintenance
from studio.annotations import Annotations, beside, read_annotations
from studio.api import v1
from studio.page import files
from studio.page.context import PageContext
from studio.studio import Studio


@pytest.fixture
def context(tmp_path: Path) -> PageContext:
    return PageContext(Studio(tmp_path / "home"), "fake")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file outside of the home; it holds a whole picture, which a gallery would show."""
    (tmp_path / "outside").mkdir()
    path = tmp_path / "outside" / "secret.png"
    path.write_bytes(png((1, 2, 3)))
    return path


def link(path: Path, secret: Path) -> None:
    path.unlink()
    path.symlink_to(secret)


def pipe(path: Path, secret: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path, secret: Path) -> None:
    path.rename(secret.with_name(path.name))
    path.parent.rmdir()
    path.parent.symlink_to(secret.parent)


def row(path: Path, secret: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("trick", [link, pipe, folder, row])
def test_nothing_outside_the_home_is_read_served_or_removed(
    context: PageContext, secret: Path, trick: Callable[[Path, Path], None]
) -> None:
    gallery, entry = context.studio.gallery, Entry(job="a", position=0, seed=1, prompt="a cat")
    path = keep(gallery, png(), entry)
    trick(path, secret)
    if trick is row:
        gallery.database.write("UPDATE pictures SET file = ?", os.path.relpath(secret, gallery.root))
    gallery.database.write("UPDATE pictures SET bytes = ?", secret.stat().st_size)
    before = {one: one.read_bytes() for one in secret.parent.iterdir()}
    app = FastAPI()
    for router in (files.router(context), v1.router(context.studio, "fake")):
        app.include_router(router)
    with TestClient(app, raise_server_exceptions=False) as client:
        place = f"/api/v1/gallery/{path.stem}"
        for address in (f"/thumbnails/{path.name}", f"/pictures/{path.name}", f"{place}/thumbnail", f"{place}/file"):
            assert client.get(address).status_code == 404, address
        assert client.get(f"{place}/export?format=png").status_code == 404
    assert gallery.found("a") == {} and [one.kind for one in maintenance.inspect(context.studio.store)]
    assert ("is a link" in refusal(lambda: keep(gallery, png(), entry))) == (trick is folder)
    gallery.database.write("UPDATE pictures SET deleted = 1")
    assert gallery.empty_bin() == 1
    assert {one: one.read_bytes() for one in secret.parent.iterdir()} == before


def test_a_pipe_beside_a_picture_hangs_nothing(context: PageContext, secret: Path) -> None:
    gallery = context.studio.gallery
    path = keep(gallery, png(), Entry(job="a", position=0, seed=1, prompt="a cat"))
    os.mkfifo(beside(path))
    os.mkfifo(path.with_name("f" * 64 + ".png"))
    path.with_name("e" * 64 + ".png").symlink_to(secret)
    assert read_annotations(path) == Annotations() and maintenance.rebuild(gallery.root).skipped == 1
