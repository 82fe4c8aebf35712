"""How many connections the studio holds, and how long it waits for a request: who sends nothing ends nothing.

uvicorn has a limit on requests, none on connections that send none, and waits for the first request for ever.
"""

from asyncio import Transport
from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS = 256  # at a time: 40 browsers; well below the descriptors that a process may have
BACKLOG = 128  # connections that the system takes before the limit is looked at
PATIENCE = 10.0  # seconds without a request, after which a connection is closed
BODY_LOOKS = 30  # of so many seconds each, that a request's body may take: 48 MB over a slow wireless network
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 5\r\ncontent-length: 0\r\n\r\n"


class Connection(H11Protocol):
    """One connection; beyond CONNECTIONS it is answered 503 and closed."""

    def connection_made(self, transport: Any) -> None:
        """It is there: it counts, and its first request is waited for."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            cast(Transport, transport).write(BUSY)
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
