"""What people call things whose names, by Unicode's CLDR, are others: "pumpkin" for a jack-o-lantern.

They are listed in `assets/names.txt`.
"""

from collections import defaultdict

from models.assets import assets


def _read() -> dict[str, tuple[str, ...]]:
    """By CLDR's English name, what is said for it."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in (assets() / "names.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, said = line.partition(": ")
            found[name] += said.split(", ")
    return {name: tuple(said) for name, said in found.items()}


OTHER_NAMES = _read()
