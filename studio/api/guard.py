"""The guard before everything that listens: who may send requests, how large they may be, and how many connections
there are.

Browsers let any site post to 127.0.0.1, and a name that an attacker makes point there (DNS rebinding) reads the answers
too. So the Host header must name this computer by address, and an Origin, where there is one, must be this very page.
Where there is a password, every request must bring it. A body is limited in bytes before any application reads it.

uvicorn has a limit on requests, none on connections that send none, and waits for the first request for ever: hence
`Connection`.
"""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import re
import time
from asyncio import Transport
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from math import ceil
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol

from models.messages import Message
from studio.run import complain

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]

# The largest picture that is read (models.data.pixels.MAX_BYTES) as base64, and room for other fields.
BODY_LIMIT = 48 * 2**20
TOO_LARGE = Message("api.request_too_large", {"most": BODY_LIMIT >> 20})
TOGETHER = 4 * BODY_LIMIT  # bytes of the bodies of all requests that are open
SMALL = 2**16  # bytes that every request may bring
BUSY = Message("api.busy")
PASSWORD_LEAST = 8  # characters
FREE = 5  # wrong passwords of an address before it has to wait
LONGEST_WAIT, FORGOTTEN = 60.0, 3600.0  # seconds
ADDRESSES = 1000  # whose wrong passwords are remembered
ADDRESS = re.compile(r"/file[=/].*https?:", re.IGNORECASE)  # in Gradio's two ways to ask for a file
API = ("/sdapi/", "/api/")  # programs: they are refused in JSON

