"""The fast variant as the doors offer it: one sampler that draws in one way only, and `--fast` for short."""

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import Said
from page_kit import PATIENCE, Server, make
from PIL import Image
from series_kit import idle_frame  # noqa: F401 - a fixture
from tiny_parts import give_variant, save_tiny_parts

from models.drawing import FAST as SAMPLING
from models.fast import PART
from models.pipeline import StickerPipeline
from studio.backends.embedded import VARIANT, Embedded
from studio.backends.fake import Fake
from studio.capabilities import FAST, Refused
from studio.events import Result
from studio.metadata import read
from studio.page.create.desk import Desk
from studio.page.frame import Frame
from studio.page.refusals import in_language
from studio.requests import ImageRequest, company, image_request, resolve

CAN = Fake().capabilities()


def asked(**fields: object) -> ImageRequest:
    return resolve(image_request(**{"prompt": "a cat", "seed": 1, "scheduler": FAST, **fields}), CAN)


# --- What it means ----------------------------------------------------------------------------------------------------


def test_it_draws_in_one_way_only() -> None:
    request = asked()
    assert (request.steps, request.guidance, request.scheduler) == (4, 1.0, FAST)
    assert resolve(request, CAN) == request == asked(steps=4, guidance=1.0)
    assert company(request) != company(asked(scheduler="euler", steps=4, guidance=1.0))


@pytest.mark.parametrize(
    ("fields", "sentence", "chinese"),
    [
        ({"steps": 16}, "fast draws with steps 4 only; leave steps out, or", "采样器 fast 的 steps 只能是 4"),
        ({"guidance": 3.5}, "fast draws with guidance 1 only; leave guidance out, or", "guidance 只能是 1"),
        ({"negative": "dog"}, "fast draws without guidance and hears no negative; leave it out", "不看反向提示词"),
    ],
)
def test_what_it_can_not_do_is_refused(fields: dict[str, Any], sentence: str, chinese: str) -> None:
    with pytest.raises(Refused) as refusal:
        asked(**fields)
    assert str(refusal.value).startswith(sentence) and chinese in in_language(str(refusal.value), "zh")


# --- The models that ship ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_parts(tmp_path_factory.mktemp("parts"))


def test_it_is_offered_where_it_ships_and_draws_what_the_pipeline_does(folder: Path) -> None:
    assert VARIANT == PART
    without = Embedded(str(folder))
    assert FAST not in without.capabilities().schedulers
    with pytest.raises(Refused, match="unknown scheduler 'fast'"):
        resolve(image_request(prompt="a cat", scheduler=FAST), without.capabilities())
    before = without.digest()
    give_variant(folder, 0.05)
    backend = Embedded(str(folder))
    can, digest = backend.capabilities(), backend.digest()
    assert can.schedulers[-1] == FAST and can.schedulers[0] != FAST and digest != before
    request = resolve(image_request(prompt="a cat", seed=1, scheduler=FAST), can)
    (made,) = (np.asarray(event.picture) for event in backend.run(request) if isinstance(event, Result))
    pipeline = StickerPipeline.assemble(folder)
    *_, drawn = pipeline.steps(["a cat"], [1], SAMPLING)
    straight = Image.fromarray(drawn.pixels[0], "RGBa").convert("RGBA")  # type: ignore[union-attr]
    assert np.abs(made.astype(int) - np.asarray(straight)).max() <= 1
    plain = resolve(image_request(prompt="a cat", seed=1, scheduler="euler", steps=4, guidance=1.0), can)
    (other,) = (np.asarray(event.picture) for event in backend.run(plain) if isinstance(event, Result))
    assert not np.array_equal(made, other)
    give_variant(folder, 0.06)
    assert Embedded(str(folder)).digest() != digest, "another variant is another model"


# --- The doors --------------------------------------------------------------------------------------------------------


def test_the_command_has_a_flag_for_it(studio: Callable[..., Said], tmp_path: Path) -> None:
    said = studio("generate", "a cat", "--fast", "--seed", 3, "--model", "fake", "--out", tmp_path, "--json")
    assert said.code == 0
    found = read(Path(said.json[0]["path"]))["request"]
    assert (found["scheduler"], found["steps"], found["guidance"]) == (FAST, 4, 1.0)
    assert studio("generate", "a cat", "--scheduler", "fast", "--fast", "--model", "fake").code == 0
    both = studio("generate", "a cat", "--fast", "--scheduler", "heun", "--model", "fake")
    assert both.code == 2 and "--fast and --scheduler heun exclude each other" in both.err
    many = studio("generate", "a cat", "--fast", "--steps", 20, "--model", "fake")
    assert many.code == 2 and "leave steps out" in many.err


def test_a_prompt_file_asks_for_it(studio: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a cat --sampler fast\na dog --sampler fast --steps 9\n")
    said = studio("batch", tmp_path / "prompts.txt", "--dry-run", "--model", "fake", "--json")
    assert "leave steps out" in said.out + said.err and "a cat" in said.out


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("home"), "fake:0.02")
    yield server
    server.close()


@pytest.mark.parametrize("name", ["Fast", "fast", "LCM"])
def test_a1111s_clients_choose_it_and_their_steps_are_left_out(server: Server, name: str) -> None:
    body = {"prompt": "a cat", "seed": 7, "steps": 20, "cfg_scale": 7, "negative_prompt": "dog", "sampler_name": name}
    with httpx.Client(base_url=f"{server.url}/sdapi/v1", timeout=60) as client:
        assert "Fast" in [row["name"] for row in client.get("/samplers").json()]
        answer = client.post("/txt2img", json=body).json()
    info = answer["info"]
    assert all(word in info for word in ("steps, cfg_scale, negative_prompt was left out", '"sampler_name": "Fast"'))
    picture = Image.open(io.BytesIO(base64.b64decode(answer["images"][0])))
    assert "Steps: 4, Sampler: fast" in picture.text["parameters"]  # type: ignore[attr-defined]


# --- The page ---------------------------------------------------------------------------------------------------------


def test_the_sliders_of_the_page_are_not_heard(frame: Frame) -> None:
    desk = Desk(frame)
    given = {"prompt": "a cat", "count": 1, "seed": "1", "steps": 16, "guidance": 3.0, "best_of": 1, "like": None}
    inputs = {"scheduler": FAST, "canvas": None, "first": None, "second": None, "between": 0.5, "expand": False}
    fields = desk.fields({**given, **inputs, "strength": 0.6})
    assert "steps" not in fields and resolve(image_request(**fields), frame.can).steps == 4
    assert desk.fields({**given, **inputs, "strength": 0.6, "scheduler": "heun"})["steps"] == 16


def test_a_person_picks_it_and_takes_another(server: Server, visit: Callable[..., Any]) -> None:
    page = visit(address=server.url)
    page.locator("#more > button").click()
    steps = page.locator("#steps input[type=number]")
    steps.wait_for(state="visible", timeout=PATIENCE)

    def pick(name: str) -> None:
        page.locator("#scheduler input").click()
        page.get_by_role("option", name=name, exact=True).click()

    pick(FAST)
    page.wait_for_function("document.querySelector('#steps input[type=number]').disabled", timeout=PATIENCE)
    assert (steps.input_value(), page.locator("#guidance input[type=number]").input_value()) == ("4", "1")
    make(page, "a red fox")
    pick("heun")
    page.wait_for_function("!document.querySelector('#steps input[type=number]').disabled", timeout=PATIENCE)
    assert (steps.input_value(), page.locator("#guidance input[type=number]").input_value()) == ("16", "3")
