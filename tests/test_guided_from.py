"""The noise level from which guidance works: nobody is asked for it, and older work stays what it was."""

from pathlib import Path

import pytest
from tiny_parts import save_tiny_parts

from models.messages import Refused
from models.sampling.loop import Sampling
from models.sampling.schedulers import GUIDED_FROM
from studio.backends.embedded import Embedded, _sampling
from studio.backends.fake import Fake
from studio.capabilities import FAST, Range
from studio.metadata.restore import restore
from studio.planner import job_id, resolve
from studio.requests import ImageRequest, make_request

CAN = Fake().capabilities().model_copy(update={"guided_from": Range(least=0, most=1, usual=0.25)})


def asked(**fields: object) -> ImageRequest:
    return resolve(make_request("image", **{"prompt": "a cat", "seed": 1, **fields}), CAN)


def test_the_model_says_it_and_asking_again_changes_nothing() -> None:
    assert asked().guided_from == 0.25 and asked(guided_from=0.5).guided_from == 0.5
    assert asked(scheduler=FAST).guided_from is None
    for request in (asked(), asked(guided_from=0.0), asked(scheduler=FAST)):
        assert resolve(request, CAN) == request
    with pytest.raises(Refused, match="guided_from must be between 0 and 1, not 2"):
        asked(guided_from=2.0)


def test_a_model_without_the_setting_leaves_it_out_of_the_identity() -> None:
    plain = Fake().capabilities()
    given, usual = (
        resolve(make_request("image", prompt="a cat", seed=1, **more), plain) for more in ({"guided_from": 0.5}, {})
    )
    assert given.guided_from is usual.guided_from is None and job_id(given, "x") == job_id(usual, "x")


def test_a_request_without_it_is_drawn_as_with_0() -> None:
    before = asked().model_copy(update={"guided_from": None})
    always = asked(guided_from=0.0)
    assert job_id(before, "x") != job_id(asked(), "x")
    assert always.batch_key() == before.batch_key() != asked().batch_key()
    assert _sampling(before).interval == _sampling(always).interval == (0.0, 1.0)
    assert _sampling(asked()).interval == (0.25, 1.0)


def test_a_file_brings_back_its_own_and_one_that_says_nothing_was_guided_all_the_way() -> None:
    record = {"request": asked().model_dump(mode="json", exclude_none=True), "seed": 5, "how": {}}
    assert restore(record, CAN).fields["guided_from"] == 0.25
    del record["request"]["guided_from"]
    fields = restore(record, CAN).fields
    assert fields["guided_from"] == 0.0 and resolve(make_request(**fields), CAN).guided_from == 0.0


def test_the_embedded_model_is_guided_as_its_pipeline_is(tmp_path: Path) -> None:
    can = Embedded(str(save_tiny_parts(tmp_path))).capabilities()
    assert can.guided_from.usual == GUIDED_FROM == Sampling().interval[0]


def test_how_much_is_drawn_from_stored_drawings_is_asked_for_and_the_usual_is_no_other_work() -> None:
    assert asked().reference_strength is None and job_id(asked(reference_strength=1.0), "x") == job_id(asked(), "x")
    alone = asked(reference_strength=0.0)
    assert job_id(alone, "x") != job_id(asked(), "x") and alone.batch_key() != asked().batch_key()
    assert _sampling(alone).reference_strength == 0 and _sampling(asked()).reference_strength == 1
    assert _sampling(asked(reference_strength=0.5, scheduler=FAST)).reference_strength == 0.5
    record = {"request": alone.model_dump(mode="json", exclude_none=True), "seed": 5, "how": {}}
    assert restore(record, CAN).fields["reference_strength"] == 0
    with pytest.raises(Refused, match="reference_strength must be between 0 and 1, not 2"):
        asked(reference_strength=2.0)
