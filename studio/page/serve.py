"""Serves the page (`python app.py`), without torch: models run in the worker's process."""

import asyncio
import contextlib
import contextvars
import ctypes
import errno
import gc
import logging
import socket
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import ChoiceLoader, DictLoader

from models.messages import Refused
from studio import settings
from studio.api.guard import PASSWORD_LEAST, Guard, is_loopback
from studio.backends.base import open_backend
from studio.backends.runtime import check_device

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from studio.page.context import PageContext

UPLOAD_LIMIT = "32mb"
M_MMAP_THRESHOLD = -3  # in malloc.h


def open_page(
    home: Path, model: str, host: str, port: int, password: str | None, allow_network: bool, browser: bool
) -> None:
    """Serve the page until Ctrl-C. Refused if it can't be served."""
    open_backend(model)
    word = _password(password)
    others = allow_network or bool(word)
    with contextlib.suppress(KeyboardInterrupt), _listen(host, port, others) as listener, _nothing_collected():
        _serve(listener, home, model, word, allow_network or not is_loopback(host), browser)


def _password(given: str | None) -> str:
    """The password from the option or the environment, "" for none; Refused if it is too short."""
    password = settings.password(given)
    if (password or given is not None) and len(password) < PASSWORD_LEAST:
        raise Refused("page.serve.password_short", least=PASSWORD_LEAST)
    return password


def _listen(host: str, port: int, others: bool) -> socket.socket:
    """A listening socket. It is bound before slow imports, so that a taken port is reported at once."""
    if not is_loopback(host) and not others:
        raise Refused("page.serve.host_open", host=host)
    if not 0 <= port <= 65535:
        raise Refused("page.serve.port_range", port=port)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, or asyncio leaves small answers waiting for more (Nagle): 40 ms each.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if sys.platform != "win32":  # there it would let two studios share the port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Refused("page.serve.port_taken", port=port) from error
        raise Refused("page.serve.cannot_listen", host=host, port=port, reason=str(error.strerror)) from error
    return listener


def _serve(listener: socket.socket, home: Path, model: str, password: str, anywhere: bool, browser: bool) -> None:
    _return_memory()
    settings.keep_uploads(home)
    with check_device():
        from studio.page.context import PageContext
        from studio.studio import Studio

    studio = Studio(home)
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def ready() -> None:
        gc.freeze()
        gc.enable()
        print(f"Studio 128 is open at {url} (Ctrl-C closes it)", flush=True)
        studio.open(model)
        if browser:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    try:
        http_server(PageContext(studio, model), ready, anywhere, password).run(sockets=[listener])
    finally:
        studio.close()


@contextlib.contextmanager
def _nothing_collected() -> Iterator[None]:
    """Disable garbage collection while the page is imported and built, which saves half a second. The 300,000 objects
    that exist then are frozen, so that later collections do not traverse them.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _return_memory() -> None:
    """Return freed blocks of 1 MB and more to the system at once: glibc keeps them in each thread's arena."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**20)


def http_server(
    context: "PageContext", ready: Callable[[], None] = lambda: None, anywhere: bool = False, password: str = ""
) -> "uvicorn.Server":
    """The page behind its guard, on bounded connections; `ready` is called once it listens."""
    import uvicorn

    from studio.api.guard import BACKLOG, Connection

    # Before the MCP package installs its own handler, which imports slow modules at its first record.
    logging.basicConfig(level=logging.WARNING)
    # Open pages hold a connection each; without a limit Ctrl-C would wait for the last tab to close.
    how: dict[str, Any] = {"http": Connection, "backlog": BACKLOG, "ws": "none", "timeout_graceful_shutdown": 1}

    def build(page: "PageContext") -> "FastAPI":
        return build_app(page, ready) if page is context else build_app(page)

    guarded = Guard(ModelApps(context, build), anywhere, password)
    server = uvicorn.Server(uvicorn.Config(guarded, log_level="warning", **how))
    # Connections that are cut at shutdown are no error.
    logging.getLogger("uvicorn.error").addFilter(lambda record: not server.should_exit)
    return server


