"""Scores of pictures, captions and vectors: invariances, equality with reference libraries, refusals."""

import hashlib
import json
import shutil
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from eval_kit import TINY, draw
from fixture_world import fixture_world
from PIL import Image, ImageOps
from torch import nn
from torchmetrics.functional.retrieval import retrieval_average_precision
from torchmetrics.image.kid import KernelInceptionDistance

from eval import __main__ as command
from eval import extractors, score
from eval.captions import bleu, bleu_counts, rouge_l
from eval.copies import NEAR, PRINTS, distances
from eval.extractors import Source, extractor, network
from eval.rows import Row
from eval.score import PictureFolder, retrieval_rows, vectors_of
from eval.statistics import average_precision, cosine, coverage, kernel_distance, vendi
from models.data.pixels import png
from models.messages import Refused

COUNT = 24


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders of pictures of mixed sizes, modes and formats."""
    folder = tmp_path_factory.mktemp("pictures")
    return draw(folder / "a", COUNT, seed=0), draw(folder / "b", COUNT, seed=1)


def rows_of(a: Path, b: Path, cache: Path | None = None) -> dict[str, Row]:
    groups, _ = score.folder_groups(a, b, [TINY], cache)
    return {row.name: row for group in groups.values() for row in group}


def gaussian(n: int, d: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (n, d))


# --- Laws -------------------------------------------------------------------------------------------------------------


def test_scores_ignore_names_and_order(two: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = two
    itself, apart, back = rows_of(a, a), rows_of(a, b), rows_of(b, a)
    assert abs(itself["FD-tiny"].value) < 1e-6 and itself["copies, within 0.02"].value == 1
    assert all(itself[f"{name}-tiny"].value == 1 for name in ("precision", "recall", "coverage"))
    assert apart["FD-tiny"].value == pytest.approx(back["FD-tiny"].value, rel=1e-9) and apart["FD-tiny"].value > 1
    assert apart["precision-tiny"].value == back["recall-tiny"].value and apart["copies, within 0.02"].value < 0.2
    for number, path in enumerate(sorted(a.iterdir(), reverse=True)):
        (tmp_path / "deep").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "deep" / f"{number}{path.suffix}")
    assert rows_of(tmp_path, b) == apart


def test_blocks_batches_and_a_cache_change_nothing(
    two: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows_of(*two)
    monkeypatch.setattr(score, "FOLDER_BLOCK", 7)
    for module in (extractors, score):
        monkeypatch.setattr(module, "BATCH", 3)
    after = rows_of(*two, tmp_path)
    again = rows_of(*two, tmp_path)
    for name, row in before.items():
        assert after[name].value == pytest.approx(row.value, rel=1e-6, abs=1e-9), name
    assert again == after


def test_vendi_counts_what_differs() -> None:
    assert vendi([np.ones((5, 4))]) == pytest.approx(1) and vendi([np.eye(7), np.eye(7)]) == pytest.approx(7)


def _moved(picture: Image.Image, scale: float = 1.0, shift: float = 0.0) -> Image.Image:
    """Scaled about the middle and shifted, by shares of the side, on a ground of the corner colour."""
    ground = Image.new("RGBA", picture.size, picture.getpixel((0, 0)))
    width, height = (max(1, round(scale * side)) for side in picture.size)
    left, top = (round((old - new) / 2 + shift * old) for old, new in zip(picture.size, (width, height), strict=True))
    ground.paste(picture.resize((width, height), Image.Resampling.LANCZOS), (left, top))
    return ground


def _recoloured(picture: Image.Image) -> Image.Image:
    """A third of the way around the circle of hues."""
    hue, *rest = picture.convert("RGB").convert("HSV").split()
    turned = Image.merge("HSV", (hue.point(lambda level: (level + 85) % 256), *rest)).convert("RGB")
    turned.putalpha(picture.getchannel("A"))
    return turned


# Changes of RGBA pictures that a copy must survive.
DISGUISES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "shifted": partial(_moved, shift=4 / 128),
    "scaled": partial(_moved, scale=0.92),
    "mirrored": ImageOps.mirror,
    "recoloured": _recoloured,
}


def test_altered_copies_are_detected(two: tuple[Path, Path]) -> None:
    pictures = [png(pixels) for pixels in fixture_world().pixels]
    this = PRINTS(pictures)
    assert distances(this, this).max() < 1e-5
    for name, disguise in DISGUISES.items():
        assert (distances(PRINTS([disguise(item) for item in pictures]), this) < NEAR).mean() >= 0.95, name
    others = PRINTS([Image.open(path) for path in sorted(two[0].iterdir())])
    assert (distances(others, this) < NEAR).mean() < 0.2


# --- Equal to others --------------------------------------------------------------------------------------------------


class Given(nn.Identity):
    """Features passed through the picture interface of torchmetrics."""

    num_features = 6


def theirs(metric: Any, a: np.ndarray, b: np.ndarray) -> Any:
    metric.update(torch.from_numpy(b), real=True)
    metric.update(torch.from_numpy(a), real=False)
    return metric.compute()


@pytest.mark.parametrize("shift", [0.0, 1.0, 6.0])
def test_kid_is_that_of_torchmetrics(shift: float) -> None:
    a, b = np.abs(gaussian(60, 6, 0)) + shift, np.abs(gaussian(50, 6, 1)) + shift
    rng = np.random.default_rng(0)
    drawn = [x[rng.choice(len(x), 25, replace=False)] for x in (a, b)]
    mean = float(theirs(KernelInceptionDistance(Given(), subsets=1, subset_size=25), *drawn)[0])
    assert kernel_distance(a, b, subsets=1)[0] == pytest.approx(mean, rel=1e-4)


@pytest.mark.parametrize("k", [3, 5])
def test_precision_and_recall_are_those_of_torch_fidelity(k: int) -> None:
    prc = pytest.importorskip("torch_fidelity.metric_prc")
    a, b = gaussian(80, 5, 0), gaussian(60, 5, 1, 0.7)
    a[:4] = b[:4]
    matches, wanted = coverage(a, b, k), prc.calculate_precision_recall_full(*map(torch.from_numpy, (a, b)), k)
    assert [matches.precision.mean(), matches.recall.mean()] == pytest.approx(list(map(float, wanted)), rel=1e-4)
    apart = np.linalg.norm(a[:, None] - b, axis=-1)  # the definitions, as they are written
    radius = np.sort(np.linalg.norm(b[:, None] - b, axis=-1), 1)[:, k]
    assert matches.density.mean() == pytest.approx((apart <= radius).sum() / (k * len(a)))
    assert matches.coverage.mean() == pytest.approx((apart.min(0) <= radius).mean())


def sentences(count: int, seed: int) -> list[str]:
    rng, words = np.random.default_rng(seed), ["a", "red", "cat", "on", "the", "dog", "and", "two"]
    return [" ".join(rng.choice(words, rng.integers(3, 12))) for _ in range(count)]


def test_bleu_rouge_and_cider_are_those_of_coco() -> None:
    coco = pytest.importorskip("pycocoevalcap.bleu.bleu")
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    from eval.captions import cider_d

    texts, others = sentences(30, 0), [sentences(1 + n % 4, 9 + n) for n in range(30)]
    result, truth = {n: [text] for n, text in enumerate(texts)}, dict(enumerate(others))
    counts = bleu_counts(texts, others)
    assert bleu(counts.sum(0)) == pytest.approx(coco.Bleu(4).compute_score(truth, result, verbose=0)[0], rel=1e-4)
    assert rouge_l(texts, others) == pytest.approx(Rouge().compute_score(truth, result)[1], rel=1e-4)
    assert cider_d(texts, others) == pytest.approx(Cider().compute_score(truth, result)[1], rel=1e-4)


def test_mean_precision_equals_torchmetrics(tmp_path: Path) -> None:
    scores, right = np.abs(gaussian(9, 20, 0)), np.random.default_rng(1).random((9, 20)) < 0.2
    right[:, 3] = True
    matches = [retrieval_average_precision(*map(torch.from_numpy, pair)) for pair in zip(scores, right, strict=True)]
    assert average_precision(scores, right) == pytest.approx(np.array(matches), rel=1e-4)
    assert average_precision(np.zeros_like(scores), right) == pytest.approx(right.mean(1))
    vectors = gaussian(30, 8, 3)
    np.save(tmp_path / "a.npy", vectors)
    order = np.random.default_rng(2).permutation(30)
    for name, rows in (("b", order), ("c", np.arange(30))):
        np.savez(tmp_path / f"{name}.npz", vectors=vectors[rows], ids=rows.astype(str))
    a, b, c = (vectors_of(tmp_path / name, None) for name in ("a.npy", "b.npz", "c.npz"))
    assert all(row.value == 1 for row in retrieval_rows(b, c)) and all(row.value == 1 for row in retrieval_rows(a, c))
    assert min(row.value for row in retrieval_rows(a, b)) < 0.2 and cosine(vectors, vectors).shape == (30, 30)


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of torch-fidelity's Inception network, drawn by seed."""
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(nn.Module, "load_state_dict", lambda *_, **__: None)
        net = module.FeatureExtractorInceptionV3("any", ["2048"])
    torch.save(net.state_dict(), path)
    return path


