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


def of_flag(name: str) -> tuple[str, ...]:
    """What a country's flag is called besides its own name, in either language: "flag of Japan" a Japan flag."""
    if country := name.removeprefix("flag of ") if name.startswith("flag of ") else "":
        return f"{country} flag", f"{country}'s flag"
    country = name.removesuffix("旗") if name.endswith("旗") else ""
    return (
        (f"{country}国旗", f"{country}的国旗", f"{country}的旗", f"{country}旗帜", f"{country}旗子") if country else ()
    )


OTHER_NAMES = _read()
