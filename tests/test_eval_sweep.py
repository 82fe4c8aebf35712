"""The sweep: it reads the validation split alone, tries each setting against each, and refuses what can't be."""

import argparse

import numpy as np
import pytest
from eval_kit import drawn_context
from tiny_parts import save_tiny_parts

from eval import sets
from eval import sweep as module
from eval.charts import SECONDS
from eval.context import Context
from eval.rows import wilson
from models.pipelines.image import BATCH
from models.sampling.loop import Sampling


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    folder = tmp_path_factory.mktemp("sweep")
    return drawn_context(save_tiny_parts(folder / "parts"), folder / "cache")


def asked(*words: str) -> argparse.Namespace:
    made = argparse.ArgumentParser()
    module.add_arguments(made)
    return made.parse_args(words)


def test_what_is_not_tried_is_as_it_ships() -> None:
    assert module.samplings(asked()) == [Sampling(batch=BATCH)]


def test_each_is_tried_against_each() -> None:
    words = ("--guidance", "1,3", "--steps", "2, 4", "--interval", "0-1,0.1-0.9", "--temperature", "0.65,1")
    tried = module.samplings(asked(*words))
    assert len({repr(one) for one in tried}) == 16 and {one.interval for one in tried} == {(0.0, 1.0), (0.1, 0.9)}
    for words, sentence in (
        (("--scheduler", "eular"), "unknown scheduler 'eular'"),
        (("--without", "symetry"), "unknown hook 'symetry'"),
        (("--steps", "0"), "steps 0"),
        (("--count", "1"), "two pictures"),
        (("--times", "0"), "--times 0"),
    ):
        with pytest.raises(ValueError, match=sentence):
            module.samplings(asked(*words))


def test_a_list_that_is_none_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    for words, sentence in (
        (("--guidance", "a"), "'a' is no list like 2,3,4.5"),
        (("--interval", "0.5"), "0.1-0.9"),
    ):
        with pytest.raises(SystemExit) as end:
            asked(*words)
        assert end.value.code == 2 and sentence in capsys.readouterr().err


def test_settings_are_chosen_on_validation_pictures_alone(context: Context) -> None:
    chosen = sets.chosen(context.world, 100)
    assert {picture.split for picture in chosen} == {"val"}
    assert not {picture.id for picture in chosen} & {picture.id for picture in sets.held_out(context.world, 100)}
    assert len({(picture.concept, picture.family) for picture in chosen}) == len(chosen), "mixed as the table's cells"


def test_more_pictures_of_a_cell_are_of_other_noise_and_do_not_narrow_the_interval(context: Context) -> None:
    (sampling,) = module.samplings(asked("--steps", "2"))
    cells = len(sets.chosen(context.world, 4))
    once, thrice = (next(module.sweep(context, [sampling], 4, times)) for times in (1, 3))
    made = context.generate([sets.prompt(one) for one in sets.chosen(context.world, 4)] * 3, sampling=sampling)
    assert len(np.unique(made, axis=0)) == len(made)
    assert (once.n, thrice.n) == (cells, 3 * cells)
    assert wilson(thrice.value * cells, cells) == pytest.approx(thrice.interval)


def test_the_table_says_what_each_setting_gave(context: Context) -> None:
    tried = module.samplings(asked("--guidance", "1,4", "--steps", "2"))
    found = list(module.sweep(context, tried, 4))
    assert [row.name for row in found] == ["guidance 1", "guidance 4"], "what was tried"
    for row in found:
        beside = dict(row.against)
        assert 0 <= row.value <= 1 and 0 <= beside["style of the ten nearest"] <= 1 and beside[SECONDS] > 0
