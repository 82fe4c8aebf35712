"""Puts a script into the page before Gradio's own.

Gradio loads what is given as `head` after it has read the browser's language, and after it has painted: too late to
choose either.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]
HEAD = b"<head>"


class Early:
    """ASGI middleware: `html` follows the first <head> of the page at "/"; everything else passes as it is."""

    def __init__(self, app: App, html: str) -> None:
        self.app, self.html = app, html.encode()

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Hold the page back until it is whole: its length changes."""
        if scope["type"] != "http" or scope["path"] != "/":
            await self.app(scope, receive, send)
            return
        start: MutableMapping[str, Any] = {}
        body = bytearray()

        async def held(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body"):
                page = bytes(body).replace(HEAD, HEAD + self.html, 1)
                headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
                if scope["method"] != "HEAD":
                    headers.append((b"content-length", str(len(page)).encode()))
                await send({**start, "headers": headers})
                await send({"type": "http.response.body", "body": page})

        await self.app(scope, receive, held)
