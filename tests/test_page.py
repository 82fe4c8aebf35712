"""The page: who may use it, what it shows, and what a person with a browser sees."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from models.assets import prompt_list
from studio.events import Cancelled, Done, Failed, Progress, Saved, Unknown
from studio.page import view
from studio.page.desk import Desk
from studio.page.guard import Guard, is_loopback
from studio.page.words import LABELS, SAID, language
from studio.prompts import fields_of
from studio.requests import image_request
from studio.studio import Studio

ROOT = Path(__file__).resolve().parent.parent
HOSTILE = ["<img src=x onerror=alert(1)>", '"><script>alert(1)</script>', "{{7*7}} ${7*7} [x](javascript:alert(1))"]
CHROMIUM = next((path for path in map(Path, ("/usr/bin/chromium", "/usr/bin/chromium-browser")) if path.exists()), None)


class Elements(HTMLParser):
    """The elements of a piece of HTML, each with its attributes, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


# --- Words ------------------------------------------------------------------------------------------------------------


def test_everything_is_said_in_both_languages() -> None:
    for english, chinese in (LABELS | SAID).values():
        assert english and chinese and re.search(r"[\u4e00-\u9fff]", chinese)
        assert set(re.findall(r"{\w+}", english)) == set(re.findall(r"{\w+}", chinese))
    assert (language("zh-CN,zh;q=0.9"), language("de, zh"), language(None)) == ("zh", "en", "en")


def test_the_prompt_lists_can_be_asked_for() -> None:
    sheet = prompt_list("sheet")
    assert len(sheet) == len(set(sheet)) == 64
    for line in [*sheet, *prompt_list("examples")]:
        request = image_request(**fields_of(line))
        assert bool(request.prompt) != bool(request.mix)
    assert sum(" + " in line for line in sheet) == 8
    assert sum(bool(re.search(r"[\u4e00-\u9fff]", line)) for line in sheet) >= 8


# --- The stage --------------------------------------------------------------------------------------------------------


def saved(index: int, found: bool = False) -> Saved:
    return Saved(f"/x/{'a' * 16}-{index}-{index}.png", index, index, 0.5, 1.5, found)


def test_the_stage_tells_how_far_it_is() -> None:
    stage = view.Stage("en", "a cat", 3, ahead=2)
    assert "Waiting: 2 before this one" in stage.html()
    stage.note(Progress(0, 0))
    assert "Loading the model" in stage.html() and stage.html().count("<figure") == 3
    stage.note(Progress(1, 4, {0: b"png"}, (Unknown("axolotl", ("lizard", "fish")),)))
    html = stage.html()
    assert "Step 1 of 4" in html and "width:25%" in html and "data:image/png;base64,cG5n" in html
    assert "I don&#x27;t know axolotl; nearest: lizard, fish." in html
    stage.note(saved(1))
    stage.note(Cancelled())
    html = stage.html()
    assert "Stopped" in html and html.count("<figure") == 1 and "download=" in html


@pytest.mark.parametrize(("spoken", "says"), [("en", "2 made in 1.5 s"), ("zh", "2 张，用时 1.5 秒")])
def test_the_stage_tells_when_it_is_done(spoken: str, says: str) -> None:
    stage = view.Stage(spoken, "a cat", 2)
    for event in (saved(0), saved(1), Done()):
        stage.note(event)
    assert says in stage.html()


@pytest.mark.parametrize("words", HOSTILE)
def test_words_from_outside_stay_words(words: str) -> None:
    stage = view.Stage("en", words, 1)
    stage.note(Progress(1, 2, unknown=(Unknown(words, (words,)),)))
    stage.note(saved(0))
    stage.note(Failed(words))
    pieces = [stage.html(), view.refused(words), view.nothing_yet("en", words), view.strip([("a.png", words)], "en")]
    for html in pieces:
        page = Elements(html)
        assert "script" not in [tag for tag, _ in page.elements]
        assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
        assert words in page.text or any(words in attributes.values() for _, attributes in page.elements)


