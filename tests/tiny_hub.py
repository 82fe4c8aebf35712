"""A local Hugging Face hub with the routes that its client uses; gated repositories, interrupted connections."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

COMMIT = "c" * 40
TOKEN = "hf_" + "t" * 34


class TinyHub(BaseHTTPRequestHandler):
    """`files`: bytes by repository and path. `cuts`: sizes at which files break off. `requests`: paths, ranges."""

    protocol_version = "HTTP/1.1"
    files: dict[str, dict[str, bytes]]
    gated: set[str]
    cuts: list[int]
    requests: list[tuple[str, str]]
    lies: bool

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.requests.append((path, self.headers.get("Range", "")))
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(/.*)?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path)
        name = (api or file)[1] if api or file else ""  # type: ignore[index]
        locked = name in self.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}"
        if name not in self.files:
            self._say(404 if self.headers.get("Authorization") else 401, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif locked and (file or path.endswith("/auth-check")):
            self._say(401, b"{}", {"X-Error-Code": "GatedRepo"})
        elif api:
            self._say(200, json.dumps(self._listed(name, api[2] or "")).encode())
        elif file:
            self._send(self.files[name][file[2]])

    def _listed(self, name: str, what: str) -> Any:
        rows = [(path, data, hashlib.sha256(data).hexdigest()) for path, data in self.files[name].items()]
        if "/tree/" in what:
            return [
                {"type": "file", "path": path, "size": len(data), "oid": "0" * 40}
                | ({"lfs": {"oid": digest, "size": len(data), "pointerSize": 1}} if _large(path) else {})
                for path, data, digest in rows
            ]
        siblings = [
            {"rfilename": path, "size": len(data), "blobId": "0" * 40}
            | ({"lfs": {"sha256": digest, "size": len(data), "pointerSize": 1}} if _large(path) else {})
            for path, data, digest in rows
        ]
        return {"id": name, "sha": COMMIT, "gated": "auto" if name in self.gated else False, "siblings": siblings}

    def _send(self, data: bytes) -> None:
        tag = hashlib.sha256(data).hexdigest()
        sent = data[::-1] if self.lies and data[8:9] == b"{" else data
        start = int(re.findall(r"\d+", self.headers.get("Range", "0"))[0])
        head = {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT, "X-Linked-Size": str(len(data)), "Accept-Ranges": "bytes"}
        if start:
            head["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._say(206 if start else 200, sent[start:], head)

    def _say(self, code: int, body: bytes, head: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {**(head or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.cuts and "/resolve/" in self.path and len(body) > self.cuts[0]:
            body, self.close_connection = body[: self.cuts.pop(0)], True
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def _large(path: str) -> bool:
    return path.endswith(".safetensors")


@contextmanager
def tiny_hub(files: dict[str, dict[str, bytes]]) -> Iterator[tuple[str, type[TinyHub]]]:
    """Serve repositories -> the address, and the handler class whose attributes control it."""
    fields: dict[str, Any] = {"files": files, "gated": set(), "cuts": [], "requests": [], "lies": False}
    handler = type("Handler", (TinyHub,), fields)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler
    finally:
        server.shutdown()
        server.server_close()
