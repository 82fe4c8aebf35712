"""The tools over HTTP, at one address of the studio's own server."""

from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.routing import BaseRoute

from studio.api.guard import BODY_LIMIT

PATH = "/mcp"


def routes(server: MCPServer) -> list[BaseRoute]:
    """What is to be added to the routes of an app. They work while `server.session_manager.run()` is entered, once.

    Who may come in is for `studio.api.guard` to say, which stands before everything.
    """
    guarded = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app = server.streamable_http_app(
        streamable_http_path=PATH, transport_security=guarded, max_request_body_size=BODY_LIMIT
    )
    return list(app.routes)