# --- Who may use it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "path", "allowed"),
    [
        ({"host": "127.0.0.1:7860"}, "/", True),
        ({"host": "localhost:7860"}, "/", True),
        ({"host": "[::1]:7860"}, "/", True),
        ({"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:7860"}, "/gradio_api/queue/join", True),
        ({"host": "127.0.0.1:7860", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, "/", True),
        ({"host": "evil.example"}, "/", False),
        ({"host": "127.0.0.1.evil.example"}, "/", False),
        ({"host": "192.168.1.5:7860"}, "/", False),
        ({"host": "[::1"}, "/", False),
        ({}, "/", False),
        ({"host": "127.0.0.1:7860", "origin": "https://evil.example"}, "/gradio_api/queue/join", False),
        ({"host": "127.0.0.1:7860", "origin": "null"}, "/gradio_api/queue/join", False),
        ({"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:9999"}, "/gradio_api/queue/join", False),
        ({"host": "127.0.0.1:7860", "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}, "/pictures/x", False),
        ({"host": "127.0.0.1:7860"}, "/gradio_api/file=http://169.254.169.254/", False),
    ],
)
def test_other_sites_are_kept_out(headers: dict[str, str], path: str, allowed: bool) -> None:
    assert (Guard(_nothing).problem(headers, path) == "") is allowed


def test_addresses_of_this_computer() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.1", "example.com", "")))
    assert Guard(_nothing, anywhere=True).problem({"host": "192.168.1.5:7860"}, "/") == ""
    assert Guard(_nothing, anywhere=True).problem({"host": "evil.example"}, "/"), "no name but an address: rebinding"


async def _nothing(*_: object) -> None:
    raise AssertionError("not reached")


def test_only_pictures_of_ours_are_handed_out(tmp_path: Path) -> None:
    desk, ours, other = Desk(Studio(tmp_path), "fake"), "a" * 64, "b" * 64
    assert desk.picture(f"{ours}.png") is None
    for name in (ours, other):
        (tmp_path / "pictures" / name[:2]).mkdir(parents=True)
    (tmp_path / "pictures" / "aa" / f"{ours}.png").write_bytes(b"x")
    assert desk.picture(f"{ours}.png") == tmp_path / "pictures" / "aa" / f"{ours}.png"
    (tmp_path / "secret.png").write_bytes(b"x")
    (tmp_path / "pictures" / "bb" / f"{other}.png").symlink_to(tmp_path / "secret.png")
    for name in ("../secret.png", f"{other}.png", "/etc/passwd", "", f"{ours}.png\n", f"{ours}.png/../x", ours):
        assert desk.picture(name) is None


# --- The server -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def url(home: Path) -> Iterator[str]:
    """The address of `python app.py`, on a port of its own and the backend that draws faces."""
    command = [sys.executable, "app.py", "--no-browser", "--port", "0", "--home", str(home), "--model", "fake:0.1"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watchdog = threading.Timer(300, process.kill)
    watchdog.start()
    assert process.stdout
    match = re.search(r"http://\S+", process.stdout.readline())
    watchdog.cancel()
    assert match, "app.py did not start"
    yield match[0]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in errors, errors


def get(url: str, **headers: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_page_is_served_to_this_computer_only(url: str) -> None:
    assert get(url)[0] == 200
    assert get(url, Host="evil.example") == (403, b"this address is not the studio's; open it as http://127.0.0.1")
    assert get(url, Origin="https://evil.example")[0] == 403
    assert get(f"{url}/gradio_api/file=/etc/passwd")[0] == 403
    assert get(f"{url}/gradio_api/file=../../../etc/passwd")[0] in (403, 404)
    assert get(f"{url}/pictures/..%2f..%2fetc%2fpasswd")[0] == 404
    assert get(f"{url}/docs")[0] != 200 or b"swagger" not in get(f"{url}/docs")[1].lower()


def test_the_server_process_loads_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from studio.settings import stay_offline; stay_offline()\n"
        "from studio.page.desk import Desk; from studio.page.serve import build_app; from studio.studio import Studio\n"
        "build_app(Desk(Studio(Path(sys.argv[1])), 'embedded'))\n"
        "print([name for name in ('torch', 'diffusers', 'transformers') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.stdout.strip() == "[]", done.stderr


# --- With a browser ---------------------------------------------------------------------------------------------------

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
PATIENCE = 120_000  # ms: two cores may be busy with something else


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `test`)")
    if CHROMIUM is None:
        pytest.skip("no /usr/bin/chromium (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any, url: str) -> Iterator[Callable[..., Any]]:
    """Opens the page in a context of its own; fails if the page asks anyone but the studio for anything."""
    contexts, foreign = [], []

    def open_page(**settings: Any) -> Any:
        contexts.append(
            browser.new_context(**{"locale": "en-US", "viewport": {"width": 1280, "height": 900}, **settings})
        )
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda r: None if r.url.startswith((url, "data:", "blob:")) else foreign.append(r.url))
        page.on("dialog", lambda dialog: foreign.append(f"dialog {dialog.message}"))
        page.on("pageerror", lambda error: foreign.append(str(error)))
        page.goto(url)
        page.wait_for_selector("#stage .empty, #stage .cells")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert foreign == []


def make(page: Any, prompt: str) -> None:
    page.fill("#prompt textarea, #prompt input", prompt)
    page.click("#make")


def test_a_person_makes_stickers_and_downloads_one(visit: Callable[..., Any], home: Path, tmp_path: Path) -> None:
    page = visit()
    make(page, f"an axolotl {HOSTILE[0]}")
    page.wait_for_selector("#stage .bar:not(.busy)")
    page.wait_for_selector('#stage img[src^="data:image/png"]')
    page.wait_for_selector("#stage .done")
    page.wait_for_selector("#stage .status:has-text('made in')")
    assert page.locator("#stage .done").count() == 4
    assert page.inner_text("#stage .note") == "I don't know axolotl; nearest: lizard, fish."
    with page.expect_download() as download:
        page.click("#stage .done a[download] >> nth=0")
    path = tmp_path / "got.png"
    download.value.save_as(path)
    original = next(home.rglob(download.value.suggested_filename))
    assert path.read_bytes() == original.read_bytes(), "the very file: alpha and metadata survive"
    with Image.open(path) as picture:
        assert picture.mode == "RGBA" and json.loads(picture.text["studio"])["request"]["prompt"].startswith(
            "an axolotl"
        )
    assert page.locator("#stage img[onerror], #strip img[onerror]").count() == 0
    assert page.locator("#strip .kept").count() >= 4


def test_a_refusal_is_shown_and_the_page_goes_on(visit: Callable[..., Any]) -> None:
    page = visit()
    make(page, "")
    page.wait_for_selector("#stage .problem:has-text('the prompt is empty')")
    page.click("#examples button >> nth=0")
    page.wait_for_function("document.querySelector('#prompt textarea, #prompt input').value.length > 5")
    page.click("#make")
    page.wait_for_selector("#stage .done")


def test_stop_stops_and_a_closed_tab_does_not(visit: Callable[..., Any]) -> None:
    page = visit()
    page.fill("#prompt textarea, #prompt input", "a slow face to stop")
    page.press("#prompt textarea, #prompt input", "Enter")
    page.wait_for_selector("#stage .bar:not(.busy)")
    page.click("#stop")
    page.wait_for_selector("#stage .status:has-text('Stopped')")
    make(page, "a face that goes on")
    page.wait_for_selector("#stage .bar:not(.busy)")
    page.close()
    again = visit()
    again.wait_for_selector("#stage .done")
    assert again.get_attribute("#stage .done img >> nth=0", "alt") == "a face that goes on"


def test_more_like_this_takes_the_picture(visit: Callable[..., Any]) -> None:
    page = visit()
    make(page, "a face to like")
    page.wait_for_selector("#stage .status:has-text('made in')")
    page.click("#stage [data-like] >> nth=0")
    page.wait_for_selector("#like img")
    page.fill("#prompt textarea, #prompt input", "")
    page.click("#make")
    page.wait_for_selector("#stage .status:has-text('made in')")
    page.wait_for_selector("#stage .done")
    assert page.locator("#stage .problem").count() == 0


def test_a_phone_in_the_dark_in_china(visit: Callable[..., Any]) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True, "color_scheme": "dark"}
    page = visit(locale="zh-CN", **phone)
    assert page.inner_text("#make") == "生成贴纸"
    make(page, "美西螈")
    page.wait_for_selector("#stage .note:has-text('我不认识美西螈；最接近的是：蜥蜴、鱼。')")
    page.wait_for_selector("#stage .status:has-text('用时')")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "nothing to scroll sideways"
