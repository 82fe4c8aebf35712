"""What happens to one job, as the store tells it to whoever looks again and again."""

from studio.events import End, Progress, Saved
from studio.house import House


class Watch:
    """One watcher of one job. KeyError, when it looks, where nobody knows the job.

    The first look gets the state so far. Progress between two looks is left out: the latest holds it all.
    """

    def __init__(self, house: House, job: str) -> None:
        self._house, self._job = house, job
        self._revision, self._told, self.ended = 0, set[int](), False

    def look(self) -> list[Progress | Saved | End]:
        """What is new since the last look, the end last."""
        state = self._house.queue.job(self._job)  # before the pictures: those of an ended job are all there
        news: list[Progress | Saved | End] = []
        if state.state != "waiting":  # what an earlier try came to is no longer true
            self._revision, progress = self._house.live.read(self._job, self._revision)
            news += [progress] if progress else []
        found = self._house.gallery.made_by(state)
        news += [found[index] for index in found if index not in self._told]
        self._told |= set(found)
        if state.end:
            news.append(state.end)
            self.ended = True
        return news
