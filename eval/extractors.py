"""Extractors of features by name, and the features of folders of pictures.

The rows of `extractors.toml`: EffLite0, the studio's judge and space, models of open_clip and timm, and Inception, the
network of FID. Pictures come as Pillow opens them, of any size and mode; each extractor lays them on white or keeps
alpha, and resizes, as its network was trained. Shapes: N pictures, D features.

Pictures of a folder are ordered by the sha256 of their bytes: names, the order of a folder and who reads it change no
figure. Features are kept in blocks under the hashes of the pictures and of the extractor, so a stopped run goes on
where it was.
"""

import hashlib
import pkgutil
import socket
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from huggingface_hub import constants
from PIL import Image
from torch import Tensor

from eval import features
from eval.judge import Judge
from eval.statistics import FeatureStatistics
from models.data.pixels import FORMATS, fit, premultiply, read_picture, to_tensor
from models.data.stored import stored
from models.messages import Message, Refused, did_you_mean
from models.open_clip import OpenClip
from models.space import Embedder
from models.weights import file_sha256, weights_digest

ROWS: dict[str, dict[str, str]] = tomllib.loads(Path(__file__).with_name("extractors.toml").read_text(encoding="utf-8"))
BATCH = 32
LAYER = "2048"  # of Inception: the features of FID
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"  # of 95,628,359 bytes


@dataclass(frozen=True)
class Source:
    """Where weights come from."""

    weights: Path | None = None  # folder of the studio's, None: the shipped ones
    inception: Path | None = None  # file of Inception's
    download: bool = False  # whether a network may be used


@dataclass(frozen=True, eq=False)
class Extractor:
    """Pictures in, features out."""

    name: str  # as measures carry it
    identity: str  # names weights and preprocessing; features of two identities are never mixed
    prepare: Callable[[Image.Image], Tensor]  # one picture -> tensor, of one shape for pictures of one size
    network: Callable[[Tensor], Tensor]  # (N, ...) of such -> (N, D)
    # N texts -> (N, D) in the same space, where there is one.
    text: Callable[[Sequence[str]], Tensor] | None = field(default=None, repr=False)

    @property
    def related(self) -> str:
        return ROWS.get(self.name.partition("-")[0], {}).get("related", "")

    @cached_property
    def size(self) -> int:
        """D."""
        return self([Image.new("RGBA", (128, 128))]).shape[1]

    def measure(self, name: str) -> str:
        """A measure's name with the extractor's. Plain FID and KID are Inception's."""
        if self.name == "Inception" and name in ("FD", "KID"):
            return {"FD": "FID"}.get(name, name)
        return f"{name}-{self.name}"

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Features (N, D) float32. A batch is always full, or bits would depend on how many pictures come together."""
        groups: dict[tuple[int, ...], list[tuple[int, Tensor]]] = defaultdict(list)
        for number, picture in enumerate(pictures):
            groups[(ready := self.prepare(picture)).shape].append((number, ready))
        rows: list[Any] = [None] * len(pictures)
        for group in groups.values():
            for start in range(0, len(group), BATCH):
                some = group[start : start + BATCH]
                batch = torch.stack([ready for _, ready in (*some, *[some[-1]] * (BATCH - len(some)))])
                for (number, _), row in zip(some, self.network(batch).float().numpy(), strict=False):
                    rows[number] = row
        return np.stack(rows)


def extractor(name: str, source: Source = Source()) -> Extractor:
    """The extractor called `name`; Refused with the reason where there is none."""
    kind, _, argument = name.partition(":")
    if kind not in ROWS:
        raise Refused("eval.no_extractor", name=kind, hint=did_you_mean(kind, ROWS), known=list(ROWS))
    if argument and "takes" not in ROWS[kind]:
        raise Refused("eval.takes_nothing", name=kind, argument=argument)
    if not argument and "takes" in ROWS[kind]:
        raise Refused("eval.takes", name=kind, takes=ROWS[kind]["takes"])
    with network(source.download):
        try:
            return pkgutil.resolve_name(ROWS[kind]["make"])(argument, source)
        except Refused as error:
            if argument and not source.download and error.message.code.endswith(".no_load"):
                raise Refused("eval.closed", problem=str(error).rstrip(".")) from error
            raise


@contextmanager
def network(allowed: bool) -> Iterator[None]:
    """Whether connections to other machines may be opened. Where not, libraries see a machine without a network, and
    take what they have kept."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise OSError(str(Message("eval.no_network")))

    before, offline = (socket.getaddrinfo, socket.socket.connect), constants.HF_HUB_OFFLINE
    if not allowed:
        constants.HF_HUB_OFFLINE = True  # or it would try five times
        socket.getaddrinfo, socket.socket.connect = refuse, refuse  # type: ignore[method-assign]
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        socket.getaddrinfo, socket.socket.connect = before  # type: ignore[method-assign]


