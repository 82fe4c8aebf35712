"""The tables of a home, as SQL scripts.

The n-th script brings version n - 1 to version n; a script that has shipped is never edited.
"""

from pathlib import Path


def _scripts(name: str) -> tuple[str, ...]:
    paths = Path(__file__).parent.glob(f"{name}-*.sql")
    ordered = sorted(paths, key=lambda path: int(path.stem.rpartition("-")[2]))
    return tuple(path.read_text(encoding="utf-8") for path in ordered)


MIGRATIONS = _scripts("home")
PROGRESS_MIGRATIONS = _scripts("progress")  # worth nothing once the job is over
