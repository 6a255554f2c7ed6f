"""Sources and the warehouse, each in its module, imported only when used."""

from __future__ import annotations

from importlib import import_module

from connectors.base import Source
from connectors.connection import Connection
from connectors.errors import SpecError

SOURCES: dict[str, str] = {
    "aurora": "connectors.mysql:AuroraSource",
    "tidb": "connectors.mysql:TiDBSource",
    "kafka": "connectors.kafka:KafkaSource",
    "s3": "connectors.s3:S3Source",
}
"""Source type → `module:class`. Adding a source is one module and one line here."""


def source_class(source_type: str) -> type[Source]:
    """The class behind a source type.

    Raises:
        SpecError: no such type; the message lists those that are.
    """
    try:
        module, name = SOURCES[source_type].split(":")
    except KeyError:
        raise SpecError(f"unknown source type {source_type!r}", choices=sorted(SOURCES)) from None
    found: type[Source] = getattr(import_module(module), name)
    return found


def open_source(source_type: str, connection: Connection) -> Source:
    """A source of that type on that connection; nothing is contacted yet."""
    return source_class(source_type)(connection)
