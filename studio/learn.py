"""Learning from a user's pictures: an adapter of the studio's generator (`models.train.style`), trained in minutes, or
a LoRA of a pipeline of diffusers (`models.train.pipeline`).

A training run is a folder of the home: the pictures as they are learned, their captions, the trainer's state and
sheets, and `status.json`, which the page polls. A run that ended in any way goes on with the same call. Runs train one
after the other: the lock of the home's folder is their queue. What is learned goes into the folder of LoRAs, whole or
not at all, and is drawn with where a prompt names it: `a cat <lora:NAME>`.
"""

import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np
import psutil
import yaml
from PIL import ImageOps

from models.data.pixels import fit, without_ground
from models.messages import Message, Refused
from models.weights import weights_digest
from studio import loras, settings
from studio.backends.base import open_backend, run
from studio.clips import picture_of
from studio.files import PART, make_folder, ready_folder, sha256, why, write_whole
from studio.media import Artifact, on_ground
from studio.planner import resolve
from studio.requests import make_request

if TYPE_CHECKING:
    from models.data.world import World
    from models.train.style import StyleTrainer

FOLDER, STATUS, CARD = "learning", "status.json", "README.md"
EXAMPLES = "examples.json"  # of a run: {digest, pictures: [{file, sha256, caption}], ...}
LEAST, MOST = 5, 50  # pictures
MINUTES = 4.0
CHECKPOINT, SLOW = 1.0, 10.0  # minutes between two sheets; of pipelines
OWN = "embedded"  # the studio's model
NAME = re.compile(r"\w[\w .-]{0,39}")  # of an adapter: a folder, and a word between the marks of a prompt
RUNNING = ("waiting", "preparing", "drawing", "training")


@dataclass(frozen=True)
class Status:
    """Of a run: waiting for another, preparing, drawing, training, done, stopped, failed (with a message)."""

    state: str = "preparing"
    progress: float = 0.0  # of the training, 0 to 1
    seconds: float = 0.0  # of training so far
    message: str = ""
    minutes: float = MINUTES  # of training in all
    pid: int = 0
    updated: float = 0.0

    @property
    def is_running(self) -> bool:
        return self.state in RUNNING and psutil.pid_exists(self.pid)

    @property
    def sentence(self) -> Message:
        """The state, in words."""
        return Message(f"learn.{self.state}")


@dataclass(frozen=True)
class Picture:
    """A picture to learn from: its file, premultiplied uint8 (128, 128, 4), and what it shows, in words ("": not yet
    known)."""

    path: Path
    pixels: np.ndarray
    caption: str


class TrainingRun:
    """The run that learns the adapter `name` in the home `root`."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name, self.folder = root, name, root / FOLDER / name

    @property
    def status(self) -> Status | None:
        """None where there is no run of that name. One whose process is gone was stopped."""
        try:
            status = Status(**json.loads((self.folder / STATUS).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return status if status.is_running or status.state not in RUNNING else replace(status, state="stopped")

    def report(self, **values: Any) -> None:
        """Store what has changed of the status; it is this process's unless a `pid` is given."""
        status = replace(self.status or Status(), **{"pid": os.getpid(), "updated": time.time(), **values})
        make_folder(self.folder)
        write_whole(self.folder / STATUS, json.dumps(asdict(status)).encode(), "--home")

    @property
    def sheet(self) -> Path | None:
        """The latest sheet of what is learned."""
        return max(self.folder.glob("sheet-*.png"), default=None)

    @property
    def adapter(self) -> Path:
        """Where what is learned goes."""
        return self.root / loras.FOLDER / self.name

    @property
    def is_learned(self) -> bool:
        return (self.adapter / CARD).is_file()

    @property
    def is_of_ratings(self) -> bool:
        """Whether it learns from ratings (`studio.preferences`), and not from pictures."""
        return self.name == loras.PREFERENCES

    @property
    def is_in_use(self) -> bool:
        """Of ratings: whether the generator that it belongs to draws with it."""
        chosen = settings.chosen(self.root).get("preferences")
        return bool(chosen) and chosen == adapter_named(self.root, self.name).card.get("base_model")

    @property
    def is_resumable(self) -> bool:
        """Whether what it learns from is there, and it has not come to its end."""
        has_source = self.is_of_ratings or self.uploads.is_dir()
        return has_source and self.status is not None and self.status.state in ("stopped", "failed")

    def begin(self, minutes: float) -> None:
        """Begin the training in another process, or go on with it. Refused where it is going on."""
        check_free(self.root, self.name)
        self.report(state="waiting", progress=0.0, message="", minutes=minutes)
        self.report(pid=self.process("--minutes", f"{minutes:g}").pid)

    def process(self, *options: str) -> subprocess.Popen[bytes]:
        """`studio learn` of this run's source, with its messages in `log.txt`."""
        source = [self.name] if self.is_of_ratings else [str(self.uploads), "--word", self.name]
        command = [sys.executable, "-m", "studio", "learn", *source, "--model", OWN, "--home", str(self.root)]
        with (self.folder / "log.txt").open("wb") as log:
            files: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": log}
            process = subprocess.Popen([*command, *options], start_new_session=True, **files)
        threading.Thread(target=process.wait, daemon=True).start()  # no zombie is left
        return process

    @property
    def uploads(self) -> Path:
        """Pictures that the page was given, with their captions."""
        return self.folder / "pictures"


