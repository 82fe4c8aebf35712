"""The fast variant as the doors offer it: one sampler that draws in one way only, and `--fast` for short."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import Output
from page_kit import Server
from PIL import Image
from queue_kit import picture
from series_kit import idle_frame  # noqa: F401 - a fixture
from tiny_parts import give_variant, save_tiny_parts
from waiting import TIMEOUT

from models.lora import PART
from models.messages import Refused
from models.pipelines.sticker import StickerPipeline
from models.sampling.loop import FAST_SAMPLING
from models.sampling.schedulers import build_scheduler, first_step, set_steps
from models.weights import record_part
from studio.backends.base import run
from studio.backends.embedded import VARIANT, Embedded
from studio.backends.fake import Fake
from studio.capabilities import FAST, Capabilities
from studio.media import Artifact
from studio.metadata.files import read
from studio.metadata.restore import restore
from studio.page.context import PageContext
from studio.page.tabs.create import CreateHandlers
from studio.planner import job_id, resolve
from studio.requests import ImageRequest, make_request

CAN = Fake().capabilities()


def asked(**fields: object) -> ImageRequest:
    return resolve(make_request("image", **{"prompt": "a cat", "seed": 1, "scheduler": FAST, **fields}), CAN)


# --- What it means ----------------------------------------------------------------------------------------------------


def test_it_draws_in_one_way_only() -> None:
    request = asked()
    assert (request.steps, request.guidance, request.scheduler) == (4, 1.0, FAST)
    assert resolve(request, CAN) == request == asked(steps=4, guidance=1.0)
    assert request.batch_key() != asked(scheduler="euler", steps=4, guidance=1.0).batch_key()


@pytest.mark.parametrize(
    ("fields", "sentence", "chinese"),
    [
        ({"steps": 16}, "fast draws with steps 4 only; leave steps out, or", "采样器 fast 的 steps 只能是 4"),
        ({"guidance": 3.5}, "fast draws with guidance 1 only; leave guidance out, or", "guidance 只能是 1"),
        ({"negative": "dog"}, "fast hears no negative prompt; leave it out, or draw without fast", "不看反向提示词"),
    ],
)
def test_what_it_can_not_do_is_refused(fields: dict[str, Any], sentence: str, chinese: str) -> None:
    with pytest.raises(Refused) as refusal:
        asked(**fields)
    assert str(refusal.value).startswith(sentence) and chinese in refusal.value.text("zh")


def test_a_start_from_a_picture_has_the_strength_that_so_few_steps_can_have(tmp_path: Path) -> None:
    Image.new("RGBA", (64, 64), "red").save(tmp_path / "red.png")
    image = {"path": str(tmp_path / "red.png")}
    for wanted, strength in ((0.1, 0.25), (0.3, 0.25), (0.5, 0.5), (0.6, 0.5), (0.7, 0.75), (0.95, 1.0), (1.0, 1.0)):
        request = asked(image=image, strength=wanted)
        assert request.strength == strength and resolve(request, CAN) == request
        scheduler = build_scheduler("euler")
        sigmas = set_steps(scheduler, FAST_SAMPLING.steps)
        assert sigmas[first_step(scheduler, wanted)] == strength, "what is said is what is done"
    assert asked(image=image, strength=0.0, size=512) == asked(image=image, strength=0.0, size=512, scheduler="heun")


# --- Its settings, back from a file -----------------------------------------------------------------------------------


def without() -> Capabilities:
    return CAN.model_copy(update={"schedulers": ("euler", "heun"), "fixed": {}})


def record(**fields: object) -> dict[str, Any]:
    return {"request": asked(**fields).model_dump(mode="json", exclude_none=True), "seed": 5, "how": {}}


def test_settings_come_back_and_never_as_four_steps_of_another_sampler() -> None:
    here, gone = restore(record(), CAN), restore(record(), without())
    assert {name: here.fields[name] for name in ("scheduler", "steps", "guidance")} == {
        "scheduler": FAST, "steps": 4, "guidance": 1.0,
    }  # fmt: skip
    assert not here.lost and not {"scheduler", "steps", "guidance"} & gone.fields.keys()
    assert tuple(map(str, gone.lost)) == ("Fake has no fast variant; leave fast out.",)
    assert "没有快速版本" in gone.lost[0].text("zh")
    theirs = {"program": "x", "prompt": "a", "steps": 8, "guidance": 1.5, "scheduler": "LCM"}
    taken = restore(theirs, CAN)
    assert taken.fields == {"prompt": "a", "scheduler": FAST} and len(tuple(map(str, taken.lost))) == 2
    assert restore(theirs, without()).fields == {"prompt": "a"}


def test_a_picture_that_was_only_enlarged_says_nothing_of_how_to_draw(tmp_path: Path) -> None:
    Image.new("RGBA", (64, 64), "red").save(tmp_path / "red.png")
    enlarged = record(prompt="", image={"path": str(tmp_path / "red.png")}, strength=0.0, size=512)
    assert not {"scheduler", "steps", "guidance"} & restore(enlarged, CAN, tmp_path).fields.keys()


# --- The models that ship ---------------------------------------------------------------------------------------------


def test_it_is_offered_where_it_ships_and_draws_what_the_pipeline_does(parts: Path) -> None:
    assert VARIANT == PART
    without = Embedded(str(parts))
    assert FAST not in without.capabilities().schedulers
    with pytest.raises(Refused, match="has no fast variant; leave fast out"):
        resolve(make_request("image", prompt="a cat", scheduler=FAST), without.capabilities())
    digest = without.digest()
    give_variant(parts, 0.05)
    backend = Embedded(str(parts))
    can = backend.capabilities()
    assert can.schedulers[-1] == FAST and can.schedulers[0] != FAST
    assert backend.digest() != digest, "it draws the last of every picture's way"
    request = resolve(make_request("image", prompt="a cat", seed=1, scheduler=FAST), can)
    (made,) = (np.asarray(picture(event)) for event in run(backend, request) if isinstance(event, Artifact))
    pipeline = StickerPipeline.assemble(parts)
    *_, drawn = pipeline.steps(["a cat"], [1], FAST_SAMPLING)
    straight = Image.fromarray(drawn.pixels[0], "RGBa").convert("RGBA")  # type: ignore[union-attr]
    assert np.abs(made.astype(int) - np.asarray(straight)).max() <= 1
    plain = resolve(make_request("image", prompt="a cat", seed=1, scheduler="euler", steps=4, guidance=1.0), can)
    (other,) = (np.asarray(picture(event)) for event in run(backend, plain) if isinstance(event, Artifact))
    assert not np.array_equal(made, other)
    give_variant(parts, 0.06)
    later = Embedded(str(parts))
    again = resolve(make_request("image", prompt="a cat", seed=1, scheduler=FAST), later.capabilities())
    assert job_id(again, digest) != job_id(request, digest), "another variant draws another picture"
    with pytest.raises(Refused, match="the fast variant is another one since this was asked for"):
        list(run(later, request))


def test_a_variant_of_an_earlier_generator_is_no_variant_and_in_nobodys_way(tmp_path: Path) -> None:
    root = save_tiny_parts(tmp_path)
    give_variant(root, 0.05)
    assert FAST in Embedded(str(root)).capabilities().schedulers
    (root / PART / "made_with.json").write_text(json.dumps({"dit": "another"}))
    record_part(PART, root)
    backend = Embedded(str(root))
    assert FAST not in backend.capabilities().schedulers
    request = resolve(make_request("image", prompt="a cat", seed=1, steps=1), backend.capabilities())
    assert any(isinstance(event, Artifact) for event in run(backend, request))


# --- The doors --------------------------------------------------------------------------------------------------------


def test_the_command_has_a_flag_for_it(studio: Callable[..., Output], tmp_path: Path) -> None:
    said = studio("generate", "a cat", "--fast", "--seed", 3, "--model", "fake", "--out", tmp_path, "--json")
    assert said.code == 0
    found = read(Path(said.json[0]["path"]))["request"]
    assert (found["scheduler"], found["steps"], found["guidance"]) == (FAST, 4, 1.0)
    assert studio("generate", "a cat", "--scheduler", "fast", "--fast", "--model", "fake").code == 0
    both = studio("generate", "a cat", "--fast", "--scheduler", "heun", "--model", "fake")
    assert both.code == 2 and "--fast and --scheduler heun exclude each other" in both.err
    many = studio("generate", "a cat", "--fast", "--steps", 20, "--model", "fake")
    assert many.code == 2 and "leave steps out" in many.err


@pytest.mark.parametrize("name", ["Fast", "LCM"])
def test_a1111s_clients_choose_it_and_their_steps_are_left_out(server: Server, name: str) -> None:
    body = {"prompt": "a cat", "seed": 7, "steps": 20, "cfg_scale": 7, "negative_prompt": "dog", "sampler_name": name}
    with httpx.Client(base_url=f"{server.url}/sdapi/v1", timeout=TIMEOUT) as client:
        assert "Fast" in [row["name"] for row in client.get("/samplers").json()]
        answer = client.post("/txt2img", json=body).json()
    info = answer["info"]
    assert all(word in info for word in ("steps, cfg_scale, negative_prompt was left out", '"sampler_name": "Fast"'))
    picture = Image.open(io.BytesIO(base64.b64decode(answer["images"][0])))
    assert "Steps: 4, Sampler: fast" in picture.text["parameters"]  # type: ignore[attr-defined]


# --- The page ---------------------------------------------------------------------------------------------------------


def test_the_sliders_of_the_page_are_not_heard(context: PageContext) -> None:
    handlers = CreateHandlers(context)
    given = {"prompt": "a cat", "count": 1, "seed": "1", "steps": 16, "guidance": 4.0, "best_of": 1, "like": None}
    inputs = {"scheduler": FAST, "canvas": None, "first": None, "second": None, "between": 0.5, "expand": False}
    fields = handlers.fields({**given, **inputs, "strength": 0.6})
    assert "steps" not in fields and resolve(make_request(**fields), context.can).steps == 4
    assert handlers.fields({**given, **inputs, "strength": 0.6, "scheduler": "heun"})["steps"] == 16
    values = handlers.values({"scheduler": "heun", "steps": 4, "guidance": 1.0})
    *held, now = handlers.sampling("heun", values["sampled"])
    assert now == "heun" and all("value" not in one for one in held), "what came back with it stays"
    assert [one["value"] for one in handlers.sampling("heun", FAST)[:2]] == [16, 4]
