"""`studio` as a fork of a process that has imported all of it, so that starting costs little.

python fork_server.py SOCKET                   serves
python -S fork_server.py SOCKET ARGUMENTS...   runs a command, with the folder, environment and streams of this process
"""

import json
import os
import socket
import sys
from pathlib import Path
from typing import NoReturn


def serve(listener: socket.socket) -> None:
    import signal

    from studio import cli

    cli.program()
    import models.upscaler  # noqa: F401  what enlarges pictures, with torch

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children that have ended leave nothing behind
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            run(connection)
        connection.close()


def run(connection: socket.socket) -> NoReturn:
    from studio import cli

    message, streams, *_ = socket.recv_fds(connection, 4096, 3)
    while more := connection.recv(2**16):
        message += more
    command, code = json.loads(message), 1
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w", 1)  # not the server's
    os.chdir(command["folder"])
    os.environ.clear()
    os.environ.update(command["environment"])
    sys.argv = ["studio", *command["arguments"]]
    try:
        cli.main()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(bytes([code]))
    os._exit(code)


def ask(connection: socket.socket, arguments: list[str]) -> int:
    """Run a command -> its exit code."""
    command = {"arguments": arguments, "folder": str(Path.cwd()), "environment": dict(os.environ)}
    message = json.dumps(command).encode()
    socket.send_fds(connection, [message[:4096]], [0, 1, 2])
    connection.sendall(message[4096:])
    connection.shutdown(socket.SHUT_WR)
    return next(iter(connection.recv(1)), 1)


if __name__ == "__main__":
    _, path, *words = sys.argv
    with socket.socket(socket.AF_UNIX) as end:
        if words:
            end.connect(path)
            sys.exit(ask(end, words))
        end.bind(path)
        end.listen()
        serve(end)