# --- The rows ---------------------------------------------------------------------------------------------------------


def pixels(picture: Image.Image) -> np.ndarray:
    """Any picture -> premultiplied uint8 (H, W, 4)."""
    return premultiply(np.asarray(picture.convert("RGBA")))


def white(picture: Image.Image) -> Tensor:
    """Any picture on white -> uint8 (3, H, W)."""
    return features.on_white(torch.from_numpy(pixels(picture)).permute(2, 0, 1)[None])[0]


def efflite0(_: str, source: Source) -> Extractor:
    net = features.extractor()
    identity = f"{features.WEIGHTS_SHA256} {features.PREPROCESSING}"
    return Extractor(features.NAME, identity, lambda picture: features.resize(white(picture)[None])[0], net.read)


def judge(_: str, source: Source) -> Extractor:
    """The mean over the places of its map: what it sees before it reads a caption."""
    net = Judge.load(source.weights)
    identity = f"{weights_digest(('judge',), source.weights)} fitted into 128"
    return Extractor("judge", identity, _fitted, lambda x: net.picture(x.to(net.dtype)).float().mean(1))


def space(_: str, source: Source) -> Extractor:
    embedder = Embedder.load(source.weights)
    parts = ("language", "vision", "space")
    identity = f"{weights_digest(parts, source.weights)} fitted into 128"
    vision, head = embedder.vision, embedder.space
    return Extractor(
        "space", identity, _fitted, lambda x: head.image(vision.forward(x.to(vision.dtype))), embedder.text
    )


def _fitted(picture: Image.Image) -> Tensor:
    return to_tensor(fit(picture))[0]


def open_clip(argument: str, source: Source) -> Extractor:
    model = OpenClip.load(argument)
    encode = partial(model.model.encode_image, normalize=True)
    name = f"open_clip-{_short(argument)}"
    return Extractor(name, f"{argument} {_of(model.model)}", lambda p: model.preprocess(_rgb(p)), encode, model.text)


def timm(argument: str, source: Source) -> Extractor:
    """Its features before the last layer; weights of a file are read from safetensors alone."""
    try:
        import timm as library
    except ImportError as error:
        raise Refused("eval.no_timm", problem=str(error)) from error
    name, file = (argument, "") if argument.startswith("hf-hub:") else argument.partition(":")[::2]
    if file and not (Path(file).is_file() and file.endswith(".safetensors")):
        raise Refused("eval.no_safetensors", path=file)
    if not argument.startswith("hf-hub:") and not library.is_model(name.partition(".")[0]):
        raise Refused("eval.no_timm_model", name=name, hint=did_you_mean(name, library.list_models()))
    try:
        model = library.create_model(name, pretrained=not file, num_classes=0, checkpoint_path=file)
    except Exception as error:  # whatever a file or a hub holds
        raise Refused("eval.no_load", name=argument, problem=str(error).partition("\n")[0]) from error
    settings = library.data.resolve_model_data_config(model)
    transform = library.data.create_transform(**settings, is_training=False)
    net = model.eval().requires_grad_(False)
    return Extractor(f"timm-{_short(argument)}", f"{argument} {_of(net)}", lambda p: transform(_rgb(p)), net)


def inception(_: str, source: Source) -> Extractor:
    """torchmetrics' own, with TensorFlow's resize, which the published figures have: not antialiased."""
    try:
        import torch_fidelity  # noqa: F401 - torchmetrics' network is built on it
    except ImportError as error:
        raise Refused("eval.no_fidelity", problem=str(error)) from error
    from torchmetrics.image.fid import NoTrainInceptionV3

    path = source.inception
    if path is None:
        raise Refused("eval.no_inception")
    if not path.is_file():
        raise Refused("eval.no_file", path=str(path))
    sha256 = file_sha256(path)
    if sha256 != INCEPTION_SHA256:
        raise Refused("eval.other_inception", path=str(path), sha256=sha256[:12], expected=INCEPTION_SHA256[:12])
    try:
        torch.load(path, map_location="cpu", weights_only=True)  # torch-fidelity itself would run what a pickle holds
        net = NoTrainInceptionV3("inception-v3-compat", [LAYER], str(path), antialias=False)
    except Exception as error:  # a pickle of anything
        raise Refused("eval.no_load", name=str(path), problem=str(error).partition("\n")[0]) from error
    identity = f"{sha256} on white; bilinear as in TensorFlow 1 to 299"
    return Extractor("Inception", identity, white, net)


def _rgb(picture: Image.Image) -> Image.Image:
    return Image.fromarray(white(picture).permute(1, 2, 0).numpy())


