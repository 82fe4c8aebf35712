"""Laws of the figures of captions: CIDEr-D is the published one, true captions win, controls stand beside."""

from pathlib import Path

import numpy as np
import pytest
from eval_kit import SIZES
from fixture_world import fixture_world
from tiny_parts import save_tiny_captioner, save_tiny_parts

from eval.captions import bleu, bleu_counts, cider_d, rouge_l
from eval.context import Context
from eval.generator import Parts
from eval.metrics import METRICS
from eval.metrics import captions as metric
from eval.rows import MissingError
from models.data.scenes import make_scene
from models.pipelines import caption as pipeline

TEXTS = ["a red apple in the noto style", "two black cats", "a green tree with a yellow star"]
REFERENCES = [
    ["a red apple, noto style", "an icon of a red apple"],
    ["three black cats", "two cats, black"],
    ["a yellow star left of a green tree", "a green tree and a yellow star"],
]


def test_cider_d_is_that_of_pycocoevalcap() -> None:
    published = [3.28510635, 2.70833333, 4.61895231]  # pycocoevalcap 1.2 on these texts, split as here
    assert np.allclose(cider_d(TEXTS, REFERENCES), published, atol=1e-7)


def test_a_reference_itself_scores_most_and_other_words_nothing() -> None:
    own = [references[0] for references in REFERENCES]
    assert (cider_d(own, REFERENCES) > cider_d(TEXTS, REFERENCES)).all()
    assert (rouge_l(own, REFERENCES) == 1).all() and np.allclose(bleu(bleu_counts(own, REFERENCES).sum(0)), 1)
    strange = ["wholly unrelated words here"] * 3
    assert not cider_d(strange, REFERENCES).any() and not rouge_l(strange, REFERENCES).any()
    assert bleu(bleu_counts(strange, REFERENCES).sum(0))[3] < 1e-9


def test_the_rows_of_a_tiny_captioner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric, "TIMED", 2)
    monkeypatch.setattr(pipeline, "LONGEST", 2)
    monkeypatch.setattr(pipeline, "SHAPES", (1, 4))
    # The drawn world has few held-out combinations.
    monkeypatch.setattr(metric, "make_scene", lambda world, seed, *_, **__: make_scene(world, seed))
    root = save_tiny_parts(tmp_path / "parts")
    context = Context(fixture_world(), SIZES, Parts(root), quiet=True)
    assert context.turn_to(METRICS["captions"].needs) is None and context.generator.name == "sticker captions"
    with pytest.raises(MissingError, match="captioner"):
        list(METRICS["captions"].rows(context))
    save_tiny_captioner(root)
    again = Context(fixture_world(), SIZES, Parts(root), quiet=True)
    again.turn_to(METRICS["captions"].needs)
    rows = {row.name: row for row in METRICS["captions"].rows(again)}
    assert all(np.isfinite(row.value) for row in rows.values())
    scenes = next(row for name, row in rows.items() if name.startswith("scenes of held-out drawings, English"))
    assert dict(scenes.against)["true captions"] == 1
    named = rows["concept named: held-out cells"]
    assert {"best of five", "beams", "blind", "nearest name", "nearest training picture"} <= dict(named.against).keys()
