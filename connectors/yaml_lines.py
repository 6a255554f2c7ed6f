"""Where each key of a YAML document stands, so that a mistake can be said with its line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from connectors.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator


class YamlLines:
    """Lines of one composed document. A path is keys and list indices from the root down."""

    def __init__(self, file: str, root: yaml.Node) -> None:
        self._file = file
        self._root = root

    def at(self, *path: str | int) -> str:
        """`file:line` of the deepest part of the path that is there."""
        line = 1
        for mark in self._marks(path):
            line = mark
        return f"{self._file}:{line}"

    def has(self, *path: str | int) -> bool:
        """Whether the whole path is there."""
        return len(list(self._marks(path))) == len(path)

    def refuse_repeated_keys(self) -> None:
        """YAML's loader keeps the last of two equal keys and says nothing.

        Raises:
            SpecError: a mapping holds a key twice.
        """
        stack: list[yaml.Node] = [self._root]
        while stack:
            node = stack.pop()
            if isinstance(node, yaml.SequenceNode):
                stack.extend(node.value)
            if isinstance(node, yaml.MappingNode):
                seen: set[str] = set()
                for key, value in node.value:
                    if key.value in seen:
                        where = f"{self._file}:{key.start_mark.line + 1}"
                        raise SpecError(f"key {key.value!r} stands twice", where=where, fix="Remove one")
                    seen.add(key.value)
                    stack.append(value)

    def _marks(self, path: tuple[str | int, ...]) -> Iterator[int]:
        node: yaml.Node | None = self._root
        for part in path:
            if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                assert node is not None
                yield node.start_mark.line + 1
                continue
            found = None
            if isinstance(node, yaml.MappingNode):
                found = next(((k, v) for k, v in node.value if k.value == part), None)
            if found is None:
                return
            yield found[0].start_mark.line + 1
            node = found[1]
