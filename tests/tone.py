"""A toy medium: tones as WAV files, which the fake backend makes. `register` puts it into every table that CONTRIBUTING
lists for a medium, and nowhere else.
"""

import io
import math
import struct
import wave
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, ClassVar, Literal

import pytest
from pydantic import Field

from studio.backends.base import Backend, Event, Handler, per_request
from studio.backends.fake import Fake
from studio.capabilities import Capabilities, Range
from studio.events import Progress
from studio.media import Artifact, Medium
from studio.metadata.containers import Broken, Container, Extra, Metadata, riff_chunk
from studio.requests import MediaRequest, Number, Text

RATE, SECONDS = 8_000, 0.1
PITCH = Range(least=20, most=20_000, usual=440)  # a real one is a field of Capabilities
RECORD = b"stud"  # the chunk that holds our record
FAKE_TASKS: Any = Fake.tasks


class ToneRequest(MediaRequest):
    """A tone of a pitch."""

    suffix: ClassVar[str] = ".wav"
    task: Literal["tone"] = "tone"
    prompt: Text = Field(default="", description="What to hear.")
    pitch: Number | None = Field(default=None, ge=20, le=20_000, description="Hertz.")


def resolved(request: ToneRequest, can: Capabilities) -> ToneRequest:
    return request.model_copy(update={"pitch": PITCH.within("pitch", request.pitch)})


def tones(request: ToneRequest) -> Iterator[Event]:
    """A sine for each seed, which is its phase."""
    for index, seed in enumerate(request.seeds()):
        yield Progress(index, request.count)
        angles = (2 * math.pi * (request.pitch or 0) * n / RATE + seed for n in range(round(RATE * SECONDS)))
        samples = struct.pack(f"<{round(RATE * SECONDS)}h", *(round(20_000 * math.sin(angle)) for angle in angles))
        file = io.BytesIO()
        with wave.open(file, "wb") as sound:
            sound.setparams((1, 2, RATE, 0, "NONE", ""))
            sound.writeframes(samples)
        yield Artifact(file.getvalue(), "audio/wav", "audio", seconds=SECONDS, index=index, seed=seed)


def read_wav(data: bytes, media_type: str) -> Artifact:
    try:
        with wave.open(io.BytesIO(data)) as sound:
            return Artifact(data, media_type, "audio", seconds=sound.getnframes() / sound.getframerate())
    except (wave.Error, EOFError) as error:
        raise ValueError(str(error)) from error


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at < len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + size > len(data):
            raise Broken
        yield name, data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def extras(data: bytes) -> Iterator[Extra]:
    return (("studio", body, False) for name, body in chunks(data) if name == RECORD)


def with_metadata(data: bytes, metadata: Metadata) -> bytes:
    parts = [riff_chunk(name, body) for name, body in chunks(data) if name in (b"fmt ", b"data")]
    record = metadata.texts.get("studio", "").encode()
    parts += [riff_chunk(RECORD, record)] if record else []
    return riff_chunk(b"RIFF", b"WAVE" + b"".join(parts))


WAV = Container("WAV", "audio/wav", ".wav", lambda data: data[8:12] == b"WAVE", extras, with_metadata, keywords=True)


def tasks(fake: Fake) -> Mapping[str, Handler]:
    return {**FAKE_TASKS.fget(fake), "tone": per_request(tones)}


# By module and table: the key and the row of the medium.
ROWS: dict[tuple[str, str], tuple[str, Any]] = {
    ("studio.media", "MEDIA"): ("audio", Medium({".wav": "audio/wav"}, read_wav, visual=False)),
    ("studio.metadata.containers", "CONTAINERS"): ("audio/wav", WAV),
    ("studio.requests", "REQUESTS"): ("tone", ToneRequest),
    ("studio.planner", "RESOLVERS"): ("tone", resolved),
}
BACKEND = ("studio.backends.fake", property(tasks))


def register(set_item: Callable[[Any, str, Any], None], set_attribute: Callable[[Any, str, Any], None]) -> None:
    """Put the rows into their tables, and the handler into the backend."""
    for (module, table), (key, row) in ROWS.items():
        set_item(getattr(import_module(module), table), key, row)
    set_attribute(Fake, "tasks", BACKEND[1])


@pytest.fixture
def tone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The registered medium, for one test."""
    from studio import cli  # all commands, which most tests don't need

    commands = cli.program().commands
    before = dict(commands)
    register(monkeypatch.setitem, monkeypatch.setattr)
    yield
    commands.clear()
    commands.update(before)


class FakeOpener:
    """An opener whose unpickling in the worker registers the medium."""

    def __call__(self, model: str) -> Backend:
        return Fake()

    def __reduce__(self) -> tuple[Callable[[], "FakeOpener"], tuple[()]]:
        return _opener_in_worker, ()


def _opener_in_worker() -> FakeOpener:
    register(dict.__setitem__, setattr)
    return FakeOpener()
