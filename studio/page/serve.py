"""From the command line to a page in the browser, without torch: the models live in the worker's process."""

import argparse
import contextlib
import errno
import socket
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from studio import settings
from studio.backends.registry import open_backend
from studio.capabilities import Refused
from studio.page.guard import Guard, is_loopback

if TYPE_CHECKING:
    from fastapi import FastAPI

    from studio.page.desk import Desk

UPLOAD_LIMIT = "32mb"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of `python app.py`."""
    parser = argparse.ArgumentParser(prog="app.py", description="Open Studio 128 in the browser.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this computer only)")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--home", type=Path, help="the studio's folder (else STUDIO_HOME, else the system's place)")
    parser.add_argument("--model", default="embedded", help="`studio models` lists them")
    parser.add_argument("--no-browser", action="store_true", help="don't open a browser window")
    parser.add_argument("--allow-network", action="store_true", help="let --host open the page to other computers")
    return parser.parse_args(arguments)


def open_page(options: argparse.Namespace) -> int:
    """Serve the page until it is stopped -> exit code. Refusals are one sentence on stderr and 2."""
    settings.stay_offline()
    try:
        open_backend(options.model)
        with _listen(options.host, options.port, options.allow_network) as listener:
            _serve(listener, options)
    except KeyboardInterrupt:
        return 0  # Ctrl-C is how it is closed
    except Refused as refusal:
        print(f"studio: {refusal}", file=sys.stderr)
        return 2
    return 0


def _listen(host: str, port: int, anywhere: bool) -> socket.socket:
    """A listening socket, before anything slow is imported: a second studio on the port learns at once."""
    if not is_loopback(host) and not anywhere:
        raise Refused(f"--host {host} would let other computers in; add --allow-network if that is meant.")
    if not 0 <= port <= 65535:
        raise Refused(f"--port must be between 0 and 65535, not {port}.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
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


def _serve(listener: socket.socket, options: argparse.Namespace) -> None:
    import uvicorn

    from studio.page.desk import Desk
    from studio.studio import Studio

    home = settings.home(options.home)
    settings.keep_uploads(home)
    studio = Studio(home)
    desk = Desk(studio, options.model)
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def ready() -> None:
        print(f"Studio 128 is open at {url} (Ctrl-C closes it)", flush=True)
        studio.open(options.model)
        if not options.no_browser:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    guarded = Guard(build_app(desk, ready), anywhere=options.allow_network)
    # Open pages hold a connection each; without a limit Ctrl-C would wait for the last tab to close.
    config = uvicorn.Config(guarded, log_level="warning", timeout_graceful_shutdown=1)
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        studio.close()


def build_app(desk: "Desk", ready: Callable[[], None] = lambda: None) -> "FastAPI":
    """The page as an ASGI app; `ready` is called once it listens."""
    import gradio as gr
    from fastapi import FastAPI, HTTPException
    from fastapi.responses import FileResponse

    from studio.page import layout, view

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        threading.Timer(0.1, ready).start()
        yield

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/pictures/{name}")
    def picture(name: str) -> FileResponse:
        path = desk.picture(name)
        if path is None:
            raise HTTPException(404, "no such picture")
        return FileResponse(path, media_type="image/png")

    return gr.mount_gradio_app(
        app,
        layout.build(desk),
        path="/",
        allowed_paths=[str(desk.studio.gallery.folder)],
        max_file_size=UPLOAD_LIMIT,
        footer_links=["settings"],
        run_history=False,
        i18n=layout.i18n(),
        theme=layout.theme(),
        css_paths=Path(__file__).with_name("style.css"),
        head=f'<link rel="icon" href="data:image/svg+xml,{quote(view.ICON)}">',
    )