@pytest.mark.parametrize("layer", [64, pytest.param(2048, marks=pytest.mark.slow)])
def test_fid_is_that_of_torchmetrics(
    inception: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layer: int
) -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance

    monkeypatch.setattr(extractors, "INCEPTION_SHA256", hashlib.sha256(inception.read_bytes()).hexdigest())
    monkeypatch.setattr(extractors, "LAYER", str(layer))
    monkeypatch.setattr(extractors, "BATCH", 2)
    two = draw(tmp_path / "a", 4, seed=0), draw(tmp_path / "b", 4, seed=1)
    item = extractor("Inception", Source(inception=inception))
    features = [PictureFolder.read(path).features(item, None) for path in two]
    metric = FrechetInceptionDistance(layer, feature_extractor_weights_path=str(inception), antialias=False)
    for path, real in zip(two, (False, True), strict=True):
        for file in path.iterdir():
            metric.update(extractors.white(Image.open(file))[None], real=real)
    row = score.distance_row(*features, item)
    assert row.name == "FID" and row.value == pytest.approx(float(metric.compute()), rel=1e-3)


def test_other_inception_weights_and_pickles_are_refused(
    inception: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Refused, match="of the Inception network"):
        extractor("Inception", Source(inception=inception))
    (other := tmp_path / "code.pth").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    monkeypatch.setattr(extractors, "INCEPTION_SHA256", hashlib.sha256(other.read_bytes()).hexdigest())
    with pytest.raises(Refused, match="does not load"):
        extractor("Inception", Source(inception=other))


