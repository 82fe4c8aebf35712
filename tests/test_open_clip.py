"""Laws of open_clip models: any of them embeds as our space does, and what can't be loaded is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.open_clip import OpenClip
from models.weights import WeightsError

tiny_readers = pytest.importorskip("tiny_readers", exc_type=ImportError)
TEXTS = ["a cat", "一只红色的猫", "star " * 60, "typed <eos> in a prompt"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_readers.save_open_clip(tmp_path_factory.mktemp("models") / "clip")


def test_vectors_of_any_size_are_of_unit_length_and_alone_as_in_company(folder: Path) -> None:
    model = OpenClip.load(str(folder))
    pictures = np.random.default_rng(0).integers(0, 256, (3, 50, 90, 4), np.uint8)
    pictures[..., :3] = np.minimum(pictures[..., :3], pictures[..., 3:])
    for vectors, alone in (
        (model.image(pictures), model.image(pictures[:1])),
        (model.text(TEXTS), model.text(TEXTS[:1])),
    ):
        assert torch.allclose(vectors.norm(dim=1), torch.ones(len(vectors)), atol=1e-5)
        assert torch.allclose(vectors[:1], alone, atol=1e-5)
    nothing, white = np.zeros((1, 128, 128, 4), np.uint8), np.full((1, 128, 128, 4), 255, np.uint8)
    assert torch.equal(model.image(nothing), model.image(white))


def test_what_can_not_be_loaded_is_refused_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pickle").mkdir()
    (tmp_path / "pickle" / "open_clip_model.bin").write_bytes(b"")
    (tmp_path / "weights.pt").write_bytes(b"")
    (tmp_path / "cut").mkdir()
    for file in folder.iterdir():
        (tmp_path / "cut" / file.name).write_bytes(file.read_bytes()[:1000])
    for name, said in {
        str(tmp_path / "pickle"): "holds no safetensors",
        f"local-dir:{tmp_path / 'nowhere'}": "holds no safetensors",
        f"ViT-B-32:{tmp_path / 'weights.pt'}": "holds no safetensors",
        "open_clip:ViT-B-32": "would be random",
        "ViT-B-23:openai": "did you mean",
        str(tmp_path / "cut"): "does not load as an open_clip model",
        "ViT-B-32:nowhere": "does not load as an open_clip model",
    }.items():
        with pytest.raises(WeightsError, match=said) as refused:
            OpenClip.load(name)
        assert "\n" not in str(refused.value) and refused.value.text("zh") != str(refused.value), name
