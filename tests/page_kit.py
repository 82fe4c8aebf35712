"""What the tests of the page share: the studio's server as people start it, and a real browser that looks at it."""

import asyncio
import contextlib
import ctypes
import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from waiting import TIMEOUT, until

ROOT = Path(__file__).resolve().parent.parent
HOSTILE = ["<img src=x onerror=alert(1)>", '"><script>alert(1)</script>', "{{7*7}} ${7*7} [x](javascript:alert(1))"]
CHROMIUM = next((path for path in map(Path, ("/usr/bin/chromium", "/usr/bin/chromium-browser")) if path.exists()), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
ALONE = "http://part.test/"  # where a part of the page is shown alone; nobody is asked
PROMPT = "#prompt textarea, #prompt input"
# Drops a file, given as its bytes, on the page.
DROP = """(bytes) => {
  const given = new DataTransfer();
  given.items.add(new File([new Uint8Array(bytes)], 'sticker.png', { type: 'image/png' }));
  const drag = { dataTransfer: given, bubbles: true };
  for (const type of ['dragover', 'drop']) document.querySelector('#masthead').dispatchEvent(new DragEvent(type, drag));
}"""


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


def stays_text(html: str, words: str) -> bool:
    """Whether words from outside are words in this HTML, and nothing that runs."""
    page = Elements(str(html))  # escaped HTML would escape what is added to it
    quiet = not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    said = words in page.text or any(words in attributes.values() for _, attributes in page.elements)
    return said and quiet and "script" not in [tag for tag, _ in page.elements]


_LIBRARY = ctypes.CDLL(None) if sys.platform == "linux" else None


def _end_with_us() -> None:
    """In a process that has just begun: it ends with this one, also where a run of the tests is killed."""
    if _LIBRARY:
        _LIBRARY.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Server:
    """`python app.py` at a home, on a port of its own (or the one given) and the backend that draws faces."""

    def __init__(self, home: Path, model: str = "fake:0.1", port: int = 0) -> None:
        command = [sys.executable, "app.py", "--no-browser", "--port", str(port), "--home", str(home), "--model", model]
        self.home = home
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - a pipe that nobody reads stops the server once full
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": self.errors, "text": True}
        self.process = subprocess.Popen(command, cwd=ROOT, preexec_fn=_end_with_us, **pipes)
        watchdog = threading.Timer(TIMEOUT, self.process.kill)
        watchdog.start()
        assert self.process.stdout
        match = re.search(r"http://\S+", self.process.stdout.readline())
        watchdog.cancel()
        assert match, f"app.py did not start: {self.said()}"
        self.url = match[0]
        self.port = int(self.url.rpartition(":")[2])

    def said(self) -> str:
        """What it wrote to its stderr."""
        self.errors.seek(0)
        return self.errors.read()

    def kill(self) -> None:
        """As when the power goes."""
        self.process.kill()
        self.process.communicate()

    def close(self) -> None:
        """As Ctrl-C; it must end well."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.communicate(timeout=TIMEOUT)
            assert self.process.returncode == 0 and "Traceback" not in self.said(), self.said()


_ports = [0]


def _listener() -> socket.socket:
    """On the port of the one before it: so its scripts are those that a browser has. On another where that is taken."""
    try:
        listener = socket.create_server(("127.0.0.1", _ports[-1]))
    except OSError:
        listener = socket.create_server(("127.0.0.1", 0))
    _ports.append(listener.getsockname()[1])
    return listener


@contextlib.contextmanager
def served(home: Path, model: str = "fake:0.1") -> Iterator[str]:
    """The same in this process, which has imported it all: its address."""
    from studio import settings
    from studio.page.context import PageContext
    from studio.page.serve import http_server
    from studio.studio import Studio

    settings.stay_offline()
    settings.keep_uploads(home)
    with Studio(home) as studio, _listener() as listener:
        server = http_server(PageContext(studio, model))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            until(lambda: server.started)
            studio.open(model)
            yield f"http://127.0.0.1:{_ports[-1]}"
        finally:  # also of a test that failed: its process would wait for the thread
            server.should_exit = True
            thread.join()


def client_of(*routers: Any) -> Any:
    """A client of these alone, without a server."""
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    app = FastAPI()
    for router in routers:
        app.include_router(router)
    return TestClient(app)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests of the doors for programs; a step takes long enough to be watched."""
    server = Server(tmp_path_factory.mktemp("served"), "fake:0.02")
    yield server
    server.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def url(home: Path) -> Iterator[str]:
    with served(home) as address:
        yield address


class Browser:
    """Chromium. Pages of the same settings share a context: what it has fetched and compiled is there for the next."""

    def __init__(self, driver: Any) -> None:
        self._chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        self._contexts: dict[str, Any] = {}
        self._pages: list[Any] = []

    def open(self, **settings: Any) -> Any:
        """A page that shows nothing yet."""
        settings = {"locale": "en-US", "viewport": {"width": 1280, "height": 900}, **settings}
        key = json.dumps(settings, sort_keys=True)
        if key not in self._contexts:
            self._contexts[key] = self._chromium.new_context(**settings)
        page = self._contexts[key].new_page()
        page.set_default_timeout(1000 * TIMEOUT)
        self._pages.append(page)
        return page

    def forget(self) -> None:
        """Close the pages, with all that they kept."""
        from playwright.sync_api import Error

        for page in self._pages:
            with contextlib.suppress(Error):  # it shows nothing, or is closed
                page.evaluate("localStorage.clear()")
            page.close()
        for context in self._contexts.values():
            context.clear_cookies()
            context.clear_permissions()
        self._pages.clear()


@pytest.fixture(scope="session")
def chromium() -> Iterator[tuple[Browser, Any]]:
    """The browser, and the event loop on which it is driven."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `test`)")
    if CHROMIUM is None:
        pytest.skip("no /usr/bin/chromium (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        browser, loop = Browser(driver), asyncio.get_running_loop()
        asyncio._set_running_loop(None)
        yield browser, loop
        asyncio._set_running_loop(loop)


@pytest.fixture
def browser(chromium: tuple[Browser, Any]) -> Iterator[Browser]:
    """While its loop is the running one, asyncio.run refuses to work in this thread: it is so in these tests only."""
    browser, loop = chromium
    asyncio._set_running_loop(loop)
    yield browser
    browser.forget()
    asyncio._set_running_loop(None)


@pytest.fixture
def visit(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Opens the page (of `url`, or the address given) at the tab named.

    Fails where the page asks anyone but the studio for anything, or a script of it fails.
    """
    foreign: list[str] = []

    def open_page(tab: str = "", address: str = "", **settings: Any) -> Any:
        address, page = address or request.getfixturevalue("url"), browser.open(**settings)
        own = (address, "data:", "blob:")
        page.on("request", lambda r: None if r.url.startswith(own) else foreign.append(r.url))
        page.on("dialog", lambda dialog: foreign.append(f"dialog {dialog.message}"))
        page.on("pageerror", lambda error: foreign.append(str(error)))
        page.goto(address)
        page.wait_for_selector("#stage .empty, #stage .cells")
        if tab:
            turn_to(page, tab)
        return page

    yield open_page
    assert foreign == []


PART = """([script]) => {
  window.heard = [];
  window.watched = [];
  const element = document.querySelector('#part'), names = ['element', 'trigger', 'watch', 'upload', 'props'];
  const trigger = (...said) => heard.push(said), watch = (_, call) => watched.push(call);
  const given = [element, trigger, watch, async (file) => ({ path: file.name }), window.props = {}];
  new Function(...names, script)(...given);
}"""


@pytest.fixture
def part(browser: Browser) -> Callable[..., Any]:
    """Shows a part of the page without Gradio and without a studio: its HTML, page.js, and the part's own script.

    What it triggers is in `heard`, what it does when its value is another one in `watched`. `answers` has what is
    answered at an address, as JSON or as (status, body); all else is answered as silence.
    """

    def show(html: str, *scripts: str, answers: Mapping[str, Any] | None = None, **settings: Any) -> Any:
        page = browser.open(**settings)
        own = f"<head><meta charset=utf-8><script>{source('page.js')}</script></head><body>{html}</body>"

        def answer(route: Any) -> None:
            path = route.request.url.removeprefix(ALONE).partition("?")[0]
            told = own if not path else (answers or {}).get(path)
            told = told(route.request) if callable(told) else told
            status, body = told if isinstance(told, tuple) else (200, told)
            if told is None:
                return route.abort()
            body = body if isinstance(body, str) else json.dumps(body)
            return route.fulfill(status=status, body=body, content_type="application/json" if path else "text/html")

        page.route("**/*", answer)
        page.goto(ALONE)
        if scripts:
            page.evaluate(PART, ["".join(map(source, scripts))])
        return page

    return show


def source(name: str) -> str:
    return (ROOT / "studio" / "page" / "static" / name).read_text(encoding="utf-8")


PANEL = "[...document.querySelectorAll('#tabs [role=tabpanel]')].findIndex(panel => panel.offsetParent)"


def turn_to(page: Any, tab: str) -> None:
    """Open a tab, also one that a narrow page keeps in the menu at the end of the bar.

    While a page that has just come is laid out, a click on the bar may be lost; so where no other panel comes, again.
    """
    before = page.evaluate(PANEL)
    for _ in range(3):
        click_tab(page, tab)
        for _ in range(20):
            if page.evaluate(PANEL) != before:
                return
            page.wait_for_timeout(50)


def click_tab(page: Any, tab: str) -> None:
    """One click on a tab's name, in the bar or in its menu."""
    here, there = (
        page.locator(f'#tabs {place}:has-text("{tab}")') for place in ("button[role=tab]", ".overflow-dropdown button")
    )
    if here.count():
        here.click()
        return
    if not there.is_visible():
        page.click("#tabs .overflow-menu > button")
    there.click()


def make(page: Any, prompt: str, count: int = 0) -> None:
    """Ask for stickers on the Create tab. A dozen take so long that even a slow page sees them being made."""
    if count:
        page.fill("#count input[type=number]", str(count))
    page.fill(PROMPT, prompt)
    page.click("#make")


def get(url: str, **headers: str) -> tuple[int, bytes]:
    """(status, body) of an address."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
