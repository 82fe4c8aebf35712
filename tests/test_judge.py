"""Laws of the judge: what it reads, and that it shares nothing with the space."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from fixture_world import fixture_world

from eval.judge import Judge, read

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def judge() -> Judge:
    torch.manual_seed(0)
    return Judge(channels=(8, 16, 32), blocks=(1, 1), width=32, heads=2, rounds=1, buckets=512).eval()


def test_reading_knows_words_order_and_chinese():
    table = read(["a red cat", "a cat red", "红猫", ""], 4096)
    assert (table[:, :, 0] > 0).sum(1).tolist() == [3, 3, 2, 0]
    assert torch.equal(table[0, 1], table[1, 2])
    assert not torch.equal(table[0], table[1])


def test_order_of_words_matters(judge):
    """ "cat left of dog" and "dog left of cat" hold the same words."""
    places = judge.picture(torch.rand(1, 4, 128, 128))
    scores = [judge.fit(places, *judge.words(read([text], 512))) for text in ("cat left of dog", "dog left of cat")]
    assert abs(float((scores[0] - scores[1]).detach())) > 1e-5


def test_places_of_the_picture_matter(judge):
    pixels = np.zeros((2, 128, 128, 4), np.uint8)
    pixels[0, 10:50, 10:50] = pixels[1, 10:50, 78:118] = 255
    left, right = judge.scores(pixels, ["a cat left of a dog"] * 2)
    assert abs(left - right) > 1e-5


def test_scores_do_not_depend_on_company(judge):
    pixels = fixture_world().pixels
    texts = ["a cat", "a much longer caption that fills some room", "two red stars"]
    together = judge.scores(pixels[:3], texts)
    alone = [judge.scores(pixels[i : i + 1], texts[i : i + 1])[0] for i in range(3)]
    assert np.allclose(together, alone, atol=1e-4)
    assert len(judge.scores(pixels[:40], ["a cat"] * 40)) == 40


def test_wrong_input_is_named(judge):
    with pytest.raises(ValueError, match="2 pictures and 1 captions"):
        judge.scores(fixture_world().pixels[:2], ["a cat"])
    with pytest.raises(ValueError, match="float64"):
        judge.scores(np.zeros((1, 128, 128, 4)), ["a cat"])


def test_it_shares_no_part_with_what_it_judges():
    tree = ast.parse((ROOT / "eval/judge.py").read_text())
    modules = {f"{n.module}.{name.name}" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for name in n.names}
    modules |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    judged = r"models\.(space|vision|language|tokenizer|autoencoder)\b"
    assert modules and not [module for module in modules if re.match(judged, module)]
