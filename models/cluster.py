"""Calls on the devices of a Ray cluster (extra `cluster`): one actor for each device, each with its own model.

Actors answer calls and store nothing. When an actor or its machine dies, its call goes to another actor. Machines that
join the cluster get actors.
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
STORE = 256 << 20  # bytes of Ray's object store, of a cluster that is started here
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
TRIES = 2  # actors that may die during one call
MAX_FAILURES = 5  # actors that may die in a row on one device
CONNECT_TIMEOUT = 5.0  # seconds
POLL = 5.0  # seconds between checks for machines that have joined
START_TIMEOUT = 600.0  # seconds until the first model is loaded


class _Actor:
    def load(self, make: Callable[[], Callable[..., Any]]) -> None:
        self._answers = make()

    def answer(self, *arguments: Any) -> Any:
        return self._answers(*arguments)


class Cluster:
    """The devices of the cluster at `address`: LOCAL, "auto" (one that runs here), HOST:PORT or ray://HOST:PORT.

    A device is a graphics card, or a machine without one; with `processors`, each machine is one device. On a device,
    `make` returns the function that answers calls; a device on which it raises gets no calls. Refused where Ray is not
    installed or the cluster can't be reached. Call `close` at the end.
    """

    def __init__(self, address: str, make: Callable[[], Callable[..., Any]], processors: bool = False) -> None:
        self._make, self._processors = make, processors
        self._actors: dict[Place, Any] = {}
        self._ready: set[Place] = set()
        self._pending: dict[Any, tuple[Place, Any]] = {}  # by pending answer; no call while a model loads
        self._failures: Counter[Place] = Counter()
        self._problem = Message("cluster.no_device", {"address": address})
        # Ray reads these once. Other users can reach its ports, and without a token it would store one in ~/.ray.
        guard = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)} if address == LOCAL else {}
        for name, value in (QUIET | guard).items():
            os.environ.setdefault(name, value)
        try:
            self._ray = importlib.import_module("ray")
            # Ray prints the failures of other machines on standard output.
            vars(importlib.import_module("ray._private.worker"))["print_to_stdstream"] = lambda *_, **__: None
        except ImportError as error:
            raise Refused("cluster.not_installed", problem=str(error)) from error
        with contextlib.ExitStack() as end:
            options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.ERROR}
            if address == LOCAL:
                short = "/tmp" if os.name == "posix" else None  # paths of sockets have 104 bytes at most
                folder = tempfile.TemporaryDirectory(prefix="studio-ray-", dir=short, ignore_cleanup_errors=True)
                options |= {
                    "include_dashboard": False,
                    "object_store_memory": STORE,
                    "_temp_dir": end.enter_context(folder),
                }
            before = signal.getsignal(signal.SIGTERM)
            end.callback(self._ray.shutdown)
            try:
                host, _, port = address.removeprefix("ray://").rpartition(":")
                if host:  # Ray would retry for minutes, with a message each second
                    socket.create_connection((host, int(port)), CONNECT_TIMEOUT).close()
                self._ray.init(**options)
            except Exception as error:  # Ray raises a plain Exception where it does not start in time
                raise Refused("cluster.unreachable", address=address, problem=str(error).split("\n")[0]) from error
            with contextlib.suppress(ValueError):  # outside of the main thread, where Ray sets no handler either
                signal.signal(signal.SIGTERM, before)
            self.close = end.pop_all().close  # ends the actors, and a Ray that was started here

    def share(self, calls: deque[C], arguments: Callable[[C], tuple[Any, ...]]) -> Iterator[tuple[C, Any]]:
        """(call, answer) as answers arrive; the answer is None where TRIES actors died during the call. The caller may
        append calls meanwhile; closing the iterator cancels the rest. NoDevice where no device is left."""
        crashes, since = Counter[int](), time.monotonic()
        try:
            while calls or any(call is not None for _, call in self._pending.values()):
                self._start_actors()
                if not self._actors or (not self._ready and time.monotonic() - since > START_TIMEOUT):
                    raise NoDevice(self._problem)
                self._assign(calls, arguments)
                done, _ = self._ray.wait([*self._pending], timeout=POLL)
                answers = []
                for call, answer in map(self._collect, done):
                    crashes[id(call)] += answer is None
                    if call is not None and (answer is not None or crashes[id(call)] >= TRIES):
                        answers.append((call, answer))
                    elif call is not None:
                        calls.appendleft(call)
                self._assign(calls, arguments)  # before the caller works on the answers
                yield from answers
        finally:
            for place in [place for place, call in self._pending.values() if call is not None]:
                self._discard(place)

    def _start_actors(self) -> None:
        """Start an actor on each device without one."""
        on_node = importlib.import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
        for node in filter(lambda node: node["Alive"], self._ray.nodes()):
            cpus, cards = (int(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU"))
            cards = 0 if self._processors else cards
            room = {"num_cpus": cpus // (cards or 1), "num_gpus": int(cards > 0)}
            for place in [(node["NodeID"], number) for number in range(cards or cpus > 0)]:
                if place not in self._actors and self._failures[place] < MAX_FAILURES:
                    actor = self._ray.remote(_Actor).options(scheduling_strategy=on_node(place[0], soft=False), **room)
                    self._actors[place] = actor.remote()
                    self._pending[self._actors[place].load.remote(self._make)] = place, None

    def _assign(self, calls: deque[C], arguments: Callable[[C], tuple[Any, ...]]) -> None:
        """Give a call to each idle actor."""
        for place in self._ready - {place for place, _ in self._pending.values()}:
            if calls:
                call = calls.popleft()
                self._pending[self._actors[place].answer.remote(*arguments(call))] = place, call

    def _collect(self, ref: Any) -> tuple[Any, Any]:
        """A call and its answer, None where the actor died; the call is None where a model was loaded."""
        place, call = self._pending.pop(ref)
        try:
            answer = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            self._failures[place], cause = MAX_FAILURES, error.cause
            self._problem = cause.message if isinstance(cause, Refused) else Message(f"{type(cause).__name__}: {cause}")
        except self._ray.exceptions.RayError:
            self._failures[place] += 1
            self._problem = Message("cluster.lost", {"node": place[0][:8]})
        else:
            self._ready.add(place)
            self._failures[place] = self._failures[place] if call is None else 0
            return call, answer
        logging.getLogger(__name__).warning(self._problem)
        self._discard(place)
        return call, None

    def _discard(self, place: Place) -> None:
        self._ready.discard(place)
        self._pending = {ref: work for ref, work in self._pending.items() if work[0] != place}
        with contextlib.suppress(Exception):  # it has died already
            self._ray.kill(self._actors.pop(place))
