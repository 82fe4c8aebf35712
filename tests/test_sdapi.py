"""A1111's API, through the webuiapi package and raw requests."""

import asyncio
import base64
import hashlib
import io
import json
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from page_kit import Server
from picture_kit import as_file, coded
from PIL import Image
from waiting import TIMEOUT, until

from models.data.pixels import fit
from models.messages import Message, Refused
from studio.api import a1111
from studio.api.a1111 import SAMPLERS, scheduler_of
from studio.api.routing import Rejected, answered

webuiapi = pytest.importorskip("webuiapi", reason="webuiapi is not installed (extra `test`)")

RED = Image.new("RGBA", (128, 128), (200, 30, 30, 255))
LEFT = Image.new("L", (128, 128), 0)
LEFT.paste(255, (0, 0, 64, 128))
SMALL = {"width": 128, "height": 128, "steps": 2}


@pytest.fixture(scope="module")
def api(server: Server) -> Any:
    return webuiapi.WebUIApi(port=server.port)


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{server.url}/sdapi/v1", timeout=TIMEOUT) as client:
        yield client


def files(result: Any) -> list[bytes]:
    return [base64.b64decode(one) for one in result.json["images"]]


def pixels(picture: Image.Image) -> np.ndarray:
    return fit(picture)


# --- Pictures ---------------------------------------------------------------------------------------------------------


def test_txt2img(api: Any, server: Server) -> None:
    words = {"prompt": "a (red:1.3) cat, [hat]", "negative_prompt": "dog", "styles": ["black glyph"]}
    result = api.txt2img(**words, seed=7, batch_size=2, n_iter=2, cfg_scale=5, steps=3, sampler_name="Heun")
    assert [image.size for image in result.images] == [(512, 512)] * 4 and result.image.mode == "RGBA"
    assert result.info["all_seeds"] == [7, 8, 9, 10] and result.info["seed"] == 7
    assert result.info["all_prompts"] == ["a (red:1.3) cat, [hat]"] * 4, "weights stay A1111's"
    assert (result.info["sampler_name"], result.info["cfg_scale"], result.info["steps"]) == ("Heun", 5, 3)
    assert (result.info["width"], result.info["height"]) == (512, 512) and result.info["studio"]["notes"] == []
    assert result.parameters["prompt"] == words["prompt"] and result.parameters["batch_size"] == 2
    for data, seed, text in zip(files(result), result.info["all_seeds"], result.info["infotexts"], strict=True):
        stored = server.home / "pictures" / (name := hashlib.sha256(data).hexdigest())[:2] / f"{name}.png"
        assert stored.read_bytes() == data, "the very file of the gallery"
        with Image.open(io.BytesIO(data)) as image:
            assert image.text["parameters"] == text and f"Seed: {seed}" in text and "Style: black glyph" in text
    weighted = api.txt2img(prompt="a (red:1.3) cat", seed=1, **SMALL)
    assert files(weighted) != files(api.txt2img(prompt="a red cat", seed=1, **SMALL))


def test_equal_requests_are_drawn_once(api: Any, server: Server) -> None:
    requests = {"prompt": "a face to find", "seed": 5, **SMALL}
    first = api.txt2img(**requests)
    assert files(api.txt2img(**requests)) == files(first)
    matches = httpx.get(f"{server.url}/api/v1/search", params={"words": "a face to find", "meaning": False}).json()
    assert len(matches["hits"]) == 1, "drawn once"
    assert len({api.txt2img(prompt="chance", **SMALL).info["seed"] for _ in range(3)}) == 3, "-1 is any seed"


def test_reference_strength_is_a_field_of_ours(http: httpx.Client, server: Server) -> None:
    requests = {"prompt": "a face of its own", "seed": 5, **SMALL}
    info = json.loads(http.post("/txt2img", json={**requests, "reference_strength": 0.25}).json()["info"])
    job = httpx.get(f"{server.url}/api/v1/jobs/{info['studio']['jobs'][0]}").json()
    assert job["request"]["reference_strength"] == 0.25
    assert http.post("/txt2img", json={**requests, "reference_strength": 2}).status_code == 422


