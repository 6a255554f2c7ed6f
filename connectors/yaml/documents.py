"""Loads one YAML document that a person wrote: bounded in depth and size, with no value that YAML 1.1 changes silently.

PyYAML reads YAML 1.1 (https://yaml.org/type/int.html, /float.html, /bool.html): `0300` is octal, `12:30` is in base 60,
and `no` is a boolean. PyYAML composes nested nodes by recursion and expands an alias wherever it stands, so depth and
the number of nodes after expansion are counted while the document is composed. Plain documents, which are nearly all,
take the fast way of `yaml_events`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from connectors.errors import SpecError
from connectors.yaml.events import UNSTORABLE, NotPlain, plain_document
from connectors.yaml.lines import YamlLines, check_keys_are_unique
from connectors.yaml.numbers import changed_number
from connectors.yaml.text_files import read_text, shown_name

DEEPEST = 50
"""Levels of nesting, aliases expanded. A pipeline's YAML has six."""
MOST_NODES = 200_000
"""Keys, values and containers, aliases expanded. A pipeline of a thousand datasets has about 30,000."""

_PREFIX = "tag:yaml.org,2002:"
_EXPLICIT_TAGS = {f"{_PREFIX}str", f"{_PREFIX}seq", f"{_PREFIX}map", "!"}


class BoundedLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which refuses what is nested too deep, grows by aliases, or is read otherwise than written.

    Every refusal is a `yaml.MarkedYAMLError` whose mark is the line at fault.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._nodes = 0
        self._sizes: dict[yaml.Node, tuple[int, int]] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose one node; nodes and levels are counted as if every alias were written out."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            node = super().compose_node(parent, index)
            assert node is not None
            if node not in self._sizes:
                raise _refusal(event, f"alias *{event.anchor} stands inside the value that &{event.anchor} names")
            nodes, levels = self._sizes[node]
            self._count(event, nodes, levels)
            return node
        self._check_tag(event)
        if isinstance(event, yaml.ScalarEvent) and event.tag == "!":
            # A scalar with this tag is a text (YAML 1.1, 3.3.2 Resolved Tags), and PyYAML reads it as if it had none.
            event.tag, event.implicit = f"{_PREFIX}str", (False, False)
        before, self._depth = self._nodes, self._depth + 1
        self._count(event, 1, 0)
        node = super().compose_node(parent, index)
        assert node is not None
        self._depth -= 1
        levels = 1 + max((self._sizes[child][1] for child in _children(node)), default=0)
        self._sizes[node] = (self._nodes - before, levels)
        if isinstance(node, yaml.ScalarNode) and (character := UNSTORABLE.search(node.value)):
            raise _refusal(
                node, f"the character U+{ord(character[0]):04X} is not text that databases store. Remove the escape"
            )
        if isinstance(node, yaml.ScalarNode) and event.implicit[0]:
            self._check_number(node)
            self._check_date(node)
        if isinstance(node, yaml.MappingNode):
            for key, _ in node.value:
                _check_key_node(key)
        return node

    def _count(self, event: yaml.Event, nodes: int, levels: int) -> None:
        self._nodes += nodes
        if self._nodes > MOST_NODES:
            raise _refusal(event, f"there are more than {MOST_NODES:,} values, aliases expanded")
        if self._depth + levels > DEEPEST:
            raise _refusal(event, f"values are nested more than {DEEPEST} levels deep")

    def _check_number(self, node: yaml.ScalarNode) -> None:
        problem = changed_number(str(node.value), node.tag.removeprefix(_PREFIX))
        if problem:
            raise _refusal(node, problem)

    def _check_date(self, node: yaml.ScalarNode) -> None:
        """Python refuses `2026-02-30`, which has the form of a date, without naming its line."""
        if node.tag != f"{_PREFIX}timestamp":
            return
        try:
            self.construct_object(node)
        except (ValueError, OverflowError) as error:
            raise _refusal(node, f"{node.value} is not a date ({error}). Quote it if it is text") from None

    def _check_tag(self, event: Any) -> None:
        tag = getattr(event, "tag", None)
        if tag is not None and tag not in _EXPLICIT_TAGS:
            raise _refusal(event, f"the tag {tag.replace(_PREFIX, '!!')} is not supported. Remove it")


def load_yaml(path: Path, loader: type[BoundedLoader] = BoundedLoader) -> tuple[Any, YamlLines | None]:
    """The document of a YAML file, and where its keys stand; None for the latter where the file is empty.

    A plain document is built from libyaml's events; its lines are looked up when an error first asks for one.

    Raises:
        SpecError: the file is not readable text, not YAML, nested too deep or too large, or holds a value that YAML
            reads otherwise than it is written, or a key twice; with file and line.
    """
    return parse_yaml(read_text(path), shown_name(path), loader)


def parse_yaml(text: str, name: str, loader: type[BoundedLoader] = BoundedLoader) -> tuple[Any, YamlLines | None]:
    """Parses the text of a YAML file; `name` is the file's name in errors. For result and errors see `load_yaml`."""
    if loader is BoundedLoader:
        try:
            document = plain_document(text, DEEPEST, MOST_NODES)
        except NotPlain:
            pass
        else:
            return document, YamlLines(name, lambda: _read(text, name, loader)[1])
    document, root = _read(text, name, loader)
    return document, None if root is None else YamlLines(name, lambda: root)


def _read(text: str, name: str, loader: type[BoundedLoader]) -> tuple[Any, yaml.Node | None]:
    """The document and its root node, constructed; None for both where there is no document."""
    try:
        reading = loader(text)
        try:
            root = reading.get_single_node()
            if root is None:
                return None, None
            # Construction writes merged keys into the nodes beside those that override them.
            check_keys_are_unique(root, name)
            return reading.construct_document(root), root
        finally:
            reading.dispose()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        raise SpecError(
            f"not YAML: the character U+{error.character:04X} is not allowed", where=f"{name}:{line}"
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        problem = str(getattr(error, "problem", None) or error)
        raise SpecError(problem if isinstance(error, _Refused) else f"not YAML: {problem}", where=where) from None


class _Refused(yaml.MarkedYAMLError):
    """A refusal of Lakeferry's, on its way through PyYAML."""


def _refusal(at: Any, problem: str) -> _Refused:
    return _Refused(problem=problem, problem_mark=at.start_mark)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _check_key_node(key: yaml.Node) -> None:
    """A key is a text: YAML reads `no: hmac` as a key that is a boolean."""
    if not isinstance(key, yaml.ScalarNode):
        raise _refusal(key, "a key must be text, and this is a list or a mapping")
    kind = key.tag.removeprefix(_PREFIX)
    if kind not in ("str", "merge", "value"):
        read = READ_AS.get(kind, kind)
        raise _refusal(key, f"YAML reads the key {key.value} as {read}. Quote it: '{key.value}'")


READ_AS = {
    "bool": "true or false",
    "int": "a number",
    "float": "a number",
    "null": "no value",
    "timestamp": "a date",
}
"""What YAML takes a plain word for, by the kind of its tag, in words."""
