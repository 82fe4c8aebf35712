"""YAML from strangers: plain values only, no key twice, and no more of it than its size promises (aliases multiply)."""

from typing import Any

import yaml

from models.messages import Refused, did_you_mean

TEXT_LIMIT = 2**20  # characters: the parser is slow
NODE_LIMIT = 100_000  # values, those behind an alias counted each time that they are named
DEPTH_LIMIT = 50
MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        _refuse_twins(node)
        return super().construct_mapping(node, deep)


class Tree:
    """A value of a document that is not built yet, and the line that it begins on."""

    def __init__(self, loader: _Loader, node: yaml.Node, source: str) -> None:
        self._loader, self._node, self.source = loader, node, source
        self.line: int = node.start_mark.line + 1

    @property
    def kind(self) -> str:
        """One of "mapping", "sequence" and "scalar"."""
        return self._node.id

    def value(self) -> Any:
        """It, built; Refused where it holds what is no plain value."""
        try:
            return self._loader.construct_document(self._node)
        except Exception as error:  # a KeyError for `!!bool x`, an IndexError for `!!int ""`: whatever it stumbles over
            raise Refused(_sentence(error, self.source, self.line)) from error

    def items(self) -> "list[Tree]":
        """The parts of a sequence."""
        return [Tree(self._loader, node, self.source) for node in self._node.value]

    def members(self, *allowed: str) -> "dict[str, Tree]":
        """The parts of a mapping by key; Refused where one is not among those `allowed`."""
        _refuse_twins(self._node)
        found = {str(key.value): Tree(self._loader, node, self.source) for key, node in self._node.value}
        for key, part in found.items():
            if key not in allowed:
                hint = did_you_mean(key, allowed) or f"; there are {', '.join(allowed)}"
                raise Refused(f"{self.source}, line {part.line}: {key!r} means nothing there{hint}.")
        return found


def read_tree(text: str, source: str) -> Tree | None:
    """The document in `text`, None where it is empty; Refused with a sentence that names `source` and the line."""
    if len(text) > TEXT_LIMIT:
        raise Refused(f"{source} has more than {TEXT_LIMIT:,} characters; split it, or write it as .jsonl.")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Refused(_sentence(error, source)) from error
    if node is None:
        return None
    _refuse_bombs(node, source)
    return Tree(loader, node, source)


def load_yaml(text: str, source: str) -> Any:
    """The whole document, built; None where it is empty."""
    tree = read_tree(text, source)
    return None if tree is None else tree.value()


def _refuse_twins(node: Any) -> None:
    seen: set[str] = set()
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
            if key.value in seen:
                raise Refused(f"line {key.start_mark.line + 1}: the key {key.value!r} is there twice.")
            seen.add(key.value)


def _refuse_bombs(root: yaml.Node, source: str) -> None:
    """Walks as building and using it would: an alias is followed every time."""
    left, count = [(root, 1)], 0
    while left:
        node, depth = left.pop()
        count += 1
        if count > NODE_LIMIT:
            raise Refused(f"{source} holds more than {NODE_LIMIT:,} values, aliases counted; split it.")
        if depth > DEPTH_LIMIT:
            raise Refused(f"{source}, line {node.start_mark.line + 1}: nested more than {DEPTH_LIMIT} deep.")
        if isinstance(node, yaml.MappingNode):
            left += [(part, depth + 1) for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            left += [(part, depth + 1) for part in node.value]


def _sentence(error: Exception, source: str, line: int = 0) -> str:
    if isinstance(error, Refused):
        return str(error) if str(error).startswith(source) else f"{source}, {error}"
    if isinstance(error, RecursionError):
        return f"{source} is nested too deep."
    mark = getattr(error, "problem_mark", None)
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else f", line {line}" if line else ""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error) or "no plain value"
    return f"{source}{where}: {' '.join(str(problem).split())[:150].rstrip('.')}."
