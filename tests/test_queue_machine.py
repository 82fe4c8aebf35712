"""The queue under anything in any order, against a plain dictionary."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from queue_kit import claims, put, waiting

from models.messages import Message
from studio.events import Cancelled, Done, Failed
from studio.home import Home


class QueueMachine(RuleBasedStateMachine):
    """Anything may happen in any order; a plain dictionary says what must be true."""

    names = st.sampled_from([f"job{n}" for n in range(6)])

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.queue = Home(Path(self.folder.name)).queue
        self.model: dict[str, str] = {}
        self.holder: dict[str, str] = {}
        self.wished: set[str] = set()
        self.owner, self.turn = "w0", 0

    @rule(name=names)
    def submit(self, name: str) -> None:
        put(self.queue, name)
        self.wished.discard(name)  # asked for anew while it is being stopped
        if self.model.get(name) not in ("waiting", "running", "done"):
            self.model[name] = "waiting"

    @rule()
    def claim(self) -> None:
        for job in claims(self.queue, self.owner).claim():
            assert self.model[job.id] == "waiting"
            self.model[job.id], self.holder[job.id] = "running", self.owner
            self.wished.discard(job.id)

    @rule(name=names, end=st.sampled_from([Done(), Failed(Message("no.")), Cancelled()]), stale=st.booleans())
    def report(self, name: str, end: Done | Failed | Cancelled, stale: bool) -> None:
        owner = "somebody else" if stale else self.owner
        counted = claims(self.queue, owner).end(name, end)
        assert counted == (self.model.get(name) == "running" and self.holder.get(name) == owner)
        if counted:
            stopped = "cancelled" if name in self.wished else "waiting"
            self.model[name] = {Done: "done", Failed: "failed", Cancelled: stopped}[type(end)]

    @rule()
    def worker_dies(self) -> None:
        claims(self.queue, self.owner).release(Message("died"))
        self._taken_over()

    @rule()
    def power_goes(self) -> None:
        self.turn += 1
        self.owner = f"w{self.turn}"
        self.queue = Home(Path(self.folder.name)).queue
        claims(self.queue, self.owner).recover()
        self._taken_over()

    def _taken_over(self) -> None:
        for name, state in self.model.items():
            if state == "running":
                self.model[name] = self.queue.job(name).state
                assert self.model[name] in ("waiting", "aside", "cancelled")

    @rule(name=names)
    def cancel(self, name: str) -> None:
        self.queue.cancel([name])
        if self.model.get(name) == "running":
            self.wished.add(name)
        if self.model.get(name) == "waiting":
            self.model[name] = "cancelled"

    @rule()
    def retry(self) -> None:
        self.queue.retry()
        self.model = {name: "waiting" if state in ("failed", "aside") else state for name, state in self.model.items()}

    @precondition(lambda self: len(getattr(self, "model", ())) > 1)
    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        line = waiting(self.queue)
        if len(line) > 1:
            job, before = data.draw(st.permutations(line))[:2]
            self.queue.move(job, before)
            line.remove(job)
            line.insert(line.index(before), job)
            assert waiting(self.queue) == line

    @invariant()
    def the_store_says_the_same(self) -> None:
        if hasattr(self, "queue"):
            every = self.queue.jobs(["waiting", "running", "done", "failed", "cancelled", "aside"])
            assert {job.id: job.state for job in every} == self.model
            assert len(every) == len({job.id for job in every})

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=15, stateful_step_count=40, deadline=None)
