"""Two processes of a test that compute together."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from typing import Any

import torch.distributed as dist
from torch.multiprocessing import start_processes

multiprocessing.set_forkserver_preload(["diffusers", "transformers", "models.train.loop", "fixture_world"])


def _begun(rank: int, port: int, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo")
    work(*arguments)
    dist.destroy_process_group()


def in_two_processes(work: Callable[..., None], *arguments: Any) -> None:
    """Do `work`, a function of a module, in two processes that know each other through gloo; raises where one fails."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_processes(_begun, (port, work, arguments), nprocs=2, start_method="forkserver")
