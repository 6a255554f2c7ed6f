"""The conformance suite's requirement of a source: a factory that makes objects with known rows.

A factory lives in `tests/conformance/<source type>_factory.py` (`mysql_factory.py` serves aurora and
tidb) and has a function `open_factory(source_type) -> SourceFactory`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from connectors import open_source

if TYPE_CHECKING:
    from connectors.base import ReadRequest, Source
    from connectors.connection import Connection

Row = dict[str, str | None]


@dataclass(frozen=True)
class Sample:
    """An object made at the source, and what must be read from it.

    `rows` are all its good rows, written by hand, each value as Spark's text of it: decimals with their
    scale (`1.10`), timestamps in UTC without trailing zeros (`2026-11-20 01:02:03.456`), binaries as
    upper-case hexadecimal, NULL as None. `rejected` holds, for each row that cannot be decoded, a text
    its `_rejected.record` must contain. `key` names the columns that tell the rows apart.
    """

    dataset: ReadRequest
    key: tuple[str, ...]
    rows: list[Row]
    rejected: list[str] = field(default_factory=list)


class SourceFactory(ABC):
    """Makes, changes and removes objects at one source. `close` removes all it made."""

    source_type: str
    near_name: str | None = None
    """What the message about an unknown object must list, where the source lists what is there."""

    @property
    @abstractmethod
    def connection(self) -> Connection:
        """The connection that works."""

    def open(self, connection: Connection | None = None) -> Source:
        """The source. If it may choose, it cuts a sample into more than one slice."""
        return open_source(self.source_type, connection or self.connection)

    @abstractmethod
    def sample(self) -> Sample:
        """Make a new object with at least six rows and awkward values; more than one slice."""

    @abstractmethod
    def empty(self) -> ReadRequest:
        """Make a new object without any row."""

    @abstractmethod
    def add(self, sample: Sample) -> list[Row]:
        """Add rows that a plan made before must not see and one made from its position must: these."""

    @abstractmethod
    def unknown(self, sample: Sample) -> ReadRequest:
        """The sample's dataset, naming an object that is not there."""

    @abstractmethod
    def refused(self) -> Connection | None:
        """The connection with a wrong password, or None where the source has no login."""

    @abstractmethod
    def down(self) -> Connection:
        """The connection, to a port where nothing listens."""

    @abstractmethod
    def close(self) -> None:
        """Remove what was made."""