def runs(root: Path) -> list[TrainingRun]:
    """All of a home, the latest first."""
    named = [TrainingRun(root, folder.name) for folder in (root / FOLDER).glob("*") if folder.is_dir()]
    return sorted((one for one in named if one.status), key=lambda one: -(one.status or Status()).updated)


# --- Pictures ---------------------------------------------------------------------------------------------------------


def read_pictures(files: Sequence[Path]) -> list[Picture]:
    """The pictures of files without their ground, each once, with the captions of the text files beside them. Refused
    for one that can't be read, and where fewer than LEAST or more than MOST are left."""
    if len(files) > MOST:
        raise Refused("learn.too_many", count=len(files), most=MOST)
    pictures: dict[bytes, Picture] = {}
    for path in files:
        pixels = fit(without_ground(picture_of(path)))
        if not pixels[..., 3].any():
            raise Refused("picture.transparent", path=str(path))
        pictures.setdefault(pixels.tobytes(), Picture(path, pixels, caption_beside(path)))
    if len(pictures) < LEAST:
        raise Refused("learn.too_few", count=len(pictures), files=len(files), least=LEAST)
    return list(pictures.values())


def caption_beside(path: Path) -> str:
    """The text of the file beside a picture, "" without one; Refused where it can't be read."""
    try:
        return " ".join(path.with_suffix(".txt").read_text(encoding="utf-8").split())
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise Refused("learn.caption", path=str(path.with_suffix(".txt")), problem=str(error)) from error


def described(pictures: Sequence[Picture]) -> list[Picture]:
    """The pictures, those without a caption with the captioner's."""
    backend, known = open_backend("embedded"), list[Picture]()
    for picture in pictures:
        caption = picture.caption
        if not caption:
            request = resolve(make_request("caption", image={"path": str(picture.path)}), backend.capabilities())
            caption = next(event.text for event in run(backend, request) if isinstance(event, Artifact))
        known.append(replace(picture, caption=caption))
    return known


# --- Training ---------------------------------------------------------------------------------------------------------


def check_name(root: Path, name: str) -> None:
    """Refused where what pictures show can't be called so, or another run trains it now."""
    if name == loras.PREFERENCES:
        raise Refused("learn.reserved", name=name)
    check_free(root, name)


def check_free(root: Path, name: str) -> None:
    """Refused where no adapter can be called so, or another run trains it now."""
    if not NAME.fullmatch(name) or name.endswith((" ", ".")):
        raise Refused("learn.name", name=name)
    training = TrainingRun(root, name).status
    if training and training.is_running and training.pid != os.getpid():
        raise Refused("learn.running", name=name)


@dataclass(frozen=True)
class TrainingSet:
    """What a run learns from.

    Attributes:
        digest: of all of it: a run of another digest begins anew.
        base: what is taught, as the card says: the digest of the generator, or the title of another model.
        facts: what the card lists beside, `pictures` among them.
        about: what the card says.
        trainer: of a folder, minutes, minutes between two sheets, and what gets the progress.
        every: minutes between two sheets.
        check: called with the trainer at the end; Refused where what was learned is not to be used.
    """

    digest: str
    base: str
    facts: Mapping[str, Any]
    about: Message
    trainer: Callable[[Path, float, float, Callable[..., None]], "StyleTrainer"]
    every: float = CHECKPOINT
    check: Callable[["StyleTrainer"], None] = lambda trainer: None


def learn(
    root: Path,
    name: str,
    pictures: Sequence[Picture],
    minutes: float = MINUTES,
    report: Callable[[Status], None] = lambda status: None,
    weights: Path | None = None,
    model: str = OWN,
) -> Path:
    """Train the adapter `name` from pictures, as `train`: of the studio's generator under `weights` (None: the shipped
    one), or of another model. Refused where that is none that learns."""
    check_name(root, name)

    def prepare(run: TrainingRun, note: Callable[..., None]) -> TrainingSet:
        known = described(pictures)
        return _of_pictures(name, known, weights) if model == OWN else _of_pipeline(name, known, model)

    return train(root, name, prepare, minutes, report)


