"""The Queue tab: what its routes answer, and what a person with a browser sees."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from page_kit import HOSTILE, client_of, stays_text
from queue_kit import claims, planned

from models.messages import Message
from studio.backends.base import open_backend
from studio.events import Failed, Saved
from studio.home import Home
from studio.page.context import PageContext
from studio.page.html import render
from studio.page.polling import Stage
from studio.page.tabs import queue as tab
from studio.planner import Job, resolve
from studio.queue import Queue
from studio.requests import make_request
from studio.studio import Studio

MODEL = "fake:0.1"
FORGED = "f" * 64


def put(queue: Queue, prompt: str, priority: int = 0, steps: int = 8, **fields: Any) -> str:
    """A job in line -> its id."""
    backend = open_backend(MODEL)
    request = resolve(make_request(prompt=prompt, model=MODEL, steps=steps, seed=1, **fields), backend.capabilities())
    job = planned(request, backend)
    queue.submit(job, priority)
    return job.id


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Home(tmp_path).queue


@pytest.fixture
def client(queue: Queue, tmp_path: Path) -> TestClient:
    return client_of(tab.router(PageContext(Studio(tmp_path), MODEL)))


def act(client: TestClient, do: str, *jobs: str, **headers: str) -> dict[str, Any]:
    answer = client.post("/jobs/act", json={"do": do, "jobs": jobs}, headers=headers)
    return answer.json()


def line(client: TestClient) -> list[str]:
    return [job for job, _ in client.get("/jobs").json()["line"]]


def test_moves_are_permutations(client: TestClient, queue: Queue) -> None:
    a, b, c, late = [*(put(queue, name) for name in "abc"), put(queue, "late", priority=-1)]
    assert line(client) == [a, b, c, late]
    for do, job, there in (
        ("up", c, [a, c, b, late]),
        ("down", a, [c, a, b, late]),
        ("first", b, [b, c, a, late]),
        ("down", a, [b, c, late, a]),
        ("up", b, [b, c, late, a]),
        ("down", a, [b, c, late, a]),
    ):
        assert "problem" not in act(client, do, job)
        assert line(client) == there, (do, there)


def test_what_a_browser_forges_does_nothing_but_a_sentence(client: TestClient, queue: Queue) -> None:
    job = put(queue, "a face")
    claims(queue).claim()
    put(queue, "another")
    before = client.get("/jobs").json()
    for do in ("up", "down", "first", "cancel", "retry"):
        assert act(client, do, FORGED)["problem"] == "This job is not here any more."
    assert act(client, "up", job, **{"accept-language": "zh"})["problem"] == "只能移动等待中的任务；它已开始或结束。"
    assert act(client, "__class__", job)["problem"].endswith("reload it.")
    assert client.post("/jobs/act", json={"do": "x" * 99}).status_code == 422
    assert client.get("/jobs").json() == before


def test_it_says_how_things_stand(client: TestClient, queue: Queue) -> None:
    assert "Nothing waits" in client.get("/jobs").json()["nothing"]
    running, failed = put(queue, "a face", count=3), put(queue, "a mask", count=3)
    claims(queue).claim()
    assert queue.job(running).state == queue.job(failed).state == "running", "one company, one batch"
    claims(queue).end(failed, Failed(Message("model.memory")))
    waiting = put(queue, "later", style="noto", negative="blue")
    queue.pause()
    queue.cancel([running])
    stand = client.get("/jobs").json()
    assert stand["busy"] and "At work: 1 · waiting: 1" in stand["head"] and "Paused" in stand["head"]
    rows = {job: html for name in ("line", "wrong", "past") for job, html in stand[name]}
    assert "Stopping" in rows[running] and "pictures: 3" in rows[running]
    assert "The memory does not suffice" in rows[failed] and 'data-act="retry"' in rows[failed]
    assert "noto · 8 steps · guidance 4 · seed 1 · without blue" in rows[waiting]
    queue.cancel([waiting])
    assert [job for job, _ in client.get("/jobs").json()["past"]] == [waiting]
    chinese = client.get("/jobs", headers={"accept-language": "zh"}).json()
    assert "内存不足" in dict(chinese["wrong"])[failed] and "the memory does not" in dict(chinese["wrong"])[failed]


@pytest.mark.parametrize("words", HOSTILE)
def test_words_from_outside_stay_words(queue: Queue, words: str) -> None:
    queue.submit(Job(make_request(prompt=words, negative=words), "j", "c"))
    job = queue.job("j")
    saved = {0: Saved(f"/x/{'a' * 64}.png", 0, 1, None, 0.1)}
    assert stays_text(render("queue.row", Stage(job, saved=saved)), words)
    assert stays_text(render("queue.head", {}, False, words), words)


# --- With a browser ---------------------------------------------------------------------------------------------------


def order(page: Any) -> list[str]:
    return page.eval_on_selector_all(".job.waiting", "rows => rows.map(row => row.dataset.job)")


def becomes(page: Any, jobs: list[str]) -> None:
    rows = "[...document.querySelectorAll('.job.waiting')].map(row => row.dataset.job).join()"
    page.wait_for_function(f"() => {rows} === '{','.join(jobs)}'")


def test_two_tabs_agree_and_a_job_is_followed_to_its_end(visit: Callable[..., Any], home: Path) -> None:
    queue = Home(home).queue
    queue.pause()
    one, other = visit("Queue"), visit("Queue")
    one.wait_for_selector(".jobs .empty")
    a = put(queue, HOSTILE[0], count=64, steps=100)  # at work until it is cancelled: 80 seconds, however slow the page
    b, c = put(queue, "b", count=2), put(queue, "c", count=2, style="noto")
    for page in (one, other):
        becomes(page, [a, b, c])
    one.evaluate("document.querySelector('.job').mine = true")
    one.focus(f'[data-job="{c}"] [data-act=up]')
    one.keyboard.press("Enter")
    for page in (one, other):
        becomes(page, [a, c, b])
    assert one.evaluate("document.activeElement.closest('.job').dataset.job") == c, "the focus goes with it"
    assert one.evaluate("document.querySelector('.job').mine"), "what did not change is not drawn again"
    other.click(f'[data-job="{b}"] [data-act=up]')
    becomes(one, [a, b, c])
    one.click(f'[data-job="{b}"] [data-act=cancel]')
    becomes(one, [a, c])
    one.click("[data-act=undo]")
    becomes(other, [a, c, b])
    assert one.locator("img[onerror]").count() == 0
    one.click("[data-act=go]")
    other.wait_for_selector(f'.job.running[data-job="{a}"] .bar:not(.busy)')
    other.click(f'[data-job="{a}"] [data-act=cancel]')
    one.wait_for_selector(f'.job.done[data-job="{b}"] .made img')
    becomes(other, [])
    one.click(f'.job.done[data-job="{b}"] .made button >> nth=0')
    one.wait_for_selector("dialog.card[open] h2:has-text('b')")
