"""Tiny untrained parts, saved as training exports them; zero-initialised weights are made random."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from fixture_world import fixture_world
from safetensors.torch import save_file

from models.assets import preset, prompt_list
from models.autoencoder import Autoencoder
from models.captioner import FEATURES, Captioner, CaptionerConfig, PictureEncoder
from models.detector import Detector
from models.dit import DiT
from models.language import LanguageConfig, LanguageModel
from models.lora import FAST, FILE, attach, changes
from models.prompts.parser import PromptParser
from models.prompts.words import WordTable
from models.references import store
from models.references.store import SIDE, ReferenceStore
from models.space import Embedder, SemanticSpace
from models.tokenizer import train_tokenizer
from models.upscaler import Upscaler
from models.video import VideoDiT
from models.vision import VisionEncoder
from models.weights import load_part, part_digests, record_part, save_part

store.SPEED = 8  # of packing: no test asks for small files


@pytest.fixture(scope="module", autouse=True)
def short_runs() -> Iterator[None]:
    """Fewer probes and sheet rows, for speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.train.image.PROBES", 8)
        patch.setattr("models.train.image.prompt_list", lambda name: prompt_list(name)[:9])
        yield


@pytest.fixture(autouse=True)
def own_precision() -> Iterator[None]:
    """The trainer takes this machine's; other tests of this process train in another one."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def awaken(network: torch.nn.Module) -> None:
    """Random numbers where training starts from zeros."""
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)


def save_tiny_parts(root: Path) -> Path:
    """All parts of the sticker pipeline, in `root`."""
    return Path(shutil.copytree(_tiny_parts(), root, dirs_exist_ok=True))


@cache
def _tiny_parts() -> Path:
    """Cached per process: it takes a second."""
    root, owner = Path(tempfile.mkdtemp()), os.getpid()
    # A process that was forked from this one ends as it does, and must leave the folder.
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(root))
    torch.manual_seed(0)
    size = preset("language", "tiny")
    names = [name for picture in fixture_world().pictures for name in picture.names.values()]
    save_part(LanguageModel(LanguageConfig(**size)), "language", root)
    train_tokenizer(names, size["vocab_size"], root / "language")
    record_part("language", root)
    save_part(VisionEncoder(**preset("vision", "tiny")), "vision", root)
    save_part(SemanticSpace(**preset("space", "tiny")), "space", root)
    torch.manual_seed(1)  # what follows does not hang on how many numbers the parts above took
    autoencoder = Autoencoder(**preset("autoencoder", "tiny"), preview=[[0.1] * 4] * 8 + [[0.5] * 4])
    save_part(autoencoder, "autoencoder", root)
    dit = DiT(**{**preset("dit", "tiny"), "context": size["hidden_size"]})
    awaken(dit)
    save_part(dit, "dit", root)
    PromptParser(Embedder.load(root), (), torch.zeros(0, 128), WordTable.load()).save(root)  # it knows nothing
    ReferenceStore(np.zeros((0, SIDE, SIDE, 4), np.uint8)).save(root)
    return root


def save_tiny_upscaler(root: Path, seed: int = 0) -> Path:
    """The part that enlarges, in `root`."""
    torch.manual_seed(seed)
    network = Upscaler(**preset("upscaler", "tiny"))
    awaken(network)
    return save_part(network, "upscaler", root)


def save_tiny_video(root: Path, seed: int = 0) -> Path:
    """The part that moves pictures, in `root`."""
    torch.manual_seed(seed)
    network = VideoDiT(**{**preset("video", "tiny"), "context": preset("language", "tiny")["hidden_size"]})
    awaken(network)
    return save_part(network, "video", root)


def tiny_detector(seed: int = 0) -> Detector:
    """Of three things, untrained."""
    torch.manual_seed(seed)
    detector_ = Detector([["red ball", "红球"], ["box", ""], ["face", "脸"]], **preset("detector", "tiny"))
    return detector_.eval()


def save_tiny_captioner(root: Path, seed: int = 0) -> Path:
    """The part that describes pictures and the one that finds things in them, in `root`."""
    torch.manual_seed(seed)
    parts = ("language", "vision", "space", "detector")
    detector = tiny_detector(seed)
    save_part(detector, "detector", root, int8=True)
    encoder = PictureEncoder(Embedder.load(root), detector)
    sizes = {**preset("language", "tiny"), **preset("captioner", "tiny")}
    network = Captioner(CaptionerConfig(**{**sizes, "features": {name: encoder.width(name) for name in FEATURES}}))
    awaken(network)
    return save_part(network, "captioner", root, part_digests(parts, root))


def give_variant(root: Path, change: float, rank: int = 2) -> None:
    """Put a fast variant beside the parts: every number of its low-rank changes is `change` from untrained ones."""
    dit = load_part(DiT, "dit", root)
    dit.warp_in = None  # nobody asks it for what is warped
    attach(dit, rank)
    (root / FAST).mkdir(exist_ok=True)
    save_file({name: tensor + change for name, tensor in changes(dit).items()}, root / FAST / FILE)
    record_part(FAST, root)
