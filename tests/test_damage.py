"""Homes whose database is damaged or gone: one sentence, and a rebuild from the files, whatever the bytes are."""

import random
import shutil
from pathlib import Path

import pytest
from conftest import refusal
from queue_kit import ask, named, planned, run_job

from studio import maintenance
from studio.backends.fake import Fake
from studio.database import StoreTrouble
from studio.events import Failed
from studio.home import Home
from studio.queue import read_message
from studio.sinks import GallerySink

HOMES, PICTURES, FLIPPED = 20, 2, 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with pictures and jobs, closed."""
    home = Home(tmp_path_factory.mktemp("whole") / "home")
    for number in range(PICTURES):
        list(run_job(Fake(), planned(ask(f"一只猫 {number}")), GallerySink(home.gallery)))
        home.queue.submit(planned(ask(f"一只狗 {number}")))
    home.queue.set_notice(Failed(read_message("es war einmal")).message)
    home.database.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    home.database.close()
    return home.root


def looked_at(root: Path) -> None:
    """What `studio doctor` and `studio queue` look at."""
    home = Home(root)
    list(maintenance.inspect(home))
    home.queue.jobs()
    home.queue.notice()


def test_any_flipped_bytes_give_a_sentence_and_a_rebuild(whole: Path, tmp_path: Path) -> None:
    refused = 0
    for seed in range(HOMES):
        root, chance = shutil.copytree(whole, tmp_path / str(seed)), random.Random(seed)
        data = bytearray((root / "studio.db").read_bytes())
        for number in range(FLIPPED):  # half of them where the tables are described
            data[chance.randrange(8192 if number % 2 else len(data))] = chance.randrange(256)
        (root / "studio.db").write_bytes(data)
        refused += bool(refusal(lambda: looked_at(root)))  # noqa: B023
        assert maintenance.rebuild(root).pictures == PICTURES
        home = Home(root)
        assert home.gallery.count() == PICTURES and list(maintenance.inspect(home)) == []
        home.queue.jobs()
    assert refused > HOMES // 4


@pytest.mark.parametrize("what", ["studio.db", "studio.db-wal"])
def test_a_store_whose_files_vanish_says_so(tmp_path: Path, what: str) -> None:
    home = Home(tmp_path)
    home.queue.submit(named("a"))
    (tmp_path / what).unlink()
    for _ in range(2):
        with pytest.raises(StoreTrouble, match="was removed or exchanged while the studio was open"):
            home.queue.submit(named("b"))
    assert "removed or exchanged" in refusal(lambda: home.queue.job("a"))


def test_what_is_fleeting_begins_anew_where_it_vanishes(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.progress.begin("a")
    for path in (tmp_path / "cache").glob("live.db*"):
        path.unlink()
    Home(tmp_path)
    home.progress.begin("a")
    assert Home(tmp_path).progress.read("a")[1]