def train(
    root: Path,
    name: str,
    prepare: Callable[[TrainingRun, Callable[..., None]], TrainingSet],
    minutes: float,
    report: Callable[[Status], None] = lambda status: None,
) -> Path:
    """Train the adapter `name` in this process -> its folder. Ctrl-C and SIGTERM stop it, and what was learned so far
    is there. With the training set of an earlier run that goes on; with another it begins anew. `prepare` gets the run,
    and what notes its progress. Refused where the weights are missing, the disk is full or the name is taken."""
    check_free(root, name)
    training = TrainingRun(root, name)
    if not 0 < minutes <= 24 * 60:
        raise Refused("learn.minutes", minutes=f"{minutes:g}")
    ready_folder(training.folder, 200, "--home")

    def note(**values: Any) -> None:
        training.report(**values)
        report(training.status or Status())

    try:
        note(state="waiting", progress=0.0, seconds=0.0, message="", minutes=minutes)
        with filelock.FileLock(root / FOLDER / ".lock"):
            note(state="preparing")
            finished = _trained(training, prepare(training, note), minutes, note)
            note(state="done" if finished else "stopped")
    except KeyboardInterrupt:
        note(state="stopped")
        raise
    except Refused as refusal:
        note(state="failed", message=str(refusal))
        raise
    except OSError as error:
        note(state="failed", message=str(error))
        raise Refused(why(error, training.folder, "--home")) from error
    except (ArithmeticError, RuntimeError, ValueError, MemoryError) as error:  # such as no memory, or a rate too high
        broke = Refused("learn.broke", name=name, problem=str(error).splitlines()[0] if str(error) else repr(error))
        note(state="failed", message=str(broke))
        raise broke from error
    return training.adapter


def _of_pictures(name: str, pictures: Sequence[Picture], weights: Path | None) -> TrainingSet:
    from models.lora import GENERATOR
    from models.train.style import style_trainer

    world, base = _world(pictures), weights_digest((GENERATOR,), weights)
    about = Message("learn.card", {"name": name, "count": len(pictures)})
    trainer = functools.partial(style_trainer, world, root=weights)
    return TrainingSet(world.digest, base, {"pictures": _rows(pictures)}, about, trainer)


def _of_pipeline(name: str, pictures: Sequence[Picture], model: str) -> TrainingSet:
    """Refused where the model draws with no LoRA, or has another kind of latents."""
    from models.train.pipeline import FAMILIES, pipeline_trainer
    from studio.backends.diffusers import Diffusers
    from studio.backends.runtime import running

    backend = open_backend(model)
    title = backend.capabilities().title
    if not isinstance(backend, Diffusers) or backend.folder.pipeline.name not in FAMILIES:
        raise Refused("learn.no_lora", model=title, families=[*FAMILIES.values()])
    world, rows = _world(pictures), _rows(pictures)

    def trainer(out: Path, minutes: float, every: float, report: Callable[..., None]) -> "StyleTrainer":
        opaque = [on_ground(picture_of(picture.path)) for picture in pictures]
        square = [ImageOps.pad(picture, (max(picture.size),) * 2, color="white") for picture in opaque]
        with running(title):
            trainer = pipeline_trainer(world, backend.loaded(), square, out, minutes, every, report)
            trainer.task.batch(0, 0, 1, 0.0)  # encodes them, or says why not
        return trainer

    digest = hashlib.sha256(json.dumps([backend.digest(), rows]).encode()).hexdigest()
    about = Message("learn.pipeline_card", {"name": name, "count": len(pictures), "model": title})
    return TrainingSet(digest, title, {"base_digest": backend.digest(), "pictures": rows}, about, trainer, every=SLOW)


def _world(pictures: Sequence[Picture]) -> "World":
    from models.train.style import Example, examples_world

    return examples_world([Example(picture.path.stem, picture.pixels, picture.caption) for picture in pictures])


def _rows(pictures: Sequence[Picture]) -> list[dict[str, str]]:
    return [
        {"file": picture.path.name, "sha256": sha256(picture.path), "caption": picture.caption} for picture in pictures
    ]


