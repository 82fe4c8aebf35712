"""Imports go downwards without circles, and documented paths exist."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("models", "eval", "studio", "benchmarks")
FORBIDDEN = {"models": {"studio", "eval"}, "eval": {"studio"}, "studio": {"eval"}}
HEAVY = {"torch", "diffusers", "transformers", "accelerate", "open_clip"}
PAGE = ROOT / "studio" / "page"
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def imports(path: Path) -> set[str]:
    """Names of the modules that a file imports, inside functions too."""
    result = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            result |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            result |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return result


def test_layers_import_downwards() -> None:
    for path in SOURCES:
        package = path.relative_to(ROOT).parts[0]
        tops = {name.split(".")[0] for name in imports(path)}
        assert not tops & FORBIDDEN.get(package, set()), path
        if package == "studio" and path.parent.name != "backends":
            assert not tops & HEAVY, path


def test_a_tab_of_the_page_is_imported_by_no_other_part() -> None:
    """`layout.py` alone imports tabs."""
    for path in set(PAGE.rglob("*.py")) - {PAGE / "layout.py"}:
        assert not [name for name in imports(path) if name.startswith("studio.page.tabs")], path


def test_documented_paths_exist() -> None:
    named = re.compile(r"`((?:models|studio|eval|assets|benchmarks|tests)/[\w./*-]*)`")
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        for name in named.findall(page.read_text(encoding="utf-8")):
            assert list(ROOT.glob(name.rstrip("/"))), f"{page.name} names {name}, which does not exist"


def test_no_import_circles() -> None:
    """Imports inside functions count."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in SOURCES}
    graph = {name: (imports(path) & names.keys()) - {name} for name, path in names.items()}
    for needed in graph.values():  # `from package import module` needs the module alone
        needed -= {name.rpartition(".")[0] for name in needed}
    TopologicalSorter(graph).prepare()  # CycleError names the modules


def test_lower_rooms_of_the_models_know_nothing_of_upper_ones() -> None:
    for path in (ROOT / "models" / "sampling").glob("*.py"):
        assert not {name for name in imports(path) if name.startswith(("models.data", "models.references"))}, path
    conditioning = imports(ROOT / "models" / "pipelines" / "conditioning.py")
    assert not {name for name in conditioning if name.startswith("models.pipelines")}
