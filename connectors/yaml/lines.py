"""Where each key of a YAML document stands, so that a mistake can be said with its line."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import yaml

from connectors.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class YamlLines:
    """Lines of one document. A path is keys and list indices from the root down.

    `read_root` returns the document's root node once PyYAML has constructed it: the pairs that a mapping merges (`<<`)
    then stand before its own, and the last pair of a key is the one that counts. It is called when a line is first
    asked for, because nodes cost far more than values and a document without mistakes needs none.
    """

    def __init__(self, file: str, read_root: Callable[[], yaml.Node | None]) -> None:
        self._file = file
        self._read_root = read_root

    @cached_property
    def _root(self) -> yaml.Node | None:
        return self._read_root()

    def at(self, *path: str | int) -> str:
        """`file:line` of the deepest part of the path that is there."""
        line = 1
        for mark in self._marks(path):
            line = mark
        return f"{self._file}:{line}"

    def has(self, *path: str | int) -> bool:
        """Whether the whole path is there."""
        return len(list(self._marks(path))) == len(path)

    def plain_word(self, *path: str | int) -> str | None:
        """The unquoted word at a path that YAML reads as something other than text (`no`, `12`); None for all else."""
        nodes = [node for _, node in self._steps(path)]
        node = nodes[-1] if len(nodes) == len(path) and nodes else None
        if not isinstance(node, yaml.ScalarNode) or node.style is not None:
            return None
        return None if node.tag == "tag:yaml.org,2002:str" else str(node.value)

    def _marks(self, path: tuple[str | int, ...]) -> Iterator[int]:
        for line, _ in self._steps(path):
            yield line

    def _steps(self, path: tuple[str | int, ...]) -> Iterator[tuple[int, yaml.Node]]:
        """Line and value of each part of the path, as far as it exists."""
        node = self._root
        for part in path:
            if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                yield node.start_mark.line + 1, node
                continue
            if not isinstance(node, yaml.MappingNode):
                return
            pair = next(((key, value) for key, value in reversed(node.value) if key.value == part), None)
            if pair is None:
                return
            node = pair[1]
            yield pair[0].start_mark.line + 1, node


def check_keys_are_unique(root: yaml.Node, file: str) -> None:
    """YAML's loader keeps the last of two equal keys and says nothing. To be called before the document is constructed:
    afterwards a mapping holds the keys that it overrides as well.

    Raises:
        SpecError: a mapping holds a key twice.
    """
    stack: list[yaml.Node] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, yaml.SequenceNode):
            stack.extend(node.value)
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if key.value in seen:
                    where = f"{file}:{key.start_mark.line + 1}"
                    fix = "Write <<: [*NAME, *NAME], of which the first wins" if key.value == "<<" else "Remove one"
                    raise SpecError(f"key {key.value!r} stands twice", where=where, fix=fix)
                seen.add(key.value)
                stack.append(value)