@pytest.mark.parametrize(
    ("width", "height", "results", "output"),
    [
        (128, 128, 128, False),
        (512, 512, 512, False),
        (512, 768, 512, True),
        (64, 64, 128, True),
        (2048, 100, 512, True),
    ],
)
def test_any_size_is_accepted_and_the_actual_size_reported(
    api: Any, width: int, height: int, results: int, output: bool
) -> None:
    result = api.txt2img(prompt=f"a size {width} {height}", width=width, height=height, steps=1)
    assert result.image.size == (results, results) == (result.info["width"], result.info["height"])
    notes = f"pictures are {results} x {results} here, not {width} x {height}."
    assert (notes in result.info["studio"]["notes"]) is output


def test_ignored_settings_are_noted(api: Any) -> None:
    result = api.txt2img(prompt="notes", enable_hr=True, restore_faces=True, scheduler="karras", **SMALL)
    notes = " ".join(result.info["studio"]["notes"])
    assert all(word in notes for word in ("enable_hr", "restore_faces", "no Euler a here; Euler was taken", "karras"))


def test_dynamic_prompts_differ_by_picture(api: Any) -> None:
    result = api.txt2img(prompt="a {red|blue|green|white|black} cat", batch_size=8, seed=3, **SMALL)
    assert len(result.images) == 8 and result.info["all_seeds"] == list(range(3, 11))
    assert len(set(result.info["all_prompts"])) > 1 and "{" not in "".join(result.info["all_prompts"])


def test_a_picture_is_where_it_starts(api: Any) -> None:
    requests = {"prompt": "a blue face", "seed": 4, **SMALL}
    near, far = (
        api.img2img(images=[RED], denoising_strength=strength, **requests, negative_prompt="").image
        for strength in (0.1, 0.9)
    )
    ours = pixels(RED).astype(int)
    assert abs(pixels(near) - ours).mean() < abs(pixels(far) - ours).mean()


@pytest.mark.parametrize("invert", [0, 1])
@pytest.mark.parametrize("kind", ["grey", "alpha", "twice as large"])
def test_masked_pixels_are_unchanged(api: Any, invert: int, kind: str) -> None:
    mask = LEFT
    if kind == "alpha":  # opaque is drawn anew, whatever its colour
        mask = Image.new("RGBA", (128, 128))
        mask.putalpha(LEFT)
    elif kind == "twice as large":
        mask = LEFT.resize((256, 256), Image.Resampling.NEAREST)
    requests = {"prompt": "a face in half", "seed": 9, "denoising_strength": 1, **SMALL}
    results = pixels(api.img2img(images=[RED], mask_image=mask, inpainting_mask_invert=invert, **requests).image)
    stored = np.s_[:, :64] if invert else np.s_[:, 64:]
    assert (results[stored] == pixels(RED)[stored]).all(), "black is kept"
    assert (results != pixels(RED)).any(), "white is drawn anew"


def test_base64_with_a_prefix_and_without_and_in_lines(http: httpx.Client) -> None:
    file = as_file(RED, "WEBP", lossless=True)
    raw, lines = base64.b64encode(file).decode(), base64.encodebytes(file).decode()
    answers = [
        http.post("/img2img", json={"init_images": [text], "seed": 2, "steps": 1, "prompt": "a face"}).json()["images"]
        for text in (raw, f"data:image/webp;base64,{raw}", f"data:image/webp;charset=x;base64,{raw}", lines)
    ]
    assert len(answers[0]) == 1 and all(answer == answers[0] for answer in answers)


def test_returned_parameters(http: httpx.Client) -> None:
    red = coded(RED)
    requests = {"init_images": [red], "mask": None, "prompt": "a face", "steps": 1, "seed": 1}
    without = http.post("/img2img", json={**requests, "send_images": False}).json()
    assert without["images"] == [] and "init_images" not in without["parameters"]
    stored = http.post("/img2img", json={**requests, "include_init_images": True}).json()
    assert stored["parameters"]["init_images"] == [red]


# --- What goes on -----------------------------------------------------------------------------------------------------