CONNECTIONS = 256  # at a time: 40 browsers; well below the descriptors that a process may have
BACKLOG = 128  # connections that the system takes before the limit is looked at
PATIENCE = 10.0  # seconds without a request, after which a connection is closed
BODY_LOOKS = 30  # of so many seconds each, that a request's body may take: 48 MB over a slow wireless network
FULL = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 5\r\ncontent-length: 0\r\n\r\n"

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
    """ASGI middleware. `anywhere`: at this computer's other addresses, too. Every request must bring a `password`."""

    def __init__(self, app: App, anywhere: bool = False, password: str = "") -> None:
        self.app, self.anywhere = app, anywhere
        self._password = _digest(password.encode()) if password else b""
        self._wrong_passwords = _WrongPasswords()
        self.held = 0  # bytes of all open requests

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Refuse with 403, 401 or 413, or pass on with headers that keep the page to itself."""
        if scope["type"] != "http":
            socket = scope["type"] == "websocket"  # no door speaks over one
            await (send({"type": "websocket.close", "code": 1008}) if socket else self.app(scope, receive, send))
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if problem := self.problem(headers, scope["path"]):
            await _refuse(send, scope["path"], 403, Message(problem))
        elif seconds := self._wrong_passwords.wait(address := (scope.get("client") or [""])[0]):
            message = Message("api.too_many_guesses", {"seconds": ceil(seconds)})
            await _refuse(send, scope["path"], 429, message, (b"retry-after", b"%d" % ceil(seconds)))
        elif not self.lets_in(given := headers.get("authorization", "")):
            if given:
                self._wrong_passwords.note(address)
            asks = (b"www-authenticate", b'Basic realm="Studio 128", charset="UTF-8"')
            await _refuse(send, scope["path"], 401, Message("api.password_wanted"), asks)
        elif (length := headers.get("content-length", "")).isdecimal() and int(length) > BODY_LIMIT:
            await _refuse(send, scope["path"], 413, TOO_LARGE)
        else:
            await self._pass_on(scope, _Exchange(self, receive, send))

    async def _pass_on(self, scope: Scope, exchange: "_Exchange") -> None:
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:  # a visitor who leaves in the middle of an upload is no error
            pass
        except Exception:
            if not exchange.refused:
                raise
        finally:
            self.held -= exchange.bytes
        if exchange.refused and not exchange.answered:
            await _refuse(exchange.send_on, scope["path"], *exchange.refused)

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
        """Whether the header has the password, or none is set; in constant time."""
        if not self._password:
            return True
        scheme, _, credentials = authorization.partition(" ")
        try:
            _, _, password = base64.b64decode(credentials, validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return False
        return scheme.lower() == "basic" and hmac.compare_digest(_digest(password), self._password)


class _WrongPasswords:
    """Wrong passwords by address (of IPv6 by network, which is one subscriber's). After FREE of them each makes the
    address wait twice as long, whatever it sends then: a right password must not be distinguishable from a wrong one.
    """

    def __init__(self) -> None:
        self._wrong = OrderedDict[str, tuple[int, float]]()  # address: how many, and when the last one came

    def wait(self, address: str) -> float:
        """Seconds until a password from there is looked at; 0 is now."""
        count, last = self._wrong.get(_network(address), (0, 0.0))
        penalty = min(2.0 ** min(count - FREE, 10), LONGEST_WAIT) if count >= FREE else 0.0
        return max(0.0, last + penalty - time.monotonic())

    def note(self, address: str) -> None:
        """A wrong one came from there."""
        now, network = time.monotonic(), _network(address)
        count, last = self._wrong.pop(network, (0, now))
        count = count + 1 if now - last < FORGOTTEN else 1
        self._wrong[network] = (count, now)
        if len(self._wrong) > ADDRESSES:
            self._wrong.popitem(last=False)
        if count == FREE:
            complain(Message("api.guesses", {"count": count, "address": network}))


class _Exchange:
    """One request and its answer: the body counted as it comes, the headers added as the answer goes."""

    def __init__(self, guard: Guard, receive: Any, send: Any) -> None:
        self._guard, self._receive, self.send_on = guard, receive, send
        self.bytes, self.answered = 0, False
        self.refused: tuple[int, Message] | None = None

    async def receive(self) -> MutableMapping[str, Any]:
        """The next message; beyond the limits the application sees a client that has disconnected."""
        message = {"type": "http.disconnect"} if self.refused else await self._receive()
        size = len(message.get("body", b""))
        self.bytes, self._guard.held = self.bytes + size, self._guard.held + size
        if self.bytes > BODY_LIMIT:
            self.refused = (413, TOO_LARGE)
        elif self.bytes > SMALL and self._guard.held > TOGETHER:
            self.refused = (503, BUSY)
        return {"type": "http.disconnect"} if self.refused else message

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """On to the client, except what the application answers to a body that was cut off."""
        if self.refused and not self.answered:
            return
        if message["type"] == "http.response.start":
            self.answered = True
            message["headers"] = [*message.get("headers", []), *HEADERS]
        await self.send_on(message)


class Connection(H11Protocol):
    """One connection; beyond CONNECTIONS it is answered 503 and closed."""

    def connection_made(self, transport: Any) -> None:
        """Count it, and wait for its first request."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            cast(Transport, transport).write(FULL)
            transport.close()
        else:
            self.loop.call_later(PATIENCE, self._look, None, 0)

    def _look(self, seen: object, looks: int) -> None:
        """Close it where nothing came after the request `seen`, or its body did not end, in so many `looks`."""
        request: Any = self.cycle
        idle = request is None or request.response_complete
        looks = looks + 1 if request is seen else 0
        if looks >= (1 if idle else BODY_LOOKS):
            self.transport.close()
        elif not self.transport.is_closing():
            waits = idle or request.more_body
            self.loop.call_later(PATIENCE, self._look, request if waits else self, looks)


def is_loopback(host: str) -> bool:
    """Whether `host` can be reached from this computer only."""
    address = _address(host)
    return address is not None and address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address("127.0.0.1" if host == "localhost" else host.strip("[]"))
    except ValueError:
        return None


def _network(address: str) -> str:
    ip = _address(address)
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ip and ip.version == 6 else address


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
