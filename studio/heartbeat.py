"""Signs of life of a home's workers: once a second, to its supervisor by their pipe, and by a file to everybody else.

Neither needs room on the disk. A worker that hangs is ended by whoever waits for it: its supervisor, or another worker
that waits for its lock.
"""

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, get_args

import psutil

from models.messages import Message, Refused
from studio.files import write_whole

BEAT = 1.0  # seconds between two signs
HANGS = 60  # looks, a beat apart, that find no sign: a computer that slept looked at nothing meanwhile
QUIET = 10.0  # seconds without a sign, after which it is said
Loaded = Literal["loaded", "loading", "not loaded"]  # the furthest first


@dataclass(frozen=True)
class Sign:
    """Whether the worker has begun to claim jobs, and what keeps it from them just now."""

    started: bool = False
    problem: Message | None = None


class Heartbeat:
    """The worker's side."""

    def __init__(self, root: Path, reports: Connection, slot: str = "") -> None:
        self._file, self._reports = _file(root, slot), reports
        self._sign, self._lock, self._holds = Sign(), threading.Lock(), False
        threading.Thread(target=self._beat, daemon=True).start()

    def hold(self, models: Mapping[str, Loaded] | None = None) -> None:
        """The home is this worker's from now on; so far are `models` in its memory."""
        me = psutil.Process()
        with contextlib.suppress(Refused):  # on a full disk nobody learns who hangs
            write_whole(self._file, json.dumps([me.pid, me.create_time(), dict(models or {})]).encode())
        self._holds = True

    def show(self, problem: Message | None = None) -> None:
        """It claims jobs, or this `problem` keeps it from them."""
        if (sign := Sign(self._sign.started or not problem, problem)) != self._sign:
            self._sign = sign
            self._send()

    def _send(self) -> None:
        with self._lock, contextlib.suppress(OSError):  # without a supervisor it ends anyway
            self._reports.send(self._sign)

    def _beat(self) -> None:
        while True:
            if self._holds:
                with contextlib.suppress(OSError):
                    self._file.touch()
            self._send()
            time.sleep(BEAT)


class Watch:
    """Looks, a beat apart, whether the worker that holds a slot of a home shows signs of life."""

    def __init__(self, root: Path, slot: str = "") -> None:
        self._file, self._seen, self._looks = _file(root, slot), 0.0, 0

    def look(self) -> None:
        """Where it has hung for HANGS looks, end it."""
        try:
            seen = self._file.stat().st_mtime
            self._looks, self._seen = (self._looks + 1 if seen == self._seen else 0), seen
        except OSError:  # nobody holds it
            return
        if self._looks >= HANGS and (process := _process(self._file)):
            self._looks = 0
            complain(Message("worker.hung", {"seconds": round(HANGS * BEAT)}))
            with contextlib.suppress(psutil.Error):
                process.kill()


def silence(root: Path) -> float | None:
    """Seconds since the last sign of life of a home's workers, of the one that is silent longest; None without any."""
    seen = []
    for file in _living(root):
        with contextlib.suppress(OSError):
            seen.append(file.stat().st_mtime)
    return max(0.0, time.time() - min(seen)) if seen else None


def loaded(root: Path, model: str) -> Loaded:
    """Whether a home's workers have a model in memory, as the one says that is furthest."""
    said: list[Loaded] = ["not loaded"]
    for file in _living(root):
        with contextlib.suppress(OSError, ValueError, LookupError):
            said.append(json.loads(file.read_text())[2].get(model, said[0]))
    return min(said, key=get_args(Loaded).index)


def trouble(root: Path) -> Message | None:
    """That nothing is heard from a worker of a home, where that is so."""
    seconds = silence(root) or 0.0
    return Message("worker.silent", {"seconds": round(seconds)}) if seconds > QUIET else None


def complain(text: object) -> None:
    """A line on stderr. A terminal that is gone, or a log on a full disk, ends nobody."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"studio: {text}\n")
        sys.stderr.flush()


def _process(file: Path) -> psutil.Process | None:
    """The worker that wrote the file, if it is still there."""
    try:
        pid, created, *_ = json.loads(file.read_text())
        process = psutil.Process(pid)
        return process if process.create_time() == created else None
    except (OSError, ValueError, TypeError, psutil.Error):
        return None


def _living(root: Path) -> Iterator[Path]:
    """The files of a home's workers that are there."""
    return filter(_process, _file(root).parent.glob("worker*.alive"))


def _file(root: Path, slot: str = "") -> Path:
    return root / "cache" / f"worker{slot}.alive"
