"""One schema: doors offer the fields of requests with their limits and helps, also those of a registered medium."""

from collections.abc import Callable

import pytest
from conftest import Output
from queue_kit import CAN
from tone import ToneRequest

from models.messages import Refused
from studio import cli
from studio.api.schemas import job_model
from studio.api.v1 import job_router
from studio.batch.readers import is_known
from studio.doors import FAST_FIELD
from studio.mcp import Tools, media_tools
from studio.planner import resolve
from studio.requests import (
    ImageRequest,
    fields_of,
    limits,
    make_request,
    media_tasks,
    planned_fields,
    stored_request,
)
from studio.studio import Studio


@pytest.mark.parametrize("task", media_tasks())
def test_a_field_has_one_help_at_every_door(task: str, house: Studio) -> None:
    kind = media_tasks()[task]
    body = job_model(kind).model_json_schema()["properties"]
    for name, field in fields_of(kind, programs=True).items():
        assert name == "task" or (field.description and body[name]["description"] == field.description), name
    assert not planned_fields() & body.keys()
    for making in (making for making in media_tools() if making.request is kind):
        schema = Tools(house, "fake", True).media_tool(making).parameters["properties"]
        for name in making.fields.split():
            field = FAST_FIELD if name == "fast" else kind.model_fields[name]
            assert schema[name]["description"].endswith(field.description), name
            assert limits(field).get("le") == schema[name].get("maximum"), name
    if kind.command is not None:
        options = {option.name: option for option in cli.program().commands[kind.command or task].params}
        shown = fields_of(kind).keys() & options.keys() - {"prompt", "mix"}
        assert len(shown) > 3 and all(options[name].help == kind.model_fields[name].description for name in shown)


def test_a_registered_medium_is_at_every_door(tone: None, studio: Callable[..., Output], house: Studio) -> None:
    result = studio("tone", "--help")
    assert result.code == 0 and "A tone of a pitch." in result.out and "Hertz." in result.out
    result = studio("tone", "a bell", "--pitch", 1, "--model", "fake")
    assert (result.code, result.err) == (2, "studio: pitch must be between 20 and 20000, not 1.0.\n")
    tool = Tools(house, "fake", True).media_tool(media_tools()[-1])
    assert tool.name == "tone" and tool.parameters["properties"]["pitch"]["maximum"] == 20_000
    assert is_known("pitch") and "pitch" in job_model(ToneRequest).model_fields
    assert job_router(tuple(media_tasks().values())).routes
    can = CAN.model_copy(update={"tasks": ("tone",)})
    request = resolve(make_request("tone", prompt="a {low|high} bell", seed=1), can)
    assert request.pitch == 440 and request.prompt in ("a low bell", "a high bell")
    assert stored_request(request.model_dump_json()) == request


def test_any_number_of_prompts_is_read() -> None:
    assert len(make_request("read", texts=["a cat"] * 5000).texts) == 5000


def test_a_range_is_that_of_the_field() -> None:
    (low, high) = limits(ImageRequest.model_fields["seed"]).values()
    with pytest.raises(Refused, match=f"seed must be between {low} and {high}, not {high + 1}"):
        make_request(prompt="a cat", seed=high + 1)
