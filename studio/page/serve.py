"""Serves the page: `python app.py`, without torch. The models live in the worker's process."""

import argparse
import contextlib
import ctypes
import errno
import logging
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import ChoiceLoader, DictLoader

from models.messages import Refused
from studio import settings
from studio.api.guard import PASSWORD_LEAST, Guard, is_loopback
from studio.backends.registry import open_backend

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from studio.page.context import PageContext

UPLOAD_LIMIT = "32mb"
M_MMAP_THRESHOLD = -3  # in malloc.h


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of `python app.py`."""
    parser = argparse.ArgumentParser(prog="studio open", description="Open Studio 128 in the browser.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this computer only)")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--home", type=Path, help="the studio's folder (else STUDIO_HOME, else the system's place)")
    parser.add_argument("--model", help="`studio models` lists them (else that of `studio models use`)")
    parser.add_argument(
        "--models", metavar="DIR", action="append", default=[], help="look for models in this folder too; repeat it"
    )
    parser.add_argument("--memory", metavar="WAY", help="of a model of your own: high, balanced, low (else what fits)")
    parser.add_argument("--device", help="where it computes: cpu, cuda, cuda:1, xpu, mps (else the fastest)")
    parser.add_argument("--embedder", metavar="MODEL", help="what compares words and pictures for it: open_clip:MODEL")
    parser.add_argument("--no-browser", action="store_true", help="don't open a browser window")
    parser.add_argument(
        "--password",
        metavar="WORD",
        help="everything asks for it, and --host may then let other computers in; better as the environment's"
        " STUDIO_PASSWORD: a command line can be read by everybody on this computer",
    )
    parser.add_argument(
        "--allow-network",
        action="store_true",
        help="let --host open the studio without a password: whoever reaches it sees all pictures and may use it",
    )
    return parser.parse_args(arguments)


def open_page(options: argparse.Namespace) -> int:
    """Serve the page until it is stopped -> exit code. Refusals are one sentence on stderr and 2."""
    settings.stay_offline()
    try:
        settings.place(options.memory or "", options.device or "", options.models, options.embedder or "")
        options.model = options.model or settings.usual_model(settings.home(options.home))
        open_backend(options.model)
        password = _password(options.password)
        with _listen(options.host, options.port, options.allow_network or bool(password)) as listener:
            _serve(listener, options, password)
    except KeyboardInterrupt:
        return 0  # Ctrl-C is how it is closed
    except Refused as refusal:
        print(f"studio: {refusal}", file=sys.stderr)
        return 2
    return 0


def _password(given: str | None) -> str:
    """The password that was given in one way or the other, "" for none; Refused where anybody could guess it."""
    password = settings.password(given)
    if (password or given is not None) and len(password) < PASSWORD_LEAST:
        raise Refused("page.serve.password_short", least=PASSWORD_LEAST)
    return password


def _listen(host: str, port: int, others: bool) -> socket.socket:
    """A listening socket, before anything slow is imported: a second studio on the port learns at once."""
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


def _serve(listener: socket.socket, options: argparse.Namespace, password: str) -> None:
    from studio.page.context import PageContext
    from studio.studio import Studio

    _return_memory()
    home = settings.home(options.home)
    os.environ["STUDIO_HOME"] = str(home)  # of the worker, too
    settings.keep_uploads(home)
    studio = Studio(home)
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def ready() -> None:
        print(f"Studio 128 is open at {url} (Ctrl-C closes it)", flush=True)
        studio.open(options.model)
        if not options.no_browser:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    anywhere = options.allow_network or not is_loopback(options.host)
    try:
        http_server(PageContext(studio, options.model), ready, anywhere, password).run(sockets=[listener])
    finally:
        studio.close()


def _return_memory() -> None:
    """Blocks of a megabyte and more go back to the system as soon as they are free: glibc would come to keep those of
    large pictures, in each thread's arena.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**20)


def http_server(
    context: "PageContext", ready: Callable[[], None] = lambda: None, anywhere: bool = False, password: str = ""
) -> "uvicorn.Server":
    """The page behind its guard, on bounded connections; `ready` is called once it listens."""
    import uvicorn

    from studio.api.connections import BACKLOG, Connection

    # Before others: the handler that the MCP package would put in imports what it needs when it first has to speak.
    logging.basicConfig(level=logging.WARNING)
    # Open pages hold a connection each; without a limit Ctrl-C would wait for the last tab to close.
    how: dict[str, Any] = {"http": Connection, "backlog": BACKLOG, "ws": "none", "timeout_graceful_shutdown": 1}
    from studio.page.serving import Serving

    first = partial(build_app, context, ready)
    guarded = Guard(Serving(context, lambda page: first() if page is context else build_app(page)), anywhere, password)
    server = uvicorn.Server(uvicorn.Config(guarded, log_level="warning", **how))
    # That open tabs are cut off when the studio closes is no error.
    logging.getLogger("uvicorn.error").addFilter(lambda record: not server.should_exit)
    return server


def build_app(context: "PageContext", ready: Callable[[], None] = lambda: None) -> "FastAPI":
    """The page as an ASGI app; `ready` is called once it listens."""
    import gradio as gr
    from fastapi import FastAPI

    from studio.api import a1111, v1
    from studio.mcp import http_routes, server
    from studio.page import clips, describe, files, layout, polling, suggest

    studio = context.studio
    tools = server(studio, context.model)
    tool_routes = http_routes(tools)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with tools.session_manager.run():
            threading.Timer(0.1, ready).start()
            yield

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    for part in (files, clips, describe, polling, suggest, *map(layout.tab, layout.TABS)):
        if hasattr(part, "router"):
            app.include_router(part.router(context))
    for interface in (a1111, v1):
        app.include_router(interface.router(studio, context.model))
    app.router.routes.extend(tool_routes)
    _fetch_nothing()
    _put_first(layout.head())
    page, pictures = layout.build(context), [str(studio.gallery.folder), str(studio.home / "inputs")]
    page.has_launched = True  # else Gradio takes any file that a browser names for one that it uploaded
    return gr.mount_gradio_app(
        app, page, path="/", show_error=False, allowed_paths=pictures, max_file_size=UPLOAD_LIMIT, **layout.appearance()
    )


def _put_first(html: str) -> None:
    """Put `html` at the beginning of the page. Gradio loads what is given as `head` after it has read the browser's
    language and after it has painted: too late to choose either.
    """
    from gradio.routes import templates

    loader, name = templates.env.loader, "frontend/index.html"
    assert loader
    page, *_ = loader.get_source(templates.env, name)
    if html not in page:
        changed = page.replace("<head>", f"<head>{{% raw %}}{html}{{% endraw %}}", 1)
        templates.env.loader = ChoiceLoader([DictLoader({name: changed}), loader])


def _fetch_nothing() -> None:
    """Replace the functions by which Gradio fetches addresses: it would fetch one that is given as an uploaded file,
    and pass on what is at one that is asked for as a file.
    """
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