class Waiting(threading.Thread):
    """A client that waits for its pictures."""

    def __init__(self, api: Any, **fields: Any) -> None:
        super().__init__(daemon=True)
        self._api, self._fields, self.result = api, fields, None
        self.start()

    def run(self) -> None:
        self.result = self._api.txt2img(**self._fields)

    def end(self) -> Any:
        self.join(TIMEOUT)
        assert self.result is not None, "no answer"
        return self.result


def test_progress_with_a_preview_then_interrupt(api: Any) -> None:
    assert api.get_progress()["state"]["job_count"] == 0
    waiting = Waiting(api, prompt="a slow face", steps=100, n_iter=20, width=128, height=128)
    going = until(lambda: (p := api.get_progress())["current_image"] and p)
    assert 0 < going["progress"] < 1 and going["eta_relative"] > 0
    assert going["state"]["job_count"] == 1 and 0 < going["state"]["sampling_step"] <= going["state"]["sampling_steps"]
    with Image.open(io.BytesIO(base64.b64decode(going["current_image"]))) as preview:
        assert preview.size == (128, 128)
    later = until(lambda: (p := api.get_progress())["progress"] > going["progress"] and p)
    assert later["state"]["job"] == going["state"]["job"]
    assert api.interrupt() == {}
    assert len(waiting.end().images) < 20
    api.util_wait_for_ready(0.1)


def test_interrupt_stops_only_a1111_jobs(api: Any, server: Server) -> None:
    with httpx.Client(base_url=f"{server.url}/api/v1", timeout=TIMEOUT) as other:
        job = other.post("/jobs", json={"prompt": "somebody else's", "steps": 60}).json()["id"]
        until(lambda: other.get(f"/jobs/{job}").json()["state"] == "running")
        assert api.get_progress()["progress"] == 0
        api.interrupt()
        assert until(lambda: (j := other.get(f"/jobs/{job}").json())["ended"] and j)["state"] == "done"


def test_a_client_that_leaves_loses_nothing(server: Server) -> None:
    with httpx.Client(base_url=server.url, timeout=0.5) as client, pytest.raises(httpx.TimeoutException):
        client.post("/sdapi/v1/txt2img", json={"prompt": "left alone", "seed": 77, "steps": 50})
    with httpx.Client(base_url=server.url, timeout=TIMEOUT) as client:
        hits = until(
            lambda: client.get("/api/v1/search", params={"words": "left alone", "meaning": False}).json()["hits"]
        )
    assert hits[0]["picture"]["seed"] == 77


# --- Files ------------------------------------------------------------------------------------------------------------


def test_a_picture_is_described(api: Any, http: httpx.Client) -> None:
    assert api.interrogate(RED).info == "a red face, happy"
    assert http.post("/interrogate", json={"image": "no picture"}).status_code == 422


# --- Facts ------------------------------------------------------------------------------------------------------------


def test_lists_for_clients(api: Any, server: Server, http: httpx.Client) -> None:
    assert api.util_get_sampler_names() == ["Euler", "Fast", "Heun"] and api.util_get_scheduler_names() == ["automatic"]
    assert [style["name"] for style in api.get_prompt_styles()] == ["noto", "black glyph", "outline"]
    lists = (api.get_sd_vae, api.get_loras, api.get_hypernetworks, api.get_face_restorers, api.get_realesrgan_models)
    assert [get() for get in (*lists, api.get_latent_upscale_modes)] == [[]] * 6
    assert api.get_embeddings() == {"loaded": {}, "skipped": {}} and api.get_scripts() == {"txt2img": [], "img2img": []}
    assert api.get_cmd_flags()["api"] is True and api.refresh_checkpoints() == {}
    assert str(server.home) not in json.dumps([api.get_cmd_flags(), api.get_options(), api.get_sd_models()])
    assert httpx.get(f"{server.url}/internal/ping").status_code == 200
    for name in ("refresh-vae", "refresh-loras", "refresh-embeddings", "unload-checkpoint", "reload-checkpoint"):
        assert http.post(f"/{name}").status_code == 200