def _trained(training: TrainingRun, given: TrainingSet, minutes: float, note: Callable[..., None]) -> bool:
    """Whether it trained to its end, and was not stopped."""
    from models.train.checkpoint import STATE

    if not _same(training, given.digest):
        for old in [*training.folder.glob("sheet-*.png"), *training.folder.glob("*.safetensors")]:
            old.unlink()
        shutil.rmtree(training.folder / "export", ignore_errors=True)
        (training.folder / "stats.jsonl").unlink(missing_ok=True)
        content = json.dumps({"digest": given.digest, **given.facts}, ensure_ascii=False, indent=1)
        write_whole(training.folder / EXAMPLES, content.encode(), "--home")
    trainer = given.trainer(training.folder, minutes, given.every, note)
    if (training.folder / STATE).exists():
        trainer.resume()
    trainer.run()
    given.check(trainer)
    _publish(training, given, trainer.state.step, trainer.state.seconds)
    return trainer.length.progress(trainer.state.step, trainer.state.seconds) >= 1


def _same(training: TrainingRun, digest: str) -> bool:
    try:
        stored = json.loads((training.folder / EXAMPLES).read_text(encoding="utf-8"))
        return bool(stored["digest"] == digest)
    except (OSError, ValueError, KeyError, TypeError):
        return False


# --- Adapters ---------------------------------------------------------------------------------------------------------


def _publish(training: TrainingRun, given: TrainingSet, steps: int, seconds: float) -> None:
    """Put what was learned so far, with its card, into the folder of LoRAs, in place of an earlier one."""
    learned, folder = training.folder / "export", training.adapter
    card = {
        "library_name": "peft", "tags": ["studio128", "lora"], "base_model": given.base,
        "word": training.name, "steps": steps, "minutes": round(seconds / 60, 1), **given.facts,
    }  # fmt: skip
    part = folder.with_name(f"{PART}{os.getpid()}-{uuid.uuid4().hex}")
    shutil.copytree(learned, part)
    front = yaml.safe_dump(card, allow_unicode=True, sort_keys=False)
    (part / CARD).write_text(f"---\n{front}---\n\n{given.about.text()}\n", encoding="utf-8")
    if training.sheet:
        shutil.copy(training.sheet, part / "sheet.png")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


@dataclass(frozen=True)
class Adapter:
    """A learned adapter: its name, folder, and what its card says."""

    name: str
    path: Path
    card: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as `--json` prints them."""
        size = sum(file.stat().st_size for file in self.path.iterdir())
        facts = {key: self.card.get(key) for key in ("base_model", "steps", "minutes")}
        learned = {key: self.card[key] for key in ("pictures", "pairs") if key in self.card}
        return {"name": self.name, "path": str(self.path), "bytes": size, **facts, **learned}

    @property
    def source(self) -> Message:
        """What it was learned from, and for how long."""
        pairs, pictures = self.card.get("pairs"), len(self.card["pictures"])
        minutes = {"minutes": self.card.get("minutes")}
        if pairs is None:
            return Message("learn.from", {"count": pictures, **minutes})
        return Message("learn.from_pairs", {"count": pairs, **minutes})


def adapters(root: Path) -> Iterator[Adapter]:
    """Those in a home, by name."""
    for path in sorted((root / loras.FOLDER).glob(f"*/{CARD}")):
        with contextlib.suppress(OSError, ValueError, yaml.YAMLError, IndexError):
            card = yaml.safe_load(path.read_text(encoding="utf-8").split("---\n")[1])
            if isinstance(card, dict) and isinstance(card.get("pictures"), list):
                yield Adapter(path.parent.name, path.parent, card)


def adapter_named(root: Path, name: str) -> Adapter:
    """Refused where there is none of that name."""
    there = {adapter.name: adapter for adapter in adapters(root)}
    if name not in there:
        raise Refused("learn.unknown", name=name, names=list(there))
    return there[name]


def remove(root: Path, name: str) -> None:
    """Delete an adapter and its run. Refused where there is neither of that name, or it is trained now."""
    check_free(root, name)
    training = TrainingRun(root, name)
    if name == loras.PREFERENCES:
        settings.choose(root, preferences=None)
    if training.status is None or training.is_learned:
        shutil.rmtree(adapter_named(root, name).path)
    shutil.rmtree(training.folder, ignore_errors=True)


def export(root: Path, name: str, out: Path) -> Path:
    """Copy an adapter's folder into `out` -> its path; a UNet's LoRA as kohya's programs read it lies beside. Refused
    where there is one of that name already."""
    adapter, target = adapter_named(root, name), out / name
    if target.exists():
        raise Refused("learn.exported", path=str(target))
    ready_folder(out, 10)
    shutil.copytree(adapter.path, target)
    if (file := target / "pytorch_lora_weights.safetensors").is_file():
        from models.train.pipeline import save_for_kohya

        save_for_kohya(file, target / f"{name}.kohya.safetensors")
    return target
