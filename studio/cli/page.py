"""`studio open`: the page in the browser."""

from pathlib import Path

from studio import settings
from studio.cli.base import Common, command
from studio.page import serve


@command("open")
def open_studio(
    common: Common,
    host: str = "127.0.0.1",
    port: int = 7860,
    folders: list[Path] | None = None,
    no_browser: bool = False,
    password: str | None = None,
    allow_network: bool = False,
    device: str = "",
) -> None:
    """Open Studio 128 in the browser."""
    settings.place(device=device, models=map(str, folders or ()))
    serve.open_page(common.root, common.model, host, port, password, allow_network, not no_browser)