def test_the_model_is_an_option(api: Any, http: httpx.Client) -> None:
    current = api.util_get_current_model()
    assert current in api.util_get_model_names() and current.startswith("fake:0.02 [")
    api.util_set_model("fake")
    assert http.post("/options", json=api.get_options()).status_code == 200, "clients send all of them back"
    assert http.post("/options", json={"sd_model_checkpoint": "v1-5-pruned"}).status_code == 404
    assert api.util_get_current_model() == current
    assert http.post("/options", json={"sd_model_checkpoint": "embedded"}).status_code == 200
    assert api.util_get_current_model().startswith("embedded [")
    api.util_set_model(current)
    assert api.util_get_current_model() == current
    override = {"sd_model_checkpoint": current, "CLIP_stop_at_last_layers": 2}
    assert api.txt2img(prompt="a model", override_settings=override, **SMALL).info["sd_model_name"] == "fake:0.02"


def test_options_look_at_the_chosen_model_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []
    monkeypatch.setattr(a1111, "model_state", lambda name: looked_at.append(name) or SimpleNamespace(digest="d" * 64))
    answer = a1111.options(a1111.State(SimpleNamespace(), "fake"))  # type: ignore[arg-type]
    assert answer["sd_model_checkpoint"] == f"fake [{'d' * 10}]" and looked_at == ["fake"]


@pytest.mark.parametrize(("code", "status"), [("studio.closed", 503), ("job.answer_cancelled", 500)])
def test_worker_failures_are_server_errors(code: str, status: int) -> None:
    async def acontent(_: Any) -> None:
        raise Refused(code)

    with pytest.raises(Rejected) as caught:
        asyncio.run(answered(SimpleNamespace(acontent=acontent), None))  # type: ignore[arg-type]
    assert caught.value.status == status


def test_names_of_samplers() -> None:
    ours = ("euler", "heun", "dpm++", "dpm++ sde", "unipc", "fast")
    assert {row.ours for row in SAMPLERS} >= set(ours)
    this = [row for row in SAMPLERS if row.ours in ours]
    names = [name for row in this for name in (row.name, *row.same, *row.stands_for)]
    assert len({name.casefold() for name in names}) == len(names), "each means one thing"


@pytest.mark.parametrize(
    ("name", "schedule", "ours", "notes"),
    [
        ("Euler a", "", "euler", ["there is no Euler a here; Euler was taken."]),
        ("dpm++", "Automatic", "dpm++", []),
        ("DPM++ 2M", "automatic", "dpm++", []),
        ("DPM++ 2M Karras", "", "dpm++", ["Karras"]),
        ("heun", "karras", "heun", ["karras"]),
        ("", "", "", []),
    ],
)
def test_samplers_of_a1111_map_to_schedulers(name: str, schedule: str, ours: str, notes: list[str]) -> None:
    messages: list[Message] = []
    assert scheduler_of(name, schedule, ("euler", "heun", "dpm++"), messages) == ours
    assert len(messages) == len(notes) and all(note in str(text) for note, text in zip(notes, messages, strict=True))
    with pytest.raises(Refused, match="not found"):
        scheduler_of("My Sampler", schedule, ("euler", "heun", "dpm++"), [])


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"sampler_name": "My Sampler"}, 404, "Sampler not found"),
    ({"sampler_name": "My\nSampler"}, 404, "Sampler not found"),
    ({"override_settings": {"sd_model_checkpoint": "v1-5"}}, 404, "Model not found"),
    ({"script_name": "x/y/z plot"}, 422, "Script 'x/y/z plot' not found"),
    ({"alwayson_scripts": {"controlnet": {"args": [{"image": "x"}]}}}, 422, "always on script 'controlnet'"),
    ({"styles": ["nato"]}, 422, "did you mean 'noto'?"),
    ({"styles": ["noto", "outline"]}, 422, "one style"),
    ({"cfg_scale": 99}, 422, "cfg_scale must be between 1 and 20"),
    ({"batch_size": 100, "n_iter": 100}, 422, "batch_size x n_iter must be 64 at most"),
    ({"steps": "many"}, 422, "steps: input should be a valid integer"),
]


def test_refusals_of_txt2img(http: httpx.Client, subtests: pytest.Subtests) -> None:
    for output, status, words in REFUSED:
        with subtests.test(**output):
            answer = http.post("/txt2img", json={"prompt": "a face", **output})
            assert answer.status_code == status and words in answer.json()["detail"]
            assert answer.json()["detail"] == answer.json()["error"] and "\n" not in answer.json()["error"]
