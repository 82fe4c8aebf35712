"""`studio mcp`: the studio as tools of a chat program that starts it."""

import typer

from studio.backends.registry import open_backend
from studio.cli.base import Home, Model, app
from studio.studio import Studio


@app.command()
def mcp(model: Model = "embedded", home: Home = None) -> None:
    """Serve a chat program over standard input and output (Model Context Protocol); it starts this command itself."""
    from studio.mcp.server import server  # half a second that only this command needs

    open_backend(model)
    try:
        with Studio(home) as studio:
            server(studio, model, local=True).run("stdio")
    except KeyboardInterrupt as error:
        raise typer.Exit(130) from error
