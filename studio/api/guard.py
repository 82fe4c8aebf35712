"""ASGI middleware before everything that listens: who may send requests, and how large they may be.

Browsers let any site post to 127.0.0.1, and a name that an attacker makes point there (DNS rebinding) reads the answers
too. So the Host header must name this computer by address, and an Origin, where there is one, must be this very page.
Where there is a password, every request must bring it. A body is limited in bytes before any application reads it.
"""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from starlette.requests import ClientDisconnect

from models.messages import Message

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]

# The largest picture that is read (models.data.pixels.MAX_BYTES) as base64, and room for what is said with it.
BODY_LIMIT = 48 * 2**20
TOO_LARGE = Message("api.request_too_large", {"most": BODY_LIMIT >> 20})
PASSWORD_LEAST = 8  # characters
ADDRESS = re.compile(r"/file[=/].*https?:", re.IGNORECASE)  # in Gradio's two ways to ask for a file
API = ("/sdapi/", "/api/")  # programs: they are refused in JSON

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
    """ASGI middleware. `anywhere` also lets this computer's other addresses in, where the user opened it to them; with
    a `password` every request must bring it, under any user name (HTTP Basic).
    """

    def __init__(self, app: App, anywhere: bool = False, password: str = "") -> None:
        self.app, self.anywhere = app, anywhere
        self._password = _digest(password.encode()) if password else b""

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Refuse with 403, 401 or 413, or pass on with headers that keep the page to itself."""
        if scope["type"] != "http":
            socket = scope["type"] == "websocket"  # no door speaks over one
            await (send({"type": "websocket.close", "code": 1008}) if socket else self.app(scope, receive, send))
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if problem := self.problem(headers, scope["path"]):
            await _refuse(send, scope["path"], 403, Message(problem))
        elif not self.lets_in(headers.get("authorization", "")):
            asks = (b"www-authenticate", b'Basic realm="Studio 128", charset="UTF-8"')
            await _refuse(send, scope["path"], 401, Message("api.password_wanted"), asks)
        elif (length := headers.get("content-length", "")).isdecimal() and int(length) > BODY_LIMIT:
            await _refuse(send, scope["path"], 413, TOO_LARGE)
        else:
            await self._pass_on(scope, _Exchange(receive, send))

    async def _pass_on(self, scope: Scope, exchange: "_Exchange") -> None:
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:  # a visitor who leaves in the middle of an upload is no error
            pass
        except Exception:
            if not exchange.too_large:
                raise
        if exchange.too_large and not exchange.answered:
            await _refuse(exchange.send_on, scope["path"], 413, TOO_LARGE)

    def problem(self, headers: dict[str, str], path: str) -> str:
        """The code of the message that says why a request is refused, or nothing."""
        host = headers.get("host", "")
        address = _address(_split(f"//{host}").hostname or "")
        if not address or not (address.is_loopback or self.anywhere):
            return "api.address_not_ours"
        origin = headers.get("origin")
        if origin is not None and _split(origin).netloc != host:
            return "api.other_site"
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return "api.other_site"
        if ADDRESS.search(path):  # Gradio would fetch it and show it as ours
            return "api.nothing_fetched"
        return ""

    def lets_in(self, authorization: str) -> bool:
        """Whether the header brings the password, or none is wanted; in constant time."""
        if not self._password:
            return True
        scheme, _, credentials = authorization.partition(" ")
        try:
            _, _, password = base64.b64decode(credentials, validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return False
        return scheme.lower() == "basic" and hmac.compare_digest(_digest(password), self._password)


class _Exchange:
    """One request and its answer: the body counted as it comes, the headers added as the answer goes."""

    def __init__(self, receive: Any, send: Any) -> None:
        self._receive, self.send_on = receive, send
        self._bytes, self.too_large, self.answered = 0, False, False

    async def receive(self) -> MutableMapping[str, Any]:
        """The next message; beyond the limit the application sees a client that has disconnected."""
        message = {"type": "http.disconnect"} if self.too_large else await self._receive()
        self._bytes += len(message.get("body", b""))
        if self._bytes > BODY_LIMIT:
            self.too_large = True
            return {"type": "http.disconnect"}
        return message

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """On to the client, except what the application answers to a body that was cut off."""
        if self.too_large and not self.answered:
            return
        if message["type"] == "http.response.start":
            self.answered = True
            message["headers"] = [*message.get("headers", []), *HEADERS]
        await self.send_on(message)


def is_loopback(host: str) -> bool:
    """Whether `host` can be reached from this computer only."""
    address = _address(host)
    return address is not None and address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address("127.0.0.1" if host == "localhost" else host.strip("[]"))
    except ValueError:
        return None


def _digest(password: bytes) -> bytes:
    """Of a fixed length, for a comparison in constant time."""
    return hashlib.sha256(password).digest()


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


async def _refuse(send: Any, path: str, status: int, message: Message, *more: tuple[bytes, bytes]) -> None:
    sentence = message.text()
    kind, body = b"text/plain; charset=utf-8", sentence.encode()
    if path.startswith(API):
        kind, body = b"application/json", json.dumps({"error": sentence, "detail": sentence}).encode()
    length = (b"content-length", str(len(body)).encode())
    headers = [(b"content-type", kind), length, *more, *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
