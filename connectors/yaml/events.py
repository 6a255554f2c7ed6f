"""Builds a plain YAML document from libyaml's events, many times faster than PyYAML builds it from nodes.

Nothing is refused here. What is not plain (a tag, an alias, a merge, a date, a number that YAML 1.1 reads otherwise
than it is written, a key twice, a file that libyaml cannot read) raises `NotPlain`. `yaml_documents` then reads the
file by nodes, which yields the document or the error with its line. Events are read in a loop, so that nesting costs
no stack.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import yaml

from connectors.yaml.numbers import changed_number

_RESOLVER = yaml.resolver.Resolver()
_NO_KEY = object()
UNSTORABLE = re.compile("[\\x00\\ud800-\\udfff]")
"""Characters that only an escape (`"\\0"`) can write. PostgreSQL stores no NUL, UTF-8 has no lone surrogates: in one
description either would stop Airflow from storing all DAGs of a file."""

_COMMENT_AT_BLOCK = re.compile("[|>][-+0-9]*#")
"""A comment that no space keeps from the sign of a block: no YAML (1.2.2, 8.1.1 Block Scalar Headers), to libyaml it is
a comment."""


class NotPlain(Exception):
    """The document must be read by nodes."""


def plain_document(text: str, deepest: int, most_nodes: int) -> Any:
    """The document, as PyYAML's `SafeLoader` constructs it; None where it is empty.

    Args:
        text: the file's.
        deepest: levels of nesting a plain document has at most.
        most_nodes: keys, values and containers it has at most.

    Raises:
        NotPlain: the document is not plain, or PyYAML is installed without libyaml.
    """
    # libyaml reads some tabs, question marks, byte order marks and comments otherwise than PyYAML.
    if not yaml.__with_libyaml__ or "\t" in text or "\ufeff" in text or _COMMENT_AT_BLOCK.search(text):
        raise NotPlain
    # PyYAML has the module only where it was built with libyaml.
    from yaml._yaml import CParser

    parser = CParser(text)
    try:
        return _document(parser.get_event, deepest, most_nodes)
    except yaml.YAMLError as error:
        raise NotPlain from error
    finally:
        parser.dispose()


def _document(next_event: Callable[[], Any], deepest: int, most_nodes: int) -> Any:
    next_event()
    start = next_event()
    if type(start) is yaml.StreamEndEvent:
        return None
    if start.version or start.tags:
        raise NotPlain
    # The root stands in a list of its own. Beside each container stands the key whose value comes next.
    root: list[Any] = []
    containers: list[Any] = [root]
    keys: list[Any] = [_NO_KEY]
    nodes = 0
    while True:
        event = next_event()
        kind = type(event)
        if kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            containers.pop()
            keys.pop()
            continue
        if kind is yaml.DocumentEndEvent:
            break
        if kind is yaml.AliasEvent or event.anchor is not None or event.tag is not None:
            raise NotPlain
        value: Any
        if kind is yaml.ScalarEvent:
            value = _plain_value(event.value) if event.implicit[0] else event.value
            if event.style == '"' and UNSTORABLE.search(value):
                raise NotPlain
        else:
            value = {} if kind is yaml.MappingStartEvent else []
        container = containers[-1]
        nodes += 1
        if type(container) is list:
            container.append(value)
        elif keys[-1] is _NO_KEY:
            if type(value) is not str or value in container:
                raise NotPlain
            keys[-1] = value
        else:
            container[keys[-1]] = value
            keys[-1] = _NO_KEY
        if kind is not yaml.ScalarEvent:
            containers.append(value)
            keys.append(_NO_KEY)
        if nodes > most_nodes or len(containers) > deepest:
            raise NotPlain
    if type(next_event()) is not yaml.StreamEndEvent:
        raise NotPlain
    return root[0]


@lru_cache(maxsize=10_000)
def _plain_value(text: str) -> Any:
    """The value of an unquoted scalar."""
    tag: str = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    kind = tag.removeprefix("tag:yaml.org,2002:")
    if "?" in text or changed_number(text, kind):
        raise NotPlain
    match kind:
        case "str":
            return text
        case "null":
            return None
        case "bool":
            return yaml.SafeLoader.bool_values[text.lower()]
        case "int":
            return int(text)
        case "float" if text[-1].isdigit():
            return float(text)
    raise NotPlain
