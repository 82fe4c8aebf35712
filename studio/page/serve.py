"""From the command line to a page in the browser, without torch: the models live in the worker's process."""

import argparse
import contextlib
import errno
import logging
import socket
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from models.messages import Refused
from studio import settings
from studio.api.guard import PASSWORD_LEAST, Guard, is_loopback
from studio.backends.registry import open_backend

if TYPE_CHECKING:
    from fastapi import FastAPI

    from studio.page.frame import Frame

UPLOAD_LIMIT = "32mb"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of `python app.py`."""
    parser = argparse.ArgumentParser(prog="app.py", description="Open Studio 128 in the browser.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this computer only)")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--home", type=Path, help="the studio's folder (else STUDIO_HOME, else the system's place)")
    parser.add_argument("--model", default="embedded", help="`studio models` lists them")
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
        raise Refused(f"the password is too short; give one of {PASSWORD_LEAST} characters or more.")
    return password


def _listen(host: str, port: int, others: bool) -> socket.socket:
    """A listening socket, before anything slow is imported: a second studio on the port learns at once."""
    if not is_loopback(host) and not others:
        raise Refused(
            f"--host {host} would let other computers in; add --password WORD, which they must then know, or"
            " --allow-network if whoever reaches it may see all pictures and use the studio."
        )
    if not 0 <= port <= 65535:
        raise Refused(f"--port must be between 0 and 65535, not {port}.")
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
            raise Refused(
                f"port {port} is taken, perhaps by another studio; close it or give another --port."
            ) from error
        raise Refused(f"can't listen on {host}:{port} ({error.strerror}); give another --host or --port.") from error
    return listener


def _serve(listener: socket.socket, options: argparse.Namespace, password: str) -> None:
    import uvicorn

    from studio.page.frame import Frame
    from studio.studio import Studio

    home = settings.home(options.home)
    settings.keep_uploads(home)
    studio = Studio(home)
    frame = Frame(studio, options.model)
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def ready() -> None:
        print(f"Studio 128 is open at {url} (Ctrl-C closes it)", flush=True)
        studio.open(options.model)
        if not options.no_browser:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    anywhere = options.allow_network or not is_loopback(options.host)
    guarded = Guard(build_app(frame, ready), anywhere, password)
    # Open pages hold a connection each; without a limit Ctrl-C would wait for the last tab to close.
    config = uvicorn.Config(guarded, log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    # That open tabs are cut off when the studio closes is no error.
    logging.getLogger("uvicorn.error").addFilter(lambda record: not server.should_exit)
    try:
        server.run(sockets=[listener])
    finally:
        studio.close()


def build_app(frame: "Frame", ready: Callable[[], None] = lambda: None) -> "FastAPI":
    """The page as an ASGI app; `ready` is called once it listens."""
    import gradio as gr
    from fastapi import FastAPI

    from studio.api import a1111, v1
    from studio.mcp.server import http_routes, server
    from studio.page import layout, routes
    from studio.page.early import Early
    from studio.page.gallery import routes as gallery
    from studio.page.line import routes as line

    tools = server(frame.studio, frame.model)
    tool_routes = http_routes(tools)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with tools.session_manager.run():
            threading.Timer(0.1, ready).start()
            yield

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Early, html=layout.head())
    for part in (routes, gallery, line):
        app.include_router(part.router(frame))
    for door in (a1111, v1):
        app.include_router(door.router(frame.studio, frame.model))
    app.router.routes.extend(tool_routes)
    _fetch_nothing()
    page, pictures = layout.build(frame), [str(frame.studio.gallery.folder), str(frame.studio.home / "inputs")]
    page.has_launched = True  # else Gradio takes any file that a browser names for one that it uploaded
    return gr.mount_gradio_app(
        app, page, path="/", allowed_paths=pictures, max_file_size=UPLOAD_LIMIT, **layout.looks()
    )


def _fetch_nothing() -> None:
    """Gradio would fetch an address that stands for an uploaded file, and pass on what is at one that is asked for as a
    file; all its fetching goes through these functions."""
    import gradio as gr
    from gradio import processing_utils
    from gradio import routes as gradio_routes
    from starlette.exceptions import HTTPException

    async def refuse(url: str) -> None:
        raise gr.Error("the studio fetches nothing from the network; upload the file.", print_exception=False)

    async def forbid(url: str, request: object) -> None:
        raise HTTPException(403, "the studio fetches nothing from the network")

    processing_utils.async_ssrf_protected_get = refuse  # type: ignore[assignment]
    gradio_routes.secure_url_stream_response = forbid
