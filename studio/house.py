"""What is in a home: queue, questions, gallery, progress and search. Any number of processes may open it."""

from pathlib import Path

from studio.database import Database
from studio.gallery import Gallery
from studio.live import Live
from studio.questions import Questions
from studio.queue import Queue
from studio.schema import MIGRATIONS
from studio.search import Search

DATABASE = "studio.db"


class House:
    """The home `root`, made where it is not there. Refused with a sentence where it can't be used."""

    def __init__(self, root: Path, database: str = DATABASE) -> None:
        self.root = root
        self.database = Database(root / database, MIGRATIONS)
        self.queue, self.gallery = Queue(self.database), Gallery(root, self.database)
        self.questions = Questions(self.database)
        self.search = Search(self.gallery)
        self.live = Live(root / "cache" / "live.db")
