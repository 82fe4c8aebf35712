"""Calls shared out over the devices of a Ray cluster (extra `cluster`): an actor a device, each with its own model.

Whoever shares them out keeps the books: actors answer and write nothing. A call whose actor dies, alone or with its
machine, is given to another; machines that join are taken in.
"""

import contextlib
import importlib
import logging
import os
import secrets
import signal
import socket
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from models.messages import Message, Refused
from models.runtime import NoDevice

C = TypeVar("C")
Place = tuple[str, int]  # a node's id and the number of a device in it

LOCAL = "local"  # the address that starts a cluster of this machine alone and stops it at the end
STORE = 256 << 20  # bytes for answers on their way, of a cluster that is started here
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
TRIES = 2  # actors that may die of one call
LOSSES = 5  # actors that a device may lose in a row
KNOCK = 5.0  # seconds until a cluster's address answers
LOOK = 5.0  # seconds between looks for machines that have joined
PATIENCE = 600.0  # seconds until the first actor is there and its model loaded


class _Actor:
    def greet(self, make: Callable[[], Callable[..., Any]]) -> None:
        self._answers = make()

    def answer(self, *arguments: Any) -> Any:
        return self._answers(*arguments)


class Cluster:
    """The devices of the cluster at `address`: LOCAL, "auto" (one that runs here), HOST:PORT or ray://HOST:PORT.

    A device is a graphics card, or a machine without one; with `processors` every machine is one. There `make` makes
    what answers calls; what that raises says that the device is no good. Refused where Ray is not installed or the
    cluster can't be reached. To be closed.
    """

    def __init__(self, address: str, make: Callable[[], Callable[..., Any]], processors: bool = False) -> None:
        self._make, self._processors = make, processors
        self._actors: dict[Place, Any] = {}
        self._ready: set[Place] = set()
        self._at_work: dict[Any, tuple[Place, Any]] = {}  # by the answer to come; the call is None of a greeting
        self._failures: Counter[Place] = Counter()
        self._problem = Message("cluster.no_device", {"address": address})
        # Ray reads these once. Its ports are open to others, and it would leave a token of its own in ~/.ray.
        guard = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)} if address == LOCAL else {}
        for name, value in (QUIET | guard).items():
            os.environ.setdefault(name, value)
        try:
            self._ray = importlib.import_module("ray")
            # It would print what befalls other machines on standard output.
            vars(importlib.import_module("ray._private.worker"))["print_to_stdstream"] = lambda *said, **how: None
        except ImportError as error:
            raise Refused("cluster.not_installed", problem=str(error)) from error
        with contextlib.ExitStack() as end:
            how: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.ERROR}
            if address == LOCAL:
                short = "/tmp" if os.name == "posix" else None  # the names of sockets may have 104 bytes
                folder = tempfile.TemporaryDirectory(prefix="studio-ray-", dir=short, ignore_cleanup_errors=True)
                how |= {
                    "include_dashboard": False,
                    "object_store_memory": STORE,
                    "_temp_dir": end.enter_context(folder),
                }
            before = signal.getsignal(signal.SIGTERM)
            end.callback(self._ray.shutdown)
            try:
                host, _, port = address.removeprefix("ray://").rpartition(":")
                if host:  # Ray would try for minutes, and say so each second
                    socket.create_connection((host, int(port)), KNOCK).close()
                self._ray.init(**how)
            except Exception as error:  # a bare one where Ray does not start in time
                raise Refused("cluster.unreachable", address=address, problem=str(error).split("\n")[0]) from error
            with contextlib.suppress(ValueError):  # not in the main thread, where Ray sets no handler either
                signal.signal(signal.SIGTERM, before)
            self.close = end.pop_all().close  # ends the actors, and Ray where it was started here

    def share(self, calls: deque[C], arguments: Callable[[C], tuple[Any, ...]]) -> Iterator[tuple[C, Any]]:
        """The answer to each call, in the order in which they come, None where TRIES actors died of it. The caller may
        append further ones meanwhile; dropping the iterator cancels. NoDevice where none is left.
        """
        crashes, since = Counter[int](), time.monotonic()
        try:
            while calls or any(call is not None for _, call in self._at_work.values()):
                self._staff()
                if not self._actors or (not self._ready and time.monotonic() - since > PATIENCE):
                    raise NoDevice(self._problem)
                self._assign(calls, arguments)
                done, _ = self._ray.wait([*self._at_work], timeout=LOOK)
                answers = []
                for call, answer in map(self._settle, done):
                    crashes[id(call)] += answer is None
                    if call is not None and (answer is not None or crashes[id(call)] >= TRIES):
                        answers.append((call, answer))
                    elif call is not None:
                        calls.appendleft(call)
                self._assign(calls, arguments)  # before the caller takes its time over the answers
                yield from answers
        finally:
            for place in [place for place, call in self._at_work.values() if call is not None]:
                self._drop(place)

    def _staff(self) -> None:
        """An actor for every device that has none."""
        on_node = importlib.import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
        for node in filter(lambda one: one["Alive"], self._ray.nodes()):
            cpus, cards = (int(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU"))
            cards = 0 if self._processors else cards
            room = {"num_cpus": cpus // (cards or 1), "num_gpus": int(cards > 0)}
            for place in [(node["NodeID"], number) for number in range(cards or cpus > 0)]:
                if place not in self._actors and self._failures[place] < LOSSES:
                    actor = self._ray.remote(_Actor).options(scheduling_strategy=on_node(place[0], soft=False), **room)
                    self._actors[place] = actor.remote()
                    self._at_work[self._actors[place].greet.remote(self._make)] = place, None

    def _assign(self, calls: deque[C], arguments: Callable[[C], tuple[Any, ...]]) -> None:
        """A call for every actor that has none."""
        for place in self._ready - {place for place, _ in self._at_work.values()}:
            if calls:
                call = calls.popleft()
                self._at_work[self._actors[place].answer.remote(*arguments(call))] = place, call

    def _settle(self, ref: Any) -> tuple[Any, Any]:
        """A call and its answer, None where the actor is lost; no call where it was a greeting."""
        place, call = self._at_work.pop(ref)
        try:
            answer = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            self._failures[place], cause = LOSSES, error.cause
            self._problem = cause.message if isinstance(cause, Refused) else Message(f"{type(cause).__name__}: {cause}")
        except self._ray.exceptions.RayError:
            self._failures[place] += 1
            self._problem = Message("cluster.lost", {"node": place[0][:8]})
        else:
            self._ready.add(place)
            self._failures[place] = self._failures[place] if call is None else 0
            return call, answer
        logging.getLogger(__name__).warning(self._problem)
        self._drop(place)
        return call, None

    def _drop(self, place: Place) -> None:
        self._ready.discard(place)
        self._at_work = {ref: one for ref, one in self._at_work.items() if one[0] != place}
        with contextlib.suppress(Exception):  # it is gone already
            self._ray.kill(self._actors.pop(place))