def _short(argument: str) -> str:
    """The last part of a name; of MODEL:FILE both."""
    model, _, rest = argument.removeprefix("hf-hub:").partition(":")
    return Path(model).name + (f"-{Path(rest).stem}" if rest else "")


def _of(net: torch.nn.Module) -> str:
    """sha256 of a network's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(name.encode() + tensor.detach().float().numpy().tobytes())
    return digest.hexdigest()


# --- Folders ----------------------------------------------------------------------------------------------------------


SUFFIXES = {f".{name.lower()}" for name in FORMATS} | {".jpg", ".tif", ".tiff", ".bmp"}
BLOCK = 512  # pictures a file of the cache
MOST = 10_000  # pictures of which all pairs are looked at


@dataclass(frozen=True, eq=False)
class Features:
    """Features of N pictures as blocks (n, D) float32, on the disk where they are kept."""

    blocks: list[np.ndarray]

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    def some(self, most: int = MOST) -> np.ndarray:
        """The first (at most `most`) rows: by the order of hashes, a draw."""
        rows, left = [], most
        for block in self.blocks:
            rows.append(np.asarray(block[:left]))
            left -= len(rows[-1])
        return np.concatenate(rows)

    def every(self, step: int, first: int) -> Iterator[np.ndarray]:
        """Blocks of the rows first, first + step, ..."""
        start = 0
        for block in self.blocks:
            if len(rows := block[(first - start) % step :: step]):
                yield rows
            start += len(block)

    @cached_property
    def statistics(self) -> FeatureStatistics:
        return FeatureStatistics.merged(map(FeatureStatistics.part, self.blocks))


@dataclass(frozen=True, eq=False)
class PictureFolder:
    """The pictures below a folder, in the order of their hashes."""

    path: Path
    files: list[tuple[str, Path]]  # sha256 and file
    broken: dict[Path, str] = field(default_factory=dict)  # sentences about files that can't be read, as they are met

    @classmethod
    def read(cls, path: Path) -> "PictureFolder":
        """Refused where there is no folder, or no picture in it."""
        if not path.is_dir():
            raise Refused("eval.no_folder", path=str(path))
        there = [one for one in path.rglob("*") if one.suffix.lower() in SUFFIXES and one.is_file()]
        if not there:
            raise Refused("eval.empty_folder", path=str(path), formats=FORMATS)
        return cls(path, sorted((hashlib.sha256(one.read_bytes()).hexdigest(), one) for one in there))

    @property
    def digest(self) -> str:
        """Names the pictures, and not their names."""
        return hashlib.sha256("".join(sha256 for sha256, _ in self.files).encode()).hexdigest()

    def features(
        self, extractor: Extractor, cache: Path | None, progress: "Track" = lambda steps, _: iter(steps)
    ) -> Features:
        """Of all pictures that can be read; Refused for fewer than two, and where features are not finite."""
        blocks = [self.files[start : start + BLOCK] for start in range(0, len(self.files), BLOCK)]
        title = f"{extractor.name}, {self.path.name}"
        blocks_read = [self._readable(block, self._block(block, extractor, cache)) for block in progress(blocks, title)]
        features = Features([block for block in blocks_read if len(block)])
        if len(features) < 2:
            raise Refused("eval.one_picture", path=str(self.path), count=len(features), broken=len(self.broken))
        return features

    def _block(self, files: list[tuple[str, Path]], extractor: Extractor, cache: Path | None) -> np.ndarray:
        key = hashlib.sha256("\n".join([extractor.identity, *(sha256 for sha256, _ in files)]).encode()).hexdigest()
        return stored(cache and cache / "folders" / f"{key[:32]}.npy", lambda: _extracted(files, extractor))

    def _readable(self, files: list[tuple[str, Path]], rows: np.ndarray) -> np.ndarray:
        """The rows without those of files that can't be read."""
        finite = np.isfinite(rows).all(1)
        for number in np.flatnonzero(~finite):
            try:
                read_picture(files[number][1])
            except Refused as problem:
                self.broken[files[number][1]] = str(problem)
            else:
                raise Refused("eval.not_finite", path=str(files[number][1]))
        return rows if finite.all() else rows[finite]


Track = Callable[[list, str], Iterator]


def _extracted(files: list[tuple[str, Path]], extractor: Extractor) -> np.ndarray:
    """(n, D) float32; a row of NaN for a file that can't be read."""
    rows = np.full((len(files), extractor.size), np.nan, np.float32)
    for start in range(0, len(files), BATCH):
        read: dict[int, Image.Image] = {}
        for number, (_, path) in enumerate(files[start : start + BATCH], start):
            try:
                read[number] = read_picture(path)
            except Refused:
                continue
        if read:
            rows[list(read)] = extractor(list(read.values()))
    return rows
