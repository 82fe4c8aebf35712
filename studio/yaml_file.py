"""Plain values from YAML that is not trusted: no key twice, and a limit on values, since aliases multiply them."""

from typing import Any

import yaml

from models.messages import Message, Refused, did_you_mean

TEXT_LIMIT = 2**20  # characters: the parser is slow
NODE_LIMIT = 100_000  # values, those behind an alias counted each time that they are named
DEPTH_LIMIT = 50
MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        _check_keys(node, self.name)
        return super().construct_mapping(node, deep)


class Tree:
    """A value of a document that is not built yet, and the line that it begins on."""

    def __init__(self, loader: _Loader, node: yaml.Node) -> None:
        self._loader, self._node = loader, node
        self.line: int = node.start_mark.line + 1

    @property
    def kind(self) -> str:
        """One of "mapping", "sequence" and "scalar"."""
        return self._node.id

    def value(self) -> Any:
        """It, built; Refused where it holds what is no plain value."""
        try:
            return self._loader.construct_document(self._node)
        except Refused:
            raise
        except Exception as error:  # a KeyError for `!!bool x`, an IndexError for `!!int ""`: whatever it stumbles over
            raise _refused(error, self._loader.name, self.line) from error

    def items(self) -> "list[Tree]":
        """The parts of a sequence."""
        return [Tree(self._loader, node) for node in self._node.value]

    def members(self, *allowed: str) -> "dict[str, Tree]":
        """The parts of a mapping by key; Refused where one is not among those `allowed`."""
        _check_keys(self._node, self._loader.name)
        parts = {str(key.value): Tree(self._loader, node) for key, node in self._node.value}
        for key, part in parts.items():
            if key not in allowed:
                hint = did_you_mean(key, allowed) or Message("syntax.there_are", {"names": list(allowed)})
                raise _at(self._loader.name, Message("syntax.unknown_key", {"key": key, "hint": hint}), part.line)
        return parts


def read_tree(text: str, source: str) -> Tree | None:
    """The document in `text`, None where it is empty. Refused with `source`, `problem`, and the place if known."""
    if len(text) > TEXT_LIMIT:
        raise _at(source, Message("syntax.too_long", {"most": TEXT_LIMIT}))
    try:
        loader = _Loader(text)
        loader.name = source
        node = loader.get_single_node()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _refused(error, source) from error
    if node is None:
        return None
    _check_size(node, source)
    return Tree(loader, node)


def load_yaml(text: str, source: str) -> Any:
    """The whole document, built; None where it is empty."""
    tree = read_tree(text, source)
    return None if tree is None else tree.value()


def _check_keys(node: Any, source: str) -> None:
    """Refused where a key comes twice."""
    seen: set[str] = set()
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
            if key.value in seen:
                raise _at(source, Message("syntax.key_twice", {"key": key.value}), key.start_mark.line + 1)
            seen.add(key.value)


def _check_size(root: yaml.Node, source: str) -> None:
    """Walks as building and using it would: an alias is followed every time."""
    left, count = [(root, 1)], 0
    while left:
        node, depth = left.pop()
        count += 1
        if count > NODE_LIMIT:
            raise _at(source, Message("syntax.too_many_values", {"most": NODE_LIMIT}))
        if depth > DEPTH_LIMIT:
            raise _at(source, Message("syntax.nested", {"most": DEPTH_LIMIT}), node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            left += [(part, depth + 1) for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            left += [(part, depth + 1) for part in node.value]


def _at(source: str, problem: Message, line: int | None = None, column: int | None = None) -> Refused:
    """The error for what is wrong at a place; lines and columns count from 1."""
    code = "syntax.yaml_column" if column else "syntax.yaml_line" if line else "syntax.yaml"
    place = {"line": line, "column": column}
    return Refused(code, source=source, problem=problem, **{name: at for name, at in place.items() if at})


def _refused(error: Exception, source: str, line: int | None = None) -> Refused:
    """What the parser says, on one line and cut."""
    if isinstance(error, RecursionError):
        return _at(source, Message("syntax.too_deep"))
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error) or "no plain value"
    problem = Message(f"{' '.join(str(reason).split())[:150].rstrip('.')}.")
    mark = getattr(error, "problem_mark", None)
    return _at(source, problem, mark.line + 1, mark.column + 1) if mark else _at(source, problem, line)
