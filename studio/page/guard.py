"""Keeps other web sites away from a page that listens on this computer.

Browsers let any site post to 127.0.0.1; and a name that an attacker makes point there (DNS rebinding) reads the answers
too. So the Host header must name this computer by address, and an Origin, where there is one, must be this very page.
"""

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]

POLICY = (
    b"default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
    b"script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; connect-src 'self' data: blob:; media-src 'self' blob:; "
    b"worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'self'; form-action 'self'; object-src 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class Guard:
    """ASGI middleware. `anywhere` also lets this computer's other addresses in, where the user opened it to them."""

    def __init__(self, app: App, anywhere: bool = False) -> None:
        self.app, self.anywhere = app, anywhere

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Refuse with 403, or pass on with headers that keep the page to itself."""
        if scope["type"] != "http":
            await (_close(send) if scope["type"] == "websocket" else self.app(scope, receive, send))
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if problem := self.problem(headers, scope["path"]):
            await _refuse(send, problem)
            return

        async def send_guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        await self.app(scope, receive, send_guarded)

    def problem(self, headers: dict[str, str], path: str) -> str:
        """Why a request is refused, or nothing."""
        host = headers.get("host", "")
        if not self._is_ours(_hostname(f"//{host}")):
            return "this address is not the studio's; open it as http://127.0.0.1"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return "another web site may not use the studio"
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return "another web site may not use the studio"
        if "file=http" in path:  # Gradio would fetch it: the studio does not reach out
            return "the studio fetches nothing from the network"
        return ""

    def _is_ours(self, name: str) -> bool:
        if name == "localhost":
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or self.anywhere


def is_loopback(host: str) -> bool:
    """Whether `host` can be reached from this computer only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


async def _refuse(send: Any, sentence: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *HEADERS]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": sentence.encode()})


async def _close(send: Any) -> None:
    await send({"type": "websocket.close", "code": 1008})