class ModelApps:
    """Dispatches to the app of the served model. `build` makes the app of a model when it is first served."""

    def __init__(self, context: "PageContext", build: Callable[["PageContext"], "FastAPI"]) -> None:
        self._context, self._build, self._apps = context, build, dict[str, "FastAPI"]()
        self._tasks: list[asyncio.Task[None]] = []
        context.serve = self.serve

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._app(scope, receive, send)

    def serve(self, model: str) -> None:
        """Switch to a model; blocks. Refused if it can't be opened."""
        # In a new context: inside an event, Gradio constructs updates instead of components.
        contextvars.Context().run(asyncio.run_coroutine_threadsafe, self._serve(model), self._loop).result()
        self._context.studio.open(model)

    async def _live(self, receive: Any, send: Any) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        self._building = asyncio.Lock()  # Gradio builds one page at a time
        await receive()
        await self._serve(self._context.model)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._ended.set()
        await asyncio.gather(*self._tasks)
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, model: str) -> None:
        async with self._building:
            if model not in self._apps:
                app, ready = await asyncio.to_thread(self._build_for, model), asyncio.Event()
                task = asyncio.create_task(self._hold(app, ready))
                self._tasks.append(task)
                await asyncio.wait((task, waits := asyncio.create_task(ready.wait())), return_when="FIRST_COMPLETED")
                if not waits.done():
                    waits.cancel()
                    task.result()
                self._apps[model] = app
            self._app = self._apps[model]

    def _build_for(self, model: str) -> "FastAPI":
        from studio.page.context import PageContext

        is_first = self._context.model == model
        return self._build(self._context if is_first else PageContext(self._context.studio, model, self.serve))

    async def _hold(self, app: "FastAPI", ready: asyncio.Event) -> None:
        """Run the lifespan of an app in one task."""
        async with app.router.lifespan_context(app):
            ready.set()
            await self._ended.wait()


def build_app(context: "PageContext", ready: Callable[[], None] = lambda: None) -> "FastAPI":
    """The page as an ASGI app; `ready` is called once it listens."""
    import gradio as gr
    from fastapi import FastAPI

    from studio.api import a1111, v1
    from studio.mcp import http_routes, server
    from studio.page import layout, routes

    studio = context.studio
    tools = server(studio, context.model)
    tool_routes = http_routes(tools)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with tools.session_manager.run():
            threading.Timer(0.1, ready).start()
            yield

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    for part in (routes, *layout.tabs()):
        if hasattr(part, "router"):
            app.include_router(part.router(context))
    for interface in (a1111, v1):
        app.include_router(interface.router(studio, context.model))
    app.router.routes.extend(tool_routes)
    _fetch_nothing()
    _put_first(layout.head())
    page, pictures = layout.build(context), [str(studio.gallery.folder), str(studio.home / "inputs")]
    page.has_launched = True  # else Gradio accepts any path that a browser sends as an upload
    return gr.mount_gradio_app(
        app, page, path="/", show_error=False, allowed_paths=pictures, max_file_size=UPLOAD_LIMIT, **layout.appearance()
    )


def _put_first(html: str) -> None:
    """Put `html` at the beginning of the page. Gradio inserts its own `head` option after it has read the language and
    painted the page, which is too late to choose language and theme.
    """
    from gradio.routes import templates

    loader, name = templates.env.loader, "frontend/index.html"
    assert loader
    page, *_ = loader.get_source(templates.env, name)
    if html not in page:
        changed = page.replace("<head>", f"<head>{{% raw %}}{html}{{% endraw %}}", 1)
        templates.env.loader = ChoiceLoader([DictLoader({name: changed}), loader])


def _fetch_nothing() -> None:
    """Replace the two functions by which Gradio fetches URLs: of uploaded files and of requested files."""
    import gradio as gr
    from gradio import processing_utils
    from gradio import routes as gradio_routes
    from starlette.exceptions import HTTPException

    async def refuse(url: str) -> None:
        raise gr.Error(str(Refused("page.serve.no_network")), print_exception=False)

    async def forbid(url: str, request: object) -> None:
        raise HTTPException(403, "the studio fetches nothing from the network")

    processing_utils.async_ssrf_protected_get = refuse  # type: ignore[assignment]
    gradio_routes.secure_url_stream_response = forbid
