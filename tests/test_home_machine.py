"""Random sequences of operations on the queue and the home, compared with plain dictionaries."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from queue_kit import claims, planned, put, run_job, waiting

from models.messages import Message
from studio import maintenance
from studio.backends.fake import Fake
from studio.events import Cancelled, Done, Failed, Saved
from studio.gallery import Filter
from studio.home import Home
from studio.planner import job_id, resolve
from studio.requests import ImageRequest, make_request
from studio.run import GallerySink


class QueueMachine(RuleBasedStateMachine):
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
                assert self.model[name] in ("waiting", "quarantined", "cancelled")

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
        self.model = {
            name: "waiting" if state in ("failed", "quarantined") else state for name, state in self.model.items()
        }

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
            every = self.queue.jobs(["waiting", "running", "done", "failed", "cancelled", "quarantined"])
            assert {job.id: job.state for job in every} == self.model
            assert len(every) == len({job.id for job in every})

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=15, stateful_step_count=40)


# --- The home ---------------------------------------------------------------------------------------------------------


CAN = Fake().capabilities()
COUNTS = (1, 2, 3)
MAX_CRASHES = 2  # that a job may cause
ASKED = [
    resolve(make_request("image", prompt=f"face {n}", model="fake", seed=n, steps=1, count=n), CAN) for n in COUNTS
]  # fmt: skip
JOBS = {job_id(request, Fake().digest()): request for request in ASKED}


class HomeMachine(RuleBasedStateMachine):
    """`state` of each job, and for each picture of a job whether it is "here" or "bin", and starred."""

    jobs = st.sampled_from(sorted(JOBS))

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.root, self.turn = Path(self.folder.name), 0
        self.home = Home(self.root)
        self.state: dict[str, str] = {}
        self.crashes: dict[str, int] = {}
        self.pictures: dict[tuple[str, int], dict[str, bool]] = {}
        for job in JOBS:
            self.submit(job)

    @property
    def owner(self) -> str:
        return f"worker {self.turn}"

    # --- The queue ----------------------------------------------------------------------------------------------------

    @rule(job=jobs)
    def submit(self, job: str) -> None:
        request = JOBS[job]
        self.home.gallery.restore_job(job)
        for (owner, _), marks in self.pictures.items():
            marks["bin"] &= owner != job
        again = len(self.home.gallery.results(job)) < request.count
        self.home.queue.submit(planned(request), again=again)
        state = self.state.get(job)
        if state not in ("waiting", "running") and (state != "done" or again):
            self.state[job], self.crashes[job] = "waiting", 0

    @rule()
    def work(self) -> None:
        for job, request in self._claimed():
            self._draw(job, request, None)
            assert claims(self.home.queue, self.owner).end(job, Done())
            self.state[job] = "done"

    @rule(stop=st.integers(0, 5))
    def worker_dies(self, stop: int) -> None:
        """After `stop` events of each claimed job. QueueMachine tests the other ends of a job."""
        taken = self._claimed()
        for job, request in taken:
            self._draw(job, request, stop)
        claims(self.home.queue, self.owner).release(Message("died"))
        for job, _ in taken:
            self.crashes[job] += 1
            self.state[job] = "quarantined" if self.crashes[job] >= MAX_CRASHES else "waiting"

    def _claimed(self) -> list[tuple[str, ImageRequest]]:
        taken = [(job.id, job.request) for job in claims(self.home.queue, self.owner).claim()]
        self.state.update({job: "running" for job, _ in taken})
        return taken

    def _draw(self, job: str, request: ImageRequest, stop: int | None) -> None:
        events = run_job(Fake(), planned(request, Fake()), GallerySink(self.home.gallery))
        for number, event in enumerate(events):
            if isinstance(event, Saved) and not event.cached:  # it is there, whatever happens next
                claims(self.home.queue, self.owner).clear_crashes(job)
                self.crashes[job] = 0
                self.pictures.setdefault((job, event.index), {"bin": False, "star": False})
            if stop is not None and number >= stop:
                break
        events.close()

    # --- The gallery --------------------------------------------------------------------------------------------------

    @rule(job=jobs, index=st.integers(0, 2), star=st.booleans())
    def star(self, job: str, index: int, star: bool) -> None:
        self._change(job, index, lambda digest: self.home.gallery.mark([digest], star=star), star=star)

    @rule(job=jobs, index=st.integers(0, 2))
    def delete(self, job: str, index: int) -> None:
        self._change(job, index, lambda digest: self.home.gallery.delete([digest]), bin=True)

    @rule(job=jobs, index=st.integers(0, 2))
    def restore(self, job: str, index: int) -> None:
        self._change(job, index, lambda digest: self.home.gallery.restore([digest]), bin=False)

    def _change(self, job: str, index: int, change: Callable[[str], None], **marks: bool) -> None:
        if (job, index) in self.pictures:
            change(Path(self.home.gallery.results(job)[index].path).stem)
            self.pictures[job, index] |= marks

    @rule()
    def empty_bin(self) -> None:
        self.home.gallery.empty_bin()
        self.pictures = {key: marks for key, marks in self.pictures.items() if not marks["bin"]}

    # --- Catastrophes -------------------------------------------------------------------------------------------------

    @rule()
    def power_goes(self) -> None:
        self.home = Home(self.root)
        self.turn += 1
        claims(self.home.queue, self.owner).recover()

    @rule(damage=st.booleans())
    def rebuild(self, damage: bool) -> None:
        """The database is lost or damaged: jobs are lost, pictures and annotations are not."""
        self.home.database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.home.database.close()
        if damage:
            self.home.database.path.write_bytes(os.urandom(4096))
            self.state, self.crashes = {}, {}
        maintenance.rebuild(self.root)
        self.home = Home(self.root)

    # --- What must be true --------------------------------------------------------------------------------------------

    @invariant()
    def jobs_are_as_expected(self) -> None:
        if hasattr(self, "home"):
            every = self.home.queue.jobs(["waiting", "running", "done", "failed", "cancelled", "quarantined"])
            assert {job.id: job.state for job in every} == self.state

    @invariant()
    def pictures_are_as_expected(self) -> None:
        if hasattr(self, "home"):
            for binned in (False, True):
                shown = {(p.job, p.position): p.star for p in self.home.gallery.page(Filter(deleted=binned))}
                assert shown == {key: marks["star"] for key, marks in self.pictures.items() if marks["bin"] == binned}

    @invariant()
    def files_are_whole_and_none_is_astray(self) -> None:
        if hasattr(self, "home"):
            files = list(self.home.gallery.folder.rglob("*.png"))
            assert len(files) == len(self.pictures)
            assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.stem for path in files)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


SHORT = settings(max_examples=12, stateful_step_count=30)


def test_home_invariants() -> None:
    run_state_machine_as_test(HomeMachine, settings=SHORT)


@pytest.mark.slow
def test_home_invariants_for_two_thousand_steps() -> None:
    run_state_machine_as_test(HomeMachine, settings=settings(SHORT, max_examples=50, stateful_step_count=50))
