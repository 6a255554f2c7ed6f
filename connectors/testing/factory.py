"""What the conformance suite needs of a source: a factory that creates objects with known rows at a real service."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from connectors.base import SourceSettings
from connectors.registry import open_source

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
    """Creates, changes and removes objects at one source. `close` removes all that it created."""

    def __init__(self, source_type: str) -> None:
        self.source_type = source_type

    settings = SourceSettings(rows_per_slice=3, bytes_per_slice=200)
    """Slices so small that a sample has more than one."""
    product: str
    """What the text of `ping` must contain, such as the product's name."""
    near_name: str | None = None
    """What an error about an unknown object must offer as a choice, if the source can list what exists."""

    @property
    @abstractmethod
    def connection(self) -> Connection:
        """The connection that works."""

    def open(self, connection: Connection | None = None) -> Source:
        """Open the source with `settings`."""
        return open_source(self.source_type, connection or self.connection, self.settings)

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
