"""`from studio import Studio`: import time, blocking and async calls, refusals."""

import asyncio
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from queue_kit import Entry, keep, open_tiny
from test_answers import direct
from waiting import TIMEOUT, until

import studio as package
from studio import Filter, Refused, Studio
from studio.backends.fake import Fake
from studio.requests import ImageRequest, make_request

HEAVY = ("torch", "gradio", "fastapi", "mcp", "diffusers", "transformers")


def run(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=TIMEOUT)


def test_the_import_is_light() -> None:
    for taken, heavy in (("from studio import *", HEAVY), ("import studio", ("numpy", "pydantic", "PIL"))):
        done = run("-c", f"import sys; {taken}; print([name for name in {heavy} if name in sys.modules])")
        assert done.stdout.strip() == "[]", done.stderr
    with pytest.raises(AttributeError, match="no attribute"):
        _ = package.nothing


def test_a_script_of_three_lines_works(tmp_path: Path) -> None:
    """Without a guard against being imported by the worker."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom studio import Studio\n"
        "with Studio(sys.argv[1]) as studio:\n    print(studio.generate('a cat', model='fake', seed=7)[0].path)\n"
        "print([name for name in ('torch', 'gradio') if name in sys.modules])\n"
    )
    done = run(script, tmp_path / "home")
    path, modules = done.stdout.splitlines()
    assert done.returncode == 0 and Image.open(path).mode == "RGBA" and modules == "[]", done.stderr


# --- Pictures ---------------------------------------------------------------------------------------------------------


def test_generate_makes_pictures_in_order_and_finds_them_again(shared: Studio, tmp_path: Path) -> None:
    results = shared.generate("a cat", model="fake", count=3, seed=7, steps=2)
    assert [saved.seed for saved in results] == [7, 8, 9] and not any(saved.cached for saved in results)
    assert all(Path(saved.path).is_relative_to(shared.gallery.folder) for saved in results)
    assert [saved.cached for saved in shared.generate("a cat", model="fake", count=3, seed=7, steps=2)] == [True] * 3
    Image.new("RGBA", (9, 9), "red").save(tmp_path / "red.png")
    edited = shared.generate(
        "a dog", model="fake", image=tmp_path / "red.png", strength=0.5, mix=["-.5:hat"], seed=1, steps=2
    )
    assert len(edited) == 1 and shared.queue.jobs(["done"], 1)[0].request.mix[0].weight == -0.5
    drawn = shared.generate("a {red|blue} cat", model="fake", count=4, seed=1, steps=1)
    assert [saved.seed for saved in drawn] == [1, 2, 3, 4], "each with words of its own, in order"


def test_refusals_of_generate(house: Studio) -> None:
    for fields, says in (
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": "a", "cuont": 3}, "did you mean 'count'"),
        ({"prompt": "a", "image": "nowhere.png", "strength": 0.5}, "does not exist"),
        ({"prompt": "a", "model": "fake:abc"}, "the model 'fake' takes seconds a step, from 0 to 60, not 'abc'; write"),
    ):
        with pytest.raises(Refused, match=says):
            house.generate(**{"model": "fake", **fields})
    with pytest.raises(KeyError):
        house.result("nobody")
    assert house.queue.counts() == {}, "nothing was put in line"


@pytest.mark.parametrize("prompt", ["a cat", "a {red|blue} cat"])
def test_too_many_pictures_are_refused_before_planning(
    shared: Studio, prompt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = list[int]()
    copy = ImageRequest.model_copy

    def counted(request: ImageRequest, **change: Any) -> ImageRequest:
        results.append(1)
        assert len(results) < 99, "one after the other, until the memory is full"
        return copy(request, **change)

    monkeypatch.setattr(ImageRequest, "model_copy", counted)
    for count in (65, 10**9):
        with pytest.raises(Refused, match=f"count must be between 1 and 64, not {count}"):
            shared.prepare("image", prompt=prompt, model="fake", count=count)
    assert len(results) < 20


def test_a_job_that_somebody_cancels_is_refused_to_who_waits(shared: Studio) -> None:
    async def both() -> None:
        making = asyncio.create_task(shared.agenerate("slow", model="fake:0.1", steps=100))
        while not shared.queue.jobs(["running"]):
            await asyncio.sleep(0.02)
        shared.queue.cancel()
        with pytest.raises(Refused, match="was cancelled"):
            await making

    asyncio.run(both())


def test_a_task_that_is_cancelled_cancels_its_jobs(house: Studio) -> None:
    async def leave() -> None:
        making = asyncio.create_task(house.agenerate("slow {a|b}", model="fake:0.1", steps=100, count=2))
        while not house.queue.jobs(["running"]):
            await asyncio.sleep(0.02)
        making.cancel()
        with pytest.raises(asyncio.CancelledError):
            await making
        soon = asyncio.create_task(house.agenerate("never", model="fake:0.1", steps=100))
        await asyncio.sleep(0)
        soon.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon

    asyncio.run(leave())
    until(lambda: not house.queue.jobs())
    assert set(house.queue.counts()) == {"cancelled"}


def test_events_can_be_awaited_while_others_go_on(shared: Studio) -> None:
    async def watch() -> tuple[list[object], int]:
        job = shared.submit(shared.prepare("image", prompt="a cat", model="fake:0.05", steps=8, seed=1)[0])
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        events = [event async for event in shared.aevents(job)]
        ticking.cancel()
        return events, ticks

    events, ticks = asyncio.run(watch())
    assert [type(event).__name__ for event in events[-2:]] == ["Saved", "Done"] and ticks > 10


# --- The space --------------------------------------------------------------------------------------------------------


def test_embed_equals_the_backend(shared: Studio, tmp_path: Path) -> None:
    Image.new("RGBA", (9, 9), "red").save(tmp_path / "red.png")
    matches = shared.embed(["a  cat", "猫"], model="fake")
    assert [(one.kind, one.input) for one in matches] == [("text", "a  cat"), ("text", "猫")]
    expected = direct(Fake(), make_request("embed", texts=("a cat", "猫")))
    assert [one.vector for one in matches] == [one.vector for one in expected]
    many = asyncio.run(shared.aembed([f"{n}" for n in range(40)], [tmp_path / "red.png"], model="fake"))
    assert [one.input for one in many] == [*map(str, range(40)), str(tmp_path / "red.png")]
    assert all(abs(np.linalg.norm(one.vector) - 1) < 1e-4 for one in many)
    with pytest.raises(Refused, match="nothing to embed"):
        shared.embed(model="fake")


def test_search_by_words_then_meaning(house: Studio) -> None:
    for prompt in ("a cat", "a cat in a hat", "a dog", "a catfish"):
        house.generate(prompt, model="fake", seed=1, steps=1)

    def prompts_of(*words: str, **more: object) -> list[str]:
        return [hit.picture.prompt for hit in house.search(*words, model="fake", **more)]

    assert prompts_of("a cat")[0] == "a cat", "the fake space knows equal words"
    assert set(prompts_of("a cat")) == {"a cat", "a cat in a hat", "a dog", "a catfish"}
    assert set(prompts_of("a cat")[:3]) == {"a cat", "a cat in a hat", "a catfish"}, (
        "those that say it before the others"
    )
    assert set(prompts_of("cat", meaning=False)) == {"a cat", "a cat in a hat", "a catfish"}
    assert set(prompts_of("cat", meaning=False, without="hat")) == {"a cat", "a catfish"}
    assert "a cat" not in prompts_of("a", without="cat") and "a catfish" in prompts_of("a", without="cat"), (
        "to the letter"
    )
    assert prompts_of("a dog", k=1) == ["a dog"] and prompts_of("nothing of it", meaning=False) == []
    assert prompts_of("", k=2) == ["a catfish", "a dog"], "the newest where nothing is looked for"
    house.gallery.mark([house.search("dog", meaning=False)[0].picture.sha256], star=True)
    assert prompts_of("a cat", wanted=Filter(starred=True)) == ["a dog"]
    hits = asyncio.run(house.asearch("a dog", model="fake"))
    assert hits[0].picture.prompt == "a dog" and hits[0].score == pytest.approx(1, abs=1e-3)


def test_search_like_a_picture_and_without_another(tiny_studio: Studio) -> None:
    """The nearest to a picture is itself; subtracting it reverses the order."""
    red, blue = (tiny_studio.generate(word, seed=n, steps=1)[0].path for n, word in enumerate(("red", "blue")))
    assert str(tiny_studio.search(like=red)[0].picture.path) == red
    places = {one.input: np.array(one.vector) for one in tiny_studio.embed(["red"], [red, blue])}
    wish = places["red"] - 0.5 * places[blue]
    score = {str(hit.picture.path): hit.score for hit in tiny_studio.search("red", without=Path(blue))}
    for path in (red, blue):
        assert score[path] == pytest.approx(float(wish @ places[path]) / np.linalg.norm(wish), abs=2e-3)
    with pytest.raises(Refused, match="only takes away"):
        tiny_studio.search(without=Path(blue))


def test_search_uses_a_single_space_and_works_without_a_model(house: Studio, tmp_path: Path) -> None:
    house.generate("a cat", model="fake", seed=1, steps=1)
    ours = house.gallery.page()[0]
    Image.new("RGBA", (8, 8), "blue").save(tmp_path / "other.png")
    place = house.embed(["a cat"], model="fake")[0].vector
    entry = Entry("j" * 64, 0, 1, "a cat of another space", space="another", vector=tuple(place))
    keep(house.gallery, (tmp_path / "other.png").read_bytes(), entry)
    scores = {hit.picture.prompt: hit.score for hit in house.search("a cat", model="fake")}
    assert scores["a cat"] == pytest.approx(1, abs=1e-3) and scores["a cat of another space"] is None
    assert [hit.picture.prompt for hit in house.search("dog", model="fake")] == ["a cat"]
    with Studio(tmp_path / "home", partial(open_tiny, str(tmp_path / "nowhere"))) as bare:
        assert {hit.score for hit in bare.search("cat")} == {None} and len(bare.search("cat")) == 2
        with pytest.raises(Refused, match="nowhere"):
            bare.search(like=ours.path)


# --- Prompt files -----------------------------------------------------------------------------------------------------


def test_a_batch_whose_task_is_cancelled_stops_and_goes_on(shared: Studio, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("".join(f"face {n} --d {n} --s 20\n" for n in range(20)))

    async def leave() -> None:
        going = asyncio.create_task(shared.abatch(file, tmp_path / "out", model="fake:0.02"))
        while not list((tmp_path / "out").glob("images/*.png")):
            await asyncio.sleep(0.02)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going

    asyncio.run(leave())
    results = len(list((tmp_path / "out" / "images").glob("*.png")))
    assert 0 < results < 20
    answer = shared.batch(file, tmp_path / "out", model="fake:0.02")
    assert answer["found"] == results and answer["done"] == 20 - results