def test_any_timm_model(two: tuple[Path, Path], tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    from safetensors.torch import save_file

    net = timm.create_model("test_resnet", num_classes=0)
    save_file(net.state_dict(), tmp_path / "mine.safetensors")
    item = extractor(f"timm:test_resnet:{tmp_path / 'mine.safetensors'}")
    assert item.measure("FD") == "FD-timm-test_resnet-mine"
    assert np.isfinite(PictureFolder.read(two[0]).features(item, None).some()).all()
    torch.save(net.state_dict(), tmp_path / "mine.pth")
    pickle = f"test_resnet:{tmp_path / 'mine.pth'}"
    for name, output in ((pickle, "safetensors"), ("resnt18", "resnet18"), ("test_vit", "--download")):
        with pytest.raises(Refused, match=output):
            extractor(f"timm:{name}")


def test_features_do_not_depend_on_the_batch(two: tuple[Path, Path]) -> None:
    pictures = [Image.open(path) for path in sorted(two[0].iterdir())[:5]]
    item = extractor("judge")
    together, alone = item(pictures), item(pictures[3:4])
    assert together.shape == (5, item.size) and np.array_equal(together[3:4], alone)


def test_connections_need_permission() -> None:
    with network(False), pytest.raises(OSError, match="download"):
        socket.create_connection(("127.0.0.1", 9))
    with network(False), socket.socket() as item, pytest.raises(OSError, match="download"):
        item.connect(("127.0.0.1", 9))
    with network(True), pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 9))


# --- The command, and bad input ---------------------------------------------------------------------------------------


