"""Plain values from YAML that is not trusted: no aliases, which multiply values, and no key twice."""

from typing import Any

import yaml

from models.messages import Message, Refused

TEXT_LIMIT = 2**20  # characters: the parser is slow


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise _refused(self.name, Message("syntax.alias"), self.peek_event().start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _refused(self.name, Message("syntax.key_twice", {"key": key.value}), key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_yaml(text: str, source: str) -> tuple[Any, Any]:
    """The document in `text` as plain values, and its node, which knows lines; both None where it is empty.

    Refused with the values `source`, `problem` and, if known, `line` and `column`, from 1.
    """
    if len(text) > TEXT_LIMIT:
        raise _refused(source, Message("syntax.too_long", {"most": TEXT_LIMIT}))
    try:
        loader = _Loader(text)
        loader.name = source
        node = loader.get_single_node()
        return (None, None) if node is None else (loader.construct_document(node), node)
    except Refused:
        raise
    except RecursionError as error:
        raise _refused(source, Message("syntax.too_deep")) from error
    except Exception as error:  # a KeyError for `!!bool x`, an IndexError for `!!int ""`: whatever it stumbles over
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error) or "no plain value"
        problem = Message(f"{' '.join(str(reason).split())[:150].rstrip('.')}.")
        raise _refused(source, problem, getattr(error, "problem_mark", None)) from error


def _refused(source: str, problem: Message, mark: yaml.Mark | None = None) -> Refused:
    if mark is None:
        return Refused("syntax.yaml", source=source, problem=problem)
    return Refused("syntax.yaml_column", source=source, problem=problem, line=mark.line + 1, column=mark.column + 1)