@pytest.fixture
def say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Runs `python -m eval score` with the tiny extractor."""
    monkeypatch.setattr(score, "extractor", lambda name, source: TINY)
    monkeypatch.setattr(score, "cache_of", lambda arguments: tmp_path / "cache")

    def run(*arguments: object) -> tuple[int, str, str]:
        code = command.main(["score", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def test_a_folder_as_every_kind_of_report(say: Callable, two: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = shutil.copytree(two[0], tmp_path / "a"), two[1]
    (a / "cut.png").write_bytes(next(a.glob("*.png")).read_bytes()[:60])
    (a / "notes.txt").write_text("no picture")
    names = {form: tmp_path / f"report.{form}" for form in ("json", "markdown")}
    files = (word for form, path in names.items() for word in (f"--{form}", path))
    code, out, err = say("folder", a, b, *files)
    document = json.loads(names["json"].read_text())
    assert code == 0 and "cut.png" in err and len(document["read"]["A"]["broken"]) == 1
    assert {row["n"] for row in document["rows"]} == {COUNT} and document["read"]["B"]["broken"] == []
    assert "unusable" not in err.lower() and "UNUSABLE" not in out
    for path in names.values():
        assert "FD-tiny" in path.read_text() and "copies, within 0.02" in path.read_text()
    lines = [item for item in names["markdown"].read_text().splitlines() if item.startswith("| ")]
    assert len({line.count(" | ") for line in lines}) == 1


def test_fewer_pictures_than_features_are_reported_unusable(
    say: Callable, two: tuple[Path, Path], tmp_path: Path
) -> None:
    for path in sorted(two[0].iterdir())[:6]:
        (tmp_path / "few").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "few")
    code, out, _ = say("folder", tmp_path / "few", two[1], "--json")
    (row,) = (row for row in json.loads(out)["rows"] if row["name"] == "FD-tiny")
    assert code == 0 and "UNUSABLE: 6 pictures, 13 are the least" in row["note"]


def test_bad_folders_are_refused(say: Callable, two: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "one").mkdir()
    shutil.copy(next(two[0].glob("*.png")), tmp_path / "one" / "a.png")
    for first, says in (("none", "holds no picture"), ("one", "two are the least"), ("missing", "no folder")):
        code, out, err = say("folder", tmp_path / first, two[1])
        assert code == 2 and not out and err.count("\n") == 1 and says in err


def test_features_that_are_not_numbers_name_the_picture(two: tuple[Path, Path]) -> None:
    nan = extractors.Extractor("nan", "1", TINY.prepare, lambda x: x.flatten(1) / 0 * 0)
    with pytest.raises(Refused, match=r"a/\d+\.\w+ gives features that are not finite"):
        PictureFolder.read(two[0]).features(nan, None)


def test_captions_of_any_kind_of_file_are_matched_by_id(say: Callable, tmp_path: Path) -> None:
    rows = [{"image_id": n, "caption": text} for n, text in enumerate(sentences(12, 4))]
    files = {
        "a.json": json.dumps(rows), "b.json": json.dumps({"annotations": rows[::-1]}),
        "c.jsonl": "\n".join(json.dumps({"id": row["image_id"], "captions": [row["caption"]]}) for row in rows),
        "d.csv": "id,caption\n" + "\n".join(f"{row['image_id']},{row['caption']}" for row in rows),
        "twice.json": json.dumps([*rows, rows[3]]), "less.json": json.dumps(rows[:-2]), "e.json": "{", "f.json": "[]",
        "h.jsonl": '{"text": "no id"}',
        "same.txt": "\n".join(row["caption"] for row in rows),
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    for name in ("b.json", "c.jsonl", "d.csv"):
        code, out, _ = say("captions", tmp_path / "a.json", tmp_path / name, "--json")
        figures = {row["name"]: row["value"] for row in json.loads(out)["rows"]}
        assert code == 0 and figures["BLEU-1"] == pytest.approx(figures["ROUGE-L"]) == 1 and figures["CIDEr-D"] > 5
    for pair, says in (
        (("twice.json", "a.json"), "1 ids more than once, the first: 3"),
        (("less.json", "a.json"), "lacks 2 of the ids"),
        (("a.json", "less.json"), "lacks 2 of the ids"), (("e.json", "a.json"), "no captions that can be read"),
        (("f.json", "a.json"), "it is empty"),
        (("h.jsonl", "a.json"), "no captions that can be read"), (("g.json", "a.json"), "does not exist"),
        (("same.txt", "a.json"), "lacks 1 of the ids"),
    ):  # fmt: skip
        code, out, err = say("captions", *(tmp_path / name for name in pair))
        assert code == 2 and not out and err.count("\n") == 1 and says in err, pair


def test_mismatched_vectors_are_refused(say: Callable, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", gaussian(6, 4, 0))
    np.save(tmp_path / "b.npy", gaussian(5, 4, 1))
    np.save(tmp_path / "c.npy", gaussian(6, 3, 1))
    np.save(tmp_path / "d.npy", np.full((6, 4), np.nan))
    (tmp_path / "e.npy").write_bytes(b"no")
    np.savez(tmp_path / "f.npz", vectors=gaussian(3, 4, 0), ids=["a", "b", "c"])
    np.savez(tmp_path / "g.npz", vectors=gaussian(3, 4, 0), ids=["a", "b", "d"])
    for pair, says in (
        ("ab", "6 rows and B 5"), ("ac", "vectors of 4 numbers and B of 3"), ("ad", "finite"), ("ea", "no vectors"),
        ("fg", "lacks 1 of the ids"),
    ):  # fmt: skip
        first, second = (next(tmp_path.glob(f"{name}.np*")) for name in pair)
        code, out, err = say("retrieval", first, second)
        assert code == 2 and not out and err.count("\n") == 1 and says in err, pair
    code, out, _ = say("retrieval", tmp_path / "a.npy", tmp_path / "a.npy", "--json")
    assert code == 0 and len(json.loads(out)["rows"]) == 8
